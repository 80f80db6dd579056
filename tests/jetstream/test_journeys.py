"""P1 to P4, P11, P12 on a real nats-server with the configuration that we ship."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit, proofs
from rig.broker import STREAM, SUBJECT, Journey, Peer, Pretender, fence, old_server_bin, posted, raw_publish
from rig.load import Ledger, Load

from support import NatsServer, Server, cli, event, until
from support.files import holding

OUT = "countersign-out.acme.gw-1"


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return httpx.get(f"{server.url}/healthz", headers=headers, timeout=20, trust_env=False).json()


def metric(server: Server, name: str) -> float:
    """One number of `/metrics`."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    text = httpx.get(f"{server.url}/metrics", headers=headers, timeout=20, trust_env=False).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.split("{")[0].split()[0] == name)


def new_entries(journey: Journey, before: int, name: str) -> list[dict[str, Any]]:
    """The entries from index `before` on, up to a fence."""
    fence(journey, name)
    found = [json.loads(leaf) for leaf in audit.leaves(journey.server.admin)[before:]]
    return [entry for entry in found if entry["event"].get("source") != "/fence"]


def ends_sound(journey: Journey) -> None:
    """Stops the server and runs `fsck`."""
    journey.server.stop()
    journey.server.fsck().ok()


# Receipts by message


def test_p1_publish_by_nats_and_get_a_receipt(journey: Journey, tmp_path: Path) -> None:
    """A producer's account: publish with `Countersign-Receipt-To`, get a receipt that verifies offline; again for the
    same event (P2: the first one's), and for a rejected one (P3)."""
    with journey.peer("acme-gw-1") as producer:
        producer.listen(f"{OUT}.>")
        made = event()
        seq = producer.publish(made, Countersign_Receipt_To=f"{OUT}.r1")
        subject, body = producer.heard(1)[0]
        assert subject == f"{OUT}.r1"
        result = json.loads(body)
        assert (result["id"], result["status"]) == (made["id"], "posted")
        receipt = proofs.open_receipt(result["receipt"], journey.server.vkey)
        entry = json.loads(receipt.entry)
        assert entry["event"]["id"] == made["id"] and entry["producer"] == "gw-1" and entry["journal"]["seq"] == seq
        path = tmp_path / "receipt"
        path.write_text(result["receipt"])
        cli("verify", "--key", journey.server.vkey, path).ok()
        producer.publish(made, Countersign_Receipt_To=f"{OUT}.r2")
        subject, body = producer.heard(2)[1]
        again = json.loads(body)
        assert (subject, again["status"], again["index"]) == (f"{OUT}.r2", "duplicate", receipt.index)
        assert proofs.open_receipt(again["receipt"], journey.server.vkey).entry == receipt.entry
        producer.publish(b"{", Countersign_Receipt_To=f"{OUT}.r3.deeper")
        subject, body = producer.heard(3)[2]
        rejected = json.loads(body)
        assert (subject, rejected["status"], rejected["reason"]) == (f"{OUT}.r3.deeper", "rejected", "json_syntax")
        assert json.loads(proofs.open_receipt(rejected["receipt"], journey.server.vkey).entry)["kind"] == "rejected"
    ends_sound(journey)


def test_p12_receipts_go_nowhere_else(journey: Journey) -> None:
    """A receipt asked for below somebody else's prefix, outside, or at no subject at all is counted and not sent; the
    event is posted all the same."""
    bad = [
        "countersign-out.acme.gw-2.r", "countersign-out.beta.gw-1.r", "countersign-out.acme.gw-1", f"{OUT}.", f"{OUT}.*",
        f"{OUT}.>", f"{OUT}.a..b", f"{OUT}x.r", "countersign.acme.decisions.gw-1", "countersign.acme.system.key",
        "$JS.API.STREAM.DELETE.COUNTERSIGN_acme", "_INBOX.x", f"{OUT}." + "a" * 300, f"{OUT}.a b", "", "x",
    ]
    with journey.peer() as everything, journey.peer("acme-gw-1") as producer:
        everything.listen("countersign-out.>")
        everything.listen("_INBOX.x")
        everything.listen("x")
        size = journey.server.admin.size()
        for nth, to in enumerate(bad):
            producer.publish(event(id=f"bad-{nth}"), Countersign_Receipt_To=to)
        producer.publish(event(), Countersign_Receipt_To=f"{OUT}.good")
        assert everything.heard(1)[0][0] == f"{OUT}.good"
        found = new_entries(journey, size, "after")
        assert [entry["kind"] for entry in found] == ["decision"] * (len(bad) + 1)
        # An empty header asks for nothing, or for something it may not have; either way nothing is sent.
        until("refused receipts to be counted", lambda: metric(journey.server, "countersign_receipts_refused_total") >= len(bad) - 1)
        assert everything.heard_so_far == 1
        with journey.peer() as peer:
            assert peer.stream()["state"]["messages"] == posted(journey.server)
    ends_sound(journey)


# HTTP on a JetStream journal


def test_p1_p2_http_on_jetstream(journey: Journey, tmp_path: Path) -> None:
    """Singles and batches by HTTP give the same answers as on the embedded journal."""
    publisher, told = journey.server.as_("publisher"), Ledger()
    one = event()
    first = publisher.publish(one, receipts=True)[0]
    assert first["status"] == "posted"
    assert publisher.publish(one)[0] == {"id": one["id"], "status": "duplicate", "index": first["index"]}
    changed = one | {"time": "2026-11-20T00:00:00Z"}
    conflict = publisher.publish(changed)[0]
    assert (conflict["status"], conflict["first"]) == ("conflict", first["index"])
    assert publisher.publish(b'{"a":1,"a":2}')[0]["reason"] == "json_duplicate_key"
    batch = [event() for _ in range(1000)]
    results = publisher.publish(*batch, receipts=True)
    indexes = [result["index"] for result in results]
    assert indexes == list(range(indexes[0], indexes[0] + 1000))
    told.receipts += [result["receipt"] for result in [first, *results[::50]]]
    mixed = [event(), b"{", batch[0], event()]
    # The array must be JSON: malformed events go by NDJSON.
    lines = b"\n".join(e if isinstance(e, bytes) else json.dumps(e).encode() for e in mixed)
    answer = publisher.post_events(lines, "application/x-ndjson").json()["results"]
    assert [result["status"] for result in answer] == ["posted", "rejected", "duplicate", "posted"]
    with journey.peer() as peer:
        assert json.loads(base64.b64decode(peer.message(peer.last())["data"])) == mixed[-1]
    audit.everything(journey.server, told, tmp_path / "receipts")


# What is malformed, and what pretends to be ours


def test_p3_malformed_messages_become_entries(journey: Journey) -> None:
    """Whatever bytes a producer publishes: one `rejected` entry with a reason and the size, in order; nothing stops."""
    good = json.dumps(event(id="fine")).encode()
    bodies = [
        (b"", "json_syntax"), (b"{", "json_syntax"), (b"\xff\xfe\x00", "json_utf8"), (b"null", "not_an_object"),
        (b"[" * 40 + b"]" * 40, "json_depth"), (b'{"a":1,"a":2}', "json_duplicate_key"),
        (b'{"n":9007199254740993}', "json_number"), (b'{"s":"\\ud800"}', "json_surrogate"),
        (b'{"specversion":"1.0"}', "attribute"), (b"\0", "json_syntax"), (b"x" * (256 * 1024), "json_syntax"),
        (json.dumps(event(type="dev.countersign.other.v1")).encode(), "type_unknown"),
        (json.dumps(event(payload={"p": "y" * (256 * 1024)})).encode(), "too_big"),
    ]
    size = journey.server.admin.size()
    with journey.peer("acme-gw-1") as producer:
        for body, _ in bodies:
            producer.publish(body)
        producer.publish(good)
    found = new_entries(journey, size, "after")
    assert [entry["kind"] for entry in found] == ["rejected"] * len(bodies) + ["decision"]
    for (body, reason), entry in zip(bodies, found):
        assert entry["event"] == {"reason": reason, "size": len(body)}, (body[:40], entry["event"])
        assert entry["producer"] == "gw-1" and entry["salt"] == "derived"
    assert health(journey.server)["status"] == "green"
    ends_sound(journey)


def test_p3_binary_mode_is_not_misread(journey: Journey) -> None:
    """A CloudEvent whose attributes are headers is rejected as that, also where its data looks like an event; in structured mode
    such headers say nothing. `Countersign-Refused` refuses the sender's own message, by codes about events only."""
    attributes = {"ce_specversion": "1.0", "ce_id": "outer", "ce_source": "/x", "ce_type": "com.example.a"}
    structured = {"Content_Type": "application/cloudevents+json; charset=utf-8"}
    size = journey.server.admin.size()
    with journey.peer("acme-gw-1") as producer:
        producer.listen(f"{OUT}.>")
        producer.publish(b'{"a":1}', **attributes)
        producer.publish(event(id="inner"), **attributes, Content_Type="application/json", Countersign_Receipt_To=f"{OUT}.r")
        producer.publish(event(id="inner"), CE_ID="outer")
        producer.publish(event(id="structured"), **attributes, **structured)
        producer.publish(event(id="extension"), ce_tenant="x")
        producer.publish(event(id="told"), Countersign_Refused="data")
        producer.publish(event(id="not-believed"), Countersign_Refused="signature")
        result = json.loads(producer.heard(1)[0][1])
    assert (result["status"], result["reason"], result["id"]) == ("rejected", "binary_mode", None)
    assert "structured mode" in result["detail"]
    found = [entry["event"].get("reason") or entry["event"]["id"] for entry in new_entries(journey, size, "after")]
    assert found == ["binary_mode"] * 3 + ["structured", "extension", "data", "not-believed"]
    assert health(journey.server)["status"] == "green"
    ends_sound(journey)


def test_p3_p12_hostile_headers(journey: Journey) -> None:
    """Header blocks that no library sends: each message is posted, once, in order; the other tenant notices nothing."""
    beta = journey.server.add_tenant("beta")
    blocks = [
        b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n", b"NATS/1.0\r\nX: \xff\xfe\r\n\r\n", b"\xff\xfe\r\n\r\n", b"NATS/1.0\r\nA: b\rc\r\n\r\n",
        b"NATS/1.0\r\n: nothing\r\n\r\n", b"NATS/1.0\r\nCountersign-Salt: !\r\n\r\n", b"NATS/1.0\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"NATS/1.0\r\nCountersign-Salt: AAAAAAAAAAAAAAAAAAAAAA\r\nCountersign-Salt: x\r\n\r\n", b"NATS/9.9\r\nA: b\r\n\r\n",
        b"NATS/1.0\r\nCountersign-Signature: 0 AAAA\r\n\r\n", b"NATS/1.0\r\nCountersign-Receipt-To: " + b"a" * 3000 + b"\r\n\r\n",
    ]
    size = journey.server.admin.size()
    messages = [(SUBJECT, block, json.dumps(event(id=f"header-{nth}")).encode()) for nth, block in enumerate(blocks)]
    raw_publish(journey.nats, "acme-gw-1", messages)
    found = new_entries(journey, size, "after")
    assert [entry["event"]["id"] for entry in found] == [f"header-{nth}" for nth in range(len(blocks))]
    derived = [nth for nth, entry in enumerate(found) if entry.get("salt") == "derived"]
    assert len(derived) == len(blocks) - 1 and blocks.index(next(b for b in blocks if b"AAAAAAAAAAAAAAAAAAAAAA" in b)) not in derived
    from support import Key

    admin = journey.server.client(Key(beta["key"]), "beta")
    publisher = journey.server.client(admin.add_key(["publisher"], "gw-9"), "beta")
    assert publisher.publish(event())[0]["status"] == "posted"
    assert health(journey.server)["status"] == "green"
    ends_sound(journey)


def test_p2_p12_a_producer_adds_under_its_own_name_only(journey: Journey) -> None:
    """What the shipped configuration gives a producer's account: its own subject, and nothing else of the broker."""
    with journey.peer("acme-gw-1") as producer, journey.peer() as broker:
        last = broker.last()
        for subject in (
            "countersign.acme.decisions.gw-2", "countersign.acme.system.key", "countersign.acme.approvals.a",
            "countersign.beta.decisions.gw-1", f"$JS.API.STREAM.INFO.{STREAM}", f"$JS.API.STREAM.PURGE.{STREAM}",
            f"$JS.API.STREAM.DELETE.{STREAM}", "$JS.API.INFO",
        ):
            with pytest.raises(Exception):  # noqa: B017: refused, no responders, or no answer: anything but an answer
                producer._do(producer.client.request(subject, b"{}", timeout=0.3))
        assert broker.last() == last
        with journey.peer("acme-gw-1") as producer:
            assert producer.publish(event()) == last + 1
    ends_sound(journey)


@pytest.mark.parametrize("where", ["system.access", "system.genesis", "system.erasure", "system.key", "system.journal",
                                   "system.rules", "system.other", "approvals.apr-1", "evidence.apr-1"])
def test_p3_p8_unsigned_messages_turn_health_red(where: str, journey: Journey) -> None:
    """The broker's own account writes where only we may: `rejected` with reason `signature`, health red, no effect."""
    admin = journey.server.admin
    size = admin.size()
    bodies = {
        "system.access": b'{"op":"add","key_id":"0123456789abcdef","sha256":"x","roles":["admin"],"name":"evil"}',
        "system.erasure": b'{"index":0}',
    }
    signature = {"Countersign-Signature": "0-" + base64.urlsafe_b64encode(bytes(64)).decode().rstrip("=")}
    with journey.peer() as broker:
        for headers in (None, signature):
            broker.request(f"countersign.acme.{where}", bodies.get(where, b"{}"), headers)
    found = new_entries(journey, size, "after")
    assert [(entry["kind"], entry["event"].get("reason")) for entry in found] == [("rejected", "signature")] * 2
    state = health(journey.server)
    assert state["status"] == "red" and state["unsigned_messages"] and state["halted_logs"] == 0
    assert metric(journey.server, "countersign_unsigned_messages_total") == 2
    # The log goes on.
    assert journey.server.as_("publisher").publish(event())[0]["status"] == "posted"
    ends_sound(journey)


def test_p3_p8_signed_messages_can_not_be_repeated(journey: Journey) -> None:
    """Our own signed messages, copied verbatim with their headers: `rejected`; a removed key stays removed."""
    server = journey.server
    key = server.add_key(["auditor"])
    assert server.client(key).get("/logs/1/checkpoint").status_code == 200
    answer = server.admin.http.delete(f"{server.admin.t}/keys/{key.id}")
    assert answer.status_code in (200, 204), answer.text
    assert server.client(key).get("/logs/1/checkpoint").status_code == 401
    size = server.admin.size()
    copies = []
    with journey.peer() as broker:
        for seq in range(1, broker.last() + 1):
            message = broker.message(seq)
            if ".system." in message["subject"]:
                copies.append((message["subject"], base64.b64decode(message["hdrs"]), base64.b64decode(message["data"])))
        assert len(copies) >= 4
        # Without the broker's own expectations, which would refuse them.
        stripped = [
            (subject, b"\r\n".join(line for line in block.split(b"\r\n") if not line.startswith(b"Nats-")), body)
            for subject, block, body in copies
        ]
        assert all(b"Countersign-Signature" in block for _, block, _ in stripped)
        raw_publish(journey.nats, "countersign", stripped)
    found = new_entries(journey, size, "after")
    assert [(entry["kind"], entry["event"].get("reason")) for entry in found] == [("rejected", "signature")] * len(copies)
    assert server.client(key).get("/logs/1/checkpoint").status_code == 401
    assert health(server)["status"] == "red"
    ends_sound(journey)


def test_p11_messages_without_a_salt(journey: Journey) -> None:
    """Without `Countersign-Salt` the salts come from the tenant's salt key, and the entry says so; with it, it does not."""
    size = journey.server.admin.size()
    with journey.peer("acme-gw-1") as producer:
        producer.publish(event(id="without"))
        producer.publish(event(id="with"), Countersign_Salt="AAECAwQFBgcICQoLDA0ODw")
        producer.publish(event(id="malformed"), Countersign_Salt="too short")
    found = {entry["event"]["id"]: entry for entry in new_entries(journey, size, "after")}
    assert [found[name].get("salt") for name in ("without", "with", "malformed")] == ["derived", None, "derived"]
    ends_sound(journey)


# Crashes and outages


#: An event is acknowledged in this time, by a broker that is killed again and again: a request whose answer got lost is given up
#: only after 30 s.
ACKNOWLEDGED_SECONDS = 120


def test_p1_p2_kill_9_of_broker_and_server(journey: Journey, rng: random.Random, rounds: int, tmp_path: Path) -> None:
    """kill -9 of nats-server, of the server, or of both, at random moments under load by HTTP and by NATS."""
    server = journey.server
    key = server.add_key(["publisher"], "gw-1")
    stop, acknowledged, errors = threading.Event(), [], []

    def produce() -> None:
        """Publishes by NATS what the broker must acknowledge; repeats what it does not."""
        number, deadline = 1, time.monotonic() + ACKNOWLEDGED_SECONDS
        while not stop.is_set():
            try:
                with Peer(journey.nats, "acme-gw-1") as producer:
                    for _ in range(20):
                        if stop.is_set():
                            break
                        producer.publish(event(id=f"n-{number:06}", source="/nats", sequence=str(number)))
                        acknowledged.append(number)
                        number, deadline = number + 1, time.monotonic() + ACKNOWLEDGED_SECONDS
            except Exception as error:  # noqa: BLE001: the broker is down; the event is sent again
                if time.monotonic() > deadline:
                    errors.append(error)
                    return

    producer = threading.Thread(target=produce, daemon=True)
    moments = threading.Event()
    with Load(server, key, 4, rng) as load:
        producer.start()
        for _ in range(rounds):
            load.ledger.wait_for(len(load.ledger.index) + rng.randint(1, 60))
            moments.wait(rng.random() * 0.03)
            victim = rng.choice(["broker", "server", "both"])
            if victim != "server":
                journey.nats.kill9()
            if victim != "broker":
                server.kill9()
            if victim != "server":
                journey.nats.start()
            if victim != "broker":
                server.start()
            until("a checkpoint", lambda: server.admin.get("/logs/1/checkpoint").status_code == 200)
            load.ledger.checkpoints.add(server.admin.checkpoint())
        load.ledger.wait_for(len(load.ledger.index) + 50)
        stop.set()
        told = load.finish()
    producer.join(ACKNOWLEDGED_SECONDS)
    assert not errors and acknowledged, errors
    fence(journey, "end")
    assert health(server)["status"] == "green", health(server)
    print(f"{rounds} kills: {len(told.index)} events by HTTP, {acknowledged[-1]} by NATS, {told.retries} retries, "
          f"{told.statuses}, {told.codes}")
    entries = audit.everything(server, told, tmp_path / "receipts")
    decoded = [json.loads(leaf) for leaf in entries]
    # What the broker acknowledged (it syncs always) is posted, once, in order.
    numbers = [int(e["event"]["sequence"]) for e in decoded if e["event"].get("source") == "/nats" and e["kind"] == "decision"]
    assert sorted(set(numbers)) == sorted(numbers)
    assert set(range(1, acknowledged[-1] + 1)) <= set(numbers)
    kinds = audit.kinds(entries)
    assert not set(kinds) & {"journal_gap", "rejected", "duplicate_conflict", "journal"}, kinds


def test_p1_broker_down_and_back(journey: Journey, tmp_path: Path) -> None:
    """Without the broker: 503 with Retry-After, health red, reading goes on; it recovers by itself."""
    server, told = journey.server, Ledger()
    publisher = server.as_("publisher")
    publisher.publish(event())
    size = server.admin.size()
    journey.nats.kill9()
    until("health to be red", lambda: health(server)["status"] == "red")
    for _ in range(3):
        answer = publisher.post_events(json.dumps(event()).encode())
        assert answer.status_code == 503 and answer.json()["code"] in ("journal_unavailable", "outcome_unknown"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
    assert httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False).status_code == 503
    assert server.admin.size() == size and len(audit.leaves(server.admin)) == size
    assert server.admin.receipt(index=size - 1)
    journey.nats.start()
    until("the server to be ready again", lambda: httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False).status_code == 200)
    until("events to be posted again", lambda: publisher.post_events(json.dumps(event(id="back")).encode()).status_code == 200)
    assert health(server)["status"] == "green"
    audit.everything(server, told, tmp_path / "receipts")


def test_p4_broker_down_at_start(journey: Journey) -> None:
    """Started without its broker: it says so and ends, or waits; it does not halt the log for good."""
    server = journey.server
    server.as_("publisher").publish(event())
    server.stop()
    journey.nats.kill9()
    server.start(ready=False)
    before = len(server.log)

    def look() -> bool:
        if not server.alive():
            return True
        try:
            return httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False).status_code == 503
        except httpx.TransportError:
            return False

    until("an end or a 503", look)
    if server.alive():
        journey.nats.start()
        until("ready by itself", lambda: httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False).status_code == 200)
    else:
        assert server.wait_exit() not in (0, 101)
        assert "NATS" in server.log[before - 500 :]
        journey.nats.start()
        server.start()
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    assert health(server)["status"] == "green"
    ends_sound(journey)


# Setting up


@pytest.mark.parametrize("version", ["2.9.10", "2.10.26", "real 2.10.26"])
def test_p4_old_brokers_are_refused(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 2.11 several clients win one compare-and-swap: refused at `init` and at start, naming the versions."""
    if version.startswith("real"):
        program = old_server_bin()
        if program is None:
            pytest.skip("no nats-server-2.10 on PATH nor in $NATS_SERVER_2_10_BIN; the pretended one is tested")
        monkeypatch.setenv("NATS_SERVER_BIN", str(program))
        broker: Any = NatsServer(tmp_path / "nats").start()
        close = broker.kill9
    else:
        broker = Pretender(version)
        close = broker.close
    try:
        server = Server(tmp_path / "server", nats=broker.url)
        done = server.run("init", "--tenant", "acme")
        assert done.code not in (0, 101)
        assert version.removeprefix("real ") in done.err and "2.11" in done.err and "upgrade" in done.err, done.err
        done = server.run("serve", seconds=30)
        assert done.code not in (0, 101) and "2.11" in done.err, done
    finally:
        close()


def test_p8_a_broker_that_became_older(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up with a good broker, then started on a 2.10: `serve` refuses, naming both versions; with a good one it goes on."""
    program = old_server_bin()
    if program is None:
        pytest.skip("no nats-server-2.10 on PATH nor in $NATS_SERVER_2_10_BIN")
    journey.server.stop()
    journey.nats.stop()
    with monkeypatch.context() as old:
        old.setenv("NATS_SERVER_BIN", str(program))
        config = journey.nats.config.read_text()
        journey.nats.config.write_text(config.replace(str(journey.nats.store), f"{journey.nats.store}-2.10"))
        journey.nats.start()
        done = journey.server.run("serve", seconds=30)
        assert done.code not in (0, 101) and "2.10" in done.err and "2.11" in done.err, done
        journey.nats.stop()
        journey.nats.config.write_text(config)
    journey.nats.start()
    journey.server.start()
    assert journey.server.as_("publisher").publish(event())[0]["status"] == "posted"
    ends_sound(journey)


SETTINGS = [
    ("duplicate_window", 120_000_000_000), ("discard", "old"), ("max_age", 3_600_000_000_000), ("deny_purge", True),
    ("allow_rollup_hdrs", True), ("max_msgs_per_subject", 5), ("republish", {"src": ">", "dest": "copy.>"}),
    ("subjects", ["countersign.acme.>"]), ("allow_msg_ttl", True),
    ("subject_transform", {"src": "countersign.acme.decisions.*", "dest": "countersign.acme.decisions.{{wildcard(1)}}"}),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_p4_changed_stream_settings(name: str, value: Any, journey: Journey) -> None:
    """A setting changed behind our back: refused at start, naming it, found and wanted; changed back, it works."""
    server = journey.server
    server.as_("publisher").publish(event())
    server.stop()
    with journey.peer() as broker:
        config = broker.stream()["config"]
        answer = json.loads(broker._do(broker.client.request(
            f"$JS.API.STREAM.UPDATE.{STREAM}", json.dumps(config | {name: value}).encode(), timeout=30)).data)
        if "error" in answer:
            pytest.skip(f"this broker does not let it be changed: {answer['error']['description']}")
        server.start(ready=False)
        until("the log to halt", lambda: halted(server))
        reason = health(server)["halted"][0]["reason"]
        assert name in reason and "must" in reason and STREAM in reason, reason
        assert server.as_("publisher").post_events(json.dumps(event()).encode()).json()["code"] == "log_halted"
        server.stop()
        back = json.loads(broker._do(broker.client.request(
            f"$JS.API.STREAM.UPDATE.{STREAM}", json.dumps(config).encode(), timeout=30)).data)
        if "error" in back:
            return  # one way only (message TTL)
    server.start()
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    ends_sound(journey)


def test_p4_several_changed_settings_are_listed_at_once(journey: Journey) -> None:
    """All differences in one message."""
    server = journey.server
    server.as_("publisher").publish(event())
    with journey.peer() as broker:
        config = broker.stream()["config"]
        broker.api(f"STREAM.UPDATE.{STREAM}", config | {"discard": "old", "max_age": 3_600_000_000_000, "deny_purge": True})
    server.stop()
    server.start(ready=False)
    until("the log to halt", lambda: halted(server))
    reason = health(server)["halted"][0]["reason"]
    assert all(name in reason for name in ("discard", "max_age", "deny_purge")), reason
    ends_sound(journey)


def halted(server: Server) -> bool:
    """Whether the log is halted; `False` while the server starts."""
    try:
        return health(server)["halted_logs"] == 1
    except httpx.TransportError:
        return False


# Erasing


def grep(secret: bytes, *folders: Path) -> list[Path]:
    """Files below the folders that hold these bytes, as they are or in base64 (any of its three alignments)."""
    needles = [secret]
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret).rstrip(b"=")
        needles.append(encoded[4:-4])
        needles.append(encoded.replace(b"+", b"-").replace(b"/", b"_")[4:-4])
    return [path for folder in folders for path in holding(folder, *needles)]


@pytest.mark.parametrize("how", ["nats", "http", "rejected"])
def test_p11_erasure_reaches_the_journal(how: str, make_journey: Callable[..., Journey], rng: random.Random) -> None:
    """After an erasure the bytes are neither in the data directory nor in the broker's store, and every proof holds."""
    journey = make_journey(compression="none")
    server = journey.server
    secret = f"the secret {rng.randrange(10**12)} of a person named Kim".encode()
    made = event(id="to-forget", payload={"who": secret.decode()})
    folders = [server.data_dir, journey.nats.store]
    if how == "http":
        server.as_("publisher").publish(made)
    else:
        with journey.peer("acme-gw-1") as producer:
            producer.publish(made if how == "nats" else b"{ not JSON: " + secret)
    fence(journey, "after")
    assert {folder for folder in folders if grep(secret, folder)} == set(folders), "the grep finds nothing even before"
    index = next(i for i, entry in enumerate(server.admin.entries())
                 if entry["event"].get("id") == "to-forget" or entry["kind"] == "rejected")
    receipt = server.admin.receipt(index=index)
    assert server.admin.erase(index)["status"] == "complete"
    assert grep(secret, *folders) == []
    # The last message of the journal may be erased too, and the log goes on across restarts of both.
    server.restart()
    journey.nats.restart()
    until("the journal to be back", lambda: health(server)["journal_connected"])
    server.as_("publisher").publish(event())
    assert health(server)["status"] == "green", health(server)
    entries = audit.leaves(server.admin)
    assert proofs.open_receipt(receipt, server.vkey).entry == entries[index]
    proofs.open_receipt(server.admin.receipt(index=index), server.vkey)
    server.stop()
    server.fsck().ok()
    journey.nats.stop()
    assert grep(secret, *folders) == []


def test_p3_deleted_message_above_the_posted_position(journey: Journey) -> None:
    """Messages removed before they were posted: a `journal_gap` entry names them."""
    server = journey.server
    server.as_("publisher").publish(event())
    server.stop()
    with journey.peer("acme-gw-1") as producer, journey.peer() as broker:
        seqs = [producer.publish(event(id=f"g{n}")) for n in range(10)]
        for seq in (seqs[2], seqs[3], seqs[7]):
            broker.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": seq})
    server.start()
    fence(journey, "after")
    entries = server.admin.entries()
    gaps = [entry["event"] for entry in entries if entry["kind"] == "journal_gap"]
    by = {"by": {"server": "journal"}}
    assert gaps == [by | {"from": seqs[2], "to": seqs[3]}, by | {"from": seqs[7], "to": seqs[7]}]
    ids = [entry["event"].get("id") for entry in entries if entry["kind"] == "decision"]
    assert ids[1:-1] == [f"g{n}" for n in range(10) if n not in (2, 3, 7)]
    assert health(server)["status"] == "green"
    ends_sound(journey)


def test_p3_deleted_message_below_the_posted_position(journey: Journey, tmp_path: Path) -> None:
    """Removed after it was posted: trimming or erasure, nothing to say; restarts and reconnects included."""
    server, told = journey.server, Ledger()
    server.as_("publisher").publish(*[event() for _ in range(20)])
    with journey.peer() as broker:
        last = broker.last()
        broker.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": last - 5})
        broker.api(f"STREAM.PURGE.{STREAM}", {"seq": last - 8})
    server.restart()
    journey.nats.restart()
    until("events to be posted again",
          lambda: server.as_("publisher").post_events(json.dumps(event(id="again")).encode()).status_code == 200, 40)
    assert health(server)["status"] == "green"
    entries = audit.everything(server, told, tmp_path / "receipts")
    assert "journal_gap" not in audit.kinds(entries)
