"""Makes failures on a site under load, one after the other, and notes what clients were told meanwhile."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import shutil
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from rig.trio import Eye

from support import until

from .clients import GIVE_UP, Clients
from .counts import Counts, count
from .expected import NO_ANSWER, Expected, expected
from .faults import Steps, Target, unmount_all
from .site import Site
from .table import FAULTS, LAST, settled

#: How long a failure lasts, in seconds.
LASTS = (3.0, 8.0)
#: In the long form: how many of all, and how long. The first end in the middle of what they cause; the last are longer than any time-out
#: of NATS or of a replica.
LASTS_LONG = ((0.5, (0.2, 3.0)), (0.9, LASTS), (1.0, (31.0, 31.0)))
#: Pause of a client between two requests in the long form, in seconds: what counts there is how much fails, not how much is sent.
PAUSE_LONG = 0.06
#: A service that does not answer again in this time never does. P22 promises less; the times are printed.
AGAIN = 90.0
#: Pause of the eye between two looks at all replicas, in seconds.
LOOK_EVERY = 0.2
#: After more wrong sites than these no further one is begun.
SITES_WRONG_MOST = 20


@dataclass(frozen=True)
class Trouble:
    """One failure, or two at once."""

    names: tuple[str, ...]
    seed: int

    @property
    def name(self) -> str:
        """As it is printed."""
        return " + ".join(self.names)


def drawn(seed: int) -> Trouble:
    """One failure in three is alone."""
    rng = random.Random(seed)
    return Trouble(tuple(rng.sample(sorted(FAULTS), 1 if rng.random() < 1 / 3 else 2)), seed)


class Round:
    """A fresh site under load, and what happens to it."""

    def __init__(self, folder: Path, *, long: bool = False) -> None:
        self.folder, self.long, self.rows = folder, long, expected()

    def run(self, troubles: Iterable[Trouble]) -> Counts:
        """All of them, then the counting. What goes wrong is in the counts."""
        try:
            with Site(self.folder) as site:
                site.start()
                clients = Clients(site, pause=PAUSE_LONG) if self.long else Clients(site)
                eye = Eye(site, every=LOOK_EVERY)
                eye.start()
                counts = Counts()
                with clients:
                    for trouble in troubles:
                        self.one(site, clients, trouble, counts)
                site.whole_again()
                counts.add(count(site, clients, eye, self.folder))
                return counts
        finally:
            unmount_all(self.folder)

    def one(self, site: Site, clients: Clients, trouble: Trouble, counts: Counts) -> None:
        """One trouble, from its preparation until all three are one service again."""
        rng, board = random.Random(trouble.seed), clients.board
        settled(site)
        running: list[tuple[str, str, Steps]] = []
        for name in trouble.names:
            host = FAULTS[name].where(site, rng)
            taken = {where for other, where, _ in running if FAULTS[other].takes_the_server}
            if FAULTS[name].takes_the_server and host in taken:
                host = rng.choice(site.others(host))
            running.append((name, host, FAULTS[name].make(Target(site, host, rng))))
        for _, _, steps in running:
            next(steps)
        site.all_ready()
        begun = time.monotonic()
        for number, (_, _, steps) in enumerate(running):
            # The second one strikes while the service is still at the first.
            time.sleep(rng.uniform(0, 2) if number else 0)
            next(steps)
        struck = time.monotonic()
        clients.work_for(self.lasts(rng))
        reported = self.reports(site, trouble, running[0][1])
        for name, _, steps in sorted(running, key=lambda one: LAST.index(one[0]) if one[0] in LAST else -1):
            site.network.heal()
            if len(running) > 1 and name in LAST:
                site.start_ended()
            finish(steps)
        if len(running) > 1:
            # Two may have taken the majority away: then nothing is taken before systemd has started one of them.
            site.start_ended()
        undone = time.monotonic()
        before = len(board.acknowledged)
        until("an acknowledgement after it", lambda: len(board.acknowledged) > before, AGAIN + GIVE_UP)
        end = time.monotonic()
        site.whole_again()
        silent = board.silence(begun, end)
        counts.faults[trouble.name] += 1
        counts.silent.setdefault(trouble.name, []).append(round(silent, 2))
        told = board.told(begun, time.monotonic())
        print(json.dumps({"failure": trouble.name, "seed": trouble.seed, "hosts": [host for _, host, _ in running],
                          "lasted": round(undone - struck, 1), "silent": round(silent, 2), "told": dict(told), "reported": reported}),
              flush=True)  # fmt: skip
        if len(trouble.names) == 1:
            counts.wrong += self.compare(trouble, running[0][1], told, silent)
        elif end - undone > AGAIN:
            counts.wrong.append(f"{trouble.name}, seed {trouble.seed}: no answer for {end - undone:.0f} s after it was over")

    def lasts(self, rng: random.Random) -> float:
        """How long the next one lasts, in seconds."""
        share = rng.random()
        between = next(lasts for below, lasts in LASTS_LONG if share < below) if self.long else LASTS
        return rng.uniform(*between)

    def reports(self, site: Site, trouble: Trouble, host: str) -> dict[str, list[str]]:
        """What the replicas report; for one failure, waits until the one that is struck says what the page says."""
        there = self.rows[trouble.name].there if len(trouble.names) == 1 else set[str]()
        if not there:
            return site.reports()

        def look() -> dict[str, list[str]] | None:
            found = site.reports()
            return found if there & set(found[host]) else None

        return until(f"{host} to report one of {sorted(there)} ({trouble.name}, seed {trouble.seed})", look)

    def compare(self, trouble: Trouble, host: str, told: Iterable[str], silent: float) -> list[str]:
        """What clients were told, against the page."""
        row: Expected = self.rows[trouble.name]
        surprises = sorted(set(told) - row.answers - NO_ANSWER)
        wrong = [f"{trouble.name} at {host}, seed {trouble.seed}: clients were told {surprises}, the page does not say so"] if surprises else []
        if silent > AGAIN:
            wrong.append(f"{trouble.name} at {host}, seed {trouble.seed}: nothing was acknowledged for {silent:.0f} s")
        return wrong


def finish(steps: Steps) -> None:
    """Undoes it."""
    for _ in steps:
        raise AssertionError("a fault has two yields")


@dataclass(frozen=True)
class Plan:
    """What the long form makes."""

    faults: int
    seed: int
    #: Troubles on one site, and sites at once.
    a_site: int
    at_once: int


class Results:
    """A file with one line a site: what was run is not run again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, seed: int) -> bool:
        """True if this site was run."""
        return any(line["seed"] == seed for line in self.lines)

    def add(self, seed: int, counts: Counts) -> None:
        """One more."""
        line = {"seed": seed, "counts": counts.as_json()}
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def sites_wrong(self) -> int:
        """How many sites had something wrong."""
        return sum(1 for line in self.lines if Counts.of_json(line["counts"]).bad())

    def total(self) -> Counts:
        """All of them."""
        total = Counts()
        for line in self.lines:
            total.add(Counts.of_json(line["counts"]))
        return total


def a_site(folder: Path, first: int, troubles: int) -> Counts:
    """One fresh site of the long form; whatever goes wrong is in the counts."""
    place = folder / f"site-{first}"
    try:
        counts = Round(place, long=True).run(drawn(first + n) for n in range(troubles))
    except Exception:  # noqa: BLE001: the other sites are run all the same, and this is printed with the counts
        counts = Counts(rounds=1, wrong=[f"site of seed {first}, see {place}: {traceback.format_exc()}"])
    if not counts.bad():
        shutil.rmtree(place, ignore_errors=True)
    return counts


def many(results: Results, folder: Path, plan: Plan) -> Counts:
    """As many failures as asked, on fresh sites, each in a process of its own; goes on where an earlier run ended."""
    seeds = (plan.seed + number * plan.a_site for number in itertools.count())
    running: dict[Future[Counts], int] = {}
    with ProcessPoolExecutor(plan.at_once, max_tasks_per_child=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        while True:
            expected = results.total().faults_made() + len(running) * plan.a_site
            while len(running) < plan.at_once and expected < plan.faults and results.sites_wrong() <= SITES_WRONG_MOST:
                first = next(seed for seed in seeds if not results.has(seed))
                running[pool.submit(a_site, folder, first, plan.a_site)] = first
                expected += plan.a_site
            if not running:
                return results.total()
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                first, counts = running.pop(ended), ended.result()
                results.add(first, counts)
                print(f"site of seed {first}: {counts.bad() or 'right'}; so far {results.total().faults_made()} faults", flush=True)
