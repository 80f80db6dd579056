"""P21: with replicas a key that all need switches only when every one of them has said that it has the file. The log key rotates while
events are posted; a member that lacks the file is named, and nothing is switched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.cluster import Cluster
from rig.trio import Eye, Trio, cosigned_by, keys_document

from support import cli, until
from test_any_one_may_die import Balancer, Load


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """Three replicas that run, on three nats-servers."""
    with Cluster(tmp_path / "nats") as cluster, Trio(tmp_path / "replicas", cluster.url) as trio:
        yield trio.start()


def make(trio: Trio, usage: str) -> Path:
    """`key make` at a; the file."""
    done = cli("key", "make", "--config", trio["a"].config, "--tenant", "acme", "--use", usage).ok()
    return Path(done.out.splitlines()[1])


def give(trio: Trio, file: Path, name: str) -> None:
    """The operator copies it."""
    shutil.copy2(file, trio[name].keys_dir / "acme" / file.name)


def rotate(trio: Trio, usage: str, name: str = "b") -> Any:
    """`key rotate` at one of them."""
    return trio[name].remote("key rotate", "--tenant", "acme", "--use", usage, "--overlap", 0, key=trio[name].admin_key)


def test_p21_the_log_key_rotates_while_events_are_posted(trio: Trio, tmp_path: Path) -> None:
    """No file, then a file on two of three, then one that is away: refused each time, with who lacks it. Then it switches; receipts from
    before and after verify by the keys document and the first policy."""
    eye = Eye(trio)
    eye.start()
    first = trio.post("a")
    with Load(Balancer(trio)) as load:
        until("load", lambda: len(load.told) > 10)
        assert "There is no file of a next log key" in rotate(trio, "log").err
        file = make(trio, "log")
        give(trio, file, "b")
        refused = rotate(trio, "log")
        assert refused.code == 1 and "c: it has no file of the key" in refused.err and "Nothing was switched" in refused.err, refused.err
        trio["c"].kill9()
        give(trio, file, "c")
        refused = rotate(trio, "log")
        assert refused.code == 1 and "it is not there" in refused.err, refused.err
        assert trio["a"].admin.entries(kind="key") == []
        trio["c"].start(ready=False)
        trio["c"].wait_ready(120)
        before = len(load.told)
        until("work before the switch", lambda: len(load.told) > before + 10)
        rotate(trio, "log").ok()
        before = len(load.told)
        until("work after the switch", lambda: len(load.told) > before + 20)
    last = load.told[-1][1]
    trio.reach(last + 1)
    seen = eye.stop()
    (entry,) = [(index, e) for index, e in enumerate(trio["a"].admin.entries()) if e["kind"] == "key"]
    new = entry[1]["event"]["vkey"]
    assert all(len(cosigned_by(note, trio.vkeys)) >= 2 for note in seen)
    for name in trio.servers:
        assert trio.troubles(name) == {}, name
        (keys := tmp_path / f"{name}.json").write_text(json.dumps(keys_document(trio[name])))
        for index in (first, last):
            (path := tmp_path / "one.tlog-proof").write_text(trio[name].admin.receipt(index))
            cli("verify", "--key", trio.vkey, "--keys", keys, "--policy", trio.policy, path).ok()
        assert cli("verify", "--key", trio.vkey, path).code == 1, "the old key alone does not sign any more"
        cli("verify", "--key", new, path).ok()
    trio.stop()
    trio.fsck()


def test_p21_other_keys_switch_when_all_have_them(trio: Trio) -> None:
    """The token key, and the first key of tokens of agents. Each replica serves the same keys."""
    for usage in ("token", "agent"):
        file = make(trio, usage)
        for name in ("b", "c"):
            give(trio, file, name)
        rotate(trio, usage).ok()
    trio.reach(trio.post("c") + 1)
    kinds = [entry["event"]["use"] for entry in trio["c"].admin.entries(kind="key")]
    assert kinds == ["token", "agent"]
    for name in trio.servers:
        assert trio.troubles(name) == {}, name


def test_p21_the_journal_key_rotates_while_messages_are_signed(trio: Trio) -> None:
    """Each replica writes signed messages all the time. The new key counts beside the old one until all show it, then alone: no message
    is rejected. One that is away in between is named, and a repetition ends the rotation."""
    ended, failed, issued = threading.Event(), list[str](), list[str]()

    def write(name: str) -> None:
        while not ended.is_set():
            try:
                issued.append(trio[name].add_key(["exporter"]).id)
            except Exception as error:  # noqa: BLE001  told at the end
                failed.append(f"{name}: {error!r}")
                return

    assert "There is no file of a next journal key" in rotate(trio, "journal").err
    file = make(trio, "journal")
    give(trio, file, "b")
    refused = rotate(trio, "journal")
    assert refused.code == 1 and "c: it has no file of the key" in refused.err, refused.err
    give(trio, file, "c")
    writers = [threading.Thread(target=write, args=(name,)) for name in trio.servers]
    for writer in writers:
        writer.start()
    until("messages before the switch", lambda: len(issued) > 10)
    done = rotate(trio, "journal").ok()
    assert "not yet" not in done.out, done.out
    before = len(issued)
    until("messages after the switch", lambda: len(issued) > before + 10)
    ended.set()
    for writer in writers:
        writer.join()
    assert failed == []
    admin = trio["a"].admin
    until("all to be shown", lambda: {e["event"]["key_id"] for e in admin.entries(kind="access")} >= set(issued))
    assert admin.entries(kind="rejected") == []
    first, second = (entry["event"] for entry in admin.entries(kind="key"))
    assert first["beside"] is True and "beside" not in second and first["vkey"] == second["vkey"]
    # One that stops when the first entry is there: the old key stays until it is back.
    file = make(trio, "journal")
    for name in ("b", "c"):
        give(trio, file, name)
    with ThreadPoolExecutor() as pool:
        switching = pool.submit(rotate, trio, "journal")
        until("the first entry", lambda: len(admin.entries(kind="key")) == 3)
        os.kill(trio["c"].process.pid, signal.SIGSTOP)
        said = switching.result().ok().out
    os.kill(trio["c"].process.pid, signal.SIGCONT)
    if len(admin.entries(kind="key")) == 3:
        assert "not yet c" in said, said
        rotate(trio, "journal").ok()
    until("the second entry", lambda: len(admin.entries(kind="key")) == 4)
    assert ["beside" in entry["event"] for entry in admin.entries(kind="key")] == [True, False, True, False]
    trio.reach(trio.post("c") + 1)
    for name in trio.servers:
        until(f"{name} to be well", lambda name=name: trio.troubles(name) == {})
    trio.stop()
    trio.fsck()
