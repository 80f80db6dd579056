"""Fixtures of the fault tests of approvals; they share `rig` with the fault tests of the ledger."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "faults"))

from rig import shim  # noqa: E402
from rig.life import PEOPLE, rules  # noqa: E402

from support import NatsServer  # noqa: E402
from support.house import House  # noqa: E402


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Makes a running house, with Ann, Bob and their gateway; `text`: its rules; options of `Server`."""
    made: list[House] = []

    def make(text: str = "", name: str = "house", **options: Any) -> House:
        house = House.ready(tmp_path / name, text or rules(), PEOPLE, **options)
        house.patient = False  # what is answered while something is broken is what these tests are about
        made.append(house)
        for client in (house.gateway(), house.person("p-ann"), house.person("p-bob")):
            assert client.key is not None
        return house

    yield make
    for house in made:
        house.server.__exit__()


@pytest.fixture
def make_shim(tmp_path: Path) -> Callable[[], shim.Shim]:
    """Makes a shim; start a server with `env=shim.env`."""
    return lambda: shim.Shim(shim.build(tmp_path), tmp_path / "orders")


@pytest.fixture(params=["embedded", "jetstream"])
def journal(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of a server on each of the two journals."""
    if request.param == "embedded":
        return {}
    nats: NatsServer = request.getfixturevalue("nats")
    return {"nats": nats.url}
