"""P14, P15: exports in which a holder of our journal and log keys forged what tokens of agents prove. `verify` and `replay` refuse them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import Log, at, export, people_salt_key, policies
from support.forging import make_vectors as make

identities = make.identities
CHAIN = ["planner-bot", "payments-bot"]
#: What is forged → who says what about it.
FORGED: dict[str, tuple[Callable[["World"], Any], str, str]] = {}


class World:
    """The golden log of tokens, and what comes after it."""

    def __init__(self) -> None:
        self.log = Log("forged")
        sign = lambda log, subject, body: make.sign_place(make.JKEY, make.TENANT, 1, subject, log.subjects.get(subject, 0), body)  # noqa: E731
        self.made = identities.agents(self.log, people_salt_key(), sign)
        self.bundle = (self.log.in_force, 1)
        self.root = self.log.agent(identities.issue("helpdesk-bot", at(20), scope=["mail", "payments"], region="eu"), at(20))
        self.child = self.log.agent(self.issue(), at(20, 1))

    def issue(self, **over: Any) -> dict[str, Any]:
        """The body of a child's token."""
        made = identities.issue("worker-1", at(20, 1), chain=["helpdesk-bot", "worker-1"], parents=[self.root], region="eu")
        made["exp"] -= 1
        return made | over

    def decided(self, token: int, *, at_entry: int | None = None, chain: list[str] | None = None, fact: dict[str, Any] | None = None) -> dict[str, Any]:
        """A decision that rests on a token."""
        chain = chain or ["helpdesk-bot", "worker-1"]
        asked = policies.question("f-1", agent={"chain": chain, "id": chain[-1]})
        event = policies.answer(self.log, asked, at(21), self.bundle, "allow", "allowed", clause="payments/proven", clauses=["payments/proven"],
                                local_times=False, owners=("p-bob",))  # fmt: skip
        event["data"]["facts"] |= {"verified": True, "token": fact or {"jti": f"1-{token}", "scope": ["payments"], "region": "eu"}}
        event["data"]["verified_by"] = policies.leaf(self.log, token if at_entry is None else at_entry)
        return event

    def forge(self, event: dict[str, Any]) -> None:
        """Such an event as an entry."""
        self.log.judge_anyhow(event, at(21))


def refused(by: str, said: str) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """`by` says this."""
    return lambda forge: FORGED.setdefault(forge.__name__, (forge, by, said))[0]


@refused("verify", "its scope is wider than that of the token that it rests on")
def a_wider_child(world: World) -> None:
    world.log.agent(world.issue(scope=["mail", "payments", "shell"]), at(20, 2))


@refused("verify", "it is valid for longer than the token that it rests on")
def a_child_that_outlives_its_parent(world: World) -> None:
    world.log.agent(world.issue(exp=world.issue()["exp"] + 2), at(20, 2))


@refused("verify", "the token that it rests on was never issued")
def a_child_of_nothing(world: World) -> None:
    world.log.agent(world.issue(parents=[0]), at(20, 2))


@refused("verify", "a token is valid for 1 second to an hour")
def a_long_life(world: World) -> None:
    world.log.agent(identities.issue("planner-bot", at(20, 2), life=3601), at(20, 2))


@refused("verify", "it was issued more than 60 s before or after the journal took it")
def an_old_token(world: World) -> None:
    world.log.agent(identities.issue("planner-bot", at(18)), at(20, 2))


@refused("verify", "the token that it rests on was revoked")
def a_child_of_a_revoked_token(world: World) -> None:
    world.log.agent({"op": "revoke", "token": world.root, "agent": "helpdesk-bot", "by": policies.ADMIN}, at(20, 2))
    world.log.agent(world.issue(), at(20, 2))


@refused("verify", "it rests on a token that was never issued")
def a_verdict_on_no_token(world: World) -> None:
    world.forge(world.decided(world.child, at_entry=0))


@refused("verify", "it rests on a token of another agent, or for another chain")
def a_verdict_on_another_agents_token(world: World) -> None:
    world.forge(world.decided(world.root))


@refused("verify", "it rests on a token of another agent, or for another chain")
def a_verdict_for_another_chain(world: World) -> None:
    world.forge(world.decided(world.child, chain=["worker-1"]))


@refused("verify", "it rests on a token that had expired")
def a_verdict_on_an_expired_token(world: World) -> None:
    world.forge(world.decided(world.made["child"], chain=CHAIN))


@refused("verify", "it rests on a token that was revoked before its place")
def a_verdict_on_a_revoked_token(world: World) -> None:
    world.log.agent({"op": "revoke", "agent": "helpdesk-bot", "by": policies.ADMIN}, at(20, 30))
    world.forge(world.decided(world.child))


@refused("verify", "the leaf hash that it names is not that of the entry at that index")
def a_verdict_with_another_leaf_hash(world: World) -> None:
    event = world.decided(world.child)
    event["data"]["verified_by"]["leaf_hash"] = policies.leaf(world.log, world.root)["leaf_hash"]
    world.forge(event)


@refused("verify", "the leaf hash that it names is not that of the entry at that index")
def a_parent_with_another_leaf_hash(world: World) -> None:
    event = world.decided(world.child)
    event["data"]["facts"]["parent"] = {"tool": "payments", "action": "transfer", "verdict": "allow"}
    event["data"]["parent"] = policies.leaf(world.log, 20) | {"leaf_hash": "A" * 43 + "="}
    world.forge(event)


@refused("replay", "another scope or region than its entry")
def a_verdict_with_another_scope(world: World) -> None:
    world.forge(world.decided(world.child, fact={"jti": f"1-{world.child}", "scope": ["mail", "payments"], "region": "eu"}))


@refused("replay", "takes its agent's identity as proven, and names no token")
def a_verdict_without_its_token(world: World) -> None:
    event = world.decided(world.child)
    del event["data"]["verified_by"]
    world.forge(event)


@refused("replay", "takes its agent's identity as proven, and names no token")
def a_verdict_that_only_claims(world: World) -> None:
    event = world.decided(world.child)
    del event["data"]["verified_by"], event["data"]["facts"]["token"]
    world.forge(event)


@refused("replay", "recorded allow")
def a_verdict_on_a_refused_token(world: World) -> None:
    event = world.decided(world.child)
    del event["data"]["verified_by"]
    event["data"]["facts"] |= {"verified": False, "token": {"refused": "token_expired"}}
    world.forge(event)


@refused("replay", "something else of its parent than the parent's entry")
def a_verdict_with_another_parent(world: World) -> None:
    event = world.decided(world.child)
    event["data"]["facts"]["parent"] = {"tool": "crm", "action": "read", "verdict": "allow"}
    event["data"]["parent"] = policies.leaf(world.log, next(i for i, e in enumerate(world.log.entries) if b'"id":"c-1"' in e))
    world.forge(event)


@pytest.mark.parametrize("name", FORGED)
def test_p14_p15_a_forged_use_of_a_token_is_refused(name: str, tmp_path: Path) -> None:
    """By `verify`, if the entries alone contradict it; by `replay`, if the facts do."""
    forge, by, said = FORGED[name]
    world = World()
    forge(world)
    vkey = export(world.log, tmp_path)
    verified = cli("verify", "--key", vkey, "--export", tmp_path)
    if by == "verify":
        assert verified.code == 1 and said in verified.out, verified.err or verified.out
        return
    verified.ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path)
    assert told.code == 1, told.out
    (why,) = told.json()["different"].values()
    assert said in why, why


def test_p14_p15_the_golden_log_of_tokens_is_verified_and_replayed(tmp_path: Path) -> None:
    """What nobody forged verifies, and each verdict is the same, with what had to be believed."""
    world = World()
    world.log.judge(world.decided(world.child), at(21))
    vkey = export(world.log, tmp_path)
    cli("verify", "--key", vkey, "--export", tmp_path).ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path).ok().json()
    assert (told["different"], told["not_replayable"], told["same"]) == ({}, {}, 8), told
    assert any("presented" in text for text in told["believed"]), told
