//! What the ledger keeps, as families of sorted keys; one commit changes many keys at once or none.
//!
//! Key layout, version 7 (all integers big-endian; `log` is a u32 given at `init`, never reused):
//!
//! | family | key | value |
//! |---|---|---|
//! | `meta` | `"format"` | layout version, ASCII decimal |
//! | `meta` | `"log" ‖ tenant` | the log's number, u32 |
//! | `meta` | `"position" ‖ log` | [`crate::post::Position`] as JSON, under the [seal](crate::seal): the commit record |
//! | `meta` | `"keys" ‖ log` | [`crate::post::Keys`] as JSON |
//! | `meta` | `"checkpoint" ‖ log` | newest checkpoint, verbatim |
//! | `meta` | `"erasing" ‖ log ‖ epoch u64 ‖ seq u64` | [`crate::post::Erasing`] as JSON, until that erasure is complete |
//! | `meta` | `"unnamed" ‖ log ‖ epoch u64 ‖ seq u64` | the same, for a message that must go and that no erasure entry names yet |
//! | `meta` | `"missing" ‖ log ‖ index u64` | sequence of the message that explained why the payload of that entry was never here, u64 |
//! | `meta` | `"erased" ‖ log ‖ index u64` | JSON: the payload names of that entry that were erased, `null` for all |
//! | `meta` | `"expired" ‖ log` | [`crate::erased::Expired`] as JSON: entries whose payload is gone as a whole |
//! | `meta` | `"expiring" ‖ log` | [`crate::erased::Expiring`] as JSON, until the bytes of that payload are gone |
//! | `meta` | `"pruning" ‖ log` | [`crate::post::Pruned`] as JSON, until the entries before its size are removed |
//! | `meta` | `"pruned" ‖ log` | [`crate::post::Pruned`] as JSON: the pruning whose base is stored |
//! | `meta` | `"base" ‖ log ‖ family u8 ‖ key` | a row of what the entries before that size give (`fsck::base`) |
//! | `meta` | `"journal" ‖ log ‖ epoch u64` | last sequence the embedded journal ever gave, u64 |
//! | `meta` | `"approvals" ‖ log` | what the approvals worker begins from, as JSON, under the seal |
//! | `meta` | `"sink" ‖ log ‖ name` | how far a sink is, as JSON, under the seal; on the disk with the next commit |
//! | `meta` | `"passkey" ‖ log ‖ key id` | the counter of a device's last signature, u32, under the seal |
//! | `meta` | `"letter" ‖ log ‖ name ‖ 0 ‖ index u64` | JSON: a record that a sink's receiver refused, with its words |
//! | `meta` | `"watch" ‖ log` | what the watch of the log knows so far, as JSON, under the seal |
//! | `meta` | `"told" ‖ log ‖ channel` | how far a channel of a chat was told of alerts, as JSON, under the seal |
//! | `meta` | `"witnessed" ‖ log` | the newest checkpoints with the cosignatures of witnesses, as JSON, under the seal |
//! | `meta` | `"step" ‖ log ‖ version u64` | the receipt of a members entry under a checkpoint of both sets, verbatim |
//! | `meta` | `"operator"` | SHA-256 of the operator key, base64url, under the seal |
//! | `entries` | `log ‖ index u64` | the leaf's bytes |
//! | `tiles` | `log ‖ level u8 ‖ number u64` | 256 hashes, full tiles only; unfinished ones follow from what is to their left |
//! | `payload` | `log ‖ index u64` | [`crate::entry::Payload`]; the only erasable family beside `journal` |
//! | `keys` | `log ‖ SHA-256(JCS[producer, source, id])` | index of the event, u64 |
//! | `sources` | `log ‖ SHA-256(JCS[producer, source])` | [`crate::sequence::Sequence`] as JSON |
//! | `subjects` | `log ‖ epoch u64 ‖ subject` | last journal sequence on a signed subject, u64; for `system.` posting believes the commit record |
//! | `access` | `log ‖ key id` | [`crate::system::AccessKey`] as JSON |
//! | `access` | `0xffffffff ‖ key id` | the log whose key it is, u32 |
//! | `repeats` | `log ‖ index u64 ‖ epoch u64 ‖ seq u64` | empty: a message that repeated that event (P11) |
//! | `checkpoints` | `log ‖ unix second u64` | last checkpoint of that second |
//! | `rotations` | `log ‖ size u64` | checkpoint of the commit that holds a key entry |
//! | `journal` | `log ‖ epoch u64 ‖ seq u64` | one message of the embedded journal |
//! | `approvals` | `log ‖ approval id ‖ 0x00 ‖ index u64` | `a`: an `approval` entry of that approval; `e`: an `evidence` entry; `n`: a `not_opened` entry |
//! | `reports` | `log ‖ SHA-256(JCS[producer, source])` | [`crate::post::Reported`] as JSON: the last entry of that source, and how many it has |
//! | `counts` | `log ‖ day u32 ‖ name ‖ 0x00 ‖ value` | u64: how often ([`crate::post::Counts`]); day 0xffffffff: over all days |
//! | `counts` | `log ‖ day u32 ‖ name ‖ 0x01` | u64: of all values that came after the first 100 |
//! | `counts` | `log ‖ day u32 ‖ name ‖ 0x02` | number of values with a count of their own, u64 |
//! | `budgets` | `log ‖ "s" ‖ SHA-256(JCS[id, key, unit, currency])` | [`crate::budget::Row`] as JSON: the sums of a budget |
//! | `budgets` | `log ‖ "r" ‖ index u64` | [`crate::budget::Reservation`] as JSON: what that decision reserved, until nothing can change it |
//! | `budgets` | `log ‖ "a" ‖ approval id` | leaf index of its decision, as JSON, while it may release what is reserved |
//! | `budgets` | `log ‖ "w"` | the first and the last reservation that wait for a report, as JSON |
//! | `history` | `log ‖ "d" ‖ index u64` | [`crate::history::Decided`] as JSON: a decision of ours of the last 32 days, with its places in rows |
//! | `history` | `log ‖ "h" ‖ SHA-256(JCS[same, id, tool, action])` | the end of a row as JSON: its last decision, and the last of each verdict |
//! | `history` | `log ‖ "a" ‖ approval id` | leaf index of its decision, as JSON |
//! | `history` | `log ‖ "w"` | the first and the last decision that are kept, as JSON |
//! | `search` | `log ‖ 0x00` | [`crate::search::Progress`] as JSON: how far the other rows are. They are behind the log, and hints only |
//! | `search` | `log ‖ 0x01 ‖ SHA-256(term)[..16] ‖ !time u64 ‖ !index u64` | what an approval is found by, as JSON (`approvals::search`), by the time and the leaf index of its decision, the latest first |
//! | `subject_index` | `log ‖ epoch u64 ‖ subject ‖ 0x00 ‖ seq u64` | nothing: a message of the embedded journal on a signed subject |

mod changes;
#[cfg(feature = "rocksdb")]
pub mod rocks;

pub use changes::{Changes, Write};

use crate::ident::Ident;
use std::collections::HashMap;

/// Version of the key layout. Another one is refused.
pub const LAYOUT: u32 = 7;

/// A set of keys with one purpose; a RocksDB column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Directory of logs, commit records, keys of logs.
    Meta,
    /// Leaf bytes.
    Entries,
    /// Full hash tiles.
    Tiles,
    /// Erasable disclosures.
    Payload,
    /// The event of each `(producer, source, id)`.
    Keys,
    /// Numbers of each source.
    Sources,
    /// Last sequence of each signed subject.
    Subjects,
    /// API keys.
    Access,
    /// The last checkpoint of each second.
    Checkpoints,
    /// Checkpoints that prove a key entry.
    Rotations,
    /// Messages of the embedded journal.
    Journal,
    /// Messages that repeated an event.
    Repeats,
    /// Messages of the embedded journal by signed subject.
    SubjectIndex,
    /// The entries of each approval.
    Approvals,
    /// What each source reported.
    Reports,
    /// Counts of what entries say, by UTC day.
    Counts,
    /// Sums of budgets, and what is reserved.
    Budgets,
    /// Earlier decisions by agent, session and run.
    History,
    /// Approvals by what they are found by.
    Search,
}

impl Family {
    /// Every family with its name on disk.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::Meta, "meta"),
        (Self::Entries, "entries"),
        (Self::Tiles, "tiles"),
        (Self::Payload, "payload"),
        (Self::Keys, "keys"),
        (Self::Sources, "sources"),
        (Self::Subjects, "subjects"),
        (Self::Access, "access"),
        (Self::Checkpoints, "checkpoints"),
        (Self::Rotations, "rotations"),
        (Self::Journal, "journal"),
        (Self::Repeats, "repeats"),
        (Self::SubjectIndex, "subject_index"),
        (Self::Approvals, "approvals"),
        (Self::Reports, "reports"),
        (Self::Counts, "counts"),
        (Self::Budgets, "budgets"),
        (Self::History, "history"),
        (Self::Search, "search"),
    ];
}

/// Why the store failed. Always a halt: what is on disk is unknown until the next start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The storage engine reported an error.
    #[error(
        "the store failed: {0}; check disk space and health, then start again; if its files are damaged, restore a backup"
    )]
    Io(String),
    /// The directory is not as it must be. The text says what to do.
    #[error("{0}")]
    Place(String),
    /// Another process has it open.
    #[error(
        "the data directory is held by another process: only one server may use it; stop the other one first"
    )]
    Held,
    /// The entry was removed: an export has it.
    #[error(
        "it was pruned: every entry from {kept_from} on is here, and entry {by} names the export that has those before it"
    )]
    Pruned {
        /// The first leaf index from which every entry is here.
        kept_from: u64,
        /// The entry that names the export.
        by: u64,
    },
    /// It contains bytes that this version did not write.
    #[error("the store holds something unreadable in {family} ({what}); run `countersign fsck`")]
    Corrupt {
        /// Name of the family.
        family: &'static str,
        /// Part of the value.
        what: &'static str,
    },
}

/// Reads one key. This is the port between posting and the store.
pub trait Read {
    /// The value of `key`, if it has one.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
}

/// A store in memory: for tests, and for posting a journal again to compare (`fsck --replay`).
#[derive(Default)]
pub struct Memory(HashMap<(Family, Vec<u8>), Vec<u8>>);

impl Read for Memory {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(&(family, key.to_vec())).cloned())
    }
}

impl Memory {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every value of a family with its key, in no order.
    pub fn rows(&self, family: Family) -> impl Iterator<Item = (&[u8], &[u8])> {
        let of = self.0.iter().filter(move |((of, _), _)| *of == family);
        of.map(|((_, key), value)| (key.as_slice(), value.as_slice()))
    }

    /// Applies writes.
    pub fn apply(&mut self, writes: impl Iterator<Item = Write>) {
        for (key, value) in writes {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
    }
}

/// Keys of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogNumber(pub u32);

impl LogNumber {
    /// Not a log: prefix of rows that are found without knowing the log.
    pub const ALL: Self = Self(u32::MAX);

    /// `log ‖ rest`.
    pub fn key(self, rest: &[u8]) -> Vec<u8> {
        [&self.0.to_be_bytes(), rest].concat()
    }

    /// `log ‖ n`.
    pub fn numbered(self, n: u64) -> Vec<u8> {
        self.key(&n.to_be_bytes())
    }

    /// `log ‖ level ‖ number`.
    pub fn tile(self, level: u8, number: u64) -> Vec<u8> {
        let mut key = self.key(&[level]);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// `log ‖ epoch ‖ rest`.
    pub fn in_epoch(self, epoch: u64, rest: &[u8]) -> Vec<u8> {
        let mut key = self.numbered(epoch);
        key.extend_from_slice(rest);
        key
    }

    /// Key of an entry of an approval. Without `index`, the common prefix of all of them.
    pub fn approval(self, id: &Ident, index: Option<u64>) -> Vec<u8> {
        let mut key = self.key(id.as_str().as_bytes());
        key.push(0);
        key.extend(index.iter().flat_map(|index| index.to_be_bytes()));
        key
    }

    /// `name ‖ log`, in `meta`.
    pub fn meta(self, name: &str) -> Vec<u8> {
        [name.as_bytes(), &self.0.to_be_bytes()].concat()
    }
}

/// Reads a u64 value.
pub fn read_u64(bytes: &[u8], family: &'static str) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt { family, what: "a number" })?;
    Ok(u64::from_be_bytes(bytes))
}

/// Reads a JSON value.
pub fn read_json<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    family: &'static str,
) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|_| Error::Corrupt { family, what: "a JSON value" })
}

/// Writes a JSON value.
pub fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types serialize")
}
