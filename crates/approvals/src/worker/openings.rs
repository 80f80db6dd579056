//! Decisions that are still to be opened: found by the follower, opened by a few at once, as soon as anything is decided
//! here. The follower does not wait for it, because what it waits for (rules that are applied) comes along the same log.

use super::{Error, Worker};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};

/// Most approvals that are being opened at once.
const OPENING_MAX: usize = 64;
/// Pause before a decision is looked at again that could not be opened.
const AGAIN: Duration = Duration::from_secs(1);

/// Leaf indexes of decisions; some ten bytes each, so that a log with many of them and no rules does no harm.
#[derive(Default)]
pub(super) struct Openings {
    found: Mutex<Found>,
    news: Notify,
}

#[derive(Default)]
struct Found {
    /// Not taken up yet, the next one first.
    waiting: VecDeque<u64>,
    /// These, and those that are being opened.
    all: BTreeSet<u64>,
}

impl Openings {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().expect("no holder of the lock panics")
    }

    pub(super) fn add(&self, index: u64) {
        let mut found = self.lock();
        if found.all.insert(index) {
            found.waiting.push_back(index);
        }
        drop(found);
        self.news.notify_one();
    }

    /// The first that is not opened yet: the place kept never passes it.
    pub(super) fn first(&self) -> Option<u64> {
        self.lock().all.first().copied()
    }

    fn take(&self) -> Option<u64> {
        self.lock().waiting.pop_front()
    }

    fn done(&self, index: u64) {
        self.lock().all.remove(&index);
    }

    /// At the end, so that one that fails again and again keeps up no other.
    fn again(&self, index: u64) {
        self.lock().waiting.push_back(index);
        self.news.notify_one();
    }
}

impl Worker {
    /// Opens what the follower finds, for ever.
    pub(super) async fn open_found(self: Arc<Self>, running: &mut JoinSet<()>) {
        loop {
            while running.try_join_next().is_some() {}
            // Nothing is read before: where no rules are in force, decisions may pile up.
            self.until_ready().await;
            let next = if running.len() < OPENING_MAX { self.openings.take() } else { None };
            if let Some(index) = next {
                running.spawn(Arc::clone(&self).open_one(index));
                continue;
            }
            tokio::select! {
                () = self.openings.news.notified(), if running.len() < OPENING_MAX => {}
                Some(_) = running.join_next() => {}
            }
        }
    }

    async fn open_one(self: Arc<Self>, index: u64) {
        match self.open(index).await {
            Ok(_) => self.openings.done(index),
            Err(error) => {
                // That nothing is decided is told where rules and clocks are looked at.
                if !matches!(error, Error::NotReady(_)) {
                    let tenant = &self.tenant.name;
                    tracing::warn!(%tenant, index, %error, "an approval could not be opened yet");
                }
                tokio::time::sleep(AGAIN).await;
                self.openings.again(index);
            }
        }
    }
}
