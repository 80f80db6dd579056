"""Who we are to the broker is read from its files at each connect: a password is changed without a restart (P1)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from support import NatsServer, Server, event, until

USERS = {
    "password": 'authorization {{ users: [ {{user: countersign, password: "{}"}} ] }}',
    "token": 'authorization {{ token: "{}" }}',
}
SECTIONS = {
    "password": lambda path: {"user": "countersign", "password_file": path},
    "token": lambda path: {"token_file": path},
}


@pytest.mark.parametrize("how", list(USERS))
def test_p1_a_secret_of_the_broker_changes_without_a_restart(tmp_path: Path, how: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old-secret-1\n")
    secret.chmod(0o600)
    broker = NatsServer(tmp_path / "nats", extra=USERS[how].format("old-secret-1"))
    with broker, Server(tmp_path / "server", nats=broker.url, sections={"journal": SECTIONS[how](secret)}) as server:
        server.init()
        server.start()
        server.as_("publisher").publish(event())
        health: Any = server.client(server.operator_key).http

        def connected() -> bool:
            return bool(health.get("/healthz").json()["journal_connected"])

        # First the broker, which then refuses us, then the file.
        broker.config.write_text(broker.config.read_text().replace("old-secret-1", "new-secret-2"))
        assert broker.process
        broker.process.send_signal(signal.SIGHUP)
        until("the broker to end our connection", lambda: not connected(), 60)
        secret.write_text("new-secret-2\n")
        until("the new secret to be used", connected, 120)
        until(
            "events to be posted again",
            lambda: server.as_("publisher").post_events(b'{"specversion":"1.0","id":"again","source":"/a","type":"a.b"}').status_code == 200,
            120,
        )
        assert "old-secret" not in server.log and "new-secret" not in server.log
        server.stop()
        server.fsck().ok()
