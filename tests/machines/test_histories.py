"""The judge of histories, which nobody here wrote, refuses what must not be: otherwise its yes would say nothing (P8, P14, P18)."""

from __future__ import annotations

import pytest

from support.histories import NEVER, History, Operation, judged


def ops(*told: tuple[int, int, str, str]) -> list[Operation]:
    """(call, end, input, output) of one client each."""
    return [Operation(client, *one) for client, one in enumerate(told)]


RIGHT = [
    History("redemption", "one wins", ops((1, 9, "r-1", "redeemed"), (2, 8, "r-2", "already_redeemed"))),
    History("redemption", "asked again", ops((1, 3, "r-1", "redeemed"), (4, 5, "r-1", "redeemed"))),
    History("redemption", "nobody knows", ops((1, NEVER, "r-1", "unknown"), (2, 8, "r-2", "already_redeemed"))),
    History("budget", "spent", ops((1, 2, "", "allow"), (3, 4, "", "allow"), (5, 6, "", "deny")), 2),
    History("budget", "at once", ops((1, 9, "", "deny"), (1, 9, "", "allow"), (1, 9, "", "allow")), 2),
    History("policy", "changed", ops((1, 2, "", "1"), (1, 9, "2", "activated"), (3, 4, "", "1"), (5, 6, "", "2")), 1),
]
WRONG = [
    History("redemption", "twice", ops((1, 9, "r-1", "redeemed"), (2, 8, "r-2", "redeemed"))),
    History("redemption", "refused by nobody", ops((1, 2, "r-1", "already_redeemed"), (3, 4, "r-2", "redeemed"))),
    History("budget", "over", ops((1, 9, "", "allow"), (1, 9, "", "allow"), (1, 9, "", "allow")), 2),
    History("budget", "something was left", ops((1, 2, "", "deny"), (3, 4, "", "allow")), 2),
    History("policy", "an old version", ops((1, 2, "2", "activated"), (3, 4, "", "1")), 1),
    History("policy", "back again", ops((1, 9, "2", "activated"), (2, 3, "", "2"), (4, 5, "", "1")), 1),
]


@pytest.mark.parametrize("history", RIGHT, ids=lambda history: history.key)
def test_p22_a_history_that_can_be(history: History) -> None:
    """Accepted."""
    assert judged([history])["wrong"] == []


@pytest.mark.parametrize("history", WRONG, ids=lambda history: history.key)
def test_p22_a_history_that_can_not_be(history: History) -> None:
    """Refused, by name."""
    told = judged([*RIGHT, history])
    assert told["wrong"] == [f"{history.model} {history.key}"] and told["checked"] == len(RIGHT) + 1
