"""A nats-server as we ship its configuration, old copies of its store, and whoever publishes past our API."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats as nats_py

from support import NatsServer, Server, event, until

REPOSITORY = Path(__file__).parents[3]
PASSWORDS = {"countersign": "secret of countersign", "acme-gw-1": "secret of gw-1"}
STREAM = "COUNTERSIGN_acme"
SUBJECT = "countersign.acme.decisions.gw-1"


class Shipped(NatsServer):
    """A nats-server with `scripts/nats.conf`, on a port and a directory of its own."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        text = (REPOSITORY / "scripts" / "nats.conf").read_text()
        for old, new in {
            "listen: 127.0.0.1:4222": f"listen: 127.0.0.1:{self.port}",
            "$COUNTERSIGN_NATS_STORE": json.dumps(str(self.store)),
            "$COUNTERSIGN_NATS_PASSWORD": json.dumps(PASSWORDS["countersign"]),
            "$COUNTERSIGN_NATS_GW_1_PASSWORD": json.dumps(PASSWORDS["acme-gw-1"]),
        }.items():
            assert new == old or f"{old}\n" in text or f"{old} " in text, f"scripts/nats.conf no longer has {old}"
            text = text.replace(old + "\n", new + "\n").replace(old + " ", new + " ")
        self.config.write_text(text)

    def options(self, root: Path) -> dict[str, Any]:
        """What a `Server` needs to connect."""
        root.mkdir(parents=True, exist_ok=True)
        password = root / "nats.password"
        password.write_text(PASSWORDS["countersign"] + "\n")
        password.chmod(0o600)
        return {"nats": self.url, "sections": {"journal": {"user": "countersign", "password_file": str(password)}}}


class Peer:
    """One NATS connection by nats-py, driven from ordinary code."""

    def __init__(self, server: NatsServer, user: str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        options: dict[str, Any] = {"servers": [server.url], "allow_reconnect": False, "connect_timeout": 30}
        if user:
            options |= {"user": user, "password": PASSWORDS[user]}
        if user == "acme-gw-1":
            options |= {"inbox_prefix": b"_INBOX_gw-1"}
        self._heard: list[tuple[str, bytes]] = []
        try:
            self.client = self._do(nats_py.connect(**options), 60)
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise

    def _do(self, work: Coroutine[Any, Any, Any], seconds: float = 60.0) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def request(self, subject: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict[str, Any]:
        """A request that is answered with JSON; an error in it fails."""
        answer = json.loads(self._do(self.client.request(subject, body, timeout=30, headers=headers)).data)
        assert "error" not in answer, answer
        return answer

    def publish(self, event_: dict[str, Any] | bytes, subject: str = SUBJECT, **headers: str) -> int:
        """Publishes an event and waits for the broker's acknowledgement; returns the sequence."""
        body = event_ if isinstance(event_, bytes) else json.dumps(event_).encode()
        return self.request(subject, body, {k.replace("_", "-"): v for k, v in headers.items()} or None)["seq"]

    def push(self, body: bytes, subject: str, headers: dict[str, str] | None = None, reply: str = "") -> None:
        """Publishes and waits for nothing."""
        self._do(self.client.publish(subject, body, reply=reply, headers=headers))
        self._do(self.client.flush())

    def listen(self, subject: str) -> None:
        """Collects what comes on a subject."""

        async def note(message: Any) -> None:
            self._heard.append((message.subject, message.data))

        self._do(self.client.subscribe(subject, cb=note))
        self._do(self.client.flush())

    def heard(self, count: int, seconds: float = 60.0) -> list[tuple[str, bytes]]:
        """The first `count` messages that came."""
        until(f"{count} messages (got {len(self._heard)})", lambda: len(self._heard) >= count, seconds)
        return self._heard

    @property
    def heard_so_far(self) -> int:
        """How many messages came."""
        return len(self._heard)

    def stream(self) -> dict[str, Any]:
        """`STREAM.INFO` of the journal."""
        return self.request(f"$JS.API.STREAM.INFO.{STREAM}")

    def last(self) -> int:
        """The journal's last sequence."""
        return self.stream()["state"]["last_seq"]

    def api(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JetStream API."""
        return self.request(f"$JS.API.{name}", json.dumps(body).encode() if body is not None else b"")

    def message(self, seq: int) -> dict[str, Any]:
        """One stored message, raw (base64)."""
        return self.api(f"STREAM.MSG.GET.{STREAM}", {"seq": seq})["message"]

    def close(self) -> None:
        """Ends the connection."""
        try:
            self._do(self.client.close(), 10)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def raw_publish(server: NatsServer, user: str | None, messages: list[tuple[str, bytes, bytes]]) -> None:
    """Publishes (subject, header block, body) by hand: what no client library would send."""
    connect: dict[str, Any] = {"verbose": False, "pedantic": False, "headers": True}
    if user:
        connect |= {"user": user, "pass": PASSWORDS[user]}
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        lines = wire.makefile("rb")
        lines.readline()  # INFO
        wire.sendall(f"CONNECT {json.dumps(connect)}\r\n".encode())
        for subject, block, body in messages:
            if block:
                head = f"HPUB {subject} {len(block)} {len(block) + len(body)}\r\n"
            else:
                head = f"PUB {subject} {len(body)}\r\n"
            wire.sendall(head.encode() + block + body + b"\r\n")
        wire.sendall(b"PING\r\n")
        while not (line := lines.readline()).startswith(b"PONG"):
            assert line and not line.startswith(b"-ERR"), line


def old_server_bin() -> Path | None:
    """A nats-server 2.10, if `scripts/nats-servers` installed one: `$NATS_SERVER_2_10_BIN`, or on PATH."""
    found = os.environ.get("NATS_SERVER_2_10_BIN") or shutil.which("nats-server-2.10")
    return Path(found) if found else None


class Pretender:
    """Says it is a NATS server of some version, and answers pings."""

    def __init__(self, version: str, **info: Any) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._info = {
            "server_id": "P", "server_name": "p", "version": version, "go": "go1", "host": "127.0.0.1",
            "port": self.port, "headers": True, "max_payload": 1 << 20, "proto": 1, "client_id": 1, "jetstream": True,
        } | info
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(wire,), daemon=True).start()

    def _talk(self, wire: socket.socket) -> None:
        with wire:
            wire.sendall(b"INFO " + json.dumps(self._info).encode() + b"\r\n")
            for line in wire.makefile("rb"):
                if line.startswith(b"PING"):
                    wire.sendall(b"PONG\r\n")

    def close(self) -> None:
        """Ends it."""
        self._listener.close()


@dataclass
class Journey:
    """A server on a broker's journal."""

    nats: Shipped
    server: Server

    def peer(self, user: str = "countersign") -> Peer:
        """A connection to the broker."""
        return Peer(self.nats, user)


def posted(server: Server) -> int:
    """The journal sequence of the newest entry (0 if none). Duplicates give no entry: see `fence`."""
    client = server.admin
    size = client.size()
    return client.entry(size - 1)["journal"]["seq"]


def fence(journey: Journey, name: str) -> None:
    """Publishes one more event and waits for its entry: everything before it is posted then, whatever it gave."""
    with journey.peer("acme-gw-1") as peer:
        seq = peer.publish(event(id=name, source="/fence"))
    until(f"journal message {seq} to be posted", lambda: posted(journey.server) >= seq)
