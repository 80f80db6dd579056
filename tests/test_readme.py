"""The README is true: every command block in it is run, in order, as a reader would; or it is listed here with a reason."""

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

import pytest

from support import countersign_bin, free_port
from support.nats import nats_server_bin

ROOT = Path(__file__).parent.parent

#: First command of a block → why it is not run here.
NOT_RUN = {
    "./scripts/demo": "`.ci/run` runs both scripts; the second one runs this test",
    "COUNTERSIGN_KEY=": "OPA has no package to install; the block after it sends what OPA sends",
    "nats pub": "the `nats` tool has no package on PyPI or in Debian; the block after it does the same in Python",
    "cargo build": "`scripts/test` builds the verifier alone",
    "useradd": "needs root, systemd, and the paths of a real machine",
    "countersign teams": "needs a bot that is registered; tests/approvals opens the package",
    "countersign clock": "needs a clock that was wrong; tests/approvals/faults has one",
    "countersign recover": "needs a halted log; the fault tests halt one and recover it",
}
#: Info strings of blocks that hold no commands.
NO_COMMANDS = ("text", "ini", "toml")
#: Ports that the README names; here they are free ones.
PORTS = ("8470", "8471", "4222")
BLOCK_SECONDS = 120


@dataclass(frozen=True)
class Block:
    """A code block of the README."""

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


def blocks() -> list[Block]:
    """All code blocks of the README."""
    text = (ROOT / "README.md").read_text()
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    return [Block(text.count("\n", 0, match.start()) + 1, *match.groups()) for match in found]


RUN = [block for block in blocks() if block.is_run]


class Reader:
    """Follows the README in a copy of the checkout: one directory, one environment, from block to block."""

    def __init__(self, root: Path) -> None:
        self.root, self.checkout, self.state = root, root / "checkout", root / "state"
        self.done, self.broken = 0, ""
        self.groups: list[int] = []
        self.ports = {port: str(free_port()) for port in PORTS}
        self.checkout.mkdir(parents=True)
        for name in ("proto", "example.toml"):
            (self.checkout / name).symlink_to(ROOT / name)
        (self.checkout / "scripts").mkdir()
        conf = (ROOT / "scripts/nats.conf").read_text()
        (self.checkout / "scripts/nats.conf").write_text(self.free(conf))
        # Where `./scripts/demo` builds.
        release = root / "target/release"
        release.mkdir(parents=True)
        (release / "countersign").symlink_to(countersign_bin())
        tools = root / "tools"
        tools.mkdir()
        (tools / "nats-server").symlink_to(nats_server_bin())
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{tools}:{os.environ['PATH']}",
            "CARGO_TARGET_DIR": str(root / "target"),
            "GOPROXY": "off",  # nothing is fetched
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            "NO_PROXY": "127.0.0.1",
        }
        self.state.write_text(f"cd {self.checkout}\n")

    def free(self, text: str) -> str:
        """The text with free ports."""
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def reach(self, block: Block) -> None:
        """Runs everything up to this block."""
        if self.broken:
            pytest.skip(f"an earlier block failed: {self.broken}")
        while self.done <= RUN.index(block):
            self.done += 1
            self.run(RUN[self.done - 1])

    def run(self, block: Block) -> None:
        """Runs one block in bash; what it exports, and where it went, is there for the next one."""
        self.broken = block.option("run")
        keep = f'\ntrap - EXIT\n{{ export -p; umask -p; printf "cd %q\\n" "$PWD"; }} > {self.state}\n'
        script = f"set -euo pipefail\nsource {self.state}\n{self.free(block.text)}{keep}"
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
            transcript.write(f"\n== {self.broken}\n{said}")
        where = f"README.md line {block.line}, `{self.broken}`"
        assert code == block.option("exit", "0"), f"{where}: exit {code}\n{said}"
        assert block.option("expect") in said, f"{where}: no {block.option('expect')!r} in\n{said}"
        self.broken = ""

    def close(self) -> None:
        """Ends what the blocks left running."""
        for group in self.groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One reader for the whole README."""
    missing = [tool for tool in ("bash", "curl", "openssl", "gzip") if not shutil.which(tool)]
    assert not missing, f"install {missing}"
    made = Reader(tmp_path_factory.mktemp("readme"))
    yield made
    made.close()


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.option("run"))
def test_readme_block(reader: Reader, block: Block) -> None:
    """A command block does what the README says."""
    reader.reach(block)


def test_every_block_is_run_or_has_a_reason() -> None:
    """No command in the README is left out silently."""
    left = dict(NOT_RUN)
    for block in blocks():
        if block.info in NO_COMMANDS or block.is_run and block.info.startswith("sh "):
            continue
        assert block.info == "sh not-run", f"README.md line {block.line}: {block.info!r}"
        reasons = [first for first in left if block.text.startswith(first)]
        assert reasons, f"README.md line {block.line}: not run, and no reason in NOT_RUN"
        del left[reasons[0]]
    assert not left, f"reasons for blocks that are not there: {left}"
    names = [block.option("run") for block in RUN]
    assert len(names) == len(set(names)), "two blocks of one name"


def known_tests() -> set[str]:
    """Names of all functions in our tests and crates."""
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "crates").rglob("*.rs")]
    code = "\n".join(path.read_text() for path in sources)
    return set(re.findall(r"\b(?:def|fn) (\w+)\s*\(", code))


def test_promises_name_tests_that_exist() -> None:
    """The table of promises names tests, and each is there."""
    rows = re.findall(r"^\| (P\d+) \|.*\| ([^|]*) \|$", (ROOT / "README.md").read_text(), re.M)
    assert [name for name, _ in rows] == [f"P{number}" for number in range(1, 14)]
    for promise, tests in rows:
        names = re.findall(r"`(\w+)`", tests)
        assert names, f"{promise} names no test"
        assert set(names) <= known_tests(), f"{promise}: {set(names) - known_tests()}"
        assert all(promise.lower() in name.split("_") for name in names), f"{promise}: {names}"


def test_threats_name_tests_that_exist() -> None:
    """So does the table of threats."""
    table = (ROOT / "SECURITY.md").read_text().split("\n## ")[1]
    names = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.rpartition(" | ")[2])}
    assert len(names) > 10
    assert names <= known_tests(), names - known_tests()


def test_alarms_are_those_of_the_code() -> None:
    """Halt messages, metrics, exit codes and fields of `/healthz` in the README are what the code says."""
    text = (ROOT / "README.md").read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "crates").rglob("*.rs"))
    code = re.sub(r"\\\n\s*", "", code)

    def firsts(heading: str) -> list[str]:
        rows = text.split(heading)[1].split("\n\n")[0].splitlines()[2:]
        return [row.split("|")[1] for row in rows]

    metrics = {name.removesuffix("_total").removesuffix("_info") for name in re.findall(r"`countersign_(\w+)", text)}
    assert metrics == set(re.findall(r'(?:register|named|by_tenant)\(\s*"(\w+)"', code)), metrics
    halts = firsts("| the halt message begins with |")
    assert len(halts) > 8
    for halt in halts:
        assert all(part.strip(" ,") in code for part in halt.split("…")), halt
    for field in re.findall(r"`(\w+)`", " ".join(firsts("| in `/healthz` |"))):
        assert f'"{field}":' in code, field
    for status in map(int, re.findall(r"\d+", " ".join(firsts("| exit status of `serve` |")))):
        assert status in (0, 1) or re.search(rf"const EXIT_\w+: \w+ = {status};", code), status


#: Constants of the code that SECURITY.md tells.
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


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Every link to a file or heading is right."""
    text = (ROOT / page).read_text()
    for file, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        target = ROOT / (file or page)
        assert target.exists(), f"{page}: {file}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            slugs = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
            assert heading in slugs, f"{page}: {file}#{heading}"
