"""P20: availability is counted from probes: entries that show, once a minute, that the server decides."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, event, until
from support.deciding import Deciding
from test_hard_periods import files, findings, make, verified


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that probes, after three probes: the second is in a minute that lies in the log as a whole."""
    made = Server(tmp_path_factory.mktemp("probed") / "server")
    try:
        Deciding(made)
        made.sections["approvals"] |= {"probe": True}
        made.stop()
        made.write_config()
        made.start()
        made.as_("publisher").publish(event())
        until("three probes", lambda: len(probes(made)) >= 3, seconds=260)
        made.as_("publisher").publish(event())
        yield made
    finally:
        made.__exit__()


def probes(server: Server) -> list[dict[str, Any]]:
    """The entries of probes."""
    return [entry for entry in server.admin.entries(kind="decision") if entry["event"]["data"]["tool"].get("action") == "probe"]


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table."""
    return list(csv.DictReader(io.StringIO((folder / path).read_bytes().decode("utf-8-sig"), newline="")))


def figure(folder: Path, name: str) -> tuple[int, int | None]:
    """A figure: its count, and of how many."""
    figures = json.loads((folder / "conclusions.json").read_bytes())["figures"]
    return next((one["count"], one["of"]) for one in figures if one["name"] == name)


def test_a_probe_is_a_denied_decision_of_ours(server: Server) -> None:
    """One a minute, about no agent's call; it opens nothing and asks nobody."""
    found = probes(server)
    for entry in found:
        data = entry["event"]["data"]
        assert entry["producer"] == "countersign" and entry["payload"] == []
        assert (data["verdict"], data["reason"]["code"], data["agent"]["run"]) == ("deny", "probe", "r1")
        assert entry["event"]["id"] == f"probe-r1-{entry['event']['time'][:16]}Z"
    minutes = [entry["journal"]["time"][:16] for entry in found]
    assert len(set(minutes)) == len(minutes)
    assert not server.admin.entries(kind="approval")


def test_p20_probes_are_no_decisions_about_calls(server: Server, tmp_path: Path) -> None:
    """Evidence counts minutes with a probe, and leaves probes out of every other figure, table and sample."""
    make(server, tmp_path / "e").ok()
    counted = verified(server, tmp_path / "e")
    index = {int(row["index"]) for row in rows(tmp_path / "e", "population/decisions.csv")}
    assert len(index) == counted.verdicts().total() == 1, "the last one is after the period"
    assert figure(tmp_path / "e", "decisions")[0] == 1 and figure(tmp_path / "e", "policy_coverage") == (1, 1)
    assert not {row["agent"] for row in rows(tmp_path / "e", "policies/agents.csv")} & {"countersign"}
    assert {row["tool"] for row in rows(tmp_path / "e", "samples/samples.csv")} <= {"payments", ""}
    manifest = json.loads((tmp_path / "e/manifest.json").read_bytes())
    at = lambda text: datetime.fromisoformat(text[:26] + "+00:00").timestamp()  # noqa: E731
    begin, end = -(-at(manifest["from"]) // 60), at(manifest["to"]) // 60
    seen = {entry["journal"]["time"][:16] for entry in probes(server) if begin <= at(entry["journal"]["time"]) // 60 < end}
    assert figure(tmp_path / "e", "availability") == (len(seen), int(end - begin))
    assert sum(int(row["with_probe"]) for row in rows(tmp_path / "e", "population/availability.csv")) == len(seen) >= 1
    assert "no probe" not in (tmp_path / "e/not-checked.txt").read_text()
    assert "another_verdict" not in findings(tmp_path / "e")


def test_p20_a_period_without_probes_says_so(server: Server, tmp_path: Path) -> None:
    """Nothing to count is not 0 %, and not 100 %."""
    first = server.admin.entries(kind="genesis")[0]["journal"]["time"]
    until_ = next(entry["journal"]["time"] for entry in probes(server))
    make(server, tmp_path / "e", "--from", first, "--to", until_).ok()
    verified(server, tmp_path / "e")
    assert figure(tmp_path / "e", "availability") == (0, 0)
    assert "no probe is in this period" in (tmp_path / "e/not-checked.txt").read_text()
    assert files(tmp_path / "e")["population/availability.csv"].count(b"\r\n") == 1


def test_the_metric_is_minutes_with_a_probe(server: Server) -> None:
    """By the counts of the day; the counts have probes apart from decisions."""
    day = server.admin.entries(kind="genesis")[0]["journal"]["time"][:10]
    counts = server.admin.http.get(f"{server.admin.t}/counts", params={"from": day, "to": next_day(day)}).json()["days"][day]
    assert counts["probe"]["values"]["r1"] >= 2 and "denied" in counts
    assert counts["verdict"]["values"] == {"deny": 2} and "server" not in counts["by"]["values"]
    text = server.client(server.operator_key).http.get("/metrics").text
    assert 'countersign_availability_ratio{tenant="acme",day="today"}' in text


def next_day(day: str) -> str:
    """The day after."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def test_the_whole_log_with_probes_verifies(server: Server, tmp_path: Path) -> None:
    """`verify --export` and `fsck` know them."""
    server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    cli("verify", "--key", server.vkey, "--export", tmp_path / "export").ok()
