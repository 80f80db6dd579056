"""Sign-in by OpenID Connect in real Chromium: from the link to an answer under a rule with step_up (P7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect
from support import Server
from support.browsing import chromium
from support.oidc import CLIENT, SECRET, NodeProvider, link, running, secret_file
from support.pages import RULES, Office

__all__ = ["chromium"]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Office, NodeProvider]]:
    """A server, and npm's provider at which Maria has an account."""
    root = tmp_path_factory.mktemp("oidc")
    server = Server(root)
    own = f"http://localhost:{server.port}"
    provider = NodeProvider(f"{own}/signin/oidc/id/callback", post_logout_redirect_uris=[f"{own}/signout"])
    secret = secret_file(root, SECRET)
    server.sections["oidc.id"] = {
        "tenant": "acme", "issuer": provider.issuer, "client_id": CLIENT, "client_secret_file": secret, "label": "Example ID", "sign_out_returns": True,
    }  # fmt: skip
    with server, running(provider, root / "provider.log"):
        office = Office.open(server, f"http://localhost:{server.port}")
        office.write(RULES.replace('step_up = "1s"', 'step_up = "8h"'), [{"id": id, **person} for id, person in office.people.items()])
        office.apply()
        link(office, provider.issuer, provider.subject, "p-maria")
        yield office, provider


def at_provider(page: Page, provider: NodeProvider) -> None:
    """Fills in the provider's own form."""
    page.get_by_placeholder("Enter any login").fill(provider.subject)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()


def check(page: Page, name: str) -> None:
    """No violation for axe-core, nothing wider than the window."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found["violations"]] == [], name
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"


def test_p7_signed_out_to_an_answer_under_a_rule_with_step_up(chromium: Browser, pair: tuple[Office, NodeProvider], tmp_path: Path) -> None:
    office, provider = pair
    address = str(office.server.settings["public_url"])
    context = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=address)
    page = context.new_page()
    paused = office.pause({"secret": "db"}, tool="vault", action="read")
    page.goto(f"/approvals/{paused.id}")
    check(page, "sign-in")
    page.screenshot(path=tmp_path / "sign-in.png")
    page.get_by_role("link", name="Sign in with Example ID").click()
    at_provider(page, provider)
    expect(page).to_have_url(f"{address}/approvals/{paused.id}")
    # A person who is signed in and wants a newer sign-in is asked by the provider again, although it knows the browser.
    page.goto(f"/signin?next=/approvals/{paused.id}")
    page.get_by_role("link", name="Sign in with Example ID").click()
    at_provider(page, provider)
    expect(page).to_have_url(f"{address}/approvals/{paused.id}")
    page.get_by_role("button", name="Approve …").click()
    page.get_by_role("button", name="Yes, approve").click()
    expect(page).to_have_url(f"{address}/approvals/{paused.id}")
    [review] = [event for event in office.history(paused.id) if event["type"] == "reviewed"]
    assert (review["by"], review["decision"], review["auth"]["method"]) == ("p-maria", "approve", "oidc")
    context.close()


def test_p7_a_sign_out_here_says_that_the_provider_still_knows_the_person(chromium: Browser, pair: tuple[Office, NodeProvider], tmp_path: Path) -> None:
    office, provider = pair
    address = str(office.server.settings["public_url"])
    context = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=address)
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="Sign in with Example ID").click()
    at_provider(page, provider)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Signed out")
    check(page, "signed out")
    page.screenshot(path=tmp_path / "signed-out.png")
    # Here alone: the provider asks for nothing, as the page says.
    page.get_by_role("link", name="Sign in again").click()
    page.get_by_role("link", name="Sign in with Example ID").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    # There too: it asks again.
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign out at Example ID too").click()
    page.get_by_role("button", name="Yes, sign me out").click()
    expect(page).to_have_url(f"{address}/")
    page.get_by_role("link", name="Sign in with Example ID").click()
    at_provider(page, provider)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    context.close()


def test_p7_a_comment_survives_a_sign_in_at_a_provider(chromium: Browser, pair: tuple[Office, NodeProvider]) -> None:
    office, provider = pair
    address = str(office.server.settings["public_url"])
    context = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=address)
    page = context.new_page()
    paused, other = (office.pause({"amount": 5000 + n, "currency": "EUR", "to": "DE02120300000000202051"}) for n in (1, 2))
    page.goto(f"/approvals/{paused.id}")
    page.get_by_role("link", name="Sign in with Example ID").click()
    at_provider(page, provider)
    page.get_by_role("button", name="Deny …").click()
    page.get_by_label("Comment").fill("Nobody ordered this\n<b>Ана</b>")
    page.get_by_label("For the agent").fill("Ask procurement first.")
    context.clear_cookies(name="countersign")
    page.get_by_role("button", name="Yes, deny").click()
    expect(page.get_by_text("Nothing was recorded, and your comment is kept.")).to_be_visible()
    page.get_by_role("link", name="Sign in with Example ID").click()
    expect(page).to_have_url(f"{address}/approvals/{paused.id}")
    expect(page.get_by_text("Nothing was recorded, and your comment is kept.")).to_be_visible()
    page.get_by_role("button", name="Deny …").click()
    expect(page.get_by_label("Comment")).to_have_value("Nobody ordered this\n<b>Ана</b>")
    expect(page.get_by_label("For the agent")).to_have_value("Ask procurement first.")
    page.get_by_role("button", name="Yes, deny").click()
    [review] = [event for event in office.history(paused.id) if event["type"] == "reviewed"]
    assert (review["by"], review["decision"]) == ("p-maria", "deny")
    # It was for that call alone, and once.
    for of in (paused, other):
        page.goto(f"/approvals/{of.id}")
        expect(page.get_by_text("your comment is kept")).to_have_count(0)
    context.close()


def test_p7_an_account_of_nobody_sees_what_to_give_the_admin(chromium: Browser, pair: tuple[Office, NodeProvider]) -> None:
    office, provider = pair
    context = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=str(office.server.settings["public_url"]))
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="Sign in with Example ID").click()
    page.get_by_placeholder("Enter any login").fill("00u-" + "long" * 20)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Account not linked to a person")
    expect(page.get_by_text(provider.issuer, exact=True)).to_be_visible()
    check(page, "unknown account")
    context.close()
