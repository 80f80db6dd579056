"""Fixtures of the fault tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim."""
    from rig import shim

    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def make_shim(shim_library: Path, tmp_path: Path) -> Callable[[], "object"]:
    """Makes a shim; start a server with `env=shim.env`."""
    from rig import shim

    return lambda: shim.Shim(shim_library, tmp_path / "orders")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB of its own."""
    where = tmp_path / "small"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", where], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}; the shim's ENOSPC test covers the calls")
    yield where
    subprocess.run(["umount", "-l", where], check=True)
