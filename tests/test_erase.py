"""Forget the person, keep the proof (P11); copies and restores (P4)."""

from __future__ import annotations

import base64
import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from support import NatsServer, Server, ServerExited, cli, event, until
from support.faketime import Clock
from support.files import holding


def forms(secret: str) -> list[bytes]:
    """A secret as it may lie on disk: plain, UTF-16, and base64 at each of its three alignments, both alphabets."""
    found = [secret.encode(), secret.encode("utf-16-le")]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret.encode())
        cut = encoded[4:-4]
        found += [cut, cut.replace(b"+", b"-").replace(b"/", b"_")]
    return found


def places(folders: list[Path], secret: str) -> list[str]:
    """Files that hold a form of the secret."""
    return [str(path) for folder in folders for path in holding(folder, *forms(secret))]


def secret(rng: random.Random) -> str:
    return "SECRET" + "".join(rng.choices("abcdefghijkmnopqrstuvwxyz", k=24))


@pytest.fixture
def bare(make_server: Any) -> Server:
    """A server that compresses nothing, so that a search of its files finds what is there."""
    return make_server(compression="none")


def test_p11_after_an_erasure_the_bytes_are_nowhere(bare: Server, rng: random.Random, tmp_path: Path) -> None:
    """Found on disk before; nowhere in the data directory afterwards, the embedded journal and the write-ahead log
    included; every proof made before and after verifies; a repetition is `duplicate`, whatever it says."""
    first, second, other = (secret(rng) for _ in range(3))
    publisher, admin = bare.as_("publisher"), bare.admin
    sent = event(payload={"params": {"name": first}, "prompt": second, "amount": "1"})
    stays = event(payload={"params": other})
    index = publisher.publish(sent)[0]["index"]
    publisher.publish(*(event() for _ in range(50)), stays)
    receipt = tmp_path / "r.tlog-proof"
    receipt.write_text(admin.receipt(index))
    leaf, checkpoint = admin.get(f"/entries/{index}").content, admin.checkpoint()
    assert places([bare.data_dir], first) and places([bare.data_dir], second) and places([bare.data_dir], other)
    bare.restart()
    assert places([bare.data_dir], first), "after a restart too: the search can find it"

    publisher, admin = bare.as_("publisher"), bare.admin
    done = bare.remote("erase", "--tenant", "acme", index).ok()
    assert "complete" in done.out
    for word in (first, second):
        assert not places([bare.data_dir, bare.keys_dir, bare.guard_path.parent], word)
        assert word not in bare.log
    assert places([bare.data_dir], other), "nothing else was erased"
    assert bare.as_("discloser").disclosures(index) == ""
    assert admin.get(f"/entries/{index}").content == leaf
    entry = admin.entries()[-1]
    assert entry["kind"] == "erasure" or admin.entries(kind="erasure")
    assert admin.entries(kind="erasure")[-1]["event"]["index"] == index
    for text in (receipt.read_text(), admin.receipt(index)):
        receipt.write_text(text)
        assert cli("verify", "--key", bare.vkey, receipt).code == 0
    proof = admin.consistency(int(checkpoint.split("\n")[1]), admin.size())
    assert proof
    for again in (sent, sent | {"time": "2020-01-01T00:00:00Z"}):
        assert publisher.publish(again)[0] == {"id": sent["id"], "status": "duplicate", "index": index}
    bare.restart(kill=True)
    assert bare.as_("discloser").disclosures(index) == ""
    assert bare.as_("publisher").publish(event(id=sent["id"], payload={}))[0]["status"] == "duplicate"
    bare.stop()
    bare.fsck().ok()


def test_p11_a_repetition_after_the_erasure_brings_nothing_back(bare: Server, rng: random.Random) -> None:
    """The producer sends the erased event once more: it is `duplicate`, and its bytes do not stay on disk."""
    word = secret(rng)
    sent = event(payload={"params": word})
    index = bare.as_("publisher").publish(sent)[0]["index"]
    bare.admin.erase(index)
    assert not places([bare.data_dir], word)
    assert bare.as_("publisher").publish(sent)[0]["status"] == "duplicate"
    bare.admin.erase(index)
    assert not places([bare.data_dir], word)


def test_p11_repetitions_and_conflicts_before_the_erasure(bare: Server, rng: random.Random) -> None:
    """A repetition left a journal message of its own: it goes with the erasure of the entry. A conflict is an entry of
    its own, with a payload of its own: it is erased by itself."""
    word = secret(rng)
    publisher = bare.as_("publisher")
    sent = event(payload={"params": word})
    index = publisher.publish(sent)[0]["index"]
    for _ in range(3):
        assert publisher.publish(sent)[0]["status"] == "duplicate"
    bare.admin.erase(index)
    assert not places([bare.data_dir], word), "a repetition's journal message is still there"
    other = secret(rng)
    base = event(payload={"params": "x"})
    publisher.publish(base)
    conflict = publisher.publish(base | {"data": base["data"] | {"payload": {"params": other}}})[0]
    assert conflict["status"] == "conflict" and places([bare.data_dir], other)
    bare.admin.erase(conflict["index"])
    assert not places([bare.data_dir], other)


def test_p11_one_field_at_a_time(bare: Server, rng: random.Random, tmp_path: Path) -> None:
    """Erasing one field leaves the others, which still open their digests; the field's name says nothing any more."""
    words = {name: secret(rng) for name in ("params", "prompt", "owner")}
    index = bare.as_("publisher").publish(event(payload=words))[0]["index"]
    receipt, shown = tmp_path / "r.tlog-proof", tmp_path / "r.disclosures"
    receipt.write_text(bare.admin.receipt(index))
    left = set(words)
    for name in ("prompt", "params", "owner"):
        bare.remote("erase", "--tenant", "acme", index, "--field", name).ok()
        left.remove(name)
        text = bare.as_("discloser").disclosures(index)
        assert {json.loads(line)[1] for line in text.splitlines()} == left
        for other, word in words.items():
            # The journal message goes with the first field; the others stay in the payload alone.
            assert bool(places([bare.data_dir], word)) == (other in left)
        shown.write_text(text)
        if left:
            done = cli("verify", "--key", bare.vkey, "--disclosures", shown, "--json", receipt).ok().json()
            assert done["items"][0]["disclosed"] == {n: words[n] for n in left}
    assert len(bare.admin.entry(index)["payload"]) == 3
    bare.stop()
    bare.fsck().ok()


def test_p11_unlisted_members_and_rejected_bytes(bare: Server, rng: random.Random) -> None:
    """What a producer put in the wrong place is payload too; so are the bytes of rejected input and of odd types."""
    words = [secret(rng) for _ in range(4)]
    publisher = bare.as_("publisher")
    results = publisher.publish(
        event(subject=words[0], data={"note": words[1]}), json.dumps(event(payload={"p": words[2]})).replace('"deny"', '"no"').encode(),
        event(type="com.example.x", data={"who": words[3]}),
    )  # fmt: skip
    assert [r["status"] for r in results] == ["posted", "rejected", "posted"]
    for leaf in (bare.admin.get(f"/entries/{r['index']}").text for r in results):
        assert not any(word in leaf for word in words)
    for word in words:
        assert places([bare.data_dir], word)
    for result in results:
        bare.admin.erase(result["index"])
    for word in words:
        assert not places([bare.data_dir], word), word


def test_p11_several_at_once(bare: Server, rng: random.Random) -> None:
    """All of one request go in one pass, each with an entry of its own; if one can't go, none goes."""
    words = [secret(rng) for _ in range(6)]
    results = bare.as_("publisher").publish(*(event(payload={"p": word}) for word in words))
    indexes = [result["index"] for result in results]
    size = bare.admin.size()
    answer = bare.admin.http.post(f"{bare.admin.t}/erasures", json={"indexes": [*indexes, 0]})
    assert answer.status_code == 400 and bare.admin.size() == size
    assert all(places([bare.data_dir], word) for word in words)
    done = bare.admin.erase(indexes[:4])
    assert done["status"] == "complete"
    assert [bare.admin.entry(entry)["event"]["index"] for entry in done["entries"]] == indexes[:4]
    assert [bool(places([bare.data_dir], word)) for word in words] == [False] * 4 + [True] * 2
    told = bare.remote("erase", "--tenant", bare.tenant, "--reason", "request 12", *map(str, indexes[4:])).ok().out
    assert [f"erasure of entry {index} is complete" in told for index in indexes[4:]] == [True, True], told
    assert not any(places([bare.data_dir], word) for word in words)
    bare.stop()
    bare.fsck().ok()


def test_p11_erasures_that_can_not_be(server: Server) -> None:
    admin = server.admin
    index = server.as_("publisher").publish(event())[0]["index"]
    size = admin.size()
    for body, status in [({"indexes": [10**6]}, 404), ({"indexes": [-1]}, 400), ({}, 400), ({"indexes": [index], "all": True}, 400), ({"indexes": ["1"]}, 400),
                         ({"indexes": []}, 400), ({"indexes": [index, index]}, 400), ({"indexes": list(range(101))}, 400), ({"indexes": [index, 0]}, 400),
                         ({"indexes": [index], "fields": "params"}, 400), ([], 400)]:  # fmt: skip
        answer = admin.http.post(f"{admin.t}/erasures", json=body)
        assert answer.status_code == status, (body, answer.text)
    assert admin.size() == size
    for fields in [["params", "not there"], []]:
        answer = admin.http.post(f"{admin.t}/erasures", json={"indexes": [index], "fields": fields})
        assert answer.status_code == 400, "a misspelt field must not look erased"
    assert admin.erase(index, "params")["status"] == "complete"
    assert admin.erase(index, "params")["status"] == "complete", "its name is gone with it: again is harmless"
    assert admin.erase(index)["status"] == "complete"
    assert admin.erase(index)["status"] == "complete", "again is harmless"
    answer = admin.http.post(f"{admin.t}/erasures", json={"indexes": [0]})
    assert answer.status_code == 400 and "no payload" in answer.text, "its journal message is what the log begins with"
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    server.stop()
    server.fsck().ok()


def test_p11_the_deepest_event_can_be_erased(server: Server) -> None:
    """An erasure message holds the whole entry: it is deeper than anything that is taken from outside."""
    deep: Any = 1
    for _ in range(28):
        deep = [deep]
    made = event(payload={"prompt": "x"})
    made["data"]["agent"]["run"] = made["data"]["agent"].get("run", "r")
    made["data"]["more"] = deep
    answer = server.as_("publisher").post_events(json.dumps(made).encode())
    index = answer.json()["results"][0]["index"]
    entry = server.admin.entry(index)
    assert entry["kind"] == "decision", entry
    assert server.admin.erase(index)["status"] == "complete"


def test_p11_erasure_reaches_jetstream(nats: NatsServer, make_server: Any, rng: random.Random) -> None:
    """With JetStream as the journal: neither our directory nor the broker's holds the bytes; then publishing goes on."""
    server = make_server(nats=nats.url, compression="none")
    word, other = secret(rng), secret(rng)
    publisher = server.as_("publisher")
    index = publisher.publish(event(payload={"params": word}))[0]["index"]
    publisher.publish(event(payload={"params": other}))
    assert places([server.data_dir], word) and places([nats.store], word)
    assert server.admin.erase(index)["status"] == "complete"
    assert not places([server.data_dir], word)
    assert not places([nats.store], word)
    assert places([nats.store], other)
    server.restart(kill=True)
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    server.stop()
    server.fsck().ok()


# Copies


def replace_data(server: Server, backup: Path) -> None:
    """What an operator does: the copy takes the place of the database."""
    shutil.rmtree(server.data_dir)
    shutil.copytree(backup, server.data_dir)


def test_p4_backup_and_restore(server: Server, tmp_path: Path) -> None:
    """A copy made while others publish is sound by itself and holds every event answered before it; restored with
    nothing lost it serves on; keys and guard are not in it."""
    publisher = server.as_("publisher")
    results = publisher.publish(*(event() for _ in range(300)))
    stop = threading.Event()

    def publish() -> None:
        client = server.client(publisher.key)
        while not stop.is_set():
            client.publish(event())

    thread = threading.Thread(target=publish)
    thread.start()
    done = server.remote("backup", "one", key=server.operator_key).ok()
    stop.set()
    thread.join()
    copy = server.backup_dir / "one"
    assert str(copy) in done.out
    report = server.run("fsck", "--json", "--data-dir", copy).ok().json()
    assert report["sound"] is True
    assert server.remote("backup", "one", key=server.operator_key).code == 1, "a copy is never overwritten"
    assert server.remote("backup", "../two", key=server.operator_key).code == 1
    assert server.remote("backup", "two", key=server.admin_key).code == 1, "the operator's business"
    held = [path.read_bytes() for path in copy.rglob("*") if path.is_file()]
    keys = [path.read_text().strip().split("+", 4)[-1].encode() for path in (server.keys_dir / "acme").iterdir()]
    assert min(map(len, keys)) >= 40 and not any(key in data for key in keys for data in held)

    server.remote("backup", "three", key=server.operator_key).ok()
    checkpoint = server.admin.checkpoint()
    server.stop()
    replace_data(server, server.backup_dir / "three")
    server.start()
    assert server.admin.size() == int(checkpoint.split("\n")[1])
    entry = server.admin.entry(results[7]["index"])
    assert entry["event"]["id"] == results[7]["id"]
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    old = int(checkpoint.split("\n")[1])
    assert server.admin.consistency(old, server.admin.size())
    server.stop()
    server.fsck().ok()


def test_p4_an_old_copy_does_not_sign_another_history(server: Server) -> None:
    """Restored with events missing that were answered: the guard is ahead, the log must not sign, health is red or the
    server refuses to start, and the message names the way out."""
    publisher = server.as_("publisher")
    publisher.publish(event())
    server.remote("backup", "old", key=server.operator_key).ok()
    publisher.publish(*(event() for _ in range(5)))
    newest = server.admin.checkpoint()
    server.stop()
    replace_data(server, server.backup_dir / "old")
    try:
        server.start()
    except ServerExited as refused:
        assert "guard" in refused.log and ("restore" in refused.log or "recover" in refused.log)
        return
    answer = server.as_("publisher").post_events(json.dumps(event()).encode())
    assert answer.status_code == 503 and answer.json()["code"] == "log_halted", answer.text
    health = server.client(server.operator_key).http.get("/healthz")
    assert health.status_code == 503 and health.json()["status"] == "red"
    reason = health.json()["halted"][0]["reason"]
    assert "guard" in reason or "recover" in reason or "restore" in reason, reason
    assert server.client(None).http.get("/healthz").status_code == 503
    shown = server.admin.get("/logs/1/checkpoint")
    if shown.status_code == 200:
        assert int(shown.text.split("\n")[1]) <= int(newest.split("\n")[1])
    server.stop()


def test_p4_a_backup_that_was_damaged_is_found(server: Server) -> None:
    """A flipped byte in each large file of a copy, the journal's included: fsck does not call it sound."""
    server.as_("publisher").publish(*(event() for _ in range(400)))
    server.remote("backup", "b", key=server.operator_key).ok()
    server.stop()
    copy = server.backup_dir / "b"
    large = sorted(copy.rglob("*.sst"), key=lambda path: -path.stat().st_size)[:3] or sorted(copy.rglob("*.log"))[:1]
    assert large
    for path in large:
        good = path.read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 3] ^= 0x40
        path.write_bytes(bad)
        done = server.run("fsck", "--json", "--replay", "--data-dir", copy)
        assert done.code in (1, 3), (path, done)
        path.write_bytes(good)
    server.run("fsck", "--data-dir", copy).ok()


def test_p3_p11_trimming_is_an_entry_first(make_server: Any, rng: random.Random, tmp_path: Path) -> None:
    """Old journal messages go after an entry says so; nothing of the log goes with them. What is erased afterwards is nowhere."""
    clock = Clock(tmp_path)
    server = make_server("trimmed", journal_retention_days=1, compression="none")
    word = secret(rng)
    old = server.as_("publisher").publish(event(payload={"prompt": word}))[0]["index"]
    published = [server.as_("publisher").publish(event())[0]["index"] for _ in range(5)]
    size = server.admin.size()
    server.stop()
    clock.set(2 * 24 * 3600)
    server.start(env=clock.env)
    until("old messages to be trimmed", lambda: any(entry["kind"] == "trim" for entry in server.admin.entries()), 180)
    trim = next(entry for entry in server.admin.entries() if entry["kind"] == "trim")
    assert trim["event"]["by"] == {"server": "retention"} and size - 1 <= trim["event"]["below"] <= trim["journal"]["seq"], trim
    for index in published:
        assert server.admin.receipt(index=index)
    assert places([server.data_dir], word)
    assert server.admin.erase(old)["status"] == "complete"
    assert not places([server.data_dir], word)
    server.stop()
    report = server.fsck().ok().json()
    assert report["logs"][0]["log"]["journal"]["first"] >= trim["event"]["below"], report["logs"][0]["log"]["journal"]


def test_p11_many_names_and_many_repetitions(server: Server) -> None:
    """Names of fields and repetitions share the room of an entry: too many names at once are refused, and what is erased in parts is
    erased whatever is repeated before and after."""
    names = [f"{number:02}" + "n" * 900 for number in range(50)]
    made = event(payload={name: 1 for name in names})
    publisher = server.as_("publisher")
    index = publisher.publish(made)[0]["index"]
    for _ in range(250):
        assert publisher.publish(made)[0]["status"] == "duplicate"
    answer = server.admin.http.post(f"{server.admin.t}/erasures", json={"indexes": [index], "fields": names})
    assert answer.status_code == 400 and "parts" in answer.text, answer.text
    for part in (names[:15], names[15:30], names[30:45]):
        assert server.admin.erase(index, *part)["status"] == "complete"
    for _ in range(250):
        assert publisher.publish(made)[0]["status"] == "duplicate"
    server.restart(kill=True)
    assert server.admin.erase(index, names[46])["status"] == "complete"
    assert [json.loads(line)[1] for line in server.as_("discloser").disclosures(index).splitlines()] == sorted(set(names) - set(names[:45]) - {names[46]})
    server.stop()
    server.fsck().ok()
    replay = server.fsck("--replay").ok().json()["logs"][0]["replay"]
    assert replay["impossible"] is None and replay["difference"] is None, replay
