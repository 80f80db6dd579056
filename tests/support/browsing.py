"""Debian's Chromium, for tests whose pages need a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .pages import Office

#: Milliseconds that a page may take to show what is expected.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Headless."""
    found = shutil.which("chromium")
    assert found, "scripts/test installs it"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


def sign_in(page: Page, desk: Office, person: str = "p-maria", at: str = "/") -> None:
    """By the form, with the reviewer key."""
    page.goto(at)
    page.get_by_label("Person").fill(person)
    page.get_by_label("Reviewer key").fill(desk.key(person).text)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
