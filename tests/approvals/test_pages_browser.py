"""The web pages in real Chromium: with and without JavaScript, by keyboard alone, on a phone and a desk, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from support import Server, until
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.pages import Office, Paused

TRANSFER = {
    "amount": 125000, "currency": "EUR", "to": "DE02120300000000202051", "payee": "Nordwind GmbH",
    "reference": "\u202eINV<script>window.forged=1</script>", "lines": [{"sku": "A-1", "count": 2}],
}
REASON = "Invoice is due \u2066today\nApproved by Maria <img src=x onerror='window.forged=1'>"
#: axe-core, as the package carries it.
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
WIDTHS = [360, 1280]
SCHEMES = ["light", "dark"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One server with rules and people."""
    with Server(tmp_path_factory.mktemp("desk")) as server:
        yield Office.open(server)


@pytest.fixture
def context(chromium: Browser, desk: Office) -> Iterator[Callable[..., BrowserContext]]:
    """Makes windows; what their consoles say against the policy fails the test."""
    made: list[BrowserContext] = []
    said: list[str] = []

    def make(width: int = 360, scheme: Any = "light", **options: Any) -> BrowserContext:
        size: Any = {"width": width, "height": 740}
        made.append(chromium.new_context(viewport=size, color_scheme=scheme, base_url=desk.server.url, **options))
        made[-1].on("console", lambda message: said.append(message.text))
        made[-1].on("weberror", lambda error: said.append(str(error.error)))
        return made[-1]

    yield make
    for one in made:
        one.close()
    wrong = [text for text in said if "Failed to load resource: the server responded with" not in text]
    assert wrong == []


def answer(page: Page, paused: Paused, word: str) -> None:
    """From the approval to the recorded answer: `Approve` or `Deny`."""
    page.goto(f"/approvals/{paused.id}")
    page.get_by_role("button", name=f"{word} …").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{word} this call?")
    page.get_by_role("button", name=f"Yes, {word.lower()}").click()
    expect(page).to_have_url(f"{page.url.split('/approvals')[0]}/approvals/{paused.id}")


def check(page: Page, name: str) -> None:
    """Nothing serious for axe-core, nothing wider than the window, nothing forged."""
    page.wait_for_load_state()
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        (v["id"], [node["html"] for node in v["nodes"]]) for v in found["violations"] if v["impact"] in ("serious", "critical")
    ]
    assert serious == [], f"{name}: {serious}"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"
    assert page.evaluate("window.forged") is None


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_is_accessible(
    desk: Office, context: Callable[..., BrowserContext], width: int, scheme: str
) -> None:
    page = context(width, scheme).new_page()
    page.goto("/")
    check(page, "sign-in")
    page.get_by_label("Person").fill("p-maria")
    page.get_by_label("Reviewer key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    check(page, "sign-in, again")
    paused = [desk.pause(TRANSFER, reason=REASON, agent=f"bot-{width}-{scheme}-{n}") for n in range(3)]
    odd = desk.pause({"x" * 300: "y" * 3000}, tool="a" * 120, action="b" * 120)
    sign_in(page, desk)
    check(page, "inbox")
    for waiting in [paused[0], odd]:
        page.goto(f"/approvals/{waiting.id}")
        check(page, "approval")
    page.goto(f"/approvals/{paused[0].id}")
    page.get_by_role("button", name="Approve …").click()
    check(page, "confirming page")
    answer(page, paused[0], "Approve")
    check(page, "approved by me")
    answer(page, paused[1], "Deny")
    check(page, "denied")
    desk.visitor("p-jonas").review(paused[0], "approve")
    page.goto(f"/approvals/{paused[0].id}")
    expect(page.get_by_label("Why")).to_be_visible()
    check(page, "granted")
    page.goto("/?show=decided")
    check(page, "decided")
    page.goto("/approvals/nothing")
    check(page, "not found")
    desk.visitor("p-jonas").review(odd, "deny")


def test_without_javascript_everything_works(desk: Office, context: Callable[..., BrowserContext]) -> None:
    paused = desk.pause(TRANSFER)
    page = context(java_script_enabled=False).new_page()
    sign_in(page, desk, at=f"/approvals/{paused.id}")
    expect(page.get_by_text("EUR 1,250.00")).to_be_visible()
    answer(page, paused, "Approve")
    expect(page.get_by_text("Approved by you.")).to_be_visible()
    page.get_by_role("link", name="Check for changes").click()
    page.locator(".crumbs > a").click()
    page.get_by_role("link", name="Others").click()
    row = page.locator(f"a[href='/approvals/{paused.id}']")
    # Like calls of the other tests may be folded with it.
    for fold in page.locator("details.like").filter(has=row).all():
        fold.locator("summary").click()
    row.click()
    answer(page, paused, "Deny")
    assert "denied" in [event["type"] for event in desk.entries(paused)]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_by_keyboard_alone(desk: Office, context: Callable[..., BrowserContext]) -> None:
    paused = desk.pause(TRANSFER)
    page = context(1280).new_page()
    keys = page.keyboard

    def tab_to(selector: str) -> None:
        for _ in range(80):
            keys.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"{selector}: the focus is not to be seen"
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    page.goto(f"/approvals/{paused.id}")
    tab_to(".skip")
    tab_to("#username")
    keys.type("p-maria")
    tab_to("#password")
    keys.type(desk.key("p-maria").text)
    keys.press("Enter")
    expect(page.get_by_text("EUR 1,250.00")).to_be_visible()
    tab_to("button[value=deny]")
    tab_to("button[value=approve]")
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Approve this call?")
    tab_to("#comment")
    keys.type("checked by keyboard")
    tab_to("button.approve")
    keys.press("Enter")
    expect(page.get_by_text("Approved by you.")).to_be_visible()
    assert desk.entries(paused)[-1]["type"] == "reviewed"


def test_new_ones_wait_behind_a_button_and_nothing_moves(desk: Office, context: Callable[..., BrowserContext]) -> None:
    first = desk.listed(desk.pause(TRANSFER, agent="mover-1", action="move"))
    page = context().new_page()
    page.clock.install()
    sign_in(page, desk)
    item = page.locator(f"a[href='/approvals/{first.id}']")
    before, rows = item.bounding_box(), page.locator(".item").count()
    assert before
    desk.listed(desk.pause(TRANSFER, agent="mover-2", action="move"))
    page.clock.run_for(11_000)
    expect(page.get_by_role("link", name="1 new: show")).to_be_visible()
    assert item.bounding_box() == before and page.locator(".item").count() == rows
    page.get_by_role("link", name="1 new: show").click()
    expect(page.locator(".item")).to_have_count(min(rows + 1, 50))


def test_a_change_is_told_and_stale_answers_are_refused(desk: Office, context: Callable[..., BrowserContext]) -> None:
    paused = desk.pause(TRANSFER, agent="stale-bot")
    page = context().new_page()
    page.clock.install()
    sign_in(page, desk, at=f"/approvals/{paused.id}")
    desk.visitor("p-jonas").review(paused, "approve")
    page.clock.run_for(11_000)
    expect(page.get_by_role("link", name="This has changed: show")).to_be_visible()
    page.get_by_role("button", name="Approve …").click()
    expect(page.get_by_role("alert")).to_contain_text("The approval has changed")
    expect(page.get_by_text("Jonas Weber").first).to_be_visible()


def test_signing_in_again_keeps_the_target(desk: Office, context: Callable[..., BrowserContext]) -> None:
    paused = desk.pause({"secret": "db"}, tool="vault", action="read")
    page = context().new_page()
    sign_in(page, desk)
    path = f"/approvals/{paused.id}"
    until("a fresh sign-in is wanted", lambda: "Sign in again" in (page.goto(path) and page.content()))
    check(page, "step-up")
    page.get_by_role("link", name="Sign in again").click()
    check(page, "signing in again")
    expect(page.get_by_label("Person")).to_have_value("p-maria")
    page.get_by_label("Reviewer key").fill(desk.key("p-maria").text)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(desk.server.url + path)


def test_nothing_is_loaded_from_elsewhere_or_kept(desk: Office, context: Callable[..., BrowserContext]) -> None:
    window = context()
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    page = window.new_page()
    sign_in(page, desk)
    assert asked and all(url.startswith(desk.server.url + "/") for url in asked)
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("Object.values({...sessionStorage}).filter(kept => kept !== '/')") == [], "htmx keeps the path"
    assert page.evaluate("document.cookie") == "", "HttpOnly"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgba(0, 0, 0, 0)", "styled"
