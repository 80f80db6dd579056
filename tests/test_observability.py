"""The list of metrics, the dashboard, the rules and the page are true: compared with a server that does a bit of everything, answered by a real
Prometheus, and judged by its promtool."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import cli, until
from support.alert_cases import CASES, step
from support.deciding import Deciding
from support.manual import ROOT
from support.observed import TRACE, observed, once, text, traffic
from support.prometheus import Prometheus, promtool

DASHBOARDS = ROOT / "proto" / "dashboards"
RULES = DASHBOARDS / "rules.yml"
LIST: list[dict[str, Any]] = json.loads((ROOT / "proto" / "metrics.json").read_text())["metrics"]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "info": ("_info",), "histogram": ("_bucket", "_sum", "_count")}
#: Panels that show nothing while nothing is wrong, or without TLS.
EMPTY = {"Troubles", "Certificates end in"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    """A server after a bit of everything."""
    with observed(tmp_path_factory.mktemp("observed")) as made:
        traffic(made)
        once(made)
        yield made


@pytest.fixture(scope="module")
def prometheus(desk: Deciding, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has scraped it before and after more of the same."""
    key = Path(desk.server.settings["metrics_key_file"])
    made = Prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{desk.server.port}", key, RULES)
    try:
        until("the first scrape", lambda: made.ask("countersign_build_info"))
        traffic(desk, 3)
        entries = desk.server.admin.size()
        until("a scrape after it", lambda: made.ask(f"countersign_entries >= {entries}"))
        until("the rules", lambda: made.ask("countersign_proof_seconds:p99_5m"))
        yield made
    finally:
        made.stop()


def families(exposed: str) -> dict[str, dict[str, Any]]:
    """What OpenMetrics says of each metric: type, help, and the label sets of its samples."""
    found: dict[str, dict[str, Any]] = {}
    for line in exposed.splitlines():
        if line.startswith("# HELP "):
            name, help = line[7:].split(" ", 1)
            assert name not in found, f"{name} comes twice"
            found[name] = {"help": help.rstrip("."), "labels": [], "samples": set()}
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            found[name]["type"] = kind
        elif not line.startswith("#"):
            sample, labels = re.match(r"(\w+)(?:\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})? ", line).groups()  # type: ignore[union-attr]
            owner = next(name for name, one in found.items() if any(sample == name + suffix for suffix in SUFFIXES[one["type"]]))
            named = re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels or "")
            found[owner]["labels"].append([label for label in named if label != "le"])
            found[owner]["samples"].add(sample)
    return found


def test_what_is_made_from_the_list_is_checked_in() -> None:
    """The program's list is proto/metrics.json; dashboard, rules and page are what `make.py` makes of it."""
    assert cli("metrics").ok().out == (ROOT / "proto" / "metrics.json").read_text()
    done = subprocess.run([sys.executable, DASHBOARDS / "make.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_listed_is_exposed_and_nothing_else(desk: Deciding) -> None:
    """Name, type, help and labels of each metric; each has a sample after a bit of everything."""
    exposed = families(text(desk))
    listed = {one["name"]: one for one in LIST}
    assert set(exposed) == set(listed), set(exposed) ^ set(listed)
    for name, one in listed.items():
        found = exposed[name]
        assert (found["type"], found["help"]) == (one["type"], one["help"]), name
        assert found["labels"], f"{name} has no sample"
        assert all(labels == one["labels"] for labels in found["labels"]), (name, found["labels"][0])
        assert one["series"] in found["samples"], name


def test_both_texts_say_the_same(desk: Deciding) -> None:
    """The older text is what promtool expects, and has each sample of OpenMetrics under the same name."""
    classic = text(desk, "*/*")
    done = promtool("check", "metrics", stdin=classic)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    names = lambda of: {line.split(" # ")[0].rsplit(" ", 1)[0] for line in of.splitlines() if not line.startswith("#")}  # noqa: E731
    ours = lambda of: {name for name in of if not name.startswith(("process_", "countersign_request_seconds"))}  # noqa: E731
    assert ours(names(classic)) == ours(names(text(desk)))


def test_metrics_of_policies(desk: Deciding) -> None:
    """What calls come to, who is denied, which version is in force, what budgets have, how long people took."""
    samples = dict(line.split(" # ")[0].rsplit(" ", 1) for line in text(desk).splitlines() if not line.startswith("#"))
    call = 'countersign_calls_decided_total{tenant="acme",tool="payments",verdict='
    odd = [name for name in samples if name.startswith(call + '"allow",enforced="true",would="deny"')]
    assert odd, "the clause in shadow would have denied it"
    assert any(name.startswith(call + '"deny",enforced="false",would="",reason="amount_over_limit"') for name in samples)
    version = desk.status()["in_force"]
    assert samples[f'countersign_policy_in_force{{tenant="acme",version="{version["version"]}",digest="{version["digest"]}"}}'] == "1"
    booked = next(one for one in desk.server.admin.get("/budgets").json()["budgets"] if one["id"] == "pay/month")
    budget = f'tenant="acme",budget="pay/month",key="{booked["key"]}",unit="calls",currency=""'
    assert (samples[f"countersign_budget_cap{{{budget}}}"], samples[f"countersign_budget_used{{{budget}}}"]) == ("1000", str(booked["within"]))
    assert samples[f"countersign_budget_reserved{{{budget}}}"] == str(booked["reserved"])
    denied = {name: int(value) for name, value in samples.items() if name.startswith("countersign_most_denied{")}
    assert denied['countersign_most_denied{tenant="acme",agent="agent-7"}'] >= 2 and len(denied) <= 20
    assert int(samples['countersign_approval_wait_seconds_count{tenant="acme",end="granted"}']) >= 1
    for by in ("ours", "told"):
        assert int(samples[f'countersign_recording_seconds_count{{tenant="acme",by="{by}"}}']) >= 4


def test_the_rules_are_those_of_prometheus() -> None:
    done = promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    """Prometheus reads what the page tells to add, with files that are there."""
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "operate" / "observability.md").read_text(), re.DOTALL)
    assert block
    (tmp_path / "key").write_text("m" * 40)
    named = {"/etc/prometheus/countersign-metrics.key": tmp_path / "key", "/etc/prometheus/countersign-rules.yml": RULES}
    config = block[1]
    for path, there in named.items():
        assert path in config
        config = config.replace(path, str(there))
    (tmp_path / "prometheus.yml").write_text(config)
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def unit_tests(alert: str, to: Path) -> Path:
    """A file of promtool with both tests of an alert, beside a file with its rule and those that it rests on: the others would be judged too."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    wanted = next(rule for rule in rules if rule.get("alert") == alert)
    needed = [rule for rule in rules if rule.get("record", "-") in wanted["expr"]]
    every = f"{step(alert)}m"
    (to / f"{alert}.rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "tested", "rules": [*needed, wanted]}]}))
    tests = [
        {
            "interval": every, "name": f"{alert} {'fires' if fires else 'is quiet'}",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)', "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }],
        }
        for (series, minutes), fires in zip(CASES[alert], (True, False), strict=True)
    ]  # fmt: skip
    path = to / f"{alert}.tests.yml"
    path.write_text(yaml.safe_dump({"rule_files": [f"{alert}.rules.yml"], "evaluation_interval": every, "tests": tests}))
    return path


def test_each_alert_fires_and_stays_quiet(tmp_path: Path) -> None:
    """By promtool, with series made for it: none is without both."""
    alerts = [one["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for one in group["rules"] if "alert" in one]
    assert sorted(alerts) == sorted(CASES)
    done = promtool("test", "rules", *(unit_tests(alert, tmp_path) for alert in alerts))
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_loads_the_rules_and_nothing_fires_that_is_well(prometheus: Prometheus) -> None:
    """Every rule is judged without an error; every recorded share has a value; the one alert is about a call that nobody is asked about."""
    groups = prometheus.get("/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(len(group["rules"]) for group in yaml.safe_load(RULES.read_text())["groups"])
    assert all(rule["health"] == "ok" for rule in rules), [rule for rule in rules if rule["health"] != "ok"]
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert not [name for name in recorded if not prometheus.ask(name)]
    expected = {"CountersignNotOpened", "CountersignRecordingBurns1h"}
    urgent = {rule["name"] for rule in rules if rule["type"] == "alerting" and rule["state"] == "firing"} - expected
    assert not urgent, urgent


def test_prometheus_answers_every_panel(prometheus: Prometheus) -> None:
    """No expression of the dashboard is wrong, and each shows something."""
    dashboard = json.loads((DASHBOARDS / "countersign.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    empty = set()
    for panel in panels:
        for target in panel["targets"]:
            expr = target["expr"].replace("$tenant", ".*").replace("$__rate_interval", "30s")
            assert "$" not in expr, expr
            if not prometheus.ask(expr):
                empty.add(f"{panel['title']}: {expr}")
    assert len(panels) > 40 and {one.split(":")[0] for one in empty} == EMPTY, empty
    assert prometheus.ask("countersign_ready"), "the variable of the tenants"


def test_an_exemplar_leads_to_the_trace(prometheus: Prometheus, desk: Deciding) -> None:
    """The trace of a question is an example of how long it took."""
    assert f'# {{trace_id="{TRACE}"}} ' in text(desk) and "trace_id" not in text(desk, "text/plain")
    found = until("an exemplar", lambda: prometheus.get("/query_exemplars", query="countersign_recording_seconds_bucket", start="0", end="9999999999"))
    assert {one["labels"]["trace_id"] for series in found for one in series["exemplars"]} == {TRACE}
    assert all(series["seriesLabels"]["by"] == "ours" for series in found)
