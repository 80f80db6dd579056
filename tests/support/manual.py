"""The pages for people: their command blocks, run as a reader runs them, page by page."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .binary import countersign_bin
from .nats import nats_server_bin
from .opa import opa_bin
from .waits import free_port

ROOT = Path(__file__).parent.parent.parent
#: Ports that the pages name; here they are free ones.
PORTS = ("8470", "8471", "4222")
BLOCK_SECONDS = 120
#: A line that names the pages whose commands come first: `**Before you begin:** … [quickstart](…)`.
BEFORE = r"^\*\*Before [^:*\n]+:\*\*(?P<before>[^\n]*)$"
FENCE = r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$"


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str
    line: int
    info: str
    text: str

    def option(self, name: str, default: str = "") -> str:
        """`name=value` of the info string; a value has no spaces."""
        found = re.search(rf"(?:^| ){name}=(\S+)", self.info)
        return found.group(1) if found else default

    @property
    def is_run(self) -> bool:
        """Whether it is marked `run=<name>`."""
        return bool(self.option("run"))

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page} line {self.line}, `{self.option('run')}`"


def pages() -> list[str]:
    """The pages for people, as paths from the top of the checkout."""
    docs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *docs]


def text_of(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text()


def steps(page: str) -> Iterator[Block | str]:
    """What a reader meets from top to bottom: code blocks, and pages that come first."""
    text = text_of(page)
    for match in re.finditer(f"{FENCE}|{BEFORE}", text, re.M | re.S):
        if match["before"] is None:
            yield Block(page, text.count("\n", 0, match.start()) + 1, match["info"], match["text"])
            continue
        for file in re.findall(r"\]\(([^)#]+\.md)", match["before"]):
            yield str(((ROOT / page).parent / file).resolve().relative_to(ROOT))


def blocks(page: str) -> list[Block]:
    """All code blocks of a page."""
    return [step for step in steps(page) if isinstance(step, Block)]


def plan(page: str, done: set[str] | None = None, is_first: bool = True) -> list[Block]:
    """All blocks to run for a page, in order: those of the pages that come first, without their ends, each page once."""
    done = {page} if done is None else done | {page}
    found: list[Block] = []
    for step in steps(page):
        if isinstance(step, Block):
            if step.is_run and (is_first or step.option("at") != "end"):
                found.append(step)
        elif step not in done:
            before = plan(step, done, is_first=False)
            found += before
            done |= {block.page for block in before}
    return found


class Reader:
    """Follows one page in a copy of the checkout: one directory, and for each page a shell of its own."""

    def __init__(self, root: Path, page: str) -> None:
        self.root, self.checkout, self.plan = root, root / "checkout", plan(page)
        self.done, self.broken = 0, ""
        self.groups: list[int] = []
        self.ports = {port: str(free_port()) for port in PORTS}
        self.checkout.mkdir(parents=True)
        for name in ("docs", "proto", "example.toml"):
            (self.checkout / name).symlink_to(ROOT / name)
        (self.checkout / "scripts").mkdir()
        conf = text_of("scripts/nats.conf")
        (self.checkout / "scripts/nats.conf").write_text(self.free(conf))
        # Where `./scripts/demo` builds.
        release = root / "target/release"
        release.mkdir(parents=True)
        (release / "countersign").symlink_to(countersign_bin())
        tools = root / "tools"
        tools.mkdir()
        (tools / "nats-server").symlink_to(nats_server_bin())
        if any(re.search(r"^opa ", block.text, re.M) for block in self.plan):
            (tools / "opa").symlink_to(opa_bin())
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{tools}:{os.environ['PATH']}",
            "CARGO_TARGET_DIR": str(root / "target"),
            "GOPROXY": "off",  # nothing is fetched
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            "NO_PROXY": "127.0.0.1",
        }

    def free(self, text: str) -> str:
        """The text with free ports."""
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def reach(self, block: Block) -> None:
        """Runs everything up to this block."""
        assert not self.broken, f"an earlier block failed: {self.broken}"
        while self.done <= self.plan.index(block):
            self.done += 1
            self.run(self.plan[self.done - 1])

    @property
    def is_done(self) -> bool:
        """Whether the whole page was run."""
        return self.done == len(self.plan)

    def run(self, block: Block) -> None:
        """Runs one block in bash; what it exports, and where it went, is there for the next one of its page."""
        self.broken = block.where
        state = self.root / (block.page.replace("/", "-") + ".state")
        if not state.exists():  # a new terminal, in the checkout
            state.write_text(f"cd {self.checkout}\n")
        keep = f'\ntrap - EXIT\n{{ export -p; umask -p; printf "cd %q\\n" "$PWD"; }} > {state}\n'
        script = f"set -euo pipefail\nsource {state}\n{self.free(block.text)}{keep}"
        output = self.root / "output"
        with output.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env=self.environment, start_new_session=True,
            )
            # What a block leaves running stays in its group.
            self.groups.append(process.pid)
            try:
                code = str(process.wait(timeout=BLOCK_SECONDS))
            except subprocess.TimeoutExpired:
                code = f"none after {BLOCK_SECONDS} s"
        said = output.read_text(errors="replace")
        with (self.root / "transcript").open("a") as transcript:
            transcript.write(f"\n== {block.where}\n{said}")
        assert code == block.option("exit", "0"), f"{block.where}: exit {code}\n{said}"
        assert block.option("expect") in said, f"{block.where}: no {block.option('expect')!r} in\n{said}"
        self.broken = ""

    def close(self) -> None:
        """Ends what the blocks left running, and removes the directory."""
        for group in self.groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.groups = []
        shutil.rmtree(self.checkout, ignore_errors=True)


def unquoted(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(FENCE, "", text_of(page), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(FENCE, "", path.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}


def links(page: str) -> list[tuple[str, Path, str]]:
    """Links and pictures of a page that stay in the checkout: as written, the file, the heading."""
    here = ROOT / page
    found = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)", unquoted(page))
    return [(f"{file}#{heading}", here.parent / file if file else here, heading) for file, heading in found]


def table(text: str, first: str) -> list[list[str]]:
    """The cells of a table's rows, by how its head begins."""
    rows = ("\n" + text).split("\n" + first, 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
