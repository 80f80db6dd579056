"""P8: spent once, whoever asks, however many decide, whatever happens to the broker. Counted in the log."""

from __future__ import annotations

import copy
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit
from rig.broker import posted
from rig.cluster import Cluster
from rig.life import ANSWER_SECONDS, PEOPLE, events_of, kinds, minted, rules, told, until_told
from support import Server, event, until
from support.house import House, Paused

DECIDERS = 3
CLIENTS = 8
ROUNDS, ROUNDS_LONG = 200, 2_000
#: The leader is killed in every tenth round.
KILL_EVERY = 10
#: Calls that all deciders try to open.
OPENED = 300
CLIENTS_EMBEDDED, APPROVALS_EMBEDDED = 64, 100


@dataclass
class Race:
    """What clients were told, by approval."""

    won: dict[str, set[str]] = field(default_factory=dict)
    unknown: dict[str, set[str]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def redeem(self, house: House, call: Paused, token: str, redemption_id: str) -> None:
        """One client: redeems, and repeats that while it does not know what became of it."""
        def send() -> httpx.Response:
            answer = house.redeem(call, token, redemption_id)
            with self.lock:
                self.codes["spent" if answer.status_code == 200 else answer.json()["code"]] += 1
            return answer

        answer = until_told(send)
        with self.lock:
            if answer is None:
                self.unknown.setdefault(call.id, set()).add(redemption_id)
            elif answer.status_code == 200:
                self.won.setdefault(call.id, set()).add(redemption_id)
            else:
                assert answer.json()["code"] == "already_redeemed", answer.text

    def hold_against(self, log: dict[str, list[dict[str, Any]]], raced: list[Paused]) -> None:
        """Exactly one id has won each, never none; who was told so is that one."""
        for call in raced:
            spent = [event["redemption_id"] for event in log[call.id] if event["type"] == "redeemed"]
            assert len(spent) == 1, f"{call.id} was spent {len(spent)} times: {spent}"
            heard = self.won.get(call.id, set())
            assert heard <= set(spent), f"{call.id}: {heard} were told that they had won, but {spent} did"
            assert heard or spent[0] in self.unknown.get(call.id, set()), f"{call.id}: {spent} was refused"


def run(pool: ThreadPoolExecutor, work: list[Callable[[], Any]]) -> list[Any]:
    """Everything at once; the first that fails fails."""
    return [future.result(120) for future in [pool.submit(one) for one in work]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nats-servers."""
    with Cluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
def deciders(cluster: Cluster, make_house: Callable[..., House], faults: Path) -> Iterator[list[House]]:
    """Three processes that decide for one tenant: copies of one directory, each with its own database and guard."""
    first = make_house(nats=cluster.url, sections={"journal": {"replicas": 3}})
    first.server.stop()
    houses = [first]
    for nth in range(2, DECIDERS + 1):
        root = first.server.root.with_name(f"server-{nth}")
        server = Server(root, nats=cluster.url, sections=copy.deepcopy(first.server.sections))
        for folder in ("data", "keys", "guard"):
            shutil.copytree(first.server.root / folder, root / folder)
        server.keys, server.vkey, server.origin = dict(first.server.keys), first.server.vkey, first.server.origin
        houses.append(House(server, rules(), PEOPLE))
    for house in houses:
        house.server.signs_beside_others(faults)
        house.server.start()
        house.gateway().http.timeout = httpx.Timeout(ANSWER_SECONDS)
    yield houses
    for house in houses:
        house.server.__exit__()


def same_log(deciders: list[House]) -> None:
    """All deciders have posted the same leaves, up to one more event: repetitions before it give no entry."""
    client = deciders[0].gateway()
    index = told(lambda: client.http.post(f"{client.t}/events", json=event()))["results"][0]["index"]
    seq = deciders[0].server.admin.entry(index)["journal"]["seq"]
    logs = []
    for house in deciders:
        until(f"message {seq} to be posted", lambda: posted(house.server) >= seq)  # noqa: B023: called at once
        logs.append(audit.leaves(house.server.admin))
    shortest = min(map(len, logs))
    assert shortest > index
    assert all(log[:shortest] == logs[0][:shortest] for log in logs), "two deciders posted different logs"


def known(deciders: list[House], nth: int) -> tuple[Paused, str]:
    """A call with its token, which every decider knows of: see `test_p8_a_decider_that_is_behind_refuses_nothing`."""
    call, token = minted(deciders[nth % DECIDERS])

    def knows(house: House) -> bool:
        return bool(house.gateway().get(f"/approvals/{call.id}").json().get("state") == "minted")

    for house in deciders:
        until("the token to be known", lambda: knows(house))  # noqa: B023: called at once
    return call, token


def test_p8_opened_once(deciders: list[House]) -> None:
    """L1, P8: three deciders open what they all see; each call is asked for once."""
    calls = [house.new() for house in deciders for _ in range(OPENED // DECIDERS)]
    with ThreadPoolExecutor(48) as pool:
        run(pool, [
            lambda call=call, nth=nth: told(lambda: deciders[nth % DECIDERS].open(call)) for nth, call in enumerate(calls)
        ])
    same_log(deciders)
    asked = {id: kinds(events) for id, events in events_of(deciders[0].server.admin).items()}
    assert asked == {call.id: ["requested"] for call in calls}


def test_p8_a_decider_that_is_behind_refuses_nothing(deciders: list[House]) -> None:
    """P8: minted by one decider and spent at once through another, which may not have posted the mint yet: it waits, or
    says "try again", but never that this call is not granted."""
    refused = []
    for nth in range(100):
        first, second = deciders[nth % DECIDERS], deciders[(nth + 1) % DECIDERS]
        process = second.server.process
        assert process is not None
        if nth % 2:
            # It knows of nothing that happens now: not even that the call was asked about.
            process.send_signal(signal.SIGSTOP)
        call, token = minted(first)
        process.send_signal(signal.SIGCONT)
        answer = until_told(lambda: second.redeem(call, token))  # noqa: B023: called at once
        if answer is None or answer.status_code != 200:
            refused.append(answer and answer.json()["code"])
    assert not refused


@pytest.mark.timeout(3600)
def test_p8_three_deciders_one_redemption(cluster: Cluster, deciders: list[House], rng: random.Random, long: bool) -> None:
    """L1, P8: three deciders, 8 redemptions at once with 8 ids, 200 rounds, R3; in every tenth round the stream's leader
    dies. A client that does not know repeats its id for 30 s. Then one id has won each, never none: in every log."""
    race, raced = Race(), []
    begun, kills = time.monotonic(), 0
    with ThreadPoolExecutor(KILL_EVERY * CLIENTS) as pool:
        for _ in range(0, ROUNDS_LONG if long else ROUNDS, KILL_EVERY):
            ready = run(pool, [lambda nth=nth: known(deciders, nth) for nth in range(KILL_EVERY)])
            raced += [call for call, _ in ready]
            clients = [
                [
                    lambda nth=nth, call=call, token=token: race.redeem(deciders[nth % DECIDERS], call, token, f"r-{nth}")
                    for nth in rng.sample(range(CLIENTS), CLIENTS)
                ]
                for call, token in ready
            ]
            # Nine rounds side by side, then one in which the leader dies.
            run(pool, [client for round in clients[:-1] for client in round])
            victim = cluster.nodes[cluster.leader()]
            racing = pool.submit(run, pool, clients[-1])
            time.sleep(rng.random() * 0.05)
            victim.kill9()
            kills += 1
            racing.result(120)
            cluster.mend()
    print(f"{len(raced)} rounds, {kills} leaders killed, {time.monotonic() - begun:.0f} s, {dict(race.codes)}, "
          f"{len(race.unknown)} with an outcome that stayed unknown")
    same_log(deciders)
    for house in deciders:
        race.hold_against(events_of(house.server.admin), raced)
    for house in deciders:
        house.close()


def test_p8_one_process_64_clients(make_house: Callable[..., House]) -> None:
    """L1, P8: the embedded journal, 64 clients with 64 ids for each of 100 approvals."""
    house, race, begun = make_house(), Race(), time.monotonic()
    with ThreadPoolExecutor(CLIENTS_EMBEDDED) as pool:
        ready = run(pool, [lambda: minted(house)] * APPROVALS_EMBEDDED)
        run(pool, [
            lambda nth=nth, call=call, token=token: race.redeem(house, call, token, f"r-{nth}")
            for call, token in ready for nth in range(CLIENTS_EMBEDDED)
        ])
    print(f"{len(ready)} approvals, {time.monotonic() - begun:.0f} s, {dict(race.codes)}")
    race.hold_against(events_of(house.server.admin), [call for call, _ in ready])
    assert not race.unknown
    house.close()
