"""Every kind of sink over many entries, with everything on the way that can go wrong; then what arrived is counted (P19).

A short run has 3,000 entries, `--long` has 100,000. Each kind meets the same troubles, as far as it can have them: the receiver
dies three times, the line is cut and falls silent, answers are lost, 429 and 503 with and without `Retry-After`, records that are
refused, a slow reader. At the end everything is there, doubles are told by their index, and order holds within a batch.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, event, until
from support.volume import KINDS, Side, index

EXAMPLE = Path(__file__).parent.parent / "proto" / "examples" / "sink_check.py"
#: Answers that are no success, each with and without a time to wait for.
BUSY = [(429, {"Retry-After": "1"}, b""), (429, {}, b"slow down"), (503, {"Retry-After": "1"}, b""), (503, {}, b"later"), (500, {}, b"")]
#: Records that are refused, by their place in the log.
POISON = 3


class Log:
    """A log that is filled once, and the sinks that it gets one after the other."""

    def __init__(self, root: Path, entries: int) -> None:
        self.server = Server.ready(root / "server")
        self.poison: set[int] = set()
        gateway = self.server.as_("publisher")
        for begin in range(0, entries, 500):
            results = gateway.publish(*(event() for _ in range(500)))
            if begin % (entries // POISON) < 500:
                self.poison.add(results[250]["index"])
        self.entries = entries
        #: 60 batches, or 200.
        self.batch = 50 if entries < 10_000 else 500

    def configure(self, sections: dict[str, Any]) -> None:
        """The running server takes another configuration."""
        self.server.sections = sections
        self.server.write_config()
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGHUP)
        until("the sinks to be as configured", lambda: len(self.server.admin.get("/sinks").json()["sinks"]) == len(sections))

    def status(self) -> dict[str, Any]:
        """How the sink stands."""
        (sink,) = self.server.admin.get("/sinks").json()["sinks"]
        return sink

    def nudge(self) -> dict[str, Any]:
        """The same; a sink that has sent everything gets something to send."""
        standing = self.status()
        if standing["lag"]["entries"] == 0:
            self.server.as_("publisher").publish(event())
        return standing


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, long: bool) -> Iterator[Log]:
    """One log for all kinds."""
    made = Log(tmp_path_factory.mktemp("volume"), 100_000 if long else 3_000)
    yield made
    made.server.stop()


def troubles(log: Log, side: Side) -> list[Callable[[], None]]:
    """What happens on the way, in order. Each returns when the sink has noticed it, and it is over."""

    def fails() -> None:
        until("the sink to notice", lambda: log.nudge()["state"] != "delivers")

    def killed() -> None:
        side.kill()
        fails()
        side.back()

    def server_killed() -> None:
        log.server.restart(kill=True)
        until("the sink to go on", lambda: log.status()["from"] > 0)

    def both_killed() -> None:
        side.kill()
        # A sink of syslog goes back after a start, on a short log to its beginning, and stays there.
        log.server.restart(kill=True)
        fails()
        side.back()

    found = [killed, killed, server_killed, killed]
    if wire := side.wire:
        # A server does not start without the folder of its files.
        found.append(both_killed)

        def cut() -> None:
            wire.cut()
            fails()
            wire.mend()

        def silent() -> None:
            wire.silence()
            time.sleep(1)  # so long nothing arrives, and nobody says so
            wire.cut()
            fails()
            wire.mend()

        def slow() -> None:
            before = log.status()["from"]
            wire.slow(400_000)
            until("something to arrive slowly", lambda: log.nudge()["from"] > before)
            wire.mend()

        found += [cut, silent, slow]
        if side.http:

            def lost() -> None:
                wire.lose_answers = 2
                until("two answers to be lost", lambda: not wire.lose_answers)

            found.append(lost)
    if server := side.http:
        for answer in BUSY:

            def busy(answer: Any = answer) -> None:
                server.planned.append(answer)
                until("the answer to be given", lambda: not server.planned)

            found.append(busy)
        if hasattr(server, "busy"):

            def some_are_busy() -> None:
                server.busy = 7
                until("items to be refused for now", lambda: not server.busy)

            found.append(some_are_busy)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_p19_everything_arrives_of_many(log: Log, tmp_path: Path, kind: str) -> None:
    """See above."""
    begun = time.monotonic()
    with KINDS[kind](tmp_path) as side:
        poison = log.poison if side.refuses else set()
        if side.http and side.refuses:
            side.http.poison = lambda record: record["index"] in poison
        name = kind.replace("_", "-")
        log.configure({f"sink.{name}": {"tenant": "acme", "batch_entries": log.batch, "alarm_after_seconds": 5} | side.sink})
        planned = troubles(log, side)
        for number, trouble in enumerate(planned, 1):
            share = log.entries * number // (len(planned) + 1)
            until("the place of a trouble", lambda: log.status()["from"] >= share, 300)
            # Nobody answers syslog: what waits in buffers counts as written, and a trouble takes it from there.
            assert "syslog" in kind or log.status()["from"] < log.entries, f"everything had arrived before trouble {number}"
            trouble()
        until("all to arrive", lambda: (now := log.status())["lag"]["entries"] == 0 and now["state"] == "delivers", 600)
        assert log.status()["letters"] == len(poison)
        if side.http:
            side.http.poison = lambda record: False
        for letter in poison:
            log.server.remote("sink resend", "--tenant", "acme", "--from", letter, "--to", letter + 1, "--reason", "INC-9", name).ok()
        until("all to arrive", lambda: log.status()["lag"]["entries"] == 0)
        standing, said = log.status(), count(log, side)
        assert standing["level"] == side.level and standing["letters"] == 0
        if kind == "elastic":
            assert said["doubled"] == 0, "what is there is not created twice"
        print(f"volume: {kind}: {said}, letters {len(poison)}, troubles {len(planned)}, {time.monotonic() - begun:.1f} s")
        log.configure({})


def count(log: Log, side: Side) -> dict[str, int]:
    """What arrived: everything, in order within a batch; the receiver's own program says so too."""
    until("the last to be read", lambda: missing(log, side) == 0, 60)
    assert not side.wrong, side.wrong[:3]
    batches = side.batches()
    came: Counter[int] = Counter()
    for batch in batches:
        indexes = [at for at in map(index, batch) if at is not None]
        assert indexes == sorted(set(indexes)), "order holds within a batch"
        came.update(indexes)
    text = "\n".join(line for batch in batches for line in batch) + "\n"
    done = subprocess.run([sys.executable, EXAMPLE], input=text, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout.strip().endswith("whole"), done.stdout[-2000:] + done.stderr
    doubled = sum(number > 1 for number in came.values())
    assert done.stdout.count("doubled: ") == doubled, "doubles are told by their index"
    return {"entries": len(came), "records": came.total(), "doubled": doubled, "batches": len(batches)}


def missing(log: Log, side: Side) -> int:
    """So many entries did not arrive."""
    came = {at for batch in side.batches() for at in map(index, batch)}
    return sum(at not in came for at in range(log.status()["from"]))
