"""P1, P2, P4: kill -9 of the server at random moments under load."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

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
    """`init` killed at a random moment: run again, it completes, or names the way out; never a log that is broken."""
    moments, completed, named = threading.Event(), 0, 0
    for nth in range(rounds):
        with Server(tmp_path / f"init-{nth}") as server:
            process = subprocess.Popen(
                [str(countersign_bin()), "init", "--config", str(server.config), "--tenant", "acme", "--json"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            moments.wait(rng.random() * 0.12)
            process.kill()
            process.wait()
            done = server.run("init", "--tenant", "acme", "--json")
            if done.code == 0:
                completed += 1
                made = done.json()
                server.keys["admin"] = Key(made["admin_key"])
                server.start()
                assert server.admin.size() >= 2
                assert server.as_("publisher").publish(event())[0]["status"] == "posted"
                server.stop()
                server.fsck().ok()
            else:
                named += 1
                assert done.code not in (101, -6, -11), done
                assert any(word in done.err for word in ("delete", "remove", "exists already")), done.err
    print(f"{completed} completed by a second init, {named} told what to do")
    assert completed
