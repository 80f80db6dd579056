"""`proto/examples/gateway.py`, which authors of gateways copy: against a real server with people who answer, and against a
stand-in that answers by a script, for the faults that can't be had at will."""

from __future__ import annotations

import hashlib
import json
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
import rfc8785
from support import Client, Server, until
from support.fakecountersign import BUSY, GONE, problem
from support.gateway_example import CALL, EXECUTED, finish, scripted, start  # noqa: F401, F811


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
