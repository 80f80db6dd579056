//! The calls that are the same for either adapter, for whoever holds a tenant's [`Journal`].

use super::{Error, Journal, Message, State, embedded};
use crate::time::Nanos;
use tokio::task::block_in_place;

fn absent() -> Error {
    Error::Unavailable("it could not be opened at start".into())
}

impl Journal {
    /// Who the journal is, and how far it reaches.
    pub async fn state(&self) -> Result<State, Error> {
        match self {
            Self::Embedded(journal) => block_in_place(|| journal.state()),
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.state().await,
            Self::Absent => Err(absent()),
        }
    }

    /// The clock that gives its messages their time, as it stands now. Nothing is appended.
    pub async fn time(&self) -> Result<Nanos, Error> {
        match self {
            Self::Embedded(_) => Ok(embedded::now()),
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.time().await,
            Self::Absent => Err(absent()),
        }
    }

    /// How often the way to it was made: another number means that it was away in between.
    pub fn connects(&self) -> u64 {
        match self {
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.connects(),
            Self::Embedded(_) | Self::Absent => 0,
        }
    }

    /// The message at `seq`; `None` when it was erased, trimmed or never given.
    pub async fn get(&self, seq: u64) -> Result<Option<Message>, Error> {
        match self {
            Self::Embedded(journal) => block_in_place(|| journal.get(seq)),
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.get(seq).await,
            Self::Absent => Err(absent()),
        }
    }

    /// Removes every message with a sequence below `below`. Repeating it is harmless.
    pub async fn trim(&self, below: u64) -> Result<(), Error> {
        match self {
            Self::Embedded(journal) => block_in_place(|| journal.trim(below)),
            #[cfg(feature = "jetstream")]
            Self::JetStream(stream) => stream.trim(below).await,
            Self::Absent => Err(absent()),
        }
    }
}
