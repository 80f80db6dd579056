"""P21, P22: a machine joins the replicas with what one of them has, and proves it first. A replica that lies is refused, in words that
say what to do; an interrupted join leaves nothing half."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import rfc8785
from rig.backdate import backdate
from rig.broker import STREAM, Peer
from rig.cluster import Cluster
from rig.joining import COPIES, Liar, beside, fetch, join, move, sealed
from rig.trio import Trio, timed
from tamper.database import LOG, Database, digest, u64

from support import Finished, Server, cli, countersign_bin, event, until
from support.edges import RULES, people
from support.house import House
from test_members import replica

CHECKPOINT = "/v1/replicas/logs/acme/checkpoint"
#: Events of a request, and clients that send them.
BATCH, FILLERS = 500, 4


@dataclass
class World:
    """Three replicas with something in their log, a machine that wants to join, and copies of one of them."""

    trio: Trio
    joiner: Server
    vkey: str
    #: An earlier copy, and what was shown then.
    early: Path
    note: str
    #: A copy that has everything.
    full: Path
    waiting: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Events, an erased one, an approval that waits, and more entries between two copies."""
    folder = tmp_path_factory.mktemp("join")
    sections = {"approvals": {"dir": folder / "approvals"}}
    with Cluster(folder / "nats") as cluster, Trio(folder / "replicas", cluster.url, sections=sections) as trio:
        house = House(trio["a"], RULES, people())
        trio.start()
        until("rules applied", house._applied)
        indexes = [trio.post("abc"[nth % 3]) for nth in range(30)]
        trio["a"].admin.erase(indexes[3])
        waiting = house.pause().id
        trio.reach(trio.post("b") + 1)
        fetch(trio["a"], folder / "early")
        note = trio["a"].admin.checkpoint()
        for name in "abc":
            trio.reach(trio.post(name) + 1)
        fetch(trio["a"], folder / "full")
        joiner, vkey = beside(trio, "d", "a")
        trio.servers.pop("d")
        yield World(trio, joiner, vkey, folder / "early", note, folder / "full", waiting)
        joiner.__exit__()


def refused(world: World, done: Finished, words: str) -> None:
    """In words, and nothing is left of it."""
    assert done.code == 1 and words in done.err, done
    joiner = world.joiner
    assert not joiner.data_dir.exists() and not joiner.root.joinpath("data.joining").exists()
    assert not any(joiner.guard_path.read_bytes() if joiner.guard_path.exists() else b"")


def change_time(db: Database, index: int) -> None:
    """Another time of an event, with everything that follows from it but what others have cosigned."""
    entry = db.decoded(index)
    entry["event"]["time"] = "2020-01-01T00:00:00Z"
    salt, texts = db.payload(index)
    disclosed = {name: value for _, name, value in map(json.loads, texts)}
    whole = entry["event"] | {"data": entry["event"]["data"] | {"payload": disclosed}}
    entry["commit"] = digest(rfc8785.dumps([salt, "", whole]))
    db.set_entry(index, entry)


def first_of(cluster: Cluster) -> int:
    """The first sequence that the journal holds."""
    with Peer(next(iter(cluster.nodes.values()))) as peer:
        return int(peer.stream()["state"]["first_seq"])


def trimmed(trio: Trio, cluster: Cluster) -> None:
    """All but the last message are two days old, and a day is kept: the replica that leads says so in an entry, and trims."""
    with Peer(next(iter(cluster.nodes.values()))) as peer:
        last = peer.last()
    for server in trio.servers.values():
        server.stop()
        server.settings["journal_retention_days"] = 1
        server.write_config()
    for node in cluster.nodes.values():
        node.stop()
    for node in cluster.nodes.values():
        backdate(node, STREAM, range(1, last), 2 * 24 * 3600)
    for node in cluster.nodes.values():
        node.start()
    cluster.mend()
    trio.start()
    until("old messages to be trimmed", lambda: first_of(cluster) >= last, 240)


Lie = Callable[[Database, World], None]
LIES: dict[str, tuple[str, Lie]] = {}


def lie(name: str, words: str) -> Callable[[Lie], Lie]:
    """One change of a copy, and what is said about it."""

    def add(change: Lie) -> Lie:
        LIES[name] = (words, change)
        return change

    return add


def decided(db: Database) -> int:
    """A decision that still has payload."""
    return next(index for index in db.find(kind="decision") if db.payload(index)[1] and index > 20)


@lie("a changed entry, and all that follows from it", "another tree than the one of size")
def _(db: Database, world: World) -> None:
    before = db.position["root"]
    change_time(db, decided(db))
    db.retile(root=True)
    assert db.position["root"] != before
    # Whoever has the log's key signs others.
    for key, _ in db.rows("checkpoints"):
        db.delete("checkpoints", key)
    db.delete("meta", b"checkpoint" + LOG)
    move(db, world.trio["a"])


@lie("a changed payload", "does not agree with its own entries")
def _(db: Database, world: World) -> None:
    salt, texts = db.payload(decided(db))
    changed = [text[:-4] + b"x" + text[-3:] for text in texts]
    db.set_payload(decided(db), salt, changed)


@lie("a payload left out", "never had the payload of entry")
def _(db: Database, world: World) -> None:
    index = decided(db)
    db.set_payload(index, "", [])
    db.put("meta", b"missing" + LOG + u64(index), u64(1))


@lie("an open approval marked redeemed", "does not agree with its own entries")
def _(db: Database, world: World) -> None:
    last = db.of_approval(world.waiting)[-1]
    message = db.decoded(last)["event"]
    body = message | {"n": message["n"] + 1, "events": [{"type": "redeemed", "by": "gw-1"}]}
    db.append("approval", body, subject=f"approvals.{world.waiting}")
    db.retile(root=True)
    move(db, world.trio["a"])


@lie("an index of approvals without its rows", "does not agree with its own entries")
def _(db: Database, world: World) -> None:
    db.delete("approvals", LOG + world.waiting.encode() + b"\0" + u64(db.of_approval(world.waiting)[0]))


@lie("an event whose key is free again", "does not agree with its own entries")
def _(db: Database, world: World) -> None:
    db.delete("keys", next(key for key, _ in db.rows("keys")))


@lie("a commit record without the seal", "is not one that this server wrote")
def _(db: Database, world: World) -> None:
    db.move(time=db.position["time"] + 1)


@lie("a journal position ahead of the entries", "its journal position was moved")
def _(db: Database, world: World) -> None:
    move(db, world.trio["a"], posted=db.position["posted"] + 1, tail=None)


@lie("a journal position behind the entries", "after the posted journal position")
def _(db: Database, world: World) -> None:
    move(db, world.trio["a"], posted=db.position["posted"] - 2, tail=None)


@lie("another operator key", "another operator key")
def _(db: Database, world: World) -> None:
    db.put("meta", b"operator", sealed(world.trio["a"], "operator", "", b"A" * 43))


@lie("a tenant that is hidden", "the copy has no log of it")
def _(db: Database, world: World) -> None:
    db.delete("meta", b"logacme")


@pytest.mark.parametrize("name", LIES)
def test_p21_a_copy_that_was_changed_is_refused(world: World, tmp_path: Path, name: str) -> None:
    """By whoever has the keys that replicas share, and not those of a majority."""
    words, change = LIES[name]
    # What is ahead of the entries must be a message that the copy has not posted.
    lie = tmp_path / "lie"
    shutil.copytree(world.full, lie)
    if "ahead" in name:
        world.trio.reach(world.trio.post("a") + 1)
    with Database(lie) as db:
        change(db, world)
    with Liar(world.trio["a"].url, lie) as liar:
        refused(world, join(world.joiner, liar.url), words)
        assert any(path.startswith(COPIES) for path in liar.asked)
    shutil.rmtree(lie)


def test_p21_an_older_copy_is_refused(world: World) -> None:
    """An older prefix, with what is shown now; and with what was shown then."""
    with Liar(world.trio["a"].url, world.early) as liar:
        refused(world, join(world.joiner, liar.url), "it is an older one, or entries were left out")
    with Liar(world.trio["a"].url, world.early, {CHECKPOINT: lambda _: world.note.encode()}) as liar:
        refused(world, join(world.joiner, liar.url), "it is behind, or hides entries")
        assert COPIES not in liar.asked, "nothing is copied from a replica that is behind"


def test_p21_what_too_few_have_cosigned_is_refused(world: World) -> None:
    """A checkpoint that the log's key has signed, and one replica; one hash of a tile; one more replica that differs."""
    url = world.trio["a"].url

    def alone(_: bytes) -> bytes:
        lines = world.trio["a"].admin.checkpoint().splitlines(keepends=True)
        cosigned = [line for line in lines if "/replicas/" in line]
        return "".join(line for line in lines if line not in cosigned[1:]).encode()

    with Liar(url, says={CHECKPOINT: alone}) as liar:
        refused(world, join(world.joiner, liar.url), "counts for nothing: 1 replicas of the set 0 have cosigned, and 2 must")
        done = join(world.joiner, url, "--also", liar.url)
        refused(world, done, "counts for nothing")
        assert liar.url in done.err, "it says which replica it is about"
    size = int(world.note.splitlines()[1])
    shown = world.trio["a"].admin.size()
    assert size // 256 == shown // 256, "one tile is enough"
    tile = f"/v1/replicas/logs/acme/tile/0/{size // 256:03}.p/{shown % 256}"
    headers = {"Authorization": f"Bearer {world.trio['a'].operator_key.text}"}
    hashes = httpx.get(url + tile, headers=headers, trust_env=False).raise_for_status().content
    with Liar(url, world.early, {tile: lambda _: hashes[:-1] + bytes([hashes[-1] ^ 1])}) as liar:
        refused(world, join(world.joiner, liar.url), "another tree than the one of size")


def test_p21_another_log_and_other_members_are_refused(world: World, tmp_path: Path) -> None:
    """A configuration that names another log, or other replicas; a list of files that leads out of the folder."""
    joiner, url = world.joiner, world.trio["a"].url
    joiner.settings["public_url"] = "https://other.example.com"
    joiner.write_config()
    done = join(joiner, url)
    assert done.code == 1 and "Correct public_url" in done.err, done
    joiner.settings["public_url"] = "https://log.example.com"
    members = joiner.sections["replica"]["members"]
    made = ["replica", "key", "--config", joiner.config, "--name"]
    others = {name: cli(*made, name, tmp_path / name).ok().out.strip() for name in ("x", "y", "z")}
    joiner.sections["replica"]["members"] = others
    joiner.write_config()
    refused(world, join(joiner, url), "counts for nothing: 0 replicas of the set 0 have cosigned")
    joiner.sections["replica"]["members"] = members
    joiner.write_config()

    def out(_: bytes) -> bytes:
        files = [{"name": "CURRENT", "bytes": 1}, {"name": "../../evil.sst", "bytes": 1}]
        return json.dumps({"copy": "0123456789abcdef", "files": files}).encode()

    with Liar(url, says={COPIES: out}) as liar:
        done = join(joiner, liar.url)
        assert done.code == 1 and "none of a database" in done.err, done
    shutil.rmtree(joiner.root / "data.joining")


def test_p22_an_interrupted_join_is_repeated(world: World) -> None:
    """Killed and cut off in the middle: nothing is in place, the same command goes on where it was, and the machine serves."""
    joiner, trio = world.joiner, world.trio
    key = joiner.key_file(joiner.operator_key)
    with Liar(trio["a"].url) as liar:
        liar.silent_from = 3
        command = [countersign_bin(), "replica", "join", "--config", joiner.config, "--from", liar.url, "--api-key-file", key]
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("it to be cut off", lambda: sum(path.startswith(COPIES + "/") for path in liar.asked) > 3)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        assert not joiner.data_dir.exists()
        first = {path for path in liar.asked if path.startswith(COPIES + "/")}
        liar.silent_from, liar.asked = 10**9, []
        done = join(joiner, liar.url, "--also", trio["b"].url).ok()
        again = {path for path in liar.asked if path.startswith(COPIES + "/") and path.count("/") == 5}
        assert {path.split("/")[4] for path in first} == {path.split("/")[4] for path in again}, "it is the same copy"
        whole = [path for path in first if path in again]
        assert len(whole) <= 1, f"only the file that was cut off is fetched again: {whole}"
    print(done.out)
    assert "is in place" in done.out and not joiner.root.joinpath("data.joining").exists()
    assert not list(trio["a"].backup_dir.glob("join-*")), "the copy is removed there"
    again = join(joiner, trio["a"].url)
    assert again.code == 1 and "is not empty" in again.err, again
    joiner.fsck().ok()
    trio.servers["d"] = joiner
    joiner.start(ready=False)
    until("d to say that it is no member", lambda: trio.listens("d") and "not_a_member" in trio.troubles("d"))
    replica(trio["b"], "replace", "c", "d", world.vkey).ok()
    joiner.wait_ready(120)
    trio.reach(trio.post("d") + 1, "a", "b", "d")
    assert [leaf for _, leaf in joiner.admin.feed()] == [leaf for _, leaf in trio["a"].admin.feed()]
    assert world.waiting in {one["id"] for one in joiner.admin.http.get(f"{joiner.admin.t}/approvals").json()["approvals"]}


def test_p22_a_machine_joins_after_the_journal_was_trimmed(cluster: Cluster, trio: Trio, tmp_path: Path) -> None:
    """What an empty database can't post any more, a machine that joins has from a member; it serves, and signs with the others."""
    indexes = [trio.post("abc"[nth % 3]) for nth in range(12)]
    trio.reach(indexes[-1] + 1)
    trimmed(trio, cluster)
    below = first_of(cluster)
    assert below > 10, below
    server, vkey = beside(trio, "d", "b")
    # The way that there was before: an empty database posts the journal from its beginning, and can't.
    adopted = Server(tmp_path / "adopted", sections=server.sections)
    shutil.copytree(server.keys_dir, adopted.keys_dir)
    adopted.guard_path.parent.mkdir()
    adopted.keys = dict(server.keys)
    adopted.run("init", "--adopt", "--tenant", "acme").ok()
    adopted.start(ready=False)
    until("it to say why it can't", lambda: "trimmed" in adopted.log, 120)
    adopted.__exit__()
    done = join(server, trio["b"].url, "--also", trio["a"].url).ok()
    print(done.out)
    server.start(ready=False)
    until("d to say that it is no member", lambda: trio.listens("d") and "not_a_member" in trio.troubles("d"))
    replica(trio["a"], "replace", "c", "d", vkey).ok()
    trio["c"].kill9()
    trio.servers.pop("c").__exit__()
    server.wait_ready(120)
    size = trio.post("d") + 1
    trio.reach(size)
    assert [leaf for _, leaf in server.admin.feed()] == [leaf for _, leaf in trio["a"].admin.feed()]
    for index in (indexes[0], size - 1):
        assert server.admin.receipt(index)
    server.stop()
    server.fsck().ok()


def fill(trio: Trio, count: int) -> None:
    """So many decisions, in batches, at all three."""
    batches = count // BATCH

    def some(nth: int) -> None:
        client = trio["abc"[nth % 3]].client(trio["a"].keys["publisher"])
        for _ in range(batches // FILLERS):
            client.publish(*(event() for _ in range(BATCH)))

    with ThreadPoolExecutor(FILLERS) as pool:
        list(pool.map(some, range(FILLERS)))


def test_p22_a_million_entries_are_joined(trio: Trio, long: bool) -> None:
    """With `--long` a million, otherwise ten thousand: what it takes until a new machine serves is printed, phase by phase."""
    count = 1_000_000 if long else 10_000
    timed(f"{count} decisions", lambda: fill(trio, count))
    size = trio.post("a") + 1
    trio.reach(size, seconds=600)
    server, _ = beside(trio, "d", "b")
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(join(server, trio["b"].url, "--also", trio["c"].url, seconds=3000).ok().out)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"the join took {used:.1f} s of CPU, {used / size * 1e6:.0f} \u00b5s an entry, at most {after.ru_maxrss >> 10} MiB")
    server.start(ready=False)
    until("d to show it", lambda: trio.listens("d") and server.admin.size() >= size, 600)
    print(f"a machine with {size} entries serves after {time.monotonic() - begun:.1f} s")
    assert server.admin.receipt(size - 1) and server.admin.receipt(0)
