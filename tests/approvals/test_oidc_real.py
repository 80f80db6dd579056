"""Sign-in at two real providers of OpenID Connect that nobody here wrote: npm's `oidc-provider` and Zitadel's (P7, P10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import Server
from support.oidc import CLIENT, SECRET, NodeProvider, Real, Zitadel, answered, begun, callback, link, running, secret_file, through
from support.pages import RULES, Office

KINDS = {"node": NodeProvider, "zitadel": Zitadel}


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Office, Real]]:
    """A server, and a provider at which Maria has an account."""
    root = tmp_path_factory.mktemp(request.param)
    server = Server(root)
    provider = KINDS[request.param](f"http://localhost:{server.port}/signin/oidc/id/callback")
    secret = secret_file(root, SECRET)
    server.sections["oidc.id"] = {"tenant": "acme", "issuer": provider.issuer, "client_id": CLIENT, "client_secret_file": secret}
    with server, running(provider, root / "provider.log"):
        office = Office.open(server, f"http://localhost:{server.port}")
        office.write(RULES.replace('step_up = "1s"', 'step_up = "1h"'), [{"id": id, **person} for id, person in office.people.items()])
        office.apply()
        assert callback(office, "id") in " ".join(provider.command)
        link(office, provider.issuer, provider.subject, "p-maria")
        yield office, provider


def test_p7_a_person_signs_in_and_answers_a_call_with_step_up(pair: tuple[Office, Real]) -> None:
    office, provider = pair
    paused = office.pause({"secret": "db"}, tool="vault", action="read")
    visitor, browser = office.visitor(), httpx.Client(trust_env=False, timeout=30)
    at = f"/approvals/{paused.id}"
    answer = through(visitor, "id", at, provider, browser)
    assert (answer.status_code, answer.headers.get("location")) == (303, at), answer.text
    assert visitor.review(paused, "approve").status_code == 303
    [review] = [event for event in office.history(paused.id) if event["type"] == "reviewed"]
    assert (review["by"], review["auth"]["method"]) == ("p-maria", "oidc")


def test_p7_with_step_up_the_provider_asks_again_and_its_token_says_so(pair: tuple[Office, Real]) -> None:
    office, provider = pair
    visitor, browser = office.visitor(), httpx.Client(trust_env=False, timeout=30)
    assert through(visitor, "id", "/", provider, browser).status_code == 303
    # The provider knows this browser, and asks it for the password all the same.
    address = begun(visitor, "id", "/signin?next=/&again=1")
    page = browser.get(address, follow_redirects=True)
    assert page.status_code == 200 and "password" in page.text
    assert visitor.get(answered(address, provider, browser)).status_code == 303


def test_p7_a_code_counts_once(pair: tuple[Office, Real]) -> None:
    office, provider = pair
    visitor = office.visitor()
    back = answered(begun(visitor, "id"), provider)
    cookie = visitor.http.cookies["countersign-oidc-id"]
    assert visitor.get(back).status_code == 303
    visitor.http.cookies.set("countersign-oidc-id", cookie, domain="127.0.0.1")
    assert visitor.get(back).status_code == 400


def test_p10_an_account_of_nobody_opens_nothing(pair: tuple[Office, Real], tmp_path: Path) -> None:
    office, provider = pair
    admin = office.server.admin
    [key] = [key for key in admin.get("/keys").json() if key.get("oidc")]
    assert admin.http.request("DELETE", f"{admin.t}/keys/{key['key_id']}").status_code == 204
    answer = through(office.visitor(), "id", "/", provider)
    assert answer.status_code == 403 and provider.issuer in answer.text and provider.subject in answer.text
    link(office, provider.issuer, provider.subject, "p-maria")
    assert through(office.visitor(), "id", "/", provider).status_code == 303
