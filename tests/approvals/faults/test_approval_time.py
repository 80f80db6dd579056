"""P9: silence permits nothing. Clocks that jump or are wrong, chats that are away; and what is over stays over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.life import RETRY_SECONDS, approve, ask, kinds, rules, told, until_told
from support import NatsServer, event, free_port, until
from support.binary import cli
from support.fakeslack import FakeSlack
from support.faketime import Clock
from support.house import House, at, code
from support.lifecycle import judge
from support.slack_office import connection

HOUR = 3600
DAY = 24 * HOUR
YEAR = 365 * DAY
LONG = '[[rule]]\nname = "long"\nmatch = {action = "long"}\nquorum = {at_least = 1, of = "finance"}\nowner = "none"\napprove_within = "2d"\n'
SHORT_SECONDS = 18


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that can be set."""
    return Clock(tmp_path)


def health(house: House) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {house.server.operator_key.text}"}
    return dict(httpx.get(f"{house.server.url}/healthz", headers=headers, timeout=20, trust_env=False).json())


def is_wrong(house: House) -> bool:
    """Whether health says that a clock is wrong; not while the server starts."""
    try:
        return health(house)["wrong_clocks"] == 1
    except httpx.TransportError:
        assert house.server.alive(), house.server.log
        return False


def reset(house: House, reason: str) -> dict[str, Any]:
    """`countersign clock reset`; the `clock` entry."""
    house.server.remote("clock reset", "--tenant", "acme", "--reason", reason).ok()
    return house.server.admin.entries(kind="clock")[-1]


def said(ahead: int) -> str:
    """What a producer's clock says that is so many seconds ahead."""
    return datetime.fromtimestamp(time.time() + ahead, UTC).isoformat()


def with_clock(house: House, clock: Clock) -> House:
    """The same house, by this clock."""
    house.server.stop()
    house.server.start(env=clock.env)
    return house


@pytest.mark.parametrize("by", [HOUR, -HOUR, 10 * YEAR])
def test_p9_a_jump(by: int, make_house: Callable[..., House], clock: Clock) -> None:
    """P9: the clock jumps while the server runs: nothing is decided, and nothing ends, neither by a request nor by time. Events are
    still taken, and dated as if it had not jumped. Back again, everything goes on."""
    house = with_clock(make_house(rules(approve_within="30m", execute_within="20m", token_life="600s")), clock)
    waiting, granted, minted = ask(house), ask(house), ask(house)
    told(lambda: approve(house, granted))
    told(lambda: approve(house, minted))
    token = told(lambda: house.token(minted))["token"]
    before = {call.id: kinds(house.events(call)) for call in (waiting, granted, minted)}
    clock.set(by)
    for refused in (house.redeem(minted, token), approve(house, waiting), house.token(granted), house.open(house.new())):
        assert code(refused) == (503, "not_ready") and "clock" in refused.json()["detail"], refused.text
    until("health to say so", lambda: is_wrong(house))
    assert health(house)["status"] == "red" and health(house)["halted_logs"] == 0
    (taken,) = house.server.as_("publisher").publish(event())
    entry = house.server.admin.entry(taken["index"])
    assert abs(at(entry["journal"]["time"]) - time.time()) < HOUR / 2
    until("the log to say so", lambda: "no deadline is applied" in house.server.log, 180)
    assert {call.id: kinds(house.events(call)) for call in (waiting, granted, minted)} == before
    clock.set(0)
    told(lambda: approve(house, waiting))
    told(lambda: house.redeem(minted, token))
    told(lambda: house.token(granted))
    until("health to be green", lambda: health(house)["status"] == "green")
    house.close()


def test_p9_a_jump_that_is_right(make_house: Callable[..., House], clock: Clock) -> None:
    """P9: an admin says that the clock is right after its jump: what is over by it is over, and the rest is decided again."""
    house = with_clock(make_house(LONG + rules(approve_within="30m", execute_within="20m")), clock)
    waiting, long = ask(house), ask(house, action="long")
    clock.set(HOUR)
    assert code(approve(house, long)) == (503, "not_ready")
    reset(house, "The machine slept for an hour.")
    told(lambda: house.review(long, "p-ann"))
    house.until_state(waiting, "expired")
    assert kinds(house.events(waiting)) == ["requested", "expired"]
    assert kinds(house.events(long))[:3] == ["requested", "clock_reset", "reviewed"]
    house.close()


@pytest.mark.parametrize("off", [40, -40])
def test_p9_a_clock_that_is_wrong(off: int, nats: NatsServer, make_house: Callable[..., House], clock: Clock) -> None:
    """P9: 40 s off the journal's, which judges: nothing is decided (503 `not_ready`), by whatever road, from the first request on.
    Nothing new is opened either, and nothing is written to find it out."""
    house = with_clock(make_house(nats=nats.url), clock)
    calls = [ask(house) for _ in range(3)]
    granted = ask(house)
    told(lambda: approve(house, granted))
    token = told(lambda: house.token(granted))["token"]
    size = house.server.admin.size()
    clock.set(off)
    refusals = [approve(house, call) for call in calls]
    refusals += [house.redeem(granted, token), house.token(calls[0]), house.open(house.new())]
    for refused in refusals:
        assert code(refused) == (503, "not_ready") and "clock" in refused.json()["detail"], refused.text
    until("health to say so", lambda: is_wrong(house))
    assert house.server.admin.size() == size
    house.server.stop()
    house.server.start()
    for call in calls:
        told(lambda: approve(house, call))  # noqa: B023: called at once
    told(lambda: house.redeem(granted, token))
    house.close()


@pytest.mark.parametrize("when", ["at start", "while it runs"])
def test_p9_a_server_that_is_an_hour_ahead(when: str, nats: NatsServer, make_house: Callable[..., House], clock: Clock) -> None:
    """P9: its clock is an hour ahead of the broker's. Nothing that waits is reminded, expires or lapses: the clocks are compared before
    the first of it, not after. When the clock is right, all of it goes on."""
    house = with_clock(make_house(rules(approve_within="30m", execute_within="20m", token_life="600s"), nats=nats.url), clock)
    waiting, granted = [ask(house) for _ in range(10)], ask(house)
    told(lambda: approve(house, granted))
    token = told(lambda: house.token(granted))["token"]
    before = {call.id: kinds(house.events(call)) for call in (*waiting, granted)}
    if when == "at start":
        house.server.stop()
    clock.set(HOUR)
    if when == "at start":
        house.server.start(ready=False, env=clock.env)
    until("the log to say so", lambda: house.server.log.rfind("no deadline is applied") > house.server.log.rfind("serving"))
    until("health to say so", lambda: is_wrong(house))
    assert {call.id: kinds(house.events(call)) for call in (*waiting, granted)} == before
    clock.set(0)
    for call in waiting:
        told(lambda: approve(house, call))  # noqa: B023: called at once
    told(lambda: house.redeem(granted, token))
    house.close()


def test_p9_a_clock_that_is_set_right(nats: NatsServer, make_house: Callable[..., House], clock: Clock) -> None:
    """P9: once the clock is right again, it decides again, by itself."""
    house = with_clock(make_house(nats=nats.url), clock)
    first, second = ask(house), ask(house)
    clock.set(40)
    approve(house, first)
    assert code(approve(house, second)) == (503, "not_ready")
    clock.set(0)
    assert until_told(lambda: approve(house, second)) is not None, f"still not ready after {RETRY_SECONDS} s"


def test_p9_a_clock_that_is_a_little_wrong(nats: NatsServer, make_house: Callable[..., House], clock: Clock) -> None:
    """6 s off the journal's: said in the log, and decided."""
    house = with_clock(make_house(nats=nats.url), clock)
    first, second = ask(house), ask(house)
    told(lambda: approve(house, first))
    assert "clock and the journal's differ" not in house.server.log
    clock.set(6)
    told(lambda: approve(house, second))
    told(lambda: house.token(second))
    until("a warning", lambda: "clock and the journal's differ" in house.server.log)
    house.close()


# Entries from the future


@pytest.mark.parametrize("off", [10 * YEAR, -20 * YEAR])
def test_p9_a_start_at_an_impossible_time(off: int, make_house: Callable[..., House], clock: Clock) -> None:
    """P9: a clock that can't be right at start, on the embedded journal: nothing is decided, and health is red. Events are kept, and
    none is dated ahead. Once it is right, all goes on as if nothing had been."""
    house = make_house()
    waiting = ask(house)
    house.server.as_("publisher")  # its key is an entry too
    kept = house.server.admin.entries(kind="evidence")
    house.server.stop()
    clock.set(off)
    house.server.start(ready=False, env=clock.env)
    until("health to say so", lambda: is_wrong(house))
    index = house.server.as_("publisher").publish(event())[0]["index"]
    assert abs(at(house.server.admin.entry(index)["journal"]["time"]) - time.time()) < DAY
    assert code(approve(house, waiting)) == (503, "not_ready")
    clock.set(0)
    house.server.as_("publisher").publish(event())
    told(lambda: approve(house, waiting))
    until("health to be green", lambda: health(house)["status"] == "green")
    assert house.server.admin.entries(kind="clock") == [] and house.server.admin.entries(kind="evidence") == kept
    house.close()


def test_p9_a_start_after_a_long_silence(make_house: Callable[..., House], clock: Clock) -> None:
    """P9: nothing ran for 40 days, and the clock is right: an admin says so, and that is an entry. Whatever waited is over."""
    house = make_house()
    waiting = ask(house)
    house.server.stop()
    clock.set(40 * DAY)
    house.server.start(ready=False, env=clock.env)
    until("health to say so", lambda: is_wrong(house))
    assert code(approve(house, waiting)) == (503, "not_ready")
    entry = reset(house, "It was switched off for the summer.")
    assert at(entry["journal"]["time"]) > time.time() + 39 * DAY
    house.until_state(waiting, "expired", seconds=90)
    late = ask(house, time=said(40 * DAY))
    told(lambda: approve(house, late))
    house.close()


def test_p9_time_begins_anew(make_house: Callable[..., House], clock: Clock, tmp_path: Path) -> None:
    """P9: entries were dated a day ahead. With the clock right again nothing is decided, events are taken, and no entry is written by
    itself; until an admin begins time anew, by an entry. Then what waits has its whole time again, from now on, and everything
    verifies."""
    house = with_clock(make_house(), clock)
    early = ask(house)
    house.server.stop()
    clock.set(DAY)
    house.server.start(env=clock.env)
    house.until_state(early, "expired", seconds=90)
    waiting, granted, minted = (ask(house, time=said(DAY)) for _ in range(3))
    told(lambda: approve(house, granted))
    told(lambda: approve(house, minted))
    void = told(lambda: house.token(minted))["token"]
    house.server.stop()
    house.server.start()
    for refused in (approve(house, waiting), house.redeem(minted, void), house.token(granted)):
        assert code(refused) == (503, "not_ready") and "clock reset" in refused.json()["detail"], refused.text
    publisher = house.server.as_("publisher")
    size = house.server.admin.size()
    publisher.publish(event())
    assert health(house)["status"] == "red" and house.server.admin.size() == size + 1
    house.server.restart()
    assert code(approve(house, waiting)) == (503, "not_ready")
    entry = reset(house, "The clock was a day ahead.")
    assert abs(at(entry["journal"]["time"]) - time.time()) < HOUR
    assert entry["event"].keys() == {"at", "by", "reason"} and entry["event"]["by"] == {"key": house.server.admin_key.id}
    until("health to be green", lambda: health(house)["status"] == "green")
    told(lambda: house.review(waiting, "p-bob"))
    assert abs(at(house.state(waiting)["approval_deadline"]) - time.time() - HOUR) < HOUR / 2
    told(lambda: house.token(granted))
    assert house.redeem(minted, void).status_code in (403, 409)
    told(lambda: house.redeem(minted, told(lambda: house.token(minted))["token"]))
    assert [kind for kind in kinds(house.events(waiting)) if kind != "reminded"] == ["requested", "clock_reset", "reviewed", "granted"]
    again = house.server.remote("clock reset", "--tenant", "acme", "--reason", "Once more.")
    assert again.code == 1 and "Nothing is wrong" in again.err, again
    export = tmp_path / "approval"
    house.server.remote("export", "--tenant", "acme", "--approval", waiting.id, export).ok()
    key = tmp_path / "log.vkey"
    key.write_text(house.server.vkey + "\n")
    cli("verify", "--key", key, "--approval", export).ok()
    house.server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    cli("verify", "--key", key, "--export", tmp_path / "export").ok()
    since = house.server.admin.entries(since=entry["journal"]["time"])
    assert [found["kind"] for found in since][0] == "clock"
    judge(house.server.admin.feed())
    house.server.stop()
    house.server.fsck("--replay").ok()


def test_clock_resets_say_why(make_house: Callable[..., House]) -> None:
    """A reason of 1 to 2000 characters, by an admin; and only where something is wrong."""
    house = make_house()
    admin, path = house.server.admin, "/v1/tenants/acme/clock"
    for body, expected in (
        ({}, "bad_request"), ({"reason": ""}, "bad_request"), ({"reason": " "}, "bad_request"), ({"reason": "x" * 2001}, "bad_request"),
        ({"reason": "x", "more": 1}, "bad_request"), ({"reason": "It is right."}, "conflict"),
    ):  # fmt: skip
        assert code(admin.http.post(path, json=body))[1] == expected, body
    assert code(house.gateway().http.post(path, json={"reason": "x"})) == (403, "role_missing")
    assert admin.entries(kind="clock") == []


# Chats that are away


class Away:
    """A Slack that is away: nobody listens, nobody answers, or everything fails; and comes back at its address."""

    def __init__(self, how: str) -> None:
        self._port = free_port()
        self.slack = self._made()
        if how == "nobody listens":
            self.slack.__exit__()
        if how == "everything fails":
            self.slack.trouble("chat.postMessage", "status", 10_000, code=500)
            self.slack.__enter__()
        self._how = how

    def _made(self) -> FakeSlack:
        slack = FakeSlack(port=self._port)
        for channel in ("C1", "C2"):
            slack.channel(channel)
        return slack

    def comes_back(self) -> None:
        """It is there again."""
        if self._how == "everything fails":
            self.slack.untroubled()
            return
        if self._how == "nobody listens":
            self.slack = self._made()
        self.slack.__enter__()


@pytest.fixture(params=["nobody listens", "nobody answers", "everything fails"])
def away(request: pytest.FixtureRequest) -> Iterator[Away]:
    """A Slack that is away."""
    away = Away(request.param)
    yield away
    away.slack.__exit__()


CHANNELS = "".join(f'[channels.{name}]\nconnection = "acme-slack"\nto = "{to}"\n' for name, to in (("team", "C1"), ("heads", "C2")))


def asked_in_slack(action: str, **times: str) -> str:
    """A rule whose calls are shown in Slack, and escalated there."""
    rule = rules(**times, more='channels = ["team"]\nescalate = ["heads"]')
    return rule.replace('"everything"', f'"{action}"') + f'[rule.match]\naction = "{action}"\n'


def test_p9_a_chat_outage(away: Away, make_house: Callable[..., House], tmp_path: Path) -> None:
    """P9: the chat is away until the deadline: reminded, escalated, expired; nobody approved anything, nothing is lost. What
    has a longer deadline is shown when the chat is back, once, and can be answered meanwhile."""
    text = CHANNELS + asked_in_slack("short", approve_within=f"{SHORT_SECONDS}s") + asked_in_slack("long") + rules()
    house = make_house(text, sections={"slack.acme-slack": connection(tmp_path, away.slack)})
    short, long, meanwhile = ask(house, action="short"), ask(house, action="long"), ask(house, action="long")
    told(lambda: approve(house, meanwhile))
    house.until_state(short, "expired")
    assert kinds(house.events(short)) == ["requested", "reminded", "escalated", "expired"]
    assert house.events(short)[-1]["reason"] == "undeliverable"
    assert kinds(house.events(long)) == ["requested"]
    assert listed(house, "open") == {long.id, meanwhile.id} and listed(house, "recent") == {short.id}
    assert len(house.evidence(long.id)) <= 1, "every try is not an entry"
    away.comes_back()
    until("a card of what still waits", lambda: shown(away, long.id), 90)
    told(lambda: approve(house, long))
    until("the card to follow", lambda: "Approved" in str(away.slack.card("C1", long.id)["blocks"][0]), 90)
    assert shown(away, long.id) == 1
    assert away.slack.violations == []
    assert kinds(house.events(short)) == ["requested", "reminded", "escalated", "expired"]
    house.close()


def listed(house: House, state: str) -> set[str]:
    """The approvals of a list."""
    return {approval["id"] for approval in house.server.admin.get("/approvals", state=state).json()["approvals"]}


def shown(away: Away, approval: str) -> int:
    """How many cards of an approval the team sees."""
    cards: list[dict[str, Any]] = away.slack.cards("C1")
    return sum(card["metadata"]["event_payload"]["approval_id"] == approval for card in cards)
