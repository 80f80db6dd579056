"""Strict receivers of sinks, each on a port of its own: a collector of signed NDJSON, Splunk's HEC with indexer
acknowledgement, and Elastic's `_bulk`. They refuse whatever the real ones refuse, and do what a test plans."""

from __future__ import annotations

import base64
import collections
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .waits import free_port

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
#: Status, headers and body of an answer that a test plans.
Planned = tuple[int, dict[str, str], bytes]


class Receiver:
    """Takes batches. `planned` are answers that come first; `poison` says of a record whether it is refused; `then` is
    called with every batch that was taken, before its answer leaves. With a folder of `certificates` it speaks TLS."""

    def __init__(self, port: int | None = None, certificates: Path | None = None) -> None:
        self.port = port or free_port()
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        self.certificates = certificates
        self.heads: list[dict[str, Any]] = []
        self.tests: list[dict[str, Any]] = []
        #: Every record as it came: line by line, in order.
        self.lines: list[str] = []
        #: Records by batch.
        self.batches: list[list[dict[str, Any]]] = []
        self.requests = 0
        self.wrong: list[str] = []
        self.planned: collections.deque[Planned] = collections.deque()
        #: True: what was taken is kept as text alone, so that hundred thousands of records fit: lines by batch, in `kept`.
        self.lean = False
        self.kept: list[list[str]] = []
        self.poison: Callable[[dict[str, Any]], bool] = lambda record: False
        self.then: Callable[[], None] = lambda: None
        self._server: ThreadingHTTPServer | None = None
        self._open: set[socket.socket] = set()

    # life

    def start(self) -> "Receiver":
        """Listens, always on the same port."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver._open.add(self.connection)

            def finish(self) -> None:
                receiver._open.discard(self.connection)
                super().finish()

            def do_GET(self) -> None:  # noqa: N802
                self.do_POST()

            def do_POST(self) -> None:  # noqa: N802
                length = int(self.headers["Content-Length"] or 0)
                body = self.rfile.read(length)
                if len(body) < length:
                    self.close_connection = True
                    return  # the line ended in the middle of it
                receiver.requests += 1
                try:
                    if receiver.planned:
                        status, headers, answer = receiver.planned.popleft()
                    elif self.command == "GET":
                        status, headers, answer = receiver.get(self.path)
                    else:
                        status, headers, answer = receiver.take(self.path, self.headers, body)
                except AssertionError as error:
                    receiver.wrong.append(f"{self.path}: {error}")
                    status, headers, answer = 500, {}, b"wrong"
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the server was killed

            def log_message(self, *_: object) -> None:
                pass

        class Here(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that does not trust the certificate

        self._server = Here(("127.0.0.1", self.port), Handler)
        if self.certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificates / "server.pem", self.certificates / "server.key")
            # The handshake is each connection's own: one that is silent holds up nobody.
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Is away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            # Connections that are kept open would be served on.
            for line in list(self._open):
                try:
                    line.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed already

    # what came

    def take(self, path: str, headers: Any, body: bytes) -> Planned:
        """Takes a batch, or refuses it."""
        raise NotImplementedError

    def get(self, path: str) -> Planned:
        """Answers a question."""
        raise AssertionError("nobody asks")

    def keep(self, said: list[tuple[str, dict[str, Any]]]) -> None:
        """Keeps what was taken: lines, and what they say."""
        if self.lean:
            self.kept.append([line for line, _ in said])
            self.then()
            return
        records = []
        for line, value in said:
            if "batch" in value:
                self.heads.append(value["batch"])
            elif "test" in value:
                self.tests.append(value["test"])
            else:
                self.lines.append(line)
                records.append(value)
        self.batches.append(records)
        self.then()

    def indexes(self) -> list[int]:
        """The index of every record that was taken, in order."""
        return [record["index"] for batch in self.batches for record in batch]

    def text(self) -> str:
        """Everything, as a file agent or a collector would have kept it."""
        heads = [json.dumps({"batch": head}) for head in self.heads]
        return "\n".join(heads + self.lines) + "\n"


class Collector(Receiver):
    """NDJSON, signed by Standard Webhooks. A poisonous record has the whole request refused."""

    secret = SECRET
    refuses = 422
    #: What it takes, and how it reads a line.
    media = "application/x-ndjson"
    read: Callable[[str], dict[str, Any]] = staticmethod(json.loads)

    def take(self, path: str, headers: Any, body: bytes) -> Planned:
        """Checks the signature, byte for byte."""
        assert headers["Content-Type"] == self.media and path == "/in"
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode()
        assert hmac.compare_digest(headers["webhook-signature"], expected), "the signature is wrong"
        assert body.endswith(b"\n")
        lines = body.decode().removesuffix("\n").split("\n")
        said = [(line, self.read(line)) for line in lines]
        first = said[0][1]
        assert "batch" in first or "test" in first or first["cat"] in ("batch", "test"), "a batch says first what it is"
        if any("index" in value and self.poison(value) for _, value in said):
            return self.refuses, {}, b"one of these can't be taken"
        self.keep(said)
        return 204, {}, b""


class Hec(Receiver):
    """Splunk's HTTP Event Collector. With `acks`, it acknowledges when it is asked for the second time."""

    token = "0f0e0d0c-0b0a-0908-0706-050403020100"

    def __init__(self, *, acks: bool = False) -> None:
        super().__init__()
        self.acks = acks
        self.asked: collections.Counter[int] = collections.Counter()
        self.waiting: dict[int, list[tuple[str, dict[str, Any]]]] = {}
        self.ids = 0
        #: Batches that the indexers lose: taken, never acknowledged, not kept.
        self.lose = 0

    def take(self, path: str, headers: Any, body: bytes) -> Planned:
        """As HEC answers: its codes, a channel where it acknowledges."""
        answer = lambda status, code, text, **more: (status, {}, json.dumps({"text": text, "code": code} | more).encode())  # noqa: E731
        if headers["Authorization"] != f"Splunk {self.token}":
            return answer(403, 4, "Invalid token")
        if self.acks and not headers["X-Splunk-Request-Channel"]:
            return answer(400, 10, "Data channel is missing")
        if path == "/services/collector/ack":
            assert self.acks
            return 200, {}, json.dumps({"acks": {str(n): self.indexed(n) for n in json.loads(body)["acks"]}}).encode()
        assert path == "/services/collector/event"
        said, text, decoder = [], body.decode(), json.JSONDecoder()
        at = 0
        while at < len(text):
            wrapped, at = decoder.raw_decode(text, at)
            while at < len(text) and text[at] in " \r\n":
                at += 1
            assert set(wrapped) == {"time", "host", "source", "sourcetype", "event"}, wrapped
            event = wrapped["event"]
            assert wrapped["sourcetype"] == ("countersign:entry" if "index" in event else "countersign:batch")
            if "index" in event and self.poison(event):
                return answer(400, 6, "Invalid data format", **{"invalid-event-number": len(said)})
            said.append((json.dumps(event, ensure_ascii=False, separators=(",", ":")), event))
        if not said:
            return answer(400, 5, "No data")
        if not self.acks:
            self.keep(said)
            return answer(200, 0, "Success")
        self.ids += 1
        self.waiting[self.ids] = said
        return answer(200, 0, "Success", ackId=self.ids)

    def indexed(self, number: int) -> bool:
        """Whether the indexers have it: from the second question on."""
        self.asked[number] += 1
        if self.asked[number] < 2 or number not in self.waiting:
            return False
        said = self.waiting.pop(number)
        if self.lose:
            self.lose -= 1
            return False
        self.keep(said)
        return True


class Bulk(Receiver):
    """Elastic's `_bulk` of one data stream: `create` alone, one answer for each line, 409 for an id that is there."""

    key = "VnVhQ2ZHY0JDZGJrU2c6dGVzdA=="

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, dict[str, Any]] = {}
        #: So many items are answered with 429, once.
        self.busy = 0

    def take(self, path: str, headers: Any, body: bytes) -> Planned:
        """As Elasticsearch answers: 200 with an error for each item."""
        assert path == "/logs-countersign-default/_bulk" and headers["Content-Type"] == "application/x-ndjson"
        if headers["Authorization"] != f"ApiKey {self.key}":
            return 401, {}, b'{"error":{"type":"security_exception"},"status":401}'
        lines = body.decode().split("\n")
        assert lines.pop() == "" and len(lines) % 2 == 0
        items, kept = [], []
        for action, line in zip(lines[::2], lines[1::2], strict=True):
            name = json.loads(action)["create"]["_id"]
            assert len(name.encode()) <= 512 and set(json.loads(action)) == {"create"}
            document = json.loads(line)
            if name in self.documents:
                items.append({"create": {"_id": name, "status": 409, "error": {"type": "version_conflict_engine_exception"}}})
            elif self.busy:
                self.busy -= 1
                items.append({"create": {"_id": name, "status": 429, "error": {"type": "es_rejected_execution_exception"}}})
            elif "index" in document and self.poison(document):
                error = {"type": "document_parsing_exception", "reason": "failed to parse field [entry.event.data]"}
                items.append({"create": {"_id": name, "status": 400, "error": error}})
            else:
                self.documents[name] = {} if self.lean else document
                kept.append((line, document))
                items.append({"create": {"_id": name, "status": 201, "result": "created"}})
        self.keep(kept)
        errors = any(item["create"]["status"] >= 400 for item in items)
        return 200, {}, json.dumps({"took": 1, "errors": errors, "items": items}).encode()
