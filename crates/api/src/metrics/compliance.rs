//! The figures of compliance, read from the counts that posting keeps: so a restart forgets nothing, and every server of a
//! tenant shows the same.

use super::{
    figures::{OfLog, values},
    list::begin,
    policies,
};
use crate::counts::{
    availability, coverage, elevated_with_approval, executions_with_decision, latency,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

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

/// What is counted over all days: each metric, and its name in the counts.
const COUNTERS: [(&str, &str); 7] = [
    ("decisions", "verdict"),
    ("decisions_by", "by"),
    ("decisions_policy", "policy"),
    ("denials", "denied"),
    ("approval_events", "approval"),
    ("executions", "execution"),
    ("entries_by_kind", "kind"),
];

impl Collector for Compliance {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let logs = self.0.lock().expect("no holder of the lock panics");
        for (metric, name) in COUNTERS {
            let mut family = begin(&mut encoder, metric)?;
            for log in &*logs {
                for (value, count) in values(&log.all, name) {
                    let labels = [("tenant", &*log.tenant), ("of", value)];
                    let mut one = family.encode_family(&labels)?;
                    one.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        ratios(&logs, &mut encoder)?;
        by_day(&logs, &mut encoder)?;
        policies::write(&logs, &mut encoder)
    }
}

/// The ratios over all days.
fn ratios(logs: &[OfLog], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family = begin(encoder, "evidence_completeness_ratio")?;
    for log in logs {
        let executions = executions_with_decision(&log.all);
        for (of, share) in [("entries", log.entries), ("executions", executions)] {
            if let Some(ratio) = share.ratio() {
                let labels = [("tenant", &*log.tenant), ("of", of)];
                family.encode_family(&labels)?.encode_gauge(&ratio)?;
            }
        }
    }
    let mut family = begin(encoder, "elevated_with_approval_ratio")?;
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
    let mut family = begin(encoder, "policy_coverage_ratio")?;
    for (tenant, (day, counts)) in each() {
        if let Some(ratio) = coverage(counts).ratio() {
            let labels = [("tenant", tenant), ("day", *day)];
            family.encode_family(&labels)?.encode_gauge(&ratio)?;
        }
    }
    let mut family = begin(encoder, "decision_latency_seconds")?;
    for (tenant, (day, counts)) in each() {
        for (label, share) in [("0.5", 0.5), ("0.99", 0.99)] {
            if let Some(seconds) = latency(counts, share) {
                let labels = [("tenant", tenant), ("day", *day), ("share", label)];
                family.encode_family(&labels)?.encode_gauge(&seconds)?;
            }
        }
    }
    let mut family = begin(encoder, "availability_ratio")?;
    for log in logs {
        for ((day, counts), minutes) in log.days.iter().zip(log.minutes) {
            if let Some(ratio) = availability(counts, minutes).ratio() {
                let labels = [("tenant", &*log.tenant), ("day", *day)];
                family.encode_family(&labels)?.encode_gauge(&ratio)?;
            }
        }
    }
    let mut family = begin(encoder, "blocked")?;
    for (tenant, (day, counts)) in each() {
        for (reason, count) in values(counts, "denied") {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let labels = [("tenant", tenant), ("day", *day), ("reason", reason)];
            family.encode_family(&labels)?.encode_gauge(&count)?;
        }
    }
    Ok(())
}
