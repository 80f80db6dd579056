//! The one list of metrics: what `/metrics` shows is registered from it, and `countersign metrics` prints it. The page, the
//! dashboard and the rules are made from what that prints.

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
};
use serde_json::{Value, json};
use std::fmt;

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    fn encoded(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}

/// A metric.
#[derive(Debug)]
pub struct Listed {
    /// Without the prefix `countersign_`, and without what its type adds.
    pub name: &'static str,
    /// In words, without a full stop.
    pub help: &'static str,
    kind: Kind,
    /// Its labels, in their order; `le` of histograms not among them.
    labels: &'static [&'static str],
}

type Labels = &'static [&'static str];

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Listed {
    Listed { name, help, kind: Kind::Counter, labels }
}

const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Listed {
    Listed { name, help, kind: Kind::Gauge, labels }
}

const fn histogram(name: &'static str, labels: Labels, help: &'static str) -> Listed {
    Listed { name, help, kind: Kind::Histogram, labels }
}

const TENANT: Labels = &["tenant"];
const OF: Labels = &["tenant", "of"];
const DAY: Labels = &["tenant", "day"];
const REASON: Labels = &["tenant", "reason"];
const SINK: Labels = &["tenant", "sink"];
const WITNESS: Labels = &["tenant", "witness"];
const BUDGET: Labels = &["tenant", "budget", "key", "unit", "currency"];

/// Every metric, in the order of the page.
static LIST: &[Listed] = &[
    Listed { name: "build", help: "This version", kind: Kind::Info, labels: &["version"] },
    gauge("ready", TENANT, "1 if a tenant's requests are served here"),
    gauge("halted", TENANT, "1 if the log is halted: a person must act"),
    gauge(
        "trouble",
        &["tenant", "code"],
        "1 while something is not as it must be with a tenant, by code (proto/errors.md)",
    ),
    gauge("guard_in_place", &[], "1 if the guard's path still names the file that is advanced"),
    counter(
        "unsigned_messages",
        TENANT,
        "Messages outside decisions. without our signature since the start: somebody else writes to the journal",
    ),
    gauge("entries", TENANT, "Published entries"),
    gauge("journal_posted", TENANT, "Last journal sequence that is posted"),
    gauge("journal_lag", TENANT, "Messages of the journal that wait to be posted"),
    gauge("queue_room", TENANT, "Messages that may still be queued"),
    histogram("queue_wait_seconds", &[], "Seconds that work waits for its commit"),
    histogram(
        "commit_seconds",
        &[],
        "Seconds of a commit: posting, signing, both fsyncs, publishing",
    ),
    histogram("fsync_seconds", &[], "Seconds of the database's write and fsync"),
    histogram("guard_fsync_seconds", &[], "Seconds of the guard's write and fdatasync"),
    histogram(
        "proof_seconds",
        &[],
        "Seconds from the handing over of work until a signed checkpoint that covers it is published",
    ),
    histogram(
        "recording_seconds",
        &["tenant", "by"],
        "Seconds from a request's head until its decision is recorded, signed and answered: questions that were decided here \
         (ours), and events that producers posted (told). One for each",
    ),
    histogram("receipt_seconds", &[], "Seconds to make one receipt, with its check"),
    counter("receipts_dropped", TENANT, "Receipts by message that were not sent since the start"),
    counter(
        "receipts_refused",
        &[],
        "Receipts asked for at a subject that is not the sender's, since the start",
    ),
    histogram(
        "request_seconds",
        &["route", "status"],
        "Seconds from a request's head to its answer's, by route and class of status; waiting (`wait`) included",
    ),
    gauge("connections", &[], "Open HTTP connections"),
    counter("events", &["status"], "Events answered over HTTP since the start, by status"),
    counter("decisions", OF, "Decisions in the log, by verdict"),
    counter(
        "decisions_by",
        OF,
        "Decisions in the log: ours, told, or the server's questions to people",
    ),
    counter(
        "decisions_policy",
        OF,
        "Decisions about agents' calls, with a policy that applied or without",
    ),
    counter(
        "calls_decided",
        &["tenant", "tool", "verdict", "enforced", "would", "reason"],
        "Decisions in the log, by all of these: enforced is false in mode shadow; would is the verdict with every clause in \
         force, where it differs in kind; beyond 500 sets of labels all are (other)",
    ),
    counter("denials", OF, "Denials in the log, by reason code"),
    gauge(
        "most_denied",
        &["tenant", "agent"],
        "Denials of the present UTC day of the 20 agents that have most, among the first 100 that were denied that day",
    ),
    gauge("blocked", &["tenant", "day", "reason"], "Denials of a UTC day, by reason code"),
    counter("executions", OF, "Reported executions, by the verdict of the decision that they name"),
    counter("entries_by_kind", OF, "Entries of the log, by kind"),
    gauge(
        "policy_coverage_ratio",
        DAY,
        "Of the decisions about agents' calls of a UTC day: those on which a policy applied",
    ),
    gauge(
        "decision_latency_seconds",
        &["tenant", "day", "share"],
        "Seconds from the judgement to the journal, for decisions of ours: the upper bound of the class in which this share lies",
    ),
    gauge(
        "availability_ratio",
        DAY,
        "Of the minutes of a UTC day that are over: those with a probe of each decider in the log",
    ),
    gauge(
        "evidence_completeness_ratio",
        OF,
        "Of entries: entries of declared sources, of these and the numbers known to be missing. Of executions: those with a \
         decision",
    ),
    gauge(
        "elevated_with_approval_ratio",
        TENANT,
        "Of calls executed after approval_needed: those released by an approval",
    ),
    gauge(
        "policy_in_force",
        &["tenant", "version", "digest"],
        "1: the version of the policies that is in force, and the digest of its bundle. None: every question is denied",
    ),
    gauge("freezes", &["tenant", "scope"], "Freezes in force, by what they stop"),
    gauge("alerts_open", TENANT, "Alerts that nobody has closed"),
    gauge("alerts_raised", TENANT, "Alerts that the log has, open or closed"),
    gauge(
        "verdicts_told_early",
        REASON,
        "Verdicts that gateways got before they were recorded, since the start: later, unavailable; of these void; waiting now",
    ),
    counter(
        "allowed_cost_millionths",
        &["tenant", "tool", "agent", "currency"],
        "What allowed calls cost at most since the start, in millionths of the currency; beyond 100 label sets: other",
    ),
    gauge(
        "budget_cap",
        BUDGET,
        "Cap of a budget in its window of now, in its unit; the 100 that are used most",
    ),
    gauge(
        "budget_used",
        BUDGET,
        "What counts against that cap: spent, reserved, or reported above it",
    ),
    gauge(
        "budget_reserved",
        BUDGET,
        "The part of what is booked whose outcome may still make it smaller",
    ),
    gauge("approvals_pending", TENANT, "Approvals that wait for people"),
    gauge(
        "approvals_ready",
        TENANT,
        "1 if approvals are decided: the rules applied are those of the files, the clock is right",
    ),
    counter("approval_events", OF, "Events of approvals in the log, by type"),
    histogram(
        "approval_wait_seconds",
        &["tenant", "end"],
        "Seconds from the opening of an approval until people granted or denied it, or it ended without them; those that this \
         server saw waiting",
    ),
    counter(
        "approvals_not_opened",
        REASON,
        "Decisions that needed approval and opened none since the start, by reason",
    ),
    counter(
        "approvals_shown_lost",
        TENANT,
        "Times since the start that an approval was shown to a person and the log does not say so",
    ),
    gauge("cards_due", TENANT, "Approvals whose cards in chats are due"),
    gauge(
        "sources",
        &["tenant", "state"],
        "Sources: declared, seen (declared, and reported at least once), silent (declared), undeclared (found among the \
         first 10,000)",
    ),
    counter(
        "alert_messages",
        &["tenant", "channel", "result"],
        "Messages about alerts to a channel since the start: accepted, refused, or failed, when the chat gave no answer or takes \
         nothing now",
    ),
    gauge(
        "alert_channel_refuses",
        &["tenant", "channel"],
        "1 while a channel that watch.toml names takes no alerts: a person must act",
    ),
    gauge("sink_lag_entries", SINK, "Published entries that a sink has not read yet"),
    gauge(
        "sink_lag_seconds",
        SINK,
        "Seconds since the first entry came that a sink has not read yet",
    ),
    counter("sink_sent", SINK, "Records that a sink's receiver took since the start"),
    counter("sink_refused", SINK, "Records that a sink's receiver refused since the start"),
    counter("sink_bytes", SINK, "Bytes of batches that a sink's receiver took since the start"),
    counter("sink_failures", SINK, "Attempts of a sink since the start that delivered nothing"),
    gauge("sink_letters", SINK, "Refused records of a sink that wait to be sent again"),
    gauge("sink_stands_still", SINK, "1 while nothing of a sink arrives: a person must act"),
    counter(
        "sink_decision_spans",
        SINK,
        "Decisions that a sink's receiver took as spans since the start; probes are none",
    ),
    gauge(
        "sink_authorities_end_timestamp_seconds",
        SINK,
        "When the last of the certificate authorities that a sink trusts by its file ends, in seconds since 1970; 0: no file",
    ),
    gauge(
        "tls_end_timestamp_seconds",
        &[],
        "When the first certificate of the chain that this server shows ends, in seconds since 1970; 0: no TLS",
    ),
    gauge("witness_size", WITNESS, "Entries in the newest checkpoint that a witness has cosigned"),
    gauge("witness_lag_entries", WITNESS, "Published entries that a witness has not cosigned yet"),
    counter(
        "witness_failures",
        WITNESS,
        "Requests to a witness since the start without a cosignature",
    ),
    gauge(
        "witness_conflict",
        WITNESS,
        "1 while a witness says that it knows another history of the log: a person must act",
    ),
    gauge("replicas", TENANT, "Replicas that sign the log together; 0: one server alone"),
    gauge("replicas_heard", TENANT, "Replicas that answered lately, this one among them"),
    gauge("replica_lag_entries", TENANT, "Entries posted here and not shown yet"),
    gauge("replica_behind_entries", TENANT, "Entries by which the slowest replica is behind"),
    counter("register_ignored", TENANT, "Values of the register ignored since the start"),
    gauge(
        "scrub_age_seconds",
        TENANT,
        "Time since everything that is stored was read again; without a whole pass, since the start",
    ),
    gauge("scrub_findings", TENANT, "What the scrub found damaged: a person must act"),
    gauge(
        "backup_timestamp_seconds",
        &[],
        "When the newest backup in backup_dir was written, in seconds since 1970; 0: none",
    ),
    gauge(
        "disk_free_bytes",
        &["place"],
        "Bytes that may still be written where the database, the guard and backups lie",
    ),
    gauge("disk_bytes", &[], "Bytes of the database's files"),
    gauge("process_start_time_seconds", &[], "Start, in seconds since 1970"),
    gauge("process_resident_memory_bytes", &[], "Resident memory"),
    gauge("process_virtual_memory_bytes", &[], "Address space"),
    gauge("process_threads", &[], "Threads"),
    gauge("process_open_fds", &[], "Open files"),
    gauge("process_max_fds", &[], "Open files that the system allows"),
    counter("process_cpu_seconds", &[], "Seconds of processor time, user and system"),
];

impl Listed {
    /// What is expected of a registered metric.
    pub fn is_of(&self, kind: MetricType) -> bool {
        std::mem::discriminant(&self.kind.encoded()) == std::mem::discriminant(&kind)
    }

    fn full_name(&self) -> String {
        let prefix = if self.name.starts_with("process_") { "" } else { "countersign_" };
        format!("{prefix}{}", self.name)
    }

    fn unit(&self) -> &'static str {
        let units = ["seconds", "bytes", "ratio", "millionths"];
        units.into_iter().find(|unit| self.name.ends_with(unit)).unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        let name = self.full_name();
        let series = match self.kind {
            Kind::Counter => format!("{name}_total"),
            Kind::Info => format!("{name}_info"),
            Kind::Histogram => format!("{name}_bucket"),
            Kind::Gauge => name.clone(),
        };
        json!({"name": name, "type": self.kind.as_str(), "series": series, "unit": self.unit(), "labels": self.labels,
            "help": self.help})
    }
}

/// The metric of this name. The server does not start with one that is not listed.
pub fn of(name: &str) -> &'static Listed {
    LIST.iter().find(|listed| listed.name == name).expect("every metric is in the list")
}

/// Begins the text of a metric.
pub fn begin<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    let listed = of(name);
    encoder.encode_descriptor(listed.name, listed.help, None, listed.kind.encoded())
}

/// The list as JSON, as `proto/metrics.json` has it.
pub fn document() -> String {
    let metrics: Vec<Value> = LIST.iter().map(Listed::to_json).collect();
    let text = serde_json::to_string_pretty(&json!({"metrics": metrics}));
    text.expect("names and texts are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        for (at, listed) in LIST.iter().enumerate() {
            let name = listed.name;
            assert!(
                !name.ends_with("_total") && !name.ends_with("_info"),
                "{name}: the type adds it"
            );
            assert!(!listed.help.is_empty() && !listed.help.ends_with('.'), "{name}");
            assert!(LIST[..at].iter().all(|other| other.name != name), "{name} is there twice");
            assert!(std::ptr::eq(of(name), listed));
        }
        assert!(document().contains(r#""series": "countersign_decisions_total""#));
    }
}
