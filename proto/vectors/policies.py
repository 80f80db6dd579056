"""Policies that are proposed, reviewed and put in force, and decisions by them: what `entry/policy.json` holds.

The verdicts are said by hand. `countersign replay` computes them again from an export of this log (`tests/test_policy.py`).
"""
import re

from formats import *

TENANT, SERVER, GATEWAY = "acme", "countersign", "gw-1"
ADMIN = {"key": "fedcba9876543210", "person": "p-dan"}
AUTHOR = {"key": "00112233445566aa", "person": "p-ana"}
RULE = {
    "name": "policies", "match": {"tool": ["countersign"]}, "quorum": {"at_least": 1, "of": "policy"}, "deny": 1, "approve_within": 3600,
    "execute_within": 900, "report_within": 3600, "token_life": 120, "channels": [], "escalate": [], "owner": "known",
}
OTHERS = RULE | {"name": "everything else", "match": {}, "quorum": {"at_least": 2, "of": "finance"}, "owner": "none"}
QUESTION = {
    "id": "c-1", "source": "/gateways/eu-1", "sequence": "17", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "agent": {"id": "payments-bot", "run": "r-1", "session": "s-1", "chain": ["helpdesk-bot", "payments-bot"]},
    "tool": {"name": "payments", "action": "transfer"}, "params": {"amount": 125000, "currency": "EUR", "reference": "INV-004711"},
    "nonce": b64url(bytes(range(16))), "context": {"purpose": "vendor-invoice", "environment": "prod", "region": "eu"},
    "labels": {"team": "finance"}, "cost": {"amount": "0.02", "currency": "USD"}, "payload": {"prompt": "Pay invoice 4711"},
}

AGENTS = """\
language: 1
tiers: [public, internal, confidential]      # lowest first
agents:
  - {id: payments-bot, groups: [finance-bots], owners: [p-ana], tier: confidential, tools: [payments]}
  - {id: planner-bot, owners: [p-bob], spawns: ["worker-*"]}
"""
TOOLS = """\
language: 1
tools:
  - name: payments
    tier: confidential
    actions: [{name: transfer, effect: write}, {name: payout, effect: write}]
"""
PAYMENTS = """\
language: 1
policy: payments
title: What agents may pay
clauses:
  - id: small
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer, payout]
    when:
      amount: {minor: /amount, currency: /currency, at_most: {EUR: 500000, USD: 550000}}
      params: {/reference: {matches: "INV-[0-9]{6}"}}
      hours: {days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}
    then: allow
  - id: large
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer, payout]
    when: {amount: {minor: /amount, currency: /currency, over: {EUR: 500000, USD: 550000}, at_most: {EUR: 5000000, USD: 5500000}}}
    then: approval_needed
    message: Transfers over 5,000.00 need two people of finance.
  - id: planner-never-pays
    tool: payments
    when: {chain: {through: [planner-bot]}}
    then: deny
"""
SHADOW = "    enforcement: {shadow: true}\n"
EU_ONLY = """\
  - id: eu-only
    tool: payments
    when: {not: {region: [eu]}}
    then: deny
""" + SHADOW
#: Version 2 has obligations and a clause in shadow. In version 3 every clause is in shadow.
SECOND = PAYMENTS.replace("    then: allow\n", "    then: allow\n    obligations: {no_onward: true, retain_days: 365}\n") + EU_ONLY
THIRD = re.sub(r"(    then: .*\n)", r"\1" + SHADOW, SECOND.replace(SHADOW, ""))

#: In version 4 a reading call may be told before it is recorded.
FOURTH_TOOLS = TOOLS.replace("{name: payout, effect: write}", "{name: payout, effect: write}, {name: balance, effect: read}")
FOURTH = PAYMENTS + """\
  - id: balances
    agents: ["@finance-bots"]
    tool: payments
    actions: [balance]
    then: allow
    record: later
    unavailable: allow
"""
#: In version 5 payees are in a list.
FIFTH = """\
language: 1
policy: payments
title: Whom agents may pay
clauses:
  - id: known-payees
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer, payout]
    when:
      amount: {minor: /amount, currency: /currency, at_most: {EUR: 500000}}
      params: {/payee: {in_list: payees}}
    then: allow
"""
PAYEES = """\
language: 1
title: Who sends us invoices
items: [bakery, mill]
"""
RUN = "5f0c1e7a9b3d4c2e8f6a7b1c0d9e2f34"

at = lambda minute, second=0, nanos=0: f"2026-11-20T09:{minute:02}:{second:02}.{nanos:09}Z"
leaf = lambda log, index: {"index": index, "leaf_hash": b64(leaf_hash(log.entries[index]))}


def local(now):
    """The fact about Europe/Berlin on that Friday in winter."""
    return {"Europe/Berlin": {"date": now[:10], "weekday": 4, "minute": (int(now[11:13]) + 1) * 60 + int(now[14:16]), "offset": 3600}}


def question(id, sequence=None, **changed):
    """A question like the example's, with a nonce of its own."""
    asked = QUESTION | {"id": id, "nonce": b64url(sha256(id.encode())[:16])} | changed
    asked.pop("sequence")
    return asked | ({"sequence": str(sequence)} if sequence else {})


def answer(log, asked, now, bundle, verdict, code, clause=None, clauses=(), owners=("p-ana",), local_times=True, **more):
    """The decision event that the server makes of a question. `bundle`: digest and version, or `None`."""
    agent, tool = asked["agent"], asked["tool"]
    digest = call_digest(TENANT, asked["nonce"], agent["id"], agent.get("run"), tool["name"], tool["action"], asked["params"])
    data = {name: asked[name] for name in ("agent", "tool", "context", "labels", "cost") if name in asked}
    reason = {"code": code} | ({"clauses": list(clauses)} if clauses else {}) | more.pop("reason", {})
    payload = {name: asked[name] for name in ("params", "nonce")} | ({"owner": list(owners)} if owners else {})
    data |= {
        "verdict": verdict, "mode": "enforce", "as_of": len(log.entries), "call": {"digest": digest}, "reason": reason,
        "facts": {"now": now, "verified": False} | ({"local": local(now)} if local_times else {}), "payload": asked.get("payload", {}) | payload,
    }
    if bundle:
        data |= {"bundle": bundle[0], "policy": ({"id": clause} if clause else {}) | {"version": str(bundle[1])}}
    event = {name: asked[name] for name in ("id", "source", "sequence", "traceparent") if name in asked}
    return event | {"specversion": "1.0", "type": OURS[0], "time": now, "data": data | more}


class Bundles:
    """Proposals on one log. Each method says when it happens: minutes after nine."""

    def __init__(self, log):
        self.log, self.parts, self.versions, self.in_force = log, {}, [], None

    def part(self, text, time):
        body = {"op": "part", "sha256": b64url(sha256(text.encode())), "content": text, "by": AUTHOR}
        about = {"op": "part", "sha256": body["sha256"], "bytes": len(text.encode()), "by": AUTHOR}
        self.parts[text] = self.log.signed("system.policy", body, time, "policy", event=about, fields={"content": text}, whole=about)

    def form(self, files, comment, time, contributors=()):
        """The body of a bundle, after its reason."""
        words = {"act": "policy", "reason": comment}
        why = self.log.signed("evidence.system", words, time, "evidence", event={"approval_id": None}, fields=words)
        part = lambda path: {"path": path, "sha256": b64url(sha256(files[path].encode())), "bytes": len(files[path].encode()), "index": self.parts[files[path]]}
        parts = [part(path) for path in sorted(files)]
        return {
            "op": "bundle", "digest": bundle_digest(parts), "language": 1, "parts": parts, "by": AUTHOR, "contributors": list(contributors), "reason": leaf(self.log, why),
        }

    def bundle(self, body, time):
        """Records it: returns its version."""
        previous = self.versions[-1][0] if self.versions else None
        version = len(self.versions) + 1
        event = body | {"version": version, "previous": previous}
        index = self.log.signed("system.policy", body, time, "policy", event=event, whole=event)
        self.versions.append((index, body["digest"]))
        return version

    def list(self, name, version, replaces, items, comment, time):
        """Proposes a version of a list: its file, the reason, and the entry that names both. Returns the body before it is recorded."""
        salt = b64url(sha256(f"salt {name} {version}".encode())[:16])
        text = json.dumps({"language": 1, "salt": salt, "items": sorted(items)}, indent=2)
        self.part(text, time)
        words = {"act": "policy", "reason": comment}
        why = self.log.signed("evidence.system", words, time, "evidence", event={"approval_id": None}, fields=words)
        part = {"path": f"lists/{name}.yaml", "sha256": b64url(sha256(text.encode())), "bytes": len(text.encode()), "index": self.parts[text]}
        return {
            "op": "list", "name": name, "version": version, "replaces": replaces, "part": part, "digest": list_digest(name, version, part),
            "by": AUTHOR, "reason": leaf(self.log, why),
        }

    def ask_list(self, body, entry, minute, added, removed, items, comment):
        """People are asked about a version of a list, and one of them approves it."""
        params = {
            "list": body["name"], "version": body["version"], "entry": entry, "digest": body["digest"], "added": added, "removed": removed, "items": items,
            "named_by": ["payments/known-payees (allow)"],
        }
        id, opening = self.asked("list.change", params, body["digest"], minute, comment, ("p-ana",), "approve")
        return id, {"list": entry, "decision": leaf(self.log, opening), "digest": body["digest"], "before": at(minute + 2)}

    def puts_list(self, id, activates):
        """The entry that puts a version of a list in force."""
        proposed = json.loads(self.log.entries[activates["list"]])["event"]
        event = {"op": "change", "approval_id": id, "name": proposed["name"], "version": proposed["version"], "part": proposed["part"]["index"]}
        event |= {name: value for name, value in activates.items() if name != "before"}
        self.log.put("policy", None, event, event, {}, ("", "policy", ""))
        self.log.lists[proposed["name"]] = proposed["version"]

    def ask(self, version, minute, changes, comment, owners=("p-ana",), says="approve"):
        """People are asked, one of them answers, and a token is made. Returns the approval's id and what its redemption activates."""
        log, (bundle, digest) = self.log, self.versions[version - 1]
        params = {"bundle": bundle, "version": version, "digest": digest, "replaces": self.in_force, "widens": True, "changes": changes, "tests": "3 tests pass"}
        id, opening = self.asked("policy.activate", params, digest, minute, comment, owners, says)
        activates = {"bundle": bundle, "decision": leaf(log, opening), "digest": digest, "before": at(minute + 2)} | ({"replaces": self.in_force} if self.in_force else {})
        return id, activates

    def asked(self, action, params, digest, minute, comment, owners, says):
        """A question of the server itself, and its life until a token is made."""
        log = self.log
        nonce = b64url(sha256(f"nonce {minute}".encode())[:16])
        call = {"agent": SERVER, "run": None, "tool": SERVER, "action": action, "digest": call_digest(TENANT, nonce, SERVER, None, SERVER, action, params)}
        opening = log.judge({
            "specversion": "1.0", "id": nonce, "source": SERVER, "type": OURS[0], "time": at(minute),
            "data": {
                "agent": {"id": SERVER}, "tool": {"name": SERVER, "action": action}, "verdict": "approval_needed", "mode": "enforce", "reason": {"code": "review"},
                "as_of": len(log.entries), "call": {"digest": call["digest"]}, **({"activates": digest} if digest else {}),
                "payload": {"params": params, "nonce": nonce, "owner": list(owners), "reason": comment},
            },
        }, at(minute), producer=SERVER)
        id = approval_id(TENANT, SERVER, SERVER, nonce, ours=True)
        self.n, self.last = 0, opening
        self.say(id, at(minute, 1), {
            "type": "requested", "v": 1, "opening": {"producer": SERVER, "index": opening}, "call": call, "rule": RULE, "rule_digest": b64url(sha256(jcs(RULE))),
            "owners": list(owners), "requested_at": at(minute), "approval_deadline": at(minute).replace("T09", "T10"),
        })
        self.say(id, at(minute, 20), {
            "type": "reviewed", "by": "p-bob", "decision": says, "via": "web", "auth": {"method": "key", "at": at(minute, 19)}, "groups": ["policy"],
            "displayed_dig": call["digest"], "shown_at": at(minute, 10),
        }, {"type": "granted", "by": ["p-bob"], "execution_deadline": at(minute + 15, 20)})
        self.jti = b64url(sha256(f"token {minute}".encode())[:16])
        self.say(id, at(minute, 21), {"type": "token_minted", "jti": self.jti, "kid": SERVER, "enforcer": SERVER, "iat": at(minute, 21), "exp": at(minute + 2)})
        return id, opening

    def say(self, id, time, *events, activates=None):
        """A message of an approval, and what its redemption puts in force."""
        log = self.log
        body = {"approval_id": id, "n": self.n + 1, "prev": b64(leaf_hash(log.entries[self.last])), "events": list(events)} | ({"activates": activates} if activates else {})
        self.last = log.signed(f"approvals.{id}", body, time, "approval")
        self.n += 1
        if activates and "list" in activates:
            self.puts_list(id, activates)
        elif activates:
            version = next(n for n, (index, _) in enumerate(self.versions, 1) if index == activates["bundle"])
            event = {"op": "activate", "approval_id": id, "version": version} | {name: value for name, value in activates.items() if name != "before"}
            log.put("policy", None, event, event, {}, ("", "policy", ""))
            self.in_force = activates["digest"]
            log.in_force = activates["digest"]

    def redeemed(self):
        return {"type": "redeemed", "jti": self.jti, "redemption_id": "activation", "enforcer": SERVER}

    def activate(self, version, minute, changes, comment, owners=("p-ana",)):
        id, activates = self.ask(version, minute, changes, comment, owners)
        self.say(id, at(minute, 22), self.redeemed(), activates=activates)
        self.say(id, at(minute, 23), {"type": "execution_reported", "outcome": "succeeded"})


def policy(log, people_salt_key, sign):
    """The whole log. `sign` signs a body that is to be refused."""
    add = {"op": "add", "key_id": AUTHOR["key"], "sha256": b64url(sha256(b"cs_00112233445566aa_example")), "roles": ["author"], "producer": None, "person": "p-ana", "name": "Ana", "by": ADMIN, "reason": None}
    log.signed("system.access", add, at(0), "access")
    rules(log, people_salt_key)
    log.judge(answer(log, question("c-0"), at(1), None, "deny", "no_policy", owners=(), local_times=False), at(1, 0, 400000))

    bundles = Bundles(log)
    first = {"agents.yaml": AGENTS, "policies/payments.yaml": PAYMENTS, "tools.yaml": TOOLS}
    for path in sorted(first):
        bundles.part(first[path], at(2))
    refuse = lambda subject, body, reason="system_body": log.reject(subject, jcs(body), log.time, reason, signature=sign(log, subject, jcs(body)))
    wrong = {"op": "part", "sha256": b64url(sha256(b"another")), "content": TOOLS, "by": AUTHOR}
    refuse("system.policy", wrong)
    body = bundles.form(first, "Transfers up to 5,000.00 need nobody.", at(2, 1), contributors=["p-carla"])
    moved = [part | {"index": part["index"] + 1} for part in body["parts"]]
    longer = [part | {"bytes": part["bytes"] + 1} for part in body["parts"]]
    for wrong in (
        body | {"digest": b64url(sha256(b"another"))}, body | {"parts": moved}, body | {"parts": longer, "digest": bundle_digest(longer)},
        body | {"parts": [], "digest": bundle_digest([])}, body | {"lists": []}, body | {"reason": body["reason"] | {"index": 99}},
    ):
        refuse("system.policy", wrong)
    bundles.bundle(body, at(2, 2))
    new = [f"payments/{clause}: new" for clause in ("large", "planner-never-pays", "small")]
    id, activates = bundles.ask(1, 3, new, "Transfers up to 5,000.00 need nobody.", owners=("p-ana", "p-carla"))
    redeem = {"approval_id": id, "n": bundles.n + 1, "prev": b64(leaf_hash(log.entries[bundles.last])), "events": [bundles.redeemed()]}
    for wrong in (
        activates | {"replaces": b64url(sha256(b"another"))}, activates | {"before": at(3, 21)}, activates | {"bundle": activates["bundle"] - 1}, activates | {"digest": b64url(sha256(b"another"))},
        activates | {"decision": activates["decision"] | {"leaf_hash": b64(leaf_hash(log.entries[0]))}}, activates | {"decision": leaf(log, 0)}, {"bundle": activates["bundle"]},
    ):
        refuse(f"approvals.{id}", redeem | {"activates": wrong})
    refuse(f"approvals.{id}", redeem | {"events": [{"type": "token_lapsed", "jti": bundles.jti}], "activates": activates})
    bundles.say(id, at(3, 22), bundles.redeemed(), activates=activates)
    bundles.say(id, at(3, 23), {"type": "execution_reported", "outcome": "succeeded"})

    v1 = (bundles.in_force, 1)
    small, large = {"clause": "payments/small", "clauses": ["payments/small"]}, {"clause": "payments/large", "clauses": ["payments/large"]}
    words = {"reason": {"message": "Transfers over 5,000.00 need two people of finance."}}
    now = at(5, 0, 1500000)
    allowed = answer(log, QUESTION, now, v1, "allow", "allowed", **small)
    log.judge(allowed, at(5, 0, 1900000))
    again = at(5, 1)
    log.judge(answer(log, QUESTION, again, None, "deny", "contended", local_times=False), again)
    log.judge(answer(log, QUESTION | {"nonce": b64url(bytes(16))}, again, v1, "allow", "allowed", **small), again)
    own = {name: allowed[name] for name in ("specversion", "id", "source", "type", "time", "sequence")}
    log.publish(own | {"data": {"agent": {"id": "payments-bot"}, "tool": QUESTION["tool"], "verdict": "deny", "as_of": "a label of mine"}}, at(5, 2))
    paused = question("c-2", 18, params=QUESTION["params"] | {"amount": 600000})
    opening = log.judge(answer(log, paused, at(5, 3), v1, "approval_needed", "approval", **large, **words), at(5, 3, 500))
    request(log, paused, opening, at(5, 3, 500))
    params = {name: value for name, value in QUESTION["params"].items() if name != "currency"}
    why = {"reason": {"at": "/amount in /currency", "why": "no currency there"}}
    log.judge(answer(log, question("c-3", 20, params=params), at(5, 4), v1, "deny", "condition_error", clause="payments/large", **why), at(5, 4))
    log.judge(answer(log, question("c-4", agent={"id": "stranger"}), at(5, 5), v1, "deny", "unknown_agent", owners=()), at(5, 5))
    # 60 s are the limit, and belong to it.
    log.judge(answer(log, question("c-5"), at(6), v1, "allow", "allowed", **small), at(7))
    late = answer(log, question("c-6", 21), at(6), v1, "allow", "allowed", **small)
    log.judge(late, at(7, 0, 1), void="late")
    log.judge(answer(log, question("c-6", 21), at(7, 1), v1, "allow", "allowed", **small), at(7, 1))
    log.judge(answer(log, question("c-7"), at(9), v1, "allow", "allowed", **small), at(7, 59, 999999999), void="late")
    log.judge(answer(log, question("c-8"), at(8), None, "deny", "no_policy", local_times=False), at(8), void="bundle")
    log.judge(answer(log, question("c-9"), at(8), None, "deny", "contended", local_times=False), at(8))
    log.judge(answer(log, question("c-10"), at(8), None, "allow", "contended", local_times=False), at(8), void="bundle")
    good = answer(log, question("c-11"), at(8, 1), v1, "allow", "allowed", **small)
    without = lambda name: good | {"data": {n: v for n, v in good["data"].items() if n != name}}
    tool = {"name": "Countersign-x", "action": "y"}
    for wrong in (without("as_of"), without("call"), good | {"data": good["data"] | {"tool": tool}}, good | {"type": OURS[1]}, without("verdict"), good | {"data": good["data"] | {"as_of": "1"}}):
        log.judge(wrong, at(8, 2), reject="system_body")
    log.judge(good, at(8, 3), reject="signature")
    log.judge(good, at(8, 3), producer="gw-2", reject="signature", signed_for="gw-1")
    event = own | {"id": "own-2", "data": {"agent": {"id": "a"}, "tool": tool, "verdict": "allow"}}
    event.pop("sequence")
    log.reject("decisions.gw-1", jcs(event), at(8, 4), "reserved_tool")
    log.reject("decisions.countersign", jcs(event | {"data": event["data"] | {"tool": QUESTION["tool"]}}), at(8, 4), "reserved_tool")

    second = first | {"policies/payments.yaml": SECOND}
    bundles.part(SECOND, at(10))
    bundles.bundle(bundles.form(second, "What is paid is kept for a year, and stays in the EU.", at(10)), at(10))
    bundles.activate(2, 11, ["payments/eu-only: new", "payments/small: obligations: read it"], "What is paid is kept for a year, and stays in the EU.")
    log.judge(answer(log, question("c-12"), at(11, 21), v1, "allow", "allowed", **small), at(11, 24), void="bundle")
    v2 = (bundles.in_force, 2)
    kept = {"obligations": {"no_onward": True, "retain_days": 365}}
    abroad = {"context": QUESTION["context"] | {"region": "us"}}
    shadow = {"shadow": {"verdict": "deny", "code": "denied", "clause": "payments/eu-only"}}
    log.judge(answer(log, question("c-12"), at(11, 24), v2, "allow", "allowed", **small, **kept, shadow={"verdict": "allow", "code": "allowed", "clause": "payments/small"}), at(11, 24))
    log.judge(answer(log, question("c-13", **abroad), at(11, 25), v2, "allow", "allowed", **small, **kept, **shadow), at(11, 25))

    bundles.part(THIRD, at(12))
    bundles.bundle(bundles.form(first | {"policies/payments.yaml": THIRD}, "Only observe for a while.", at(12)), at(12))
    bundles.activate(3, 13, [f"payments/{clause}: enforcement: was in force, is in shadow: read it" for clause in ("large", "planner-never-pays", "small")], "Only observe for a while.")
    v3 = (bundles.in_force, 3)
    log.judge(answer(log, question("c-14", **abroad), at(14), v3, "deny", "denied", clause="payments/eu-only", mode="shadow"), at(14))
    bundles.activate(1, 15, ["payments/eu-only: removed: more is allowed"], "Back to version 1.")
    log.judge(answer(log, question("c-15"), at(16), v1, "allow", "allowed", **small), at(16))

    bundles.part(FOURTH_TOOLS, at(17))
    bundles.part(FOURTH, at(17))
    bundles.bundle(bundles.form(first | {"policies/payments.yaml": FOURTH, "tools.yaml": FOURTH_TOOLS}, "Balances may be told at once.", at(17)), at(17))
    bundles.activate(4, 18, ["payments/balances: new"], "Balances may be told at once.")
    v4 = (bundles.in_force, 4)
    read = {"tool": {"name": "payments", "action": "balance"}, "params": {}}
    told = lambda number, why="later": {"clause": "payments/balances", "clauses": ["payments/balances"], "spool": {"id": RUN, "number": number, "why": why}}
    log.judge(answer(log, question("c-16", **read), at(19), v4, "allow", "allowed", **told(1)), at(19, 0, 90000000))
    log.judge(answer(log, question("c-17", **read), at(19), v4, "allow", "allowed", **told(2, "unavailable")), at(19, 59))
    log.judge(answer(log, question("c-18", **read), at(19), v4, "allow", "allowed", **told(3, "unavailable")), at(20, 0, 1), void="late")
    log.judge(answer(log, question("c-19", **read), at(20, 1), v1, "allow", "allowed", **told(4)), at(20, 1), void="bundle")
    denied = answer(log, question("c-20"), at(20, 2), v4, "deny", "no_clause", spool={"id": RUN, "number": 5, "why": "later"})
    log.judge(denied, at(20, 2), reject="system_body")
    lists(log, bundles, first, refuse)


def lists(log, bundles, first, refuse):
    """A list gets versions of its own."""
    fifth = first | {"policies/payments.yaml": FIFTH, "lists/payees.yaml": PAYEES}
    for text in (FIFTH, PAYEES):
        bundles.part(text, at(30))
    bundles.bundle(bundles.form(fifth, "Known payees only.", at(30)), at(30))
    bundles.activate(5, 31, ["payments/known-payees: new", "payments/small: removed"], "Known payees only.")
    v5, file = (bundles.in_force, 5), bundles.parts[PAYEES]
    known = {"clause": "payments/known-payees", "clauses": ["payments/known-payees"]}

    def paid(id, when, version, payee="mill", void=None, verdict="allow", rests=None):
        """A decision that rests on a version of the list."""
        asked = question(id, params=QUESTION["params"] | {"payee": payee})
        told = known if verdict == "allow" else {}
        made = answer(log, asked, when, v5, verdict, "allowed" if told else "no_clause", local_times=False, **told, lists={"payees": version} if rests is None else rests)
        log.judge(made, when, void=void)

    paid("c-30", at(32), 0)
    paid("c-31", at(32, 1), 0, payee="forge", verdict="deny")
    paid("c-32", at(32, 2), 1, void="list")
    paid("c-32", at(32, 3), 0, rests={"another": 1}, void="list")
    body = bundles.list("payees", 1, file, ["bakery", "forge", "mill"], "The forge sends invoices now.", at(33))
    another = bundles.parts[AGENTS]
    longer = body["part"] | {"bytes": body["part"]["bytes"] + 1}
    for wrong in (
        body | {"digest": b64url(sha256(b"another"))}, body | {"version": 2}, body | {"version": 0, "digest": list_digest("payees", 0, body["part"])}, body | {"name": "other"},
        body | {"part": longer, "digest": list_digest("payees", 1, longer)}, body | {"part": body["part"] | {"index": another}}, body | {"part": body["part"] | {"path": "lists/other.yaml"}},
        body | {"items": []}, body | {"reason": body["reason"] | {"index": 9999}}, body | {"name": "no/list", "digest": list_digest("no/list", 1, body["part"])},
    ):
        refuse("system.policy", wrong)
    entry = log.signed("system.policy", body, at(33, 1), "policy")
    # Two changes of one version: both are approved, one takes effect.
    other = bundles.list("payees", 1, file, ["bakery"], "The mill is closed.", at(33, 2))
    second = log.signed("system.policy", other, at(33, 3), "policy")
    elsewhere = bundles.list("payees", 1, another, ["bakery", "forge", "mill"], "As if it replaced another file.", at(33, 4))
    third = log.signed("system.policy", elsewhere, at(33, 5), "policy")
    id, activates = bundles.ask_list(elsewhere, third, 34, ["forge"], [], 3, "As if it replaced another file.")
    message = lambda id, puts: {"approval_id": id, "n": bundles.n + 1, "prev": b64(leaf_hash(log.entries[bundles.last])), "events": [bundles.redeemed()], "activates": puts}
    refuse(f"approvals.{id}", message(id, activates))
    id, activates = bundles.ask_list(body, entry, 36, ["forge"], [], 3, "The forge sends invoices now.")
    for wrong in (
        activates | {"list": second}, activates | {"list": bundles.parts[PAYEES]}, activates | {"bundle": bundles.versions[-1][0]}, activates | {"replaces": v5[0]},
        {name: value for name, value in activates.items() if name != "list"}, {name: value for name, value in activates.items() if name != "list"} | {"bundle": entry},
        activates | {"before": at(36, 21)}, activates | {"list": 99999},
    ):
        refuse(f"approvals.{id}", message(id, wrong))
    bundles.say(id, at(36, 22), bundles.redeemed(), activates=activates)
    bundles.say(id, at(36, 23), {"type": "execution_reported", "outcome": "succeeded"})
    paid("c-33", at(36, 24), 0, void="list")
    paid("c-33", at(36, 24), 1)
    paid("c-34", at(36, 25), 1, payee="forge")
    # No version of a list decides about calls that its clauses are not for.
    asked = question("c-35", agent={"id": "stranger"})
    log.judge(answer(log, asked, at(36, 26), v5, "deny", "unknown_agent", owners=(), local_times=False, lists={"payees": 1}), at(36, 26))
    id, activates = bundles.ask_list(other, second, 37, [], ["mill"], 1, "The mill is closed.")
    refuse(f"approvals.{id}", message(id, activates))
    # The version before, proposed anew after the one in force.
    back = bundles.list("payees", 2, entry, ["bakery", "forge"], "The mill is closed.", at(39))
    fourth = log.signed("system.policy", back, at(39, 1), "policy")
    id, activates = bundles.ask_list(back, fourth, 40, [], ["mill"], 2, "The mill is closed.")
    bundles.say(id, at(40, 22), bundles.redeemed(), activates=activates)
    bundles.say(id, at(40, 23), {"type": "execution_reported", "outcome": "succeeded"})
    paid("c-36", at(41), 2, verdict="deny")
    # An older bundle again: it does not name the list, and no verdict rests on it.
    bundles.activate(1, 42, ["payments/known-payees: removed"], "Back to version 1.")
    log.judge(answer(log, question("c-37"), at(43), (bundles.in_force, 1), "allow", "allowed", clause="payments/small", clauses=["payments/small"]), at(43))


def request(log, asked, opening, time):
    """People are asked about a call of a gateway's agent."""
    id = approval_id(TENANT, GATEWAY, asked["source"], asked["id"], ours=True)
    decision = json.loads(log.entries[opening])["event"]["data"]
    call = {"agent": decision["agent"]["id"], "run": decision["agent"]["run"], "tool": decision["tool"]["name"], "action": decision["tool"]["action"], "digest": decision["call"]["digest"]}
    log.signed(f"approvals.{id}", {"approval_id": id, "n": 1, "prev": b64(leaf_hash(log.entries[opening])), "events": [{
        "type": "requested", "v": 1, "opening": {"producer": GATEWAY, "index": opening}, "call": call, "rule": OTHERS, "rule_digest": b64url(sha256(jcs(OTHERS))),
        "owners": ["p-ana"], "requested_at": time, "approval_deadline": time.replace("T09", "T10"),
    }]}, time, "approval")


def rules(log, people_salt_key):
    """Rules that name our tool, and what their people are."""
    nonce = b64url(sha256(b"people of policies")[:16])
    people_salt = b64url(hmac256(people_salt_key, nonce.encode()))
    person = lambda id, groups: {"id": id, "name": id[2:].title(), "groups": groups, "owns": [], "slack": None, "teams": None, "disabled": False}
    everybody = [person(id, ["finance", "policy"]) for id in ("p-ana", "p-bob")] + [person("p-carla", ["policy"]), person("p-dan", ["finance"])]
    people = {"v": 1, "people": everybody, "channels": {}}
    words = {"act": "rules", "people_salt": people_salt, "reason": "Policies are reviewed from now on."}
    why = log.signed("evidence.system", words, at(0), "evidence", event={"approval_id": None}, fields=words)
    in_force = [RULE, OTHERS]
    log.signed("system.rules", {
        "v": 1, "rules": in_force, "rules_digest": b64url(sha256(jcs(in_force))), "people_digest": digest(jcs_text([people_salt, "people", people])),
        "people_nonce": nonce, "by": ADMIN, "reason": leaf(log, why),
    }, at(0), "rules")
