"""The panels of the dashboard. `make.py` makes `countersign.json` from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Series = Callable[[str], str]
#: A row of the dashboard: its title, and its panels: title, unit, kind, and expressions with their legends.
Row = tuple[str, list[tuple[str, str, str, list[tuple[str, str]]]]]

T = '{tenant=~"$tenant"}'


def rows(of: Series) -> list[Row]:
    """All of them, in their order."""

    def rate(name: str, by: str, more: str = "") -> str:
        return f'sum by ({by}) (rate({of(name)}{{tenant=~"$tenant"{more}}}[$__rate_interval]))'

    def p(share: float, name: str, by: str = "le", labels: str = "") -> str:
        return f"histogram_quantile({share}, sum by ({by}) (rate({of(name)}{labels}[$__rate_interval])))"

    def three(name: str) -> list[tuple[str, str]]:
        return [(p(0.5, name), "p50"), (p(0.95, name), "p95"), (p(0.99, name), "p99")]

    return [
        ("Must a person act?", [
            ("Halted logs", "short", "stat", [(f"sum({of('halted')}{T})", "")]),
            ("Guard in place", "short", "stat", [(f"min({of('guard_in_place')})", "")]),
            ("Sinks whose receiver takes nothing", "short", "stat", [(f"sum({of('sink_stands_still')}{T})", "")]),
            ("Silent sources", "short", "stat", [(f"sum({of('sources')}{{tenant=~\"$tenant\",state=\"silent\"}})", "")]),
            ("Approvals that wait", "short", "stat", [(f"sum({of('approvals_pending')}{T})", "")]),
            ("Freezes in force", "short", "stat", [(f"sum({of('freezes')}{T})", "")]),
            ("Troubles", "short", "table", [(f"{of('trouble')}{T} == 1", "")]),
            ("Policies in force", "short", "table", [(f"{of('policy_in_force')}{T}", "")]),
        ]),
        ("Objectives", [
            ("Recorded within 20 ms (target 99 %)", "percentunit", "timeseries", [("1 - tenant:countersign_recorded_late:ratio_rate5m" + T, "{{tenant}} 5 min"), ("1 - tenant:countersign_recorded_late:ratio_rate1d" + T, "{{tenant}} 1 day")]),
            ("Requests that got no 5xx (target 99.9 %)", "percentunit", "timeseries", [("1 - countersign_not_served:ratio_rate5m", "5 min"), ("1 - countersign_not_served:ratio_rate1d", "1 day")]),
            ("Decision, receipt, proof: p99", "s", "timeseries", [("tenant:countersign_recording_seconds:p99_5m" + T, "decision {{tenant}}"), ("countersign_receipt_seconds:p99_5m", "receipt"), ("countersign_proof_seconds:p99_5m", "proof")]),
            ("Availability of deciders, by day", "percentunit", "timeseries", [(f"{of('availability_ratio')}{T}", "{{tenant}} {{day}}")]),
        ]),
        ("Decisions", [
            ("Decisions by verdict", "ops", "timeseries", [(rate("decisions", "of"), "{{of}}")]),
            ("Decisions by tool", "ops", "timeseries", [(f"topk(10, {rate('calls_decided', 'tool')})", "{{tool}}")]),
            ("Denials by reason", "ops", "timeseries", [(f"topk(10, {rate('denials', 'of')})", "{{of}}")]),
            ("In shadow: what it would be", "ops", "timeseries", [(rate("calls_decided", "verdict, would", ',would!=""'), "{{verdict}}, would be {{would}}"), (rate("calls_decided", "verdict", ',enforced="false"'), "only observed: {{verdict}}")]),
            ("Ours, told, server's own", "ops", "timeseries", [(rate("decisions_by", "of"), "{{of}}")]),
            ("Most denied agents today", "short", "table", [(f"{of('most_denied')}{T}", "")]),
            ("Policy coverage", "percentunit", "timeseries", [(f"{of('policy_coverage_ratio')}{T}", "{{tenant}} {{day}}")]),
            ("Executions by the verdict of their decision", "ops", "timeseries", [(rate("executions", "of"), "{{of}}")]),
            ("Evidence completeness", "percentunit", "timeseries", [(f"{of('evidence_completeness_ratio')}{T}", "{{tenant}} {{of}}"), (f"{of('elevated_with_approval_ratio')}{T}", "{{tenant}} elevated with approval")]),
        ]),
        ("Money", [
            ("Budgets: used of the cap", "percentunit", "timeseries", [(f"{of('budget_used')}{T} / {of('budget_cap')}{T}", "{{budget}} {{key}}")]),
            ("Budgets: reserved of the cap", "percentunit", "timeseries", [(f"{of('budget_reserved')}{T} / {of('budget_cap')}{T}", "{{budget}} {{key}}")]),
            ("Cost of allowed calls, an hour", "short", "timeseries", [(f"sum by (tool, currency) (increase({of('allowed_cost_millionths')}{T}[1h])) / 1e6", "{{tool}} {{currency}}")]),
        ]),
        ("Approvals", [
            ("Approvals that wait", "short", "timeseries", [(f"{of('approvals_pending')}{T}", "{{tenant}}")]),
            ("Wait for people", "s", "timeseries", [(p(0.5, "approval_wait_seconds", "le", T), "p50"), (p(0.9, "approval_wait_seconds", "le", T), "p90")]),
            ("How waiting ended, an hour", "short", "timeseries", [(f"sum by (end) (increase({of('approval_wait_seconds').replace('_bucket', '_count')}{T}[1h]))", "{{end}}")]),
            ("Events of approvals", "ops", "timeseries", [(rate("approval_events", "of"), "{{of}}")]),
        ]),
        ("Writing", [
            ("Decision", "s", "timeseries", three("recording_seconds")),
            ("Time to proof", "s", "timeseries", three("proof_seconds")),
            ("Commit", "s", "timeseries", three("commit_seconds")),
            ("fsync of the database, and of the guard", "s", "timeseries", [*three("fsync_seconds"), (p(0.99, "guard_fsync_seconds"), "guard p99")]),
            ("Wait in the queue", "s", "timeseries", three("queue_wait_seconds")),
            ("Receipt", "s", "timeseries", three("receipt_seconds")),
            ("Entries, a second", "ops", "timeseries", [(rate("entries_by_kind", "of"), "{{of}}")]),
            ("Journal lag, and room in the queue", "short", "timeseries", [(f"{of('journal_lag')}{T}", "{{tenant}} waits"), (f"{of('queue_room')}{T}", "{{tenant}} room")]),
        ]),
        ("Sinks and sources", [
            ("Lag of sinks", "short", "timeseries", [(f"{of('sink_lag_entries')}{T}", "{{sink}}")]),
            ("Lag of sinks, time", "s", "timeseries", [(f"{of('sink_lag_seconds')}{T}", "{{sink}}")]),
            ("Sent and refused", "ops", "timeseries", [(rate("sink_sent", "sink"), "{{sink}} sent"), (rate("sink_refused", "sink"), "{{sink}} refused"), (rate("sink_failures", "sink"), "{{sink}} failed attempts")]),
            ("Decisions with a span, of all, an hour", "percentunit", "timeseries", [("tenant:countersign_decisions_with_span:ratio_1h" + T, "{{tenant}}")]),
            ("Certificates end in", "s", "timeseries", [(f"({of('tls_end_timestamp_seconds')} > 0) - time()", "server"), (f"({of('sink_authorities_end_timestamp_seconds')}{T} > 0) - time()", "{{sink}}")]),
            ("Entries that replicas have not cosigned, and by how many the slowest is behind", "short", "timeseries", [
                (f"{of('replica_lag_entries')}{T}", "{{tenant}} not shown"), (f"{of('replica_behind_entries')}{T}", "{{tenant}} behind"),
            ]),
            ("Entries that witnesses have not cosigned", "short", "timeseries", [(f"{of('witness_lag_entries')}{T}", "{{tenant}} {{witness}}")]),
            ("Sources", "short", "timeseries", [(f"{of('sources')}{T}", "{{tenant}} {{state}}")]),
        ]),
        ("Server", [
            ("Requests by class of status", "reqps", "timeseries", [(f"sum by (status) (rate({of('request_seconds').replace('_bucket', '_count')}[$__rate_interval]))", "{{status}}")]),
            ("Request time by route, p99", "s", "timeseries", [(f"topk(8, {p(0.99, 'request_seconds', 'le, route')})", "{{route}}")]),
            ("Connections and open files", "short", "timeseries", [(of("connections"), "connections"), (of("process_open_fds"), "open files")]),
            ("Memory", "bytes", "timeseries", [(of("process_resident_memory_bytes"), "resident")]),
            ("Processor", "short", "timeseries", [(f"rate({of('process_cpu_seconds')}[$__rate_interval])", "cores")]),
            ("Free disk", "bytes", "timeseries", [(of("disk_free_bytes"), "{{place}}"), (of("disk_bytes"), "the database's files")]),
            ("Age of the newest backup", "s", "stat", [(f"time() - ({of('backup_timestamp_seconds')} > 0)", "")]),
            ("Age of the scrub", "s", "timeseries", [(f"{of('scrub_age_seconds')}{T}", "{{tenant}}")]),
        ]),
    ]  # fmt: skip


def dashboard(of: Series) -> dict[str, Any]:
    """Grafana's JSON."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    panels: list[dict[str, Any]] = []
    y = 0
    for title, of_row in rows(of):
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        x, y, high = 0, y + 1, 0
        for name, unit, kind, expressions in of_row:
            wide, tall = (4, 4) if kind == "stat" else (12, 6) if kind == "table" else (8, 8)
            if x + wide > 24:
                x, y, high = 0, y + high, 0
            targets = [
                {
                    "refId": chr(ord("A") + n), "datasource": source, "expr": expr, "legendFormat": legend or "__auto",
                    "instant": kind != "timeseries", "range": kind == "timeseries", "exemplar": "_bucket" in expr, "format": "table" if kind == "table" else "time_series",
                }
                for n, (expr, legend) in enumerate(expressions)
            ]  # fmt: skip
            panels.append({
                "id": len(panels) + 1, "type": kind, "title": name, "datasource": source, "targets": targets,
                "gridPos": {"x": x, "y": y, "w": wide, "h": tall}, "fieldConfig": {"defaults": {"unit": unit}, "overrides": []}, "options": {},
            })  # fmt: skip
            x, high = x + wide, max(high, tall)
        y += high
    tenants = f"label_values({of('ready')}, tenant)"
    return {
        "title": "Countersign", "uid": "countersign", "schemaVersion": 39, "version": 1, "tags": ["countersign"], "editable": True,
        "time": {"from": "now-6h", "to": "now"}, "refresh": "30s", "timezone": "browser", "annotations": {"list": []}, "links": [],
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
            {
                "name": "tenant", "label": "Tenant", "type": "query", "datasource": source, "query": {"query": tenants, "refId": "tenants"}, "definition": tenants,
                "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2, "sort": 1,
            },
        ]},
        "panels": panels,
    }  # fmt: skip
