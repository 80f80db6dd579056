"""Verdicts that count earlier decisions: what `entry/history.json` holds. The verdicts are said by hand; `histories.py` says what is void."""

import policies
from formats import *
from policies import at, leaf, question

AGENTS = "language: 1\nagents:\n  - {id: payments-bot, owners: [p-ana]}\n"
TOOLS = "language: 1\ntools:\n  - {name: payments, actions: [{name: transfer, effect: write}]}\n"
PAYMENTS = """\
language: 1
policy: payments
clauses:
  - id: once
    agents: [payments-bot]
    tool: payments
    actions: [transfer]
    when: {history: {call: {tool: payments, actions: [transfer]}, verdicts: [allow], within: 24h, same: session, count: {max: 0}}}
    then: allow
  - id: failed
    tool: payments
    actions: [transfer]
    when: {history: {call: {tool: payments, actions: [transfer]}, verdicts: [allow], outcome: [failed], equal: {/payee: /payee}, within: 31d, same: agent, count: {min: 1}}}
    then: deny
"""
FILES = {"agents.yaml": AGENTS, "policies/payments.yaml": PAYMENTS, "tools.yaml": TOOLS}
ONCE = {"same": "session", "tool": "payments", "actions": ["transfer"], "verdicts": ["allow"]}
FAILED = {"same": "agent", "tool": "payments", "actions": ["transfer"], "verdicts": ["allow"], "outcomes": ["failed"]}


def asks(log, bundle, id, now, session, once, failed, as_of=None, payee="DE1"):
    """What the server says of a transfer in a session, where `once` and `failed` counted before."""
    made = question(id, agent={"id": "payments-bot", "session": session}, tool={"name": "payments", "action": "transfer"}, params={"payee": payee})
    counted = [
        {"query": FAILED | {"equal": {"/payee": "/payee"}, "within": 2_678_400}, "up_to": 1, "of": failed},
        {"query": ONCE | {"within": 86_400}, "up_to": 1, "of": once},
    ]
    facts = {"now": now, "verified": False, "history": counted}
    clauses = (["payments/failed"] if failed else []) + ([] if once else ["payments/once"])
    verdict, code, clause = ("deny", "denied", "payments/failed") if failed else ("deny", "no_clause", None) if once else ("allow", "allowed", "payments/once")
    told = {"clause": clause} if clause else {}
    event = policies.answer(log, made, now, bundle, verdict, code, clauses=clauses, facts=facts, history=[FAILED, ONCE], **told)
    if as_of is not None:
        event["data"]["as_of"] = as_of
    return event


def reports(log, index, id, time, outcome, producer="gw-1"):
    event = {"specversion": "1.0", "id": id, "source": "/gateways/eu-1", "type": OURS[2], "time": time, "data": {"decision": leaf(log, index), "outcome": outcome}}
    log.publish(event, time, producer=producer)


def begun(log, people_salt_key):
    """Rules, and the policies in force. Returns the bundles."""
    add = {"op": "add", "key_id": policies.AUTHOR["key"], "sha256": b64url(sha256(b"cs_00112233445566aa_example")), "roles": ["author"], "producer": None, "person": "p-ana", "name": "Ana", "by": policies.ADMIN, "reason": None}
    log.signed("system.access", add, at(0), "access")
    policies.rules(log, people_salt_key)
    bundles = policies.Bundles(log)
    for path in sorted(FILES):
        bundles.part(FILES[path], at(1))
    bundles.bundle(bundles.form(FILES, "Once in a session.", at(1)), at(1))
    bundles.activate(1, 2, ["payments/once: new"], "Once in a session.")
    return bundles


def counting(log, people_salt_key, sign):
    """The whole log."""
    v1 = (begun(log, people_salt_key).in_force, 1)
    ask = lambda id, when, session, once, failed, void=None, reject=None, **over: log.judge(asks(log, v1, id, when, session, once, failed, **over), when, void=void, reject=reject)
    size = len(log.entries)
    first = ask("h-1", at(3), "s-1", [], [])
    # Judged before the first one was posted: void. Judged anew, it is the second.
    ask("h-2", at(3, 1), "s-1", [], [], void="history", as_of=size)
    ask("h-2", at(3, 2), "s-1", [first], [])
    # Another session has its own first; a denial changes no count of what was allowed.
    size = len(log.entries)
    other = ask("h-3", at(3, 3), "s-2", [], [])
    ask("h-4", at(3, 4), "s-1", [first], [], as_of=size)
    # What says that it read more than there is, is void.
    ask("h-5", at(3, 5), "s-3", [], [], void="history", as_of=len(log.entries) + 2)
    # Outcomes: another gateway's report and a word that is none count nothing; the first one counts.
    size = len(log.entries)
    reports(log, first, "x-1", at(4), "failed", producer="gw-2")
    reports(log, first, "x-2", at(4, 1), "broken")
    ask("h-5", at(4, 2), "s-3", [], [], as_of=size)
    size = len(log.entries)
    reports(log, first, "x-3", at(4, 3), "failed")
    reports(log, first, "x-4", at(4, 4), "succeeded")
    ask("h-6", at(4, 5), "s-4", [], [], void="history", as_of=size)
    ask("h-6", at(4, 6), "s-4", [], [first])
    ask("h-7", at(4, 7), "s-4", [], [], payee="DE2")
    # What has another form is rejected.
    for wrong in ([], [FAILED, FAILED], [ONCE, FAILED], [ONCE | {"actions": []}], [ONCE | {"same": "team"}], [ONCE | {"within": 5}]):
        event = asks(log, v1, "h-8", at(5), "s-5", [], [])
        event["data"]["history"] = wrong
        log.judge(event, at(5), reject="system_body")
    event = asks(log, v1, "h-8", at(5), "s-5", [], [])
    event["data"]["spool"] = {"id": "5f0c1e7a9b3d4c2e8f6a7b1c0d9e2f34", "number": 1, "why": "later"}
    log.judge(event, at(5), reject="system_body")
