"""Override tokens and call digests: what `override-token.json` and `call-digest.json` hold. See `formats/override-token.md`."""
import calendar, hashlib, json, time

from formats import *

TENANT, ENFORCER, ISSUER = "acme", "gw-1", "https://log.example/v1/tenants/acme"
NOW = "2026-11-20T05:50:00.000000000Z"
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the Ed25519 base point

seconds = lambda text: calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def jws(header, payload, sign):
    """Compact JWS of the bytes given; `sign` maps the signed bytes to a signature."""
    signed = b64url(header) + "." + b64url(payload)
    return signed + "." + b64url(sign(signed.encode()))


def mint(key, claims):
    return jws(token_header(key), jcs(claims), key.private.sign)


def payment_call():
    return {
        "v": 1, "nonce": b64url(bytes(range(16))), "tenant": TENANT, "agent": "agt-payments", "run": "run-7f3a", "tool": "bank", "action": "transfer",
        "params": {"amount": 125000, "currency": "EUR", "iban": "DE89370400440532013000"},
    }


def good_claims():
    call, iat = payment_call(), seconds("2026-11-20T05:49:30")
    call.pop("v")
    return {
        "iss": ISSUER, "aud": ENFORCER, "sub": "agt-payments", "tid": TENANT, "jti": b64url(sha256(b"a token id")[:16]),
        "iat": iat, "nbf": iat, "exp": iat + 120,
        "apr": {"id": approval_id(TENANT, ENFORCER, "/gateways/eu-1", "d-0001"), "seq": 4711, "rule": digest("a rule"), "by": ["p-4c1d", "p-9a2e"]},
        "call": {"tool": "bank/transfer", "dig": call_digest(**call), "alg": "countersign-call-v1"}, "max": 1,
    }


def override_token(key, successor, stranger):
    """The vectors. `key` and `successor` are the tenant's; `stranger` is nobody's."""
    good, now = good_claims(), seconds(NOW)
    token = mint(key, good)
    header, payload, signature = token.split(".")
    raw = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    keys, rows = [key.vkey, successor.vkey], []

    def case(name, text, error, why, **change):
        rows.append({"name": name, "token": text, "error": error, "why": why} | change)

    case("good", token, None, "as minted")
    case("good: the newer key", mint(successor, good), None, "both keys of the set verify")
    case("good: one second before exp", mint(key, good | {"exp": now + 1}), None, "and 120 s were asked for")
    case("good: iat 30 s ahead", mint(key, good | {"iat": now + 30, "nbf": now + 30, "exp": now + 60}), None, "30 s are the limit, and belong to it")
    case("good: 900 s", mint(key, good | {"exp": good["iat"] + 900}), None, "the longest life")
    odd = good | {"sub": 'a "b"\\\u20ac\U0001f600/', "call": good["call"] | {"tool": "a/b/c"}}
    case("good: odd names", mint(key, odd), None, "names are any text without control characters")

    expected = lambda **change: {"expected": {"iss": ISSUER, "tid": TENANT, "aud": ENFORCER, "now": NOW} | change}
    case("another enforcer", token, "token_audience", "replayed by gw-2, which is authenticated as itself", **expected(aud="gw-2"))
    case("another issuer", token, "token_issuer", "the same keys under another public URL", **expected(iss="https://other.example/v1/tenants/acme"))
    case("another tenant", mint(key, good | {"tid": "other"}), "token_tenant", "tid is not the tenant of the request")
    case("exactly at exp", token, "token_expired", "no grace", **expected(now="2026-11-20T05:51:30.000000000Z"))
    case("the last nanosecond before exp", token, None, "not yet exp", **expected(now="2026-11-20T05:51:29.999999999Z"))
    case("expired by one second", token, "token_expired", "no grace", **expected(now="2026-11-20T05:51:31.000000000Z"))
    case("nbf 31 s ahead", mint(key, good | {"iat": now + 31, "nbf": now + 31, "exp": now + 60}), "token_not_yet_valid", "one second more than the limit")
    case("no life", mint(key, good | {"exp": good["iat"]}), "token_expired", "exp is iat")

    # The signature.
    changed = jcs(good | {"call": good["call"] | {"dig": digest("another call")}})
    case("changed call digest", f"{header}.{b64url(changed)}.{signature}", "token_signature", "the claims are not those that were signed")
    bad = bytearray(raw(signature))
    bad[0] ^= 1
    case("changed signature", f"{header}.{payload}.{b64url(bytes(bad))}", "token_signature", "one bit of R")
    more = int.from_bytes(raw(signature)[32:], "little") + ORDER
    case("S + L", f"{header}.{payload}.{b64url(raw(signature)[:32] + more.to_bytes(32, 'little'))}", "token_signature", "the other spelling of S that a lax verifier takes")
    case("R of small order", jws(token_header(key), jcs(good), lambda data: small_order_r(key, data)), "token_signature", "made with the key; holds for a lax verifier, and would hold for no other")
    case("no signature", f"{header}.{payload}.", "token_signature", "no bytes")
    case("short signature", f"{header}.{payload}.{b64url(raw(signature)[:63])}", "token_signature", "63 bytes")
    case("long signature", f"{header}.{payload}.{b64url(raw(signature) + bytes(1))}", "token_signature", "65 bytes")
    case("signed by a stranger", jws(token_header(key), jcs(good), stranger.private.sign), "token_signature", "kid names our key")
    case("signature of another token", f"{header}.{payload}.{mint(key, odd).split('.')[2]}", "token_signature", "")
    case("no claims", f"{header}..{signature}", "token_signature", "detached: nothing was signed")

    # The key.
    case("unknown kid", mint(stranger, good), "token_unknown_key", "validly signed by a key that is not in the set")
    case("rotated away", token, "token_unknown_key", "its key was replaced twice", keys=[successor.vkey])
    case("no keys", token, "token_unknown_key", "the set of an unknown tenant", keys=[])
    weak = bytes([1]) + bytes(31)
    case("small-order key", jws(header_of(thumbprint(weak)), jcs(good), lambda data: weak + bytes(32)), "token_unknown_key", "the neutral point as a key: anybody signs for it; no such key is ever taken into a set", keys=keys + [vkey_of(key.name, weak)])

    # The header.
    kid = thumbprint(key.public)
    for name, text, why in [
        ("another order", f'{{"alg":"EdDSA","typ":"ovr+jwt","kid":"{kid}"}}', "compared byte for byte"),
        ("white space", f'{{"alg":"EdDSA", "kid":"{kid}","typ":"ovr+jwt"}}', ""),
        ("alg none", f'{{"alg":"none","kid":"{kid}","typ":"ovr+jwt"}}', ""),
        ("alg Ed25519", f'{{"alg":"Ed25519","kid":"{kid}","typ":"ovr+jwt"}}', "RFC 9864's name for the same; there is one spelling"),
        ("alg in small letters", f'{{"alg":"eddsa","kid":"{kid}","typ":"ovr+jwt"}}', ""),
        ("typ JWT", f'{{"alg":"EdDSA","kid":"{kid}","typ":"JWT"}}', "another kind of token signed by the same key"),
        ("no typ", f'{{"alg":"EdDSA","kid":"{kid}"}}', ""), ("no kid", '{"alg":"EdDSA","typ":"ovr+jwt"}', ""),
        ("empty kid", '{"alg":"EdDSA","kid":"","typ":"ovr+jwt"}', ""), ("padded kid", f'{{"alg":"EdDSA","kid":"{kid}=","typ":"ovr+jwt"}}', ""),
        ("alg twice", f'{{"alg":"EdDSA","alg":"none","kid":"{kid}","typ":"ovr+jwt"}}', ""),
        ("jku", f'{{"alg":"EdDSA","jku":"https://evil.example/jwks.json","kid":"{kid}","typ":"ovr+jwt"}}', "no key is fetched from where a token says"),
        ("jwk", f'{{"alg":"EdDSA","jwk":{jcs_text(jwk(stranger.public))},"kid":"{kid}","typ":"ovr+jwt"}}', "no key is read from a token"),
        ("crit", f'{{"alg":"EdDSA","crit":["exp"],"kid":"{kid}","typ":"ovr+jwt"}}', ""), ("b64 false", f'{{"alg":"EdDSA","b64":false,"kid":"{kid}","typ":"ovr+jwt"}}', ""),
        ("a member in kid", f'{{"alg":"EdDSA","kid":"{kid}","x":"","typ":"ovr+jwt"}}', "a reader that looks at both ends only would take it"),
        ("a newline behind it", f'{{"alg":"EdDSA","kid":"{kid}","typ":"ovr+jwt"}}\n', ""), ("empty object", "{}", ""),
    ]:
        case(f"header: {name}", jws(text.encode(), jcs(good), key.private.sign), "token_header", why or "validly signed, and not our header")
    mac = lambda secret: lambda data: hmac256(secret, data)
    case("header: HS256 with the public key", jws(token_header(key).replace(b"EdDSA", b"HS256"), jcs(good), mac(key.public)), "token_header", "the public key as a shared secret")
    case("header: none, unsigned", b64url(token_header(key).replace(b"EdDSA", b"none")) + f".{payload}.", "token_header", "")

    # The claims.
    text = jcs_text(good)
    for name, body, why in [
        ("duplicate member", text.replace('"max":1', '"max":1,"max":1'), "strict JSON"), ("duplicate member, escaped", text.replace('"max":1', '"max":1,"m\\u0061x":2'), "strict JSON"),
        ("unknown member", good | {"scope": "all"}, "nothing is ignored"), ("unknown member in apr", good | {"apr": good["apr"] | {"v": 1}}, ""),
        ("cnf", good | {"cnf": {"jkt": kid}}, "whoever can't check that the holder has the key must refuse"),
        ("params", good | {"call": good["call"] | {"params": {}}}, "a token carries no parameters"),
        ("max 2", good | {"max": 2}, ""), ("max 0", good | {"max": 0}, ""), ("max as text", good | {"max": "1"}, ""), ("max 1.0", text.replace('"max":1', '"max":1.0'), "RFC 8785 writes 1"),
        ("901 s", good | {"exp": good["iat"] + 901}, "longer than any token lives"), ("exp before iat", good | {"exp": good["iat"] - 1}, ""), ("nbf is not iat", good | {"nbf": good["iat"] + 1}, ""),
        ("exp as text", good | {"exp": str(good["exp"])}, ""), ("exp with a fraction", good | {"exp": good["exp"] + 0.5}, ""), ("exp beyond 2^53", text.replace(str(good["exp"]), "9007199254740993"), ""), ("negative iat", good | {"iat": -1}, ""),
        ("aud as a list", good | {"aud": [ENFORCER]}, "RFC 7519 allows it; a token has one enforcer"), ("aud that is no name", good | {"aud": "GW 1"}, ""),
        ("jti of 15 bytes", good | {"jti": b64url(bytes(15))}, ""), ("jti padded", good | {"jti": good["jti"] + "=="}, ""), ("dig of 31 bytes", good | {"call": good["call"] | {"dig": b64url(bytes(31))}}, ""),
        ("dig in hex", good | {"call": good["call"] | {"dig": sha256(b"").hex()}}, ""), ("another digest alg", good | {"call": good["call"] | {"alg": "jcs-sha256-v1"}}, ""),
        ("nobody approved", good | {"apr": good["apr"] | {"by": []}}, ""), ("one person twice", good | {"apr": good["apr"] | {"by": ["p-4c1d", "p-4c1d"]}}, ""), ("by out of order", good | {"apr": good["apr"] | {"by": ["p-9a2e", "p-4c1d"]}}, ""),
        ("null sub", good | {"sub": None}, ""), ("white space", json.dumps(good, sort_keys=True), "not in RFC 8785 form"), ("another order", json.dumps(good, separators=(",", ":")), "not in RFC 8785 form"),
        ("an array", [good], ""), ("text behind them", text + "x", ""), ("nothing", "", ""), ("not UTF-8", b"\xff" + text.encode(), ""), ("nested JWS", token, "claims that are themselves a token"), ("a JSON string of a JWS", jcs_text(token), ""),
    ]:
        data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else jcs(body)
        case(f"claims: {name}", jws(token_header(key), data, key.private.sign), "token_claims", why or "validly signed, and not the claims of an override token")
    for name in good:
        case(f"claims: no {name}", mint(key, {n: v for n, v in good.items() if n != name}), "token_claims", "every claim is required")

    # The text.
    for name, body, why in [
        ("bare digest", good["call"]["dig"], "a call digest is no token"), ("empty", "", ""), ("one part", payload, ""), ("two parts", f"{header}.{payload}", ""), ("trailing dot", token + ".", ""), ("leading dot", "." + token, ""),
        ("five parts", f"{token}.{payload}.{signature}", "the shape of a JWE"), ("padded header", token.replace(".", "=.", 1) if len(header) % 4 == 3 else token.replace(".", "==.", 1), ""),
        ("padded signature", token + "==", ""), ("standard alphabet", f"{header}.{payload}.{signature.replace('-', '+').replace('_', '/')}", "base64 for base64url"),
        ("unused bits", token[:-1] + next_letter(token[-1]), "another spelling of the same 64 bytes"), ("space in front", " " + token, ""), ("newline behind", token + "\n", ""), ("newline inside", token.replace(".", ".\n", 1), ""),
        ("zero byte", token + "\0", ""), ("Bearer in front", "Bearer " + token, ""), ("not ASCII", token[:-1] + "\u0430", "a Cyrillic letter"), ("JSON serialization", jcs_text({"payload": payload, "protected": header, "signature": signature}), ""),
    ]:
        case(f"text: {name}", body, "token_malformed", why or "not three parts of canonical base64url")
    long = good | {"apr": good["apr"] | {"by": [f"p-{n:06}" for n in range(1200)]}}
    case("oversize", mint(key, long), "token_too_big", "validly signed, more than 16,384 bytes")
    assert len(rows[-1]["token"]) > 16384 and {"-", "_"} & set(signature)
    return {
        "about": "Override tokens that verify (`error` null) and that must be refused, each for one reason. `keys` and `expected` hold unless a case has its own.",
        "seeds": [key.seed.hex(), successor.seed.hex()], "keys": keys, "jwks": {"keys": [jwk(key.public), jwk(successor.public)]},
        "expected": expected()["expected"], "claims": good, "cases": rows,
    }


def next_letter(letter):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) | 1]


def small_order_r(key, data):
    """A signature whose R is the neutral point: S·B = h·A. Lax verifiers take it."""
    scalar = bytearray(hashlib.sha512(key.seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    r = bytes([1]) + bytes(31)
    h = int.from_bytes(hashlib.sha512(r + key.public + data).digest(), "little")
    return r + (h * int.from_bytes(scalar, "little") % ORDER).to_bytes(32, "little")


def call_digests():
    """Call digests and approval ids. `params` is JSON text: spellings matter."""
    rows, good = [], payment_call()

    def case(name, params=None, **change):
        call = good | change
        if params is None:
            params = jcs_text(call["params"])
        call["params"] = json.loads(params)
        canonical = jcs_text(call)
        call.pop("v")
        shown = {n: v for n, v in call.items() if n != "params"}
        rows.append({"name": name, "call": shown, "params": params, "canonical": canonical, "digest": call_digest(**call)})

    case("a payment")
    case("members in another order, other spellings of numbers", '{"iban": "DE89370400440532013000", "currency": "\\u0045UR", "amount": 1.25e5}')
    assert rows[0]["digest"] == rows[1]["digest"]
    case("another amount", '{"amount":125001,"currency":"EUR","iban":"DE89370400440532013000"}')
    case("no run", run=None)
    case("no params", "null")
    case("params that are not an object", '["a",1,true,null,-0.0,1e-7]')
    case("names in UTF-16 order", '{"\U0001f600":1,"\ufb33":2,"a":3,"":4}')
    case("control characters in params", '"\\u0000\\u001f\\u007f\\ud83d\\ude00"')
    case("another nonce", nonce=b64url(bytes(16)))
    case("another tenant", tenant="other")
    case("another agent", agent="agt-support")
    case("a slash in the tool", tool="bank/transfer", action="x")
    case("a slash in the action", tool="bank", action="transfer/x")
    assert len({row["digest"] for row in rows}) == len(rows) - 1
    opened = lambda *row, ours=False: dict(zip(("tenant", "producer", "source", "id"), row)) | {"approval_id": approval_id(*row, ours=ours)}
    ids = [(TENANT, ENFORCER, "/gateways/eu-1", "d-0001"), (TENANT, ENFORCER, "/gateways/eu-1", "d-0002"), (TENANT, ENFORCER, "/gateways/eu-10", "d-0001"), (TENANT, "gw-2", "/gateways/eu-1", "d-0001"), ("other", ENFORCER, "/gateways/eu-1", "d-0001"), (TENANT, ENFORCER, '"\u20ac', "\U0001f600")]
    return {
        "about": "`digest` of each call, over its RFC 8785 form `canonical`; and the approval that an event (tenant, producer, source, id) opens, or a decision of ours.",
        "cases": rows,
        "approval_ids": [opened(*row) for row in ids],
        "approval_ids_of_ours": [opened(*row, ours=True) for row in [*ids, (TENANT, "countersign", "countersign", rows[0]["call"]["nonce"])]],
    }
