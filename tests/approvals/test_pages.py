"""The web pages, over HTTP as a browser would and as an attacker might. `test_pages_browser.py` has real Chromium."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support import Key, Server, cli, until
from support.pages import PEOPLE, RULES, Office, Visitor, hidden

TRANSFER = {"amount": 125000, "currency": "EUR", "to": "DE02120300000000202051", "payee": "Nordwind GmbH"}
INVENTED = "apr-aaaaaaaaaaaaaaaaaaaaaaaaaa"
#: Headers that differ between any two answers.
VOLATILE = {"date", "x-request-id"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One server with rules and people; sound at the end."""
    with Server(tmp_path_factory.mktemp("desk")) as server:
        yield Office.open(server)
        server.stop()
        server.fsck().ok()


@pytest.fixture
def own_desk(tmp_path: Path) -> Iterator[Office]:
    """A server for one test that disturbs it."""
    with Server(tmp_path / "own") as server:
        yield Office.open(server)


def bare(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Everything of an answer that could tell two apart."""
    headers = [(name, value) for name, value in answer.headers.items() if name not in VOLATILE]
    return answer.status_code, answer.content, headers


def is_sign_in(answer: httpx.Response) -> bool:
    """Whether it is the sign-in form."""
    return answer.status_code == 200 and 'autocomplete="current-password"' in answer.text


# What is shown


def test_p7_the_page_shows_the_call_as_it_was_hashed(desk: Office) -> None:
    nasty = {"amount": 125000, "currency": "EUR", "to": "\u202e<script>x()</script>", "b/\u200b~": [None, {"c": 1.5}]}
    paused = desk.pause(nasty, reason="<img src=x onerror=x()>\u2066urgent")
    page = desk.visitor("p-maria").get(f"/approvals/{paused.id}")
    assert page.status_code == 200
    for shown in [
        "EUR 1,250.00", "&#34;\\u{202e}&#60;script&#62;x()&#60;/script&#62;&#34;", "/b~1\\u{200b}~0/1/c", "1.5",
        "&#60;img src=x onerror=x()&#62;\\u{2066}urgent", "nobody has checked this", paused.digest[:8],
        "2 of finance", "UTC",
    ]:
        assert shown in page.text, shown
    assert re.search(r"<b>in (1 h|59 min)</b>", page.text)
    assert "<script>x" not in page.text and "<img" not in page.text
    assert not set("\u202e\u2066\u200b") & set(page.text)


#: What somebody writes to have one name taken for another, and how it must be shown.
DISGUISED = {
    " payments": "\\u{20}payments", "payments ": "payments\\u{20}", "pay  out": "pay \\u{20}out", "pay\u00a0out": "pay\\u{a0}out",
    "p\u0430yments": "p\\u{430}yments", "\u0440\u0430\u0443": "\\u{440}\\u{430}\\u{443}", "pay\u200bments": "pay\\u{200b}ments",
    "\u202estnemyap": "\\u{202e}stnemyap", "\uff50ayments": "\\u{ff50}ayments", "cafe\u0301": "cafe\\u{301}", "pay\u2011out": "pay\\u{2011}out",
    "pay\\u{20}": "pay\\u{5c}u{20}",
}


@pytest.mark.parametrize("name", DISGUISED)
def test_p7_what_is_shown_is_what_is_compared(desk: Office, name: str) -> None:
    """Tool, action, agent and names of params, on every page that asks for an answer; ordinary names as they are."""
    shown = html.escape(DISGUISED[name], quote=False)
    visitor = desk.visitor("p-maria")
    for role in ("tool", "action", "agent", "param"):
        over = {} if role == "param" else {role: name}
        param = name if role == "param" else "to"
        paused = desk.pause({param: "\u0410CME  Ltd\u00a0"}, **over)
        path = f"/approvals/{paused.id}"
        page = visitor.get(path).text
        confirm = visitor.post(f"{path}/confirm", visitor.fields(path) | {"decision": "approve"}).text
        for text in (page, confirm):
            assert f">{shown}<" in text or f">/{shown}<" in text, (role, name)
            assert "&#34;\\u{410}CME \\u{20}Ltd\\u{a0}&#34;" in text
        # As hashed, too, in its own place.
        assert "CME  Ltd" in re.findall(r'class="hashed"[^>]*>.*?</pre>', page, re.DOTALL)[0]
    plain = desk.pause({"платёж": "Müller, 東京 · 5 €"}, tool="支払い", action="Überweisung", agent="оплата 2")
    page = visitor.get(f"/approvals/{plain.id}").text
    for text in ("/платёж", "Müller, 東京 · 5 €", "支払い", "Überweisung", "оплата 2"):
        assert text in page


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [(125000, "EUR", "EUR 1,250.00"), (1250, "JPY", "JPY 1,250"), (1250000, "KWD", "KWD 1,250.000"), (5000, "XXQ", None)],
)
def test_amounts_follow_iso_4217(desk: Office, minor: int, currency: str, shown: str | None) -> None:
    paused = desk.pause({"amount": minor, "currency": currency})
    page = desk.visitor("p-maria").get(f"/approvals/{paused.id}").text
    found = re.search(r'class="amount">([^<]*)<', page)
    assert (found and found[1]) == shown
    assert f">{minor}<" in page, "as hashed, too"


def test_p7_params_that_are_not_shown_have_no_way_to_approve(desk: Office) -> None:
    paused = desk.pause(TRANSFER | {"many": list(range(2001))})
    visitor = desk.visitor("p-maria")
    page = visitor.get(f"/approvals/{paused.id}")
    assert page.status_code == 200 and 'value="approve"' not in page.text and 'value="deny"' in page.text
    fields = hidden(page.text) | {
        "decision": "approve", "digest": paused.digest, "version": "1", "shown_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    }
    assert visitor.post(f"/approvals/{paused.id}/confirm", fields).status_code == 409
    assert "can&#39;t be approved" in visitor.post(f"/approvals/{paused.id}/review", fields).text
    assert [e["type"] for e in desk.entries(paused)] == ["requested"]


# Answers


def test_p8_two_people_approve_and_one_takes_it_back(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    assert desk.visitor("p-maria").review(paused, "approve", comment="checked\r\nthe invoice").status_code == 303
    jonas = desk.visitor("p-jonas")
    page = jonas.get(f"/approvals/{paused.id}").text
    assert "your yes decides" in page and "Maria Lindqvist" in page
    assert jonas.review(paused, "approve").headers["location"] == f"/approvals/{paused.id}"
    page = jonas.get(f"/approvals/{paused.id}").text
    assert "Approved, not redeemed yet" in page and 'value="approve"' not in page
    events = desk.entries(paused)
    assert [e["type"] for e in events] == ["requested", "reviewed", "reviewed", "granted"]
    first = events[1]
    assert (first["by"], first["via"], first["displayed_dig"]) == ("p-maria", "web", paused.digest)
    assert first["auth"]["method"] == "key" and first["auth"]["at"] < first["shown_at"]
    comment = desk.server.admin.entry(first["evidence"])
    assert comment["kind"] == "evidence" and "checked" not in json.dumps(comment)
    fields = hidden(page) | {"reason": "suspicious"}
    assert jonas.post(f"/approvals/{paused.id}/revoke", fields | {"reason": "because"}).status_code == 400
    assert jonas.post(f"/approvals/{paused.id}/revoke", fields).status_code == 303
    assert desk.entries(paused)[-1] | {"type": "revoked", "by": "p-jonas", "reason": "suspicious"} == desk.entries(paused)[-1]
    again = jonas.post(f"/approvals/{paused.id}/revoke", fields)
    assert again.status_code == 409 and "Revoked" in again.text


def test_p11_the_others_read_a_comment_until_it_is_erased(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    desk.visitor("p-maria").review(paused, "approve", comment="line one\r\n\u202e<b>two</b>")
    jonas = desk.visitor("p-jonas")
    shown = "line one\n\\u{202e}&#60;b&#62;two&#60;/b&#62;"
    assert shown in jonas.get(f"/approvals/{paused.id}").text
    evidence = desk.entries(paused)[1]["evidence"]
    desk.server.admin.erase(evidence)
    page = jonas.get(f"/approvals/{paused.id}")
    assert page.status_code == 200 and "line one" not in page.text and "Maria Lindqvist" in page.text


def test_a_denial_ends_it_and_an_approval_can_become_one(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    maria = desk.visitor("p-maria")
    maria.review(paused, "approve")
    page = maria.get(f"/approvals/{paused.id}").text
    assert 'value="deny"' in page and 'value="approve"' not in page
    assert maria.review(paused, "deny").status_code == 303
    assert "denied" in [e["type"] for e in desk.entries(paused)]


def test_what_is_newer_than_shown_is_refused_with_the_new_state(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    maria, jonas = desk.visitor("p-maria"), desk.visitor("p-jonas")
    path = f"/approvals/{paused.id}"
    fields = maria.fields(path) | {"decision": "approve"}
    confirm = maria.post(f"{path}/confirm", fields)
    jonas.review(paused, "approve")
    before = len(desk.entries(paused))
    for step, form in [("confirm", fields), ("review", hidden(confirm.text))]:
        refused = maria.post(f"{path}/{step}", form)
        assert refused.status_code == 409 and "The approval has changed" in refused.text
        assert "Jonas Weber" in refused.text, "the new state"
    assert [e for e in desk.entries(paused)[before:] if e["type"] != "review_rejected"] == []
    other = hidden(maria.post(f"{path}/confirm", maria.fields(path) | {"decision": "approve"}).text)
    assert maria.post(f"{path}/review", other | {"digest": "A" * 43}).status_code == 409
    assert maria.post(f"{path}/review", other | {"comment": "x" * 2001}).status_code == 400
    assert maria.post(f"{path}/review", other | {"comment": "ü" * 2000}).status_code == 303


def test_step_up_wants_a_fresh_sign_in(desk: Office) -> None:
    paused = desk.pause({"secret": "db"}, tool="vault", action="read")
    visitor = desk.visitor("p-maria")
    path = f"/approvals/{paused.id}"
    until("the sign-in is older than a second", lambda: "Sign in again" in visitor.get(path).text)
    page = visitor.get(path).text
    assert f'href="/signin?next={path}"' in page and 'value="approve"' not in page
    form = visitor.get(f"/signin?next={path}").text
    assert f'name="next" value="{path}"' in form and 'value="p-maria"' in form
    again = visitor.sign_in("p-maria", desk.key("p-maria").text, next=path)
    assert again.status_code == 303 and again.headers["location"] == path


def test_receipts_verify_offline(desk: Office, tmp_path: Path) -> None:
    paused = desk.pause(TRANSFER)
    visitor = desk.visitor("p-maria")
    visitor.review(paused, "deny")
    for n in range(3):
        answer = visitor.get(f"/approvals/{paused.id}/receipts/{n}")
        assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
        receipt = tmp_path / f"{n}.tlog-proof"
        receipt.write_text(answer.text)
        cli("verify", "--key", desk.server.vkey, receipt).ok()
    for n in ["9", "-1", "x", "01x"]:
        assert visitor.get(f"/approvals/{paused.id}/receipts/{n}").status_code == 404
    assert desk.visitor("p-lena").get(f"/approvals/{paused.id}/receipts/1").status_code == 404


# Who may


def test_p12_what_is_not_for_me_is_not_there(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    owned = desk.pause(TRANSFER, agent="omars-bot")
    invented = bare(desk.visitor("p-lena").get(f"/approvals/{INVENTED}"))
    assert invented[0] == 404
    assert bare(desk.visitor("p-lena").get(f"/approvals/{paused.id}")) == invented, "not in the group"
    assert bare(desk.visitor("p-omar").get(f"/approvals/{owned.id}")) == invented, "the agent's owner (P10)"
    assert desk.visitor("p-omar").get(f"/approvals/{paused.id}").status_code == 200
    for path in ["/approvals/x%2fy", "/approvals/%ff", "/approvals/A", "/approvals/-"]:
        assert desk.visitor("p-lena").get(path).status_code == 404
    maria = desk.visitor("p-maria")
    fields = maria.fields(f"/approvals/{paused.id}") | {"decision": "approve"}
    lena = desk.visitor("p-lena")
    fields["token"] = hidden(lena.get("/").text)["token"]
    for step in ["confirm", "review", "revoke"]:
        assert lena.post(f"/approvals/{paused.id}/{step}", fields | {"reason": "other"}).status_code == 404
    assert [e["type"] for e in desk.entries(paused)] == ["requested"]


def test_p12_another_tenants_reviewer_sees_nothing(own_desk: Office) -> None:
    paused, server = own_desk.pause(TRANSFER), own_desk.server
    admin = Key(server.add_tenant("other")["key"])
    other = Office(server)
    other.tenant = "other"
    other.write(RULES, [{"id": id, **person} for id, person in PEOPLE.items()])
    server.remote("rules apply", "--config", server.config, "--tenant", "other", key=admin).ok()
    key = server.client(admin, "other").add_key(["reviewer"], person="p-maria")
    visitor = Visitor(server)
    assert visitor.sign_in("p-maria", key.text).status_code == 303
    assert bare(visitor.get(f"/approvals/{paused.id}")) == bare(visitor.get(f"/approvals/{INVENTED}"))
    assert paused.id not in visitor.get("/").text and paused.id in own_desk.visitor("p-maria").get("/").text
    own = own_desk.visitor("p-maria").fields(f"/approvals/{paused.id}") | {"decision": "approve"}
    own["token"] = hidden(visitor.get("/").text)["token"]
    for step in ["confirm", "review"]:
        assert visitor.post(f"/approvals/{paused.id}/{step}", own).status_code == 404


def test_signed_out_real_and_invented_are_the_same(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    nobody = Visitor(desk.server)
    for rest in ["", "/receipts/1", "/changed?version=1"]:
        real, invented = (nobody.get(f"/approvals/{id}{rest}") for id in (paused.id, INVENTED))
        assert is_sign_in(real) or (rest.startswith("/changed") and real.status_code == 286)
        assert bare(real) == bare(invented)
    assert is_sign_in(nobody.get("/")) and is_sign_in(nobody.get("/?show=decided"))
    for id in (paused.id, INVENTED):
        signed_in = Visitor(desk.server)
        answer = signed_in.post(f"/approvals/{id}", {"username": "p-maria", "password": desk.key("p-maria").text})
        assert answer.status_code == 303 and answer.headers["location"] == f"/approvals/{id}"


def test_gets_change_nothing(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    visitor = desk.visitor("p-maria")
    fields = visitor.fields(f"/approvals/{paused.id}") | {"decision": "approve", "reason": "other"}
    query = "&".join(f"{name}={value}" for name, value in fields.items())
    before = until("that she saw the page is noted, once", lambda: desk.evidence(paused.id) and desk.server.admin.size())
    for path in ["/", "/?show=decided", "/new?after=0", "/signin", "/signout", f"/approvals/{paused.id}"]:
        assert visitor.get(path).status_code in (200, 303)
    for step in ["confirm", "review", "revoke", "receipts/1", "changed", "mint"]:
        assert visitor.get(f"/approvals/{paused.id}/{step}?{query}").status_code in (200, 303, 400, 404)
    assert is_sign_in(visitor.get("/")) is False, "GET /signout signs nobody out"
    assert desk.server.admin.size() == before


# Sessions


def test_cookie_attributes(desk: Office, tmp_path: Path) -> None:
    answer = Visitor(desk.server).sign_in("p-maria", desk.key("p-maria").text)
    cookie = answer.headers["set-cookie"]
    name, *attributes = [part.strip() for part in cookie.split(";")]
    assert name.startswith("countersign=")
    assert set(attributes) == {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=28800"}
    with Server(tmp_path / "https") as server:
        secure = Office.open(server, public_url="https://log.example.com")
        answer = Visitor(server).sign_in("p-maria", secure.key("p-maria").text)
        name, *attributes = [part.strip() for part in answer.headers["set-cookie"].split(";")]
        assert name.startswith("__Host-countersign=")
        assert set(attributes) == {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=28800", "Secure"}
    mode = (desk.server.keys_dir / "session.key").stat().st_mode & 0o777
    assert mode == 0o600


def test_cookies_of_neighbours_sign_nobody_out(desk: Office) -> None:
    """Another application's cookie may have any bytes (RFC 9110, 5.5)."""
    visitor = desk.visitor("p-maria")
    ours = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.http.cookies.jar).encode()
    for cookie in (ours, b"city=Zurich; " + ours, "city=Zürich; ".encode() + ours, ours + b"; x=\xff", b"\x80;" + ours + b";=;"):
        answer = httpx.get(f"{desk.server.url}/", headers=[("Cookie", cookie)], trust_env=False)
        assert answer.status_code == 200 and not is_sign_in(answer), cookie


def test_cookies_that_are_not_ours_are_nobody(desk: Office) -> None:
    visitor = desk.visitor("p-maria")
    value = visitor.http.cookies["countersign"]
    content, mac = value.split(".")
    for forged in [content, f"{content}.", f"{content}.{'A' * 43}", f"x{value}", f"{mac}.{content}", value * 10, ""]:
        nobody = Visitor(desk.server)
        answer = nobody.http.get("/", headers={"Cookie": f"countersign={forged}"})
        assert is_sign_in(answer), forged
    # Somebody set another cookie of the same name: ours still counts.
    answer = Visitor(desk.server).http.get("/", headers={"Cookie": f"countersign=x.y; countersign={value}"})
    assert not is_sign_in(answer)


def test_a_session_ends_with_its_key_or_person(own_desk: Office) -> None:
    desk = own_desk
    maria, jonas = desk.visitor("p-maria"), desk.visitor("p-jonas")
    key = desk.key("p-maria")
    made = {who: desk.server.admin.http.post(f"{desk.server.admin.t}/keys", json={"roles": ["reviewer"], "person": person}).json()
            for who, person in [("known", "p-maria"), ("stranger", "p-mria")]}
    assert "note" not in made["known"] and "rules apply" in made["stranger"]["note"]
    assert desk.server.admin.http.delete(f"{desk.server.admin.t}/keys/{key.id}").status_code == 204
    assert is_sign_in(maria.get("/")), "the key was removed"
    assert maria.sign_in("p-maria", key.text).status_code == 401
    desk.people["p-jonas"]["disabled"] = True
    desk.put_in_force()
    until("the person is disabled", lambda: is_sign_in(jonas.get("/")))
    assert jonas.sign_in("p-jonas", desk.key("p-jonas").text).status_code == 401


def test_signing_out(desk: Office) -> None:
    visitor = desk.visitor("p-maria")
    token = visitor.fields("/")["token"]
    assert visitor.post("/signout", {"token": "x"}).status_code == 403
    out = visitor.post("/signout", {"token": token})
    assert out.status_code == 303 and "Max-Age=0" in out.headers["set-cookie"]
    assert is_sign_in(visitor.get("/"))


@pytest.mark.parametrize("next", [
    "//evil.example", "https://evil.example/", "/\\evil.example", "/approvals//evil.example", "/approvals/x/../y",
    "javascript:alert(1)", "/v1/tenants", "\r\nSet-Cookie: a=b", "/approvals/%2e%2e",
])
def test_redirects_stay_with_us(desk: Office, next: str) -> None:
    visitor = Visitor(desk.server)
    assert visitor.sign_in("p-maria", desk.key("p-maria").text, next=next).headers["location"] == "/"
    form = visitor.http.get("/signin", params={"next": next})
    assert 'name="next" value="/"' in form.text


def test_other_keys_and_names_do_not_sign_in(own_desk: Office) -> None:
    desk, server = own_desk, own_desk.server
    publisher = server.add_key(["publisher"], "gw-1")
    stranger = server.add_key(["reviewer"], person="p-nobody")
    made = server.add_tenant("other")
    for person, key in [
        ("p-maria", "cs_0123456789abcdef_" + "A" * 43), ("p-maria", desk.key("p-jonas").text), ("gw-1", publisher.text),
        ("p-nobody", stranger.text), ("", ""), ("p-maria", server.admin_key.text), ("p-maria", made["key"]),
        ("P-MARIA", desk.key("p-maria").text), ("p-maria\n", "x" * 5000),
    ]:
        answer = Visitor(server).sign_in(person, key)
        assert answer.status_code == 401 and "set-cookie" not in answer.headers, (person, key[:24])
    assert desk.key("p-maria").text not in server.log


# Forgery


def test_forms_of_others_are_refused(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    maria = desk.visitor("p-maria")
    path = f"/approvals/{paused.id}/review"
    confirm = maria.post(f"/approvals/{paused.id}/confirm", maria.fields(f"/approvals/{paused.id}") | {"decision": "approve"})
    good = hidden(confirm.text)
    other = desk.visitor("p-maria").fields("/")["token"]
    for token in ["", "x", other]:
        assert maria.post(path, good | {"token": token}).status_code == 403
    without = {name: value for name, value in good.items() if name != "token"}
    assert maria.post(path, without).status_code == 400
    evil: list[dict[str, str]] = [
        {"Origin": "https://evil.example"}, {"Origin": maria.origin + ".evil.example"}, {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "none"},
        {"Origin": "null"}, {"Origin": "null", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"},
    ]
    for headers in evil:
        assert maria.post(path, good, **headers).status_code == 403, headers
        assert maria.sign_in("p-maria", desk.key("p-maria").text, **headers).status_code == 403, headers
    assert [e["type"] for e in desk.entries(paused)] == ["requested"]
    assert maria.post(path, good, Origin="null", Sec_Fetch_Site="same-origin").status_code == 303, "as Chromium sends it"


def test_another_address_than_public_url_says_so(desk: Office) -> None:
    """Doing it again would never help. Strangers' forms are told nothing."""
    elsewhere = f"http://localhost:{desk.server.port}"
    visitor = Visitor(desk.server, origin=elsewhere)
    key = desk.key("p-maria").text
    for site in ("same-origin", ""):
        answer = visitor.sign_in("p-maria", key, Host=f"localhost:{desk.server.port}", Sec_Fetch_Site=site)
        assert answer.status_code == 403 and f"{desk.server.url}/ (public_url)" in answer.text, answer.text
        assert "set-cookie" not in answer.headers
    forged = visitor.sign_in("p-maria", key, Host=f"localhost:{desk.server.port}", Sec_Fetch_Site="cross-site")
    assert forged.status_code == 403 and "public_url" not in forged.text


def test_p13_big_forms_are_refused(desk: Office) -> None:
    visitor = desk.visitor("p-maria")
    answer = visitor.post("/signin", {"username": "x" * 40_000, "password": "y"})
    assert answer.status_code == 413


# Guessing


def test_p13_guessing_is_limited_by_address(own_desk: Office) -> None:
    desk = own_desk
    for number in range(20):
        guess = Visitor(desk.server).sign_in(f"p-{number}", "cs_wrong", X_Forwarded_For=f"192.0.2.{number}")
        assert guess.status_code == 401
    blocked = Visitor(desk.server).sign_in("p-maria", desk.key("p-maria").text, X_Forwarded_For="192.0.2.99")
    assert blocked.status_code == 429 and 0 < int(blocked.headers["retry-after"]) <= 900
    assert "set-cookie" not in blocked.headers


def test_p13_guessing_behind_a_proxy_counts_the_last_hop(tmp_path: Path) -> None:
    with Server(tmp_path / "proxy", plaintext_behind_proxy=True) as server:
        desk = Office.open(server)
        guess = Visitor(server)
        for number in range(20):
            guess.sign_in(f"p-{number}", "cs_wrong", X_Forwarded_For=f"192.0.2.{number}, 198.51.100.7")
        key = desk.key("p-maria").text
        assert guess.sign_in("p-maria", key, X_Forwarded_For="1.2.3.4, 198.51.100.7").status_code == 429
        assert guess.sign_in("p-maria", key, X_Forwarded_For="198.51.100.7, 198.51.100.8").status_code == 303
        for number in range(20):
            guess.sign_in(f"p-{number}", "cs_wrong", X_Forwarded_For=f"198.51.100.9:{1000 + number}")
        assert guess.sign_in("p-maria", key, X_Forwarded_For="198.51.100.9:7").status_code == 429, "with a port"
        assert guess.sign_in("p-maria", key, X_Forwarded_For="[2001:db8::1]:7").status_code == 303
        # What the client wrote itself, of whatever bytes, does not change who it is.
        foreign = [("X-Forwarded-For", "Zürich, 198.51.100.7".encode()), ("Origin", guess.origin.encode())]
        fields = {"username": "p-maria", "password": key, "next": "/"}
        assert guess.http.post("/signin", data=fields, headers=foreign).status_code == 429
        for number in range(50):
            guess.sign_in("p-jonas", "cs_wrong", X_Forwarded_For=f"203.0.113.{number}")
        key = desk.key("p-jonas").text
        assert guess.sign_in("p-jonas", key, X_Forwarded_For="203.0.113.99").status_code == 429, "by person"


# Every page


def test_behind_a_prefix_every_path_begins_with_it(tmp_path: Path) -> None:
    with Server(tmp_path / "prefix") as server:
        Office.open(server, public_url=f"{server.url}/cs")
        visitor = Visitor(server)
        forged = visitor.post("/signin", {}, Origin="https://evil.example")
        for page in [visitor.get("/"), visitor.http.request("PUT", "/signin"), forged]:
            paths = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
            assert paths and all(path.startswith("/cs/") for path in paths), (page.url, paths)


def test_headers_of_every_page(desk: Office) -> None:
    paused = desk.pause(TRANSFER)
    visitor = desk.visitor("p-maria")
    path = f"/approvals/{paused.id}"
    pages = [Visitor(desk.server).get("/"), visitor.get("/"), visitor.get(path), visitor.get("/approvals/nope"),
             visitor.get(f"{path}/receipts/1"), visitor.get("/new?after=0"), visitor.http.request("PUT", "/signin"),
             visitor.post(f"{path}/confirm", visitor.fields(path) | {"decision": "deny"}), visitor.get("/signout")]
    for page in pages:
        csp = page.headers["content-security-policy"]
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'",
                     "frame-ancestors 'none'", "base-uri 'none'", "connect-src 'self'"]:
            assert part in csp, page.url
        assert "unsafe" not in csp
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "permissions-policy" in page.headers
        assert "x-page" not in page.headers
    for asset in re.findall(r'(?:href|src)="(/assets/[^"]+)"', pages[1].text):
        answer = visitor.get(asset)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        assert visitor.get(asset[:-4] + "x").status_code == 404
    assert pages[1].text.count('integrity="sha384-') == 3
    for setting in ['"allowEval":false', '"includeIndicatorStyles":false', '"selfRequestsOnly":true']:
        assert setting in pages[1].text


def test_the_inbox_is_in_order_small_and_complete(own_desk: Office) -> None:
    desk = own_desk
    big = "x" * 3000
    paused = [desk.pause({"amount": 200000 + n, "currency": "EUR", "note": big}, agent=f"bot-{n}") for n in range(52)]
    desk.listed(paused[-1])
    visitor = desk.visitor("p-maria")
    page = visitor.get("/")
    assert len(page.content) <= 100_000
    ids = re.findall(r'href="/approvals/(apr-[a-z0-9]+)"', page.text)
    assert ids == [p.id for p in paused[:50]], "oldest deadline first, 50 a page"
    assert 'name="decision"' not in page.text, "the inbox itself answers nothing"
    following = re.search(r'href="(/\?after=[^"]+)"', page.text)
    assert following
    rest = visitor.get(following[1]).text
    assert re.findall(r'href="/approvals/(apr-[a-z0-9]+)"', rest) == [p.id for p in paused[50:]]
    found = re.search(r'hx-get="(/new\?count=52&(?:amp|#38);after=\d+&(?:amp|#38);made=\d+)"', page.text)
    assert visitor.get(newest := html.unescape(found[1] if found else "")).status_code == 204, "no news"
    visitor.review(paused[0], "deny")
    desk.listed(desk.pause(TRANSFER, agent="late-bot"))
    assert "1 new, 1 gone: show" in visitor.get(newest).text
    assert paused[0].id not in visitor.get("/").text
    assert paused[0].id in visitor.get("/?show=decided").text
    assert visitor.get("/new?after=x").status_code == 400
    cursor = following[1].removeprefix("/?after=")
    for query in (f"?show=decided&after={cursor}", "?after=nonsense", "?after=w1", "?after=w1.NOT", "?after=wx.apr-1", "?show=all",
                  f"?after={cursor[1:]}"):
        assert visitor.get(f"/{query}").status_code == 400, query
    # What the first page ended with is over: the next page is the same.
    visitor.review(paused[49], "deny")
    assert re.findall(r'href="/approvals/(apr-[a-z0-9]+)"', visitor.get(following[1]).text)[:2] == [p.id for p in paused[50:]]
    assert Visitor(desk.server).get("/new?after=0").status_code == 286, "signed out: no more polling"


def test_without_approvals_there_are_no_pages(server: Server) -> None:
    answer = httpx.get(server.url + "/", timeout=30, trust_env=False)
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
