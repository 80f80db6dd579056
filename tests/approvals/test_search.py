"""Search in *Others* and *Done*: the whole log, what a person may read and nothing else, and how far it came."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from support import Server, until
from support.desk import approval_id, paused
from support.pages import Office, Paused, Visitor

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server with some calls; sound at the end."""
    with Server(tmp_path_factory.mktemp("search")) as server:
        opened = Office.open(server)
        yield opened
        server.stop()
        server.fsck().ok()


def found(visitor: Visitor, show: str = "decided", **fields: str) -> tuple[list[str], str]:
    """The ids on a page of a search, and the page."""
    page = visitor.get("/?" + urlencode({"show": show, "search": "1", **fields}))
    assert page.status_code == 200, page.text
    return re.findall(r'class="item" href="/approvals/([^"]+)"', page.text), page.text


def all_found(visitor: Visitor, show: str = "decided", **fields: str) -> list[str]:
    """The ids on all pages, along *next*."""
    ids, page = found(visitor, show, **fields)
    while following := re.search(r'href="(/\?[^"]+before=[^"]+)">(?:Next page|Search on)', page):
        answer = visitor.get(following[1].replace("&amp;", "&"))
        assert answer.status_code == 200
        page = answer.text
        ids += re.findall(r'class="item" href="/approvals/([^"]+)"', page)
    assert "read everything that you may read" in page
    return ids


def day(days: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def denied(office: Office, person: str = "p-maria", **over: Any) -> Paused:
    call = office.listed(office.pause({"amount": 1}, **over))
    assert office.visitor(person).review(call, "deny").status_code == 303
    return call


def test_calls_are_found_by_agent_tool_person_and_day(office: Office) -> None:
    first = denied(office, tool="mail", action="send", agent="Seeker-1")
    second = denied(office, "p-jonas", tool="mailer", action="send", agent="seeker-2")
    waiting = office.listed(office.pause({"amount": 2}, tool="payments", agent="seeker-3"))
    assert office.visitor("p-maria").review(waiting, "approve").status_code == 303 or True
    maria = office.visitor("p-maria")
    assert all_found(maria, agent="seeker") == [second.id, first.id], "the latest first, in any case of letters"
    assert all_found(maria, agent="seeker", tool="mailer") == [second.id]
    assert all_found(maria, agent="seeker", person="jonas") == [second.id] == all_found(maria, agent="seeker", person="p-jonas")
    assert all_found(maria, agent="seeker", person="nobody of this name") == []
    assert {"from": day(), "to": day()} and all_found(maria, agent="seeker", **{"from": day(-1), "to": day(1)}) == [second.id, first.id]
    assert all_found(maria, agent="seeker", **{"from": day(2)}) == [] == all_found(maria, agent="seeker", to=day(-2))
    assert set(all_found(maria)) >= {first.id, second.id}
    for wrong in ({"from": "yesterday"}, {"before": "x"}, {"agent": "x" * 129}):
        assert maria.get("/?" + urlencode({"show": "decided", "search": "1", **wrong})).status_code == 400
    _, page = found(maria, agent="<script>x</script>\u202e")
    assert "<script>x" not in page and "\u202e" not in page.split('role="status"')[1]


def test_what_waits_for_others_is_found_and_what_waits_for_me_is_not(office: Office) -> None:
    mine = office.listed(office.pause({"amount": 3}, tool="mail", agent="other-mine"))
    both = office.listed(office.pause({"amount": 200000, "currency": "EUR"}, agent="other-both"))
    maria = office.visitor("p-maria")
    assert maria.review(both, "approve").status_code == 303
    assert all_found(maria, "others", agent="other-") == [both.id]
    assert all_found(maria, agent="other-") == []
    assert maria.review(mine, "deny").status_code == 303
    assert all_found(maria, agent="other-") == [mine.id], "at once"


def test_p12_nobody_finds_what_they_may_not_read(office: Office) -> None:
    """Owners, other groups and other tenants get the page of a search for what never existed."""
    denied(office, "p-maria", tool="mail", action="send", agent="omars-bot")
    denied(office, "p-maria", tool="mail", action="send", agent="secret-of-finance")
    contract = denied(office, "p-lena", tool="contracts", action="sign", agent="secret-of-legal")
    lena, omar, maria = (office.visitor(person) for person in ("p-lena", "p-omar", "p-maria"))
    assert all_found(omar, agent="secret-of-finance") and all_found(maria, agent="omars-bot"), "who may read it finds it"
    assert all_found(lena, agent="secret-of-legal") == [contract.id]
    hidden = [(omar, "omars-bot"), (lena, "secret-of-finance"), (maria, "secret-of-legal")]
    for visitor, agent in hidden:
        invented = "x" * len(agent)
        ids, page = found(visitor, agent=agent)
        none, nothing = found(visitor, agent=invented)
        assert not ids and not none and page.replace(agent, "") == nothing.replace(invented, "")
    assert not set(all_found(lena, tool="mail"))
    # Who answered and is asked no more still finds it, as the matrix says.
    office.people["p-lena"]["groups"] = ["support"]
    office.put_in_force()
    try:
        assert all_found(lena, agent="secret-of-legal") == [contract.id]
        assert all_found(lena, tool="contracts") == [contract.id]
    finally:
        office.people["p-lena"]["groups"] = ["legal"]
        office.put_in_force()


def test_p13_the_search_reads_the_whole_log_and_not_the_last_thousand(tmp_path: Path) -> None:
    with Server(tmp_path / "long") as server:
        office = Office.open(server)
        publisher, calls = server.as_("publisher"), []
        for block in range(21):
            made = [
                paused(office.tenant, {"n": n}, data={"agent": {"id": f"agent-{block}-{n}"}, "tool": {"name": "mail", "action": "send"}})
                for n in range(50)
            ]
            publisher.publish(*made)
            ids = [approval_id(office.tenant, "gw-1", one) for one in made]
            calls += ids
            last = server.admin.get
            until("they wait", lambda: all(last(f"/approvals/{id}").status_code == 200 for id in (ids[0], ids[-1])))
            for id in ids:
                until(f"{id} is cancelled", lambda id=id: server.admin.http.post(
                    f"{server.admin.t}/approvals/{id}/cancel", json={"reason": "test"}).status_code == 200)  # fmt: skip
        maria = office.visitor("p-maria")
        assert calls[0] not in maria.get("/?show=decided").text
        assert all_found(maria, agent="agent-0-0") == [calls[0]], "the first of 1,050"
        everything = all_found(maria)
        assert sorted(everything) == sorted(calls) and len(everything) == len(set(everything))
        # The rows are written again where they are lost, and a restart loses none.
        server.stop()
        server.fsck().ok()
        server.start()
        assert all_found(office.visitor("p-maria"), agent="agent-0-0") == [calls[0]]


# In Chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    executable = shutil.which("chromium")
    assert executable, "scripts/test installs it"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")])
def test_the_form_works_on_a_phone(office: Office, chromium: Browser, width: int, scheme: Any) -> None:
    call = denied(office, tool="mail", action="send", agent=f"form-{width}-{scheme}")
    context: BrowserContext = chromium.new_context(viewport={"width": width, "height": 800}, base_url=office.server.url, color_scheme=scheme)
    page: Page = context.new_page()
    page.goto("/")
    page.get_by_label("Person").fill("p-maria")
    page.get_by_label("Reviewer key").fill(office.key("p-maria").text)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Done").click()
    page.get_by_text("Search the whole log").click()
    page.get_by_label("Agent").fill(f"FORM-{width}-{scheme}")
    page.get_by_label("Answered by").fill("maria")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".item")).to_have_count(1)
    expect(page.locator(f"a[href='/approvals/{call.id}']")).to_be_visible()
    if folder := os.environ.get("COUNTERSIGN_SHOTS"):
        page.screenshot(path=f"{folder}/search-{width}-{scheme}.png", full_page=True)
    page.evaluate(AXE)
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert not violations, [(one["id"], one["nodes"][0]["html"]) for one in violations]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()
