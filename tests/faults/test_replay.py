"""P6: the same journal gives the same log, whatever the batches and the crashes."""

from __future__ import annotations

import base64
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit
from rig.broker import Journey, Shipped, fence, raw_publish
from rig.load import Load

from support import Server, event, heartbeat, until


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Shipped]:
    """A nats-server with the configuration that we ship."""
    with Shipped(tmp_path / "nats") as server:
        yield server


def salt(rng: random.Random) -> str:
    """A `Countersign-Salt`."""
    import base64

    return base64.urlsafe_b64encode(rng.randbytes(16)).decode().rstrip("=")


def rotate(server: Server, use: str, overlap: int) -> None:
    """Rotates a key; tries again while something unposted lies on the subject (hostile headers made the reader
    reconnect)."""
    def look() -> bool:
        answer = server.admin.http.post(f"{server.admin.t}/keys/rotate", json={"use": use, "overlap": overlap})
        if answer.status_code == 409 and "overlaps" in answer.text:
            return True  # two keys sign already: this one is left out
        assert answer.status_code == 200 or (answer.status_code, answer.json()["code"]) == (503, "busy"), answer.text
        return answer.status_code == 200

    until(f"the {use} key to be rotated", look)


def write_journal(journey: Journey, rng: random.Random, count: int) -> None:
    """Every kind of message there is: events with gaps, late and repeated numbers, repetitions, conflicts, heartbeats,
    malformed ones, hostile headers, unsigned system messages, our own signed ones, HTTP batches, key rotations."""
    subject = "countersign.acme.decisions.gw-1"
    publisher = journey.server.as_("publisher")
    numbers = {f"/replay/{n}": 1 for n in range(4)}
    sent: list[dict[str, Any]] = []
    with journey.peer("acme-gw-1") as producer, journey.peer() as broker:
        for step in range(count):
            source = rng.choice(list(numbers))
            way = rng.choices(
                ["next", "jump", "late", "again", "conflict", "plain", "heartbeat", "malformed", "raw", "unsigned", "batch",
                 "rotate"],
                [30, 4, 4, 8, 4, 10, 3, 6, 4, 2, 6, 0.7],
            )[0]
            salted = {"Countersign_Salt": salt(rng)} if rng.random() < 0.5 else {}
            if way in ("next", "jump", "late"):
                number = numbers[source] + {"next": 0, "jump": rng.randint(1, 9), "late": -rng.randint(1, 12)}[way]
                numbers[source] = max(numbers[source], number + 1)
                sent.append(event(id=f"r{step}", source=source, sequence=str(max(number, 0))))
                producer.publish(sent[-1], **salted)
            elif way in ("again", "conflict") and sent:
                old = rng.choice(sent)
                changed = old | {"time": f"2026-11-20T05:48:{rng.randint(10, 59)}Z"} if way == "conflict" else old
                producer.publish(changed, **salted)
            elif way == "heartbeat":
                producer.publish(heartbeat(numbers[source] + rng.randint(-1, 2), id=f"h{step}", source=source))
            elif way == "malformed":
                producer.publish(rng.choice([b"", b"{", b"\xff\xfe", b'{"a":1,"a":2}', b"[]", b"null", b'{"n":9007199254740993}']))
            elif way == "raw":
                block = rng.choice([
                    b"NATS/1.0\r\nCountersign-Salt: " + salt(rng).encode() + b"\r\nX: \xff\r\n\r\n", b"\xff\xfe\r\n\r\n",
                    b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\nno colon\r\n\r\n",
                ])
                sent.append(event(id=f"raw{step}", source="/replay/raw"))
                raw_publish(journey.nats, "acme-gw-1", [(subject, block, json.dumps(sent[-1]).encode())])
            elif way == "unsigned":
                where = rng.choice(["system.access", "approvals.apr-x", "evidence.apr-x", "system.key", "system.genesis"])
                broker.publish(b'{"index":1}', f"countersign.acme.{where}")
            elif way == "batch":
                sent += [event(id=f"b{step}-{n}", source="/replay/batch") for n in range(rng.randint(1, 30))]
                publisher.publish(*sent[-5:])
            elif way == "rotate":
                rotate(journey.server, rng.choice(["log", "journal", "token"]), rng.randint(0, 20))
            else:
                producer.publish(event(id=f"p{step}", source="/replay/plain"), **salted)
        rotate(journey.server, "log", 3)
    fence(journey, "end")


def size_of(server: Server) -> int:
    """The published size; 0 while the keys are not posted yet, or the server is not there."""
    try:
        answer = server.admin.get("/logs/1/checkpoint")
        return int(answer.text.split("\n")[1]) if answer.status_code == 200 else 0
    except httpx.TransportError:
        return 0


def test_p6_same_journal_same_log(
    shipped: Shipped, make_server: Callable[..., Server], rng: random.Random, tmp_path: Path
) -> None:
    """Posted live, then posted again from scratch three times: other batch limits, killed at random moments."""
    first = make_server("first", **shipped.options(tmp_path))
    journey = Journey(shipped, first)
    write_journal(journey, rng, 400)
    entries = audit.leaves(first.admin)
    root = audit.tree_of(entries).root(len(entries))
    kinds = audit.kinds(entries)
    print(len(entries), kinds)
    # The journal holds what makes posting hard.
    assert {"decision", "event", "rejected", "duplicate_conflict", "gap_opened", "gap_closed", "access", "key"} <= set(kinds) | {"event"}
    first.stop()
    first.fsck().ok()
    for messages in (1, 7, 1000):
        options = shipped.options(tmp_path)
        options["sections"]["limits"] = {"commit_messages": messages}
        again = Server(tmp_path / f"again-{messages}", **options)
        shutil.copytree(first.keys_dir, again.keys_dir)
        again.run("init", "--tenant", "acme", "--adopt").ok()
        again.keys, again.vkey, again.origin = first.keys, first.vkey, first.origin
        with again:
            kills = 0
            # 12 kills at random moments; what is posted shows only once this server has claimed the log.
            for _ in range(12):
                again.start(ready=False)
                time.sleep(rng.uniform(0.05, 0.8))
                kills += size_of(again) < len(entries)
                again.kill9()
            again.start()
            until(f"{len(entries)} entries (has {size_of(again)})", lambda: size_of(again) >= len(entries))
            found = audit.leaves(again.admin)
            differing = [n for n, (a, b) in enumerate(zip(entries, found)) if a != b]
            assert not differing, f"entry {differing[0]} differs:\n{entries[differing[0]]!r}\n{found[differing[0]]!r}"
            # What came after is the claims of these starts.
            assert set(audit.kinds(found[len(entries) :])) <= {"signer"}
            assert audit.tree_of(found[: len(entries)]).root(len(entries)) == root
            # Signed by the newest log key: only size and root are compared.
            whole = base64.b64encode(audit.tree_of(found).root(len(found))).decode()
            assert again.admin.checkpoint().split("\n")[1:3] == [str(len(found)), whole]
            again.stop()
            again.fsck().ok()
            print(f"commit_messages {messages}: {kills} kills on the way")
            assert messages == 1000 or kills > 0


def test_p6_embedded_journal_posted_again(make_server: Callable[..., Server], rng: random.Random, tmp_path: Path) -> None:
    """`fsck --replay` posts the retained journal again and finds every leaf the same, also after an erasure."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    with Load(server, key, 4, rng) as load:
        moments = threading.Event()
        for _ in range(5):
            load.ledger.wait_for(len(load.ledger.index) + rng.randint(1, 100))
            moments.wait(rng.random() * 0.02)
            server.kill9()
            server.start()
        load.ledger.wait_for(len(load.ledger.index) + 50)
        told = load.finish()
    client = server.client(key)
    sources = {f"/mixed/{n}": 10 for n in range(3)}
    for n in range(150):
        source = rng.choice(list(sources))
        sources[source] += rng.choice([1, 1, 1, 2, 3, -2])
        made = event(id=f"m{rng.randint(0, 120)}", source=source, sequence=str(sources[source]))
        client.publish(rng.choice([made, made, made, b"{", b'{"a":1,"a":2}']))
    server.admin.rotate("log", overlap=2)
    server.admin.rotate("journal")
    client.publish(event())
    entries = audit.everything(server, told, tmp_path / "receipts")
    answer = server.fsck("--replay").ok().json()
    replay = answer["logs"][0]["replay"]
    assert replay["difference"] is None and replay["impossible"] is None, replay
    assert replay["entries"] == len(entries) and replay["messages"] > 0, replay
    server.start()
    index = next(iter(told.index.values()))
    assert server.admin.erase(index)["status"] == "complete"
    server.stop()
    server.fsck().ok()
    replay = server.fsck("--replay").ok().json()["logs"][0]["replay"]
    assert replay["impossible"] is None and replay["difference"] is None and replay["entries"] == len(entries) + 1, replay


def test_p6_public_url_makes_the_log(shipped: Shipped, make_server: Callable[..., Server], tmp_path: Path) -> None:
    """A replica under another name is another log: it refuses the journal."""
    first = make_server("first", **shipped.options(tmp_path))
    first.stop()
    again = Server(tmp_path / "again", public_url="https://other.example.com", **shipped.options(tmp_path))
    shutil.copytree(first.keys_dir, again.keys_dir)
    done = again.run("init", "--tenant", "acme", "--adopt")
    with again:
        if done.code == 0:
            again.start()
            until("the log to halt", lambda: httpx.get(f"{again.url}/healthz", timeout=30, trust_env=False).json()["halted_logs"] == 1)
            assert "genesis" in again.log
        else:
            assert "genesis" in done.err or "origin" in done.err, done
