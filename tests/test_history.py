"""P14, P15: conditions on earlier decisions. Two calls at one moment are never both the first, and every count is counted again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli, until
from support.deciding import Deciding, question
from support.events import execution, new_id
from support.faketime import Clock

AGENTS = """\
language: 1
agents:
  - {id: bot, groups: [bots], owners: [p-ana]}
  - {id: other, groups: [bots], owners: [p-ana]}
"""
TOOLS = """\
language: 1
tools:
  - {name: payments, actions: [{name: transfer, effect: write}, {name: list, effect: read}]}
"""
HOUR = 3_600
#: At most one allow in each session.
ONCE = "{call: {tool: payments, actions: [transfer]}, verdicts: [allow], within: 1h, same: session, count: {max: 0}}"
#: The first payment of an agent to an account asks people; once one was made, the others pass.
PAID = "{call: {tool: payments, actions: [transfer]}, verdicts: [allow, approval_needed], outcome: [succeeded], equal: {/payee: /payee}, within: 31d, same: agent, count: {min: 1}}"
#: Two failed calls of a run, and the third is denied.
FAILED = "{call: {tool: payments, actions: [transfer]}, verdicts: [allow], outcome: [failed], within: 1h, same: run, count: {min: 2}}"


def clause(id: str, then: str, history: str = "", agents: str = '["@bots"]', negated: bool = False, action: str = "transfer") -> str:
    """One clause of payments."""
    when = f", when: {{{f'not: {{history: {history}}}' if negated else f'history: {history}'}}}" if history else ""
    return f"  - {{id: {id}, agents: {agents}, tool: payments, actions: [{action}]{when}, then: {then}}}\n"


def folder(path: Path, *clauses: str) -> Path:
    """The files of a tenant with these clauses; listing is always allowed."""
    policy = "language: 1\npolicy: p\nclauses:\n" + clause("lists", "allow", action="list") + "".join(clauses)
    for name, text in {"agents.yaml": AGENTS, "tools.yaml": TOOLS, "policies/p.yaml": policy}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def call(session: str = "s-1", *, agent: str = "bot", run: str = "r-1", payee: str = "DE1", action: str = "transfer") -> dict[str, Any]:
    """Members of a question."""
    return {"agent": {"id": agent, "session": session, "run": run}, "tool": {"name": "payments", "action": action}, "params": {"payee": payee}}


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The clock of the server."""
    return Clock(tmp_path)


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Deciding]:
    """A tenant without policies."""
    with Server(tmp_path / "server") as server:
        server.env = clock.env
        desk = Deciding(server)
        server.restart()
        desk.gateway = server.client(desk.gateway.key)
        yield desk


def verdict(answer: dict[str, Any]) -> tuple[str, str]:
    """Verdict and code."""
    return answer["verdict"], answer["reason"]["code"]


def report(desk: Deciding, answer: dict[str, Any], outcome: str) -> None:
    """Reports what came of a call."""
    desk.server.as_("publisher").publish(execution(answer["decision"]["index"], answer["decision"]["leaf_hash"], outcome=outcome))


def sound(desk: Deciding, path: Path, *, again: int | None = None, believed: int = 0) -> None:
    """The export verifies, every verdict is computed and counted again, and the database is what the entries give."""
    exported = desk.export(path)
    assert cli("verify", "--key", desk.server.vkey, "--export", exported).code == 0
    replayed = desk.replayed(exported)
    assert replayed["code"] == 0 and not replayed["different"] and not replayed["not_replayable"], replayed
    assert replayed["history"]["believed"] == believed, replayed
    assert replayed["history"]["counted_again"] > 0 if again is None else replayed["history"]["counted_again"] == again, replayed
    desk.server.stop()
    desk.server.fsck("--replay").ok()
    desk.server.start()


def carried_out(desk: Deciding, asked: dict[str, Any], answer: dict[str, Any]) -> None:
    """People approve a call; the gateway redeems its token and reports it."""
    id, gateway = answer["approval"]["id"], desk.gateway
    assert desk.review(id, "p-bob").status_code == 200
    token = gateway.http.post(f"{gateway.t}/approvals/{id}/token").json()["token"]
    made = {"nonce": asked["nonce"], "agent": asked["agent"]["id"], "run": asked["agent"]["run"], "params": asked["params"]}
    call = made | {"tool": asked["tool"]["name"], "action": asked["tool"]["action"]}
    body = {"token": token, "redemption_id": new_id("r"), "call": call}
    assert gateway.http.post(f"{gateway.t}/tokens/redeem", json=body).status_code == 200
    reported = gateway.http.post(f"{gateway.t}/approvals/{id}/execution", json={"outcome": "succeeded"})
    assert reported.status_code == 200, reported.text


def test_p14_one_allow_in_each_session(desk: Deciding, tmp_path: Path) -> None:
    """The second one is denied; another session, and another action, are not concerned."""
    desk.activate(folder(tmp_path / "p", clause("once", "allow", ONCE)))
    first = desk.told(**call("s-1"))
    assert verdict(first) == ("allow", "allowed")
    assert verdict(desk.told(**call("s-1"))) == ("deny", "no_clause")
    assert verdict(desk.told(**call("s-1", agent="other"))) == ("deny", "no_clause"), "the session counts, whatever agent"
    assert verdict(desk.told(**call("s-2"))) == ("allow", "allowed")
    assert verdict(desk.told(**call("s-1", action="list"))) == ("allow", "allowed")
    answer = desk.told(agent={"id": "bot"}, tool={"name": "payments", "action": "transfer"}, params={})
    assert verdict(answer) == ("deny", "condition_error") and answer["reason"]["why"] == "the call names no session"
    entry = desk.server.admin.entry(first["decision"]["index"])
    assert entry["event"]["data"]["history"] == [{"same": "session", "tool": "payments", "actions": ["transfer"], "verdicts": ["allow"]}]
    sound(desk, tmp_path / "export", again=4)


def test_p14_a_batch_sees_the_calls_before_it(desk: Deciding, tmp_path: Path) -> None:
    """One of ten is allowed, and it is the first; what counts nothing is not held up."""
    desk.activate(folder(tmp_path / "p", clause("once", "allow", ONCE)))
    batch = [question(**call("s-1", action="list" if nth % 3 == 1 else "transfer")) for nth in range(10)]
    answers = desk.ask(batch).json()["results"]
    assert [answer["verdict"] for answer in answers] == ["allow" if nth % 3 == 1 or nth == 0 else "deny" for nth in range(10)]
    assert [answer["decision"]["id"] for answer in answers] == [one["id"] for one in batch]
    assert not [entry for entry in desk.server.admin.entries() if entry["kind"] == "void"]
    sound(desk, tmp_path / "export")


CLIENTS, SESSIONS = 64, 12


def test_p14_64_clients_and_one_first(desk: Deciding, tmp_path: Path) -> None:
    """All ask for each session at one moment, and the server is killed among them: one is allowed. Other agents' calls go on, and
    none of them is void."""
    desk.activate(folder(tmp_path / "p", clause("once", "allow", ONCE)))
    together = threading.Barrier(CLIENTS)
    told: list[dict[str, Any]] = []

    def client(nth: int) -> None:
        http = desk.server.client(desk.gateway.key)
        for session in range(SESSIONS):
            together.wait(240)
            # The last ones only list, in sessions of their own.
            mine = call(f"s-{session}") if nth < CLIENTS - 8 else call(f"x-{nth}", agent="other", action="list")
            asked = question(**mine)
            if nth == 0 and session == SESSIONS // 2:
                desk.server.restart(kill=True)
            while True:
                try:
                    answer = http.http.post(f"{http.t}/decisions", json=asked)
                except httpx.HTTPError:
                    continue
                if answer.status_code == 200:
                    break
            told.append(answer.json() | {"session": mine["agent"]["session"]})

    threads = [threading.Thread(target=client, args=(nth,), daemon=True) for nth in range(CLIENTS)]
    for thread in threads:
        thread.start()
    until("every client is answered", lambda: not any(thread.is_alive() for thread in threads), 240)
    assert len(told) == CLIENTS * SESSIONS
    entries = desk.server.admin.entries()
    ours = [e["event"]["data"] for e in entries if e["kind"] == "decision" and e["producer"] == "gw-1"]
    codes: dict[str, int] = {}
    for data in ours:
        if data["tool"]["action"] == "transfer":
            codes[data["reason"]["code"]] = codes.get(data["reason"]["code"], 0) + 1
        else:
            assert data["verdict"] == "allow"
    voids = [e["event"] for e in entries if e["kind"] == "void"]
    print({"codes": codes, "voids": len(voids)})
    for session in range(SESSIONS):
        allowed = [data for data in ours if data["verdict"] == "allow" and data["agent"].get("session") == f"s-{session}"]
        assert len(allowed) == 1, (session, len(allowed))
        assert [one["verdict"] for one in told if one["session"] == f"s-{session}"].count("allow") == 1
    assert codes["allowed"] == SESSIONS and codes.get("contended", 0) == 0, codes
    lists = {answer["decision"]["id"] for answer in told if answer["session"].startswith("x-")}
    assert not [void for void in voids if void["id"] in lists], "who counts nothing is not voided"
    sound(desk, tmp_path / "export")


def test_p15_within_ends_by_the_journals_time(desk: Deciding, tmp_path: Path, clock: Clock) -> None:
    """An hour later the first one no longer counts; a second before it does."""
    desk.activate(folder(tmp_path / "p", clause("once", "allow", ONCE)))
    first = desk.told(**call())
    assert verdict(first)[0] == "allow"
    for ahead, expected in ((HOUR - 30, "deny"), (HOUR + 30, "allow"), (HOUR + 60, "deny")):
        desk.server.stop()
        clock.set(ahead)
        desk.server.start()
        desk.gateway = desk.server.client(desk.gateway.key)
        assert verdict(desk.told(**call()))[0] == expected, ahead
    sound(desk, tmp_path / "export")


def test_p15_outcomes_count_when_they_are_reported(desk: Deciding, tmp_path: Path) -> None:
    """The first report of each call counts, of the gateway that asked."""
    desk.activate(folder(tmp_path / "p", clause("pays", "allow"), clause("failed", "deny", FAILED)))
    answers = [desk.told(**call()) for _ in range(3)]
    assert [answer["verdict"] for answer in answers] == ["allow"] * 3
    report(desk, answers[0], "failed")
    report(desk, answers[1], "succeeded")
    report(desk, answers[1], "failed")
    assert verdict(desk.told(**call())) == ("allow", "allowed")
    report(desk, answers[2], "failed")
    assert verdict(desk.told(**call())) == ("deny", "denied")
    assert verdict(desk.told(**call(run="r-2"))) == ("allow", "allowed"), "another run"
    desk.server.kill9()
    desk.server.start()
    desk.gateway = desk.server.client(desk.gateway.key)
    assert verdict(desk.told(**call())) == ("deny", "denied"), "after a crash too"
    sound(desk, tmp_path / "export")


def test_p15_p16_the_first_payment_to_an_account_asks_people(desk: Deciding, tmp_path: Path) -> None:
    """Each account by itself. What was erased is an error, and an error permits nothing."""
    known, new = clause("known", "allow", PAID), clause("new", "approval_needed", PAID, negated=True)
    desk.activate(folder(tmp_path / "p", known, new))
    asked = question(**call(payee="DE1"))
    first = desk.ask(asked).json()
    assert verdict(first) == ("approval_needed", "approval")
    assert verdict(desk.told(**call(payee="DE1"))) == ("approval_needed", "approval"), "people have not answered"
    carried_out(desk, asked, first)
    assert verdict(desk.told(**call(payee="DE1"))) == ("allow", "allowed")
    assert verdict(desk.told(**call(payee="DE2"))) == ("approval_needed", "approval")
    sound(desk, tmp_path / "export")
    desk.gateway = desk.server.client(desk.gateway.key)
    desk.server.admin.erase(first["decision"]["index"], "params")
    answer = desk.told(**call(payee="DE1"))
    assert verdict(answer) == ("deny", "condition_error") and answer["reason"]["why"] == "a value of an earlier call was erased"
    exported = desk.export(tmp_path / "erased")
    replayed = desk.replayed(exported)
    assert replayed["code"] == 0 and replayed["history"]["believed"] > 0 and not replayed["different"], replayed


def test_p15_simulate_counts_as_the_other_policy_would_have(desk: Deciding, tmp_path: Path) -> None:
    """The policy in force gives what was recorded; one that counts finds the second calls."""
    desk.activate(folder(tmp_path / "p", clause("pays", "allow")))
    for session in ("s-1", "s-2", "s-1", "s-1"):
        assert desk.told(**call(session))["verdict"] == "allow"
    exported = desk.export(tmp_path / "export")
    counting = folder(tmp_path / "counting", clause("pays", "allow", ONCE))
    found = json.loads(cli("policy", "simulate", "--json", counting, "--export", exported, "--key", desk.server.vkey).ok().out)
    changed = [(one["from"], one["to"], len(one["indexes"])) for one in found["changed"]]
    assert changed == [("allow", "deny", 2)], found
    desk.activate(counting)
    desk.told(**call("s-9"))
    desk.told(**call("s-9"))
    again = desk.export(tmp_path / "again")
    found = json.loads(cli("policy", "simulate", "--json", counting, "--export", again, "--key", desk.server.vkey).ok().out)
    assert [(one["from"], one["to"], len(one["indexes"])) for one in found["changed"]] == [("allow", "deny", 2)], found


def test_a_test_of_a_policy_says_what_was_decided_before(tmp_path: Path) -> None:
    """`history` of a test; mutation moves the bound."""
    counting = folder(tmp_path / "p", clause("once", "allow", ONCE.replace("max: 0", "max: 1")))
    cases = """\
language: 1
now: "2026-11-27T10:00:00Z"
calls:
  pay: {agent: {id: bot, session: s-1}, tool: {name: payments, action: transfer}, params: {payee: DE1}}
tests:
  - {name: a list, call: pay, with: {/tool/action: list}, verdict: allow}
  - {name: none before, call: pay, verdict: allow}
  - {name: one before, call: pay, history: [{call: pay, ago: 5m, verdict: allow}], verdict: allow}
  - {name: two before, call: pay, history: [{call: pay, ago: 5m, verdict: allow}, {call: pay, ago: 59m, verdict: allow}], verdict: deny, reason: no_clause}
  - {name: one is too long ago, call: pay, history: [{call: pay, ago: 5m, verdict: allow}, {call: pay, ago: 1h, verdict: allow}], verdict: allow}
  - {name: of another session, call: pay, history: [{call: pay, with: {/agent/session: s-2}, ago: 5m, verdict: allow}, {call: pay, ago: 5m, verdict: deny}], verdict: allow}
"""
    (counting / "tests").mkdir()
    (counting / "tests" / "t.yaml").write_text(cases)
    done = cli("policy", "test", "--mutate", counting)
    assert done.code == 0, done.out
    (counting / "tests" / "t.yaml").write_text(cases.replace("ago: 59m", "ago: soon"))
    wrong = cli("policy", "test", counting)
    assert wrong.code != 0 and "tests/t.yaml:9:" in wrong.out + wrong.err, wrong.out + wrong.err
