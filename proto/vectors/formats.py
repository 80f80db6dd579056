"""The formats of `proto/formats/` in Python: an implementation of its own, which shares no code with the product.

It refuses nothing; `../check.py` has the strict readers.
"""
import base64, hashlib, hmac, json, math

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

b64 = lambda data: base64.b64encode(data).decode()
b64url = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
sha256 = lambda data: hashlib.sha256(data).digest()
hmac256 = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()


# RFC 8785
def number(n):
    if isinstance(n, int) or n == math.floor(n) and abs(n) < 1e21:
        return str(int(n))
    mantissa, _, exponent = repr(float(n)).partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, _, part = mantissa.partition(".")
    part = "" if part == "0" else part
    digits = (whole + part).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + part) - len(digits))
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        return sign + digits[:point].ljust(point, "0") + ("." + digits[point:] if digits[point:] else "")
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    e = point - 1
    return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{'+' if e > 0 else ''}{e}"


def jcs_text(v):
    if v is None or isinstance(v, bool):
        return json.dumps(v)
    if isinstance(v, (int, float)):
        return number(v)
    if isinstance(v, str):
        return json.dumps(v, ensure_ascii=False)
    if isinstance(v, list):
        return "[" + ",".join(map(jcs_text, v)) + "]"
    names = sorted(v, key=lambda name: name.encode("utf-16-be"))
    return "{" + ",".join(jcs_text(n) + ":" + jcs_text(v[n]) for n in names) + "}"


jcs = lambda v: jcs_text(v).encode()


# formats/disclosure.md
def salt(seed, scope, name):
    return b64url(hmac256(seed, jcs([*scope, name])))


def disclosure(seed, scope, name, value):
    return jcs_text([salt(seed, scope, name), name, value])


def digest(text):
    return b64url(sha256(text.encode()))


# formats/event.md: the listed members of `data`; True = whole, a set = an object with these members
DATA = {
    "agent": {"id", "run", "session", "chain"}, "tool": {"name", "action"}, "reason": {"code"},
    "policy": {"id", "version", "digest"}, "call": {"digest"}, "cost": {"amount", "currency"},
    "verdict": True, "mode": True, "approval_id": True, "token_id": True, "latency_us": True, "labels": True,
}
# Plain in our own decisions only.
DATA_OF_OURS = DATA | {"as_of": True, "bundle": True, "lists": True, "budgets": True, "history": True, "activates": True, "received": True, "frozen_by": True, "verified_by": {"index", "leaf_hash"}, "parent": {"index", "leaf_hash"}, "freeze": True, "alerts": True, "shadow": {"verdict", "code", "clause"}, "spool": {"id", "number", "why"}}
# What posting knows as the outcome of a call.
OUTCOMES = ("failed", "not_started", "succeeded", "unknown")
ATTRIBUTES = {"specversion", "id", "source", "type", "time", "sequence", "traceparent", "datacontenttype"}
OURS = ("dev.countersign.decision.v1", "dev.countersign.heartbeat.v1", "dev.countersign.execution.v1")
token = lambda name: name.replace("~", "~0").replace("/", "~1")


def stated(event):
    """The event without attributes that are null: what is committed."""
    return {name: value for name, value in event.items() if name == "data" or value is not None}


def split(event, ours=False):
    """The plain part, and the payload by name. `ours`: a decision of ours."""
    plain, fields = {}, {}
    for name, value in event.items():
        if name in ATTRIBUTES:
            plain[name] = value
        elif name != "data":
            fields["/" + token(name)] = value
    if "data" not in event:
        return plain, fields
    data = event["data"]
    if not isinstance(data, dict):
        return plain, fields | {"/data": data}
    payload = data.get("payload")
    if isinstance(payload, dict):
        fields |= payload
        data = {n: v for n, v in data.items() if n != "payload"}
    listed = (DATA_OF_OURS if ours else DATA) if event["type"] in OURS else {}
    if event["type"] == OURS[2]:
        listed = (DATA_OF_OURS if ours else DATA) | {"decision": {"index", "leaf_hash"}} | ({"outcome": True} if data.get("outcome") in OUTCOMES else {})
    kept = {}
    for name, value in data.items():
        if name not in listed:
            fields["/data/" + token(name)] = value
        elif listed[name] is True:
            kept[name] = value
        else:
            kept[name] = {n: v for n, v in value.items() if n in listed[name]}
            fields |= {f"/data/{name}/{token(n)}": v for n, v in value.items() if n not in listed[name]}
    return (plain | {"data": kept} if listed else plain), fields


# formats/log.md
leaf_hash = lambda entry: sha256(b"\0" + entry)
node_hash = lambda left, right: sha256(b"\1" + left + right)


def half(n):
    return 1 << (n - 1).bit_length() - 1


def root(hashes):
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"")
    k = half(len(hashes))
    return node_hash(root(hashes[:k]), root(hashes[k:]))


def path(hashes, index):
    if len(hashes) == 1:
        return []
    k = half(len(hashes))
    if index < k:
        return path(hashes[:k], index) + [root(hashes[k:])]
    return path(hashes[k:], index - k) + [root(hashes[:k])]


key_id = lambda name, public: sha256(name.encode() + b"\n\1" + public)[:4]
vkey_of = lambda name, public: f"{name}+{key_id(name, public).hex()}+{b64(bytes([1]) + public)}"


class Key:
    def __init__(self, name, seed):
        self.name, self.seed, self.private = name, seed, Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id, self.vkey = key_id(name, self.public), vkey_of(name, self.public)

    def line(self, text):
        return f"\u2014 {self.name} {b64(self.id + self.private.sign(text.encode()))}\n"


def note(text, *keys):
    return text + "\n" + "".join(key.line(text) for key in keys)


def checkpoint(origin, hashes, *keys):
    return note(f"{origin}\n{len(hashes)}\n{b64(root(hashes))}\n", *keys)


def receipt(entry, index, hashes, signed):
    lines = ["c2sp.org/tlog-proof@v1", "extra " + b64(entry), f"index {index}", *map(b64, path(hashes, index)), "", signed]
    return "\n".join(lines)


# formats/journal.md
def sign_place(key, tenant, epoch, subject, expected, body):
    place = f"countersign-journal-v1\n{tenant}\n{epoch}\n{subject}\n{expected}\n".encode()
    return f"{expected}.{b64url(key.private.sign(place + body))}"


def call_digest(tenant, nonce, agent, run, tool, action, params):
    call = {"v": 1, "nonce": nonce, "tenant": tenant, "agent": agent, "run": run, "tool": tool, "action": action, "params": params}
    return b64url(sha256(b"countersign-call-v1\0" + jcs(call)))


def approval_id(tenant, producer, source, id, ours=False):
    """`ours`: the decision that opens it is ours."""
    texts = [tenant, *(["ours"] if ours else []), producer, source, id]
    name = base64.b32encode(sha256(jcs(texts))).decode().lower()
    return "apr-" + name[:26]


# formats/policy.md
def bundle_digest(parts):
    """`parts`: path, sha256 and bytes of each, by path. Other members do not count."""
    parts = [{name: part[name] for name in ("path", "sha256", "bytes")} for part in parts]
    return b64url(sha256(b"countersign-bundle-v1\0" + jcs({"language": 1, "parts": parts})))


def list_digest(name, version, part):
    """Names a version of a list. `part`: where its file is."""
    return b64url(sha256(b"countersign-list-v1\0" + jcs({"bytes": part["bytes"], "name": name, "sha256": part["sha256"], "version": version})))


# formats/override-token.md
thumbprint = lambda public: b64url(sha256(jcs({"crv": "Ed25519", "kty": "OKP", "x": b64url(public)})))
header_of = lambda kid: f'{{"alg":"EdDSA","kid":"{kid}","typ":"ovr+jwt"}}'.encode()
token_header = lambda key: header_of(thumbprint(key.public))


def jwk(public):
    return {"alg": "EdDSA", "crv": "Ed25519", "kid": thumbprint(public), "kty": "OKP", "use": "sig", "x": b64url(public)}


# formats/opa.md
def opa_verdict(element):
    if "result" not in element:
        return "deny"
    result = element["result"]
    result = result.get("allow") if isinstance(result, dict) else result
    if isinstance(result, bool):
        return "allow" if result else "deny"
    if isinstance(element["result"], list):
        return "deny" if result else "allow"
    return "unspecified"


def opa_event(element):
    """formats/opa.md: one element of a decision log as an event."""
    order = lambda names: sorted(names, key=lambda name: name.encode("utf-16-be"))
    labels = {n: v for n, v in element["labels"].items() if n != "id"}
    fits = [n for n in order(labels) if isinstance(labels[n], str) and n and len(n.encode()) <= 256 and len(labels[n].encode()) <= 256][:16]
    agent = element.get("request_context", {}).get("http", {}).get("headers", {}).get("x-agent-id", ["unknown"])[0]
    action = element["path"].removeprefix("/") if "path" in element else "query"
    data = {"agent": {"id": agent}, "tool": {"name": "opa", "action": action}, "verdict": opa_verdict(element)}
    bundle = order(element.get("bundles", {}))[:1]
    if bundle:
        revision = element["bundles"][bundle[0]].get("revision")
        data["policy"] = {"id": bundle[0]} | ({"version": revision} if revision else {})
    if fits:
        data["labels"] = {n: labels[n] for n in fits}
    used = {"decision_id", "timestamp"} | ({"labels"} if len(fits) == len(labels) else set())
    data["payload"] = {n: v for n, v in element.items() if n not in used}
    return {"specversion": "1.0", "id": element["decision_id"], "source": element["labels"]["id"], "type": OURS[0], "time": element["timestamp"], "data": data}
