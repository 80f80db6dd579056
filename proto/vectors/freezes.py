"""What is frozen: an implementation of its own of the rules of system.md and decision.md, and what `entry/freeze.json` holds."""
import policies
from formats import *
from policies import at

RESPONDER = {"key": "00112233445566cc", "person": "p-carla"}
OF_CLAUSES_MAX, OF_PEOPLE_MAX = 64, 512
POLICY = """\
language: 1
policy: payments
title: What agents may pay
clauses:
  - id: small
    tool: payments
    actions: [transfer]
    when: {amount: {minor: /amount, currency: /currency, at_most: {EUR: 500000}}}
    then: allow
  - id: large
    tool: payments
    actions: [transfer]
    when: {amount: {minor: /amount, currency: /currency, over: {EUR: 500000}}}
    then: approval_needed
  - id: stolen
    tool: payments
    when: {params: {/reference: {one_of: [stolen]}}}
    then: deny
    freeze: agent
  - id: odd
    tool: payments
    when: {params: {/reference: {one_of: [odd]}}}
    then: deny
    freeze: session
"""


class Freezes:
    """The freezes in force: by their index, what each stops and whether a clause did it."""

    def __init__(self):
        self.all = {}

    def stops(self, index, producer, data):
        """True if this freeze stops the call."""
        if index not in self.all:
            return False
        (scope, id, only), _ = self.all[index]
        agent = data["agent"]
        named = {
            "agent": [agent["id"], *agent.get("chain", [])], "session": [agent.get("session")], "run": [agent.get("run")],
            "tool": [data["tool"]["name"]], "producer": [producer], "tenant": [id],
        }
        return only in (None, producer) and id in named[scope]

    def stopping(self, producer, data):
        """The first freeze that stops the call; never one of the server's own."""
        own = data["tool"]["name"].lower().startswith(policies.SERVER)
        return None if own else next((index for index in sorted(self.all) if self.stops(index, producer, data)), None)

    def unfit(self, producer, data):
        """True if a decision does not stand by what is frozen."""
        permits = data["verdict"] != "deny" and self.stopping(producer, data) is not None
        return permits or "frozen_by" in data and not self.stops(data["frozen_by"], producer, data)

    def by_clause(self, producer, data):
        """What the clause of a decision freezes. `None` if that is frozen already."""
        session = data["agent"].get("session") if data["freeze"] == "session" else None
        target = ("session", session, producer) if session else ("agent", data["agent"]["id"], None if "verified_by" in data else producer)
        if sum(of_clause and scope != "producer" and only == target[2] for (scope, _, only), of_clause in self.all.values()) >= OF_CLAUSES_MAX:
            target = ("producer", producer, None)
        return None if target in [known for known, _ in self.all.values()] else target

    def note(self, index, body):
        """Takes the event of an entry."""
        if body["op"] == "lift":
            del self.all[body["freeze"]]
        else:
            self.all[index] = ((body["scope"], body["id"], body.get("producer")), "decision" in body)


def freezes(log, people_salt_key, sign):
    """The whole log. `sign` signs a body that is to be refused."""
    policies.rules(log, people_salt_key)
    bundles = policies.Bundles(log)
    files = {"agents.yaml": policies.AGENTS, "policies/payments.yaml": POLICY, "tools.yaml": policies.TOOLS}
    for path in sorted(files):
        bundles.part(files[path], at(1))
    bundles.bundle(bundles.form(files, "Who steals is stopped.", at(1)), at(1))
    bundles.activate(1, 2, ["all new"], "Who steals is stopped.")
    v1 = (bundles.in_force, 1)
    small, large = ({"clause": f"payments/{id}", "clauses": [f"payments/{id}"]} for id in ("small", "large"))
    allowed = lambda id, when, **changed: policies.answer(log, policies.question(id, **changed), when, v1, "allow", "allowed", local_times=False, **small)
    denied = lambda id, when, index, **changed: policies.answer(log, policies.question(id, **changed), when, None, "deny", "frozen", local_times=False, frozen_by=index)

    def refuse(subject, body, time):
        log.reject(subject, jcs(body), time, "system_body", signature=sign(log, subject, jcs(body)))

    log.judge(allowed("c-1", at(5)), at(5))
    paused = policies.question("c-2", params=policies.QUESTION["params"] | {"amount": 600000})
    opening = log.judge(policies.answer(log, paused, at(5, 1), v1, "approval_needed", "approval", local_times=False, **large), at(5, 1))
    policies.request(log, paused, opening, at(5, 1, 500))
    words = {"act": "freeze", "reason": "It pays the wrong people."}
    why = log.signed("evidence.system", words, at(6), "evidence", event={"approval_id": None}, fields=words)
    body = {"op": "freeze", "scope": "agent", "id": "payments-bot", "by": RESPONDER, "reason": policies.leaf(log, why)}
    for wrong in (
        {"scope": "agents"}, {"id": ""}, {"id": "x" * 257}, {"id": "a\nb"}, {"scope": "tenant"}, {"scope": "producer", "id": "No name"}, {"scope": "producer", "producer": "gw-1"},
        {"scope": "tool", "id": "countersign"}, {"decision": policies.leaf(log, opening)}, {"by": {"server": "policy"}}, {"reason": body["reason"] | {"index": 9999}}, {"more": 1},
        {"op": "lift"}, {"op": "thaw"},
    ):
        refuse("system.freeze", body | wrong, at(6, 1))
    first = log.freeze(body, at(6, 2))
    # What was judged before it, and comes after it, is void; then it is denied.
    log.judge(allowed("c-3", at(6, 1)), at(6, 3), void="freeze")
    log.judge(denied("c-3", at(6, 3), first), at(6, 3))
    log.judge(denied("c-4", at(6, 4), first + 1), at(6, 4), void="freeze")
    log.judge(policies.answer(log, paused | {"id": "c-5"}, at(6, 4), v1, "approval_needed", "approval", local_times=False, **large), at(6, 4), void="freeze")
    stranger = {"agent": {"id": "planner-bot"}}
    log.judge(denied("c-6", at(6, 5), first, **stranger), at(6, 5), void="freeze")
    log.judge(allowed("c-6", at(6, 5), **stranger), at(6, 6))
    behind = {"agent": {"id": "planner-bot", "chain": ["payments-bot", "planner-bot"]}}
    log.judge(allowed("c-7", at(6, 6), **behind), at(6, 7), void="freeze")
    log.judge(denied("c-7", at(6, 7), first, **behind), at(6, 7))
    good = denied("c-8", at(6, 8), first)
    for data in ({"bundle": v1[0]}, {"freeze": "agent"}, {"verdict": "allow"}, {"reason": {"code": "denied"}}):
        log.judge(good | {"data": good["data"] | data}, at(6, 8), reject="system_body")
    without = {name: value for name, value in good["data"].items() if name != "frozen_by"}
    log.judge(good | {"data": without}, at(6, 8), reject="system_body")
    # Another denial stands all the same, and the first call keeps its verdict.
    log.judge(policies.answer(log, policies.question("c-9"), at(6, 9), v1, "deny", "no_clause", local_times=False), at(6, 9))
    log.judge(denied("c-1", at(6, 9), first), at(6, 9))

    # A redemption of a frozen call is refused, whatever decision it names; after the freeze it is posted.
    id = policies.approval_id(policies.TENANT, policies.GATEWAY, paused["source"], paused["id"], ours=True)
    # `request` wrote its first message, and nothing else is needed here: posting looks at the call alone.
    last = next(index for index in reversed(range(len(log.entries))) if json.loads(log.entries[index])["kind"] == "approval")
    redeemed = {"type": "redeemed", "jti": b64url(bytes(16)), "redemption_id": "once", "enforcer": policies.GATEWAY}
    message = {"approval_id": id, "n": 2, "prev": b64(leaf_hash(log.entries[last])), "events": [redeemed]}
    named = message | {"decision": policies.leaf(log, opening)}
    for wrong in (named, message, message | {"decision": policies.leaf(log, 0)}, named | {"decision": named["decision"] | {"leaf_hash": b64(leaf_hash(log.entries[0]))}}):
        refuse(f"approvals.{id}", wrong, at(7))

    narrow = {"op": "freeze", "scope": "tool", "id": "payments", "producer": "gw-2", "by": RESPONDER}
    second = log.freeze(narrow, at(7, 1))
    lift = {"op": "lift", "freeze": first, "by": {"key": RESPONDER["key"], "person": "p-carla", "approval": id}, "reason": body["reason"]}
    for wrong in ({"freeze": second + 1}, {"freeze": str(first)}, {"by": None}, {"scope": "agent"}):
        refuse("system.freeze", lift | wrong, at(7, 2))
    log.freeze(lift, at(7, 3))
    refuse("system.freeze", lift, at(7, 4))
    log.judge(denied("c-10", at(7, 4), first), at(7, 4), void="freeze")
    log.judge(allowed("c-10", at(7, 5)), at(7, 5))
    log.judge(allowed("c-11", at(7, 5)), at(7, 5), producer="gw-2", void="freeze")
    refuse(f"approvals.{id}", message | {"decision": policies.leaf(log, 0)}, at(7, 6))
    log.signed(f"approvals.{id}", named, at(7, 7), "approval")

    # A clause freezes for its own gateway alone, once.
    caught = lambda id, when, scope, producer="gw-3", **changed: log.judge(policies.answer(
        log, policies.question(id, **changed), when, v1, "deny", "denied", clause=f"payments/{'stolen' if scope == 'agent' else 'odd'}",
        clauses=[f"payments/{'stolen' if scope == 'agent' else 'odd'}"], local_times=False, freeze=scope), when, producer=producer)
    caught("c-12", at(8), "session")
    caught("c-13", at(8, 1), "session")
    caught("c-14", at(8, 2), "agent")
    log.judge(allowed("c-15", at(8, 3)), at(8, 3), producer="gw-3", void="freeze")
    log.judge(allowed("c-15", at(8, 3)), at(8, 3))
    caught("c-16", at(8, 4), "session", agent={"id": "planner-bot"})
    wrong = policies.answer(log, policies.question("c-17"), at(8, 5), v1, "deny", "denied", clause="payments/odd", local_times=False, freeze="run")
    log.judge(wrong, at(8, 5), reject="system_body")
    log.judge(wrong | {"data": wrong["data"] | {"freeze": "agent", "mode": "shadow"}}, at(8, 5), reject="system_body")
    log.freeze({"op": "freeze", "scope": "tenant", "id": policies.TENANT, "by": RESPONDER}, at(8, 6))
    # The server still asks people: otherwise nobody could lift anything.
    bundles.asked("freeze.lift", {"freeze": second}, None, 9, "Repaired.", ("p-carla",), "approve")
