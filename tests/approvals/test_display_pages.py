"""What people read on a phone: the first screen of a call, the confirming page, rows that differ. In real Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from support import Server
from support.browsing import chromium as chromium
from support.browsing import sign_in
from support.pages import Paused
from support.realistic import CALLS, PEOPLE, Call, Desk

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
#: A small phone, in CSS pixels.
WIDTH, HEIGHT = 360, 800


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One server with displays."""
    with Server(tmp_path_factory.mktemp("display")) as server:
        opened = Desk.open(server)
        assert isinstance(opened, Desk)
        yield opened


@pytest.fixture(scope="module")
def paused(desk: Desk) -> dict[str, Paused]:
    """Every realistic call, paused."""
    made = {call.name: desk.pause(call.params, tool=call.tool, action=call.action, agent=call.agent) for call in CALLS}
    desk.listed(made[CALLS[-1].name])
    return made


@pytest.fixture
def window(chromium: Browser, desk: Desk) -> Iterator[Callable[..., Page]]:
    """Opens a window in which Maria, of finance, is signed in."""
    made: list[BrowserContext] = []

    def make(width: int = WIDTH, height: int = HEIGHT, person: str = "p-maria", **options: Any) -> Page:
        size: Any = {"width": width, "height": height}
        made.append(chromium.new_context(viewport=size, base_url=desk.server.url, **options))
        page = made[-1].new_page()
        sign_in(page, desk, person)
        return page

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def phone(chromium: Browser, desk: Desk) -> Iterator[Page]:
    """Maria's phone, for tests that only look."""
    context = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}, base_url=desk.server.url)
    page = context.new_page()
    sign_in(page, desk, "p-maria")
    yield page
    context.close()


def shot(page: Page, name: str) -> None:
    """A picture for whoever judges by eye, if a folder is named."""
    if folder := os.environ.get("COUNTERSIGN_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def on_screen(page: Page, what: Locator, name: str) -> None:
    """It is whole within the window, without scrolling, and nothing covers its middle."""
    box = what.first.bounding_box()
    assert box, f"{name} is not drawn"
    size = page.viewport_size
    assert size and box["x"] >= 0 and box["y"] >= 0 and box["width"] > 0, (name, box)
    assert box["x"] + box["width"] <= size["width"] + 0.5 and box["y"] + box["height"] <= size["height"] + 0.5, (name, box)
    seen = what.first.evaluate(
        "e => { const b = e.getBoundingClientRect(); const at = document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2);"
        " return e.contains(at) || at.contains(e) }"
    )
    assert seen, f"{name} is covered"


def plain(page: Page) -> str:
    """What is read, on one line."""
    return " ".join(page.inner_text("main").split())


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_p7_the_first_screen_tells_the_call(paused: dict[str, Paused], phone: Page, call: Call) -> None:
    """Amount, whom, agent and whose it is, deadline, why me, who else, what follows, and both buttons: for each of sixty."""
    page = phone
    page.goto(f"/approvals/{paused[call.name].id}")
    shot(page, f"first-{call.name}")
    head = page.locator(".head")
    assert call.whom in " ".join(head.inner_text().split())
    if call.amount:
        on_screen(page, page.locator("h1 .amount"), "amount")
        expect(page.locator("h1 .amount")).to_have_text(call.amount)
    on_screen(page, page.locator("h1"), "sentence")
    on_screen(page, page.locator(".by"), "agent")
    assert call.agent in page.inner_text(".by")
    assert ("Ana Lima’s agent" in page.inner_text(".by")) == (call.agent in PEOPLE["p-ana"]["owns"])
    on_screen(page, page.locator(".until"), "deadline")
    on_screen(page, page.locator(".why p").first, "why you")
    assert "you are in finance" in page.inner_text(".why")
    for n in range(page.locator(".who-else li").count()):
        on_screen(page, page.locator(".who-else li").nth(n), "who else")
    for words in ("If you say yes:", "If you say no:"):
        on_screen(page, page.get_by_text(words), words)
    on_screen(page, page.get_by_role("button", name="Approve …"), "approve")
    on_screen(page, page.get_by_role("button", name="Deny …"), "deny")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Wherever somebody has read to, the answer is there.
    page.evaluate("document.querySelector('details').open = true; window.scrollTo(0, document.body.scrollHeight / 2)")
    on_screen(page, page.get_by_role("button", name="Approve …"), "approve, in the middle")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_p7_the_confirming_page_repeats_what_counts(desk: Desk, paused: dict[str, Paused], phone: Page, call: Call) -> None:
    """Amount, whom, every display field, and how many values remain; by GET, so that going back and forth sends nothing."""
    page = phone
    page.goto(f"/approvals/{paused[call.name].id}")
    page.get_by_role("button", name="Approve …").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Approve this call?")
    shot(page, f"confirm-{call.name}")
    text = plain(page)
    for wanted in [*([call.amount] if call.amount else []), call.whom, *call.fields, call.agent, paused[call.name].digest[:8]]:
        assert wanted in text, (wanted, text)
    assert "values of the call" in text or "1 more value" in text
    assert ("/confirm?" in page.url) and "token" not in page.url
    on_screen(page, page.get_by_role("button", name="Yes, approve"), "yes")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Approve this call?")
    page.go_back()
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_have_text("Approve this call?")
    assert [e["type"] for e in desk.entries(paused[call.name])] == ["requested"]


def pages(page: Page, path: str) -> Iterator[None]:
    """Opens a list, and then its next pages, one after the other."""
    page.goto(path)
    yield
    while (more := page.get_by_role("link", name="Next by deadline")).count():
        more.click()
        yield


def find(page: Page, path: str, call: Paused) -> Locator:
    """The row of a call, on whichever page of the list it is."""
    row = page.locator(f"a[href='/approvals/{call.id}']")
    assert any(row.count() for _ in pages(page, path)), path
    return row


def test_p7_rows_of_different_calls_differ(paused: dict[str, Paused], phone: Page) -> None:
    names = {paused[call.name].id: call for call in CALLS}
    rows = {}
    for _ in pages(phone, "/"):
        shot(phone, f"inbox-{len(rows)}")
        for item in phone.locator("a.item").all():
            call = names.get(str(item.get_attribute("href")).removeprefix("/approvals/"))
            if call is None:
                continue
            words = " ".join(item.locator(".headline, .call").all_text_contents())  # also in a fold
            rows[call.name] = " ".join(words.split())
            assert not call.amount or call.amount in rows[call.name]
            assert call.whom in rows[call.name], rows[call.name]
    assert len(rows) == len(set(rows.values())) == len(CALLS), rows


def test_like_calls_are_folded_with_sum_and_range(desk: Desk, window: Callable[..., Page]) -> None:
    made = [
        desk.pause({"amount": 1000 + 100 * n, "customer": f"cus_{n}", "order": f"B-{n}"}, tool="payments", action="refund", agent=f"bot-{n % 3}")
        for n in range(12)
    ]
    desk.listed(made[-1])
    page = window()
    page.goto("/?tool=payments")
    fold = page.locator("details.like").filter(has_text="refund")
    text = " ".join(fold.locator("summary").inner_text().split())
    assert "17 like calls: EUR 0.99 to EUR 2,499.00" in text and "EUR 2,888.44 together" in text, text
    expect(page.locator(f"a[href='/approvals/{made[3].id}']")).to_be_hidden()
    shot(page, "inbox-payments")
    fold.locator("summary").click()
    expect(page.locator(f"a[href='/approvals/{made[3].id}']")).to_be_visible()
    assert "mail" not in " ".join(page.locator(".item").all_inner_texts())


def test_what_was_decided_meanwhile_is_told(desk: Desk, window: Callable[..., Page]) -> None:
    waiting = desk.listed(desk.pause({"service": "api", "version": "1", "environment": "test", "image": "i"}, tool="deploy", action="release"))
    page = window()
    page.clock.install()
    page.goto("/?tool=deploy")
    page.clock.run_for(11_000)
    expect(page.get_by_role("link", name="Check for new ones")).to_be_visible()
    desk.visitor("p-jonas").review(waiting, "deny")
    page.clock.run_for(11_000)
    expect(page.get_by_role("link", name="1 gone: show")).to_be_visible()
    page.get_by_role("link", name="1 gone: show").click()
    expect(page.locator(f"a[href='/approvals/{waiting.id}']")).to_have_count(0)
    page.get_by_role("link", name="Done").click()
    row = page.locator(f"a[href='/approvals/{waiting.id}']")
    expect(row).to_contain_text("Jonas Weber denied")


def test_a_row_says_what_became_of_its_call(desk: Desk, window: Callable[..., Page]) -> None:
    """Each one by itself; the others stay as they are, and nothing moves."""
    release = {"service": "api", "environment": "test", "image": "i"}
    calls = [desk.pause(release | {"version": str(n)}, tool="deploy", action="release") for n in (7, 8, 9)]
    desk.listed(calls[-1])
    page = window()
    page.clock.install()
    page.goto("/?tool=deploy")
    for paused, decision in zip(calls, ("deny", "approve")):
        desk.visitor("p-jonas").review(paused, decision)
    page.clock.run_for(11_000)
    row = lambda n: page.locator(f"a[href='/approvals/{calls[n].id}']")  # noqa: E731
    expect(row(0).locator(".fate")).to_have_text("Denied by Jonas Weber")
    expect(row(1).locator(".fate")).to_have_text("Approved by Jonas Weber")
    expect(row(2).locator(".fate")).to_be_hidden()
    shot(page, "inbox-fates")


@pytest.mark.parametrize(("width", "height", "scheme"), [(360, 800, "light"), (1280, 800, "light"), (360, 800, "dark"), (1280, 800, "dark")])
def test_a_question_and_its_answer_are_read_on_the_page(desk: Desk, window: Callable[..., Page], width: int, height: int, scheme: str) -> None:
    """Asked in two taps beside the two buttons, which stay on the first screen; answered by the owner, who sees no value."""
    call = desk.listed(desk.pause(CALLS[0].params | {"reference": f"asked {width} {scheme}"}, tool="payments", action="transfer", agent="payments-bot"))
    page = window(width, height, color_scheme=scheme)
    page.goto(f"/approvals/{call.id}")
    for name in ("Deny …", "Approve …"):
        on_screen(page, page.get_by_role("button", name=name), name)
    on_screen(page, page.get_by_role("link", name="Ask …"), "ask")
    name = f"{width}-{scheme}"
    shot(page, f"ask-0-{name}")
    page.get_by_role("link", name="Ask …").click()
    page.get_by_label("Question").fill("Which contract is this?\nThe last one ended in May.")
    shot(page, f"ask-1-{name}")
    on_screen(page, page.get_by_role("button", name="Send question"), "send")
    check(page, "ask")
    page.get_by_role("button", name="Send question").click()
    expect(page.get_by_role("link", name="1 question, not answered yet")).to_be_visible()
    expect(page.get_by_role("link", name="Ask …")).to_have_count(0)
    owner = window(width, height, person="p-ana", color_scheme=scheme)
    owner.goto("/")
    expect(owner.get_by_role("heading", name="Questions to you")).to_be_visible()
    shot(owner, f"ask-2-{name}")
    owner.locator(f"a[href='/approvals/{call.id}/questions']").click()
    assert "9,900" not in owner.inner_text("main") and CALLS[0].whom not in owner.inner_text("main")
    owner.get_by_label("Your answer").fill("Contract 17/24, prolonged on 3 June.")
    check(owner, "questions")
    shot(owner, f"ask-3-{name}")
    owner.get_by_role("button", name="Send answer").click()
    expect(owner.get_by_text("prolonged on 3 June")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="1 question, answered")).to_be_visible()
    expect(page.get_by_role("link", name="Ask …")).to_be_visible()
    expect(page.locator(".question")).to_contain_text("Ana Lima answered")
    for button in ("Deny …", "Approve …"):
        on_screen(page, page.get_by_role("button", name=button), button)
    shot(page, f"ask-4-{name}")
    check(page, "answered")
    page.get_by_role("button", name="Deny …").click()
    page.get_by_label("Reason").select_option("wrong_amount")
    page.get_by_label("For the agent").fill("At most EUR 1,000.")
    page.get_by_label("Comment").fill("see contract")
    shot(page, f"ask-5-{name}")
    check(page, "deny")
    page.get_by_role("button", name="Go back").click()
    expect(page.locator(".kept")).to_contain_text("see contract")
    shot(page, f"ask-6-{name}")
    page.get_by_role("button", name="Deny …").click()
    expect(page.get_by_label("Reason")).to_have_value("wrong_amount")
    assert [e["type"] for e in desk.entries(call)] == ["requested", "asked", "answered"]


def test_after_an_answer_the_next_call_is_one_tap_away(desk: Desk, paused: dict[str, Paused], window: Callable[..., Page]) -> None:
    call = desk.listed(desk.pause(CALLS[0].params | {"reference": "next"}, tool="payments", action="transfer", agent="payments-bot"))
    page = window()
    page.goto(f"/approvals/{call.id}")
    page.get_by_role("button", name="Approve …").click()
    page.get_by_label("Comment").fill("checked")
    page.get_by_role("button", name="Yes, approve").click()
    expect(page.locator(".recorded")).to_contain_text("Recorded. Approved by you. Waits for 1 of security.")
    shot(page, "recorded")
    on_screen(page, page.locator(".recorded a"), "next")
    page.locator(".recorded a").click()
    expect(page.get_by_role("button", name="Approve …")).to_be_visible()
    page.goto("/?show=others")
    expect(page.locator(f"a[href='/approvals/{call.id}']")).to_contain_text("Approved by you")
    shot(page, "others")
    eva = window(person="p-eva")
    expect(find(eva, "/", call)).to_contain_text("Maria Lindqvist approved · waits for you: your yes decides")


def test_p8_a_comment_survives_the_end_of_the_session(desk: Desk, window: Callable[..., Page]) -> None:
    """Signed out while typing: nothing is recorded, the comment is carried through the sign-in, and then recorded once."""
    call = desk.pause(CALLS[1].params | {"reference": "comment"}, tool="payments", action="transfer", agent="payments-bot")
    page = window(java_script_enabled=False)
    page.goto(f"/approvals/{call.id}")
    page.get_by_role("button", name="Deny …").click()
    page.get_by_label("Comment").fill("wrong\naccount <b>")
    page.context.clear_cookies()
    page.get_by_role("button", name="Yes, deny").click()
    expect(page.get_by_text("Nothing was recorded")).to_be_visible()
    shot(page, "signed-out")
    for key in ("cs_wrong", desk.key("p-maria").text):
        page.get_by_label("Person").fill("p-maria")
        page.get_by_label("Reviewer key").fill(key)
        page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".kept")).to_contain_text("wrong\naccount <b>")
    assert [e["type"] for e in desk.entries(call)] == ["requested"]
    page.get_by_role("button", name="Deny …").click()
    expect(page.get_by_label("Comment")).to_have_value("wrong\naccount <b>")
    page.get_by_role("button", name="Yes, deny").click()
    expect(page.locator(".recorded")).to_contain_text("Denied by you")
    assert "wrong" in page.inner_text(".history")


def test_p9_who_was_faster_is_named_and_the_comment_is_kept(desk: Desk, window: Callable[..., Page]) -> None:
    call = desk.pause(CALLS[2].params | {"reference": "faster"}, tool="payments", action="transfer", agent="bot-0")
    page = window()
    page.goto(f"/approvals/{call.id}")
    page.get_by_role("button", name="Approve …").click()
    page.get_by_label("Comment").fill("looks right")
    desk.visitor("p-jonas").review(call, "deny")
    page.get_by_role("button", name="Yes, approve").click()
    expect(page.get_by_role("alert")).to_have_text("Jonas Weber denied this before you. Nothing of yours was recorded.")
    expect(page.locator(".kept")).to_contain_text("looks right")
    assert not [e for e in desk.entries(call) if e.get("by") == "p-maria" and e["type"] == "reviewed"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_of_these_is_accessible(
    desk: Desk, paused: dict[str, Paused], window: Callable[..., Page], width: int, scheme: str
) -> None:
    page = window(width, 900, color_scheme=scheme)
    for path in ["/", "/?show=others", "/?show=decided", "/?tool=payments", *(f"/approvals/{paused[n].id}" for n in ("kuwait", "bulk", "unknown"))]:
        page.goto(path)
        check(page, path)
        shot(page, f"{path.strip('/').replace('/', '-')[:20] or 'inbox'}-{width}-{scheme}")
    page.get_by_role("button", name="Approve …").click()
    check(page, "confirming page")
    shot(page, f"confirm-{width}-{scheme}")


def check(page: Page, name: str) -> None:
    """No violation at all for axe-core, and nothing wider than the window."""
    page.wait_for_load_state()
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(v["id"], [node["html"] for node in v["nodes"]][:3]) for v in found["violations"]] == [], name
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"


def test_times_are_in_the_readers_zone(desk: Desk, paused: dict[str, Paused], window: Callable[..., Page]) -> None:
    """With JavaScript in the zone of the browser, with its name; without it in UTC. The distance is there always."""
    path = f"/approvals/{paused['germany'].id}"
    there = window(timezone_id="Asia/Tokyo")
    there.goto(path)
    here = window(java_script_enabled=False)
    here.goto(path)
    assert "UTC" in here.inner_text(".until") and "UTC" not in there.inner_text(".until")
    assert "GMT+9" in there.inner_text(".until") and " in 5 h" in there.inner_text(".until")
