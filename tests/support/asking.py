"""Gateways that ask until told to stop, repeat what was not answered, and remember every verdict that they were told.

What they remember lives in this process, which no fault touches: tests hold it against the log. `count` does that by a program
that knows nothing of ours.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import httpx

from .binary import cli
from .client import AGAIN, Key
from .deciding import CALL, PAYMENTS, Deciding, question
from .server import Server

#: How long one question is repeated before the load gives up: longer than any restart, shorter than a test.
GIVE_UP_SECONDS = 90.0
#: How many of the last questions any gateway may ask again.
RECENT = 40


def policy_folder(to: Path, policy: str) -> Path:
    """A folder with the agents and tools of the payments example, and this policy."""
    (to / "policies").mkdir(parents=True)
    for name in ("agents.yaml", "tools.yaml"):
        shutil.copy(PAYMENTS / name, to / name)
    (to / "policies" / "p.yaml").write_text(policy)
    return to


def bounded(to: Path, euros: int) -> Path:
    """A folder that allows transfers up to a bound, and nothing else."""
    return policy_folder(to, f"""language: 1
policy: bound
clauses:
  - id: below
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    when: {{amount: {{minor: /amount, currency: /currency, at_most: {{EUR: {euros}}}}}}}
    then: allow
""")


class Asking:
    """Threads that ask without a pause. `repeats`: the share of requests that ask a recent question again, also one that another
    thread is just asking. Amounts are below 40,000, between it and 100,000, or above."""

    def __init__(self, server: Server, key: Key, threads: int, rng: random.Random, *, repeats: float = 0.2) -> None:
        self.server, self.key, self.repeats = server, key, repeats
        #: Every answer: what the counting program reads.
        self.told: list[dict[str, Any]] = []
        self.verdicts: Counter[str] = Counter()
        #: Requests that were sent again, by what they met.
        self.again: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._stop = threading.Event()
        self._grown = threading.Condition()
        seeds = [rng.randrange(2**32) for _ in range(threads)]
        self._threads = [threading.Thread(target=self._work, args=(random.Random(s),), daemon=True) for s in seeds]

    def __enter__(self) -> "Asking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS + 30)

    def wait_for(self, count: int, seconds: float = 90.0) -> None:
        """Waits until that many answers came."""
        with self._grown:
            if not self._grown.wait_for(lambda: len(self.told) >= count or bool(self.wrong), seconds):
                raise AssertionError(f"{len(self.told)} of {count} answers in {seconds} s; met: {self.again}")
        assert not self.wrong, self.wrong[:5]

    def wait_for_more(self, count: int) -> None:
        """Waits for more answers."""
        self.wait_for(len(self.told) + count)

    def finish(self) -> list[dict[str, Any]]:
        """Lets each thread finish its last question; every question is answered then."""
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS + 30)
            assert not thread.is_alive(), "a gateway hangs"
        assert not self.wrong, self.wrong[:5]
        return self.told

    def _work(self, rng: random.Random) -> None:
        try:
            while not self._stop.is_set():
                batch = [self._next(rng) for _ in range(rng.choice([1, 1, 1, 4]))]
                self._ask(batch)
        except Exception as error:  # noqa: BLE001: must reach the test
            with self._grown:
                self.wrong.append(repr(error))
                self._grown.notify_all()

    def _next(self, rng: random.Random) -> dict[str, Any]:
        with self._grown:
            if self._recent and rng.random() < self.repeats:
                return rng.choice(self._recent)
            asked = question(params=CALL | {"amount": rng.choice([1, 39_999, 50_000, 99_999, 3_000_000])})
            self._recent.append(asked)
            return asked

    def _ask(self, batch: list[dict[str, Any]]) -> None:
        """Sends until it is answered: what is repeated is byte for byte the same."""
        body = json.dumps(batch[0] if len(batch) == 1 else batch).encode()
        url = f"{self.server.url}/v1/tenants/{self.server.tenant}/decisions"
        headers = {"Authorization": f"Bearer {self.key.text}", "Content-Type": "application/json"}
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                answer = self._http().post(url, content=body, headers=headers)
                code = "" if answer.status_code == 200 else answer.json()["code"]
                if answer.status_code == 200:
                    results = [answer.json()] if len(batch) == 1 else answer.json()["results"]
                    problems = [r["problem"]["code"] for r in results if "problem" in r]
                    self._take(batch, results)
                    # A verdict that stood when the server was killed may be repeated too late.
                    if not set(problems) & AGAIN:
                        return
                    code = problems[0]
                elif code == "decision_stale":
                    self.again[code] += 1
                    return
                elif code not in AGAIN | {"not_ready", "shutting_down"}:
                    raise AssertionError(f"{answer.status_code} {answer.text}")
            except (httpx.TransportError, json.JSONDecodeError) as error:
                code = type(error).__name__
                self._local.http = None
            with self._grown:
                self.again[code] += 1
            if time.monotonic() > deadline:
                raise AssertionError(f"no answer within {GIVE_UP_SECONDS} s; last: {code}")
            # Not a wait for anything: as many tries a second as a well-behaved gateway makes.
            self._stop.wait(0.01) or time.sleep(0.005)

    def _take(self, batch: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
        with self._grown:
            for asked, result in zip(batch, results, strict=True):
                if "problem" in result:
                    if result["problem"]["code"] not in AGAIN | {"decision_stale"}:
                        self.wrong.append(str(result))
                    continue
                self.verdicts[result["verdict"]] += 1
                self.told.append({
                    "id": asked["id"], "source": asked["source"], "amount": asked["params"]["amount"],
                    "verdict": result["verdict"], "repeated": result["repeated"], "bundle": result["policy"]["digest"],
                    "index": result["decision"]["index"], "leaf_hash": result["decision"]["leaf_hash"],
                    "call": result["call"]["digest"],
                })  # fmt: skip
            self._grown.notify_all()

    _local = threading.local()

    def _http(self) -> httpx.Client:
        if getattr(self._local, "http", None) is None:
            self._local.http = httpx.Client(timeout=60.0, trust_env=False)
        return self._local.http


def count(folder: Path, told: list[dict[str, Any]]) -> dict[str, Any]:
    """What a program that imports nothing of ours counts in an export, beside what gateways were told."""
    answers = folder.with_suffix(".told.json")
    answers.write_text(json.dumps(told))
    script = Path(__file__).with_name("count_verdicts.py")
    done = subprocess.run([sys.executable, "-I", str(script), str(folder), str(answers)], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def everything(desk: Deciding, told: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Counts, computes every verdict again, verifies, stops the server and checks its database. Returns the counts."""
    counted = count(desk.export(folder), told)
    assert counted["wrong"] == [], counted["wrong"][:5]
    again = desk.replayed(folder)
    for name in ("different", "not_replayable"):
        found = list(again[name].items())
        assert not found, f"{len(found)} of {counted['verdicts']} verdicts are {name}: {found[:3]}"
    assert again["code"] == 0
    assert again["same"] == counted["verdicts"], (again["same"], counted)
    cli("verify", "--key", desk.server.vkey, "--export", folder).ok()
    desk.server.stop()
    found = desk.server.fsck()
    assert found.code == 0, found.out[:2000]
    return counted
