"""P14, P15: exports with verdicts about results that a holder of our journal and log keys forged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import Log, at, export, make_vectors, people_salt_key, policies

import redaction  # isort: skip  (found where support.forging has put it)

IBAN = redaction.IBAN
FORGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str, str]] = {}


def world() -> tuple[Log, dict[str, Any], tuple[str, int]]:
    """The golden log, a decision that it allowed afterwards, and the bundle in force."""
    log = Log("forged")
    redaction.redaction(log, people_salt_key(), make_vectors.SALT_KEY)
    bundle = (log.in_force, 1)
    asked = policies.question("f-1", params={"note": "Nothing."})
    called = make_vectors.call_digest("acme", asked["nonce"], "payments-bot", asked["agent"].get("run"), "payments", "transfer", asked["params"])
    received = redaction.mark(make_vectors.SALT_KEY, called)
    names = ("mail/a-send", "mail/b-no-accounts")
    index = log.judge(policies.answer(log, asked, at(8), bundle, "allow", "allowed", names[0], names, local_times=False, received=received), at(8))
    return log, policies.leaf(log, index), bundle


def honest(log: Log, decision: dict[str, Any], bundle: tuple[str, int], **more: Any) -> dict[str, Any]:
    """What the server says of a result with an account number, which is kept."""
    came, shown = {"from": IBAN}, {"from": "[REDACTED:iban]"}
    right = {"shown": shown, "redacted": redaction.found("/from", IBAN), "clause": "mail/c-no-accounts-back", "clauses": ["mail/c-no-accounts-back"], "keep": True}
    return redaction.report(log, decision, came, at(9), "sanitize", "sanitized", bundle, **(right | more))


def put(log: Log, event: dict[str, Any]) -> None:
    """Such a report as an entry, whatever posting would say."""
    body = json.dumps(event).encode()
    log.begin("verdicts.r1.gw-1", body, at(9), signature="0.AAAA")
    plain, fields = make_vectors.split(event, ours=True)
    log.put("event", "gw-1", plain, event, fields, ("gw-1", event["source"], event["id"]))


def forged(where: str, said: str) -> Callable[[Callable[[dict[str, Any]], Any]], Callable[[dict[str, Any]], Any]]:
    """`verify` or `replay` says this."""
    return lambda change: FORGED.setdefault(change.__name__, (change, where, said))[0]


@forged("verify", "the leaf hash that it names is not that of the entry")
def of_another_entry(data: dict[str, Any]) -> None:
    data["decision"] = data["decision"] | {"leaf_hash": "A" * 43 + "="}


@forged("verify", "not a result as this server judges them")
def with_budgets(data: dict[str, Any]) -> None:
    data["activates"] = "x"


@forged("replay", "its result is not the one whose digest it names")
def with_another_result(data: dict[str, Any]) -> None:
    data["payload"] = {"result": {"from": "nobody"}}


@forged("replay", "recorded allow")
def an_allow_of_what_a_clause_denies(data: dict[str, Any]) -> None:
    shown = {"state": "secret"}
    data |= {"verdict": "allow", "reason": {"code": "allowed", "clauses": ["mail/c-no-accounts-back"]}, "payload": {"result": shown}}
    data["facts"] = {"now": at(9), "verified": False}
    data["policy"] = {"version": "1"}
    data["returned"] = {"bytes": 1, "digest": redaction.result_digest(shown)}


@forged("replay", "recorded sanitize")
def what_was_left_unredacted(data: dict[str, Any]) -> None:
    shown = {"from": "[REDACTED:iban]", "to": IBAN}
    data["payload"], data["returned"] = {"result": shown}, {"bytes": 1, "digest": redaction.result_digest(shown)}


@pytest.mark.parametrize("name", FORGED)
def test_p15_a_forged_verdict_about_a_result_is_found(name: str, tmp_path: Path) -> None:
    """`verify` refuses what the log contradicts, `replay` finds what the policies do not give."""
    change, where, said = FORGED[name]
    log, decision, bundle = world()
    event = honest(log, decision, bundle)
    change(event["data"])
    put(log, event)
    vkey = export(log, tmp_path)
    done = cli(where, "--key", vkey, "--export", tmp_path)
    assert done.code == 1 and said in done.out + done.err, done.out + done.err


def test_p15_the_honest_one_is_computed_again(tmp_path: Path) -> None:
    """The same log without a forgery: three calls and one kept result are the same."""
    log, decision, bundle = world()
    log.report(honest(log, decision, bundle), at(9))
    vkey = export(log, tmp_path)
    assert cli("verify", "--key", vkey, "--export", tmp_path).code == 0
    again = cli("replay", "--json", "--key", vkey, "--export", tmp_path).json()
    assert again["different"] == {} and again["not_replayable"] == {} and again["same"] == 6, again
