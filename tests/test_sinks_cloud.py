"""Sinks into other people's forms: OTLP, Datadog, Microsoft Sentinel (P19). Our stand-ins are strict, and judged by the
vendors' own clients on the same ports; OTLP is judged by OpenTelemetry's own classes and by a real collector."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.monitor.ingestion import LogsIngestionClient
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ForbiddenException
from datadog_api_client.v2.api.logs_api import LogsApi
from datadog_api_client.v2.model.http_log import HTTPLog
from datadog_api_client.v2.model.http_log_item import HTTPLogItem
from support import Server, event, until
from support.certificates import make_certificates
from support.clouds import Azure, Datadog, Otlp, attributes
from support.otelcol import Otelcol
from support.receivers import Receiver

EXAMPLE = Path(__file__).parent.parent / "proto" / "examples" / "sink_check.py"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def serving(root: Path, secret: str | None, **configured: Any) -> Server:
    """A server with one sink, and its secret."""
    sink: dict[str, Any] = {"tenant": "acme", "alarm_after_seconds": 2} | configured
    if secret:
        path = root / "sink.secret"
        path.write_text(secret + "\n")
        path.chmod(0o600)
        sink["secret_file"] = path
    return Server.ready(root / "server", sections={"sink.siem": sink})


def azure(receiver: Azure, **over: Any) -> dict[str, Any]:
    """A sink of this stand-in."""
    return {
        "kind": "sentinel", "url": receiver.url, "login_url": receiver.url, "directory": Azure.directory, "client_id": Azure.client_id,
        "rule": Azure.rule, "stream": Azure.stream,
    } | over  # fmt: skip


def publish(server: Server, count: int, **over: Any) -> None:
    """Publishes decisions, 500 at a time."""
    for begin in range(0, count, 500):
        server.as_("publisher").publish(*(event(**over) for _ in range(min(500, count - begin))))


def status(server: Server) -> dict[str, Any]:
    """How the sink stands."""
    (sink,) = server.admin.get("/sinks").json()["sinks"]
    return sink


def whole(server: Server, receiver: Receiver) -> None:
    """Waits until the sink is level with the log; the receiver's own program then finds that nothing is missing."""
    until("all to arrive", lambda: (now := status(server))["lag"]["entries"] == 0 and now["state"] == "delivers", 120)
    assert not receiver.wrong, receiver.wrong[:3]
    assert set(receiver.indexes()) >= set(range(status(server)["from"]))
    done = subprocess.run([sys.executable, EXAMPLE], input=receiver.text(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip().endswith("whole"), done.stdout + done.stderr


def test_p19_otlp_through_a_real_collector(tmp_path: Path) -> None:
    """Every entry goes through a collector that nobody here wrote, to a receiver that decodes with OpenTelemetry's own classes:
    the body is the entry, attributes say what it is, and the trace of the event is the record's."""
    receiver = Otlp(header=None)
    receiver.start()
    collector = Otelcol(tmp_path, receiver.url)
    server = serving(tmp_path, None, kind="otlp", url=collector.url, batch_entries=100)
    strange = "a\u202e\U0001f600é=|\\"
    publish(server, 300)
    publish(server, 1, traceparent=f"00-{TRACE}-b7ad6b7169203331-01", data={"verdict": "deny", "agent": {"id": strange}})
    # The next one is away: the collector says so, and nothing is lost.
    receiver.stop()
    publish(server, 300)
    until("the failure", lambda: status(server)["says"])
    receiver.start()
    whole(server, receiver)
    (traced,) = [log for log in receiver.logs if log.trace_id == bytes.fromhex(TRACE)]
    said = attributes(traced)
    assert traced.span_id.hex() == "b7ad6b7169203331" and traced.flags == 1 and traced.event_name == "countersign.decision"
    assert said["countersign.verdict"] == "deny" and said["countersign.agent.id"] == strange
    entry = json.loads(traced.body.string_value)
    assert (said["countersign.index"], said["countersign.leaf_hash"]) == (entry["index"], entry["leaf_hash"])
    assert all(found["service.name"] == "countersign" and found["countersign.tenant"] == "acme" for found in receiver.resources)
    tested = server.remote("sink test", "--tenant", "acme", "--json", "siem").ok().json()
    assert tested["level"] == "accepted" and receiver.tests == [{"format": "native/1", "origin": server.origin, "sink": "siem"}]
    server.stop()
    collector.stop()
    receiver.stop()


@pytest.mark.parametrize("header", [None, "api-key"])
def test_p19_otlp_refuses_some_and_does_not_say_which(tmp_path: Path, header: str | None) -> None:
    """A partial success names no record: single ones are asked for until it is known, and the others are not lost."""
    receiver = Otlp(header=(header, Otlp.token) if header else ("authorization", f"Bearer {Otlp.token}"))
    receiver.start()
    receiver.poison = lambda record: "poison" in json.dumps(record)
    server = serving(tmp_path, Otlp.token, kind="otlp", url=receiver.url, batch_entries=64, **({"header": header} if header else {}))
    publish(server, 100)
    publish(server, 1, data={"tool": {"name": "poison", "action": "x"}})
    publish(server, 100)
    until("the letter", lambda: status(server)["letters"] == 1)
    until("the rest", lambda: status(server)["lag"]["entries"] == 0)
    (letter,) = server.admin.get("/sinks/siem/letters").json()["letters"]
    assert "1 rejected: a record can't be stored" in letter["says"]
    assert set(range(status(server)["from"])) - set(receiver.indexes()) == {letter["index"]}
    assert not receiver.wrong
    server.stop()
    receiver.stop()


def test_p19_datadog_and_its_own_client(tmp_path: Path) -> None:
    """Every entry is in the intake, within its limits; Datadog's own client talks to the same port. A record that is too big is
    no record that Datadog cuts."""
    receiver = Datadog()
    receiver.start()
    configuration = Configuration(server_index=1, server_variables={"protocol": "http", "name": f"127.0.0.1:{receiver.port}"}, enable_retry=False)
    item = HTTPLogItem(ddsource="nginx", ddtags="env:test", hostname="i-1", message="Hello", service="web")
    for key in (Datadog.key, "wrong"):
        configuration.api_key["apiKeyAuth"] = key
        with ApiClient(configuration) as client:
            if key == Datadog.key:
                LogsApi(client).submit_log(HTTPLog([item]))
            else:
                with pytest.raises(ForbiddenException):
                    LogsApi(client).submit_log(HTTPLog([item]))
    assert receiver.logs[0]["message"] == "Hello" and not receiver.wrong
    server = serving(tmp_path, Datadog.key, kind="datadog", url=receiver.url, batch_entries=1000, batch_bytes=8 << 20)
    receiver.planned.extend([(429, {"Retry-After": "0"}, b""), (408, {}, b""), (503, {}, b"")])
    publish(server, 2500)
    receiver.poison = lambda record: "poison" in json.dumps(record)
    publish(server, 1, data={"tool": {"name": "poison", "action": "x"}})
    until("the letter", lambda: status(server)["letters"] == 1)
    receiver.poison = lambda record: False
    (letter,) = server.admin.get("/sinks/siem/letters").json()["letters"]
    server.remote("sink resend", "--tenant", "acme", "--from", letter["index"], "--to", letter["index"] + 1, "--reason", "INC-8", "siem").ok()
    whole(server, receiver)
    ours = [log for log in receiver.logs if log["ddsource"] == "countersign"]
    assert {log["ddtags"] for log in ours} == {"tenant:acme,sink:siem,sort:entry", "tenant:acme,sink:siem,sort:batch"}
    assert any("timestamp" in log for log in ours)
    server.stop()
    receiver.stop()


def test_p19_sentinel_and_azures_own_clients(tmp_path: Path) -> None:
    """Every entry is a row; tokens are asked for, kept, and asked for again when they are refused. Azure's own clients log in and
    upload at the same port, over TLS."""
    make_certificates(tmp_path / "tls")
    ca = str(tmp_path / "tls" / "ca.pem")
    receiver = Azure(tmp_path / "tls")
    receiver.start()
    row = {"TimeGenerated": "2026-11-20T00:00:00Z", "Sort": "foreign", "Record": {"x": 1}}
    for secret in (Azure.secret, "wrong"):
        credential = ClientSecretCredential(
            Azure.directory, Azure.client_id, secret, authority=receiver.url, disable_instance_discovery=True, connection_verify=ca,
        )  # fmt: skip
        client = LogsIngestionClient(receiver.url, credential, connection_verify=ca, retry_total=0)
        if secret == Azure.secret:
            client.upload(rule_id=Azure.rule, stream_name=Azure.stream, logs=[row])
        else:
            with pytest.raises(HttpResponseError):
                client.upload(rule_id=Azure.rule, stream_name=Azure.stream, logs=[row])
    assert receiver.rows == [row] and not receiver.wrong, receiver.wrong
    # Whoever renews certificates often puts a link there.
    link = tmp_path / "ca.pem"
    link.symlink_to(ca)
    server = serving(tmp_path, Azure.secret, **azure(receiver, tls_ca_file=link, batch_entries=1000))
    publish(server, 1200)
    until("a first part", lambda: len(receiver.rows) > 500)
    logins = len(receiver.tokens)
    receiver.tokens.append("another one is good now")
    publish(server, 500)
    whole(server, receiver)
    assert logins == 2 and len(receiver.tokens) == 4, "one token for many calls, and a new one when it is refused"
    assert {one["Sort"] for one in receiver.rows} == {"foreign", "batch", "entry"}
    assert all(one["EntryTime"] == one["Record"]["entry"]["journal"]["time"] for one in receiver.rows if one["Sort"] == "entry")
    server.stop()
    receiver.stop()


def test_p19_a_wrong_secret_is_told_and_does_not_leave(tmp_path: Path) -> None:
    """What a login says of a wrong secret is shown, without the secret; no row is sent."""
    receiver = Azure()
    receiver.start()
    server = serving(tmp_path, "wrong-secret-0001", **azure(receiver))
    until("the failure", lambda: status(server)["says"])
    assert "no token: 401 invalid_client AADSTS7000215" in status(server)["says"] and not receiver.rows
    assert "wrong-secret-0001" not in server.log + json.dumps(status(server))
    server.stop()
    receiver.stop()
