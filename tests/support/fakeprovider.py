"""Our own provider of OpenID Connect: a real HTTP server, strict towards us, and hostile on demand.

`test_oidc_real.py` shows with two real providers that what it demands is what providers demand.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .fakeserver import FakeServer

#: What the next answer of an endpoint does instead of the right thing: it gets the request's handler.
Fault = Callable[[BaseHTTPRequestHandler], None]
_RSA = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_jwk(key: Any, kid: str) -> dict[str, Any]:
    """The public half of a key, as a key set has it."""
    made = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    jwk = json.loads(made.to_jwk(key.public_key()))
    return jwk | {"kid": kid, "use": "sig", "alg": "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"}


class FakeProvider:
    """One provider with one client, at which `subject` signs in without being asked. What is asked of it is in `asked`, and
    what is wrong with that in `strict`."""

    def __init__(self, client_id: str = "countersign", secret: str = "of-a-test-Aa+/=%20:", port: int = 0) -> None:
        self.client_id, self.secret, self.redirect = client_id, secret, ""
        self.subject = "00u1a2b3c4"
        self.keys: dict[str, Any] = {"k1": _RSA[0]}
        #: Changes of the next ID tokens: claims (None leaves one out), header, and how they are signed.
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any], dict[str, Any]], str] = self.signed
        #: What the answer in the browser says beside code, state and issuer.
        self.answer: dict[str, Any] = {}
        self.faults: dict[str, Fault] = {}
        self.metadata: dict[str, Any] = {}
        self.asked: list[dict[str, str]] = []
        self.calls: list[str] = []
        self.strict: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                provider.serve(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = FakeServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Listens no more."""
        self.server.shutdown()
        self.server.server_close()

    def section(self, secret_file: Any, **over: Any) -> dict[str, Any]:
        """Its part of the configuration."""
        return {"tenant": "acme", "issuer": self.issuer, "client_id": self.client_id, "client_secret_file": secret_file} | over

    # what it answers

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        path, _, query = handler.path.partition("?")
        self.calls.append(path)
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0)).decode()
        if fault := self.faults.get(path):
            return fault(handler)
        if path == "/.well-known/openid-configuration":
            return send(handler, 200, self.discovery())
        if path == "/jwks":
            return send(handler, 200, {"keys": [public_jwk(key, kid) for kid, key in self.keys.items()]})
        if path == "/authorize" and handler.command == "GET":
            return self.authorize(handler, dict(urllib.parse.parse_qsl(query, strict_parsing=True)))
        if path == "/token" and handler.command == "POST":
            return send(handler, *self.token(dict(urllib.parse.parse_qsl(body, strict_parsing=True)), handler.headers))
        send(handler, 404, {"error": "not_found"})

    def discovery(self) -> dict[str, Any]:
        """What it says of itself."""
        said = {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks", "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"], "authorization_response_iss_parameter_supported": True,
        }  # fmt: skip
        return {name: value for name, value in (said | self.metadata).items() if value is not None}

    def authorize(self, handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        """Sends the browser back with a code."""
        self.asked.append(query)
        right = {"response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect, "code_challenge_method": "S256"}
        wrong = [name for name, value in right.items() if query.get(name) != value]
        wrong += [name for name in ("state", "nonce", "code_challenge", "max_age") if len(query.get(name, "")) < 2]
        if "openid" not in query.get("scope", "").split() or wrong:
            self.strict.append(f"authorize: {wrong} {query}")
            return send(handler, 400, {"error": "invalid_request"})
        code = f"code-{len(self.asked)}-{self.port}"
        self.codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.issuer} | self.answer
        given = urllib.parse.urlencode({name: value for name, value in answer.items() if value is not None})
        handler.send_response(303)
        handler.send_header("location", f"{query['redirect_uri']}?{given}")
        handler.send_header("content-length", "0")
        handler.end_headers()

    def token(self, form: dict[str, str], headers: Any) -> tuple[int, dict[str, Any]]:
        """Exchanges a code, once."""
        kind, _, basic = headers.get("authorization", "").partition(" ")
        name, _, secret = base64.b64decode(basic).decode().partition(":")
        if kind != "Basic" or (urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)) != (self.client_id, self.secret):
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form.get("code", ""), None)
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        right = begun and begun["code_challenge"] == challenge and begun["redirect_uri"] == form.get("redirect_uri")
        if not right or form.get("grant_type") != "authorization_code":
            return 400, {"error": "invalid_grant", "error_description": "<script>alert(1)</script>"}
        return 200, {"access_token": "of-nobody", "token_type": "Bearer", "expires_in": 60, "id_token": self.id_token(begun["nonce"])}

    def id_token(self, nonce: str) -> str:
        """A token that is right, but for what was changed."""
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": self.subject, "aud": self.client_id, "exp": now + 300, "iat": now, "auth_time": now, "nonce": nonce}
        changed = {name: value(now) if callable(value) else value for name, value in self.claims.items()}
        claims = {name: value for name, value in (claims | changed).items() if value is not None}
        return self.sign(claims, {"kid": next(iter(self.keys))} | self.header)

    def signed(self, claims: dict[str, Any], header: dict[str, Any]) -> str:
        """Signed with the first key."""
        key = next(iter(self.keys.values()))
        return jwt.encode(claims, key, algorithm="ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256", headers=header)

    def rotate(self, kid: str = "k2") -> None:
        """Another key from now on."""
        self.keys = {kid: _RSA[1]}


def unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """`alg: none`."""
    return jwt.encode(claims, None, algorithm="none", headers=header)


def by_public_key(provider: FakeProvider) -> Callable[[dict[str, Any], dict[str, Any]], str]:
    """HS256 with the public key as the secret, which anybody can compute."""
    def sign(claims: dict[str, Any], header: dict[str, Any]) -> str:
        key = next(iter(provider.keys.values())).public_key()
        pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return by_secret(pem, claims, header)
    return sign


def by_secret(secret: bytes, claims: dict[str, Any], header: dict[str, Any]) -> str:
    """HS256, made by hand: PyJWT refuses to take a public key as a secret."""
    import hmac

    parts = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"} | header, claims))
    return f"{parts}.{b64(hmac.new(secret, parts.encode(), hashlib.sha256).digest())}"


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, kind: str = "application/json") -> None:
    """One answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("content-type", kind)
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
