"""P20: somebody who holds the log key signs a log that breaks the rules of posting. What evidence of a period shows of that, and what only
an export of the whole log shows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Server, cli, event
from support.operator import Operator


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, str]]:
    """A log, the key that signs it, and its public key."""
    root = tmp_path_factory.mktemp("honest")
    with Server.ready(root / "server") as server:
        for _ in range(8):
            server.as_("publisher").publish(event())
        server.remote("export", "--tenant", "acme", root / "export").ok()
        yield Operator(root / "export", next((root / "server/keys/acme").glob("log-*.key"))), server.vkey


def backwards(log: Operator) -> None:
    log.entries[6]["journal"]["time"] = log.entries[4]["journal"]["time"]
    log.chain()


def other_prior(log: Operator) -> None:
    log.chain()
    log.entries[6]["prior"] = {"system": 1}


def left_out(log: Operator) -> None:
    """The chain of system entries passes one over, of the period."""
    log.chain()
    log.entries[6]["kind"] = "access"


def twice(log: Operator) -> None:
    log.entries[6]["journal"]["seq"] = log.entries[5]["journal"]["seq"]
    log.chain()


def first_twice(log: Operator) -> None:
    """The entry before the period, and the first one in it."""
    log.entries[5]["journal"]["seq"] = log.entries[4]["journal"]["seq"]
    log.chain()


def out_of_place(log: Operator) -> None:
    """An entry whose message comes before that of the entry before."""
    log.entries[6]["journal"]["seq"] = log.entries[4]["journal"]["seq"] - 1
    log.chain()


def refused(log: Operator, vkey: str, folder: Path, *args: object) -> bool:
    """Whether evidence can't be made of this log, or does not verify."""
    log.export(folder / "export")
    assert cli("verify", "--key", vkey, "--export", folder / "export").code == 1
    made = cli("evidence", "--export", folder / "export", "-o", folder / "e", *args)
    return made.code == 1 or cli("verify", "--key", vkey, "--evidence", folder / "e").code == 1


@pytest.mark.parametrize("forge", [backwards, other_prior, left_out, twice, out_of_place])
def test_p20_a_forged_range_is_refused(honest: tuple[Operator, str], tmp_path: Path, forge: Callable[[Operator], None]) -> None:
    """Within the period: time, chains and the journal's order."""
    log, vkey = honest
    branch = log.copy()
    forge(branch)
    assert refused(branch, vkey, tmp_path)


def test_p20_the_first_entry_of_a_range_follows_the_one_before(honest: tuple[Operator, str], tmp_path: Path) -> None:
    """One message of the journal is not the last entry before the period and the first one in it."""
    log, vkey = honest
    branch = log.copy()
    first_twice(branch)
    assert refused(branch, vkey, tmp_path, "--from", branch.entries[5]["journal"]["time"])


def test_p20_an_entry_that_is_dated_back_is_seen_in_an_export(honest: tuple[Operator, str], tmp_path: Path) -> None:
    """An entry of the period, put behind its end: evidence of the period has no place to see it, and says so. An export does."""
    log, vkey = honest
    branch = log.copy()
    last = branch.entries[-1]["journal"]
    for n, time in ((1, branch.entries[5]["journal"]["time"]), (2, last["time"])):
        made = copy.deepcopy(branch.entries[5])
        made["event"]["id"] = f"forged-{n}"
        made["journal"] = {"epoch": last["epoch"], "seq": last["seq"] + n, "time": time}
        branch.entries.append(made)
    branch.chain()
    assert not refused(branch, vkey, tmp_path, "--to", last["time"])
    assert "dated out of order" in (tmp_path / "e/not-checked.txt").read_text()
