"""Who may do what with an approval: every caller of `proto/formats/access.md` tries every route (P12). What is refused looks like
what does not exist, and leaves no entry."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Client, Key, Server
from support.house import INVENTED, House, Paused, code, seen

PAGE = Path(__file__).parents[2] / "proto/formats/access.md"
RULES = """
[[rule]]
name = "two of finance"
quorum = {at_least = 2, of = "finance"}
execute_within = "6h"
token_life = "900s"
"""
OWNER = "p-own"
ANSWERED = "p-cem"


def people(answered: list[str]) -> list[dict[str, Any]]:
    """Everybody of the page; `answered`: groups of who answered."""
    in_finance = lambda name: {"id": f"p-{name}", "name": name.title(), "groups": ["finance"]}  # noqa: E731
    return [
        *map(in_finance, ["ana", "bob", "own", "rev"]),
        {"id": ANSWERED, "name": "Cem", "groups": answered},
        {"id": "p-eva", "name": "Eva", "groups": ["legal"]},
        {"id": "p-dis", "name": "Dis", "groups": ["finance"], "disabled": True},
    ]


def matrix() -> dict[str, dict[str, str]]:
    """caller → route → cell, from the page."""
    section = PAGE.read_text().partition("\n## Matrix\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {name: dict(zip(head[1:], cells, strict=True)) for name, *cells in rows}


MATRIX = matrix()
ROUTES = list(next(iter(MATRIX.values())))
KEYS: dict[str, tuple[list[str], str | None, str | None]] = {
    "publisher": (["publisher"], "gw-1", None),
    "other publisher": (["publisher"], "gw-3", None),  # what it opens must not be in the list of `other enforcer`
    "enforcer": (["enforcer"], "gw-1", None),
    "other enforcer": (["enforcer"], "gw-2", None),
    "reviewer": (["reviewer"], None, "p-rev"),
    "answered": (["reviewer"], None, ANSWERED),
    "not asked": (["reviewer"], None, "p-eva"),
    "owner": (["reviewer"], None, OWNER),
    "disabled": (["reviewer"], None, "p-dis"),
    "auditor": (["auditor"], None, None),
    "admin": (["admin"], None, None),
    "exporter": (["exporter"], None, None),
    "discloser": (["discloser"], None, None),
    "author": (["author"], None, "p-eva"),
    "responder": (["responder"], None, "p-eva"),
}
#: Keys of the other tenant: the same names, so that a mix-up would show.
FOREIGN = {name: key for name, key in KEYS.items() if not name.startswith("other")}


def one_by_one(client: Client) -> Client:
    """Every request has a connection of its own: one that is refused before its body is read ends with it."""
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = client.http.headers
    client.http = httpx.Client(base_url=client.base, headers=headers, limits=limits, trust_env=False, timeout=60, verify=False)
    return client


class Cast:
    """A house with a key for every caller, approvals in every phase, and another tenant."""

    def __init__(self, house: House) -> None:
        self.house = house
        server = house.server
        self.clients = {name: self.client(server.add_key(*key)) for name, key in KEYS.items()}
        self.stage = {
            "pending": self.pending(ANSWERED),
            "granted": self.granted("p-ana", ANSWERED),
            "minted": self.granted("p-ana", ANSWERED),
            "redeemed": self.granted("p-ana", ANSWERED),
        }
        self.tokens = {phase: house.mint(self.stage[phase]) for phase in ("minted", "redeemed")}
        assert house.redeem(self.stage["redeemed"], self.tokens["redeemed"]).status_code == 200
        house.change(people=people([]))
        self.foreign = self._tenant("globex")
        self.nothing = seen(self.clients["admin"].get(f"/approvals/{INVENTED}"))
        assert self.nothing[0] == 404

    def client(self, key: Key | None) -> Client:
        """A client of the first tenant."""
        return one_by_one(self.house.server.client(key))

    def _tenant(self, name: str) -> dict[str, Client]:
        made = self.house.server.add_tenant(name)
        admin = self.house.server.client(Key(made["key"]), name)
        keys = {who: admin.add_key(*key) for who, key in FOREIGN.items()}
        # They ask the first tenant's routes.
        return {who: self.client(key) for who, key in keys.items()}

    def pending(self, *people: str) -> Paused:
        """A call that waits; these people said yes."""
        approval = self.house.pause(owner=OWNER)
        for person in people:
            assert self.house.review(approval, person).status_code == 200
        return approval

    def granted(self, *people: str) -> Paused:
        """An approved call."""
        approval = self.pending(*people or ("p-ana", "p-bob"))
        assert self.house.state(approval)["state"] == "granted"
        return approval

    def recorded(self, before: int) -> list[dict[str, Any]]:
        """The entries after the first `before`, but for those that say what somebody was shown: they are written a moment later."""
        admin = self.house.server.admin
        entries = [json.loads(admin.get(f"/entries/{index}").content) for index in range(before, admin.size())]
        return [entry for entry in entries if not (entry["kind"] == "evidence" and "shown" in entry["event"])]

    def fresh(self, phase: str) -> tuple[Paused, str]:
        """An approval of its own, and its token if it has one."""
        if phase == "pending":
            return self.pending(), ""
        approval = self.granted()
        token = "" if phase == "granted" else self.house.mint(approval)
        if phase == "redeemed":
            assert self.house.redeem(approval, token).status_code == 200
        return approval, token


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """One server; sound at the end."""
    house = House.ready(tmp_path_factory.mktemp("access"), RULES, people(["finance"]))
    try:
        yield Cast(house)
        house.close()
    finally:
        house.server.__exit__()


#: route → phase in which it would work for who may
PHASES = {"open": "pending", "list": "pending", "state": "pending", "params": "pending", "review": "pending", "ask": "pending", "answer": "pending", "token": "granted",
          "redeem": "minted", "execution": "redeemed", "cancel": "pending", "revoke": "granted", "revoke token": "minted"}
#: route → the event that stands in the log when it has worked
EVENTS = {"open": "requested", "review": "reviewed", "ask": "asked", "answer": "answered", "token": "token_minted", "redeem": "redeemed", "execution": "execution_reported",
          "cancel": "cancelled", "revoke": "revoked", "revoke token": "revoked"}


def jti(token: str) -> str:
    """The id of a token."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]


def send(client: Client, route: str, approval: Paused, token: str, *, id: str = "", tenant: str = "") -> httpx.Response:
    """One request, right in every respect; `id` and `tenant` replace the approval's (and its token's) and the tenant."""
    t = f"/v1/tenants/{tenant or client.tenant}"
    at = f"{t}/approvals/{id or approval.id}"
    post: Callable[..., httpx.Response] = client.http.post
    match route:
        case "open":
            return post(f"{t}/approvals", json=approval.event)
        case "list":
            return client.http.get(f"{t}/approvals", params={"limit": 200})
        case "state" | "params":
            return client.http.get(at)
        case "review":
            return post(f"{at}/reviews", json={"decision": "approve", "digest": approval.digest, "version": 1})
        case "ask":
            return post(f"{at}/questions", json={"digest": approval.digest, "text": "Why now?"})
        case "answer":
            return post(f"{at}/questions/1/answer", json={"text": "It is due today."})
        case "token":
            return post(f"{at}/token")
        case "redeem":
            body = {"token": "no.such.token" if id else token, "redemption_id": "r-1", "call": approval.call}
            return post(f"{t}/tokens/redeem", json=body)
        case "execution":
            return post(f"{at}/execution", json={"outcome": "succeeded"})
        case "cancel" | "revoke":
            return post(f"{at}/{route}", json={"reason": "test"})
        case "revoke token":
            return post(f"{t}/tokens/{'A' * 22 if id else jti(token)}/revoke", json={"reason": "test"})
    raise AssertionError(route)


def test_the_page_names_every_caller_and_route() -> None:
    assert set(MATRIX) == {*KEYS, "foreign"} and set(ROUTES) == set(PHASES)
    text = PAGE.read_text()
    for name in [*MATRIX, *ROUTES]:
        assert re.search(rf"^\|.*`{name}`.*\|", text, re.M), f"`{name}` is not explained"
    assert set(MATRIX["foreign"].values()) == {"–"}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("caller", KEYS)
def test_p12_every_caller_on_every_route(cast: Cast, caller: str, route: str) -> None:
    cell, client, house = MATRIX[caller][route], cast.clients[caller], cast.house
    match cell:
        case _ if route == "params":
            for shown in views(cast, caller):
                assert ("frozen" in shown) == (cell == "yes")
        case "–":
            refused(cast, client, route)
        case "empty":
            assert send(client, route, cast.stage["pending"], "").json() == {"approvals": [], "next": None}
            recent = client.get("/approvals", state="recent")
            assert recent.json() == {"approvals": [], "next": None}
        case "403":
            before = house.server.admin.size()
            assert code(send(client, route, cast.stage["minted"], cast.tokens["minted"])) == (403, "token_audience")
            assert not cast.recorded(before)
        case "again":
            approval = cast.stage["pending"]
            before = house.server.admin.size()
            assert send(client, route, approval, "").status_code == 200
            assert not cast.recorded(before)
            assert code(house.review(approval, client, "deny")) == (403, "not_eligible")
        case "yes":
            allowed(cast, caller, route)
        case _:
            raise AssertionError(f"{cell!r} is not explained on the page")


def refused(cast: Cast, client: Client, route: str) -> None:
    """As if there were nothing, in every phase, whatever is sent; and no entry of it."""
    before = cast.house.server.admin.size()
    for phase, approval in cast.stage.items():
        token = cast.tokens.get(phase, cast.tokens["minted"])
        if route == "open":
            approval = cast.house.new()
        assert seen(send(client, route, approval, token)) == cast.nothing, phase
        assert seen(send(client, route, approval, token, id=INVENTED)) == cast.nothing, phase
    if route not in ("list", "state"):
        path = {"open": "/approvals", "redeem": "/tokens/redeem", "revoke token": f"/tokens/{jti(cast.tokens['minted'])}/revoke"}
        tail = {"review": "reviews", "ask": "questions", "answer": "questions/1/answer"}.get(route, route)
        at = client.t + path.get(route, f"/approvals/{cast.stage['pending'].id}/{tail}")
        for body in (b"", b"{", b'{"reason":"NOT A CODE"}', b"x" * 70_000):
            assert seen(client.http.post(at, content=body)) == cast.nothing, body[:20]
    assert not cast.recorded(before)


def allowed(cast: Cast, caller: str, route: str) -> None:
    """It works, and what it did stands in the log."""
    house, client = cast.house, cast.clients[caller]
    if route == "open":
        made = house.new(owner=OWNER)
        answer = send(client, route, made, "")
        assert answer.status_code == 201
        assert [e["type"] for e in house.history(answer.json()["id"])][0] == "requested"
        assert answer.json()["opening"]["producer"] == KEYS[caller][1]
        return
    if route in ("list", "state"):
        before = house.server.admin.size()
        assert cast.stage["pending"].id in {view["id"] for view in views(cast, caller)}
        assert not cast.recorded(before)
        return
    approval, token = cast.fresh(PHASES[route])
    if route == "answer":
        assert send(cast.clients["reviewer"], "ask", approval, token).status_code == 200
    before = house.count(approval)
    answer = send(client, route, approval, token)
    assert answer.status_code == 200, answer.text
    after = house.count(approval)
    assert after - before == {EVENTS[route]: 1}, "one entry, and the right one"
    view = answer.json().get("approval", answer.json())
    assert ("frozen" in view) == (MATRIX[caller]["params"] == "yes")


def views(cast: Cast, caller: str) -> list[dict[str, Any]]:
    """The waiting approval as a caller's list and state show it; none if both do not."""
    staged, client = cast.stage["pending"], cast.clients[caller]
    listed = send(client, "list", staged, "")
    assert listed.status_code == 200
    shown = [view for view in listed.json()["approvals"] if view["id"] == staged.id]
    state = send(client, "state", staged, "")
    assert (state.status_code == 200) == (len(shown) == 1)
    return [*shown, state.json()] if shown else []


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("caller", FOREIGN)
def test_p12_a_foreign_tenant_is_one_that_does_not_exist(cast: Cast, caller: str, route: str) -> None:
    client = cast.foreign[caller]
    before = cast.house.server.admin.size()
    for phase, approval in cast.stage.items():
        token = cast.tokens.get(phase, cast.tokens["minted"])
        for ids in ({}, {"id": INVENTED}, {"tenant": "initech"}, {"tenant": "initech", "id": INVENTED}, {"tenant": "NOT A NAME"}):
            assert seen(send(client, route, approval, token, **ids)) == cast.nothing, (phase, ids)
    assert not cast.recorded(before)


@pytest.mark.parametrize("route", ROUTES)
def test_p12_a_tenant_does_not_find_anothers_approval_at_home(cast: Cast, route: str) -> None:
    """By id, by token id, by token: the same as for invented ones."""
    for caller, client in cast.foreign.items():
        if route in ("open", "list"):
            continue
        for phase, approval in cast.stage.items():
            token = cast.tokens.get(phase, cast.tokens["minted"])
            answer = send(client, route, approval, token, tenant="globex")
            if route == "redeem" and caller == "enforcer":
                assert code(answer) == (403, "token_unknown_key")
            else:
                assert seen(answer) == cast.nothing, (caller, phase)


@pytest.mark.parametrize("route", ROUTES)
def test_without_a_key_in_force_everything_is_the_same_401(cast: Cast, route: str) -> None:
    """No key, half a key, the operator's, one of chance: for what exists, and for what does not."""
    server: Server = cast.house.server
    removed = server.add_key(["admin"])
    assert server.admin.http.delete(f"{server.admin.t}/keys/{removed.id}").status_code == 204
    before = server.admin.size()
    half = type(removed)(server.admin_key.text[:-1])
    answers = set()
    for key in (None, half, removed, server.operator_key):
        client = cast.client(key)
        for phase, approval in cast.stage.items():
            token = cast.tokens.get(phase, cast.tokens["minted"])
            for ids in ({}, {"id": INVENTED}, {"tenant": "initech"}):
                status, headers, body = seen(send(client, route, approval, token, **ids))
                answers.add((status, tuple(headers), body))
    assert len(answers) == 1 and answers.pop()[0] == 401
    assert server.admin.size() == before


def test_a_removed_key_is_dead_at_once(cast: Cast) -> None:
    """Also for an approval that its person may answer."""
    server, approval = cast.house.server, cast.pending()
    key = server.add_key(["reviewer"], person="p-bob")
    client = cast.client(key)
    assert send(client, "state", approval, "").status_code == 200
    assert server.admin.http.delete(f"{server.admin.t}/keys/{key.id}").status_code == 204
    assert send(client, "review", approval, "").status_code == send(client, "state", approval, "").status_code == 401
    assert cast.house.count(approval) == {"requested": 1}


def test_p10_a_disabled_person_is_shut_out_of_what_they_answered(tmp_path: Path) -> None:
    """Disabled after an answer: neither list nor state, nor any other answer."""
    house = House.ready(tmp_path, RULES, people(["finance"]))
    try:
        approval = house.pause(owner=OWNER)
        assert house.review(approval, ANSWERED).status_code == 200
        house.change(people=[person | ({"disabled": True} if person["id"] == ANSWERED else {}) for person in people(["finance"])])
        client = one_by_one(house.person(ANSWERED))
        nothing = seen(house.server.admin.get(f"/approvals/{INVENTED}"))
        assert client.get("/approvals").json()["approvals"] == []
        for route in ("state", "review", "revoke", "cancel"):
            assert seen(send(client, route, approval, "")) == nothing, route
        assert house.count(approval) == {"requested": 1, "reviewed": 1}
        house.close()
    finally:
        house.server.__exit__()


def test_lists_are_pages_of_what_the_caller_may_see(cast: Cast) -> None:
    """`limit` and `after` walk through all of it once; states are told apart."""
    house, reviewer = cast.house, cast.clients["reviewer"]
    mine = {cast.pending().id for _ in range(3)}
    for state in ("open", "pending", "recent"):
        whole = [a["id"] for a in reviewer.get("/approvals", state=state, limit=200).json()["approvals"]]
        paged, after = [], {}
        while True:
            page = reviewer.get("/approvals", state=state, limit=1, **after).json()
            paged += [a["id"] for a in page["approvals"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert paged == whole and len(set(whole)) == len(whole)
        assert (mine <= set(whole)) == (state != "recent")
    pending = reviewer.get("/approvals", state="pending", limit=200).json()["approvals"]
    assert {view["state"] for view in pending} == {"pending"}
    done = cast.pending()
    assert house.cancel(done).status_code == 200
    assert done.id == reviewer.get("/approvals", state="recent").json()["approvals"][0]["id"], "the last one first"
    assert done.id not in {a["id"] for a in reviewer.get("/approvals", limit=200).json()["approvals"]}
