"""Houses of the edge-case journeys, each on both journals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import NatsServer
from support.edges import RULES, people
from support.house import House


@pytest.fixture(scope="module", params=["embedded", "jetstream"])
def journal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], dict[str, Any]]]:
    """Options of a server with this journal; each call is for another server."""
    brokers: list[NatsServer] = []

    def options() -> dict[str, Any]:
        if request.param == "embedded":
            return {}
        brokers.append(NatsServer(tmp_path_factory.mktemp("nats")).__enter__())
        return {"nats": brokers[-1].url}

    yield options
    for broker in brokers:
        broker.__exit__()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, journal: Callable[[], dict[str, Any]]) -> Iterator[House]:
    """One house for the tests that do not disturb each other: every approval has an agent of its own."""
    house = House.ready(tmp_path_factory.mktemp("edges"), RULES, people(), **journal())
    try:
        yield house
        house.close()
    finally:
        house.server.__exit__()


@pytest.fixture
def make_house(tmp_path: Path, journal: Callable[[], dict[str, Any]]) -> Iterator[Callable[..., House]]:
    """A house of one test, whose rules and people it changes; judged at the end."""
    made: list[House] = []

    def make(rules: str = RULES, **options: Any) -> House:
        made.append(House.ready(tmp_path / str(len(made)), rules, people(), **journal(), **options))
        return made[-1]

    try:
        yield make
        for house in made:
            house.close()
    finally:
        for house in made:
            house.server.__exit__()
