"""A verifier of override tokens in Python, written from `formats/override-token.md`, on the vectors. `check.py` runs it."""
import datetime, re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from formats import *

TOKEN_BYTES_MAX, LIFE_SECONDS_MAX, SKEW_SECONDS = 16384, 900, 30
PRIME, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
MEMBERS = {
    "iss": str, "aud": str, "sub": str, "tid": str, "jti": str, "iat": int, "nbf": int, "exp": int, "max": int,
    "apr": {"id": str, "seq": int, "rule": str, "by": list}, "call": {"tool": str, "dig": str, "alg": str},
}


class TokenRefused(Exception):
    pass


def refuse_unless(holds, code):
    if not holds:
        raise TokenRefused("token_" + code)


def unbase64url(text, length=None):
    """The bytes; `None` unless it is the one spelling of them."""
    if not text.isascii() or len(text) % 4 == 1 or set(text) & set("+/= \t\r\n"):
        return None
    try:
        data = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    return data if b64url(data) == text and length in (None, len(data)) else None


def is_small(point):
    """Whether the encoded point has an order that divides 8: its y is one of five, whatever its sign bit."""
    y = int.from_bytes(point, "little") % 2**255 % PRIME
    # The y of order 8 are the roots of d·y⁴ + 2·y² - 1, d being the curve's constant.
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    return y in (0, 1, PRIME - 1) or (d * pow(y, 4, PRIME) + 2 * y * y - 1) % PRIME == 0


def verify_strict(public, message, signature):
    """Ed25519 with canonical S, and neither R nor the key of small order."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= ORDER or is_small(signature[:32]) or is_small(public):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return True
    except InvalidSignature:
        return False


def fits(value, shape):
    if isinstance(shape, dict):
        return isinstance(value, dict) and value.keys() == shape.keys() and all(fits(value[n], shape[n]) for n in shape)
    return type(value) is shape and (shape is not int or value >= 0)


def is_ident(text):
    return isinstance(text, str) and 1 <= len(text) <= 63 and not set(text) - set("abcdefghijklmnopqrstuvwxyz0123456789-") and text[0] != "-"


def read_claims(data, strict):
    try:
        claims = strict(data)
    except Exception:
        raise TokenRefused("token_claims")
    refuse_unless(fits(claims, MEMBERS) and jcs(claims) == data, "claims")
    apr, call = claims["apr"], claims["call"]
    people = apr["by"]
    refuse_unless(
        claims["max"] == 1 and claims["nbf"] == claims["iat"] and 0 <= claims["exp"] - claims["iat"] <= LIFE_SECONDS_MAX
        and unbase64url(claims["jti"], 16) and unbase64url(apr["rule"], 32) and unbase64url(call["dig"], 32)
        and call["alg"] == "countersign-call-v1" and people and all(map(is_ident, [claims["aud"], claims["tid"], apr["id"], *people]))
        and people == sorted(set(people)),
        "claims",
    )
    return claims


def verify_token(text, publics, expected, strict):
    refuse_unless(len(text.encode()) <= TOKEN_BYTES_MAX, "too_big")
    parts = text.split(".")
    refuse_unless(len(parts) == 3, "malformed")
    header, payload, signature = map(unbase64url, parts)
    refuse_unless(None not in (header, payload, signature), "malformed")
    found = re.fullmatch(rb'\{"alg":"EdDSA","kid":"([A-Za-z0-9_-]{43})","typ":"ovr\+jwt"\}', header)
    refuse_unless(found, "header")
    public = {thumbprint(public): public for public in publics if not is_small(public)}.get(found.group(1).decode())
    refuse_unless(public, "unknown_key")
    refuse_unless(verify_strict(public, text.rpartition(".")[0].encode(), signature), "signature")
    claims = read_claims(payload, strict)
    for claim, code in (("iss", "issuer"), ("tid", "tenant"), ("aud", "audience")):
        refuse_unless(claims[claim] == expected[claim], code)
    now = int(datetime.datetime.fromisoformat(expected["now"][:19] + "+00:00").timestamp())
    refuse_unless(claims["iat"] <= now + SKEW_SECONDS, "not_yet_valid")
    refuse_unless(now < claims["exp"], "expired")
    return claims


def check_tokens(vectors, strict, expect):
    """The tokens that verify."""
    public = lambda vkey: base64.b64decode(vkey.split("+", 2)[2])[1:]
    good = []
    for case in vectors["cases"]:
        publics = list(map(public, case.get("keys", vectors["keys"])))
        try:
            verify_token(case["token"], publics, case.get("expected", vectors["expected"]), strict)
            found = None
            good.append(case["token"])
        except TokenRefused as refused:
            found = str(refused)
        expect(found == case["error"], f"override-token {case['name']}: {found}")
    return good


def check_calls(vectors, strict, expect):
    for case in vectors["cases"]:
        found = call_digest(**case["call"], params=strict(case["params"]))
        expect(found == case["digest"], f"call-digest {case['name']}: {found}")
        canonical = b64url(sha256(b"countersign-call-v1\0" + case["canonical"].encode()))
        expect(canonical == case["digest"], f"call-digest {case['name']}: canonical")
    for case in vectors["approval_ids"]:
        case = dict(case)
        expect(case.pop("approval_id") == approval_id(**case), f"approval id of {case}")
