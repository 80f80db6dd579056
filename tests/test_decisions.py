"""`POST T/decisions`: verdicts by policies that people reviewed, recorded first, computed again by anybody."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli
from support.deciding import CALL, PAYMENTS, Deciding, nonce, question
from support.desk import call_digest


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    """A tenant whose payments policy is in force."""
    with Server(tmp_path_factory.mktemp("desk") / "server") as server:
        desk = Deciding(server)
        desk.activate(PAYMENTS)
        yield desk


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies."""
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


def changed(folder: Path, to: Path, old: str, new: str) -> Path:
    """A copy of a folder with a change in its policy and its tests left out."""
    shutil.copytree(folder, to)
    shutil.rmtree(to / "tests", ignore_errors=True)
    path = next((to / "policies").glob("*.yaml"))
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))
    return to


def test_p16_without_a_policy_every_call_is_denied(bare: Deciding) -> None:
    told = bare.told()
    assert (told["verdict"], told["reason"]["code"], told["enforced"]) == ("deny", "no_policy", True)
    assert told["policy"] == {"version": None, "digest": None}
    assert bare.status()["in_force"] is None


def test_p14_a_verdict_is_recorded_and_says_by_which_policy(desk: Deciding) -> None:
    asked = question()
    told = desk.ask(asked).json()
    assert (told["verdict"], told["reason"]["clause"], told["repeated"]) == ("allow", "payments/small-passes", False)
    assert 0 < told["valid_for"] <= 60
    entry = desk.server.admin.entry(told["decision"]["index"])
    data = entry["event"]["data"]
    assert entry["kind"] == "decision" and entry["producer"] == "gw-1" and data["verdict"] == "allow"
    assert data["bundle"] == told["policy"]["digest"] == desk.status()["in_force"]["digest"]
    assert told["call"]["digest"] == data["call"]["digest"] == call_digest(desk.tenant, asked["nonce"], entry["event"], CALL)


@pytest.mark.parametrize(
    ("over", "verdict", "code"),
    [
        ({}, "allow", "allowed"),
        ({"params": CALL | {"amount": 100000}}, "allow", "allowed"),
        ({"params": CALL | {"amount": 100001}}, "approval_needed", "approval"),
        ({"params": CALL | {"amount": 2500001}}, "deny", "no_clause"),
        ({"params": CALL | {"currency": "GBP"}}, "deny", "condition_error"),
        ({"params": CALL | {"reference": "INV-1"}}, "deny", "no_clause"),
        ({"params": {"amount": 1}}, "deny", "condition_error"),
        ({"agent": {"id": "stranger"}}, "deny", "unknown_agent"),
        ({"agent": {"id": "helpdesk-bot"}}, "deny", "no_clause"),
        ({"tool": {"name": "shell", "action": "run"}}, "deny", "no_clause"),
        ({"tool": {"name": "countersign", "action": "policy.activate"}}, "deny", "reserved_tool"),
        ({"tool": {"name": "Countersign-x", "action": "y"}}, "deny", "reserved_tool"),
    ],
)
def test_p16_what_nothing_permits_is_denied(desk: Deciding, over: dict[str, Any], verdict: str, code: str) -> None:
    answer = desk.ask(question(**over))
    if code == "reserved_tool":
        assert answer.status_code == 400 and "countersign" in answer.json()["detail"].lower(), answer.text
        return
    told = answer.json()
    assert (told["verdict"], told["reason"]["code"]) == (verdict, code), told


def test_an_approval_opens_with_the_verdict_and_its_token_is_spent_once(desk: Deciding) -> None:
    asked = question(params=CALL | {"amount": 200000})
    told = desk.ask(asked).json()
    approval = told["approval"]
    assert told["verdict"] == "approval_needed" and approval["state"] == "pending", told
    assert desk.review(approval["id"], "p-ana").status_code in (403, 404), "Ana owns the agent, by agents.yaml"
    assert desk.review(approval["id"], "p-bob").status_code == 200
    gateway = desk.gateway
    minted = gateway.http.post(f"{gateway.t}/approvals/{approval['id']}/token").json()
    call = {"nonce": asked["nonce"], "agent": "payments-bot", "run": "r-1", "tool": "payments", "action": "transfer", "params": asked["params"]}
    redeem = {"token": minted["token"], "redemption_id": "once", "call": call}
    assert gateway.http.post(f"{gateway.t}/tokens/redeem", json=redeem).status_code == 200
    again = gateway.http.post(f"{gateway.t}/tokens/redeem", json=redeem | {"redemption_id": "twice"})
    assert again.json()["code"] == "already_redeemed"


def test_p14_a_repeated_question_gets_the_first_answer_and_another_call_is_a_conflict(desk: Deciding) -> None:
    asked = question()
    first = desk.ask(asked).json()
    with ThreadPoolExecutor(8) as pool:
        answers = [answer.json() for answer in pool.map(desk.ask, [asked] * 16)]
    assert {(a["decision"]["index"], a["verdict"], a["repeated"]) for a in answers} == {(first["decision"]["index"], "allow", True)}
    other = desk.ask(asked | {"params": CALL | {"amount": 7}})
    assert other.status_code == 409 and other.json()["code"] == "conflict"
    nonced = desk.ask(asked | {"nonce": nonce()})
    assert nonced.status_code == 409, "another nonce is another call"


def test_p14_one_question_asked_at_once_has_one_verdict(desk: Deciding) -> None:
    asked = [question() for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = [answer.json() for answer in pool.map(desk.ask, asked * 4)]
    for one in asked:
        told = [a for a, b in zip(answers, asked * 4, strict=True) if b["id"] == one["id"]]
        assert len({a["decision"]["index"] for a in told}) == 1 and [a["repeated"] for a in told].count(False) == 1


def test_an_id_can_not_be_taken_in_advance(desk: Deciding) -> None:
    """A publisher's event with the same source and id has another key."""
    from support.desk import paused

    asked = question()
    publisher = desk.server.client(desk.server.add_key(["publisher"], producer="gw-1"))
    result = publisher.publish(paused(desk.tenant, id=asked["id"], source=asked["source"]))[0]
    assert result["status"] == "posted"
    assert desk.ask(asked).json()["verdict"] == "allow"


def test_reserved_names_belong_to_nobody_else(desk: Deciding) -> None:
    from support.desk import paused

    made = paused(desk.tenant, data={"tool": {"name": "countersign", "action": "policy.activate"}})
    publisher = desk.server.client(desk.server.add_key(["publisher"], producer="gw-2"))
    result = publisher.publish(made)[0]
    assert (result["status"], result["reason"]) == ("rejected", "reserved_tool")
    key = desk.server.admin.http.post(f"{desk.server.admin.t}/keys", json={"roles": ["publisher"], "producer": "countersign"})
    assert key.status_code == 400


def test_a_batch_is_answered_in_its_order(desk: Deciding) -> None:
    asked = [question(), question(params={"amount": 1}), question(nonce=...), question(params=CALL | {"amount": 200000})]
    results = desk.ask(asked).json()["results"]
    told = [result.get("verdict") or result["problem"]["code"] for result in results]
    assert told == ["allow", "deny", "bad_request", "approval_needed"]
    answer = desk.ask([question()] * 101)
    assert answer.status_code == 413


def test_p17_nothing_is_in_force_before_people_approved_it(bare: Deciding) -> None:
    proposed = bare.propose(PAYMENTS).json()
    id = proposed["approval"]["id"]
    assert bare.told()["reason"]["code"] == "no_policy"
    assert bare.review(id, "p-ana").status_code in (403, 404), "the author does not review"
    assert bare.told()["reason"]["code"] == "no_policy"
    enforcer = bare.gateway.http.post(f"{bare.gateway.t}/approvals/{id}/token")
    assert enforcer.status_code == 404, "no gateway can redeem it"
    assert bare.review(id, "p-bob", "deny").status_code == 200
    assert bare.status()["in_force"] is None and bare.approval(id)["state"] == "denied"
    bare.activate(PAYMENTS)
    assert bare.told()["verdict"] == "allow"


def test_p17_without_a_rule_that_names_it_nothing_can_be_activated(tmp_path: Path) -> None:
    rules = '[[rule]]\nname = "everything"\nquorum = {at_least = 1, of = "policy"}\nowner = "none"\n'
    rules = rules.replace("everything", "payments") + '[rule.match]\ntool = "payments"\n\n' + rules
    with Server(tmp_path / "server") as server:
        desk = Deciding(server, rules)
        answer = desk.propose(PAYMENTS)
        assert answer.status_code == 422 and answer.json()["code"] == "not_opened", answer.text
        assert 'tool = "countersign"' in answer.json()["detail"]
        assert desk.told()["reason"]["code"] == "no_policy"


def test_p17_of_two_proposals_for_one_place_the_first_counts(bare: Deciding, tmp_path: Path) -> None:
    bare.activate(PAYMENTS)
    one = changed(PAYMENTS, tmp_path / "one", "at_most: {EUR: 100000,", "at_most: {EUR: 90000,")
    two = changed(PAYMENTS, tmp_path / "two", "at_most: {EUR: 100000,", "at_most: {EUR: 80000,")
    first, second = bare.propose(one).json(), bare.propose(two).json()
    bare.approve(second)
    assert bare.review(first["approval"]["id"], "p-bob").status_code == 200
    bare.wait_over(first["approval"]["id"])
    approval = bare.approval(first["approval"]["id"])
    assert (approval["state"], approval["end_reason"]) == ("revoked", "replaced_meanwhile")
    assert bare.status()["in_force"]["version"] == second["version"]


def test_p17_a_rollback_is_reviewed_too(bare: Deciding, tmp_path: Path) -> None:
    bare.activate(PAYMENTS)
    stricter = changed(PAYMENTS, tmp_path / "stricter", "EUR: 100000", "EUR: 40000")
    bare.activate(stricter)
    assert bare.told()["verdict"] == "approval_needed"
    author = bare.author("p-carla")
    answer = author.http.post(f"{author.t}/policies/1/rollback", json={"comment": "Too strict."})
    assert answer.status_code == 201, answer.text
    rolled = answer.json()
    assert bare.told()["verdict"] == "approval_needed"
    assert bare.review(rolled["approval"]["id"], "p-ana").status_code in (403, 404), "Ana wrote version 1"
    assert bare.review(rolled["approval"]["id"], "p-bob").status_code == 200
    from support.waits import until

    until("version 1 is in force again", lambda: bare.status()["in_force"]["version"] == 1)
    assert bare.told()["verdict"] == "allow"


def test_p17_after_a_restart_the_same_policy_is_in_force(bare: Deciding) -> None:
    bare.activate(PAYMENTS)
    before = bare.told()["policy"]
    bare.server.restart(kill=True)
    assert bare.told()["policy"] == before
    bare.server.stop()
    bare.server.fsck().ok()


def test_p15_anybody_computes_every_verdict_again(desk: Deciding, tmp_path: Path) -> None:
    for amount in (1, 100000, 100001, 2500001):
        desk.told(params=CALL | {"amount": amount})
    desk.told(agent={"id": "stranger"})
    folder = desk.export(tmp_path / "export")
    told = desk.replayed(folder)
    decided = [e for e in desk.server.admin.entries(kind="decision") if "as_of" in e["event"]["data"] and "activates" not in e["event"]["data"]]
    assert (told["code"], told["different"], told["not_replayable"]) == (0, {}, {})
    assert told["replayed"] == told["same"] == len(decided) >= 5
    index = next(i for i, leaf in desk.server.admin.feed(kind="decision") if b'"approval_needed"' in leaf and b'"as_of"' in leaf and b"activates" not in leaf)
    shown = cli("explain", "--json", "--key", desk.server.vkey, "--export", folder, index).ok().json()
    assert shown["same"] and shown["verdict"] == "approval_needed" and shown["clause"] == "payments/medium-needs-people"
    assert json.loads(json.dumps(shown["facts"]))["now"]
    cli("verify", "--key", desk.server.vkey, "--export", folder).ok()
