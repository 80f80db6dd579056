"""A server whose calls are asked about, and everybody who has to do with them: gateways and people with their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from .client import Client, patiently
from .desk import Desk, approval_id, paused
from .events import new_id
from .lifecycle import Message, approvals, judge
from .schemas import check
from .server import Server
from .waits import until

#: An approval id that no event opens.
INVENTED = "apr-" + "a" * 26


@dataclass(frozen=True)
class Paused:
    """A call that waits for people."""

    id: str
    event: dict[str, Any]

    @property
    def digest(self) -> str:
        """Its call digest, not computed by us."""
        return self.event["data"]["call"]["digest"]

    @property
    def call(self) -> dict[str, Any]:
        """The call in hand, as it is redeemed."""
        data, payload = self.event["data"], self.event["data"]["payload"]
        return {"nonce": payload["nonce"], "agent": data["agent"]["id"], "run": data["agent"].get("run"),
                "tool": data["tool"]["name"], "action": data["tool"]["action"], "params": payload["params"]}


class House(Desk):
    """One tenant's rules, people, gateways (`publisher` and `enforcer` in one key) and keys, on a running server."""

    #: Whether requests are repeated while the answer is "try again".
    patient = True

    def __init__(self, server: Server, rules: str, people: Iterable[dict[str, Any]]) -> None:
        super().__init__(server)
        self.write(rules, people)
        self._clients: dict[str, Client] = {}

    @classmethod
    def ready(cls, root: Path, rules: str, people: Iterable[dict[str, Any]], **options: Any) -> "House":
        """Makes and starts a server, with rules and people in force."""
        sections = {"approvals": {"dir": root / "approvals"}} | options.pop("sections", {})
        house = cls(Server(root / "server", sections=sections, **options), rules, people)
        house.server.init()
        house.server.start(ready=False)
        until("rules applied", house._applied)
        return house

    @classmethod
    def at_each(cls, servers: dict[str, Server], start: Callable[[], object], rules: str, people: Iterable[dict[str, Any]]) -> list["House"]:
        """One at each of several servers that are one service, started with rules and people in force; all know the same keys."""
        people = list(people)
        houses = [cls(server, rules, people) for server in servers.values()]
        first = houses[0]
        start()
        until("rules applied", first._applied)
        first.gateway(), first.person("p-ana")
        for server in servers.values():
            server.keys = dict(first.server.keys)
        return houses

    def _applied(self) -> bool:
        try:
            self.apply()
        except AssertionError:
            if not self.server.alive():
                raise
            return False
        self.server.wait_ready()
        return True

    def change(self, rules: str | None = None, people: Iterable[dict[str, Any]] | None = None) -> None:
        """Writes new files and puts them in force."""
        folder = Path(self.server.sections["approvals"]["dir"]) / self.tenant
        before = {name: (folder / name).read_text() for name in ("rules.toml", "people.toml")}
        self.write(rules or before["rules.toml"], people or [])
        if people is None:
            (folder / "people.toml").write_text(before["people.toml"])
        self.apply()

    def close(self) -> None:
        """Stops the server; everything must be sound, and every approval one that could have happened."""
        judge(self.server.admin.feed())
        self.server.stop()
        self.server.fsck().ok()

    # who

    def gateway(self, producer: str = "gw-1") -> Client:
        """A data plane that publishes and redeems."""
        return self._client(f"gateway {producer}", ["publisher", "enforcer"], producer)

    def person(self, person: str, key: str = "") -> Client:
        """Somebody who may answer; `key` tells several keys of one person apart."""
        return self._client(f"person {person} {key}", ["reviewer"], person=person)

    def _client(self, name: str, roles: list[str], producer: str | None = None, person: str | None = None) -> Client:
        if name not in self.server.keys:
            self.server.keys[name] = self.server.add_key(roles, producer, person)
        return self.server.as_(name)

    # what

    def new(self, params: Any = None, **over: Any) -> Paused:
        """An event that pauses a call, of an agent of its own; not published yet. `action=`, `agent=` and `owner=` are short."""
        data = over.pop("data", {})
        data = {"agent": {"id": over.pop("agent", None) or new_id("agent"), "run": "run-1"},
                "tool": {"name": "payments", "action": over.pop("action", "one")}} | data
        payload = over.pop("payload", {})
        if "owner" in over:
            payload = payload | {"owner": over.pop("owner")}
        made = paused(self.tenant, params, data=data, payload=payload, **over)
        return Paused(approval_id(self.tenant, "gw-1", made), made)

    def pause(self, params: Any = None, **over: Any) -> Paused:
        """A call that waits: `POST T/approvals` by `gw-1`."""
        made = self.new(params, **over)
        answer = self.open(made)
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["id"] == made.id
        return made

    def open(self, made: Paused, by: Client | None = None) -> httpx.Response:
        """`POST T/approvals`"""
        return self.post(by or self.gateway(), "/approvals", made.event)

    def post(self, client: Client, path: str, body: Any = None) -> httpx.Response:
        """`POST T<path>` with a JSON body; repeated as every client does."""
        send = lambda: client.http.post(client.t + path, json=body)  # noqa: E731
        return patiently(send) if self.patient else send()

    def state(self, approval: Paused, **query: Any) -> dict[str, Any]:
        """How it stands, as its gateway sees it."""
        answer = self.gateway().get(f"/approvals/{approval.id}", **query)
        assert answer.status_code == 200, answer.text
        check("approval", answer.json())
        return answer.json()

    def until_state(self, approval: Paused, *states: str, seconds: float = 30.0) -> dict[str, Any]:
        """Waits, as a gateway does (`wait` and `after`), until it stands so."""
        seen: dict[str, Any] = {"version": 0}

        def look() -> dict[str, Any] | None:
            seen.update(self.state(approval, wait=2, after=seen["version"]))
            return seen if seen["state"] in states else None

        return until(f"{approval.id} is {' or '.join(states)}", look, seconds)

    def review(self, approval: Paused, person: str | Client, decision: str = "approve", **over: Any) -> httpx.Response:
        """A person's answer, to what is shown now."""
        client = person if isinstance(person, Client) else self.person(person)
        body = {"decision": decision, "digest": approval.digest} | over
        if "version" not in body:
            body["version"] = self.state(approval)["version"]
        return self.post(client, f"/approvals/{approval.id}/reviews", body)

    def grant(self, *people: str, **over: Any) -> Paused:
        """A call that people have approved."""
        approval = self.pause(**over)
        for person in people:
            answer = self.review(approval, person)
            assert answer.status_code == 200, answer.text
        assert self.state(approval)["state"] == "granted"
        return approval

    def token(self, approval: Paused, by: Client | None = None) -> httpx.Response:
        """`POST …/token`"""
        return self.post(by or self.gateway(), f"/approvals/{approval.id}/token")

    def mint(self, approval: Paused) -> str:
        """A valid token."""
        answer = self.token(approval)
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    def redeem(self, approval: Paused, token: str, redemption_id: str = "r-1", by: Client | None = None,
               **over: Any) -> httpx.Response:
        """`POST T/tokens/redeem` with the call in hand; `over` replaces members of the body."""
        body = {"token": token, "redemption_id": redemption_id, "call": approval.call} | over
        return self.post(by or self.gateway(), "/tokens/redeem", body)

    def report(self, approval: Paused, outcome: str = "succeeded") -> httpx.Response:
        """`POST …/execution`"""
        return self.post(self.gateway(), f"/approvals/{approval.id}/execution", {"outcome": outcome})

    def cancel(self, approval: Paused, by: Client | None = None, reason: str = "not_needed") -> httpx.Response:
        """`POST …/cancel`"""
        return self.post(by or self.gateway(), f"/approvals/{approval.id}/cancel", {"reason": reason})

    def revoke(self, approval: Paused, by: Client, reason: str = "mistake") -> httpx.Response:
        """`POST …/revoke`"""
        return self.post(by, f"/approvals/{approval.id}/revoke", {"reason": reason})

    # the log

    def messages(self, approval: Paused) -> list[Message]:
        """Its messages in the log, each with its journal time; none if it was never opened."""
        return approvals(self.server.admin.feed()).get(approval.id, [])

    def events(self, approval: Paused) -> list[dict[str, Any]]:
        """What happened to it, from the log."""
        return [event for _, message in self.messages(approval) for event in message["events"]]

    def kinds_of(self, approval: Paused) -> list[str]:
        """The names of what happened to it, from the log."""
        return [event["type"] for event in self.events(approval)]

    def steps(self, approval: Paused) -> list[str]:
        """The same without the reminder: a machine that stood still over it goes on with what is next."""
        return [kind for kind in self.kinds_of(approval) if kind != "reminded"]

    def moments(self, approval: Paused) -> dict[str, float]:
        """When each of them came first: journal time, in seconds since 1970."""
        told = [(event["type"], at(moment)) for moment, message in self.messages(approval) for event in message["events"]]
        return dict(reversed(told))

    def count(self, approval: Paused) -> Counter[str]:
        """How often each event stands in the log."""
        return Counter(self.kinds_of(approval))


def at(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time with nine decimals."""
    return datetime.fromisoformat(text[:26] + "+00:00").timestamp()


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and problem code of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code and body["type"] == f"urn:countersign:error:{body['code']}", body
    assert body["title"] and body["detail"]
    return answer.status_code, body["code"]


def seen(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that a caller can tell apart; each request has its own random id."""
    # `connection` is between two hops: a refusal of a request with a body closes, whatever it was about.
    seen = sorted((k, v) for k, v in answer.headers.items() if k not in ("date", "connection", "x-request-id"))
    return answer.status_code, seen, answer.content.replace(answer.headers["x-request-id"].encode(), b"")
