"""P8, P12, P14, P15, P17: what is frozen is denied at once, whatever the policies say, until people let it go on."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli
from support.asking import Asking, bounded, everything, policy_folder
from support.client import Client, Key
from support.deciding import CALL, PEOPLE, RULES, Deciding, question
from support.waits import until

#: Transfers up to 1,000.00 are allowed, larger ones need people; a transfer that says "steal" freezes the agent, one that says "odd" its session.
POLICY = """language: 1
policy: pay
clauses:
  - id: small
    tool: payments
    actions: [transfer]
    when: {amount: {minor: /amount, currency: /currency, at_most: {EUR: 100000}}}
    then: allow
  - id: large
    tool: payments
    actions: [transfer]
    when: {amount: {minor: /amount, currency: /currency, over: {EUR: 100000}}}
    then: approval_needed
  - id: thief
    tool: payments
    when: {params: {/reference: {one_of: [steal]}}}
    then: deny
    freeze: agent
  - id: odd
    tool: payments
    when: {params: {/reference: {one_of: [odd]}}}
    then: deny
    freeze: session
  - id: watched
    tool: payments
    when: {params: {/reference: {one_of: [watched]}}}
    then: deny
    freeze: agent
    enforcement: {shadow: true}
"""
REVIEWED = RULES.replace('action = "policy.activate"', 'action = ["policy.activate", "freeze.lift"]')
LARGE = CALL | {"amount": 3_000_000}
BOT = {"id": "payments-bot", "run": "r-1", "session": "s-1"}


class Frozen(Deciding):
    """A tenant with a policy, and Carla as its responder."""

    def responder(self, person: str = "p-carla") -> Client:
        """A client with a person's responder key."""
        return self._client("responder", person)

    def freeze(self, scope: str, id: str, by: Client | None = None, /, **over: Any) -> httpx.Response:
        """`POST T/freezes`"""
        client = by or self.responder()
        return client.http.post(f"{client.t}/freezes", json={"scope": scope, "id": id, "reason": "For the test."} | over)

    def frozen(self, scope: str, id: str, by: Client | None = None, /, **over: Any) -> int:
        """Freezes something. Returns the freeze."""
        answer = self.freeze(scope, id, by, **over)
        assert answer.status_code == 200 and answer.json()["status"] == "applied", answer.text
        return int(answer.json()["index"])

    def lift(self, freeze: int, by: Client | None = None, **over: Any) -> httpx.Response:
        """`POST T/freezes/{freeze}/lift`"""
        client = by or self.responder()
        return client.http.post(f"{client.t}/freezes/{freeze}/lift", json={"reason": "Repaired."} | over)

    def lifted(self, freeze: int) -> None:
        """Lifts a freeze after a review."""
        asked = self.lift(freeze)
        assert asked.status_code == 202, asked.text
        id = asked.json()["approval"]["id"]
        assert self.review(id, "p-bob").status_code == 200
        assert self.lift(freeze, approval=id).json()["status"] == "applied"

    def in_force(self, client: Client | None = None) -> list[tuple[str, str]]:
        """What `GET T/freezes` names."""
        return [(f["scope"], f["id"]) for f in (client or self.responder()).get("/freezes").json()["freezes"]]

    def held(self, gateway: Client | None = None, **over: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A call that waits for people: the question, and its approval."""
        asked = question(**({"agent": BOT, "params": LARGE} | over))
        told = self.ask(asked, gateway).json()
        assert told["verdict"] == "approval_needed", told
        return asked, told["approval"]

    def mint(self, id: str) -> httpx.Response:
        """`POST T/approvals/{id}/token`"""
        return self.gateway.http.post(f"{self.gateway.t}/approvals/{id}/token")

    def redeem(self, token: str, asked: dict[str, Any], redemption: str = "once") -> httpx.Response:
        """`POST T/tokens/redeem` for the call of a question."""
        agent, tool = asked["agent"], asked["tool"]
        call = {"nonce": asked["nonce"], "agent": agent["id"], "run": agent.get("run"), "tool": tool["name"], "action": tool["action"], "params": asked["params"]}
        body = {"token": token, "redemption_id": redemption, "call": call}
        return self.gateway.http.post(f"{self.gateway.t}/tokens/redeem", json=body)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Frozen]:
    """The policy is in force; nothing is frozen."""
    with Server(tmp_path / "server") as server:
        desk = Frozen(server, REVIEWED)
        desk.activate(policy_folder(tmp_path / "policies", POLICY))
        yield desk


def verdict(told: dict[str, Any]) -> tuple[str, str]:
    """Verdict and code."""
    return told["verdict"], told["reason"]["code"]


def test_p14_what_is_frozen_is_denied_at_once_and_everything_else_goes_on(desk: Frozen, tmp_path: Path) -> None:
    """Each scope stops exactly its calls, wherever the agent stands in the chain; lifting lets them go on. Every verdict is computed again, and the log
    verifies."""
    second = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    calls: dict[str, tuple[Client, dict[str, Any]]] = {
        "mine": (desk.gateway, {"agent": BOT}),
        "another session": (desk.gateway, {"agent": BOT | {"run": "r-9", "session": "s-9"}}),
        "another gateway": (second, {"agent": BOT}),
        "behind it": (desk.gateway, {"agent": {"id": "helpdesk-bot", "chain": ["payments-bot", "helpdesk-bot"]}}),
        "another agent": (desk.gateway, {"agent": {"id": "helpdesk-bot", "chain": ["helpdesk-bot"]}}),
    }

    def stopped() -> set[str]:
        found = set()
        for name, (gateway, over) in calls.items():
            told = desk.ask(question(**over), gateway).json()
            if told["reason"]["code"] == "frozen":
                assert told["verdict"] == "deny" and told["enforced"] is True, told
                found.add(name)
        return found

    assert stopped() == set()
    for scope, id, over, expected in [
        ("agent", "payments-bot", {}, {"mine", "another session", "another gateway", "behind it"}),
        ("agent", "payments-bot", {"producer": "gw-1"}, {"mine", "another session", "behind it"}),
        ("session", "s-1", {}, {"mine", "another gateway"}),
        ("run", "r-9", {}, {"another session"}),
        ("tool", "payments", {"producer": "gw-2"}, {"another gateway"}),
        ("producer", "gw-2", {}, {"another gateway"}),
        ("agent", "Payments-bot", {}, set()),
        ("tenant", desk.tenant, {}, set(calls)),
    ]:
        freeze = desk.frozen(scope, id, **over)
        assert stopped() == expected, (scope, id, over)
        again = desk.freeze(scope, id, **over).json()
        assert again.items() >= {"index": freeze, "status": "unchanged"}.items()
        assert ("warnings" in again) == (id == "Payments-bot"), again
        desk.lifted(freeze)
        assert stopped() == set() and desk.in_force() == []
    freeze = desk.frozen("agent", "payments-bot")
    told = desk.told(agent=BOT)
    assert told["freeze"] == {"index": freeze, "scope": "agent", "id": "payments-bot"} and told["policy"] == {"version": None, "digest": None}
    data = desk.server.admin.entry(told["decision"]["index"])["event"]["data"]
    assert (data["frozen_by"], "bundle" in data, data["mode"]) == (freeze, False, "enforce")
    folder = desk.export(tmp_path / "export")
    again = desk.replayed(folder)
    assert (again["code"], again["different"], again["not_replayable"]) == (0, {}, {})
    explained = json.loads(cli("explain", "--json", "--key", desk.server.vkey, "--export", folder, str(told["decision"]["index"])).ok().out)
    assert (explained["same"], explained["code"]) == (True, "frozen")
    cli("verify", "--key", desk.server.vkey, "--export", folder).ok()
    assert desk.server.client(desk.server.operator_key).http.get("/metrics").text.count('countersign_freezes{tenant="acme",scope="agent"} 1') == 1
    desk.server.stop()
    desk.server.fsck().ok()


def test_p14_a_repeated_allow_under_a_freeze_is_409(desk: Frozen) -> None:
    allowed, denied = question(agent=BOT), question(agent=BOT, params={"amount": 1})
    assert desk.ask(allowed).json()["verdict"] == "allow"
    first = desk.ask(denied).json()
    assert first["verdict"] == "deny"
    freeze = desk.frozen("session", "s-1")
    again = desk.ask(allowed)
    assert (again.status_code, again.json()["code"]) == (409, "frozen"), again.text
    assert verdict(desk.ask(denied).json()) == verdict(first), "an old denial is still a denial"
    desk.lifted(freeze)
    assert desk.ask(allowed).json()["verdict"] == "allow", "within its time it counts again"


def test_p8_a_held_call_that_is_frozen_can_be_denied_and_is_not_released(desk: Frozen, tmp_path: Path) -> None:
    """No token is given, a token that was given is not redeemed, and one that was redeemed is not released again; the views say why."""
    asked, approval = desk.held()
    waiting, minted, redeemed = approval["id"], desk.held(), desk.held()
    for _, one in (minted, redeemed):
        assert desk.review(one["id"], "p-bob").status_code == 200
    token, spent = desk.mint(minted[1]["id"]).json()["token"], desk.mint(redeemed[1]["id"]).json()["token"]
    assert desk.redeem(spent, redeemed[0]).status_code == 200
    freeze = desk.frozen("agent", "payments-bot")
    for answer in (desk.redeem(token, minted[0]), desk.redeem(spent, redeemed[0]), desk.mint(minted[1]["id"])):
        assert (answer.status_code, answer.json()["code"]) == (409, "frozen"), answer.text
    assert desk.approval(minted[1]["id"])["freeze"] == freeze and desk.approval(minted[1]["id"])["state"] == "minted"
    assert desk.approval(waiting)["freeze"] == freeze
    assert desk.review(waiting, "p-bob", "deny").status_code == 200
    desk.lifted(freeze)
    assert desk.redeem(token, minted[0]).status_code == 200, "it is released once the freeze is lifted"
    cli("verify", "--key", desk.server.vkey, "--export", desk.export(tmp_path / "export")).ok()
    desk.server.stop()
    desk.server.fsck().ok()


def test_p17_lifting_needs_a_review_whatever_the_rules_say(desk: Frozen, tmp_path: Path) -> None:
    """Without a rule that names it, nobody lifts; the key that asks does not review; one approval lifts one freeze, once."""
    first, second = desk.frozen("agent", "payments-bot"), desk.frozen("session", "s-1")
    asked = desk.lift(first)
    id = asked.json()["approval"]["id"]
    assert desk.lift(first, approval=id).json()["code"] == "not_now", "nobody approved it yet"
    assert desk.review(id, "p-carla").status_code in (403, 404), "who asks for it does not review it"
    assert desk.review(id, "p-ana").status_code == 200
    assert desk.lift(second, approval=id).json()["code"] == "conflict", "people approved another one"
    assert desk.lift(first, approval=id).json()["status"] == "applied"
    assert desk.lift(first, approval=id).status_code == 404 and desk.in_force() == [("session", "s-1")]
    entry = desk.server.admin.entries(kind="freeze")[-1]["event"]
    assert (entry["op"], entry["freeze"], entry["by"]["approval"], entry["by"]["person"]) == ("lift", first, id, "p-carla")
    desk.write(RULES, PEOPLE)
    desk.apply()
    alone = desk.lift(second)
    assert (alone.status_code, alone.json()["code"]) == (422, "not_opened") and "freeze.lift" in alone.json()["detail"]
    admin = desk.lift(second, desk.server.client(desk.server.add_key(["admin"], person="p-ana")))
    assert admin.status_code == 422 and desk.in_force() == [("session", "s-1")], "an admin does not lift alone either"
    cli("verify", "--key", desk.server.vkey, "--export", desk.export(tmp_path / "export")).ok()


def test_p12_who_freezes_and_who_sees_it(desk: Frozen) -> None:
    """Responders and admins freeze; a gateway sees what concerns its calls, and not who did it."""
    first = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    for roles, over in ([["enforcer"], {"producer": "gw-1"}], [["auditor"], {}], [["author"], {"person": "p-ana"}], [["reviewer"], {"person": "p-ana"}]):
        client = desk.server.client(desk.server.add_key(roles, **over))
        answer = desk.freeze("agent", "payments-bot", client)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing"), (roles, answer.text)
        assert desk.lift(1, client).status_code == 403
    for wrong in ({"scope": "agents"}, {"id": ""}, {"id": "x" * 257}, {"id": "a\nb"}, {"reason": ""}, {"producer": "GW 1"}, {"more": 1},
                  {"scope": "tenant", "id": "globex"}, {"scope": "producer", "id": "Not a name"}, {"scope": "producer", "id": "gw-1", "producer": "gw-1"},
                  {"scope": "tool", "id": "countersign"}, {"scope": "producer", "id": "countersign"}):  # fmt: skip
        answer = desk.freeze("agent", "payments-bot", None, **wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), (wrong, answer.text)
    assert desk.in_force() == [] and desk.server.admin.entries(kind="freeze") == []
    desk.frozen("agent", "payments-bot", desk.server.admin)
    desk.frozen("agent", "planner-bot", producer="gw-1")
    desk.frozen("producer", "gw-2")
    assert desk.in_force() == [("agent", "payments-bot"), ("agent", "planner-bot"), ("producer", "gw-2")]
    assert desk.in_force(desk.gateway) == [("agent", "payments-bot"), ("agent", "planner-bot")]
    assert desk.in_force(first) == [("agent", "payments-bot"), ("producer", "gw-2")]
    assert all("by" not in one for one in desk.gateway.get("/freezes").json()["freezes"])
    assert all("by" in one for one in desk.responder().get("/freezes").json()["freezes"])


def test_p14_a_gateway_that_waits_is_told_of_a_freeze(desk: Frozen) -> None:
    """`GET T/freezes?wait=…` answers when something is frozen, so that running sessions end."""
    version = desk.gateway.get("/freezes").json()["version"]
    assert version is None
    found: list[dict[str, Any]] = []
    other = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-1"))
    waiting = threading.Thread(target=lambda: found.append(other.get("/freezes", wait=60).json()))
    waiting.start()
    freeze = desk.frozen("session", "s-1")
    waiting.join(30)
    assert not waiting.is_alive() and found[0]["version"] == freeze and found[0]["freezes"][0]["id"] == "s-1"


def test_p14_a_clause_freezes_for_its_own_gateway_alone(desk: Frozen, tmp_path: Path) -> None:
    """A gateway that claims another's agent freezes it for itself only; a clause in shadow freezes nothing; the freeze stands right after its decision."""
    rogue = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-rogue"))
    assert verdict(desk.told(agent=BOT, params=CALL | {"reference": "watched"})) == ("allow", "allowed")
    caught = desk.ask(question(agent=BOT, params=CALL | {"reference": "steal"}), rogue).json()
    assert (verdict(caught), caught["freeze"]) == (("deny", "denied"), {"scope": "agent"})
    (entry,) = desk.server.admin.entries(kind="freeze")
    event = entry["event"]
    assert (event["scope"], event["id"], event["producer"], event["by"]) == ("agent", "payments-bot", "gw-rogue", {"server": "policy"})
    assert event["decision"]["index"] == caught["decision"]["index"]
    assert verdict(desk.ask(question(agent=BOT), rogue).json()) == ("deny", "frozen")
    assert desk.told(agent=BOT)["verdict"] == "allow", "nobody freezes another's agent by claiming its id"
    odd = desk.told(agent=BOT, params=CALL | {"reference": "odd"})
    assert odd["freeze"] == {"scope": "session"} and verdict(desk.told(agent=BOT)) == ("deny", "frozen")
    assert desk.told(agent=BOT | {"session": "s-2"})["verdict"] == "allow"
    without = desk.told(agent={"id": "payments-bot"}, params=CALL | {"reference": "odd"})
    assert verdict(without) == ("deny", "denied") and verdict(desk.told(agent=BOT | {"session": "s-2"})) == ("deny", "frozen"), "without a session, the agent"
    folder = desk.export(tmp_path / "export")
    again = desk.replayed(folder)
    assert (again["code"], again["different"]) == (0, {})
    cli("verify", "--key", desk.server.vkey, "--export", folder).ok()
    desk.server.stop()
    desk.server.fsck().ok()


def test_p13_a_gateway_with_too_many_freezes_by_clauses_is_frozen_itself(desk: Frozen) -> None:
    for n in range(64):
        assert desk.told(agent=BOT | {"session": f"s-{n}"}, params=CALL | {"reference": "odd"})["verdict"] == "deny"
    assert desk.told(agent=BOT | {"session": "s-new"})["verdict"] == "allow"
    desk.told(agent=BOT | {"session": "s-64"}, params=CALL | {"reference": "odd"})
    assert desk.in_force()[-1] == ("producer", "gw-1")
    assert verdict(desk.told(agent=BOT | {"session": "s-new"})) == ("deny", "frozen")


def test_p14_a_freeze_against_calls_in_flight(desk: Frozen, tmp_path: Path) -> None:
    """Under load, no allow stands after the freeze in the log; what was judged before it and came after it is void. Other agents go on."""
    desk.activate(bounded(tmp_path / "bounded", 100_000))
    key = desk.server.add_key(["enforcer"], producer="gw-load")
    with Asking(desk.server, key, 4, random.Random(7), repeats=0) as load:
        for _ in range(8):
            load.wait_for_more(40)
            freeze = desk.frozen("agent", "payments-bot")
            load.wait_for_more(20)
            desk.lifted(freeze)
        load.wait_for_more(40)
        told = load.finish()
    entries = {index: json.loads(leaf) for index, leaf in desk.server.admin.feed(kind="freeze")}
    frozen, spans = None, []
    for index, entry in sorted(entries.items()):
        frozen = index if entry["event"]["op"] == "freeze" else spans.append((frozen, index))
    assert len(spans) == 8
    inside = [one for one in told if any(a < one["index"] < b for a, b in spans)]
    assert inside and all(one["verdict"] == "deny" for one in inside)
    assert {one["verdict"] for one in told if one not in inside} == {"allow", "deny"}
    counted = everything(desk, told, tmp_path / "export")
    assert counted["verdicts"] > 0


def test_p1_p14_a_freeze_stands_after_kill_9(desk: Frozen) -> None:
    """Once it is answered, it is in force after any crash: verdicts, repetitions and redemptions."""
    asked, approval = desk.held()
    assert desk.review(approval["id"], "p-bob").status_code == 200
    token = desk.mint(approval["id"]).json()["token"]
    allowed = question(agent=BOT)
    assert desk.ask(allowed).json()["verdict"] == "allow"
    freeze = desk.frozen("agent", "payments-bot")
    desk.server.kill9()
    desk.server.start()
    until("it decides", lambda: desk.ask(question(agent=BOT)).status_code == 200)
    assert desk.told(agent=BOT)["freeze"]["index"] == freeze
    for answer in (desk.ask(allowed), desk.redeem(token, asked)):
        assert (answer.status_code, answer.json()["code"]) == (409, "frozen"), answer.text
    desk.lifted(freeze)
    assert desk.told(agent=BOT)["verdict"] == "allow"


def test_p14_p17_by_command(desk: Frozen) -> None:
    """`countersign freeze add`, `list`, `lift`."""
    key = desk.server.key_file(desk.keys.setdefault("responder p-carla", desk.server.add_key(["responder"], person="p-carla")))
    remote = ("--config", desk.server.config, "--tenant", desk.tenant, "--api-key-file", key)
    assert "nothing is frozen" in cli("freeze", "list", *remote).ok().out
    assert "agent payments-bot is frozen" in cli("freeze", "add", *remote, "--reason", "at night", "agent", "payments-bot").ok().out
    listed = cli("freeze", "list", *remote).ok().out
    freeze = int(listed.split()[0])
    assert "payments-bot" in listed and "p-carla" in listed
    asked = cli("freeze", "lift", *remote, "--reason", "repaired", str(freeze))
    assert asked.code == 1 and "--approval apr-" in asked.err, asked.err
    id = asked.err.split("--approval ")[1].split()[0]
    assert desk.review(id, "p-bob").status_code == 200
    assert "is lifted" in cli("freeze", "lift", *remote, "--reason", "repaired", "--approval", id, str(freeze)).ok().out
    assert desk.in_force() == []


def test_p14_from_an_approvals_page(desk: Frozen) -> None:
    """A person with a responder key freezes the call's agent from its page, after a reason; others have no button."""
    _, approval = desk.held()
    key: Key = desk.server.add_key(["reviewer"], person="p-bob")
    browser = httpx.Client(base_url=desk.server.url, headers={"Sec-Fetch-Site": "same-origin"}, trust_env=False, timeout=60)
    assert browser.post("/signin", data={"username": "p-bob", "password": key.text, "next": "/"}).status_code == 303
    page = browser.get(f"/approvals/{approval['id']}").text
    assert "Freeze …" not in page and "This call is frozen" not in page
    desk.responder("p-bob")
    page = browser.get(f"/approvals/{approval['id']}").text
    assert "Freeze …" in page
    token = page.split('name="token" value="')[1].split('"')[0]
    path = f"/approvals/{approval['id']}/freeze"
    asked = browser.post(path, data={"token": token, "scope": "agent"})
    assert asked.status_code == 200 and "Yes, freeze" in asked.text and desk.in_force() == []
    assert browser.post(path, data={"token": "other", "scope": "agent", "reason": "x"}).status_code == 403
    assert browser.post(path, data={"token": token, "scope": "agent", "reason": "It pays the wrong people."}).status_code == 303
    assert desk.in_force() == [("agent", "payments-bot")]
    page = browser.get(f"/approvals/{approval['id']}").text
    assert "This call is frozen" in page and "Deny …" in page
    (entry,) = desk.server.admin.entries(kind="freeze")
    assert entry["event"]["by"]["person"] == "p-bob"
