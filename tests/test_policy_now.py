"""P8, P16, P17: the policies change while people are asked about a call, or after they approved it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server
from support.asking import policy_folder
from support.deciding import CALL, RULES, Deciding, question
from support.desk import Desk
from support.schemas import check
from support.waits import until

ASKS = """language: 1
policy: pay
clauses:
  - id: asked
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    then: approval_needed
"""
#: The same, and no transfer of CALL's amount or more.
DENIES = ASKS + "  - {id: never, tool: payments, actions: [transfer], when: {amount: {minor: /amount, currency: /currency, at_least: {EUR: 1}}}, then: deny}\n"
#: The same clause in shadow: it denies nothing.
SHADOWED = DENIES.replace("then: deny", "then: deny, enforcement: {shadow: true}")
#: The call needs nobody any more.
ALLOWS = ASKS.replace("then: approval_needed", "then: allow")
LISTED = ASKS + "  - {id: blocked, tool: payments, when: {params: {/reference: {in_list: blocked}}}, then: deny}\n"
RULED = RULES.replace('action = "policy.activate"', 'action = ["policy.activate", "list.change"]')


def folder(to: Path, policy: str) -> Path:
    """A folder with this policy; with a list, if it names one."""
    made = policy_folder(to, policy)
    if "in_list" in policy:
        (made / "lists").mkdir()
        (made / "lists" / "blocked.yaml").write_text("language: 1\nitems: [INV-000000]\n")
    return made


class Waiting(Deciding):
    """A tenant with a call that people are asked about."""

    def pause(self) -> tuple[str, dict[str, Any]]:
        """A call that is asked about: its approval and the call in hand."""
        asked = question()
        told = self.ask(asked).json()
        assert told["verdict"] == "approval_needed", told
        tool = asked["tool"]
        return told["approval"]["id"], {"nonce": asked["nonce"], "agent": asked["agent"]["id"], "run": asked["agent"]["run"],
                                        "tool": tool["name"], "action": tool["action"], "params": asked["params"]}  # fmt: skip

    def token(self, id: str) -> httpx.Response:
        """`POST T/approvals/{id}/token`, by the gateway."""
        return self.gateway.http.post(f"{self.gateway.t}/approvals/{id}/token")

    def redeem(self, token: str, call: dict[str, Any], redemption: str = "r-1") -> httpx.Response:
        """`POST T/tokens/redeem`, by the gateway."""
        return self.gateway.http.post(f"{self.gateway.t}/tokens/redeem", json={"token": token, "redemption_id": redemption, "call": call})

    def seen(self, id: str, person: str = "p-bob") -> dict[str, Any]:
        """The approval, as a reviewer gets it."""
        shown = self.reviewer(person).get(f"/approvals/{id}").json()
        check("approval", shown)
        return shown

    def until_state(self, id: str, state: str) -> dict[str, Any]:
        """The approval, once it is in that state."""
        until(f"{id} is {state}", lambda: self.approval(id)["state"] == state)
        return self.approval(id)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Waiting]:
    with Server(tmp_path / "server") as server:
        desk = Waiting(server, RULED)
        desk.activate(folder(tmp_path / "asks", ASKS))
        yield desk


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and problem code."""
    return answer.status_code, answer.json().get("code", "")


def test_p16_p17_what_is_denied_now_is_approved_and_redeemed_by_nobody(desk: Waiting, tmp_path: Path) -> None:
    """One call waits, one is granted, one has a token, one was redeemed before. The first three end at once, by an entry; the fourth stays as it was. A call
    after that is judged by the policies in force, and the log verifies and replays."""
    (pending, _), (granted, _), (minted, call), (before, earlier) = (desk.pause() for _ in range(4))
    for id in (granted, minted, before):
        assert desk.review(id, "p-bob").status_code == 200
    token = desk.token(minted).json()["token"]
    released = desk.token(before).json()["token"]
    assert desk.redeem(released, earlier).status_code == 200
    assert "policy_now" not in desk.seen(pending)
    desk.activate(folder(tmp_path / "denies", DENIES))
    assert desk.until_state(pending, "cancelled")["end_reason"] == "policy_denies"
    for id in (granted, minted):
        assert desk.until_state(id, "revoked")["end_reason"] == "policy_denies"
    assert code(desk.review(pending, "p-bob")) == (409, "policy_denies")
    assert code(desk.token(granted)) == code(desk.redeem(token, call)) == (409, "policy_denies")
    assert desk.approval(before)["state"] == "redeemed" and desk.redeem(released, earlier).status_code == 200, "a repetition learns that it won"
    assert desk.history_of(minted)[-1] == {"type": "revoked", "by": "policy", "reason": "policy_denies"}
    assert desk.told()["reason"]["clause"] == "pay/never"
    again = desk.replayed(desk.export(tmp_path / "export"))
    assert (again["different"], again["code"]) == ({}, 0)


def test_p17_what_is_judged_otherwise_is_shown_before_an_answer(desk: Waiting, tmp_path: Path) -> None:
    """Policies that would allow it, or that have a clause in shadow, end nothing. People read what they say."""
    id, call = desk.pause()
    desk.activate(folder(tmp_path / "shadow", SHADOWED))
    assert "policy_now" not in desk.seen(id), "a clause in shadow says nothing"
    desk.activate(folder(tmp_path / "allows", ALLOWS))
    shown = desk.seen(id)
    now = shown["policy_now"]
    assert (now["verdict"], now["clause"], now["enforced"], shown["state"]) == ("allow", "pay/asked", True, "pending")
    assert "would allow it without people by pay/asked" in now["text"] and f"Version {now['version']}" in now["text"]
    assert desk.review(id, "p-bob").status_code == 200
    assert desk.redeem(desk.token(id).json()["token"], call).status_code == 200
    assert "policy_now" not in desk.seen(id), "it is released"


def test_p17_an_item_of_a_list_ends_it_too(desk: Waiting, tmp_path: Path) -> None:
    desk.activate(folder(tmp_path / "listed", LISTED))
    id, call = desk.pause()
    assert desk.review(id, "p-bob").status_code == 200
    token = desk.token(id).json()["token"]
    author = desk.author()
    asked = author.http.post(f"{author.t}/lists/blocked", json={"add": ["INV-9"], "comment": "Another one."}).json()
    assert desk.review(asked["approval"]["id"], "p-bob").status_code == 200
    until("the list is in force", lambda: author.get("/lists/blocked").json()["version"] == 1)
    assert desk.approval(id)["state"] == "minted", "another item changes nothing for it"
    asked = author.http.post(f"{author.t}/lists/blocked", json={"add": [CALL["reference"]], "comment": "This one."}).json()
    assert desk.review(asked["approval"]["id"], "p-bob").status_code == 200
    assert desk.until_state(id, "revoked")["end_reason"] == "policy_denies"
    assert code(desk.redeem(token, call)) == (409, "policy_denies")


def test_p17_a_call_that_a_gateway_judged_is_left_alone(desk: Waiting, tmp_path: Path) -> None:
    """Its gateway publishes its own decision: the policies of this server never judged it."""
    id = Desk.ask(desk, CALL)
    desk.wait_for(id, "requested")
    desk.activate(folder(tmp_path / "denies", DENIES))
    assert desk.told()["verdict"] == "deny"
    assert desk.review(id, "p-bob").status_code == 200
    assert desk.approval(id)["state"] == "granted"
