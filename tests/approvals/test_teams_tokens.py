"""The token that comes with an activity: every one that Microsoft's own client refuses, and some more.

`botframework-connector` is the judge; its metadata endpoint is our fake. Nothing here needs an approval: an activity
that asks for nothing is answered 200 once it is believed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botbuilder.schema import Activity
from botframework.connector.auth import (
    AuthenticationConfiguration,
    ChannelValidation,
    JwtTokenValidation,
    SimpleCredentialProvider,
)
from botframework.connector.auth.jwt_token_extractor import JwtTokenExtractor

from support import Server
from support.fakebot import ISSUER, FakeBot, Member, SigningKey
from support.house import seen

CONVERSATION = "19:abc@thread.tacv2;messageid=1"


@pytest.fixture(scope="module")
def bot() -> Iterator[FakeBot]:
    """A bot whose keys are known before the server starts."""
    with FakeBot() as bot:
        bot.keys += [SigningKey(["webchat"]), SigningKey([])]
        yield bot


@pytest.fixture(scope="module")
def server(bot: FakeBot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with that bot as `acme-teams`."""
    with teams_server(tmp_path_factory.mktemp("tokens"), bot) as server:
        yield server


def teams_server(root: Any, bot: FakeBot) -> Server:
    password = root / "password"
    password.write_text(next(iter(bot.passwords)) + "\n")
    (root / "approvals").mkdir()
    sections = {"approvals": {"dir": root / "approvals"}, "teams.acme-teams": bot.section("acme", [password])}
    return Server.ready(root / "server", sections=sections)


@pytest.fixture
def endpoint(server: Server) -> str:
    """Where the Bot Framework sends activities."""
    return f"{server.url}/teams/acme-teams/messages"


def kim(bot: FakeBot, directory: str | None = None) -> Member:
    """Somebody."""
    return Member("Kim", str(uuid.UUID(int=1)), directory or bot.directory)


def microsoft_refuses(bot: FakeBot, activity: dict[str, Any], header: str | None) -> bool:
    """Whether Microsoft's client does not take an activity with this `Authorization`."""
    JwtTokenExtractor.metadataCache.clear()
    ChannelValidation.open_id_metadata_endpoint = bot.metadata_url
    credentials = SimpleCredentialProvider(bot.app_id, next(iter(bot.passwords)))
    check = JwtTokenValidation.authenticate_request(
        Activity().deserialize(activity), header, credentials, "", AuthenticationConfiguration())
    try:
        identity = asyncio.run(check)
    except Exception:
        return True
    return not identity.is_authenticated


NOW = int(time.time())
HOUR = 3600

#: name → (how the token is made, changes of the activity)
Make = Callable[[FakeBot], str]
BAD: dict[str, tuple[Make, dict[str, Any]]] = {
    "issuer": (lambda b: b.token(iss="https://sts.windows.net/x/"), {}),
    "no issuer": (lambda b: b.token(iss=...), {}),
    "audience": (lambda b: b.token(aud=str(uuid.uuid4())), {}),
    "no audience": (lambda b: b.token(aud=...), {}),
    "several audiences": (lambda b: b.token(aud=[b.app_id, "x"]), {}),
    "expired": (lambda b: b.token(exp=int(time.time()) - 301, nbf=NOW - HOUR), {}),
    "expired long ago": (lambda b: b.token(exp=NOW - HOUR, nbf=NOW - 2 * HOUR), {}),
    "not yet valid": (lambda b: b.token(nbf=int(time.time()) + 330), {}),
    "issued in the future": (lambda b: b.token(iat=int(time.time()) + 330), {}),
    "unknown kid": (lambda b: b.token(kid=uuid.uuid4().hex), {}),
    "no kid": (lambda b: b.token(kid=...), {}),
    "a key of nobody": (lambda b: b.token(SigningKey(), kid=b.keys[0].kid), {}),
    "signed by another listed key": (lambda b: b.token(b.keys[1], kid=b.keys[0].kid), {}),
    "missing endorsement": (lambda b: b.token(b.keys[1]), {}),
    "service URL of another activity": (lambda b: b.token(), {"serviceUrl": "http://127.0.0.1:9/teams/"}),
    "no service URL in the token": (lambda b: b.token(serviceurl=...), {}),
    "alg none": (lambda b: b.by_hand({"alg": "none", "typ": "JWT", "kid": b.keys[0].kid}, lambda _: b""), {}),
    "HS256 with the public key": (lambda b: b.hs256(b.keys[0].public_pem()), {}),
    "HS256 with the modulus": (lambda b: b.hs256(b.keys[0].jwk()["n"].encode()), {}),
    "critical extension": (lambda b: b.token(header={"crit": ["x"], "x": 1}), {}),
    "of another bot, for a skill": (lambda b: b.token(ver="1.0", appid=str(uuid.uuid4())), {}),
    "cut off": (lambda b: b.token()[:-8], {}),
    "changed": (lambda b: flipped(b.token()), {}),
    "no token": (lambda b: "x", {}),
}
#: What Microsoft's client takes and we do not, and why.
STRICTER: dict[str, tuple[Make, dict[str, Any]]] = {
    # It skips the check when a key has no endorsements at all.
    "a key without any endorsement": (lambda b: b.token(b.keys[2]), {}),
    # It has no list of hosts, so a stolen signing process could send it anywhere.
    "a service URL that is not listed": (
        lambda b: b.token(serviceurl=b.catcher_url + "/"), {"serviceUrl": "CATCHER/"}),
    # It leaves tenants to the bot.
    "another directory": (lambda b: b.token(), {"channelData": {"tenant": {"id": str(uuid.uuid4())}}}),
    "no directory": (lambda b: b.token(), {"channelData": {}, "conversation": {"id": CONVERSATION}}),
    "a member of another directory": (
        lambda b: b.token(), {"from": {"id": "29:x", "aadObjectId": str(uuid.uuid4()), "tenantId": str(uuid.uuid4())}}),
    # An activity without a channel needs no endorsement there.
    "no channel": (lambda b: b.token(), {"channelId": None}),
    "another channel than Teams": (lambda b: b.token(), {"channelId": "webchat"}),
    # It takes tokens that never expire.
    "no expiry": (lambda b: b.token(exp=...), {}),
    "no beginning": (lambda b: b.token(nbf=...), {}),
}


def flipped(token: str) -> str:
    """Another signature."""
    head, signature = token.rsplit(".", 1)
    return head + "." + ("A" if signature[0] != "A" else "B") + signature[1:]


def made(bot: FakeBot, case: tuple[Make, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    make, changes = case
    changes = {k: v.replace("CATCHER", bot.catcher_url) if isinstance(v, str) else v for k, v in changes.items()}
    return bot.activity(kim(bot), CONVERSATION, **changes), make(bot)


def test_a_good_token_is_taken_by_both(bot: FakeBot, endpoint: str) -> None:
    activity, token = bot.activity(kim(bot), CONVERSATION), bot.token()
    assert not microsoft_refuses(bot, activity, f"Bearer {token}")
    answer = bot.send(endpoint, activity, token)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("claims", [{"exp": 290}, {"nbf": 290}, {"iat": 290}])
def test_clocks_may_differ_by_five_minutes(bot: FakeBot, endpoint: str, claims: dict[str, int]) -> None:
    signs = {"exp": -1, "nbf": 1, "iat": 1}
    token = bot.token(**({"nbf": NOW - HOUR} | {c: int(time.time()) + signs[c] * by for c, by in claims.items()}))
    activity = bot.activity(kim(bot), CONVERSATION)
    assert not microsoft_refuses(bot, activity, f"Bearer {token}")
    assert bot.send(endpoint, activity, token).status_code == 200


@pytest.mark.parametrize("name", BAD)
def test_p9_what_microsofts_client_refuses_we_refuse(bot: FakeBot, endpoint: str, name: str) -> None:
    activity, token = made(bot, BAD[name])
    assert microsoft_refuses(bot, activity, f"Bearer {token}")
    answer = bot.send(endpoint, activity, token)
    assert answer.status_code in (401, 403), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", STRICTER)
def test_p9_where_we_are_stricter(bot: FakeBot, endpoint: str, name: str) -> None:
    activity, token = made(bot, STRICTER[name])
    assert not microsoft_refuses(bot, activity, f"Bearer {token}")
    assert bot.send(endpoint, activity, token).status_code in (401, 403)


@pytest.mark.parametrize("header", ["", "Bearer", "bearer TOKEN", "Bearer  TOKEN", "Basic TOKEN", "TOKEN"])
def test_p9_only_bearer(bot: FakeBot, endpoint: str, header: str) -> None:
    header = header.replace("TOKEN", bot.token())
    activity = bot.activity(kim(bot), CONVERSATION)
    assert microsoft_refuses(bot, activity, header)
    assert bot.send(endpoint, activity, Authorization=header).status_code == 401


def test_p13_bodies_are_bounded_before_they_are_looked_at(bot: FakeBot, endpoint: str) -> None:
    """8 MiB without a token."""
    answer = bot.send(endpoint, b'{"type":"' + b"x" * (8 << 20) + b'"}', token="none")
    assert answer.status_code == 413 and answer.json()["code"] == "too_big"
    assert bot.send(endpoint, b"[1]").status_code == 400
    assert bot.send(endpoint, b"no json").status_code == 400


def test_p12_an_unknown_connection_is_nothing(bot: FakeBot, server: Server) -> None:
    activity = bot.activity(kim(bot), CONVERSATION)
    answers = [bot.send(f"{server.url}/teams/{name}/messages", activity) for name in ("nobody", "acme", "..%2fx")]
    answers.append(bot.send(f"{server.url}/teams", activity))
    assert {a.status_code for a in answers} == {404}
    assert all(seen(answer) == seen(answers[0]) for answer in answers)


def test_unknown_keys_are_looked_for_once_in_five_minutes(tmp_path: Any) -> None:
    with FakeBot() as bot, teams_server(tmp_path, bot) as server:
        endpoint = f"{server.url}/teams/acme-teams/messages"
        activity = bot.activity(kim(bot), CONVERSATION)
        assert bot.fetches == {"metadata": 0, "keys": 0}
        assert bot.send(endpoint, activity).status_code == 200
        assert bot.fetches == {"metadata": 1, "keys": 1}
        for _ in range(20):
            assert bot.send(endpoint, activity, bot.token(kid=uuid.uuid4().hex)).status_code == 401
        # Also a key that is really new has to wait.
        bot.keys.append(SigningKey())
        assert bot.send(endpoint, activity, bot.token(bot.keys[1])).status_code == 401
        assert bot.send(endpoint, activity).status_code == 200
        assert bot.fetches == {"metadata": 1, "keys": 1}


def test_p9_without_keys_nothing_is_believed(tmp_path: Any) -> None:
    with FakeBot() as bot, teams_server(tmp_path, bot) as server:
        bot.metadata_status = 500
        endpoint = f"{server.url}/teams/acme-teams/messages"
        activity = bot.activity(kim(bot), CONVERSATION)
        begin = time.monotonic()
        for _ in range(5):
            answer = bot.send(endpoint, activity)
            assert answer.status_code == 503 and "retry-after" in answer.headers
        # A failed fetch is tried again after ten seconds, not with every request.
        assert 1 <= bot.fetches["metadata"] <= 1 + (time.monotonic() - begin) // 10 and bot.fetches["keys"] == 0


def test_the_issuer_is_the_one_that_microsoft_documents() -> None:
    parameters = ChannelValidation.TO_BOT_FROM_CHANNEL_TOKEN_VALIDATION_PARAMETERS
    assert parameters.issuer == [ISSUER] and parameters.clock_tolerance == 300
