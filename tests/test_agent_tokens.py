"""P12, P13, P14, P15, P16: an agent's token proves who it is, and nothing else does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from support import Server
from support.client import Key
from support.deciding import CALL, question
from support.identity import AGENTS, POLICY, Forger, Proving, now, policy_of
from support.waits import until


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proving]:
    """A tenant whose policies ask who an agent is, shared by the tests of this file that freeze and revoke nothing of others."""
    root = tmp_path_factory.mktemp("identity")
    with Server(root / "server") as server:
        yield Proving(server, root / "policies")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Proving]:
    """A tenant of its own."""
    with Server(tmp_path / "server") as server:
        yield Proving(server, tmp_path / "policies")


def test_p14_a_token_allows_what_an_unproven_agent_may_not(desk: Proving) -> None:
    """The same call is denied without a token and allowed with one; the entry names the token's own entry, and keeps no token."""
    assert desk.code() == "no_clause"
    made = desk.issued()
    told = desk.asked(made["token"])
    assert (told["verdict"], told["reason"]["clause"]) == ("allow", "p/proven"), told
    entry = desk.entry(told["decision"]["index"])
    data = entry["event"]["data"]
    assert data["verified_by"]["index"] == made["index"] and data["agent"] == {"chain": ["payments-bot"], "id": "payments-bot", "run": "r-1"}
    issued = desk.entry(made["index"])
    assert issued["kind"] == "agent" and issued["event"]["op"] == "issue" and issued["event"]["by"]["key"], issued
    lines = [json.loads(line) for line in desk.server.as_("discloser").disclosures(told["decision"]["index"]).splitlines()]
    facts = next(value for _, name, value in lines if name == "/data/facts")
    assert facts["verified"] is True and facts["token"] == {"jti": made["jti"], "scope": ["payments"]}
    secret = made["token"].split(".")[2]
    assert not any(secret in json.dumps(each) for each in [entry, issued, lines])


def test_p14_tokens_verify_in_a_library_that_is_not_ours(desk: Proving) -> None:
    """PyJWT verifies a token with the tenant's key set, and finds the claims of RFC 7519 and RFC 8693."""
    parent = desk.issued("helpdesk-bot", scope=["payments", "mail"], region="eu", org="acme-gmbh", seconds=300, cnf={"jkt": "x" * 43})
    child = desk.issued("payments-bot", **{"for": parent["token"]})
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(desk.server.client(None).get("/jwks.json").json()).keys}
    issuer = f"{desk.server.url}/v1/tenants/acme"

    def read(token: str) -> dict[str, Any]:
        head = jwt.get_unverified_header(token)
        assert (head["typ"], head["alg"]) == ("agent+jwt", "EdDSA")
        return dict(jwt.decode(token, keys[head["kid"]], algorithms=["EdDSA"], issuer=issuer, options={"require": ["exp", "nbf", "iat", "jti", "sub"]}))

    claims = read(parent["token"])
    assert (claims["sub"], claims["tenant"], claims["scope"], claims["region"], claims["org"]) == ("helpdesk-bot", "acme", "mail payments", "eu", "acme-gmbh")
    assert claims["exp"] - claims["iat"] == 300 and "act" not in claims and claims["cnf"] == {"jkt": "x" * 43} and claims["jti"] == parent["jti"]
    claims = read(child["token"])
    assert claims["sub"] == "helpdesk-bot" and claims["act"] == {"sub": "payments-bot"} and claims["exp"] <= now() + 300
    assert (claims["scope"], claims["region"], claims["org"]) == ("payments", "eu", "acme-gmbh") and "cnf" not in claims
    changed = child["token"].split(".")
    changed[1] = parent["token"].split(".")[1]
    with pytest.raises(jwt.InvalidSignatureError):
        read(".".join(changed))


def test_p16_no_forged_token_counts(desk: Proving) -> None:
    """Each forgery is a denial with its code, recorded; one with the right key but without its entry is one too."""
    made = desk.issued()
    token, thief, stranger = made["token"], desk.forger(), Forger()
    head, payload, signature = token.split(".")
    raw = base64.urlsafe_b64decode(payload + "==")
    assert thief.sign(raw) == token, "the thief can write what the server writes"
    elsewhere = jwt.encode({"sub": "payments-bot"}, "x" * 40, algorithm="HS256")
    public = jwt.encode(json.loads(raw), thief.public, algorithm="HS256", headers={"kid": thief.kid, "typ": "agent+jwt"})
    forged = {
        "token_malformed": [
            "x", f"{head}.{payload}", f"{token}.x", f"{token}=", elsewhere, public, thief.sign(raw, alg="none"), thief.sign(raw, alg="HS256"),
            thief.sign(raw, typ="ovr+jwt"), thief.sign(raw, typ="JWT"), thief.sign(raw, typ=None), thief.sign(raw, jku="https://evil.example"),
            thief.sign(raw, kid="x"), jwt.encode(json.loads(raw), None, algorithm="none"), thief.claims(token, more=1), thief.claims(token, sub=...),
            thief.sign(b" " + raw), thief.sign(b"[]"), thief.sign(raw.replace(b'"sub"', b'"sub":"boss","sub"')),
        ],
        "token_unknown_key": [stranger.sign(raw)],
        "token_signature": [
            f"{head}.{payload}.{signature[:-4]}AAAA", f"{head}.{payload}.", stranger.sign(raw, kid=thief.kid),
            f"{head}.{base64.urlsafe_b64encode(raw.replace(b'payments-bot', b'helpdesk-bot')).rstrip(b'=').decode()}.{signature}",
        ],
        "token_issuer": [thief.claims(token, iss="https://other.example/v1/tenants/acme")],
        "token_tenant": [thief.claims(token, tenant="globex")],
        "token_expired": [thief.claims(token, iat=now() - 3700, nbf=now() - 3700, exp=now() - 100)],
        "token_not_yet_valid": [thief.claims(token, iat=now() + 600, nbf=now() + 600, exp=now() + 900), thief.claims(token, nbf=now() + 600)],
        # The key is right, and the log says something else: widened, for somebody else, longer, renamed, invented.
        "token_not_issued": [
            thief.claims(token, scope="mail payments"), thief.claims(token, sub="planner-bot"), thief.claims(token, exp=now() + 3000),
            thief.claims(token, region="eu"), thief.claims(token, act={"sub": "planner-bot"}), thief.claims(token, jti="1-0"),
            thief.claims(token, jti=f"1-{made['index'] + 10**6}"), thief.claims(token, jti=f"2-{made['index']}"), thief.claims(token, jti="1"),
            thief.claims(token, org="x"),
        ],
    }  # fmt: skip
    for code, texts in forged.items():
        for text in texts:
            told = desk.asked(text)
            assert (told["verdict"], told["reason"]["code"]) == ("deny", code), (text, told)
            assert "verified_by" not in desk.entry(told["decision"]["index"])["event"]["data"]
    act = thief.claims(token, act={"sub": "a", "act": {"sub": "b"}})
    for _ in range(20):
        act = thief.claims(act, act={"sub": "a", "act": jwt.decode(act, options={"verify_signature": False})["act"]})
    assert desk.code(act) == "token_malformed", "no deeper than 16"
    assert desk.asked(token)["verdict"] == "allow", "the good one still counts"


def test_p16_a_token_is_for_its_agent_scope_and_region(desk: Proving) -> None:
    """Another agent, another chain, a tool out of scope, and another region are denied before any clause."""
    token = desk.issued(region="eu")["token"]
    eu = {"context": {"region": "eu"}}
    assert desk.asked(token, **eu)["verdict"] == "allow"
    assert desk.code(token) == "token_region"
    assert desk.code(token, context={"region": "us"}) == "token_region"
    assert desk.code(token, agent={"id": "planner-bot"}, **eu) == "token_agent"
    assert desk.code(token, agent={"chain": ["helpdesk-bot", "payments-bot"]}, **eu) == "token_chain"
    assert desk.asked(token, agent={"chain": ["payments-bot"]}, **eu)["verdict"] == "allow"
    assert desk.code(token, tool={"name": "mail", "action": "send"}, **eu) == "token_scope"
    # The clause that allows everybody is not asked.
    mail = desk.issued("planner-bot", scope=["mail"])["token"]
    assert desk.code(mail, agent={"id": "planner-bot"}, tool={"name": "payments", "action": "lookup"}) == "token_scope"


def test_p13_a_token_that_is_too_long_is_refused(desk: Proving) -> None:
    """What is no text, or has more than 16 KiB, is no question."""
    for wrong in ("x" * (16 * 1024 + 1), "", 7, {"a": 1}):
        answer = desk.ask(question(agent={"id": "payments-bot", "token": wrong}))
        assert answer.status_code == 400 and "agent.token" in answer.json()["detail"], answer.text
    assert desk.code("x" * 16 * 1024) == "token_malformed"


def test_p16_a_child_is_never_wider_than_its_parent(desk: Proving) -> None:
    """Scope, life, region, organisation and depth are bounded by the token on which it rests; the chain is the verified one."""
    parent = desk.issued("helpdesk-bot", scope=["mail", "payments"], seconds=60, region="eu")
    rest = {"for": parent["token"]}
    narrow = desk.issued("planner-bot", scope=["mail"], **rest)
    assert narrow["chain"] == ["helpdesk-bot", "planner-bot"] and narrow["region"] == "eu"
    assert narrow["expires"] <= parent["expires"]
    mail = {"tool": {"name": "mail", "action": "send"}, "context": {"region": "eu"}}
    told = desk.asked(narrow["token"], agent={"id": "planner-bot"}, **mail)
    assert told["verdict"] == "allow", "chain: {verified: true, root: [helpdesk-bot]}"
    assert desk.entry(told["decision"]["index"])["event"]["data"]["agent"]["chain"] == ["helpdesk-bot", "planner-bot"]
    assert desk.code(agent={"id": "planner-bot", "chain": ["helpdesk-bot", "planner-bot"]}, **mail) == "no_clause", "a chain that is only claimed"
    for agent, over, why in (
        ("worker-1", {"scope": ["payments"], "for": narrow["token"]}, "wider"),
        ("worker-1", {"scope": ["mail"], "seconds": 3000, "for": narrow["token"]}, "longer"),
        ("worker-1", {"scope": ["mail"], "region": "us", "for": narrow["token"]}, "region"),
        ("helpdesk-bot", {"scope": ["mail"], "for": narrow["token"]}, "once"),
        ("worker-1", {"scope": ["mail"], "for": "x.y.z"}, "token_malformed"),
        ("worker-1", {"scope": ["mail"], "for": desk.forger().claims(narrow["token"], scope="mail payments")}, "token_not_issued"),
    ):
        refused = desk.issue(agent, **over)
        assert refused.status_code == 422 and refused.json()["code"] == "agent_token" and why in refused.json()["detail"], (agent, over, refused.text)
    chain, last = narrow["chain"], narrow["token"]
    for number in range(14):
        last = desk.issued(f"worker-{number}", scope=["mail"], **{"for": last})["token"]
        chain = [*chain, f"worker-{number}"]
    assert len(chain) == 16
    told = desk.asked(last, agent={"id": "worker-13"}, **mail)
    assert told["verdict"] == "allow" and desk.entry(told["decision"]["index"])["event"]["data"]["agent"]["chain"] == chain
    deep = desk.issue("worker-99", scope=["mail"], **{"for": last})
    assert deep.status_code == 422 and "16 agents" in deep.json()["detail"], deep.text


def test_p12_who_may_issue_what(desk: Proving) -> None:
    """A gateway issues tokens of the agents that agents.yaml gives it; an admin of every agent; nobody else of any."""
    second = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    assert desk.issue("other-bot", scope=["mail"]).status_code == 403
    assert desk.issue("other-bot", second, scope=["mail"]).status_code == 201
    assert desk.issue("payments-bot", second).status_code == 403
    assert desk.issue("other-bot", desk.server.admin, scope=["mail"]).status_code == 201
    for role in ("publisher", "auditor", "exporter", "discloser"):
        assert desk.issue(by=desk.server.as_(role)).status_code == 403, role
    for agent, over, status in (
        ("nobody", {}, 422), ("payments-bot", {"scope": ["mail"]}, 422), ("planner-bot", {"scope": ["nothing"]}, 422), ("payments-bot", {"scope": []}, 400),
        ("payments-bot", {"scope": ["payments", "payments"]}, 400), ("payments-bot", {"seconds": 3601}, 400), ("payments-bot", {"seconds": 0}, 400),
        ("payments-bot", {"more": 1}, 400), ("payments-bot", {"cnf": {"jkt": "short"}}, 400), ("payments-bot", {"cnf": {}}, 400), ("payments-bot", {"scope": None}, 400),
    ):  # fmt: skip
        answer = desk.issue(agent, desk.server.admin, **over)
        assert answer.status_code == status, (agent, over, answer.text)
    assert "exactly one member: jkt, or x5t#S256" in desk.issue("payments-bot", desk.server.admin, cnf={}).text
    # What a worker may, follows from the agent that spawns it.
    assert desk.issue("worker-77", scope=["mail"]).status_code == 201
    assert desk.issue("worker-77", second, scope=["mail"]).status_code == 403
    # A token counts at every gateway: it proves the agent, whoever passes it on.
    made = desk.issued()
    assert desk.asked(made["token"], second)["verdict"] == "allow"
    foreign = desk.server.client(Key(desk.server.add_tenant("globex")["key"]), "globex")
    for method, rest in (("POST", ""), ("GET", ""), ("POST", "/revoke"), ("POST", f"/{made['jti']}/revoke")):
        answer = foreign.http.request(method, f"/v1/tenants/acme/agents/payments-bot/tokens{rest}", json={"scope": ["payments"]})
        assert answer.status_code == 404, answer.text


def test_p14_a_revoked_token_proves_nothing(fresh: Proving) -> None:
    """One token, or all of an agent; what rests on a revoked one too; a killed server remembers; new tokens count."""
    desk = fresh
    parent = desk.issued("helpdesk-bot", scope=["mail", "payments"])
    child, other = desk.issued(**{"for": parent["token"]}), desk.issued()
    assert {desk.asked(token["token"])["verdict"] for token in (child, other)} == {"allow"}
    revoked = desk.revoke("helpdesk-bot", parent["jti"])
    assert revoked.status_code == 200, revoked.text
    entry = desk.entry(revoked.json()["index"])
    assert entry["kind"] == "agent" and entry["event"]["op"] == "revoke" and entry["event"]["by"]["key"] and entry["event"]["reason"]
    assert desk.code(child["token"]) == "token_revoked"
    assert desk.issue(**{"for": parent["token"]}).json()["detail"].count("token_revoked") == 1
    assert desk.asked(other["token"])["verdict"] == "allow"
    assert desk.revoke("payments-bot").status_code == 200
    assert desk.code(other["token"]) == "token_revoked"
    new = desk.issued()
    assert desk.asked(new["token"])["verdict"] == "allow"
    shown = {t["jti"]: t["revoked"] for t in desk.gateway.get("/agents/payments-bot/tokens").json()["tokens"]}
    assert shown == {child["jti"]: True, other["jti"]: True, new["jti"]: False}
    for agent, jti in (("helpdesk-bot", new["jti"]), ("payments-bot", "1-0"), ("payments-bot", "x"), ("payments-bot", "1-999999")):
        assert desk.revoke(agent, jti).status_code == 404, (agent, jti)
    desk.server.restart(kill=True)
    until("decisions go on", lambda: desk.ask(question()).status_code == 200)
    assert {desk.code(child["token"]), desk.code(other["token"])} == {"token_revoked"}
    assert desk.asked(new["token"])["verdict"] == "allow"
    desk.server.stop()
    assert desk.server.fsck().code == 0


def test_p14_no_gateway_takes_revocation_from_others(fresh: Proving) -> None:
    """A gateway's share is used up: it is told whom to ask, and other gateways and admins revoke as before."""
    desk = fresh
    other = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    stolen, again = desk.issued(), desk.issued()
    for _ in range(64):
        token = desk.issued("other-bot", other)
        revoked = desk.revoke("other-bot", token["jti"], other)
        assert revoked.status_code == 200, revoked.text
    assert desk.entry(revoked.json()["index"])["event"]["producer"] == "gw-2"
    for jti in (desk.issued("other-bot", other)["jti"], None):
        refused = desk.revoke("other-bot", jti, other)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict"), refused.text
        assert "an admin or a responder can still revoke" in refused.json()["detail"]
    assert desk.revoke("payments-bot", stolen["jti"], desk.gateway).status_code == 200, "another gateway"
    assert desk.code(stolen["token"]) == "token_revoked"
    revoked = desk.revoke("payments-bot")
    assert revoked.status_code == 200 and "producer" not in desk.entry(revoked.json()["index"])["event"], revoked.text
    assert desk.code(again["token"]) == "token_revoked"
    assert desk.revoke("other-bot").status_code == 200, "an admin, for the agent of that gateway"
    desk.server.stop()
    assert desk.server.fsck().code == 0


def test_p14_keys_are_replaced(fresh: Proving) -> None:
    """After one rotation old tokens verify still, after the second one not; the key set has both, the newest last."""
    desk = fresh
    old = desk.issued()
    kids = lambda: [key["kid"] for key in desk.server.client(None).get("/jwks.json").json()["keys"]]  # noqa: E731
    before = kids()
    for number in (1, 2):
        answer = desk.server.admin.http.post(f"{desk.server.admin.t}/keys/rotate", json={"use": "agent", "reason": "For the test."})
        assert answer.status_code == 200, answer.text
        new = desk.issued()
        assert jwt.get_unverified_header(new["token"])["kid"] == kids()[-1] not in before
        assert desk.asked(new["token"])["verdict"] == "allow"
        told = desk.asked(old["token"])
        assert told["verdict"] == ("allow" if number == 1 else "deny"), told
    assert desk.code(old["token"]) == "token_unknown_key"


def test_p16_an_expired_token_is_refused(desk: Proving) -> None:
    """A token that was good a moment ago expires by the second."""
    made = desk.issued(seconds=2)
    until("it has expired", lambda: now() >= jwt.decode(made["token"], options={"verify_signature": False})["exp"])
    assert desk.code(made["token"]) == "token_expired"


def test_p15_replay_says_what_it_believed(fresh: Proving, tmp_path: Path) -> None:
    """Verdicts by tokens are computed again from the log: which were presented, and why others were refused, is believed."""
    desk = fresh
    made = desk.issued()
    good, bad = desk.asked(made["token"]), desk.asked(desk.forger().claims(made["token"], scope="mail"))
    assert (good["verdict"], bad["reason"]["code"]) == ("allow", "token_not_issued")
    desk.revoke("payments-bot", made["jti"])
    gone = desk.asked(made["token"])
    assert gone["reason"]["code"] == "token_revoked"
    again = desk.replayed(desk.export(tmp_path / "export"))
    assert (again["different"], again["not_replayable"], again["same"], again["code"]) == ({}, {}, 3, 0), again
    assert any("presented" in text for text in again["believed"]) and any("refused" in text for text in again["believed"]), again


def test_p14_a_clause_freezes_a_proven_agent_everywhere(fresh: Proving) -> None:
    """What an unproven agent does stops it at its gateway; what a proven one does stops it at every gateway."""
    desk = fresh
    second = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    steal = {"params": CALL | {"reference": "steal"}}
    lookup = {"tool": {"name": "payments", "action": "lookup"}}
    assert desk.code(agent={"id": "helpdesk-bot"}, **steal) == "denied"
    assert desk.code(agent={"id": "helpdesk-bot"}, **lookup) == "frozen"
    assert desk.asked(gateway=second, agent={"id": "helpdesk-bot"}, **lookup)["verdict"] == "allow", "its id is a claim"
    token = desk.issued()["token"]
    assert desk.code(token, **steal) == "denied"
    assert desk.code(**lookup) == "frozen" and desk.code(gateway=second, **lookup) == "frozen"
    frozen = [(f["id"], f.get("producer")) for f in desk.server.admin.get("/freezes").json()["freezes"]]
    assert frozen == [("helpdesk-bot", "gw-1"), ("payments-bot", None)]
    # A frozen agent in the verified chain stops those that act for it.
    child = desk.issued("planner-bot", scope=["mail"], **{"for": desk.issued("helpdesk-bot", scope=["mail"])["token"]})
    assert desk.code(child["token"], agent={"id": "planner-bot"}, tool={"name": "mail", "action": "send"}) == "frozen"


#: A payment keeps the account that was looked up.
FOLLOWS = POLICY + """  - id: same-account
    tool: mail
    actions: [send]
    when: {parent: {tool: payments, actions: [lookup], unchanged: [/iban, /owner/name]}}
    then: allow
"""


def test_p15_p16_a_call_follows_a_decision(tmp_path: Path) -> None:
    """Params are compared with those of the parent; what is absent, erased, denied or no decision of the log is an error; replay knows."""
    with Server(tmp_path / "server") as server:
        desk = Proving(server, tmp_path / "policies", FOLLOWS)
        params = {"iban": "DE1", "owner": {"name": "Kim"}}
        mail = {"agent": {"id": "planner-bot", "chain": ["planner-bot"]}, "tool": {"name": "mail", "action": "send"}}
        before = desk.asked(tool={"name": "payments", "action": "lookup"}, params=params)
        at = {name: before["decision"][name] for name in ("index", "leaf_hash")}
        told = desk.asked(params=params | {"body": "x"}, parent=at, **mail)
        lines = desk.server.as_("discloser").disclosures(told["decision"]["index"])
        assert (told["verdict"], told["reason"].get("clause")) == ("allow", "p/same-account"), json.dumps(told) + lines
        assert desk.entry(told["decision"]["index"])["event"]["data"]["parent"] == at
        denied = desk.asked(params={"reference": "steal"}, tool={"name": "payments", "action": "lookup"}, agent={"id": "other-bot"})
        of_denied = {name: denied["decision"][name] for name in ("index", "leaf_hash")}
        other = desk.asked(tool={"name": "payments", "action": "lookup"}, params={"iban": "DE1"})
        of_other = {name: other["decision"][name] for name in ("index", "leaf_hash")}
        for over, code in (
            ({"params": params | {"iban": "DE2"}, "parent": at}, "no_clause"),
            ({"params": params}, "condition_error"),
            ({"params": {"iban": "DE1"}, "parent": at}, "condition_error"),
            ({"params": params, "parent": of_other}, "condition_error"),
            ({"params": params, "parent": of_denied}, "condition_error"),
            ({"params": params, "parent": at | {"index": at["index"] + 1}}, "parent_unknown"),
            ({"params": params, "parent": at | {"index": 10**9}}, "parent_unknown"),
            ({"params": params, "parent": at | {"leaf_hash": of_other["leaf_hash"]}}, "parent_unknown"),
        ):
            assert desk.code(**over, **mail) == code, (over, code)
        for wrong in (7, {}, {"index": 1}, at | {"more": 1}, at | {"index": "1"}):
            answer = desk.ask(question(parent=wrong, **mail))
            assert answer.status_code == 400 and "parent" in answer.json()["detail"], answer.text
        assert desk.server.admin.erase(at["index"], "params")["status"] == "complete"
        assert desk.code(params=params, parent=at, **mail) == "condition_error"
        again = desk.replayed(desk.export(tmp_path / "export"))
        assert again["different"] == {} and again["code"] == 0, again
        assert list(again["not_replayable"]) == [str(at["index"])], again
        assert any("parent" in text for text in again["believed"]), again


def test_the_files_are_checked(desk: Proving, tmp_path: Path) -> None:
    """Mistakes in `parent`, `gateways` and a scope are told with what to write."""
    wrong = POLICY + "  - {id: w, tool: mail, actions: [send], then: allow, when: {parent: {tool: nothing, unchanged: [iban, /a/*]}}}\n"
    folder = policy_of(tmp_path / "wrong", wrong, AGENTS.replace("gateways: [gw-2]", 'gateways: ["GW 2"]'))
    answer = desk.propose(folder)
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    for part in ("no JSON Pointer", "without `*`", "no name of a producer"):
        assert part in detail, detail
