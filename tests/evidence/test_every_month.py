"""P20: evidence of every month that is over: one folder each, by the command and by the server, never written twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from support import Server, cli, event, until
from support.faketime import Clock


def seconds_to(day: str) -> int:
    """From now to a day at noon."""
    at = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
    return int((at - datetime.now(UTC)).total_seconds())


class Months:
    """A log from 2027-01 to 2027-04: nothing happened in 2027-03."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock(root)
        self.server = Server(root / "server")
        self.server.env = self.clock.env
        self.server.init()
        self.server.start(env=self.clock.env)
        self.first = date.today().isoformat()[:7]
        self.tell("2027-01-20", 3)
        self.tell("2027-02-10", 2)
        self.tell("2027-04-01", 1)
        self.key = self.server.add_key(["auditor", "exporter"])

    def tell(self, day: str, count: int) -> None:
        """Publishes events on a day. After so long a silence an admin confirms the clock."""
        self.server.stop()
        self.clock.set(seconds_to(day))
        self.server.start(env=self.clock.env)
        confirmed = self.server.remote("clock reset", "--tenant", "acme", "--reason", "Nothing ran for weeks.")
        assert confirmed.code == 0 or "Nothing is wrong" in confirmed.err, confirmed
        self.server.as_("publisher").publish(*(event() for _ in range(count)))

    def make(self, folder: Path, *args: object):  # noqa: ANN201
        """`countersign evidence --every month`"""
        return self.server.remote("evidence", "--tenant", "acme", "--every", "month", "--to", folder, *args, key=self.key)


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Months]:
    """The log, made once."""
    made = Months(tmp_path_factory.mktemp("months"))
    try:
        yield made
    finally:
        made.server.__exit__()


def files(folder: Path) -> dict[str, bytes]:
    """Every file by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decisions(months: Months, folder: Path) -> int:
    """Decisions of a folder that verifies and is whole."""
    told = cli("verify", "--key", months.server.vkey, "--evidence", folder, "--json").ok().json()["items"][0]
    assert told["whole"]
    return told["decisions"]


def test_p20_one_folder_for_each_month_that_is_over(months: Months, tmp_path: Path) -> None:
    """An empty month has one too; the present month has none. Made again, nothing is touched."""
    months.make(tmp_path).ok()
    made = tmp_path / "acme"
    names = sorted(path.name for path in made.iterdir())
    assert names[0] == months.first and names[-3:] == ["2027-01", "2027-02", "2027-03"]
    assert [decisions(months, made / name) for name in ("2027-01", "2027-02", "2027-03")] == [3, 2, 0]
    before = {name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in made.rglob("*") for name in [str(path)]}
    again = months.make(tmp_path).ok()
    assert "No month is over" in again.out
    assert before == {name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in made.rglob("*") for name in [str(path)]}


def test_p20_a_month_that_was_stopped_is_finished(months: Months, tmp_path: Path) -> None:
    """Without its manifest a folder is incomplete; the others stay as they are, also one that somebody changed: `verify` says so."""
    months.make(tmp_path).ok()
    whole = files(tmp_path / "acme/2027-02")
    (tmp_path / "acme/2027-02/manifest.json").unlink()
    next((tmp_path / "acme/2027-02/proof/tile/entries").rglob("0*")).touch()
    (tmp_path / "acme/2027-02/report.html").write_text("half")
    (tmp_path / "acme/2027-01/report.html").write_text("changed")
    months.make(tmp_path).ok()
    assert files(tmp_path / "acme/2027-02") == whole
    assert (tmp_path / "acme/2027-01/report.html").read_text() == "changed"
    assert cli("verify", "--key", months.server.vkey, "--evidence", tmp_path / "acme/2027-01").code == 1


def test_p20_the_server_makes_the_same_months(months: Months, tmp_path: Path) -> None:
    """By its configuration, with the same bytes as the command; killed in between and started again, it goes on."""
    (tmp_path / "command").mkdir()
    (tmp_path / "server").mkdir()
    months.make(tmp_path / "command").ok()
    server = months.server
    server.sections["evidence.acme"] = {"to": tmp_path / "server", "api_key_file": server.key_file(months.key)}
    server.stop()
    server.write_config()
    server.start(env=months.clock.env)
    last = tmp_path / "server/acme/2027-03/manifest.json"
    until("the server made the months", last.exists)
    assert files(tmp_path / "server") == files(tmp_path / "command")
    shutil.rmtree(tmp_path / "server/acme/2027-03")
    (tmp_path / "server/acme/2027-02/manifest.json").unlink()
    server.kill9()
    server.start(env=months.clock.env)
    until("the server finished them", last.exists)
    assert files(tmp_path / "server") == files(tmp_path / "command")


def test_p20_a_folder_of_somebody_else_stops_its_month_alone(months: Months, tmp_path: Path) -> None:
    """What no evidence wrote is not overwritten, and the command says so."""
    (tmp_path / "acme/2027-01").mkdir(parents=True)
    (tmp_path / "acme/2027-01/README.txt").write_text("my notes")
    done = months.make(tmp_path)
    assert done.code == 1 and (tmp_path / "acme/2027-01/README.txt").read_text() == "my notes", done


@pytest.mark.parametrize("args", [["--from", "2027-01-01"], ["-o", "x"], ["--partial"], ["--export", "x"]])
def test_what_goes_not_together(months: Months, tmp_path: Path, args: list[str]) -> None:
    """A period of every month is not named beside it."""
    assert months.make(tmp_path, *args).code == 2


def test_a_folder_that_is_not_there(months: Months, tmp_path: Path) -> None:
    """A wrong path, or a volume that is not mounted, makes no folder somewhere else."""
    done = months.make(tmp_path / "none")
    assert done.code == 2 and "make this folder first" in done.err and not (tmp_path / "none").exists(), done
    assert cli("evidence", "--tenant", "acme", "--every", "month", "--server", months.server.url).code == 2
