"""Tenzir takes what sinks send, and reads our OCSF (P19): a product that companies run, and that nobody here wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import Server, event, until
from support.certificates import make_certificates
from support.tenzir import Tenzir, run
from support.waits import free_port

GOLDEN = Path(__file__).parent.parent / "proto" / "vectors" / "sinks" / "ocsf.ndjson"
#: Times are whole milliseconds in OCSF; Tenzir has a type for them. What has no time of logging stays without.
CAST = """\
from_file "{path}" {{ read_ndjson raw=true }}
metadata.version = "{version}"
time = from_epoch(time * 1ms)
metadata.logged_time = from_epoch(metadata.logged_time? * 1ms)
ocsf_cast
write_ndjson
"""


@pytest.mark.parametrize("version", ["1.5.0", "1.6.0", "1.7.0", "1.8.0", "1.9.0"])
def test_p19_ocsf_is_cast_without_a_warning(tmp_path: Path, version: str) -> None:
    """Every kind of entry, in every version that a sink can be told."""
    lines = GOLDEN.read_text().splitlines()
    path = tmp_path / "ocsf.json"
    path.write_text(GOLDEN.read_text())
    cast, said = run(CAST.format(path=path, version=version), tmp_path)
    assert len(cast) == len(lines) and "warning" not in said and "error" not in said, said
    assert {record["metadata"]["version"] for record in cast} == {version}
    wrong = json.loads(lines[0]) | {"colour": "red", "severity_id": "high"}
    path.write_text(json.dumps(wrong) + "\n")
    _, said = run(CAST.format(path=path, version=version), tmp_path)
    assert "colour" in said and "severity_id" in said, "what the schema does not have is told"


@dataclass
class Kind:
    """How Tenzir takes a kind of sink, and how the sink is told to send there."""

    pipeline: str
    sink: dict[str, Any]
    #: Our record, in one of Tenzir's.
    ours: Callable[[dict[str, Any]], dict[str, Any]]
    level: str


TOKEN = "0f2a9c61-5d3e-4b8f-9a17-6c2d8e4b7a50"
KINDS = {
    "splunk": Kind(f'accept_splunk "127.0.0.1:{{port}}", hec_token="{TOKEN}"',
                   {"kind": "splunk", "url": "http://127.0.0.1:{port}"}, lambda record: record["event"], "accepted"),
    "elastic": Kind('accept_elasticsearch "127.0.0.1:{port}"',
                    {"kind": "elastic", "url": "http://127.0.0.1:{port}", "stream": "logs-countersign-default", "format": "ecs"},
                    lambda record: record["countersign"], "acknowledged"),
    "otlp": Kind('accept_otlp "http://127.0.0.1:{port}", signals=["logs"]', {"kind": "otlp", "url": "http://127.0.0.1:{port}"},
                 lambda record: json.loads(record["body"]["string_value"]), "accepted"),
    "syslog": Kind('accept_tcp "127.0.0.1:{port}", tls={{certfile: "{tls}/server.pem", keyfile: "{tls}/server.key"}} {{ read_syslog octet_counting=true }}',
                   {"kind": "syslog", "url": "tls://127.0.0.1:{port}", "tls_ca_file": "{tls}/ca.pem"},
                   lambda record: json.loads(record["message"]), "written"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_p19_a_product_that_companies_run_has_every_entry(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    """It is killed in between, and comes back; then every entry has arrived."""
    kind = KINDS[name]
    tls = tmp_path / "tls"
    make_certificates(tls)
    there = {"port": free_port(), "tls": tls}
    receiver = Tenzir(tmp_path, kind.pipeline.format(**there), there["port"])
    request.addfinalizer(receiver.kill)
    sink: dict[str, Any] = {"tenant": "acme", "batch_entries": 50, "alarm_after_seconds": 5}
    sink |= {key: value.format(**there) if isinstance(value, str) else value for key, value in kind.sink.items()}
    if name in ("splunk", "elastic"):
        (tmp_path / "secret").write_text(TOKEN)
        (tmp_path / "secret").chmod(0o600)
        sink["secret_file"] = tmp_path / "secret"
    server = Server.ready(tmp_path / "server", sections={f"sink.{name}": sink})
    request.addfinalizer(server.stop)
    gateway = server.as_("publisher")
    status = lambda: server.admin.get("/sinks").json()["sinks"][0]  # noqa: E731
    gateway.publish(*(event() for _ in range(400)))
    came = lambda: {ours["index"] for record in receiver.records() if "index" in (ours := kind.ours(record))}  # noqa: E731
    # What it took and did not write yet is lost with it, and it says so to nobody.
    until("the first to have arrived", lambda: len(came()) > 400 and came() >= set(range(status()["from"])))
    receiver.kill()
    gateway.publish(*(event() for _ in range(400)))
    until("the sink to notice", lambda: status()["state"] != "delivers")
    receiver.start()
    until("all to be sent", lambda: status()["lag"]["entries"] == 0 and status()["state"] == "delivers", 120)
    until("all to have arrived", lambda: came() >= set(range(status()["from"])), 60)
    assert status()["level"] == kind.level and status()["letters"] == 0
