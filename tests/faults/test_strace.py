"""P1: nothing leaves before both fsyncs, whatever fails at whatever step of a commit."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit, trace
from rig.load import Ledger, Load
from rig.shim import Shim

from support import Server, ServerExited, event, until

EXIT_WRITE_FAILED = 74


def attempt(server: Server, key: Any, *events: dict[str, Any]) -> dict[str, Any] | None:
    """Publishes once, on a connection of its own; the answer if it was 200, `None` if there was none at all."""
    with httpx.Client(timeout=20.0, trust_env=False, headers={"Authorization": f"Bearer {key.text}"}) as http:
        try:
            answer = http.post(
                f"{server.url}/v1/tenants/acme/events?receipts=full", json=list(events),
                headers={"Content-Type": "application/cloudevents-batch+json"},
            )
        except httpx.TransportError:
            return None
    # An answer other than 200 would say that nothing was written, while that is not known.
    assert answer.status_code == 200, answer.text
    return answer.json()


def remember(told: Ledger, events: list[dict[str, Any]], answer: dict[str, Any] | None) -> None:
    """Notes an answer, if there was one."""
    if answer is not None:
        told.take(events[0]["source"], events, answer)


def end_traced(server: Server) -> None:
    """SIGTERM to the server alone; strace, its parent, passes on the exit status."""
    assert server.process is not None
    pid = server.process.pid
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGTERM)
    assert server.wait_exit() == 0


def numbered(first: int, count: int) -> list[dict[str, Any]]:
    """Events of one source, in sequence."""
    return [event(id=f"x{n}", source="/x", sequence=str(n)) for n in range(first, first + count)]


# (a) the order of a healthy server


def test_p1_no_answer_leaves_before_both_fdatasyncs(
    make_server: Callable[..., Server], rng: random.Random, tmp_path: Path
) -> None:
    """The trace of a server under load shows log, sync, guard, sync, answer for every event; and the check can fail."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    server.stop()
    told, to = Ledger(), tmp_path / "trace"
    server.start(prefix=trace.tracing(to), seconds=60)
    with Load(server, key, 4, rng, batch_max=8) as load:
        load.ledger.wait_for(150)
        told = load.finish()
    end_traced(server)
    calls = trace.read(to)
    check_order(calls, server, told)
    # Each of the four steps is needed: without it, or with an answer before it, the same check fails.
    guard = str(server.guard_path)
    for missing in (
        lambda c: c.name == "fdatasync" and c.file.endswith(".log"),
        lambda c: c.name == "fdatasync" and c.file == guard,
        lambda c: c.name == "pwrite64" and c.file == guard,
        lambda c: c.name == "write" and c.file.endswith(".log"),
    ):
        with pytest.raises(trace.Order):
            check_order([c for c in calls if not missing(c)], server, told)
    failed = [c if c.file != guard or c.name != "fdatasync" else trace.Call(c.thread, c.name, c.arguments, c.begun, c.ended, -1)
              for c in calls]
    with pytest.raises(trace.Order):
        check_order(failed, server, told)
    early = [trace.Call(c.thread, c.name, c.arguments, 0, 0, c.result) if c.on_socket else c for c in calls]
    with pytest.raises(trace.Order):
        check_order(early, server, told)
    server.fsck().ok()


def check_order(calls: list[trace.Call], server: Server, told: Ledger) -> None:
    """The order, for every event."""
    trace.answers_after_syncs(calls, [id_ for _, id_ in told.index], server.data_dir, server.guard_path)


# Nothing shows while it is not safe


@pytest.mark.parametrize("what", ["write-ahead log", "guard"])
def test_p1_nothing_shows_while_an_fdatasync_is_under_way(
    what: str, make_server: Callable[..., Server], make_shim: Callable[[], Shim]
) -> None:
    """While the disk takes its time: no answer, no checkpoint, no entry, no receipt; afterwards all of them."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    server.stop()
    shim = make_shim()
    server.start(env=shim.env)
    before, size = server.admin.checkpoint(), server.admin.size()
    call, path, suffix = STEPS["log fdatasync" if what == "write-ahead log" else "guard fdatasync"]
    shim.arm(call, "stalls", path=path, suffix=suffix)
    told, sent = Ledger(), numbered(1, 3)
    publisher = threading.Thread(target=lambda: remember(told, sent, attempt(server, key, *sent)), daemon=True)
    publisher.start()
    shim.wait_struck()
    for _ in range(20):
        assert server.admin.checkpoint() == before
        assert len(list(server.admin.feed())) == size
    # What is ahead of this server is waited for, then 503; it is never there before the fsync.
    assert server.admin.get("/receipts", index=size).status_code in (404, 503)
    assert publisher.is_alive() and not told.index
    shim.disarm()
    publisher.join(20)
    assert sorted(told.index.values()) == [size, size + 1, size + 2]
    assert server.admin.size() == size + 3
    server.stop()
    server.fsck().ok()


# (b) EIO by strace


def prepared(server: Server) -> tuple[Any, Ledger]:
    """A running server with a publisher's key and some acknowledged events."""
    key, told = server.add_key(["publisher"], "gw-1"), Ledger()
    sent = numbered(1, 5)
    remember(told, sent, attempt(server, key, *sent))
    assert len(told.index) == 5
    return key, told


def settle(server: Server, key: Any, told: Ledger, sent: list[dict[str, Any]], tmp_path: Path) -> list[str]:
    """Starts again without faults and audits: all of `sent` or nothing of it is there, repeating it works, and all
    checkpoints are of one history. Returns the statuses of the repetition."""
    server.start()
    assert httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).status_code == 200
    told.checkpoints.add(server.admin.checkpoint())
    ids = {json.loads(leaf)["event"].get("id") for leaf in audit.leaves(server.admin)}
    there = [one["id"] in ids for one in sent]
    assert all(there) or not any(there), "a commit was torn"
    repeated = attempt(server, key, *sent)
    assert repeated is not None
    remember(told, sent, repeated)
    statuses = [result["status"] for result in repeated["results"]]
    assert statuses == (["duplicate"] if all(there) else ["posted"]) * len(sent)
    more = numbered(900, 2)
    remember(told, more, attempt(server, key, *more))
    assert not told.wrong
    audit.everything(server, told, tmp_path / "receipts")
    return statuses


@pytest.mark.parametrize(("nth", "what"), [(1, "write-ahead log"), (2, "guard")])
def test_p1_eio_in_each_fdatasync_of_a_commit(
    nth: int, what: str, make_server: Callable[..., Server], tmp_path: Path
) -> None:
    """EIO into the n-th fdatasync and all after it: exit status 74, nothing acknowledged, nothing forked."""
    server = make_server()
    key, told = prepared(server)
    attached = trace.Attached(server, f"fdatasync:error=EIO:when={nth}+", "fdatasync", tmp_path / "trace")
    sent = numbered(6, 3)
    answer = attempt(server, key, *sent)
    assert server.wait_exit() == EXIT_WRITE_FAILED
    attached.end()
    assert answer is None, "acknowledged, though an fdatasync failed"
    syncs = [call for call in trace.read(tmp_path / "trace") if call.name == "fdatasync"]
    # strace struck what the test is about.
    assert [call.file == str(server.guard_path) for call in syncs[:nth]] == [False, True][:nth]
    assert (syncs[nth - 1].result, syncs[nth - 1].file == str(server.guard_path)) == (-1, what == "guard")
    assert "nothing was acknowledged" in server.log
    settle(server, key, told, sent, tmp_path)


def test_p1_a_commit_has_just_these_two_fdatasyncs(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """What is struck here is all there is: one sync of the log, one of the guard, for a commit of many events. (The first
    commit into a new log file also syncs the folder.)"""
    server = make_server()
    key, _ = prepared(server)
    server.stop()
    server.start(prefix=trace.tracing(tmp_path / "trace"), seconds=60)
    assert attempt(server, key, *numbered(200, 1)) is not None
    assert attempt(server, key, *numbered(6, 100)) is not None
    end_traced(server)
    calls = trace.read(tmp_path / "trace")
    answered = next(at for at, call in enumerate(calls) if call.on_socket and '\\"x6\\"' in call.arguments)
    written = max(at for at, call in enumerate(calls[:answered]) if call.name == "write" and call.file.endswith(".log")
                  and call.file.startswith(str(server.data_dir)))
    syncs = [call.file for call in calls[written:answered] if call.name in ("fdatasync", "fsync")]
    assert len(syncs) == 2 and syncs[0].endswith(".log") and syncs[1] == str(server.guard_path), syncs
    server.fsck().ok()


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_p1_eio_while_it_starts(call: str, make_server: Callable[..., Server], tmp_path: Path) -> None:
    """EIO into the n-th sync of a start, for every n there is: it does not serve, says so, and the next start is sound."""
    server = make_server()
    key, told = prepared(server)
    server.kill9()
    for nth in range(1, 60):
        log = len(server.log)
        try:
            server.start(
                prefix=(trace.strace(), "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                        f"inject={call}:error=EIO:when={nth}+"),
            )
        except ServerExited as ended:
            assert ended.code not in (0, -9), ended
            assert any(word in server.log[log:] for word in ("failed", "IO error", "Input/output")), server.log[log:]
            continue
        # Every sync of a start was struck once.
        server.kill9()
        break
    else:
        pytest.fail("never started")
    assert nth > 1, "no sync was struck"
    sent = numbered(6, 2)
    settle(server, key, told, sent, tmp_path)


# (c) every write step of a commit × every way to fail


@dataclass(frozen=True)
class Row:
    """What is struck, how, and what must come of it."""

    step: str
    way: str
    #: Whether the client may have been told (the answer is the struck step itself).
    told: bool
    #: Exit status; `None`: it lives on.
    exit: int | None
    #: Whether the events are in the log after the next start.
    kept: bool
    error: int = errno.EIO

    def __str__(self) -> str:
        name = "" if self.way in ("dies before", "dies after", "torn, then dies", "short") else f" {errno.errorcode[self.error]}"
        return f"{self.step}: {self.way}{name}"


#: Which call, on a file whose path contains this and ends with that.
STEPS = {
    "log write": ("write", "/data/", ".log"),
    "log fdatasync": ("fdatasync", "/data/", ".log"),
    # Once for each new write-ahead log: the name of its file.
    "folder fsync": ("fsync", "/data", "/data"),
    "guard write": ("pwrite", "/guard/", "guard"),
    "guard fdatasync": ("fdatasync", "/guard/", "guard"),
    "answer": ("send", "socket:", ""),
}
KILLED = -9
MATRIX = [
    # Before the bytes are in the log's file: as if it had never been asked.
    Row("log write", "fails", False, 74, False),
    Row("log write", "fails", False, 74, False, errno.ENOSPC),
    Row("log write", "torn, then fails", False, 74, False, errno.ENOSPC),
    Row("log write", "torn, then dies", False, KILLED, False),
    Row("log write", "dies before", False, KILLED, False),
    # A short write is no failure.
    Row("log write", "short", True, None, True),
    # From here on the bytes are there (this machine has power): kept, though nobody was told.
    Row("log write", "happens, then fails", False, 74, True),
    Row("log write", "dies after", False, KILLED, True),
    Row("log fdatasync", "fails", False, 74, True),
    Row("log fdatasync", "fails", False, 74, True, errno.ENOSPC),
    Row("log fdatasync", "happens, then fails", False, 74, True),
    Row("log fdatasync", "dies before", False, KILLED, True),
    Row("log fdatasync", "dies after", False, KILLED, True),
    Row("folder fsync", "fails", False, 74, True),
    Row("folder fsync", "happens, then fails", False, 74, True),
    Row("folder fsync", "dies before", False, KILLED, True),
    Row("folder fsync", "dies after", False, KILLED, True),
    Row("guard write", "fails", False, 74, True),
    Row("guard write", "fails", False, 74, True, errno.ENOSPC),
    Row("guard write", "happens, then fails", False, 74, True),
    Row("guard write", "torn, then fails", False, 74, True),
    Row("guard write", "torn, then dies", False, KILLED, True),
    Row("guard write", "short", True, None, True),
    Row("guard write", "dies before", False, KILLED, True),
    Row("guard write", "dies after", False, KILLED, True),
    Row("guard fdatasync", "fails", False, 74, True),
    Row("guard fdatasync", "fails", False, 74, True, errno.ENOSPC),
    Row("guard fdatasync", "happens, then fails", False, 74, True),
    Row("guard fdatasync", "dies before", False, KILLED, True),
    Row("guard fdatasync", "dies after", False, KILLED, True),
    # The answer itself: the client knows or does not; the log is the same.
    Row("answer", "fails", False, None, True),
    Row("answer", "happens, then fails", True, None, True),
    Row("answer", "dies before", False, KILLED, True),
    Row("answer", "dies after", True, KILLED, True),
    Row("answer", "torn, then dies", False, KILLED, True),
]


@pytest.mark.parametrize("row", MATRIX, ids=str)
def test_p1_p2_p4_each_write_step_fails(
    row: Row, make_server: Callable[..., Server], make_shim: Callable[[], Shim], tmp_path: Path
) -> None:
    """The table above."""
    server = make_server()
    key, told = prepared(server)
    server.stop()
    shim = make_shim()
    server.start(env=shim.env)
    call, path, suffix = STEPS[row.step]
    data = b"HTTP/1.1 200" if row.step == "answer" else b""
    shim.arm(call, row.way, path=path, suffix=suffix, error=row.error, data=data)
    sent = numbered(6, 3)
    answer = attempt(server, key, *sent)
    assert shim.struck == 1
    assert (answer is not None) == row.told
    remember(told, sent, answer)
    if row.exit is None:
        shim.disarm()
        assert httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).status_code == 200
        server.kill9()
    else:
        assert server.wait_exit() == row.exit
    statuses = settle(server, key, told, sent, tmp_path)
    assert statuses == (["duplicate"] if row.kept else ["posted"]) * 3


def test_p1_a_failed_write_answers_nobody_who_waits(
    make_server: Callable[..., Server], make_shim: Callable[[], Shim], rng: random.Random, tmp_path: Path
) -> None:
    """Many clients, several tenants' worth of commits, and one failing fdatasync, again and again: nothing told is lost."""
    server = make_server()
    key = server.add_key(["publisher"], "gw-1")
    server.stop()
    shim = make_shim()
    server.start(env=shim.env)
    with Load(server, key, 6, rng) as load:
        for nth in range(12):
            call, path, suffix = [STEPS[step] for step in STEPS if step not in ("answer", "folder fsync")][nth % 4]
            way = "happens, then fails" if nth % 2 else "fails"
            load.ledger.wait_for(len(load.ledger.index) + rng.randint(5, 100))
            shim.arm(call, way, path=path, suffix=suffix, nth=rng.randint(1, 5), sticky=True)
            until("the server to end", lambda: not server.alive())
            assert server.wait_exit() == EXIT_WRITE_FAILED
            shim.disarm()
            server.start(env=shim.env)
        load.ledger.wait_for(len(load.ledger.index) + 20)
        told = load.finish()
    audit.everything(server, told, tmp_path / "receipts")


# The first commits there ever are


@pytest.mark.parametrize("step", ["log write", "log fdatasync", "guard write", "guard fdatasync"])
@pytest.mark.parametrize("way", ["dies before", "dies after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_p1_p4_init_dies_at_each_write_step(
    step: str, way: str, nth: int, make_shim: Callable[[], Shim], tmp_path: Path
) -> None:
    """`init` dies at the n-th such step: nothing was told, so a second `init` completes, or says that the tenant exists; it
    is no reason to halt a log."""
    with Server(tmp_path / "server") as server:
        shim = make_shim()
        call, path, suffix = STEPS[step]
        shim.arm(call, way, path=path, suffix=suffix, nth=nth)
        died = server.run("init", "--tenant", "acme", "--json", env=shim.env)
        if shim.struck == 0:
            assert died.code == 0 and nth == 3, "init has at least two commits with a guard"
            return
        assert died.code == KILLED and not died.out
        again = server.run("init", "--tenant", "acme", "--json")
        assert again.code == 0 or "exists already" in again.err, again
        server.start()
        state = httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).json()
        assert state["halted_logs"] == 0, state
        server.stop()
        server.fsck().ok()


@pytest.mark.parametrize("way", ["dies before", "dies after"])
@pytest.mark.parametrize("step", ["log fdatasync", "guard write", "guard fdatasync"])
@pytest.mark.parametrize("nth", [1, 2])
def test_p1_p4_p12_a_new_tenant_dies_at_each_write_step(
    step: str, way: str, nth: int, make_server: Callable[..., Server], make_shim: Callable[[], Shim]
) -> None:
    """The same for a tenant made on a running server: after the restart no log is halted, and health is green."""
    server = make_server()
    server.as_("publisher")
    server.stop()
    shim = make_shim()
    server.start(env=shim.env)
    call, path, suffix = STEPS[step]
    shim.arm(call, way, path=path, suffix=suffix, nth=nth)
    with pytest.raises(httpx.TransportError):
        server.add_tenant("beta")
    assert server.wait_exit() == KILLED and shim.struck == 1
    server.start()
    state = httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).json()
    assert (state["status"], state["halted_logs"]) == ("green", 0), state
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    server.stop()
    server.fsck().ok()
