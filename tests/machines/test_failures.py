"""P21, P22: three machines in network namespaces, and what can fail of them, alone and in pairs, under load. Judged by counting from
outside; the counts and the times are printed. What is expected of each failure stands in docs/operate/failures.md.

    python -m pytest tests/machines -s                                      eight failures and two pairs, with fixed seeds
    python -m pytest tests/machines -s --long --faults 2000 --seed 1        as many as asked, by seed; goes on where it was ended.
                                                                            --sites 2: on two sites at once
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from several.expected import expected
from several.rounds import Plan, Results, Round, Trouble, many
from several.table import FAULTS

from support import countersign_bin
from support.histories import judge_bin

#: Two sites; the last trouble of each is a pair.
SHORT = {
    "processes": [("server that leads killed",), ("node that leads killed",), ("machine killed",), ("server stopped",),
                  ("node that follows killed", "server that follows killed")],
    "network, disks and clocks": [("host parted",), ("host mute",), ("machine back",), ("clock ahead",), ("disk back", "nodes parted")],
}  # fmt: skip
#: Failures and pairs on one fresh site of the long form.
A_SITE = 16


def test_p22_the_page_knows_every_failure() -> None:
    """A row for each that is made here, and none that is not."""
    assert set(expected()) == set(FAULTS)


@pytest.mark.parametrize("site", SHORT)
def test_p22_eight_failures_with_fixed_seeds(site: str, namespaces: None, tmp_path: Path) -> None:
    """Nothing that was acknowledged is lost or doubled, one history, one redemption; what clients are told is on the page."""
    judge_bin()
    counts = Round(tmp_path / "site").run(Trouble(names, 100 + n) for n, names in enumerate(SHORT[site]))
    print(counts.table())
    assert sum(counts.faults.values()) == len(SHORT[site])
    assert counts.acknowledged > 100 and counts.redemptions > 10 and counts.checkpoints > 20, "the load did not work"
    assert not counts.bad(), counts.bad()


@pytest.mark.timeout(0)
def test_p22_every_failure_alone(namespaces: None, long: bool, tmp_path: Path) -> None:
    """With `--long`: each row of the page once."""
    if not long:
        pytest.skip("minutes: give --long")
    judge_bin()
    counts = Round(tmp_path / "site").run(Trouble((name,), 200 + n) for n, name in enumerate(sorted(FAULTS)))
    print(counts.table())
    assert not counts.bad(), counts.bad()


@pytest.mark.timeout(0)
def test_p22_failures_drawn_by_seed(namespaces: None, long: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """With `--long`: failures alone and in pairs, as many as asked."""
    if not long:
        pytest.skip("hours: give --long, --faults and --seed")
    judge_bin()
    binary = hashlib.sha256(countersign_bin().read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "countersign"
    results = Results(Path(request.config.getoption("--results") or cache / f"failures-{binary}.jsonl"))
    option = request.config.getoption
    counts = many(results, tmp_path, Plan(option("--faults"), option("--seed"), A_SITE, option("--sites")))
    print(f"results: {results.path}", counts.table(), sep="\n")
    assert not counts.bad(), counts.bad()
