//! Places in the journal: entries follow it, and a message is one entry.

use crate::{
    entry::{Kind, View},
    json,
};

/// Where the entries so far lie in the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Epoch and sequence of the last message, and whether it had its own entry.
    last: Option<(u64, u64, bool)>,
}

impl Places {
    /// Behind the message at this place, which had its own entry or not.
    #[cfg(feature = "rocksdb")]
    pub(super) fn behind(last: (u64, u64, bool)) -> Self {
        Self { last: Some(last) }
    }

    /// True if the last message had its own entry.
    #[cfg(feature = "rocksdb")]
    pub(super) fn had_own(&self) -> bool {
        self.last.is_some_and(|(_, _, own)| own)
    }

    /// Takes the next entry. It must follow the journal, and a message has one entry of its own beside those about gaps,
    /// activations and what a clause froze.
    pub(super) fn take(&mut self, view: &View<'_>) -> Result<(), &'static str> {
        let (epoch, seq) = (view.origin.epoch, view.origin.seq);
        let mut own = !view.is_beside();
        if let Some((last_epoch, last_seq, had_own)) = self.last {
            if (epoch, seq) < (last_epoch, last_seq) {
                return Err("its place in the journal is before that of the entry before");
            }
            if (epoch, seq) == (last_epoch, last_seq) {
                if own && had_own {
                    return Err("one journal message can't be two entries");
                }
                own |= had_own;
            }
        }
        // The message that opens an epoch comes, in the new journal, after earlier messages of it.
        let from = view.at(&["event", "from"]).and_then(json::Value::as_u64);
        self.last = match from.filter(|_| view.kind == Kind::Journal) {
            Some(from) => Some((epoch, from.saturating_sub(1), false)),
            None => Some((epoch, seq, own)),
        };
        Ok(())
    }
}
