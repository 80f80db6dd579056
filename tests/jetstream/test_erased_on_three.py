"""P11, P21: with replicas an erasure is told as complete only when every one of them has said, signed, that it has none of the bytes. One
that is away answers when it is back; one that was removed counts no more; nobody answers for another."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.broker import Peer
from rig.cluster import Cluster
from rig.trio import Trio
from test_erase import places, secret
from test_members import newcomer, replica
from test_replicas import Forger

from support import event, until


@pytest.fixture
def trio(cluster: Cluster, tmp_path: Path) -> Iterator[Trio]:
    """Three replicas that compress nothing, so that a search of their files finds what is there."""
    with Trio(tmp_path / "replicas", cluster.url, compression="none") as trio:
        yield trio.start()


def write(trio: Trio, words: list[str]) -> list[int]:
    """Events with these words, which every replica has on its disk; their indexes."""
    made = [event(payload={"params": word}) for word in words]
    indexes = [one["index"] for one in trio["a"].as_("publisher").publish(*made)]
    trio.reach(max(indexes) + 1)
    for name, server in trio.servers.items():
        assert all(places([server.data_dir], word) for word in words), name
    return indexes


def erasure(trio: Trio, name: str, entry: int) -> dict[str, Any]:
    """How far an erasure is, as that one says."""
    answer = trio[name].admin.http.get(f"{trio[name].admin.t}/erasures/{entry}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def missing(answer: dict[str, Any]) -> dict[str, str]:
    """Who has not said it, and why."""
    return {one["replica"]: one["why"].rpartition(": ")[2] for one in answer.get("missing", [])}


def command(trio: Trio, name: str, *arguments: object) -> Any:
    """`countersign erase`."""
    return trio[name].remote("erase", "--tenant", "acme", *arguments, key=trio[name].admin_key)


def test_p11_p21_an_erasure_is_complete_when_every_replica_says_so(trio: Trio, cluster: Cluster, rng: random.Random) -> None:
    """All there: complete, and the bytes are on none of the three. One away: pending, by name; who answers for it with another key is not
    believed; back again, it removes them and says so, and only then it is complete, whoever is asked."""
    first, second, stays = (secret(rng) for _ in range(3))
    one, two, _ = write(trio, [first, second, stays])
    done = trio["b"].admin.erase(one)
    assert done["status"] == "complete" and "missing" not in done, done
    for name, server in trio.servers.items():
        assert places([server.data_dir], first) == [], name
        assert erasure(trio, name, done["entries"][0]) == {"entry": done["entries"][0], "erased": one, "status": "complete"}
    trio["c"].kill9()
    said = command(trio, "a", "--reason", "A test.", two).ok().out
    assert "is pending" in said and "not yet c: " in said and "it is not there" in said and "countersign erase --status" in said, said
    entry = trio["a"].admin.size() - 1
    assert missing(erasure(trio, "b", entry)) == {"c": "it is not there"}
    asked = command(trio, "b", "--status", entry)
    assert asked.code == 1 and "not yet c" in asked.out, asked.out
    for name in ("a", "b"):
        assert places([trio[name].data_dir], second) == [], name
    assert places([trio["c"].data_dir], second), "it is stopped, and has the bytes"
    # Somebody else in its place, with the key of another replica.
    b = Forger(trio, "b")
    with Peer(next(iter(cluster.nodes.values()))) as peer:

        async def answer(message: Any) -> None:
            about = json.loads(message.data) if message.data.startswith(b"{") else {}
            what = f"{about['erased']['index']} {about['erased']['leaf_hash']}" if "erased" in about else ""
            text = f"countersign-replica-erased/v1\n{trio.origin}\nc\n{what}\n{about.get('nonce')}\n"
            signed = base64.b64encode(b.replica.sign(text.encode())).decode()
            stands = {"process": "0" * 32, "posted": 0, "journal": 0, "cosigned": 0, "shown": 0, "statement": signed}
            await message.respond(json.dumps(stands).encode())

        peer._do(peer.client.subscribe("countersign-replica.acme.c", cb=answer))
        peer._do(peer.client.flush())
        assert missing(erasure(trio, "a", entry)) == {"c": "its answer has a wrong signature"}
    trio["c"].start(ready=False)
    trio["c"].wait_ready(120)
    until("the erasure to be complete", lambda: erasure(trio, "a", entry)["status"] == "complete", 120)
    assert places([trio["c"].data_dir], second) == []
    command(trio, "c", "--status", entry).ok()
    for name, server in trio.servers.items():
        assert places([server.data_dir], stays), name
        assert trio.troubles(name) == {}, name
    assert trio["a"].admin.http.get(f"{trio['a'].admin.t}/erasures/{one}").status_code == 404, "an event is no erasure"
    trio.stop()
    trio.fsck()


def test_p11_p21_who_was_removed_counts_no_more(trio: Trio, rng: random.Random) -> None:
    """c is lost and has the bytes, d was begun from a backup that has them too: pending for c, then for nobody, once d is in its place and
    has removed them. A hold keeps them on all three, and says so."""
    word, held = secret(rng), secret(rng)
    index, other = write(trio, [word, held])
    vkey = newcomer(trio, "d", "b")
    assert places([trio["d"].data_dir], word)
    trio["c"].kill9()
    done = trio["a"].admin.erase(index)
    assert done["status"] == "pending" and set(missing(done)) == {"c"}, done
    (entry,) = done["entries"]
    lost = trio.servers.pop("c")
    trio["d"].start(ready=False)
    until("d to say that it is no member", lambda: trio.listens("d") and "not_a_member" in trio.troubles("d"))
    replica(trio["a"], "replace", "c", "d", vkey).ok()
    trio["d"].wait_ready(120)
    until("the erasure to be complete", lambda: erasure(trio, "b", entry)["status"] == "complete", 120)
    for name, server in trio.servers.items():
        assert places([server.data_dir], word) == [], name
    trio["d"].kill9()
    (entry,) = trio["a"].admin.erase(other)["entries"]
    assert set(missing(erasure(trio, "a", entry))) == {"d"}
    trio["a"].remote("tenant hold", "--tenant", "acme", "--reason", "A letter.", "case-1", key=trio["a"].admin_key).ok()
    trio["d"].start(ready=False)
    trio["d"].wait_ready(120)
    until("d to say why", lambda: missing(erasure(trio, "a", entry)) == {"d": "a legal hold keeps the bytes"}, 120)
    assert places([trio["d"].data_dir], held)
    trio["b"].remote("tenant release", "--tenant", "acme", "--reason", "Over.", "case-1", key=trio["b"].admin_key).ok()
    until("the erasure to be complete", lambda: erasure(trio, "b", entry)["status"] == "complete", 120)
    assert places([trio["d"].data_dir], held) == []
    lost.__exit__()
