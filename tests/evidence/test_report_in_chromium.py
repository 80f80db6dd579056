"""P20: the report in real Chromium: on a phone and a desk, light and dark, and printed to PDF."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from pypdf import PdfReader
from support import Server, event
from support.story import HOSTILE, Story

#: axe-core, as the package carries it.
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Evidence with long tables: many sources, keys and tools, with long names."""
    with Server.ready(tmp_path_factory.mktemp("long")) as server:
        names = [HOSTILE, "x" * 200, "名前 " * 40, *(f"/source/{n}" for n in range(150))]
        tools = [{"tool": {"name": name.removeprefix("/source/"), "action": "y" * 60}} for name in names]
        server.as_("publisher").publish(*(event(source=name, data=tool) for name, tool in zip(names, tools, strict=True)))
        for n in range(60):
            server.admin.add_key(["reviewer"], person=f"person-{n}-{'w' * 40}")
        key = server.add_key(["auditor", "exporter"])
        server.as_("publisher").publish(event(source="/after"))
        folder = tmp_path_factory.mktemp("evidence") / "long"
        server.remote("evidence", "--tenant", "acme", "-o", folder, key=key).ok()
        yield folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    found = shutil.which("chromium")
    assert found, "scripts/test installs it"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


def opened(chromium: Browser, folder: Path, width: int, scheme: Any) -> Page:
    """The report of a folder, from the disk. It asks for no other file, and its console is silent."""
    page = chromium.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme).new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((folder / "report.html").as_uri())
    page.wait_for_load_state("networkidle")
    assert asked == [(folder / "report.html").as_uri()] and said == []
    return page


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("of", ["folder", "long_folder"])
def test_p20_the_report_is_accessible(chromium: Browser, of: str, width: int, scheme: str, request: pytest.FixtureRequest) -> None:
    """axe-core finds nothing; nothing is wider than the window; no text of an agent runs."""
    page = opened(chromium, request.getfixturevalue(of), width, scheme)
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(v["id"], v["impact"], [node["html"][:200] for node in v["nodes"]][:3]) for v in found] == []
    wide = page.evaluate("""[...document.querySelectorAll('body *')]
        .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 100))""")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), wide[:5]
    assert page.locator("script").count() == 0
    page.context.close()


def test_p20_every_link_leads_to_a_file(chromium: Browser, folder: Path, story: Story) -> None:
    """Each figure is linked to a file of the folder, without scripts or servers."""
    page = opened(chromium, folder, 1280, "light")
    links = page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert len(links) > 30
    for link in links:
        assert (folder / link).is_file(), link
    assert f"receipts/{story.planted['unreviewed_policy']}.tlog-proof" in links
    page.context.close()


def packed(text: str) -> str:
    """Without blanks and hyphens, for lines break where they want; and without ligatures."""
    return re.sub(r"[\s\u00ad\u2010-]", "", unicodedata.normalize("NFKC", text))


@pytest.mark.parametrize("of", ["folder", "long_folder"])
def test_p20_the_report_prints_without_broken_tables(
    chromium: Browser, of: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On paper each page on which a table goes on begins with its head again, and each row is whole on one page."""
    page = opened(chromium, request.getfixturevalue(of), 1280, "dark")
    page.pdf(path=tmp_path / "report.pdf", format="A4", margin={side: "15mm" for side in ("top", "bottom", "left", "right")})
    tables: list[dict[str, Any]] = page.evaluate("""[...document.querySelectorAll('table')].map(table => ({
        head: [...table.querySelectorAll('thead th')].map(cell => cell.textContent),
        rows: [...table.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))}))""")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 1000})
    broken = page.evaluate("""[...document.querySelectorAll('th')].filter(head => {
        const text = document.createRange();
        text.selectNodeContents(head);
        return new Set([...text.getClientRects()].map(line => line.top)).size > head.textContent.trim().split(/\\s+/).length;
    }).map(head => head.textContent)""")
    assert broken == [], "heads of columns that are broken within a word"
    page.context.close()
    pages = [packed(one.extract_text()) for one in PdfReader(tmp_path / "report.pdf").pages]
    assert len(pages) > 4 and len(tables) > 6
    several = 0
    for table in tables:
        assert table["head"], table["rows"][:1]
        head, at = [packed(cell) for cell in table["head"]], set()
        for row in table["rows"]:
            whole = [n for n, text in enumerate(pages) if all(packed(cell) in text for cell in row)]
            assert whole, f"cut: {row}"
            # The words of a short row may be on several pages.
            at |= set(whole) if len(whole) == 1 else set()
        for n in at:
            assert all(cell in pages[n] for cell in head), f"page {n + 1} has no head {table['head']}"
        several += len(at) > 1
    assert several >= (3 if of == "long_folder" else 1), "no table went on on another page: this proves nothing"
