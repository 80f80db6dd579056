"""Runs the attacks that were asked for side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from . import attacks, policies, retention, searched, sound, stream, sums  # noqa: F401: the rows of these modules join the others
from .attacks import ROWS, Row
from .database import Database
from .judges import Verdicts, judge


def run(made: sound.Sound, row: Row, root: Path) -> Verdicts:
    """One attack on a copy of its own."""
    world = sound.copy(made, root)
    with Database(world.database) as db:
        row.attack(db, world)
    attacks.finish(world)
    return judge(world, row.probe)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sound.Sound:
    """The sound directory."""
    return sound.make(tmp_path_factory.mktemp("sound") / "made")


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, made: sound.Sound, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[Verdicts]"]]:
    """By the name of the attack; those that were selected alone."""
    chosen = [getattr(item, "callspec", None) for item in request.session.items]
    names = {spec.params["row"].name for spec in chosen if spec and isinstance(spec.params.get("row"), Row)}
    where = tmp_path_factory.mktemp("worlds")
    with ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 2))) as pool:
        yield {row.name: pool.submit(run, made, row, where / row.name) for row in ROWS if row.name in names}


@pytest.fixture(scope="module")
def on_stream(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[Verdicts]"]]:
    """The same for the attacks that need a broker."""
    made = stream.make(tmp_path_factory.mktemp("stream") / "made")
    where = tmp_path_factory.mktemp("streams")
    with ThreadPoolExecutor(3) as pool:
        yield {row.name: pool.submit(stream.run, made, row, where / row.name) for row in stream.ROWS}
