"""P1, P14, P15, P17 on a broker's journal: the broker or the server is killed while gateways ask and policies change."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rig.broker import Journey, Shipped, fence
from support import Server, event, until
from support.asking import Asking, bounded, everything
from support.deciding import Deciding, question


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
    # The last message may repeat an id, and gives no entry then.
    fence(journey, "the last one")
    assert len(published) > 20
    ids = {answer["id"] for answer in told}
    theirs = [e for e in desk.server.admin.entries(kind="decision") if "as_of" not in e["event"]["data"]]
    assert len({entry["event"]["id"] for entry in theirs} & ids) > 10, "the same ids, as events of a producer"
    assert len(theirs) == len({entry["event"]["id"] for entry in theirs})
    counted = everything(desk, told, tmp_path / "export")
    assert counted["told"] > 100 and counted["voids"] == 0, json.dumps(counted)


def test_p14_a_verdict_that_came_too_late_is_void(desk: Deciding, shipped: Shipped, long: bool, tmp_path: Path) -> None:
    """The broker stands still for more than a minute with a verdict in its hands: posting voids it, nobody was told it, and the question
    is decided anew. A verdict of before is no permission any more."""
    if not long:
        pytest.skip("takes more than a minute: --long")
    desk.activate(bounded(tmp_path / "wide", 100_000))
    known, asked = question(), question()
    first = desk.ask(known).json()
    assert first["verdict"] == "allow" and shipped.process is not None
    shipped.process.send_signal(signal.SIGSTOP)
    try:
        answer = desk.ask(asked)
        assert answer.status_code == 503 and "verdict" not in answer.text, answer.text
        # Not a wait for anything that happens here: the time after which a verdict is too late.
        threading.Event().wait(62)
    finally:
        shipped.process.send_signal(signal.SIGCONT)
    told = until("an answer", lambda: (r := desk.ask(asked)).status_code == 200 and r.json(), 90)
    assert (told["verdict"], told["valid_for"] > 50) == ("allow", True), told
    voids = [entry["event"] for entry in desk.server.admin.entries(kind="void")]
    assert {void["reason"] for void in voids} <= {"late"} and all(void["id"] == asked["id"] for void in voids)
    stale = desk.ask(known)
    assert (stale.status_code, stale.json()["code"]) == (409, "decision_stale"), stale.text
    again = desk.replayed(desk.export(tmp_path / "export"))
    assert (again["different"], again["same"]) == ({}, 2), again
    desk.server.stop()
    desk.server.fsck().ok()
