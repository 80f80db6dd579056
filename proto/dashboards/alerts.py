"""What is alerted on, and the objectives of the service. `make.py` makes `rules.yml` and the tables of the page from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Gives the series of a metric of the list; fails for any other name.
Series = Callable[[str], str]


@dataclass(frozen=True)
class Alert:
    """One alert. `means` and `do` are Markdown, with links as the page has them; `{{ $labels.x }}` stays in the rule alone."""

    name: str
    expr: str
    wait: str
    severity: str
    means: str
    do: str


@dataclass(frozen=True)
class Objective:
    """A share of good events that is promised over 30 days, as the share of bad ones: recorded for each window, and alerted on by the rate at
    which it uses up what may be bad."""

    name: str
    target: float
    words: str
    bad: str
    alert: str
    means: str
    do: str

    def record(self, window: str) -> str:
        """Name of the recorded share of bad events."""
        return f"tenant:countersign_{self.name}:ratio_rate{window}" if "by (tenant)" in self.bad else f"countersign_{self.name}:ratio_rate{window}"


#: Windows of the recorded shares.
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
#: How fast what may be bad is used up; a long window, and a short one which ends the alert soon after the trouble; how long; severity.
BURNS = [(14.4, "1h", "5m", "2m", "page"), (6, "6h", "30m", "15m", "page"), (3, "1d", "2h", "1h", "ticket"), (1, "3d", "6h", "3h", "ticket")]


def objectives(of: Series) -> list[Objective]:
    """The objectives."""
    recording, requests = of("recording_seconds"), of("request_seconds")
    routes = 'route=~".+/(decisions|events)"'
    return [
        Objective(
            "recorded_late", 0.99,
            "99 % of decisions are recorded, signed and answered within 20 ms, from the head of the request to that of the answer",
            f'1 - sum by (tenant) (rate({recording}{{le="0.02"}}[WINDOW])) / sum by (tenant) (rate({recording}{{le="+Inf"}}[WINDOW]))',
            "CountersignRecordingBurns",
            "more decisions take over 20 ms than may: the 1 % of 30 days is used up too fast",
            "compare `fsync_seconds`, `queue_wait_seconds` and `commit_seconds`: the disk, the broker, or more load than [capacity](capacity.md) says",
        ),
        Objective(
            "not_served", 0.999,
            "99.9 % of questions and of requests with events get an answer other than 5xx",
            f'(sum(rate({requests.replace("_bucket", "_count")}{{{routes},status="5xx"}}[WINDOW])) or vector(0)) '
            f'/ sum(rate({requests.replace("_bucket", "_count")}{{{routes}}}[WINDOW]))',
            "CountersignServingBurns",
            "more requests get 5xx than may: the 0.1 % of 30 days is used up too fast",
            "read the codes in `/healthz` ([health](runbook.md#health)), and the server's log by `X-Request-Id`",
        ),
    ]  # fmt: skip


def quantiles(of: Series) -> list[tuple[str, str, str]]:
    """Recorded quantiles and shares: name, expression, what it says."""
    histogram = lambda share, name, by: f"histogram_quantile({share}, sum by ({by}) (rate({of(name)}[5m])))"  # noqa: E731
    return [
        ("tenant:countersign_recording_seconds:p99_5m", histogram(0.99, "recording_seconds", "le, tenant"), "decisions, p99"),
        ("countersign_receipt_seconds:p99_5m", histogram(0.99, "receipt_seconds", "le"), "receipts, p99"),
        ("countersign_proof_seconds:p99_5m", histogram(0.99, "proof_seconds", "le"), "time to proof, p99"),
        ("countersign_fsync_seconds:p99_5m", histogram(0.99, "fsync_seconds", "le"), "fsync of the database, p99"),
        (
            "tenant:countersign_approval_wait_seconds:p90_1d",
            f'histogram_quantile(0.9, sum by (le, tenant) (rate({of("approval_wait_seconds")}[1d])))', "wait for people, p90",
        ),
        (
            "tenant:countersign_decisions_with_span:ratio_1h",
            f'max by (tenant) (increase({of("sink_decision_spans")}[1h])) / sum by (tenant) (increase({of("decisions")}[1h]))', "decisions with a span, of all",
        ),
    ]  # fmt: skip


#: Codes of trouble that have an alert of their own, or are none: a start and a catch-up end by themselves, and a rule without review is meant so.
APART = {
    "CountersignJournal": ["journal_unavailable", "journal_refuses"],
    "CountersignPosting": ["posting_stuck", "posting_behind"],
    "CountersignClock": ["clock"],
    "CountersignNotDecided": ["rules_not_in_force", "policy_unreadable"],
    "CountersignKeyMissing": ["key_missing"],
    "CountersignDamaged": ["damaged"],
    "CountersignForeignMessages": ["unsigned_messages"],
    "CountersignSourceSilent": ["source_silent"],
    "CountersignToldUnrecorded": ["spool", "told_unrecorded", "told_void"],
    "CountersignHalted": ["log_halted"],
    "CountersignSinkStandsStill": ["sink_stands_still"],
    "CountersignChannelRefuses": ["channel_refuses"],
    "CountersignWitnessConflict": ["witness_conflict"],
    "CountersignWitnessAway": ["witness_away"],
    "CountersignNoQuorum": ["no_quorum"],
    "CountersignReplicasDiffer": ["replicas_differ", "register_ignored", "members_differ"],
    "CountersignReplicaAway": ["replica_away"],
    "CountersignJournalHole": ["journal_hole"],
    "": ["not_a_member", "starting", "catching_up", "unreviewed_policies"],
}


def alerts(of: Series) -> list[Alert]:
    """Every alert, the urgent ones first."""

    def codes(name: str) -> str:
        return f'{of("trouble")}{{code=~"{"|".join(APART[name])}"}} == 1'

    every = "|".join(code for codes in APART.values() for code in codes)
    lost = f'{of("entries_by_kind")}{{kind="journal_gap"}}'
    up = "sum by (instance) (up{job=~\"countersign.*\"}) == 0"
    return [
        Alert("CountersignDown", up, "2m", "page", "Prometheus gets no metrics of a server", "[runbook](runbook.md#by-symptom): it does not start, or ended; or the metrics key is another one"),
        Alert("CountersignHalted", f'{of("halted")} == 1', "0s", "page", "the integrity of a tenant's log is in doubt: nothing of it is posted, signed or decided", "[halts](runbook.md#halts)"),
        Alert("CountersignGuard", f'{of("guard_in_place")} == 0', "0s", "page", "the guard file was removed or replaced: all logs halt at their next commit", "`guard` in `/healthz` says how to put it back, then restart ([health](runbook.md#health))"),
        Alert("CountersignDamaged", f'{codes("CountersignDamaged")} or {of("scrub_findings")} > 0', "0s", "page", "stored data is not what was signed", "stop, `countersign fsck`, restore a backup ([codes](runbook.md#codes))"),
        Alert("CountersignForeignMessages", codes("CountersignForeignMessages"), "0s", "page", "somebody else writes to the journal", "find out who has that right at the broker ([codes](runbook.md#codes))"),
        Alert("CountersignKeyMissing", codes("CountersignKeyMissing"), "1m", "page", "the file of a key that is in force is gone: nothing is decided", "put it back, restart ([codes](runbook.md#codes))"),
        Alert("CountersignJournal", codes("CountersignJournal"), "1m", "page", "a journal does not answer, or takes no messages: producers and gateways get 503", "check the broker, its quorum and its disk ([codes](runbook.md#codes))"),
        Alert("CountersignPosting", codes("CountersignPosting"), "1m", "page", "messages wait and are not posted", "check this server's disk and log ([codes](runbook.md#codes))"),
        Alert("CountersignClock", codes("CountersignClock"), "1m", "page", "a clock is wrong: nothing is decided, no deadline is applied", "[clocks](runbook.md#clocks)"),
        Alert("CountersignNotDecided", codes("CountersignNotDecided"), "2m", "page", "the rules or the policies in force can't be used: people or gateways get no decision", "[codes](runbook.md#codes), [policies](runbook.md#policies)"),
        Alert("CountersignQueueFull", f'{of("queue_room")} < 100', "1m", "page", "the queue of a tenant is full: producers get 503 `busy`", "the disk is slow, or one producer sends too much ([by symptom](runbook.md#by-symptom))"),
        Alert("CountersignDiskFull", f'predict_linear({of("disk_free_bytes")}[1h], 6 * 3600) < 0 or {of("disk_free_bytes")} < 1e9', "10m", "page", "a disk is full in 6 hours, or has less than 1 GB. A full disk ends the process", "[space on disk](capacity.md#space-on-disk)"),
        Alert("CountersignWitnessConflict", codes("CountersignWitnessConflict"), "0s", "page", "a witness knows another history of the log: entries are lost, or somebody else signs with its key", "[witnesses](witnesses.md#a-second-history)"),
        Alert("CountersignNoQuorum", codes("CountersignNoQuorum"), "1m", "page", "no majority of the replicas cosigns: nothing new is shown, and producers and gateways get 503", "`countersign replica status` ([codes](runbook.md#codes))"),
        Alert("CountersignJournalHole", codes("CountersignJournalHole"), "1m", "page", "journal messages are gone, and too few replicas have signed that they lack them: this replica posts nothing past them", "start the replicas that do not answer ([lost messages](several-machines.md#journal-messages-are-lost))"),
        Alert("CountersignReplicasDiffer", codes("CountersignReplicasDiffer"), "0s", "page", "a replica has another tree, or somebody writes false values into the register", "delete nothing ([codes](runbook.md#codes))"),
        Alert("CountersignReplicaAway", codes("CountersignReplicaAway"), "1m", "page", "a replica does not answer: one more may not be lost", "start it ([codes](runbook.md#codes))"),
        Alert("CountersignJournalMessagesLost", f'{lost} - ({lost} offset 1h or 0 * {lost}) > 0', "0s", "ticket", "an entry says that journal messages are lost: nobody has what the broker had acknowledged", "find out who deleted them, or what the broker lost; publishers repeat what they hold no receipt for ([failures](failures.md#lost-messages))"),
        Alert("CountersignWitnessAway", codes("CountersignWitnessAway"), "0s", "ticket", "a witness has not cosigned for 10 minutes", "[codes](runbook.md#codes)"),
        Alert("CountersignSinkStandsStill", f'{of("sink_stands_still")} == 1', "0s", "ticket", "nothing of a sink arrives. Nothing is lost: it goes on from where it was", "`countersign sink status`, [codes](runbook.md#codes)"),
        Alert("CountersignSinkRefused", f'increase({of("sink_refused")}[1h]) > 0', "0s", "ticket", "a receiver refused records: they wait as letters", "`countersign sink letters` has its words ([guide](../guides/siem.md#send))"),
        Alert("CountersignChannelRefuses", f'{of("alert_channel_refuses")} == 1', "0s", "ticket", "a channel that watch.toml names refuses alerts, or does not answer. Nothing is lost: they are in the log, and come once it takes a message", "health has the chat's words ([codes](runbook.md#codes))"),
        Alert("CountersignCertificateEnds", f'({of("tls_end_timestamp_seconds")} > 0) - time() < 14 * 86400 or ({of("sink_authorities_end_timestamp_seconds")} > 0) - time() < 14 * 86400', "1h", "ticket", "in less than 14 days a certificate of this server's chain ends, or every certificate authority that a sink trusts by its file", "replace the file, then SIGHUP ([TLS](tls.md#renew-the-certificate))"),
        Alert("CountersignSourceSilent", codes("CountersignSourceSilent"), "0s", "ticket", "a source that must report is silent", "`countersign sources show` ([codes](runbook.md#codes))"),
        Alert("CountersignToldUnrecorded", codes("CountersignToldUnrecorded"), "5m", "ticket", "gateways got verdicts that are not in the log, or are void there", "[codes](runbook.md#codes)"),
        Alert("CountersignTrouble", f'{of("trouble")}{{code!~"{every}"}} == 1', "5m", "ticket", "something is not as it must be with a tenant; `code` says what", "[codes](runbook.md#codes)"),
        Alert("CountersignProofSlow", "countersign_proof_seconds:p99_5m > 1", "10m", "ticket", "from message to proof it takes more than a second (p99)", "compare `queue_wait_seconds` and `fsync_seconds`"),
        Alert("CountersignFsyncSlow", "countersign_fsync_seconds:p99_5m > 0.05", "15m", "ticket", "the disk takes more than 50 ms for an fsync (p99)", "another disk; it may be about to fail ([capacity](capacity.md))"),
        Alert("CountersignApprovalsWait", f'{of("approvals_pending")} > 50', "30m", "ticket", "more than 50 calls wait for people", "ask them; or more people in the rules ([guide](../guides/approvals.md))"),
        Alert("CountersignCardsDue", f'{of("cards_due")} > 0', "10m", "ticket", "a chat takes no cards: people are not asked there", "the log says why ([by symptom](runbook.md#by-symptom))"),
        Alert("CountersignNotOpened", f'increase({of("approvals_not_opened")}[15m]) > 0', "0s", "ticket", "a call that needs approval opened none: nobody is asked", "[reasons](../../proto/errors.md#opened-nothing)"),
        Alert("CountersignBackupOld", f'time() - {of("backup_timestamp_seconds")} > 2 * 86400 and {of("backup_timestamp_seconds")} > 0', "1h", "ticket", "the newest backup is older than 2 days", "[backup](backup.md)"),
        Alert("CountersignNotElevated", f'increase({of("executions")}{{of=~"approval_needed|deny|none"}}[1h]) > 0', "0s", "ticket", "a call was executed that was denied, or not approved, or not decided", "entries of kind `event` that name the decision: ask the gateway's owner ([counts.md](../../proto/formats/counts.md#metrics))"),
        Alert("CountersignIncomplete", f'{of("evidence_completeness_ratio")}{{of="entries"}} < 1', "15m", "ticket", "numbers of a declared source are missing", "`countersign sources show` ([guide](../guides/siem.md#sources-that-must-report))"),
        Alert("CountersignUnavailableYesterday", f'{of("availability_ratio")}{{day="yesterday"}} < 0.999', "0s", "ticket", "in more than 0.1 % of yesterday's minutes no probe of each decider came into the log", "the log says `no probe in this minute`, and why ([decision.md](../../proto/formats/decision.md#probe))"),
        Alert("CountersignCoverageLow", f'{of("policy_coverage_ratio")}{{day="yesterday"}} < 0.8', "0s", "info", "more than 20 % of yesterday's calls were decided without a policy", "write clauses for them ([guide](../guides/policies.md))"),
        Alert("CountersignBudgetNearlyUsed", f'{of("budget_used")} / {of("budget_cap")} > 0.9', "0s", "info", "more than 90 % of a budget is used", "`countersign budget list`; raise it, or ask the agent's owner"),
    ]  # fmt: skip
