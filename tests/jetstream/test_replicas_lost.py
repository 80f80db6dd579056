"""P21: what replicas lack is never taken for something that was not: a register that is gone or set back, streams that can lose
what was stored."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.broker import STREAM, Peer
from rig.cluster import Cluster
from rig.trio import Eye, Trio, cosigned_by

from support import NatsServer, cli, free_port, until

REGISTER = "COUNTERSIGN_REGISTER"
VALUE = "countersign-register.acme.value"


@pytest.fixture
def trio(cluster: Cluster, tmp_path: Path) -> Iterator[Trio]:
    """Three replicas; none runs yet."""
    with Trio(tmp_path / "replicas", cluster.url) as trio:
        yield trio


def peer(cluster: Cluster) -> Peer:
    """Somebody with the rights of the replicas."""
    return Peer(next(iter(cluster.nodes.values())))


def size_of(note: str) -> int:
    return int(note.splitlines()[1])


def in_register(nats: Peer) -> str:
    """The value that is there."""
    message = nats.api(f"STREAM.MSG.GET.{REGISTER}", {"last_by_subj": VALUE})["message"]
    return base64.b64decode(message["data"]).decode()


def stop(trio: Trio) -> None:
    """All of them."""
    trio.stop()


def start(trio: Trio) -> None:
    """All of them, without waiting."""
    for server in trio.servers.values():
        server.start(ready=False)


def put_back(trio: Trio, name: str) -> str:
    """`replica put-back`"""
    return cli("replica", "put-back", "--config", trio[name].config, "--tenant", "acme").ok().out


def test_p21_a_lost_register_stops_all_and_is_put_back(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """Deleted while nobody runs: nobody takes the empty one for a beginning. What was shown goes back, and they go on."""
    trio.start()
    eye = Eye(trio)
    eye.start()
    size = trio.post("a") + 1
    trio.reach(size)
    stop(trio)
    with peer(cluster) as nats:
        nats.api(f"STREAM.DELETE.{REGISTER}")
    start(trio)
    for name in trio.servers:
        trio.halted(name, "the register is empty")
        assert trio[name].admin.size() > 0, "what was shown is still served"
    stop(trio)
    assert "is in the register again" in put_back(trio, "a")
    assert "nothing to put back" in put_back(trio, "a")
    with peer(cluster) as nats:
        assert len(cosigned_by(in_register(nats), trio.vkeys)) >= 2
    start(trio)
    for server in trio.servers.values():
        server.wait_ready(120)
    index = trio.post("b")
    assert index >= size, "what was told before is in the log"
    trio.reach(index + 1)
    trio.judge(eye.stop(), tmp_path, "c")


def test_p21_a_register_that_was_set_back_is_ignored_and_mended(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """An older value, cosigned as it must be, is there when they start: each knows what it has shown."""
    trio.start()
    eye = Eye(trio)
    eye.start()
    trio.reach(trio.post("a") + 1)
    until("a checkpoint to be seen", lambda: eye.seen)
    old = min(eye.seen, key=size_of)
    # What a replica shows is stored once a second, and at once after a start: what each stores here is newer than the old one.
    trio.reach(trio.post("c") + 1)
    for name in trio.servers:
        trio[name].restart()
    trio.reach(trio.post("b") + 1)
    before = min(size_of(trio[name].admin.checkpoint()) for name in trio.servers)
    assert size_of(old) < before
    stop(trio)
    with peer(cluster) as nats:
        nats.request(VALUE, old.encode())
        start(trio)
        for server in trio.servers.values():
            server.wait_ready(120)
        # Whoever follows the register first replaces the old value; the others may never see it.
        until("one of them to say so", lambda: any("register_ignored" in trio.troubles(name) for name in trio.servers))
        index = trio.post("c")
        trio.reach(index + 1)
        assert size_of(in_register(nats)) > index
    trio.judge(eye.stop(), tmp_path, "a")


def test_p21_streams_that_can_lose_what_was_stored_are_refused(trio: Trio, cluster: Cluster) -> None:
    """A register in memory, a register or a journal with one copy: nothing is cosigned, and the operator reads what to do."""
    config = {"name": REGISTER, "subjects": ["countersign-register.>"], "max_msgs_per_subject": 1, "deny_delete": True,
              "deny_purge": True, "storage": "memory", "num_replicas": 1}  # fmt: skip
    with peer(cluster) as nats:
        nats.api(f"STREAM.CREATE.{REGISTER}", config)
        trio["a"].start(ready=False)
        trio.halted("a", 'storage must be "file"; num_replicas must be 3 or more')
        trio["a"].stop()
        nats.api(f"STREAM.DELETE.{REGISTER}")
        journal = nats.stream()["config"]
        nats.api(f"STREAM.UPDATE.{STREAM}", journal | {"num_replicas": 1})
        trio["a"].start(ready=False)
        trio.halted("a", "keeps 1 copies")
        assert "nats stream edit --replicas 3" in trio.troubles("a")["log_halted"]
        trio["a"].stop()
        nats.api(f"STREAM.UPDATE.{STREAM}", journal)
    cluster.mend()
    trio.start()
    trio.reach(trio.post("a") + 1)


def test_p21_a_broker_that_acknowledges_before_it_stores_is_refused(trio: Trio, tmp_path: Path) -> None:
    """`sync_interval`, as the server's monitoring tells it; one that is away is no reason to stay away."""

    def monitored(sync: str) -> NatsServer:
        port = free_port()
        trio["a"].sections["replica"]["monitors"] = [f"http://127.0.0.1:{port}"]
        trio["a"].write_config()
        return NatsServer(tmp_path / sync, sync_interval=sync, extra=f"http: 127.0.0.1:{port}")

    with monitored("2m"):
        refused = cli("serve", "--config", trio["a"].config)
        assert refused.code != 0 and "acknowledges messages before they are on its disk" in refused.err, refused
    with monitored("always"):
        trio.start()
    trio["a"].restart()
    assert "was not asked whether it has" in trio["a"].log
