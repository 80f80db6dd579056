"""Spans of decisions and approvals (P19), through a real OpenTelemetry collector to OpenTelemetry's own classes; over HTTP and gRPC."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support import Server, event, until
from support.certificates import make_certificates
from support.clouds import Otlp, attributes, known
from support.deciding import question
from support.edges import RULES, people
from support.house import House
from support.otelcol import Otelcol

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "proto" / "examples" / "sink_check.py"
GOLDEN = ROOT / "proto" / "vectors" / "sinks" / "spans.ndjson"
TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def otlp(url: str, **over: Any) -> dict[str, Any]:
    """A sink of this collector."""
    return {"tenant": "acme", "kind": "otlp", "url": url, "signals": ["logs", "traces"], "alarm_after_seconds": 2, "batch_entries": 100} | over


def status(server: Server) -> dict[str, Any]:
    """How the sink stands."""
    (sink,) = server.admin.get("/sinks").json()["sinks"]
    return sink


def level(server: Server) -> None:
    """Waits until the sink is level with the log."""
    until("all to arrive", lambda: (now := status(server))["lag"]["entries"] == 0 and now["state"] == "delivers", 120)


def metric(server: Server, name: str) -> float:
    """The sum of a metric over its labels."""
    key = {"Authorization": f"Bearer {server.operator_key.text}"}
    text = httpx.get(f"{server.url}/metrics", headers=key, timeout=60, trust_env=False).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"countersign_{name}_total{{"))


def of(spans: list[Any]) -> dict[str, Any]:
    """Spans by id: one that comes twice is the same one."""
    found: dict[str, Any] = {}
    for span in spans:
        again = found.setdefault(span.span_id.hex(), span)
        assert again == span, "a span that comes again differs"
    return found


def test_p19_golden_spans_are_spans_of_opentelemetry() -> None:
    """OpenTelemetry's own classes read each golden span, and it has no name that theirs or ours does not have."""
    spans = [ParseDict(json.loads(line) | {"traceId": "", "spanId": "", "parentSpanId": ""}, Span()) for line in GOLDEN.read_text().splitlines()]
    assert len(spans) > 10 and all(known(span) for span in spans)
    names = {key for span in spans for key in attributes(span)}
    assert {"gen_ai.tool.name", "gen_ai.agent.id", "countersign.verdict", "countersign.approval.end"} <= names
    page = (ROOT / "proto" / "formats" / "spans.md").read_text()
    missing = {name for name in names if f"`{name}`" not in page and f"`.{name.removeprefix('countersign.')}`" not in page}
    assert not missing, f"the page does not say what they are: {missing}"


def test_p19_every_decision_is_a_span_whatever_became_of_it(tmp_path: Path) -> None:
    """Told and ours, executed or not; approvals from the pause to their end, under their decision; all of it through a collector
    that nobody here wrote. What is sent again is the same span."""
    receiver = Otlp(header=None)
    receiver.start()
    collector = Otelcol(tmp_path, receiver.url)
    sections = {"sink.otel": otlp(collector.url, gen_ai_version="1.41.0")}
    house = House.ready(tmp_path / "house", RULES, people(), sections=sections)
    server = house.server
    server.as_("publisher").publish(*(event(data={"verdict": verdict}) for verdict in ("allow", "deny", "sanitize") for _ in range(20)))
    told = event(traceparent=f"00-{TRACE}-{ABOVE}-01", time="2026-11-20T05:48:00.5Z", data={
        "verdict": "deny", "latency_us": 1500, "agent": {"id": "bot", "session": "s-1", "chain": ["root", "bot"]}, "cost": {"amount": "0.02", "currency": "EUR"},
    })  # fmt: skip
    server.as_("publisher").publish(told)
    asked = house.post(house.gateway(), "/decisions", question())
    assert asked.status_code == 200 and asked.json()["reason"]["code"] == "no_policy"
    denied, done, expired = house.pause(), house.grant("p-ana"), house.pause(action="short")
    waiting = house.pause()
    assert house.review(denied, "p-ana", "deny").status_code == 200
    assert house.redeem(done, house.mint(done)).status_code == 200 and house.report(done).status_code == 200
    house.until_state(expired, "expired")
    level(server)
    assert not receiver.wrong, receiver.wrong[:3]
    entries = {index: json.loads(leaf) for index, leaf in server.admin.feed()}
    decisions = {index for index, entry in entries.items() if entry["kind"] == "decision"}
    spans = of(receiver.spans)
    said = {id: attributes(span) for id, span in spans.items()}
    decided = {id: found for id, found in said.items() if found["countersign.kind"] == "decision"}
    assert sorted(found["countersign.index"] for found in decided.values()) == sorted(decisions)
    for found in decided.values():
        data = entries[found["countersign.index"]]["event"]["data"]
        assert (found["countersign.verdict"], found["gen_ai.tool.name"]) == (data["verdict"], data["tool"]["name"])
    # The one with a trace.
    (traced,) = [span for span in spans.values() if span.trace_id.hex() == TRACE]
    found = said[traced.span_id.hex()]
    assert (traced.parent_span_id.hex(), traced.flags & 0xFF, traced.name) == (ABOVE, 1, "decide payments")
    assert traced.end_time_unix_nano - traced.start_time_unix_nano == 1_500_000
    assert (found["countersign.agent.chain"], found["gen_ai.conversation.id"]) == (["root", "bot"], "s-1")
    assert (found["countersign.cost.amount"], found["countersign.latency_us"]) == ("0.02", 1500)
    # Ours.
    (ours,) = [id for id, found in decided.items() if found["countersign.decided_by"] == "countersign"]
    assert spans[ours].kind == Span.SPAN_KIND_SERVER and said[ours]["countersign.reason.code"] == "no_policy"
    # Approvals.
    ended = {found["countersign.approval_id"]: id for id, found in said.items() if found["countersign.kind"] == "approval"}
    assert {denied.id: "denied", done.id: "completed", expired.id: "expired"} == {id: said[span]["countersign.approval.end"] for id, span in ended.items()}
    assert waiting.id not in ended
    for id, span in ended.items():
        above = said[spans[span].parent_span_id.hex()]
        assert above["countersign.approval_id"] == id and above["countersign.index"] == said[span]["countersign.decision.index"]
        assert spans[span].trace_id == spans[spans[span].parent_span_id.hex()].trace_id
        assert spans[span].end_time_unix_nano > spans[span].start_time_unix_nano
    names = [one.name for one in spans[ended[done.id]].events]
    assert names[0] == "requested" and names[-1] == "execution_reported" and "granted" in names and "redeemed" in names
    # Again, and counted.
    first = set(spans)
    server.remote("sink resend", "--tenant", "acme", "--from", 0, "--to", max(entries) + 1, "--reason", "INC-9", "otel").ok()
    assert set(of(receiver.spans)) == first and len(receiver.spans) >= 2 * len(first)
    assert metric(server, "sink_decision_spans") == metric(server, "decisions") == len(decisions)
    assert all(scope.schema_url == "https://opentelemetry.io/schemas/1.41.0" for scope in receiver.scopes)
    house.close()
    collector.stop()
    receiver.stop()


def test_p19_spans_alone_and_one_that_is_refused(tmp_path: Path) -> None:
    """Without logs, what is no decision sends nothing; a span that is refused is a letter, and the others arrive."""
    receiver = Otlp(header=None)
    receiver.start()
    receiver.poison_span = lambda span: attributes(span).get("countersign.tool.name") == "poison"
    server = Server.ready(tmp_path / "server", sections={"sink.otel": otlp(receiver.url, signals=["traces"])})
    server.as_("publisher").publish(*(event() for _ in range(150)), event(data={"tool": {"name": "poison", "action": "x"}}), *(event() for _ in range(150)))
    until("the letter", lambda: status(server)["letters"] == 1)
    level(server)
    (letter,) = server.admin.get("/sinks/otel/letters").json()["letters"]
    assert "1 rejected: a span can't be stored" in letter["says"]
    assert len(of(receiver.spans)) == 300 == metric(server, "sink_decision_spans") and not receiver.logs and not receiver.wrong
    assert not any(key.startswith("gen_ai") for span in receiver.spans for key in attributes(span))
    tested = server.remote("sink test", "--tenant", "acme", "--json", "otel").ok().json()
    assert tested["level"] == "accepted" and receiver.spans[-1].name == "countersign test"
    scope = attributes(receiver.scopes[0].scope)
    assert scope["countersign.batch.spans"] == len(receiver.scopes[0].spans)
    assert scope["countersign.batch.from"] <= attributes(receiver.scopes[0].spans[0])["countersign.index"] < scope["countersign.batch.to"]
    server.stop()
    receiver.stop()


@pytest.mark.parametrize("tls", [False, True])
def test_p19_grpc_through_a_real_collector(tmp_path: Path, tls: bool) -> None:
    """Logs and spans by gRPC, with TLS too. The next one is away, a message is too big: nothing is lost."""
    certificates = tmp_path / "tls" if tls else None
    if certificates:
        make_certificates(certificates)
    receiver = Otlp(header=None)
    receiver.start()
    collector = Otelcol(tmp_path, receiver.url, certificates)
    ca = {"tls_ca_file": certificates / "ca.pem"} if certificates else {}
    # The collector takes 1 MiB at once: a batch of 1,000 is more.
    sink = otlp(collector.grpc_url, protocol="grpc", batch_entries=1000, batch_bytes=8 << 20, **ca)
    server = Server.ready(tmp_path / "server", sections={"sink.otel": sink})
    for part in range(4):
        for _ in range(3):
            server.as_("publisher").publish(*(event() for _ in range(500)))
        if part == 1:
            receiver.stop()
            server.as_("publisher").publish(event())
            until("the failure", lambda: status(server)["says"])
            assert "UNAVAILABLE" in status(server)["says"] or "INTERNAL" in status(server)["says"], status(server)["says"]
            receiver.start()
    level(server)
    assert not receiver.wrong and status(server)["letters"] == 0
    assert set(receiver.indexes()) >= set(range(status(server)["from"]))
    done = subprocess.run([sys.executable, EXAMPLE], input=receiver.text(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip().endswith("whole"), done.stdout + done.stderr
    assert len(of(receiver.spans)) == 6001
    # The sink ends in the running server, with its connection, and comes back.
    for sections in ({}, {"sink.otel": sink}):
        server.sections = sections
        server.write_config()
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        until("the sink to go and come", lambda wanted=len(sections): len(server.admin.get("/sinks").json()["sinks"]) == wanted)
        server.as_("publisher").publish(event())
    level(server)
    # The collector ends: the connection that rested is of no use.
    collector.stop()
    tested = server.remote("sink test", "--tenant", "acme", "otel")
    assert tested.code == 1 and "no answer" in tested.err
    server.stop()
    assert "panicked" not in server.log
    receiver.stop()


def test_p19_grpc_of_nobody(tmp_path: Path) -> None:
    """A port that speaks no HTTP/2, and a certificate that nobody knows: it is told, and nothing leaves."""
    make_certificates(tmp_path / "tls")
    make_certificates(tmp_path / "other")
    receiver = Otlp(header=None)
    receiver.start()
    collector = Otelcol(tmp_path, receiver.url, tmp_path / "tls")
    sections = {
        "sink.plain": otlp(receiver.url, protocol="grpc"),
        "sink.foreign": otlp(collector.grpc_url, protocol="grpc", tls_ca_file=tmp_path / "other" / "ca.pem"),
    }
    server = Server.ready(tmp_path / "server", sections=sections)
    says = lambda: {one["sink"]: one["says"] or "" for one in server.admin.get("/sinks").json()["sinks"]}  # noqa: E731
    until("both failures", lambda: all(says().values()))
    assert "TLS" in says()["foreign"] and "no answer" in says()["plain"]
    assert not receiver.logs and not receiver.spans
    server.stop()
    collector.stop()
    receiver.stop()


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"signals": ["spans"]}, 'there is no "spans"; there is logs, traces'),
        ({"signals": []}, "at least one of logs, traces"),
        ({"signals": ["logs", "logs"]}, "logs is there twice"),
        ({"protocol": "thrift"}, "there is http/protobuf, grpc"),
        ({"protocol": "grpc", "url": "http://127.0.0.1:4317/v1"}, "it has no path"),
        ({"protocol": "grpc", "url": "https://x.example.com", "proxy": "http://127.0.0.1:3128"}, "not with protocol grpc"),
        ({"gen_ai_version": "1.0.0"}, 'there is no "1.0.0"; there is 1.41.0'),
        ({"gen_ai_version": "1.41.0", "signals": ["logs"]}, "signals has no traces"),
        ({"kind": "http"}, ".signals: kind http has none"),
    ],
)
def test_p19_mistakes_about_signals_are_told(tmp_path: Path, over: dict[str, Any], told: str) -> None:
    """Each with what there is."""
    server = Server(tmp_path / "server", sections={"sink.otel": otlp("http://127.0.0.1:4318") | over})
    server.write_config()
    done = server.run("check-config")
    assert done.code != 0 and told in done.err, done.err


def test_p19_a_golden_span_is_what_the_collector_reads(tmp_path: Path) -> None:
    """The golden file is written from the same spans as the wire: a span of the log has the same attributes in both."""
    receiver = Otlp(header=None)
    receiver.start()
    server = Server.ready(tmp_path / "server", sections={"sink.otel": otlp(receiver.url, gen_ai_version="1.41.0")})
    server.as_("publisher").publish(event())
    level(server)
    golden = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    deny = next(one for one in golden if any(a["key"] == "countersign.verdict" and a["value"]["stringValue"] == "deny" for a in one["attributes"]))
    written = MessageToDict(receiver.spans[0])
    assert {"traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "flags"} <= set(written) <= set(deny)
    server.stop()
    receiver.stop()
