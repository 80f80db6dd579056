"""P4: one log has one signer; on a journal that several processes reach, a claim in it says which."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rig import successor
from support import NatsServer, Server, event, until


@pytest.fixture
def pair(nats: NatsServer, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A running server, and a stopped one with a copy of its directory as it was before."""
    first = Server.ready(tmp_path / "first", nats=nats.url)
    first.as_("publisher").publish(event())
    first.stop()
    second = Server(tmp_path / "second", nats=nats.url, sections=copy.deepcopy(first.sections))
    for folder in ("data", "keys", "guard"):
        shutil.copytree(first.root / folder, second.root / folder)
    second.keys, second.vkey, second.origin = dict(first.keys), first.vkey, first.origin
    first.start()
    yield first, second
    first.__exit__()
    second.__exit__()


def health(server: Server) -> dict[str, object]:
    """As the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return dict(httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).json())


def claims(server: Server) -> list[dict[str, object]]:
    """Every `signer` entry, oldest first."""
    entries = [server.admin.entry(index) for index in range(server.admin.size())]
    return [entry for entry in entries if entry["kind"] == "signer"]


def has_stopped(server: Server) -> bool:
    return health(server)["halted_logs"] == 1


def listens(server: Server) -> bool:
    try:
        return bool(health(server))
    except httpx.TransportError:
        return False


def refuses(server: Server) -> None:
    answer = server.as_("publisher").post_events(json.dumps(event()).encode())
    assert (answer.status_code, answer.json()["code"]) == (503, "log_halted"), answer.text


def test_p4_each_start_claims_the_log(pair: tuple[Server, Server]) -> None:
    """A claim is an entry, and nothing is signed before it: the checkpoint of the start covers it."""
    first, _ = pair
    before = claims(first)
    first.restart()
    until("the claim", lambda: len(claims(first)) == len(before) + 1)
    made = claims(first)
    assert len({entry["event"]["id"] for entry in made}) == len(made)
    assert all(entry["event"]["by"] == {"server": "signing"} for entry in made)
    first.stop()
    first.fsck().ok()


def test_p4_the_one_that_starts_last_signs(pair: tuple[Server, Server]) -> None:
    """The older one stops at the claim; started again it takes the log back. Nothing that anybody was told is lost."""
    first, second = pair
    told = [first.as_("publisher").publish(event())[0]["index"] for _ in range(3)]
    second.start()
    until("the first to stop", lambda: has_stopped(first))
    assert "another server signs this log" in str(health(first)["halted"])
    refuses(first)
    # It can write nothing, so a load balancer sends requests to the other one.
    assert [httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False).status_code for server in pair] == [503, 200]
    told.append(second.as_("publisher").publish(event())[0]["index"])
    size = first.admin.size()
    assert max(told[:3]) < size <= second.admin.size()
    first.restart()
    until("the second to stop", lambda: has_stopped(second))
    refuses(second)
    told.append(first.as_("publisher").publish(event())[0]["index"])
    for index in told:
        assert first.admin.entry(index)["kind"] == "decision"
    for server in pair:
        # What it signed before the other came stays true: one history.
        proof = first.admin.get("/proofs/consistency", **{"from": server.admin.size(), "to": first.admin.size()})
        assert proof.status_code == 200, proof.text
    assert len(told) == len(set(told))
    for server in pair:
        server.stop()
    first.fsck().ok()


def test_p4_one_that_was_paused_signs_nothing_of_its_own(pair: tuple[Server, Server]) -> None:
    """A process that stood still wakes up as the signer that it was: the journal tells it that it is not, before it signs."""
    first, second = pair
    assert first.process is not None
    os.killpg(first.process.pid, signal.SIGSTOP)
    second.start()
    for _ in range(5):
        second.as_("publisher").publish(event())
    os.killpg(first.process.pid, signal.SIGCONT)
    until("the first to stop", lambda: has_stopped(first), 120)
    refuses(first)
    mine, other = first.admin.size(), second.admin.size()
    assert mine < other
    assert claims(second)[-1]["journal"]["seq"] > first.admin.entry(mine - 1)["journal"]["seq"]


def test_p4_a_backup_claims_after_it_caught_up(pair: tuple[Server, Server]) -> None:
    """The newer database signs as long as the older one reads."""
    first, second = pair
    index = [first.as_("publisher").publish(event())[0]["index"] for _ in range(50)][-1]
    before = first.admin.entry(index)
    first.stop()
    second.start()
    until("the second to sign", lambda: second.as_("publisher").post_events(json.dumps(event()).encode()).status_code == 200)
    assert second.admin.entry(index) == before
    assert claims(second)[-1]["journal"]["seq"] > before["journal"]["seq"]
    second.stop()
    second.fsck().ok()


def test_p4_a_server_that_ended_before_its_claim_left_nothing_damaged(pair: tuple[Server, Server]) -> None:
    """It posted what another had signed, and signed nothing itself: its newest checkpoint is older than its log, and that is sound."""
    first, second = pair
    for _ in range(12):
        first.as_("publisher").publish(*[event() for _ in range(900)])
    first.stop()
    fresh = successor.adopt(first, second.root.parent / "fresh")
    unsigned = 0
    try:
        for _ in range(8):
            fresh.start(ready=False)
            until("it to listen", lambda: listens(fresh))
            fresh.kill9()
            found = fresh.fsck()
            assert found.code == 0, found.out
            log = json.loads(found.out)["logs"][0]["log"]
            unsigned += 0 < log["entries"] <= 10_800
        assert unsigned, "it was never caught on its way"
        fresh.start()
        until("it to sign", lambda: fresh.as_("publisher").post_events(json.dumps(event()).encode()).status_code == 200)
        fresh.stop()
        fresh.fsck().ok()
    finally:
        fresh.__exit__()


def test_p4_a_rotation_waits_for_the_claim(pair: tuple[Server, Server]) -> None:
    """The journal key is rotated while a starting server claims: a claim that the old key signed would be rejected."""
    server, _ = pair
    for _ in range(6):
        server.kill9()
        server.start(ready=False)
        headers = {"Authorization": f"Bearer {server.admin_key.text}"}
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as http:

            def rotated(http: httpx.Client = http) -> bool:
                try:
                    answer = http.post(f"{server.url}/v1/tenants/acme/keys/rotate", json={"use": "journal"})
                except httpx.TransportError:
                    return False
                return answer.status_code == 200

            until("the rotation", rotated)
        until("an event to be posted", lambda: server.as_("publisher").post_events(json.dumps(event()).encode()).status_code == 200, 60)
        until("health to be green", lambda: health(server)["status"] == "green", 60)
    server.stop()
    server.fsck().ok()
