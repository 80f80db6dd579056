"""What docs/operate/failures.md expects of each failure. The page is the only place where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "operate" / "failures.md"
#: Whatever fails, a replica may have been started by it: how the page's sentence about that begins.
STARTED = "A replica that has just started may answer "
#: What a client may always get while something fails: no answer, or what the balancer says.
NO_ANSWER = {"ReadTimeout", "RemoteProtocolError", "ReadError", "WriteError", "balancer 502", "balancer 503", "balancer 504"}


@dataclass(frozen=True)
class Expected:
    """A row of the table."""

    answers: set[str]
    #: Codes of which the replica that is struck reports one, as long as the failure lasts. None: nothing there is sure.
    there: set[str]


def expected() -> dict[str, Expected]:
    """All rows, by the name of the failure."""
    rows: dict[str, Expected] = {}
    started = set[str]()
    for line in PAGE.read_text().splitlines():
        if line.startswith(STARTED):
            started = codes(line)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| ") or len(cells) != 5 or cells[0] == "failure":
            continue
        name, answers, _, reported, _ = cells
        rows[name] = Expected(codes(answers) | started, codes(first) if (first := reported.split(";")[0]).split(":")[0].endswith(" there") else set())
    assert rows and started, f"{PAGE} is not as it was"
    return rows


def codes(cell: str) -> set[str]:
    """The codes that a cell names."""
    return set(re.findall(r"`(\w+)`", cell))
