"""`proto/examples/gateway.py --decide`: what a gateway does with a verdict, and without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import FlakyFront, until
from support.answers import DENIED, LARGE, SMALL, Answers
from support.fakecountersign import BUSY, GONE, problem
from support.gateway_example import CALL, EXECUTED, finish, scripted, start  # noqa: F401, F811

ALLOWED = ["decisions", "events"]
APPROVED = ["decisions", "state", "token", "redeem", "execution"]


def test_an_allowed_call_is_executed_and_reported(scripted: Callable[..., Any]) -> None:
    """Nobody is asked; the report names the decision."""
    script, done = scripted(decide=())
    assert done.code == 0 and done.json() == EXECUTED, done.err
    assert script.routes == ALLOWED
    (asked,), (event,) = script.bodies("decisions"), script.bodies("events")
    assert asked["agent"] == {"id": CALL["agent"], "run": CALL["run"]} and asked["params"] == CALL["params"]
    decision = script.verdict(asked)["decision"]
    assert event["type"] == "dev.countersign.execution.v1"
    assert event["data"] == {"decision": {name: decision[name] for name in ("index", "leaf_hash")}, "outcome": "succeeded"}


def test_a_verdict_that_needs_people_goes_on_as_before(scripted: Callable[..., Any]) -> None:
    """The approval is the one that the verdict opened; the frozen call is executed."""
    script, done = scripted("pending", "granted", decide=(), told={"verdict": "approval_needed"})
    assert done.code == 0 and done.json() == EXECUTED, done.err
    assert script.routes == ["decisions", "state", "state", "token", "redeem", "execution"]
    (asked,), (spend,) = script.bodies("decisions"), script.bodies("redeem")
    assert spend["call"] == {"nonce": asked["nonce"], **CALL}
    assert "asked: apr-1" in done.err


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"verdict": "deny", "reason": {"code": "no_clause", "message": "Not this one."}}, "deny: no_clause Not this one."),
        ({"verdict": "sanitize"}, "sanitize"),
        ({"verdict": "permit"}, "permit"),
        ({"verdict": None}, "None"),
        ({"enforced": False}, "not_understood"),
        ({"enforced": "true"}, "not_understood"),
        ({"call": {"digest": "daHInlbkNmfOsploZOOJj4dRqKv08fmS6ouQxznXZa4"}}, "not_understood"),
        ({"call": None}, "not understood"),
        ({"valid_for": 0}, "counts no longer"),
        ({"valid_for": None}, "not understood"),
        ({"decision": {}}, "not understood"),
        ({"obligations": {"retain_days": 30, "no_training": True}}, "no_training"),
        ({"obligations": 1}, "not understood"),
    ],
)
def test_p9_no_other_verdict_is_a_yes(scripted: Callable[..., Any], told: dict[str, Any], says: str) -> None:
    """Whatever is not an enforced allow of this call, with obligations that we keep, and in time."""
    script, done = scripted(decide=("--acknowledge", "retain_days"), told=told)
    assert (done.code, done.out) == (1, "") and says in done.err, done.err
    assert script.routes == ["decisions"]


def test_obligations_that_we_keep(scripted: Callable[..., Any]) -> None:
    """Each by its name."""
    options = ("--acknowledge", "retain_days", "--acknowledge", "no_training")
    script, done = scripted(decide=options, told={"obligations": {"retain_days": 30, "no_training": True}})
    assert done.code == 0 and script.routes == ALLOWED, done.err


def test_p9_nobody_is_asked_in_vain(scripted: Callable[..., Any]) -> None:
    """If people could say yes, but we do not know an obligation, we cancel at once."""
    script, done = scripted(decide=(), told={"verdict": "approval_needed", "obligations": {"retain_days": 30}})
    assert (done.code, done.out) == (1, "") and "retain_days" in done.err
    assert script.routes == ["decisions", "cancel"]


@pytest.mark.parametrize("state", ["not_opened", "denied", "lapsed"])
def test_p9_an_approval_that_is_over_is_not_a_yes(scripted: Callable[..., Any], state: str) -> None:
    """Also if the question was asked before."""
    told = {"verdict": "approval_needed", "approval": {"id": "apr-1", "state": state, "reason": "no_rule"}}
    script, done = scripted(state, decide=(), told=told)
    assert (done.code, done.out) == (1, "") and state in done.err
    assert "token" not in script.routes and ("state" in script.routes) == (state != "not_opened")


def test_an_approval_that_opens_later(scripted: Callable[..., Any]) -> None:
    """The same question shows how it is."""
    told = {"verdict": "approval_needed", "enforced": True, "approval": {"id": "apr-1", "state": "opening"}}
    script, done = scripted("granted", decide=(), decisions=[(200, told)] * 2, told={"verdict": "approval_needed"})
    assert done.code == 0, done.err
    assert script.routes == ["decisions", "decisions", *APPROVED]
    bodies = script.bodies("decisions")
    assert bodies.count(bodies[0]) == 3


def test_p9_policies_that_only_observe_permit_nothing(scripted: Callable[..., Any]) -> None:
    """The gateway decides as before, and says so: here it asks people itself, about a decision of its own."""
    script, done = scripted("denied", decide=(), told={"enforced": None})
    assert (done.code, done.out) == (1, "") and "only observed" in done.err
    assert script.routes == ["decisions", "approvals", "state"]
    script, done = scripted("granted", decide=(), told={"enforced": None, "verdict": "deny"})
    assert done.code == 0 and done.json() == EXECUTED
    assert script.routes == ["decisions", "approvals", "state", "token", "redeem", "execution"]


def test_p14_a_question_is_repeated_as_it_was(scripted: Callable[..., Any]) -> None:
    """So is the report."""
    script, done = scripted(decide=(), decisions=[BUSY, GONE], events=[GONE, BUSY])
    assert done.code == 0, done.err
    for route in ALLOWED:
        bodies = script.bodies(route)
        assert len(bodies) == 3 and bodies.count(bodies[0]) == 3, route


def test_p9_a_stale_verdict_is_asked_for_anew(scripted: Callable[..., Any]) -> None:
    """As another question."""
    script, done = scripted(decide=(), decisions=[problem(409, "decision_stale")])
    assert done.code == 0 and done.json() == EXECUTED, done.err
    first, second = script.bodies("decisions")
    assert first["id"] != second["id"] and first["nonce"] != second["nonce"] and first["params"] == second["params"]


@pytest.mark.parametrize("status", [(409, "conflict"), (400, "bad_request"), (403, "role_missing"), (302, "http_302"), (409, "unheard_of")])
def test_p9_a_question_that_is_refused(scripted: Callable[..., Any], status: tuple[int, str]) -> None:
    """It stops; a redirect is followed nowhere."""
    script, done = scripted(decide=(), decisions=[problem(*status) if status[0] > 399 else (302, [])])
    assert (done.code, done.out) == (1, "") and status[1] in done.err
    assert script.routes == ["decisions"]


def test_p9_no_answer_in_time_is_not_a_yes(scripted: Callable[..., Any]) -> None:
    """The same question until our own deadline; then nothing."""
    script, done = scripted(decide=("--answer-within", 3), decisions=[BUSY] * 60)
    assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    bodies = script.bodies("decisions")
    assert 2 <= len(bodies) <= 4 and bodies.count(bodies[0]) == len(bodies)


def test_an_executed_call_stays_executed(scripted: Callable[..., Any]) -> None:
    """A report that is refused is said."""
    rejected = {"results": [{"status": "rejected", "reason": "data"}]}
    for answer in ((200, rejected), problem(409, "conflict"), (200, {})):
        _, done = scripted(decide=(), events=[answer])
        assert done.code == 0 and done.json() == EXECUTED and "report was not taken" in done.err


def payment(params: dict[str, Any], **over: Any) -> dict[str, Any]:
    """A call of the agent that the policies know."""
    return {"agent": "payments-bot", "run": None, "tool": "payments", "action": "transfer", "params": params} | over


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    """A tenant whose policies give every answer."""
    answers = Answers(tmp_path)
    with answers.server:
        yield answers


@pytest.fixture
def asks(answers: Answers, tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the example on a call, so that it asks for the verdict."""

    def asks(call: dict[str, Any], *args: object, url: str = "") -> subprocess.Popen[bytes]:
        return start(url or answers.url, tmp_path, "--decide", *args, key=answers.key.text, call=call)

    return asks


def shown(call: dict[str, Any]) -> dict[str, Any]:
    """What the example prints when it executes a call."""
    return {name: call[name] for name in EXECUTED}


def test_p14_an_allowed_call_is_in_the_log_with_its_execution(answers: Answers, asks: Callable[..., Any]) -> None:
    """Decided, executed, reported; the report names the decision."""
    done = finish(asks(payment(SMALL)))
    assert done.code == 0 and done.json() == shown(payment(SMALL)), done.err
    (decision,), (execution,) = answers.decisions(), answers.executions()
    assert decision["event"]["data"]["verdict"] == "allow"
    named = answers.server.admin.entry(execution["decision"]["index"])
    assert named == decision
    assert answers.export(answers.server.root / "export")
    assert answers.replayed(answers.server.root / "export")["same"] == 1


def test_p16_a_denied_call_is_not_executed(answers: Answers, asks: Callable[..., Any]) -> None:
    """It says why."""
    done = finish(asks(payment(DENIED)))
    assert (done.code, done.out) == (1, "") and "deny: no_clause" in done.err
    assert not answers.executions()


@pytest.mark.parametrize("how", ["approve", "deny", "nobody"])
def test_p9_people_decide_what_the_policies_leave_to_them(answers: Answers, asks: Callable[..., Any], how: str) -> None:
    """Approved meanwhile, denied meanwhile, nobody in time."""
    gateway = asks(payment(LARGE), "--wait", 1 if how == "nobody" else 60)
    id = answers.pending()["id"]
    if how != "nobody":
        assert answers.review(id, "p-bob", how).status_code == 200
    done = finish(gateway)
    state = answers.approval(id)["state"]
    if how == "approve":
        assert done.code == 0 and done.json() == shown(payment(LARGE)) and state == "completed", done.err
    else:
        assert (done.code, done.out) == (1, "") and state == ("denied" if how == "deny" else "cancelled"), done.err


def test_p9_obligations_of_a_real_verdict(answers: Answers, asks: Callable[..., Any]) -> None:
    """Known ones, unknown ones, and unknown ones where people would be asked."""
    write, drop = payment({"name": "a"}, tool="archive", action="write"), payment({"name": "a"}, tool="archive", action="drop")
    done = finish(asks(write))
    assert (done.code, done.out) == (1, "") and "retain_days" in done.err
    assert finish(asks(write, "--acknowledge", "retain_days")).code == 0
    done = finish(asks(drop))
    assert (done.code, done.out) == (1, "") and "retain_days" in done.err
    recent = answers.server.admin.get("/approvals", state="recent").json()["approvals"]
    assert ("cancelled", "obligation_unknown") in [(approval["state"], approval["end_reason"]) for approval in recent]
    assert len(answers.executions()) == 1


def test_p14_an_answer_that_is_lost_is_asked_for_again(answers: Answers, asks: Callable[..., Any]) -> None:
    """One decision, one execution."""
    with FlakyFront(answers.server.url) as front:
        front.fail = ["cut", "reset", 503]
        done = finish(asks(payment(SMALL), url=front.url + f"/v1/tenants/{answers.tenant}"))
        assert done.code == 0 and done.json() == shown(payment(SMALL)), done.err
        assert front.seen == 5
    assert len(answers.decisions()) == len(answers.executions()) == 1


def test_p9_a_server_that_stops_after_it_decided(answers: Answers, asks: Callable[..., Any]) -> None:
    """The allow is recorded and its answer is lost: nothing is executed."""
    with FlakyFront(answers.server.url) as front:
        front.fail = ["cut", *["reset"] * 60]
        done = finish(asks(payment(SMALL), "--answer-within", 2, url=front.url + f"/v1/tenants/{answers.tenant}"))
        assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    assert [entry["event"]["data"]["verdict"] for entry in answers.decisions()] == ["allow"]
    assert not answers.executions()


def test_p9_a_server_that_stops_while_people_are_asked(answers: Answers, asks: Callable[..., Any]) -> None:
    """It gives up; and if the server comes back in time, it goes on."""
    gateway = asks(payment(LARGE), "--answer-within", 2)
    id = answers.pending()["id"]
    answers.server.kill9()
    done = finish(gateway)
    assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    answers.server.start()
    gateway = asks(payment(LARGE | {"amount": 200_001}))
    until("another one", lambda: len(answers.reviewer("p-bob").get("/approvals", state="pending").json()["approvals"]) == 2)
    answers.server.restart(kill=True)
    other = next(a["id"] for a in answers.reviewer("p-bob").get("/approvals", state="pending").json()["approvals"] if a["id"] != id)
    assert answers.review(other, "p-bob").status_code == 200
    done = finish(gateway)
    assert done.code == 0 and done.json()["params"]["amount"] == 200_001, done.err
    assert answers.approval(id)["state"] == "pending"


def test_p9_a_tenant_that_only_observes(tmp_path: Path) -> None:
    """Its verdict is recorded; the gateway asks people as before."""
    answers = Answers(tmp_path, only_observes=True)
    with answers.server:
        gateway = start(answers.url, tmp_path, "--decide", key=answers.key.text, call=payment(SMALL))
        id = answers.pending()["id"]
        assert answers.review(id, "p-bob").status_code == 200
        done = finish(gateway)
        assert done.code == 0 and done.json() == shown(payment(SMALL)) and "only observed (deny)" in done.err, done.err
        modes = [entry["event"]["data"].get("mode") for entry in answers.decisions()]
        assert modes == ["shadow", None]
