"""Tokens that must not be spent, over HTTP: forged, changed, replayed, too late, for another call. Nothing changes by them; only
what comes with a good token and is no redemption is recorded, at most twenty times (P7, P8, L8, L12)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import Server
from support.house import House, Paused, code, seen

VECTORS = json.loads((Path(__file__).parents[2] / "proto/vectors/override-token.json").read_text())
RULES = """
[[rule]]
name = "one of finance"
quorum = {at_least = 1, of = "finance"}
owner = "none"
"""
PEOPLE = [{"id": f"p-{name}", "name": name, "groups": ["finance"]} for name in ("ana", "bob")]
#: Refused before whose token it is can be known: the same for the tokens of the vectors, whose keys are not this tenant's.
BY_FORM = {"token_too_big", "token_malformed", "token_header"}
BODY_BYTES_MAX = (256 + 32) * 1024


def b64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    texts = token.split(".")[:2]
    header, claims = (json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) for text in texts)
    return header, claims


class Signer:
    """Whoever stole the tenant's token key: what is refused although it is signed."""

    def __init__(self, server: Server) -> None:
        text = (server.keys_dir / server.tenant / "token-1.key").read_text().strip()
        seed = base64.b64decode(text.split("+", 4)[4])[1:]
        self.key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, header: bytes, payload: bytes, key: Ed25519PrivateKey | None = None) -> str:
        """A compact JWS of exactly these bytes."""
        signed = f"{b64url(header)}.{b64url(payload)}"
        return f"{signed}.{b64url((key or self.key).sign(signed.encode()))}"

    def again(self, token: str, header: bytes | None = None, **claims: Any) -> str:
        """The same token with other claims (`...` removes one), or another header."""
        head, payload = parts(token)
        changed = {name: value for name, value in (payload | claims).items() if value is not ...}
        return self.sign(header or text(head), rfc8785.dumps(changed))


def text(header: dict[str, Any]) -> bytes:
    """A header's bytes, in this order."""
    return json.dumps(header, separators=(",", ":")).encode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house; judged at the end."""
    house = House.ready(tmp_path_factory.mktemp("tokens"), RULES, PEOPLE)
    try:
        house.gateway()
        yield house
        house.close()
    finally:
        house.server.__exit__()


@pytest.fixture(scope="module")
def signer(house: House) -> Signer:
    """The tenant's token key."""
    return Signer(house.server)


@pytest.fixture
def minted(house: House) -> Iterator[tuple[Paused, str]]:
    """An approved call and its token. After the test no entry is there that was not before, and the token is still good: once."""
    approval = house.grant("p-ana")
    token = house.mint(approval)
    house.gateway("gw-2")
    size, messages = house.server.admin.size(), house.messages(approval)
    yield approval, token
    assert house.server.admin.size() == size and house.messages(approval) == messages, "something was recorded"
    assert house.redeem(approval, token).status_code == 200
    assert house.count(approval)["redeemed"] == 1


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_p8_tokens_of_the_vectors(house: House, case: dict[str, Any]) -> None:
    """Good and bad ones: of other keys all of them, so none is good here."""
    approval = house.new()
    before = house.server.admin.size()
    why = case["error"] if case["error"] in BY_FORM else "token_unknown_key"
    assert code(house.redeem(approval, case["token"])) == (403, why)
    assert house.server.admin.size() == before


def test_p8_the_header_is_compared_byte_for_byte(house: House, signer: Signer, minted: tuple[Paused, str]) -> None:
    """Also where the signature is ours."""
    approval, token = minted
    head, _ = parts(token)
    assert signer.again(token) == token, "this is how ours are made"
    kid = head["kid"]
    headers = [
        text({"typ": "ovr+jwt", "kid": kid, "alg": "EdDSA"}), text({"kid": kid, "alg": "EdDSA", "typ": "ovr+jwt"}),
        text(head | {"alg": "none"}), text(head | {"alg": "HS256"}), text(head | {"alg": "Ed25519"}), text(head | {"typ": "JWT"}),
        text(head | {"crit": ["exp"]}), text(head | {"jku": "https://evil.example/jwks"}), text({"alg": "EdDSA", "typ": "ovr+jwt"}),
        text(head | {"kid": kid + "="}), text(head | {"kid": ""}), json.dumps(head).encode(), text(head) + b"\n", b"{}", b"",
    ]  # fmt: skip
    for header in headers:
        assert code(house.redeem(approval, signer.sign(header, rfc8785.dumps(parts(token)[1])))) == (403, "token_header"), header
    other = b64url(b"k" * 32)
    assert code(house.redeem(approval, signer.again(token, text(head | {"kid": other})))) == (403, "token_unknown_key")


def test_p8_the_text_is_the_token(house: House, signer: Signer, minted: tuple[Paused, str]) -> None:
    """Nothing around it, nothing left out, no byte changed; no digest in its place."""
    approval, token = minted
    head, payload, signature = token.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    cases = {
        "": "token_malformed", "..": "token_header", approval.digest: "token_malformed", f"{head}.{payload}": "token_malformed",
        f"{token}.": "token_malformed", f" {token}": "token_malformed", f"{token}\n": "token_malformed", f"{token}=": "token_malformed",
        f"Bearer {token}": "token_malformed", f"{head}.{payload}.": "token_signature", f"{head}.{payload}.{flipped}": "token_signature",
        f"{head}.{b64url(rfc8785.dumps(parts(token)[1] | {'max': 2}))}.{signature}": "token_signature", "x" * 16_385: "token_too_big",
        f"{token}\0": "token_malformed", "\u202e" + token: "token_malformed",
    }  # fmt: skip
    for sent, why in cases.items():
        assert code(house.redeem(approval, sent)) == (403, why), sent[:80]
    stranger = signer.sign(text(parts(token)[0]), rfc8785.dumps(parts(token)[1]), Ed25519PrivateKey.generate())
    assert code(house.redeem(approval, stranger)) == (403, "token_signature")


def test_p8_claims_that_we_never_mint(house: House, signer: Signer, minted: tuple[Paused, str]) -> None:
    """Signed with our own key, and refused."""
    approval, token = minted
    _, claims = parts(token)
    now = int(time.time())
    apr, call = claims["apr"], claims["call"]
    cases: dict[str, list[dict[str, Any]]] = {
        "token_claims": [
            {"max": 2}, {"max": 0}, {"max": "1"}, {"max": 1.5}, {"cnf": {"jkt": "x"}}, {"params": {}}, {"jti": ...}, {"jti": "short"}, {"sub": 7},
            {"exp": claims["iat"] + 901}, {"exp": claims["iat"] - 1}, {"nbf": claims["nbf"] + 1}, {"iat": -1}, {"iat": None}, {"aud": ["gw-1"]},
            {"apr": apr | {"by": []}}, {"apr": apr | {"by": ["p-b", "p-a"]}}, {"apr": apr | {"by": ["p-a", "p-a"]}},
            {"apr": apr | {"id": "NOT AN ID"}}, {"apr": apr | {"more": 1}}, {"call": call | {"alg": "jcs-sha256-v1"}}, {"call": call | {"dig": "x"}}, {"call": call | {"params": {}}},
        ],
        "token_issuer": [{"iss": "https://log.example.com/v1/tenants/globex"}, {"iss": claims["iss"] + "/"}, {"iss": house.server.url}],
        "token_tenant": [{"tid": "globex"}],
        "token_audience": [{"aud": "gw-2"}],
        "token_not_yet_valid": [{"iat": now + 40, "nbf": now + 40, "exp": now + 60}],
        "token_expired": [{"iat": now - 61, "nbf": now - 61, "exp": now - 1}, {"iat": now, "nbf": now, "exp": now}],
    }  # fmt: skip
    for why, changes in cases.items():
        for change in changes:
            assert code(house.redeem(approval, signer.again(token, **change))) == (403, why), change
    spaced = signer.sign(text(parts(token)[0]), json.dumps(claims, sort_keys=True).encode())
    twice = signer.sign(text(parts(token)[0]), rfc8785.dumps(claims).replace(b'"max":1', b'"max":1,"max":1'))
    for other in (spaced, twice):
        assert code(house.redeem(approval, other)) == (403, "token_claims")


def test_p8_another_enforcer_can_not_replay_it(house: House, minted: tuple[Paused, str]) -> None:
    """Whoever stole it needs the key of its enforcer too; and learns nothing of what became of it."""
    approval, token = minted
    thief = house.gateway("gw-2")
    assert code(house.redeem(approval, token, by=thief)) == (403, "token_audience")
    assert code(house.redeem(approval, token, "r-2", by=thief)) == (403, "token_audience")


def test_p8_another_enforcer_hears_the_same_after_the_redemption(house: House) -> None:
    """As before it."""
    approval = house.grant("p-ana")
    token = house.mint(approval)
    before = house.redeem(approval, token, by=house.gateway("gw-2"))
    assert house.redeem(approval, token).status_code == 200
    after = house.redeem(approval, token, by=house.gateway("gw-2"))
    assert code(before) == (403, "token_audience") and seen(before) == seen(after)
    assert house.kinds_of(approval)[-1] == "redeemed"


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    """A body or call without a member."""
    return lambda body: {n: v for n, v in body.items() if n != name}


def test_p7_a_call_in_hand_or_nothing(house: House, minted: tuple[Paused, str]) -> None:
    """No digest in place of the call, nothing beside it, nothing missing, nothing twice."""
    approval, token = minted
    call, good = approval.call, {"token": token, "redemption_id": "r-1", "call": approval.call}
    bodies: list[Any] = [
        good | {"call": approval.digest}, good | {"call": {"digest": approval.digest}}, good | {"call": {"dig": approval.digest}},
        good | {"call": call | {"digest": approval.digest}}, good | {"call": call | {"v": 2}}, good | {"call": call | {"tenant": "globex"}},
        good | {"call": None}, good | {"call": [call]}, good | {"digest": approval.digest}, good | {"extra": 1},
        good | {"max": 2}, [good], None, "x", 7,
        *(without(name)(good) for name in good), *(good | {"call": without(name)(call)} for name in ("nonce", "agent", "tool", "action", "params")),
        good | {"token": [token]}, good | {"token": None}, good | {"redemption_id": 7}, good | {"call": call | {"agent": 7}},
        good | {"call": call | {"run": 7}},
    ]  # fmt: skip
    for body in bodies:
        assert code(house.post(house.gateway(), "/tokens/redeem", body)) == (400, "bad_request"), body
    whole = json.dumps(good)
    gateway = house.gateway()
    texts = [
        b"", b"{", whole.encode() + b"x", whole.encode()[:-1], whole.replace('"r-1"', '"r-1","redemption_id":"r-1"').encode(),
        whole.replace('"amount": 125000', '"amount": 125000, "amount": 125000').encode(),
        whole.replace("125000", "125000.00000000000000001").encode(),
        whole.replace("125000", "9007199254740993").encode(), whole.encode("utf-16"), b"\xef\xbb\xbf" + whole.encode(),
        whole.replace('"to"', '"\\ud800"').encode(), b"[" * 100, whole.replace("125000", "[" * 40 + "]" * 40).encode(),
    ]  # fmt: skip
    for body in texts:
        assert code(gateway.http.post(f"{gateway.t}/tokens/redeem", content=body)) == (400, "bad_request"), body[:60]


def test_p7_numbers_and_names_that_only_look_the_same(house: House, signer: Signer) -> None:
    """What RFC 8785 makes equal is equal; what it tells apart is another call."""
    params = {"amount": 10, "ratio": 0.5, "name": "Ä", "list": [1, 2], "none": None}
    approval = house.grant("p-ana", params=params)
    token = house.mint(approval)
    other = [{"name": "A\u0308"}, {"list": [2, 1]}, {"amount": "10"}, {"amount": 10.5}, {"none": False}, {"ratio": 0.50000001}, {"extra": None}]
    for change in other:
        call = approval.call | {"params": params | change}
        assert code(house.redeem(approval, token, call=call)) == (409, "digest_mismatch"), change
    del (fewer := dict(params))["none"]
    assert code(house.redeem(approval, token, call=approval.call | {"params": fewer})) == (409, "digest_mismatch")
    body = json.dumps({"token": token, "redemption_id": "r-1", "call": approval.call})
    same = body.replace(": 10,", ": 1.0E1,").replace("0.5,", "5e-1,")
    assert same != body
    answer = house.gateway().http.post(f"{house.gateway().t}/tokens/redeem", content=same)
    assert answer.status_code == 200, answer.text
    assert answer.json()["call"]["params"] == params
    frozen = answer.content.partition(b'"call":')[2]
    assert frozen.startswith(rfc8785.dumps({"v": 1, "tenant": "acme"} | approval.call)), "the canonical bytes, verbatim"


def test_p13_a_body_of_300_kib(house: House, minted: tuple[Paused, str]) -> None:
    """Refused by its size, whatever it is."""
    approval, token = minted
    good = json.dumps({"token": token, "redemption_id": "r-1", "call": approval.call})
    gateway = house.gateway()
    for body in (good.ljust(300 * 1024), good.ljust(BODY_BYTES_MAX + 1), "x" * (300 * 1024), good.replace("125000", f'"{"x" * 300 * 1024}"')):
        answer = gateway.http.post(f"{gateway.t}/tokens/redeem", content=body.encode())
        assert code(answer) == (413, "too_big")
    answer = gateway.http.post(f"{gateway.t}/tokens/redeem", content=good.replace(token, "x.y.z").ljust(BODY_BYTES_MAX).encode())
    assert code(answer)[0] == 403, "one byte fewer is read"


@pytest.mark.parametrize("id", ["", "x" * 129, "with blank", "tab\t", "ä", "\n", "\u202e"])
def test_p13_redemption_ids_are_short_and_printable(house: House, minted: tuple[Paused, str], id: str) -> None:
    """1 to 128 of printable ASCII."""
    approval, token = minted
    assert code(house.redeem(approval, token, id)) == (400, "malformed")


def test_p13_the_longest_redemption_id(house: House) -> None:
    """128 of any printable character."""
    approval = house.grant("p-ana")
    id = ("!~" + "x" * 126)[:128]
    token = house.mint(approval)
    assert house.redeem(approval, token, id).json()["approval"]["redemption"]["redemption_id"] == id


def test_l8_another_call_is_recorded_twenty_times(house: House) -> None:
    """And refused for ever; the state stays as it is, the token good."""
    approval = house.grant("p-ana")
    token = house.mint(approval)
    before = house.state(approval)
    for number in range(25):
        call = approval.call | {"params": {"amount": number}}
        answer = house.redeem(approval, token, f"r-{number}", call=call)
        assert code(answer) == (409, "digest_mismatch")
        assert answer.json()["approval"]["state"] == "minted"
    assert house.count(approval)["redeem_rejected"] == 20
    after = house.state(approval)
    assert {n: v for n, v in before.items() if n != "history"} == {n: v for n, v in after.items() if n != "history"}
    assert house.redeem(approval, token).status_code == 200
    assert house.count(approval)["redeemed"] == 1


def test_l10_a_repeated_redemption_has_won_once(house: House) -> None:
    """The same id: the same answer, no event; another id, or another call: refused, and recorded."""
    approval = house.grant("p-ana")
    token = house.mint(approval)
    first = house.redeem(approval, token).json()
    for _ in range(3):
        assert house.redeem(approval, token).json() == first
    assert house.count(approval) == {"requested": 1, "reviewed": 1, "granted": 1, "token_minted": 1, "redeemed": 1}
    assert code(house.redeem(approval, token, "r-2")) == (409, "already_redeemed")
    assert code(house.redeem(approval, token, call=approval.call | {"params": None})) == (409, "digest_mismatch")
    assert [e["why"] for e in house.events(approval) if e["type"] == "redeem_rejected"] == ["already_redeemed", "digest_mismatch"]
    assert house.report(approval).status_code == 200
    assert house.redeem(approval, token).json()["call"] == first["call"], "also after the report"
    assert house.count(approval)["redeemed"] == 1


def test_l1_the_token_of_one_approval_spends_no_other(house: House, signer: Signer) -> None:
    """Not by the call of the other, and not by naming it, even signed with our key."""
    mine, other = house.grant("p-ana"), house.grant("p-ana")
    token, its = house.mint(mine), house.mint(other)
    assert code(house.redeem(other, token)) == (409, "digest_mismatch")
    _, claims = parts(its)
    crossed = signer.again(token, apr=claims["apr"], call=claims["call"])
    assert code(house.redeem(other, crossed)) == (409, "token_not_live")
    invented = signer.again(token, apr=claims["apr"] | {"id": "apr-" + "a" * 26})
    assert code(house.redeem(mine, invented)) == (404, "not_found")
    assert house.count(mine)["redeemed"] == house.count(other)["redeemed"] == 0
    assert house.redeem(mine, token).status_code == house.redeem(other, its).status_code == 200


def test_p8_a_leaked_key_is_rotated_away(tmp_path: Path) -> None:
    """The token of a key that was rotated once is good, after two rotations it is not; minted anew it is again, once the old one is over."""
    house = House.ready(tmp_path, RULES + 'token_life = "10s"\n', PEOPLE)
    try:
        kept, lost = house.grant("p-ana"), house.grant("p-ana")
        tokens = house.mint(kept), house.mint(lost)
        house.server.admin.rotate("token")
        assert house.redeem(kept, tokens[0]).status_code == 200
        house.server.admin.rotate("token")
        assert code(house.redeem(lost, tokens[1])) == (403, "token_unknown_key")
        house.until_state(lost, "granted")
        assert house.redeem(lost, house.mint(lost)).status_code == 200
        assert house.count(lost)["redeemed"] == house.count(kept)["redeemed"] == 1
        house.close()
    finally:
        house.server.__exit__()
