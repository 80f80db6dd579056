"""What clauses redact in calls and in results: the marks of decision.md, and what `entry/redaction.json` holds."""
import struct

import policies
from formats import *
from policies import at

POLICY = """\
language: 1
policy: mail
title: No account numbers in mails, nor in what comes back
clauses:
  - id: a-send
    tool: payments
    actions: [transfer]
    then: allow
  - id: b-no-accounts
    tool: payments
    then: sanitize
    redact: [{at: /note, detect: [iban]}]
  - id: c-no-accounts-back
    tool: payments
    judges: result
    then: sanitize
    redact: [{at: "", detect: [iban]}]
  - id: d-nothing-secret
    tool: payments
    judges: result
    when: {result: {/state: {one_of: [secret], optional: true}}}
    then: deny
"""
IBAN = "DE89370400440532013000"
RESULT = "countersign-result-v1"


def mark(salt_key, digest):
    """The keyed mark of a call, or of a result, as it came."""
    key = hmac256(salt_key, b"countersign-redaction-v1")
    return b64url(hmac256(key, b"received\0" + digest.encode()))


def result_digest(result, decision=None):
    """Digest of what the agent may see; with the index of a decision, what the mark of its result is made of."""
    middle = b"\0" if decision is None else struct.pack(">Q", decision)
    return b64url(sha256(RESULT.encode() + middle + jcs(result)))


def found(at_, text):
    """What is recorded of one account number in a text."""
    return {"set": 1, "found": [{"at": at_, "detector": "iban", "spans": [[text.index(IBAN), text.index(IBAN) + len(IBAN)]]}]}


def report(log, decision, result, now, verdict, code, bundle, shown=None, redacted=None, clause=None, clauses=(), keep=False, **more):
    """Our report of a result. `shown`: what the agent may see."""
    index = decision["index"]
    judged = json.loads(log.entries[index])["event"]["data"]
    told = {"bytes": len(jcs(result))} | ({"digest": result_digest(shown)} if verdict != "deny" else {})
    data = {name: judged[name] for name in ("agent", "tool")} | {
        "decision": decision, "verdict": verdict, "mode": "enforce", "as_of": len(log.entries),
        "facts": {"now": now, "verified": False} | ({"redacted": redacted} if redacted else {}),
        "reason": {"code": code} | ({"clauses": list(clauses)} if clauses else {}),
        "received": mark(log.salt_key, result_digest(result, index)), "returned": told,
    }
    data |= {"bundle": bundle[0], "policy": ({"id": clause} if clause else {}) | {"version": str(bundle[1])}} if bundle else {}
    data |= {"payload": {"result": shown}} if keep else {}
    return {"specversion": "1.0", "type": OURS[2], "source": "countersign/results", "id": str(index), "time": now, "data": data | more}


def redaction(log, people_salt_key, salt_key):
    """The whole log."""
    log.salt_key = salt_key
    policies.rules(log, people_salt_key)
    bundles = policies.Bundles(log)
    files = {"agents.yaml": policies.AGENTS, "policies/mail.yaml": POLICY, "tools.yaml": policies.TOOLS}
    for path in sorted(files):
        bundles.part(files[path], at(1))
    bundles.bundle(bundles.form(files, "Account numbers stay.", at(1)), at(1))
    bundles.activate(1, 2, ["all new"], "Account numbers stay.")
    v1 = (bundles.in_force, 1)

    def asked(id, note, when):
        """A question with a note, and the decision about it."""
        came = policies.question(id, params={"note": note})
        digest = call_digest(policies.TENANT, came["nonce"], came["agent"]["id"], came["agent"].get("run"), came["tool"]["name"], came["tool"]["action"], came["params"])
        received = mark(salt_key, digest)
        if IBAN not in note:
            return policies.answer(log, came, when, v1, "allow", "allowed", "mail/a-send", ("mail/a-send", "mail/b-no-accounts"), local_times=False, received=received)
        decided = policies.answer(
            log, came | {"params": {"note": note.replace(IBAN, "[REDACTED:iban]")}}, when, v1, "sanitize", "sanitized", "mail/b-no-accounts",
            ("mail/a-send", "mail/b-no-accounts"), local_times=False, received=received,
        )
        decided["data"]["facts"] |= {"redacted": found("/note", note)}
        return decided

    first = log.judge(asked("c-1", f"Pay {IBAN}.", at(5)), at(5))
    # The same call is known by its mark, however it was redacted; another one is not.
    again = asked("c-1", f"Pay {IBAN}.", at(5, 1))
    otherwise = call_digest(policies.TENANT, "AAAAAAAAAAAAAAAAAAAAAA", "payments-bot", None, "payments", "transfer", {})
    log.judge(again | {"data": again["data"] | {"call": {"digest": otherwise}}}, at(5, 1))
    log.judge(asked("c-1", f"Pay {IBAN}!", at(5, 2)), at(5, 2))
    plain = log.judge(asked("c-2", "Nothing to see.", at(5, 3)), at(5, 3))

    one, two = policies.leaf(log, first), policies.leaf(log, plain)
    came, shown = {"from": f"{IBAN}", "state": "booked"}, {"from": "[REDACTED:iban]", "state": "booked"}
    good = dict(shown=shown, redacted=found("/from", came["from"]), clause="mail/c-no-accounts-back", clauses=("mail/c-no-accounts-back",), keep=True)
    sanitized = report(log, one, came, at(6), "sanitize", "sanitized", v1, **good)
    # What is no report of a result is refused, whoever signed it.
    for wrong in ({"as_of": None}, {"decision": None}, {"received": None}, {"verdict": "approval_needed"}, {"verdict": None}, {"spool": {"id": "1", "number": 1, "why": "later"}},
                  {"freeze": "agent"}, {"activates": v1[0]}, {"tool": {"name": "countersign", "action": "probe"}}):
        data = {name: value for name, value in (sanitized["data"] | wrong).items() if value is not None}
        log.judge(sanitized | {"data": data}, at(6), reject="system_body")
    log.judge(sanitized, at(6), reject="signature")
    log.report(sanitized, at(6, 1))
    log.report(report(log, one, came, at(6, 2), "sanitize", "sanitized", v1, **good), at(6, 2))
    log.report(report(log, one, came | {"state": "late"}, at(6, 3), "sanitize", "sanitized", v1, **good), at(6, 3))
    secret = {"state": "secret"}
    log.report(report(log, two, secret, at(6, 4), "deny", "denied", v1, clause="mail/d-nothing-secret", clauses=("mail/c-no-accounts-back", "mail/d-nothing-secret"), cost={"amount": "0.01", "currency": "USD"}), at(6, 4))
    # A result of a call that was not permitted.
    denied = log.judge(policies.answer(log, policies.question("c-3", tool={"name": "payments", "action": "payout"}), at(7), v1, "deny", "no_clause", None, ("mail/b-no-accounts",), local_times=False,
                                       received=mark(salt_key, otherwise)), at(7))
    log.report(report(log, policies.leaf(log, denied), came, at(7, 1), "deny", "not_permitted", None), at(7, 1))
    # A producer's own execution with the same members is an event like any other: nothing of it is ours.
    log.publish(report(log, two, secret, at(7, 2), "allow", "allowed", v1, shown=secret) | {"id": "x-1"}, at(7, 2))
