"""P1, P14, P15, P17 on a broker's journal: the broker or the server is killed while gateways ask and policies change."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rig.broker import Journey, Shipped
from support import Server, event, until
from support.asking import Asking, bounded, everything
from support.deciding import Deciding


@pytest.fixture
def desk(shipped: Shipped, tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies, on the journal of `shipped`."""
    with Server(tmp_path / "server", **shipped.options(tmp_path)) as server:
        yield Deciding(server)


@pytest.mark.parametrize("who", ["the broker", "the server"])
def test_p1_p14_p15_killed_while_gateways_ask(
    who: str, desk: Deciding, shipped: Shipped, rng: random.Random, tmp_path: Path
) -> None:
    """Whatever was told stands; no question has two verdicts; policies change only at their places; afterwards it goes on."""
    desk.activate(bounded(tmp_path / "first", 100_000))
    moments = threading.Event()
    with Asking(desk.server, desk.gateway.key, 6, rng) as asking:
        for nth in range(6):
            asking.wait_for_more(rng.randint(5, 80))
            moments.wait(rng.random() * 0.02)
            if who == "the broker":
                shipped.kill9()
                # Some questions meet the broker that is not there.
                before = sum(asking.again.values())
                until("questions without an answer", lambda before=before: sum(asking.again.values()) > before or asking.wrong, 60)
                shipped.start()
            else:
                desk.server.kill9()
                desk.server.start()
            asking.wait_for_more(5)
            if nth in (1, 3):
                until("a policy can be proposed", lambda: desk.status() and ready(desk), 90)
                desk.activate(bounded(tmp_path / f"after {nth}", 39_999 + nth))
        asking.wait_for_more(30)
        told = asking.finish()
    print(f"{len(told)} answers, {asking.verdicts}, again: {asking.again}")
    assert sum(asking.again.values()) >= 6 and asking.verdicts["allow"] > 50
    counted = everything(desk, told, tmp_path / "export")
    assert counted["activations"] == 3 and counted["told"] > 50, counted


def ready(desk: Deciding) -> bool:
    """Whether requests should be sent there."""
    return httpx.get(f"{desk.server.url}/readyz", timeout=30, trust_env=False).status_code == 200


def test_p14_a_producer_and_gateways_beside_each_other(desk: Deciding, shipped: Shipped, rng: random.Random, tmp_path: Path) -> None:
    """A producer publishes events of the same sources and ids by the broker while gateways ask: neither disturbs the other."""
    desk.activate(bounded(tmp_path / "wide", 100_000))
    journey, stop, published = Journey(shipped, desk.server), threading.Event(), []
    with Asking(desk.server, desk.gateway.key, 4, rng) as asking:

        def publish() -> None:
            with journey.peer("acme-gw-1") as producer:
                while not stop.is_set():
                    recent = list(asking.told[-20:])
                    made = event(**({"id": rng.choice(recent)["id"]} if recent else {}))
                    made["data"]["verdict"] = "allow"
                    producer.publish(made)
                    published.append(made["id"])

        producing = threading.Thread(target=publish, daemon=True)
        producing.start()
        asking.wait_for(300)
        stop.set()
        producing.join(60)
        told = asking.finish()
    last = journey.wait_posted()
    assert last > len(published) > 20
    ids = {answer["id"] for answer in told}
    theirs = [e for e in desk.server.admin.entries(kind="decision") if "as_of" not in e["event"]["data"]]
    assert len({entry["event"]["id"] for entry in theirs} & ids) > 10, "the same ids, as events of a producer"
    assert len(theirs) == len({entry["event"]["id"] for entry in theirs})
    counted = everything(desk, told, tmp_path / "export")
    assert counted["told"] > 100 and counted["voids"] == 0, json.dumps(counted)
