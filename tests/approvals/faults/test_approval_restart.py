"""P1, P9: the process dies with approvals open, and comes back: every one stands where it stood, and time went on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from rig.life import approve, ask, kinds, rules, told
from support import NatsServer, until
from support.house import House, Paused

#: How often the worker keeps the place it has reached, in seconds (`KEEP_EVERY`).
KEPT_EVERY = 10.0
QUICK_SECONDS = 6
RULES = f"""
[[rule]]
name = "quick"
quorum = {{at_least = 1, of = "finance"}}
owner = "none"
approve_within = "{QUICK_SECONDS}s"
execute_within = "{QUICK_SECONDS}s"
[rule.match]
action = "quick"

[[rule]]
name = "two"
quorum = {{at_least = 2, of = "finance"}}
owner = "none"
[rule.match]
action = "two"
""" + rules()


def standing(house: House) -> dict[str, Any]:
    """Everything that is open, and what ended lately, as an admin sees it."""
    def listed(state: str) -> list[dict[str, Any]]:
        return list(house.server.admin.get("/approvals", state=state, limit=200).json()["approvals"])

    return {state: sorted(listed(state), key=lambda approval: str(approval["id"])) for state in ("open", "pending", "recent")}


def go_on(house: House, pending: Paused, reviewed: Paused, granted: Paused) -> None:
    """What was begun before the end is finished after it; once."""
    told(lambda: approve(house, pending))
    told(lambda: house.review(reviewed, "p-bob", version=house.state(reviewed)["version"]))
    for call in (pending, reviewed, granted):
        token = told(lambda: house.token(call))["token"]  # noqa: B023: called at once
        told(lambda: house.redeem(call, token))  # noqa: B023: called at once
        told(lambda: house.report(call))  # noqa: B023: called at once
        found = [kind for kind in kinds(house.events(call)) if kind != "reviewed"]
        assert found == ["requested", "granted", "token_minted", "redeemed", "execution_reported"]


def snapshot_is_kept(house: House) -> bool:
    """Whether the place reached was ever written: our logs are not compressed."""
    return any(b'"cursor":' in path.read_bytes() for path in house.server.data_dir.glob("*.log"))


@pytest.mark.parametrize("snapshot", ["never kept", "stale"])
def test_p1_p9_killed_with_approvals_open(snapshot: str, journal: dict[str, Any], make_house: Callable[..., House]) -> None:
    """P1, P9: open approvals, one asked, one reviewed, one granted, and some that are over; kill -9; started again all stand
    as they stood, whether the place reached was kept long ago or never. Then they go on."""
    begun = time.monotonic()
    house = make_house(RULES, **journal)
    over = ask(house)
    told(lambda: house.review(over, "p-ann", "deny", version=1))
    early = ask(house)
    if snapshot == "stale":
        def kept() -> bool:
            # The place is kept when entries come, not more often than every 10 s.
            told(lambda: house.cancel(ask(house)))
            return snapshot_is_kept(house)

        until("the place reached to be kept", kept)
    pending, reviewed, granted = early, ask(house, action="two"), ask(house)
    told(lambda: approve(house, reviewed))
    told(lambda: approve(house, granted))
    gone = ask(house)
    told(lambda: house.cancel(gone))
    until("the list to be up to date", lambda: len(standing(house)["open"]) == 3)
    before = standing(house)
    assert {approval["id"]: approval["state"] for approval in before["open"]} == {
        pending.id: "pending", reviewed.id: "pending", granted.id: "granted",
    }  # fmt: skip
    if snapshot == "stale":
        assert snapshot_is_kept(house)
    elif time.monotonic() - begun < KEPT_EVERY:
        assert not snapshot_is_kept(house)
    house.server.kill9()
    house.server.start()
    until("the list to be read again", lambda: len(standing(house)["open"]) == 3)
    assert standing(house) == before
    go_on(house, pending, reviewed, granted)
    house.close()


def test_p9_time_passes_while_it_is_down(nats: NatsServer, make_house: Callable[..., House]) -> None:
    """P9: both deadlines pass while nothing runs: Expired and Lapsed soon after the start; nobody approves or spends any more.
    (On the embedded journal: `test_edges.py`.)"""
    house = make_house(RULES, nats=nats.url)
    waiting, granted = ask(house, action="quick"), ask(house, action="quick")
    told(lambda: approve(house, granted))
    token = told(lambda: house.token(granted))["token"]
    begun = time.monotonic()
    house.server.kill9()
    until("the deadlines", lambda: time.monotonic() > begun + QUICK_SECONDS + 0.2, QUICK_SECONDS + 5)
    house.server.start()
    assert told(lambda: approve(house, waiting), 409)["code"] in ("not_now", "too_late")
    assert told(lambda: house.redeem(granted, token), 403, 409)["code"] in ("token_expired", "too_late", "not_now")
    house.until_state(waiting, "expired")
    house.until_state(granted, "lapsed")
    assert told(lambda: house.token(granted), 409)["code"] in ("too_late", "not_now")
    found = kinds(house.events(granted))
    assert house.steps(waiting) == ["requested", "expired"]
    assert found[:4] == ["requested", "reviewed", "granted", "token_minted"] and found[-1] == "lapsed"
    assert "redeemed" not in found and found.count("token_minted") == 1
    house.close()
