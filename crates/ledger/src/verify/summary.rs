//! Totals of a whole log.

use crate::{
    entry::{Kind, View},
    json,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Totals of a whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Entries by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Open gaps: the missing numbers of each producer and source.
    pub open_gaps: BTreeMap<String, u64>,
    /// Number of journal sequences that never existed or were removed before posting.
    pub journal_gaps: u64,
    /// Number of journal epochs.
    pub epochs: u64,
    /// Verdicts that were told before they were recorded, by the run of the spool.
    pub told_early: BTreeMap<String, ToldEarly>,
}

/// Verdicts of one run of a spool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ToldEarly {
    /// The largest number.
    pub last: u64,
    /// How many entries there are, void ones too. A number without one was told and lost, or its question was asked
    /// twice.
    pub entries: u64,
}

impl Summary {
    /// Counts the next entry.
    pub(super) fn count(&mut self, view: &View<'_>) {
        *self.kinds.entry(view.kind.as_str()).or_default() += 1;
        self.epochs = self.epochs.max(view.origin.epoch);
        let place = view.at(&["event", "data", "spool"]).filter(|_| view.is_ours());
        let place =
            place.or_else(|| view.at(&["event", "spool"]).filter(|_| view.kind == Kind::Void));
        if let Some((id, number)) = place
            .and_then(|place| Some((place.get("id")?.as_str()?, place.get("number")?.as_u64()?)))
        {
            let run = self.told_early.entry(id.to_owned()).or_default();
            run.last = run.last.max(number);
            run.entries += 1;
        }
        let number = |name| view.at(&["event", name]).and_then(json::Value::as_u64).unwrap_or(0);
        let missing = number("to").saturating_add(1).saturating_sub(number("from"));
        let producer = view.text(&["producer"]).unwrap_or("");
        let source = format!("{producer} {}", view.text(&["event", "source"]).unwrap_or(""));
        match view.kind {
            Kind::GapOpened => {
                let open = self.open_gaps.entry(source).or_default();
                *open = open.saturating_add(missing);
            }
            Kind::GapClosed => {
                if let Some(open) = self.open_gaps.get_mut(&source) {
                    *open = open.saturating_sub(1);
                    if *open == 0 {
                        self.open_gaps.remove(&source);
                    }
                }
            }
            Kind::JournalGap => {
                self.journal_gaps = self.journal_gaps.saturating_add(missing);
            }
            _ => {}
        }
    }
}
