//! Part 5, replay: the verdicts of the period computed again, and which could not be, and why.

use super::{Error, Out, log::Log, table::Table};
use crate::replayed::{Recorded, Replayed};
use decider::{
    decision::Fields,
    policy::{Differs, Ruling},
};
use ledger::{
    entry::{Kind, View},
    system::policy::{BundleEntry, ListForm, PartAt},
};
use serde::Serialize;
use std::{collections::BTreeMap, rc::Rc};

impl Recorded for Log<'_> {
    type Error = Error;

    fn payload(&self, index: u64, view: &View<'_>) -> Result<Rc<Fields>, Error> {
        Ok(self.disclosed(index, view, false)?.unwrap_or_default())
    }

    fn proposed(&self, index: u64) -> Result<Option<BundleEntry>, Error> {
        self.with(index, |_, view| Ok(BundleEntry::of(view)))
    }

    fn list(&self, index: u64) -> Result<Option<ListForm>, Error> {
        self.with(index, |_, view| Ok(ListForm::of(view)))
    }

    fn policy_file(&self, part: &PartAt) -> Result<Option<String>, Error> {
        self.policy_file(part)
    }
}

/// What came of the verdicts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Computed again, with the recorded result.
    pub same: u64,
    /// Computed again, with another result.
    pub different: u64,
    /// Not computed, by the reason.
    pub not_possible: BTreeMap<String, u64>,
}

/// The verdicts of a period while they are computed again.
pub struct Verdicts {
    replayed: Replayed,
    table: Table,
    /// What came of them.
    pub tally: Tally,
    /// Leaf indexes of those with another result.
    pub different: Vec<u64>,
}

impl Default for Verdicts {
    fn default() -> Self {
        let table = Table::new("replay/not-the-same.csv", &["index", "result", "why"]);
        Self {
            replayed: Replayed::default(),
            table,
            tally: Tally::default(),
            different: Vec::new(),
        }
    }
}

impl Verdicts {
    /// Notes what was in force before the period.
    pub fn before(&mut self, index: u64, view: &View<'_>) {
        self.replayed.note(index, view);
    }

    /// Takes the next entry of the period. What posting checks of a decision is checked too: it names the bundle in force at
    /// its place.
    pub fn take(
        &mut self,
        log: &Log<'_>,
        out: &mut dyn Out,
        index: u64,
        view: &View<'_>,
    ) -> Result<(), Error> {
        if let Some(data) = view.at(&["event", "data"]).filter(|_| view.is_ours()) {
            let producer = view.text(&["producer"]).unwrap_or_default();
            let stands = ledger::post::stands(producer, data, self.replayed.in_force());
            stands.map_err(|what| Error::file(&format!("entry {index}"), what.into()))?;
        }
        if !matches!(view.kind, Kind::Policy | Kind::Freeze | Kind::Decision) && !view.is_result() {
            return Ok(());
        }
        let (result, why) = match self.replayed.step(log, index, view)? {
            None => return Ok(()),
            Some(Ok(Ruling { .. })) => {
                self.tally.same += 1;
                return Ok(());
            }
            Some(Err(why)) if Differs::is_not_replayable(&why) => {
                super::values::add(&mut self.tally.not_possible, &why.to_string());
                ("not possible", why)
            }
            Some(Err(why)) => {
                self.tally.different += 1;
                self.different.push(index);
                ("different", why)
            }
        };
        self.table.row(out, &[&index.to_string(), result, &why.to_string()])
    }

    /// Writes the table.
    pub fn finish(self, out: &mut dyn Out) -> Result<Tally, Error> {
        self.table.finish(out)?;
        Ok(self.tally)
    }
}
