"""P8: the broker is down, can't write, or somebody with its account writes where only we may. Counted in the log."""

from __future__ import annotations

import base64
import errno
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.broker import Peer, raw_publish
from rig.life import approve, ask, kinds, minted, told, until_told
from rig.shim import Shim
from support import NatsServer, event, until
from support.house import House, Paused

#: `(step, the events it makes)`, in the order of a life.
STEPS = [("review", ["reviewed", "granted"]), ("mint", ["token_minted"]), ("redeem", ["redeemed"])]
BEFORE = {"review": ["requested"], "mint": ["requested", "reviewed", "granted"],
          "redeem": ["requested", "reviewed", "granted", "token_minted"]}  # fmt: skip
RETRY_CODES = {"journal_unavailable", "outcome_unknown", "busy", "not_ready"}
EXIT_WRITE_FAILED = 74


class Step:
    """A call that is about to be reviewed, minted for, or redeemed."""

    def __init__(self, house: House, step: str) -> None:
        self.house, self.step, self.call, self.token = house, step, ask(house), ""
        if step != "review":
            told(lambda: approve(house, self.call))
        if step == "redeem":
            self.token = told(lambda: house.token(self.call))["token"]

    def send(self) -> httpx.Response:
        """The step, once."""
        if self.step == "review":
            return approve(self.house, self.call)
        if self.step == "mint":
            return self.house.token(self.call)
        return self.house.redeem(self.call, self.token, "r-1")

    def kinds(self) -> list[str]:
        """What the log says of the call."""
        return kinds(self.house.events(self.call))

    def done(self) -> None:
        """Repeated, it is done, exactly once; and the call's life goes on to its end."""
        told(self.send)
        assert self.kinds() == BEFORE[self.step] + dict(STEPS)[self.step]
        self.token = self.token or told(lambda: self.house.token(self.call))["token"]
        told(lambda: self.house.redeem(self.call, self.token, "r-1"))
        told(lambda: self.house.report(self.call))
        assert self.kinds()[-2:] == ["redeemed", "execution_reported"]


def refused_for_now(answer: httpx.Response) -> None:
    """503, with a code that says "try again", and when."""
    assert answer.status_code == 503 and answer.json()["code"] in RETRY_CODES, answer.text
    assert int(answer.headers["retry-after"]) >= 1


def health(house: House) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {house.server.operator_key.text}"}
    return dict(httpx.get(f"{house.server.url}/healthz", headers=headers, timeout=20, trust_env=False).json())


# Down, full, read-only


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
def test_p8_broker_down(step: str, nats: NatsServer, make_house: Callable[..., House]) -> None:
    """P8: 503 and nothing has changed; what is open can still be looked at; after its return everything goes on."""
    house = make_house(nats=nats.url)
    paused = Step(house, step)
    nats.kill9()
    for _ in range(3):
        refused_for_now(paused.send())
    assert paused.kinds() == BEFORE[step]
    nats.start()
    # Whatever was on its way came, or not: once at most.
    paused.done()
    house.close()


@pytest.fixture
def small_broker(tmp_path: Path) -> Iterator[NatsServer]:
    """A nats-server on a file system of 24 MiB of its own."""
    where = tmp_path / "small"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", where], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
    nats = NatsServer(where)
    try:
        yield nats.start()
    finally:
        nats.kill9()
        subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
def test_p8_broker_disk_full(step: str, small_broker: NatsServer, make_house: Callable[..., House]) -> None:
    """P8: the broker has no room: 503; with room again, exactly once."""
    house = make_house(nats=small_broker.url)
    paused = Step(house, step)
    ballast = small_broker.root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    # What is left of the last page takes some more messages.
    gateway = house.gateway()
    filler = {"payload": {"note": "x" * 2000}}
    until("the broker to refuse", lambda: gateway.post_events(json.dumps(event(**filler)).encode()).status_code == 503)
    refused_for_now(paused.send())
    assert paused.kinds() == BEFORE[step]
    ballast.unlink()
    # A broker that could not write may need its operator: started again, it reads what it wrote.
    if until_told(paused.send, 5) is None:
        small_broker.restart()
    paused.done()
    house.close()


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
def test_p8_broker_read_only(step: str, small_broker: NatsServer, make_house: Callable[..., House]) -> None:
    """P8: the broker's file system became read-only: 503; writable and started again, exactly once."""
    house = make_house(nats=small_broker.url)
    paused = Step(house, step)
    remount = ["mount", "-o", "remount,{}", small_broker.root]
    small_broker.kill9()
    subprocess.run([*remount[:2], "remount,ro", remount[3]], check=True)
    refused_for_now(paused.send())
    assert paused.kinds() == BEFORE[step]
    subprocess.run([*remount[:2], "remount,rw", remount[3]], check=True)
    small_broker.start()
    paused.done()
    house.close()


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
def test_p8_own_disk_full(
    step: str, make_house: Callable[..., House], make_shim: Callable[[], Shim]
) -> None:
    """P8: our own disk is full: the process ends, nobody was told of anything; started again with room, exactly once."""
    house, shim = make_house(), make_shim()
    house.server.stop()
    house.server.start(env=shim.env)
    paused = Step(house, step)
    shim.arm("write", "fails", path="/data/", suffix=".log", sticky=True, error=errno.ENOSPC)
    with pytest.raises(httpx.TransportError):
        answer = paused.send()
        refused_for_now(answer)
        paused.send()
    assert house.server.wait_exit() == EXIT_WRITE_FAILED
    shim.disarm()
    house.server.start()
    assert paused.kinds() in (BEFORE[step], BEFORE[step] + dict(STEPS)[step])
    paused.done()
    house.close()


# Whoever has the broker's account


def as_ours(call: Paused, n: int, prev: str, *events: dict[str, Any]) -> bytes:
    """A message of an approval as we would write it."""
    return json.dumps({"approval_id": call.id, "n": n, "prev": prev, "events": list(events)}, sort_keys=True).encode()


@pytest.mark.parametrize("signature", ["none", "wrong", "of another message"])
def test_p8_unsigned_approval_messages(signature: str, nats: NatsServer, make_house: Callable[..., House]) -> None:
    """P8: somebody with the broker's account grants, mints and redeems without our signature: `rejected` entries, health is
    red, the approval stays as it was, and can still be decided."""
    house = make_house(nats=nats.url)
    call = ask(house)
    before = house.state(call)
    subject = f"countersign.acme.approvals.{call.id}"
    grant = {"type": "granted", "by": ["p-ann"], "execution_deadline": "2030-01-01T00:00:00.000000000Z"}
    redeemed = {"type": "redeemed", "jti": "x", "redemption_id": "evil", "enforcer": "gw-1"}
    with Peer(nats) as peer:
        headers = None
        if signature == "wrong":
            headers = {"Countersign-Signature": f"{peer.last()}-" + "A" * 86}
        if signature == "of another message":
            headers = {"Countersign-Signature": signature_of(peer, subject)}
        for n, body in enumerate((grant, redeemed, {"type": "cancelled", "by": "gw-1", "reason": "x"}), 2):
            peer.request(subject, as_ours(call, n, "x", body), headers)
        peer.request(subject, b"{", headers)
    until("four rejected entries", lambda: len(house.server.admin.entries(kind="rejected")) == 4)
    reasons = [entry["event"]["reason"] for entry in house.server.admin.entries(kind="rejected")]
    assert reasons == ["signature"] * 4
    assert health(house)["status"] == "red" and health(house)["unsigned_messages"]
    assert house.state(call) == before
    assert kinds(house.events(call)) == ["requested"]
    # It can still be decided, to its end; and so can others.
    told(lambda: approve(house, call))
    token = told(lambda: house.token(call))["token"]
    told(lambda: house.redeem(call, token))
    told(lambda: house.report(call))
    assert kinds(house.events(call)) == ["requested", "reviewed", "granted", "token_minted", "redeemed", "execution_reported"]
    minted(house)
    house.close()


def messages(peer: Peer, subject: str) -> list[tuple[bytes, bytes]]:
    """Header block and body of every message on a subject."""
    found = []
    for seq in range(1, peer.last() + 1):
        message = peer.message(seq)
        if message["subject"] == subject:
            found.append((base64.b64decode(message["hdrs"]), base64.b64decode(message["data"])))
    return found


def signature_of(peer: Peer, subject: str) -> str:
    """The signature of the first message on a subject."""
    lines = messages(peer, subject)[0][0].decode().split("\r\n")
    return next(line.split(": ", 1)[1] for line in lines if line.startswith("Countersign-Signature:"))


def test_p8_replayed_approval_messages(nats: NatsServer, make_house: Callable[..., House]) -> None:
    """P8: genuine messages, sent again with the same bytes and headers: on their own approval and on another's. Nothing
    changes, and what was pending can still be decided."""
    house = make_house(nats=nats.url)
    spent, token = minted(house)
    told(lambda: house.redeem(spent, token))
    waiting, granted = ask(house), Step(house, "mint").call
    subject = "countersign.acme.approvals.{}".format
    before = {call.id: house.state(call) for call in (spent, waiting, granted)}
    with Peer(nats) as peer:
        own = {call.id: messages(peer, subject(call.id)) for call in (spent, waiting, granted)}
        assert [len(own[call.id]) for call in (spent, waiting, granted)] == [4, 1, 2]
        # The broker's own expectations would refuse them: whoever forges leaves them out.
        stripped = {
            id: [(b"\r\n".join(line for line in block.split(b"\r\n") if not line.startswith(b"Nats-")), body)
                 for block, body in found] for id, found in own.items()
        }
        assert all(b"Countersign-Signature" in block for found in stripped.values() for block, _ in found)
        sent = [(subject(id), block, body) for id, found in stripped.items() for block, body in found]
        sent += [(subject(waiting.id), block, body) for block, body in stripped[spent.id] + stripped[granted.id]]
        raw_publish(nats, None, sent)
    until("rejected entries", lambda: len(house.server.admin.entries(kind="rejected")) == len(sent))
    assert {entry["event"]["reason"] for entry in house.server.admin.entries(kind="rejected")} == {"signature"}
    assert {call.id: house.state(call) for call in (spent, waiting, granted)} == before
    assert health(house)["status"] == "red"
    told(lambda: approve(house, waiting))
    for call in (waiting, granted):
        token = told(lambda: house.token(call))["token"]  # noqa: B023: called at once
        told(lambda: house.redeem(call, token))  # noqa: B023: called at once
        assert kinds(house.events(call)) == ["requested", "reviewed", "granted", "token_minted", "redeemed"]
    assert kinds(house.events(spent)).count("redeemed") == 1
    assert house.gateway().publish(event())[0]["status"] == "posted"
    house.close()
