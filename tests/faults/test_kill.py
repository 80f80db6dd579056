"""P1, P2, P4: kill -9 of the server at random moments under load."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

from rig import audit
from rig.load import Load
from support import Server

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
