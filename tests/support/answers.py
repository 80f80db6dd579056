"""Policies that give every kind of answer, and the tenant where they are in force."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .client import Key
from .deciding import PAYMENTS, Deciding
from .server import Server
from .waits import until

#: Changes of policies are reviewed, keys are issued without a review.
RULES = """
[[rule]]
name = "policies"
quorum = {at_least = 1, of = "policy"}
[rule.match]
tool = "countersign"
action = "policy.activate"

[[rule]]
name = "paused by policies"
quorum = {at_least = 1, of = "finance"}
owner = "none"
[rule.match]
tool = ["payments", "archive"]

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "finance"}
owner = "none"
"""
#: Calls of payments-bot. Small payments pass, larger ones need people, others are denied.
SMALL = {"amount": 50_000, "currency": "EUR", "reference": "INV-004711"}
LARGE = SMALL | {"amount": 200_000}
DENIED = SMALL | {"reference": "none"}
CLAUSES = """
language: 1
policy: archive
title: What is kept
clauses:
  - {id: kept, agents: ["@finance-bots"], tool: archive, actions: [write], then: allow, obligations: {retain_days: 30}}
  - {id: dropped, agents: ["@finance-bots"], tool: archive, actions: [drop], then: approval_needed, obligations: {retain_days: 30}}
"""
OBSERVED = """
language: 1
policy: payments
title: What agents may pay, to begin with
clauses:
  - {id: everything, agents: ["@finance-bots"], tool: payments, actions: [transfer], then: deny, enforcement: {shadow: true}}
"""
TOOLS = """
  - name: archive
    actions:
      - {name: write, effect: write}
      - {name: drop, effect: write}
"""


def folder(to: Path, only_observes: bool = False) -> Path:
    """The policies, as files."""
    shutil.copytree(PAYMENTS, to)
    if only_observes:
        shutil.rmtree(to / "tests")
        (to / "policies/payments.yaml").write_text(OBSERVED.lstrip())
    else:
        (to / "policies/archive.yaml").write_text(CLAUSES.lstrip())
        with (to / "tools.yaml").open("a") as tools:
            tools.write(TOOLS.lstrip("\n"))
    return to


class Answers(Deciding):
    """A tenant with these policies, and a key that asks and reports."""

    def __init__(self, root: Path, only_observes: bool = False) -> None:
        super().__init__(Server(root / "server"), RULES)
        self.activate(folder(root / "policies", only_observes))
        self.key: Key = self.server.add_key(["publisher", "enforcer"], "gw-1")
        self.url = f"{self.server.url}/v1/tenants/{self.tenant}"

    def pending(self) -> dict[str, Any]:
        """The one approval of a call that waits for people."""
        find = lambda: self.reviewer("p-bob").get("/approvals", state="pending").json()["approvals"]  # noqa: E731
        return until("an approval", find)[0]

    def decisions(self) -> list[dict[str, Any]]:
        """The recorded verdicts on calls, oldest first."""
        return [entry for entry in self.server.admin.entries(kind="decision") if entry["producer"] == "gw-1"]

    def executions(self) -> list[dict[str, Any]]:
        """The published executions: `data` of each."""
        events = [entry["event"] for entry in self.server.admin.entries(kind="event")]
        return [event["data"] for event in events if event["type"] == "dev.countersign.execution.v1"]
