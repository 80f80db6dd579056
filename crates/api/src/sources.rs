//! Which sources report: those that must, by the last `sources` entry, and those that did, by the posted log.
//!
//! In scope: the judgement. Out of scope: who may ask (`routes::sources`), and the alarm (`health`).

use ledger::{
    Ledger, SourcesEntry, post::Reported, store, system::sources::Declared, tenant::Tenant,
    time::Nanos,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Most sources that are read to find those that nobody declared. Beyond, their number is at least what was found.
const READ_MAX: usize = 10_000;

/// Whether a declared source reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its last event is younger than its `silent_after`.
    Reporting,
    /// It never reported, and was declared less than `silent_after` ago.
    Awaited,
    /// Nothing came for `silent_after` seconds.
    Silent,
}

/// A declared source.
pub struct OfSource {
    /// What was declared.
    pub declared: Declared,
    /// Whether it reports.
    pub state: State,
    /// What it reported.
    pub reported: Option<Reported>,
}

/// The declared sources of a tenant.
pub struct Standing {
    /// The last declaration.
    pub entry: Option<SourcesEntry>,
    /// What it declares, in its order.
    pub declared: Vec<OfSource>,
}

/// Sources that reported and are not declared.
pub struct Undeclared {
    /// Them.
    pub sources: Vec<Reported>,
    /// True if these are all.
    pub complete: bool,
}

impl Standing {
    /// The sources of now.
    pub fn read(ledger: &Ledger, tenant: &Tenant) -> Result<Self, store::Error> {
        let entry = ledger.sources(tenant)?;
        let (now, since) = (ledger.now(), entry.as_ref().map_or(Nanos(0), |entry| entry.time));
        let mut declared = Vec::new();
        for one in entry.iter().flat_map(|entry| &entry.body.sources) {
            let reported = ledger.reported(tenant, one)?;
            let last = reported.as_ref().map(|reported| reported.time);
            let state = judge(one.silent_after, last, (since, now));
            declared.push(OfSource { declared: one.clone(), state, reported });
        }
        Ok(Self { entry, declared })
    }

    /// The sources that reported and are not declared. Reads at most [`READ_MAX`] rows.
    pub fn undeclared(&self, ledger: &Ledger, tenant: &Tenant) -> Result<Undeclared, store::Error> {
        let pair =
            |one: &OfSource| (one.declared.producer.to_string(), one.declared.source.clone());
        let known: BTreeSet<_> = self.declared.iter().map(pair).collect();
        let (mut sources, complete) = ledger.all_reported(tenant, READ_MAX)?;
        sources.retain(|one| !known.contains(&(one.producer.clone(), one.source.clone())));
        Ok(Undeclared { sources, complete })
    }

    /// The declared sources that are silent.
    pub fn silent(&self) -> impl Iterator<Item = &OfSource> {
        self.declared.iter().filter(|one| one.state == State::Silent)
    }

    /// Number of declared sources that ever reported.
    pub fn seen(&self) -> usize {
        self.declared.iter().filter(|one| one.reported.is_some()).count()
    }
}

/// Whether a source reports: `last` is the time of its last event, `since` when it was declared.
fn judge(silent_after: u32, last: Option<Nanos>, (since, now): (Nanos, Nanos)) -> State {
    let is_over = |from: Nanos| now >= from.plus_seconds(silent_after.into());
    match last {
        Some(last) if !is_over(last) => State::Reporting,
        None if !is_over(since) => State::Awaited,
        _ => State::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_silent_once_nothing_came_for_its_time() {
        let at = |seconds: u64| Nanos(0).plus_seconds(seconds);
        let check = |last: Option<u64>, now, state| {
            assert_eq!(judge(60, last.map(at), (at(1000), at(now))), state, "{last:?} {now}");
        };
        check(None, 1000, State::Awaited);
        check(None, 1059, State::Awaited);
        check(None, 1060, State::Silent);
        check(Some(1000), 1059, State::Reporting);
        check(Some(1000), 1060, State::Silent);
        check(Some(1100), 1090, State::Reporting);
        // What it reported before it was declared counts.
        check(Some(500), 1001, State::Silent);
        check(Some(990), 1001, State::Reporting);
    }
}
