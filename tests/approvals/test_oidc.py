"""Sign-in by OpenID Connect: what a provider, an attacker between browsers, and another provider can't do (P7, P10, P13)."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from support import Server
from support.fakeprovider import FakeProvider, by_public_key, by_secret, send, unsigned
from support.oidc import answered, begun, callback, link, secret_file, through
from support.pages import RULES, Office, Visitor

TRANSFER = {"amount": 5000, "currency": "EUR", "to": "DE02120300000000202051"}
#: Failed sign-ins of one address are limited, so each browser has one of its own.
ADDRESSES = itertools.count(1)


class Rig:
    """A server with two providers, at both of which Maria has an account; Jonas has one at the first."""

    def __init__(self, root: Any) -> None:
        self.one, self.two = FakeProvider(), FakeProvider()
        self.server = Server(root, plaintext_behind_proxy=True)
        secret = secret_file(root, self.one.secret)
        self.server.sections["oidc.one"] = self.one.section(secret, label="Example ID")
        self.server.sections["oidc.two"] = self.two.section(secret, acr_values=["mfa", "phr"])
        self.office = Office.open(self.server, f"http://localhost:{self.server.port}")
        rules = RULES.replace('step_up = "1s"', 'step_up = "5m"')
        self.office.write(rules, [{"id": id, **person} for id, person in self.office.people.items()])
        self.office.apply()
        for name, provider in (("one", self.one), ("two", self.two)):
            provider.redirect = callback(self.office, name)
            link(self.office, provider.issuer, provider.subject, "p-maria")

    def calm(self) -> None:
        """Both providers are right again."""
        for provider in (self.one, self.two):
            assert provider.strict == [], "we asked a provider wrongly"
            provider.claims, provider.header, provider.answer, provider.faults, provider.metadata = {}, {}, {}, {}, {}
            provider.sign, provider.subject = provider.signed, "00u1a2b3c4"
        self.two.claims = {"acr": "mfa"}

    def visitor(self) -> Visitor:
        """A browser at an address of its own."""
        visitor = self.office.visitor()
        visitor.http.headers["X-Forwarded-For"] = f"198.51.100.{next(ADDRESSES)}"
        return visitor


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One server for all."""
    made = Rig(tmp_path_factory.mktemp("oidc"))
    with made.server:
        yield made
    made.one.close()
    made.two.close()


@pytest.fixture
def desk(whole: Rig) -> Iterator[Rig]:
    """It, with providers that are right; afterwards a right sign-in works, whatever was tried."""
    whole.calm()
    yield whole
    whole.calm()
    assert through(whole.visitor(), "one").status_code == 303


def signed_in(visitor: Visitor) -> bool:
    """Whether somebody is."""
    return "Sign out" in visitor.get("/").text


def refused(answer: httpx.Response, words: str, status: int = 401) -> None:
    """A page that says why, and no session."""
    assert answer.status_code == status and words in answer.text, (answer.status_code, answer.text)
    assert "countersign=" not in answer.headers.get("set-cookie", ""), answer.headers


def test_p7_a_person_signs_in_at_a_provider_and_answers(desk: Rig) -> None:
    paused, visitor = desk.office.pause(TRANSFER), desk.visitor()
    page = visitor.get(f"/approvals/{paused.id}")
    assert "Example ID" in page.text and 'href="?oidc=one"' in page.text
    answer = through(visitor, "one", f"/approvals/{paused.id}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/approvals/{paused.id}")
    cookies = answer.headers.get_list("set-cookie")
    assert any(c.startswith("countersign-oidc-one=;") and "Max-Age=0" in c for c in cookies), "the begun sign-in is over"
    asked = desk.one.asked[-1]
    assert asked["scope"].split() == ["openid"] and asked["max_age"] == "28800" and "prompt" not in asked
    assert asked["code_challenge_method"] == "S256" and asked["redirect_uri"] == callback(desk.office, "one")
    answer = visitor.review(paused, "approve")
    assert answer.status_code == 303, answer.text
    [review] = [event for event in desk.office.history(paused.id) if event["type"] == "reviewed"]
    assert (review["by"], review["via"], review["auth"]["method"]) == ("p-maria", "web", "oidc")


def test_p7_signed_out_is_signed_out(desk: Rig) -> None:
    visitor = desk.visitor()
    through(visitor, "one")
    assert signed_in(visitor)
    assert visitor.post("/signout", {"token": visitor.fields("/")["token"]}).status_code == 303
    assert not signed_in(visitor)


def test_p10_an_unknown_account_opens_nothing_and_says_what_the_admin_needs(desk: Rig) -> None:
    desk.one.subject, visitor = "stranger|7 <b>", desk.visitor()
    answer = through(visitor, "one")
    refused(answer, "Account not linked to a person", 403)
    assert desk.one.issuer in answer.text and "stranger|7 &#60;b&#62;" in answer.text and "<b>" not in answer.text
    assert not signed_in(visitor)
    # The same subject at the other provider is another account.
    link(desk.office, desk.one.issuer, "only-at-one", "p-jonas")
    desk.two.subject = "only-at-one"
    refused(through(desk.visitor(), "two"), "linked to nobody here", 403)
    desk.one.subject = "only-at-one"
    assert through(desk.visitor(), "one").status_code == 303


def test_p10_a_link_is_an_entry_without_the_subject_and_ends_when_it_is_removed(desk: Rig) -> None:
    desk.one.subject, visitor = "leaver@example.com", desk.visitor()
    key_id = link(desk.office, desk.one.issuer, desk.one.subject, "p-nils")["key_id"]
    assert "Conflict" not in link(desk.office, desk.one.issuer, desk.one.subject, "p-jonas", 409)["detail"]
    assert through(visitor, "one").status_code == 303 and signed_in(visitor)
    admin = desk.server.admin
    [entry] = [e["event"] for e in admin.entries(kind="access") if e["event"].get("key_id") == key_id]
    assert (entry["op"], entry["person"], entry["oidc"]) == ("add", "p-nils", {"issuer": desk.one.issuer})
    assert entry["by"]["key"] == desk.server.admin_key.id and entry["reason"]
    assert "leaver" not in str(admin.entries(kind="access")), "no entry has the subject"
    assert admin.http.request("DELETE", f"{admin.t}/keys/{key_id}").status_code == 204
    assert not signed_in(visitor), "a session ends with its account"
    refused(through(desk.visitor(), "one"), "linked to nobody here", 403)


def test_p12_an_account_is_linked_by_an_admin_to_a_provider_of_this_tenant_alone(desk: Rig) -> None:
    admin = desk.server.admin
    body = {"person": "p-omar", "issuer": desk.one.issuer, "subject": "omar"}
    reviewer = desk.server.client(desk.office.key("p-jonas"))
    assert reviewer.http.post(f"{reviewer.t}/accounts", json=body).status_code == 403
    for wrong in ({"issuer": desk.one.issuer + "/"}, {"subject": ""}, {"subject": "a\nb"}, {"subject": "x" * 256}, {"name": "x" * 129}, {"more": 1}):
        answer = admin.http.post(f"{admin.t}/accounts", json=body | wrong)
        assert answer.status_code == 400, (wrong, answer.text)


def test_p7_step_up_needs_a_sign_in_that_the_token_proves(desk: Rig) -> None:
    """The rule of `vault` wants a sign-in of the last five minutes: an old one at the provider never counts, whatever the browser asks."""
    paused, visitor = desk.office.pause({"secret": "db"}, tool="vault", action="read"), desk.visitor()
    desk.one.claims = {"auth_time": lambda now: now - 3000}
    assert through(visitor, "one", f"/approvals/{paused.id}").status_code == 303
    page = visitor.get(f"/approvals/{paused.id}").text
    assert "This rule needs a sign-in" in page and "Approve" not in page
    assert f"/signin?next=/approvals/{paused.id}&#38;again=1&#38;oidc=one" in visitor.get(f"/signin?next=/approvals/{paused.id}").text
    again = f"/signin?next=/approvals/{paused.id}&again=1"
    refused(through(visitor, "one", again), "did not ask you again")
    assert (desk.one.asked[-1]["prompt"], desk.one.asked[-1]["max_age"]) == ("login", "60")
    # Without `again` there is a session, and its age is the token's: a stripped parameter helps nobody.
    assert through(visitor, "one", f"/signin?next=/approvals/{paused.id}").status_code == 303
    assert "This rule needs a sign-in" in visitor.get(f"/approvals/{paused.id}").text
    desk.one.claims = {"auth_time": None}
    refused(through(visitor, "one", again), "auth_time")
    desk.one.claims = {"auth_time": lambda now: now + 30}
    assert through(visitor, "one", again).status_code == 303, "its clock is ahead by less than a minute"
    assert visitor.review(paused, "approve").status_code == 303
    [review] = [event for event in desk.office.history(paused.id) if event["type"] == "reviewed"]
    assert review["auth"]["method"] == "oidc"


@pytest.mark.parametrize("acr", [None, "pwd", "mfa phr", "MFA"])
def test_p7_a_missing_class_of_authentication_is_refused(desk: Rig, acr: str | None) -> None:
    desk.two.claims = {"acr": acr}
    refused(through(desk.visitor(), "two"), "acr_values")
    assert desk.two.asked[-1]["acr_values"] == "mfa phr"


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


def test_p7_code_and_state_count_once_in_their_own_browser(desk: Rig) -> None:
    victim, attacker = desk.visitor(), desk.visitor()
    back = answered(begun(attacker, "one"))
    refused(victim.get(back), "another browser", 400)
    begun(victim, "one")
    refused(victim.get(back), "another browser", 400)
    assert not signed_in(victim), "a victim is not signed in as the attacker"
    cookie = attacker.http.cookies["countersign-oidc-one"]
    assert attacker.get(back).status_code == 303
    attacker.http.cookies.set("countersign-oidc-one", cookie, domain="127.0.0.1")
    refused(attacker.get(back), "was used before", 400)
    # A used code under a new state: the provider refuses it.
    code = dict(parse_qsl(urlsplit(back).query))["code"]
    other = dict(parse_qsl(urlsplit(answered(begun(victim, "one"))).query))
    refused(victim.get(f"/signin/oidc/one/callback?{urlencode(other | {'code': code})}"), "refused the code: invalid_grant")


def test_p7_the_code_of_another_sign_in_is_worth_nothing(desk: Rig) -> None:
    """An attacker who saw a code can't redeem it: the verifier of another sign-in does not fit its challenge."""
    victim, attacker = desk.visitor(), desk.visitor()
    stolen = dict(parse_qsl(urlsplit(answered(begun(victim, "one"))).query))["code"]
    own = dict(parse_qsl(urlsplit(answered(begun(attacker, "one"))).query))
    refused(attacker.get(f"/signin/oidc/one/callback?{urlencode(own | {'code': stolen})}"), "invalid_grant")


@pytest.mark.parametrize("missing", ["state", "code", "iss"])
def test_p7_an_answer_without_one_of_its_parts_is_refused(desk: Rig, missing: str) -> None:
    visitor = desk.visitor()
    parts = dict(parse_qsl(urlsplit(answered(begun(visitor, "one"))).query))
    del parts[missing]
    answer = visitor.get(f"/signin/oidc/one/callback?{urlencode(parts)}")
    assert answer.status_code in (400, 401) and not signed_in(visitor), answer.text


def test_p7_two_providers_are_not_mixed_up(desk: Rig) -> None:
    """The second provider is bad: it sends the browser, or its own code, to where the first one's answers go (RFC 9700, 4.4)."""
    visitor = desk.visitor()
    back = answered(begun(visitor, "two"))
    refused(visitor.get(back.replace("/oidc/two/", "/oidc/one/")), "another browser", 400)
    desk.one.answer = {"iss": desk.two.issuer}
    refused(through(visitor, "one"), f"not from {desk.one.issuer}")
    desk.one.answer = {"iss": None}
    refused(through(visitor, "one"), "does not name it")
    desk.one.answer = {"iss": desk.two.issuer, "error": "access_denied", "code": None}
    refused(through(visitor, "one"), f"not from {desk.one.issuer}")
    assert "/token" not in desk.one.calls[-3:], "nothing was sent anywhere"
    # It redeems the first one's code itself, and answers with a token that the first one made: for another client.
    desk.two.claims = {"acr": "mfa", "iss": desk.one.issuer}
    refused(through(visitor, "two"), "issuer")


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "/signout", "/approvals/../x", "/%0d%0aSet-Cookie:a=b"])
def test_p7_a_sign_in_leads_to_our_own_pages_alone(desk: Rig, to: str) -> None:
    visitor = desk.visitor()
    address = begun(visitor, "one", f"/signin?{urlencode({'next': to})}")
    assert address.startswith(f"{desk.one.issuer}/authorize?")
    answer = visitor.get(answered(address))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_p7_what_a_provider_says_of_a_failure_is_shown_as_its_code(desk: Rig) -> None:
    desk.one.answer = {"error": "access_denied<script>", "error_description": "<b>Call +1 555</b>", "code": None}
    visitor = desk.visitor()
    answer = through(visitor, "one")
    refused(answer, "(access_deniedscript)")
    assert "555" not in answer.text


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
                fails("https://")
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


def test_p7_the_page_never_begins_at_a_provider_that_is_not_configured(desk: Rig) -> None:
    visitor = desk.visitor()
    for name in ("three", "../one", "one/x", "%00"):
        assert visitor.get(f"/?oidc={name}").status_code == 404
        assert visitor.get(f"/signin/oidc/{name}/callback?code=a&state=b").status_code in (400, 404)


def test_p13_failed_sign_ins_of_one_address_are_limited(desk: Rig) -> None:
    visitor = desk.visitor()
    statuses = [visitor.get("/signin/oidc/one/callback?code=a&state=b").status_code for _ in range(21)]
    assert statuses == [400] * 20 + [429]
    assert visitor.get("/?oidc=one").status_code == 429
    assert desk.visitor().get("/?oidc=one").status_code == 303


def test_p11_neither_log_nor_database_has_codes_tokens_or_the_secret(desk: Rig) -> None:
    visitor = desk.visitor()
    back = answered(begun(visitor, "one"))
    visitor.get(back)
    parts = dict(parse_qsl(urlsplit(back).query))
    for secret in (parts["code"], parts["state"], desk.one.secret, visitor.http.cookies["countersign"]):
        assert secret not in desk.server.log, secret
        assert secret.encode() not in b"".join(path.read_bytes() for path in desk.server.data_dir.rglob("*") if path.is_file())


def test_p7_over_https_the_cookie_of_a_sign_in_is_bound_to_the_host(tmp_path: Any) -> None:
    provider = FakeProvider()
    server = Server(tmp_path / "server", sections={"oidc.one": provider.section(secret_file(tmp_path, provider.secret))})
    office = Office.open(server, "https://log.example.com")
    with server:
        cookie = office.visitor().get("/?oidc=one").headers["set-cookie"]
        assert cookie.startswith("__Host-countersign-oidc-one=")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; ")) and "Domain" not in cookie
        provider.close()


@pytest.mark.parametrize(
    "over",
    [
        {"issuer": "http://id.example.com"}, {"issuer": "http://localhost:1"}, {"issuer": "https://id.example.com/?a=b"}, {"client_id": ""},
        {"tenant": "No"}, {"client_secret_file": "/nonexistent"}, {"acr_values": ["a b"]}, {"proxy": "ftp://x"}, {"label": "\u0007"},
    ],
)  # fmt: skip
def test_p7_a_wrong_provider_is_found_before_the_start(tmp_path: Any, over: dict[str, Any]) -> None:
    section = {"tenant": "acme", "issuer": "https://id.example.com", "client_id": "c"} | over
    server = Server(tmp_path, sections={"approvals": {"dir": tmp_path / "approvals"}, "oidc.id": section})
    done = server.run("check-config")
    assert done.code == 64 and f"oidc.id.{next(iter(over))}" in done.out + done.err, done


def test_p7_a_secret_that_others_can_read_is_refused(tmp_path: Any) -> None:
    path = secret_file(tmp_path, "x" * 20)
    path.chmod(0o644)
    section = {"tenant": "acme", "issuer": "https://id.example.com", "client_id": "c", "client_secret_file": path}
    server = Server(tmp_path, sections={"approvals": {"dir": tmp_path / "approvals"}, "oidc.id": section})
    done = server.run("check-config")
    assert done.code == 64 and "can be read by others" in done.out + done.err
