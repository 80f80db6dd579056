"""Each kind of sink with its receiver, behind a line that can be cut: what a volume run needs of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .clouds import Azure, Datadog, Otlp
from .otelcol import Otelcol
from .receivers import SECRET, Bulk, Collector, Hec, Receiver
from .rsyslog import Rsyslog
from .sysloghost import Syslog
from .wire import Wire


@dataclass
class Side:
    """A receiver that can be killed, and what the configuration says of it."""

    #: Lines by batch, as they came; the batch's own line first.
    batches: Callable[[], list[list[str]]]
    sink: dict[str, Any]
    kill: Callable[[], None]
    back: Callable[[], None]
    #: What its answers show.
    level: str
    #: The line to it.
    wire: Wire | None = None
    #: It answers over HTTP: status, headers and body of an answer can be planned.
    http: Receiver | None = None
    #: It says of single records that it refuses them, at once or when they come alone.
    refuses: bool = True
    #: What it says of itself that is wrong.
    wrong: list[str] = field(default_factory=list)


def secret(root: Path, text: str) -> dict[str, Path]:
    """A file with a secret."""
    path = root / "secret"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return {"secret_file": path}


def of_receiver(receiver: Receiver) -> Callable[[], list[list[str]]]:
    """What a receiver of ours has kept."""
    return lambda: receiver.kept


@contextlib.contextmanager
def over_http(receiver: Receiver, level: str, path: str = "", **sink: Any) -> Iterator[Side]:
    """A receiver of ours that is called over HTTP."""
    receiver.lean = True
    receiver.start()
    wire = Wire(receiver.port)
    sink["url"] = f"http://127.0.0.1:{wire.port}{path}"
    yield Side(of_receiver(receiver), sink, receiver.stop, lambda: drop(receiver.start()), level, wire, receiver, wrong=receiver.wrong)
    wire.cut()
    receiver.stop()


def drop(_: object) -> None:
    """Nothing more is needed of it."""


def http(root: Path) -> contextlib.AbstractContextManager[Side]:
    """A collector of signed lines."""
    return over_http(Collector(), "accepted", "/in", kind="http", **secret(root, SECRET))


@contextlib.contextmanager
def splunk(root: Path) -> Iterator[Side]:
    """HEC with indexers that acknowledge. What they had not stored is gone when it dies."""
    hec = Hec(acks=True)
    with over_http(hec, "acknowledged", kind="splunk", acknowledge=True, **secret(root, Hec.token)) as side:

        def kill() -> None:
            hec.stop()
            hec.waiting.clear()

        side.kill = kill
        yield side


def elastic(root: Path) -> contextlib.AbstractContextManager[Side]:
    """`_bulk`, which refuses single documents."""
    return over_http(Bulk(), "acknowledged", kind="elastic", stream="logs-countersign-default", **secret(root, Bulk.key))


def datadog(root: Path) -> contextlib.AbstractContextManager[Side]:
    """Datadog's intake."""
    return over_http(Datadog(), "accepted", kind="datadog", **secret(root, Datadog.key))


@contextlib.contextmanager
def sentinel(root: Path) -> Iterator[Side]:
    """Azure's Logs Ingestion API. Its login is at the same port."""
    names = {"directory": Azure.directory, "client_id": Azure.client_id, "rule": Azure.rule, "stream": Azure.stream}
    with over_http(Azure(), "accepted", kind="sentinel", **names, **secret(root, Azure.secret)) as side:
        side.sink["login_url"] = side.sink["url"]
        yield side


def otlp(root: Path) -> contextlib.AbstractContextManager[Side]:
    """OTLP over HTTP, decoded by OpenTelemetry's own classes. It refuses single records, and does not say which."""
    return over_http(Otlp(), "accepted", kind="otlp", **secret(root, Otlp.token))


@contextlib.contextmanager
def otlp_grpc(root: Path) -> Iterator[Side]:
    """OTLP over gRPC: a real collector, which dies and comes back; behind it OpenTelemetry's own classes."""
    receiver = Otlp(header=None)
    receiver.lean = True
    receiver.start()
    collector = Otelcol(root, receiver.url)
    wire = Wire(collector.grpc_port)
    sink = {"kind": "otlp", "protocol": "grpc", "url": f"http://127.0.0.1:{wire.port}"}
    # Of records that the next one refuses a collector tells nobody but its own log.
    yield Side(of_receiver(receiver), sink, collector.kill9, collector.start, "accepted", wire, receiver, refuses=False, wrong=receiver.wrong)
    wire.cut()
    collector.stop()
    receiver.stop()


def of_messages(texts: Callable[[], list[tuple[str, str]]]) -> Callable[[], list[list[str]]]:
    """What a syslog server has kept, by batch. It may have lost the begin of one."""

    def batches() -> list[list[str]]:
        found: list[list[str]] = [[]]
        for sort, text in list(texts()):
            if sort == "batch":
                found.append([])
            found[-1].append(text)
        return [batch for batch in found if batch]

    return batches


@contextlib.contextmanager
def over_tls(host: Syslog | Rsyslog, root: Path, kill: Callable[[], None], wrong: list[str]) -> Iterator[Side]:
    """Syslog over TLS. Nobody answers."""
    wire = Wire(host.port)
    # Whoever renews certificates often puts a link there.
    link = root / "ca.pem"
    link.symlink_to(host.ca)
    sink = {"kind": "syslog", "url": f"tls://127.0.0.1:{wire.port}", "tls_ca_file": link}
    texts = host.texts if isinstance(host, Rsyslog) else lambda: host.texts
    yield Side(of_messages(texts), sink, kill, host.start, "written", wire, refuses=False, wrong=wrong)
    wire.cut()
    kill()


def syslog(root: Path) -> contextlib.AbstractContextManager[Side]:
    """A strict server of ours."""
    host = Syslog(root / "tls")
    return over_tls(host, root, host.close, host.wrong)


def rsyslog(root: Path) -> contextlib.AbstractContextManager[Side]:
    """A real rsyslogd. What it had read and not written when it was killed is lost with it."""
    host = Rsyslog(root / "rsyslog")
    return over_tls(host, root, host.kill, [])


@contextlib.contextmanager
def file(root: Path) -> Iterator[Side]:
    """The files of a folder. It is away when its disk is."""
    folder, away = root / "out", root / "away"
    folder.mkdir()

    def batches() -> list[list[str]]:
        found: list[list[str]] = []
        for path in sorted(folder.iterdir()):
            for line in path.read_text().splitlines():
                if line.startswith('{"batch"'):
                    found.append([])
                found[-1].append(line)
        return found

    # A file that is open is written on: small ones end soon. It is fast: many batches, so that there is time for troubles.
    sink = {"kind": "file", "dir": folder, "file_bytes": 4096, "batch_entries": 10}
    yield Side(batches, sink, lambda: drop(folder.rename(away)), lambda: drop(away.rename(folder)), "written", refuses=False)


#: Every kind, with its protocols.
KINDS = {one.__name__: one for one in (http, file, splunk, elastic, syslog, rsyslog, otlp, otlp_grpc, datadog, sentinel)}


def index(line: str) -> int | None:
    """The leaf index of a record in `native`; `None` of a batch's own line."""
    return json.loads(line).get("index")
