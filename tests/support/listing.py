"""A tenant whose policies name lists, and people who change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from .asking import policy_folder
from .client import Client
from .deciding import CALL, RULES, Deciding
from .waits import until

REVIEWED = RULES.replace('action = "policy.activate"', 'action = ["policy.activate", "list.change"]')
ALONE = REVIEWED.replace('name = "policies"', 'name = "policies"\nunreviewed = true')
POLICY = """language: 1
policy: pay
clauses:
  - id: known
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    when: {params: {/reference: {in_list: references}}}
    then: allow
  - id: blocked
    tool: payments
    when: {params: {/account: {in_list: blocked, optional: true}}}
    then: deny
  - id: elsewhere
    agents: ["@finance-bots"]
    tool: archive
    actions: [read]
    when: {egress: {at: [/url], hosts: {in_list: hosts}}}
    then: allow
"""
FILES = {"references": ["INV-1", "INV-2"], "blocked": ["DE00"], "hosts": ["api.example.eu", "*.bank.example"]}


def folder(to: Path, **lists: list[str]) -> Path:
    """A folder whose clauses name three lists."""
    made = policy_folder(to, POLICY)
    tools = (made / "tools.yaml").read_text()
    (made / "tools.yaml").write_text(tools + "  - {name: archive, actions: [{name: read, effect: read}]}\n")
    (made / "lists").mkdir()
    for name, items in (FILES | lists).items():
        (made / "lists" / f"{name}.yaml").write_text(json.dumps({"language": 1, "items": items}))
    return made


class Listing(Deciding):
    """A tenant whose policies name lists."""

    def change(self, name: str, by: Client | None = None, comment: str = "For the test.", **change: Any) -> httpx.Response:
        """`POST T/lists/{name}`"""
        client = by or self.author()
        return client.http.post(f"{client.t}/lists/{name}", json={"comment": comment} | change)

    def changed(self, name: str, reviewer: str = "p-bob", **change: Any) -> dict[str, Any]:
        """A change that is approved, and in force."""
        asked = self.change(name, **change)
        assert asked.status_code == 202, asked.text
        assert self.review(asked.json()["approval"]["id"], reviewer).status_code == 200
        self.wait_version(name, asked.json()["version"])
        return asked.json()

    def wait_version(self, name: str, version: int) -> None:
        """Waits until that version of a list is in force."""
        until(f"version {version} of {name}", lambda: self.list(name)["version"] == version)

    def list(self, name: str) -> dict[str, Any]:
        """`GET T/lists/{name}`"""
        return self.author().get(f"/lists/{name}").json()

    def pays(self, reference: str, **over: Any) -> dict[str, Any]:
        """The verdict on a payment."""
        return self.told(params=CALL | {"reference": reference} | over)
