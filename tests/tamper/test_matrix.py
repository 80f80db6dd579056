"""P4, P5, P8, P11: whoever writes the disk and has no keys is noticed, and gets nothing but what SECURITY.md says.

Each row of the matrix (`attacks.py`) is done to a copy of one sound directory (`sound.py`), and then looked at by `fsck`, by the
server that is started on it, by `countersign verify` and by a verifier that is not ours (`judges.py`). The table is printed at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from . import sound, stream, sums  # noqa: F401
from .attacks import ROWS, Row
from .judges import Verdicts


def cases(rows: list[Row]) -> list[object]:
    """Rows as parameters; one that waits for something must fail."""
    waits = lambda row: [pytest.mark.xfail(reason=row.waits, strict=True)] if row.waits else []  # noqa: E731
    return [pytest.param(row, id=row.name, marks=waits(row)) for row in rows]


def verdict(row: Row, found: Verdicts, repository: Path) -> None:
    """Everybody who must notice does, and nothing is got that is not admitted. The control row is noticed by nobody."""
    said = f"{row.name} {row.what}: {found}"
    if row.name == "0":
        assert not found.caught() and not found.gain, said
        return
    # A log that stands still is not read again: what use has noticed, the scrub need not.
    missed = row.caught - found.caught() - ({"scrub"} if found.serve else set())
    assert not missed, f"missed by {', '.join(sorted(missed))}: {said}"
    if found.gain:
        assert row.admitted, f"the attacker got: {found.gain}. {said}"
    if row.admitted:
        security = " ".join((repository / "SECURITY.md").read_text().split())
        assert row.admitted in security, f"SECURITY.md does not say: {row.admitted}"


@pytest.mark.parametrize("row", cases(ROWS))
def test_p4_p8_whoever_writes_the_disk_is_noticed(
    row: Row, verdicts: dict[str, "Future[Verdicts]"], to_table: Callable[[str, Verdicts], None], repository: Path
) -> None:
    """An attack on the embedded journal's directory."""
    found = verdicts[row.name].result(timeout=600)
    to_table(row.name, found)
    verdict(row, found, repository)


@pytest.mark.parametrize("row", cases(stream.ROWS))
def test_p4_p8_whoever_writes_the_disk_is_noticed_on_jetstream(
    row: Row, on_stream: dict[str, "Future[Verdicts]"], to_table: Callable[[str, Verdicts], None], repository: Path
) -> None:
    """An attack on the directory of a server whose journal lies on NATS."""
    found = on_stream[row.name].result(timeout=600)
    to_table(row.name, found)
    verdict(row, found, repository)


def test_p4_a_copy_that_nobody_attacked_works(made: sound.Sound, tmp_path: Path) -> None:
    """A copy as the attacks get it: what waited is granted and spent, events are posted, and all of it is sound."""
    world = sound.copy(made, tmp_path / "copy")
    house = world.house
    house.patient = True
    try:
        world.server.start()
        assert house.review(made.waiting, "p-bob").status_code == 200
        assert house.redeem(made.waiting, house.mint(made.waiting)).status_code == 200
        assert house.redeem(made.done, made.token, "second").status_code >= 400, "spent once"
        assert world.server.as_("publisher").publish(sound.numbered(2002))[0]["status"] == "posted"
        world.server.stop()
        world.server.fsck().ok()
    finally:
        world.server.__exit__()
