"""A strict Slack: the Web API as a real HTTP server, with trouble on demand. Ours, from Slack's documentation.

    with FakeSlack() as slack:
        slack.channel("C1")                             # a channel the bot was invited to
        ... api_url = slack.api_url, token = slack.token
        slack.trouble("chat.postMessage", "ratelimited", retry_after=2)
        card = slack.cards("C1")[-1]

It answers with Slack's own codes, keeps every call, and lists in `violations` what Slack would forgive but we must
not do.
"""

from __future__ import annotations

import copy
import itertools
import json
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from . import slack_limits as limits
from .fakeserver import FakeServer

Json = dict[str, Any]
#: Slack gives 3 s. A machine that runs tests may stand still for that long.
TRIGGER_SECONDS = 30.0
RESPONSE_SECONDS = 30 * 60.0
RESPONSE_USES_MAX = 5

#: method → (arguments it knows, scope it needs, whether GET is allowed)
MESSAGE = {"channel", "text", "blocks", "metadata", "parse", "link_names"}
METHODS: dict[str, tuple[set[str], str | None, bool]] = {
    "auth.test": (set(), None, True),
    "chat.postMessage": (MESSAGE | {"unfurl_links", "unfurl_media", "mrkdwn", "thread_ts"}, "chat:write", False),
    "chat.update": (MESSAGE | {"ts"}, "chat:write", False),
    "chat.postEphemeral": ({"channel", "user", "text", "blocks"}, "chat:write", False),
    "conversations.history": (
        {"channel", "cursor", "limit", "include_all_metadata", "latest", "oldest", "inclusive"},
        "channels:history",
        True,
    ),
    "views.open": ({"trigger_id", "view"}, None, False),
}
BOOLEANS = {"link_names", "unfurl_links", "unfurl_media", "mrkdwn", "include_all_metadata", "inclusive"}


class Refused(Exception):
    """An answer `ok: false` with this code."""


@dataclass
class Call:
    """One request as it came, and what was answered."""

    method: str
    args: Json
    status: int = 0
    answer: Json = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)


@dataclass
class Trouble:
    """What goes wrong with the next calls of a method."""

    kind: str
    times: int
    options: dict[str, Any]


@dataclass
class Channel:
    """A channel."""

    id: str
    member: bool = True
    archived: bool = False
    messages: list[Json] = field(default_factory=list)


@dataclass
class ResponseUrl:
    """Where one click is answered."""

    channel: str
    user: str
    made: float = field(default_factory=time.monotonic)
    uses: list[Json] = field(default_factory=list)


class FakeSlack:
    """One workspace, one installed app."""

    def __init__(self, *, app_id: str = "A0123456789", team: str = "T0123456789", token: str = "xoxb-fake-1",
                 port: int = 0) -> None:
        self.app_id, self.team, self.token = app_id, team, token
        self.scopes = {"chat:write", "channels:history", "groups:history"}
        self.channels: dict[str, Channel] = {}
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.views: list[Json] = []
        self.ephemeral: list[Json] = []
        self.responses: dict[str, ResponseUrl] = {}
        self._triggers: dict[str, float] = {}
        self._troubles: dict[str, list[Trouble]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._server = FakeServer(("127.0.0.1", port), _handler(self))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"{self.url}/api"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "FakeSlack":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    # what a test sets up and looks at

    def channel(self, name: str, *, member: bool = True, archived: bool = False) -> Channel:
        """Makes a channel, or changes one."""
        channel = self.channels.setdefault(name, Channel(name))
        channel.member, channel.archived = member, archived
        return channel

    def trouble(self, method: str, kind: str, times: int = 1, **options: Any) -> None:
        """The next `times` calls of a method go wrong.

        `ratelimited` (retry_after) · `status` (code) · `error` (code) · `hang` (seconds): nothing is done ·
        `lost` (seconds): it is done, and never answered · `garbage`: it is done, and answered with HTML.
        """
        with self._lock:
            self._troubles.setdefault(method, []).append(Trouble(kind, times, options))

    def untroubled(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._troubles.clear()

    def cards(self, channel: str) -> list[Json]:
        """The messages of a channel with our metadata, oldest first."""
        with self._lock:
            messages = self.channels[channel].messages
            cards = [m for m in messages if m.get("metadata", {}).get("event_type") == "countersign_approval"]
            return copy.deepcopy(cards)

    def card(self, channel: str, approval: str) -> Json:
        """The newest card of an approval."""
        found = [m for m in self.cards(channel) if m["metadata"]["event_payload"]["approval_id"] == approval]
        assert found, f"no card of {approval} in {channel}"
        return found[-1]

    def called(self, method: str) -> list[Call]:
        """The calls of a method so far."""
        with self._lock:
            return [call for call in self.calls if call.method == method]

    def delete(self, channel: str, ts: str) -> None:
        """Somebody deletes a message."""
        with self._lock:
            messages = self.channels[channel].messages
            messages[:] = [m for m in messages if m["ts"] != ts]

    def new_trigger(self) -> str:
        """A trigger id: one use, three seconds."""
        with self._lock:
            trigger = f"{next(self._numbers)}.{self.port}.trigger"
            self._triggers[trigger] = time.monotonic()
            return trigger

    def new_response_url(self, channel: str, user: str) -> str:
        """A response URL: five uses, thirty minutes."""
        with self._lock:
            name = f"r{next(self._numbers)}"
            self.responses[name] = ResponseUrl(channel, user)
            return f"{self.url}/response/{name}"

    def told(self, user: str) -> list[str]:
        """What was said to one member alone, in order."""
        with self._lock:
            by_url = [use["text"] for r in self.responses.values() if r.user == user for use in r.uses]
            return by_url + [message["text"] for message in self.ephemeral if message["user"] == user]

    # the Web API

    def take(self, method: str, args: Json, token: str | None, verb: str) -> tuple[int, dict[str, str], bytes] | None:
        """Answers one call; `None`: the connection is closed without an answer."""
        call = Call(method, args)
        with self._lock:
            self.calls.append(call)
        trouble = self._next_trouble(method)
        kind = trouble.kind if trouble else None
        if trouble and kind == "ratelimited":
            return self._answer(call, {"ok": False, "error": "ratelimited"}, 429,
                                {"Retry-After": str(trouble.options["retry_after"])})
        if trouble and kind == "status":
            return self._answer(call, {"ok": False}, trouble.options["code"])
        if trouble and kind == "hang":
            self._stopping.wait(trouble.options["seconds"])
            return None
        try:
            if trouble and kind == "error":
                raise Refused(trouble.options["code"])
            answer = {"ok": True} | self._do(method, args, token, verb)
        except Refused as refused:
            answer = {"ok": False, "error": str(refused)}
        except limits.Invalid as invalid:
            self.violations.append(f"{method}: {invalid}")
            answer = {"ok": False, "error": "invalid_blocks", "errors": [str(invalid)]}
        if trouble and kind == "lost":
            self._stopping.wait(trouble.options["seconds"])
            return None
        if kind == "garbage":
            return 200, {"Content-Type": "application/json"}, b"<html>bad gateway</html>"
        return self._answer(call, answer, 200)

    def _next_trouble(self, method: str) -> Trouble | None:
        with self._lock:
            waiting = self._troubles.get(method, [])
            while waiting and waiting[0].times <= 0:
                waiting.pop(0)
            if not waiting:
                return None
            waiting[0].times -= 1
            return waiting[0]

    def _answer(self, call: Call, answer: Json, status: int, headers: dict[str, str] | None = None
                ) -> tuple[int, dict[str, str], bytes]:
        call.status, call.answer = status, answer
        kind = {"Content-Type": "application/json; charset=utf-8"}
        return status, kind | (headers or {}), json.dumps(answer).encode()

    def _do(self, method: str, args: Json, token: str | None, verb: str) -> Json:
        if method not in METHODS:
            raise Refused("unknown_method")
        known, scope, may_get = METHODS[method]
        if token is None:
            raise Refused("not_authed")
        if token != self.token:
            raise Refused("invalid_auth")
        if scope and scope not in self.scopes:
            raise Refused("missing_scope")
        if verb == "GET" and not may_get:
            raise Refused("method_not_supported_for_channel_type")
        for name in args.keys() - known:
            self.violations.append(f"{method}: unknown argument {name}")
        for name in args.keys() & BOOLEANS:
            if not isinstance(args[name], bool):
                self.violations.append(f"{method}: {name} is {args[name]!r}, not a boolean")
        with self._lock:
            return getattr(self, "_" + method.replace(".", "_"))(args)

    def _auth_test(self, _: Json) -> Json:
        return {"url": self.url, "team_id": self.team, "user_id": "UBOT", "bot_id": "BBOT"}

    def _channel(self, args: Json) -> Channel:
        channel = self.channels.get(args.get("channel", ""))
        if channel is None:
            raise Refused("channel_not_found")
        return channel

    def _content(self, args: Json) -> Json:
        text, blocks = args.get("text"), args.get("blocks")
        if not text and not blocks:
            raise Refused("no_text")
        if not isinstance(text, str):
            self.violations.append("a message without text: nothing for notifications")
        elif len(text) > 40_000:
            raise Refused("msg_too_long")
        if blocks is not None and limits.blocks(blocks) > limits.MESSAGE_CHARS_MAX:
            raise Refused("msg_blocks_too_long")
        content = {"text": text or "", "blocks": blocks or []}
        if "metadata" in args:
            try:
                limits.metadata(args["metadata"])
            except limits.Invalid:
                raise Refused("invalid_metadata_format") from None
            content["metadata"] = args["metadata"]
        return content

    def _chat_postMessage(self, args: Json) -> Json:
        if args.get("channel", "").startswith(("U", "W")):
            # A member: the answer names the direct conversation.
            args = args | {"channel": self.channel("D" + args["channel"][1:]).id}
        channel, content = self._channel(args), self._content(args)
        if channel.archived:
            raise Refused("is_archived")
        if not channel.member:
            raise Refused("not_in_channel")
        number = next(self._numbers)
        message = {
            "type": "message", "ts": f"{int(time.time())}.{number:06d}", "user": "UBOT", "bot_id": "BBOT",
            "app_id": self.app_id, "team": self.team, "bot_profile": {"id": "BBOT", "app_id": self.app_id}, **content, **limits.thread(args, channel.messages),
        }
        channel.messages.append(message)
        return {"channel": channel.id, "ts": message["ts"], "message": message}

    def _chat_update(self, args: Json) -> Json:
        channel, content = self._channel(args), self._content(args)
        found = [m for m in channel.messages if m["ts"] == args.get("ts")]
        if not found:
            raise Refused("message_not_found")
        if found[0].get("app_id") != self.app_id:
            raise Refused("cant_update_message")
        found[0].update(content, edited={"user": "BBOT", "ts": f"{time.time():.6f}"})
        return {"channel": channel.id, "ts": found[0]["ts"], "text": content["text"], "message": found[0]}

    def _chat_postEphemeral(self, args: Json) -> Json:
        channel = self._channel(args)
        if not channel.member:
            raise Refused("not_in_channel")
        self.ephemeral.append({"channel": channel.id, "user": args["user"], "text": args.get("text", "")})
        return {"message_ts": f"{time.time():.6f}"}

    def _conversations_history(self, args: Json) -> Json:
        channel = self._channel(args)
        if not channel.member:
            raise Refused("not_in_channel")
        if channel.id.startswith("D"):
            raise Refused("missing_scope")
        start, limit = int(args.get("cursor") or 0), int(args.get("limit", 100))
        if not 1 <= limit <= 999:
            raise Refused("invalid_limit")
        newest = [message for message in channel.messages[::-1] if "thread_ts" not in message]
        page = [dict(message) for message in newest[start:start + limit]]
        if not args.get("include_all_metadata"):
            for message in page:
                message.pop("metadata", None)
        more = start + limit < len(newest)
        cursor = str(start + limit) if more else ""
        return {"messages": page, "has_more": more, "response_metadata": {"next_cursor": cursor}}

    def _views_open(self, args: Json) -> Json:
        made = self._triggers.get(args.get("trigger_id", ""), 0.0)
        if made == 0.0:
            raise Refused("invalid_trigger_id")
        if made < 0:
            raise Refused("exchanged_trigger_id")
        if time.monotonic() - made > TRIGGER_SECONDS:
            raise Refused("expired_trigger_id")
        limits.view(args.get("view"))
        self._triggers[args["trigger_id"]] = -1.0
        view = {"id": f"V{next(self._numbers)}", "team_id": self.team, "app_id": self.app_id, **args["view"]}
        self.views.append(view)
        return {"view": view}

    # response URLs

    def respond(self, name: str, body: Json, token: str | None) -> tuple[int, bytes]:
        """One use of a response URL."""
        with self._lock:
            if token is not None:
                self.violations.append("the token was sent to a response URL")
            response = self.responses.get(name)
            if response is None:
                return 404, b"no_service"
            if len(response.uses) >= RESPONSE_USES_MAX or time.monotonic() - response.made > RESPONSE_SECONDS:
                return 404, b'{"ok":false,"error":"used_url"}'
            if body.get("response_type") != "ephemeral" or body.get("replace_original") is not False:
                self.violations.append(f"an answer that others see, or that replaces the card: {body}")
            response.uses.append(body)
            return 200, b"ok"


def _arguments(handler: BaseHTTPRequestHandler, query: str) -> tuple[Json, str | None]:
    """The arguments of a call, from query, form or JSON; and the token."""
    scheme, _, token = handler.headers.get("Authorization", "").partition(" ")
    length = int(handler.headers.get("Content-Length") or 0)
    body = handler.rfile.read(length)
    if handler.headers.get("Content-Type", "").startswith("application/json"):
        args = json.loads(body or b"{}")
    else:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        pairs += urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)
        args = {name: _typed(name, value) for name, value in pairs}
    return args, args.pop("token", None) or (token if scheme == "Bearer" else None)


def _typed(name: str, value: str) -> Any:
    if name in ("blocks", "metadata", "view"):
        return json.loads(value)
    if name in BOOLEANS:
        return {"true": True, "1": True, "false": False, "0": False}.get(value, value)
    return value


def _handler(slack: FakeSlack) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._do("GET")

        def do_POST(self) -> None:
            self._do("POST")

        def _do(self, verb: str) -> None:
            url = urllib.parse.urlsplit(self.path)
            args, token = _arguments(self, url.query)
            if url.path.startswith("/response/") and verb == "POST":
                status, body = slack.respond(url.path.removeprefix("/response/"), args, token)
                return self._send(status, {"Content-Type": "text/plain"}, body)
            answer = slack.take(url.path.removeprefix("/api/"), args, token, verb)
            if answer is None:
                self.close_connection = True
                return None
            return self._send(*answer)

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
