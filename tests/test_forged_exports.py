"""P14, P15, P16, P17: exports that a holder of our journal and log keys forged. Every signature and proof is right, so only `verify --export` and `replay` can
find them: what the log alone contradicts, `verify` refuses; what only the policies contradict, `replay` names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import THIRD, Forger, at

Forge = Callable[[Forger], Any]


@dataclass(frozen=True)
class Forgery:
    """A forged log, and what is said of it."""

    name: str
    forge: Forge
    #: What `verify --export` says; "" where only replay can know.
    verify: str
    #: What replay says of the forged entry, whose index `forge` returns.
    replay: str = ""


FORGERIES: list[Forgery] = []


def forgery(verify: str = "", replay: str = "") -> Callable[[Forge], Forge]:
    """Puts it into the table."""
    def add(forge: Forge) -> Forge:
        FORGERIES.append(Forgery(forge.__name__, forge, verify, replay))
        return forge

    return add


def facts(world: Forger, **changed: Any) -> dict[str, Any]:
    """A decision whose facts say something else."""
    event = world.decided("f-1", 6)
    event["data"]["facts"] |= changed
    return event


def local(**changed: Any) -> dict[str, Any]:
    """The local time of that moment, changed."""
    return {"Europe/Berlin": {"date": "2026-11-20", "weekday": 4, "minute": 606, "offset": 3600} | changed}


# what only the policies contradict


@forgery(replay="computed again allow by payments/small")
def a_denial_that_should_be_an_allow(world: Forger) -> int:
    return world.forge(world.decided("f-1", 6, verdict="deny", code="no_clause", clause=None, clauses=(), shadow={}), 6)


@forgery(replay="computed again deny")
def an_allow_that_should_be_a_denial(world: Forger) -> int:
    event = world.decided("f-1", 6)
    stranger = event["data"]["agent"] | {"chain": ["helpdesk-bot", "planner-bot", "payments-bot"]}
    event["data"]["agent"] = stranger
    return world.forge(event, 6)


@forgery(replay="recorded allow by payments/large (allowed)")
def another_clause_is_named(world: Forger) -> int:
    return world.forge(world.decided("f-1", 6, clause="payments/large"), 6)


@forgery(replay="recorded allow")
def an_obligation_is_left_out(world: Forger) -> int:
    return world.forge(world.decided("f-1", 6, obligations={"retain_days": 365}), 6)


@forgery(replay="recorded allow")
def another_version_is_named(world: Forger) -> int:
    event = world.decided("f-1", 6)
    event["data"]["policy"]["version"] = "1"
    return world.forge(event, 6)


@forgery(replay="its facts have another time than its event")
def the_clock_of_the_facts(world: Forger) -> int:
    return world.forge(facts(world, now=at(6, 1)), 6)


@forgery(replay="its local times are not those of its clock")
def the_local_minute(world: Forger) -> int:
    return world.forge(facts(world, local=local(minute=607)), 6)


@forgery(replay="its local times are not those of its clock")
def the_weekday(world: Forger) -> int:
    return world.forge(facts(world, local=local(weekday=3)), 6)


@forgery(replay="its local times are not those of its clock")
def the_local_date(world: Forger) -> int:
    return world.forge(facts(world, local=local(date="2026-11-19")), 6)


@forgery(replay="its local times are not those of its clock")
def a_zone_that_no_clause_names(world: Forger) -> int:
    return world.forge(facts(world, local=local() | {"Asia/Tokyo": local()["Europe/Berlin"]}), 6)


@forgery(replay="proven")
def an_identity_that_nobody_proved(world: Forger) -> int:
    return world.forge(facts(world, verified=True), 6)


@forgery(replay="its call digest is not that of its params")
def other_params_than_were_judged(world: Forger) -> int:
    event = world.decided("f-1", 6)
    event["data"]["payload"]["params"] = event["data"]["payload"]["params"] | {"amount": 1}
    return world.forge(event, 6)


@forgery(replay="it has no /data/facts")
def a_decision_without_facts(world: Forger) -> int:
    event = world.decided("f-1", 6)
    del event["data"]["facts"]
    return world.forge(event, 6)


@forgery(replay="it has no nonce")
def a_decision_without_a_nonce(world: Forger) -> int:
    event = world.decided("f-1", 6)
    del event["data"]["payload"]["nonce"]
    return world.forge(event, 6)


@forgery(replay="it has no params")
def a_decision_without_params(world: Forger) -> int:
    event = world.decided("f-1", 6)
    del event["data"]["payload"]["params"]
    return world.forge(event, 6)


@forgery(replay="recorded allow")
def an_allow_that_calls_itself_contended(world: Forger) -> int:
    return world.forge(world.decided("f-1", 6, code="contended", clause=None, clauses=()), 6)


@forgery(replay="the file that it names has other content")
def a_file_that_is_not_the_one_people_approved(world: Forger) -> int:
    """The part's entry names the digest of one text and holds another one."""
    world.replace_part(world.files["tools.yaml"], world.files["tools.yaml"] + "# more\n")
    return world.honest("f-1", 6)


# what the log alone contradicts


@forgery(verify="it was decided by another bundle than the one in force at its place")
def the_bundle_before(world: Forger) -> None:
    world.forge(world.decided("f-1", 6, bundle=world.first), 6)


@forgery(verify="it was decided by another bundle than the one in force at its place")
def a_bundle_that_nobody_approved(world: Forger) -> None:
    world.bundles.part(THIRD, at(6))
    version = world.propose(world.files | {"policies/payments.yaml": THIRD}, 6)
    world.forge(world.decided("f-1", 6, bundle=(world.bundles.versions[-1][1], version)), 6)


@forgery(verify="it was decided by another bundle than the one in force at its place")
def no_bundle_although_one_is_in_force(world: Forger) -> None:
    world.forge(world.decided("f-1", 6, bundle=None, verdict="deny", code="no_policy"), 6)


@forgery(verify="more than 60 s")
def a_decision_that_is_too_old(world: Forger) -> None:
    world.forge(world.decided("f-1", 6), 7, 0, 1)


@forgery(verify="more than 60 s")
def a_decision_of_the_future(world: Forger) -> None:
    world.forge(world.decided("f-1", 8), 6, 59, 999_999_999)


@forgery(verify="a producer's event names a tool of ours")
def a_producers_event_about_a_tool_of_ours(world: Forger) -> None:
    event = world.decided("f-1", 6)
    event["data"] = {"agent": {"id": "a"}, "tool": {"name": "countersign", "action": "policy.activate"}, "verdict": "allow"}
    world.log.publish(event, at(6))


@forgery(verify="only the server asks about its own tools")
def a_tool_of_ours_that_a_gateway_asked_about(world: Forger) -> None:
    event = world.decided("f-1", 6)
    event["data"]["tool"] = {"name": "Countersign-x", "action": "y"}
    world.forge(event, 6)


@forgery(verify="only the server asks about its own tools")
def a_call_of_a_gateway_in_the_name_of_the_server(world: Forger) -> None:
    world.forge(world.decided("f-1", 6), 6, producer="countersign")


@forgery(verify="only the server asks about its own tools")
def a_gateways_question_that_activates(world: Forger) -> None:
    world.forge(world.decided("f-1", 6, activates=world.second[0]), 6)


@forgery(verify="the server's own question allows nothing")
def an_answer_of_the_server_to_itself(world: Forger) -> None:
    event = world.decided("f-1", 6, bundle=None)
    event["data"]["tool"] = {"name": "countersign", "action": "policy.activate"}
    world.forge(event, 6, producer="countersign")


@forgery(verify="not a decision as this server makes them")
def a_decision_without_a_call(world: Forger) -> None:
    event = world.decided("f-1", 6)
    del event["data"]["call"]
    world.forge(event, 6)


@forgery(verify="posted twice")
def two_decisions_of_one_question(world: Forger) -> None:
    world.honest("f-1", 6)
    world.forge(world.decided("f-1", 6), 6)


@forgery(verify="no approval was redeemed for this activation")
def an_activation_without_a_redemption(world: Forger) -> None:
    id, activates = world.bundles.ask(1, 6, ["back"], "Back.")
    world.bundles.say(id, at(6, 22), world.bundles.redeemed())
    world.log.signed("system.policy", {}, at(6, 23), None)
    world.activation(activates, id, 1)


@forgery(verify="it puts something in force, and redeems nothing that counts")
def an_activation_by_a_token_that_lapsed(world: Forger) -> None:
    id, activates = world.bundles.ask(1, 6, ["back"], "Back.")
    world.bundles.say(id, at(8, 1), {"type": "token_lapsed", "jti": world.bundles.jti}, activates=activates)


@forgery(verify="can't have happened")
def an_activation_that_people_denied(world: Forger) -> None:
    id, activates = world.bundles.ask(1, 6, ["back"], "Back.", says="deny")
    world.bundles.say(id, at(6, 22), world.bundles.redeemed(), activates=activates)


@forgery(verify="it puts something else in force than people were asked about")
def an_activation_of_another_bundle_than_was_approved(world: Forger) -> None:
    id, activates = world.bundles.ask(2, 6, ["again"], "Again.")
    other = activates | {"bundle": world.bundles.versions[0][0], "digest": world.first[0]}
    world.bundles.say(id, at(6, 22), world.bundles.redeemed(), activates=other)


@forgery(verify="it is not what the approval's redemption puts in force here")
def an_activation_in_place_of_what_is_not_in_force(world: Forger) -> None:
    world.bundles.in_force = world.first[0]
    id, activates = world.bundles.ask(1, 6, ["back"], "Back.")
    world.bundles.say(id, at(6, 22), world.bundles.redeemed(), activates=activates)


@forgery(verify="the bundle's digest is not that of its parts")
def a_bundle_whose_digest_is_invented(world: Forger) -> None:
    body = world.bundles.form(world.files, "For the test.", at(6))
    world.bundles.bundle(body | {"digest": "A" * 43}, at(6))


def test_p15_p17_a_log_that_nobody_forged_is_verified_and_replayed(tmp_path: Path) -> None:
    """The same log without the forged entry: verified, and each verdict is the same."""
    world = Forger()
    world.honest("h-1", 6)
    vkey = world.export(tmp_path)
    cli("verify", "--key", vkey, "--export", tmp_path).ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path).ok().json()
    assert (told["same"], told["different"], told["not_replayable"]) == (2, {}, {})


def test_p15_a_range_is_replayed_by_the_bundle_of_its_place(tmp_path: Path) -> None:
    """The forged verdict is found in the ranges that hold it. The bundle in force is known although its activation is before the range."""
    world = Forger()
    index = world.forge(world.decided("f-1", 6, verdict="deny", code="no_clause", clause=None, clauses=(), shadow={}), 6)
    last = world.honest("h-1", 7)
    vkey = world.export(tmp_path)
    for start, end, same, different in ((None, None, 2, 1), (index, index, 0, 1), (index + 1, None, 1, 0), (0, index - 1, 1, 0), (last, last, 1, 0), (0, 3, 0, 0)):
        bounds = [*(["--from", start] if start is not None else []), *(["--to", end] if end is not None else [])]
        done = cli("replay", "--json", "--key", vkey, "--export", tmp_path, *bounds)
        told = done.json()
        assert (told["same"], len(told["different"]), done.code) == (same, different, different), (bounds, told)
        assert (told["from"], told["to"], told["size"]) == (start or 0, last if end is None else end, last + 1)
    for wrong in (["--from", last + 1], ["--from", 3, "--to", 2], ["--to", last + 1]):
        done = cli("replay", "--key", vkey, "--export", tmp_path, *wrong)
        assert done.code == 2 and f"the entries 0 to {last}" in done.err, done.err


@pytest.mark.parametrize("forged", FORGERIES, ids=lambda forged: forged.name)
def test_p14_p15_p16_p17_a_forged_export_is_refused(forged: Forgery, tmp_path: Path) -> None:
    """`verify` refuses what the log alone contradicts, and so does replay. Otherwise replay says which verdict is different and why, and goes on."""
    world = Forger()
    index = forged.forge(world)
    if not forged.verify:
        world.honest("h-1", 9)
    vkey = world.export(tmp_path)
    verified = cli("verify", "--key", vkey, "--export", tmp_path)
    replayed = cli("replay", "--json", "--key", vkey, "--export", tmp_path)
    assert replayed.code == 1, (forged.name, replayed.out, replayed.err)
    if forged.verify:
        assert verified.code == 1 and forged.verify in verified.out, verified.err or verified.out
        assert forged.verify in replayed.err, replayed.err
        return
    verified.ok()
    if not replayed.out:
        assert forged.replay in replayed.err
        return
    told = replayed.json()
    assert list(told["different"]) == [str(index)] and forged.replay in told["different"][str(index)], told
    assert told["same"] == 2, "what is true before and after it is still the same"


def test_p15_explain_shows_a_forged_verdict_as_different(tmp_path: Path) -> None:
    """`explain` of the forged entry says what the policies say."""
    world = Forger()
    index = world.forge(world.decided("f-1", 6, verdict="deny", code="no_clause", clause=None, clauses=()), 6)
    vkey = world.export(tmp_path)
    done = cli("explain", "--key", vkey, "--export", tmp_path, index)
    assert done.code == 1 and "computed again allow by payments/small" in done.out, done
