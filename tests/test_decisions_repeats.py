"""P14: a question that is asked again gets the first answer, whole; what it leaves behind is sound."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server
from support.asking import policy_folder
from support.deciding import CALL, PAYMENTS, Deciding, nonce, question

OBLIGING = """language: 1
policy: p
clauses:
  - id: small
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    then: allow
    message: Keep it short.
    obligations: {retain_days: 30, no_training: true}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies; sound at the end, or the test fails."""
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


def ends_sound(desk: Deciding) -> None:
    """Stops the server and checks its database, also against its journal."""
    desk.server.stop()
    found = desk.server.fsck("--replay")
    assert found.code == 0, found.out


def without(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what may differ in a repetition."""
    return {name: value for name, value in answer.items() if name not in ("repeated", "valid_for")}


def test_p14_a_repetition_is_the_whole_first_answer(desk: Deciding, tmp_path: Path) -> None:
    """Every member, for each verdict, also after a restart."""
    desk.activate(policy_folder(tmp_path / "p", OBLIGING + """  - id: large
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    when: {amount: {minor: /amount, currency: /currency, over: {EUR: 100000}}}
    then: approval_needed
    message: People are asked.
    obligations: {retain_days: 90}
  - id: never
    tool: payments
    actions: [transfer]
    when: {params: {/reference: {one_of: [gift]}}}
    then: deny
    message: No gifts.
"""))
    asked = [
        question(), question(params=CALL | {"amount": 100001}), question(params=CALL | {"reference": "gift"}),
        question(params={"amount": "1", "currency": "EUR", "reference": "x"}), question(agent={"id": "nobody"}),
    ]  # fmt: skip
    first = [desk.ask(one).json() for one in asked]
    codes = [answer["reason"]["code"] for answer in first]
    assert codes == ["allowed", "approval", "denied", "condition_error", "unknown_agent"]
    for again in (False, True):
        if again:
            desk.server.restart(kill=True)
        for one, answer in zip(asked, first, strict=True):
            repeated = desk.ask(one).json()
            assert repeated["repeated"] is True and answer["repeated"] is False
            assert without(repeated) == without(answer)
            assert ("valid_for" in repeated) == (answer["verdict"] == "allow")
    batch = desk.ask(asked).json()["results"]
    assert [without(answer) for answer in batch] == [without(answer) for answer in first]


def test_p14_a_repetition_leaves_a_sound_database(desk: Deciding) -> None:
    """Its message is in the journal and gave no entry: fsck knows that."""
    desk.activate(PAYMENTS)
    asked = question()
    first = desk.ask(asked).json()
    assert first["verdict"] == "allow"
    size = desk.server.admin.size()
    assert desk.ask(asked).json()["decision"] == first["decision"]
    assert desk.server.admin.size() == size, "a repetition gives no entry"
    ends_sound(desk)


def test_p11_p14_a_repetition_after_an_erasure_leaves_a_sound_database(desk: Deciding) -> None:
    """The same where the payload of the first was erased before."""
    desk.activate(PAYMENTS)
    asked = question()
    index = desk.ask(asked).json()["decision"]["index"]
    assert desk.server.admin.erase(index)["status"] == "complete"
    repeated = desk.ask(asked)
    assert repeated.status_code == 409 and repeated.json()["code"] == "decision_stale", repeated.text
    ends_sound(desk)


def test_p11_p16_a_permission_never_loses_its_obligations(desk: Deciding, tmp_path: Path) -> None:
    """Whoever executes must meet the obligations. If they were erased, there is no permission to repeat."""
    desk.activate(policy_folder(tmp_path / "p", OBLIGING))
    asked = question()
    first = desk.ask(asked).json()
    assert first["obligations"] == {"retain_days": 30, "no_training": True}
    assert desk.server.admin.erase(first["decision"]["index"])["status"] == "complete"
    answer = desk.ask(asked)
    repeated = answer.json()
    permits = answer.status_code == 200 and repeated["verdict"] == "allow"
    assert not permits or repeated.get("obligations") == first["obligations"], repeated
    # Work still gets done: a new question is answered.
    assert desk.told()["obligations"] == first["obligations"]


def test_p14_a_conflict_is_an_entry_and_takes_nothing(desk: Deciding) -> None:
    """Another call under a known id: 409, a `duplicate_conflict`, and the first answer stands."""
    desk.activate(PAYMENTS)
    asked = question()
    first = desk.ask(asked).json()
    others = [
        {"params": CALL | {"amount": 1}}, {"nonce": nonce()}, {"agent": {"id": "payments-bot", "run": "r-2"}},
        {"agent": {"id": "helpdesk-bot", "run": "r-1"}}, {"tool": {"name": "payments", "action": "payout"}},
    ]  # fmt: skip
    for over in others:
        answer = desk.ask(asked | over)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
    # The same call, differently told, is the same request.
    same = [{"labels": {"a": "b"}}, {"payload": {"prompt": "x"}}, {"context": {"purpose": "y"}}, {"params": dict(reversed(CALL.items()))}]
    for over in same:
        assert desk.ask(asked | over).json()["decision"] == first["decision"]
    kinds = [entry["kind"] for entry in desk.server.admin.entries()]
    assert kinds.count("duplicate_conflict") == len(others) and "void" not in kinds
    # Another gateway's question with this id is another question.
    other = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    told = desk.ask(asked, other).json()
    assert told["verdict"] == "allow" and not told["repeated"] and told["decision"] != first["decision"]


def test_p14_one_batch_with_one_id_twice_has_one_verdict(desk: Deciding) -> None:
    """Also where the two are of different calls."""
    desk.activate(PAYMENTS)
    asked = question()
    same = desk.ask([asked, asked]).json()["results"]
    assert [answer["repeated"] for answer in same] == [False, True]
    assert same[0]["decision"] == same[1]["decision"]
    asked = question()
    other = desk.ask([asked, asked | {"params": CALL | {"amount": 2500001}}, question()]).json()["results"]
    assert other[0]["verdict"] == "allow" and other[1]["problem"]["code"] == "conflict" and other[2]["verdict"] == "allow"


def test_p3_p14_a_new_journal_key_rejects_no_verdict_of_ours(desk: Deciding) -> None:
    """The journal key is replaced while gateways ask: each question is answered, nothing of ours counts as forged, and health does
    not say that somebody else writes to the journal."""
    desk.activate(PAYMENTS)
    server, stop, verdicts, other = desk.server, threading.Event(), [], []

    def ask() -> None:
        gateway = server.client(desk.gateway.key)
        while not stop.is_set():
            answer = desk.ask(question(), gateway)
            (verdicts if answer.status_code == 200 else other).append(answer.text)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for _ in range(15):
            server.admin.rotate("journal")
        stop.set()
        for done in asking:
            done.result(60)
    assert len(verdicts) > 20 and all('"verdict":"allow"' in answer for answer in verdicts)
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    health = httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).json()
    rejected = [entry["event"] for entry in server.admin.entries(kind="rejected")]
    assert (rejected[:3], health["unsigned_messages"], other[:1]) == ([], False, [])
