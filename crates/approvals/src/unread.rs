//! Approvals whose entries a reader of the log has met, and that it must still read. Most approvals of a long log are
//! over; of those, only the last ones are read.

use decider::approval::Glance;
use ledger::{ident::Ident, post::NotOpenedBody, time::Nanos};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// An `approval` entry at a glance.
#[derive(Debug, Deserialize)]
pub struct Met {
    /// Its message.
    #[serde(rename = "event")]
    pub message: Glance,
    journal: Place,
}

#[derive(Debug, Deserialize)]
struct Place {
    time: Nanos,
}

impl Met {
    /// Reads the bytes of an `approval` entry. They must be proven: nothing but the form of these members is checked.
    pub fn read(entry: &[u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }

    /// `journal.time` of the message.
    pub fn at(&self) -> Nanos {
        self.journal.time
    }
}

/// A `not_opened` entry at a glance.
#[derive(Debug, Deserialize)]
pub struct NotOpenedMet {
    event: NotOpenedBody,
}

impl NotOpenedMet {
    /// Leaf index of the decision that opened nothing. `entry`: proven bytes.
    pub fn decision(entry: &[u8]) -> Option<u64> {
        serde_json::from_slice(entry).ok().map(|met: Self| met.event.decision.index)
    }
}

/// The kind of an entry, from its bytes. After it come only digests, numbers and names.
pub fn kind_of(entry: &str) -> Option<&str> {
    const BEFORE: &str = "\"kind\":\"";
    let rest = &entry[entry.rfind(BEFORE)? + BEFORE.len()..];
    rest.split('"').next()
}

/// Approvals that are still to be read, each with the leaf index of its last entry so far.
#[derive(Debug)]
pub struct Unread {
    open: BTreeMap<Ident, u64>,
    over: BTreeMap<u64, Ident>,
    ends: HashMap<Ident, u64>,
    over_max: usize,
}

impl Unread {
    /// Nothing yet. Of approvals that are over, the last `over_max` will be read.
    pub fn new(over_max: usize) -> Self {
        let (open, over, ends) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self { open, over, ends, over_max }
    }

    /// Notes an entry of an approval that must be read.
    pub fn add(&mut self, id: Ident, index: u64) {
        self.open.insert(id, index);
    }

    /// Notes an entry after which the approval is over, unless it must be read anyway.
    pub fn add_over(&mut self, id: Ident, index: u64) {
        self.open.remove(&id);
        if let Some(before) = self.ends.insert(id.clone(), index) {
            self.over.remove(&before);
        }
        self.over.insert(index, id);
        if self.over.len() > self.over_max
            && let Some((_, oldest)) = self.over.pop_first()
        {
            self.ends.remove(&oldest);
        }
    }

    /// What must be read, in the order of the last entries: so those that ended last are known as such.
    pub fn into_read(self) -> Vec<(Ident, u64)> {
        let mut all = self.over;
        all.extend(self.open.into_iter().map(|(id, index)| (index, id)));
        all.into_iter().map(|(index, id)| (id, index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ident(text: &str) -> Ident {
        Ident::new(text).unwrap()
    }

    #[test]
    fn the_last_ones_that_are_over_are_read_and_all_that_are_open() {
        let mut unread = Unread::new(2);
        let mut index = 0;
        let mut meet = |id: &str, over: bool| {
            index += 1;
            if over { unread.add_over(ident(id), index) } else { unread.add(ident(id), index) }
        };
        for (id, over) in [
            ("a", false),
            ("b", false),
            ("b", true),
            ("c", false),
            ("c", true),
            ("d", false),
            ("d", true),
            ("e", false),
            ("c", true),
            ("f", true),
        ] {
            meet(id, over);
        }
        let read: Vec<_> =
            unread.into_read().into_iter().map(|(id, at)| (id.to_string(), at)).collect();
        let expected = [("a", 1), ("e", 8), ("c", 9), ("f", 10)];
        assert_eq!(read, expected.map(|(id, at)| (id.to_owned(), at)));
    }

    #[test]
    fn the_kind_is_that_of_the_entry() {
        let check = |event: &str, kind: &str| {
            let entry = format!(
                r#"{{"commit":"c","event":{event},"journal":{{"epoch":1,"seq":2,"time":"2026-11-20T05:48:00Z"}},"kind":"{kind}","payload":["d"],"prior":{{"system":0}},"producer":"kind","tenant":"acme","v":1}}"#
            );
            assert_eq!(kind_of(&entry), Some(kind));
        };
        check("{}", "approval");
        check(r#"{"kind":"approval"}"#, "decision");
        check(r#"{"data":{"labels":{"kind":"rules"}}}"#, "event");
        assert_eq!(kind_of("{}"), None);
    }
}
