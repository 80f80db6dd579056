"""A front door as Slack has it, TLS with HTTP/2, and behind it a stand-in. Its connections can go dead in silence."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx

from .certificates import make_certificates


class H2Front:
    """Passes HTTP/2 requests on to `target`. `ca` is the certificate authority to trust."""

    def __init__(self, root: Path, target: str) -> None:
        self.target = target
        make_certificates(root)
        self.ca = root / "ca.pem"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(root / "server.pem", root / "server.key")
        self._context.set_alpn_protocols(["h2"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        #: Requests by connection.
        self.requests: list[int] = []
        self._dead = 0

    def __enter__(self) -> "H2Front":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def go_dead(self) -> None:
        """From now on nothing comes back on the connections there are; they stay open. New ones work."""
        self._dead = len(self.requests)

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.requests.append(0)
            threading.Thread(target=self._converse, args=(stream, len(self.requests)), daemon=True).start()

    def _converse(self, plain: socket.socket, number: int) -> None:
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        try:
            stream = self._context.wrap_socket(plain, server_side=True)
            talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
            talk.initiate_connection()
            stream.sendall(talk.data_to_send())
            while received := stream.recv(65536):
                if number <= self._dead:
                    continue
                for event in talk.receive_data(received):
                    if isinstance(event, h2.events.RequestReceived):
                        heads[event.stream_id], bodies[event.stream_id] = dict(event.headers), b""
                    elif isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] += event.data
                        talk.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        self.requests[number - 1] += 1
                        self._answer(talk, event.stream_id, heads.pop(event.stream_id), bodies.pop(event.stream_id))
                stream.sendall(talk.data_to_send())
        except OSError:
            pass

    def _answer(self, talk: h2.connection.H2Connection, at: int, head: dict[str, str], body: bytes) -> None:
        headers = {name: value for name, value in head.items() if not name.startswith(":")}
        answer = httpx.request(
            head[":method"], self.target + head[":path"], headers=headers, content=body, timeout=30, trust_env=False
        )
        kept = [(name, answer.headers[name]) for name in ("content-type", "retry-after") if name in answer.headers]
        talk.send_headers(at, [(":status", str(answer.status_code)), *kept])
        for begin in range(0, len(answer.content), 16_000):
            talk.send_data(at, answer.content[begin:begin + 16_000])
        talk.end_stream(at)
