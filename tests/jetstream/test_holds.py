"""An erasure that a legal hold rejected explains no hole of the journal (P6, P20)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rig.broker import Journey
from rig.load import Ledger
from test_holes import keep, put_back
from test_p4 import events, health, publish

from support import until


def test_p6_an_erasure_that_a_hold_rejected_explains_no_hole(make_journey: Callable[..., Journey], tmp_path: Path) -> None:
    """An older database follows a journal with a hold, its release, and an erasure after it: it comes to the same root."""
    journey = make_journey(journal_retention_days=30)
    server, told = journey.server, Ledger()
    publish(journey, told, events(1, 5))
    keep(journey, tmp_path / "before")
    publish(journey, told, events(6, 5))
    post = lambda path, **body: server.admin.http.post(f"{server.admin.t}/{path}", json={"reason": "x"} | body)  # noqa: E731
    last = max(index for index, _ in server.admin.feed(kind="decision"))
    assert post("holds", hold="case-17").status_code == 200
    assert post("erasures", indexes=[last]).status_code == 409
    assert post("holds/case-17/release").status_code == 200
    assert post("erasures", indexes=[last]).json()["status"] == "complete"
    size, checkpoint = server.admin.size(), server.admin.checkpoint()
    put_back(journey, tmp_path / "before", guard=False)
    server.start()
    until("it to catch up", lambda: server.admin.size() >= size, 120)
    told.checkpoints.add(checkpoint)
    publish(journey, told, events(20, 2))
    assert health(server)["status"] == "green", health(server)
