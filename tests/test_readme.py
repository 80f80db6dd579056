"""The pages for people are true: README.md, CONTRIBUTING.md and docs/. Every command block in them is run as a reader runs it, or
is listed here with a reason; links lead somewhere; tables say what the code says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import countersign_bin
from support.manual import ROOT, Block, Reader, anchors, blocks, links, pages, plan, table, text_of, unquoted

#: First command of a block → why it is not run here.
NOT_RUN = {
    "./scripts/demo": "`.ci/run` runs both scripts; the second one runs this test",
    "COUNTERSIGN_KEY=": "OPA has no package to install; the block after it sends what OPA sends",
    "opa run --server --config-file opa.yaml": "needs a server with a key for bundles; `test_opa_served.py` has one",
    "countersign replica members": "needs three replicas; `test_members.py` runs the commands",
    "countersign replica join": "needs three replicas; `test_join.py` runs it",
    "countersign recover --config countersign.toml": "needs three replicas that are lost; `test_all_lost.py` runs it",
    "countersign key make": "needs three replicas; `test_replica_keys.py` runs it",
    "countersign tenant make-keys": "needs three replicas; `test_tenants_on_three.py` runs it",
    "countersign tenant create": "needs three replicas; `test_tenants_on_three.py` runs it",
    "countersign erase --tenant acme --api-key-file admin.key --reason 'request 2026": "needs three replicas; `test_erased_on_three.py` runs it",
    "podman build": "no container engine; `test_container.py` does what the last stage says",
    "podman run": "no container engine; `test_container.py` runs the server so",
    "nats pub": "the `nats` tool has no package on PyPI or in Debian; the block after it does the same in Python",
    "cargo build": "`scripts/test` builds the verifier alone",
    "sha256sum": "needs root and systemd; `test_release.py` unpacks the package",
    "scripts/release": "compiles RocksDB again; `test_release.py` packages the binary under test",
    "useradd": "needs root, systemd, and the paths of a real machine",
    "countersign export --tenant acme --api-key-file auditor.key --disclosures ./acme": "deletes the tenant of this page; `test_deletion.py` deletes others",
    "countersign export --tenant acme --api-key-file auditor.key --into": "needs a store; `test_write_once.py` has one",
    "countersign evidence --tenant acme --api-key-file auditor.key --every month": "this page's log has no month that is over; `test_every_month.py` has",
    "countersign replica": "needs three hosts; `test_replicas.py` has three servers",
    "countersign teams": "needs a bot that is registered; tests/approvals opens the package",
    "countersign key link": "needs a provider; `test_oidc.py` has several",
    "countersign key passkey": "needs a person with a browser; `test_passkeys_browser.py` has one",
    "countersign approval approve": "needs a terminal; `test_approval_command.py` has one",
    "countersign alert": "an alert has to be raised first; `test_alerts.py` raises, closes and exports some",
    "countersign incident": "something has to happen first; `test_incidents.py` opens, exports and verifies some",
    "countersign clock": "needs a clock that was wrong; tests/approvals/faults has one",
    "countersign recover": "needs a halted log; the fault tests halt one and recover it",
    "countersign log policy": "`test_witnesses.py` runs it",
    "countersign verify --key log.vkey --policy": "needs a witness; `test_witnesses.py` has one",
    "cargo fmt": "`.ci/run` does it",
    "python -m pytest": "it is these tests",
}
#: Info strings of blocks that hold no commands.
NO_COMMANDS = ("text", "ini", "toml", "yaml", "mermaid")
RUN = [block for page in pages() for block in plan(page) if block.page == page]


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Reader]]:
    """One reader for each page, made when its first block is run."""
    missing = [tool for tool in ("bash", "curl", "openssl", "gzip") if not shutil.which(tool)]
    assert not missing, f"install {missing}"

    class Readers(dict[str, Reader]):
        def __missing__(self, page: str) -> Reader:
            self[page] = Reader(tmp_path_factory.mktemp("reader"), page)
            return self[page]

    made = Readers()
    yield made
    for reader in made.values():
        reader.close()


def of_a_page(block: Block) -> object:
    """A block as parameter. The blocks of a page stay together: one reader runs them in order."""
    group = pytest.mark.xdist_group(f"page {block.page}")
    return pytest.param(block, id=f"{block.page}-{block.option('run')}", marks=group)


@pytest.mark.parametrize("block", [of_a_page(block) for block in RUN])
def test_readme_block(readers: dict[str, Reader], block: Block) -> None:
    """A command block does what its page says, for a reader who begins with this page."""
    reader = readers[block.page]
    reader.reach(block)
    if reader.is_done:
        reader.close()


def test_every_block_is_run_or_has_a_reason() -> None:
    """No command is left out silently."""
    left = set(NOT_RUN)
    for page in pages():
        for block in blocks(page):
            if block.info in NO_COMMANDS or block.is_run and block.info.startswith("sh "):
                continue
            if page == "docs/operate/three-hosts.md" and block.option("on"):
                continue  # on three hosts: tests/machines/test_three_hosts.py runs every one of them
            assert block.info == "sh not-run", f"{block.where}: {block.info!r}"
            reasons = [first for first in NOT_RUN if block.text.startswith(first)]
            assert reasons, f"{block.where}: not run, and no reason in NOT_RUN"
            left.discard(reasons[0])
        names = [block.option("run") for block in blocks(page) if block.is_run]
        assert len(names) == len(set(names)), f"{page}: two blocks of one name"
    assert not left, f"reasons for blocks that are not there: {left}"


def test_pages_that_run_commands_say_where_they_begin() -> None:
    """All but the quickstart name what comes first, and begin in the checkout, in a new shell."""
    for page in sorted({block.page for block in RUN} - {"docs/quickstart.md"}):
        text = text_of(page)
        first = next(block for block in blocks(page) if block.is_run)
        assert "**Before you begin:**" in text.split(first.text)[0], page
        assert "try/env" in first.text or ". ./env" in first.text, page
        assert plan(page)[0].page == "docs/quickstart.md", page


#: Idioms that CONTRIBUTING.md drops.
DROPPED = r"\b(?:is|are|was|were|be) told\b|\bstands? (?:still|in)\b|\blives\b|\blooks? at\b|\bcan't be told\b|\bso many\b|\bsome hundred\b|\bWhoever\b"


@pytest.mark.parametrize("page", [page for page in pages() if page not in ("CONTRIBUTING.md", "docs/glossary.md")])
def test_pages_are_in_plain_words(page: str) -> None:
    """None of the idioms that we dropped, and no sentence of more than 60 words."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", unquoted(page))
    assert not re.findall(DROPPED, text), page
    for sentence in re.split(r"(?<=[.:;!?])\s|\n(?=[|#\d-])|\n\n|\|", text):
        assert len(sentence.split()) <= 60, f"{page}: {sentence!r}"


def test_readme_is_a_front_door() -> None:
    """It is short, and every page is found from it by links."""
    assert len(text_of("README.md").splitlines()) <= 150
    seen: set[Path] = set()
    queue = [ROOT / "README.md"]
    while queue:
        path = queue.pop().resolve()
        if path in seen or not path.is_relative_to(ROOT):
            continue
        seen.add(path)
        if path.suffix == ".md":
            queue += [target for _, target, _ in links(str(path.relative_to(ROOT)))]
    lost = {page for page in pages() if (ROOT / page).resolve() not in seen}
    assert not lost, f"no link leads to {lost}"


def test_the_demo_is_shown_as_it_is() -> None:
    """What README shows of the demo is what it prints, in this order; `…` stands for what is left out."""
    shown = next(block for block in blocks("README.md") if block.info == "text" and "scripts/demo" in block.text)
    command = [str(countersign_bin()), "demo", "--once"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()
    lines = shown.text.splitlines()[1:]
    assert len(lines) > 20
    at = 0
    for line in (line for line in lines if line.strip() != "…"):
        form = ".*".join(map(re.escape, line.rstrip().split("…")))
        found = [n for n, real in enumerate(said) if n >= at and re.fullmatch(form, real.rstrip())]
        assert found, f"the demo does not print, in this place: {line!r}"
        at = found[0] + 1


def known_tests() -> set[str]:
    """Names of all functions in our tests and crates."""
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "crates").rglob("*.rs")]
    code = "\n".join(path.read_text() for path in sources)
    return set(re.findall(r"\b(?:def|fn) (\w+)\s*\(", code))


def test_promises_name_tests_that_exist() -> None:
    """The page of promises has each promise of this release, and names tests of it by file and name."""
    sections = re.split(r"^## (P\d+) ", text_of("docs/promises.md"), flags=re.M)[1:]
    assert sections[::2] == [f"P{number}" for number in range(1, 23)]
    for promise, text in zip(sections[::2], sections[1::2], strict=True):
        rows = table(text, "| test | shows |")
        assert len(rows) >= 2, f"{promise} names no tests"
        for test, shows in rows:
            file, name = re.fullmatch(r"`([\w/.-]+)::(\w+)`", test).groups()  # type: ignore[union-attr]
            assert re.search(rf"\b(?:def|fn) {name}\s*\(", text_of(file)), f"{promise}: {test} is not there"
            assert promise.lower() in name.split("_") and shows, f"{promise}: {test}"


def test_threats_name_tests_that_exist() -> None:
    """So do the tables of threats."""
    sections = (ROOT / "SECURITY.md").read_text().split("\n## ")
    table = sections[1] + next(section for section in sections if section.startswith("Evidence for auditors"))
    names = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.rpartition(" | ")[2])}
    assert len(names) > 10
    assert names <= known_tests(), names - known_tests()


def test_alarms_are_those_of_the_code() -> None:
    """Halt messages, metrics, exit codes, codes of trouble and fields of `/healthz` in the runbook are what the code says."""
    text = text_of("docs/operate/runbook.md")
    code = "\n".join(path.read_text() for path in (ROOT / "crates").rglob("*.rs"))
    code = re.sub(r"\\\n\s*", "", code)

    def firsts(heading: str) -> list[str]:
        return [row[0] for row in table(text, heading)]

    known = {one["series"].removesuffix("_bucket") for one in json.loads(text_of("proto/metrics.json"))["metrics"]}
    metrics = set(re.findall(r"`(countersign_\w+)", text))
    assert len(metrics) > 40 and metrics <= known, metrics - known
    halts = firsts("| the halt message begins with |")
    assert len(halts) > 8
    for halt in halts:
        assert all(part.strip(" ,") in code for part in halt.split("…")), halt
    for field in re.findall(r"`(\w+)`", " ".join(firsts("| in `/healthz` |"))):
        assert f'"{field}":' in code, field
    for status in map(int, re.findall(r"\d+", " ".join(firsts("| exit status of `serve` |")))):
        assert status in (0, 1) or re.search(rf"const EXIT_\w+: \w+ = {status};", code), status
    listed = re.search(r"pub const CODES: \[&str; \d+\] = \[(.*?)\];", code, re.S)
    assert listed
    assert [code.strip("`") for code in firsts("| code | means | do | ends |")] == re.findall(r'"(\w+)"', listed[1])


@pytest.mark.parametrize("page", pages())
def test_files_that_a_page_names_are_there(page: str) -> None:
    """A path in backticks is a file or folder of the checkout."""
    for named in re.findall(r"`((?:crates|tests|proto|scripts|docs)/[\w./-]+)`", unquoted(page)):
        assert (ROOT / named).exists(), f"{page}: {named}"


#: Constants of the code that SECURITY.md names.
LIMITS = {
    "PENDING_PER_AGENT_MAX": 20, "PENDING_MAX": 100_000, "COOL_DOWN": 600, "MINTS_MAX": 3, "REFUSALS_RECORDED_MAX": 20,
    "LIFE_SECONDS_MAX": 900, "TOKEN_LIFE": 120, "ADDRESS_TRIES_MAX": 20, "PERSON_TRIES_MAX": 50, "BURST_MAX": 10, "COMMENT_BYTES_MAX": 2000,
    "APART_MAX": 30, "RULES_MAX": 100, "CHANNELS_MAX": 100, "PEOPLE_MAX": 10_000, "NEEDED_MAX": 64,
}  # fmt: skip


def test_limits_of_approvals_are_those_of_the_code() -> None:
    """The table of limits in SECURITY.md has the constants of the code."""
    code = "\n".join(path.read_text() for path in (ROOT / "crates").rglob("*.rs"))
    table = (ROOT / "SECURITY.md").read_text().split("| what | limit | beyond |")[1].split("\n\n")[0]
    for name, value in LIMITS.items():
        found = re.findall(rf"\bconst {name}: \w+ = (?:Duration::from_secs\()?([0-9_]+)", code)
        assert {int(number) for number in found} == {value}, f"{name}: {found}"
        shown = f"{value // 60} min" if name == "COOL_DOWN" else f"{value:,}"
        assert re.search(rf"\b{shown}\b", table), f"{name}: {shown} is not in the table"


@pytest.mark.parametrize("page", [*pages(), "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Every link to a file or heading is right, and every picture is there."""
    for written, target, heading in links(page):
        assert target.exists(), f"{page}: {written}"
        if heading:
            assert heading in anchors(target), f"{page}: {written}"
