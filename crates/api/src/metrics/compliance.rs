//! The figures of compliance, read from the counts that posting keeps: so a restart forgets nothing, and every server of a
//! tenant shows the same.

use crate::counts::{
    Share, availability, coverage, elevated_with_approval, executions_with_decision, latency,
};
use ledger::post::OfDay;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// The label of what came after the first 100 values of a day.
const OTHER: &str = "(other)";

/// What the log of one tenant says.
#[derive(Clone, Debug, Default)]
pub struct OfLog {
    /// The tenant.
    pub tenant: String,
    /// The counts over all days.
    pub all: OfDay,
    /// The counts of the present UTC day, and of the one before.
    pub days: [(&'static str, OfDay); 2],
    /// The whole minutes of these days that are over.
    pub minutes: [u64; 2],
    /// Entries of declared sources, of these and the numbers of theirs that are known to be missing.
    pub entries: Share,
}

/// The figures of the last request.
#[derive(Clone, Default)]
pub struct Compliance(Arc<Mutex<Vec<OfLog>>>);

impl Compliance {
    /// Replaces the figures.
    pub fn set(&self, logs: Vec<OfLog>) {
        *self.0.lock().expect("no holder of the lock panics") = logs;
    }
}

impl fmt::Debug for Compliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compliance")
    }
}

/// A counter: its metric, the name in the counts, and its help.
type Counter = (&'static str, &'static str, &'static str);

const fn named(metric: &'static str, name: &'static str, help: &'static str) -> Counter {
    (metric, name, help)
}

/// What is counted over all days.
const COUNTERS: [Counter; 7] = [
    named("decisions", "verdict", "Decisions in the log, by verdict"),
    named(
        "decisions_by",
        "by",
        "Decisions in the log: ours, told, or the server's questions to people",
    ),
    named(
        "decisions_policy",
        "policy",
        "Decisions about agents' calls, with a policy that applied or without",
    ),
    named("denials", "denied", "Denials in the log, by reason code"),
    named("approval_events", "approval", "Events of approvals in the log, by type"),
    named(
        "executions",
        "execution",
        "Reported executions, by the verdict of the decision that they name",
    ),
    named("entries_by_kind", "kind", "Entries of the log, by kind"),
];

impl Collector for Compliance {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let logs = self.0.lock().expect("no holder of the lock panics");
        for (metric, name, help) in COUNTERS {
            let mut family = encoder.encode_descriptor(metric, help, None, MetricType::Counter)?;
            for log in &*logs {
                for (value, count) in values(&log.all, name) {
                    let labels = [("tenant", &*log.tenant), ("of", value)];
                    let mut one = family.encode_family(&labels)?;
                    one.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        ratios(&logs, &mut encoder)?;
        by_day(&logs, &mut encoder)
    }
}

/// Every value of a name with its count, those that have none of their own last.
fn values<'c>(day: &'c OfDay, name: &str) -> Vec<(&'c str, u64)> {
    let Some(counts) = day.get(name) else { return Vec::new() };
    let mut all: Vec<_> = counts.values.iter().map(|(value, n)| (value.as_str(), *n)).collect();
    if counts.other > 0 {
        all.push((OTHER, counts.other));
    }
    all
}

/// Begins a gauge.
fn register<'e>(
    name: &'e str,
    help: &str,
    encoder: &'e mut DescriptorEncoder<'_>,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

/// The ratios over all days.
fn ratios(logs: &[OfLog], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "Of entries: entries of declared sources, of these and the numbers known to be missing. Of executions: \
                those with a decision";
    let mut family = register("evidence_completeness_ratio", help, encoder)?;
    for log in logs {
        let executions = executions_with_decision(&log.all);
        for (of, share) in [("entries", log.entries), ("executions", executions)] {
            if let Some(ratio) = share.ratio() {
                let labels = [("tenant", &*log.tenant), ("of", of)];
                family.encode_family(&labels)?.encode_gauge(&ratio)?;
            }
        }
    }
    let help = "Of calls executed after approval_needed: those released by an approval";
    let mut family = register("elevated_with_approval_ratio", help, encoder)?;
    for log in logs {
        if let Some(ratio) = elevated_with_approval(&log.all).ratio() {
            let labels = [("tenant", &*log.tenant)];
            family.encode_family(&labels)?.encode_gauge(&ratio)?;
        }
    }
    Ok(())
}

/// The gauges of the present UTC day and of the one before.
fn by_day(logs: &[OfLog], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let each = || logs.iter().flat_map(|log| log.days.iter().map(move |day| (&*log.tenant, day)));
    let help = "Of the decisions about agents' calls of a UTC day: those on which a policy applied";
    let mut family = register("policy_coverage_ratio", help, encoder)?;
    for (tenant, (day, counts)) in each() {
        if let Some(ratio) = coverage(counts).ratio() {
            let labels = [("tenant", tenant), ("day", *day)];
            family.encode_family(&labels)?.encode_gauge(&ratio)?;
        }
    }
    let help = "Seconds from the judgement to the journal, for decisions of ours: the upper bound of its class";
    let mut family = register("decision_latency_seconds", help, encoder)?;
    for (tenant, (day, counts)) in each() {
        for (quantile, share) in [("0.5", 0.5), ("0.99", 0.99)] {
            if let Some(seconds) = latency(counts, share) {
                let labels = [("tenant", tenant), ("day", *day), ("quantile", quantile)];
                family.encode_family(&labels)?.encode_gauge(&seconds)?;
            }
        }
    }
    let help =
        "Of the minutes of a UTC day that are over: those with a probe of each decider in the log";
    let mut family = register("availability_ratio", help, encoder)?;
    for log in logs {
        for ((day, counts), minutes) in log.days.iter().zip(log.minutes) {
            if let Some(ratio) = availability(counts, minutes).ratio() {
                let labels = [("tenant", &*log.tenant), ("day", *day)];
                family.encode_family(&labels)?.encode_gauge(&ratio)?;
            }
        }
    }
    let help = "Denials of a UTC day, by reason code";
    let mut family = register("blocked", help, encoder)?;
    for (tenant, (day, counts)) in each() {
        for (reason, count) in values(counts, "denied") {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let labels = [("tenant", tenant), ("day", *day), ("reason", reason)];
            family.encode_family(&labels)?.encode_gauge(&count)?;
        }
    }
    Ok(())
}
