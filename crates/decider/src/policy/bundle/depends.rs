//! What verdicts of a bundle depend on beside the call: the clock, and the local time of the zones that clauses name.
//! And which clauses a call meets, for whoever writes the bundle in another language.

use super::Bundle;
use crate::policy::{
    condition::Condition,
    facts::{Facts, local},
};
use ledger::time::Nanos;
use std::collections::BTreeSet;

impl Bundle {
    /// What a verdict of this bundle may depend on at `now`.
    pub fn facts(&self, now: Nanos, verified: bool) -> Facts {
        self.facts_in(now, now, verified)
    }

    /// The local time of each zone that a clause names.
    pub(super) fn local_facts(&self, now: Nanos, verified: bool) -> Facts {
        let zones = self.zones.iter();
        let local = zones.filter_map(|zone| Some((zone.clone(), local(now, zone)?)));
        Facts { now, local: local.collect(), verified, ..Facts::default() }
    }

    /// True if these are the facts that a verdict of this bundle rests on, as far as they follow from each other: each
    /// zone that a clause names, and times that are those of the clock at the recorded offset. The offset is believed.
    pub fn accepts(&self, facts: &Facts) -> bool {
        facts.local.keys().eq(&self.zones)
            && facts.local.values().all(|at| at.is_of(facts.now))
            && self.accepts_windows(facts)
            && self.accepts_history(facts)
    }

    /// The time zones that clauses name.
    pub(super) fn named_zones(&self) -> BTreeSet<String> {
        let mut zones = BTreeSet::new();
        for when in self.clauses.iter().filter_map(|clause| clause.when.as_ref()) {
            when.walk(&mut |part| {
                if let Condition::Hours(hours) = part {
                    zones.insert(hours.zone.clone());
                }
            });
        }
        zones
    }

    /// For each tool that clauses name, and each of its actions that they name (`None`: any other), the clauses for it.
    pub(in crate::policy) fn filed(&self) -> Vec<(&String, Option<&String>, &[usize])> {
        let mut filed = Vec::new();
        for (tool, of_tool) in &self.by_tool {
            filed.push((tool, None, &of_tool.other[..]));
            let named = of_tool.by_action.iter();
            filed.extend(named.map(|(action, places)| (tool, Some(action), &places[..])));
        }
        filed
    }

    /// The clauses for tools that no clause names.
    pub(in crate::policy) fn for_other_tools(&self) -> &[usize] {
        &self.other
    }
}
