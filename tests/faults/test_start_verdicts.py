"""P14, P17: a server that starts says "try again"; it never says that something is not there, or that there are no policies."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rig import trace
from support import Server, until
from support.deciding import PAYMENTS, Deciding, question
from support.desk import folder_of
from support.server import running

#: How long reading one file takes, in microseconds.
SLOW = 2_000_000


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant whose payments policy is in force."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(PAYMENTS)
        yield desk


def slowly(path: Path) -> tuple[str, ...]:
    """What to put before a command: it opens this file slowly."""
    calls = "openat,openat2,open"
    return (trace.strace(), "-f", "-o", "/dev/null", "-P", str(path), "-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter={SLOW}")


def test_p17_a_reviewer_is_never_told_that_an_approval_is_gone(desk: Deciding) -> None:
    """While rules and people are being read, who may review is not known: 503, not 404, which a client takes for the end."""
    server = desk.server
    id = desk.propose(PAYMENTS).json()["approval"]["id"]
    keys = {"reviewer": desk.server.add_key(["reviewer"], person="p-bob"), "author": desk.author().key, "admin": server.admin_key}
    server.kill9()
    server.start(ready=False, prefix=slowly(folder_of(server, desk.tenant) / "rules.toml"))
    seen: dict[str, set[int]] = {name: set() for name in keys}
    readyz: set[int] = set()

    def look() -> bool:
        try:
            ready = httpx.get(f"{server.url}/readyz", timeout=30, trust_env=False).status_code
            for name, key in keys.items():
                headers = {"Authorization": f"Bearer {key.text}"}
                seen[name].add(httpx.get(f"{server.url}/v1/tenants/acme/approvals/{id}", headers=headers, timeout=30, trust_env=False).status_code)
        except httpx.TransportError:
            return False
        readyz.add(ready)
        return ready == 200

    until("it to be ready", look, 60)
    assert readyz == {503, 200}, "the start was not slow enough to look at"
    assert all(found <= {200, 503} and 200 in found for found in seen.values()), seen


def test_p14_p16_what_is_asked_while_it_starts_is_decided_by_the_policy_or_not_at_all(desk: Deciding) -> None:
    """From the first connection on: 503, or the verdict of the bundle in force; never `no_policy`, and never two answers."""
    server = desk.server
    expected = desk.told()["policy"]
    for _ in range(5):
        server.kill9()
        server.start(ready=False)
        asked, told, headers = question(), [], {"Authorization": f"Bearer {desk.gateway.key.text}"}
        deadline = time.monotonic() + 60
        while len(told) < 3 and time.monotonic() < deadline:
            try:
                answer = httpx.post(f"{server.url}/v1/tenants/acme/decisions", json=asked, headers=headers, timeout=30, trust_env=False)
            except httpx.TransportError:
                continue
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                told.append(answer.json())
        assert [(one["verdict"], one["policy"]) for one in told] == [("allow", expected)] * 3
        assert len({one["decision"]["index"] for one in told}) == 1 and [one["repeated"] for one in told][1:] == [True, True]


def test_p14_p16_a_server_that_stood_still_decides_once(desk: Deciding) -> None:
    """Stopped while it is asked, and going on: the question has one verdict, whoever is still there to hear it."""
    server = desk.server
    assert server.process is not None
    assert running(server.process.pid)
    for _ in range(3):
        asked = question()
        os.killpg(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(httpx.TimeoutException):
                httpx.post(
                    f"{server.url}/v1/tenants/acme/decisions", json=asked, timeout=0.5, trust_env=False,
                    headers={"Authorization": f"Bearer {desk.gateway.key.text}"},
                )  # fmt: skip
        finally:
            os.killpg(server.process.pid, signal.SIGCONT)
        told = desk.ask(asked).json()
        assert told["verdict"] == "allow" and told["valid_for"] > 0
        # What the first request gave, if it was taken, is the same decision.
        decided = [i for i, leaf in server.admin.feed(kind="decision") if asked["id"].encode() in leaf]
        assert decided == [told["decision"]["index"]]


def refuses(desk: Deciding, *codes: str) -> None:
    """A question gets no verdict, alone or in a batch, but one of these problems; nothing is recorded."""
    size = desk.server.admin.size()
    for body in (question(), [question(), question()]):
        answer = desk.ask(body)
        assert answer.status_code in (500, 503) and answer.json()["code"] in codes and "verdict" not in answer.text, answer.text
    assert desk.server.admin.size() == size


def answering(server: Server) -> bool:
    """Whether it answers at all."""
    try:
        return httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).status_code in (200, 503)
    except httpx.TransportError:
        return False


def test_p4_p16_a_halted_log_decides_nothing(desk: Deciding, tmp_path: Path) -> None:
    """A database older than what was signed: no verdict, also none that was told before; the right database goes on."""
    server = desk.server
    asked = question()
    told = desk.ask(asked).json()
    server.stop()
    shutil.copytree(server.data_dir, tmp_path / "older")
    server.start()
    desk.gateway = server.client(desk.gateway.key)
    assert desk.told()["verdict"] == "allow"
    server.stop()
    server.data_dir.rename(tmp_path / "newer")
    shutil.copytree(tmp_path / "older", server.data_dir)
    server.start(ready=False)
    until("it to answer", lambda: answering(server))
    desk.gateway = server.client(desk.gateway.key)
    refuses(desk, "log_halted")
    answer = desk.ask(asked)
    assert answer.status_code == 503 and answer.json()["code"] == "log_halted", answer.text
    server.kill9()
    shutil.rmtree(server.data_dir)
    (tmp_path / "newer").rename(server.data_dir)
    server.start()
    desk.gateway = server.client(desk.gateway.key)
    assert desk.ask(asked).json()["decision"] == told["decision"]
    assert desk.told()["verdict"] == "allow"


def test_p14_p16_without_its_journal_key_nothing_is_decided(desk: Deciding, tmp_path: Path) -> None:
    """A server that can't sign can't record, so it tells nothing; with the key it goes on."""
    server = desk.server
    key = server.keys_dir / "acme" / "journal-1.key"
    assert desk.told()["verdict"] == "allow"
    server.stop()
    shutil.move(key, tmp_path / "journal-1.key")
    server.start(ready=False)
    until("it to answer", lambda: answering(server))
    desk.gateway = server.client(desk.gateway.key)
    # As every other command: a person must put the file back.
    refuses(desk, "internal")
    server.kill9()
    shutil.move(tmp_path / "journal-1.key", key)
    server.start()
    desk.gateway = server.client(desk.gateway.key)
    assert desk.told()["verdict"] == "allow"
    server.stop()
    server.fsck().ok()


def test_p16_rules_that_differ_do_not_stop_denials(desk: Deciding) -> None:
    """The server's files of rules are not those that were applied: nobody can be asked, so a call that needs people stays paused,
    and no call is permitted that the policy does not permit."""
    folder = folder_of(desk.server, desk.tenant)
    (folder / "rules.toml").write_text((folder / "rules.toml").read_text().replace('name = "policies"', 'name = "others"'))
    desk.server.restart(kill=False)
    desk.gateway = desk.server.client(desk.gateway.key)
    for amount, verdict in ((2_500_001, "deny"), (200_000, "approval_needed")):
        answer = desk.ask(question(params={"amount": amount, "currency": "EUR", "reference": "INV-004711"}))
        if answer.status_code == 200:
            told = answer.json()
            assert told["verdict"] == verdict and told.get("approval", {}).get("state", "opening") in ("opening", "not_opened"), told
        else:
            assert answer.status_code == 503, answer.text
