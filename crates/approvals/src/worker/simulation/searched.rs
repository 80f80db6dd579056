//! The rows of the search on a log that three workers wrote on a bad network: however the log is divided into steps, and
//! whenever they are made, the rows are those of one step over all of it, and those that `fsck` derives.

use super::{Keyring, Simulation, ident};
use crate::{
    history::Approval,
    log::Log as _,
    search::{Facets, derived, rows_between},
};
use ledger::{
    entry::{Kind, View},
    fsck::Whole,
    ident::Ident,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

/// Steps of a schedule: enough for approvals that end, and for some that do not.
const STEPS: u64 = 900;

/// The rows of a search in memory.
#[derive(Default)]
struct Index {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    to: u64,
}

impl Index {
    fn read(&mut self, simulation: &Simulation, to: u64) {
        let log = &*simulation.cluster.replicas[0];
        // A replica that lost its disk is behind for a while.
        let to = to.min(log.extent().size);
        if self.to < to {
            self.rows.extend(rows_between(log, self.to..to).unwrap());
            self.to = to;
        }
    }
}

/// Every approval with its entries, as `fsck` hands it over.
fn all_of(simulation: &Simulation) -> Vec<Whole> {
    let log = &*simulation.cluster.replicas[0];
    let entry = |index: u64| log.entry(index).unwrap().expect("posted");
    let mut all: BTreeMap<Ident, Whole> = BTreeMap::new();
    for index in 0..log.extent().size {
        let bytes = entry(index);
        let view = View::parse(&bytes).unwrap();
        if view.kind != Kind::Approval {
            continue;
        }
        let id = ident(view.text(&["event", "approval_id"]).unwrap());
        let begun = || {
            let approval = Approval::read(log, &id, None).unwrap().unwrap();
            let opening = approval.state.requested.as_ref().map(|asked| asked.opening.index);
            let opening = opening.map(|index| (index, entry(index)));
            Whole { id: id.clone(), opening, disclosed: BTreeMap::new(), messages: vec![] }
        };
        all.entry(id.clone()).or_insert_with(begun).messages.push((index, bytes.clone()));
    }
    all.into_values().collect()
}

fn derived_rows(all: &[Whole], before: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    all.iter().flat_map(|whole| derived(whole, before, 0)).collect()
}

/// Runs one schedule. Returns the number of rows, and of those that are over.
fn schedule(seed: u64, every: u64, keyring: &Arc<Keyring>) -> (usize, usize) {
    let mut simulation = Simulation::new(seed, keyring);
    let mut steps = Index::default();
    for nth in 0..STEPS {
        simulation.step(nth);
        if nth.is_multiple_of(every) {
            steps.read(&simulation, u64::MAX);
        }
    }
    simulation.settle();
    let all = all_of(&simulation);
    assert_eq!(steps.rows, derived_rows(&all, steps.to), "in the middle of the log");
    let mut single = Index::default();
    single.read(&simulation, u64::MAX);
    // The rest in steps of one size, which ends in the middle of approvals.
    while steps.to < single.to {
        let to = steps.to + every;
        steps.read(&simulation, to);
    }
    assert_eq!(steps.rows, single.rows, "in many steps and in one");
    assert_eq!(single.rows, derived_rows(&all, single.to), "as fsck derives them");
    let over = |row: &&Vec<u8>| serde_json::from_slice::<Facets>(row).unwrap().over;
    (single.rows.len(), single.rows.values().filter(over).count())
}

#[test]
fn rows_do_not_depend_on_the_steps_in_which_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::create(folder.path(), &ident("acme"), "log.example/acme").unwrap();
    let keyring = Arc::new(keyring);
    // Waits with a time limit need a runtime; its clock stands still here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let counts = std::sync::Mutex::new((0, 0));
    proptest!(ProptestConfig::with_cases(24), |(seed in any::<u64>(), every in 1_u64..120)| {
        let (rows, over) = schedule(seed, every, &keyring);
        let mut counts = counts.lock().unwrap();
        *counts = (counts.0 + rows, counts.1 + over);
    });
    let (rows, over) = *counts.lock().unwrap();
    assert!(rows > 24 && over > 8, "{rows} rows, {over} over");
}
