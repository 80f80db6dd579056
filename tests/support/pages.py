"""Paused calls, and people who answer on the pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import httpx

from .client import Key
from .desk import Desk, approval_id, paused
from .events import new_id
from .server import Server
from .waits import until

RULES = """
[[rule]]
name = "transfers above EUR 1,000"
quorum = {at_least = 2, of = "finance"}
owner = "none"
[rule.match]
tool = "payments"
amount = {minor = "/amount", currency = "/currency", over = {EUR = 100000, JPY = 1000, KWD = 1000}}

[[rule]]
name = "secrets"
quorum = {at_least = 1, of = "finance"}
step_up = "1s"
owner = "none"
[rule.match]
tool = "vault"

[[rule]]
name = "legal only"
quorum = {at_least = 1, of = "legal"}
owner = "none"
[rule.match]
tool = "contracts"

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "finance"}
owner = "none"
"""
#: Whoever wants a key, a passkey or an account in force asks somebody of finance.
KEYS = """
[[rule]]
name = "keys"
quorum = {at_least = 1, of = "finance"}
[rule.match]
tool = "countersign"
action = "key.issue"
"""

PEOPLE: dict[str, dict[str, Any]] = {
    "p-maria": {"name": "Maria Lindqvist", "groups": ["finance"]},
    "p-jonas": {"name": "Jonas Weber", "groups": ["finance", "legal"]},
    "p-omar": {"name": "Omar Haddad", "groups": ["finance"], "owns": ["omars-bot"]},
    "p-nils": {"name": "Nils Berg", "groups": ["finance", "legal"]},
    "p-lena": {"name": "Lena <i>Koch</i> \u202e", "groups": ["legal"]},
}


@dataclass
class Paused:
    """A call that waits."""

    id: str
    digest: str


class Office(Desk):
    """A server with rules and people in force, and people with keys."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.people = {id: dict(person) for id, person in PEOPLE.items()}
        self.keys: dict[str, Key] = {}

    @classmethod
    def open(cls, server: Server, public_url: str | None = None) -> "Office":
        """Configures, initialises and starts a server that was only made; browsers reach it, unless a URL is given."""
        server.sections["approvals"] = {"dir": server.root / "approvals"}
        server.settings["public_url"] = public_url or server.url
        server.write_config()
        office = cls(server)
        server.init()
        server.start()
        office.put_in_force()
        return office

    def put_in_force(self) -> None:
        """Writes the files and applies them."""
        self.write(RULES, [{"id": id, **person} for id, person in self.people.items()])
        self.apply()

    def key(self, person: str) -> Key:
        """A reviewer key, made where there is none."""
        if person not in self.keys:
            self.keys[person] = self.server.add_key(["reviewer"], person=person)
        return self.keys[person]

    def pause(self, params: Any, tool: str = "payments", action: str = "transfer", agent: str | None = None,
              reason: str | None = None) -> Paused:
        """Pauses a call, of an agent of its own unless one is named, and waits until people are asked."""
        data = {"agent": {"id": agent or new_id("bot"), "run": "run-7"}, "tool": {"name": tool, "action": action}}
        payload = {"reason": reason} if reason else {}
        now = datetime.now(timezone.utc).isoformat()
        made = paused(self.tenant, params, data=data, payload=payload, time=now)
        result = self.server.as_("publisher").publish(made)[0]
        assert result["status"] == "posted", result
        approval = approval_id(self.tenant, "gw-1", made)
        self.wait_for(approval, "requested")
        return Paused(approval, made["data"]["call"]["digest"])

    def listed(self, paused: Paused) -> Paused:
        """Waits until it is in the list of what is open: a moment after it stands in the log. The list may have 200 at most."""
        def look() -> bool:
            found = self.server.admin.get("/approvals", state="open", limit=200).json()["approvals"]
            return paused.id in [approval["id"] for approval in found]

        until(f"{paused.id} is listed", look)
        return paused

    def entries(self, paused: Paused) -> list[dict[str, Any]]:
        """Everything that happened to it."""
        return self.history(paused.id)

    def visitor(self, person: str | None = None) -> "Visitor":
        """A browser without a window; signed in if a person is named."""
        visitor = Visitor(self.server)
        if person:
            assert visitor.sign_in(person, self.key(person).text).status_code == 303
        return visitor


class Visitor:
    """What a browser sends, one request at a time. Redirects are not followed."""

    def __init__(self, server: Server, origin: str | None = None) -> None:
        self.server = server
        self.origin = origin or str(server.settings["public_url"])
        self.http = httpx.Client(base_url=server.url, trust_env=False, timeout=30.0)

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self.http.get(path)

    def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        """POST of a form from one of our pages; headers may say otherwise (`None` leaves one out)."""
        sent = {"Origin": self.origin} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, data=form, headers={name: value for name, value in sent.items() if value})

    def sign_in(self, person: str, key: str, next: str = "/", **headers: str) -> httpx.Response:
        """Sends the sign-in form."""
        return self.post("/signin", {"username": person, "password": key, "next": next}, **headers)

    def fields(self, path: str) -> dict[str, str]:
        """The hidden fields of a page's forms."""
        page = self.get(path)
        assert page.status_code == 200, f"{path}: {page.status_code}"
        return hidden(page.text)

    def review(self, paused: Paused, decision: str, comment: str = "", **over: str) -> httpx.Response:
        """Answers as the pages do: approval, confirming page, answer."""
        path = f"/approvals/{paused.id}"
        fields = self.fields(path) | {"decision": decision}
        confirm = self.post(f"{path}/confirm", fields)
        assert confirm.status_code == 200, confirm.text
        fields = hidden(confirm.text) | {"comment": comment} | over
        return self.post(f"{path}/review", fields)


def hidden(page: str) -> dict[str, str]:
    """Name and value of each hidden field; of several forms the last counts, they carry the same."""
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
