"""P1, P6, P14: tokens of agents on a broker's journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import audit, successor
from rig.broker import Shipped
from support import Server, until
from support.deciding import question
from support.identity import Proving


@pytest.fixture
def desk(shipped: Shipped, tmp_path: Path) -> Iterator[Proving]:
    """A tenant on the journal of `shipped` whose policies ask who an agent is."""
    with Server(tmp_path / "server", **shipped.options(tmp_path)) as server:
        yield Proving(server, tmp_path / "policies")


def test_p1_p6_p14_a_revocation_stands_after_restarts_and_on_a_fresh_server(desk: Proving, shipped: Shipped, tmp_path: Path) -> None:
    """kill -9 of the server, then of the broker; then a second server that posts the journal from its beginning. Each time the revoked token
    proves nothing, and the other one does."""
    first = desk.server
    revoked, kept = desk.issued(seconds=3600), desk.issued(seconds=3600)
    assert {desk.asked(made["token"])["verdict"] for made in (revoked, kept)} == {"allow"}
    assert desk.revoke("payments-bot", revoked["jti"]).status_code == 200

    def stands() -> None:
        assert desk.code(revoked["token"]) == "token_revoked"
        assert desk.asked(kept["token"])["verdict"] == "allow"

    stands()
    first.restart(kill=True)
    stands()
    shipped.kill9()
    shipped.start()
    until("the broker is back", lambda: desk.ask(question()).status_code == 200, 60)
    stands()
    leaves = audit.leaves(first.admin)
    first.stop()
    with successor.adopt(first, tmp_path / "second", public_url=first.url) as second:
        successor.catch_up(second, leaves)
        gateway = second.client(desk.gateway.key)
        assert desk.code(revoked["token"], gateway=gateway) == "token_revoked"
        assert desk.asked(kept["token"], gateway)["verdict"] == "allow"
        second.stop()
        second.fsck().ok()
    first.fsck().ok()
