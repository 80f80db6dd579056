"""What sinks write: RFC 5425 over TLS, OCSF and ECS (P19). Golden files for every kind: `proto/vectors/sinks`."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from support import Server, event, free_port, until
from support.certificates import make_certificates
from support.receivers import Bulk

#: Required attributes by class of OCSF 1.8.0, beside those of every event.
OCSF_REQUIRED = {
    0: set(), 2004: {"finding_info"}, 3004: {"actor", "entity"}, 6002: {"app"}, 6003: {"actor", "api", "src_endpoint"},
}  # fmt: skip
OCSF_EVERYWHERE = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
RFC5424 = re.compile(rb"<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (\S+) countersign - (batch|entry) - \xef\xbb\xbf(\{.*\})", re.S)


class Syslog:
    """A syslog server over TLS, strict: a length, a blank, and exactly so many bytes."""

    def __init__(self, folder: Path) -> None:
        make_certificates(folder)
        self.ca, self.port = folder / "ca.pem", free_port()
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.wrong: list[str] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line = self._tls.wrap_socket(self._socket.accept()[0], server_side=True)
            except OSError:
                return
            self._open.append(line)
            threading.Thread(target=self._read, args=(line,), daemon=True).start()

    def _read(self, line: ssl.SSLSocket) -> None:
        stream = line.makefile("rb")
        try:
            while first := stream.read(1):
                length = first
                while (digit := stream.read(1)) != b" ":
                    length += digit
                if not re.fullmatch(rb"[1-9]\d{0,7}", length):
                    self.wrong.append(f"a length of {length!r}")
                    return
                found = RFC5424.fullmatch(stream.read(int(length)))
                if not found:
                    self.wrong.append("no message of RFC 5424")
                    return
                self.messages.append((found[2].decode(), json.loads(found[3])))
        except (OSError, ValueError):
            return

    def hang_up(self) -> None:
        """Closes every connection."""
        while self._open:
            self._open.pop().close()

    def close(self) -> None:
        """Ends it."""
        self.hang_up()
        self._socket.close()


def level(server: Server) -> bool:
    """Whether the sink has sent everything."""
    (sink,) = server.admin.get("/sinks").json()["sinks"]
    return sink["lag"]["entries"] == 0 and sink["state"] == "delivers"


def every_sort(server: Server) -> None:
    """Decisions of every verdict, in both modes, a gap, a rejected event, an act of an admin."""
    gateway = server.as_("publisher")
    for verdict in ("allow", "deny", "sanitize", "approval_needed"):
        for mode in ("enforce", "shadow"):
            gateway.publish(event(data={"verdict": verdict, "mode": mode, "reason": {"code": "x"}}))
    gateway.publish(event(sequence="1"), event(sequence="4"), event(sequence="2"), event(type="dev.countersign.decision.v9"))
    gateway.publish(event(data={"agent": {"id": "a\u202e\U0001f600é"}}))


def test_p19_syslog_over_tls(tmp_path: Path) -> None:
    """Every message arrives whole, over a connection that the receiver closed meanwhile."""
    receiver = Syslog(tmp_path / "tls")
    configured = {"tenant": "acme", "kind": "syslog", "url": f"tls://127.0.0.1:{receiver.port}", "tls_ca_file": receiver.ca}
    server = Server.ready(tmp_path / "server", sections={"sink.siem": configured})
    every_sort(server)
    until("all to be sent", lambda: level(server))
    receiver.hang_up()
    server.as_("publisher").publish(*(event() for _ in range(300)))
    until("all to be sent", lambda: level(server))
    assert not receiver.wrong
    size = server.admin.size()
    until("all to be read", lambda: {value["index"] for sort, value in receiver.messages if sort == "entry"} == set(range(size)))
    assert {sort for sort, _ in receiver.messages} == {"batch", "entry"}
    (sink,) = server.admin.get("/sinks").json()["sinks"]
    assert sink["level"] == "written"
    server.stop()
    receiver.close()


@pytest.mark.parametrize("format", ["ocsf", "ecs"])
def test_p19_formats_say_what_is_required(tmp_path: Path, format: str) -> None:
    """Each record has what its schema requires, and where its proof is; batches can be read in every format."""
    folder = tmp_path / "out"
    folder.mkdir()
    configured = {"tenant": "acme", "kind": "file", "dir": folder, "format": format}
    server = Server.ready(tmp_path / "server", sections={"sink.siem": configured})
    every_sort(server)
    until("all to be written", lambda: level(server))
    records = [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]
    leaves = dict(server.admin.feed())
    seen = set()
    for record in records:
        ours = record["countersign"] if format == "ecs" else record["unmapped"]["countersign"]
        if "batch" in ours:
            assert {"origin", "from", "to", "count", "digest", "size", "root", "sink", "format"} == set(ours["batch"])
            continue
        seen.add(ours["index"])
        assert ours["origin"] == server.origin and ours["proof"].endswith(f"/v1/tenants/acme/receipts?index={ours['index']}")
        entry = json.loads(leaves[ours["index"]])
        assert ours["kind"] == entry["kind"]
        if format == "ecs":
            assert ours["entry"].encode() == leaves[ours["index"]] and record["@timestamp"] == entry["journal"]["time"]
            assert {"kind", "category", "type", "outcome", "dataset", "sequence"} <= set(record["event"])
        else:
            assert OCSF_EVERYWHERE | OCSF_REQUIRED[record["class_uid"]] <= set(record), record
            assert record["type_uid"] == record["class_uid"] * 100 + record["activity_id"] and record["category_uid"] == record["class_uid"] // 1000
            assert ours["event"] == entry["event"] and record["metadata"]["version"] == "1.8.0"
    assert seen == set(leaves)
    server.stop()


def test_p19_ecs_in_a_bulk_stream(tmp_path: Path) -> None:
    """The usual pair: documents have the id of origin and index."""
    receiver = Bulk()
    receiver.start()
    secret = tmp_path / "key"
    secret.write_text(Bulk.key)
    secret.chmod(0o600)
    configured = {
        "tenant": "acme", "kind": "elastic", "format": "ecs", "url": receiver.url, "secret_file": secret, "stream": "logs-countersign-default",
    }  # fmt: skip
    server = Server.ready(tmp_path / "server", sections={"sink.siem": configured})
    every_sort(server)
    until("all to be sent", lambda: level(server))
    assert not receiver.wrong
    names = {name for name in receiver.documents if "/batch/" not in name}
    assert names == {f"{server.origin}/{index}" for index in range(server.admin.size())}
    server.stop()
    receiver.stop()
