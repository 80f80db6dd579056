"""Three nats-servers that keep three copies of every stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support import NatsServer, free_port, until

from .broker import STREAM, Peer

NODES = 3


class Cluster:
    """A JetStream cluster on this machine; each node can be killed and started again."""

    def __init__(self, root: Path) -> None:
        routes = [free_port() for _ in range(NODES)]
        meet = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        self.nodes: dict[str, NatsServer] = {}
        for number, port in enumerate(routes, 1):
            name = f"n{number}"
            extra = f"server_name: {name}\ncluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{meet}] }}"
            self.nodes[name] = NatsServer(root / name, extra=extra)

    @property
    def url(self) -> str:
        """All nodes, for clients."""
        return ",".join(node.url for node in self.nodes.values())

    def start(self) -> "Cluster":
        """Starts all, and waits until a stream can have three copies."""
        for node in self.nodes.values():
            node.start()
        probe = {"name": "PROBE", "subjects": ["probe"], "num_replicas": NODES}

        def whole() -> bool:
            return "error" not in (self._ask("STREAM.CREATE.PROBE", probe) or {"error": None})

        until("the cluster to be whole", whole)
        self._ask("STREAM.DELETE.PROBE")
        return self

    def _ask(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The JetStream API by any node that lives; `None` without an answer."""
        for node in self.nodes.values():
            if node.process is None:
                continue
            try:
                with Peer(node) as peer:
                    message = peer._do(peer.client.request(f"$JS.API.{name}", json.dumps(body or {}).encode(), timeout=2))
                    return dict(json.loads(message.data))
            except Exception:  # noqa: BLE001: no leader, no responders: another node may know
                continue
        return None

    def info(self) -> dict[str, Any]:
        """The journal's `STREAM.INFO`, once somebody leads it."""
        def look() -> dict[str, Any] | None:
            answer = self._ask(f"STREAM.INFO.{STREAM}")
            return answer if answer and answer.get("cluster", {}).get("leader") else None

        return until("somebody to lead the stream", look)

    def leader(self) -> str:
        """Which node leads the journal's stream."""
        return str(self.info()["cluster"]["leader"])

    def mend(self) -> None:
        """Starts whatever was killed, and waits until all copies are current."""
        for node in self.nodes.values():
            if node.process is None:
                node.start()

        def current() -> bool:
            copies = self.info()["cluster"].get("replicas", [])
            return len(copies) == NODES - 1 and all(copy.get("current") and not copy.get("offline") for copy in copies)

        until("all copies to be current", current)

    def __enter__(self) -> "Cluster":
        return self.start()

    def __exit__(self, *_: object) -> None:
        for node in self.nodes.values():
            node.kill9()
