"""P20: what only resembles an execution, a heartbeat or a decision is counted as none of them."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from support import Server, cli, event, new_id
from support.events import EXECUTION, HEARTBEAT
from support.operator import Operator
from support.rfc6962 import leaf_hash
from test_hard_periods import findings, make, verified
from test_hard_periods import figure as count


def figure(folder: Path, name: str) -> tuple[int, int]:
    """A share: its count, and of how many."""
    figures = json.loads((folder / "conclusions.json").read_bytes())["figures"]
    return next((one["count"], one["of"]) for one in figures if one["name"] == name)


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table."""
    return list(csv.DictReader(io.StringIO((folder / path).read_bytes().decode("utf-8-sig"), newline="")))


def named(index: int, leaf: bytes) -> dict[str, Any]:
    """What an execution says that it carried out."""
    return {"index": index, "leaf_hash": base64.b64encode(leaf_hash(leaf)).decode()}


def report(of: str, **data: Any) -> dict[str, Any]:
    """An event of some type, with data."""
    return {"specversion": "1.0", "id": new_id("x"), "source": "/r", "type": of, "time": "2026-11-20T05:48:00Z", "data": data}


class Told:
    """A log with a call that needed people, another one, and what resembles reports of them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        publisher = server.as_("publisher")
        self.needed = publisher.publish(event(data={"verdict": "approval_needed"}))[0]["index"]
        self.other = publisher.publish(event(data={"verdict": "allow"}))[0]["index"]
        leaves = dict(server.admin.feed(kind="decision"))
        wrong = {"index": self.needed, "leaf_hash": named(self.other, leaves[self.other])["leaf_hash"]}
        self.wrong = publisher.publish(report(EXECUTION, decision=wrong, status="completed"))[0]["index"]
        right = named(self.needed, leaves[self.needed])
        for of in ("com.example.execution.v1", f"com.example.{EXECUTION}", f"com.{EXECUTION}.example"):
            self.foreign = publisher.publish(report(of, decision=right, status="completed"))[0]["index"]
        for of in ("com.example.heartbeat.v1", f"com.{HEARTBEAT}"):
            publisher.publish(report(of))
        self.true = publisher.publish(report(EXECUTION, decision=named(self.other, leaves[self.other])))[0]["index"]
        publisher.publish(event())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The log, made once."""
    with Server.ready(tmp_path_factory.mktemp("resembling") / "server") as server:
        yield Told(server)


def test_p20_what_only_resembles_an_execution_counts_as_none(told: Told, tmp_path: Path) -> None:
    """Events of other types are events. An execution that names the leaf hash of another entry is of no decision, also where the
    decision at its index needed people. One that names its own counts."""
    make(told.server, tmp_path / "e").ok()
    counted = verified(told.server, tmp_path / "e")
    found = findings(tmp_path / "e")
    assert found["execution_of_no_decision"]["leaves"] == [told.wrong]
    assert "executed_without_approval" not in found and not counted.without_approval()
    assert figure(tmp_path / "e", "executions_with_decision") == (1, 2)
    (elevated,) = rows(tmp_path / "e", "approvals/elevated.csv")
    assert (elevated["executed_by_report"], elevated["executed_without_approval"]) == ("", "no")
    assert {row["heartbeats"] for row in rows(tmp_path / "e", "population/sources.csv")} == {"0"}


def forged(told: Told, folder: Path) -> Operator:
    """The log as whoever holds its key may sign it."""
    told.server.remote("export", "--tenant", "acme", folder / "export").ok()
    return Operator(folder / "export", next((told.server.root / "keys/acme").glob("log-*.key"))).copy()


def evidence_of(log: Operator, told: Told, folder: Path) -> Path:
    """Evidence of a forged log; it verifies."""
    log.chain()
    log.export(folder / "forged")
    cli("evidence", "--export", folder / "forged", "-o", folder / "e").ok()
    cli("verify", "--key", told.server.vkey, "--evidence", folder / "e").ok()
    return folder / "e"


@pytest.mark.parametrize("of", ["com.example.execution.v1", EXECUTION + "0", "x." + EXECUTION, EXECUTION.upper()])
def test_p20_no_other_type_carries_out_a_decision(told: Told, tmp_path: Path, of: str) -> None:
    """Also if its `data.decision` is plain in the leaf, as posting makes it for executions alone."""
    log = forged(told, tmp_path)
    needed = named(told.needed, rfc8785.dumps(log.entries[told.needed]))
    log.entries[told.true]["event"] |= {"type": of, "data": {"decision": needed, "status": "completed"}}
    folder = evidence_of(log, told, tmp_path)
    assert figure(folder, "executions_with_decision") == (0, 1) and "executed_without_approval" not in findings(folder)
    log.entries[told.true]["event"]["type"] = EXECUTION
    (tmp_path / "control").mkdir()
    assert "executed_without_approval" in findings(evidence_of(log, told, tmp_path / "control")), "the type alone made the difference"


@pytest.mark.parametrize("kind", ["event", "void", "rejected"])
def test_p20_only_a_decision_needs_people(told: Told, tmp_path: Path, kind: str) -> None:
    """An entry of another kind that has a verdict is not drawn as a call that needed people, and nothing carries it out."""
    log = forged(told, tmp_path)
    log.entries[told.needed]["kind"] = kind
    needed = named(told.needed, rfc8785.dumps(log.entries[told.needed]))
    log.entries[told.true]["event"]["data"] = {"decision": needed, "status": "completed"}
    folder = evidence_of(log, told, tmp_path)
    assert "approval_needed" not in {row["control"] for row in rows(folder, "samples/samples.csv")}
    assert not rows(folder, "approvals/elevated.csv")
    assert told.true in findings(folder)["execution_of_no_decision"]["leaves"]
    assert count(folder, "approval_needed") == 0
