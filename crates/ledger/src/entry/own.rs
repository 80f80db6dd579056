//! An entry of our own, read straight into the type of its event.

use super::{Kind, Origin, VERSION};
use crate::time::Nanos;
use serde::{Deserialize, de::DeserializeOwned};

/// An entry whose member `event` is one of our own types.
#[derive(Clone, Debug)]
pub struct Own<T> {
    /// What it records.
    pub kind: Kind,
    /// Its place in the journal.
    pub origin: Origin,
    /// What happened.
    pub event: T,
}

#[derive(Deserialize)]
struct Written<'a, T> {
    event: T,
    journal: Place,
    #[serde(borrow)]
    kind: &'a str,
    v: u32,
}

#[derive(Deserialize)]
struct Place {
    epoch: u64,
    seq: u64,
    time: Nanos,
}

impl<T: DeserializeOwned> Own<T> {
    /// Reads the bytes of an entry, which must be proven: they are in the tree, so they have the form that was checked
    /// when they were posted. `None` if the event is of another type.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let Written { event, journal, kind, v } = serde_json::from_slice(bytes).ok()?;
        let Place { epoch, seq, time } = journal;
        let kind = Kind::parse(kind).filter(|_| v == VERSION)?;
        Some(Self { kind, origin: Origin { epoch, seq, time }, event })
    }
}
