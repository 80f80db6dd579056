"""The matrix at the end of a run: who noticed which attack, and what the attacker got."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .judges import Verdicts

COLUMNS = ("fsck", "serve", "scrub", "verify", "third")
#: The property of a test's report that holds its line. Reports reach the process that prints, whichever process ran the test.
PROPERTY = "tamper"


@pytest.fixture
def to_table(record_property: Callable[[str, object], None]) -> Callable[[str, "Verdicts"], None]:
    """Puts what was found of an attack into the table."""
    return lambda name, found: record_property(PROPERTY, {"name": name} | asdict(found))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table, if attacks were run."""
    reports = [report for told in terminalreporter.stats.values() for report in told if getattr(report, "when", "") == "call"]
    found = {value["name"]: value for report in reports for name, value in report.user_properties if name == PROPERTY}
    if not found:
        return
    from . import attacks, stream, sums  # noqa: F401  # here, because they need what only these tests need

    terminalreporter.section("tamper matrix: attack x who notices")
    rows = [*attacks.ROWS, *stream.ROWS]
    width = max(len(row.what) for row in rows)
    head = " ".join(f"{name:<7}" for name in COLUMNS)
    terminalreporter.write_line(f"{'':<4} {'attack':<{width}} {head} got")
    for row in rows:
        if row.name in found:
            seen = found[row.name]
            marks = " ".join(f"{('-' if said == '-' else 'caught' if said else 'missed'):<7}" for said in (seen[c] for c in COLUMNS))
            terminalreporter.write_line(f"{row.name:<4} {row.what:<{width}} {marks} {seen['gain'] or 'nothing'}")
