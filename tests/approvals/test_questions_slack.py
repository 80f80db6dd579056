"""Questions and Slack: one is asked there, and Slack learns that there is one and that it was answered. Denials with a reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from slack_sdk.models.views import View

from support import until
from support.fakeslack import FakeSlack
from support.slack_office import Office


def test_a_question_is_told_in_the_thread_and_to_the_owner(tmp_path: Path) -> None:
    """That somebody asked, and that it was answered; the words are only on the page."""
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            approval = office.asked()
            bob = office.server.client(office.server.add_key(["reviewer"], person="p-bob"))
            call = bob.get(f"/approvals/{approval}").json()
            words = {"digest": call["call"]["digest"], "text": "Which invoice is it?"}
            assert bob.http.post(f"{bob.t}/approvals/{approval}/questions", json=words).status_code == 200
            channel, direct = office.slack.channel(office.channels[approval]), office.slack.channel("D" + office.ana.id[1:])
            card = office.card(approval)
            replies = lambda: [m["text"] for m in channel.messages if m.get("thread_ts") == card["ts"]]  # noqa: E731
            until("the thread has it", lambda: replies() == ["Bob Ito asked question 1"])
            until("Ana is told", lambda: direct.messages)
            assert direct.messages[0]["text"] == "Bob Ito asks about a call of your agent"
            button = direct.messages[0]["blocks"][-1]["elements"][0]
            assert button["url"].endswith(f"/approvals/{approval}/questions")
            enforcer = office.server.client(office.server.add_key(["enforcer"], producer="gw-1"))
            answer = enforcer.http.post(f"{enforcer.t}/approvals/{approval}/questions/1/answer", json={"text": "RE-2088"})
            assert answer.status_code == 200, answer.text
            until("the answer too", lambda: replies() == ["Bob Ito asked question 1", "The gateway answered question 1 of Bob Ito"])
            sent = json.dumps([*channel.messages, *direct.messages])
            assert "invoice" not in sent and "RE-2088" not in sent
            # The card is of the new version: a click on it counts.
            office.click(approval, "approve", office.bob)
            office.shows(approval, "Approved, not redeemed yet")
            until("Ana is told the end", lambda: len(direct.messages) == 2)
            assert len(replies()) == 2, "each is said once"
            assert slack.violations == []
        finally:
            office.server.__exit__()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """For tests that do not disturb each other; sound at the end."""
    with FakeSlack() as slack:
        made = Office(tmp_path_factory.mktemp("questions"), slack)
        try:
            yield made
            assert slack.violations == []
            made.server.stop()
            made.server.fsck().ok()
        finally:
            made.server.__exit__()


def kept_of(office: Office, index: int) -> dict[str, Any]:
    """The members of an evidence entry, as they are disclosed."""
    lines = office.server.as_("discloser").disclosures(index).splitlines()
    return {name: value for _, name, value in map(json.loads, filter(None, lines))}


def refused(answer: Any, block: str) -> str:
    """What the dialog says beside an input."""
    told = answer.json()
    assert answer.status_code == 200 and told["response_action"] == "errors" and list(told["errors"]) == [block], told
    return str(told["errors"][block])


def test_a_question_is_asked_in_slack(office: Office) -> None:
    """The button opens a dialog; the question is recorded with its person, and its words can be erased. The call still waits."""
    approval = office.asked()
    assert office.buttons(approval) == ["approve", "deny", "deny_with_comment", "ask", "open"]
    words = "Which invoice is it? <!channel>"
    answer = office.question(approval, office.bob, words)
    assert (answer.status_code, answer.content) == (200, b"")
    assert office.events(approval) == ["requested", "asked"]
    asked = office.desk.history(approval)[1]
    assert (asked["question"], asked["by"], asked["via"], asked["auth"]["method"]) == (1, "p-bob", "slack", "slack")
    assert "invoice" not in json.dumps(office.server.admin.entry(asked["evidence"]))
    # The raw click is evidence, as that of an answer is: erasable, and nothing of it is plain.
    kept = kept_of(office, asked["evidence"])
    assert (kept["question"], kept["via"], kept["by"]) == (words, "slack", "p-bob")
    raw = json.loads(parse_qs(kept["raw"])["payload"][0])
    assert (raw["type"], raw["user"]["id"], raw["view"]["callback_id"]) == ("view_submission", office.bob.id, "question")
    assert office.bob.id not in json.dumps(office.server.admin.entry(asked["evidence"]))
    channel, card = office.slack.channel(office.channels[approval]), office.card(approval)
    until("the thread has it", lambda: [m["text"] for m in channel.messages if m.get("thread_ts") == card["ts"]] == ["Bob Ito asked question 1"])
    enforcer = office.server.client(office.server.add_key(["enforcer"], producer="gw-1"))
    seen = enforcer.get(f"/approvals/{approval}").json()
    assert (seen["state"], seen["asked"], seen["questions"][0]["text"]) == ("pending", 1, words)
    # The same again changes nothing. Another one waits for the answer.
    assert office.question(approval, office.bob, words).content == b""
    assert "has no answer yet" in refused(office.question(approval, office.bob, "And who is Kim?"), "question")
    reply = enforcer.http.post(f"{enforcer.t}/approvals/{approval}/questions/1/answer", json={"text": "RE-2088"})
    assert reply.status_code == 200, reply.text
    assert office.question(approval, office.bob, "And who is Kim?").content == b""
    texts = lambda: [m["text"] for m in channel.messages if m.get("thread_ts") == card["ts"]]  # noqa: E731
    until("the card to be of now", lambda: "Bob Ito asked question 2" in texts())
    office.click(approval, "approve", office.bob)
    assert office.events(approval) == ["requested", "asked", "answered", "asked", "reviewed", "granted"]
    office.shows(approval, "Approved, not redeemed yet")
    assert office.buttons(approval) == ["open"]


def test_p7_p10_p12_who_may_not_answer_may_not_ask(office: Office) -> None:
    """The owner, somebody who is not asked, another message, another call: each is told, and nothing is recorded."""
    approval, other = office.asked(), office.asked()
    before = office.trace(approval)
    assert "own" in refused(office.question(approval, office.ana, "Mine?"), "question")
    assert "not recorded" in refused(office.question(approval, office.fay, "Who?"), "question")
    assert "Write a question" in refused(office.question(approval, office.bob, "  "), "question")
    view = office.dialog(approval, "ask", office.bob)

    def forged(change: Any) -> Any:
        made = copy.deepcopy(view)
        carried = json.loads(made["private_metadata"])
        change(carried)
        made["private_metadata"] = json.dumps(carried)
        return office.clicks.send(office.clicks.submission(made, office.bob, "Forged?"))

    assert "not a card" in refused(forged(lambda carried: carried.update(m="1.2")), "question")
    assert "not a card" in refused(forged(lambda carried: carried["s"].update(a=other)), "question")
    assert "not recorded" in refused(forged(lambda carried: carried["s"].update(d="AAAAAAAA")), "question")
    assert office.clicks.send(office.clicks.submission(view, office.eva, "Who?")).json()["errors"]["question"].startswith("You are not linked")
    opened = len(office.slack.views)
    office.click(approval, "ask", office.eva)
    assert len(office.slack.views) == opened, "nothing opens for somebody who is not linked"
    assert office.trace(approval) == before and office.events(other) == ["requested"]
    assert office.question(approval, office.cem, "May I?").content == b"", "and who is asked may"
    assert office.events(approval) == ["requested", "asked"]


def test_a_denial_has_a_reason_and_a_text_for_the_agent(office: Office) -> None:
    """The code is in the log, and the gateway reads the text; it can be erased."""
    approval = office.asked()
    answer = office.comment(approval, office.bob, "Seen twice", reason="wrong_amount", for_agent="Ask Kim for the amount")
    assert (answer.status_code, answer.content) == (200, b"")
    reviewed = office.desk.history(approval)[1]
    assert (reviewed["decision"], reviewed["reason"]) == ("deny", "wrong_amount")
    assert "Kim" not in json.dumps(office.server.admin.entry(reviewed["evidence"]))
    enforcer = office.server.client(office.server.add_key(["enforcer"], producer="gw-1"))
    [review] = enforcer.get(f"/approvals/{approval}").json()["reviews"]
    assert (review["reason"], review["for_agent"]) == ("wrong_amount", "Ask Kim for the amount")
    unknown = office.asked()
    view = office.dialog(unknown, "deny_with_comment", office.bob)
    made = office.clicks.submission(view, office.bob, "x")
    made["view"]["state"]["values"]["reason"]["reason"]["selected_option"]["value"] = "because"
    assert office.clicks.send(made).status_code == 400 and office.events(unknown) == ["requested"]


def test_the_dialogs_are_good_for_slacks_models(office: Office) -> None:
    approval = office.asked()
    for action, inputs in (("deny_with_comment", 3), ("ask", 1)):
        view = office.dialog(approval, action, office.bob)
        model = View(**{name: value for name, value in view.items() if name not in ("id", "team_id", "app_id")})
        model.validate_json()
        assert [block.type for block in model.blocks or []] == ["section"] + ["input"] * inputs
