//! Why an approval was not read or changed.

use ledger::{journal, store};

/// Why what was asked can't be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such approval.
    #[error("there is no such approval")]
    NotFound,
    /// Rules and people are not in force, or a clock is wrong. The text says what to do.
    #[error("{0}")]
    NotReady(String),
    /// Other workers won every attempt. Nothing was done.
    #[error("other changes of this approval came first; try again")]
    Contended,
    /// The outcome is unknown. It is safe to ask again.
    #[error("The outcome is unknown. Repeat the same request.")]
    Unknown,
    /// Its call is frozen.
    #[error("The call is frozen by entry {0}. Execute nothing; end the session.")]
    Frozen(u64),
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A token can't be made or read.
    #[error(transparent)]
    Token(#[from] crate::token::Error),
}

impl Error {
    /// True if an append lost compare-and-swap.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Ledger(ledger::Error::Journal(journal::Error::Conflict)))
    }
}
