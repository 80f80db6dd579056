"""Answers that passkeys signed: what `passkey.json` holds. See `formats/approval.md`, Signed answers."""
import hashlib, json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from formats import *

ORIGIN = "https://log.example"
CREDENTIAL = sha256(b"a credential id")
PRESENT, VERIFIED = 1, 4


def answer(**over):
    return {
        "approval_id": "apr-33f4htoag2cmmf5w5lugpo2h2e", "decision": "approve", "digest": "daHInlbkNmfOsploZOOJj4dRqKv08fmS6ouQxznXZa4",
        "nonce": b64url(bytes(range(40))), "person": "p-ann", "tenant": "acme", "version": 1,
    } | over


def challenge(answer):
    return b64url(sha256(b"countersign-answer-v1\0" + jcs(answer)))


def signed(private, answer, *, host="log.example", flags=PRESENT | VERIFIED, counter=9, **client):
    """What a device returns for an answer."""
    data = sha256(host.encode()) + bytes([flags]) + counter.to_bytes(4, "big")
    client = {"type": "webauthn.get", "challenge": challenge(answer), "origin": ORIGIN, "crossOrigin": False} | client
    client = json.dumps(client, separators=(",", ":")).encode()
    signature = private.sign(data + sha256(client), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return {"authenticator_data": b64url(data), "client_data": b64url(client), "signature": b64url(signature)}


def passkeys():
    private, other = (ec.derive_private_key(int.from_bytes(bytes([n] * 32), "big"), ec.SECP256R1()) for n in (7, 8))
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    asked = answer()
    bad = [
        ("another answer", signed(private, answer(decision="deny"))), ("another person", signed(private, answer(person="p-bob"))),
        ("another tenant", signed(private, answer(tenant="other"))), ("another version", signed(private, answer(version=2))),
        ("another call", signed(private, answer(digest=digest("another call")))),
        ("another approval", signed(private, answer(approval_id="apr-aaaaaaaaaaaaaaaaaaaaaaaaaa"))),
        ("another origin", signed(private, asked, origin="https://log.example:8443")), ("another host", signed(private, asked, host="example")),
        ("a page in a frame", signed(private, asked, crossOrigin=True)), ("an enrolment", signed(private, asked, type="webauthn.create")),
        ("not verified", signed(private, asked, flags=PRESENT)), ("nobody there", signed(private, asked, flags=VERIFIED)),
        ("another key", signed(other, asked)),
    ]
    return {
        "passkey": {"credential": b64url(CREDENTIAL), "public_key": b64url(public), "origin": ORIGIN},
        "key_id": hashlib.sha256(b"acme\0" + CREDENTIAL).hexdigest()[:16],
        "answer": asked, "challenge": challenge(asked), "good": signed(private, asked), "counter": 9,
        "bad": [{"why": why, "assertion": assertion} for why, assertion in bad],
    }
