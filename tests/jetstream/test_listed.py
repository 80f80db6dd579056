"""P2, P6, P15, P17: versions of lists on a broker's journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import audit, successor
from rig.broker import Shipped
from support import Server, until
from support.asking import policy_folder
from support.client import Client
from support.deciding import CALL, RULES, Deciding, question

POLICY = """language: 1
policy: pay
clauses:
  - {id: known, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {params: {/reference: {in_list: known}}}, then: allow}
"""


@pytest.fixture
def desk(shipped: Shipped, tmp_path: Path) -> Iterator[Deciding]:
    """A tenant on the journal of `shipped`, whose policy takes references from a list."""
    folder = policy_folder(tmp_path / "policies", POLICY)
    (folder / "lists").mkdir()
    (folder / "lists" / "known.yaml").write_text("language: 1\nitems: [INV-0]\n")
    with Server(tmp_path / "server", **shipped.options(tmp_path)) as server:
        desk = Deciding(server, RULES.replace('action = "policy.activate"', 'action = ["policy.activate", "list.change"]'))
        desk.activate(folder)
        yield desk


def changed(desk: Deciding, author: Client, **change: Any) -> int:
    """A change that people approve, in force. Its version."""
    asked = author.http.post(f"{author.t}/lists/known", json={"comment": "For the test."} | change)
    assert asked.status_code == 202, asked.text
    told = asked.json()
    assert desk.review(told["approval"]["id"], "p-bob").status_code == 200
    until("it is in force", lambda: author.get("/lists/known").json()["version"] == told["version"])
    return int(told["version"])


def pays(desk: Deciding, reference: str, gateway: Client | None = None) -> tuple[str, dict[str, int]]:
    """Verdict on a payment, and the versions on which it rests."""
    answer = desk.ask(question(params=CALL | {"reference": reference}), gateway)
    assert answer.status_code == 200, answer.text
    return answer.json()["verdict"], answer.json()["policy"]["lists"]


def test_p6_p15_p17_a_list_is_the_same_after_a_crash_and_on_a_fresh_server(desk: Deciding, tmp_path: Path) -> None:
    """Two changes, kill -9 after each; then a second server that posts the journal from its beginning: the same entries, the same root, the same
    version in force, and the next change follows it. Replay says the same of every verdict."""
    first = desk.server
    assert pays(desk, "INV-1") == ("deny", {"known": 0})
    assert changed(desk, desk.author(), add=["INV-1"]) == 1
    first.restart(kill=True)
    assert pays(desk, "INV-1") == ("allow", {"known": 1})
    assert changed(desk, desk.author(), add=["INV-2"], remove=["INV-1"]) == 2
    first.restart(kill=True)
    assert (pays(desk, "INV-1"), pays(desk, "INV-2")) == (("deny", {"known": 2}), ("allow", {"known": 2}))
    again = desk.replayed(desk.export(tmp_path / "first"))
    assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, 4), again
    leaves = audit.leaves(first.admin)
    first.stop()

    with successor.adopt(first, tmp_path / "second", public_url=first.url) as second:
        successor.catch_up(second, leaves)
        author, gateway = second.client(desk.keys["author p-ana"]), second.client(desk.gateway.key)
        shown = author.get("/lists/known").json()
        assert (shown["version"], shown["items"], [v["version"] for v in shown["versions"]]) == (2, ["INV-0", "INV-2"], [2, 1])
        assert pays(desk, "INV-2", gateway) == ("allow", {"known": 2})
        desk.server = second
        assert changed(desk, author, add=["INV-3"]) == 3
        assert pays(desk, "INV-3", gateway) == ("allow", {"known": 3})
        second.stop()
        assert second.fsck().code == 0
    assert first.fsck().code == 0
