"""P14, P15: clauses in shadow are judged and recorded, and change nothing; obligations go back with the verdict and into the entry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from support import Server, cli
from support.asking import policy_folder
from support.deciding import CALL, Deciding, question

SHADOW = "enforcement: {shadow: true}"
FAR = "2099-01-01T00:00:00Z"
PAST = "2020-01-01T00:00:00Z"


def clause(id: str, then: str, *more: str) -> str:
    """A clause for transfers of finance's agents."""
    lines = [f"  - id: {id}", '    agents: ["@finance-bots"]', "    tool: payments", "    actions: [transfer]", f"    then: {then}"]
    return "\n".join([*lines, *(f"    {line}" for line in more)]) + "\n"


def policy(*clauses: str) -> str:
    """A policy of these clauses."""
    return "language: 1\npolicy: p\nclauses:\n" + "".join(clauses)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies."""
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


def put_in_force(desk: Deciding, *clauses: str) -> None:
    """A policy of these clauses."""
    desk.activate(policy_folder(desk.server.root / f"p{desk.server.admin.size()}", policy(*clauses)))


def recorded(desk: Deciding, told: dict[str, Any]) -> dict[str, Any]:
    """The plain part of the decision's entry."""
    return desk.server.admin.entry(told["decision"]["index"])["event"]["data"]


def payload(desk: Deciding, told: dict[str, Any]) -> dict[str, Any]:
    """Its payload, by name."""
    lines = desk.server.as_("discloser").disclosures(told["decision"]["index"]).splitlines()
    return {name: value for _, name, value in map(json.loads, lines)}


def replays(desk: Deciding, count: int) -> None:
    """Everything is computed again, the same."""
    again = desk.replayed(desk.export(desk.server.root / "export"))
    assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, count), again


NEVER = "when: {params: {/absent: {one_of: [x]}}}"


@pytest.mark.parametrize(
    ("clauses", "verdict", "code", "shadow"),
    [
        ([clause("a", "allow"), clause("d", "deny", SHADOW)], "allow", "allowed", {"verdict": "deny", "code": "denied", "clause": "p/d"}),
        ([clause("d", "deny", SHADOW), clause("z", "allow")], "allow", "allowed", {"verdict": "deny", "code": "denied", "clause": "p/d"}),
        ([clause("a", "allow"), clause("q", "approval_needed", SHADOW)], "allow", "allowed", {"verdict": "approval_needed", "code": "approval", "clause": "p/q"}),
        ([clause("a", "allow"), clause("e", "deny", NEVER, SHADOW)], "allow", "allowed", {"verdict": "deny", "code": "condition_error", "clause": "p/e"}),
        ([clause("a", "allow", SHADOW), clause("b", "allow", "when: {purpose: [x]}")], "deny", "condition_error", {"verdict": "allow", "code": "allowed", "clause": "p/a"}),
        ([clause("a", "allow", SHADOW), clause("d", "deny")], "deny", "denied", {"verdict": "deny", "code": "denied", "clause": "p/d"}),
        ([clause("a", "allow", SHADOW), clause("q", "approval_needed")], "approval_needed", "approval", {"verdict": "approval_needed", "code": "approval", "clause": "p/q"}),
        ([clause("a", "allow"), clause("s", "allow", SHADOW)], "allow", "allowed", {"verdict": "allow", "code": "allowed", "clause": "p/a"}),
    ],
)  # fmt: skip
def test_p14_p15_a_clause_in_shadow_changes_nothing(
    clauses: list[str], verdict: str, code: str, shadow: dict[str, Any], desk: Deciding
) -> None:
    """What it would say is told and recorded beside the verdict; it is the verdict without the clause; repeated and computed again."""
    put_in_force(desk, *clauses)
    asked = question()
    told = desk.ask(asked).json()
    assert (told["verdict"], told["reason"]["code"], told["enforced"]) == (verdict, code, True), told
    assert told["shadow"] == shadow and "mode" not in told
    entry = recorded(desk, told)
    assert (entry["verdict"], entry["shadow"], entry["mode"]) == (verdict, shadow, "enforce")
    again = desk.ask(asked).json()
    assert again["repeated"] and (again["verdict"], again["shadow"]) == (verdict, shadow)
    replays(desk, 1)
    put_in_force(desk, *[one for one in clauses if SHADOW not in one])
    without = desk.told()
    assert (without["verdict"], without["reason"]) == (told["verdict"], told["reason"]) and "shadow" not in without


def test_p14_no_shadow_without_a_clause_in_shadow(desk: Deciding) -> None:
    """Nor for a call that the clause in shadow is not for."""
    put_in_force(desk, clause("a", "allow"), clause("d", "deny", SHADOW).replace("transfer", "payout"))
    told = desk.told()
    assert told["verdict"] == "allow" and "shadow" not in told and "shadow" not in recorded(desk, told)
    assert desk.told(tool={"name": "payments", "action": "payout"})["shadow"]["verdict"] == "deny"


def test_p14_a_bundle_in_shadow_only_observes(desk: Deciding) -> None:
    """`enforced` is null: we permit and forbid nothing; nobody is asked for an approval; each verdict is recorded as what it would be."""
    put_in_force(
        desk, clause("a", "allow", SHADOW, "obligations: {retain_days: 3}"),
        clause("q", "approval_needed", "when: {amount: {minor: /amount, currency: /currency, over: {EUR: 100}}}", SHADOW),
        clause("d", "deny", "when: {amount: {minor: /amount, currency: /currency, over: {EUR: 1000}}}", SHADOW),
    )  # fmt: skip
    asked = [question(params=CALL | {"amount": amount}) for amount in (1, 101, 1001)]
    asked += [question(params={}), question(agent={"id": "nobody"}), question(agent={"id": "helpdesk-bot"})]
    told = [desk.ask(one).json() for one in asked]
    assert [one["verdict"] for one in told] == ["allow", "approval_needed", "deny", "deny", "deny", "deny"]
    for one in told:
        assert one["enforced"] is None and one["mode"] == "shadow" and "approval" not in one, one
        assert recorded(desk, one)["mode"] == "shadow"
    assert [desk.ask(one).json()["enforced"] for one in asked] == [None] * len(asked)
    results = desk.ask(asked).json()["results"]
    assert [one["mode"] for one in results] == ["shadow"] * len(asked)
    # One of a kind that opens an approval, afterwards: the worker has read everything before it, and opened that one alone.
    put_in_force(desk, clause("q", "approval_needed"))
    opened = desk.told()["approval"]["id"]
    ids = {e["event"]["approval_id"] for e in desk.server.admin.entries(kind="approval") if e["event"]["n"] == 1}
    agents = {id: desk.approval(id)["call"]["agent"] for id in ids}
    assert [id for id, agent in agents.items() if agent != "countersign"] == [opened], agents
    replays(desk, len(asked) + 1)


def share(clause: str, agent: str) -> int:
    """The place of an agent among 100, by the formula and not by ours."""
    digest = hashlib.sha256(rfc8785.dumps(["countersign-share-v1", "p", clause, agent])).digest()
    return int.from_bytes(digest[:4], "big") % 100


def test_p15_steps_are_a_share_of_agents(desk: Deciding) -> None:
    """Which agents: by a hash of policy, clause and agent. A later step contains the earlier one; a step whose time has come counts."""
    agents = [f"bot-{n}" for n in range(60)]
    listed = "language: 1\nagents:\n" + "".join(f"  - {{id: {a}, groups: [finance-bots], owners: [p-ana]}}\n" for a in agents)
    denied: dict[str, set[str]] = {}
    for name, steps in {
        "none": f"[{{until: \"{FAR}\", percent: 0}}, {{percent: 100}}]",
        "some": f"[{{until: \"{PAST}\", percent: 0}}, {{until: \"{FAR}\", percent: 30}}, {{percent: 100}}]",
        "more": "[{percent: 70}]",
        "all": f"[{{until: \"{PAST}\", percent: 0}}, {{percent: 100}}]",
    }.items():  # fmt: skip
        folder = policy_folder(desk.server.root / name, policy(clause("a", "allow"), clause("d", "deny", f"enforcement: {{steps: {steps}}}")))
        (folder / "agents.yaml").write_text(listed + "  - {id: helpdesk-bot, groups: [support-bots], owners: [p-bob]}\n")
        desk.activate(folder)
        told = desk.ask([question(agent={"id": agent}) for agent in agents]).json()["results"]
        denied[name] = {agent for agent, one in zip(agents, told, strict=True) if one["verdict"] == "deny"}
        for agent, one in zip(agents, told, strict=True):
            # Who is outside the share is told what would be.
            assert agent in denied[name] or one["shadow"] == {"verdict": "deny", "code": "denied", "clause": "p/d"}
    assert denied["none"] == set() and denied["all"] == set(agents)
    assert denied["some"] == {agent for agent in agents if share("d", agent) < 30}
    assert denied["more"] == {agent for agent in agents if share("d", agent) < 70}
    assert 5 < len(denied["some"]) < len(denied["more"]) < 55 and denied["some"] < denied["more"]
    replays(desk, 4 * len(agents))


def test_p14_a_bundle_that_is_in_force_for_some_observes_the_others(desk: Deciding) -> None:
    """By steps: `enforced` is told for this agent."""
    inside = "payments-bot" if share("a", "payments-bot") < 50 else "helpdesk-bot"
    percent = share("a", inside) + 1
    others = [agent for agent in ("payments-bot", "helpdesk-bot") if share("a", agent) >= percent]
    put_in_force(desk, clause("a", "allow", f"enforcement: {{steps: [{{percent: {percent}}}]}}").replace('"@finance-bots"', "payments-bot, helpdesk-bot"))
    told = desk.told(agent={"id": inside})
    assert (told["verdict"], told["enforced"]) == ("allow", True), told
    for other in others:
        told = desk.told(agent={"id": other})
        assert (told["verdict"], told["enforced"], told["mode"]) == ("allow", None, "shadow"), told


def test_p15_explain_says_what_was_in_shadow(desk: Deciding, tmp_path: Path) -> None:
    """Clause by clause."""
    put_in_force(desk, clause("a", "allow"), clause("d", "deny", SHADOW))
    index = desk.told()["decision"]["index"]
    folder = desk.export(tmp_path / "export")
    shown = cli("explain", "--json", "--key", desk.server.vkey, "--export", folder, index).ok().json()
    assert {one["clause"]: (one["matches"], one["in_force"]) for one in shown["clauses"]} == {"p/a": (True, True), "p/d": (True, False)}


# Obligations


def test_p14_obligations_come_back_and_are_recorded(desk: Deciding) -> None:
    """Those of every clause in force that matched; where clauses differ, the list of their values, in their order, each once."""
    big = "when: {amount: {minor: /amount, currency: /currency, over: {EUR: 1000}}}"
    put_in_force(
        desk,
        clause("a", "allow", 'obligations: {retain_days: 30, no_training: true, note: "as agreed"}'),
        clause("b", "allow", "obligations: {retain_days: 30, no_training: false}", big),
        clause("c", "approval_needed", "obligations: {retain_days: 9007199254740991, no_training: true, no_onward: true}", "when: {purpose: [pay]}"),
        clause("d", "deny", "when: {params: {/reference: {one_of: [never]}}}", "obligations: {audit: true}"),
        clause("s", "allow", "obligations: {retain_days: 1, hidden: true}", SHADOW),
    )  # fmt: skip
    base = {"retain_days": 30, "no_training": True, "note": "as agreed"}
    small = {"params": CALL | {"amount": 1}, "context": {"purpose": "other"}}
    for over, verdict, expected in [
        (small, "allow", base),
        (small | {"params": CALL | {"amount": 1001}}, "allow", base | {"no_training": [True, False]}),
        (small | {"context": {"purpose": "pay"}}, "approval_needed", base | {"retain_days": [30, 9007199254740991], "no_onward": True}),
        ({"params": CALL | {"amount": 1001}, "context": {"purpose": "pay"}}, "approval_needed",
         base | {"retain_days": [30, 9007199254740991], "no_training": [True, False], "no_onward": True}),
        ({"params": CALL | {"reference": "never"}, "context": {"purpose": "x"}}, "deny", None),
        ({"params": {}, "context": {"purpose": "x"}}, "deny", None),
    ]:  # fmt: skip
        asked = question(**over)
        told = desk.ask(asked).json()
        assert (told["verdict"], told.get("obligations")) == (verdict, expected), told
        assert payload(desk, told).get("/data/obligations") == expected
        assert desk.ask(asked).json().get("obligations") == expected
    replays(desk, 6)


def test_p11_p15_an_erased_obligation_is_no_other_verdict(desk: Deciding) -> None:
    """Such a verdict is the same, or can't be computed; it is never called different."""
    put_in_force(desk, clause("a", "allow", "obligations: {retain_days: 30}", "message: Short."))
    told = [desk.told() for _ in range(3)]
    desk.server.admin.erase(told[0]["decision"]["index"], "/data/obligations")
    desk.server.admin.erase(told[1]["decision"]["index"], "/data/reason/message", "/data/reason/clauses")
    again = desk.replayed(desk.export(desk.server.root / "export"))
    erased = {str(one["decision"]["index"]) for one in told[:2]}
    assert again["different"] == {} and set(again["not_replayable"]) <= erased, again
    assert again["same"] + len(again["not_replayable"]) == 3
