"""Sixty calls of which twelve are wrong, made by somebody who had not seen the pages (`corpus/planted`): what tells the wrong ones
stands on the first screen of a phone (P7). Whoever judges by eye gets the pictures and `briefing.md`, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from support import Server
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.pages import Paused
from support.realistic import Desk

PLANTED = Path(__file__).parent.parent / "corpus" / "planted"
CALLS: list[dict[str, Any]] = json.loads((PLANTED / "calls.json").read_text())
WRONG = [call for call in CALLS if call["wrong"]]
#: Texts of the page that are drawn within the window, whole, and that nothing covers.
ON_SCREEN = """() => {
    const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    let texts = '';
    for (let node; node = walker.nextNode();) {
        const range = document.createRange();
        range.selectNodeContents(node);
        const boxes = [...range.getClientRects()];
        const drawn = boxes.length && boxes.every(b => b.top >= 0 && b.bottom <= innerHeight && b.left >= 0 && b.right <= innerWidth);
        const over = boxes.length && document.elementFromPoint(boxes[0].x + boxes[0].width / 2, boxes[0].y + boxes[0].height / 2);
        if (drawn && over && (node.parentElement.contains(over) || over.contains(node.parentElement))) {
            // What only a possible break parts is one word.
            texts += (node.previousSibling?.nodeName === 'WBR' ? '' : ' ') + node.textContent;
        }
    }
    return texts.replace(/\\s+/g, ' ');
}"""


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, dict[int, Paused]]]:
    """Every call, paused, in its order."""
    with Server(tmp_path_factory.mktemp("planted")) as server:
        desk = Desk.open(server)
        assert isinstance(desk, Desk)
        # An agent may have 20 calls that wait.
        agent = lambda call: "billing-bot" if call["agent"] == "payments-bot" and call["n"] % 2 else call["agent"]  # noqa: E731
        made = {call["n"]: desk.pause(call["params"], tool=call["tool"], action=call["action"], agent=agent(call)) for call in CALLS}
        desk.listed(made[CALLS[-1]["n"]])
        yield desk, made


@pytest.fixture(scope="module")
def phone(paused: tuple[Desk, dict[int, Paused]], chromium: Browser) -> Page:
    """Maria's, signed in."""
    desk, _ = paused
    page = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=desk.server.url).new_page()
    sign_in(page, desk)
    return page


def test_p7_what_tells_a_wrong_call_is_on_the_first_screen(paused: tuple[Desk, dict[int, Paused]], phone: Page) -> None:
    """For each of the twelve. A picture of every call is made, if a folder is named."""
    _, made = paused
    hidden = {}
    for call in CALLS:
        phone.goto(f"/approvals/{made[call['n']].id}")
        if folder := os.environ.get("COUNTERSIGN_SHOTS"):
            phone.screenshot(path=f"{folder}/call-{call['n']:02}.png")
        seen = phone.evaluate(ON_SCREEN)
        if call["wrong"] and " ".join(call["tells"].split()) not in seen:
            hidden[call["name"]] = (call["tells"], seen)
    assert len(CALLS) == 60 and len(WRONG) == 12
    assert not hidden, hidden
