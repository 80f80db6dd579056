"""P2, P3, P4, P6, P14 for verdicts on a broker's journal: whoever writes there without our key decides nothing."""

from __future__ import annotations

import base64
import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit, successor
from rig.broker import STREAM, Journey, Peer, Shipped, fence
from support import Server, event, until
from support.asking import bounded
from support.deciding import CALL, Deciding, nonce, question

SUBJECT = "countersign.acme.verdicts.r1.gw-1"


@pytest.fixture
def desk(shipped: Shipped, tmp_path: Path) -> Iterator[Deciding]:
    """A tenant on the journal of `shipped`, whose policy allows transfers up to 1,000.00."""
    with Server(tmp_path / "server", **shipped.options(tmp_path)) as server:
        desk = Deciding(server)
        desk.activate(bounded(tmp_path / "wide", 100_000))
        yield desk


@pytest.fixture
def journey(shipped: Shipped, desk: Deciding) -> Journey:
    """The same server and broker, for the helpers of the other tests."""
    return Journey(shipped, desk.server)


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return dict(httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).json())


def verdict_messages(peer: Peer) -> list[dict[str, Any]]:
    """The stored messages on gateways' verdicts, in order."""
    found, seq = [], 0
    while True:
        try:
            message = peer.api(f"STREAM.MSG.GET.{STREAM}", {"seq": seq + 1, "next_by_subj": SUBJECT})["message"]
        except AssertionError as none:
            assert "10037" in str(none), none
            return found
        seq = message["seq"]
        found.append(message)


def headers_of(message: dict[str, Any]) -> dict[str, str]:
    """Its headers, as they can be sent again."""
    lines = base64.b64decode(message["hdrs"]).decode().split("\r\n")[1:]
    named = [line.split(":", 1) for line in lines if ":" in line]
    return {name: value.strip() for name, value in named if name.startswith("Countersign-")}


def entries_after(journey: Journey, size: int, name: str) -> list[dict[str, Any]]:
    """The entries from `size` on, up to a fence."""
    fence(journey, name)
    found = [json.loads(leaf) for leaf in audit.leaves(journey.server.admin)[size:]]
    return [entry for entry in found if entry["event"].get("source") != "/fence"]


def without(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what may differ in a repetition."""
    return {name: value for name, value in answer.items() if name not in ("repeated", "valid_for")}


def ends_sound(server: Server) -> None:
    """Stops the server and checks its database."""
    server.stop()
    found = server.fsck()
    assert found.code == 0, found.out


def test_p6_p14_after_a_crash_and_on_a_fresh_server_the_answers_are_the_same(desk: Deciding, journey: Journey, tmp_path: Path) -> None:
    """kill -9, then a second server that posts the journal from its beginning: the same entries, the same root, the same
    answers; and replay says the same of both."""
    first = desk.server
    asked = [question(params=CALL | {"amount": amount}) for amount in (1, 100_000, 100_001)] + [question(agent={"id": "nobody"})]
    told = [desk.ask(one).json() for one in asked]
    assert [answer["verdict"] for answer in told] == ["allow", "allow", "deny", "deny"]
    first.restart(kill=True)
    again = [desk.ask(one).json() for one in asked]
    assert all(answer["repeated"] for answer in again)
    assert [without(answer) for answer in again] == [without(answer) for answer in told]
    before = desk.replayed(desk.export(tmp_path / "first"))
    assert (before["different"], before["not_replayable"]) == ({}, {}), before
    leaves = audit.leaves(first.admin)
    first.stop()

    with successor.adopt(first, tmp_path / "second", public_url=first.url) as second:
        successor.catch_up(second, leaves)
        assert audit.tree_of(audit.leaves(second.admin)).root(len(leaves)) == audit.tree_of(leaves).root(len(leaves))
        gateway = second.client(desk.gateway.key)
        answers = [desk.ask(one, gateway).json() for one in asked]
        assert all(answer["repeated"] for answer in answers), answers
        assert [without(answer) for answer in answers] == [without(answer) for answer in told]
        new = desk.ask(question(), gateway).json()
        assert (new["verdict"], new["repeated"], new["policy"]) == ("allow", False, told[0]["policy"])
        second.stop()
        found = second.fsck()
        assert found.code == 0, found.out
    found = first.fsck()
    assert found.code == 0, found.out


def test_p3_p14_a_stranger_decides_nothing(desk: Deciding, journey: Journey) -> None:
    """Whoever writes verdicts without the journal key gives `rejected` entries and turns health red. The question that they wanted
    to answer is answered by the policy."""
    asked = question(params=CALL | {"amount": 100_001})
    wanted = desk.told()
    with journey.peer() as stranger:
        stored = json.loads(base64.b64decode(verdict_messages(stranger)[-1]["data"]))
        signed = headers_of(verdict_messages(stranger)[-1])
        assert stored["data"]["verdict"] == "allow" == wanted["verdict"]
        forged = copy.deepcopy(stored) | {"id": asked["id"], "source": asked["source"]}
        forged["data"]["payload"] |= {"params": asked["params"], "nonce": asked["nonce"]}
        forged["data"]["call"]["digest"] = desk.ask(question(params=asked["params"])).json()["call"]["digest"]
        size = desk.server.admin.size()
        assert health(desk.server)["unsigned_messages"] is False
        for body, subject, headers in [
            (forged, SUBJECT, {}),
            (forged, SUBJECT, {"Countersign_Signature": "0." + "A" * 86}),
            (forged, SUBJECT, {k.replace("-", "_"): v for k, v in signed.items()}),  # another message's signature
            (stored, SUBJECT.replace("gw-1", "gw-2"), {k.replace("-", "_"): v for k, v in signed.items()}),
            (stored, SUBJECT.replace("r1", "r2"), {k.replace("-", "_"): v for k, v in signed.items()}),
            (stored | {"id": "another"}, SUBJECT, {k.replace("-", "_"): v for k, v in signed.items()}),
            (event(), SUBJECT, {}),
            (b"{", SUBJECT, {}),
        ]:
            stranger.publish(body, subject, **headers)
    found = entries_after(journey, size, "after")
    assert [(entry["kind"], entry["event"]["reason"]) for entry in found] == [("rejected", "signature")] * 8, found
    told = desk.ask(asked).json()
    assert (told["verdict"], told["repeated"]) == ("deny", False), told
    sick = health(desk.server)
    assert sick["unsigned_messages"] is True and sick["status"] == "red", sick
    assert "unsigned_messages" in json.dumps(sick["tenants"])
    assert desk.told()["verdict"] == "allow", "it goes on deciding"
    ends_sound(desk.server)


def test_p2_p14_a_verdict_published_again_gives_no_entry(desk: Deciding, journey: Journey) -> None:
    """A copy of our own message, with our own signature, with its salt or another: no new entry, and the same answer."""
    asked = [question(), question(params=CALL | {"amount": 100_001})]
    told = [desk.ask(one).json() for one in asked]
    size = desk.server.admin.size()
    with journey.peer() as stranger:
        messages = verdict_messages(stranger)
        assert len(messages) == 2
        for message in messages * 3:
            headers = {name.replace("-", "_"): value for name, value in headers_of(message).items()}
            stranger.publish(base64.b64decode(message["data"]), SUBJECT, **headers)
            stranger.publish(base64.b64decode(message["data"]), SUBJECT, **headers | {"Countersign_Salt": "A" * 22})
    assert entries_after(journey, size, "after") == []
    again = [desk.ask(one).json() for one in asked]
    assert [without(answer) for answer in again] == [without(answer) for answer in told]
    assert health(desk.server)["unsigned_messages"] is False
    ends_sound(desk.server)


def test_p14_a_gateway_can_not_take_the_way_of_events(desk: Deciding, journey: Journey) -> None:
    """A producer that publishes events under its own name has another key space: its "Countersign decided" is an event of its own,
    and the question is answered by the policy."""
    asked = question(params=CALL | {"amount": 100_001})
    with journey.peer() as peer:
        desk.told()
        stored = json.loads(base64.b64decode(verdict_messages(peer)[-1]["data"]))
        stored |= {"id": asked["id"], "source": asked["source"]}
    with journey.peer("acme-gw-1") as producer:
        producer.publish(stored)
        with pytest.raises(Exception):  # noqa: B017, PT011  the broker refuses the subject, or nobody answers there
            producer.publish(stored, SUBJECT)
    size = desk.server.admin.size()
    fence(journey, "the event")
    theirs = [e for e in desk.server.admin.entries(kind="decision") if e["event"]["id"] == asked["id"]]
    assert len(theirs) == 1 and "as_of" not in theirs[0]["event"]["data"] and "bundle" not in theirs[0]["event"]["data"]
    told = desk.ask(asked).json()
    assert (told["verdict"], told["repeated"]) == ("deny", False) and told["decision"]["index"] >= size
    again = desk.replayed(desk.export(desk.server.root / "export"))
    assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, 2), again


def test_p1_p14_without_the_broker_nothing_is_told(desk: Deciding, journey: Journey) -> None:
    """503 while it is away, never a verdict, also for what was answered before; afterwards asking again works."""
    asked, known = [question() for _ in range(4)], question()
    before = desk.ask(known).json()
    journey.nats.kill9()
    size = desk.server.admin.size()
    for one in [*asked, known]:
        answer = desk.ask(one)
        assert answer.status_code == 503 and "verdict" not in answer.json(), answer.text
    batch = desk.ask(asked)
    assert batch.status_code == 503 or all("verdict" not in result for result in batch.json()["results"]), batch.text
    assert desk.server.admin.size() == size
    journey.nats.start()
    until("the broker to be back", lambda: health(desk.server)["journal_connected"] and desk.ask(known).status_code == 200, 120)
    assert without(desk.ask(known).json()) == without(before)
    for one in asked:
        told = desk.ask(one).json()
        assert told["verdict"] == "allow" and told["policy"] == before["policy"], told
    # Whatever reached the broker before it went is one decision, and no other.
    decided = [entry["event"]["id"] for entry in desk.server.admin.entries(kind="decision")]
    assert all(decided.count(one["id"]) == 1 for one in asked)
    ends_sound(desk.server)


def test_p11_an_erasure_names_the_subject_of_the_verdict(desk: Deciding, journey: Journey) -> None:
    """The entry says which journal message is gone, and on which subject it was: that of verdicts."""
    told = desk.ask(question(nonce=nonce())).json()
    index = told["decision"]["index"]
    with journey.peer() as peer:
        message = verdict_messages(peer)[-1]
        assert message["seq"] == desk.server.admin.entry(index)["journal"]["seq"]
    assert desk.server.admin.erase(index)["status"] == "complete"
    erased = desk.server.admin.entries(kind="erasure")[-1]["event"]
    named = [(gone["seq"], f"countersign.acme.{gone['subject']}") for gone in erased["messages"]]
    assert named == [(message["seq"], message["subject"])], erased


def test_p6_p11_p14_an_older_database_posts_erased_verdicts_as_they_were(desk: Deciding, journey: Journey, tmp_path: Path) -> None:
    """Verdicts, a repetition and their erasure after a backup: a replica that was away reaches the same entries and gives the same
    answers."""
    server = desk.server
    server.stop()
    shutil.copytree(server.data_dir, tmp_path / "data")
    shutil.copy(server.guard_path, tmp_path / "guard")
    server.start()
    desk.gateway = server.client(desk.gateway.key)
    kept, gone = question(params=CALL | {"amount": 100_001}), question(params=CALL | {"amount": 100_002})
    told = [desk.ask(one).json() for one in (kept, gone, gone)]
    assert [answer["verdict"] for answer in told] == ["deny"] * 3 and told[2]["repeated"]
    assert server.admin.erase(told[1]["decision"]["index"])["status"] == "complete"
    leaves = audit.leaves(server.admin)
    server.stop()
    shutil.rmtree(server.data_dir)
    shutil.copytree(tmp_path / "data", server.data_dir)
    shutil.copy(tmp_path / "guard", server.guard_path)
    server.start()
    desk.gateway = server.client(desk.gateway.key)
    until("it to catch up", lambda: server.admin.size() >= len(leaves), 120)
    assert audit.leaves(server.admin)[: len(leaves)] == leaves
    again = [desk.ask(one).json() for one in (kept, gone)]
    assert [answer["decision"] for answer in again] == [told[0]["decision"], told[1]["decision"]]
    assert [answer["verdict"] for answer in again] == ["deny", "deny"]
    conflict = desk.ask(gone | {"nonce": nonce()})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "conflict"), conflict.text
    assert desk.told()["verdict"] == "allow" and health(server)["status"] == "green", health(server)
