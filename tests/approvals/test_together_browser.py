"""Like calls that are answered together, in real Chromium: the button is in sight, and what the page says is what is recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from support import Server, until
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.refunds import House

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
WIDTH, HEIGHT = 360, 800


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server; sound at the end."""
    with Server(tmp_path_factory.mktemp("together-browser")) as server:
        opened = House.open(server)
        assert isinstance(opened, House)
        yield opened
        server.stop()
        server.fsck().ok()


@pytest.fixture
def window(chromium: Browser, house: House) -> Iterator[Callable[..., Page]]:
    """Opens a window in which Maria is signed in."""
    made: list[BrowserContext] = []

    def make(width: int = WIDTH, height: int = HEIGHT, **options: Any) -> Page:
        size: Any = {"width": width, "height": height}
        made.append(chromium.new_context(viewport=size, base_url=house.server.url, **options))
        page = made[-1].new_page()
        sign_in(page, house)
        return page

    yield make
    for one in made:
        one.close()


def shot(page: Page, name: str) -> None:
    """A picture for whoever judges by eye, if a folder is named."""
    if folder := os.environ.get("COUNTERSIGN_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")
        page.screenshot(path=f"{folder}/{name}-whole.png", full_page=True)


def sound(page: Page) -> None:
    """Nothing for axe-core, nothing wider than the window."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert not found["violations"], [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")])
def test_on_a_phone_the_button_is_in_sight_and_three_taps_do(
    house: House, window: Callable[..., Page], width: int, scheme: str
) -> None:
    action = f"sell-{width}-{scheme}"
    calls = house.refunds(12, action=action)
    page = window(width, HEIGHT, color_scheme=scheme)
    page.goto("/")
    fold = page.locator("details.like").filter(has_text=action)
    fold.locator("summary").click()
    shot(page, f"together-fold-{width}-{scheme}")
    sound(page)
    fold.get_by_role("link", name="Approve together").click()
    button = page.get_by_role("button", name="Yes, approve the ticked")
    expect(button).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("heading", name="Approve these 12 calls?")).to_be_in_viewport(ratio=1)
    expect(page.locator(".amount")).to_have_text("EUR 186.00")
    expect(page.locator(".amount")).to_be_in_viewport(ratio=1)
    shot(page, f"together-{width}-{scheme}")
    sound(page)
    box = page.locator(".tick label").nth(3)
    box.click()
    expect(page.locator("[data-ticked]")).to_have_text("11 of 12 are ticked.")
    page.get_by_role("button", name="Count the ticked").click()
    expect(page.locator(".amount")).to_have_text("EUR 173.00")
    expect(page.get_by_role("button", name="Yes, approve the ticked")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Yes, approve the ticked").click()
    expect(page.get_by_role("heading", name="11 of 11 recorded")).to_be_visible()
    shot(page, f"together-done-{width}-{scheme}")
    sound(page)
    # A reload sends nothing again.
    page.reload()
    expect(page.get_by_role("heading", name="11 of 11 recorded")).to_be_visible()
    assert [len(house.of(call)) for call in calls] == [1, 1, 1, 0] + [1] * 8
    until("the rest is in the inbox", lambda: calls[3].id in house.visitor("p-maria").get("/").text)
