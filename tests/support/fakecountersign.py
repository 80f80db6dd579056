"""A server that answers a gateway by a script, for the faults that can't be had at will."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler
from typing import Any

import rfc8785

from .desk import call_digest
from .fakeserver import FakeServer

#: Status and body. `None` for a body hangs up.
Answer = tuple[int, Any]
BUSY: Answer = (503, {"code": "busy"})
GONE: Answer = (0, None)
KEY = "cs_key"


def problem(status: int, code: str) -> Answer:
    """A refusal."""
    return status, {"code": code, "detail": "told"}


class FakeCountersign:
    """Knows one approval, which goes through `phases`, and allows every call unless `told` says otherwise: members of the
    verdict's answer. `faults[route]` are answers given first."""

    def __init__(self, phases: list[str], faults: dict[str, list[Answer]], told: dict[str, Any] | None = None) -> None:
        self.phases, self.faults = list(phases) or ["granted"], {route: list(answers) for route, answers in faults.items()}
        self.told = told or {}
        self.asked: list[tuple[str, Any]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                assert self.headers["Authorization"] == f"Bearer {KEY}"
                status, given = script.answer(self.path.removeprefix("/v1/tenants/acme"), body)
                if given is None:
                    self.close_connection = True
                    return
                text = json.dumps(given).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if status == 503:
                    self.send_header("Retry-After", "1")
                if 300 <= status < 400:
                    self.send_header("Location", f"{script.url}/elsewhere")
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = FakeServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/tenants/acme"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: Any) -> Answer:
        """The answer to one request."""
        route = path.partition("?")[0].rpartition("/")[2]
        route = "state" if route.startswith("apr-") else route
        self.asked.append((route, body))
        if self.faults.get(route):
            return self.faults[route].pop(0)
        if route == "decisions":
            return 200, self.verdict(body)
        if route == "events":
            return 200, {"results": [{"status": "posted", "index": 8}]}
        if route == "state":
            return 200, {"state": self.phases.pop(0) if len(self.phases) > 1 else self.phases[0], "version": len(self.asked)}
        if route == "redeem":
            call = {"v": 1, "tenant": "acme", **body["call"]}
            return 200, {"call": call}
        return 200, {"token": "a.b.c"} if route == "token" else {}

    def verdict(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question."""
        digest = call_digest("acme", question["nonce"], {"data": question}, question["params"])
        told = {
            "verdict": "allow", "enforced": True, "repeated": False, "valid_for": 60, "reason": {"code": "allowed"},
            "decision": {"index": 7, "leaf_hash": b64encode(b"leaf" * 8).decode(), "id": question["id"]}, "call": {"digest": digest},
        } | self.told  # fmt: skip
        if told["verdict"] == "approval_needed":
            told = {"approval": {"id": "apr-1", "state": "pending"}} | told
        return json.loads(rfc8785.dumps(told))

    @property
    def routes(self) -> list[str]:
        """What was asked for, in order."""
        return [route for route, _ in self.asked]

    def bodies(self, route: str) -> list[Any]:
        """What was sent to a route, in order."""
        return [body for name, body in self.asked if name == route]
