"""Passkeys in real Chromium, with its virtual authenticator: from the reviewer key to an answer in three taps (P7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect
from support import Server, cli
from support.browsing import chromium
from support.pages import Office
from support.passkeys import admitted

__all__ = ["chromium"]
TRANSFER = {"amount": 5000, "currency": "EUR", "to": "DE02120300000000202051"}
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
#: A platform authenticator that verifies its person.
DEVICE = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
    "automaticPresenceSimulation": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server at a host name, as passkeys need."""
    with Server(tmp_path_factory.mktemp("passkeys")) as server:
        yield Office.open(server, f"http://localhost:{server.port}")


@pytest.fixture
def context(chromium: Browser, office: Office) -> Iterator[Callable[..., BrowserContext]]:
    """Makes windows of a phone; what their consoles say against the policy fails the test."""
    made: list[BrowserContext] = []
    said: list[str] = []

    def make(width: int = 360) -> BrowserContext:
        address = str(office.server.settings["public_url"])
        made.append(chromium.new_context(viewport={"width": width, "height": 800}, base_url=address))
        made[-1].on("console", lambda message: said.append(message.text))
        made[-1].on("weberror", lambda error: said.append(str(error.error)))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert [text for text in said if "Failed to load resource" not in text] == []


def device(page: Page, **over: bool) -> tuple[CDPSession, str]:
    """Gives the page a device."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    return session, session.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE | over})["authenticatorId"]


def sign_in(page: Page, office: Office, person: str) -> None:
    """With the reviewer key."""
    page.goto("/")
    page.get_by_label("Person").fill(person)
    page.get_by_label("Reviewer key").fill(office.key(person).text)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def enrol(page: Page, office: Office, person: str, name: str) -> None:
    """From the reviewer key to a passkey in force."""
    sign_in(page, office, person)
    page.locator(".who .name").click()
    check(page, "passkeys")
    page.get_by_label("Name of the device").fill(name)
    page.get_by_role("button", name="Add a passkey").click()
    request = page.get_by_label("Request")
    expect(request).to_be_visible()
    check(page, "waiting")
    admitted(office, request.input_value())
    page.reload()
    expect(page.get_by_role("button", name=f"Remove {name}")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()


def check(page: Page, name: str) -> None:
    """No violation for axe-core, nothing wider than the window."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found["violations"]] == [], name
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"


@pytest.mark.parametrize("word", ["Approve", "Deny"])
def test_p7_signed_out_three_taps_to_an_answer_that_the_device_signed(
    office: Office, context: Callable[..., BrowserContext], tmp_path: Path, word: str
) -> None:
    page = context().new_page()
    device(page)
    enrol(page, office, "p-maria", f"Phone {word}")
    paused = office.pause(TRANSFER)
    page.goto(f"/approvals/{paused.id}")
    check(page, "sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("button", name=f"{word} …").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{word} this call?")
    check(page, "confirming page")
    page.get_by_role("button", name=f"Yes, {word.lower()}").click()
    expect(page).to_have_url(f"{office.server.settings['public_url']}/approvals/{paused.id}")
    [review] = [event for event in office.history(paused.id) if event["type"] == "reviewed"]
    assert (review["by"], review["decision"], review["auth"]["method"]) == ("p-maria", word.lower(), "passkey")
    folder = tmp_path / "approval"
    office.server.remote("export", "--tenant", "acme", "--approval", paused.id, folder).ok()
    told = cli("verify", "--key", office.server.vkey, "--approval", folder).ok().out
    assert "p-maria's key, verified" in told and f"Phone {word}" in told, told


def test_p7_a_device_that_does_not_know_its_person_sends_nothing(office: Office, context: Callable[..., BrowserContext]) -> None:
    page = context().new_page()
    session, id = device(page)
    enrol(page, office, "p-nils", "Laptop")
    paused = office.pause(TRANSFER)
    page.goto(f"/approvals/{paused.id}")
    session.send("WebAuthn.setUserVerified", {"authenticatorId": id, "isUserVerified": False})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("Nothing was sent; try again.")).to_be_visible()
    session.send("WebAuthn.setUserVerified", {"authenticatorId": id, "isUserVerified": True})
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("button", name="Approve …").click()
    session.send("WebAuthn.setUserVerified", {"authenticatorId": id, "isUserVerified": False})
    page.get_by_role("button", name="Yes, approve").click()
    expect(page.get_by_text("Nothing was sent; try again.")).to_be_visible()
    assert [event for event in office.history(paused.id) if event["type"] == "reviewed"] == []
