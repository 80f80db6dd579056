"""How the tests are shared out when several processes run them side by side (`pytest -n`).

A test that has only fixtures of its own may run anywhere. Tests of a file that share a fixture of the module (a server, a house)
run one after the other in one process, so that the fixture is made once. Long tests begin first: what begins last decides
when the run ends.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Tests that take longest, by how their id begins: they begin first, in this order. All others follow in the order of their files.
BEGIN_FIRST = (
    "approvals/faults/test_approval_race.py", "approvals/faults/", "approvals/test_slack_refusals.py", "tamper/", "faults/",
    "machines/", "jetstream/", "test_opa_bundle.py", "test_readme.py", "test_third_party.py", "test_verify_claims.py", "approvals/",
)  # fmt: skip
#: Fixtures with these scopes are shared by tests of a file.
SHARED_SCOPES = ("class", "module", "package")
#: How a worker is told the file for its groups, and how the process that runs the workers remembers it.
GROUPS_FILE = "countersign_groups"
KEPT = pytest.StashKey[Path]()


class Scheduling(LoadScopeScheduling):
    """Gives each worker one group of tests after the other, or one test that is in no group.

    `--dist loadgroup` is for this, but with pytest 9.2 it forgets the groups (pytest-xdist issue 1386). So here the workers
    write them into a file.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self._groups: dict[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._groups is None:
            file = groups_file(self.config)
            self._groups = dict(json.loads(file.read_text()))
            shutil.rmtree(file.parent)
        return self._groups.get(nodeid, nodeid)


def groups_file(config: pytest.Config) -> Path:
    """Where the workers of this run write the groups. All write the same."""
    if KEPT not in config.stash:
        config.stash[KEPT] = Path(tempfile.mkdtemp(prefix="countersign-tests-")) / "groups"
    return config.stash[KEPT]


def share_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: orders the tests, and writes the group of each test that has one."""
    items.sort(key=begins)
    marked = [(item, item.get_closest_marker("xdist_group")) for item in items]
    by_name = {item.nodeid: str(marker.args[0]) for item, marker in marked if marker}
    by_file: dict[str, list[pytest.Item]] = {}
    for item, marker in marked:
        if marker is None:
            by_file.setdefault(item.path.stem, []).append(item)
    for file, its_items in by_file.items():
        for number, group in enumerate(groups(its_items), 1):
            by_name |= {item.nodeid: f"{file}-{number}" for item in group}
    target = Path(config.workerinput[GROUPS_FILE])  # type: ignore[attr-defined]
    target.parent.mkdir(exist_ok=True)  # not there any more for a worker that replaces one that crashed
    part = target.with_name(f"groups-{os.getpid()}")
    part.write_text(json.dumps(by_name))
    part.rename(target)


def begins(item: pytest.Item) -> int:
    """The place of a test in the order."""
    return next((place for place, begin in enumerate(BEGIN_FIRST) if item.nodeid.startswith(begin)), len(BEGIN_FIRST))


def groups(items: Iterable[pytest.Item]) -> list[list[pytest.Item]]:
    """The tests of a file that share something, directly or through others. A test that shares nothing is in no group."""
    found: list[tuple[set[object], list[pytest.Item]]] = []
    for item in items:
        shares = shared_fixtures(item)
        if not shares:
            continue
        joined = [one for one in found if one[0] & shares]
        found = [one for one in found if not one[0] & shares]
        found.append((shares.union(*(names for names, _ in joined)), [*(one for _, group in joined for one in group), item]))
    return [group for _, group in found]


def shared_fixtures(item: pytest.Item) -> set[object]:
    """The fixtures that this test shares with others of its file. Each parameter of such a fixture makes another one."""
    definitions = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]  # pytest has no public way to ask
    names = {name for name in item.fixturenames if name in definitions and definitions[name][-1].scope in SHARED_SCOPES}  # type: ignore[attr-defined]
    params = item.callspec.params if hasattr(item, "callspec") else {}
    kind = frozenset((name, repr(params[name])) for name in names if name in params)
    return {(name, kind) for name in names}
