//! The approvals that this process knows, and whoever waits for their changes.

use super::{due_cards::DueCards, open_approvals::OpenApprovals, waits::Waits};
use crate::history::Approval;
use decider::approval::Phase;
use ledger::{event::RESERVED_TOOL, ident::Ident};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    time::Instant,
};
use tokio::sync::{Notify, mpsc, watch};

/// Most hints for data planes that wait to be sent. Further ones are dropped: hints may be lost.
const HINTS_MAX: usize = 4096;

/// Tells the data plane that paused a call that its approval has changed.
#[derive(Clone, Debug)]
pub struct Hint {
    /// The producer to tell.
    pub producer: Ident,
    /// Id of the approval.
    pub approval: Ident,
    /// Its new version.
    pub version: u64,
    /// Its new phase.
    pub phase: Phase,
}

/// The approvals in memory, and how their changes are told.
pub(crate) struct Registry {
    open: Mutex<OpenApprovals>,
    /// Counts the changes of the approvals in memory.
    pub changed: watch::Sender<u64>,
    /// Entries before this leaf index have been read.
    pub followed: watch::Sender<u64>,
    /// Which approvals' cards must be checked, and when.
    pub cards: DueCards,
    /// Granted changes of policies, which the clerk carries out, each once, in the order in which they were granted.
    own: Mutex<VecDeque<Ident>>,
    /// Wakes the clerk.
    pub own_news: Notify,
    /// Wakes the task that applies deadlines.
    pub timers: Notify,
    /// How long approvals waited for people.
    pub waits: Waits,
    hints: mpsc::Sender<Hint>,
    hints_out: Mutex<Option<mpsc::Receiver<Hint>>>,
}

impl Default for Registry {
    fn default() -> Self {
        let (hints, hints_out) = mpsc::channel(HINTS_MAX);
        Self {
            open: Mutex::default(),
            changed: watch::Sender::new(0),
            followed: watch::Sender::new(0),
            cards: DueCards::default(),
            own: Mutex::default(),
            own_news: Notify::new(),
            timers: Notify::new(),
            waits: Waits::default(),
            hints,
            hints_out: Mutex::new(Some(hints_out)),
        }
    }
}

impl Registry {
    /// The approvals in memory. Never hold it while waiting.
    pub fn open(&self) -> MutexGuard<'_, OpenApprovals> {
        self.open.lock().expect("no holder of the lock panics")
    }

    /// Hints for data planes. Only the first caller gets the receiver.
    pub fn hints(&self) -> Option<mpsc::Receiver<Hint>> {
        self.hints_out.lock().expect("no holder of the lock panics").take()
    }

    /// True once everything that was in the log at start has been read.
    pub fn is_caught_up(&self) -> bool {
        self.open().caught_up
    }

    /// Updates an approval in memory and wakes waiting tasks.
    pub fn learn(&self, approval: &Approval) {
        let hint = approval.state.requested.as_ref().map(|requested| Hint {
            producer: requested.opening.producer.clone(),
            approval: approval.id.clone(),
            version: approval.state.version,
            phase: approval.state.phase,
        });
        let waited = {
            let mut open = self.open();
            let waited = open.get(&approval.id).is_some_and(|known| known.phase == Phase::Pending);
            if !open.put(approval) {
                return;
            }
            waited
        };
        if waited {
            self.waits.note(approval);
        }
        let granted = [Phase::Granted, Phase::Minted, Phase::Redeemed];
        if let Some(hint) = &hint
            && hint.producer.as_str() == RESERVED_TOOL
            && granted.contains(&hint.phase)
        {
            self.add_own(hint.approval.clone());
        }
        self.cards.check_at(&approval.id, Instant::now());
        self.changed.send_modify(|count| *count += 1);
        self.timers.notify_one();
        if let Some(hint) = hint {
            // A hint may be lost: the data plane also asks for the state itself.
            let _ = self.hints.try_send(hint);
        }
    }

    /// Notes that the clerk must look at a change of policies.
    pub fn add_own(&self, id: Ident) {
        let mut own = self.own.lock().expect("no holder of the lock panics");
        if !own.contains(&id) {
            own.push_back(id);
        }
        drop(own);
        self.own_news.notify_one();
    }

    /// The next change that the clerk must look at.
    pub fn take_own(&self) -> Option<Ident> {
        self.own.lock().expect("no holder of the lock panics").pop_front()
    }

    /// Decisions may be possible that were not before: makes every approval due for its timers and its cards.
    pub fn check_all(&self, now: ledger::time::Nanos) {
        let known = self.open().all_due(now);
        for id in known {
            self.cards.check_at(&id, Instant::now());
        }
        self.timers.notify_one();
    }
}
