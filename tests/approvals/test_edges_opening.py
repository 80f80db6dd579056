"""Edge cases of an approval's life, as journeys over HTTP: what opens an approval, what does not, and what is too much."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli, event, new_id, until
from support.desk import call_digest
from support.edges import CATCH_ALL, at_once, people, rule
from support.house import House, Paused, at, code


# What opens, and what does not


def test_the_same_event_is_the_same_approval(house: House) -> None:
    """Computed by both sides, asked for by either road, any number of times; another content is a conflict."""
    made = house.new()
    answers = at_once(*[lambda: house.open(made) for _ in range(4)])
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert {answer.json()["id"] for answer in answers} == {made.id}
    assert house.gateway().publish(made.event)[0]["status"] == "duplicate"
    assert house.count(made) == {"requested": 1}
    changed = made.event | {"time": "2026-11-20T05:48:01Z"}
    assert code(house.open(Paused(made.id, changed))) == (409, "conflict")
    assert house.review(made, "p-ana").json()["state"] == "granted"
    assert house.open(made).json()["state"] == "granted"
    assert house.count(made)["requested"] == 1


def test_p8_opening_is_answered_at_once(house: House) -> None:
    """The worker also hears of it from the log: whoever of the two is first, the answer is the approval."""
    gateway = house.gateway()
    answers = [gateway.http.post(f"{gateway.t}/approvals", json=house.new().event) for _ in range(30)]
    assert [answer.status_code for answer in answers] == [201] * 30


def test_an_event_by_the_other_road_opens_too(house: House) -> None:
    """`POST T/events`, a batch of them: the worker finds them in the log."""
    made = [house.new() for _ in range(5)]
    house.gateway().publish(*[one.event for one in made])
    for one in made:
        until(one.id, lambda one=one: house.gateway().get(f"/approvals/{one.id}").status_code == 200)
        assert house.count(one) == {"requested": 1}


NOT_OPENED = {
    "shadow": lambda e: e["data"].update(mode="shadow"),
    "allow": lambda e: e["data"].update(verdict="allow"),
    "deny": lambda e: e["data"].update(verdict="deny"),
    "no params": lambda e: e["data"]["payload"].pop("params"),
    "no nonce": lambda e: e["data"]["payload"].pop("nonce"),
    "nonce is a number": lambda e: e["data"]["payload"].update(nonce=7),
    "long nonce": lambda e: e["data"]["payload"].update(nonce="n" * 65),
    "no digest": lambda e: e["data"].pop("call"),
    "digest of other params": lambda e: e["data"]["payload"].update(params={"amount": 1}),
    "digest of another agent": lambda e: e["data"]["agent"].update(id="somebody-else"),
    "digest of another run": lambda e: e["data"]["agent"].update(run="run-2"),
    "digest of another tool": lambda e: e["data"]["tool"].update(name="other"),
    "digest of another action": lambda e: e["data"]["tool"].update(action="other"),
}


@pytest.mark.parametrize("what", NOT_OPENED)
def test_p7_what_can_not_be_shown_opens_nothing(house: House, what: str) -> None:
    """422; the decision is an entry, and there is no approval, by whatever road and however often."""
    made = house.new()
    NOT_OPENED[what](made.event)
    assert code(house.open(made)) == (422, "not_opened")
    assert house.gateway().publish(made.event)[0]["status"] == "duplicate"
    assert code(house.open(made)) == (422, "not_opened")
    assert code(house.gateway().get(f"/approvals/{made.id}")) == (404, "not_found")
    assert house.messages(made) == []


@pytest.mark.parametrize("nonce", ["", "n", "n" * 64, "é" * 32, "n" * 65, "é" * 33], ids=lambda nonce: f"{len(nonce.encode())} bytes of {nonce[:1]!r}")
def test_p7_a_nonce_is_1_to_64_bytes_for_every_reader(house: House, tmp_path: Path, nonce: str) -> None:
    """The server opens what `rules test` plans, and nothing else; each says what to send. The digest always fits."""
    made = house.new(payload={"nonce": nonce})
    payload = made.event["data"]["payload"]
    made.event["data"]["call"]["digest"] = call_digest(house.tenant, nonce, made.event, payload["params"])
    file = tmp_path / "event.json"
    file.write_text(json.dumps(made.event))
    planned = cli("rules", "test", "--config", house.server.config, file)
    opened = house.open(made)
    if 1 <= len(nonce.encode()) <= 64:
        assert planned.ok() and opened.status_code == 201
    else:
        assert planned.code == 1 and "data.payload.nonce must be a text of 1 to 64 bytes" in planned.err
        assert code(opened) == (422, "not_opened") and "data.payload.nonce as a text of 1 to 64 bytes" in opened.json()["detail"]
        assert house.messages(made) == []


def test_p7_the_digest_of_another_tenant_opens_nothing(house: House) -> None:
    """The tenant is part of the call."""
    made = house.new()
    payload = made.event["data"]["payload"]
    made.event["data"]["call"]["digest"] = call_digest("globex", payload["nonce"], made.event, payload["params"])
    assert code(house.open(made)) == (422, "not_opened")
    assert house.messages(made) == []


def test_p9_a_backfill_pages_nobody(house: House) -> None:
    """Decisions of the day before yesterday are history, whenever they are published (design §8)."""
    old = (datetime.now(timezone.utc) - timedelta(days=2)).isoformat()
    made = house.new(time=old)
    assert code(house.open(made)) == (422, "not_opened")
    assert house.messages(made) == []


def test_p9_what_waited_longer_than_people_would_have_opens_nothing(tmp_path: Path) -> None:
    """Rules that are applied after the approval deadline of a decision: it is too old."""
    server = Server(tmp_path / "server", sections={"approvals": {"dir": tmp_path / "approvals"}})
    house = House(server, rule("short", approve_within="2s") + CATCH_ALL, people())
    server.init()
    server.start(ready=False)
    try:
        until("an answer", lambda: _answers(server))
        made, marker = house.new(action="short"), house.new()
        assert code(house.open(marker)) == (503, "not_ready")
        index = house.gateway().publish(made.event)[0]["index"]
        assert house.gateway().publish(marker.event)[0]["status"] == "posted"
        taken = at(server.admin.entry(index)["journal"]["time"])
        until("the deadline", lambda: time.time() > taken + 2)
        house.apply()
        until("the one that is not too old", lambda: house.gateway().get(f"/approvals/{marker.id}").status_code == 200)
        assert code(house.open(made)) == (422, "not_opened")
        assert (house.messages(made), house.count(marker)) == ([], {"requested": 1})
        server.wait_ready()
        house.close()
    finally:
        server.__exit__()


def _answers(server: Any) -> bool:
    try:
        return server.admin.get("/logs/1/checkpoint").status_code == 200
    except httpx.TransportError:
        return False


def test_p10_an_agent_that_nobody_owns_is_not_approvable(house: House) -> None:
    """Unless its rule says so; an owner whom nobody knows is none."""
    for over in ({}, {"owner": "p-nobody"}, {"owner": "NOT AN ID"}, {"owner": 7}):
        made = house.new(action="owned", **over)
        answer = house.open(made).json()
        assert (answer["state"], answer["end_reason"]) == ("cancelled", "owner_unknown"), over
        assert house.events(made)[1:] == [{"type": "cancelled", "by": "countersign", "reason": "owner_unknown"}]
        assert code(house.review(made, "p-ana")) == (409, "not_now")
    known = house.pause(action="owned", owner="p-ana")
    assert house.events(known)[0]["owners"] == ["p-ana"]
    assert code(house.review(known, "p-ana")) == (404, "not_found")
    assert house.review(known, "p-bob").json()["state"] == "granted"
    none = house.pause(action="one")
    assert house.events(none)[0]["owners"] == []
    assert house.review(none, "p-ana").json()["state"] == "granted"


def test_p10_who_owns_the_agent_by_the_file_never_reviews(make_house: Callable[..., House]) -> None:
    """Whatever the rule says; two owners both not."""
    house = make_house()
    house.change(people=people(p_ana={"owns": ["bot"]}, p_bob={"owns": ["bot", "other"]}))
    approval = house.pause(action="one", agent="bot", owner="p-cem")
    assert house.events(approval)[0]["owners"] == ["p-ana", "p-bob", "p-cem"]
    for owner in ("p-ana", "p-bob", "p-cem"):
        assert code(house.review(approval, owner)) == (404, "not_found")
    assert house.kinds_of(approval) == ["requested"]
    assert house.review(approval, "p-both").json()["state"] == "granted"


# Too much


def cooling_down(house: House, action: str, agent: str) -> bool:
    """Whether this agent must wait before it asks for this again. Cancelled at once, and recorded, if so."""
    made = house.new(action=action, agent=agent)
    view = until("an answer", lambda: _opened(made, house))
    if view["state"] == "pending":
        return False
    assert (view["state"], view["end_reason"]) == ("cancelled", "cooling_down")
    assert house.events(made)[1:] == [{"type": "cancelled", "by": "countersign", "reason": "cooling_down"}]
    return True


def _opened(made: Paused, house: House) -> Any:
    try:
        answer = house.open(made)
    except httpx.TransportError:
        return None  # a request that is refused before its body is read may end its connection
    assert answer.status_code in (200, 201) or code(answer) == (503, "not_ready"), answer.text
    return answer.json() if answer.status_code != 503 else None


def test_an_agent_can_not_farm_clicks(house: House) -> None:
    """After a no, the same agent waits ten minutes with the same tool and action. Only after a no."""
    agent = new_id("pushy")
    denied, cancelled = house.pause(agent=agent), house.pause(agent=agent, action="all")
    assert house.review(denied, "p-ana", "deny").json()["state"] == "denied"
    assert house.cancel(cancelled).status_code == 200
    assert cooling_down(house, "one", agent)
    assert not cooling_down(house, "two", agent) and not cooling_down(house, "all", agent)
    assert not cooling_down(house, "one", new_id("polite"))
    assert house.open(denied).json()["state"] == "denied", "the same event is still the same approval"


def test_an_agent_can_not_farm_clicks_by_a_restart(make_house: Callable[..., House]) -> None:
    """What was refused before it is refused after it, from the first request on."""
    house = make_house()
    assert house.review(house.pause(agent="pushy"), "p-ana", "deny").json()["state"] == "denied"
    for _ in range(10):
        house.gateway().publish(*[event() for _ in range(100)])
    for kill in (True, False, True):
        house.server.restart(kill=kill)
        assert cooling_down(house, "one", "pushy")


def test_p13_an_agent_has_twenty_pending_approvals(house: House) -> None:
    """The next is recorded and cancelled at once, until there is room; other agents have their own."""
    agent = new_id("busy")
    waiting = [house.pause(agent=agent) for _ in range(20)]
    made = house.new(agent=agent)
    assert (house.open(made).json()["state"], house.events(made)[-1]["reason"]) == ("cancelled", "too_many")
    assert [house.state(a)["state"] for a in waiting] == ["pending"] * 20
    assert house.cancel(waiting[0]).status_code == 200
    house.pause(agent=agent)
    assert house.state(house.pause())["state"] == "pending"
    assert house.open(house.new(agent=agent)).json()["end_reason"] == "too_many"
    for approval in waiting:
        house.cancel(approval)


@pytest.mark.parametrize("round_", range(4))
def test_p13_twenty_at_once_are_twenty(house: House, round_: int) -> None:
    """The last place goes to an approval, not to the two roads by which the worker hears of it."""
    agent = new_id("swarm")
    made = [house.new(agent=agent) for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(house.open, made))
    states = [answer.json()["state"] for answer in answers]
    assert states == ["pending"] * 20
    for approval in made:
        house.cancel(approval)
