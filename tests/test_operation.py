"""Running it: TLS, health, metrics, the API document, signals and limits (P12 P13)."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli, event, until
from support.certificates import make_certificates


def test_p12_tls(make_server: Any, tmp_path: Path) -> None:
    """HTTPS with a certificate of our own CA; clients that would speak HTTP/2 get HTTP/1.1; plaintext, unknown CAs and old versions are not
    spoken; the commands take `--ca`."""
    made = tmp_path / "tls"
    make_certificates(made)
    context = ssl.create_default_context(cafile=str(made / "ca.pem"))
    files = {"certificate": made / "server.pem", "key": made / "server.key"}
    server = make_server(scheme="https", ca=context, sections={"tls": files})
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    second = server.client(server.admin_key, http2=True)
    answer = second.get("/logs/1/checkpoint")
    assert answer.status_code == 200 and answer.http_version == "HTTP/1.1"
    listed = server.remote("key list", "--tenant", "acme", "--ca", made / "ca.pem", "--json").ok().json()
    assert len(listed) >= 2
    export = server.remote("export", "--tenant", "acme", "--ca", made / "ca.pem", tmp_path / "e").ok()
    assert "entries" in export.out and cli("verify", "--key", server.vkey, "--export", tmp_path / "e").code == 0
    unknown = server.remote("key list", "--tenant", "acme")
    assert unknown.code == 69 and "certificate" in unknown.err.lower(), unknown
    assert server.remote("key list", "--tenant", "acme", "--ca", tmp_path / "absent").code == 3
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url.replace("https", "http") + "/healthz", timeout=5)
    old = ssl.create_default_context(cafile=str(made / "ca.pem"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url + "/healthz", verify=old, timeout=5)
    assert server.client(None).http.get("/healthz").json()["plaintext_behind_proxy"] is False
    server.stop()
    server.fsck().ok()


def test_p13_handshakes_that_never_come(make_server: Any, tmp_path: Path) -> None:
    """Clients that connect and do not speak TLS do not keep others out for ever."""
    import socket

    make_certificates(tmp_path / "tls")
    context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
    files = {"certificate": tmp_path / "tls" / "server.pem", "key": tmp_path / "tls" / "server.key"}
    server = make_server(scheme="https", ca=context, sections={"tls": files, "limits": {"connections": 4}})
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    begin = time.monotonic()
    with httpx.Client(verify=context, timeout=25, trust_env=False) as http:
        assert http.get(server.url + "/readyz").status_code == 200
    assert time.monotonic() - begin < 20
    for connection in silent:
        connection.close()


def test_plaintext_behind_a_proxy_is_shown(make_server: Any) -> None:
    server = make_server(plaintext_behind_proxy=True)
    health = server.client(None).http.get("/healthz").json()
    assert health["plaintext_behind_proxy"] is True
    assert any("plaintext_behind_proxy" in warning for warning in health["warnings"])
    assert "plaintext_behind_proxy" in server.log
    assert any("guard_path" in warning for warning in health["warnings"]), "guard and data lie on one device"


# The API document


def test_openapi_is_the_checked_in_one(shared: Server, repository: Path) -> None:
    """`countersign openapi`, `GET /openapi.json` and proto/openapi.json are the same bytes."""
    printed = cli("openapi").ok().out
    assert printed == (repository / "proto" / "openapi.json").read_text()
    assert shared.client(None).http.get("/openapi.json").text.strip() == printed.strip()


def test_openapi_names_routes_that_exist(shared: Server) -> None:
    """Every documented operation is routed, needs the key it says, and no other method is taken there."""
    document = json.loads(cli("openapi").out)
    assert document["openapi"].startswith("3.1")
    anonymous = shared.client(None).http
    open_to_all = {"/livez", "/healthz", "/readyz", "/openapi.json", "/v1/tenants/{tenant}/jwks.json"}
    paths = document["paths"]
    assert "/v1/tenants/{tenant}/events" in paths and len(paths) >= 18
    for path, operations in paths.items():
        real = path.replace("{tenant}", "acme").replace("{n}", "1").replace("{path}", "0/000.p/1").replace("{index}", "0")
        real = re.sub(r"\{\w+\}", "x", real)
        for method in operations:
            answer = anonymous.request(method.upper(), real)
            # Chats sign what they send; a connection that is not configured is nothing.
            closed = 404 if "{connection}" in path else 401
            assert answer.status_code == (200 if path in open_to_all else closed), (method, real, answer.text)
        other = next(m for m in ("PATCH", "PUT") if m.lower() not in operations)
        assert anonymous.request(other, real).status_code == 405, real


def test_p13_operations_with_random_input_never_5xx(shared: Server, rng: Any) -> None:
    """Random methods, paths, queries and bodies over the documented routes: an answer below 500, a problem where it is
    an error, and the server stands."""
    document = json.loads(cli("openapi").out)
    admin = shared.admin.http
    words = ["", "0", "1", "-1", "x", "é", "%00", "%ff", "..", "a" * 300, "18446744073709551616", "{}", "null", "acme", "\u202e", "1e3", "+1", "0x1"]
    bodies = [b"", b"{}", b"[]", b"null", b"\xff", b'{"index":1e99}', b'{"roles":[]}', b'{"tenant":"A"}', b"[" * 5000, b'{"a":1,"a":2}', b"1"]
    bad = []
    for _ in range(1500):
        path = rng.choice(list(document["paths"]))
        if path in ("/v1/backup", "/healthz", "/readyz", "/metrics"):
            continue
        method = rng.choice(list(document["paths"][path]))
        known = path.replace("{tenant}", "acme" if rng.random() < 0.9 else rng.choice(words)).replace("{n}", "1")
        real = re.sub(r"\{\w+\}", lambda _: rng.choice(words), known)
        if real.endswith("/keys/rotate") or method == "delete":
            continue
        names = [p["name"] for p in document["paths"][path][method].get("parameters", []) if p["in"] == "query"]
        query = "&".join(f"{rng.choice(names)}={rng.choice(words)}" for _ in range(rng.randrange(3)) if names)
        if "wait" in query:
            continue
        kind = rng.choice(["application/json", "application/x-ndjson", "application/cloudevents-batch+json", "text/plain", ""])
        try:
            url = httpx.URL(f"{shared.url}{real}" + (f"?{query}" if query else ""))
        except httpx.InvalidURL:
            continue
        body = rng.choice(bodies) if method == "post" else None
        headers = {"Content-Type": kind}
        try:
            answer = admin.request(method.upper(), url, content=body, headers=headers)
        except httpx.TransportError:
            # A body that was not read ends the connection after its answer, perhaps as the next request begins on it.
            answer = admin.request(method.upper(), url, content=body, headers=headers | {"Connection": "close"})
        problem = answer.headers.get("content-type") == "application/problem+json"
        if answer.status_code >= 500 or (answer.status_code >= 400 and not problem):
            bad.append((method, str(url), body, answer.status_code, answer.text[:100]))
    assert not bad, "\n".join(map(str, bad[:10]))
    assert shared.as_("publisher").publish(event())[0]["status"] == "posted"


# Metrics and health


def samples(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def test_metrics(make_server: Any) -> None:
    """Prometheus text; what is counted moves with what happens."""
    server = make_server()
    operator = server.client(server.operator_key).http
    answer = operator.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text") and answer.text.endswith("# EOF\n")
    before = samples(answer.text)
    good = event()
    server.as_("publisher").publish(good, good, good | {"time": "2020-01-01T00:00:00Z"}, b'"x"')
    after = samples(operator.get("/metrics").text)

    def total(found: dict[str, float], status: str) -> float:
        return sum(value for name, value in found.items() if "events_total" in name and f'status="{status}"' in name)

    for status in ("posted", "duplicate", "conflict", "rejected"):
        assert total(after, status) - total(before, status) == 1, status
    entries = next(value for name, value in after.items() if re.search(r'entries\{.*tenant="acme"', name))
    assert entries == server.admin.size()
    assert next(value for name, value in after.items() if "halted" in name and "acme" in name) == 0
    assert next(value for name, value in after.items() if name.endswith("disk_bytes")) > 0
    for line in operator.get("/metrics").text.splitlines():
        assert line.startswith("# ") or re.fullmatch(r'[a-z_:]+(\{([a-z]+="[^"]*",?)+\})? -?[0-9.e+-]+', line), line


def test_logs_are_structured(make_server: Any) -> None:
    server = make_server(sections={"log": {"format": "json", "level": "info"}})
    server.as_("publisher").publish(event())
    server.stop()
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert lines and all({"timestamp", "level", "fields"} <= set(line) for line in lines)
    assert "\x1b" not in server.log


def certificate(server: Server) -> bytes:
    """The certificate that a new connection is met with."""
    return ssl.get_server_certificate(("127.0.0.1", server.port)).encode()


def test_p1_signals_that_are_no_end(make_server: Any) -> None:
    """SIGHUP (logrotate, certbot), SIGUSR1, SIGUSR2 and SIGALRM end nothing."""
    server = make_server()
    for how in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        assert server.process
        server.process.send_signal(how)
        assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    until("SIGHUP to be told", lambda: "SIGHUP" in server.log)
    assert server.alive()
    server.stop()


def test_p12_sighup_reads_certificates_again(make_server: Any, tmp_path: Path) -> None:
    """A new certificate is shown to new connections; files that do not fit each other change nothing, and are told."""
    made = tmp_path / "tls"
    make_certificates(made)
    context = ssl.create_default_context(cafile=str(made / "ca.pem"))
    files = {"certificate": made / "server.pem", "key": made / "server.key"}
    server = make_server(scheme="https", ca=context, sections={"tls": files})
    open_before = server.admin
    assert open_before.size() >= 1
    first = certificate(server)
    make_certificates(tmp_path / "new")
    for name in ("server.pem", "server.key"):
        (made / name).write_bytes((tmp_path / "new" / name).read_bytes())
    assert certificate(server) == first
    server.process.send_signal(signal.SIGHUP)
    until("the new certificate", lambda: certificate(server) != first)
    second = certificate(server)
    assert open_before.size() >= 1, "connections that are open stay"
    (made / "server.key").write_text("no key\n")
    server.process.send_signal(signal.SIGHUP)
    until("the wrong key to be told", lambda: "what was read before stays" in server.log)
    assert certificate(server) == second and "no key" not in server.log


def test_sighup_changes_the_level_of_the_log(make_server: Any) -> None:
    server = make_server()
    assert " DEBUG " not in server.log
    server.sections["log"] = {"level": "debug"}
    server.write_config()
    server.process.send_signal(signal.SIGHUP)

    def debugs() -> bool:
        """What is no request ends its connection, which is told at this level alone."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(b"this is no request\r\n\r\n")
            connection.recv(1000)
        return " DEBUG " in server.log

    until("a line of level debug", debugs)
    server.sections["log"] = {"level": "no such = level ="}
    server.write_config()
    server.process.send_signal(signal.SIGHUP)
    until("the mistake", lambda: "log.level" in server.log)
    assert server.alive()


def test_each_request_has_an_id(make_server: Any) -> None:
    """In every answer; in problems; taken over where it can stand in a log; and in the line of what failed."""
    server = make_server()
    client = server.admin
    ids = {client.get("/logs/1/checkpoint").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3 and all(re.fullmatch("[0-9a-f]{16}", id) for id in ids)
    for path in ("/healthz", "/v1/tenants/acme/entries/999999", "/nothing", "/v1/tenants/acme/%ff"):
        answer = client.http.get(path, headers={"X-Request-Id": "from-the-proxy.1"})
        assert answer.headers["x-request-id"] == "from-the-proxy.1", path
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == "from-the-proxy.1"
    for bad in ("a b", "x" * 65, "é".encode(), "", "a\tb"):
        assert client.http.get("/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"] != bad
    backup = server.client(server.operator_key).http
    server.backup_dir.write_text("not a folder")
    answer = backup.post("/v1/backup", json={"name": "one"})
    assert answer.status_code == 500
    id = answer.json()["request_id"]
    line = until("its line", lambda: next((line for line in server.log.splitlines() if id in line), None))
    assert "/v1/backup" in line, line


def test_repeated_warnings_are_counted(make_server: Any) -> None:
    """300 requests that fail for one reason are some lines and a count, for each tenant."""
    server = make_server()
    backup = server.client(server.operator_key).http
    server.backup_dir.write_text("not a folder")
    for _ in range(300):
        assert backup.post("/v1/backup", json={"name": "one"}).status_code == 500
    server.stop()
    lines = [line for line in server.log.splitlines() if "WARN" in line or "ERROR" in line]
    assert 1 <= sum("a request was not served" in line for line in lines) < 100
    counted = [int(found[1]) for line in lines if "not printed" in line and (found := re.search(r"times=(\d+)", line))]
    printed = sum("a request was not served" in line and "not printed" not in line for line in lines)
    assert sum(counted) + printed >= 300, lines


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_p1_an_orderly_end_answers_what_it_took(make_server: Any, how: signal.Signals) -> None:
    """During an orderly stop every request is answered or refused; what was answered `posted` is there afterwards."""
    server = make_server()
    key = server.as_("publisher").key
    answered: list[tuple[str, int]] = []

    def publish() -> None:
        client = server.client(key)
        while True:
            sent = event()
            try:
                result = client.publish(sent)[0]
            except (httpx.TransportError, AssertionError):
                return
            answered.append((sent["id"], result["index"]))

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(answered) < 200:
        assert any(thread.is_alive() for thread in threads)
    assert server.process
    server.process.send_signal(how)
    assert server.wait_exit() == 0
    for thread in threads:
        thread.join()
    server.start()
    held = {entry["event"]["id"]: index for index, leaf in server.admin.feed(kind="decision") for entry in [json.loads(leaf)]}
    assert all(held[name] == index for name, index in answered)
    server.stop()
    server.fsck().ok()
