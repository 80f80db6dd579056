"""Twice sixty calls of which twelve are wrong, made by somebody who had not seen the pages (`corpus/planted`): what tells the wrong ones
stands on the first screen of a phone (P7). Whoever judges by eye gets the pictures and `briefing.md`, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from support import Server, planted
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.pages import Paused
from support.realistic import Desk

SETS = {"first": planted.first, "second": planted.second}
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


@pytest.fixture(scope="module", params=SETS)
def paused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, list[tuple[planted.Call, Paused]]]]:
    """Every call of a set, paused, in its order."""
    calls = SETS[request.param]()
    with Server(tmp_path_factory.mktemp("planted")) as server:
        desk = Desk.open(server)
        assert isinstance(desk, Desk)
        # An agent may have 20 calls that wait.
        agent = lambda call: "billing-bot" if call["agent"] == "payments-bot" and call["n"] % 2 else call["agent"]  # noqa: E731
        made = [(call, desk.pause(call["params"], tool=call["tool"], action=call["action"], agent=agent(call))) for call in calls]
        desk.listed(made[-1][1])
        yield desk, made


@pytest.fixture(scope="module")
def phone(paused: tuple[Desk, list[tuple[planted.Call, Paused]]], chromium: Browser) -> Page:
    """Maria's, signed in."""
    desk, _ = paused
    page = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=desk.server.url).new_page()
    sign_in(page, desk)
    return page


def test_p7_what_tells_a_wrong_call_is_on_the_first_screen(paused: tuple[Desk, list[tuple[planted.Call, Paused]]], phone: Page) -> None:
    """For each of the twelve. A picture of every call is made, if a folder is named."""
    _, made = paused
    hidden = {}
    for call, one in made:
        phone.goto(f"/approvals/{one.id}")
        if folder := os.environ.get("COUNTERSIGN_SHOTS"):
            phone.screenshot(path=f"{folder}/call-{call['n']:02}.png")
        seen = phone.evaluate(ON_SCREEN)
        if call["wrong"] and " ".join(call["tells"].split()) not in seen:
            hidden[call["name"]] = (call["tells"], seen)
    assert len(made) == 60 and len([call for call, _ in made if call["wrong"]]) == 12
    assert not hidden, hidden
