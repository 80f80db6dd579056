"""`proto/examples/gateway.py`, which authors of gateways copy: against a real server with people who answer, and against a
stand-in that answers by a script, for the faults that can't be had at will."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import rfc8785
from support import Client, Finished, FlakyFront, Server, until
from support.answers import DENIED, LARGE, SMALL, Answers
from support.fakecountersign import BUSY, GONE, KEY, Answer, FakeCountersign, problem

GATEWAY = Path(__file__).parent.parent / "proto/examples/gateway.py"
CALL = {
    "agent": "agt-payments", "run": "run-1", "tool": "bank", "action": "transfer",
    "params": {"amount": 125_000, "currency": "EUR", "iban": "DE89370400440532013000", "note": "für \"Kim\"\n"},
}  # fmt: skip
EXECUTED = {name: CALL[name] for name in ("tool", "action", "params")}


def start(url: str, folder: Path, *args: object, key: str = KEY, call: dict[str, Any] = CALL) -> subprocess.Popen[bytes]:
    """Starts the example on a call."""
    (folder / "key").write_text(key + "\n")
    (folder / "call.json").write_text(json.dumps(call))
    command = [sys.executable, "-I", GATEWAY, "--url", url, "--producer", "gw-1", "--key-file", folder / "key", *args, folder / "call.json"]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> Finished:
    """Waits for it to end."""
    out, err = process.communicate(timeout=90)
    return Finished(process.returncode, out.decode(), err.decode())


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., tuple[FakeCountersign, Finished]]:
    """Runs the example against a script. `decide`: options with which it asks for the verdict; `told`: members of that."""

    def scripted(
        *phases: str, wait: float = 20, decide: tuple[object, ...] | None = None, told: dict[str, Any] | None = None, **faults: list[Answer]
    ) -> tuple[FakeCountersign, Finished]:
        script = FakeCountersign(list(phases), faults, told)
        try:
            return script, finish(start(script.url, tmp_path, "--wait", wait, *(() if decide is None else ("--decide", *decide))))
        finally:
            script.close()

    return scripted


def test_p7_the_whole_way(scripted: Callable[..., Any]) -> None:
    """Asks, waits, and does what the server returned. Its digest is RFC 8785's, by a library that is not ours."""
    script, done = scripted("pending", "pending", "granted")
    assert done.code == 0, done.err
    assert done.json() == EXECUTED
    assert [route for route, _ in script.asked] == ["approvals", "state", "state", "state", "token", "redeem", "execution"]
    (event,), (spend,) = script.bodies("approvals"), script.bodies("redeem")
    assert event and spend
    call = {"v": 1, "nonce": event["data"]["payload"]["nonce"], "tenant": "acme", **CALL}
    digest = hashlib.sha256(b"countersign-call-v1\0" + rfc8785.dumps(call)).digest()
    assert event["data"]["call"]["digest"] == urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert spend["call"] == {"nonce": call["nonce"], **CALL} and spend["token"] == "a.b.c"
    assert script.bodies("execution") == [{"outcome": "succeeded"}]


@pytest.mark.parametrize("phase", ["denied", "expired", "cancelled", "superseded", "revoked", "lapsed", "unheard_of"])
def test_p9_nothing_else_is_a_yes(scripted: Callable[..., Any], phase: str) -> None:
    """Only a grant is one."""
    script, done = scripted("pending", phase)
    assert (done.code, done.out) == (1, "") and phase in done.err
    assert not script.bodies("token") and not script.bodies("redeem")


def test_p9_silence_is_not_a_yes(scripted: Callable[..., Any]) -> None:
    """When its own patience ends, it cancels and executes nothing."""
    script, done = scripted("pending", wait=0.2)
    assert (done.code, done.out) == (1, "")
    assert script.bodies("cancel") == [{"reason": "gave_up"}] and not script.bodies("token")
    assert "cancelled (gave_up)" in done.err and "pending" not in done.err, "how it ended, not how it was"


def test_p8_every_step_is_repeated_as_it_was(scripted: Callable[..., Any]) -> None:
    """503 and lost answers: the same event, the same redemption id."""
    routes = ("approvals", "state", "token", "redeem", "execution")
    script, done = scripted("granted", **{route: [BUSY, GONE] for route in routes})
    assert done.code == 0, done.err
    for route in routes:
        bodies = script.bodies(route)
        assert len(bodies) == 3 and bodies.count(bodies[0]) == 3, route


def test_p8_an_expired_token_is_minted_anew(scripted: Callable[..., Any]) -> None:
    """With the same redemption id; and not for ever."""
    expired = problem(403, "token_expired")
    script, done = scripted("granted", redeem=[expired])
    assert done.code == 0 and done.json() == EXECUTED
    assert len(script.bodies("token")) == 2 and script.bodies("redeem")[0] == script.bodies("redeem")[1]
    script, done = scripted("granted", redeem=[expired] * 5)
    assert (done.code, done.out) == (1, "") and len(script.bodies("token")) == 3


@pytest.mark.parametrize(
    ("route", "code"),
    [("approvals", "not_opened"), ("state", "not_found"), ("token", "too_many_mints"), ("redeem", "digest_mismatch"), ("redeem", "already_redeemed")],
)
def test_p9_a_refusal_ends_it(scripted: Callable[..., Any], route: str, code: str) -> None:
    """Whatever is refused, and wherever: nothing is executed, and the code is shown."""
    script, done = scripted("granted", **{route: [problem(409, code)]})
    assert (done.code, done.out) == (1, "") and code in done.err
    assert not script.bodies("execution")


def test_a_lost_report_does_not_hide_the_execution(scripted: Callable[..., Any]) -> None:
    """It was executed, and says so."""
    _, done = scripted("granted", execution=[problem(409, "already_reported")])
    assert done.code == 0 and done.json() == EXECUTED and "report" in done.err


def test_p9_an_unreachable_server_is_not_a_yes(scripted: Callable[..., Any]) -> None:
    """After 30 s it gives up: status 69, nothing executed."""
    script, done = scripted("granted", redeem=[BUSY] * 60)
    assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    assert 5 <= len(script.bodies("redeem")) <= 31


# It asks for the verdict.

ALLOWED = ["decisions", "events"]
APPROVED = ["decisions", "state", "token", "redeem", "execution"]


def test_an_allowed_call_is_executed_and_reported(scripted: Callable[..., Any]) -> None:
    """Nobody is asked; the report names the decision."""
    script, done = scripted(decide=())
    assert done.code == 0 and done.json() == EXECUTED, done.err
    assert script.routes == ALLOWED
    (asked,), (event,) = script.bodies("decisions"), script.bodies("events")
    assert asked["agent"] == {"id": CALL["agent"], "run": CALL["run"]} and asked["params"] == CALL["params"]
    told = script.verdict(asked)
    assert event["type"] == "dev.countersign.execution.v1"
    assert event["data"] == {"decision": told["decision"], "outcome": "succeeded"}


def test_a_verdict_that_needs_people_goes_on_as_before(scripted: Callable[..., Any]) -> None:
    """The approval is the one that the verdict opened; the frozen call is executed."""
    script, done = scripted("pending", "granted", decide=(), told={"verdict": "approval_needed"})
    assert done.code == 0 and done.json() == EXECUTED, done.err
    assert script.routes == ["decisions", "state", "state", "token", "redeem", "execution"]
    (asked,), (spend,) = script.bodies("decisions"), script.bodies("redeem")
    assert spend["call"] == {"nonce": asked["nonce"], **CALL}
    assert "asked: apr-1" in done.err


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"verdict": "deny", "reason": {"code": "no_clause", "message": "Not this one."}}, "deny: no_clause Not this one."),
        ({"verdict": "sanitize"}, "sanitize"),
        ({"verdict": "permit"}, "permit"),
        ({"verdict": None}, "None"),
        ({"enforced": False}, "not_understood"),
        ({"enforced": "true"}, "not_understood"),
        ({"call": {"digest": "daHInlbkNmfOsploZOOJj4dRqKv08fmS6ouQxznXZa4"}}, "not_understood"),
        ({"call": None}, "not understood"),
        ({"valid_for": 0}, "counts no longer"),
        ({"valid_for": None}, "not understood"),
        ({"decision": {}}, "not understood"),
        ({"obligations": {"retain_days": 30, "no_training": True}}, "no_training"),
        ({"obligations": 1}, "not understood"),
    ],
)
def test_p9_no_other_verdict_is_a_yes(scripted: Callable[..., Any], told: dict[str, Any], says: str) -> None:
    """Whatever is not an enforced allow of this call, with obligations that we keep, and in time."""
    script, done = scripted(decide=("--acknowledge", "retain_days"), told=told)
    assert (done.code, done.out) == (1, "") and says in done.err, done.err
    assert script.routes == ["decisions"]


def test_obligations_that_we_keep(scripted: Callable[..., Any]) -> None:
    """Each by its name."""
    options = ("--acknowledge", "retain_days", "--acknowledge", "no_training")
    script, done = scripted(decide=options, told={"obligations": {"retain_days": 30, "no_training": True}})
    assert done.code == 0 and script.routes == ALLOWED, done.err


def test_p9_nobody_is_asked_in_vain(scripted: Callable[..., Any]) -> None:
    """If people could say yes, but we do not know an obligation, we cancel at once."""
    script, done = scripted(decide=(), told={"verdict": "approval_needed", "obligations": {"retain_days": 30}})
    assert (done.code, done.out) == (1, "") and "retain_days" in done.err
    assert script.routes == ["decisions", "cancel"]


@pytest.mark.parametrize("state", ["not_opened", "denied", "lapsed"])
def test_p9_an_approval_that_is_over_is_not_a_yes(scripted: Callable[..., Any], state: str) -> None:
    """Also if the question was asked before."""
    told = {"verdict": "approval_needed", "approval": {"id": "apr-1", "state": state, "reason": "no_rule"}}
    script, done = scripted(state, decide=(), told=told)
    assert (done.code, done.out) == (1, "") and state in done.err
    assert "token" not in script.routes


def test_an_approval_that_opens_later(scripted: Callable[..., Any]) -> None:
    """The same question shows how it is."""
    told = {"verdict": "approval_needed", "enforced": True, "approval": {"id": "apr-1", "state": "opening"}}
    script, done = scripted("granted", decide=(), decisions=[(200, told)] * 2, told={"verdict": "approval_needed"})
    assert done.code == 0, done.err
    assert script.routes == ["decisions", "decisions", *APPROVED]
    bodies = script.bodies("decisions")
    assert bodies.count(bodies[0]) == 3


def test_p9_policies_that_only_observe_permit_nothing(scripted: Callable[..., Any]) -> None:
    """The gateway decides as before, and says so: here it asks people itself, about a decision of its own."""
    script, done = scripted("denied", decide=(), told={"enforced": None})
    assert (done.code, done.out) == (1, "") and "only observed" in done.err
    assert script.routes == ["decisions", "approvals", "state"]
    script, done = scripted("granted", decide=(), told={"enforced": None, "verdict": "deny"})
    assert done.code == 0 and done.json() == EXECUTED
    assert script.routes == ["decisions", "approvals", "state", "token", "redeem", "execution"]


def test_p14_a_question_is_repeated_as_it_was(scripted: Callable[..., Any]) -> None:
    """So is the report."""
    script, done = scripted(decide=(), decisions=[BUSY, GONE], events=[GONE, BUSY])
    assert done.code == 0, done.err
    for route in ALLOWED:
        bodies = script.bodies(route)
        assert len(bodies) == 3 and bodies.count(bodies[0]) == 3, route


def test_p9_a_stale_verdict_is_asked_for_anew(scripted: Callable[..., Any]) -> None:
    """As another question."""
    script, done = scripted(decide=(), decisions=[problem(409, "decision_stale")])
    assert done.code == 0 and done.json() == EXECUTED, done.err
    first, second = script.bodies("decisions")
    assert first["id"] != second["id"] and first["nonce"] != second["nonce"] and first["params"] == second["params"]


@pytest.mark.parametrize("status", [(409, "conflict"), (400, "bad_request"), (403, "role_missing"), (302, "http_302"), (409, "unheard_of")])
def test_p9_a_question_that_is_refused(scripted: Callable[..., Any], status: tuple[int, str]) -> None:
    """It stops; a redirect is followed nowhere."""
    script, done = scripted(decide=(), decisions=[problem(*status) if status[0] > 399 else (302, [])])
    assert (done.code, done.out) == (1, "") and status[1] in done.err
    assert script.routes == ["decisions"]


def test_p9_no_answer_in_time_is_not_a_yes(scripted: Callable[..., Any]) -> None:
    """The same question until our own deadline; then nothing."""
    script, done = scripted(decide=("--answer-within", 3), decisions=[BUSY] * 60)
    assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    bodies = script.bodies("decisions")
    assert 2 <= len(bodies) <= 4 and bodies.count(bodies[0]) == len(bodies)


def test_an_executed_call_stays_executed(scripted: Callable[..., Any]) -> None:
    """A report that is refused is said."""
    rejected = {"results": [{"status": "rejected", "reason": "data"}]}
    for answer in ((200, rejected), problem(409, "conflict"), (200, {})):
        _, done = scripted(decide=(), events=[answer])
        assert done.code == 0 and done.json() == EXECUTED and "report was not taken" in done.err


RULES = """
[[rule]]
name = "transfers"
quorum = {at_least = 1, of = "finance"}
owner = "none"
"""
PEOPLE = """
[[person]]
id = "p-1"
name = "Ana Lima"
groups = ["finance"]

[[person]]
id = "p-2"
name = "Bob Ito"
groups = ["finance"]
"""


class Desk:
    """A real server, a gateway's key, and a person who is asked."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.key = server.add_key(["publisher", "enforcer"], "gw-1")
        self.gateway = server.client(self.key)
        self.person = server.client(server.add_key(["reviewer"], person="p-1"))
        self.url = server.url + self.gateway.t

    def start(self, *args: object) -> subprocess.Popen[bytes]:
        return start(self.url, self.folder, *args, key=self.key.text)

    def asked(self) -> dict[str, Any]:
        """The one approval that waits for the person."""
        return until("an approval", lambda: self.person.get("/approvals", state="pending").json()["approvals"])[0]

    def answer(self, decision: str) -> str:
        """The person answers; the approval's id."""
        approval = self.asked()
        body = {"decision": decision, "digest": approval["call"]["digest"], "version": approval["version"]}
        done = self.person.http.post(f"{self.person.t}/approvals/{approval['id']}/reviews", json=body)
        assert done.status_code == 200, done.text
        return approval["id"]

    def state(self, approval: str) -> dict[str, Any]:
        return self.gateway.get(f"/approvals/{approval}").json()


@pytest.fixture
def desk(make_server: Callable[..., Server], tmp_path: Path) -> Desk:
    """A server with one rule and two people, of whom one answers."""
    files = tmp_path / "approvals" / "acme"
    files.mkdir(parents=True)
    (files / "rules.toml").write_text(RULES)
    (files / "people.toml").write_text(PEOPLE)
    server = make_server(sections={"approvals": {"dir": files.parent}})
    server.remote("rules apply", "--config", server.config, "--tenant", "acme").ok()
    return Desk(server, tmp_path)


def post(client: Client, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    answer = client.http.post(client.t + path, json=body)
    return answer.status_code, answer.json()


def test_p7_approved_executed_reported(desk: Desk) -> None:
    """The whole way, once; and every step of it is in the log."""
    gateway = desk.start()
    approval = desk.answer("approve")
    done = finish(gateway)
    assert done.code == 0, done.err
    assert done.json() == EXECUTED
    state = desk.state(approval)
    assert (state["state"], state["report"]) == ("completed", "succeeded")
    entries = desk.server.admin.entries(kind="approval")
    events = [event["type"] for entry in entries for event in entry["event"]["events"]]
    assert events == ["requested", "reviewed", "granted", "token_minted", "redeemed", "execution_reported"]


@pytest.mark.parametrize("how", ["deny", "cancel", "patience"])
def test_p9_not_approved_not_executed(desk: Desk, how: str) -> None:
    """Refused by a person, cancelled by an admin, or nobody answered in time."""
    gateway = desk.start("--wait", 1 if how == "patience" else 60)
    if how == "deny":
        approval = desk.answer("deny")
    else:
        approval = desk.asked()["id"]
    if how == "cancel":
        assert post(desk.server.admin, f"/approvals/{approval}/cancel", {"reason": "not_today"})[0] == 200
    done = finish(gateway)
    assert (done.code, done.out) == (1, ""), done.err
    assert desk.state(approval)["state"] == ("denied" if how == "deny" else "cancelled")
    assert "token_minted" not in str(desk.server.admin.entries(kind="approval"))


def test_p8_a_server_that_dies_meanwhile(desk: Desk) -> None:
    """Killed while the gateway waits, and again after the grant: the gateway goes on as soon as it is back."""
    gateway = desk.start()
    desk.asked()
    desk.server.restart(kill=True)
    desk.answer("approve")
    desk.server.restart(kill=True)
    done = finish(gateway)
    assert done.code == 0 and done.json() == EXECUTED, done.err
    redeemed = [e for entry in desk.server.admin.entries(kind="approval") for e in entry["event"]["events"] if e["type"] == "redeemed"]
    assert len(redeemed) == 1


def opened(desk: Desk) -> tuple[str, dict[str, Any]]:
    """An approved call, by hand; its id and the call as it is redeemed."""
    gateway = desk.start("--wait", 60)
    waiting = desk.asked()
    gateway.kill()
    gateway.communicate()
    frozen = desk.state(waiting["id"])["frozen"]
    desk.answer("approve")
    return waiting["id"], {name: frozen[name] for name in ("nonce", *CALL)}


def test_p7_p8_tokens_of_a_server(desk: Desk) -> None:
    """The same text while it lives, by anybody's library; one redemption; no other call, enforcer, text or digest."""
    approval, call = opened(desk)
    status, minted = post(desk.gateway, f"/approvals/{approval}/token")
    assert status == 200, minted
    token = minted["token"]
    assert post(desk.gateway, f"/approvals/{approval}/token")[1]["token"] == token
    keys = jwt.PyJWKSet.from_dict(desk.server.client(None).get("/jwks.json").json())
    header = jwt.get_unverified_header(token)
    issuer = f"https://log.example.com{desk.gateway.t}"
    claims = jwt.decode(token, keys[header["kid"]], algorithms=["EdDSA"], issuer=issuer, audience="gw-1")
    digest = desk.state(approval)["call"]["digest"]
    assert (claims["exp"], claims["jti"]) == (minted["exp"], minted["jti"])
    assert claims["call"] == {"tool": "bank/transfer", "dig": digest, "alg": "countersign-call-v1"}
    granted = desk.server.admin.entries(kind="approval")[1]
    assert [event["type"] for event in granted["event"]["events"]] == ["reviewed", "granted"]
    assert claims["apr"] == {
        "id": approval, "seq": granted["journal"]["seq"], "rule": desk.state(approval)["rule"]["digest"], "by": ["p-1"],
    }  # fmt: skip

    def redeem(client: Client, **change: Any) -> tuple[int, str | None]:
        body = {"token": token, "redemption_id": "r-1", "call": call} | change
        status, answer = post(client, "/tokens/redeem", body)
        return status, answer.get("code")

    other = desk.server.client(desk.server.add_key(["enforcer"], "gw-2"))
    assert redeem(desk.gateway, call=call | {"params": call["params"] | {"amount": 1}}) == (409, "digest_mismatch")
    assert redeem(desk.gateway, call=digest)[0] == redeem(desk.gateway, call={"dig": digest})[0] == 400
    assert redeem(desk.gateway, token=digest) == (403, "token_malformed")
    assert redeem(other) == (403, "token_audience")
    head, payload, signature = token.split(".")
    changed = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert redeem(desk.gateway, token=f"{head}.{payload}.{changed}") == (403, "token_signature")
    # A token that was signed just before a rotation is still good; after two, its key is gone.
    desk.server.admin.rotate("token")
    assert post(desk.gateway, f"/approvals/{approval}/token")[1]["token"] == token
    assert redeem(desk.gateway) == (200, None)
    assert redeem(desk.gateway) == (200, None)
    assert redeem(desk.gateway, redemption_id="r-2") == (409, "already_redeemed")
    assert redeem(desk.gateway, call=call | {"params": None}) == (409, "digest_mismatch")
    desk.server.admin.rotate("token")
    assert redeem(desk.gateway, redemption_id="r-3") == (403, "token_unknown_key")


def test_p8_a_retry_may_come_after_the_end(desk: Desk) -> None:
    """Whoever does not know what became of a redemption may ask again after `exp`; and only they."""
    rules = desk.folder / "approvals/acme/rules.toml"
    rules.write_text(rules.read_text() + 'token_life = "10s"\n')
    desk.server.remote("rules apply", "--config", desk.server.config, "--tenant", "acme").ok()
    approval, call = opened(desk)
    minted = post(desk.gateway, f"/approvals/{approval}/token")[1]
    body = {"token": minted["token"], "redemption_id": "r-1", "call": call}
    assert post(desk.gateway, "/tokens/redeem", body)[0] == 200

    def expired() -> bool:
        return post(desk.gateway, "/tokens/redeem", body | {"redemption_id": "r-2"})[1]["code"] == "token_expired"

    until("exp", expired)
    assert post(desk.gateway, "/tokens/redeem", body)[0] == 200
    changed = body | {"call": call | {"params": {}}}
    status, answer = post(desk.gateway, "/tokens/redeem", changed)
    assert (status, answer["code"]) == (409, "digest_mismatch")


# It asks a real server for the verdict.


def payment(params: dict[str, Any], **over: Any) -> dict[str, Any]:
    """A call of the agent that the policies know."""
    return {"agent": "payments-bot", "run": None, "tool": "payments", "action": "transfer", "params": params} | over


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    """A tenant whose policies give every answer."""
    answers = Answers(tmp_path)
    with answers.server:
        yield answers


@pytest.fixture
def asks(answers: Answers, tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the example on a call, so that it asks for the verdict."""

    def asks(call: dict[str, Any], *args: object, url: str = "") -> subprocess.Popen[bytes]:
        return start(url or answers.url, tmp_path, "--decide", *args, key=answers.key.text, call=call)

    return asks


def shown(call: dict[str, Any]) -> dict[str, Any]:
    """What the example prints when it executes a call."""
    return {name: call[name] for name in EXECUTED}


def test_p14_an_allowed_call_is_in_the_log_with_its_execution(answers: Answers, asks: Callable[..., Any]) -> None:
    """Decided, executed, reported; the report names the decision."""
    done = finish(asks(payment(SMALL)))
    assert done.code == 0 and done.json() == shown(payment(SMALL)), done.err
    (decision,), (execution,) = answers.decisions(), answers.executions()
    assert decision["event"]["data"]["verdict"] == "allow"
    named = answers.server.admin.entry(execution["decision"]["index"])
    assert named == decision
    assert answers.export(answers.server.root / "export")
    assert answers.replayed(answers.server.root / "export")["same"] == 1


def test_p16_a_denied_call_is_not_executed(answers: Answers, asks: Callable[..., Any]) -> None:
    """It says why."""
    done = finish(asks(payment(DENIED)))
    assert (done.code, done.out) == (1, "") and "deny: no_clause" in done.err
    assert not answers.executions()


@pytest.mark.parametrize("how", ["approve", "deny", "nobody"])
def test_p9_people_decide_what_the_policies_leave_to_them(answers: Answers, asks: Callable[..., Any], how: str) -> None:
    """Approved meanwhile, denied meanwhile, nobody in time."""
    gateway = asks(payment(LARGE), "--wait", 1 if how == "nobody" else 60)
    id = answers.pending()["id"]
    if how != "nobody":
        assert answers.review(id, "p-bob", how).status_code == 200
    done = finish(gateway)
    state = answers.approval(id)["state"]
    if how == "approve":
        assert done.code == 0 and done.json() == shown(payment(LARGE)) and state == "completed", done.err
    else:
        assert (done.code, done.out) == (1, "") and state == ("denied" if how == "deny" else "cancelled"), done.err


def test_p9_obligations_of_a_real_verdict(answers: Answers, asks: Callable[..., Any]) -> None:
    """Known ones, unknown ones, and unknown ones where people would be asked."""
    write, drop = payment({"name": "a"}, tool="archive", action="write"), payment({"name": "a"}, tool="archive", action="drop")
    done = finish(asks(write))
    assert (done.code, done.out) == (1, "") and "retain_days" in done.err
    assert finish(asks(write, "--acknowledge", "retain_days")).code == 0
    done = finish(asks(drop))
    assert (done.code, done.out) == (1, "") and "retain_days" in done.err
    recent = answers.server.admin.get("/approvals", state="recent").json()["approvals"]
    assert ("cancelled", "obligation_unknown") in [(approval["state"], approval["end_reason"]) for approval in recent]
    assert len(answers.executions()) == 1


def test_p14_an_answer_that_is_lost_is_asked_for_again(answers: Answers, asks: Callable[..., Any]) -> None:
    """One decision, one execution."""
    with FlakyFront(answers.server.url) as front:
        front.fail = ["cut", "reset", 503]
        done = finish(asks(payment(SMALL), url=front.url + f"/v1/tenants/{answers.tenant}"))
        assert done.code == 0 and done.json() == shown(payment(SMALL)), done.err
        assert front.seen == 5
    assert len(answers.decisions()) == len(answers.executions()) == 1


def test_p9_a_server_that_stops_after_it_decided(answers: Answers, asks: Callable[..., Any]) -> None:
    """The allow is recorded and its answer is lost: nothing is executed."""
    with FlakyFront(answers.server.url) as front:
        front.fail = ["cut", *["reset"] * 60]
        done = finish(asks(payment(SMALL), "--answer-within", 2, url=front.url + f"/v1/tenants/{answers.tenant}"))
        assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    assert [entry["event"]["data"]["verdict"] for entry in answers.decisions()] == ["allow"]
    assert not answers.executions()


def test_p9_a_server_that_stops_while_people_are_asked(answers: Answers, asks: Callable[..., Any]) -> None:
    """It gives up; and if the server comes back in time, it goes on."""
    gateway = asks(payment(LARGE), "--answer-within", 2)
    id = answers.pending()["id"]
    answers.server.kill9()
    done = finish(gateway)
    assert (done.code, done.out) == (69, "") and "unavailable" in done.err
    answers.server.start()
    gateway = asks(payment(LARGE | {"amount": 200_001}))
    until("another one", lambda: len(answers.reviewer("p-bob").get("/approvals", state="pending").json()["approvals"]) == 2)
    answers.server.restart(kill=True)
    other = next(a["id"] for a in answers.reviewer("p-bob").get("/approvals", state="pending").json()["approvals"] if a["id"] != id)
    assert answers.review(other, "p-bob").status_code == 200
    done = finish(gateway)
    assert done.code == 0 and done.json()["params"]["amount"] == 200_001, done.err
    assert answers.approval(id)["state"] == "pending"


def test_p9_a_tenant_that_only_observes(tmp_path: Path) -> None:
    """Its verdict is recorded; the gateway asks people as before."""
    answers = Answers(tmp_path, only_observes=True)
    with answers.server:
        gateway = start(answers.url, tmp_path, "--decide", key=answers.key.text, call=payment(SMALL))
        id = answers.pending()["id"]
        assert answers.review(id, "p-bob").status_code == 200
        done = finish(gateway)
        assert done.code == 0 and done.json() == shown(payment(SMALL)) and "only observed (deny)" in done.err, done.err
        modes = [entry["event"]["data"].get("mode") for entry in answers.decisions()]
        assert modes == ["shadow", None]
