"""Rules, people and paused calls: what the tests of approvals in chats share."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rfc8785

from .events import event
from .server import Server, toml
from .waits import until

PARAMS = {"amount": 125000, "currency": "EUR", "to": "DE02120300000000202051"}


def now_text() -> str:
    """The time as an event has it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def call_digest(tenant: str, nonce: str, made: dict[str, Any], params: Any) -> str:
    """The call digest of an event, by an RFC 8785 implementation that is not ours."""
    data = made["data"]
    call = {"v": 1, "nonce": nonce, "tenant": tenant, "agent": data["agent"]["id"], "run": data["agent"].get("run"),
            "tool": data["tool"]["name"], "action": data["tool"]["action"], "params": params}
    digest = hashlib.sha256(b"countersign-call-v1\0" + rfc8785.dumps(call)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def approval_id(tenant: str, producer: str, made: dict[str, Any]) -> str:
    """The approval that an event opens."""
    key = rfc8785.dumps([tenant, producer, made["source"], made["id"]])
    return "apr-" + base64.b32encode(hashlib.sha256(key).digest()).decode().lower()[:26]


def paused(tenant: str, params: Any = None, **over: Any) -> dict[str, Any]:
    """A decision event that pauses a call; `payload=` adds members to the payload."""
    params = PARAMS if params is None else params
    nonce = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
    payload = {"params": params, "nonce": nonce} | over.pop("payload", {})
    data = {"verdict": "approval_needed"} | over.pop("data", {})
    # A decision that is older than its deadline opens nothing.
    over.setdefault("time", now_text())
    made = event(data=data, payload=payload, **over)
    made["data"]["call"] = {"digest": call_digest(tenant, nonce, made, params)}
    return made


class Desk:
    """A tenant whose calls are asked about."""

    def __init__(self, server: Server) -> None:
        self.server, self.tenant = server, server.tenant

    def write(self, rules: str, people: Iterable[dict[str, Any]]) -> None:
        """Writes the tenant's files. People are the members of `[[person]]`."""
        folder = folder_of(self.server, self.tenant)
        folder.mkdir(parents=True, exist_ok=True)
        inline = lambda v: "{" + ", ".join(f"{k} = {toml(x)}" for k, x in v.items()) + "}"  # noqa: E731
        lines = []
        for person in people:
            lines.append("[[person]]")
            lines += [f"{k} = {inline(v) if isinstance(v, dict) else toml(v)}" for k, v in person.items()]
        (folder / "rules.toml").write_text(rules)
        (folder / "people.toml").write_text("\n".join(lines) + "\n")

    def apply(self) -> None:
        """`countersign rules apply`"""
        self.server.remote("rules apply", "--config", self.server.config, "--tenant", self.tenant).ok()

    def ask(self, params: Any = None, **over: Any) -> str:
        """Pauses a call; returns the approval's id."""
        made = paused(self.tenant, params, **over)
        self.server.as_("publisher").publish(made)
        return approval_id(self.tenant, "gw-1", made)

    def history(self, approval: str) -> list[dict[str, Any]]:
        """Everything that happened to an approval, from the entries of the log, along their chain."""
        leaf = next(leaf for leaf, entry in self._leaves("decision") if self._opens(entry) == approval)
        after = {entry["event"]["prev"]: (leaf, entry) for leaf, entry in self._leaves("approval")}
        events: list[dict[str, Any]] = []
        while leaf in after:
            leaf, entry = after[leaf]
            events += entry["event"]["events"]
        return events

    def evidence(self, approval: str) -> list[dict[str, Any]]:
        """Its evidence entries."""
        return [entry for _, entry in self._leaves("evidence") if entry["event"].get("approval_id") == approval]

    def _opens(self, entry: dict[str, Any]) -> str:
        return approval_id(self.tenant, entry["producer"], entry["event"])

    def _leaves(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Leaf hash (base64) and entry."""
        found = self.server.admin.feed(kind=kind)
        hashed = lambda leaf: base64.b64encode(hashlib.sha256(b"\0" + leaf).digest()).decode()  # noqa: E731
        return [(hashed(leaf), json.loads(leaf)) for _, leaf in found]

    def kinds(self, approval: str) -> list[str]:
        """The types of its events, in order."""
        return [e["type"] for e in self.history(approval)]

    def wait_for(self, approval: str, kind: str, seconds: float = 60.0) -> None:
        """Waits until an event of this type stands in the log."""
        until(f"{kind} of {approval}", lambda: kind in self.kinds(approval), seconds)


def folder_of(server: Server, tenant: str) -> Path:
    """Where rules and people of a tenant are."""
    return Path(server.sections["approvals"]["dir"]) / tenant


def as_text(value: Any) -> str:
    """Canonical text of a JSON value, for looking for words in it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
