//! The gauges of each tenant.

use super::{
    Named as _, channels::Channels, counted, figures::OfTenant, gauged, sinks::Sinks,
    witnesses::Witnesses,
};
use crate::trouble::CODES;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByTenant {
    tenant: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByReason {
    tenant: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByState {
    tenant: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByCode {
    tenant: String,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByScope {
    tenant: String,
    scope: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByCall {
    tenant: String,
    tool: String,
    agent: String,
    currency: String,
}

/// Metrics of each tenant.
pub struct Tenants {
    ready: Family<ByTenant, Gauge>,
    troubles: Family<ByCode, Gauge>,
    lag: Family<ByTenant, Gauge>,
    cards_due: Family<ByTenant, Gauge>,
    entries: Family<ByTenant, Gauge>,
    posted: Family<ByTenant, Gauge>,
    halted: Family<ByTenant, Gauge>,
    unsigned: Family<ByTenant, Counter>,
    queue_room: Family<ByTenant, Gauge>,
    receipts_dropped: Family<ByTenant, Counter>,
    scrub_age: Family<ByTenant, Gauge>,
    scrub_findings: Family<ByTenant, Gauge>,
    approvals_pending: Family<ByTenant, Gauge>,
    approvals_ready: Family<ByTenant, Gauge>,
    shown_lost: Family<ByTenant, Counter>,
    approvals_not_opened: Family<ByReason, Counter>,
    sources: Family<ByState, Gauge>,
    told_early: Family<ByReason, Gauge>,
    freezes: Family<ByScope, Gauge>,
    alerts: [Family<ByTenant, Gauge>; 2],
    costs: Family<ByCall, Counter>,
    replicas: [Family<ByTenant, Gauge>; 4],
    register_ignored: Family<ByTenant, Counter>,
    channels: Channels,
    sinks: Sinks,
    witnesses: Witnesses,
}

impl Tenants {
    /// All at zero.
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            ready: registry.named("ready", Family::default()),
            troubles: registry.named("trouble", Family::default()),
            lag: registry.named("journal_lag", Family::default()),
            cards_due: registry.named("cards_due", Family::default()),
            entries: registry.named("entries", Family::default()),
            posted: registry.named("journal_posted", Family::default()),
            halted: registry.named("halted", Family::default()),
            unsigned: registry.named("unsigned_messages", Family::default()),
            queue_room: registry.named("queue_room", Family::default()),
            receipts_dropped: registry.named("receipts_dropped", Family::default()),
            scrub_age: registry.named("scrub_age_seconds", Family::default()),
            scrub_findings: registry.named("scrub_findings", Family::default()),
            approvals_pending: registry.named("approvals_pending", Family::default()),
            approvals_ready: registry.named("approvals_ready", Family::default()),
            shown_lost: registry.named("approvals_shown_lost", Family::default()),
            approvals_not_opened: registry.named("approvals_not_opened", Family::default()),
            sources: registry.named("sources", Family::default()),
            told_early: registry.named("verdicts_told_early", Family::default()),
            freezes: registry.named("freezes", Family::default()),
            alerts: ["alerts_open", "alerts_raised"]
                .map(|name| registry.named(name, Family::default())),
            costs: registry.named("allowed_cost_millionths", Family::default()),
            replicas: [
                "replicas",
                "replicas_heard",
                "replica_lag_entries",
                "replica_behind_entries",
            ]
            .map(|name| registry.named(name, Family::default())),
            register_ignored: registry.named("register_ignored", Family::default()),
            channels: Channels::new(registry),
            sinks: Sinks::new(registry),
            witnesses: Witnesses::new(registry),
        }
    }

    /// Sets the gauges of one tenant. A trouble that is over becomes 0 and stays listed.
    pub fn set(&self, figures: &OfTenant) {
        let by = ByTenant { tenant: figures.name.clone() };
        let set = |family: &Family<ByTenant, Gauge>, value: u64| {
            family.get_or_create(&by).set(gauged(value));
        };
        let count = |family: &Family<ByTenant, Counter>, value: u64| {
            counted(&family.get_or_create(&by), value);
        };
        set(&self.ready, figures.ready.into());
        for code in CODES {
            let by = ByCode { tenant: figures.name.clone(), code };
            self.troubles.get_or_create(&by).set(figures.troubles.contains(&code).into());
        }
        for (state, count) in &figures.sources {
            let by = ByState { tenant: figures.name.clone(), state };
            self.sources.get_or_create(&by).set(gauged(*count));
        }
        for (scope, count) in &figures.freezes {
            let by = ByScope { tenant: figures.name.clone(), scope };
            self.freezes.get_or_create(&by).set(gauged(*count));
        }
        for channel in &figures.channels {
            self.channels.set(&figures.name, channel);
        }
        self.sinks.keep(&figures.name, &figures.sinks);
        for sink in &figures.sinks {
            self.sinks.set(&figures.name, sink);
        }
        for witness in &figures.witnesses {
            self.witnesses.set(&figures.name, witness);
        }
        for (family, value) in self.alerts.iter().zip(figures.alerts) {
            set(family, value);
        }
        for (family, value) in self.replicas.iter().zip(figures.replicas) {
            set(family, value);
        }
        count(&self.register_ignored, figures.register_ignored);
        set(&self.entries, figures.entries);
        set(&self.posted, figures.posted);
        set(&self.halted, figures.halted.into());
        count(&self.unsigned, figures.unsigned);
        set(&self.queue_room, figures.queue_room);
        count(&self.receipts_dropped, figures.receipts_dropped);
        set(&self.scrub_age, figures.scrub_age);
        set(&self.scrub_findings, figures.scrub_findings);
        set(&self.lag, figures.lag);
        let Some(approvals) = &figures.approvals else { return };
        set(&self.cards_due, approvals.cards_due);
        set(&self.approvals_pending, approvals.pending);
        set(&self.approvals_ready, approvals.ready.into());
        count(&self.shown_lost, approvals.shown_lost);
        for ([tool, agent, currency], sum) in &approvals.costs {
            let [tool, agent, currency] = [tool, agent, currency].map(Clone::clone);
            let by = ByCall { tenant: figures.name.clone(), tool, agent, currency };
            counted(&self.costs.get_or_create(&by), *sum);
        }
        for (reason, count) in &approvals.told_early {
            let by = ByReason { tenant: figures.name.clone(), reason };
            self.told_early.get_or_create(&by).set(gauged(*count));
        }
        for (reason, count) in &approvals.not_opened {
            let by = ByReason { tenant: figures.name.clone(), reason };
            counted(&self.approvals_not_opened.get_or_create(&by), *count);
        }
    }
}
