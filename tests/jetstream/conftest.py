"""Fixtures of the JetStream tests; they share `rig` with the fault tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))

from rig.broker import Journey, Shipped  # noqa: E402
from rig.cluster import Cluster  # noqa: E402
from rig.trio import Trio  # noqa: E402

from support import Server  # noqa: E402


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Shipped]:
    """A nats-server with the configuration that we ship."""
    with Shipped(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def make_journey(shipped: Shipped, make_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Journey]:
    """Makes a server on the journal of `shipped`."""

    def make(name: str = "server", **options: Any) -> Journey:
        return Journey(shipped, make_server(name, **(shipped.options(tmp_path) | options)))

    return make


@pytest.fixture
def journey(make_journey: Callable[..., Journey]) -> Journey:
    """A fresh server on a fresh journal."""
    return make_journey()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nats-servers."""
    with Cluster(tmp_path / "nats") as cluster:
        yield cluster


@pytest.fixture
def trio(cluster: Cluster, tmp_path: Path) -> Iterator[Trio]:
    """Three replicas that run."""
    with Trio(tmp_path / "replicas", cluster.url) as trio:
        yield trio.start()
