//! The decisions before a simulated one: as the other bundle would have made them, with the outcomes that were reported.

use crate::{
    decision::Fields,
    policy::{bundle::Bundle, history::Past},
};
use ledger::{
    entry::View,
    history::{Decided, Row},
    post::Histories,
    store,
};
use std::collections::BTreeMap;

/// Most calls whose values are kept to be compared. Of older ones they count as erased.
const VALUES_KEPT_MAX: usize = 10_000;

/// What was passed so far.
#[derive(Default)]
pub(super) struct Earlier {
    rows: Histories,
    values: BTreeMap<u64, Fields>,
    as_of: u64,
}

impl Earlier {
    /// The entry at `index` is next.
    pub(super) fn turn_to(&mut self, index: u64) {
        self.as_of = index;
    }

    /// Takes an entry that is no call: it may report an outcome.
    pub(super) fn note(&mut self, index: u64, view: &View<'_>) {
        self.rows.take(index, view).unwrap_or_default();
    }

    /// Takes a call with the verdict that it would have had.
    pub(super) fn decided(
        &mut self,
        (index, view): (u64, &View<'_>),
        payload: &Fields,
        (bundle, verdict): (&Bundle, &str),
    ) {
        self.rows.take_as(index, view, verdict);
        let text = |name| view.text(&["event", "data", "tool", name]).unwrap_or_default();
        if bundle.compares(text("name"), text("action")) {
            let needed = ["params", "received", "/data/facts"];
            let kept = needed.iter().filter_map(|name| payload.get_key_value(*name));
            self.values.insert(index, kept.map(|(n, v)| (n.clone(), v.clone())).collect());
            if self.values.len() > VALUES_KEPT_MAX {
                self.values.pop_first();
            }
        }
    }
}

impl Past for Earlier {
    type Error = store::Error;

    fn as_of(&self) -> u64 {
        self.as_of
    }

    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        self.rows.walk(row, visit)
    }

    fn fields(&mut self, index: u64) -> Result<Fields, store::Error> {
        Ok(self.values.get(&index).cloned().unwrap_or_default())
    }
}
