"""Sign-in by OpenID Connect: tokens that are wrong, and providers that do not answer as they should (P7, P13)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from support import Server
from support.fakeprovider import FakeProvider, by_public_key, by_secret, send, unsigned
from support.oidc import callback, link, secret_file, through
from support.pages import Office
from support.provider_rig import Rig, desk, refused, signed_in, whole

__all__ = ["desk", "whole"]
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "issuer": ({"iss": "http://127.0.0.1:1"}, {}, "issuer"),
    "no issuer": ({"iss": None}, {}, ""),
    "audience": ({"aud": "somebody"}, {}, "audience"),
    "one more audience": ({"aud": ["countersign", "somebody"]}, {}, "audience"),
    "no audience": ({"aud": []}, {}, "audience"),
    "authorized party": ({"azp": "somebody"}, {}, "azp"),
    "nonce": ({"nonce": "another"}, {}, "nonce"),
    "no nonce": ({"nonce": None}, {}, "nonce"),
    "expired": ({"exp": lambda now: now - 1}, {}, "xpired"),
    "no end": ({"exp": None}, {}, ""),
    "issued long ago": ({"iat": lambda now: now - 700}, {}, "issued"),
    "issued in future": ({"iat": lambda now: now + 120}, {}, "issued"),
    "signed in in future": ({"auth_time": lambda now: now + 120}, {}, "future"),
    "signed in yesterday": ({"auth_time": lambda now: now - 86_400}, {}, "too old"),
    "no auth_time": ({"auth_time": None}, {}, "auth_time"),
    "no subject": ({"sub": None}, {}, ""),
    "empty subject": ({"sub": ""}, {}, "subject"),
    "long subject": ({"sub": "x" * 256}, {}, "subject"),
    "unknown key": ({}, {"kid": "k9"}, "does not publish"),
    "critical header": ({}, {"crit": ["x"], "x": 1}, ""),
    "another type": ({}, {"typ": "at+jwt"}, ""),
}


@pytest.mark.parametrize("what", WRONG)
def test_p7_a_token_that_is_wrong_opens_nothing(desk: Rig, what: str) -> None:
    desk.one.claims, desk.one.header, words = WRONG[what]
    visitor = desk.visitor()
    answer = through(visitor, "one")
    assert answer.status_code in (401, 502), answer.text
    refused(answer, words, answer.status_code)
    assert not signed_in(visitor)


@pytest.mark.parametrize("what", ["none", "HS256 with the public key", "HS256 with the client's secret", "another key", "changed"])
def test_p7_a_token_that_nobody_signed_opens_nothing(desk: Rig, what: str) -> None:
    other = FakeProvider()
    other.keys = {"k1": ec.generate_private_key(ec.SECP256R1())}
    other.close()
    forgers: dict[str, Callable[[dict[str, Any], dict[str, Any]], str]] = {
        "none": unsigned,
        "HS256 with the public key": by_public_key(desk.one),
        "HS256 with the client's secret": lambda claims, header: by_secret(desk.one.secret.encode(), claims, header),
        "another key": other.signed,
        "changed": lambda claims, header: changed(desk.one.signed(claims | {"sub": "other"}, header), desk.one.signed(claims, header)),
    }
    desk.one.sign = forgers[what]
    visitor = desk.visitor()
    answer = through(visitor, "one")
    refused(answer, "ID token does not count" if answer.status_code == 401 else "does not answer", answer.status_code)
    assert answer.status_code in (401, 502) and not signed_in(visitor)


def changed(one: str, other: str) -> str:
    """The content of another token under the signature of one."""
    return ".".join([one.split(".")[0], other.split(".")[1], one.split(".")[2]])


def test_p7_new_keys_of_a_provider_are_found(desk: Rig) -> None:
    assert through(desk.visitor(), "one").status_code == 303
    before = desk.one.calls.count("/jwks")
    desk.one.rotate()
    assert through(desk.visitor(), "one").status_code == 303
    assert desk.one.calls.count("/jwks") == before + 1
    assert through(desk.visitor(), "one").status_code == 303
    assert desk.one.calls.count("/jwks") == before + 1, "they are kept"
    desk.one.keys = {"e1": ec.generate_private_key(ec.SECP256R1())}
    assert through(desk.visitor(), "one").status_code == 303, "ES256"


# Providers that do not answer as they should.


def oversized(handler: BaseHTTPRequestHandler) -> None:
    """More than is read."""
    send(handler, 200, b'{"issuer":"' + b"x" * (300 << 10) + b'"}')


def elsewhere(to: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A redirect."""
    def fault(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("location", to)
        handler.send_header("content-length", "0")
        handler.end_headers()
    return fault


def fresh(tmp: Any, provider: FakeProvider, **over: Any) -> Office:
    """A server of its own that has asked its provider nothing yet."""
    server = Server(tmp / "server", sections={"oidc.one": provider.section(secret_file(tmp, provider.secret), **over)})
    office = Office.open(server, f"http://localhost:{server.port}")
    provider.redirect = callback(office, "one")
    return office


def test_p7_a_provider_that_answers_wrongly_is_named_and_the_key_still_signs_in(tmp_path: Any) -> None:
    provider, inner = FakeProvider(), FakeProvider()
    office = fresh(tmp_path, provider)
    well_known = "/.well-known/openid-configuration"
    with office.server:
        def fails(words: str) -> None:
            visitor = office.visitor()
            answer = visitor.get("/?oidc=one")
            refused(answer, words, 502)
            assert "reviewer key" in answer.text
            assert visitor.sign_in("p-maria", office.key("p-maria").text).status_code == 303
            assert signed_in(visitor)

        provider.faults = {well_known: oversized}
        fails("no answer")
        provider.faults = {well_known: elsewhere(f"{inner.issuer}{well_known}")}
        fails("redirects are not followed")
        assert inner.calls == [], "nothing was asked there"
        provider.faults = {well_known: lambda handler: send(handler, 503, {})}
        fails("503")
        provider.faults = {well_known: lambda handler: send(handler, 200, b"<html>", "text/html")}
        fails("be read")
        provider.faults = {"/jwks": elsewhere(f"{inner.issuer}/jwks")}
        fails("redirects are not followed")
        provider.faults, provider.metadata = {}, {"issuer": inner.issuer}
        fails("another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            for to in ("http://10.0.0.1/x", "file:///etc/passwd", "http://localhost/x"):
                provider.metadata = {name: to}
                fails("be read" if (name, to[:4]) == ("jwks_uri", "file") else "https://")
        provider.metadata = {"token_endpoint": None}
        through_fails(office, "no token endpoint")
        provider.metadata = {}
        provider.close()
        inner.close()


def through_fails(office: Office, words: str) -> None:
    """The way back fails."""
    refused(through(office.visitor(), "one"), words, 502)


@pytest.mark.parametrize("what", ["oversized", "redirect", "html", "cut", "500"])
def test_p7_a_token_endpoint_that_answers_wrongly_opens_nothing(desk: Rig, what: str) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"{")
        handler.close_connection = True

    faults = {
        "oversized": oversized, "redirect": elsewhere(f"{desk.two.issuer}/token"), "cut": cut,
        "html": lambda handler: send(handler, 200, b"<html>", "text/html"), "500": lambda handler: send(handler, 500, b"x"),
    }  # fmt: skip
    before = list(desk.two.calls)
    desk.one.faults = {"/token": faults[what]}
    visitor = desk.visitor()
    answer = through(visitor, "one")
    assert answer.status_code == 502, answer.text
    assert not signed_in(visitor) and desk.two.calls == before, "the code and the secret went nowhere else"


def test_p13_a_provider_that_hangs_keeps_few_places_and_nobody_else_waits(tmp_path: Any) -> None:
    provider, release = FakeProvider(), threading.Event()
    provider.faults = {"/.well-known/openid-configuration": lambda handler: release.wait(60) and None}
    office = fresh(tmp_path, provider)
    with office.server:
        maria = office.visitor("p-maria")
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(office.visitor().get("/?oidc=one").status_code)) for _ in range(20)]
        for thread in threads:
            thread.start()
        try:
            while answers.count(503) < 4:
                time.sleep(0.01)
            assert maria.get("/").status_code == 200
            assert office.visitor().sign_in("p-maria", office.key("p-maria").text).status_code == 303
        finally:
            release.set()
            for thread in threads:
                thread.join(60)
        assert sorted(answers) == [502] * 16 + [503] * 4
        provider.close()


def test_p7_a_provider_that_is_down_is_said_to_be_and_is_asked_again(tmp_path: Any) -> None:
    provider = FakeProvider()
    office = fresh(tmp_path, provider)
    with office.server:
        provider.close()
        refused(office.visitor().get("/?oidc=one"), "no answer", 502)
        assert office.visitor().sign_in("p-maria", office.key("p-maria").text).status_code == 303
        again = FakeProvider(port=provider.port)
        again.redirect = provider.redirect
        link(office, again.issuer, again.subject, "p-maria")
        assert through(office.visitor(), "one").status_code == 303
        again.close()
