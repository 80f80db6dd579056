"""A database from before `recover`, started on the journal of the new epoch, signs nothing of it (P4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig import audit
from rig.broker import Journey
from rig.load import Ledger
from test_holes import keep, put_back, root
from test_p4 import copy_of_broker, events, halted_now, halts, health, publish, recover


def new_epoch(journey: Journey, told: Ledger, tmp_path: Path, *, lost: bool) -> int:
    """Keeps a database and its guard; then the broker loses what came after (or nothing that this database has posted), and
    `recover` begins epoch 2 with a newer one. Returns the size of the kept one."""
    server = journey.server
    publish(journey, told, events(1, 5))
    if lost:
        copy_of_broker(journey, tmp_path / "broker")
        publish(journey, told, events(6, 3))
        size = server.admin.size()
        keep(journey, tmp_path / "kept")
        publish(journey, told, events(9, 1))
    else:
        size = server.admin.size()
        keep(journey, tmp_path / "kept")
        copy_of_broker(journey, tmp_path / "broker")
        publish(journey, told, events(6, 4))
    server.stop()
    journey.nats.stop()
    journey.nats.restore_store(tmp_path / "broker")
    journey.nats.start()
    server.start(ready=False)
    halts(journey, told, "recover")
    recover(journey)
    server.start()
    return size


@pytest.mark.parametrize("guard", [True, False], ids=["its old guard", "the new guard"])
@pytest.mark.parametrize("lost", [False, True], ids=["nothing it posted is lost", "some of what it posted is lost"])
def test_p4_a_database_from_before_recover_signs_nothing_of_the_new_epoch(
        lost: bool, guard: bool, journey: Journey, tmp_path: Path) -> None:
    """Every message that it posted may still be there, so nothing else tells it that the next ones are not its own."""
    told, before, server = Ledger(), Ledger(), journey.server
    size = new_epoch(journey, told, tmp_path, lost=lost)
    before.index |= {key: index for key, index in told.index.items() if index < size}
    before.checkpoints |= {note for note in told.checkpoints if int(root(note)[1]) <= size}
    publish(journey, told, events(20, 3))
    with journey.peer("acme-gw-1") as producer:
        producer.publish(events(23, 1)[0])
    publish(journey, told, events(24, 1))
    leaves = audit.leaves(server.admin)
    assert [entry["event"]["epoch"] for entry in server.admin.entries(kind="journal")] == [2]
    keep(journey, tmp_path / "newest")
    put_back(journey, tmp_path / "kept", guard=guard)
    server.start(ready=False)
    # It is halted after a restart too, serves what it had, and takes nothing.
    halts(journey, before, "epoch 2", "epoch 1", "Restore a newer backup")
    assert server.admin.size() == size and audit.leaves(server.admin) == leaves[:size]
    # With the newest database the log goes on.
    put_back(journey, tmp_path / "newest", guard=True)
    server.start()
    assert not halted_now(server)
    publish(journey, told, events(25, 2))
    assert health(server)["status"] == "green", health(server)
    audit.everything(server, told, tmp_path / "receipts")
