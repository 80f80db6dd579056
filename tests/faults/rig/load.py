"""Clients that publish until told to stop, repeat what was not answered, and remember every answer.

What they remember is the claim that the tests hold against the server: it lives in this process, which no fault touches.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from support import Key, Server, event
from support.client import BATCH, ONE

#: How long one request is repeated before the load gives up: longer than any restart, shorter than a test.
GIVE_UP_SECONDS = 60.0


@dataclass
class Ledger:
    """Everything clients were ever told."""

    #: (source, id) → leaf index of the first answer.
    index: dict[tuple[str, str], int] = field(default_factory=dict)
    receipts: list[str] = field(default_factory=list)
    checkpoints: set[str] = field(default_factory=set)
    #: Requests that were sent again after an error or no answer.
    retries: int = 0
    #: Answers by status.
    statuses: dict[str, int] = field(default_factory=dict)
    #: Error codes met on the way.
    codes: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    grown: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.grown = threading.Condition(self.lock)

    def take(self, source: str, events: list[dict[str, Any]], answer: dict[str, Any]) -> None:
        """Remembers the answer to one request."""
        with self.grown:
            self.checkpoints.add(answer["checkpoint"])
            for sent, result in zip(events, answer["results"], strict=True):
                key = (source, sent["id"])
                self.statuses[result["status"]] = self.statuses.get(result["status"], 0) + 1
                if result["status"] not in ("posted", "duplicate") or result["id"] != sent["id"]:
                    self.wrong.append(f"{key}: {result}")
                first = self.index.setdefault(key, result["index"])
                if first != result["index"]:
                    self.wrong.append(f"{key}: index {first}, now {result['index']}")
                if result.get("receipt"):
                    self.receipts.append(result["receipt"])
            self.grown.notify_all()

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Waits until `count` events were acknowledged."""
        with self.grown:
            if not self.grown.wait_for(lambda: len(self.index) >= count or bool(self.wrong), seconds):
                raise AssertionError(f"{len(self.index)} of {count} events in {seconds} s; errors met: {self.codes}")


class Load:
    """Client threads, each with a source of its own and numbered events: singles and batches."""

    def __init__(self, server: Server, key: Key, threads: int, rng: random.Random, *, batch_max: int = 40) -> None:
        self.server, self.key, self.ledger, self.batch_max = server, key, Ledger(), batch_max
        self._stop = threading.Event()
        seeds = [rng.randrange(2**32) for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(nth, random.Random(seed)), daemon=True)
            for nth, seed in enumerate(seeds)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS + 30)

    def finish(self) -> Ledger:
        """Lets every client finish its last request; every event it began to send is answered then."""
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS + 30)
            assert not thread.is_alive(), "a client hangs"
        assert not self.ledger.wrong, self.ledger.wrong[:5]
        return self.ledger

    def _work(self, nth: int, rng: random.Random) -> None:
        source, number = f"/load/{nth}", 0
        try:
            while not self._stop.is_set():
                count = 1 if rng.random() < 0.5 else rng.randint(2, self.batch_max)
                events = []
                for _ in range(count):
                    number += 1
                    # No id is part of another one.
                    made = event(id=f"c{nth}-{number:06}", source=source, sequence=str(number))
                    made["data"]["payload"] = {"note": "x" * rng.randint(0, 400)}
                    events.append(made)
                self._send(source, events)
        except Exception as error:  # noqa: BLE001: must reach the test
            with self.ledger.grown:
                self.ledger.wrong.append(f"{source}: {error!r}")
                self.ledger.grown.notify_all()

    def _send(self, source: str, events: list[dict[str, Any]]) -> None:
        """Sends until it is answered: what is repeated is byte for byte the same."""
        body = json.dumps(events[0] if len(events) == 1 else events).encode()
        kind = ONE if len(events) == 1 else BATCH
        deadline = time.monotonic() + GIVE_UP_SECONDS
        url = f"{self.server.url}/v1/tenants/{self.server.tenant}/events?receipts=full"
        headers = {"Authorization": f"Bearer {self.key.text}", "Content-Type": kind}
        while True:
            try:
                answer = self._http().post(url, content=body, headers=headers)
                if answer.status_code == 200:
                    self.ledger.take(source, events, answer.json())
                    return
                code = answer.json().get("code", "?")
                if answer.status_code != 503:
                    raise AssertionError(f"{answer.status_code} {answer.text}")
            except (httpx.TransportError, json.JSONDecodeError) as error:
                code = type(error).__name__
                self._local.http = None
            with self.ledger.lock:
                self.ledger.retries += 1
                self.ledger.codes[code] = self.ledger.codes.get(code, 0) + 1
            if time.monotonic() > deadline:
                raise AssertionError(f"no answer within {GIVE_UP_SECONDS} s; last: {code}")
            # Not a wait for anything: as many tries a second as a well-behaved client makes.
            self._stop.wait(0.01) or time.sleep(0.005)

    _local = threading.local()

    def _http(self) -> httpx.Client:
        if getattr(self._local, "http", None) is None:
            self._local.http = httpx.Client(timeout=40.0, trust_env=False)
        return self._local.http
