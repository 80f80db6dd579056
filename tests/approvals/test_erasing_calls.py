"""Erasing what people must decide on: refused while somebody needs it, unless its approval is cancelled with it; and what is left
afterwards can be decided by nobody (P7, P11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import new_id
from support.house import House, Paused, code

RULES = """
[[rule]]
name = "two of finance"
quorum = {at_least = 2, of = "finance"}
owner = "none"
match = {action = "two"}

[[rule]]
name = "one of finance"
quorum = {at_least = 1, of = "finance"}
report_within = "1s"
owner = "none"
"""
PEOPLE = [{"id": f"p-{name}", "name": name, "groups": ["finance"]} for name in ("ana", "bob", "cem")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house; judged at the end."""
    house = House.ready(tmp_path_factory.mktemp("erasing"), RULES, PEOPLE)
    try:
        yield house
        house.close()
    finally:
        house.server.__exit__()


def secret() -> dict[str, Any]:
    """Params with something to look for."""
    return {"amount": 125000, "currency": "EUR", "to": new_id("iban-of-a-person")}


def erase(house: House, approval: Paused, **body: Any) -> httpx.Response:
    """Erases payload of the decision that opened it."""
    index = house.state(approval)["opening"]["index"]
    return house.post(house.server.admin, "/erasures", {"indexes": [index]} | body)


def kept(house: House, approval: Paused) -> str:
    """What is left of the decision's payload."""
    return house.server.as_("discloser").disclosures(house.state(approval)["opening"]["index"])


def pending(house: House) -> Paused:
    return house.pause(secret(), action="two")


def granted(house: House) -> Paused:
    return house.grant("p-ana", params=secret())


def minted(house: House) -> Paused:
    approval = granted(house)
    house.mint(approval)
    return approval


LIVE = [pending, granted, minted]


@pytest.mark.parametrize("fields", [None, ["params"], ["nonce"], ["params", "nonce"]], ids=str)
@pytest.mark.parametrize("phase", LIVE)
def test_p7_a_call_that_is_needed_is_not_erased(house: House, phase: Callable[[House], Paused], fields: list[str] | None) -> None:
    """409, nothing recorded, nothing gone: params and nonce are both the call."""
    approval = phase(house)
    payload, before = kept(house, approval), house.server.admin.size()
    for body in ({}, {"cancel": False}):
        assert code(erase(house, approval, **body, **({"fields": fields} if fields else {}))) == (409, "conflict")
    assert house.server.admin.size() == before and kept(house, approval) == payload
    assert house.state(approval)["frozen"]["params"] == approval.call["params"]


@pytest.mark.parametrize("phase", LIVE)
def test_p11_erased_with_its_approval(house: House, phase: Callable[[House], Paused]) -> None:
    """`cancel`: cancelled first, by the admin, then erased; nobody is shown the call any more, and nobody decides on it."""
    approval = phase(house)
    token = house.mint(approval) if phase is minted else ""
    assert erase(house, approval, cancel=True).json()["status"] == "complete"
    state = house.state(approval)
    assert (state["state"], state["end_reason"]) == ("cancelled", "erased") and "frozen" not in state
    assert house.events(approval)[-1] == {"type": "cancelled", "by": f"admin:{house.server.admin_key.id}", "reason": "erased"}
    assert approval.call["params"]["to"] not in kept(house, approval)
    assert code(house.review(approval, "p-bob")) == (409, "not_now")
    assert code(house.token(approval)) == (409, "not_now")
    if token:
        assert code(house.redeem(approval, token)) == (409, "not_now")
    assert not {"redeemed", "superseded"} & set(house.count(approval))
    assert house.open(approval).json()["state"] == "cancelled", "the same event opens nothing new"
    assert erase(house, approval, cancel=True).status_code == 200, "asking again is harmless"
    assert house.count(approval)["cancelled"] == 1


def test_p11_other_fields_are_erased_at_once(house: House) -> None:
    """What is not the call does not hold the call up: the agent's own words, and its owner."""
    approval = house.pause(secret(), action="two", payload={"reason": "the agent's own words", "prompt": "words"}, owner="p-ana")
    assert erase(house, approval, fields=["reason", "prompt", "owner"]).json()["status"] == "complete"
    assert house.state(approval)["frozen"]["params"] == approval.call["params"]
    assert code(house.review(approval, "p-ana")) == (404, "not_found"), "who owned it when it was asked for still does"
    for person in ("p-bob", "p-cem"):
        assert house.review(approval, person).status_code == 200
    assert house.redeem(approval, house.mint(approval)).status_code == 200


@pytest.mark.parametrize("end", ["denied", "cancelled", "revoked", "redeemed", "completed", "unknown"])
def test_p11_what_is_over_is_erased(house: House, end: str) -> None:
    """Without a word about its approval, whose history stays whole; also after the redemption, before its report."""
    approval = house.pause(secret(), agent=new_id("agent")) if end in ("denied", "cancelled") else granted(house)
    if end == "denied":
        assert house.review(approval, "p-ana", "deny").status_code == 200
    elif end == "cancelled":
        assert house.cancel(approval).status_code == 200
    elif end == "revoked":
        assert house.revoke(approval, house.person("p-bob")).status_code == 200
    else:
        token = house.mint(approval)
        assert house.redeem(approval, token).status_code == 200
        if end == "completed":
            assert house.report(approval).status_code == 200
        if end == "unknown":
            house.until_state(approval, "unknown")
    before = house.messages(approval)
    assert erase(house, approval).json()["status"] == "complete"
    assert "frozen" not in house.state(approval) and house.messages(approval)[: len(before)] == before
    if end == "redeemed":
        answer = house.redeem(approval, token)
        assert answer.status_code == 409, "it can't say what to execute any more"
        assert house.report(approval).json()["state"] == "completed"
        assert house.count(approval)["redeemed"] == 1


def test_p11_an_erased_call_is_nowhere_on_disk(tmp_path: Path) -> None:
    """Cancelled with it: the params are in no file of the data directory, in memory of nobody after a restart."""
    house = House.ready(tmp_path, RULES, PEOPLE)
    try:
        approval = pending(house)
        needle = approval.call["params"]["to"].encode()
        assert any(needle in path.read_bytes() for path in house.server.data_dir.rglob("*") if path.is_file())
        assert erase(house, approval, cancel=True).json()["status"] == "complete"
        assert [path for path in house.server.data_dir.rglob("*") if path.is_file() and needle in path.read_bytes()] == []
        house.server.restart(kill=True)
        assert house.state(approval)["state"] == "cancelled"
        house.close()
    finally:
        house.server.__exit__()


def test_only_an_admin_erases_and_a_flag_is_a_flag(house: House) -> None:
    """And nothing is cancelled by a request that is refused."""
    approval = pending(house)
    index = house.state(approval)["opening"]["index"]
    before = house.server.admin.size()
    for client in (house.gateway(), house.person("p-ana")):
        assert house.post(client, "/erasures", {"indexes": [index], "cancel": True}).status_code == 403
    wrong = [{"cancel": "yes"}, {"cancel": 1}, {"cancel": None, "extra": 1}, {"fields": ["no-such-field"], "cancel": True},
             {"fields": [], "cancel": True}]  # fmt: skip
    for body in wrong:
        assert code(erase(house, approval, **body)) == (400, "bad_request"), body
    assert house.server.admin.size() == before
    assert house.state(approval)["state"] == "pending"


def test_p11_one_call_that_is_needed_keeps_all_of_a_request(house: House) -> None:
    """A denied call may go, a pending one may not: together they stay, until the pending one is cancelled with it."""
    over, live = pending(house), pending(house)
    assert house.review(over, "p-ana", "deny").status_code == 200
    indexes = [house.state(approval)["opening"]["index"] for approval in (over, live)]
    before = house.server.admin.size()
    answer = house.post(house.server.admin, "/erasures", {"indexes": indexes})
    assert answer.status_code == 409 and live.id in answer.json()["detail"]
    assert house.server.admin.size() == before and house.state(live)["state"] == "pending"
    done = house.post(house.server.admin, "/erasures", {"indexes": indexes, "cancel": True})
    assert done.status_code == 200 and len(done.json()["entries"]) == 2
    assert house.state(live)["state"] == "cancelled" and not any(kept(house, approval) for approval in (over, live))
