"""Cards and clicks in Slack, against our own strict Slack. What counts is what stands in the log."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import App, BoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient
from slack_sdk.models.blocks import Block
from support import NatsServer, cli, until
from support.fakeslack import FakeSlack, Json
from support.h2_front import H2Front
from support.house import seen
from support.slack_clicks import Clicks, Member
from support.slack_office import CHANNELS, SECRET, Office, connection

ALL = ["approve", "deny", "deny_with_comment", "ask", "open"]
HOSTILE = "<!channel> *Approved by* <https://evil.example|Kim>\n\nApproved by Kim\u202e\u200b & <@U1>"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One office for tests that do not disturb each other; at the end Slack took everything, and the log is sound."""
    with FakeSlack() as slack:
        office = Office(tmp_path_factory.mktemp("office"), slack)
        yield office
        assert slack.violations == []
        office.server.stop()
        office.server.fsck().ok()
        for hidden in (slack.token, SECRET, "legacy-verification-token", "/response/"):
            assert hidden not in office.server.log
        office.server.__exit__()


@pytest.fixture
def make_office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """An office of one test."""
    slacks: list[FakeSlack] = []
    offices: list[Office] = []

    def make(**options: Any) -> Office:
        slacks.append(FakeSlack().__enter__())
        offices.append(Office(tmp_path / f"office-{len(slacks)}", slacks[-1], **options))
        return offices[-1]

    yield make
    for made in offices:
        assert made.slack.violations == []
        made.server.__exit__()
    for slack in slacks:
        slack.__exit__()


def told(office: Office, member: Member, words: str) -> None:
    """The last thing said to this member alone."""
    until(f"{member.id} is told {words!r}", lambda: bool(office.slack.told(member.id)))
    assert words in office.slack.told(member.id)[-1], office.slack.told(member.id)


# cards


def test_p7_a_card_shows_the_call_and_slacks_own_client_reads_it_back(office: Office) -> None:
    params = {"amount": 125000, "currency": "EUR", "to": "DE02120300000000202051"}
    approval = office.asked(params=params)
    web = WebClient(office.slack.token, base_url=office.slack.api_url + "/")
    page = web.conversations_history(channel=office.channels[approval], include_all_metadata=True, limit=200)
    card = next(m for m in page["messages"] if m["metadata"]["event_payload"] == {"approval_id": approval})
    for block in card["blocks"]:
        model = Block.parse(block)
        assert model is not None
        model.validate_json()
    text = json.dumps(card["blocks"])
    digest = office.desk.history(approval)[0]["call"]["digest"]
    for shown in ("/amount", "125000", "DE02120300000000202051", r"Tool\npayments", r"Action\ntransfer", "agent-", digest[:8], approval):
        assert shown in text, shown
    assert office.buttons(approval) == ALL
    posted = [call.args for call in office.slack.called("chat.postMessage")]
    assert all(args["unfurl_links"] is False and args["unfurl_media"] is False for args in posted)


def test_agent_text_forges_nothing(office: Office) -> None:
    approval = office.asked(params={"to": HOSTILE}, payload={"reason": HOSTILE},
                            data={"agent": {"id": "agent-199", "run": "<!here> *x*"}})
    found: list[tuple[str, str]] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("text"), str):
                found.append((value.get("type", ""), value["text"]))
            for member in value.values():
                look(member)
        elif isinstance(value, list):
            for element in value:
                look(element)

    card = office.card(approval)
    look(card["blocks"])
    assert any("The agent says (nobody has checked this)" in text for _, text in found)
    for kind, text in [*found, ("plain_text", card["text"])]:
        assert not set(text) & {"\u202e", "\u200b"}
        if kind == "mrkdwn":
            assert text.startswith("Answer by\n<!date^")
        else:
            assert kind == "plain_text" and not set(text) & set("<>"), text
            assert not any(line.startswith("Approved by") for line in text.split("\n"))


def test_p7_what_does_not_fit_has_no_buttons(office: Office) -> None:
    approval = office.asked(params={"note": "x" * 2500})
    assert office.buttons(approval) == ["open"]
    assert "do not fit" in json.dumps(office.card(approval))


# answers


def test_p7_an_approval_by_a_click_is_recorded_and_shown(office: Office) -> None:
    approval = office.asked()
    assert office.click(approval, "approve", office.bob).status_code == 200
    assert office.events(approval) == ["requested", "reviewed", "granted"]
    _, reviewed, granted = office.desk.history(approval)
    digest = office.desk.history(approval)[0]["call"]["digest"]
    assert (reviewed["by"], reviewed["decision"], reviewed["via"]) == ("p-bob", "approve", "slack")
    assert reviewed["auth"]["method"] == "slack" and digest.startswith(reviewed["displayed_dig"])
    assert granted["by"] == ["p-bob"]
    office.shows(approval, "Approved, not redeemed yet")
    assert office.buttons(approval) == ["open"]
    assert "Bob Ito" in json.dumps(office.card(approval))
    evidence = office.server.admin.entry(reviewed["evidence"])
    assert evidence["kind"] == "evidence"
    assert office.bob.id not in json.dumps(evidence), "the raw click is payload, not in the leaf"
    raw = office.server.as_("discloser").disclosures(reviewed["evidence"])
    assert office.bob.id in raw and "block_actions" in raw


def test_a_denial_is_recorded_and_shown(office: Office) -> None:
    approval = office.asked()
    office.click(approval, "deny", office.bob)
    assert office.events(approval) == ["requested", "reviewed", "denied"]
    office.shows(approval, "Denied")


def test_deny_with_comment(office: Office) -> None:
    approval = office.asked()
    answer = office.comment(approval, office.bob, "too much & <!channel>")
    assert (answer.status_code, answer.content) == (200, b"")
    assert office.events(approval) == ["requested", "reviewed", "denied"]
    reviewed = office.desk.history(approval)[1]
    assert "too much" not in json.dumps(office.server.admin.entry(reviewed["evidence"]))
    assert "too much & <!channel>" in office.server.as_("discloser").disclosures(reviewed["evidence"])


def test_a_refusal_is_shown_in_the_dialog(office: Office) -> None:
    approval = office.asked()
    answer = office.comment(approval, office.fay, "no")
    assert answer.json()["response_action"] == "errors" and "comment" in answer.json()["errors"]
    assert office.events(approval) == ["requested", "review_rejected not_eligible"]


def test_the_dialog_does_not_open_for_who_is_not_linked_or_after_three_seconds(office: Office) -> None:
    approval = office.asked()
    before = office.trace(approval)
    opened = len(office.slack.views)
    office.click(approval, "deny_with_comment", office.eva)
    told(office, office.eva, "not linked")
    late = lambda payload: payload.update(trigger_id="1.2.late")  # noqa: E731
    office.click(approval, "deny_with_comment", office.cem, late)
    told(office, office.cem, "did not open")
    assert len(office.slack.views) == opened and office.trace(approval) == before


def test_a_second_click_changes_nothing(office: Office) -> None:
    approval = office.asked()
    payload = office.payload(approval, "approve", office.bob)
    body, headers = office.clicks.signed(payload)
    with ThreadPoolExecutor(4) as four:
        answers = list(four.map(lambda _: office.clicks.post(body, headers), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert office.clicks.post(body, headers).status_code == 200
    assert office.events(approval) == ["requested", "reviewed", "granted"]
    told(office, office.bob, "already")


def test_p10_two_of_finance_are_two_people(office: Office) -> None:
    approval = office.asked("big")
    office.click(approval, "approve", office.bob)
    office.click(approval, "approve", office.bob)
    assert office.events(approval) == ["requested", "reviewed"]
    until("Bob is on the card", lambda: "Bob Ito" in json.dumps(office.card(approval)))
    office.click(approval, "approve", office.cem)
    assert office.events(approval) == ["requested", "reviewed", "reviewed", "granted"]


def test_the_opposite_answer_after_a_denial_is_refused(office: Office) -> None:
    approval = office.asked("big")
    office.click(approval, "deny", office.bob)
    until("Bob is on the card", lambda: "Bob Ito" in json.dumps(office.card(approval)))
    office.click(approval, "approve", office.bob)
    assert office.events(approval) == ["requested", "reviewed", "review_rejected already_reviewed"]
    told(office, office.bob, "already reviewed")


# who must not


def test_who_is_not_linked_reads_their_ids(office: Office) -> None:
    approval = office.asked()
    assert office.click(approval, "approve", office.eva).status_code == 200
    assert office.events(approval) == ["requested", "review_rejected not_linked"]
    told(office, office.eva, office.eva.id)
    told(office, office.eva, office.eva.team)
    assert office.title(approval) == "Approval needed"


def test_who_is_not_asked(office: Office) -> None:
    approval = office.asked()
    office.click(approval, "approve", office.fay)
    assert office.events(approval) == ["requested", "review_rejected not_eligible"]
    assert office.slack.told(office.fay.id)


def test_p10_the_owner(office: Office) -> None:
    approval = office.asked()
    office.click(approval, "approve", office.ana)
    assert office.events(approval) == ["requested", "review_rejected own_call"]
    told(office, office.ana, "You own this agent")


@pytest.mark.parametrize("user_team", ["T9999999999", None])
def test_a_guest_of_another_workspace(office: Office, user_team: str | None) -> None:
    """Bob's member id, brought by another workspace: never Bob."""
    def guest(payload: Json) -> None:
        payload["user"]["team_id"] = user_team

    approval = office.asked()
    assert office.click(approval, "approve", office.bob, guest).status_code == 200
    assert office.events(approval) == ["requested", "review_rejected not_linked"]
    told(office, office.bob, "Members of your workspace")


def test_a_stale_card(office: Office) -> None:
    approval = office.asked("big")
    old = office.payload(approval, "approve", office.cem)
    office.click(approval, "approve", office.bob)
    assert office.clicks.send(old).status_code == 200
    assert office.events(approval) == ["requested", "reviewed", "review_rejected stale"]
    told(office, office.cem, "The approval has changed")


def test_step_up_is_decided_on_the_page_only(office: Office) -> None:
    approval = office.asked("step-up")
    assert office.buttons(approval) == ["open"]
    other = office.asked()
    taken = next(b for b in office.card(other)["blocks"] if b["type"] == "actions")["elements"][0]["value"]
    value = json.loads(taken) | {"a": approval, "d": office.desk.history(approval)[0]["call"]["digest"][:8]}

    def forge(payload: Json) -> None:
        payload["actions"][0] |= {"action_id": "approve", "value": json.dumps(value)}

    office.click(approval, "open", office.bob, forge)
    assert office.events(approval) == ["requested", "review_rejected step_up"]
    told(office, office.bob, f"/approvals/{approval}")


# what must not come in


def bolt() -> App:
    """Slack's own framework, with our secret; it asks nobody who it is."""
    app = App(signing_secret=SECRET, client=WebClient("xoxb-1"), token_verification_enabled=False,
              authorize=lambda: AuthorizeResult(enterprise_id=None, team_id="T1", bot_token="xoxb-1"))
    app.action("approve")(lambda ack: ack())
    return app


def changed(**over: Any) -> Callable[[Json], None]:
    """Members of a payload by path: `container__message_ts="1.1"`."""
    def change(payload: Json) -> None:
        for path, value in over.items():
            *folders, name = path.split("__")
            target = payload
            for folder in folders:
                target = target[folder]
            target[name] = value
    return change


def test_a_click_on_another_message_or_in_another_channel(office: Office) -> None:
    approval, other = office.asked(), office.asked()
    before = office.trace(approval)
    theirs = office.card(other)["ts"]
    for wrong in (changed(container__message_ts=theirs), changed(container__message_ts="1.000001"),
                  changed(container__channel_id="C9999999999")):
        assert office.click(approval, "approve", office.bob, wrong).status_code == 200
        told(office, office.bob, "not a card")
    assert office.trace(approval) == before


def test_wrong_app_wrong_value_and_unknown_things(office: Office) -> None:
    approval = office.asked()
    before = office.trace(approval)
    value = lambda value: lambda payload: payload["actions"][0].update(value=value)  # noqa: E731
    for change, status in [
        (changed(api_app_id="A9999999999"), 401),
        (value("{}"), 400), (value("x" * 2000), 400), (value(None), 400),
        (changed(user=None), 400), (changed(container={"type": "view"}), 400),
        (changed(type="invented_tomorrow"), 200), (changed(actions=[]), 200),
        (changed(actions=[{"action_id": "open", "type": "button"}]), 200),
    ]:
        assert office.click(approval, "approve", office.bob, change).status_code == status
    assert office.trace(approval) == before


def test_team_null_and_unknown_blocks_are_read(office: Office) -> None:
    approval = office.asked()
    change = changed(team=None, message__blocks=[{"type": "invented_tomorrow"}], enterprise={"id": "E1", "name": "x"})
    assert office.click(approval, "approve", office.bob, change).status_code == 200
    assert office.events(approval) == ["requested", "reviewed", "granted"]


def test_forged_and_replayed_clicks_as_slack_bolt_judges_them(office: Office) -> None:
    """What Slack's own framework refuses, we refuse."""
    approval = office.asked()
    before = office.trace(approval)
    payload = office.payload(approval, "approve", office.bob)
    app = bolt()
    sign = office.clicks.signed
    body, headers = sign(payload)
    unsigned = {"Content-Type": headers["Content-Type"]}
    forged = [
        (body + "&x=1", headers),
        (body, unsigned),
        (body, unsigned | {"X-Slack-Signature": headers["X-Slack-Signature"]}),
        (body, headers | {"X-Slack-Signature": "v0=" + "0" * 64}),
        (body, headers | {"X-Slack-Request-Timestamp": str(int(time.time()) + 1)}),
        sign(payload, secret="another"),
        sign(payload, age=301),
        sign(payload, age=-400),
    ]
    for body, headers in forged:
        assert app.dispatch(BoltRequest(body=body, headers=headers)).status == 401
        answer = office.clicks.post(body, headers)
        assert answer.status_code == 401
        assert "timestamp" not in answer.text and "secret" not in answer.text
    assert office.trace(approval) == before
    body, headers = sign(payload)
    assert app.dispatch(BoltRequest(body=body, headers=headers)).status == 200
    assert office.clicks.post(body, headers).status_code == 200
    assert office.events(approval) == ["requested", "reviewed", "granted"]


def test_p12_an_unknown_connection_is_nothing(office: Office) -> None:
    approval = office.asked()
    body, headers = office.clicks.signed(office.payload(approval, "approve", office.bob))
    nowhere = Clicks(office.slack, f"{office.server.url}/slack/nobody/interactions", SECRET).post(body, headers)
    nothing = Clicks(office.slack, f"{office.server.url}/invented", SECRET).post(body, headers)
    assert seen(nowhere) == seen(nothing) and nowhere.status_code == 404


def test_p13_a_big_unsigned_body_is_refused_before_it_is_there(office: Office) -> None:
    before, sent = office.decided(), 0
    with socket.create_connection(("127.0.0.1", office.server.port), timeout=20) as stream:
        head = "POST /slack/acme-slack/interactions HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n"
        stream.sendall(head.encode())
        stream.setblocking(False)
        answer, deadline = b"", time.monotonic() + 20
        while not answer and time.monotonic() < deadline:
            try:
                sent += stream.send(b"x" * 8192)
                time.sleep(0.001)
            except BlockingIOError:
                time.sleep(0.01)
            except ConnectionError:
                pass  # refused meanwhile: the answer is there to be read
            try:
                answer = stream.recv(4096)
            except BlockingIOError:
                pass
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    assert sent < 4 << 20, sent
    assert office.decided() == before


# more than one connection, secret or server


def test_p12_another_tenants_connection_names_our_approval(make_office: Callable[..., Office]) -> None:
    with FakeSlack(app_id="A0000000002", token="xoxb-globex") as theirs:
        theirs.channel(CHANNELS[0])
        office = make_office(sections={})
        globex = connection(office.server.root, theirs, "globex", "secret-of-globex")
        office.server.stop()
        office.server.sections["slack.globex-slack"] = globex
        office.server.write_config()
        office.server.start()
        office.server.add_tenant("globex")
        approval = office.asked()
        before = office.trace(approval)
        clicks = Clicks(theirs, f"{office.server.url}/slack/globex-slack/interactions", "secret-of-globex")
        payload = clicks.payload(office.card(approval), office.channels[approval], "approve", office.bob)
        answer = clicks.send(payload)
        assert answer.status_code in (200, 503)
        assert approval not in answer.text
        ours = Clicks(theirs, office.clicks.url, "secret-of-globex").send(payload)
        assert ours.status_code == 401
        assert office.trace(approval) == before
        assert theirs.violations == []


def test_two_signing_secrets_while_it_is_changed(make_office: Callable[..., Office]) -> None:
    office = make_office()
    office.server.stop()
    office.server.sections["slack.acme-slack"] = connection(office.server.root, office.slack, "acme", "new", SECRET)
    office.server.write_config()
    office.server.start()
    for secret in (SECRET, "new"):
        approval = office.asked()
        assert office.click(approval, "approve", office.bob, secret=secret).status_code == 200
        assert "granted" in office.events(approval)
    assert office.click(office.asked(), "approve", office.bob, secret="older").status_code == 401


def test_p9_the_journal_is_not_writable(make_office: Callable[..., Office], nats: NatsServer) -> None:
    office = make_office(nats=nats.url)
    approval = office.asked()
    before = office.trace(approval)
    payload = office.payload(approval, "approve", office.bob)
    nats.kill9()
    assert office.clicks.send(payload).status_code == 503
    assert office.trace(approval) == before
    nats.start()
    until("the click is taken", lambda: office.clicks.send(payload).status_code == 200)
    assert office.events(approval) == ["requested", "reviewed", "granted"]


# cards in trouble


def test_p9_expiry_is_not_a_refusal(make_office: Callable[..., Office]) -> None:
    office = make_office()
    approval = office.asked("soon")
    payload = office.payload(approval, "approve", office.bob)
    office.desk.wait_for(approval, "expired")
    office.shows(approval, "Expired: too few people approved in time")
    assert office.buttons(approval) == ["open"]
    assert office.clicks.send(payload).status_code == 200
    assert "granted" not in office.events(approval) and "reviewed" not in office.events(approval)
    assert office.slack.told(office.bob.id)


TROUBLES: dict[str, Json] = {
    "ratelimited": {"retry_after": 1},
    "status": {"code": 500},
    "error": {"code": "service_unavailable"},
    "garbage": {},
    "lost": {"seconds": 12},
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_a_card_is_posted_once_whatever_slack_answers(make_office: Callable[..., Office], kind: str) -> None:
    office = make_office()
    office.slack.trouble("chat.postMessage", kind, **TROUBLES[kind])
    approval = office.paused()
    until("a card that is known", lambda: len(office.desk.evidence(approval)) >= 2)
    office.click(approval, "approve", office.bob)
    assert office.events(approval) == ["requested", "reviewed", "granted"]
    office.shows(approval, "Approved, not redeemed yet")
    assert len(office.cards(approval)) == 1


def test_a_deleted_card_is_posted_anew(make_office: Callable[..., Office]) -> None:
    office = make_office()
    approval = office.asked("big")
    office.slack.delete(office.channels[approval], office.card(approval)["ts"])
    office.server.as_("publisher")
    reviewer = office.server.add_key(["reviewer"], person="p-bob")
    view = office.server.client(reviewer).get(f"/approvals/{approval}").json()
    body = {"decision": "approve", "digest": view["call"]["digest"], "version": view["version"]}
    office.server.client(reviewer).http.post(f"/v1/tenants/acme/approvals/{approval}/reviews", json=body)
    until("a new card", lambda: office.cards(approval))
    assert "Bob Ito" in json.dumps(office.card(approval))


def test_an_update_is_repeated_until_it_is_seen(make_office: Callable[..., Office]) -> None:
    office = make_office()
    approval = office.asked()
    for kind, options in TROUBLES.items():
        if kind != "lost":
            office.slack.trouble("chat.update", kind, **options)
    office.click(approval, "approve", office.bob)
    office.shows(approval, "Approved, not redeemed yet", 90)
    assert len(office.cards(approval)) == 1


def test_p13_more_than_ten_new_cards_a_minute_become_one_link(make_office: Callable[..., Office]) -> None:
    office = make_office()
    approvals = [office.paused(data={"labels": {"channel": "c0"}}) for _ in range(13)]
    channel = office.slack.channel(CHANNELS[0])
    until("ten cards and a link", lambda: len(channel.messages) >= 11)
    named = [card["metadata"]["event_payload"]["approval_id"][:5] for card in office.slack.cards(CHANNELS[0])]
    assert named[10:] == ["more-"] and "more-" not in named[:10]
    buttons = [element["action_id"] for element in channel.messages[-1]["blocks"][-1]["elements"]]
    assert buttons == ["open"], "nothing is approved by the dozen"
    assert [office.events(approval) for approval in approvals] == [["requested"]] * 13
    posts = [call.at for call in office.slack.called("chat.postMessage")]
    # As they arrive: one that was held up is followed sooner. Without a pace all of them take no second.
    assert posts[-1] - posts[0] > len(posts) - 5, "a message a second"


def test_https_as_slack_has_it_and_a_connection_that_goes_dead(tmp_path: Path) -> None:
    """TLS and HTTP/2; and a connection that nothing comes back on is given up for a new one."""
    with FakeSlack() as slack, H2Front(tmp_path / "tls", slack.url) as front:
        slack.url, slack.api_url = front.url, f"{front.url}/api"
        office = Office(tmp_path / "office", slack, env={"SSL_CERT_FILE": str(front.ca)})
        try:
            first = office.asked()
            office.click(first, "approve", office.fay)
            told(office, office.fay, "asked")
            front.go_dead()
            second = office.paused()
            until("a card", lambda: office.cards(second))
            office.click(second, "approve", office.bob)
            office.shows(second, "Approved, not redeemed yet")
            assert len(office.cards(second)) == 1
            assert len(front.requests) >= 2 and slack.violations == []
        finally:
            office.server.__exit__()


# commands


def test_the_manifest_names_the_address_of_clicks(office: Office) -> None:
    printed = cli("slack", "manifest", "--config", office.server.config, "acme-slack").ok()
    manifest = printed.json()
    url = "https://log.example.com/slack/acme-slack/interactions"
    assert manifest["settings"]["interactivity"] == {"is_enabled": True, "request_url": url}
    assert manifest["oauth_config"]["scopes"]["bot"] == ["chat:write", "channels:history", "groups:history"]
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == office.slack.scopes
