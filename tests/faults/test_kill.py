"""P1, P2, P4: kill -9 of the server at random moments under load."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rig import audit
from rig.load import Load
from support import Key, Server, countersign_bin, event

THREADS = 6


def test_p1_p2_p4_kill_9_at_random_moments(
    make_server: Callable[..., Server], rng: random.Random, rounds: int, tmp_path: Path
) -> None:
    """Every receipt ever given holds, every event is there once, every checkpoint is of one history."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    moments = threading.Event()
    with Load(server, key, THREADS, rng) as load:
        for _ in range(rounds):
            # The moment: after some answers, and a random part of a few commits later.
            load.ledger.wait_for(len(load.ledger.index) + rng.randint(1, 120))
            moments.wait(rng.random() * 0.02)
            server.kill9()
            server.start()
            load.ledger.checkpoints.add(server.admin.checkpoint())
        load.ledger.wait_for(len(load.ledger.index) + 50)
        told = load.finish()
    print(f"{rounds} kills: {len(told.index)} events, {len(told.receipts)} receipts, {len(told.checkpoints)} checkpoints, "
          f"{told.retries} retries, {told.statuses}")
    # The test met what it is about: requests cut off by a kill, and some of them had been posted.
    assert told.retries >= rounds
    assert rounds < 20 or told.statuses.get("duplicate", 0) > 0
    entries = audit.everything(server, told, tmp_path / "receipts")
    kinds = audit.kinds(entries)
    # Retried requests are whole: no gap, no conflict, nothing rejected, nothing that nobody sent.
    assert set(kinds) == {"genesis", "access", "decision"} and kinds["decision"] == len(told.index), kinds


def test_p1_kill_9_while_it_starts(make_server: Callable[..., Server], rng: random.Random, rounds: int, tmp_path: Path) -> None:
    """Killed again and again before it is ready: recovery interrupted by the next crash loses nothing either."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    with Load(server, key, 2, rng) as load:
        load.ledger.wait_for(300)
        server.kill9()
        moments = threading.Event()
        for _ in range(rounds):
            server.start(ready=False)
            moments.wait(rng.random() * 0.06)
            server.kill9()
        server.start()
        load.ledger.wait_for(len(load.ledger.index) + 50)
        told = load.finish()
    audit.everything(server, told, tmp_path / "receipts")


def test_p1_sigterm_under_load_answers_what_it_took(
    make_server: Callable[..., Server], rng: random.Random, tmp_path: Path
) -> None:
    """An orderly end, again and again under load: status 0, and nothing acknowledged is lost."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    with Load(server, key, THREADS, rng) as load:
        for _ in range(5):
            load.ledger.wait_for(len(load.ledger.index) + rng.randint(1, 200))
            server.stop()
            server.start()
        load.ledger.wait_for(len(load.ledger.index) + 50)
        told = load.finish()
    audit.everything(server, told, tmp_path / "receipts")


def test_p1_what_was_told_is_shown(make_server: Callable[..., Server]) -> None:
    """Whoever got an answer and asks at once, on any connection, finds what was answered."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    wrong: list[str] = []

    def ask() -> None:
        publisher, reader = server.client(key), server.client(server.admin_key)
        for _ in range(80):
            index = publisher.publish(event())[0]["index"]
            if reader.size() <= index:
                wrong.append(f"{index} was posted, the checkpoint is older")
            for path, query in ((f"/entries/{index}", {}), ("/receipts", {"index": index})):
                status = reader.get(path, **query).status_code
                if status != 200:
                    wrong.append(f"{path} {query}: {status}")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:5]
    server.stop()
    server.fsck().ok()


def test_p1_kill_9_of_init(tmp_path: Path, rng: random.Random, rounds: int) -> None:
    """`init` killed at a random moment: run again, it completes, or says that there is something already (see
    `test_p1_keys_of_a_log_that_was_never_made`). What is left can be checked and served; it is never broken."""
    moments, completed, refused = threading.Event(), 0, []
    times = []
    for nth in range(3):
        server = Server(tmp_path / f"whole-{nth}")
        begun = time.monotonic()
        server.init()
        times.append(time.monotonic() - begun)
    whole = min(times)
    for nth in range(min(rounds, 15)):
        with Server(tmp_path / f"init-{nth}") as server:
            process = subprocess.Popen(
                [str(countersign_bin()), "init", "--config", str(server.config), "--tenant", "acme", "--json"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            moments.wait(rng.random() * whole)
            process.kill()
            process.wait()
            done = server.run("init", "--tenant", "acme", "--json")
            server.fsck().ok()
            server.start()
            if done.code == 0:
                completed += 1
                server.keys["admin"] = Key(done.json()["admin_key"])
                assert server.as_("publisher").publish(event())[0]["status"] == "posted"
            else:
                assert done.code not in (101, -6, -11), done
                refused.append(done.err.strip())
            server.stop()
            server.fsck().ok()
    print(f"{completed} completed by a second init, {len(refused)} refused")
    assert all(any(word in said for word in ("exists", "delete", "remove", "move")) for said in refused), refused
    # Some were killed before there was a tenant, or this machine is too slow to tell.
    assert completed or min(times) * 3 < max(times), refused


def test_p12_kill_9_while_a_tenant_is_made(make_server: Callable[..., Server], rng: random.Random) -> None:
    """A half-made tenant disturbs nobody, and the log of the others goes on."""
    server, moments = make_server(), threading.Event()
    publisher = server.add_key(["publisher"], "gw-1")
    for nth in range(10):
        maker = threading.Thread(target=make_tenant, args=(server, f"t{nth}"))
        maker.start()
        moments.wait(rng.random() * 0.02)
        server.kill9()
        maker.join(20)
        server.start()
        assert httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).json()["status"] == "green"
        assert server.client(publisher).publish(event())[0]["status"] == "posted"
    server.stop()
    server.fsck().ok()


def make_tenant(server: Server, name: str) -> None:
    """Asks for a tenant; the server may be gone before it answers."""
    try:
        httpx.post(f"{server.url}/v1/tenants", json={"tenant": name}, timeout=20, trust_env=False,
                   headers={"Authorization": f"Bearer {server.operator_key.text}"})
    except httpx.TransportError:
        pass
