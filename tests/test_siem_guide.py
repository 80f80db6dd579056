"""Blocks of the guide for SIEM engineers, each copied as it stands into the configuration of a running server, with our addresses
and files in place of those of the guide; then the one command that proves it, and what arrived (P19)."""

from __future__ import annotations

import re
import signal
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import Server, event, until
from support.clouds import Datadog, Otlp
from support.otelcol import Otelcol
from support.receivers import Bulk, Hec, Receiver
from support.rsyslog import Rsyslog
from support.sysloghost import read_cef

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "siem.md"


@dataclass
class There:
    """A receiver: its address, the secret that it knows, its certificate authority, what its answers show, what it has."""

    url: str
    level: str
    came: Callable[[], set[int]]
    secret: str = ""
    ca: Path | None = None


@contextmanager
def ours(receiver: Receiver, level: str, secret: str, came: Callable[[], set[int]] | None = None) -> Iterator[There]:
    """One of our strict ones."""
    receiver.start()
    yield There(receiver.url, level, came or (lambda: set(receiver.indexes())), secret)
    assert not receiver.wrong
    receiver.stop()


def elastic(_: Path) -> object:
    """`_bulk`: ids are origin and index."""
    receiver = Bulk()
    numbers = lambda: {int(name.rpartition("/")[2]) for name in list(receiver.documents) if name.rpartition("/")[2].isdigit()}  # noqa: E731
    return ours(receiver, "acknowledged", Bulk.key, numbers)


@contextmanager
def otel(root: Path) -> Iterator[There]:
    """A real collector, over gRPC."""
    receiver = Otlp(header=None)
    receiver.start()
    collector = Otelcol(root, receiver.url)
    yield There(collector.grpc_url, "accepted", lambda: set(receiver.indexes()), "a-token")
    assert not receiver.wrong
    collector.stop()
    receiver.stop()


@contextmanager
def syslog(root: Path) -> Iterator[There]:
    """A real rsyslogd over TLS."""
    host = Rsyslog(root / "rsyslog")
    came = lambda: {int(read_cef(text)["index"]) for sort, text in host.texts() if sort == "entry"}  # noqa: E731
    yield There(f"tls://127.0.0.1:{host.port}", "written", came, ca=host.ca)
    host.kill()


THERE: dict[str, Callable[[Path], object]] = {
    "splunk": lambda _: ours(Hec(acks=True), "acknowledged", Hec.token),
    "elastic": elastic,
    "syslog": syslog,
    "otel": otel,
    "datadog": lambda _: ours(Datadog(), "accepted", Datadog.key),
}


def block(name: str) -> str:
    """What the guide says to copy."""
    blocks = re.findall(r"^```toml\n(.*?)^```", GUIDE.read_text(), re.S | re.M)
    (found,) = [text for text in blocks if f"[sink.{name}]" in text]
    return found


@pytest.mark.parametrize("name", THERE)
def test_p19_a_block_of_the_guide_and_one_command(tmp_path: Path, name: str) -> None:
    """The sink begins with the first entry, and the command says what the receiver's answer is worth."""
    server = Server.ready(tmp_path / "server")
    server.as_("publisher").publish(*(event() for _ in range(20)))
    with THERE[name](tmp_path) as there:  # type: ignore[attr-defined]
        secret = tmp_path / "secret"
        secret.write_text(there.secret)
        secret.chmod(0o600)
        text = block(name)
        for member, here in {"url": there.url, "secret_file": secret, "tls_ca_file": there.ca}.items():
            text = re.sub(rf'^{member} = "[^"]*"', f'{member} = "{here}"', text, flags=re.M)
        assert set(tomllib.loads(text)["sink"]) == {name}
        server.config.write_text(server.config.read_text() + "\n" + text)
        server.run("check-config").ok()
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        until("the sink", lambda: server.admin.get("/sinks").json()["sinks"])
        said = server.remote("sink test", "--tenant", "acme", name).ok().out
        assert f"{name}: the test is {there.level}" in said
        standing = lambda: server.admin.get("/sinks").json()["sinks"][0]  # noqa: E731
        until("all to be sent", lambda: standing()["lag"]["entries"] == 0 and standing()["state"] == "delivers")
        until("all to be there", lambda: there.came() >= set(range(standing()["from"])))
    server.stop()
