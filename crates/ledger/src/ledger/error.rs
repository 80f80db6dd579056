//! Why the ledger refuses or fails.

use crate::{
    entry::Kind,
    guard,
    journal::{self, Subject},
    keyring,
    post::Outcome,
    store,
};

/// Why the ledger refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The guard refuses.
    #[error(transparent)]
    Guard(#[from] guard::Error),
    /// Keys can't be used.
    #[error(transparent)]
    Keys(#[from] keyring::Error),
    /// The journal refused or failed.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Files or configuration are not as they must be, at the start or in a command; the text says what to do.
    #[error("{0}")]
    Setup(String),
    /// The name of a tenant is taken, or was; the text says by what.
    #[error("{0}")]
    Taken(String),
    /// The entry has no payload that could be erased.
    #[error("entry {index} ({kind}) has no payload to erase", kind = kind.as_str())]
    NotErasable {
        /// Leaf index of the entry.
        index: u64,
        /// What it records.
        kind: Kind,
    },
    /// The tenant was deleted, and its log has ended. Nothing was done.
    #[error("The tenant is deleted: nothing is posted to its log any more.")]
    Deleted,
    /// A legal hold is in force. Nothing was erased.
    #[error("the legal hold {0} is in force")]
    Held(crate::ident::Ident),
    /// A message of our own gave no entry, or one that says why it was refused: something changed in between.
    #[error("{subject} was not posted: {why}")]
    NotPosted {
        /// Where to.
        subject: String,
        /// Why.
        why: String,
    },
    /// A key that must be there is not.
    #[error("there is no {0} key")]
    NoKey(&'static str),
    /// The log is halted.
    #[error("the log is halted: {0}")]
    Halted(String),
    /// No majority of the replicas cosigns. Nothing was written.
    #[error("no majority of the replicas cosigns: {0}")]
    NoQuorum(String),
    /// The queue is full. Nothing was written.
    #[error("too many requests wait for this tenant; try again later")]
    Busy,
    /// The journal holds messages that are not posted here yet. Nothing was done.
    #[error("the journal holds messages that this server has not posted yet; try again")]
    Behind,
    /// A replica has not posted journal messages that would be removed. Nothing was done.
    #[error(
        "every replica must have posted the journal up to {needed} first, and one has up to {posted}, or was not heard yet"
    )]
    Lags {
        /// Journal sequence up to which all must have posted.
        needed: u64,
        /// Up to which all are known to have.
        posted: u64,
    },
    /// The outcome is unknown. It is safe to repeat the request.
    #[error(
        "no answer in time; it is unknown whether the events were posted; repeat the same request"
    )]
    Unknown,
}

impl Error {
    /// The leaf index of a message of our own; an error if it gave another entry, or none.
    pub fn unless_posted(subject: &Subject, outcome: Option<&Outcome>) -> Result<u64, Self> {
        let why = match outcome {
            Some(Outcome::Posted { index }) => return Ok(*index),
            Some(Outcome::Rejected { refused, .. }) => refused.to_string(),
            Some(
                Outcome::Duplicate { .. }
                | Outcome::Conflict { .. }
                | Outcome::Void { .. }
                | Outcome::Nothing,
            )
            | None => "it gave no entry of its own".to_owned(),
        };
        Err(Self::NotPosted { subject: subject.to_string(), why })
    }
}
