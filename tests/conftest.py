"""Fixtures of the black-box tests. They drive the built binary from outside and import no code of ours."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import Book, NatsServer, Server, countersign_bin, side_by_side  # noqa: E402
from support.binary import fault_bin  # noqa: E402

#: Prints what the tamper matrix found. Here, because with `pytest -n` only this folder's hooks run where the summary is printed.
pytest_plugins = ["tamper.table"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`, `--pictures`, and what `--long` does on three machines. Here, because pytest asks only the topmost folder for options."""
    parser.addoption("--long", action="store_true", help="more rounds where tests are random")
    parser.addoption("--faults", type=int, default=2000, help="with --long: failures on three machines (tests/machines)")
    parser.addoption("--seed", type=int, default=1, help="with --long: the first of their seeds")
    parser.addoption("--sites", type=int, default=1, help="with --long: sites of three machines that run at once (tests/machines)")
    parser.addoption("--results", help="with --long: the file of their results, where an earlier run is continued")
    parser.addoption("--pictures", action="store_true", help="write the pictures in docs/images again")


def pytest_report_header() -> str:
    """Says what is tested."""
    return f"countersign: {countersign_bin()}"


# With `pytest -n`: who runs what, and in which order.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Who runs what."""
    return side_by_side.Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Gives a worker the file for its groups."""
    node.workerinput[side_by_side.GROUPS_FILE] = str(side_by_side.groups_file(node.config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: writes it."""
    if hasattr(config, "workerinput"):
        side_by_side.share_out(config, items)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the checkout."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def faults() -> Path:
    """A build with fault points."""
    path = fault_bin()
    if path is None:
        pytest.skip("set COUNTERSIGN_FAULT_BIN to a build with --features api/fault-points; scripts/test makes one")
    return path


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether `--long` was asked for."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def rounds(long: bool) -> int:
    """How often the kill tests kill: `$ROUNDS`, else 50, with `--long` 100."""
    return int(os.environ.get("ROUNDS", "100" if long else "50"))


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers, initialised and started; killed at the end. `make_server(name, **options of Server)`."""
    made: list[Server] = []

    def make(name: str = "server", **options: Any) -> Server:
        made.append(Server(tmp_path / name, **options))
        made[-1].init()
        return made[-1].start()

    yield make
    for server in made:
        server.__exit__()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """A fresh server for one test."""
    return make_server()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module that do not disturb each other; sound at the end, or the module fails."""
    with Server.ready(tmp_path_factory.mktemp("shared")) as server:
        yield server
        if server.process is not None:
            server.stop()
        server.fsck().ok()


@pytest.fixture(scope="module")
def kept(shared: Server) -> Book:
    """Every answer of this module."""
    return Book(shared)


@pytest.fixture
def book(kept: Book) -> Iterator[Book]:
    """The answers so far; after the test nothing is disturbed and nothing lost."""
    yield kept
    kept.check()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A fresh nats-server."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness with a printed seed; `COUNTERSIGN_SEED=… pytest` repeats a run."""
    seed = int(os.environ.get("COUNTERSIGN_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    print(f"seed of {request.node.name}: COUNTERSIGN_SEED={seed}")
    return random.Random(seed)
