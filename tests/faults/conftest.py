"""Fixtures of the fault tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
