//! What became of followed messages, remembered for the tasks that appended them.

use crate::post::Outcome;
use std::{collections::VecDeque, sync::Mutex};

/// Most outcomes that are remembered.
const OUTCOMES_MAX: usize = 65_536;

/// Outcome of one followed message. The salt identifies the message.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Journal sequence of the message.
    pub seq: u64,
    /// Its `Countersign-Salt` header.
    pub salt: Option<String>,
    /// The event's `id`, if it could be read.
    pub id: Option<String>,
    /// Outcome of the message.
    pub outcome: Outcome,
}

#[derive(Default)]
pub(super) struct Outcomes(Mutex<VecDeque<Followed>>);

impl Outcomes {
    pub fn remember(&self, new: Vec<Followed>) {
        let mut outcomes = self.0.lock().expect("no holder of the lock panics");
        outcomes.extend(new);
        let excess = outcomes.len().saturating_sub(OUTCOMES_MAX);
        outcomes.drain(..excess);
    }

    pub fn find(&self, seq: u64, salt: &str) -> Option<(Option<String>, Outcome)> {
        let outcomes = self.0.lock().expect("no holder of the lock panics");
        // They are ascending, because a new epoch, which assigns sequences again, begins with a new process.
        let at = outcomes.partition_point(|followed| followed.seq < seq);
        let found = outcomes.get(at).filter(|followed| followed.seq == seq)?;
        let ours = found.salt.as_deref() == Some(salt);
        ours.then(|| (found.id.clone(), found.outcome.clone()))
    }
}
