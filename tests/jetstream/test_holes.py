"""Holes in the journal (P3, P4, P6, P11): erasure, gap and trim messages explain what is gone; nothing is inferred from absence."""

from __future__ import annotations

import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from rig import audit
from rig.broker import STREAM, Journey, Peer, fence
from rig.load import Ledger
from test_p4 import events, halted_now, health, publish

from support import cli, until


def root(checkpoint: str) -> list[str]:
    """Origin, size and root."""
    return checkpoint.split("\n")[:3]


def keep(journey: Journey, to: Path) -> None:
    """A copy of database and guard, as they stand now."""
    journey.server.stop()
    shutil.copytree(journey.server.data_dir, to / "data")
    shutil.copy(journey.server.guard_path, to / "guard")
    journey.server.start()


def put_back(journey: Journey, kept: Path, *, guard: bool) -> None:
    """The database of then; with `guard`, the guard of then as well: a replica that was away."""
    journey.server.stop()
    shutil.rmtree(journey.server.data_dir)
    shutil.copytree(kept / "data", journey.server.data_dir)
    if guard:
        shutil.copy(kept / "guard", journey.server.guard_path)


def is_gone(peer: Peer, seq: int) -> bool:
    """Whether the stream no longer holds this message."""
    try:
        peer.message(seq)
    except AssertionError:
        return True
    return False


def erase_some(journey: Journey, told: Ledger) -> list[int]:
    """Events, repetitions, a gap of numbers, a rejected message; then erasures of some. Returns what was erased."""
    server = journey.server
    publish(journey, told, events(6, 3))
    publish(journey, told, events(12, 1))  # 9 to 11 are missing: this message gives two entries
    publish(journey, told, events(10, 1))
    with journey.peer("acme-gw-1") as producer:
        for number in (6, 12):
            producer.publish(events(number, 1)[0])
        producer.publish(b"{ not JSON")
    fence(journey, "before the erasures")
    rejected = next(i for i, entry in enumerate(server.admin.entries()) if entry["kind"] == "rejected")
    # 5 is the last message that the copy holds; 6 and 12 were repeated.
    erased = [told.index["/p4", f"p4-{number:04}"] for number in (5, 6, 12, 10)] + [rejected]
    for index in erased:
        assert server.admin.erase(index)["status"] == "complete"
    # A repetition that comes later gets an erasure message of its own.
    with journey.peer("acme-gw-1") as producer:
        seq = producer.publish(events(6, 1)[0])
    with journey.peer() as peer:
        until("the repetition to be erased", lambda: is_gone(peer, seq), 120)
    publish(journey, told, events(20, 2))
    return erased


@pytest.mark.parametrize("guard", [False, True], ids=["a restored backup", "a replica that was away"])
def test_p6_erasures_leave_an_older_database_useful(guard: bool, journey: Journey, tmp_path: Path) -> None:
    """It posts what stood in the holes, as erasure messages tell: the same root as the one that was there all the time."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path)
    erased = erase_some(journey, told)
    newest = server.admin.checkpoint()
    leaves = audit.leaves(server.admin)
    assert not {"journal_gap", "journal"} & audit.kinds(leaves).keys()
    put_back(journey, tmp_path, guard=guard)
    server.start()
    until("it to catch up", lambda: server.admin.size() >= len(leaves), 120)
    assert audit.leaves(server.admin)[: len(leaves)] == leaves
    if server.admin.size() == len(leaves):
        assert root(server.admin.checkpoint()) == root(newest)
    publish(journey, told, events(22, 2))
    assert health(server)["status"] == "green", health(server)
    # What was erased is not back, and can be asked for as before.
    for index in erased:
        assert server.admin.erase(index)["status"] == "complete"
    audit.everything(server, told, tmp_path / "receipts")
    server.restart(kill=True)
    assert health(server)["status"] == "green", health(server)
    server.stop()
    server.fsck().ok()


def test_p3_a_hole_that_nothing_explains_is_never_posted_over(journey: Journey, tmp_path: Path) -> None:
    """A restored backup stops before it, and says what to do. Where the message gave nothing, `recover --accept-hole` leads
    to what was signed; it refuses where everything is explained."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path)
    publish(journey, told, events(6, 2))
    with journey.peer("acme-gw-1") as producer:
        repeated = producer.publish(events(6, 1)[0])
    fence(journey, "after the repetition")
    server.admin.erase(told.index["/p4", "p4-0007"])
    newest = server.admin.checkpoint()
    put_back(journey, tmp_path, guard=False)
    refused = server.run("recover", "--tenant", "acme", "--accept-hole")
    assert refused.code != 0 and "explained" in refused.err, refused
    with journey.peer() as peer:
        peer.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": repeated})
    server.start(ready=False)
    until("the log to halt", lambda: halted_now(server))
    reason = health(server)["halted"][0]["reason"]
    assert f"{repeated} to {repeated}" in reason and "--accept-hole" in reason and "must not sign" in reason, reason
    server.stop()
    assert f"{repeated} to {repeated}" in server.run("recover", "--tenant", "acme", "--accept-hole").ok().out
    server.start()
    until("it to catch up", lambda: server.admin.size() > int(newest.split("\n")[1]), 120)
    entries = server.admin.entries()
    gap = next(entry for entry in entries if entry["kind"] == "journal_gap")
    assert gap["event"] == {"by": {"command": "recover"}, "from": repeated, "to": repeated}
    publish(journey, told, events(8, 2))
    assert health(server)["status"] == "green", health(server)
    audit.everything(server, told, tmp_path / "receipts")


def test_p4_an_accepted_hole_never_signs_another_history(journey: Journey, tmp_path: Path) -> None:
    """The message that is gone gave an entry that was signed: without it the root is another one, and the log halts."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path)
    with journey.peer() as peer:
        before = peer.last()
    publish(journey, told, events(6, 6))
    put_back(journey, tmp_path, guard=False)
    with journey.peer() as peer:
        peer.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": before + 3})
    server.run("recover", "--tenant", "acme", "--accept-hole").ok()
    server.start(ready=False)
    until("the log to halt", lambda: halted_now(server))
    assert "must not sign" in health(server)["halted"][0]["reason"]
    for note in told.checkpoints:
        if int(note.split("\n")[1]) == server.admin.size():
            assert root(note) == root(server.admin.checkpoint())


@pytest.mark.parametrize("what", ["another leaf", "a leaf less", "the true leaves", "a gap"])
def test_p4_what_strangers_tell_of_a_hole_is_not_believed(what: str, journey: Journey, tmp_path: Path) -> None:
    """Who may write to the broker, and holds no key, deletes a message and tells of it: a restored backup stops before the hole,
    and signs nothing that rests on such words, also after a restart."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path)
    publish(journey, told, events(6, 1))
    index = told.index["/p4", "p4-0006"]
    entry = server.admin.entry(index)
    size = int(server.admin.checkpoint().split("\n")[1])
    put_back(journey, tmp_path, guard=False)
    with journey.peer() as peer:
        peer.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": entry["journal"]["seq"]})
        lie(peer, what, index, entry)
    server.start(ready=False)
    for again in (False, True):
        if again:
            server.kill9()
            server.start(ready=False)
        until("the log to halt", lambda: halted_now(server))
        reason = health(server)["halted"][0]["reason"]
        assert "must not sign" in reason and "--accept-hole" in reason, reason
        assert server.admin.size() < size


def lie(peer: Peer, what: str, index: int, entry: dict[str, Any]) -> None:
    """An unsigned message that tells of a hole."""
    seq = entry["journal"]["seq"]
    if what == "a gap":
        body: dict[str, Any] = {"from": seq, "to": seq, "by": {"server": "journal"}}
        return peer.push(json.dumps(body).encode(), "countersign.acme.system.gap")
    leaves = [entry] if what != "a leaf less" else []
    if what == "another leaf":
        leaves = [json.loads(json.dumps(entry).replace("p4-0006", "p4-0666"))]
    gone = {"epoch": 1, "seq": seq, "subject": "decisions.gw-1", "leaves": leaves}
    body = {"index": index, "leaf_hash": "A" * 43 + "=", "fields": None, "by": {"operator": "0" * 16}, "reason": None, "messages": [gone]}
    return peer.push(json.dumps(body).encode(), "countersign.acme.system.erasure")


@pytest.mark.parametrize("what", ["a leaf less", "a gap"])
def test_p13_what_strangers_tell_stops_no_current_server(what: str, journey: Journey, tmp_path: Path) -> None:
    """A message that nobody posted is deleted, and a stranger tells of it: an entry says that it is gone, and the log goes on."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    entry = server.admin.entry(told.index["/p4", "p4-0005"])
    server.stop()
    with journey.peer("acme-gw-1") as producer, journey.peer() as peer:
        seq = producer.publish(events(6, 1)[0])
        peer.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": seq})
        lie(peer, what, 3, entry | {"journal": entry["journal"] | {"seq": seq}})
        producer.publish(events(7, 1)[0])
    server.start()
    fence(journey, "after")
    publish(journey, told, events(8, 2))
    gaps = [entry["event"] for entry in server.admin.entries() if entry["kind"] == "journal_gap"]
    assert gaps == [{"from": seq, "to": seq, "by": {"server": "journal"}}]
    server.restart(kill=True)
    publish(journey, told, events(10, 2))
    assert health(server)["halted_logs"] == 0, health(server)


def test_p6_what_was_told_in_advance_is_not_believed(journey: Journey, tmp_path: Path) -> None:
    """A stranger tells lies of a message before it is erased: an older database goes by the true erasure."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path)
    publish(journey, told, events(6, 3))
    index = told.index["/p4", "p4-0006"]
    with journey.peer() as peer:
        lie(peer, "a leaf less", index, server.admin.entry(index))
    fence(journey, "the lie is posted")
    assert server.admin.erase(index)["status"] == "complete"
    publish(journey, told, events(9, 2))
    leaves = audit.leaves(server.admin)
    put_back(journey, tmp_path, guard=False)
    server.start()
    until("it to catch up", lambda: server.admin.size() >= len(leaves), 120)
    assert audit.leaves(server.admin)[: len(leaves)] == leaves


@pytest.mark.parametrize("guard", [False, True], ids=["a restored backup", "a replica that was away"])
def test_p4_kill_while_a_hole_is_filled(guard: bool, journey: Journey, rng: random.Random, tmp_path: Path) -> None:
    """kill -9 at random moments while what was posted rests on a message that is not posted yet; with rotations of the log key
    and the journal key in between: it catches up, the keys are proven, and it is sound."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path)
    publish(journey, told, events(6, 3))
    server.admin.rotate("log")
    server.admin.rotate("journal")
    with journey.peer("acme-gw-1") as producer:
        for number in range(9, 1500):
            producer.push(json.dumps(events(number, 1)[0]).encode(), "countersign.acme.decisions.gw-1")
    fence(journey, "all of them")
    assert server.admin.erase(told.index["/p4", "p4-0007"])["status"] == "complete"
    server.admin.rotate("log")
    publish(journey, told, events(1500, 1))
    size = server.admin.size()
    put_back(journey, tmp_path, guard=guard)
    moments = threading.Event()
    for _ in range(6):
        server.start(ready=False)
        moments.wait(rng.uniform(0.05, 0.5))
        server.kill9()
    server.start()
    until("it to catch up", lambda: server.admin.size() >= size, 120)
    publish(journey, told, events(1501, 2))
    assert health(server)["status"] == "green", health(server)
    folder = tmp_path / "export"
    server.remote("export", "--tenant", "acme", folder).ok()
    (tmp_path / "first.vkey").write_text(server.vkey)
    assert "verified" in cli("verify", "--key", tmp_path / "first.vkey", "--export", folder).ok().out, "each key is proven by the one before"
    audit.nothing_lost_nothing_twice(audit.leaves(server.admin), told)
    server.stop()
    server.fsck().ok()
