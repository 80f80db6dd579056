"""The third answer: a person who is asked puts a question; the gateway or an owner of the agent answers; nothing is permitted by
it and no deadline moves. And what a denial says to the agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import Server, until
from support.gateway_example import CALL, finish, start
from support.house import House, Paused, code
from support.pages import Visitor, hidden
from support.schemas import check

RULES = """
[[rule]]
name = "two of finance"
quorum = {at_least = 2, of = "finance"}
deny = 2
"""
PEOPLE = [
    {"id": "p-ana", "name": "Ana Lima", "groups": ["finance"]},
    {"id": "p-bob", "name": "Bob <b>Ito</b>", "groups": ["finance"]},
    {"id": "p-cem", "name": "Cem Demir", "groups": ["finance"]},
    {"id": "p-eva", "name": "Eva Stone", "groups": ["legal"]},
    {"id": "p-own", "name": "Owen Reed", "groups": ["finance"], "owns": ["asked-bot"]},
]
PARAMS = {"amount": 125_000, "currency": "EUR", "to": {"name": "Nordwind GmbH"}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server; sound at the end, and every approval one that could have happened."""
    root = tmp_path_factory.mktemp("questions")
    server = Server(root / "server", sections={"approvals": {"dir": root / "approvals"}})
    server.settings["public_url"] = server.url
    server.write_config()
    house = House(server, RULES, PEOPLE)
    server.init()
    server.start()
    house.apply()
    try:
        yield house
        house.close()
    finally:
        house.server.__exit__()


@pytest.fixture
def call(house: House) -> Paused:
    """A call that waits, of Owen's agent."""
    return house.pause(PARAMS, owner="p-own")


def ask(house: House, call: Paused, person: str = "p-ana", text: str = "Which invoice is it?", **over: Any) -> Any:
    """A person's question."""
    body = {"digest": call.digest, "text": text} | over
    return house.post(house.person(person), f"/approvals/{call.id}/questions", body)


def reply(house: House, call: Paused, text: str = "RE-2088", number: object = 1, by: Any = None) -> Any:
    """The gateway's answer."""
    return house.post(by or house.gateway(), f"/approvals/{call.id}/questions/{number}/answer", {"text": text})


def window(house: House, person: str) -> Visitor:
    """A browser in which this person is signed in."""
    visitor = Visitor(house.server)
    key = house.server.add_key(["reviewer"], person=person)
    assert visitor.sign_in(person, key.text).status_code == 303
    return visitor


def test_p9_a_question_comes_back_answered_and_permits_nothing(house: House, call: Paused) -> None:
    before = house.state(call)
    assert before["questions"] == [] and "asked" not in before
    assert ask(house, call).status_code == 200
    found = house.state(call, wait=20, after=before["version"])
    assert (found["state"], found["asked"], found["approval_deadline"]) == ("pending", 1, before["approval_deadline"])
    (question,) = found["questions"]
    assert (question["by"], question["text"]) == ("p-ana", "Which invoice is it?") and "answer" not in question
    assert code(house.token(call)) == (409, "not_now"), "a question permits nothing"
    answer = reply(house, call)
    assert answer.status_code == 200, answer.text
    check("approval", answer.json())
    assert answer.json()["questions"][0]["answer"] | {"at": ""} == {"by": "producer:gw-1", "at": "", "text": "RE-2088"}
    assert "asked" not in answer.json() and answer.json()["approval_deadline"] == before["approval_deadline"]
    assert house.kinds_of(call) == ["requested", "asked", "answered"]
    # Whoever saw an older version must read again.
    assert code(house.review(call, "p-bob", version=before["version"])) == (409, "stale")
    assert house.review(call, "p-ana").status_code == 200 and house.review(call, "p-bob").status_code == 200
    assert house.state(call)["state"] == "granted"
    assert code(ask(house, call, "p-cem")) == (409, "not_now") and code(reply(house, call, "other")) == (409, "not_now")


def test_p2_the_words_are_payload_and_can_be_erased(house: House, call: Paused) -> None:
    """An auditor sees that somebody asked, and no word; after the erasure nobody does."""
    assert ask(house, call, text="Is Zoë Müller the payee?").status_code == 200
    assert reply(house, call, "It is Zoë.").status_code == 200
    auditor = house.server.client(house.server.add_key(["auditor"]))
    seen = auditor.get(f"/approvals/{call.id}").json()["questions"]
    assert [set(question) for question in seen] == [{"question", "by", "at", "answer"}] and set(seen[0]["answer"]) == {"by", "at"}
    entries = b"".join(leaf for _, leaf in house.server.admin.feed())
    assert "Zoë".encode() not in entries and b"Zo\\u" not in entries
    for event in house.events(call):
        if event["type"] in ("asked", "answered"):
            house.server.admin.erase(event["evidence"])
    left = house.state(call)["questions"]
    assert "text" not in left[0] and "text" not in left[0]["answer"]


def test_p13_questions_are_bounded(house: House, call: Paused) -> None:
    """Five a call, one of each person that waits; the same again changes nothing."""
    assert code(ask(house, call, text="  ")) == (400, "bad_request") and code(ask(house, call, text="x" * 2001)) == (400, "bad_request")
    assert ask(house, call).status_code == 200
    version = house.state(call)["version"]
    assert ask(house, call).status_code == 200 and house.state(call)["version"] == version, "a repetition"
    assert code(ask(house, call, text="And why?")) == (409, "too_many_questions")
    assert code(reply(house, call, number=2)) == (409, "no_question") and code(reply(house, call, number=0)) == (409, "no_question")
    assert reply(house, call).status_code == 200 and reply(house, call).status_code == 200
    assert code(reply(house, call, "something else")) == (409, "already_answered")
    for number in range(2, 6):
        assert ask(house, call, text=f"{number}?").status_code == 200
        assert reply(house, call, f"{number}!", number).status_code == 200
    assert code(ask(house, call, text="6?")) == (409, "too_many_questions") and code(ask(house, call, "p-bob")) == (409, "too_many_questions")
    assert house.count(call) == {"requested": 1, "asked": 5, "answered": 5}


def test_p10_who_may_ask_and_answer(house: House, call: Paused) -> None:
    nobody = code(ask(house, call, "p-eva"))
    assert nobody == (404, "not_found") and code(ask(house, call, "p-own")) == nobody, "nobody who is not asked, and no owner"
    assert code(ask(house, call, digest="A" * 43)) == (409, "digest_mismatch")
    assert ask(house, call).status_code == 200
    for other in (house.gateway("gw-2"), house.person("p-bob"), house.person("p-own")):
        assert code(reply(house, call, by=other)) == nobody
    assert house.count(call) == {"requested": 1, "asked": 1}


def test_the_owner_reads_and_answers_on_a_page_of_its_own(house: House, call: Paused) -> None:
    ana, owner, eva = window(house, "p-ana"), window(house, "p-own"), window(house, "p-eva")
    page, questions = f"/approvals/{call.id}", f"/approvals/{call.id}/questions"
    assert owner.get(questions).status_code == 404, "nobody asked yet"
    form = hidden(ana.get(f"{page}/ask").text)
    text = "Which <i>invoice</i>\nis it?"
    assert ana.post(f"{page}/ask", form | {"text": text}).headers["location"].endswith(page)
    assert "Questions to you" in until("the inbox has it", lambda: owner.get("/").text if call.id in owner.get("/").text else None)
    shown = owner.get(questions)
    assert shown.status_code == 200 and "Which &#60;i&#62;invoice&#60;/i&#62;\nis it?" in shown.text and "payments" in shown.text
    assert "Nordwind" not in shown.text and "1,250.00" not in shown.text, "the owner sees no value of the call"
    assert owner.get(page).status_code == 404 and eva.get(questions).status_code == 404
    assert ana.get(questions).status_code == 404, "Ana owns no agent"
    form = hidden(shown.text)
    for bad in ({"token": "x"}, {"text": ""}, {"text": "x" * 2001}, {"question": "x"}):
        assert owner.post(questions, form | {"text": "RE-2088"} | bad).status_code in (400, 403)
    assert eva.post(questions, form | {"text": "RE-2088"}).status_code == 404
    assert owner.post(questions, form | {"text": "RE-2088"}, Origin="https://evil.example").status_code == 403
    assert house.count(call) == {"requested": 1, "asked": 1}
    assert owner.post(questions, form | {"text": "RE-2088"}).headers["location"].endswith(questions)
    seen = ana.get(page).text
    assert "Owen Reed" in seen and "RE-2088" in seen
    assert house.events(call)[-1]["by"] == "p-own"
    assert house.state(call)["questions"][0]["answer"]["by"] == "p-own"
    assert code(reply(house, call, "late")) == (409, "already_answered")
    # Whoever is signed out is led back to the page.
    assert Visitor(house.server).get(questions).headers["location"].endswith(f"/signin?next={questions}")


def test_the_page_shows_question_and_answer_to_all_who_are_asked(house: House, call: Paused) -> None:
    assert ask(house, call, text="Why <today>?").status_code == 200
    assert reply(house, call, "\u202eIt is due.").status_code == 200
    for person in ("p-ana", "p-bob"):
        text = window(house, person).get(f"/approvals/{call.id}").text
        assert "Why &#60;today&#62;?" in text and "\\u{202e}It is due." in text and "Gateway gw-1" in text and "nobody has checked this" in text


def test_the_example_gateway_answers(house: House, tmp_path: Path) -> None:
    key = house.server.keys["gateway gw-1"] if "gateway gw-1" in house.server.keys else None
    house.gateway()
    key = key or house.server.keys["gateway gw-1"]
    url = f"{house.server.url}/v1/tenants/{house.tenant}"
    process = start(url, tmp_path, "--answer", "RE-2088", "--wait", 60, key=key.text, call=CALL | {"agent": "asked-bot"})
    try:
        mine = lambda a: a["call"]["agent"] == "asked-bot"  # noqa: E731
        found = until("it waits", lambda: next(filter(mine, house.server.admin.get("/approvals", state="pending", limit=200).json()["approvals"]), None))
        body = {"digest": found["call"]["digest"], "text": "Which invoice?"}
        assert house.post(house.person("p-ana"), f"/approvals/{found['id']}/questions", body).status_code == 200
        at = f"/approvals/{found['id']}"
        told = until("it answered", lambda: (now := house.person("p-ana").get(at).json())["questions"][0].get("answer") and now)
        assert told["questions"][0]["answer"]["text"] == "RE-2088"
        for person in ("p-ana", "p-bob"):
            version = house.person(person).get(at).json()["version"]
            body = {"decision": "deny", "digest": found["call"]["digest"], "version": version, "reason": "wrong_amount", "for_agent": "At most EUR 1,000."}
            assert house.post(house.person(person), f"{at}/reviews", body).status_code == 200
    finally:
        done = finish(process)
    assert (done.code, done.out) == (1, "")
    assert "p-ana asks: Which invoice?" in done.err and "p-bob denied: wrong_amount At most EUR 1,000." in done.err


def test_a_denial_tells_the_gateway_why(house: House, call: Paused) -> None:
    """Code and text reach the gateway; the comment is for people."""
    assert code(house.review(call, "p-ana", reason="wrong_amount")) == (400, "bad_request"), "not beside an approval"
    assert code(house.review(call, "p-ana", for_agent="x")) == (400, "bad_request")
    assert house.review(call, "p-ana", "deny", reason="because").status_code == 400
    assert code(house.review(call, "p-ana", "deny", for_agent="x" * 2001)) == (400, "bad_request")
    said = {"reason": "wrong_recipient", "for_agent": "Pay the supplier's own account.", "comment": "looks odd"}
    assert house.review(call, "p-ana", "deny", **said).status_code == 200
    assert house.review(call, "p-bob", "deny").status_code == 200
    found = house.state(call)
    assert found["state"] == "denied"
    first, second = found["reviews"]
    assert (first["reason"], first["for_agent"]) == ("wrong_recipient", "Pay the supplier's own account.")
    assert "reason" not in second and "for_agent" not in second and "looks odd" not in json.dumps(found)
    reviewed = [event for event in house.events(call) if event["type"] == "reviewed"]
    assert [event.get("reason") for event in reviewed] == ["wrong_recipient", None]
    auditor = house.server.client(house.server.add_key(["auditor"])).get(f"/approvals/{call.id}").json()["reviews"][0]
    assert auditor["reason"] == "wrong_recipient" and "for_agent" not in auditor
    house.server.admin.erase(reviewed[0]["evidence"])
    assert "for_agent" not in house.state(call)["reviews"][0]


def test_what_was_typed_survives_going_back(house: House, call: Paused) -> None:
    """And is recorded once it is sent, not before."""
    ana, path = window(house, "p-ana"), f"/approvals/{call.id}"
    typed = {"comment": "looks <odd>", "reason": "suspicious", "for_agent": "Stop."}
    confirm = ana.post(f"{path}/confirm", ana.fields(path) | {"decision": "deny"})
    back = ana.post(f"{path}/keep", hidden(confirm.text) | typed)
    assert back.status_code == 200 and "looks &#60;odd&#62;" in back.text and "Something is suspicious" in back.text and "Stop." in back.text
    assert house.kinds_of(call) == ["requested"]
    again = ana.post(f"{path}/confirm", hidden(back.text) | {"decision": "deny"} | typed)
    assert "looks &#60;odd&#62;</textarea>" in again.text and '<option value="suspicious" selected>' in again.text
    assert ana.post(f"{path}/keep", hidden(confirm.text)).status_code == 303, "nothing was typed"
    assert ana.post(f"{path}/keep", hidden(confirm.text) | {"reason": "because"}).status_code == 400
    assert ana.post(f"{path}/review", hidden(again.text) | typed).status_code == 303
    assert house.state(call)["reviews"][0] | {"at": ""} == {"by": "p-ana", "at": "", "decision": "deny", "reason": "suspicious", "for_agent": "Stop."}
    assert "For the agent" in ana.get(path).text


def test_p7_a_call_that_can_not_be_shown_can_be_denied(house: House) -> None:
    call = house.pause({"lines": [{"sku": f"A-{n}", "qty": 1, "at": n} for n in range(700)]}, owner="p-own")
    for person in ("p-ana", "p-bob"):
        visitor, path = window(house, person), f"/approvals/{call.id}"
        page = visitor.get(path)
        assert "can’t be shown whole" in page.text and 'value="deny"' in page.text and 'value="approve"' not in page.text
        fields = hidden(page.text)
        refused = visitor.post(f"{path}/confirm", fields | {"decision": "approve"})
        assert refused.status_code == 409
        confirm = visitor.post(f"{path}/confirm", fields | {"decision": "deny"})
        assert confirm.status_code == 200
        approve = visitor.post(f"{path}/review", hidden(confirm.text) | {"decision": "approve"})
        assert approve.status_code == 409, "no yes, however it is sent"
        assert visitor.post(f"{path}/review", hidden(confirm.text)).status_code == 303
    assert house.state(call)["state"] == "denied"
