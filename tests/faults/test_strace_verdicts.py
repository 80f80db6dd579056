"""P1, P14: no verdict leaves before both fsyncs, whatever fails at whatever step of a commit."""

from __future__ import annotations

import errno
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from rig import trace
from rig.shim import Shim
from support import Server, until
from support.asking import Asking, bounded, everything
from support.deciding import CALL, Deciding, question
from test_strace import EXIT_WRITE_FAILED, STEPS, end_traced


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant whose policy allows transfers up to 1,000.00."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(bounded(tmp_path / "wide", 100_000))
        yield desk


def verdicts_after_syncs(calls: list[trace.Call], told: list[dict[str, Any]], data_dir: Path, guard: Path) -> int:
    """For each verdict that a gateway was told, known by its call digest: its bytes into the write-ahead log, fdatasync of that log,
    the guard's slot, fdatasync of the guard, and only then the first byte of the first answer that speaks of it. Returns how many
    were checked."""
    logs = [c for c in calls if c.file.startswith(f"{data_dir}/") and c.file.endswith(".log")]
    guards = [c for c in calls if c.file == str(guard)]
    sends = [c for c in calls if c.on_socket]
    syncs = ("fdatasync", "fsync")
    for answer in told:
        digest = answer["call"]
        written = next((c for c in logs if c.name not in syncs and digest in c.arguments), None)
        if written is None or written.ended is None:
            raise trace.Order(f"{digest} was never written to a write-ahead log")
        moment = written.ended
        for what, choice, succeeds in [
            ("fdatasync of the write-ahead log", [c for c in logs if c.name in syncs], lambda r: r == 0),
            ("write of the guard's slot", [c for c in guards if c.name not in syncs], lambda r: r == 512),
            ("fdatasync of the guard", [c for c in guards if c.name in syncs], lambda r: r == 0),
        ]:
            step = next((c for c in choice if c.begun > moment and c.ended is not None and succeeds(c.result)), None)
            if step is None:
                raise trace.Order(f"{digest}: no {what} after it")
            moment = step.ended
        speaking = [c for c in sends if f'\\"digest\\":\\"{digest}\\"' in c.arguments]
        if not speaking:
            raise trace.Order(f"{digest} was never answered")
        for send in speaking:
            # The answer may take several writes: its first byte counts.
            heads = [c for c in sends if c.file == send.file and c.begun <= send.begun and "HTTP/1.1 200" in c.arguments]
            if not heads or heads[-1].begun <= moment:
                raise trace.Order(f"{digest}: its verdict left at line {heads[-1].begun if heads else '?'}, safe at line {moment}")
    return len(told)


def test_p1_p14_no_verdict_leaves_before_both_fdatasyncs(desk: Deciding, rng: random.Random, tmp_path: Path) -> None:
    """The trace of a server under load, with an activation in the middle; and the check can fail."""
    server, to = desk.server, tmp_path / "trace"
    server.stop()
    server.start(prefix=trace.tracing(to), seconds=60)
    desk.gateway = server.client(desk.gateway.key)
    with Asking(server, desk.gateway.key, 4, rng, repeats=0.1) as asking:
        asking.wait_for(60)
        desk.activate(bounded(tmp_path / "narrow", 40_000))
        asking.wait_for_more(60)
        told = asking.finish()
    allows = sum(answer["verdict"] == "allow" for answer in told)
    assert allows > 20 and asking.verdicts["deny"] > 20
    end_traced(server)
    calls, guard = trace.read(to), str(server.guard_path)
    assert verdicts_after_syncs(calls, told, server.data_dir, server.guard_path) == len(told)
    # Each step is needed: without it, or with an answer before it, the same check fails.
    for missing in (
        lambda c: c.name == "fdatasync" and c.file.endswith(".log"),
        lambda c: c.name == "fdatasync" and c.file == guard,
        lambda c: c.name == "pwrite64" and c.file == guard,
        lambda c: c.name == "write" and c.file.endswith(".log"),
    ):
        with pytest.raises(trace.Order):
            verdicts_after_syncs([c for c in calls if not missing(c)], told, server.data_dir, server.guard_path)
    early = [trace.Call(c.thread, c.name, c.arguments, 0, 0, c.result) if c.on_socket else c for c in calls]
    with pytest.raises(trace.Order):
        verdicts_after_syncs(early, told, server.data_dir, server.guard_path)
    server.start()
    desk.gateway = server.client(desk.gateway.key)
    assert everything(desk, told, tmp_path / "export")["verdicts"] >= 100


def attempt(desk: Deciding, asked: Any) -> httpx.Response | None:
    """Asks once, on a connection of its own; `None` if there was no answer at all."""
    headers = {"Authorization": f"Bearer {desk.gateway.key.text}"}
    with httpx.Client(timeout=30.0, trust_env=False, headers=headers) as http:
        try:
            return http.post(f"{desk.server.url}/v1/tenants/acme/decisions", json=asked)
        except httpx.TransportError:
            return None


@pytest.mark.parametrize("what", ["log fdatasync", "guard fdatasync"])
def test_p14_nothing_is_told_while_an_fdatasync_is_under_way(what: str, desk: Deciding, make_shim: Callable[[], Shim]) -> None:
    """While the disk takes its time nobody is told a verdict: not who asks, not who asks the same again, and it shows nowhere."""
    server, shim = desk.server, make_shim()
    server.stop()
    server.start(env=shim.env)
    desk.gateway = server.client(desk.gateway.key)
    assert desk.told()["verdict"] == "allow"
    size, asked, answers = server.admin.size(), question(), []
    call, path, suffix = STEPS[what]
    shim.arm(call, "stalls", path=path, suffix=suffix)
    askers = [Thread(target=lambda: answers.append(attempt(desk, asked)), daemon=True) for _ in range(3)]
    askers[0].start()
    shim.wait_struck()
    for asker in askers[1:]:
        asker.start()
    for _ in range(20):
        assert server.admin.size() == size and len(list(server.admin.feed())) == size
    assert not answers and all(asker.is_alive() for asker in askers)
    shim.disarm()
    for asker in askers:
        asker.join(30)
    told = [answer.json() for answer in answers if answer is not None]
    assert [answer["verdict"] for answer in told] == ["allow"] * 3, told
    assert {answer["decision"]["index"] for answer in told} == {size} and sorted(a["repeated"] for a in told) == [False, True, True]


@pytest.mark.parametrize("way", ["fails", "happens, then fails", "dies before", "dies after"])
@pytest.mark.parametrize("step", ["log write", "log fdatasync", "guard write", "guard fdatasync"])
def test_p1_p14_a_commit_that_fails_tells_no_verdict(step: str, way: str, desk: Deciding, make_shim: Callable[[], Shim]) -> None:
    """No answer; after the restart a repetition is answered from what the log then holds, and whatever it holds is one decision."""
    server, shim = desk.server, make_shim()
    server.stop()
    server.start(env=shim.env)
    desk.gateway = server.client(desk.gateway.key)
    desk.told()
    call, path, suffix = STEPS[step]
    shim.arm(call, way, path=path, suffix=suffix, error=errno.EIO)
    asked = [question(), question(params=CALL | {"amount": 100_001}), question(params=CALL | {"amount": 1})]
    answer = attempt(desk, asked)
    assert answer is None, f"told though a step failed: {answer.text}"
    assert shim.struck == 1
    assert server.wait_exit() == (EXIT_WRITE_FAILED if "fails" in way else -9)
    server.start()
    desk.gateway = server.client(desk.gateway.key)
    ids = [entry["event"]["id"] for entry in server.admin.entries(kind="decision")]
    there = [one["id"] in ids for one in asked]
    assert all(there) or not any(there), "a commit was torn"
    told = desk.ask(asked).json()["results"]
    assert [result["verdict"] for result in told] == ["allow", "deny", "allow"]
    assert [result["repeated"] for result in told] == there
    ids = [entry["event"]["id"] for entry in server.admin.entries(kind="decision")]
    assert all(ids.count(one["id"]) == 1 for one in asked)
    until("health to be green", lambda: json.loads(httpx.get(f"{server.url}/healthz", trust_env=False).text)["status"] == "green")
