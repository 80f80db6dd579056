//! Work that waits for the writer: a bounded queue for each log, served in turn (P12, P13).

use crate::{
    ident::Ident,
    journal,
    log::replicas::Certified,
    post::{Arrival, Explained, Outcome, Prepared},
    reader::Published,
    store::LogNumber,
    timing::Timings,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex},
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Why messages were refused. Nothing of them was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Compare-and-swap was lost, or its outcome could not be determined.
    #[error(transparent)]
    Refused(journal::Error),
    /// The log is halted until a person acts.
    #[error("the log is halted: {0}")]
    Halted(String),
    /// The tenant was deleted.
    #[error("the tenant is deleted")]
    Deleted,
}

/// The result of an append.
#[derive(Clone, Debug)]
pub struct Done {
    /// Journal sequences, in order.
    pub seqs: Vec<u64>,
    /// Outcome of each message.
    pub outcomes: Vec<Outcome>,
    /// The published state that contains them.
    pub published: Arc<Published>,
}

/// One piece of work for the writer.
pub enum Work {
    /// Append to the embedded journal and post, in one commit.
    Append {
        /// The messages, each with the last sequence that it expects on its subject.
        messages: Vec<(Option<u64>, Prepared)>,
        /// Receives the answer after fsync, guard and publishing.
        reply: oneshot::Sender<Result<Done, Error>>,
        /// Their permits of the tenant's queue.
        permit: OwnedSemaphorePermit,
    },
    /// Post messages that are already in another journal.
    Post {
        /// The messages, in journal order.
        messages: Vec<(Arrival, Prepared)>,
        /// Their permits of the tenant's queue.
        permit: OwnedSemaphorePermit,
    },
    /// Post what was in holes of another journal, as later messages explain it.
    Explained {
        /// The explained holes, in journal order.
        holes: Vec<Explained>,
        /// Their permits of the tenant's queue.
        permit: OwnedSemaphorePermit,
    },
    /// Stop posting to this log.
    Halt {
        /// The reason, for the operator.
        reason: String,
    },
    /// Begin to post to a log that was just made, or opened at start.
    Open(Box<super::Active>),
    /// Show what a majority of the replicas has cosigned, once it is posted here.
    Certified(Arc<Certified>),
}

impl Work {
    /// Answers that it was not done.
    pub(super) fn refuse(self, error: &Error) {
        if let Self::Append { reply, .. } = self {
            let _ = reply.send(Err(error.clone()));
        }
    }

    fn messages(&self) -> usize {
        match self {
            Self::Append { messages, .. } => messages.len(),
            Self::Post { messages, .. } => messages.len(),
            Self::Explained { holes, .. } => holes.len(),
            Self::Halt { .. } | Self::Open(_) | Self::Certified(_) => 0,
        }
    }
}

#[derive(Default)]
struct State {
    queues: BTreeMap<LogNumber, VecDeque<(Instant, Work)>>,
    last: LogNumber,
    closed: bool,
}

/// What one commit takes.
pub struct Taken {
    /// The work, by log.
    pub works: Vec<(LogNumber, Vec<Work>)>,
    /// When each of it was handed over.
    pub since: Vec<Instant>,
}

/// The queues of all logs.
#[derive(Default)]
pub struct Inbox {
    /// Time that the writer's steps take.
    pub timings: Timings,
    state: Mutex<State>,
    ready: Condvar,
}

impl Inbox {
    /// Adds work. The caller holds the permits for it.
    pub fn push(&self, number: LogNumber, work: Work) {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        state.queues.entry(number).or_default().push_back((Instant::now(), work));
        self.ready.notify_one();
    }

    /// Returns work that must come first in the next commit.
    pub fn put_back(&self, number: LogNumber, works: Vec<Work>) {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        let queue = state.queues.entry(number).or_default();
        for work in works.into_iter().rev() {
            queue.push_front((Instant::now(), work));
        }
    }

    /// Measures a commit that began then, of work that was handed over at these times. `signed`: its entries can be proven.
    pub fn committed(&self, begun: Instant, since: &[Instant], signed: bool) {
        self.timings.commit.observe(begun.elapsed());
        if signed {
            for since in since {
                self.timings.proof.observe(since.elapsed());
            }
        }
    }

    /// Ends the queues. The writer finishes the remaining work and ends.
    pub fn close(&self) {
        self.state.lock().expect("no holder of the lock panics").closed = true;
        self.ready.notify_one();
    }

    /// Waits for work and takes about `max` messages, an equal share of each log. Begins after the log that
    /// was served first the last time. `None` when closed and empty.
    pub fn take(&self, max: usize) -> Option<Taken> {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        while state.queues.is_empty() {
            if state.closed {
                return None;
            }
            state = self.ready.wait(state).expect("no holder of the lock panics");
        }
        let share = (max / state.queues.len()).max(1);
        let last = state.last;
        let mut turns: Vec<LogNumber> = state.queues.keys().copied().collect();
        let after = turns.partition_point(|number| *number <= last);
        turns.rotate_left(after);
        state.last = turns[0];
        let mut taken = Taken { works: Vec::with_capacity(turns.len()), since: Vec::new() };
        for number in turns {
            let queue = state.queues.get_mut(&number).expect("listed above");
            let (mut works, mut count) = (Vec::new(), 0);
            while count < share
                && let Some((since, work)) = queue.pop_front()
            {
                self.timings.queue.observe(since.elapsed());
                taken.since.push(since);
                count += work.messages().max(1);
                works.push(work);
            }
            if queue.is_empty() {
                state.queues.remove(&number);
            }
            taken.works.push((number, works));
        }
        Some(taken)
    }
}

/// A posted message whose producer asked for a receipt.
#[derive(Clone, Debug)]
pub struct ReceiptWanted {
    /// Tenant of the message.
    pub tenant: Ident,
    /// Producer, from the subject.
    pub producer: Ident,
    /// Subject for the receipt, as requested. Not checked yet.
    pub to: String,
    /// The event's `id`, if it could be read.
    pub id: Option<String>,
    /// Outcome of the message.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_logs_are_served_in_turn() {
        let inbox = Inbox::default();
        for _ in 0..10 {
            inbox.push(LogNumber(1), Work::Halt { reason: String::new() });
        }
        inbox.push(LogNumber(2), Work::Halt { reason: String::new() });
        let order = |inbox: &Inbox| -> Vec<(u32, usize)> {
            let taken = inbox.take(4).unwrap();
            taken.works.iter().map(|(number, works)| (number.0, works.len())).collect()
        };
        assert_eq!(order(&inbox), [(1, 2), (2, 1)]);
        inbox.push(LogNumber(2), Work::Halt { reason: String::new() });
        assert_eq!(order(&inbox), [(2, 1), (1, 2)]);
        assert_eq!(order(&inbox), [(1, 4)]);
        inbox.close();
        assert_eq!(order(&inbox), [(1, 2)]);
        assert!(inbox.take(4).is_none());
    }
}
