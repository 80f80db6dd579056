"""The pictures in docs/images are what is shown today: the page in real Chromium, the card as Slack gets it.

`--pictures` writes them again. Without it, their words are compared.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from support import Server
from support.fakeslack import FakeSlack
from support.pages import Office as PageOffice
from support.pictures import check_picture, slack_card
from support.slack_office import Office as SlackOffice

PARAMS = {
    "amount": 125000, "currency": "EUR", "to": {"iban": "DE89370400440532013000", "name": "Nordwind GmbH"}, "invoice": "4711",
}  # fmt: skip
REASON = "Invoice 4711 is overdue since Monday."


@pytest.fixture
def window() -> Iterator[Page]:
    """A window of Debian's Chromium, headless."""
    found = shutil.which("chromium")
    assert found, "scripts/test installs it"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser.new_page(viewport={"width": 760, "height": 700}, color_scheme="light", timezone_id="UTC", device_scale_factor=1.5)
        browser.close()


def test_p7_the_page_of_an_approval(window: Page, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The call as it was hashed, who is still needed, and the way to answer."""
    with Server(tmp_path / "server") as server:
        office = PageOffice.open(server)
        paused = office.pause(PARAMS, agent="payments-bot", reason=REASON)
        window.goto(f"{server.url}/approvals/{paused.id}")
        window.get_by_label("Person").fill("p-maria")
        window.get_by_label("Reviewer key").fill(office.key("p-maria").text)
        window.get_by_role("button", name="Sign in").click()
        window.get_by_role("button", name="Approve …").wait_for()
        text = window.inner_text("body")
        assert "EUR 1,250.00" in text and "Nordwind GmbH" in text and REASON in text
        check_picture("approval-page.png", window.screenshot(full_page=True), text, pytestconfig.getoption("--pictures"))


def test_p7_the_card_in_slack(window: Page, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Drawn from the blocks that Slack was sent; each button and each parameter is there."""
    with FakeSlack() as slack:
        office = SlackOffice(tmp_path / "office", slack)
        try:
            approval = office.asked(params=PARAMS, payload={"reason": REASON})
            window.set_content(slack_card(office.card(approval)))
            text = window.inner_text("#card")
            assert [b.inner_text() for b in window.get_by_role("button").all()][:2] == ["Approve", "Deny"]
            assert "Nordwind GmbH" in text and "Still needed" in text and REASON in text
            check_picture("slack-card.png", window.locator("#card").screenshot(), text, pytestconfig.getoption("--pictures"))
            assert slack.violations == []
        finally:
            office.server.__exit__()
