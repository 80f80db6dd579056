"""Counts by UTC day, kept at posting: equal to those that a program that knows nothing of ours makes from an export (P20 P6)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, event, new_id
from support.deciding import CALL, PAYMENTS, Deciding, question
from support.events import EXECUTION

COUNT = Path(__file__).parent / "support" / "count_days.py"


def from_export(server: Server, to: Path) -> dict[str, Any]:
    """What the program counts in an export of now."""
    shutil.rmtree(to, ignore_errors=True)
    server.remote("export", "--tenant", server.tenant, to).ok()
    done = subprocess.run([sys.executable, "-I", COUNT, to], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def counts(server: Server, begin: str | None = None, end: str | None = None) -> dict[str, Any]:
    """`GET T/counts`, by default of yesterday to tomorrow."""
    day = lambda days: (datetime.now(timezone.utc) + timedelta(days=days)).strftime("%Y-%m-%d")  # noqa: E731
    answer = server.admin.get("/counts", **{"from": begin or day(-1), "to": end or day(2)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def metrics(server: Server) -> dict[str, float]:
    """Every sample, by its name and labels."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    text = httpx.get(f"{server.url}/metrics", headers=headers, timeout=60, trust_env=False).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def executed(entry: dict[str, Any] | None) -> dict[str, Any]:
    """An execution report, of a decision's result (`index`, `leaf_hash`) or of none."""
    made = event(id=new_id("x"), type=EXECUTION, data=...)
    made["data"] = {"agent": {"id": "a"}} | ({"decision": entry} if entry else {})
    return made


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    """A tenant whose policy decides, with a day of work: told and asked, permitted and denied, approved, executed."""
    with Server(tmp_path_factory.mktemp("counts") / "server") as server:
        desk = Deciding(server)
        desk.activate(PAYMENTS)
        told = [
            event(data={"verdict": "allow", "reason": ...}), event(data={"verdict": "deny"}), event(data={"verdict": "deny", "reason": ...}),
            event(data={"verdict": "allow", "policy": {"id": "p"}}), event(data={"mode": "shadow"}), event(data={"verdict": "sanitize", "policy": ...}),
            event(data={"verdict": "approval_needed"}, payload={}), event(type="com.example.build", data={"x": 1}), b"{", b"[1]",
        ]
        results = [server.as_("publisher").publish(one)[0] for one in told if isinstance(one, dict)]
        for one in told[-2:]:
            server.as_("publisher").post_events(one)
        for amount in (1, 50000, 100001, 3000000, 3000001):
            assert desk.ask(question(params=CALL | {"amount": amount})).status_code == 200
        paused = desk.told(params=CALL | {"amount": 100002})
        assert desk.review(paused["approval"]["id"], "p-bob").status_code == 200
        allowed = desk.told()["decision"]
        named = [{"index": told["index"], "leaf_hash": told["leaf_hash"]} for told in (allowed, paused["decision"])]
        # Of a told decision: of one of ours it is refused, because it would settle another call.
        wrong = named[0] | {"index": results[0]["index"]}
        beyond = named[0] | {"index": 10**6}
        genesis = named[0] | {"index": 0}
        for one in (*named, wrong, beyond, genesis, None):
            assert server.as_("publisher").publish(executed(one))[0]["status"] == "posted"
        assert results[0]["status"] == "posted"
        yield desk
        server.stop()
        server.fsck().ok()


def test_p20_counts_are_those_of_an_export(desk: Deciding, tmp_path: Path) -> None:
    """Day by day, name by name, before and after a kill; nothing is counted twice."""
    expected = from_export(desk.server, tmp_path / "export")
    assert counts(desk.server)["days"] == expected["days"]
    names = set().union(*expected["days"].values())
    assert names == {"kind", "verdict", "mode", "tool", "producer", "by", "policy", "denied", "latency", "approval", "execution", "call", "denied_agent"}
    execution = expected["all"]["execution"]["values"]
    assert execution == {"allow": 1, "approval_needed": 1, "none": 4}, "each is told apart"
    desk.server.restart(kill=True)
    again = from_export(desk.server, tmp_path / "export")
    assert counts(desk.server)["days"] == again["days"]
    sent = event()
    for _ in range(3):
        desk.server.as_("publisher").publish(sent)
    desk.server.as_("publisher").publish(*[event(id=new_id(f"b-{n}")) for n in range(40)])
    final = from_export(desk.server, tmp_path / "export")
    assert counts(desk.server)["days"] == final["days"]
    assert final["all"]["by"]["values"]["told"] == again["all"]["by"]["values"]["told"] + 41


def test_p20_metrics_are_those_of_the_definitions(desk: Deciding, tmp_path: Path) -> None:
    """Each figure of compliance, computed anew from the export."""
    declare = {"producer": "gw-1", "source": "/numbered", "title": "t", "owner": "o", "silent_after": 3600}
    publisher = desk.server.as_("publisher")
    publisher.publish(*[event(source="/numbered", sequence=str(number)) for number in (1, 2, 5, 9)])
    assert desk.server.admin.http.post(f"{desk.server.admin.t}/sources", json={"sources": [declare], "reason": "r"}).status_code == 200
    expected, found = from_export(desk.server, tmp_path / "export"), metrics(desk.server)
    everything = expected["all"]
    for name, label in [("decisions", "verdict"), ("decisions_by", "by"), ("decisions_policy", "policy"), ("denials", "denied"),
                        ("approval_events", "approval"), ("executions", "execution"), ("entries_by_kind", "kind")]:  # fmt: skip
        told = {key.split('of="')[1].rstrip('"}'): value for key, value in found.items() if key.startswith(f"countersign_{name}_total{{")}
        assert told == everything[label]["values"], name
    of = lambda name, label: found[f'countersign_{name}{{tenant="acme",of="{label}"}}']  # noqa: E731
    assert of("evidence_completeness_ratio", "entries") == pytest.approx(4 / (4 + 5))
    approval, execution = everything["approval"]["values"], everything["execution"]["values"]
    reported = approval.get("execution_reported", 0)
    whole = sum(execution.values()) + reported
    assert of("evidence_completeness_ratio", "executions") == pytest.approx((whole - execution["none"]) / whole)
    redeemed = approval.get("redeemed", 0)
    assert redeemed >= 1, "the policy's own activation"
    assert found['countersign_elevated_with_approval_ratio{tenant="acme"}'] == pytest.approx(redeemed / (redeemed + execution["approval_needed"]))

    days = {day: label for label, day in (("today", 0), ("yesterday", -1)) for day in [(datetime.now(timezone.utc) + timedelta(days=day)).strftime("%Y-%m-%d")]}
    seen = 0
    for day, names in expected["days"].items():
        label = days[day]
        policy = names["policy"]["values"]
        assert found[f'countersign_policy_coverage_ratio{{tenant="acme",day="{label}"}}'] == pytest.approx(policy["with"] / sum(policy.values()))
        for reason, count in names["denied"]["values"].items():
            assert found[f'countersign_blocked{{tenant="acme",day="{label}",reason="{reason}"}}'] == count
        for quantile, share in (("0.5", 0.5), ("0.99", 0.99)):
            bounds = sorted((float(bound) if bound != "more" else float("inf"), count) for bound, count in names["latency"]["values"].items())
            total, running = sum(count for _, count in bounds), 0
            expected_bound = next(bound for bound, count in bounds if (running := running + count) >= share * total)
            sample = found[f'countersign_decision_latency_seconds{{tenant="acme",day="{label}",share="{quantile}"}}']
            assert sample == pytest.approx(expected_bound / 1000)
        seen += 1
    assert seen >= 1


def test_p13_names_of_senders_are_bounded(server: Server, tmp_path: Path) -> None:
    """The first 100 tools and reasons of a day have their own counts; all others are counted together, and the sums stay right."""
    publisher = server.as_("publisher")
    for begin in range(0, 260, 13):
        publisher.publish(*[event(data={"tool": {"name": f"t-{n % 130}", "action": "x"}, "reason": {"code": f"c_{n % 120}"}}) for n in range(begin, begin + 13)])
    expected = from_export(server, tmp_path / "export")
    assert counts(server)["days"] == expected["days"]
    tool, denied = expected["all"]["tool"], expected["all"]["denied"]
    assert (len(tool["values"]), tool["other"]) == (100, 60) and len(denied["values"]) == 100 and denied["other"] > 0
    assert sum(tool["values"].values()) + tool["other"] == 260
    found = metrics(server)
    assert found['countersign_denials_total{tenant="acme",of="(other)"}'] == denied["other"]
    server.stop()
    server.fsck().ok()


def test_a_day_is_answered_at_once(server: Server) -> None:
    """No entry is read for it: a day of 3,000 entries with all names full takes milliseconds."""
    publisher = server.as_("publisher")
    for begin in range(0, 3000, 500):
        publisher.publish(*[event(data={"tool": {"name": f"t-{n % 150}", "action": "x"}}) for n in range(begin, begin + 500)])
    counts(server)
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        counts(server)
        took.append(time.perf_counter() - begun)
    print(f"GET T/counts: median {sorted(took)[10] * 1000:.1f} ms of {len(took)}")
    assert counts(server)["values_max"] == 100


@pytest.mark.parametrize("query", [
    {}, {"from": "2026-11-20"}, {"to": "2026-11-20"}, {"from": "2026-11-20", "to": "2026-11-20"}, {"from": "2026-11-21", "to": "2026-11-20"},
    {"from": "2026-02-30", "to": "2026-03-02"}, {"from": "2026-01-01", "to": "2027-02-06"}, {"from": "today", "to": "tomorrow"},
    {"from": "1969-12-31", "to": "1970-01-02"}, {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21"},
    {"from": "2026-11-20", "to": "2026-11-21", "tool": "x"},
])  # fmt: skip
def test_p13_what_is_no_range_of_days_is_refused(shared: Server, query: dict[str, str]) -> None:
    """With a clear error; a range without entries is empty."""
    answer = shared.admin.get("/counts", **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), answer.text
    assert counts(shared, "1970-01-01", "1971-02-05")["days"] == {}
