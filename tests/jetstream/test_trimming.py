"""Trimming on JetStream: an entry says first what goes; what is young, last, or needed by an open approval stays (P3, P4, P6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig import audit
from rig.backdate import backdate
from rig.broker import STREAM, Journey, Shipped, fence, posted
from rig.load import Ledger
from test_holes import is_gone, keep, put_back
from test_p4 import events, halted_now, health, publish

from support import until
from support.edges import RULES, people
from support.house import House, Paused

DAY = 24 * 3600
#: Trimming is looked at once a minute.
TRIMMED_SECONDS = 180.0


def first(journey: Journey) -> int:
    """The first sequence that the stream holds."""
    with journey.peer() as peer:
        return peer.stream()["state"]["first_seq"]


def set_retention(journey: Journey, days: int) -> None:
    """From the next start."""
    journey.server.settings["journal_retention_days"] = days
    journey.server.write_config()


def old(journey: Journey, sent: list[dict[str, Any]], days: float = 2.0) -> range:
    """Events that reached the broker some days ago; the server is stopped, and stays it. Returns their sequences."""
    assert journey.server.process is None
    with journey.peer("acme-gw-1") as producer:
        seqs = [producer.publish(one) for one in sent]
    sequences = range(seqs[0], seqs[-1] + 1)
    journey.nats.stop()
    backdate(journey.nats, STREAM, sequences, days * DAY)
    journey.nats.start()
    return sequences


def trims(journey: Journey) -> list[dict[str, Any]]:
    """The entries that say so."""
    return journey.server.admin.entries(kind="trim")


@pytest.fixture
def journey(make_journey: Callable[..., Journey]) -> Journey:
    """A journal of which nothing is old enough yet, with a little in it; stopped."""
    journey = make_journey(journal_retention_days=30)
    journey.server.as_("publisher")
    return journey


@pytest.mark.parametrize("guard", [False, True], ids=["a restored backup", "a replica that was away"])
def test_p3_p6_trimming_is_an_entry_first(guard: bool, journey: Journey, tmp_path: Path) -> None:
    """Whoever has posted what goes comes to the same root afterwards; whoever has not says why it can't, and signs nothing."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    size_before = server.admin.size()
    keep(journey, tmp_path / "before")
    server.stop()
    gone = old(journey, events(6, 30))
    server.start()
    until("the old ones to be posted", lambda: posted(server) >= gone[-1])
    told.checkpoints.add(server.admin.checkpoint())
    set_retention(journey, 1)
    keep(journey, tmp_path / "posted")
    until("old messages to be trimmed", lambda: first(journey) > 1, TRIMMED_SECONDS)
    # The claims of the starts since are newer.
    assert first(journey) == gone[-1] + 1
    (trim,) = trims(journey)
    assert trim["event"] == {"below": gone[-1] + 1, "by": {"server": "retention"}} and trim["journal"]["seq"] > gone[-1], trim
    with journey.peer() as peer:
        assert is_gone(peer, gone[-1]) and not is_gone(peer, gone[-1] + 1)
    publish(journey, told, events(36, 2))
    # The log lost nothing.
    leaves, newest = audit.leaves(server.admin), server.admin.checkpoint()
    assert audit.kinds(leaves)["decision"] == 5 + len(gone) + 2
    for index in range(len(leaves)):
        assert server.admin.receipt(index=index)
    assert health(server)["status"] == "green", health(server)
    set_retention(journey, 30)
    keep(journey, tmp_path / "newest")

    put_back(journey, tmp_path / "posted", guard=guard)
    server.start()
    until("it to catch up", lambda: server.admin.size() >= len(leaves), 120)
    same = audit.leaves(server.admin)
    assert same[: len(leaves)] == leaves and set(audit.kinds(same[len(leaves) :])) == {"signer"}
    told.checkpoints.add(newest)
    publish(journey, told, events(38, 2))
    assert health(server)["status"] == "green", health(server)

    put_back(journey, tmp_path / "before", guard=guard)
    server.start(ready=False)
    for again in (False, True):
        if again:
            server.kill9()
            server.start(ready=False)
        until("the log to halt", lambda: halted_now(server))
        reason = health(server)["halted"][0]["reason"]
        assert f"trimmed below {gone[-1] + 1}" in reason and "must not sign" in reason and "newer backup" in reason, reason
        assert audit.leaves(server.admin) == leaves[:size_before]
    put_back(journey, tmp_path / "newest", guard=True)
    server.start()
    until("it to catch up", lambda: server.admin.size() >= len(leaves) + 2, 120)
    publish(journey, told, events(40, 2))
    assert health(server)["status"] == "green", health(server)
    audit.everything(server, told, tmp_path / "receipts")


def looked_at(journey: Journey, erased: int) -> None:
    """Trimming was looked at since: the same round names and deletes a repetition of an erased event, first that and then trimming;
    so two rounds are waited for."""
    number = int(journey.server.admin.entry(erased)["event"]["id"].split("-")[1])
    for _ in range(2):
        with journey.peer("acme-gw-1") as producer, journey.peer() as peer:
            seq = producer.publish(events(number, 1)[0])
            until("a round", lambda: is_gone(peer, seq), TRIMMED_SECONDS)  # noqa: B023: called at once


def test_p3_what_is_not_old_enough_stays(journey: Journey) -> None:
    """A day is kept; for less than a tenth more of a few messages no entry is written. Then it goes at once."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    erased = told.index["/p4", "p4-0001"]
    server.admin.erase(erased)
    server.stop()
    set_retention(journey, 1)
    old(journey, events(6, 10), days=1.05)
    server.start()
    fence(journey, "posted")
    looked_at(journey, erased)
    assert first(journey) == 1 and not trims(journey)
    server.stop()
    (newest,) = old(journey, events(16, 1), days=1.2)
    with journey.peer() as peer:
        left = [seq for seq in range(1, newest - 1) if not is_gone(peer, seq)]
    journey.nats.stop()
    # All but the last posted one, which is compared at every start.
    for seq in left:
        backdate(journey.nats, STREAM, range(seq, seq + 1), 1.2 * DAY)
    journey.nats.start()
    server.start()
    until("old messages to be trimmed", lambda: first(journey) > 1, TRIMMED_SECONDS)
    (trim,) = trims(journey)
    assert trim["event"]["below"] <= first(journey) <= newest, trim
    with journey.peer() as peer:
        assert all(is_gone(peer, seq) for seq in left) and not is_gone(peer, newest)
    server.stop()
    server.fsck().ok()


def test_p8_an_open_approval_keeps_its_messages(shipped: Shipped, tmp_path: Path) -> None:
    """They stay, however old; it is granted and redeemed; once it is over, they go."""
    house = House.ready(tmp_path / "house", RULES, people(), journal_retention_days=30, **shipped.options(tmp_path))
    journey, server = Journey(shipped, house.server), house.server
    try:
        publisher = server.as_("publisher")
        erased = publisher.publish(events(1, 1)[0])[0]["index"]
        server.admin.erase(erased)
        asked = house.pause()
        house.person("p-ana")
        publisher.publish(*events(6, 10))
        of_approval = min(entry["journal"]["seq"] for entry in server.admin.entries(kind="approval"))
        server.stop()
        with journey.peer() as peer:
            last = peer.last()
        journey.nats.stop()
        # Not the last one, which is compared at every start; and what `fsck` would compare is not true any more.
        backdate(journey.nats, STREAM, range(of_approval - 1, last), 2 * DAY)
        journey.nats.start()
        set_retention(journey, 1)
        server.start()
        looked_at(journey, erased)
        assert first(journey) <= of_approval
        assert all(trim["event"]["below"] <= of_approval for trim in trims(journey))
        server.restart(kill=True)
        house.until_state(asked, "pending", seconds=60)
        assert house.review(asked, "p-ana").status_code == 200
        spend(house, asked)
        until("the rest to be trimmed", lambda: first(journey) >= last, TRIMMED_SECONDS)
        assert house.steps(asked)[:3] == ["requested", "reviewed", "granted"] and house.count(asked)["redeemed"] == 1
        # What is in the log is enough for whatever comes later.
        house.state(asked)
        assert house.review(house.pause(), "p-ana").status_code == 200
    finally:
        server.__exit__()


def spend(house: House, asked: Paused) -> None:
    """Minted, redeemed, reported."""
    token = house.mint(asked)
    assert house.redeem(asked, token).status_code == 200
    assert house.report(asked).status_code == 200


@pytest.mark.parametrize("below", [1, 4, 10**6])
def test_p4_a_strangers_trim_message_trims_nothing(below: int, journey: Journey, tmp_path: Path) -> None:
    """Unsigned: it is `rejected`, nothing is deleted; and to an older database it explains no hole."""
    told, server = Ledger(), journey.server
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path)
    publish(journey, told, events(6, 2))
    with journey.peer() as peer:
        peer.push(json.dumps({"below": below, "by": {"server": "retention"}}).encode(), "countersign.acme.system.trim")
    fence(journey, "after it")
    assert not trims(journey) and server.admin.entries()[-2]["kind"] == "rejected"
    assert first(journey) == 1
    server.restart(kill=True)
    assert first(journey) == 1 and health(server)["halted_logs"] == 0
    seq = server.admin.entry(told.index["/p4", "p4-0006"])["journal"]["seq"]
    size = server.admin.size()
    put_back(journey, tmp_path, guard=False)
    with journey.peer() as peer:
        peer.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": seq})
    server.start(ready=False)
    until("the log to halt", lambda: halted_now(server))
    reason = health(server)["halted"][0]["reason"]
    assert "trimmed" not in reason and "--accept-hole" in reason, reason
    assert server.admin.size() < size


def test_p3_a_broker_that_trims_nothing_costs_no_entry_for_a_retry(make_journey: Callable[..., Journey]) -> None:
    """The entry stands before anything goes; while the broker refuses, nothing goes, and nothing is written again."""
    journey = make_journey(journal_retention_days=30)
    told, server, nats = Ledger(), journey.server, journey.nats
    publish(journey, told, events(1, 5))
    erased = told.index["/p4", "p4-0001"]
    server.admin.erase(erased)
    server.stop()
    gone = old(journey, events(6, 30))
    whole = nats.config.read_text()
    user = "{ user: countersign, password: "
    line = next(line for line in whole.splitlines() if user in line)
    denied = line.rstrip().removesuffix("}") + f', permissions: {{ publish: {{ deny: "$JS.API.STREAM.PURGE.{STREAM}" }} }} }}'
    nats.config.write_text(whole.replace(line, denied))
    nats.restart(kill=False)
    set_retention(journey, 1)
    server.start()
    until("the entry", lambda: trims(journey), TRIMMED_SECONDS)
    looked_at(journey, erased)
    looked_at(journey, erased)
    assert first(journey) == 1, "the entry came first"
    assert len(trims(journey)) == 1, trims(journey)
    nats.config.write_text(whole)
    nats.restart(kill=False)
    until("old messages to be trimmed", lambda: first(journey) >= gone[-1], TRIMMED_SECONDS)
    assert len(trims(journey)) <= 2
    publish(journey, told, events(36, 2))
    until("health to be green", lambda: health(server)["status"] == "green", 120)
