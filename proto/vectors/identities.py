"""Agents that prove who they are: an implementation of its own of the rules of agent-token.md, and what `entry/agent.json` and `agent-token.json` hold."""
import calendar, time

import policies
from formats import *
from policies import at

AGENT = Key("log.example/v1/tenants/acme/logs/1/agent", bytes([9] * 32))
ISSUER = "https://log.example/v1/tenants/acme"
ADMIN = policies.ADMIN
POLICY = """\
language: 1
policy: payments
title: What agents may pay
clauses:
  - id: proven
    tool: payments
    actions: [transfer]
    when: {identity: verified}
    then: allow
  - id: stolen
    tool: payments
    when: {params: {/reference: {one_of: [stolen]}}}
    then: deny
    freeze: agent
"""

seconds = lambda text: calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


class Identities:
    """The tokens that were issued, by the index of their entries, and what was revoked."""

    def __init__(self):
        self.issued, self.tokens, self.agents = {}, set(), {}

    def revoked(self, index):
        """True if this token, one on which it rests, or every token of an agent in its chain was revoked."""
        chain = self.issued[index]
        return any(token in self.tokens or token < self.agents.get(agent, 0) for agent, token in zip(chain["chain"], [*chain.get("parents", []), index]))

    def unfit(self, data, when):
        """True if a decision rests on a token that does not count at its place."""
        if "verified_by" not in data:
            return False
        index = data["verified_by"]["index"]
        issue = self.issued.get(index)
        if issue is None or issue["chain"] != data["agent"].get("chain") or issue["chain"][-1] != data["agent"]["id"]:
            return True
        return seconds(when) >= issue["exp"] or self.revoked(index)

    def note(self, index, body):
        """Takes the event of an entry."""
        if body["op"] == "issue":
            self.issued[index] = body
        elif "token" in body:
            self.tokens.add(body["token"])
        else:
            self.agents[body["agent"]] = index


def claims(body, index):
    """The claims of the token that the entry at `index` issued."""
    root, *others = body["chain"]
    act = None
    for agent in others:
        act = {"sub": agent} | ({"act": act} if act else {})
    optional = {name: body[name] for name in ("org", "region", "cnf") if name in body}
    return {
        "iss": ISSUER, "sub": root, "tenant": policies.TENANT, "scope": " ".join(body["scope"]), "iat": body["iat"], "nbf": body["iat"], "exp": body["exp"],
        "jti": f"1-{index}",
    } | optional | ({"act": act} if act else {})


def mint(body, index, key=AGENT):
    """The token's text."""
    header = '{"alg":"EdDSA","kid":"%s","typ":"agent+jwt"}' % thumbprint(key.public)
    signed = b64url(header.encode()) + "." + b64url(jcs(claims(body, index)))
    return signed + "." + b64url(key.private.sign(signed.encode()))


def issue(agent, when, scope=("payments",), life=600, **more):
    """The body that issues a token."""
    iat = seconds(when)
    return {"op": "issue", "chain": [agent], "scope": list(scope), "iat": iat, "exp": iat + life, "by": ADMIN} | more


def agents(log, people_salt_key, sign):
    """The whole log. `sign` signs a body that is to be refused."""
    policies.rules(log, people_salt_key)
    bundles = policies.Bundles(log)
    files = {"agents.yaml": policies.AGENTS, "policies/payments.yaml": POLICY, "tools.yaml": policies.TOOLS}
    for path in sorted(files):
        bundles.part(files[path], at(1))
    bundles.bundle(bundles.form(files, "Who pays proves who it is.", at(1)), at(1))
    bundles.activate(1, 2, ["all new"], "Who pays proves who it is.")
    v1 = (bundles.in_force, 1)

    def refuse(body, time):
        log.reject("system.agent", jcs(body), time, "system_body", signature=sign(log, "system.agent", jcs(body)))

    def by_token(id, when, token, chain, verdict="allow", code="allowed", clause="payments/proven", index=None, **more):
        asked = policies.question(id, agent={"chain": chain, "id": chain[-1], "run": "r-1"}, **more.pop("asked", {}))
        clauses = more.pop("clauses", [clause] if clause else [])
        event = policies.answer(log, asked, when, v1, verdict, code, clause=clause, clauses=clauses, local_times=False, owners=("p-bob",) if chain[-1] != "payments-bot" else ("p-ana",), **more)
        at_entry = token if index is None else index
        issued = log.identities.issued.get(token, {"scope": ["payments"]})
        fact = {"jti": f"1-{token}", "scope": issued["scope"]} | ({"region": issued["region"]} if "region" in issued else {})
        event["data"]["facts"] |= {"verified": True, "token": fact}
        event["data"]["verified_by"] = policies.leaf(log, at_entry)
        return event

    key = {"use": "agent", "vkey": AGENT.vkey, "by": ADMIN, "reason": None}
    log.signed("system.key", key | {"overlap": 0}, at(4), "key", event=key)
    words = {"act": "agent", "reason": "Ticket 4711."}
    why = log.signed("evidence.system", words, at(4, 1), "evidence", event={"approval_id": None}, fields=words)
    root = log.agent(issue("planner-bot", at(5), scope=["mail", "payments"], region="eu", reason=policies.leaf(log, why)), at(5))
    child = issue("payments-bot", at(5, 1), chain=["planner-bot", "payments-bot"], parents=[root], region="eu", life=300, producer="gw-1")
    for wrong in (
        {"scope": ["mail", "shell"]}, {"exp": child["iat"] + 601}, {"region": "us"}, {"region": None}, {"parents": [root + 1]}, {"parents": []}, {"parents": [10**6]},
        {"chain": ["payments-bot"]}, {"chain": ["payments-bot", "payments-bot"]}, {"chain": ["planner-bot", "worker-1", "payments-bot"]}, {"scope": []},
        {"scope": ["payments", "mail"]}, {"iat": child["iat"] - 120, "exp": child["iat"]}, {"exp": child["iat"]}, {"exp": child["iat"] + 3601}, {"cnf": {"jkt": "x"}},
        {"by": None}, {"more": 1}, {"op": "renew"}, {"reason": {"index": 10**6, "leaf_hash": policies.leaf(log, why)["leaf_hash"]}},
    ):  # fmt: skip
        refuse(child | wrong, at(5, 1))
    of_child = log.agent(child, at(5, 1))
    chain = ["planner-bot", "payments-bot"]
    log.judge(by_token("c-1", at(5, 2), of_child, chain), at(5, 2))
    # Another chain or agent, another entry, a token of somebody else: posting compares them.
    log.judge(by_token("c-2", at(5, 3), of_child, ["payments-bot"]), at(5, 3), void="token")
    log.judge(by_token("c-3", at(5, 3), root, chain), at(5, 3), void="token")
    log.judge(by_token("c-4", at(5, 3), of_child, chain, index=why), at(5, 3), void="token")
    wrong = by_token("c-5", at(5, 3), of_child, chain)
    wrong["data"]["verified_by"]["leaf_hash"] = policies.leaf(log, why)["leaf_hash"]
    log.judge(wrong, at(5, 3), void="token", other_leaf=True)
    # A call that follows another one names it.
    first = policies.leaf(log, next(i for i, e in enumerate(log.entries) if b'"id":"c-1"' in e))
    follows = by_token("c-6", at(5, 4), of_child, chain, asked={"context": {"region": "eu"}})
    follows["data"]["facts"]["parent"] = {"tool": "payments", "action": "transfer", "verdict": "allow"}
    follows["data"]["parent"] = first
    log.judge(follows, at(5, 4))
    # The child's token ends after 300 s, to the second.
    log.judge(by_token("c-7", at(10, 0), of_child, chain), at(10, 0))
    log.judge(by_token("c-8", at(10, 1), of_child, chain), at(10, 1), void="token")
    # Revoked: with the token on which it rests, and then with every token of its agent.
    again = log.agent(issue("payments-bot", at(11), chain=chain, parents=[root], region="eu", life=200), at(11))
    log.judge(by_token("c-9", at(11, 1), again, chain), at(11, 1))
    for wrong in ({"token": str(root)}, {"token": -1}, {"agent": ""}, {"agent": None}, {"by": None}, {"more": 1}):
        refuse({"op": "revoke", "token": root, "agent": "planner-bot", "by": ADMIN} | wrong, at(11, 2))
    log.agent({"op": "revoke", "token": root, "agent": "planner-bot", "by": ADMIN, "reason": policies.leaf(log, why)}, at(11, 3))
    log.judge(by_token("c-10", at(11, 3), again, chain), at(11, 4), void="token")
    refuse(issue("payments-bot", at(11, 5), chain=chain, parents=[root], region="eu", life=100), at(11, 5))
    alone = log.agent(issue("payments-bot", at(12)), at(12))
    log.judge(by_token("c-11", at(12, 1), alone, ["payments-bot"]), at(12, 1))
    log.agent({"op": "revoke", "agent": "payments-bot", "by": ADMIN}, at(12, 2))
    log.judge(by_token("c-12", at(12, 2), alone, ["payments-bot"]), at(12, 3), void="token")
    new = log.agent(issue("payments-bot", at(13)), at(13))
    # A clause freezes an agent that has proven who it is everywhere; one that has not at its gateway alone.
    steal = {"params": policies.QUESTION["params"] | {"reference": "stolen"}}
    log.judge(by_token("c-13", at(13, 1), new, ["payments-bot"], verdict="deny", code="denied", clause="payments/stolen", clauses=["payments/proven", "payments/stolen"], asked=steal, freeze="agent"), at(13, 1))
    claimed = policies.question("c-14", agent={"id": "planner-bot"}, **steal)
    log.judge(policies.answer(log, claimed, at(13, 2), v1, "deny", "denied", clause="payments/stolen", clauses=["payments/stolen"], local_times=False, owners=("p-bob",), freeze="agent"), at(13, 2))
    # A gateway revokes in its own share.
    by_gateway = {"op": "revoke", "agent": "worker-1", "producer": "gw-1", "by": {"key": "89abcdef01234567"}}
    for wrong in ({"producer": "GW"}, {"producer": ""}):
        refuse(by_gateway | wrong, at(13, 3))
    log.agent(by_gateway, at(13, 3))
    return {"root": root, "child": of_child, "alone": new}


def agent_token(log, made):
    """`agent-token.json`: tokens of that log, with the entry that issued each."""
    def case(name):
        index = made[name]
        body = json.loads(log.entries[index])["event"]
        return {"name": name, "index": index, "event": body, "claims": claims(body, index), "token": mint(body, index)}

    return {
        "about": "Tokens of agents of the log in entry/agent.json, each with the event of the entry that issued it.",
        "issuer": ISSUER, "tenant": policies.TENANT, "origin": "log.example/v1/tenants/acme/logs/1", "vkey": AGENT.vkey, "jwks": {"keys": [jwk(AGENT.public)]},
        "cases": [case(name) for name in ("root", "child", "alone")],
    }
