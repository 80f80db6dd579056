"""The counting of P22 counts: logs in which something is lost, doubled or false are found. Otherwise its zeros would say nothing."""

from __future__ import annotations

from typing import Any

import pytest
from several.board import Board
from several.counts import Counts, events, quantiles


def log(*ids: str) -> list[dict[str, Any]]:
    """Entries of clients' events."""
    return [{"kind": "decision", "event": {"id": id, "source": "/load/1"}} for id in ids]


@pytest.mark.parametrize(
    ("entries", "lost", "doubled"),
    [(log("x", "y", "z"), 0, 0), (log("x", "y"), 1, 0), (log("x", "y", "z", "y"), 0, 1), (log("y", "x", "z"), 2, 0), (log("x", "z"), 2, 0)],
)
def test_p22_lost_and_doubled_events_are_counted(entries: list[dict[str, Any]], lost: int, doubled: int) -> None:
    """Three were acknowledged, at the indexes 0, 1 and 2."""
    board, counts = Board(), Counts()
    for index, id in enumerate("xyz"):
        board.acknowledge(id, index, None)
    events(counts, board, entries)
    assert (counts.acknowledged, counts.lost, counts.doubled) == (3, lost, doubled)
    assert bool(counts.bad()) == bool(lost or doubled)


def test_p22_another_index_of_one_event_is_blamed() -> None:
    """A repetition that is told another index."""
    board = Board()
    board.acknowledge("x", 1, None)
    board.acknowledge("x", 2, None)
    assert board.wrong == ["x: index 1, now 2"]


def test_p22_silence_is_the_longest_time_without_an_acknowledgement() -> None:
    """Also where it began before the failure, or is not over."""
    board = Board(acknowledged=[1.0, 2.0, 7.0, 8.0])
    assert board.silence(2.5, 8.5) == 5.0
    assert board.silence(2.5, 20.0) == 12.0
    assert quantiles("t", [3.0, 1.0, 2.0]) == "t: p50 2.0 s, p99 3.0 s, n = 3"
