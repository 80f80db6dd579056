"""An `approval_needed` that opens nothing leaves one entry that says why, for any number of askers, restarts and roads (P20)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, until
from support.edges import CATCH_ALL, at_once, people, rule
from support.house import House, Paused, at, code
from support.schemas import check

#: What is done to an event → the reason.
WHY: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no nonce": (lambda e: e["data"]["payload"].pop("nonce"), "no_call"),
    "no digest": (lambda e: e["data"].pop("call"), "no_digest"),
    "another digest": (lambda e: e["data"]["payload"].update(params={"amount": 1}), "digest_mismatch"),
    "old": (lambda e: e.update(time=(datetime.now(timezone.utc) - timedelta(days=2)).isoformat()), "too_old"),
}


def said(house: House, made: Paused) -> list[dict[str, Any]]:
    """The entries that say why it was not opened."""
    found = (json.loads(leaf) for _, leaf in house.server.admin.feed(kind="not_opened"))
    return [entry for entry in found if entry["event"]["approval_id"] == made.id]


def open_until_answered(house: House) -> None:
    """A call that is opened: whatever was published before it is settled too, a moment later."""
    marker = house.new()
    house.gateway().publish(marker.event)
    until("the marker is opened", lambda: house.gateway().get(f"/approvals/{marker.id}").status_code == 200)


def answers(server: Server) -> bool:
    """Whether it listens. Without rules it is not ready."""
    try:
        return httpx.get(f"{server.url}/livez", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("what", WHY)
def test_p20_what_opens_nothing_says_why_once(house: House, what: str) -> None:
    """By both roads, several at once, again and again: one entry, which names the decision and the reason."""
    made = house.new()
    change, why = WHY[what]
    change(made.event)
    answers = at_once(*[lambda: house.open(made) for _ in range(6)])
    assert {code(answer) for answer in answers} == {(422, "not_opened")}
    assert len({answer.json()["detail"] for answer in answers}) == 1, "the advice is the same each time"
    index = house.gateway().publish(made.event)[0]["index"]
    assert code(house.open(made)) == (422, "not_opened")
    open_until_answered(house)
    (entry,) = said(house, made)
    check("entry", entry)
    leaf = house.server.admin.get(f"/entries/{index}").content
    hashed = base64.b64encode(hashlib.sha256(b"\0" + leaf).digest()).decode()
    assert entry["event"] == {"approval_id": made.id, "decision": {"index": index, "leaf_hash": hashed}, "not_opened": why}
    assert (entry["payload"], entry["producer"], house.messages(made)) == ([], None, [])


@pytest.mark.parametrize("what", ["shadow", "deny"])
def test_p20_what_pauses_no_call_says_nothing(house: House, what: str) -> None:
    """It needs no approval."""
    made = house.new()
    made.event["data"].update({"mode": "shadow"} if what == "shadow" else {"verdict": "deny"})
    assert code(house.open(made)) == (422, "not_opened")
    open_until_answered(house)
    assert said(house, made) == []


def test_p20_the_backlog_says_it_once_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What waited for rules says why when they come; after kills, and asked again, there is no second entry, and no approval."""
    server = Server(tmp_path / "server", sections={"approvals": {"dir": tmp_path / "approvals"}})
    house = House(server, rule("short", approve_within="2s") + CATCH_ALL, people())
    server.init()
    server.start(ready=False)
    try:
        until("an answer", lambda: answers(server))
        old, blind = house.new(action="short"), house.new()
        blind.event["data"]["payload"].pop("nonce")
        index = house.gateway().publish(old.event)[0]["index"]
        house.gateway().publish(blind.event)
        taken = at(json.loads(server.admin.get(f"/entries/{index}").content)["journal"]["time"])
        until("the deadline", lambda: datetime.now(timezone.utc).timestamp() > taken + 2)
        assert not said(house, old) and not said(house, blind), "without rules nothing is decided"
        house.apply()
        until("both are said", lambda: said(house, old) and said(house, blind))
        reasons = [said(house, made)[0]["event"]["not_opened"] for made in (old, blind)]
        assert reasons == ["too_old", "no_call"]
        for _ in range(2):
            server.restart(kill=True)
            for made in (old, blind):
                assert code(house.open(made)) == (422, "not_opened")
            open_until_answered(house)
            assert (len(said(house, old)), len(said(house, blind))) == (1, 1)
            assert house.messages(old) == house.messages(blind) == []
        house.close()
    finally:
        server.__exit__()
