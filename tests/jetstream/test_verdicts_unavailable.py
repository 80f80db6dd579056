"""P16: while the broker is away, only what a reviewed clause permits then is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.broker import Shipped
from support import Server, until
from support.asking import policy_folder
from support.deciding import Deciding, question

POLICY = """language: 1
policy: p
clauses:
  - {id: reads, agents: ["@finance-bots"], tool: payments, actions: [list], when: {purpose: [support]}, then: allow, unavailable: allow}
  - {id: other-reads, agents: ["@finance-bots"], tool: payments, actions: [list], when: {purpose: [audit]}, then: allow, record: later}
  - {id: pays, agents: ["@finance-bots"], tool: payments, actions: [transfer], then: allow}
"""


@pytest.fixture
def desk(shipped: Shipped, tmp_path: Path) -> Iterator[Deciding]:
    """A tenant on the journal of `shipped`, with a spool."""
    with Server(tmp_path / "server", **shipped.options(tmp_path), spool_dir=tmp_path / "spool") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "p", POLICY))
        yield desk


def reading(purpose: str) -> dict[str, Any]:
    """A question about a reading call."""
    return question(tool={"name": "payments", "action": "list"}, params={}, context={"purpose": purpose})


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return dict(httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).json())


def codes(server: Server) -> set[str]:
    """The troubles of all tenants."""
    return {trouble["code"] for tenant in health(server)["tenants"] for trouble in tenant["troubles"]}


def test_p16_while_the_broker_is_away_only_what_a_clause_permits_is_told(shipped: Shipped, desk: Deciding) -> None:
    """Reading calls of that clause are told with an alarm; every other call gets no verdict. What was told is in the log once the broker is back."""
    recorded = desk.ask(reading("support")).json()
    assert recorded["verdict"] == "allow" and "recorded" not in recorded, "while the journal takes it, it is recorded first"
    shipped.stop()
    until("the server knows", lambda: health(desk.server)["journals_away"] == 1, 120)
    told = [desk.ask(reading("support")) for _ in range(3)]
    for answer in told:
        assert answer.status_code == 200 and answer.json()["verdict"] == "allow" and answer.json()["recorded"] is False, answer.text
    assert "told_unrecorded" in codes(desk.server)
    for other in (reading("audit"), question(), reading("pay")):
        refused = desk.ask(other)
        assert refused.status_code == 503, refused.text
    shipped.start()
    places = {(t.json()["decision"]["spool"], t.json()["decision"]["number"]) for t in told}

    def posted() -> set[tuple[str, int]]:
        entries = [json.loads(leaf) for _, leaf in desk.server.admin.feed()]
        stands = [e["event"]["data"]["spool"] for e in entries if e["kind"] == "decision" and "spool" in e["event"]["data"]]
        assert all(place["why"] == "unavailable" for place in stands)
        void = [e["event"]["spool"] for e in entries if e["kind"] == "void" and e["event"].get("told")]
        return {(place["id"], place["number"]) for place in [*stands, *void]}

    until("what was told is in the log", lambda: posted() == places, 120)
    until("the alarm is over", lambda: "told_unrecorded" not in codes(desk.server), 120)
    assert desk.ask(reading("audit")).json()["recorded"] is False, "it goes on"
