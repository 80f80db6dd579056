"""The story of the tests of evidence, told once, and its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.story import Story


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The story, told once."""
    told = Story(tmp_path_factory.mktemp("story"))
    try:
        told.tell()
        yield told
    finally:
        told.server.__exit__()


@pytest.fixture(scope="session")
def folder(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its evidence, with all payload and an auditor's text. Tests copy it before they change it."""
    made = tmp_path_factory.mktemp("evidence") / "e"
    story.make(made, "--disclose", "all", "--auditor-seed", "taken from the newspaper").ok()
    return made
