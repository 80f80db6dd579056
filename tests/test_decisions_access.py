"""P12, P16, P17: who may ask, who may propose, who may read; what can't be erased."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, Server, until
from support.deciding import CALL, PAYMENTS, Deciding, nonce, question
from support.desk import approval_id, paused

FILES = [{"path": str(p.relative_to(PAYMENTS)), "content": p.read_text()} for p in sorted(PAYMENTS.rglob("*.yaml"))]
#: Each role, and what a key of it has.
ROLES: dict[str, dict[str, Any]] = {
    "publisher": {"producer": "gw-1"}, "enforcer": {"producer": "gw-1"}, "auditor": {}, "discloser": {}, "exporter": {}, "admin": {},
    "reviewer": {"person": "p-bob"}, "author": {"person": "p-ana"},
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    """A tenant whose payments policy is in force; sound at the end, or the module fails."""
    with Server(tmp_path_factory.mktemp("desk") / "server") as server:
        desk = Deciding(server)
        desk.activate(PAYMENTS)
        yield desk
        server.stop()
        server.fsck().ok()


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and problem code."""
    return answer.status_code, answer.json().get("code", "")


@pytest.mark.parametrize("role", ROLES)
def test_p12_each_role_may_do_what_it_is_for_and_nothing_else(role: str, desk: Deciding) -> None:
    """Asking is for enforcers, proposing for authors, reading policies for authors and auditors; whoever may not gets 403, before the
    body is looked at, and nothing is recorded."""
    client = desk.server.client(desk.server.add_key([role], **ROLES[role]))
    size = desk.server.admin.size()
    post = lambda path, body: client.http.post(client.t + path, json=body)  # noqa: E731
    may = {"ask": role == "enforcer", "propose": role == "author", "read": role in ("author", "auditor", "discloser", "admin")}
    for body in (question(), [question(), question()], {"no": "question"}):
        told = post("/decisions", body)
        assert code(told) == (403, "role_missing") if not may["ask"] else told.status_code in (200, 400), told.text
    for path, body in (("/policies", {"files": FILES, "comment": "x"}), ("/policies", {}), ("/policies/1/rollback", {"comment": "x"})):
        told = post(path, body)
        assert code(told) == (403, "role_missing") if not may["propose"] else told.status_code in (201, 400), told.text
    for path in ("/policies", "/policies/1"):
        told = client.get(path)
        # Reviewers may, if they are let.
        assert told.status_code == (200 if may["read"] else 403) or (role, told.status_code) == ("reviewer", 200), told.text
    assert desk.server.admin.size() > size if may["ask"] or may["propose"] else desk.server.admin.size() == size


def test_p12_without_a_key_in_force_nothing_is_told(desk: Deciding) -> None:
    """No key, one of a wrong secret, one that was removed, and the operator's: never a verdict."""
    key = desk.server.add_key(["enforcer"], producer="gw-1")
    gateway = desk.server.client(key)
    assert desk.ask(question(), gateway).json()["verdict"] == "allow"
    admin = desk.server.admin
    assert admin.http.delete(f"{admin.t}/keys/{key.id}").status_code == 204
    wrong = desk.gateway.key.text
    wrong = wrong[:-1] + ("A" if wrong[-1] != "A" else "B")
    size = desk.server.admin.size()
    for bad in (key, None, Key(wrong), Key("cs_x_y"), desk.server.operator_key):
        client = desk.server.client(bad)
        for body in (question(), [question()]):
            told = desk.ask(body, client)
            assert told.status_code == 401 and "verdict" not in told.text, told.text
    assert desk.server.admin.size() == size


def test_p12_a_key_of_another_tenant_is_told_nothing(desk: Deciding) -> None:
    """404 whatever it asks, the same as at a tenant that does not exist; also where both have asked the same."""
    beta = desk.server.add_tenant("beta")
    admin = desk.server.client(Key(beta["key"]), "beta")
    asked = question()
    mine = desk.ask(asked).json()
    size = desk.server.admin.size()
    keys = {role: Key(beta["key"]) if role == "admin" else admin.add_key([role], more.get("producer"), more.get("person")) for role, more in ROLES.items()}
    for role, key in keys.items():
        here, nowhere = desk.server.client(key), desk.server.client(key, "gamma")
        for path, body in (
            ("/decisions", asked), ("/decisions", [asked]), ("/policies", {"files": FILES, "comment": "x"}), ("/policies/1/rollback", {"comment": "x"}),
        ):  # fmt: skip
            told, other = (client.http.post(client.t + path, json=body) for client in (here, nowhere))
            assert code(told) == code(other) == (404, "not_found"), (role, told.text)
            assert told.json()["detail"] == other.json()["detail"]
        for path in ("/policies", "/policies/1", f"/entries/{mine['decision']['index']}"):
            assert code(here.get(path)) == code(nowhere.get(path)) == (404, "not_found"), role
    assert desk.server.admin.size() == size
    # In its own tenant nothing is in force: its gateway is denied, and learns nothing of ours.
    gateway = desk.server.client(keys["enforcer"], "beta")
    told = desk.ask(asked, gateway)
    assert told.status_code in (200, 503) and told.json().get("verdict") in (None, "deny"), told.text
    assert desk.ask(question()).json()["verdict"] == "allow"


def test_p12_gateways_of_one_tenant_do_not_share_answers(desk: Deciding) -> None:
    """The same question of another gateway is another one; its approval is nothing to the first."""
    other = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    asked = question(params=CALL | {"amount": 200_000})
    mine, theirs = desk.ask(asked).json(), desk.ask(asked, other).json()
    assert not mine["repeated"] and not theirs["repeated"] and mine["decision"] != theirs["decision"]
    assert mine["approval"]["id"] != theirs["approval"]["id"]
    for client, foreign in ((desk.gateway, theirs), (other, mine)):
        id = foreign["approval"]["id"]
        assert code(client.get(f"/approvals/{id}")) == (404, "not_found")
        assert code(client.http.post(f"{client.t}/approvals/{id}/token")) == (404, "not_found")
        assert code(client.http.post(f"{client.t}/approvals/{id}/cancel", json={"reason": "x"})) == (404, "not_found")


def test_p7_p8_only_the_call_that_was_asked_about_is_redeemed(tmp_path: Path) -> None:
    """By its gateway, once, with its nonce and params."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(PAYMENTS)
        asked = question(params=CALL | {"amount": 200_000})
        id = desk.ask(asked).json()["approval"]["id"]
        gateway = desk.gateway
        assert gateway.http.post(f"{gateway.t}/approvals/{id}/token").status_code == 409, "nobody approved it yet"
        assert desk.review(id, "p-bob").status_code == 200
        token = gateway.http.post(f"{gateway.t}/approvals/{id}/token").json()["token"]
        call = {"nonce": asked["nonce"], "agent": "payments-bot", "run": "r-1", "tool": "payments", "action": "transfer", "params": asked["params"]}
        other = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
        redeem = lambda client, over, id="once": client.http.post(f"{client.t}/tokens/redeem", json={"token": token, "redemption_id": id, "call": call | over})  # noqa: E731
        for over in ({"nonce": nonce()}, {"params": CALL | {"amount": 200_001}}, {"agent": "helpdesk-bot"}, {"action": "payout"}, {"run": None}):
            assert code(redeem(gateway, over)) == (409, "digest_mismatch"), over
        assert redeem(other, {}).status_code in (403, 404)
        assert redeem(gateway, {}).status_code == 200
        assert code(redeem(gateway, {}, "twice")) == (409, "already_redeemed")
        # A repeated question tells what became of it, and is no second approval.
        again = desk.ask(asked).json()
        assert (again["verdict"], again["repeated"], again["approval"]["id"], again["approval"]["state"]) == ("approval_needed", True, id, "redeemed")


def test_p8_p14_nobody_takes_an_approval_in_advance(desk: Deciding) -> None:
    """A publisher of the same producer pauses a call under the source and id of the question: two approvals, and a yes to one is none to
    the other."""
    asked = question(params=CALL | {"amount": 200_000})
    publisher = desk.server.client(desk.server.add_key(["publisher"], producer="gw-1"))
    made = paused(desk.tenant, {"amount": 1}, id=asked["id"], source=asked["source"], data={"agent": asked["agent"], "tool": asked["tool"]})
    assert publisher.publish(made)[0]["status"] == "posted"
    theirs = approval_id(desk.tenant, "gw-1", made)
    until("the publisher's approval", lambda: desk.server.admin.get(f"/approvals/{theirs}").status_code == 200)
    ours = desk.ask(asked).json()["approval"]["id"]
    assert ours != theirs
    assert desk.review(theirs, "p-bob").status_code == 200
    assert (desk.approval(theirs)["state"], desk.approval(ours)["state"]) == ("granted", "pending")
    gateway = desk.gateway
    assert gateway.http.post(f"{gateway.t}/approvals/{ours}/token").status_code == 409
    token = gateway.http.post(f"{gateway.t}/approvals/{theirs}/token").json()["token"]
    call = {"nonce": asked["nonce"], "agent": "payments-bot", "run": "r-1", "tool": "payments", "action": "transfer", "params": asked["params"]}
    redeemed = gateway.http.post(f"{gateway.t}/tokens/redeem", json={"token": token, "redemption_id": "x", "call": call})
    assert code(redeemed) == (409, "digest_mismatch")


# What can't be erased


def test_p11_p17_policies_are_never_erased(tmp_path: Path) -> None:
    """An admin can't erase a part or a bundle; a restart finds the policies."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(PAYMENTS)
        indexes = [index for index, _ in server.admin.feed(kind="policy")]
        assert len(indexes) == 5
        for index in indexes:
            answer = server.admin.http.post(f"{server.admin.t}/erasures", json={"indexes": [index]})
            assert 400 <= answer.status_code < 500, (index, answer.text)
        server.restart(kill=True)
        assert desk.told()["verdict"] == "allow"


@pytest.mark.parametrize("when", ["pending", "in force"])
def test_p11_p17_an_erased_proposal_puts_nothing_in_force(when: str, tmp_path: Path) -> None:
    """Without the call that people saw nothing is activated; what is in force stays so, and its verdicts are computed again."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        if when == "in force":
            desk.activate(PAYMENTS)
        else:
            id = desk.propose(PAYMENTS).json()["approval"]["id"]
        asked = [index for index, leaf in server.admin.feed(kind="decision") if b'"activates"' in leaf]
        assert len(asked) == 1
        erase = lambda **more: server.admin.http.post(f"{server.admin.t}/erasures", json={"indexes": asked} | more)  # noqa: E731
        if when == "pending":
            assert code(erase()) == (409, "conflict"), "people are looking at it"
        assert erase(cancel=True).json()["status"] == "complete"
        if when == "pending":
            assert desk.approval(id)["over"]
            assert desk.review(id, "p-bob").status_code == 409
            assert desk.status()["in_force"] is None and desk.told()["reason"]["code"] == "no_policy"
            desk.activate(PAYMENTS)
        server.restart(kill=True)
        assert desk.told()["verdict"] == "allow"
        again = desk.replayed(desk.export(tmp_path / "export"))
        assert again["different"] == {} and again["same"] >= 1, again
        server.stop()
        server.fsck("--replay").ok()
