"""P16: verdicts that are told before they are recorded, because reviewed clauses say so. They are counted, and come to the log through any crash."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, Server, cli, until
from support.asking import policy_folder
from support.client import AGAIN
from support.deciding import CALL, Deciding, question
from support.events import new_id

READS = """language: 1
policy: p
clauses:
  - {id: reads, agents: ["@finance-bots"], tool: payments, actions: [list], when: {not: {purpose: [audit]}}, then: allow, record: later}
  - {id: slowly, agents: ["@finance-bots"], tool: payments, actions: [list], when: {params: {/all: {equals: true}}}, then: allow}
  - {id: pays, agents: ["@finance-bots"], tool: payments, actions: [transfer], then: allow}
  - {id: observed, agents: ["@finance-bots"], tool: payments, actions: [payout], then: deny}
"""
LIST = {"name": "payments", "action": "list"}


def reading(**over: Any) -> dict[str, Any]:
    """A question about a reading call."""
    return question(**{"tool": LIST, "params": {"all": False}, "context": {"purpose": "support"}} | over)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant whose policy lets reading calls be told before they are recorded."""
    with Server(tmp_path / "server", spool_dir=tmp_path / "spool") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "reads", READS))
        yield desk


def ours(desk: Deciding) -> dict[str, tuple[int, dict[str, Any]]]:
    """Index and entry of each decision of ours of the gateway, by the question's id."""
    found = {}
    for index, leaf in desk.server.admin.feed():
        entry = json.loads(leaf)
        if entry["kind"] == "decision" and entry["producer"] == "gw-1":
            assert entry["event"]["id"] not in found, "one question, one entry"
            found[entry["event"]["id"]] = (index, entry)
    return found


def again(desk: Deciding) -> None:
    """The gateway's connection after a restart."""
    desk.gateway = desk.server.client(desk.gateway.key)


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    return dict(server.client(server.operator_key).http.get("/healthz").json())


def early(server: Server) -> dict[str, int]:
    """The metric of verdicts that were told early."""
    lines = server.client(server.operator_key).http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("countersign_verdicts_told_early{")]
    return {line.split('reason="')[1].split('"')[0]: int(line.rsplit(" ", 1)[1]) for line in found}


def test_p16_only_reading_calls_whose_clause_says_so_are_told_before_they_are_recorded(desk: Deciding, tmp_path: Path) -> None:
    """Told: no index, a number of the run. Soon it is in the log with that number, is answered from there, and is replayed. Everything else is recorded first."""
    asked = [reading() for _ in range(20)]
    told = [desk.ask(one).json() for one in asked]
    assert all((t["verdict"], t["recorded"], t["repeated"]) == ("allow", False, False) and 0 < t["valid_for"] <= 60 for t in told), told
    assert [t["decision"]["number"] for t in told] == list(range(1, 21)) and len({t["decision"]["spool"] for t in told}) == 1
    assert all(set(t["decision"]) == {"id", "spool", "number"} for t in told)
    batch = desk.ask([reading(), question(), reading()]).json()["results"]
    assert ["recorded" in result for result in batch] == [True, False, True]
    first = {
        "a clause that matched does not say so": reading(params={"all": True}), "a call that writes": question(),
        "nothing permits": reading(context={"purpose": "audit"}), "denied": question(tool={"name": "payments", "action": "payout"}),
        "an agent that is not registered": reading(agent={"id": "stranger"}),
    }  # fmt: skip
    for why, one in first.items():
        answer = desk.ask(one).json()
        assert "recorded" not in answer and "index" in answer["decision"], (why, answer)
    until("all of it is in the log", lambda: {one["id"] for one in asked} <= set(ours(desk)) and early(desk.server)["waiting"] == 0)
    entries = ours(desk)
    for one, answer in zip(asked, told, strict=True):
        index, entry = entries[one["id"]]
        data = entry["event"]["data"]
        spool = answer["decision"]
        assert data["spool"] == {"id": spool["spool"], "number": spool["number"], "why": "later"}
        assert (data["verdict"], data["call"]["digest"]) == ("allow", answer["call"]["digest"])
        receipt = desk.server.admin.receipt(producer="gw-1", source=one["source"], id=one["id"], ours="true")
        assert f"index {index}\n" in receipt
    again = desk.ask(asked[0]).json()
    assert (again["repeated"], again["decision"]["index"]) == (True, entries[asked[0]["id"]][0]) and "recorded" not in again
    other = desk.ask(asked[0] | {"params": {"all": False, "more": 1}})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert early(desk.server) == {"later": 22, "unavailable": 0, "void": 0, "waiting": 0}
    assert health(desk.server)["status"] == "green"
    replayed = desk.replayed(desk.export(tmp_path / "export"))
    assert (replayed["different"], replayed["not_replayable"], replayed["same"]) == ({}, {}, len(entries)), replayed
    assert list((tmp_path / "spool").iterdir()) and all(file.stat().st_size == 0 for file in (tmp_path / "spool").iterdir())
    desk.server.stop()
    desk.server.fsck().ok()


def test_p16_without_a_spool_every_verdict_is_recorded_first(tmp_path: Path) -> None:
    """The same policy on a server whose configuration has no spool."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "reads", READS))
        answer = desk.ask(reading()).json()
        assert answer["verdict"] == "allow" and "recorded" not in answer and "index" in answer["decision"]


@pytest.mark.parametrize(("clause", "said"), [
    ("actions: [list], then: deny, record: later", "for allow clauses alone"), ("actions: [list], then: approval_needed, unavailable: allow", "for allow clauses alone"),
    ("actions: [list, transfer], then: allow, record: later", "effect: read"), ("actions: [transfer], then: allow, unavailable: allow", "effect: read"),
    ("then: allow, record: later", "lists its actions"), ("actions: [list], then: allow, record: now", "record is later"),
    ("actions: [list], then: allow, unavailable: deny", "unavailable is allow"),
])  # fmt: skip
def test_p16_nothing_else_may_be_told_early(tmp_path: Path, clause: str, said: str) -> None:
    """Mistakes that `check` finds with their place; the schema completes both keys."""
    text = f'language: 1\npolicy: p\nclauses:\n  - {{id: a, agents: ["@finance-bots"], tool: payments, {clause}}}\n'
    done = cli("policy", "check", policy_folder(tmp_path / "p", text))
    assert done.code == 64 and said in done.err and "policies/p.yaml:4:" in done.err, done.err


def test_p17_reviewers_read_that_more_is_told_early(tmp_path: Path) -> None:
    """Each of the two widens; taking it away narrows."""
    without = policy_folder(tmp_path / "without", READS.replace(", record: later", ""))
    both = policy_folder(tmp_path / "both", READS.replace("record: later", "record: later, unavailable: allow"))
    wider = cli("policy", "diff", "--json", without, both).ok().json()
    assert [change["consequence"] for change in wider] == ["more is allowed"] * 2 and "record: later" in str(wider) and "unavailable: allow" in str(wider)
    assert [change["consequence"] for change in cli("policy", "diff", "--json", both, without).ok().json()] == ["less is allowed"] * 2


class Readers:
    """Threads that ask about reading calls, and remember what they were told."""

    def __init__(self, server: Server, key: Key, count: int) -> None:
        self.server, self.key = server, key
        self.told: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def _work(self) -> None:
        headers = {"Authorization": f"Bearer {self.key.text}"}
        while not self._stop.is_set():
            try:
                with httpx.Client(headers=headers, timeout=30, trust_env=False) as http:
                    while not self._stop.is_set():
                        answer = http.post(f"{self.server.url}/v1/tenants/{self.server.tenant}/decisions", json=reading())
                        if answer.status_code == 200:
                            self.told.append(answer.json())
                        elif answer.json()["code"] not in AGAIN | {"not_ready", "shutting_down"}:
                            self.wrong.append(answer.text)
                            return
            except (httpx.TransportError, json.JSONDecodeError):
                time.sleep(0.05)  # the server is being started again


@pytest.mark.parametrize("seed", range(2))
def test_p16_what_was_told_is_posted_after_kill_9(desk: Deciding, seed: int) -> None:
    """kill -9 five times under load. Whatever a gateway was told is in the log once, with its number, or void and marked as told where the restart took long."""
    rng = random.Random(seed)
    server = desk.server
    key = server.add_key(["enforcer"], producer="gw-1")
    with Readers(server, key, 8) as readers:
        for _ in range(5):
            before = len(readers.told)
            until("verdicts are told", lambda: len(readers.told) > before + rng.randrange(50, 400) or bool(readers.wrong), 120)
            server.restart(kill=True)
    assert not readers.wrong, readers.wrong
    wanted = {(told["decision"]["spool"], told["decision"]["number"]) for told in readers.told if told.get("recorded") is False}
    assert len(wanted) > 250 and len({run for run, _ in wanted}) >= 5, "it was told early, in each run"

    def posted() -> set[tuple[str, int]]:
        entries = [json.loads(leaf) for _, leaf in server.admin.feed()]
        places = [e["event"].get("data", {}).get("spool") for e in entries if e["kind"] == "decision"]
        void = [e["event"]["spool"] for e in entries if e["kind"] == "void" and e["event"].get("told")]
        stands = [(place["id"], place["number"]) for place in places if place]
        assert len(stands) == len(set(stands)), "no number stands twice"
        assert len(stands) > len(wanted) / 2, "most of it stands"
        return {*stands, *((place["id"], place["number"]) for place in void)}

    until("all that was told is in the log", lambda: wanted <= posted(), 120)
    server.stop()
    server.fsck().ok()


def spooled(desk: Deciding, folder: Path, events: list[dict[str, Any]]) -> None:
    """A file of the spool as an earlier run of this server left it, by the format's page alone."""
    key = bytes.fromhex((desk.server.keys_dir / "seal.key").read_text().strip())
    tag, raw = bytes(32), b""
    for event in events:
        place = {name: event["data"]["spool"][name] for name in ("id", "number")}
        record = json.dumps({"place": place, "producer": "gw-1", "body": json.dumps(event)}).encode()
        tag = hmac.new(key, b"countersign-seal-v1\nspool\nacme.7\n" + tag + record, hashlib.sha256).digest()
        raw += len(record).to_bytes(4, "big") + record + tag
    (folder / "acme.7").write_bytes(raw)


def event_of(desk: Deciding, bundle: str, number: int) -> dict[str, Any]:
    """A decision that was told, by some bundle."""
    now = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return {
        "specversion": "1.0", "type": "dev.countersign.decision.v1", "id": new_id("t"), "source": "/gateways/gw-1", "time": f"{seconds}.{now % 10**9:09}Z",
        "data": {
            "agent": {"id": "payments-bot"}, "tool": LIST, "verdict": "allow", "mode": "enforce", "as_of": 1, "call": {"digest": "A" * 43}, "bundle": bundle,
            "policy": {"id": "p/reads", "version": "1"}, "reason": {"code": "allowed"}, "spool": {"id": "ab" * 16, "number": number, "why": "later"},
            "payload": {"params": {}, "nonce": "n"},
        },
    }  # fmt: skip


def test_p16_what_was_told_and_does_not_stand_is_void_told_and_alarmed(desk: Deciding, tmp_path: Path) -> None:
    """A record of the run before was judged by a bundle that is no longer in force. Its void entry says that it was told; health is red until the next
    start; the other record stands."""
    server = desk.server
    in_force = desk.status()["in_force"]["digest"]
    server.stop()
    events = [event_of(desk, "B" * 43, 1), event_of(desk, in_force, 2)]
    spooled(desk, tmp_path / "spool", events)
    server.start()
    again(desk)
    until("the spool is empty", lambda: early(server)["waiting"] == 0 and early(server)["void"] == 1, 120)
    (void,) = [e for e in server.admin.entries() if e["kind"] == "void"]
    assert void["event"] == {
        "reason": "bundle", "source": "/gateways/gw-1", "id": events[0]["id"], "told": True, "spool": {"id": "ab" * 16, "number": 1},
    }  # fmt: skip
    assert ours(desk)[events[1]["id"]][1]["event"]["data"]["spool"]["number"] == 2
    document = health(server)
    assert document["status"] == "red" and "told_void" in [t["code"] for tenant in document["tenants"] for t in tenant["troubles"]], document
    assert desk.ask(reading()).json()["recorded"] is False, "it goes on"
    server.restart()
    until("the alarm is over", lambda: health(server)["status"] == "green", 120)
    assert len([e for e in server.admin.entries() if e["kind"] == "void"]) == 1, "posted once"


def test_p16_a_changed_spool_stops_telling_early_and_nothing_else(desk: Deciding, tmp_path: Path) -> None:
    """One byte of a record is another one: verdicts are recorded first, health says which file. Without the file it is as before."""
    server = desk.server
    in_force = desk.status()["in_force"]["digest"]
    server.stop()
    spooled(desk, tmp_path / "spool", [event_of(desk, in_force, 1), event_of(desk, in_force, 2)])
    file = tmp_path / "spool" / "acme.7"
    raw = bytearray(file.read_bytes())
    raw[100] ^= 1
    file.write_bytes(raw)
    server.start()
    again(desk)
    answer = desk.ask(reading()).json()
    assert answer["verdict"] == "allow" and "recorded" not in answer
    troubles = [t for tenant in health(server)["tenants"] for t in tenant["troubles"]]
    assert [t["code"] for t in troubles] == ["spool"] and str(file) in troubles[0]["detail"], troubles
    server.stop()
    file.rename(tmp_path / "kept")
    server.start()
    again(desk)
    assert desk.ask(reading(params=CALL)).json()["recorded"] is False and health(server)["status"] == "green"
