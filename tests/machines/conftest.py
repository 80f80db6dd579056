"""Fixtures of the tests on three machines; they share `rig` with the fault tests."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parent.parent / "faults"):
    sys.path.insert(0, str(folder))

from several.network import impossible  # noqa: E402


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Machines can be made here."""
    if not shutil.which("haproxy"):
        pytest.skip("haproxy: apt-get install haproxy")
    if why := impossible():
        pytest.skip(why)
