"""Pages with text of twice the size, as people set it in their browsers, and on paper: nothing is cut, nothing lies over something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support import Server
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.pages import Paused
from support.realistic import Desk

#: Twice the size that browsers begin with.
ROOT_FONT = "html { font-size: 32px !important; }"
LARGE = "css => { const sheet = new CSSStyleSheet(); sheet.replaceSync(css); document.adoptedStyleSheets = [sheet]; }"
#: What is not whole within the window, or breaks within a word: buttons and links of the bar, headlines, amounts.
CUT = """() => {
    const wrong = [];
    const inside = box => box.left >= -0.5 && box.right <= innerWidth + 0.5;
    for (const one of document.querySelectorAll('main *:not(.sr):not(option)')) {
        const box = one.getBoundingClientRect();
        const scrolls = one.closest('.chips, .hashed');
        if (box.width && box.height && !scrolls && !inside(box)) wrong.push('outside: ' + one.outerHTML.slice(0, 120));
    }
    for (const button of document.querySelectorAll('.bar-below button, .bar-below a.button')) {
        const box = button.getBoundingClientRect();
        if (box.height && (box.bottom > innerHeight + 0.5 || box.top < 0)) wrong.push('below: ' + button.textContent.trim());
        if (button.scrollWidth > button.clientWidth + 1) wrong.push('cut: ' + button.textContent.trim());
    }
    for (const text of document.querySelectorAll('.item .headline, h1 .amount, .item .headline .amount')) {
        for (const word of text.textContent.trim().split(/\\s+/)) {
            const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
            for (let node; node = walker.nextNode();) {
                const at = node.data.indexOf(word);
                if (at < 0) continue;
                const range = document.createRange();
                range.setStart(node, at); range.setEnd(node, at + word.length);
                const lines = new Set([...range.getClientRects()].filter(r => r.width).map(r => Math.round(r.top)));
                if (lines.size > 1) wrong.push('broken: ' + word);
                break;
            }
        }
    }
    return wrong;
}"""


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Paused]]:
    """A desk with calls of several kinds; one of them has a long amount, name and account."""
    with Server(tmp_path_factory.mktemp("large")) as server:
        desk = Desk.open(server)
        assert isinstance(desk, Desk)
        to = {"name": "Donaudampfschifffahrtsgesellschaft mbH", "country": "KW", "iban": "KW81CBKU0000000000001234560101"}
        desk.pause({"service": "imaging-gateway", "version": "2.10.1", "environment": "production", "image": "sha256:" + "0a" * 32}, tool="deploy",
                   action="release", agent="bot-2")  # fmt: skip
        desk.pause({"amount": 6400, "customer": "cus_m4m4rnn2", "order": "A-91"}, tool="payments", action="refund", agent="billing-bot")
        params = {"amount": 1_234_250_500, "currency": "KWD", "to": to, "reference": "Invoice BC-40", "due": "2026-12-02T16:00:00Z", "id": "tr-1"}
        # The same payment twice: the second call has a warning, on the confirming page too.
        desk.pause(params | {"id": "tr-0"}, tool="payments", action="transfer", agent="payments-bot")
        paused = desk.pause(params, tool="payments", action="transfer", agent="payments-bot", reason="The order was checked.")
        desk.listed(paused)
        yield desk, paused


def large(page: Page) -> list[str]:
    """What is wrong with the page at twice the size."""
    page.evaluate(LARGE, ROOT_FONT)
    wrong = page.evaluate(CUT)
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        wrong.append("the page is wider than the window")
    return [f"{page.url}: {what}" for what in wrong]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_cut_with_text_of_twice_the_size(paused: tuple[Desk, Paused], chromium: Browser, tmp_path: Path, width: int) -> None:
    desk, call = paused
    page = chromium.new_context(viewport={"width": width, "height": 800}, base_url=desk.server.url).new_page()
    page.goto("/")
    wrong = large(page)
    sign_in(page, desk)
    wrong += large(page)
    page.screenshot(path=tmp_path / "inbox.png")
    page.goto(f"/approvals/{call.id}")
    wrong += large(page)
    page.screenshot(path=tmp_path / "approval.png")
    for answer in ("Deny …", "Approve …"):
        page.goto(f"/approvals/{call.id}")
        page.get_by_role("button", name=answer).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("this call?")
        assert (page.get_by_label("Warnings").count() == 1) is (answer == "Approve …")
        wrong += large(page)
        page.screenshot(path=tmp_path / f"{answer[:4]}.png")
    assert not wrong, "\n".join(wrong)


def test_on_paper_everything_is_open_and_no_form_is_there(paused: tuple[Desk, Paused], chromium: Browser, tmp_path: Path) -> None:
    desk, call = paused
    page = chromium.new_context(viewport={"width": 794, "height": 1123}, base_url=desk.server.url).new_page()
    sign_in(page, desk)
    page.goto(f"/approvals/{call.id}")
    page.emulate_media(media="print")
    text = page.locator("main").inner_text()
    # The frozen call, as it was hashed, and every value.
    assert '"amount":1234250500' in text and "/to/iban" in text, text
    for hidden in (page.locator(".bar-below"), page.get_by_role("button"), page.locator("select"), page.locator("textarea")):
        for one in hidden.all():
            expect(one).to_be_hidden()
    page.screenshot(path=tmp_path / "paper.png", full_page=True)
    assert page.pdf(format="A4").startswith(b"%PDF")
