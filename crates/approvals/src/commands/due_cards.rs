//! Which approvals' cards must be checked, and when.

use ledger::ident::Ident;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Instant,
};
use tokio::sync::Notify;

/// Which approvals' cards must be checked, and when.
#[derive(Default)]
pub(crate) struct DueCards {
    due: Mutex<Due>,
    changed: Notify,
}

#[derive(Default)]
struct Due {
    by_time: BTreeSet<(Instant, Ident)>,
    of: BTreeMap<Ident, Instant>,
}

impl DueCards {
    /// Schedules a check of an approval at `at` or earlier.
    pub fn check_at(&self, id: &Ident, at: Instant) {
        let mut due = self.due.lock().expect("no holder of the lock panics");
        match due.of.get(id).copied() {
            Some(known) if known <= at => return,
            Some(known) => drop(due.by_time.remove(&(known, id.clone()))),
            None => {}
        }
        due.by_time.insert((at, id.clone()));
        due.of.insert(id.clone(), at);
        drop(due);
        self.changed.notify_one();
    }

    /// Waits until a check is scheduled.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Number of approvals that must be checked now.
    pub fn due(&self) -> usize {
        let due = self.due.lock().expect("no holder of the lock panics");
        let now = Instant::now();
        due.by_time.iter().take_while(|(at, _)| *at <= now).count()
    }

    /// Takes at most `max` approvals that are due, and the time of the next one.
    pub fn take(&self, max: usize) -> (Vec<Ident>, Option<Instant>) {
        let mut due = self.due.lock().expect("no holder of the lock panics");
        let now = Instant::now();
        let ready = due.by_time.iter().take_while(|(at, _)| *at <= now).take(max);
        let ready: Vec<(Instant, Ident)> = ready.cloned().collect();
        for (at, id) in &ready {
            due.by_time.remove(&(*at, id.clone()));
            due.of.remove(id);
        }
        let next = due.by_time.first().map(|(at, _)| *at);
        (ready.into_iter().map(|(_, id)| id).collect(), next)
    }
}
