"""P22: what a receipt of three replicas costs: messages to the broker and flushes, counted; time, processor and throughput, printed."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.broker import Peer
from rig.cluster import Cluster
from rig.trio import Trio

from support import Client, Server, event

EVENTS = 60
#: On the path of a receipt.
PUBLISHES, FLUSHES = 2, 3
#: Events of the measurement of throughput, in batches, by so many clients.
MANY, BATCH, CLIENTS = 3000, 50, 4


def one(client: Client) -> None:
    """An event, with its receipt."""
    answer = client.post_events(json.dumps(event()).encode(), receipts=True)
    assert answer.status_code == 200 and answer.json()["results"][0]["receipt"], answer.text


def last(peer: Peer, stream: str) -> int:
    """The last sequence of a stream."""
    return int(peer.api(f"STREAM.INFO.{stream}")["state"]["last_seq"])


def median(act: Callable[[], Any], times: int = EVENTS) -> float:
    """Seconds of the middle one."""
    took = []
    for _ in range(times):
        begun = time.monotonic()
        act()
        took.append(time.monotonic() - begun)
    return statistics.median(took)


def processor(server: Server) -> float:
    """Seconds of a processor that it has used."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_p22_two_messages_and_three_flushes_a_receipt(cluster: Cluster, tmp_path: Path) -> None:
    """One event after the other, so that nothing is shared: of each stream one message an event, and of each replica three flushes."""
    with Trio(tmp_path / "replicas", cluster.url) as trio:
        files = {name: tmp_path / f"{name}.strace" for name in trio.servers}
        for name, server in trio.servers.items():
            server.start(ready=False, prefix=("strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(files[name])))
        for server in trio.servers.values():
            server.wait_ready(120)
        client = trio["a"].as_("publisher")
        one(client)
        flushes = lambda: {name: file.read_text().count("sync(") for name, file in files.items()}  # noqa: E731
        with Peer(next(iter(cluster.nodes.values()))) as peer:
            streams = ("COUNTERSIGN_acme", "COUNTERSIGN_REGISTER")
            before, synced, begun = [last(peer, stream) for stream in streams], flushes(), time.monotonic()
            for _ in range(EVENTS):
                one(client)
            seconds = time.monotonic() - begun
            made = [last(peer, stream) - first for stream, first in zip(streams, before)]
        did = {name: count - synced[name] for name, count in flushes().items()}
        print({"events": EVENTS, "messages": dict(zip(streams, made)), "flushes of each replica": did, "seconds": round(seconds, 1)})
        # Two replicas that propose in the same moment put two values into the register: seldom, and never one for each.
        assert made[0] == EVENTS and sum(made) <= PUBLISHES * EVENTS + EVENTS // 10, made
        # What is shown is stored once a second, off everybody's path: one flush more a second.
        assert all(0 < count <= FLUSHES * EVENTS + seconds + 2 for count in did.values()), did


def test_p22_figures_of_three(cluster: Cluster, tmp_path: Path) -> None:
    """Printed, never asserted: three servers, three brokers and whatever else runs share this machine."""
    with Server(tmp_path / "alone", nats=cluster.url, sections={"journal": {"replicas": 3}}, tenant="alone") as single:
        single.init()
        single.start()
        alone = single.as_("publisher")
        one(alone)
        figures: dict[str, Any] = {"p50 of a receipt, one server, ms": round(median(lambda: one(alone)) * 1000, 2)}
        figures["events a second, one server"], cpu = throughput([alone], [single])
        figures["processor an event, one server, us"] = cpu[0]
        single.stop()
    with Trio(tmp_path / "replicas", cluster.url) as trio:
        trio.start()
        clients = [server.as_("publisher") for server in trio.servers.values()]
        one(clients[0])
        figures["p50 of a receipt, three replicas, ms"] = round(median(lambda: one(clients[0])) * 1000, 2)
        with Peer(next(iter(cluster.nodes.values()))) as peer, (tmp_path / "floor").open("ab") as floor:
            publish = median(lambda: peer.publish(b"{}", "countersign.acme.decisions.nobody"))
            flush = median(lambda: (floor.write(b"x" * 512), floor.flush(), os.fdatasync(floor.fileno())))
        figures["floor: 2 messages and 3 flushes, ms"] = round((PUBLISHES * publish + FLUSHES * flush) * 1000, 2)
        figures["events a second, three replicas"], cpu = throughput(clients, list(trio.servers.values()))
        figures["processor an event, each replica, us"] = cpu
        trio["c"].kill9()
        figures["events a second, one of three down"], _ = throughput(clients[:2], [trio["a"], trio["b"]])
    print(json.dumps(figures, indent=1))
    assert all(figures.values())


def throughput(clients: list[Client], servers: list[Server]) -> tuple[int, list[int]]:
    """Events a second over these clients, and microseconds of the processor that each server used for one."""
    before, begun = [processor(server) for server in servers], time.monotonic()

    def send(number: int) -> None:
        clients[number % len(clients)].publish(*[event() for _ in range(BATCH)])

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(MANY // BATCH)))
    seconds = time.monotonic() - begun
    used = [round((processor(server) - was) / MANY * 1e6) for server, was in zip(servers, before)]
    return round(MANY / seconds), used
