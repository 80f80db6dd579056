"""A freeze of a name that nobody knows is applied, and says so: a misspelt name stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server
from support.asking import policy_folder
from support.deciding import Deciding

POLICY = """language: 1
policy: p
clauses:
  - {id: a, agents: ["@finance-bots"], tool: payments, actions: [transfer], then: allow}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant with policies."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "one", POLICY))
        yield desk


def freeze(desk: Deciding, scope: str, id: str, **over: Any) -> dict[str, Any]:
    """`POST T/freezes`"""
    answer = desk.server.admin.http.post(f"{desk.server.admin.t}/freezes", json={"scope": scope, "id": id, "reason": "For the test."} | over)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("scope", "id", "over", "hint"),
    [
        ("agent", "Payments-bot", {}, 'Did you mean "payments-bot"?'), ("agent", "payments-bot ", {}, 'Did you mean "payments-bot"?'), ("agent", "nobody-near", {}, "agents.yaml lists them"),
        ("tool", "payment", {}, 'Did you mean "payments"?'), ("producer", "gw-11", {}, "countersign key list"), ("agent", "payments-bot", {"producer": "gw-11"}, 'no producer "gw-11"'),
    ],
)  # fmt: skip
def test_a_freeze_of_an_unknown_name_says_so(desk: Deciding, scope: str, id: str, over: dict[str, Any], hint: str) -> None:
    """It is frozen all the same, before anybody uses the name; and again with `unchanged`."""
    for status in ("applied", "unchanged"):
        answer = freeze(desk, scope, id, **over)
        assert answer["status"] == status and len(answer["warnings"]) == 1 and hint in answer["warnings"][0], answer
    assert (scope, id) in [(one["scope"], one["id"]) for one in desk.server.admin.get("/freezes").json()["freezes"]]
    done = desk.server.remote("freeze add", scope, id, "--tenant", desk.tenant, "--reason", "Again.", *(["--producer", over["producer"]] if over else []), key=desk.server.admin.key)
    assert done.code == 0 and "warning:" in done.err and hint in done.err, done


def test_a_freeze_of_a_known_name_has_no_warning(desk: Deciding) -> None:
    """Those of the files, of keys and of earlier calls are known; an unregistered agent that asked is, too."""
    desk.told(agent={"id": "stranger"})
    for scope, id in (("agent", "payments-bot"), ("tool", "payments"), ("producer", "gw-1"), ("session", "s-404"), ("agent", "stranger")):
        answer = freeze(desk, scope, id)
        assert answer["status"] == "applied" and "warnings" not in answer, answer
