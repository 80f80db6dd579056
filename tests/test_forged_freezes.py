"""P14, P15, P17: exports with freezes that a holder of our journal and log keys forged. `verify` refuses what the log alone contradicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import Forger, at, policies

WHO = {"key": policies.AUTHOR["key"], "person": "p-ana"}
CAUGHT = {"clause": "payments/planner-never-pays", "clauses": ["payments/planner-never-pays"]}
VERIFY: dict[str, tuple[Callable[["Stopped"], Any], str]] = {}


class Stopped(Forger):
    """A log in which the agent `payments-bot` is frozen, and one call of it was denied for that."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = policies.question("p-1", params=policies.QUESTION["params"] | {"amount": 600000})
        large = {"clause": "payments/large", "clauses": ["payments/large"]}
        asked = policies.answer(self.log, self.paused, at(5, 30), self.second, "approval_needed", "approval", **large,
                                reason={"message": "Transfers over 5,000.00 need two people of finance."},
                                shadow={"verdict": "approval_needed", "code": "approval", "clause": "payments/large"})  # fmt: skip
        self.opening = self.log.judge(asked, at(5, 30))
        policies.request(self.log, self.paused, self.opening, at(5, 30))
        self.freeze = self.log.freeze({"op": "freeze", "scope": "agent", "id": "payments-bot", "by": WHO}, at(6))
        self.log.judge(self.denied("d-1", 7), at(7))

    def denied(self, id: str, minute: int, freeze: int | None = None, **changed: Any) -> dict[str, Any]:
        """What the server says of a call that is frozen."""
        asked = policies.question(id, **changed)
        index = self.freeze if freeze is None else freeze
        return policies.answer(self.log, asked, at(minute), None, "deny", "frozen", local_times=False, frozen_by=index)

    def approved(self, minute: int) -> dict[str, Any]:
        """People approve a lift, and it is redeemed. Returns the lift."""
        params = {"freeze": self.freeze, "scope": "agent", "id": "payments-bot", "producer": None}
        id, _ = self.bundles.asked("freeze.lift", params, None, minute, "Repaired.", ("p-ana",), "approve")
        self.bundles.say(id, at(minute, 22), self.bundles.redeemed())
        return {"op": "lift", "freeze": self.freeze, "by": WHO | {"approval": id}}


def refused(said: str) -> Callable[[Callable[[Stopped], Any]], Callable[[Stopped], Any]]:
    """`verify` says this."""
    return lambda forge: VERIFY.setdefault(forge.__name__, (forge, said))[0]


@refused("it permits a call that is frozen at its place")
def an_allow(world: Stopped) -> None:
    world.forge(world.decided("f-1", 8), 8)


@refused("it denies a call for a freeze that does not stop it at its place")
def a_denial_for_another_call(world: Stopped) -> None:
    world.forge(world.denied("f-1", 8, agent={"id": "planner-bot"}), 8)


@refused("it denies a call for a freeze that does not stop it at its place")
def a_denial_for_no_freeze(world: Stopped) -> None:
    world.forge(world.denied("f-1", 8, freeze=3), 8)


@refused("it denies a call for a freeze that does not stop it at its place")
def a_denial_after_the_lift(world: Stopped) -> None:
    world.log.freeze(world.approved(8), at(8, 30))
    world.forge(world.denied("f-1", 9), 9)


@refused("a denial because of a freeze names the freeze, and no bundle")
def a_denial_with_a_bundle(world: Stopped) -> None:
    made = world.denied("f-1", 8)
    world.forge(made | {"data": made["data"] | {"bundle": world.second[0]}}, 8)


@refused("it lifts a freeze, and names no approval")
def a_lift_that_nobody_approved(world: Stopped) -> None:
    world.log.freeze({"op": "lift", "freeze": world.freeze, "by": WHO}, at(8))


@refused("the approval that it names was not redeemed for it")
def a_lift_by_an_approval_that_was_used(world: Stopped) -> None:
    second = world.log.freeze({"op": "freeze", "scope": "tool", "id": "mail", "by": WHO}, at(7, 30))
    lift = world.approved(8)
    world.log.freeze(lift, at(8, 30))
    world.log.freeze(lift | {"freeze": second}, at(8, 31))


@refused("not a freeze that can be here, or it lifts one that is not in force")
def a_second_lift(world: Stopped) -> None:
    lift = world.approved(8)
    world.log.freeze(lift, at(8, 30))
    world.log.signed("system.freeze", lift, at(8, 31), "freeze")


@refused("not a freeze that can be here")
def a_freeze_of_our_own_tool(world: Stopped) -> None:
    world.log.signed("system.freeze", {"op": "freeze", "scope": "tool", "id": "countersign", "by": WHO}, at(8), "freeze")


@refused("a clause of a decision before it freezes something, and this is not it")
def a_clause_without_its_freeze(world: Stopped) -> None:
    world.forge(of_planner(world), 8)
    world.log.judge(world.denied("f-2", 9), at(9))


@refused("a clause of the last decision freezes something, and no freeze follows")
def a_clause_without_its_freeze_at_the_end(world: Stopped) -> None:
    world.forge(of_planner(world), 8)


@refused("no clause of the decision before it freezes this")
def a_freeze_without_its_clause(world: Stopped) -> None:
    index = world.log.judge(world.denied("f-1", 8), at(8))
    body = {"op": "freeze", "scope": "agent", "id": "planner-bot", "decision": policies.leaf(world.log, index), "by": {"server": "policy"}}
    world.log.put("freeze", None, body, body, {}, ("", "freeze", ""))


@refused("it redeems an approval of a call that is frozen at its place")
def a_redemption(world: Stopped) -> None:
    id = policies.approval_id("acme", "gw-1", world.paused["source"], world.paused["id"], ours=True)
    message = {"approval_id": id, "n": 2, "prev": "A" * 43 + "=", "decision": policies.leaf(world.log, world.opening),
               "events": [{"type": "redeemed", "jti": "A" * 22, "redemption_id": "once", "enforcer": "gw-1"}]}  # fmt: skip
    world.log.signed(f"approvals.{id}", message, at(8), "approval")


def of_planner(world: Stopped) -> dict[str, Any]:
    """A denial of another agent whose clause freezes it."""
    asked = policies.question("f-1", agent={"id": "planner-bot", "chain": ["planner-bot"]})
    return policies.answer(world.log, asked, at(8), world.second, "deny", "denied", owners=("p-bob",), freeze="agent", **CAUGHT)


@pytest.mark.parametrize("name", VERIFY)
def test_p14_p17_a_forged_freeze_is_refused(name: str, tmp_path: Path) -> None:
    """Verification refuses it."""
    forge, said = VERIFY[name]
    world = Stopped()
    forge(world)
    vkey = world.export(tmp_path)
    verified = cli("verify", "--key", vkey, "--export", tmp_path)
    assert verified.code == 1 and said in verified.out, verified.err or verified.out


def test_p14_p15_the_log_that_nobody_forged_is_verified_and_replayed(tmp_path: Path) -> None:
    """The same log, lifted after a review; the denial is computed again without a bundle."""
    world = Stopped()
    world.log.freeze(world.approved(8), at(8, 30))
    world.honest("h-1", 9)
    vkey = world.export(tmp_path)
    cli("verify", "--key", vkey, "--export", tmp_path).ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path).ok().json()
    assert (told["same"], told["different"], told["not_replayable"]) == (4, {}, {})
