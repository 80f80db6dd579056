//! What waits for something: approvals for people, gaps for numbers, sinks for their receivers, declared sources.

use super::{finding::Finding, settings::Settings};
use ledger::{
    entry::{Kind, View},
    ident::Ident,
    json::Value,
    system::{
        alert::{About, AlertRule, Sort},
        delivery::{Delivery, Standing},
        sources::Sources,
    },
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most approvals and most gaps that are watched. The oldest ones give way.
pub const APPROVALS_MAX: usize = 4_096;
/// See [`APPROVALS_MAX`].
pub const GAPS_MAX: usize = 1_024;

#[derive(Serialize, Deserialize)]
struct Approval {
    index: u64,
    since: Nanos,
    agent: String,
    tool: String,
    /// True while people are to answer, and no alert said that it waits.
    waits: bool,
}

#[derive(Serialize, Deserialize)]
struct Missing {
    index: u64,
    since: Nanos,
    count: u64,
    told: bool,
}

#[derive(Serialize, Deserialize)]
struct Still {
    index: u64,
    since: Nanos,
    told: bool,
}

#[derive(Serialize, Deserialize)]
struct Source {
    silent_after: u64,
    /// The last event; before the first one, the declaration.
    last: (Nanos, u64),
    told: bool,
}

/// Everything that waits.
#[derive(Default, Serialize, Deserialize)]
pub struct Waiting {
    approvals: BTreeMap<String, Approval>,
    #[serde(with = "super::saved::pairs")]
    gaps: BTreeMap<(String, String), Missing>,
    sinks: BTreeMap<Ident, Still>,
    #[serde(with = "super::saved::pairs")]
    sources: BTreeMap<(Ident, String), Source>,
}

impl Waiting {
    /// Agent and tool of an approval's call.
    pub fn call_of(&self, approval: &str) -> Option<(String, String)> {
        let of = self.approvals.get(approval)?;
        Some((of.agent.clone(), of.tool.clone()))
    }

    /// Takes the next entry.
    pub fn take(&mut self, index: u64, view: &View<'_>) {
        match view.kind {
            Kind::Decision | Kind::Event => self.event(index, view),
            Kind::Approval => self.approval(index, view),
            Kind::GapOpened | Kind::GapClosed => self.gap(index, view),
            Kind::Delivery => self.sink(index, view),
            Kind::Sources => self.declared(index, view),
            _ => {}
        }
    }

    fn event(&mut self, index: u64, view: &View<'_>) {
        if self.sources.is_empty() {
            return;
        }
        let producer = view.text(&["producer"]).and_then(|name| Ident::new(name).ok());
        let source = view.text(&["event", "source"]).map(str::to_owned);
        let key = producer.zip(source);
        if let Some(source) = key.and_then(|key| self.sources.get_mut(&key)) {
            (source.last, source.told) = ((view.origin.time, index), false);
        }
    }

    fn approval(&mut self, index: u64, view: &View<'_>) {
        let Some(id) = view.text(&["event", "approval_id"]) else { return };
        let events = view.at(&["event", "events"]).and_then(Value::as_array).unwrap_or(&[]);
        for event in events {
            let call = |name| event.get("call").and_then(|call| call.get(name)?.as_str());
            match event.get("type").and_then(Value::as_str) {
                Some("requested") => {
                    let text = |name| call(name).unwrap_or_default().to_owned();
                    let (agent, tool) = (text("agent"), text("tool"));
                    let waits = true;
                    let one = Approval { index, since: view.origin.time, agent, tool, waits };
                    self.approvals.insert(id.to_owned(), one);
                }
                Some("granted" | "denied" | "expired" | "cancelled" | "superseded" | "revoked") => {
                    if let Some(of) = self.approvals.get_mut(id) {
                        of.waits = false;
                    }
                }
                _ => {}
            }
        }
        while self.approvals.len() > APPROVALS_MAX {
            let oldest = self.approvals.iter().min_by_key(|(_, of)| of.index);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { return };
            self.approvals.remove(&oldest);
        }
    }

    fn gap(&mut self, index: u64, view: &View<'_>) {
        let text = |path: &[&str]| view.text(path).unwrap_or_default().to_owned();
        let key = (text(&["producer"]), text(&["event", "source"]));
        let number = |name| view.at(&["event", name]).and_then(Value::as_u64).unwrap_or(0);
        if view.kind == Kind::GapClosed {
            if let Some(missing) = self.gaps.get_mut(&key) {
                missing.count = missing.count.saturating_sub(1);
                if missing.count == 0 {
                    self.gaps.remove(&key);
                }
            }
            return;
        }
        let count = number("to").saturating_sub(number("from")) + 1;
        let since = view.origin.time;
        let missing =
            self.gaps.entry(key).or_insert(Missing { index, since, count: 0, told: false });
        missing.count = missing.count.saturating_add(count);
        if self.gaps.len() > GAPS_MAX {
            let oldest = self.gaps.iter().min_by_key(|(_, missing)| missing.index);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.gaps.remove(&oldest);
            }
        }
    }

    fn sink(&mut self, index: u64, view: &View<'_>) {
        let Some(body) = view.event_as::<Delivery>() else { return };
        match body.state {
            Standing::StandsStill => {
                let since = view.origin.time;
                self.sinks.entry(body.sink).or_insert(Still { index, since, told: false });
            }
            Standing::Starts | Standing::Delivers => drop(self.sinks.remove(&body.sink)),
            Standing::Again => {}
        }
    }

    fn declared(&mut self, index: u64, view: &View<'_>) {
        let Some(body) = view.event_as::<Sources>() else { return };
        let mut before = std::mem::take(&mut self.sources);
        for one in body.sources {
            let key = (one.producer, one.source);
            let known = before.remove(&key);
            let last = known.as_ref().map_or((view.origin.time, index), |known| known.last);
            let told = known.is_some_and(|known| known.told);
            let silent_after = one.silent_after.into();
            self.sources.insert(key, Source { silent_after, last, told });
        }
    }

    /// A minute has passed.
    pub fn minute(
        &mut self,
        now: Nanos,
        index: u64,
        settings: &Settings,
        found: &mut Vec<Finding>,
    ) {
        let is_over =
            |since: Nanos, minutes: u32| now >= since.plus_seconds(u64::from(minutes) * 60);
        let about = |what, id: &str| About { what, id: id.to_owned(), producer: None };
        let finding = |rule, about, since, values, entry| {
            Finding::new((rule, about), since, values, vec![entry, index])
        };
        for (id, of) in &mut self.approvals {
            if of.waits && is_over(of.since, settings.stuck_minutes) {
                of.waits = false;
                let values = vec![("agent", of.agent.clone()), ("tool", of.tool.clone())];
                let about = about(Sort::Approval, id);
                found.push(finding(AlertRule::StuckApproval, about, of.since, values, of.index));
            }
        }
        for ((producer, source), gap) in &mut self.gaps {
            if !gap.told && is_over(gap.since, settings.gap_minutes) {
                gap.told = true;
                let values = vec![("missing", gap.count.to_string())];
                let about =
                    About { producer: Ident::new(producer).ok(), ..about(Sort::Source, source) };
                found.push(finding(AlertRule::Gap, about, gap.since, values, gap.index));
            }
        }
        for (sink, still) in &mut self.sinks {
            if !still.told && is_over(still.since, settings.sink_minutes) {
                still.told = true;
                let about = about(Sort::Sink, sink.as_str());
                found.push(finding(AlertRule::Sink, about, still.since, Vec::new(), still.index));
            }
        }
        for ((producer, name), source) in &mut self.sources {
            let (since, last) = source.last;
            if !source.told
                && is_over(since.plus_seconds(source.silent_after), settings.source_minutes)
            {
                source.told = true;
                let values = vec![("silent_after_seconds", source.silent_after.to_string())];
                let about = About { producer: Some(producer.clone()), ..about(Sort::Source, name) };
                found.push(finding(AlertRule::SilentSource, about, since, values, last));
            }
        }
    }
}
