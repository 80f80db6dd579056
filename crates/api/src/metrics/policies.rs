//! What policies do: which version is in force, what calls come to, which agents are denied most, and what is left of budgets.

use super::{
    figures::{OTHER, OfBudget, OfLog, values},
    list::begin,
};
use ledger::timing::Reading;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use std::{cmp::Reverse, fmt};

/// Most agents whose denials are shown.
const AGENTS_MAX: usize = 20;

/// The members of a call in the counts: tool, verdict, enforced, would, reason.
type Call = (String, String, bool, String, String);

/// Writes all of it.
pub fn write(logs: &[OfLog], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    calls(logs, encoder)?;
    most_denied(logs, encoder)?;
    let mut family = begin(encoder, "policy_in_force")?;
    for log in logs {
        if let Some((version, digest)) = &log.policy {
            let version = version.to_string();
            let labels = [("tenant", &*log.tenant), ("version", &version), ("digest", digest)];
            family.encode_family(&labels)?.encode_gauge(&1_i64)?;
        }
    }
    budgets("budget_cap", |budget| budget.cap, logs, encoder)?;
    budgets("budget_used", |budget| budget.used, logs, encoder)?;
    budgets("budget_reserved", |budget| budget.reserved, logs, encoder)?;
    let mut family = begin(encoder, "approval_wait_seconds")?;
    for log in logs {
        for (end, Reading { sum, count, buckets }) in &log.waits {
            let labels = [("tenant", &*log.tenant), ("end", end)];
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
        }
    }
    Ok(())
}

fn calls(logs: &[OfLog], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family = begin(encoder, "calls_decided")?;
    for log in logs {
        for (value, count) in values(&log.all, "call") {
            let call: Call = serde_json::from_str(value).unwrap_or_else(|_| {
                let other = || OTHER.to_owned();
                (other(), other(), true, other(), other())
            });
            let (tool, verdict, enforced, would, reason) = &call;
            let enforced = if value == OTHER { OTHER } else { bool_name(*enforced) };
            let labels = [
                ("tenant", &*log.tenant),
                ("tool", tool),
                ("verdict", verdict),
                ("enforced", enforced),
                ("would", would),
                ("reason", reason),
            ];
            let mut one = family.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn bool_name(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn most_denied(logs: &[OfLog], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family = begin(encoder, "most_denied")?;
    for log in logs {
        let mut agents = values(&log.days[0].1, "denied_agent");
        agents.retain(|(agent, _)| *agent != OTHER);
        agents.sort_by_key(|(_, count)| Reverse(*count));
        for (agent, count) in agents.into_iter().take(AGENTS_MAX) {
            let labels = [("tenant", &*log.tenant), ("agent", agent)];
            family.encode_family(&labels)?.encode_gauge(&super::gauged(count))?;
        }
    }
    Ok(())
}

fn budgets(
    name: &'static str,
    value: impl Fn(&OfBudget) -> u64,
    logs: &[OfLog],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let mut family = begin(encoder, name)?;
    for log in logs {
        for budget in &log.budgets {
            let [id, key, unit, currency] = &budget.labels;
            let labels = [
                ("tenant", &*log.tenant),
                ("budget", id),
                ("key", key),
                ("unit", unit),
                ("currency", currency),
            ];
            family.encode_family(&labels)?.encode_gauge(&super::gauged(value(budget)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::post::OfDay;
    use prometheus_client::{collector::Collector, encoding::text::encode, registry::Registry};

    #[derive(Debug)]
    struct Of(Vec<String>);

    impl Collector for Of {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            let mut today = OfDay::new();
            let denied = today.entry("denied_agent").or_default();
            for (n, agent) in self.0.iter().enumerate() {
                denied.values.insert(agent.clone(), n as u64 + 1);
            }
            denied.other = 1_000;
            let mut all = OfDay::new();
            let call = all.entry("call").or_default();
            call.values.insert(r#"["bank","deny",false,"","limit"]"#.to_owned(), 2);
            call.other = 3;
            let days = [("today", today), ("yesterday", OfDay::new())];
            let log = OfLog { tenant: "acme".to_owned(), all, days, ..OfLog::default() };
            calls(std::slice::from_ref(&log), &mut encoder)?;
            most_denied(&[log], &mut encoder)
        }
    }

    #[test]
    fn p13_agents_and_calls_have_a_bounded_number_of_series() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Of((0..50).map(|n| format!("a-{n:02}")).collect())));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let denied: Vec<_> = text.lines().filter(|line| line.starts_with("most_denied{")).collect();
        assert_eq!(denied.len(), AGENTS_MAX);
        assert_eq!(denied[0], r#"most_denied{tenant="acme",agent="a-49"} 50"#);
        let calls = [
            r#"calls_decided_total{tenant="acme",tool="bank",verdict="deny",enforced="false",would="",reason="limit"} 2"#,
            r#"calls_decided_total{tenant="acme",tool="(other)",verdict="(other)",enforced="(other)",would="(other)",reason="(other)"} 3"#,
        ];
        for call in calls {
            assert!(text.lines().any(|line| line == call), "{call}\n{text}");
        }
    }
}
