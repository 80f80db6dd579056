//! What a question got: a verdict that is recorded, or why it has none.

use crate::commands::Error;
use decider::policy::Ruling;
use ledger::{event::Refused, ident::Ident, log::merkle::Hash, spool::SpoolPlace, time::Nanos};

/// Where a verdict is recorded.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// In the log.
    Entry {
        /// Leaf index of its entry.
        index: u64,
        /// Leaf hash of its entry.
        leaf: Hash,
        /// The approval that it opens, if people must decide.
        approval: Ident,
    },
    /// In this server's spool: it is posted later.
    Spool(SpoolPlace),
}

/// A verdict that is recorded.
#[derive(Clone, Debug)]
pub struct Told {
    /// The verdict and its reasons.
    pub ruling: Ruling,
    /// Where it is recorded.
    pub recorded: Recorded,
    /// `id` of the question.
    pub id: String,
    /// The call digest.
    pub digest: String,
    /// True if an earlier request got it.
    pub repeated: bool,
    /// When the journal took it; of one that is not there yet, when it was judged.
    pub at: Nanos,
}

impl Told {
    /// Leaf index of its entry, if it has one.
    pub fn index(&self) -> Option<u64> {
        match &self.recorded {
            Recorded::Entry { index, .. } => Some(*index),
            Recorded::Spool(_) => None,
        }
    }
}

/// Why a question gets no verdict.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// The question can't be recorded: it breaks a limit of events.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Another call has this source and id.
    #[error("entry {first} has this source and id for another call: use a new id for a new call")]
    Conflict {
        /// Leaf index of that decision.
        first: u64,
    },
    /// It was answered long ago, or a part of the answer was erased: it is no permission any more.
    #[error(
        "entry {index} answered this question at {at}; a verdict counts for {valid_for} s, and while all of it is there. \
         Ask with a new id"
    )]
    Stale {
        /// Seconds for which a verdict counts.
        valid_for: u64,
        /// Leaf index of that decision.
        index: u64,
        /// When it was recorded.
        at: Nanos,
    },
    /// It was allowed, and its call is frozen since: it is no permission any more.
    #[error(
        "entry {index} allowed this call, and entry {freeze} froze it since: it is no permission any more"
    )]
    Frozen {
        /// Leaf index of that decision.
        index: u64,
        /// Leaf index at which the freeze began.
        freeze: u64,
    },
    /// There is no such decision about a call of this gateway.
    #[error("entry {index} is no decision of this server about a call of this gateway")]
    Unknown {
        /// Leaf index that was named.
        index: u64,
    },
    /// Another result was reported for this decision before.
    #[error("entry {first} reports another result of this call: a call is made once")]
    OtherResult {
        /// Leaf index of that report.
        first: u64,
    },
    /// The bundle can't be read here.
    #[error("the policies in force can't be used: {0}")]
    NoBundle(String),
    /// Nothing can be recorded now.
    #[error(transparent)]
    Failed(#[from] Error),
}
