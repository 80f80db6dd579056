"""Budgets that decisions spend: what `entry/budgets.json` holds. The verdicts are said by hand; `budgets.py` counts what is booked."""

import policies
from formats import *
from policies import TENANT, at, leaf, question

AGENTS = "language: 1\nagents:\n  - {id: llm-agent, owners: [p-ana]}\n  - {id: payments-bot, owners: [p-ana]}\n"
TOOLS = "language: 1\ntools:\n  - {name: llm, actions: [{name: ask, effect: write}]}\n  - {name: payments, actions: [{name: transfer, effect: write}]}\n"
LLM = """\
language: 1
policy: llm
clauses:
  - {id: ask, agents: [llm-agent], tool: llm, actions: [ask], then: allow}
  - {id: pay, agents: [payments-bot], tool: payments, actions: [transfer], then: allow}
budgets:
  - {id: llm-day, agents: [llm-agent], tool: llm, sum: cost, per: agent, window: day, zone: UTC, max: {USD: "0.10"}, warn_at: 80, at_cap: deny}
  - {id: pay-day, tool: payments, sum: {minor: /amount, currency: /currency}, per: all, window: day, zone: Europe/Berlin, max: {EUR: 100000}, at_cap: approval_needed}
"""
FILES = {"agents.yaml": AGENTS, "policies/llm.yaml": LLM, "tools.yaml": TOOLS}
DAY = {"from": "2026-11-20T00:00:00.000000000Z", "to": "2026-11-21T00:00:00.000000000Z"}
BERLIN = {"from": "2026-11-19T23:00:00.000000000Z", "to": "2026-11-20T23:00:00.000000000Z"}
COST = {"id": "llm/llm-day", "key": "llm-agent", "unit": "cost", "currency": "USD", **DAY, "max": 100_000, "warn": 80_000}
PAID = {"id": "llm/pay-day", "unit": "minor", "currency": "EUR", **BERLIN, "max": 100_000}
MAX = 100_000


def asks(log, bundle, id, now, cents, before, verdict="allow", window=None, **asked):
    """What the server says of a question of the model, which costs at most that much, where `before` is booked."""
    booked = {"allow": "within", "deny": "refused"}[verdict]
    of = COST | (window or {}) | {"sum": cents * 10_000, "booked": booked} | asked
    told = {"clause": "llm/llm-day"} if verdict == "deny" else {"clause": "llm/ask"}
    made = question(id, agent={"id": "llm-agent"}, tool={"name": "llm", "action": "ask"}, params={}, cost={"amount": f"{cents / 100:.2f}", "currency": "USD"})
    facts = {"now": now, "verified": False, "windows": {"day Europe/Berlin": BERLIN, "day UTC": window or DAY}, "booked": {"llm/llm-day": before}}
    code = "allowed" if verdict == "allow" else "budget_exceeded"
    return policies.answer(log, made, now, bundle, verdict, code, clauses=["llm/ask"], facts=facts, budgets={"report_within": 900, "asked": [of]}, **told)


def pays(log, bundle, id, now, amount, before, booked="within"):
    """The same of a payment."""
    made = question(id, params={"amount": amount, "currency": "EUR"})
    facts = {"now": now, "verified": False, "windows": {"day Europe/Berlin": BERLIN, "day UTC": DAY}, "booked": {"llm/pay-day": before}}
    told = ("allow", "allowed", "llm/pay") if booked == "within" else ("approval_needed", "budget_exceeded", "llm/pay-day")
    of = PAID | {"sum": amount, "booked": booked}
    return policies.answer(log, made, now, bundle, told[0], told[1], clause=told[2], clauses=["llm/pay"], facts=facts, budgets={"report_within": 900, "asked": [of]})


def reports(log, index, id, time, amount=None, currency="USD", producer="gw-1"):
    cost = {"cost": {"amount": amount, "currency": currency}} if amount else {}
    event = {"specversion": "1.0", "id": id, "source": "/gateways/eu-1", "type": OURS[2], "time": time, "data": {"decision": leaf(log, index)} | cost}
    log.publish(event, time, producer=producer)


def begun(log, people_salt_key):
    """Rules, and the policies with budgets in force. Returns the bundles."""
    add = {"op": "add", "key_id": policies.AUTHOR["key"], "sha256": b64url(sha256(b"cs_00112233445566aa_example")), "roles": ["author"], "producer": None, "person": "p-ana", "name": "Ana", "by": policies.ADMIN, "reason": None}
    log.signed("system.access", add, at(0), "access")
    policies.rules(log, people_salt_key)
    bundles = policies.Bundles(log)
    for path in sorted(FILES):
        bundles.part(FILES[path], at(1))
    bundles.bundle(bundles.form(FILES, "A cap for the model.", at(1)), at(1))
    bundles.activate(1, 2, ["llm/ask: new"], "A cap for the model.")
    return bundles


def spending(log, people_salt_key, sign):
    """The whole log."""
    v1 = (begun(log, people_salt_key).in_force, 1)
    ask = lambda id, when, cents, before, verdict="allow", void=None, reject=None, **asked: log.judge(asks(log, v1, id, when, cents, before, verdict, **asked), when, void=void, reject=reject)
    first = ask("b-1", at(3), 4, 0)
    # 0.08 USD is what it warns at.
    second = ask("b-2", at(3, 1), 4, 40_000)
    ask("b-3", at(3, 2), 3, 70_000, void="budget")
    ask("b-3", at(3, 3), 3, 80_000, "deny")
    ask("b-4", at(3, 4), 2, 90_000, "deny", void="budget")
    third = ask("b-4", at(3, 5), 2, 80_000)
    ask("b-5", at(3, 6), 1, 100_000, "deny")
    # The first report of the gateway counts.
    reports(log, first, "x-1", at(4), "0.01", producer="gw-2")
    reports(log, first, "x-1", at(4, 1), "0.0100001")
    reports(log, first, "x-2", at(4, 2), "0.00")
    ask("b-6", at(4, 3), 3, 70_001, void="budget")
    fourth = ask("b-6", at(4, 4), 2, 70_001)
    # More than it had reserved, in another currency, late.
    reports(log, fourth, "x-3", at(4, 5), "0.029999")
    ask("b-7", at(4, 6), 1, 100_000, "deny")
    reports(log, second, "x-4", at(4, 7), "0.00", "EUR")
    reports(log, third, "x-5", at(18, 5, 1), "0.00")
    ask("b-8", at(18, 6), 1, 100_000, "deny")
    # Windows: of another day, and one that overlaps it.
    other = {"from": DAY["to"], "to": "2026-11-22T00:00:00.000000000Z"}
    ask("b-9", at(18, 7), 1, 0, void="window", window=other)
    wrong = lambda **asked: ask("b-9", at(18, 8), 1, 0, reject="system_body", **asked)
    for asked in ({"booked": "over"}, {"booked": "refused"}, {"sum": -1}, {"max": 0}, {"currency": "usd"}, {"unit": "calls"}, {"unit": "tokens"}, {"to": DAY["from"]}, {"more": 1}):
        wrong(**asked)
    ask("b-9", at(18, 9), 1, 100_000, "deny", reject="system_body", booked="within")

    pay = lambda id, when, amount, before, booked="within", void=None: log.judge(pays(log, v1, id, when, amount, before, booked), when, void=void)
    pay("p-1", at(20), 60_000, 0)
    over = pay("p-2", at(20, 1), 50_000, 60_000, "over")
    policies.request(log, question("p-2"), over, at(20, 1))
    pay("p-3", at(20, 2), 40_001, 60_000, void="budget")
    pay("p-3", at(20, 2), 40_000, 60_000)
    id = approval_id(TENANT, "gw-1", "/gateways/eu-1", "p-2", ours=True)
    digest = json.loads(log.entries[over])["event"]["data"]["call"]["digest"]
    review = {
        "type": "reviewed", "by": "p-bob", "decision": "deny", "via": "web", "auth": {"method": "key", "at": at(20, 50)}, "groups": ["finance"],
        "displayed_dig": digest, "shown_at": at(20, 45), "reason": "not_needed",
    }
    said = next(n for n in range(len(log.entries) - 1, 0, -1) if json.loads(log.entries[n])["kind"] == "approval")
    words = {"question": "Which invoice is it?", "via": "web", "by": "p-bob"}
    why = log.signed(f"evidence.{id}", words, at(20, 10), "evidence", event={"approval_id": id}, fields=words)
    asked = {"type": "asked", "question": 1, "by": "p-bob", "via": "web", "auth": {"method": "key", "at": at(20, 5)}, "evidence": why}
    said = log.signed(f"approvals.{id}", {"approval_id": id, "n": 2, "prev": b64(leaf_hash(log.entries[said])), "events": [asked]}, at(20, 11), "approval")
    words = {"answer": "RE-2088, of last week.", "number": 1, "by": "producer:gw-1"}
    answers = log.signed(f"evidence.{id}", words, at(20, 20), "evidence", event={"approval_id": id}, fields=words)
    answered = {"type": "answered", "question": 1, "by": "producer:gw-1", "evidence": answers}
    said = log.signed(f"approvals.{id}", {"approval_id": id, "n": 3, "prev": b64(leaf_hash(log.entries[said])), "events": [answered]}, at(20, 21), "approval")
    body = {"approval_id": id, "n": 4, "prev": b64(leaf_hash(log.entries[said])), "events": [review, {"type": "denied", "by": ["p-bob"]}]}
    log.signed(f"approvals.{id}", body, at(21), "approval")
