"""Questions and denials with a reason in Teams: one press opens a small card, the press in there is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botbuilder.schema import Activity, AdaptiveCardInvokeValue

from support import until
from support.desk import as_text
from support.fakebot import FakeBot, Member
from support.schemas import check
from support.teams_limits import inputs
from test_teams import Office, card_of, refused

REASONS = ["wrong_amount", "wrong_recipient", "duplicate", "not_needed", "not_allowed", "unclear", "suspicious", "other"]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """For tests that do not disturb each other; sound at the end."""
    with FakeBot() as bot:
        office = Office(tmp_path_factory.mktemp("questions"), bot)
        try:
            yield office
            assert bot.wrong == []
            office.server.stop()
            office.server.fsck().ok()
        finally:
            office.server.__exit__()


def question(office: Office, person: Member, at: tuple[str, str], text: str, **options: Any) -> httpx.Response:
    """A question, typed and sent on the card."""
    return office.click(person, at, "ask", typed={"question": text}, **options)


def kept_of(office: Office, index: int) -> dict[str, Any]:
    """The members of an evidence entry, as they are disclosed."""
    lines = office.server.as_("discloser").disclosures(index).splitlines()
    return {name: value for _, name, value in map(json.loads, filter(None, lines))}


def gateway(office: Office) -> Any:
    """The enforcer of the calls."""
    return office.server.client(office.server.add_key(["enforcer"], producer="gw-1"))


def test_p7_what_a_press_opens_says_once_more_what_is_decided(office: Office) -> None:
    """Nothing is recorded by the first press; Microsoft's own types read the card and the press."""
    approval, at = office.asked({"amount": 990_000, "currency": "EUR", "to": "Nordwind"})
    card = office.bot.card(at)
    assert [action["title"] for action in card["actions"]] == ["Approve \u2026", "Deny \u2026", "Ask \u2026", "Review in browser"]
    for opened in card["actions"][:2]:
        assert "EUR 9,900.00" in as_text(opened["card"]["body"]), opened["title"]
    assert [item["id"] for item in inputs(card, "approve")] == ["comment"]
    assert [item["id"] for item in inputs(card, "deny")] == ["reason", "for_agent", "deny_comment"]
    assert [choice["value"] for choice in inputs(card, "deny")[0]["choices"]] == REASONS
    [text] = inputs(card, "ask")
    assert (text["id"], text["isRequired"]) == ("question", True)
    press = office.bot.invoke(office.ana, at, office.action(at, "ask"), typed={"question": "Which?"})
    value = AdaptiveCardInvokeValue().deserialize(Activity().deserialize(press).value)
    assert (value.action["verb"], value.action["data"]["question"]) == ("ask", "Which?")
    assert office.desk.kinds(approval) == ["requested"]


def test_p9_a_question_is_asked_in_teams(office: Office) -> None:
    """It is recorded with its person and its raw click; its words can be erased. The call still waits."""
    approval, at = office.asked()
    words = "Which invoice is it? **bold** {{DATE(2026-01-01T00:00:00Z)}}"
    before = office.action(at, "approve")
    card = card_of(question(office, office.bob, at, f" {words}\n"))
    assert "Your question is recorded" in as_text(card) and "invoice" not in as_text(card)
    assert office.desk.kinds(approval) == ["requested", "asked"]
    asked = office.desk.history(approval)[1]
    assert (asked["question"], asked["by"], asked["via"], asked["auth"]["method"]) == (1, "p-bob", "teams", "teams")
    # The raw click is evidence, as that of an answer is: erasable, and nothing of it is plain.
    kept = kept_of(office, asked["evidence"])
    assert (kept["question"], kept["via"], kept["by"]) == (words, "teams", "p-bob")
    raw = json.loads(kept["raw"])
    assert (raw["name"], raw["from"]["aadObjectId"], raw["value"]["action"]["verb"]) == ("adaptiveCard/action", office.bob.object_id, "ask")
    plain = as_text(office.server.admin.entry(asked["evidence"]))
    assert "invoice" not in plain and office.bob.object_id not in plain
    seen = gateway(office).get(f"/approvals/{approval}").json()
    check("approval", seen)
    assert (seen["state"], seen["asked"], seen["questions"][0]["text"]) == ("pending", 1, words)
    # The same again changes nothing; another one waits for the answer. Who saw the card before the question reads it again.
    assert "Your question is recorded" in as_text(card_of(question(office, office.bob, at, words)))
    assert "has no answer yet" in as_text(card_of(question(office, office.bob, at, "And who is Kim?")))
    assert "since it was shown" in as_text(card_of(office.bot.send(office.endpoint, office.bot.invoke(office.ana, at, before))))
    replies = lambda: [as_text(m) for at_, all_ in list(office.bot.messages.items()) if at_[0] == at[0] and at_ != at for m in all_]  # noqa: E731
    until("a reply says so", lambda: any("Bob Ito asked question 1" in text for text in replies()))
    enforcer = gateway(office)
    assert enforcer.http.post(f"{enforcer.t}/approvals/{approval}/questions/1/answer", json={"text": "RE-2088"}).status_code == 200
    until("and that it was answered", lambda: any("answered question 1" in text for text in replies()))
    assert not any("invoice" in text or "RE-2088" in text for text in replies())
    version = enforcer.get(f"/approvals/{approval}").json()["version"]
    until("the card is of now", lambda: office.action(at, "approve")["data"]["version"] == version)
    card_of(office.click(office.ana, at, "approve"))
    assert [kind for kind in office.desk.kinds(approval) if kind != "review_rejected"] == ["requested", "asked", "answered", "reviewed", "granted"]


def test_p7_p10_p12_who_may_not_answer_may_not_ask(office: Office) -> None:
    """The owner, somebody who is not linked, another message, another call, another digest: each is told, nothing is recorded."""
    approval, at = office.asked(agent="agent-7")
    _, elsewhere = office.asked()
    evidence = len(office.clicks(approval))
    assert "own this agent" in as_text(card_of(question(office, office.cem, at, "Mine?")))
    told = as_text(card_of(question(office, office.eva, at, "Who?")))
    assert "question was not recorded" in told and office.eva.object_id in told and "DE02120300000000202051" not in told
    assert "Write a question" in as_text(card_of(question(office, office.bob, at, "  ")))
    press = office.bot.invoke(office.bob, at, office.action(at, "ask"), typed={"question": "Forged?"})
    data = press["value"]["action"]["data"]
    wrong = press | {"value": {"trigger": "manual", "action": press["value"]["action"] | {"data": data | {"digest": "A" * 43}}}}
    assert "not recorded" in as_text(card_of(office.bot.send(office.endpoint, wrong)))
    assert refused(office.bot.send(office.endpoint, press | {"replyToId": elsewhere[1]}))["code"] == "BadRequest"
    refused(question(office, office.bob, at, "By itself?", trigger="automatic"))
    assert office.desk.kinds(approval) == ["requested"] and len(office.clicks(approval)) == evidence
    card_of(question(office, office.bob, at, "And who is asked may?"))
    assert office.desk.kinds(approval) == ["requested", "asked"]


def test_p9_a_denial_has_a_reason_and_a_text_for_the_agent(office: Office) -> None:
    """The code is in the log, and the gateway reads the text; it can be erased."""
    approval, at = office.asked()
    typed = {"reason": "wrong_amount", "for_agent": "Ask Kim for the amount", "deny_comment": "Seen twice"}
    assert "Denied" in as_text(card_of(office.click(office.bob, at, "deny", typed=typed)))
    reviewed = office.desk.history(approval)[1]
    assert (reviewed["decision"], reviewed["reason"]) == ("deny", "wrong_amount")
    kept = kept_of(office, reviewed["evidence"])
    assert (kept["comment"], kept["for_agent"]) == ("Seen twice", "Ask Kim for the amount") and "raw" in kept
    assert "Kim" not in as_text(office.server.admin.entry(reviewed["evidence"]))
    [review] = gateway(office).get(f"/approvals/{approval}").json()["reviews"]
    assert (review["reason"], review["for_agent"]) == ("wrong_amount", "Ask Kim for the amount")
    # Nothing chosen and nothing typed, as Teams sends it; and a code that is none.
    plain, there = office.asked()
    refused(office.click(office.bob, there, "deny", typed={"reason": "because"}))
    assert office.desk.kinds(plain) == ["requested"], "the log would keep the code for ever"
    card_of(office.click(office.bob, there, "deny", typed={"reason": "", "for_agent": "", "deny_comment": ""}))
    answered = office.desk.history(plain)[1]
    assert answered["decision"] == "deny" and answered.get("reason") is None and "for_agent" not in kept_of(office, answered["evidence"])
