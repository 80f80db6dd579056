"""P4: one history. Whatever happens to the broker, the log never forks and is never repaired in silence."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit
from rig.broker import STREAM, Journey
from rig.load import Ledger

from support import Server, event, until


def events(first: int, count: int, source: str = "/p4") -> list[dict[str, Any]]:
    """Numbered events of one source."""
    return [event(id=f"{source[1:]}-{n:04}", source=source, sequence=str(n)) for n in range(first, first + count)]


def publish(journey: Journey, told: Ledger, sent: list[dict[str, Any]]) -> None:
    """Publishes by HTTP and remembers the answer."""
    client = journey.server.as_("publisher")
    answer = client.post_events(json.dumps(sent).encode(), "application/cloudevents-batch+json", receipts=True)
    assert answer.status_code == 200, answer.text
    told.take(sent[0]["source"], sent, answer.json())


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return httpx.get(f"{server.url}/healthz", headers=headers, timeout=20, trust_env=False).json()


def copy_of_broker(journey: Journey, to: Path) -> None:
    """An orderly copy of the broker's store; it runs again afterwards."""
    journey.nats.stop()
    journey.nats.copy_store(to)
    journey.nats.start()
    until("the journal to be back", lambda: health(journey.server)["journal_connected"])


def halts(journey: Journey, told: Ledger, *words: str) -> str:
    """The log halts: it signs nothing, says so, and names the way out; what is published stays readable. A restart
    changes nothing of that. Returns the reason."""
    server = journey.server
    until("the log to halt", lambda: halted_now(server))
    for again in (False, True):
        if again:
            server.kill9()
            server.start(ready=False)
            until("the log to halt again", lambda: halted_now(server))
        found = health(server)
        assert found["status"] == "red"
        reason = found["halted"][0]["reason"]
        assert all(word in reason for word in words), reason
        before = server.admin.checkpoint()
        answer = server.as_("publisher").post_events(json.dumps(event()).encode())
        assert (answer.status_code, answer.json()["code"]) == (503, "log_halted"), answer.text
        # Its reason is for the operator: a tenant's client learns no more than it must.
        assert "recover" not in answer.text
        entries = audit.leaves(server.admin)
        audit.one_history(server.admin, server.vkey, told.checkpoints, audit.tree_of(entries))
        audit.nothing_lost_nothing_twice(entries, told)
        assert server.admin.checkpoint() == before
    return reason


def halted_now(server: Server) -> bool:
    """Whether the one log is halted; `False` while the server starts."""
    try:
        return health(server)["halted_logs"] == 1
    except httpx.TransportError:
        return False


def recover(journey: Journey) -> str:
    """`countersign recover --accept-journal-loss` on the stopped server."""
    journey.server.stop()
    return journey.server.run("recover", "--tenant", "acme", "--accept-journal-loss").ok().out


def works_again(journey: Journey, told: Ledger, epoch: int, tmp_path: Path) -> dict[str, Any]:
    """After `recover`: the entry says what is missing; old receipts hold; new events, keys and erasures work; sound.

    Returns the entry."""
    server = journey.server
    server.start()
    assert health(server)["status"] == "green", health(server)
    number = 1000 * epoch
    publish(journey, told, events(number, 3))
    with journey.peer("acme-gw-1") as producer:
        producer.publish(events(number + 3, 1)[0])
    publish(journey, told, events(number + 3, 1))
    # Signed messages too: the subjects have a past in the old epoch.
    server.add_key(["auditor"])
    assert server.admin.erase(told.index["/p4", f"p4-{number:04}"])["status"] == "complete"
    server.restart(kill=True)
    publish(journey, told, events(number + 4, 2))
    assert health(server)["status"] == "green", health(server)
    entries = audit.leaves(server.admin)
    decoded = [json.loads(leaf) for leaf in entries]
    opened = [entry for entry in decoded if entry["kind"] == "journal"]
    assert [entry["event"]["epoch"] for entry in opened] == list(range(2, epoch + 1)), opened
    assert decoded[-1]["journal"]["epoch"] == epoch
    assert not [entry for entry in decoded if entry["kind"] == "rejected"]
    audit.everything(server, told, tmp_path / f"receipts-{epoch}")
    return opened[-1]


# The broker is another one, or has lost something


def restored_older_copy(journey: Journey, told: Ledger, tmp_path: Path, number: int = 6) -> None:
    """Same numbers, other content: the broker goes back to a copy, and somebody publishes to it."""
    copy = tmp_path / f"copy-{number}"
    copy_of_broker(journey, copy)
    publish(journey, told, events(number, 10))
    journey.server.stop()
    with journey.peer() as peer:
        last = peer.last()
    journey.nats.stop()
    journey.nats.restore_store(copy)
    journey.nats.start()
    with journey.peer("acme-gw-1") as producer:
        for n in range(number + 500, number + 600):
            if producer.publish(events(n, 1, "/other")[0]) > last + 2:
                break
    journey.server.start(ready=False)


def test_p4_broker_restored_from_an_older_copy(journey: Journey, tmp_path: Path) -> None:
    """…and then published to: halts, and `recover` begins epoch 2 with what the new past holds."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    restored_older_copy(journey, told, tmp_path)
    halts(journey, told, "is not the one that was posted", "restored from an older copy", "recover --accept-journal-loss")
    out = recover(journey)
    assert "journal epoch 2" in out
    opened = works_again(journey, told, 2, tmp_path)
    # Genesis, two access entries, five events: sequence 8 is the last that both pasts share.
    posted = max(json.loads(leaf)["journal"]["seq"] for leaf in told_entries(told))
    assert opened["event"]["previous_posted"] == posted
    assert opened["event"]["from"] == opened_from(journey, opened)


def told_entries(told: Ledger) -> list[bytes]:
    """The entries of the receipts of epoch 1."""
    entries = [base64.b64decode(text.split("\n")[1].removeprefix("extra ")) for text in told.receipts]
    return [entry for entry in entries if json.loads(entry)["journal"]["epoch"] == 1]


def opened_from(journey: Journey, opened: dict[str, Any]) -> int:
    """The first sequence of the journal whose message is of the new past."""
    with journey.peer() as peer:
        state = peer.stream()["state"]
        for seq in range(state["first_seq"], state["last_seq"] + 1):
            try:
                data = peer.message(seq)["data"]
            except AssertionError:
                continue
            if b'"/other"' in base64.b64decode(data):
                return seq
    raise AssertionError("no message of the new past")


def test_p4_broker_restored_twice(journey: Journey, tmp_path: Path) -> None:
    """The same disaster again, on the same stream: epoch 3."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    restored_older_copy(journey, told, tmp_path)
    halts(journey, told, "recover --accept-journal-loss")
    recover(journey)
    works_again(journey, told, 2, tmp_path)
    journey.server.start()
    restored_older_copy(journey, told, tmp_path, 3000)
    halts(journey, told, "recover --accept-journal-loss")
    recover(journey)
    works_again(journey, told, 3, tmp_path)


def test_p4_broker_lost_its_tail(journey: Journey, tmp_path: Path) -> None:
    """The broker comes back without its newest messages, while the server runs."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    copy_of_broker(journey, tmp_path / "copy")
    publish(journey, told, events(6, 10))
    journey.nats.kill9()
    journey.nats.restore_store(tmp_path / "copy")
    journey.nats.start()
    halts(journey, told, "the broker lost its newest messages", "recover --accept-journal-loss")
    recover(journey)
    opened = works_again(journey, told, 2, tmp_path)
    assert opened["event"]["journal"] == opened["event"]["previous_journal"]


def recreate(journey: Journey) -> None:
    """Deletes the stream and makes it again with the same settings."""
    with journey.peer() as peer:
        config = peer.stream()["config"]
        peer.api(f"STREAM.DELETE.{STREAM}")
        peer.api(f"STREAM.CREATE.{STREAM}", config)


def test_p4_stream_made_again(journey: Journey, tmp_path: Path) -> None:
    """Deleted and made again while the server runs, and published to."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    recreate(journey)
    with journey.peer("acme-gw-1") as producer:
        for n in range(20):
            producer.publish(events(600 + n, 1, "/other")[0])
    halts(journey, told, "made a", "recover")
    recover(journey)
    opened = works_again(journey, told, 2, tmp_path)
    assert opened["event"]["from"] == 1 and opened["event"]["journal"] != opened["event"]["previous_journal"]


def test_p4_stream_deleted(journey: Journey, tmp_path: Path) -> None:
    """Deleted for good: the log halts, and the way out that the message names works."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    with journey.peer() as peer:
        peer.api(f"STREAM.DELETE.{STREAM}")
    until("the log to halt", lambda: health(journey.server)["halted_logs"] == 1)
    reason = health(journey.server)["halted"][0]["reason"]
    recover(journey)
    works_again(journey, told, 2, tmp_path)
    assert "recover" in reason, reason


def test_p4_recover_refuses_a_sound_journal(journey: Journey, tmp_path: Path) -> None:
    """There is nothing to accept: nothing is written."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    journey.server.stop()
    done = journey.server.run("recover", "--tenant", "acme", "--accept-journal-loss")
    assert done.code != 0 and "nothing to recover" in done.err
    journey.server.start()
    audit.everything(journey.server, told, tmp_path / "receipts")


# The database is an older one


def test_p4_restored_backup_posts_up_to_the_guard_and_signs_again(journey: Journey, tmp_path: Path) -> None:
    """An old database and a whole journal: it replays to the guard's size, finds the same root, and goes on."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    journey.server.stop()
    shutil.copytree(journey.server.data_dir, tmp_path / "backup")
    journey.server.start()
    for n in range(6, 40):
        publish(journey, told, events(n, 1))
    newest = journey.server.admin.checkpoint()
    journey.server.stop()
    shutil.rmtree(journey.server.data_dir)
    shutil.copytree(tmp_path / "backup", journey.server.data_dir)
    journey.server.start()
    until("the log to catch up", lambda: journey.server.admin.size() >= int(newest.split("\n")[1]))
    told.checkpoints.add(newest)
    publish(journey, told, events(40, 2))
    assert health(journey.server)["status"] == "green"
    audit.everything(journey.server, told, tmp_path / "receipts")


def older_database(journey: Journey, told: Ledger, tmp_path: Path) -> int:
    """Ends with an older database and a stopped server; returns the sequence it is posted to."""
    publish(journey, told, events(1, 5))
    journey.server.stop()
    shutil.copytree(journey.server.data_dir, tmp_path / "backup")
    with journey.peer() as peer:
        last = peer.last()
    journey.server.start()
    for n in range(6, 20):
        publish(journey, told, events(n, 1))
    journey.server.stop()
    shutil.rmtree(journey.server.data_dir)
    shutil.copytree(tmp_path / "backup", journey.server.data_dir)
    return last


@pytest.mark.parametrize("what", ["one message", "the beginning", "everything"])
def test_p4_restored_backup_refuses_a_journal_that_was_trimmed(what: str, journey: Journey, tmp_path: Path) -> None:
    """Between the backup and the guard messages are gone: it must not sign, and must say so, not wait for ever."""
    told = Ledger()
    posted = older_database(journey, told, tmp_path)
    with journey.peer() as peer:
        if what == "one message":
            peer.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": posted + 3})
        else:
            peer.api(f"STREAM.PURGE.{STREAM}", {"seq": posted + 4} if what == "the beginning" else {})
    journey.server.start(ready=False)
    server = journey.server
    until("the log to halt", lambda: halted_now(server))
    reason = health(server)["halted"][0]["reason"]
    assert "backup" in reason and "must not sign" in reason, reason
    answer = server.as_("publisher").post_events(json.dumps(event()).encode())
    assert (answer.status_code, answer.json()["code"]) == (503, "log_halted"), answer.text
    # Nothing beyond the backup was signed.
    assert server.admin.size() <= posted
    for note in told.checkpoints:
        if int(note.split("\n")[1]) == server.admin.size():
            assert note.split("\n")[:3] == server.admin.checkpoint().split("\n")[:3]
    # `recover` would fork here: it refuses.
    server.stop()
    done = server.run("recover", "--tenant", "acme", "--accept-journal-loss")
    assert done.code != 0, done
    assert server.run("recover", "--tenant", "acme", "--new-guard").code != 0


@pytest.mark.parametrize("journal", ["whole", "changed"])
def test_p4_adopting_with_the_guard_of_what_was_signed(journal: str, journey: Journey, tmp_path: Path) -> None:
    """The database is lost, and the journal is posted again by `init --adopt` while the guard knows what was signed: sizes
    up to the guard's must not be signed with another root, and the guard never goes back."""
    server, told = journey.server, Ledger()
    for n in range(1, 20):
        publish(journey, told, events(n, 1))
    server.stop()
    shutil.rmtree(server.data_dir)
    with journey.peer() as peer:
        last = peer.last()
        if journal == "changed":
            peer.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": last - 5})
    done = server.run("init", "--tenant", "acme", "--adopt")
    if journal == "changed" and done.code != 0:
        assert "guard" in done.err or "signed" in done.err, done.err
        return
    assert done.code == 0, done
    server.start(ready=False)
    if journal == "changed":
        until("the log to halt", lambda: halted_now(server))
        assert server.log.count("must not sign") or server.log.count("signed before")
        server.stop()
        # What clients hold is still what the guard knows: nothing else was signed meanwhile.
        sizes = {int(note.split("\n")[1]): note.split("\n")[2] for note in told.checkpoints}
        checkpoint = newest_stored(server)
        if checkpoint:
            size, root = int(checkpoint.split("\n")[1]), checkpoint.split("\n")[2]
            assert sizes.get(size, root) == root, "forked"
        return
    until("the log to be posted again", lambda: size_of(server) >= max(int(n.split("\n")[1]) for n in told.checkpoints))
    publish(journey, told, events(20, 2))
    audit.everything(server, told, tmp_path / "receipts")


def size_of(server: Server) -> int:
    """The published size; 0 while there is none."""
    try:
        answer = server.admin.get("/logs/1/checkpoint")
    except httpx.TransportError:
        return 0
    return int(answer.text.split("\n")[1]) if answer.status_code == 200 else 0


def newest_stored(server: Server) -> str:
    """The checkpoint a halted server still shows."""
    server.start(ready=False)
    until("an answer", lambda: answers(server))
    answer = server.admin.get("/logs/1/checkpoint")
    server.kill9()
    return answer.text if answer.status_code == 200 else ""


def answers(server: Server) -> bool:
    """Whether it serves at all."""
    try:
        return httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).status_code in (200, 503)
    except httpx.TransportError:
        return False


# While it runs


@pytest.mark.parametrize("what", ["restored", "made again"])
@pytest.mark.parametrize("batch", [1, 7])
def test_p1_p4_no_answer_from_another_past(what: str, batch: int, journey: Journey, tmp_path: Path) -> None:
    """While clients publish, the broker comes back with an older copy of its store, or the stream is made again: it gives
    numbers again that were posted before. No event may be answered with the entry of the event that had its number."""
    told = Ledger()
    publish(journey, told, events(1, 5))
    copy_of_broker(journey, tmp_path / "old")
    for n in range(6, 66):
        publish(journey, told, events(n, 1))
    answers: list[tuple[list[dict[str, Any]], httpx.Response]] = []
    stop = threading.Event()
    key = journey.server.as_("publisher").key

    def hammer(nth: int) -> None:
        headers = {"Authorization": f"Bearer {key.text}", "Content-Type": "application/cloudevents-batch+json"}
        with httpx.Client(timeout=40, trust_env=False, headers=headers) as http:
            number = 0
            while not stop.is_set():
                number += batch
                sent = [event(id=f"h{nth}-{number + n}", source=f"/hammer/{nth}") for n in range(batch)]
                url = f"{journey.server.url}/v1/tenants/acme/events?receipts=full"
                answers.append((sent, http.post(url, content=json.dumps(sent).encode())))

    threads = [threading.Thread(target=hammer, args=(nth,), daemon=True) for nth in range(4)]
    if what == "restored":
        journey.nats.kill9()
        journey.nats.restore_store(tmp_path / "old")
    for thread in threads:
        thread.start()
    if what == "restored":
        journey.nats.start()
    else:
        until("some answers", lambda: len(answers) > 20)
        recreate(journey)
    until("the log to halt", lambda: health(journey.server)["halted_logs"] == 1)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    entries = audit.leaves(journey.server.admin)
    wrong = []
    for sent, answer in answers:
        if answer.status_code == 200:
            for one, result in zip(sent, answer.json()["results"], strict=True):
                entry = json.loads(entries[result["index"]])
                if entry["event"].get("id") != one["id"]:
                    wrong.append((one["id"], result["status"], result["index"]))
        else:
            assert answer.status_code == 503, answer.text
    statuses = [answer.status_code for _, answer in answers]
    print(what, batch, {status: statuses.count(status) for status in set(statuses)})
    assert not wrong, f"{len(wrong)} events were acknowledged with another event's entry: {wrong[:3]}"
    # Not even as a repetition: whatever was refused is posted after `recover`.
    audit.one_history(journey.server.admin, journey.server.vkey, told.checkpoints, audit.tree_of(entries))
    recover(journey)
    works_again(journey, told, 2, tmp_path)
