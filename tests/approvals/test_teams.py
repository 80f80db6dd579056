"""Cards and clicks in Microsoft Teams, against our own Bot Framework. What counts is what stands in the log."""

from __future__ import annotations

import itertools
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botbuilder.schema import Activity, AdaptiveCardInvokeResponse, ConversationParameters
from botframework.connector import ConnectorClient
from msrest.authentication import BasicTokenAuthentication

from support import Server, cli, until
from support.desk import Desk, as_text
from support.fakebot import FakeBot, Member
from support.teams_limits import CARD, card_wrong, presses

ERROR = "application/vnd.microsoft.error"
#: More than ten new cards a minute in one channel become a link to the inbox, so calls are spread over several.
CHANNELS = [f"19:0123456789abcdef{n:02}@thread.tacv2" for n in range(16)]


def rules() -> str:
    """Four rules for each channel; a label says which channel, the action which rule."""
    text = []
    for n, channel in enumerate(CHANNELS):
        text.append(f'[channels.finance-{n}]\nconnection = "acme-teams"\nto = "{channel}"\n')
    for n in range(len(CHANNELS)):
        where = f'channels = ["finance-{n}"]\nowner = "none"\n'
        match = f'labels = {{ch = "{n}"}}'
        text.append(
            f'[[rule]]\nname = "two of finance {n}"\nquorum = {{at_least = 2, of = "finance"}}\n{where}'
            f'match = {{action = "big", {match}}}\n'
            f'[[rule]]\nname = "soon over {n}"\nquorum = {{at_least = 1, of = "finance"}}\napprove_within = "10s"\n{where}'
            f'match = {{action = "soon-over", {match}}}\n'
            f'[[rule]]\nname = "fresh sign-in {n}"\nquorum = {{at_least = 1, of = "finance"}}\nstep_up = "10m"\n{where}'
            f'match = {{action = "step-up", {match}}}\n'
            f'[[rule]]\nname = "one of finance {n}"\nquorum = {{at_least = 1, of = "finance"}}\n{where}'
            f'match = {{{match}, amount = {{minor = "/amount", currency = "/currency", over = {{EUR = 0}}}}}}\n')
    return "\n".join(text) + '\n[[rule]]\nname = "everything else"\nquorum = {at_least = 1, of = "finance"}\n'


class Office:
    """A tenant with a bot, people in its directory, and a server."""

    def __init__(self, root: Path, bot: FakeBot, **options: Any) -> None:
        self.bot, self.root, self.calls = bot, root, itertools.count()
        root.mkdir(parents=True, exist_ok=True)
        password = root / "password"
        password.write_text(next(iter(bot.passwords)) + "\n")
        section = bot.section("acme", [password]) | options.pop("teams", {})
        sections = {"approvals": {"dir": root / "approvals"}, "teams.acme-teams": section}
        flow = options.pop("flow", None)
        if flow is not None:
            (root / "flow").write_text(f"{flow.catcher_url}/workflows/run?sig=SECRET\n")
            sections["webhook.acme-flow"] = {"tenant": "acme", "url_file": root / "flow"}
        member = lambda name: Member(name, str(uuid.uuid4()), bot.directory)  # noqa: E731
        self.ana, self.bob, self.cem, self.eva = map(member, ("Ana", "Bob", "Cem", "Eva"))
        bot.members |= {channel: [self.ana, self.bob, self.cem] for channel in CHANNELS}
        (root / "approvals" / "acme").mkdir(parents=True)
        self.server = Server(root / "server", sections=sections, **options)
        self.desk = Desk(self.server)
        self.rules = rules()
        if flow is not None:
            self.rules = self.rules.replace(f'connection = "acme-teams"\nto = "{CHANNELS[0]}"', 'connection = "acme-flow"')
        self.desk.write(self.rules, self.people())
        self.server.init()
        self.server.start()
        self.desk.apply()

    def people(self) -> list[dict[str, Any]]:
        """Ana and Bob are in finance, Cem owns the agent and is in finance, Eva is linked to nobody."""
        link = lambda m: {"directory": m.directory, "object": m.object_id}  # noqa: E731
        return [
            {"id": "p-ana", "name": "Ana Lima", "groups": ["finance"], "teams": link(self.ana)},
            {"id": "p-bob", "name": "Bob Ito", "groups": ["finance"], "teams": link(self.bob)},
            {"id": "p-cem", "name": "Cem Demir", "groups": ["finance"], "owns": ["agent-7"], "teams": link(self.cem)},
            {"id": "p-fay", "name": "Fay Osei", "groups": ["support"]},
        ]

    @property
    def endpoint(self) -> str:
        """Where the Bot Framework sends activities."""
        return f"{self.server.url}/teams/acme-teams/messages"

    def ask(self, params: Any = None, action: str = "transfer", agent: str | None = None, **over: Any) -> str:
        """Pauses a call, in the next channel, of an agent of its own."""
        n = next(self.calls)
        data = {"tool": {"name": "payments", "action": action}, "agent": {"id": agent or f"agent-x{n}", "run": "run-1"},
                "labels": {"ch": str(n % len(CHANNELS))}}
        return self.desk.ask(params, data=data, **over)

    def asked(self, *args: Any, **over: Any) -> tuple[str, tuple[str, str]]:
        """Pauses a call and waits for its card: approval id, and where the card is."""
        approval = self.ask(*args, **over)
        at = until("a card", lambda: self.where(approval))
        self.known(at)
        return approval, at

    def known(self, at: tuple[str, str]) -> None:
        """Waits until the log knows where a card is: a moment after it is there."""
        known = lambda: self.click(self.ana, at, "refresh", trigger="automatic").json()["statusCode"] == 200  # noqa: E731
        until("its place is known", known)

    def clicks(self, approval: str) -> list[str]:
        """Raw clicks that are kept as evidence."""
        reader = self.server.as_("discloser")
        kept = [reader.disclosures(index) for index, leaf in reader.feed(kind="evidence")
                if json.loads(leaf)["event"].get("approval_id") == approval]
        return [text for text in kept if "adaptiveCard/action" in text]

    def where(self, approval: str) -> tuple[str, str] | None:
        """The message with an approval's card: no reply in its thread, whose button has other words."""
        is_card = lambda text: approval in text and "Open in browser" not in text  # noqa: E731
        return next((at for at in self.bot.posted() if is_card(as_text(self.bot.messages[at]))), None)

    def shows(self, at: tuple[str, str], words: str, seconds: float = 60.0) -> None:
        """Waits until the card shows these words."""
        until(f"card shows {words!r}", lambda: words in as_text(self.bot.card(at)), seconds)

    def click(self, person: Member, at: tuple[str, str], verb: str, token: str | None = None, **options: Any) -> httpx.Response:
        """A press on a button of a card as it is shown now."""
        return self.bot.send(self.endpoint, self.bot.invoke(person, at, self.action(at, verb), **options), token)

    def action(self, at: tuple[str, str], verb: str) -> dict[str, Any]:
        """A button of a card (`refresh`: what the client does by itself)."""
        card = self.bot.card(at)
        actions = [card["refresh"]["action"]] if verb == "refresh" else presses(card)
        return next(action for action in actions if action["verb"] == verb)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One office for the tests that do not disturb each other; at the end the log is sound and Teams took everything."""
    with FakeBot() as bot:
        office = Office(tmp_path_factory.mktemp("office"), bot)
        yield office
        assert bot.wrong == []
        assert not bot.caught
        office.server.stop()
        office.server.fsck().ok()
        secrets = [*bot.passwords, *bot.tokens]
        assert not any(secret in office.server.log for secret in secrets)
        office.server.__exit__()


@pytest.fixture
def make_office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """An office of one test."""
    bots: list[FakeBot] = []
    servers: list[Server] = []

    def make(**options: Any) -> Office:
        bots.append(FakeBot())
        made = Office(tmp_path / f"office-{len(bots)}", bots[-1], **options)
        servers.append(made.server)
        return made

    yield make
    for server in servers:
        server.__exit__()
    for bot in bots:
        bot.__exit__()


def card_of(answer: httpx.Response) -> dict[str, Any]:
    """The card in an answer to a click."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["statusCode"], body["type"]) == (200, CARD), body
    assert AdaptiveCardInvokeResponse().deserialize(body).status_code == 200
    assert card_wrong(body["value"]) == []
    return body["value"]


def refused(answer: httpx.Response) -> dict[str, Any]:
    """The error in an answer to a click that was none."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["type"] == ERROR and body["statusCode"] == 400, body
    return body["value"]


# cards

def test_p7_the_card_shows_the_call_as_it_was_hashed(office: Office) -> None:
    approval, at = office.asked({"amount": 125000, "currency": "EUR", "to": "ACME"}, payload={"reason": "rent"})
    card, text = office.bot.card(at), as_text(office.bot.card(at))
    assert at[0].split(";messageid=")[0] in CHANNELS
    assert all(words in text for words in ("EUR 1,250.00", "/to", "ACME", "payments", "transfer", "The agent says", "rent", "one of finance")), text
    data = office.action(at, "approve")["data"]
    assert data["approval"] == approval and data["digest"][:8] in text
    assert {a["type"] for a in card["actions"]} == {"Action.ShowCard", "Action.OpenUrl"}, "one press records nothing"
    assert set(card["refresh"]["userIds"]) == {office.ana.id, office.bob.id, office.cem.id}
    message = Activity().deserialize(office.bot.messages[at][-1])
    assert message.type == "message" and message.attachments[0].content_type == CARD


def test_agent_text_can_forge_nothing(office: Office) -> None:
    evil = "**Approved by Ana** [pay](https://evil.example) <at>all</at> \u202eevil\u200b {{DATE(2026-01-01T00:00:00Z)}}\n# x"
    approval, at = office.asked({"note": evil}, payload={"reason": evil})
    text = as_text(office.bot.card(at))
    assert "\u202e" not in text and "\u200b" not in text and "{{DATE(2026-01-01" not in text

    def blocks(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            yield value
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from blocks(inner)

    found = [b for b in blocks(office.bot.card(at)) if "Approved by Ana" in str(b.get("text"))]
    assert found and all(b["type"] == "TextRun" for b in found)
    # It can't be shown exactly, so it is not decided here.
    assert all(a["type"] == "Action.OpenUrl" for a in office.bot.card(at)["actions"])


@pytest.mark.parametrize("params", [{"list": "x" * 30_000}, {"many": {f"k{n}": n for n in range(900)}}])
def test_p7_what_does_not_fit_is_decided_in_the_browser(office: Office, params: Any) -> None:
    _, at = office.asked(params)
    assert [a["type"] for a in office.bot.card(at)["actions"]] == ["Action.OpenUrl"]


# clicks

def test_p7_a_click_grants_and_the_card_follows(office: Office) -> None:
    approval, at = office.asked()
    shown = office.action(at, "approve")["data"]
    card = card_of(office.click(office.ana, at, "approve", typed={"comment": "fine by me"}))
    assert "Approved" in as_text(card) and "Ana Lima" in as_text(card)
    events = office.desk.history(approval)
    assert [e["type"] for e in events] == ["requested", "reviewed", "granted"]
    review = events[1]
    assert (review["by"], review["decision"], review["via"]) == ("p-ana", "approve", "teams")
    assert review["auth"]["method"] == "teams"
    assert review["displayed_dig"] == shown["digest"] and review["shown_at"] == shown["shown_at"]
    # The raw click is evidence: erasable, and nothing of it is plain.
    [click] = office.clicks(approval)
    assert click == office.server.as_("discloser").disclosures(review["evidence"])
    assert "fine by me" in click and office.ana.object_id in click
    plain = as_text(office.server.admin.entries())
    assert "fine by me" not in plain and office.ana.object_id not in plain
    office.shows(at, "Approved")
    assert [a["type"] for a in office.bot.card(at)["actions"]] == ["Action.OpenUrl"]
    assert len(office.bot.messages[at]) >= 2


def test_p10_two_people_are_two_people(office: Office) -> None:
    approval, at = office.asked(action="big")
    for _ in range(2):
        assert "Still needed" in as_text(card_of(office.click(office.ana, at, "approve")))
    assert office.desk.kinds(approval) == ["requested", "reviewed"]
    office.shows(at, "Ana Lima")
    card_of(office.click(office.bob, at, "approve"))
    assert office.desk.kinds(approval) == ["requested", "reviewed", "reviewed", "granted"]


def test_a_denial_ends_it(office: Office) -> None:
    approval, at = office.asked()
    assert "Denied" in as_text(card_of(office.click(office.bob, at, "deny")))
    assert office.desk.kinds(approval)[-1] == "denied"


def test_p9_the_opposite_answer_by_the_same_person(office: Office) -> None:
    approval, at = office.asked(action="big")
    deny = office.bot.invoke(office.ana, at, office.action(at, "approve"))
    deny["value"]["action"]["verb"] = "deny"
    card_of(office.click(office.ana, at, "approve"))
    assert office.bot.send(office.endpoint, deny).status_code == 200
    approve = [e for e in office.desk.history(approval) if e["type"] == "reviewed"]
    # A person may turn their own approve into deny before the grant, never the other way round.
    assert [e["decision"] for e in approve][0] == "approve"
    assert "granted" not in office.desk.kinds(approval)


def test_whoever_is_not_linked_reads_their_ids(office: Office) -> None:
    approval, at = office.asked()
    text = as_text(card_of(office.click(office.eva, at, "approve")))
    assert office.eva.object_id in text and office.eva.directory in text
    assert office.desk.kinds(approval) == ["requested", "review_rejected"]
    assert office.desk.history(approval)[1]["why"] == "not_linked"
    # Only those who are asked see the call.
    assert "DE02120300000000202051" not in text and "Action.Execute" not in text


def test_p10_the_owner_never_decides(office: Office) -> None:
    approval, at = office.asked(agent="agent-7")
    text = as_text(card_of(office.click(office.cem, at, "approve")))
    assert "You own this agent" in text and "Action.Execute" not in text
    assert [e["type"] for e in office.desk.history(approval)] == ["requested", "review_rejected"]
    assert office.desk.history(approval)[1]["why"] == "own_call"


def test_whoever_is_not_asked_decides_nothing(office: Office) -> None:
    fay = Member("Fay", str(uuid.uuid4()), office.bot.directory)
    link = {"directory": fay.directory, "object": fay.object_id}
    people = [p | ({"teams": link} if p["id"] == "p-fay" else {}) for p in office.people()]
    office.desk.write(office.rules, people)
    office.desk.apply()
    approval, at = office.asked()
    assert "in no group that is asked" in as_text(card_of(office.click(fay, at, "approve")))
    assert office.desk.history(approval)[1]["why"] == "not_eligible"


def test_a_stale_card_decides_nothing(office: Office) -> None:
    approval, at = office.asked(action="big")
    old = office.action(at, "approve")
    card_of(office.click(office.ana, at, "approve"))
    before = office.desk.kinds(approval)
    text = as_text(card_of(office.bot.send(office.endpoint, office.bot.invoke(office.bob, at, old))))
    assert "since it was shown" in text
    assert "granted" not in office.desk.kinds(approval) and office.desk.kinds(approval)[: len(before)] == before


def test_p9_a_late_click_decides_nothing(office: Office) -> None:
    approval, at = office.asked(action="soon-over")
    button = office.action(at, "approve")
    office.desk.wait_for(approval, "expired")
    text = as_text(card_of(office.bot.send(office.endpoint, office.bot.invoke(office.ana, at, button))))
    assert "Expired" in text and "Denied" not in text
    assert [k for k in office.desk.kinds(approval) if k in ("reviewed", "granted", "denied")] == []
    office.shows(at, "Expired")
    assert "Action.Execute" not in as_text(office.bot.card(at))


@pytest.mark.parametrize("change", ["digest", "version", "approval", "conversation", "message", "verb", "object"])
def test_p7_forged_clicks(office: Office, change: str) -> None:
    approval, at = office.asked()
    other, elsewhere = office.asked()
    click = office.bot.invoke(office.ana, at, office.action(at, "approve"))
    data = click["value"]["action"]["data"]
    match change:
        case "digest":
            data["digest"] = "A" * 43
        case "version":
            data["version"] += 1
        case "approval":
            data["approval"] = other
        case "conversation":
            click["conversation"]["id"] = "19:ffffffffffffffff@thread.tacv2;messageid=1"
        case "message":
            click["replyToId"] = elsewhere[1]
        case "verb":
            click["value"]["action"]["verb"] = "grant"
        case "object":
            click["from"]["aadObjectId"] = "' or 1=1"
    answer = office.bot.send(office.endpoint, click)
    if change in ("digest", "version"):
        card_of(answer)
    else:
        assert refused(answer)["code"] == "BadRequest"
    for each in (approval, other):
        assert "reviewed" not in office.desk.kinds(each)


def test_p8_a_replayed_click_is_one_review(office: Office) -> None:
    approval, at = office.asked()
    click, token = office.bot.invoke(office.ana, at, office.action(at, "approve")), office.bot.token()
    for _ in range(5):
        assert office.bot.send(office.endpoint, click, token).status_code == 200
    assert office.desk.kinds(approval) == ["requested", "reviewed", "granted"]
    assert len(office.clicks(approval)) == 1


def test_a_refresh_is_never_a_review(office: Office) -> None:
    approval, at = office.asked(agent="agent-7")
    asked = card_of(office.click(office.ana, at, "refresh", trigger="automatic"))
    assert [a["verb"] for a in presses(asked)] == ["approve", "deny", "ask"]
    assert asked["refresh"]["userIds"] == [office.ana.id]
    for person in (office.cem, office.eva):
        assert "Action.Execute" not in as_text(card_of(office.click(person, at, "refresh", trigger="automatic")).get("actions"))
    # Whatever a client does by itself is no review either.
    refused(office.click(office.ana, at, "approve", trigger="automatic"))
    assert office.desk.kinds(approval) == ["requested"]
    assert office.clicks(approval) == []


def test_p9_step_up_is_decided_in_the_browser(office: Office) -> None:
    approval, at = office.asked(action="step-up")
    card = office.bot.card(at)
    assert [a["type"] for a in card["actions"]] == ["Action.OpenUrl"]
    forged = {"verb": "approve", "data": card["refresh"]["action"]["data"] | {
        "digest": "A" * 8, "version": 1, "shown_at": "2026-11-20T09:00:00.000000000Z"}}
    office.bot.send(office.endpoint, office.bot.invoke(office.ana, at, forged))
    assert "reviewed" not in office.desk.kinds(approval)


def test_p12_another_tenants_connection_decides_nothing(make_office: Callable[..., Office]) -> None:
    """Its own bot, token, directory and person are all in order; the approval is not its own."""
    with FakeBot() as theirs:
        office = make_office()
        password = office.root / "their-password"
        password.write_text(next(iter(theirs.passwords)))
        office.server.stop()
        office.server.sections["teams.evil-teams"] = theirs.section("evil", [password])
        office.server.write_config()
        office.server.start()
        office.server.add_tenant("evil")
        approval, at = office.asked()
        ana = Member("Ana", office.ana.object_id, theirs.directory)
        click = theirs.invoke(ana, at, office.action(at, "approve"))
        answer = theirs.send(f"{office.server.url}/teams/evil-teams/messages", click)
        assert refused(answer)["code"] == "BadRequest"
        # Nor does their token open our connection, nor ours theirs.
        assert theirs.send(office.endpoint, click).status_code in (401, 403)
        assert office.desk.kinds(approval) == ["requested"]


# the other side fails

def test_a_refused_password_makes_room_for_the_second(make_office: Callable[..., Office], tmp_path: Path) -> None:
    (tmp_path / "old").write_text("no-longer-valid\n")
    office = make_office()
    password = office.root / "password"
    office.server.stop()
    office.server.sections["teams.acme-teams"]["password_files"] = [str(tmp_path / "old"), str(password)]
    office.server.write_config()
    office.server.start()
    office.asked()
    assert [f["client_secret"] for f in office.bot.token_requests[-2:]] == ["no-longer-valid", password.read_text().strip()]
    before = len(office.bot.token_requests)
    office.asked()
    assert len(office.bot.token_requests) == before, "a token is used until it is old"


@pytest.mark.parametrize("status", [412, 429, 502, 504])
def test_try_again_later(make_office: Callable[..., Office], status: int) -> None:
    office = make_office()
    office.bot.fail(status, times=2, Retry_After="1")
    begin = time.monotonic()
    approval, at = office.asked()
    posts = [c for c in office.bot.calls if c.method == "POST"]
    assert [c.status for c in posts] == [status, status, 201]
    assert time.monotonic() - begin >= 2.0, "Retry-After is kept"
    card_of(office.click(office.ana, at, "approve"))


@pytest.mark.parametrize("fault", [{"status": 500}, {"hang": 12.0}], ids=str)
def test_no_answer_is_no_loss(make_office: Callable[..., Office], fault: dict[str, Any]) -> None:
    """The message was posted and the answer lost: another card is posted, and each of them shows the same approval."""
    office = make_office()
    office.bot.fail(**fault, kept=True)
    approval = office.ask()
    until("two cards", lambda: len(office.bot.posted()) == 2)
    last = office.bot.posted()[-1]
    office.known(last)
    card_of(office.click(office.ana, last, "approve"))
    assert office.desk.kinds(approval) == ["requested", "reviewed", "granted"]


def test_a_card_that_teams_finds_too_big_leads_to_the_page(make_office: Callable[..., Office]) -> None:
    """Teams keeps other limits than it documents."""
    office = make_office()
    office.bot.message_bytes_max = 3000
    approval = office.ask()
    at = until("a card", lambda: office.where(approval))
    assert [a["type"] for a in office.bot.card(at)["actions"]] == ["Action.OpenUrl"]
    assert [c.status for c in office.bot.calls if c.method == "POST"] == [413, 201]


def test_p13_many_cards_become_one_overflow_card(make_office: Callable[..., Office]) -> None:
    office = make_office()
    for _ in range(12):
        office.calls = itertools.count()
        office.ask(agent=f"agent-{uuid.uuid4()}")
    until("a link to the inbox", lambda: any("not shown here" in as_text(m) for m in list(office.bot.messages.values())))
    assert len(office.bot.posted()) <= 11


def test_tokens_go_only_to_listed_hosts_and_follow_no_redirect(make_office: Callable[..., Office]) -> None:
    office = make_office()
    office.bot.fail(307, times=3, Location=office.bot.catcher_url + "/teams/v3/conversations")
    office.ask()
    until("a redirect", lambda: any(c.status == 307 for c in office.bot.calls))
    # A believed token with a service URL of another host changes nothing either.
    click = office.bot.activity(office.ana, CHANNELS[0], serviceUrl=office.bot.catcher_url + "/")
    token = office.bot.token(serviceurl=office.bot.catcher_url + "/")
    assert office.bot.send(office.endpoint, click, token).status_code == 403
    assert office.bot.caught == []


def test_a_service_host_that_is_not_listed_is_refused_at_start(make_office: Callable[..., Office]) -> None:
    office = make_office()
    office.server.stop()
    office.server.sections["teams.acme-teams"]["service_hosts"] = ["smba.trafficmanager.net"]
    office.server.write_config()
    office.server.start(ready=False)
    assert office.server.wait_exit() != 0
    assert "service_hosts: add" in office.server.log


def test_a_lost_card_is_posted_anew(make_office: Callable[..., Office]) -> None:
    office = make_office()
    approval, at = office.asked(action="big")
    shown = office.action(at, "approve")
    del office.bot.messages[at]
    # The click of somebody who still sees it is taken: we posted it.
    card_of(office.bot.send(office.endpoint, office.bot.invoke(office.ana, at, shown)))
    again = until("a new card", lambda: office.where(approval))
    assert again != at
    office.shows(again, "Ana Lima")
    office.known(again)
    card_of(office.click(office.bob, again, "approve"))
    assert office.desk.kinds(approval)[-1] == "granted"


def test_p9_a_log_that_takes_nothing_changes_nothing(make_office: Callable[..., Office], nats: Any) -> None:
    """Without its journal the answer is an error, and the person sees it."""
    office = make_office(nats=nats.url)
    approval, at = office.asked()
    nats.stop()
    answer = office.click(office.ana, at, "approve")
    assert answer.status_code == 503 and answer.json()["type"] == ERROR
    nats.start()
    until("journal is back", lambda: httpx.get(f"{office.server.url}/readyz", timeout=30, trust_env=False).status_code == 200)
    assert office.desk.kinds(approval) == ["requested"]
    card_of(office.click(office.ana, at, "approve"))
    assert office.desk.kinds(approval) == ["requested", "reviewed", "granted"]


# the fake itself

def test_microsofts_own_client_talks_to_the_fake(office: Office) -> None:
    """So that the fake is more than our belief: create, send, update, members."""
    bot = office.bot
    bot.tokens["for-microsoft"] = time.time() + 60
    credentials = BasicTokenAuthentication({"access_token": "for-microsoft"})
    client = ConnectorClient(credentials, base_url=f"{bot.service_url}/teams")
    message = Activity().deserialize({
        "type": "message", "attachments": [{"contentType": CARD, "content": {
            "type": "AdaptiveCard", "version": "1.5", "body": [{"type": "TextBlock", "text": "hi"}]}}]})
    made = client.conversations.create_conversation(ConversationParameters(
        is_group=True, tenant_id=bot.directory, channel_data={"channel": {"id": CHANNELS[0]}}, activity=message))
    assert bot.messages[(made.id, made.activity_id)]
    sent = client.conversations.send_to_conversation(made.id, message)
    client.conversations.update_activity(made.id, sent.id, message)
    assert len(bot.messages[(made.id, sent.id)]) == 2
    members = client.conversations.get_conversation_paged_members(CHANNELS[0], page_size=60)
    assert {m.id for m in members.members} >= {office.ana.id}


# the app package and the webhook

def test_the_app_package(office: Office, tmp_path: Path) -> None:
    out = tmp_path / "app.zip"
    said = cli("teams", "package", "--config", office.server.config, "acme-teams", "-o", out).ok().out
    assert "/teams/acme-teams/messages" in said
    with zipfile.ZipFile(out) as zip_file:
        assert zip_file.testzip() is None
        assert sorted(zip_file.namelist()) == ["color.png", "manifest.json", "outline.png"]
        manifest = json.loads(zip_file.read("manifest.json"))
    assert manifest["bots"][0]["botId"] == office.bot.app_id
    assert manifest["validDomains"] == ["log.example.com"]
    wrong = cli("teams", "package", "--config", office.server.config, "nobody", "-o", out)
    assert wrong.code == 64 and "no [teams.nobody]" in wrong.err


def test_a_webhook_only_tells(make_office: Callable[..., Office]) -> None:
    """A card with a link; no button, no params; the URL stands in no log."""
    with FakeBot() as flow:
        office = make_office(flow=flow)
        approval = office.ask()
        until("a notification", lambda: flow.caught)
        body = json.loads(flow.caught[0].body)
        assert body["type"] == "message" and len(body["attachments"]) == 1
        card = body["attachments"][0]["content"]
        assert card_wrong(card) == [] and approval in as_text(card)
        assert {a["type"] for a in card["actions"]} == {"Action.OpenUrl"}
        assert "DE02120300000000202051" not in as_text(card)
        office.server.stop()
        assert "sig=SECRET" not in office.server.log
