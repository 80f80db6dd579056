"""The search over the whole log, in real Chromium: on a phone and a desk, in both schemes, and without a script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from support import Server
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.pages import Office

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server with a few calls that are over; sound at the end."""
    with Server(tmp_path_factory.mktemp("search-browser")) as server:
        opened = Office.open(server)
        for n in range(3):
            call = opened.listed(opened.pause({"amount": 125000 + n, "currency": "JPY"}, tool="mail", action="send", agent=f"form-{n}"))
            assert opened.visitor("p-jonas").review(call, "deny").status_code == 303
        yield opened
        server.stop()
        server.fsck().ok()


def sound(page: Page, name: str) -> None:
    """Nothing for axe-core, nothing wider than the window; a picture for whoever judges by eye, if a folder is named."""
    if folder := os.environ.get("COUNTERSIGN_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert not found["violations"], [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")])
def test_the_form_finds_a_call(office: Office, chromium: Browser, width: int, scheme: Any, script: bool) -> None:
    with chromium.new_context(
        viewport={"width": width, "height": 800}, base_url=office.server.url, color_scheme=scheme, java_script_enabled=script
    ) as context:
        page = context.new_page()
        sign_in(page, office)
        page.get_by_role("link", name="Done").click()
        expect(page.locator(".item")).to_have_count(3)
        expect(page.get_by_label("Agent")).to_be_hidden()
        if script:
            sound(page, f"search-closed-{width}-{scheme}")
        page.get_by_text("Search the whole log").click()
        page.get_by_label("Agent").fill("FORM-1")
        page.get_by_label("Answered by").fill("weber")
        page.get_by_role("button", name="Search").click()
        expect(page.locator(".item")).to_have_count(1)
        expect(page.locator(".item")).to_contain_text("form-1")
        expect(page.get_by_role("status")).to_contain_text("1 found")
        expect(page.get_by_label("Agent")).to_have_value("FORM-1")
        expect(page.get_by_role("link", name="Done")).to_have_attribute("aria-current", "page")
        if script:
            sound(page, f"search-{width}-{scheme}")
        page.get_by_label("Agent").fill("nobody")
        page.get_by_label("Agent").press("Enter")
        expect(page.locator(".empty")).to_contain_text("No call that you may read fits.")
        if script:
            sound(page, f"search-none-{width}-{scheme}")
