//! The gauges of each tenant.

use super::{Named as _, figures::OfTenant, gauged, sinks::Sinks};
use crate::trouble::CODES;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
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

fn costs(registry: &mut Registry) -> Family<ByCall, Gauge> {
    let help = "What allowed calls cost at most since start, in millionths of the currency; beyond 100 label sets: other";
    registry.named("allowed_cost_millionths", help, Family::default())
}

fn alerts(registry: &mut Registry) -> [Family<ByTenant, Gauge>; 2] {
    let mut named = |name, help| registry.named(name, help, Family::default());
    [
        named("alerts_open", "Alerts that nobody has closed"),
        named("alerts_raised", "Alerts that the log has, open or closed"),
    ]
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
    unsigned: Family<ByTenant, Gauge>,
    queue_room: Family<ByTenant, Gauge>,
    receipts_dropped: Family<ByTenant, Gauge>,
    scrub_age: Family<ByTenant, Gauge>,
    scrub_findings: Family<ByTenant, Gauge>,
    approvals_pending: Family<ByTenant, Gauge>,
    approvals_ready: Family<ByTenant, Gauge>,
    shown_lost: Family<ByTenant, Gauge>,
    approvals_not_opened: Family<ByReason, Gauge>,
    sources: Family<ByState, Gauge>,
    told_early: Family<ByReason, Gauge>,
    freezes: Family<ByScope, Gauge>,
    alerts: [Family<ByTenant, Gauge>; 2],
    costs: Family<ByCall, Gauge>,
    sinks: Sinks,
}

impl Tenants {
    /// All at zero.
    pub fn new(registry: &mut Registry) -> Self {
        let approvals_not_opened = registry.named(
            "approvals_not_opened",
            "Decisions that needed approval and opened none since start, by reason",
            Family::default(),
        );
        let sources = registry.named(
            "sources",
            "Sources: declared, seen (declared, and reported at least once), silent (declared), undeclared (found among the \
             first 10,000)",
            Family::default(),
        );
        let told_early = registry.named(
            "verdicts_told_early",
            "Verdicts that were told before they were recorded since start: later, unavailable; of these void; waiting now",
            Family::default(),
        );
        let freezes =
            registry.named("freezes", "Freezes in force, by what they stop", Family::default());
        let troubles = registry.named(
            "trouble",
            "1 while something is not as it must be with a tenant, by code (proto/errors.md)",
            Family::default(),
        );
        let mut by_tenant = |name, help| registry.named(name, help, Family::default());
        Self {
            entries: by_tenant("entries", "Published entries"),
            posted: by_tenant("journal_posted", "Last journal sequence that is posted"),
            halted: by_tenant("halted", "1 if the log stands still: a person must act"),
            unsigned: by_tenant(
                "unsigned_messages",
                "Messages outside decisions. without our signature since start: somebody else writes to the journal",
            ),
            queue_room: by_tenant("queue_room", "Messages that may still be queued"),
            receipts_dropped: by_tenant(
                "receipts_dropped",
                "Receipts by message that were not sent",
            ),
            scrub_age: by_tenant(
                "scrub_age_seconds",
                "Time since everything that is stored was read again; without a whole pass, since the start",
            ),
            scrub_findings: by_tenant(
                "scrub_findings",
                "What the scrub found damaged: a person must act",
            ),
            approvals_pending: by_tenant("approvals_pending", "Approvals that wait for people"),
            approvals_ready: by_tenant(
                "approvals_ready",
                "1 if approvals are decided: the rules applied are those of the files, the clock is right",
            ),
            shown_lost: by_tenant(
                "approvals_shown_lost",
                "Times since start that an approval was shown to a person and the log does not say so",
            ),
            ready: by_tenant("ready", "1 if a tenant's requests are served here"),
            lag: by_tenant("journal_lag", "Messages of the journal that wait to be posted"),
            cards_due: by_tenant(
                "cards_due",
                "Approvals whose cards in chats are to be looked at now",
            ),
            troubles,
            approvals_not_opened,
            sources,
            told_early,
            freezes,
            alerts: alerts(registry),
            costs: costs(registry),
            sinks: Sinks::new(registry),
        }
    }

    /// Sets the gauges of one tenant. A trouble that is over becomes 0 and stays listed.
    pub fn set(&self, figures: &OfTenant) {
        let by = ByTenant { tenant: figures.name.clone() };
        let set = |family: &Family<ByTenant, Gauge>, value: u64| {
            family.get_or_create(&by).set(gauged(value));
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
        for sink in &figures.sinks {
            self.sinks.set(&figures.name, sink);
        }
        for (family, value) in self.alerts.iter().zip(figures.alerts) {
            set(family, value);
        }
        set(&self.entries, figures.entries);
        set(&self.posted, figures.posted);
        set(&self.halted, figures.halted.into());
        set(&self.unsigned, figures.unsigned);
        set(&self.queue_room, figures.queue_room);
        set(&self.receipts_dropped, figures.receipts_dropped);
        set(&self.scrub_age, figures.scrub_age);
        set(&self.scrub_findings, figures.scrub_findings);
        set(&self.lag, figures.lag);
        let Some(approvals) = &figures.approvals else { return };
        set(&self.cards_due, approvals.cards_due);
        set(&self.approvals_pending, approvals.pending);
        set(&self.approvals_ready, approvals.ready.into());
        set(&self.shown_lost, approvals.shown_lost);
        for ([tool, agent, currency], sum) in &approvals.costs {
            let [tool, agent, currency] = [tool, agent, currency].map(Clone::clone);
            let by = ByCall { tenant: figures.name.clone(), tool, agent, currency };
            self.costs.get_or_create(&by).set(gauged(*sum));
        }
        for (reason, count) in &approvals.told_early {
            let by = ByReason { tenant: figures.name.clone(), reason };
            self.told_early.get_or_create(&by).set(gauged(*count));
        }
        for (reason, count) in &approvals.not_opened {
            let by = ByReason { tenant: figures.name.clone(), reason };
            self.approvals_not_opened.get_or_create(&by).set(gauged(*count));
        }
    }
}
