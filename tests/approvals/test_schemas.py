"""`proto/schemas/approval…`: what a real server answers and writes fits them, every state and every event."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.house import House, Paused
from support.schemas import SCHEMAS, check

RULE = """
[[rule]]
name = "{name}"
quorum = {{at_least = {count}, of = "finance"}}
owner = "none"
{more}
match = {{action = "{name}"}}
"""
RULES = "".join(
    RULE.format(name=name, count=2 if name == "two" else 1, more=more)
    for name, more in {
        "one": "", "two": "", "step-up": 'step_up = "10m"', "short": 'approve_within = "8s"', "hasty": 'execute_within = "1s"',
        "fleeting": 'token_life = "1s"', "silent": 'report_within = "1s"',
    }.items()
) + '[[rule]]\nname = "everything else"\nquorum = {at_least = 1, of = "finance"}\nowner = "none"\n'  # fmt: skip
PEOPLE = [{"id": id, "name": id, "groups": ["finance"]} for id in ("p-ana", "p-bob", "p-cem")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of its own: its rules change."""
    house = House.ready(tmp_path_factory.mktemp("schemas"), RULES, PEOPLE)
    try:
        yield house
        house.close()
    finally:
        house.server.__exit__()


def problem(answer: httpx.Response) -> dict[str, Any]:
    """A refused command: a problem with the approval as it stands."""
    check("problem", answer.json())
    check("approval", answer.json()["approval"])
    return answer.json()


def lives(house: House) -> dict[str, Paused]:
    """Calls, each brought to an end of its own."""
    made = {name: house.pause(action="one") for name in ("completed", "failed", "denied", "cancelled", "revoked", "superseded")}
    made |= {name: house.pause(action=name) for name in ("step-up", "short", "hasty", "fleeting", "silent")}
    made["pending"] = house.pause(action="two")
    house.review(made["pending"], "p-ana", comment="fine by me")
    question = {"digest": made["pending"].digest, "text": "Why?"}
    asked = f"/approvals/{made['pending'].id}/questions"
    check("approval", house.post(house.person("p-bob"), asked, question).json())
    check("approval", house.post(house.gateway(), f"{asked}/1/answer", {"text": "It is due."}).json())
    problem(house.review(made["step-up"], "p-ana"))
    check("approval", house.review(made["denied"], "p-bob", "deny").json())
    check("approval", house.cancel(made["cancelled"]).json())
    for name in ("completed", "failed", "revoked", "hasty", "fleeting", "silent"):
        check("approval", house.review(made[name], "p-ana").json())
    check("approval", house.revoke(made["revoked"], house.person("p-bob")).json())
    house.mint(made["fleeting"])
    for name in ("completed", "failed", "silent"):
        token = house.mint(made[name])
        changed = house.redeem(made[name], token, call=made[name].call | {"params": {"amount": 1}})
        assert problem(changed)["code"] == "digest_mismatch"
        redeemed = house.redeem(made[name], token).json()
        check("approval", redeemed["approval"])
    check("approval", house.report(made["completed"]).json())
    check("approval", house.report(made["failed"], "not_started").json())
    return made


def test_every_state_and_event_fits_its_schema(house: House) -> None:
    """And the schemas name no state and no event that there is not."""
    made = lives(house)
    awaited = {"short": "expired", "hasty": "lapsed", "silent": "unknown", "fleeting": "granted"}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: house.until_state(made[name], awaited[name]), awaited))
    house.change(rules=RULES.replace('name = "one"', 'name = "another"'))
    house.until_state(made["superseded"], "superseded")
    states = {house.state(approval)["state"] for approval in made.values()}
    known = set(SCHEMAS["approval"]["properties"]["state"]["enum"])
    assert known - states == {"minted", "redeemed"}, "seen on the way"
    seen = set()
    for approval in made.values():
        for _, message in house.messages(approval):
            check("approval-message", message)
            seen |= {event["type"] for event in message["events"]}
    known = {event["properties"]["type"]["const"] for event in SCHEMAS["approval-message"]["$defs"]["event"]["oneOf"]}
    assert known - seen == {"escalated", "clock_reset"}, "there is no chat here, and no clock was wrong"
    assert seen <= known


def test_each_caller_gets_what_fits(house: House) -> None:
    """With the frozen call or without it; in a list too."""
    approval = house.pause(action="one")
    for client, shown in ((house.person("p-ana"), True), (house.gateway(), True), (house.server.admin, False)):
        view = client.get(f"/approvals/{approval.id}").json()
        check("approval", view)
        assert ("frozen" in view) == shown
        page = client.get("/approvals").json()
        assert approval.id in [view["id"] for view in page["approvals"]]
        for view in page["approvals"]:
            check("approval", view)
