"""Tests that run side by side do not meet: fixtures of a file are made once, the long ones begin first, a port is given once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from support import free_port

SUPPORT = Path(__file__).parent
CONFTEST = """
import os
from pathlib import Path
import pytest
from support import side_by_side

MADE = Path(__file__).parent / "made"

def pytest_xdist_make_scheduler(config, log):
    return side_by_side.Scheduling(config, log)

def pytest_configure_node(node):
    node.workerinput[side_by_side.GROUPS_FILE] = str(side_by_side.groups_file(node.config))

def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        side_by_side.share_out(config, items)

def note(what):
    with MADE.open("a") as file:
        file.write(f"{what}\\n")

@pytest.fixture(scope="module", params=["one", "two"])
def journal(request):
    return request.param

@pytest.fixture(scope="module")
def house(journal):
    note(f"house {journal}")

@pytest.fixture(scope="module")
def shared():
    note("shared")

@pytest.fixture(scope="module")
def book(shared):
    note("book")

@pytest.fixture(autouse=True)
def ran(request):
    note(f"test {request.node.name} {os.environ['PYTEST_XDIST_WORKER']}")
"""
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_house(house, number): pass

@pytest.mark.parametrize("number", range(8))
def test_shared(shared, number): pass

@pytest.mark.parametrize("number", range(8))
def test_book(book, number): pass

@pytest.mark.parametrize("number", range(8))
def test_alone(number): pass
"""


def test_what_tests_share_is_made_once(tmp_path: Path) -> None:
    """Each fixture of a module once for each of its parameters, by whichever process; every test once."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_sample.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "3", "--no-loadscope-reorder", str(tmp_path)]
    # This test may itself run beside others.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"PYTHONPATH": str(SUPPORT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    lines = (tmp_path / "made").read_text().splitlines()
    made = Counter(line for line in lines if not line.startswith("test "))
    assert made == {"house one": 1, "house two": 1, "shared": 1, "book": 1}
    ran = [line.split() for line in lines if line.startswith("test ")]
    assert len({name for _, name, _ in ran}) == len(ran) == 40
    assert len({worker for _, _, worker in ran}) > 1, "nothing ran side by side"


def test_no_other_process_is_given_the_same_port() -> None:
    """Not as long as this one runs: a server may restart on it."""
    ours = [free_port() for _ in range(20)]
    script = "import json, sys; from support import waits; print(json.dumps([waits._is_ours(int(port)) for port in sys.argv[1:]]))"
    env = os.environ | {"PYTHONPATH": str(SUPPORT)}

    def asked_elsewhere(ports: list[int]) -> list[bool]:
        command = [sys.executable, "-c", script, *map(str, ports)]
        return list(json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout))

    assert asked_elsewhere(ours) == [False] * len(ours)
    assert asked_elsewhere([1]) == [True], "no test is given port 1"
