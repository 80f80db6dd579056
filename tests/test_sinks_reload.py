"""SIGHUP reads sinks again (P19): they come, go and change without a restart, and nothing is lost or skipped."""

from __future__ import annotations

import signal
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from support import Server, event, until
from support.certificates import make_certificates
from support.receivers import Collector


def sink(root: Path, receiver: Collector, **over: Any) -> dict[str, Any]:
    """A sink of this collector, and its secret."""
    path = root / "collector.secret"
    path.write_text(receiver.secret + "\n")
    path.chmod(0o600)
    return {"tenant": "acme", "kind": "http", "url": receiver.url + "/in", "secret_file": path, "alarm_after_seconds": 2} | over


def publish(server: Server, count: int) -> None:
    """Publishes decisions, 500 at a time."""
    for begin in range(0, count, 500):
        server.as_("publisher").publish(*(event() for _ in range(min(500, count - begin))))


def sinks(server: Server) -> dict[str, dict[str, Any]]:
    """How they stand, by name."""
    return {one["sink"]: one for one in server.admin.get("/sinks").json()["sinks"]}


def reload(server: Server, *said: str) -> None:
    """SIGHUP, and waits until the log says all of this once more."""
    process = server.process
    assert process is not None
    before = {text: server.log.count(text) for text in said}
    server.write_config()
    process.send_signal(signal.SIGHUP)
    until(f"{said} in the log", lambda: all(server.log.count(text) > before[text] for text in said))


READ = "and the sinks were read again"


def level(server: Server, name: str, receiver: Collector) -> None:
    """Waits until a sink is level with the log; every index is there."""
    until("all to arrive", lambda: (now := sinks(server)[name])["lag"]["entries"] == 0 and now["state"] == "delivers", 120)
    assert not receiver.wrong, receiver.wrong[:3]
    assert set(receiver.indexes()) >= set(range(sinks(server)[name]["from"]))


def busy(server: Server, change: Callable[[], None], count: int = 4000) -> None:
    """Publishes while something changes."""
    thread = threading.Thread(target=publish, args=(server, count))
    thread.start()
    change()
    thread.join()


def test_p19_sinks_come_change_and_go_without_a_restart(tmp_path: Path) -> None:
    """While decisions are published, a sink is added, its secret rotated, its batches changed, its address moved, and it is
    removed and added again. Every entry arrives in each; nothing is sent to one that is gone."""
    first, second = Collector().start(), Collector().start()
    server = Server.ready(tmp_path / "server", sections={"sink.one": sink(tmp_path, first, batch_entries=50)})
    pid = server.process.pid if server.process else 0
    publish(server, 1000)
    # Another one.
    server.sections["sink.two"] = {**sink(tmp_path, second), "batch_entries": 70}
    busy(server, lambda: reload(server, READ, 'added=["two"]'))
    level(server, "one", first)
    level(server, "two", second)
    sent = sinks(server)["one"]["sent"]
    assert sent >= 5000
    # Its secret is another one, first at the receiver, then here.
    first.secret = second.secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="

    def rotate() -> None:
        sink(tmp_path, first)
        reload(server, READ, 'changed=["one", "two"]')

    busy(server, rotate)
    first.wrong.clear()
    second.wrong.clear()
    level(server, "one", first)
    level(server, "two", second)
    assert sinks(server)["one"]["sent"] > sent, "it goes on counting"
    # Batches, and another address: what is sent from now on goes there.
    third = Collector().start()
    third.secret = first.secret
    server.sections["sink.two"] |= {"url": third.url + "/in", "batch_entries": 33}
    busy(server, lambda: reload(server, READ, 'changed=["two"]'))
    level(server, "one", first)
    until("the third one", lambda: sinks(server)["two"]["lag"]["entries"] == 0 and third.lines)
    assert set(second.indexes()) | set(third.indexes()) >= set(range(sinks(server)["two"]["from"]))
    assert max(len(batch) for batch in third.batches) <= 33
    # Gone, and back again: it goes on where it was.
    gone = server.sections.pop("sink.two")
    busy(server, lambda: reload(server, READ, 'removed=["two"]'))
    assert set(sinks(server)) == {"one"}
    operator = {"Authorization": f"Bearer {server.operator_key.text}"}
    metrics = lambda: httpx.get(f"{server.url}/metrics", headers=operator, timeout=60, trust_env=False).text  # noqa: E731
    assert 'sink="one"' in metrics() and 'sink="two"' not in metrics()
    requests, reached = third.requests, max(third.indexes())
    publish(server, 500)
    level(server, "one", first)
    assert third.requests == requests
    server.sections["sink.two"] = gone
    reload(server, READ, 'added=["two"]')
    until("what it had not sent", lambda: sinks(server)["two"]["lag"]["entries"] == 0 and sinks(server)["two"]["sent"])
    later = [index for batch in third.batches for index in [record["index"] for record in batch] if index > reached]
    assert set(range(reached + 1, sinks(server)["two"]["from"])) <= set(later)
    assert server.process is not None and server.process.pid == pid
    server.stop()
    for receiver in (first, second, third):
        receiver.stop()


def test_p19_a_wrong_file_leaves_sinks_as_they_were(tmp_path: Path) -> None:
    """A mistake in the file, and a secret that can't be read: the log says which, and what was in force goes on, all of it."""
    receiver = Collector().start()
    server = Server.ready(tmp_path / "server", sections={"sink.one": sink(tmp_path, receiver)})
    publish(server, 100)
    level(server, "one", receiver)
    server.sections["sink.two"] = {**sink(tmp_path, receiver), "kind": "kafka"}
    server.sections["sink.one"]["batch_entries"] = 7
    reload(server, "what was read before stays", "there is no \\\"kafka\\\"")
    publish(server, 100)
    level(server, "one", receiver)
    assert set(sinks(server)) == {"one"}
    # The file is right, and the secret is none.
    server.sections["sink.two"]["kind"] = "http"
    other = tmp_path / "other.secret"
    other.write_text("not-one\n")
    other.chmod(0o600)
    server.sections["sink.two"]["secret_file"] = other
    reload(server, "what was read before stays", "sink.two: the secret is whsec_")
    publish(server, 100)
    level(server, "one", receiver)
    assert set(sinks(server)) == {"one"} and len(receiver.batches[-1]) > 7
    del server.sections["sink.two"]
    reload(server, READ, 'changed=["one"]')
    publish(server, 100)
    level(server, "one", receiver)
    assert len(receiver.batches[-1]) <= 7
    server.stop()
    receiver.stop()


def test_p19_the_end_of_certificates_is_a_metric(tmp_path: Path) -> None:
    """Of the chain that the server shows the first end, of the authorities that a sink trusts the last; both by SIGHUP too."""
    receiver = Collector().start()
    make_certificates(tmp_path / "tls")
    made, ca = tmp_path / "tls", tmp_path / "ca.pem"
    ends = lambda pem: [int(one.not_valid_after_utc.timestamp()) for one in x509.load_pem_x509_certificates(pem)]  # noqa: E731
    ca.write_bytes((made / "ca.pem").read_bytes())
    context = ssl.create_default_context(cafile=str(made / "ca.pem"))
    sections = {
        "tls": {"certificate": made / "server.pem", "key": made / "server.key"},
        "sink.one": sink(tmp_path, receiver, tls_ca_file=ca), "sink.two": sink(tmp_path, receiver),
    }  # fmt: skip
    server = Server.ready(tmp_path / "server", sections=sections, scheme="https", ca=context)
    operator = {"Authorization": f"Bearer {server.operator_key.text}"}

    def shown(name: str) -> int:
        text = httpx.get(f"{server.url}/metrics", headers=operator, timeout=60, trust_env=False, verify=context).text
        return next(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"countersign_{name}"))

    of_one, of_two = (f'sink_authorities_end_timestamp_seconds{{tenant="acme",sink="{name}"}}' for name in ("one", "two"))
    assert shown("tls_end_timestamp_seconds") == min(ends((made / "server.pem").read_bytes()))
    assert shown(of_one) == max(ends(ca.read_bytes())) and shown(of_two) == 0
    # One that ended is beside another: what counts is the last.
    make_certificates(tmp_path / "old", ended=True)
    ca.write_bytes((tmp_path / "old" / "server.pem").read_bytes() + ca.read_bytes())
    reload(server, READ, 'changed=["one"]')
    assert shown(of_one) == max(ends(ca.read_bytes())) != min(ends(ca.read_bytes()))
    server.stop()
    receiver.stop()


def test_p19_a_sink_that_stands_still_is_mended_by_sighup(tmp_path: Path) -> None:
    """Its address was wrong: it goes on at the right one at once, and the alarm ends."""
    receiver, nobody = Collector().start(), Collector()
    server = Server.ready(tmp_path / "server", sections={"sink.one": sink(tmp_path, nobody)})
    publish(server, 300)
    until("it to stand still", lambda: sinks(server)["one"]["state"] == "stands_still")
    server.sections["sink.one"] = sink(tmp_path, receiver)
    reload(server, READ, 'changed=["one"]')
    level(server, "one", receiver)
    assert receiver.indexes()[0] == 0 and sinks(server)["one"]["says"] is None
    server.stop()
    receiver.stop()
