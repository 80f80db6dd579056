"""Health and readiness see what the broker does: silent, out of room, back again (P1 P12)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import NatsServer, Server, event, until

ONE = {"Content-Type": "application/cloudevents+json"}


@pytest.fixture
def small(tmp_path: Path) -> NatsServer:
    """A broker with room for 2 MB."""
    broker = NatsServer(tmp_path / "nats")
    broker.config.write_text(broker.config.read_text().replace("sync_interval:", "max_file_store: 2MB, sync_interval:"))
    return broker.start()


@pytest.fixture
def broker(small: NatsServer) -> Iterator[NatsServer]:
    yield small
    if small.process:
        small.process.send_signal(signal.SIGCONT)
    small.kill9()


@pytest.fixture
def server(broker: NatsServer, tmp_path: Path) -> Iterator[Server]:
    with Server.ready(tmp_path / "server", nats=broker.url) as server:
        server.as_("publisher").publish(event())
        yield server


def ask(server: Server, path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return httpx.get(server.url + path, headers=headers, timeout=60, trust_env=False)


def codes(server: Server) -> set[str]:
    return {reason["code"] for reason in ask(server, "/v1/tenants/acme/readyz").json()["reasons"]}


def test_p1_a_broker_without_a_word_is_seen(server: Server, broker: NatsServer) -> None:
    """It is connected and does not answer, as without quorum: red and not ready, though nobody publishes."""
    assert ask(server, "/healthz").json()["status"] == "green"
    assert broker.process
    broker.process.send_signal(signal.SIGSTOP)
    until("health to be red", lambda: ask(server, "/healthz").status_code == 503, 120)
    until("the journal to be away", lambda: "journal_unavailable" in codes(server), 120)
    assert ask(server, "/readyz").status_code == 503 and ask(server, "/livez").status_code == 200
    until("it to be counted", lambda: ask(server, "/healthz").json()["journals_away"] == 1)
    broker.process.send_signal(signal.SIGCONT)
    until("health to be green", lambda: ask(server, "/healthz").status_code == 200, 120)
    assert ask(server, "/readyz").status_code == 200 and codes(server) == set()
    server.as_("publisher").publish(event())


def test_p1_a_broker_without_room_is_seen(server: Server, broker: NatsServer) -> None:
    """It takes nothing more: red, and the tenant is not ready, while reading goes on; with room, all is well again."""
    publisher: Any = server.as_("publisher")

    def refused() -> bool:
        made = event(payload={"pad": "x" * 200_000})
        return publisher.http.post("/v1/tenants/acme/events", json=made, headers=ONE).status_code == 503

    until("the broker to be full", refused, 120)
    assert "journal_refuses" in codes(server)
    health = ask(server, "/healthz")
    assert health.status_code == 503 and health.json()["journals_refusing"] == 1
    detail = [t for of in health.json()["tenants"] for t in of["troubles"] if t["code"] == "journal_refuses"]
    assert "disk" in detail[0]["detail"]
    assert ask(server, "/readyz").status_code == 200, "other tenants may have room"
    assert server.admin.receipt(index=server.admin.size() - 1)
    broker.stop()
    broker.config.write_text(broker.config.read_text().replace("max_file_store: 2MB, ", ""))
    broker.start()
    until("events to be taken", lambda: not refused(), 120)
    until("all to be well", lambda: ask(server, "/healthz").status_code == 200, 120)
    assert codes(server) == set()
