//! Decisions whose approvals are still to be opened. The follower finds them; a few tasks open them at once,
//! as soon as decisions are possible here. The follower must not wait for that: the rules that are missing
//! arrive by the same log.

use crate::commands::{Commands, Error};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};

/// Most approvals that are opened at once.
const OPENING_MAX: usize = 64;
/// Pause before a failed opening is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Leaf indexes of decisions, about ten bytes each. So a log with many of them and no rules does no harm.
#[derive(Default)]
pub(super) struct Backlog {
    found: Mutex<Found>,
    news: Notify,
}

#[derive(Default)]
struct Found {
    /// Indexes that no task has taken yet, the next one first.
    waiting: VecDeque<u64>,
    /// The waiting indexes, and those that tasks are opening.
    all: BTreeSet<u64>,
}

impl Backlog {
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

    /// The first decision that is not opened yet. The stored position never passes it.
    pub(super) fn first(&self) -> Option<u64> {
        self.lock().all.first().copied()
    }

    pub(super) fn take(&self) -> Option<u64> {
        let found = &mut *self.lock();
        // Those that were opened by somebody else meanwhile are passed over.
        std::iter::from_fn(|| found.waiting.pop_front()).find(|index| found.all.contains(index))
    }

    pub(super) fn done(&self, index: u64) {
        self.lock().all.remove(&index);
    }

    /// Re-queues at the back, so that one decision that keeps failing does not block the others.
    pub(super) fn again(&self, index: u64) {
        self.lock().waiting.push_back(index);
        self.news.notify_one();
    }
}

/// Opens what is in the backlog.
pub(super) struct Opener {
    pub backlog: Arc<Backlog>,
    pub commands: Commands,
}

impl Opener {
    /// Opens what the follower finds, until the worker stops.
    pub(super) async fn run(self: Arc<Self>, running: &mut JoinSet<()>) {
        loop {
            while running.try_join_next().is_some() {}
            // Take nothing from the queue before that: without rules in force, many decisions may wait.
            self.commands.readiness.until_ready().await;
            let next = if running.len() < OPENING_MAX { self.backlog.take() } else { None };
            if let Some(index) = next {
                running.spawn(Arc::clone(&self).open_one(index));
                continue;
            }
            tokio::select! {
                () = self.backlog.news.notified(), if running.len() < OPENING_MAX => {}
                Some(_) = running.join_next() => {}
            }
        }
    }

    async fn open_one(self: Arc<Self>, index: u64) {
        match self.commands.open(index).await {
            Ok(_) => self.backlog.done(index),
            Err(error) => {
                // `NotReady` is already logged where rules and clocks are checked.
                if !matches!(error, Error::NotReady(_)) {
                    let tenant = self.commands.reader.log.tenant();
                    tracing::warn!(%tenant, index, %error, "an approval could not be opened yet");
                }
                tokio::time::sleep(AGAIN).await;
                self.backlog.again(index);
            }
        }
    }
}
