"""P9: silence permits nothing. Clocks that jump or are wrong, chats that are away; and what is over stays over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.life import RETRY_SECONDS, approve, ask, kinds, rules, told, until_told
from support import NatsServer, free_port, until
from support.fakeslack import FakeSlack
from support.faketime import Clock
from support.house import House, code
from support.slack_office import connection

HOUR = 3600
SHORT_SECONDS = 18


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that can be set."""
    return Clock(tmp_path)


def with_clock(house: House, clock: Clock) -> House:
    """The same house, by this clock."""
    house.server.stop()
    house.server.start(env=clock.env)
    return house


def test_p9_a_jump_of_an_hour(make_house: Callable[..., House], clock: Clock) -> None:
    """P9: the clock jumps an hour ahead: what waited is expired, what was granted has lapsed, a token is worth nothing; and
    back again, nothing of it comes to life."""
    house = with_clock(make_house(rules(approve_within="30m", execute_within="20m", token_life="600s")), clock)
    waiting, granted, minted = ask(house), ask(house), ask(house)
    told(lambda: approve(house, granted))
    told(lambda: approve(house, minted))
    token = told(lambda: house.token(minted))["token"]
    clock.set(HOUR)
    assert code(house.redeem(minted, token))[1] in ("token_expired", "too_late", "not_now")
    assert code(approve(house, waiting))[1] in ("too_late", "not_now")
    assert code(house.token(granted))[1] in ("too_late", "not_now")
    house.until_state(waiting, "expired")
    for call in (granted, minted):
        house.until_state(call, "lapsed")
    ended = {call.id: kinds(house.events(call)) for call in (waiting, granted, minted)}
    assert ended[waiting.id] == ["requested", "expired"]
    for call in (granted, minted):
        assert ended[call.id][-1] == "lapsed" and "redeemed" not in ended[call.id]
    clock.set(0)
    assert house.redeem(minted, token).status_code in (403, 409, 503)
    assert approve(house, waiting).status_code in (409, 503)
    assert house.token(granted).status_code in (409, 503)
    assert {call.id: kinds(house.events(call)) for call in (waiting, granted, minted)} == ended
    house.close()


@pytest.mark.parametrize("off", [40, -40])
def test_p9_a_clock_that_is_wrong(off: int, nats: NatsServer, make_house: Callable[..., House], clock: Clock) -> None:
    """P9: 40 s off the journal's, which judges: nothing is decided (503 `not_ready`), by whatever road. One decision may
    come first, by which the clocks are compared; it is judged by the journal's. Nothing new is opened either."""
    house = with_clock(make_house(nats=nats.url), clock)
    calls = [ask(house) for _ in range(3)]
    granted = ask(house)
    told(lambda: approve(house, granted))
    token = told(lambda: house.token(granted))["token"]
    clock.set(off)
    approve(house, calls[0])
    spent = house.redeem(granted, token)
    # A token that is older than now is not looked at any further.
    assert code(spent) in ((503, "not_ready"), (403, "token_not_yet_valid")), spent.text
    for refused in (approve(house, calls[1]), house.token(calls[0]), house.open(house.new())):
        assert code(refused) == (503, "not_ready") and "clock" in refused.json()["detail"], refused.text
    assert [kinds(house.events(call)) for call in calls[1:]] == [["requested"]] * 2
    assert "redeemed" not in kinds(house.events(granted))
    house.server.stop()
    house.server.start()
    for call in calls[1:]:
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
