"""Three times sixty calls of which twelve are wrong, made by somebody who had not seen the pages (`corpus/planted`): what tells the wrong ones
stands on the first screen of a phone (P7). Whoever judges by eye gets the pictures and the briefing of the set, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from support import Server, planted
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.pages import Paused
from support.realistic import Desk

#: A name among those of fourteen people: it is on the page, and on no first screen.
BELOW = {"salaries-ankara"}
SETS = {"first": planted.first, "second": planted.second, "third": planted.third}
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
    if folder := os.environ.get("COUNTERSIGN_SHOTS"):
        (Path(folder) / "briefing.md").write_text(planted.briefing([call for call, _ in made]))
    for call, one in made:
        phone.goto(f"/approvals/{one.id}")
        if folder := os.environ.get("COUNTERSIGN_SHOTS"):
            phone.screenshot(path=f"{folder}/call-{call['n']:02}.png")
        seen = phone.evaluate(ON_SCREEN)
        if call["name"] in BELOW:
            seen = phone.locator("main").text_content() or ""
        if call["wrong"] and " ".join(call["tells"].split()) not in seen:
            hidden[call["name"]] = (call["tells"], seen)
    assert len(made) == 60 and len([call for call, _ in made if call["wrong"]]) == 12
    assert not hidden, hidden


#: What is half hidden or broken: consequences under the bar, hosts on two lines, digests in bold.
BROKEN = """() => {
    const bar = document.querySelector('.bar-below').getBoundingClientRect().top;
    const wrong = [];
    for (const one of document.querySelectorAll('.why .yes, .why .no')) {
        const box = one.getBoundingClientRect();
        if (box.bottom > bar || box.height === 0) wrong.push(`${one.textContent} ends at ${box.bottom}, the bar begins at ${bar}`);
    }
    for (const host of document.querySelectorAll('.host')) {
        const lines = new Set([...(() => { const r = document.createRange(); r.selectNodeContents(host); return r.getClientRects(); })()].map(b => b.top));
        // A host that is wider than a phone is broken after dots.
        if (lines.size !== 1 && host.textContent.length <= 34) wrong.push(`${host.textContent} has ${lines.size} lines`);
    }
    for (const one of document.querySelectorAll('.f-digest code')) {
        if (Number(getComputedStyle(one).fontWeight) > 400) wrong.push(`${one.textContent} is bold`);
    }
    if (document.documentElement.scrollWidth > innerWidth) wrong.push('it is wider than the window');
    return wrong;
}"""


def test_p7_what_an_answer_leads_to_is_above_the_bar_and_hosts_are_whole(paused: tuple[Desk, list[tuple[planted.Call, Paused]]], phone: Page) -> None:
    """On each of the sixty pages."""
    _, made = paused
    wrong = {}
    for call, one in made:
        phone.goto(f"/approvals/{one.id}")
        assert phone.locator(".why .yes").count() == 1 and phone.locator(".why .no").count() == 1
        if found := phone.evaluate(BROKEN):
            wrong[call["name"]] = found
    assert not wrong, wrong


#: For each set: right calls that may warn, because what is in them or in the log is as rare as it looks; and wrong calls that must. An
#: end a year away is in no second one: the calls of the sets get older.
WARN: dict[str, tuple[set[str], set[str]]] = {
    "first": (set(), {"pay-nordkapp", "pay-jansen-2"}),
    "second": ({"pay-fazekas"}, {"refund-a-85", "export-tohoku", "pay-fazekas-again"}),
    "third": ({"grant-kimura", "delete-old-imaging"}, {"mail-roster", "export-sanderson", "grant-locum", "delete-referrals"}),
}
#: Most pages of sixty that have something on top of what an answer leads to.
ON_TOP_MAX = 20


def test_p7_what_warns_is_rarely_a_false_alarm(paused: tuple[Desk, list[tuple[planted.Call, Paused]]]) -> None:
    """Red on a right call teaches people to read past it."""
    desk, made = paused
    maria = desk.visitor("p-maria")
    warns = {call["name"] for call, one in made if '<ul class="known new"' in maria.get(f"/approvals/{one.id}").text}
    may, must = next(WARN[name] for name, of in SETS.items() if [call["name"] for call in of()] == [call["name"] for call, _ in made])
    wrong = {call["name"] for call, _ in made if call["wrong"]}
    assert warns - wrong <= may and must <= warns, (sorted(warns - wrong), sorted(warns & wrong))


def test_p7_a_page_has_something_on_top_only_where_it_sets_the_call_apart(paused: tuple[Desk, list[tuple[planted.Call, Paused]]]) -> None:
    """Of sixty calls, most are as usual."""
    desk, made = paused
    maria = desk.visitor("p-maria")
    on_top = [call["name"] for call, one in made if '<ul class="known' in maria.get(f"/approvals/{one.id}").text]
    assert len(on_top) <= ON_TOP_MAX, on_top


@pytest.mark.parametrize("name", ["first", "second"])
def test_p7_the_briefing_has_every_right_call_and_no_wrong_one(name: str) -> None:
    """Whoever is briefed knows each call that is right, and what a wrong one should have been. A duplicate is right once."""
    calls = SETS[name]()
    text = planted.briefing(calls)
    assert not [call["name"] for call in calls if not call["wrong"] and not planted.is_in(call, text)]
    assert not [call["name"] for call in calls if call["wrong"] and not call["wrong"].startswith("Duplicate") and planted.is_in(call, text)]
