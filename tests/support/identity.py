"""Agents that prove who they are, and somebody who forges what they prove."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .client import Client
from .deciding import RULES, Deciding, question
from .server import Server

AGENTS = """language: 1
agents:
  - {id: payments-bot, groups: [finance-bots], owners: [p-ana], tools: [payments], gateways: [gw-1]}
  - {id: helpdesk-bot, owners: [p-bob], gateways: [gw-1]}
  - {id: planner-bot, groups: [planners], owners: [p-bob], gateways: [gw-1], spawns: ["worker-*"]}
  - {id: other-bot, owners: [p-bob], gateways: [gw-2]}
"""
TOOLS = """language: 1
tools:
  - {name: payments, actions: [{name: transfer, effect: write}, {name: lookup, effect: read}]}
  - {name: mail, actions: [{name: send, effect: write}]}
"""
#: A transfer needs a proven identity; reading needs none; what follows a lookup keeps its account.
POLICY = """language: 1
policy: p
clauses:
  - id: proven
    tool: payments
    actions: [transfer]
    when: {identity: verified}
    then: allow
  - {id: lookup, tool: payments, actions: [lookup], then: allow}
  - id: mail
    tool: mail
    actions: [send]
    when: {chain: {verified: true, root: [helpdesk-bot]}}
    then: allow
  - id: thief
    tool: payments
    when: {params: {/reference: {one_of: [steal], optional: true}}}
    then: deny
    freeze: agent
"""


def policy_of(folder: Path, policy: str = POLICY, agents: str = AGENTS) -> Path:
    """A folder with these agents, tools and policy."""
    (folder / "policies").mkdir(parents=True)
    (folder / "agents.yaml").write_text(agents)
    (folder / "tools.yaml").write_text(TOOLS)
    (folder / "policies" / "p.yaml").write_text(policy)
    return folder


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Proving(Deciding):
    """A tenant with policies that ask who an agent is."""

    def __init__(self, server: Server, folder: Path, policy: str = POLICY, rules: str = RULES) -> None:
        super().__init__(server, rules)
        self.activate(policy_of(folder, policy))

    def issue(self, agent: str = "payments-bot", by: Client | None = None, **over: Any) -> httpx.Response:
        """`POST T/agents/{id}/tokens`"""
        client = by or self.gateway
        body = {name: value for name, value in ({"scope": ["payments"]} | over).items() if value is not None}
        return client.http.post(f"{client.t}/agents/{agent}/tokens", json=body)

    def issued(self, agent: str = "payments-bot", by: Client | None = None, **over: Any) -> dict[str, Any]:
        """A token that must be issued."""
        answer = self.issue(agent, by, **over)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def revoke(self, agent: str, jti: str | None = None, by: Client | None = None) -> httpx.Response:
        """Revokes one token of an agent, or all."""
        client = by or self.server.admin
        rest = f"/{jti}/revoke" if jti else "/revoke"
        return client.http.post(f"{client.t}/agents/{agent}/tokens{rest}", json={"reason": "For the test."})

    def asked(self, token: str | None = None, gateway: Client | None = None, **over: Any) -> dict[str, Any]:
        """The verdict on a call with this token."""
        agent = {"id": "payments-bot", "run": "r-1"} | over.pop("agent", {})
        if token is not None:
            agent["token"] = token
        answer = self.ask(question(agent=agent, **over), gateway)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def code(self, token: str | None = None, **over: Any) -> str:
        """The code of the verdict, which must be a denial."""
        told = self.asked(token, **over)
        assert told["verdict"] == "deny", told
        return str(told["reason"]["code"])

    def entry(self, index: int) -> dict[str, Any]:
        """An entry, as an admin reads it."""
        return self.server.admin.get(f"/entries/{index}").json()

    def forger(self, number: int = 1) -> "Forger":
        """Somebody who stole the key that signs tokens."""
        return Forger(self.server.keys_dir / self.tenant / f"agent-{number}.key")


class Forger:
    """Holds a key, and signs whatever is wanted."""

    def __init__(self, path: Path | None = None) -> None:
        seed = base64.b64decode(path.read_text().strip().split("+", 4)[-1])[1:] if path else b"\x07" * 32
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self.key.public_key().public_bytes_raw()
        members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": b64(public)}, separators=(",", ":"))
        self.kid = b64(hashlib.sha256(members.encode()).digest())
        self.public = public

    def sign(self, payload: bytes, **header: Any) -> str:
        """A token as the server would write it; keyword arguments change its header."""
        told = {"alg": "EdDSA", "kid": self.kid, "typ": "agent+jwt"} | header
        text = json.dumps({k: v for k, v in sorted(told.items()) if v is not None}, separators=(",", ":"))
        signed = f"{b64(text.encode())}.{b64(payload)}"
        return f"{signed}.{b64(self.key.sign(signed.encode()))}"

    def claims(self, token: str, /, **over: Any) -> str:
        """The token with other claims; `...` leaves one out."""
        told = jwt.decode(token, options={"verify_signature": False}) | over
        told = {name: value for name, value in told.items() if value is not ...}
        return self.sign(json.dumps(told, separators=(",", ":"), sort_keys=True).encode())


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())
