"""A broker that is late, stands still or has no quorum is waited for: nothing is halted, and it goes on by itself (P1, P4)."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from rig.cluster import Cluster  # noqa: E402

from support import NatsServer, Server, event, until  # noqa: E402


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return dict(httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).json())


def is_ready(server: Server) -> bool:
    """Whether requests should be sent there."""
    return httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False).status_code == 200


def publish(server: Server) -> httpx.Response:
    """One event; one answer."""
    return server.as_("publisher").post_events(json.dumps(event()).encode())


def waits(server: Server) -> None:
    """It serves what it has, refuses events for now, and says why; it is in no doubt."""

    def said() -> bool:
        try:
            return health(server)["journals_away"] == 1
        except httpx.TransportError:
            assert server.alive(), server.log
            return False

    until("it to wait for its journal", said, 90)
    found = health(server)
    assert found["status"] == "red" and found["halted_logs"] == 0 and found["tenants"][0]["tenant"] == "acme", found
    assert not is_ready(server)
    refused = publish(server)
    assert (refused.status_code, refused.json()["code"]) == (503, "journal_unavailable"), refused.text
    assert server.admin.size() > 0


def goes_on(server: Server) -> None:
    """By itself."""
    until("it to be ready", lambda: is_ready(server), 120)
    until("an event to be taken", lambda: publish(server).status_code == 200, 120)
    until("health to be green", lambda: health(server)["status"] == "green", 120)


@pytest.fixture
def server(nats: NatsServer, tmp_path: Path) -> Iterator[Server]:
    """A server with a journal that holds something, stopped."""
    server = Server.ready(tmp_path / "server", nats=nats.url)
    server.as_("publisher").publish(event())
    server.stop()
    yield server
    server.__exit__()


@pytest.mark.parametrize("how", ["is not there", "stands still"])
def test_p4_a_start_before_the_broker(how: str, nats: NatsServer, server: Server) -> None:
    """Nobody listens, or nobody answers: the server starts all the same, reads what it has, and waits."""
    if how == "is not there":
        nats.stop()
    else:
        assert nats.process is not None
        nats.process.send_signal(signal.SIGSTOP)
    server.start(ready=False)
    waits(server)
    if how == "is not there":
        nats.start()
    else:
        assert nats.process is not None
        nats.process.send_signal(signal.SIGCONT)
    goes_on(server)
    server.stop()
    server.fsck().ok()


@pytest.fixture
def after_a_power_cut(tmp_path: Path) -> Iterator[tuple[Server, list[NatsServer]]]:
    """Servers and brokers started together. One node of three answered, and nobody led the stream; then the others came, and
    the server went on. With it, those others. Sound at the end."""
    with Cluster(tmp_path / "cluster") as cluster:
        server = Server.ready(tmp_path / "server", nats=cluster.url, sections={"journal": {"replicas": 3}})
        with server:
            server.as_("publisher").publish(event())
            server.kill9()
            for node in cluster.nodes.values():
                node.kill9()
            first, *others = cluster.nodes.values()
            first.start()
            server.start(ready=False)
            waits(server)
            assert "integrity" not in server.log
            for node in others:
                node.start()
            goes_on(server)
            yield server, others
            server.stop()
            server.fsck().ok()


def test_p4_a_start_before_the_stream_has_a_leader(after_a_power_cut: tuple[Server, list[NatsServer]]) -> None:
    """It waits, and goes on by itself."""
    server, _ = after_a_power_cut
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"


def test_p4_losing_the_quorum_after_a_start_without_it(after_a_power_cut: tuple[Server, list[NatsServer]]) -> None:
    """Losing the quorum later is the same to whoever asks."""
    server, others = after_a_power_cut
    for node in others:
        node.kill9()
    seen: dict[str, Any] = {}

    def away() -> bool:
        seen.update(health(server))
        return bool(seen["journals_away"] == 1)

    try:
        until("it to wait for its journal", away, 120)
    except AssertionError as late:
        raise AssertionError(f"{late}; health: {seen}; log: {server.log[-4000:]}") from late
    for node in others:
        node.start()
    goes_on(server)


def test_p4_a_stream_that_changed_while_the_broker_was_away(nats: NatsServer, server: Server) -> None:
    """Waiting is no way around the checks: what is found in the end is compared before anything is posted."""
    nats.stop()
    server.start(ready=False)
    waits(server)
    for file in nats.store.rglob("*"):
        if file.is_file():
            file.unlink()
    nats.start()
    until("the log to halt", lambda: health(server)["halted_logs"] == 1, 90)
    refused = publish(server)
    assert (refused.status_code, refused.json()["code"]) == (503, "log_halted"), refused.text


def test_p4_an_older_backup_is_not_called_damaged(server: Server) -> None:
    """A backup under the newer guard, on JetStream: `fsck` ends with 0; serve posts the
    journal up to what was signed, and signs again."""
    server.start()
    server.remote("backup", "old", key=server.operator_key).ok()
    for _ in range(5):
        server.as_("publisher").publish(event())
    size = server.admin.size()
    server.stop()
    server.data_dir.rename(server.data_dir.with_suffix(".newer"))
    (server.backup_dir / "old").rename(server.data_dir)
    report = server.fsck().ok().json()
    assert report["sound"] is True, report
    assert "DAMAGED" not in server.run("fsck").ok().out
    server.start()
    until("it to be as large as before", lambda: server.admin.size() >= size)
    server.as_("publisher").publish(event())
    server.stop()
    server.fsck().ok()
