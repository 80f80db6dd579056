"""Our own Bot Framework: real HTTP servers with OpenID metadata, token endpoint and connector; strict, and bad on demand.

`test_teams.py` lets Microsoft's own client talk to it, so that it is more than our belief.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import re
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .fakeserver import FakeServer
from .teams_limits import MESSAGE_BYTES_MAX, message_wrong

ISSUER = "https://api.botframework.com"
SCOPE = "https://api.botframework.com/.default"


@dataclass
class Call:
    """One request that reached the connector (or the catcher), and what it was answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int = 0


@dataclass
class Fault:
    """What happens to the next calls of the connector instead of the right answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0
    kept: bool = False  # it is carried out, and the answer is lost
    code: str = "Fault"
    method: str = ""  # only calls of this method


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    """An RSA key of the Bot Framework."""

    def __init__(self, endorsements: list[str] | None = None, bits: int = 2048) -> None:
        self.kid = uuid.uuid4().hex
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        self.endorsements = ["msteams", "webchat", "directline"] if endorsements is None else endorsements

    def jwk(self) -> dict[str, Any]:
        """As it stands in the key set."""
        numbers = self.private.public_key().public_numbers()
        whole = lambda n: b64(n.to_bytes((n.bit_length() + 7) // 8, "big"))  # noqa: E731
        return {"kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid, "n": whole(numbers.n),
                "e": whole(numbers.e), "endorsements": self.endorsements}

    def public_pem(self) -> bytes:
        """What the world knows."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class Member:
    """A person in Teams."""

    name: str
    object_id: str
    directory: str

    @property
    def id(self) -> str:
        """`29:…`"""
        return "29:" + b64(hashlib.sha256(self.object_id.encode()).digest())


class FakeBot:
    """One bot registration, the servers it speaks to, and people who click."""

    def __init__(self) -> None:
        self.app_id, self.directory = str(uuid.uuid4()), str(uuid.uuid4())
        self.passwords = {uuid.uuid4().hex}
        self.keys = [SigningKey()]
        self.calls: list[Call] = []
        self.caught: list[Call] = []
        self.token_requests: list[dict[str, str]] = []
        self.fetches: dict[str, int] = {"metadata": 0, "keys": 0}
        self.metadata_status = 200
        self.faults: queue.Queue[Fault] = queue.Queue()
        self.tokens: dict[str, float] = {}
        self.token_seconds = 3600
        self.message_bytes_max = MESSAGE_BYTES_MAX
        #: (conversation, activity id) → every version of the message
        self.messages: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.members: dict[str, list[Member]] = {}
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._ids = iter(range(1_700_000_000_000, 1_800_000_000_000))
        self._servers = [self._serve(h) for h in (self._login, self._connector, self._catcher)]
        self.login_url, self.service_url, self.catcher_url = (f"http://127.0.0.1:{s.server_port}" for s in self._servers)

    def __enter__(self) -> "FakeBot":
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    # configuration

    @property
    def metadata_url(self) -> str:
        """OpenID metadata."""
        return f"{self.login_url}/v1/.well-known/openidconfiguration"

    def section(self, tenant: str, password_files: list[Any]) -> dict[str, Any]:
        """`[teams.<connection>]`"""
        return {
            "tenant": tenant, "app_id": self.app_id, "directory": self.directory,
            "password_files": [str(p) for p in password_files],
            "token_url": self.login_url + "/{directory}/oauth2/v2.0/token",
            "metadata_url": self.metadata_url,
            "service_url": f"{self.service_url}/teams/",
            "service_hosts": [urllib.parse.urlsplit(self.service_url).netloc],
        }

    # what others do to us

    def fail(self, status: int = 0, times: int = 1, *, hang: float = 0.0, kept: bool = False, code: str = "Fault",
             method: str = "", **headers: str) -> None:
        """The next `times` calls of the connector, of this method if one is named, fail so."""
        for _ in range(times):
            self.faults.put(Fault(status, {k.replace("_", "-"): v for k, v in headers.items()}, hang, kept, code, method))

    # tokens that come with activities

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token says; `name=...` removes a claim."""
        now = int(time.time())
        made = {"iss": ISSUER, "aud": self.app_id, "serviceurl": f"{self.service_url}/teams/", "nbf": now - 5,
                "exp": now + 3600}
        return {name: value for name, value in (made | changes).items() if value is not ...}

    def token(self, key: SigningKey | None = None, *, kid: Any = None, header: dict[str, Any] | None = None,
              **claims: Any) -> str:
        """A token signed RS256."""
        key = key or self.keys[0]
        headers = {"kid": key.kid if kid is None else kid, "x5t": key.kid} | (header or {})
        headers = {name: value for name, value in headers.items() if value is not ...}
        return jwt.encode(self.claims(**claims), key.private, algorithm="RS256", headers=headers)

    def by_hand(self, header: dict[str, Any], sign: Callable[[bytes], bytes], **claims: Any) -> str:
        """A token that no library would make."""
        message = b64(json.dumps(header).encode()) + "." + b64(json.dumps(self.claims(**claims)).encode())
        return message + "." + b64(sign(message.encode()))

    def hs256(self, secret: bytes) -> str:
        """HS256 with our public key as the secret: the classic confusion."""
        header = {"alg": "HS256", "typ": "JWT", "kid": self.keys[0].kid}
        return self.by_hand(header, lambda m: hmac.new(secret, m, hashlib.sha256).digest())

    # activities

    def activity(self, person: Member, conversation: str, /, **changes: Any) -> dict[str, Any]:
        """A message of a person; keywords replace members."""
        return {
            "type": "message", "id": f"f:{uuid.uuid4()}", "timestamp": "2026-11-20T09:00:00.000Z",
            "channelId": "msteams", "serviceUrl": f"{self.service_url}/teams/",
            "from": {"id": person.id, "name": person.name, "aadObjectId": person.object_id},
            "conversation": {"conversationType": "channel", "isGroup": True, "id": conversation,
                             "tenantId": person.directory},
            "recipient": {"id": f"28:{self.app_id}", "name": "Countersign"},
            "channelData": {"tenant": {"id": person.directory}, "source": {"name": "message"}},
            "locale": "en-GB", "entities": [{"type": "clientInfo", "platform": "Web"}],
        } | changes

    def invoke(self, person: Member, at: tuple[str, str], action: dict[str, Any], /, typed: dict[str, str] | None = None,
               trigger: str = "manual", **changes: Any) -> dict[str, Any]:
        """A press on a button of a card, as Teams sends it: with what was typed or chosen in the inputs beside it, by their ids."""
        data = action["data"] | (typed or {})
        value = {"action": {"type": "Action.Execute", "id": "", "title": action.get("title", ""),
                            "verb": action["verb"], "data": data}, "trigger": trigger}
        return self.activity(person, at[0], type="invoke", name="adaptiveCard/action", replyToId=at[1],
                             value=value) | changes

    def send(self, endpoint: str, activity: Any, token: str | None = None, **headers: str) -> httpx.Response:
        """Delivers an activity (bytes as they are) to a bot's endpoint, as the Bot Framework would."""
        body = activity if isinstance(activity, bytes) else json.dumps(activity).encode()
        bearer = {"Authorization": f"Bearer {self.token() if token is None else token}"}
        headers = {"Content-Type": "application/json; charset=utf-8"} | bearer | headers
        return httpx.post(endpoint, content=body, headers=headers, timeout=30.0, trust_env=False)

    # cards

    def card(self, at: tuple[str, str]) -> dict[str, Any]:
        """The card as it is shown now."""
        return self.messages[at][-1]["attachments"][0]["content"]

    def posted(self) -> list[tuple[str, str]]:
        """Every message, oldest first."""
        with self._lock:
            return list(self.messages)

    # the servers

    def _serve(self, answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> FakeServer:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                answer(self, self.rfile.read(length))

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        server = FakeServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def _login(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = request.path
        if request.command == "GET" and path == "/v1/.well-known/openidconfiguration":
            self.fetches["metadata"] += 1
            if self.metadata_status != 200:
                return reply(request, self.metadata_status, {})
            return reply(request, 200, {
                "issuer": ISSUER, "authorization_endpoint": "https://invalid.botframework.com",
                "jwks_uri": f"{self.login_url}/v1/.well-known/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            })
        if request.command == "GET" and path == "/v1/.well-known/keys":
            self.fetches["keys"] += 1
            return reply(request, 200, {"keys": [key.jwk() for key in self.keys]})
        if request.command == "POST" and path == f"/{self.directory}/oauth2/v2.0/token":
            form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
            self.token_requests.append(form)
            right = {"grant_type": "client_credentials", "client_id": self.app_id, "scope": SCOPE}
            if {name: form.get(name) for name in right} != right:
                return reply(request, 400, {"error": "invalid_request"})
            if form.get("client_secret") not in self.passwords:
                return reply(request, 401, {"error": "invalid_client", "error_description": "AADSTS7000215"})
            token = f"tok-{uuid.uuid4().hex}"
            self.tokens[token] = time.time() + self.token_seconds
            return reply(request, 200, {"token_type": "Bearer", "expires_in": self.token_seconds,
                                        "ext_expires_in": self.token_seconds, "access_token": token})
        reply(request, 404, {})

    def _catcher(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.caught.append(Call(request.command, request.path, lower(request), body, 200))
        reply(request, 200, {"id": "caught", "activityId": "caught"})

    def _connector(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        try:
            content = json.loads(body) if body else None
        except ValueError:
            content = None
        call = Call(request.command, request.path, lower(request), content)
        fault = None
        # Looking up members is a convenience; faults are meant for messages.
        if request.command in ("POST", "PUT"):
            with self._lock:
                waiting = self.faults.queue[0] if self.faults.queue else None
                if waiting and waiting.method in ("", request.command):
                    fault = self.faults.get_nowait()
        with self._lock:
            self.calls.append(call)
            if fault is None or fault.kept:
                call.status, answer = self._connect(call)
        if fault is None:
            return reply(request, call.status, answer)
        if fault.hang:
            time.sleep(fault.hang)
            request.close_connection = True
            return None
        call.status = fault.status
        return reply(request, fault.status, error(fault.code, "on demand"), fault.headers)

    def _connect(self, call: Call) -> tuple[int, dict[str, Any]]:
        bearer = call.headers.get("authorization", "")
        until = self.tokens.get(bearer.removeprefix("Bearer "))
        if not bearer.startswith("Bearer ") or until is None or until < time.time():
            return 401, error("Unauthorized", "token")
        url = urllib.parse.urlsplit(call.path)
        parts = [urllib.parse.unquote(part) for part in url.path.removeprefix("/teams/").split("/")]
        match call.method, parts:
            case "POST", ["v3", "conversations"]:
                return self._create(call.body)
            case "POST", ["v3", "conversations", conversation, "activities"]:
                return self._message(conversation, None, call.body)
            case "PUT", ["v3", "conversations", conversation, "activities", message]:
                if (conversation, message) not in self.messages:
                    return 404, error("ActivityNotFoundInConversation", message)
                return self._message(conversation, message, call.body)
            case "GET", ["v3", "conversations", conversation, "pagedmembers"]:
                size = int(dict(urllib.parse.parse_qsl(url.query)).get("pageSize", "0"))
                people = self.members.get(conversation, [])
                members = [{"id": m.id, "aadObjectId": m.object_id, "name": m.name} for m in people]
                return 200, {"members": members[:size]}
        return 404, error("NotFound", call.path)

    def _create(self, body: Any) -> tuple[int, dict[str, Any]]:
        # Microsoft's own client for Python writes `tenantID`; names are read without regard to case there.
        if not isinstance(body, dict) or body.get("tenantId", body.get("tenantID")) != self.directory:
            return 400, error("BadSyntax", "tenantId")
        if body.get("isGroup") is True:
            channel = body.get("channelData", {}).get("channel", {}).get("id", "")
            if not channel.startswith("19:") or "activity" not in body or "members" in body:
                return 400, error("BadSyntax", "a channel thread needs channelData.channel.id and an activity")
            message = str(next(self._ids))
            conversation = f"{channel};messageid={message}"
            status, answer = self._message(conversation, message, body["activity"], new=True)
            return (201, {"id": conversation, "activityId": message}) if status < 300 else (status, answer)
        members = body.get("members")
        if not isinstance(members, list) or len(members) != 1:
            return 400, error("BadSyntax", "one member")
        chat = "a:" + b64(hashlib.sha256(members[0]["id"].encode()).digest())
        return 201, {"id": chat}

    def _message(self, conversation: str, message: str | None, body: Any, new: bool = False) -> tuple[int, dict[str, Any]]:
        wrong = message_wrong(body, self.message_bytes_max)
        if wrong:
            self.wrong += wrong
            code = "MessageSizeTooBig" if wrong[0].startswith("size") else "BadSyntax"
            return (413 if code == "MessageSizeTooBig" else 400), error(code, "; ".join(wrong))
        made = message is None or new
        message = message or str(next(self._ids))
        self.messages.setdefault((conversation, message), []).append(body)
        return (201 if made else 200), {"id": message}


def lower(request: BaseHTTPRequestHandler) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {name.lower(): value for name, value in request.headers.items()}


def error(code: str, message: str) -> dict[str, Any]:
    """An error of the connector."""
    return {"error": {"code": code, "message": message}}


def reply(request: BaseHTTPRequestHandler, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
    """Answers with JSON."""
    data = json.dumps(body).encode()
    request.send_response(status)
    for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
