"""P3, P21: journal messages that are lost. Nothing is posted over them before a majority of the replicas has signed that it has no entry
of them; who has one is asked; and what was promised is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit
from rig.broker import STREAM, Peer
from rig.cluster import Cluster
from rig.trio import Eye, Trio

from support import event, until


@pytest.fixture
def stopped(trio: Trio) -> Iterator[Trio]:
    """Three replicas that have shown something, and are stopped."""
    trio.reach(trio.post("a") + 1)
    for server in trio.servers.values():
        server.stop()
    yield trio


def peer(cluster: Cluster) -> Peer:
    """Somebody with all rights at the broker."""
    return Peer(next(iter(cluster.nodes.values())))


def published(cluster: Cluster, count: int, begin: int = 0) -> list[int]:
    """Events that the broker acknowledged: their sequences."""
    with peer(cluster) as nats:
        return [nats.publish(event(id=f"lost-{begin + n}", source="/lost")) for n in range(count)]


def lose(cluster: Cluster, *seqs: int) -> None:
    """NATS loses these messages, everywhere."""
    with peer(cluster) as nats:
        for seq in seqs:
            nats.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": seq})


def start(trio: Trio, *names: str) -> None:
    """These, without waiting."""
    for name in names:
        trio[name].start(ready=False)


def has(trio: Trio, name: str, code: str) -> bool:
    """Whether it says so."""
    return trio.listens(name) and code in trio.troubles(name)


def ids(leaves: list[bytes]) -> list[str]:
    """Ids of the events of these tests that are in a log."""
    found = [json.loads(leaf)["event"].get("id", "") for leaf in leaves]
    return [one for one in found if one.startswith("lost-")]


def gaps(leaves: list[bytes]) -> list[dict[str, Any]]:
    """What the log says of lost messages."""
    entries = [json.loads(leaf) for leaf in leaves]
    return [entry["event"] for entry in entries if entry["kind"] == "journal_gap"]


def same_leaves(trio: Trio, *names: str) -> list[bytes]:
    """P6: their leaves, once all have the same."""
    def look() -> list[bytes] | None:
        each = [audit.leaves(trio[name].admin) for name in names]
        return each[0] if all(one == each[0] for one in each) else None

    return until("the same leaves everywhere", look)


def posted(trio: Trio, name: str) -> int:
    """How many entries it has posted, shown or not."""
    return next(int(one["posted"]) for one in trio.status(name)["members"] if one["name"] == name)


def promises(trio: Trio, name: str) -> list[dict[str, Any]]:
    """What it has promised never to post."""
    path = trio[name].guard_path.with_name(trio[name].guard_path.name + ".promises")
    return json.loads(path.read_text())["promises"] if path.exists() else []


def test_p3_p21_what_is_lost_everywhere_is_a_gap(stopped: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """Two holes, of two messages and of one. Nobody is called: the service goes on, an entry says what is lost and who signed that,
    and all have the same leaves; `verify`, `fsck`, feed and metrics tell it."""
    trio = stopped
    seqs = published(cluster, 6)
    lose(cluster, seqs[1], seqs[2], seqs[4])
    start(trio, "a", "b", "c")
    for server in trio.servers.values():
        server.wait_ready(120)
    eye = Eye(trio)
    eye.start()
    trio.reach(trio.post("b") + 1)
    leaves = same_leaves(trio, "a", "b", "c")
    assert ids(leaves) == ["lost-0", "lost-3", "lost-5"]
    told = gaps(leaves)
    assert [(gap["from"], gap["to"]) for gap in told] == [(seqs[1], seqs[2]), (seqs[4], seqs[4])], told
    for gap in told:
        who = [promise["name"] for promise in gap["agreed"]["promises"]]
        assert len(who) >= 2 and who == sorted(set(who)) and gap["agreed"]["version"] == 0, gap
    page = trio["c"].admin.page(kind="journal_gap")
    assert len(page.entries) == len(told), page
    for name, server in trio.servers.items():
        assert "journal_hole" not in trio.troubles(name)
        metrics = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {server.operator_key.text}"}, timeout=30, trust_env=False)
        assert any("entries_by_kind_total" in line and '"journal_gap"' in line and line.endswith(" 2") for line in metrics.text.splitlines())
    trio.judge(eye.stop(), tmp_path, "a")
    for server in trio.servers.values():
        server.stop()
        server.fsck().ok()


def test_p3_p21_a_hole_at_one_halts_it_and_names_who_has_it(trio: Trio, cluster: Cluster) -> None:
    """The others have posted what this one lacks: it halts and says from whom to begin anew. No gap is made, and they go on."""
    trio["b"].stop()
    trio.reach(trio.post("a") + 1, "a", "c")
    index = trio.post("c")
    trio.reach(trio.post("a") + 1, "a", "c")
    lose(cluster, trio["a"].admin.entry(index)["journal"]["seq"])
    start(trio, "b")
    trio.halted("b", "has posted them")
    words = trio.troubles("b")["log_halted"]
    assert f"(entry {index})" in words and "replica join" in words and "Begin it anew from" in words, words
    assert promises(trio, "b") == [], "it promises nothing that another has posted"
    trio.reach(trio.post("c") + 1, "a", "c")
    assert gaps(same_leaves(trio, "a", "c")) == []
    assert all(server.process is not None for server in trio.servers.values())


def test_p21_a_promise_survives_kill_9_and_the_message_that_comes_back(stopped: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """One replica alone finds the hole, promises, and is killed. NATS is set back to a copy that has the message: this replica never
    posts it. The others never promised: they do, and it says from whom to begin anew."""
    trio = stopped
    seqs = published(cluster, 3)
    for name, node in cluster.nodes.items():
        node.kill9()
        node.copy_store(tmp_path / name)
    cluster.mend()
    lose(cluster, seqs[1])
    start(trio, "a")
    until("a to say what is missing", lambda: has(trio, "a", "journal_hole"), 120)
    words = until("a to have asked", lambda: (w := trio.troubles("a").get("journal_hole", "")) and "1 of 3" in w and w, 120)
    assert f"journal messages {seqs[1]} to {seqs[1]}" in words and "2 must" in words, words
    assert [(one["from"], one["to"]) for one in promises(trio, "a")] == [(seqs[1], seqs[1])]
    trio["a"].kill9()
    for name, node in cluster.nodes.items():
        node.kill9()
        node.restore_store(tmp_path / name)
    cluster.mend()
    with peer(cluster) as nats:
        nats.message(seqs[1])
    start(trio, "a")
    until("a to keep its promise", lambda: has(trio, "a", "journal_hole"), 120)
    start(trio, "b", "c")
    trio.halted("a", "has posted them")
    trio.reach(trio.post("b") + 1, "b", "c")
    leaves = same_leaves(trio, "b", "c")
    assert ids(leaves) == ["lost-0", "lost-1", "lost-2"] and gaps(leaves) == []
    assert posted(trio, "a") < len(leaves), "it was promised"


@pytest.mark.parametrize("is_there", [True, False], ids=["it is there", "it is away"])
def test_p21_who_alone_posted_what_was_lost(is_there: bool, stopped: Trio, cluster: Cluster) -> None:
    """One replica posted it, no majority cosigned it, and NATS lost it. If that replica answers, no gap is made: the others say from
    whom to begin anew. If it does not, the other two sign that they lack it and go on; it learns that it is alone, and halts."""
    trio = stopped
    start(trio, "c")
    size = until("c to say what it has", lambda: trio.listens("c") and posted(trio, "c"), 120)
    seqs = published(cluster, 3)
    until("c to post them", lambda: posted(trio, "c") >= size + len(seqs), 120)
    if not is_there:
        trio["c"].stop()
    lose(cluster, seqs[1])
    start(trio, "a", "b")
    if is_there:
        for name in ("a", "b"):
            trio.halted(name, "The replica c has posted them")
        assert promises(trio, "a") == promises(trio, "b") == []
        return
    trio.reach(trio.post("a", 120) + 1, "a", "b")
    leaves = same_leaves(trio, "a", "b")
    assert ids(leaves) == ["lost-0", "lost-2"] and len(gaps(leaves)) == 1
    start(trio, "c")
    trio.halted("c", "a majority of the replicas has signed")
    trio.reach(trio.post("b") + 1, "a", "b")


def only_c_posts(trio: Trio, cluster: Cluster) -> list[int]:
    """One replica posts three messages, alone, and stops; NATS loses the second one."""
    start(trio, "c")
    size = until("c to say what it has", lambda: trio.listens("c") and posted(trio, "c"), 120)
    seqs = published(cluster, 3)
    until("c to post them", lambda: posted(trio, "c") >= size + len(seqs), 120)
    trio["c"].stop()
    lose(cluster, seqs[1])
    return seqs


def promise_and_die(trio: Trio, name: str) -> None:
    """It meets the hole alone, promises, and is killed."""
    start(trio, name)
    until(f"{name} to promise", lambda: promises(trio, name), 120)
    trio[name].kill9()


def test_p21_what_a_majority_has_promised_is_not_taken_back(stopped: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """Two have promised, one after the other, and no gap was made. Then the third turns out to have posted the message, and says so. No
    majority can cosign what it has: the two make the gap, and it halts."""
    trio = stopped
    seqs = only_c_posts(trio, cluster)
    promise_and_die(trio, "a")
    promise_and_die(trio, "b")
    start(trio, "c")
    until("c to say what it has", lambda: trio.listens("c") and posted(trio, "c"), 120)
    eye = Eye(trio)
    eye.start()
    start(trio, "a")
    words = until("a to have asked c", lambda: trio.listens("a") and (w := trio.troubles("a").get("journal_hole", "")) and "c has posted" in w and w, 120)
    assert "no majority has cosigned that" in words, words
    start(trio, "b")
    trio.reach(trio.post("a", 120) + 1, "a", "b")
    leaves = same_leaves(trio, "a", "b")
    assert ids(leaves) == ["lost-0", "lost-2"]
    assert [(gap["from"], gap["to"]) for gap in gaps(leaves)] == [(seqs[1], seqs[1])]
    trio.halted("c", "a majority of the replicas has signed")
    trio.judge(eye.stop(), tmp_path, "a")


def test_p21_a_promise_binds_whatever_database_is_put_in_place(stopped: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """Who promised gets the database of the one that has posted the message. It cosigns nothing of it: the two are no majority. Once the
    third has that database too, these two are one, and who promised follows them."""
    trio = stopped
    only_c_posts(trio, cluster)
    promise_and_die(trio, "a")
    before = mark_of(trio, "a")
    take_database(trio, "a", "c")
    start(trio, "a", "c")
    eye = Eye(trio)
    eye.start()
    until("nobody to cosign", lambda: any(trio.listens(n) and "has promised never to post" in trio.troubles(n).get("no_quorum", "") for n in "ac"), 120)
    assert mark_of(trio, "a") == before, "it has cosigned what it promised not to have"
    trio["c"].stop()
    take_database(trio, "b", "c")
    start(trio, "b", "c")
    trio.reach(trio.post("b", 120) + 1, "a", "b", "c", seconds=120)
    leaves = same_leaves(trio, "a", "b", "c")
    assert ids(leaves) == ["lost-0", "lost-1", "lost-2"] and gaps(leaves) == []
    assert mark_of(trio, "a") != before, "who follows cosigns again"
    trio.judge(eye.stop(), tmp_path, "a")


def mark_of(trio: Trio, name: str) -> bytes:
    """What it remembers of what it cosigned."""
    return trio[name].guard_path.read_bytes()


def take_database(trio: Trio, name: str, of: str) -> None:
    """A backup of another one is put in place; guard and promises stay."""
    shutil.rmtree(trio[name].data_dir)
    shutil.copytree(trio[of].data_dir, trio[name].data_dir)
