"""A proxy in front of a server that fails as proxies and networks do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from .fakeserver import FakeServer


class FlakyFront:
    """Passes requests on to `target`. `fail` says what becomes of the next ones: a status, `reset` (no answer), `cut` (half
    an answer, of a request that was passed on), or a body that is answered with 200."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.fail: list[int | str | bytes] = []
        #: What a failing status carries as `Retry-After`.
        self.retry_after = ""
        #: Requests so far, and the `Authorization` of each.
        self.seen = 0
        self.keys: list[str] = []
        #: Called once, while the first request of events is under way.
        self.before_first: Callable[[], None] = lambda: None
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                front.answer(self)

            do_POST = do_DELETE = do_CONNECT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = FakeServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FlakyFront":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.seen += 1
        self.keys.append(request.headers.get("Authorization", ""))
        if request.command == "POST":
            then, self.before_first = self.before_first, lambda: None
            then()
        what = self.fail.pop(0) if self.fail else 0
        if what == "reset":
            request.close_connection = True
            return
        if isinstance(what, bytes):
            self._send(request, 200, what)
        elif isinstance(what, int) and what:
            self._send(request, what, b"<html>\x1b[31mbad gateway</html>")
        else:
            upstream = http.client.HTTPConnection(self.target.hostname or "", self.target.port, timeout=60)
            headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
            upstream.request(request.command, request.path, body, headers)
            answer = upstream.getresponse()
            self._send(request, answer.status, answer.read(), cut=what == "cut")

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, cut: bool = False) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        if status >= 400 and self.retry_after:
            request.send_header("Retry-After", self.retry_after)
        if 300 <= status < 400:
            request.send_header("Location", self.url + "/elsewhere")
        request.end_headers()
        if cut:
            request.wfile.write(body[: len(body) // 2])
            request.close_connection = True
        else:
            request.wfile.write(body)
