"""A device with one passkey, in software: it makes what a real one would, and what an attacker's would."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .pages import Office, Paused, Visitor, hidden

#: Flags of authenticator data: a person was there, was verified, a credential follows.
PRESENT, VERIFIED, ATTESTED = 1, 4, 64


def b64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """Without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Device:
    """One credential. Its counter grows by itself; `counting=False` is a passkey that is shared between devices: always 0."""

    def __init__(self, origin: str, *, windows: bool = False, counting: bool = True, id: bytes | None = None) -> None:
        self.origin, self.id, self.counting = origin, id or os.urandom(32), counting
        self.counter = 0
        self.key: Any = rsa.generate_private_key(65537, 2048) if windows else ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> bytes:
        """As DER."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def client(self, purpose: str, challenge: str, origin: str | None = None, **more: Any) -> bytes:
        """Client data, as a browser writes it."""
        data = {"type": purpose, "challenge": challenge, "origin": origin or self.origin, "crossOrigin": False} | more
        return json.dumps(data, separators=(",", ":")).encode()

    def data(self, relying_party: str | None = None, flags: int = PRESENT | VERIFIED, counter: int | None = None) -> bytes:
        """Authenticator data."""
        if counter is None:
            self.counter += self.counting
            counter = self.counter
        host = relying_party or self.origin.split("://")[1].split(":")[0]
        return hashlib.sha256(host.encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big")

    def made(self, challenge: str, origin: str | None = None, **data: Any) -> str:
        """The field `made` of the form for a new passkey."""
        plain = self.data(**{"flags": PRESENT | VERIFIED | ATTESTED} | data)
        attested = plain + bytes(16) + len(self.id).to_bytes(2, "big") + self.id + b"\xa0"
        client = self.client("webauthn.create", challenge, origin)
        parts = {"authenticator_data": attested, "client_data": client, "public_key": self.public_key}
        return json.dumps({name: b64url(part) for name, part in parts.items()})

    def signed(self, nonce: str, challenge: str, *, purpose: str = "webauthn.get", origin: str | None = None,
               client: dict[str, Any] | None = None, **data: Any) -> str:
        """The field `signed` of a form."""
        written, plain = self.client(purpose, challenge, origin, **client or {}), self.data(**data)
        text = plain + hashlib.sha256(written).digest()
        if isinstance(self.key, rsa.RSAPrivateKey):
            signature = self.key.sign(text, padding.PKCS1v15(), SHA256())
        else:
            signature = self.key.sign(text, ec.ECDSA(SHA256()))
        parts = {"authenticator_data": plain, "client_data": written, "signature": signature}
        assertion = {name: b64url(part) for name, part in parts.items()}
        return json.dumps({"nonce": nonce, "credential": b64url(self.id), "assertion": assertion})


def asked(page: str, name: str) -> str:
    """A `data-` attribute of a page."""
    found = re.search(rf'data-{name}="([^"]*)"', page)
    assert found, f"no data-{name} in {page}"
    return html.unescape(found[1])


def requested(visitor: Visitor, device: Device, name: str = "Phone", **over: Any) -> httpx.Response:
    """Requests a passkey on the page."""
    page = visitor.get("/passkeys").text
    made = device.made(over.pop("challenge", asked(page, "challenge")), **over)
    return visitor.post("/passkeys", hidden(page) | {"name": name, "made": made})


def request_of(answer: httpx.Response) -> str:
    """The request that the page then shows."""
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].split("request=")[1]


def enrolled(office: Office, person: str, device: Device) -> str:
    """Puts a passkey in force: its person requests it, an admin agrees. Returns the id of its key."""
    request = request_of(requested(office.visitor(person), device))
    return admitted(office, request).json()["key_id"]


def admitted(office: Office, request: str, status: int = 201) -> httpx.Response:
    """An admin puts it in force."""
    admin = office.server.admin
    answer = admin.http.post(f"{admin.t}/passkeys", json={"request": request, "reason": "They showed their badge."})
    assert answer.status_code == status, answer.text
    return answer


def sign_in(office: Office, device: Device, visitor: Visitor | None = None, next: str = "/", **over: Any) -> tuple[Visitor, httpx.Response]:
    """Signs in with it."""
    visitor = visitor or office.visitor()
    ask = visitor.get("/signin/passkey").json()
    signed = device.signed(ask["nonce"], over.pop("challenge", ask["challenge"]), **over)
    return visitor, visitor.post("/signin/passkey", {"signed": signed, "next": next})


def confirming(visitor: Visitor, paused: Paused, decision: str = "approve") -> tuple[dict[str, str], dict[str, str]]:
    """The fields of the confirming page, and what it asks the device."""
    path = f"/approvals/{paused.id}"
    page = visitor.post(f"{path}/confirm", visitor.fields(path) | {"decision": decision})
    assert page.status_code == 200, page.text
    return hidden(page.text), {name: asked(page.text, name) for name in ("nonce", "challenge")}
