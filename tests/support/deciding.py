"""A tenant whose policies decide, and people who review them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import httpx

from .binary import cli
from .client import Client, Key
from .desk import Desk
from .events import new_id
from .manual import ROOT
from .server import Server
from .waits import until

PAYMENTS = ROOT / "docs" / "policies" / "payments"
#: Ana writes policies and reviews them; Bob and Carla review.
PEOPLE: list[dict[str, Any]] = [
    {"id": "p-ana", "name": "Ana", "groups": ["policy", "finance"]},
    {"id": "p-bob", "name": "Bob", "groups": ["policy", "finance"]},
    {"id": "p-carla", "name": "Carla", "groups": ["policy"]},
]
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
#: As above, and people approve changes of rules and keys of power too.
EVERY_ACT = RULES.replace('action = "policy.activate"\n', "")
CALL = {"amount": 50000, "currency": "EUR", "reference": "INV-004711"}


def nonce() -> str:
    """16 random bytes in base64url."""
    return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


def question(**over: Any) -> dict[str, Any]:
    """A question; keyword arguments replace its members."""
    asked: dict[str, Any] = {
        "id": new_id("q"), "source": "/gateways/gw-1", "nonce": nonce(),
        "agent": {"id": "payments-bot", "run": "r-1"},
        "tool": {"name": "payments", "action": "transfer"},
        "params": dict(CALL),
    }  # fmt: skip
    asked.update(over)
    return {name: value for name, value in asked.items() if value is not ...}


class Deciding(Desk):
    """A server with approvals, people, and keys for a gateway, an author and reviewers."""

    def __init__(self, server: Server, rules: str = RULES) -> None:
        super().__init__(server)
        server.sections["approvals"] = {"dir": server.root / "approvals"}
        server.settings["public_url"] = server.url
        server.write_config()
        server.init()
        server.start()
        self.write(rules, PEOPLE)
        self.apply()
        self.keys: dict[str, Key] = {}
        self.gateway = server.client(server.add_key(["enforcer"], producer="gw-1"))

    def author(self, person: str = "p-ana") -> Client:
        """A client with a person's author key."""
        return self._client("author", person)

    def reviewer(self, person: str) -> Client:
        """A client with a person's reviewer key."""
        return self._client("reviewer", person)

    def _client(self, role: str, person: str) -> Client:
        name = f"{role} {person}"
        if name not in self.keys:
            self.keys[name] = self.server.add_key([role], person=person)
        return self.server.client(self.keys[name])

    # deciding

    def ask(self, asked: dict[str, Any] | list[dict[str, Any]], gateway: Client | None = None) -> httpx.Response:
        """`POST T/decisions`"""
        client = gateway or self.gateway
        return client.http.post(f"{client.t}/decisions", json=asked)

    def told(self, **over: Any) -> dict[str, Any]:
        """The verdict on a question, which must get one."""
        answer = self.ask(question(**over))
        assert answer.status_code == 200, answer.text
        return answer.json()

    # policies

    def propose(self, folder: Path, by: str = "p-ana", comment: str = "For the test.", **over: Any) -> httpx.Response:
        """`POST T/policies` with the files of a folder."""
        files = [{"path": str(path.relative_to(folder)), "content": path.read_text()} for path in sorted(folder.rglob("*.yaml"))]
        client = self.author(by)
        return client.http.post(f"{client.t}/policies", json={"files": files, "comment": comment} | over)

    def approval(self, id: str) -> dict[str, Any]:
        """An approval as an admin sees it."""
        return self.server.admin.get(f"/approvals/{id}").json()

    def review(self, id: str, person: str, decision: str = "approve") -> httpx.Response:
        """A person's answer."""
        approval = self.approval(id)
        body = {"decision": decision, "digest": approval["call"]["digest"], "version": approval["version"]}
        client = self.reviewer(person)
        return client.http.post(f"{client.t}/approvals/{id}/reviews", json=body)

    def status(self) -> dict[str, Any]:
        """`GET T/policies`"""
        return self.author().get("/policies").json()

    def activate(self, folder: Path, by: str = "p-ana", reviewer: str = "p-bob") -> dict[str, Any]:
        """Proposes a folder, has it approved, and waits until it is in force. Returns the proposal."""
        answer = self.propose(folder, by)
        assert answer.status_code == 201, answer.text
        proposed = answer.json()
        self.approve(proposed, reviewer)
        return proposed

    def approve(self, proposed: dict[str, Any], reviewer: str = "p-bob") -> None:
        """Approves a proposal, and waits until it is in force."""
        reviewed = self.review(proposed["approval"]["id"], reviewer)
        assert reviewed.status_code == 200, reviewed.text
        until("the bundle is in force", lambda: (self.status()["in_force"] or {}).get("version") == proposed["version"])

    def history_of(self, id: str) -> list[dict[str, Any]]:
        """Every event of an approval, in order."""
        entries = self.server.admin.entries(kind="approval")
        return [event for e in entries if e["event"]["approval_id"] == id for event in e["event"]["events"]]

    def wait_over(self, id: str) -> None:
        """Waits until nothing more happens to an approval."""
        until(f"{id} is over", lambda: self.approval(id)["over"])

    # proof

    def export(self, folder: Path) -> Path:
        """A whole export with disclosures."""
        key = self.server.add_key(["auditor", "discloser", "exporter"])
        self.server.remote("export", "--tenant", self.tenant, "--disclosures", folder, key=key).ok()
        return folder

    def replayed(self, folder: Path) -> dict[str, Any]:
        """`countersign replay` over an export."""
        done = cli("replay", "--json", "--key", self.server.vkey, "--export", folder)
        return json.loads(done.out) | {"code": done.code}
