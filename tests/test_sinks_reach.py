"""What a sink may call, and how (P19): certificates that ended, proxies that the configuration names, and mistakes in what the
kinds ask for."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from support import Server, event, free_port, until
from support.certificates import make_certificates
from support.receivers import SECRET, Collector


class Proxy:
    """Opens connections on demand (`CONNECT`). Whatever name it is asked for, it calls `port` of this machine: it alone knows
    where names lead."""

    def __init__(self, port: int) -> None:
        self.port, self.asked = free_port(), []  # type: int, list[str]
        self._to = port
        self._socket = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line = self._socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._open, args=(line,), daemon=True).start()

    def _open(self, line: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := line.recv(1)):
                return
            head += more
        self.asked.append(head.split(b"\r\n")[0].decode())
        there = socket.create_connection(("127.0.0.1", self._to))
        line.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self._pump, args=(there, line), daemon=True).start()
        self._pump(line, there)

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """Ends it."""
        self._socket.close()


def configured(root: Path, url: str, **over: Any) -> dict[str, Any]:
    """A sink of signed lines."""
    secret = root / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return {"tenant": "acme", "kind": "http", "url": url, "secret_file": secret, "alarm_after_seconds": 2} | over


def status(server: Server) -> dict[str, Any]:
    """How the sink stands."""
    (sink,) = server.admin.get("/sinks").json()["sinks"]
    return sink


def test_p19_a_certificate_that_ended_gets_nothing(tmp_path: Path) -> None:
    """Neither entries nor the secret go to a receiver whose certificate has ended, or is of another authority."""
    make_certificates(tmp_path / "ended", ended=True)
    make_certificates(tmp_path / "good")
    ended = Collector(certificates=tmp_path / "ended")
    other = Collector(certificates=tmp_path / "good")
    for receiver, ca, told in ((ended, "ended", "xpired"), (other, "ended", "BadSignature")):
        receiver.start()
        root = tmp_path / f"of-{told}"
        root.mkdir()
        server = Server.ready(root / "server", sections={"sink.siem": configured(root, receiver.url + "/in", tls_ca_file=tmp_path / ca / "ca.pem")})
        until("the failure", lambda: status(server)["says"])
        assert told in status(server)["says"], status(server)["says"]
        assert receiver.requests == 0 and status(server)["from"] == 0
        server.stop()
        receiver.stop()


def test_p19_a_proxy_that_is_named_and_no_other(tmp_path: Path) -> None:
    """Through a named proxy entries reach a name that this machine can't resolve, over TLS from end to end. A proxy of the
    environment is not used."""
    make_certificates(tmp_path / "tls", name="siem.test")
    receiver = Collector(certificates=tmp_path / "tls")
    receiver.start()
    proxy, other = Proxy(receiver.port), Proxy(receiver.port)
    root = tmp_path / "through"
    root.mkdir()
    sink = configured(root, "https://siem.test/in", tls_ca_file=tmp_path / "tls" / "ca.pem", proxy=f"http://127.0.0.1:{proxy.port}")
    server = Server.ready(root / "server", sections={"sink.siem": sink})
    server.as_("publisher").publish(*(event() for _ in range(100)))
    until("all to arrive", lambda: status(server)["lag"]["entries"] == 0 and len(set(receiver.indexes())) >= 100)
    assert not receiver.wrong and proxy.asked and set(proxy.asked) == {"CONNECT siem.test:443 HTTP/1.1"}
    server.stop()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            patch.setenv(name, f"http://127.0.0.1:{other.port}")
        root = tmp_path / "direct"
        root.mkdir()
        sink = configured(root, receiver.url + "/in", tls_ca_file=tmp_path / "tls" / "ca.pem")
        server = Server.ready(root / "server", sections={"sink.siem": sink})
        until("all to arrive", lambda: status(server)["lag"]["entries"] == 0 and status(server)["from"] > 0)
        assert not other.asked
        server.stop()
    proxy.close()
    other.close()
    receiver.stop()


def test_p19_each_kind_says_what_it_needs(tmp_path: Path) -> None:
    """Mistakes in what a kind asks for, each with what to do."""
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef")
    secret.chmod(0o600)
    good = {
        "otlp": {"url": "https://otel.example.com:4318"},
        "datadog": {"url": "https://http-intake.logs.datadoghq.eu", "secret_file": secret},
        "sentinel": {
            "url": "https://dce.example.com", "secret_file": secret, "rule": "dcr-00", "stream": "Custom-X_CL", "directory": "d-1", "client_id": "c-1",
        },
        "syslog": {"url": "tls://syslog.example.com", "tls_ca_file": "/etc/ssl/certs/ca-certificates.crt"},
    }  # fmt: skip

    def told(kind: str, **over: Any) -> str:
        sink = {"tenant": "acme", "kind": kind} | good[kind] | over
        sink = {name: value for name, value in sink.items() if value is not None}
        done = Server(tmp_path / "server", sections={"sink.siem": sink}).run("check-config")
        return done.err if done.code else ""

    for kind in good:
        assert not told(kind), kind
    for kind, over, words in [
        ("otlp", {"header": "api-key"}, "sink.siem.header: it carries the secret"),
        ("otlp", {"header": "Api Key", "secret_file": secret}, "of a-z and -"),
        ("otlp", {"format": "cef"}, "kind otlp takes native, ocsf, ecs"),
        ("otlp", {"stream": "x"}, "sink.siem.stream: kind otlp has none"),
        ("datadog", {"format": "ecs"}, "kind datadog takes native, ocsf"),
        ("datadog", {"secret_file": None}, "secret_file: it is missing"),
        ("datadog", {"ocsf_version": "1.5.0"}, "ocsf_version: format native has none"),
        ("datadog", {"format": "ocsf", "ocsf_version": "1.4.0"}, "there is 1.9.0, 1.8.0, 1.7.0, 1.6.0, 1.5.0"),
        ("sentinel", {"rule": None}, "the rule's immutable id"),
        ("sentinel", {"directory": "../x"}, "of letters, digits"),
        ("sentinel", {"login_url": "http://login.example.com"}, "login_url: https://"),
        ("sentinel", {"proxy": "http://user:pass@proxy.example.com"}, "sink.siem.proxy: http:// and a host"),
        ("sentinel", {"proxy": "socks5://proxy.example.com"}, "sink.siem.proxy: http:// and a host"),
        ("otlp", {"url": "http://127.0.0.1:4318", "proxy": "http://proxy.example.com:3128"}, "only to an https:// url"),
        ("syslog", {"proxy": "http://proxy.example.com:3128"}, "proxy: kind syslog has none"),
    ]:
        assert words in told(kind, **over), (kind, over, told(kind, **over))
    secret.chmod(0o640)
    for kind in ("datadog", "sentinel"):
        assert "can be read by others" in told(kind)
