//! The state that posting needs when a message is posted again.

use super::{base::Base, state::Sources};
use crate::{
    entry::View,
    post::{Budgets, Histories},
    store::{self, Family, LogNumber, Read, Write, rocks::Rocks},
};
use sha2::{Digest as _, Sha256};
use std::{cell::Cell, collections::HashMap};

/// The state before a message: what is stored, as far as entries before it gave it.
pub(super) struct Before<'a> {
    store: &'a Rocks,
    number: LogNumber,
    /// Number of entries before it.
    pub size: u64,
    /// True if the next entry is that of this very message. Then its event was not posted before: every event's entry
    /// has its row in the index of events, which is compared as a whole.
    pub is_new: bool,
    /// The numbers of each source.
    pub sources: Sources,
    /// The last sequence of each signed subject, by [`short`] of its key.
    pub subjects: HashMap<[u8; 16], u64>,
    /// What is booked on budgets.
    budgets: Budgets,
    /// The rows of earlier decisions.
    histories: Histories,
    /// Entries before this leaf index were pruned.
    pruned: u64,
    /// True if one of them was asked for, and is gone.
    pub missed: Cell<bool>,
}

/// 16 bytes that stand for a key in memory.
pub(super) fn short(key: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(key).into();
    *digest.first_chunk().expect("16 of 32 bytes")
}

impl<'a> Before<'a> {
    /// The state before the first message.
    pub fn new(store: &'a Rocks, number: LogNumber) -> Self {
        Self {
            store,
            number,
            size: 0,
            is_new: false,
            sources: Sources::new(),
            subjects: HashMap::new(),
            budgets: Budgets::new(number),
            histories: Histories::new(number),
            pruned: 0,
            missed: Cell::default(),
        }
    }

    /// Begins behind the entries that were pruned.
    pub fn begin(&mut self, base: &Base) -> Result<(), store::Error> {
        self.size = base.state.size;
        self.pruned = base.state.size;
        self.sources = base.sources()?;
        self.budgets = base.budgets(self.number);
        self.histories = base.histories(self.number);
        let subjects = base.subjects();
        self.subjects = subjects.map(|(key, seq)| (short(&self.number.key(key)), seq)).collect();
        Ok(())
    }

    /// Takes what a message that was posted again wrote.
    pub fn keep(&mut self, writes: &[Write]) {
        self.budgets.apply(writes);
        self.histories.apply(writes);
    }

    /// Takes an entry whose message is gone. What is wrong with it is found elsewhere.
    pub fn note(&mut self, index: u64, view: &View<'_>) {
        self.budgets.take(index, view).unwrap_or_default();
        self.histories.take(index, view).unwrap_or_default();
    }
}

impl Read for Before<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, store::Error> {
        let index = |bytes: &[u8]| bytes.try_into().map_or(u64::MAX, u64::from_be_bytes);
        match family {
            Family::Keys if self.is_new => Ok(None),
            Family::Keys => {
                let kept = self.store.get(family, key)?;
                Ok(kept.filter(|bytes| index(bytes) < self.size))
            }
            Family::Entries | Family::Payload => {
                let Some(index) = key.get(4..).map(index).filter(|index| *index < self.size) else {
                    return Ok(None);
                };
                if index < self.pruned {
                    // Even where its bundle stays, its payload is gone.
                    self.missed.set(true);
                }
                self.store.get(family, key)
            }
            Family::Sources => {
                let source = key.strip_prefix(&self.number.key(&[])[..]);
                let source = source.and_then(|source| <[u8; 32]>::try_from(source).ok());
                Ok(source.and_then(|source| self.sources.get(&source)).map(store::to_json))
            }
            Family::Subjects => {
                Ok(self.subjects.get(&short(key)).map(|seq| seq.to_be_bytes().to_vec()))
            }
            Family::Budgets => self.budgets.rows().get(family, key),
            Family::History => self.histories.rows().get(family, key),
            _ => self.store.get(family, key),
        }
    }
}
