"""`proto/examples/gateway.py`: what a gateway author copies. Here against a stand-in that answers by a script."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from support import Finished

GATEWAY = Path(__file__).parent.parent / "proto/examples/gateway.py"
CALL = {
    "agent": "agt-payments", "run": "run-1", "tool": "bank", "action": "transfer",
    "params": {"amount": 125_000, "currency": "EUR", "iban": "DE89370400440532013000", "note": "für \"Kim\"\n"},
}  # fmt: skip
EXECUTED = {name: CALL[name] for name in ("tool", "action", "params")}
Answer = tuple[int, dict[str, Any] | None]


class Script:
    """A server that knows one approval. `faults[route]` are answers given first; `None` for a body hangs up."""

    def __init__(self, phases: list[str], faults: dict[str, list[Answer]]) -> None:
        self.phases, self.faults = list(phases), {route: list(answers) for route, answers in faults.items()}
        self.asked: list[tuple[str, dict[str, Any] | None]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                assert self.headers["Authorization"] == "Bearer cs_key"
                status, given = script.answer(self.path.removeprefix("/v1/tenants/acme"), body)
                if given is None:
                    self.close_connection = True
                    return
                text = json.dumps(given).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if status == 503:
                    self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/tenants/acme"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, body: dict[str, Any] | None) -> Answer:
        route = path.partition("?")[0].rpartition("/")[2]
        route = "state" if route.startswith("apr-") else route
        self.asked.append((route, body))
        if self.faults.get(route):
            return self.faults[route].pop(0)
        if route == "state":
            return 200, {"state": self.phases.pop(0) if len(self.phases) > 1 else self.phases[0], "version": len(self.asked)}
        if route == "redeem":
            assert body
            call = {"v": 1, "tenant": "acme", **body["call"]}
            return 200, {"call": call}
        return 200, {"token": "a.b.c"} if route == "token" else {}

    def bodies(self, route: str) -> list[dict[str, Any] | None]:
        """What was sent to a route, in order."""
        return [body for name, body in self.asked if name == route]


def run(url: str, folder: Path, *args: object, key: str = "cs_key", producer: str = "gw-1") -> Finished:
    """Runs the example on [`CALL`]."""
    (folder / "key").write_text(key + "\n")
    (folder / "call.json").write_text(json.dumps(CALL))
    command = [sys.executable, "-I", GATEWAY, "--url", url, "--producer", producer, "--key-file", folder / "key", *args, folder / "call.json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=90, check=False)
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., tuple[Script, Finished]]:
    """Runs the example against a script."""

    def scripted(*phases: str, wait: float = 20, **faults: list[Answer]) -> tuple[Script, Finished]:
        script = Script(list(phases), faults)
        try:
            return script, run(script.url, tmp_path, "--wait", wait)
        finally:
            script.server.shutdown()

    return scripted


BUSY: Answer = (503, {"code": "busy"})
GONE: Answer = (0, None)
problem = lambda status, code: (status, {"code": code, "detail": "told"})  # noqa: E731


def test_p7_the_whole_way(scripted: Callable[..., Any]) -> None:
    """Asks, waits, and does what the server returned. Its digest is RFC 8785's, by a library that is not ours."""
    script, done = scripted("pending", "pending", "granted")
    assert done.code == 0, done.err
    assert done.json() == EXECUTED
    assert [route for route, _ in script.asked] == ["approvals", "state", "state", "state", "token", "redeem", "execution"]
    (event,), (spend,) = script.bodies("approvals"), script.bodies("redeem")
    assert event and spend
    call = {"v": 1, "nonce": event["data"]["payload"]["nonce"], "tenant": "acme", **CALL}
    digest = hashlib.sha256(b"countersign-call-v1\0" + rfc8785.dumps(call)).digest()
    assert event["data"]["call"]["digest"] == urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert spend["call"] == {"nonce": call["nonce"], **CALL} and spend["token"] == "a.b.c"
    assert script.bodies("execution") == [{"outcome": "succeeded"}]


@pytest.mark.parametrize("phase", ["denied", "expired", "cancelled", "superseded", "revoked", "lapsed", "unheard_of"])
def test_p9_nothing_else_is_a_yes(scripted: Callable[..., Any], phase: str) -> None:
    """Only a grant is one."""
    script, done = scripted("pending", phase)
    assert (done.code, done.out) == (1, "") and phase in done.err
    assert not script.bodies("token") and not script.bodies("redeem")


def test_p9_silence_is_not_a_yes(scripted: Callable[..., Any]) -> None:
    """When its own patience ends, it cancels and executes nothing."""
    script, done = scripted("pending", wait=0.2)
    assert (done.code, done.out) == (1, "")
    assert script.bodies("cancel") == [{"reason": "gave_up"}] and not script.bodies("token")


def test_p8_every_step_is_repeated_as_it_was(scripted: Callable[..., Any]) -> None:
    """503 and lost answers: the same event, the same redemption id."""
    routes = ("approvals", "state", "token", "redeem", "execution")
    script, done = scripted("granted", **{route: [BUSY, GONE] for route in routes})
    assert done.code == 0, done.err
    for route in routes:
        bodies = script.bodies(route)
        assert len(bodies) == 3 and bodies.count(bodies[0]) == 3, route


def test_p8_an_expired_token_is_minted_anew(scripted: Callable[..., Any]) -> None:
    """With the same redemption id; and not for ever."""
    expired = problem(403, "token_expired")
    script, done = scripted("granted", redeem=[expired])
    assert done.code == 0 and done.json() == EXECUTED
    assert len(script.bodies("token")) == 2 and script.bodies("redeem")[0] == script.bodies("redeem")[1]
    script, done = scripted("granted", redeem=[expired] * 5)
    assert (done.code, done.out) == (1, "") and len(script.bodies("token")) == 3


@pytest.mark.parametrize(
    ("route", "code"),
    [("approvals", "not_opened"), ("state", "not_found"), ("token", "too_many_mints"), ("redeem", "digest_mismatch"), ("redeem", "already_redeemed")],
)
def test_p9_a_refusal_ends_it(scripted: Callable[..., Any], route: str, code: str) -> None:
    """Whatever is refused, and wherever: nothing is executed, and the code is shown."""
    script, done = scripted("granted", **{route: [problem(409, code)]})
    assert (done.code, done.out) == (1, "") and code in done.err
    assert not script.bodies("execution")


def test_a_lost_report_does_not_hide_the_execution(scripted: Callable[..., Any]) -> None:
    """It was executed, and says so."""
    _, done = scripted("granted", execution=[problem(409, "already_reported")])
    assert done.code == 0 and done.json() == EXECUTED and "report" in done.err


def test_p9_an_unreachable_server_is_not_a_yes(scripted: Callable[..., Any]) -> None:
    """After 30 s it gives up: status 69, nothing executed."""
    script, done = scripted("granted", redeem=[BUSY] * 60)
    assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    assert 20 <= len(script.bodies("redeem")) <= 31
