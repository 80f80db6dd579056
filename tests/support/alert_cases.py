"""For each alert of `proto/dashboards/rules.yml`: series with which it fires, and series with which it must stay quiet, for promtool's unit tests.

A case is (series, minutes): each series with its values in promtool's notation, one every `step` minutes, and when the alert is looked at."""

from __future__ import annotations

Case = tuple[dict[str, str], int]

A = 'tenant="acme"'


def trouble(code: str, values: str = "1x30") -> dict[str, str]:
    """The metric of one code."""
    return {f'countersign_trouble{{{A},code="{code}"}}': values}


def step(alert: str) -> int:
    """Minutes between two values. Days of them by the minute take promtool minutes."""
    steps = {"CountersignBackupOld": 30, "6h": 5, "1d": 15, "3d": 30}
    return next((minutes for end, minutes in steps.items() if alert.endswith(end)), 1)


def late(share_within: float) -> dict[str, str]:
    """100 decisions a step, this share of them within 20 ms."""
    name = f'countersign_recording_seconds_bucket{{{A},by="ours",le='
    return {f'{name}"0.02"}}': f"0+{100 * share_within:g}x1200", f'{name}"+Inf"}}': "0+100x1200"}


def failing(share: float) -> dict[str, str]:
    """1,000 questions a step, this share of them answered with 5xx."""
    name = 'countersign_request_seconds_count{route="/v1/tenants/{tenant}/decisions",status='
    return {f'{name}"2xx"}}': f"0+{1000 - 1000 * share:g}x1200", f'{name}"5xx"}}': f"0+{1000 * share:g}x1200"}


def slow(name: str, le: str, share: float) -> dict[str, str]:
    """A histogram, this share of which is at most `le` seconds."""
    bucket = f"countersign_{name}_bucket"
    return {f'{bucket}{{le="{le}"}}': f"0+{100 * share:g}x60", f'{bucket}{{le="13.1072"}}': "0+100x60", f'{bucket}{{le="+Inf"}}': "0+100x60"}


def gauge(name: str, value: str, labels: str = A) -> dict[str, str]:
    """One series."""
    return {f"countersign_{name}{{{labels}}}": value}


BUDGET = f'{A},budget="p/day",key="bot",unit="calls",currency=""'
SINK = f'{A},sink="siem"'

#: Alert → when it fires, when it stays quiet.
CASES: dict[str, tuple[Case, Case]] = {
    "CountersignDown": (({'up{job="countersign",instance="a"}': "0x10"}, 5), ({'up{job="countersign",instance="a"}': "1 0 1x10", 'up{job="other",instance="b"}': "0x10"}, 5)),
    "CountersignHalted": ((gauge("halted", "1x5"), 1), (gauge("halted", "0x5"), 1)),
    "CountersignGuard": ((gauge("guard_in_place", "0x5", 'instance="a"'), 1), (gauge("guard_in_place", "1x5", 'instance="a"'), 1)),
    "CountersignDamaged": ((gauge("scrub_findings", "2x5"), 1), (gauge("scrub_findings", "0x5") | trouble("damaged", "0x5"), 1)),
    "CountersignForeignMessages": ((trouble("unsigned_messages"), 1), (trouble("unsigned_messages", "0x5"), 1)),
    "CountersignKeyMissing": ((trouble("key_missing"), 3), (trouble("key_missing", "0x5"), 3)),
    "CountersignJournal": ((trouble("journal_refuses"), 3), (trouble("journal_unavailable", "1 0x5"), 3)),
    "CountersignPosting": ((trouble("posting_behind"), 3), (trouble("posting_stuck", "0x5"), 3)),
    "CountersignClock": ((trouble("clock"), 3), (trouble("clock", "1 0x5"), 3)),
    "CountersignNotDecided": ((trouble("policy_unreadable"), 5), (trouble("rules_not_in_force", "1 0 1 0 1 0"), 5)),
    "CountersignQueueFull": ((gauge("queue_room", "20x5"), 3), (gauge("queue_room", "8000x5"), 3)),
    "CountersignDiskFull": ((gauge("disk_free_bytes", "400e9-3e9x90", 'place="data"'), 80), (gauge("disk_free_bytes", "400e9-1e6x90", 'place="data"'), 80)),
    "CountersignWitnessConflict": ((trouble("witness_conflict"), 1), (trouble("witness_conflict", "0x5"), 1)),
    "CountersignWitnessAway": ((trouble("witness_away"), 1), (trouble("witness_away", "0x5"), 1)),
    "CountersignNoQuorum": ((trouble("no_quorum"), 3), (trouble("no_quorum", "1 0x5"), 3)),
    "CountersignJournalHole": ((trouble("journal_hole"), 3), (trouble("journal_hole", "1 0x5"), 3)),
    "CountersignJournalMessagesLost": (
        (gauge("entries_by_kind_total", "_x5 1x20", f'{A},kind="journal_gap"'), 20),
        (gauge("entries_by_kind_total", "1x90", f'{A},kind="journal_gap"') | gauge("entries_by_kind_total", "1+1x90", f'{A},kind="event"'), 80),
    ),
    "CountersignReplicasDiffer": ((trouble("register_ignored"), 1), (trouble("replicas_differ", "0x5"), 1)),
    "CountersignReplicaAway": ((trouble("replica_away"), 3), (trouble("replica_away", "1 0x5"), 3)),
    "CountersignSinkStandsStill": ((gauge("sink_stands_still", "1x5", SINK), 1), (gauge("sink_stands_still", "0x5", SINK), 1)),
    "CountersignSinkRefused": ((gauge("sink_refused_total", "0x5 3x20", SINK), 20), (gauge("sink_refused_total", "3x30", SINK), 20)),
    "CountersignChannelRefuses": ((gauge("alert_channel_refuses", "1x5", f'{A},channel="security"'), 1), (gauge("alert_channel_refuses", "0x5", f'{A},channel="security"') | trouble("channel_refuses"), 1)),
    "CountersignCertificateEnds": (
        (gauge("tls_end_timestamp_seconds", "1e6x110", 'instance="a"'), 80),
        (gauge("tls_end_timestamp_seconds", "0x110", 'instance="a"') | gauge("sink_authorities_end_timestamp_seconds", "9e6x110", SINK), 80),
    ),
    "CountersignSourceSilent": ((trouble("source_silent"), 1), (trouble("source_silent", "0x5"), 1)),
    "CountersignToldUnrecorded": ((trouble("told_unrecorded"), 8), (trouble("spool", "1 0 1 0 1 0 1 0 1"), 8)),
    "CountersignTrouble": ((trouble("a_code_of_tomorrow"), 8), (trouble("unreviewed_policies") | trouble("starting") | trouble("log_halted"), 8)),
    "CountersignProofSlow": ((slow("proof_seconds", "0.1", 0.5), 40), (slow("proof_seconds", "0.1", 1), 40)),
    "CountersignFsyncSlow": ((slow("fsync_seconds", "0.01", 0.5), 40), (slow("fsync_seconds", "0.01", 1), 40)),
    "CountersignApprovalsWait": ((gauge("approvals_pending", "60x60"), 40), (gauge("approvals_pending", "60x20 3x40"), 40)),
    "CountersignCardsDue": ((gauge("cards_due", "2x30"), 20), (gauge("cards_due", "2x5 0x30"), 20)),
    "CountersignNotOpened": ((gauge("approvals_not_opened_total", "0x3 1x20", f'{A},reason="no_call"'), 6), (gauge("approvals_not_opened_total", "1x20", f'{A},reason="no_call"'), 6)),
    "CountersignBackupOld": ((gauge("backup_timestamp_seconds", "60x110", 'instance="a"'), 3000), (gauge("backup_timestamp_seconds", "0x110", 'instance="a"') | gauge("backup_timestamp_seconds", "100000x110", 'instance="b"'), 3000)),
    "CountersignNotElevated": ((gauge("executions_total", "0x3 1x20", f'{A},of="approval_needed"'), 10), (gauge("executions_total", "0+1x20", f'{A},of="allow"'), 10)),
    "CountersignIncomplete": ((gauge("evidence_completeness_ratio", "0.99x30", f'{A},of="entries"'), 20), (gauge("evidence_completeness_ratio", "1x30", f'{A},of="entries"') | gauge("evidence_completeness_ratio", "0.5x30", f'{A},of="executions"'), 20)),
    "CountersignUnavailableYesterday": ((gauge("availability_ratio", "0.9x5", f'{A},day="yesterday"'), 1), (gauge("availability_ratio", "0.9x5", f'{A},day="today"'), 1)),
    "CountersignCoverageLow": ((gauge("policy_coverage_ratio", "0.5x5", f'{A},day="yesterday"'), 1), (gauge("policy_coverage_ratio", "0.9x5", f'{A},day="yesterday"'), 1)),
    "CountersignBudgetNearlyUsed": ((gauge("budget_used", "95x5", BUDGET) | gauge("budget_cap", "100x5", BUDGET), 1), (gauge("budget_used", "50x5", BUDGET) | gauge("budget_cap", "100x5", BUDGET), 1)),
    "CountersignRecordingBurns1h": ((late(0.84), 90), (late(0.9), 90)),
    "CountersignRecordingBurns6h": ((late(0.93), 450), (late(0.95), 450)),
    "CountersignRecordingBurns1d": ((late(0.965), 1620), (late(0.98), 1620)),
    "CountersignRecordingBurns3d": ((late(0.985), 4710), (late(0.995), 4710)),
    "CountersignServingBurns1h": ((failing(0.02), 90), (failing(0.01), 90)),
    "CountersignServingBurns6h": ((failing(0.008), 450), (failing(0.005), 450)),
    "CountersignServingBurns1d": ((failing(0.004), 1620), (failing(0.002), 1620)),
    "CountersignServingBurns3d": ((failing(0.002), 4710), (failing(0.0005), 4710)),
}  # fmt: skip
