"""P1, P6, P14: freezes on a broker's journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import audit, successor
from rig.broker import Journey, Shipped
from support import Server, until
from support.asking import bounded
from support.deciding import RULES, Deciding, question

REVIEWED = RULES.replace('action = "policy.activate"', 'action = ["policy.activate", "freeze.lift"]')


@pytest.fixture
def desk(shipped: Shipped, tmp_path: Path) -> Iterator[Deciding]:
    """A tenant on the journal of `shipped`, whose policy allows transfers up to 1,000.00."""
    with Server(tmp_path / "server", **shipped.options(tmp_path)) as server:
        desk = Deciding(server, REVIEWED)
        desk.activate(bounded(tmp_path / "wide", 100_000))
        yield desk


def freeze(desk: Deciding, scope: str, id: str) -> int:
    """Freezes something. Returns the freeze."""
    admin = desk.server.admin
    answer = admin.http.post(f"{admin.t}/freezes", json={"scope": scope, "id": id, "reason": "For the test."})
    assert answer.status_code == 200 and answer.json()["status"] == "applied", answer.text
    return int(answer.json()["index"])


def denied_for(told: dict[str, Any], freeze: int) -> bool:
    """True if it is denied for this freeze."""
    return (told["verdict"], told["reason"]["code"], (told.get("freeze") or {}).get("index")) == ("deny", "frozen", freeze)


def test_p1_p6_p14_a_freeze_stands_after_restarts_and_on_a_fresh_server(desk: Deciding, shipped: Shipped, tmp_path: Path) -> None:
    """kill -9 of the server, then of the broker; then a second server that posts the journal from its beginning. The freeze is in force each
    time, gateways get a hint of it, and work of other agents goes on."""
    first = desk.server
    allowed = question()
    assert desk.ask(allowed).json()["verdict"] == "allow"
    journey = Journey(shipped, first)
    with journey.peer() as peer:
        peer.listen("countersign-out.acme.gw-1.freezes")
        index = freeze(desk, "agent", "payments-bot")
        ((subject, body),) = peer.heard(1)
        assert subject == "countersign-out.acme.gw-1.freezes" and json.loads(body) == {"version": index}
    first.restart(kill=True)
    assert denied_for(desk.told(), index)
    shipped.kill9()
    shipped.start()
    until("the broker is back", lambda: desk.ask(question()).status_code == 200, 60)
    assert denied_for(desk.told(), index)
    repeated = desk.ask(allowed)
    assert (repeated.status_code, repeated.json()["code"]) == (409, "frozen"), repeated.text
    other = desk.told(agent={"id": "helpdesk-bot"})
    assert other["reason"]["code"] != "frozen", other
    leaves = audit.leaves(first.admin)
    first.stop()
    with successor.adopt(first, tmp_path / "second", public_url=first.url) as second:
        successor.catch_up(second, leaves)
        assert denied_for(desk.ask(question(), second.client(desk.gateway.key)).json(), index)
        second.stop()
        second.fsck().ok()
    first.fsck().ok()
