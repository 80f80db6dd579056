"""Override tokens in somebody else's library (PyJWT), and the key set that a server publishes."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from support import Server

FILE = json.loads((Path(__file__).parent.parent / "proto/vectors/override-token.json").read_text())

#: PyJWT takes these and we do not: it reads any header that names a known algorithm and key, takes padding, and its
#: Ed25519 (OpenSSL's) takes an R of small order. Everything else that we refuse, it refuses too.
LAX = {
    "header: another order", "header: white space", "header: typ JWT", "header: no typ", "header: jku", "header: jwk",
    "header: a member in kid", "header: a newline behind it", "text: padded signature", "R of small order",
}  # fmt: skip
#: Never mind the clock: it can't be set there.
UNCHECKED = {"token_expired", "token_not_yet_valid", "token_tenant", "token_claims", "token_too_big"}


def pyjwt(case: dict[str, Any]) -> dict[str, Any]:
    """What PyJWT makes of a case, with issuer and audience checked, and times not."""
    expected = case.get("expected", FILE["expected"])
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(FILE["jwks"]).keys}
    key = keys[jwt.get_unverified_header(case["token"])["kid"]]
    times = {f"verify_{name}": False for name in ("exp", "iat", "nbf")}
    return jwt.decode(case["token"], key, algorithms=["EdDSA"], issuer=expected["iss"], audience=expected["aud"], options=times)


@pytest.mark.parametrize("case", [c for c in FILE["cases"] if c["error"] is None], ids=lambda case: case["name"])
def test_p7_valid_tokens_verify_elsewhere(case: dict[str, Any]) -> None:
    """A token of ours, our JWKS, their code."""
    claims = pyjwt(case)
    assert claims["max"] == 1 and claims["call"]["alg"] == "countersign-call-v1"


def test_p7_where_ours_is_stricter() -> None:
    """Of the tokens that we refuse for text, header, key or signature, PyJWT takes exactly these."""
    taken = set()
    for case in FILE["cases"]:
        if case["error"] is None or case["error"] in UNCHECKED or "keys" in case:
            continue
        try:
            pyjwt(case)
        except (jwt.PyJWTError, KeyError):
            continue
        taken.add(case["name"])
    assert taken == LAX


def test_jwks_of_a_server(server: Server) -> None:
    """Public; the newest key last; the one before it stays until the next rotation, also across a restart."""
    anybody = server.client(None)

    def fetch() -> list[dict[str, str]]:
        answer = anybody.get("/jwks.json")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/jwk-set+json"
        assert answer.headers["cache-control"] == "public, max-age=300"
        keys = answer.json()["keys"]
        for key in keys:
            required = json.dumps({n: key[n] for n in ("crv", "kty", "x")}, separators=(",", ":"))
            thumbprint = base64.urlsafe_b64encode(hashlib.sha256(required.encode()).digest()).rstrip(b"=").decode()
            assert key == {"alg": "EdDSA", "crv": "Ed25519", "kid": thumbprint, "kty": "OKP", "use": "sig", "x": key["x"]}
        assert len(jwt.PyJWKSet.from_dict({"keys": keys}).keys) == len(keys)
        return keys

    def rotated() -> str:
        public = base64.b64decode(server.admin.rotate("token")["vkey"].split("+", 2)[2])[1:]
        return base64.urlsafe_b64encode(public).rstrip(b"=").decode()

    (first,) = [key["x"] for key in fetch()]
    second = rotated()
    assert [key["x"] for key in fetch()] == [first, second]
    server.admin.rotate("journal")
    server.restart(kill=True)
    anybody = server.client(None)
    assert [key["x"] for key in fetch()] == [first, second]
    third = rotated()
    assert [key["x"] for key in fetch()] == [second, third]
    server.stop()
    server.fsck("--replay").ok()


def test_p12_jwks_of_nobody(server: Server) -> None:
    """A tenant that does not exist has a set like any other's, always the same one: nothing tells it from one that does."""
    anybody = server.client(None)
    ours = anybody.get("/jwks.json")
    shape = lambda document: [{name: len(value) for name, value in key.items()} for key in document["keys"]]
    sets = [ours.json()]
    for tenant in ("nobody", "x" * 63):
        url = f"/v1/tenants/{tenant}/jwks.json"
        other = anybody.http.get(url)
        assert other.status_code == 200 and shape(other.json()) == shape(ours.json()), other.text
        headers = lambda answer: {n: v for n, v in answer.headers.items() if n not in {"date", "x-request-id"}}
        assert headers(other) == headers(ours)
        assert anybody.http.get(url).json() == other.json()
        assert other.json() not in sets
        sets.append(other.json())
