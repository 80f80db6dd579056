//! The calls that are the same for both adapters.

use super::{Error, Journal, Message, State};
use tokio::task::block_in_place;

pub(crate) fn absent() -> Error {
    Error::Unavailable("it could not be opened at start".into())
}

impl Journal {
    /// Identity and extent of the journal.
    pub async fn state(&self) -> Result<State, Error> {
        match self {
            Self::Embedded(journal) => block_in_place(|| journal.state()),
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.state().await,
            Self::Absent => Err(absent()),
        }
    }

    /// Number of times the connection to the journal was made. A change means that it was lost in between.
    pub fn connects(&self) -> u64 {
        match self {
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.connects(),
            Self::Embedded(_) | Self::Absent => 0,
        }
    }

    /// The message at `seq`. `None` if it was erased, trimmed or never stored.
    pub async fn get(&self, seq: u64) -> Result<Option<Message>, Error> {
        match self {
            Self::Embedded(journal) => block_in_place(|| journal.get(seq)),
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.get(seq).await,
            Self::Absent => Err(absent()),
        }
    }

    /// Removes every message with a sequence below `below`. It may be repeated.
    pub async fn trim(&self, below: u64) -> Result<(), Error> {
        match self {
            Self::Embedded(journal) => block_in_place(|| journal.trim(below)),
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.trim(below).await,
            Self::Absent => Err(absent()),
        }
    }
}
