"""What sinks write: RFC 5425 over TLS, OCSF, ECS and CEF (P19). Golden files for every kind: `proto/vectors/sinks`. The
published data of OCSF's schemas judge OCSF, and a parser that nobody here wrote judges CEF."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded
from ocsf_json_schema.loader import get_ocsf_schema
from support import Server, event, until
from support.certificates import make_certificates
from support.receivers import Bulk, Collector
from support.sysloghost import Syslog, read_cef

GOLDEN = Path(__file__).parent.parent / "proto" / "vectors" / "sinks"
#: OCSF's schemas, each read once.
SCHEMAS: dict[tuple[str, int, bool], Draft202012Validator] = {}

#: Required attributes by class of OCSF 1.8.0, beside those of every event.
OCSF_REQUIRED = {
    0: set(), 2004: {"finding_info"}, 3002: {"user"}, 3004: {"actor", "entity"}, 6002: {"app"}, 6003: {"actor", "api", "src_endpoint"},
}  # fmt: skip
OCSF_EVERYWHERE = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}


def ocsf_wrong(record: dict[str, Any]) -> list[str]:
    """What the schema of a record's own version says against it."""
    version, judged = record["metadata"]["version"], "profiles" in record["metadata"]
    key = (version, record["class_uid"], judged)
    if key not in SCHEMAS:
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
        name = schema.lookup_class_name_from_uid(record["class_uid"])
        SCHEMAS[key] = Draft202012Validator(schema.get_class_schema(name, ["security_control"] if judged else []))
    return [f"{'/'.join(map(str, wrong.path))}: {wrong.message}" for wrong in SCHEMAS[key].iter_errors(record)]


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


@pytest.mark.parametrize("version", ["1.5.0", "1.6.0", "1.7.0", "1.8.0"])
def test_p19_ocsf_is_valid_by_the_schemas_own_data(version: str) -> None:
    """Every kind of entry, in every version that a sink can be told: against the schema that OCSF publishes for it."""
    lines = (GOLDEN / "ocsf.ndjson").read_text().splitlines()
    assert len(lines) > 50
    for line in lines:
        record = json.loads(line)
        record["metadata"]["version"] = version
        assert not ocsf_wrong(record), (record["metadata"]["event_code"], ocsf_wrong(record))
    record["colour"], record["severity_id"] = "red", 12
    assert len(ocsf_wrong(record)) == 2, "the schema refuses what it does not have"


def test_p19_ocsf_of_another_version(tmp_path: Path) -> None:
    """What a server sends with `ocsf_version` is valid by the schema of that version, and says so."""
    folder = tmp_path / "out"
    folder.mkdir()
    configured = {"tenant": "acme", "kind": "file", "dir": folder, "format": "ocsf", "ocsf_version": "1.5.0"}
    server = Server.ready(tmp_path / "server", sections={"sink.siem": configured})
    every_sort(server)
    until("all to be written", lambda: level(server))
    records = [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]
    assert {record["metadata"]["version"] for record in records} == {"1.5.0"} and len(records) > 10
    for record in records:
        assert not ocsf_wrong(record), ocsf_wrong(record)
    batches = [record["unmapped"]["countersign"]["batch"] for record in records if record["class_uid"] == 0]
    assert {batch["format"] for batch in batches} == {"ocsf/1.5.0-1"}
    server.stop()


def test_p19_cef_of_every_kind_is_read() -> None:
    """Every kind of entry, and a batch: jc finds the same index and leaf hash that the entry has in `native`."""
    lines = (GOLDEN / "cef.log").read_text().splitlines()
    native = [json.loads(line) for line in (GOLDEN / "native.ndjson").read_text().splitlines()]
    assert len(lines) == len(native)
    for line, entry in zip(lines, native, strict=True):
        read = read_cef(line)
        assert 0 <= int(read["agentSeverity"]) <= 10 and int(read["rt"]) > 0
        if "batch" in entry or "test" in entry:
            said = entry.get("batch") or entry["test"]
            assert all(read[name] == str(value) for name, value in said.items() if name != "format"), read
            continue
        ours = {name: read[name] for name in ("origin", "leafHash", "proof", "cat")}
        assert ours == {"origin": entry["origin"], "leafHash": entry["leaf_hash"], "proof": entry["proof"], "cat": entry["entry"]["kind"]}
        assert read["externalId"] == read["index"] == str(entry["index"])
        assert "rawEvent" not in read or json.loads(read["rawEvent"]) == entry["entry"]


@pytest.mark.parametrize("kill", [False, True])
def test_p19_what_no_syslog_server_had_read_is_sent_again_after_a_start(tmp_path: Path, kill: bool) -> None:
    """Countersign ends, and then the syslog server, before it has read a byte. Both knew of nothing: the place in the database
    does. What it sends again are the same bytes, and not for ever."""
    receiver = Syslog(tmp_path / "tls")
    receiver.reads.clear()
    configured = {"tenant": "acme", "kind": "syslog", "url": f"tls://127.0.0.1:{receiver.port}", "tls_ca_file": receiver.ca}
    server = Server.ready(tmp_path / "server", sections={"sink.siem": configured})
    server.as_("publisher").publish(*(event() for _ in range(100)))
    until("all to be written", lambda: level(server))
    size = server.admin.size()
    server.kill9() if kill else server.stop()
    receiver.close()
    assert not receiver.texts
    receiver.reads.set()
    receiver.start()
    server.start()
    came = lambda: {value["index"] for sort, value in receiver.messages if sort == "entry"}  # noqa: E731
    until("all to be read", lambda: came() >= set(range(size)))
    until("all to be written", lambda: level(server))
    assert not receiver.wrong
    texts = [text for sort, text in receiver.texts if sort == "entry" and json.loads(text)["index"] < size]
    assert len(texts) == len(set(texts)) == size, "each once: nothing had arrived before"
    server.stop()
    receiver.close()


@pytest.mark.parametrize("kind", ["syslog", "file", "http"])
def test_p19_cef_of_strange_and_long_events(tmp_path: Path, kind: str) -> None:
    """Separators, a text from right to left, a character of four bytes, and an entry that is too long for CEF: each line is one, and is read."""
    receiver = Syslog(tmp_path / "tls") if kind == "syslog" else Collector()
    configured: dict[str, Any] = {"tenant": "acme", "kind": kind, "format": "cef"}
    if isinstance(receiver, Syslog):
        configured |= {"url": f"tls://127.0.0.1:{receiver.port}", "tls_ca_file": receiver.ca}
    elif kind == "http":
        secret = tmp_path / "secret"
        secret.write_text(Collector.secret)
        secret.chmod(0o600)
        receiver.media, receiver.read = "text/plain; charset=utf-8", read_cef
        receiver.start()
        configured |= {"url": receiver.url + "/in", "secret_file": secret}
    else:
        (tmp_path / "out").mkdir()
        configured["dir"] = tmp_path / "out"
    server = Server.ready(tmp_path / "server", sections={"sink.siem": configured})
    every_sort(server)
    strange = "a|b=c\\d cs1=x \u202e\U0001f600 e\u0301"
    server.as_("publisher").publish(event(data={"agent": {"id": strange}, "tool": {"name": strange, "action": "=|"}}))
    server.as_("publisher").publish(event(data={"labels": {f"l{n}": "x" * 250 for n in range(16)}}))
    until("all to be sent", lambda: level(server))
    size = server.admin.size()
    if isinstance(receiver, Syslog):
        until("all to be read", lambda: len({value["externalId"] for sort, value in receiver.messages if sort == "entry"}) >= size)
        assert not receiver.wrong
        read = [value for sort, value in receiver.messages if sort == "entry"]
    elif kind == "http":
        assert not receiver.wrong
        read = [value for batch in receiver.batches for value in batch if "externalId" in value]
    else:
        (path,) = (tmp_path / "out").iterdir()
        assert path.suffix == ".cef"
        read = [value for value in map(read_cef, path.read_text().split("\n")[:-1]) if "externalId" in value]
    by_index = {int(value["externalId"]): value for value in read}
    leaves = dict(server.admin.feed())
    assert set(by_index) >= set(range(size))
    for index, value in by_index.items():
        entry = leaves[index].decode()
        assert value["entryBytes"] == str(len(entry.encode()))
        assert ("rawEvent" in value) == (len(entry) <= 4000) and value.get("rawEvent", entry) == entry
    found = [value for value in by_index.values() if value.get("suser") == strange]
    assert len(found) == 1 and found[0]["destinationServiceName"] == strange and found[0]["action"] == "=|"
    assert any("rawEvent" not in value for value in by_index.values()), "no entry was long"
    server.stop()
    receiver.close() if isinstance(receiver, Syslog) else receiver.stop()
