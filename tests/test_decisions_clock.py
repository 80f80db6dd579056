"""P14, P16: a repetition is no second permission; without a right clock nothing is decided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import NatsServer, Server, until
from support.asking import policy_folder
from support.deciding import CALL, PAYMENTS, Deciding, question
from support.faketime import Clock

VALID_FOR = 60


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The clock of the server."""
    return Clock(tmp_path)


def started(server: Server, clock: Clock) -> Deciding:
    """A tenant whose payments policy is in force, on a server with that clock."""
    server.env = clock.env
    desk = Deciding(server)
    desk.activate(PAYMENTS)
    return desk


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Deciding]:
    """On the embedded journal."""
    with Server(tmp_path / "server") as server:
        yield started(server, clock)


@pytest.fixture
def apart(tmp_path: Path, clock: Clock, nats: NatsServer) -> Iterator[Deciding]:
    """On a broker's journal, whose clock stays as it is."""
    with Server(tmp_path / "server", nats=nats.url) as server:
        yield started(server, clock)


def later(desk: Deciding, clock: Clock, seconds: int) -> None:
    """The server is away until that much time has passed. A running one would see that its clock was set."""
    desk.server.stop()
    clock.set(seconds)
    desk.server.start()
    desk.gateway = desk.server.client(desk.gateway.key)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """An answer that is no verdict."""
    told = answer.json()
    assert (answer.status_code, told["code"]) == (status, code), answer.text
    assert "verdict" not in told and told["detail"]
    return told


def test_p14_a_repeated_allow_is_stale_after_its_time(desk: Deciding, clock: Clock) -> None:
    """Within its time it is repeated with what is left of it; afterwards 409, also in a batch; a new question is answered."""
    asked = question()
    first = desk.ask(asked).json()
    assert first["verdict"] == "allow" and first["valid_for"] == VALID_FOR
    later(desk, clock, 40)
    again = desk.ask(asked).json()
    assert again["repeated"] and again["decision"] == first["decision"] and 1 <= again["valid_for"] <= VALID_FOR - 40
    size = desk.server.admin.size()
    later(desk, clock, VALID_FOR + 3)
    size = desk.server.admin.size()
    told = refused(desk.ask(asked), 409, "decision_stale")
    assert str(first["decision"]["index"]) in told["detail"]
    results = desk.ask([question(), asked, question()]).json()["results"]
    assert [result.get("verdict") or result["problem"]["code"] for result in results] == ["allow", "decision_stale", "allow"]
    assert [e["kind"] for e in desk.server.admin.entries()][size:] == ["decision", "decision"], "a stale question gives no entry"
    # Another call under its id is a conflict still.
    refused(desk.ask(asked | {"params": CALL | {"amount": 1}}), 409, "conflict")


def test_p14_an_allow_counts_to_the_end_of_its_time_and_no_longer(desk: Deciding, clock: Clock) -> None:
    """On both sides of the bound."""
    asked = question()
    assert desk.ask(asked).json()["verdict"] == "allow"
    later(desk, clock, VALID_FOR - 12)
    assert desk.ask(asked).json()["valid_for"] <= 12
    later(desk, clock, VALID_FOR + 1)
    refused(desk.ask(asked), 409, "decision_stale")


def test_p14_an_allow_counts_for_as_long_as_is_configured(desk: Deciding, clock: Clock) -> None:
    """300 s instead of 60: the answer says so, and its repetition is one before and stale after. More than 15 minutes, and none, are refused."""
    server = desk.server
    for wrong in (0, 901):
        server.sections["approvals"]["valid_for_seconds"] = wrong
        server.write_config()
        done = server.run("check-config")
        assert done.code == 64 and "approvals.valid_for_seconds: 1 to 900" in done.err, done.err
    server.sections["approvals"]["valid_for_seconds"] = 300
    server.write_config()
    later(desk, clock, 1)
    asked = question()
    assert desk.ask(asked).json()["valid_for"] == 300
    later(desk, clock, 1 + 290)
    again = desk.ask(asked).json()
    assert again["repeated"] and again["valid_for"] <= 11
    later(desk, clock, 1 + 303)
    assert "300 s" in refused(desk.ask(asked), 409, "decision_stale")["detail"]


def test_p14_what_permits_nothing_is_never_stale(desk: Deciding, clock: Clock) -> None:
    """A denial stays one, and what people were asked about has deadlines of its own."""
    denied = [question(params=CALL | {"amount": 2500001}), question(params={"amount": 1}), question(agent={"id": "nobody"})]
    paused = question(params=CALL | {"amount": 200_000})
    first = [desk.ask(one).json() for one in [*denied, paused]]
    assert [answer["verdict"] for answer in first] == ["deny"] * 3 + ["approval_needed"]
    for passed in (VALID_FOR + 3, 24 * 3600):
        later(desk, clock, passed)
        for one, answer in zip([*denied, paused], first, strict=True):
            again = desk.ask(one).json()
            assert (again["verdict"], again["repeated"], again["decision"]) == (answer["verdict"], True, answer["decision"])
            assert again["reason"] == answer["reason"] and "valid_for" not in again
    assert desk.approval(first[-1]["approval"]["id"])["state"] == "expired"
    assert desk.ask(paused).json()["approval"]["state"] == "expired"
    assert desk.told()["verdict"] == "allow"


@pytest.mark.parametrize("off", [40, -40])
def test_p16_nothing_is_decided_while_the_clocks_are_apart(off: int, apart: Deciding, clock: Clock) -> None:
    """40 s: 503, alone and in a batch, for new questions and for repeated ones, and no entry; with the right clock it goes on."""
    known = question()
    first = apart.ask(known).json()
    assert first["verdict"] == "allow"
    size = apart.server.admin.size()
    clock.set(off)
    for one in (question(), known, question(params=CALL | {"amount": 2500001})):
        refused(apart.ask(one), 503, "not_ready")
    refused(apart.ask([question(), known]), 503, "not_ready")
    assert [entry["kind"] for entry in apart.server.admin.entries()][size:] == []
    clock.set(0)
    until("it to decide again", lambda: apart.ask(known).status_code == 200, 60)
    assert apart.ask(known).json()["decision"] == first["decision"]
    assert apart.told()["verdict"] == "allow"


@pytest.mark.parametrize("off", [5, -5, 20, -20])
def test_p14_small_differences_of_clocks_do_no_harm(off: int, apart: Deciding, clock: Clock, tmp_path: Path) -> None:
    """5 s: decided, recorded with its own clock as a fact, and replayed."""
    clock.set(off)
    told = [apart.told(params=CALL | {"amount": amount}) for amount in (1, 100_000, 2_500_001)]
    assert [answer["verdict"] for answer in told] == ["allow", "allow", "deny"]
    assert all(0 < answer["valid_for"] <= VALID_FOR for answer in told[:2])
    entries = apart.server.admin.entries()
    assert "void" not in {entry["kind"] for entry in entries}
    again = apart.replayed(apart.export(tmp_path / "export"))
    assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, 3), again
    apart.server.stop()
    apart.server.fsck().ok()


@pytest.mark.parametrize("off", [40, -40])
def test_p16_a_clock_that_is_set_while_it_runs_decides_nothing(off: int, desk: Deciding, clock: Clock) -> None:
    """On the embedded journal there is no other clock; the one that counts since boot tells."""
    assert desk.told()["verdict"] == "allow"
    clock.set(off)
    told = refused(desk.ask(question()), 503, "not_ready")
    assert "clock" in told["detail"]
    clock.set(0)
    until("it to decide again", lambda: desk.ask(question()).status_code == 200, 60)


def test_p15_hours_are_judged_by_local_time_and_replayed(desk: Deciding, clock: Clock, tmp_path: Path) -> None:
    """A clause for one half of the day: the verdict changes when the hour does, each is recorded with its local time, and an auditor
    on another clock computes the same."""
    desk.activate(policy_folder(tmp_path / "p", """language: 1
policy: hours
clauses:
  - id: morning
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    when: {hours: {days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "12:00", zone: Europe/Berlin}}
    then: allow
"""))
    verdicts, verdict_of = [], {}
    for passed in (0, 6 * 3600, 12 * 3600, 18 * 3600):
        later(desk, clock, passed)
        told = desk.told()
        facts = [line for line in desk.server.as_("discloser").disclosures(told["decision"]["index"]).splitlines() if "/data/facts" in line]
        assert len(facts) == 1 and "Europe/Berlin" in facts[0], facts
        verdicts.append(told["verdict"])
        verdict_of[told["decision"]["index"]] = told["verdict"]
    assert sorted(verdicts) == ["allow", "allow", "deny", "deny"], verdicts
    again = desk.replayed(desk.export(tmp_path / "export"))
    assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, 4), again
