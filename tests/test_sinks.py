"""Sinks: every entry that a filter names arrives at least once, in order within a batch, and what is missing is found by
the receiver alone (P19). The receivers are strict ones of our own (`support/receivers.py`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Finished, Server, event, until
from support.receivers import SECRET, Bulk, Collector, Hec, Receiver

EXAMPLE = Path(__file__).parent.parent / "proto" / "examples" / "sink_check.py"


def sink(root: Path, receiver: Receiver | None, **over: Any) -> dict[str, Any]:
    """A sink of the configuration, with its secret."""
    root.mkdir(parents=True, exist_ok=True)
    kind = {Collector: "http", Hec: "splunk", Bulk: "elastic"}[type(receiver)] if receiver else "file"
    made: dict[str, Any] = {"tenant": "acme", "kind": kind, "alarm_after_seconds": 2}
    if receiver:
        secret = {"http": SECRET, "splunk": Hec.token, "elastic": Bulk.key}[kind]
        path = root / f"{kind}.secret"
        path.write_text(secret + "\n")
        path.chmod(0o600)
        made |= {"url": receiver.url + ("/in" if kind == "http" else ""), "secret_file": path}
    if kind == "elastic":
        made["stream"] = "logs-countersign-default"
    return made | over


def serving(root: Path, name: str = "siem", **configured: Any) -> Server:
    """A server with one sink."""
    return Server.ready(root / "server", sections={f"sink.{name}": configured})


def publish(server: Server, count: int, **over: Any) -> None:
    """Publishes decisions, 500 at a time."""
    gateway = server.as_("publisher")
    for begin in range(0, count, 500):
        gateway.publish(*(event(**over) for _ in range(min(500, count - begin))))


def status(server: Server, name: str = "siem") -> dict[str, Any]:
    """How the sink stands."""
    answer = server.admin.get("/sinks")
    assert answer.status_code == 200, answer.text
    return next(one for one in answer.json()["sinks"] if one["sink"] == name)


def arrived(server: Server, receiver: Receiver, **query: Any) -> None:
    """Waits until the sink is level with the log; compares what came with the feed, byte for byte."""
    until("all to arrive", lambda: (now := status(server))["lag"]["entries"] == 0 and now["state"] == "delivers", 120)
    assert not receiver.wrong, receiver.wrong[:3]
    expected = dict(server.admin.feed(**query))
    came: dict[int, str] = {}
    for line in receiver.lines:
        record = json.loads(line)
        begin = line.index(',"entry":') + len(',"entry":')
        came.setdefault(record["index"], line[begin : json.JSONDecoder().raw_decode(line, begin)[1]])
    # The feed may have grown by what is said of the sink itself.
    missing = [index for index in expected if index not in came and index < status(server)["from"]]
    assert not missing, f"missing {missing[:5]}"
    assert all(came[index].encode() == leaf for index, leaf in expected.items() if index in came)
    for batch in receiver.batches:
        indexes = [record["index"] for record in batch]
        assert indexes == sorted(set(indexes)), "order holds within a batch"


def check(text: str, code: int = 0) -> str:
    """The receiver's own program over what arrived."""
    done = subprocess.run([sys.executable, EXAMPLE], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def deliveries(server: Server) -> list[dict[str, Any]]:
    """What sinks say of themselves in the log."""
    return [json.loads(leaf)["event"] for _, leaf in server.admin.feed(kind="delivery")]


def test_p19_everything_arrives_though_the_receiver_dies_and_is_busy(tmp_path: Path) -> None:
    """20,000 entries; the receiver is killed three times, answers 429 and 503 with and without `Retry-After`. Afterwards its
    own program says that it is whole, and finds what a test takes away."""
    receiver = Collector().start()
    server = serving(tmp_path, **sink(tmp_path, receiver, batch_entries=200))
    receiver.planned.extend([(429, {"Retry-After": "1"}, b""), (503, {}, b"later"), (503, {"Retry-After": "0"}, b""), (500, {}, b"")])
    for part in range(4):
        publish(server, 5000)
        if part < 3:
            receiver.stop()
            publish(server, 100)
            receiver.start()
    arrived(server, receiver)
    assert len(set(receiver.indexes())) >= 20_300
    said = check(receiver.text())
    assert said.strip().endswith("whole")
    lines = receiver.text().splitlines()
    gone = next(at for at, line in enumerate(lines) if '"index":7000,' in line)
    assert "missing: 1 of" in check("\n".join(lines[:gone] + lines[gone + 1 :]), 1)
    changed = lines[:gone] + [lines[gone].replace('"deny"', '"allow"', 1)] + lines[gone + 1 :]
    assert changed != lines and "changed: entry 7000" in check("\n".join(changed), 1)
    without = [line for line in lines if not ('"batch"' in line and '"from":7' in line.replace(" ", ""))]
    assert "missing: nothing says" in check("\n".join(without), 1)
    assert "doubled: entry 7000" in check("\n".join([*lines, lines[gone]]))
    assert [said["state"] for said in deliveries(server)][:1] == ["starts"]
    server.stop()
    receiver.stop()


def test_p19_kill_between_acknowledgement_and_cursor(tmp_path: Path) -> None:
    """The server dies by SIGKILL after the receiver has taken a batch and before it hears so. Nothing is lost; what comes
    twice has the same index and the same bytes."""
    receiver = Collector().start()
    server = serving(tmp_path, **sink(tmp_path, receiver, batch_entries=100))
    for _ in range(3):
        process = server.process
        assert process is not None
        receiver.then = lambda group=process.pid: os.killpg(group, signal.SIGKILL)
        try:
            publish(server, 2000)
        except (AssertionError, httpx.TransportError):
            pass  # it died meanwhile: what was acknowledged is in the log
        until("the server to be dead", lambda: not server.alive())
        server.kill9()
        receiver.then = lambda: None
        server.start()
        server._clients.clear()
    publish(server, 100)
    arrived(server, receiver)
    indexes = receiver.indexes()
    assert len(indexes) > len(set(indexes)), "no batch came twice: the kill came too late"
    assert "doubled" in check(receiver.text())
    server.stop()
    receiver.stop()


@pytest.mark.parametrize("make", [Collector, Hec, Bulk])
def test_p19_a_poison_record_is_a_letter_and_nothing_else_waits(tmp_path: Path, make: type[Receiver]) -> None:
    """One record in a thousand can't be taken: it is kept with the receiver's words, the others arrive; it is sent again
    once the receiver takes it."""
    receiver = make()
    receiver.start()
    server = serving(tmp_path, **sink(tmp_path, receiver, batch_entries=300))
    receiver.poison = lambda record: "poison" in json.dumps(record)
    publish(server, 500)
    publish(server, 1, data={"tool": {"name": "poison", "action": "x"}})
    publish(server, 500)
    until("the letter", lambda: status(server)["letters"] == 1)
    until("the rest", lambda: status(server)["lag"]["entries"] == 0)
    assert status(server)["refused"] == 1 and status(server)["state"] == "delivers"
    (letter,) = server.admin.get("/sinks/siem/letters").json()["letters"]
    words = {Collector: "422 one of these", Hec: "Invalid data format", Bulk: "document_parsing_exception"}[make]
    assert words in letter["says"] and letter["index"] not in receiver.indexes()
    listed = server.remote("sink letters", "--tenant", "acme", "siem").ok().out
    assert str(letter["index"]) in listed and words in listed
    first, last = 0, letter["index"] + 1
    again = lambda: server.remote("sink resend", "--tenant", "acme", "--from", first, "--to", last, "--reason", "INC-7", "--json", "siem")  # noqa: E731
    assert again().ok().json()["refused"] == 1 and status(server)["letters"] == 1
    receiver.poison = lambda record: False
    done = again().ok().json()
    assert done["refused"] == 0 and done["sent"] >= last - 1 and status(server)["letters"] == 0
    assert letter["index"] in receiver.indexes()
    said = [entry for entry in deliveries(server) if entry["state"] == "again"]
    assert len(said) == 2 and said[0]["by"] == {"key": server.admin_key.id} and (said[0]["from"], said[0]["to"]) == (first, last)
    assert '"INC-7"' in server.as_("discloser").get(f"/entries/{said[0]['reason']['index']}/disclosures").text
    arrived(server, receiver)
    server.stop()
    receiver.stop()


def test_p19_a_receiver_that_refuses_everything_makes_no_letters(tmp_path: Path) -> None:
    """That is no record's fault: the sink stands still, health is red, the log says so; then everything arrives."""
    receiver = Collector().start()
    receiver.poison = lambda record: True
    server = serving(tmp_path, **sink(tmp_path, receiver))
    publish(server, 200)
    until("it to stand still", lambda: status(server)["state"] == "stands_still")
    assert "refuses everything" in status(server)["says"] and status(server)["letters"] == 0
    operator = {"Authorization": f"Bearer {server.operator_key.text}"}
    health = httpx.get(f"{server.url}/healthz", headers=operator, timeout=60, trust_env=False)
    assert health.status_code == 503 and "sink_stands_still" in health.text
    metrics = httpx.get(f"{server.url}/metrics", headers=operator, timeout=60, trust_env=False).text
    assert 'countersign_sink_stands_still{tenant="acme",sink="siem"} 1' in metrics
    # Nobody else waits for it.
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    receiver.poison = lambda record: False
    arrived(server, receiver)
    assert receiver.indexes()[:3] == [0, 1, 2]
    health = httpx.get(f"{server.url}/healthz", headers=operator, timeout=60, trust_env=False)
    assert "sink_stands_still" not in health.text
    server.stop()
    receiver.stop()


def test_p19_indexer_acknowledgement_is_waited_for(tmp_path: Path) -> None:
    """The first batch is taken by HEC and lost by the indexers: the cursor waits, and it comes again."""
    receiver = Hec(acks=True)
    receiver.start()
    server = serving(tmp_path, **sink(tmp_path, receiver, acknowledge=True))
    publish(server, 1500)
    arrived(server, receiver)
    assert status(server)["level"] == "acknowledged" and max(receiver.asked.values()) >= 2
    tested = server.remote("sink test", "--tenant", "acme", "--json", "siem").ok().json()
    assert tested["level"] == "acknowledged" and [test["sink"] for test in receiver.tests] == ["siem"]
    server.stop()
    receiver.stop()


def test_p19_busy_items_of_a_bulk_come_again_and_none_twice(tmp_path: Path) -> None:
    """429 for single items: the batch is sent again, and what was created before is answered with 409."""
    receiver = Bulk()
    receiver.start()
    receiver.busy = 7
    server = serving(tmp_path, **sink(tmp_path, receiver))
    publish(server, 1000)
    arrived(server, receiver)
    indexes = receiver.indexes()
    assert len(indexes) == len(set(indexes)) and status(server)["letters"] == 0
    check(receiver.text())
    server.stop()
    receiver.stop()


def test_p19_files_are_rotated_and_whole(tmp_path: Path) -> None:
    """The files of a folder, over a restart and a SIGKILL; each closed file has whole lines."""
    folder = tmp_path / "out"
    folder.mkdir()
    server = serving(tmp_path, **sink(tmp_path, None, dir=folder, file_bytes=65536, batch_entries=50))
    publish(server, 600)
    until("all to be written", lambda: status(server)["lag"]["entries"] == 0)
    server.restart(kill=True)
    publish(server, 600)
    until("all to be written", lambda: status(server)["lag"]["entries"] == 0)
    files = sorted(folder.iterdir())
    assert len(files) > 5 and all(path.stat().st_mode & 0o077 == 0 for path in files)
    text = "".join(path.read_text() for path in files)
    assert check(text).strip().endswith("whole")
    assert status(server)["level"] == "written"
    server.stop()


def test_p19_a_filter_and_named_fields(tmp_path: Path) -> None:
    """Only what the filter names arrives, with the payload fields that are named, and the batches still say what is whole."""
    receiver = Collector().start()
    configured = sink(tmp_path, receiver, filter={"verdict": "deny", "tool": "payments"}, payload=["owner"])
    server = serving(tmp_path, **configured)
    for _ in range(20):
        publish(server, 10)
        publish(server, 10, data={"verdict": "allow"})
    arrived(server, receiver, verdict="deny", tool="payments")
    records = [json.loads(line) for line in receiver.lines]
    assert len(records) == 200 and all(record["payload"] == {"owner": "kim"} for record in records)
    assert "DE0212" not in receiver.text()
    check(receiver.text())
    (starts, *_) = deliveries(server)
    assert starts["payload"] == ["owner"] and starts["filter"] == {"tool": "payments", "verdict": "deny"}
    server.stop()
    receiver.stop()


def test_p19_a_sink_goes_on_from_the_log_when_its_database_is_new(tmp_path: Path, nats: Any) -> None:
    """A new replica on the same journal goes on from what the last `delivery` entry says, not from the beginning."""
    receiver = Collector().start()
    configured = sink(tmp_path, receiver, report_seconds=60)
    server = Server.ready(tmp_path / "server", nats=nats.url, sections={"sink.siem": configured})
    publish(server, 1000)
    said = lambda: [entry for entry in deliveries(server) if entry["state"] == "delivers" and entry["to"] >= 1000]  # noqa: E731
    reached = until("the log to say how far it is", said, 120)[0]["to"]
    server.stop()
    came = len(receiver.indexes())
    for folder in (server.data_dir, server.guard_path.parent):
        subprocess.run(["rm", "-r", folder], check=True)
    server.run("init", "--tenant", "acme", "--adopt").ok()
    server.start()
    until("the journal to be posted again", lambda: server.admin.get("/sinks").status_code == 200)
    publish(server, 10)
    until("new ones", lambda: status(server)["lag"]["entries"] == 0 and status(server)["from"] > reached)
    later = receiver.indexes()[came:]
    assert min(later) >= reached and check(receiver.text()).strip().endswith("whole")
    server.stop()
    receiver.stop()


def test_p19_one_tenant_does_not_see_the_sinks_of_another(tmp_path: Path) -> None:
    """A sink is found by its own tenant alone; one of a tenant that is not there waits for it."""
    receiver = Collector().start()
    server = serving(tmp_path, **sink(tmp_path, receiver, tenant="globex"))
    until("the wait to be logged", lambda: "there is no such tenant" in server.log)
    assert server.admin.get("/sinks").json() == {"sinks": []}
    for path in ("letters", "test", "resend"):
        post = path != "letters"
        client = server.admin.http
        answer = client.post(f"/v1/tenants/acme/sinks/siem/{path}") if post else server.admin.get(f"/sinks/siem/{path}")
        assert answer.status_code == 404, path
    assert not receiver.lines
    server.add_tenant("globex")
    until("the tenant's entries", lambda: receiver.lines)
    assert all(json.loads(line)["origin"].endswith("/globex/logs/1") for line in receiver.lines)
    server.stop()
    receiver.stop()


def refused(tmp_path: Path, *parts: str) -> Finished:
    """`check-config` of a configuration with these sinks."""
    server = Server(tmp_path / "server")
    server.config.write_text(server.config.read_text() + "\n".join(parts) + "\n")
    done = server.run("check-config")
    assert done.code != 0
    return done


def test_p19_mistakes_in_the_configuration_are_told(tmp_path: Path) -> None:
    """Each with what to do; all at once."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    base = '[sink.siem]\ntenant = "acme"\nkind = "http"\nurl = "https://siem.example.com/in"\n'
    assert "can be read by others" in refused(tmp_path, base + f'secret_file = "{secret}"').err
    secret.chmod(0o600)
    good = base + f'secret_file = "{secret}"\n'
    for change, told in [
        (("https://siem.example.com", "http://siem.example.com"), "https://, or http:// on a loopback address"),
        (("https://", "https://user:pass@"), "without user"),
        (('"http"', '"kafka"'), 'there is no "kafka"; there is http, file, splunk, elastic, syslog, otlp, datadog, sentinel'),
        (('"acme"', '"Acme Corp"'), "is not a tenant name"),
        (("url =", "dir ="), "only kind file has a folder"),
    ]:
        assert told in refused(tmp_path, good.replace(*change)).err, told
    for line, told in [
        ('filter = {kind = "decisions"}', "there is genesis, decision, event"),
        ('filter = {colour = "red"}', "there is since, until, kind"),
        ('filter = {until = "2026-01-01T00:00:00Z"}', "a sink has no end"),
        ('format = "leef"', "there is native, ocsf, ecs, cef"),
        ("batch_entries = 0", "1 to 1000"),
        ("acknowledge = true", "kind http has none"),
        ("colour = 1", "unknown field"),
    ]:
        assert told in refused(tmp_path, good + line).err, told
    assert "duplicate key" in refused(tmp_path, good, good).err


def test_p19_a_name_that_leads_to_this_machine_is_not_called(tmp_path: Path) -> None:
    """`localhost` over TLS: nothing is sent there unless the configuration says that it is meant."""
    receiver = Collector().start()
    configured = sink(tmp_path, receiver, url=f"https://localhost:{receiver.port}/in")
    server = serving(tmp_path, **configured)
    until("the attempt", lambda: status(server)["says"])
    assert "private network" in status(server)["says"] and receiver.requests == 0
    refused_test = server.remote("sink test", "--tenant", "acme", "siem")
    assert refused_test.code == 1 and "private network" in refused_test.err
    server.stop()
    receiver.stop()


def test_p19_redirects_are_not_followed(tmp_path: Path) -> None:
    """Entries and secrets go to the receiver that is named, and to no other."""
    other = Collector().start()
    receiver = Collector().start()
    receiver.planned.extend([(307, {"Location": other.url + "/in"}, b"")] * 3)
    server = serving(tmp_path, **sink(tmp_path, receiver))
    arrived(server, receiver)
    assert other.requests == 0 and receiver.requests >= 4
    server.stop()
    receiver.stop()
