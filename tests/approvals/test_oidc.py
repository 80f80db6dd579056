"""Sign-in by OpenID Connect: what a person, an attacker between browsers, and another provider can and can't do (P7, P10, P12)."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from support import NatsServer, Server, cli, until
from support.fakeprovider import FakeProvider
from support.oidc import answered, begun, callback, link, secret_file, through
from support.pages import KEYS, RULES, Office
from support.provider_rig import Rig, desk, refused, signed_in, whole

__all__ = ["desk", "whole"]
TRANSFER = {"amount": 5000, "currency": "EUR", "to": "DE02120300000000202051"}


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
    answer = visitor.post("/signout", {"token": visitor.fields("/")["token"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/signout?from=one")
    assert not signed_in(visitor)
    # This provider has no address for signing out, and the page says so.
    page = visitor.get(answer.headers["location"])
    assert page.status_code == 200 and "has no address for it" in page.text and "Example ID" in page.text
    for elsewhere in ("/signout?from=nobody", "/signout"):
        assert visitor.get(elsewhere).headers["location"] == "/"


@pytest.mark.parametrize(("endpoint", "leads"), [("https://id.example.net/out?a=b", True), ("http://id.example.net/out", False), ("https://u:p@id.example.net/", False)])
def test_p7_the_way_to_sign_out_at_a_provider_is_over_tls(tmp_path: Path, endpoint: str, leads: bool) -> None:
    provider = FakeProvider()
    provider.metadata = {"end_session_endpoint": endpoint}
    server = Server(tmp_path)
    server.sections["oidc.one"] = provider.section(secret_file(tmp_path, provider.secret))
    with server:
        office = Office.open(server, f"http://localhost:{server.port}")
        page = office.visitor().get("/signout?from=one")
        assert (f'href="{endpoint}&#38;client_id=' in page.text) is leads, page.text
        assert "post_logout_redirect_uri" not in page.text, "only where the configuration says that it is registered"
        assert ("has no address for it" in page.text) is not leads
    provider.close()


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


def test_p10_p11_a_link_is_an_entry_without_the_subject_and_ends_when_it_is_removed(desk: Rig, tmp_path: Path) -> None:
    desk.one.subject, visitor = "leaver@example.com", desk.visitor()
    key_id = link(desk.office, desk.one.issuer, desk.one.subject, "p-nils")["key_id"]
    assert "Conflict" not in link(desk.office, desk.one.issuer, desk.one.subject, "p-jonas", 409)["detail"]
    assert through(visitor, "one").status_code == 303 and signed_in(visitor)
    admin = desk.server.admin
    [entry] = [e["event"] for e in admin.entries(kind="access") if e["event"].get("key_id") == key_id]
    assert (entry["op"], entry["person"], entry["oidc"]) == ("add", "p-nils", {"issuer": desk.one.issuer})
    assert entry["by"]["key"] == desk.server.admin_key.id and entry["reason"]
    assert "leaver" not in str(admin.entries(kind="access")), "no entry has the subject"
    assert b"leaver" not in b"".join(path.read_bytes() for path in desk.server.data_dir.rglob("*") if path.is_file())
    with Server(tmp_path / "other", sections={"oidc.one": desk.one.section(secret_file(tmp_path, desk.one.secret))}) as other:
        same = link(Office.open(other), desk.one.issuer, desk.one.subject, "p-nils")["key_id"]
    assert same != key_id, "the digest has a secret of the installation: nobody finds the subject by trying"
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


def test_p10_a_sign_in_is_an_entry_before_the_session_and_one_a_minute(desk: Rig, tmp_path: Path) -> None:
    def came() -> list[dict[str, Any]]:
        return [e["event"] for e in desk.server.admin.entries(kind="access") if e["event"]["op"] == "signed_in"]

    before = len(came())
    desk.one.subject = "of-the-entry"
    key_id = link(desk.office, desk.one.issuer, desk.one.subject, "p-lena")["key_id"]
    for _ in range(3):
        assert through(desk.visitor(), "one").status_code == 303
    [entry] = came()[before:]
    by = {"key": key_id, "person": "p-lena"}
    assert entry == {"op": "signed_in", "how": "oidc", "issuer": desk.one.issuer, "seconds": 60, "by": by}
    assert desk.visitor().sign_in("p-lena", desk.office.key("p-lena").text).status_code == 303
    assert [(e["how"], e["by"]["person"], "issuer" in e) for e in came()[before + 1 :]] == [("key", "p-lena", False)]
    # What opens nothing is no sign-in.
    desk.one.subject = "nobody"
    refused(through(desk.visitor(), "one"), "linked to nobody here", 403)
    assert desk.visitor().sign_in("p-lena", "cs_0000000000000000_x").status_code == 401
    assert len(came()) == before + 2
    # The last entry ends a period, and is not in it.
    link(desk.office, desk.one.issuer, "of-the-last-entry", "p-lena")
    folder, evidence = tmp_path / "export", tmp_path / "evidence"
    desk.server.remote("export", "--tenant", "acme", folder).ok()
    cli("verify", "--key", desk.server.vkey, "--export", folder).ok()
    made = cli("evidence", "--export", folder, "-o", evidence)
    rows = list(csv.DictReader((evidence / "policies" / "sign-ins.csv").read_text(encoding="utf-8-sig").splitlines()))
    how = {"oidc": "account", "key": "key"}
    assert [(row["person"], row["how"], row["issuer"], row["key"]) for row in rows] == [
        (e["by"]["person"], how[e["how"]], e.get("issuer", ""), e["by"]["key"]) for e in came()
    ], made  # fmt: skip
    assert cli("verify", "--evidence", evidence, "--key", desk.server.vkey).code == made.code


def test_p1_without_its_entry_there_is_no_session(tmp_path: Path) -> None:
    """The log can't be written: whoever would sign in is told so, and is not signed in."""
    with NatsServer(tmp_path / "nats") as nats, Server(tmp_path / "server", nats=nats.url) as server:
        office = Office.open(server)
        key = office.key("p-maria")
        nats.kill9()
        visitor = office.visitor()
        answer = visitor.sign_in("p-maria", key.text)
        assert answer.status_code == 503 and "countersign=" not in answer.headers.get("set-cookie", ""), answer.text
        nats.start()
        until("a sign-in", lambda: visitor.sign_in("p-maria", key.text).status_code == 303)


def test_p10_where_the_rules_say_so_people_approve_a_link(tmp_path: Path) -> None:
    provider = FakeProvider()
    server = Server(tmp_path / "server", sections={"oidc.one": provider.section(secret_file(tmp_path, provider.secret))})
    with server:
        office = Office.open(server, f"http://localhost:{server.port}")
        provider.redirect = callback(office, "one")
        server.keys["kim"] = server.add_key(["admin"], person="p-omar")
        jonas = office.visitor("p-jonas")
        office.write(KEYS + RULES, [{"id": id, **person} for id, person in office.people.items()])
        office.apply()
        account = ["--tenant", "acme", "--person", "p-maria", "--issuer", provider.issuer, "--subject", provider.subject]
        asked = server.remote("key link", *account, key=server.keys["kim"])
        found = re.search(r"apr-[a-z2-7]{26}", asked.out + asked.err)
        assert found, asked
        refused(through(office.visitor(), "one"), "linked to nobody here", 403)
        page = jonas.get(f"/approvals/{found[0]}").text
        assert provider.subject in page and provider.issuer in page
        fields = jonas.fields(f"/approvals/{found[0]}") | {"decision": "approve"}
        assert jonas.post(f"/approvals/{found[0]}/review", fields).status_code == 303
        done = server.remote("key link", *account, "--approval", found[0], key=server.keys["kim"]).ok()
        assert "is in force for p-maria" in done.out
        assert through(office.visitor(), "one").status_code == 303
        [entry] = [e["event"] for e in server.admin.entries(kind="access") if "oidc" in e["event"]]
        assert entry["by"]["approval"] == found[0]
        provider.close()
