//! What an auditor does: checks receipts, disclosures, checkpoints and whole exports with the log's public key alone.
//!
//! Pure: files come in as bytes. Every answer says what was checked; the caller prints what was not.

mod acts;
mod claim;
mod entries;
mod following;
mod keys;
mod members;
pub mod part;
mod payload;
pub mod period;
mod places;
pub mod range;
mod summary;
mod whole;

pub use claim::{Claim, Unconnected};
pub use entries::Entries;
pub use following::{Following, Step};
pub use keys::{DocumentedKey, DocumentedMembers, KeysDocument, Named, Trust, Trusted, trust};
pub use members::{NamedSets, ProvenChange, change_of, changes};
pub use payload::{Erased, Standing, disclosed_names};
pub use summary::{Summary, ToldEarly};
pub use whole::{Export, export};

use crate::{
    canonical, disclosure,
    entry::{Kind, Prior, View},
    json,
    log::{
        checkpoint::{self, Checkpoint},
        merkle::{Edge, FullTile, Hash, leaf_hash, verify_consistency},
        note::{self, Vkey},
        receipt::{self, Receipt},
        replicas,
    },
    time::Nanos,
};
use acts::Reasons;
use places::Places;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeSet};

/// Why a file, or all of them together, are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The receipt is wrong.
    #[error("receipt: {0}")]
    Receipt(#[from] receipt::Error),
    /// The checkpoint is wrong.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] note::Error),
    /// A key of the keys document is wrong.
    #[error("keys: key {position} ({what})")]
    Keys {
        /// Position in the document, from 0.
        position: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A change of the replicas in the keys document is wrong.
    #[error("keys: change {version} of the replicas ({what})")]
    Members {
        /// Version of the set.
        version: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The keys document belongs to another log.
    #[error("keys: the document is of {document}, the key of {given}")]
    KeysOfAnotherLog {
        /// Origin in the document.
        document: String,
        /// Name of the given key.
        given: String,
    },
    /// The given key is not in the keys document.
    #[error("keys: the given key {given} is not in the document")]
    KeyNotInDocument {
        /// Name and id of the key.
        given: String,
    },
    /// The whole log is known, and it does not name a trusted key.
    #[error(
        "the log itself does not name {given}, or names it for other sizes: neither its genesis nor a key entry does"
    )]
    KeyNotInLog {
        /// Name and id of the key.
        given: String,
    },
    /// The file is not a consistency proof.
    #[error("not a consistency proof: {0}")]
    Proof(String),
    /// Two files state different values for the same thing.
    #[error(
        "{one} and {other} contradict each other: {what} is not the same in both. Keep both: each is signed by the log's key, so the holder of that key has shown two histories"
    )]
    Contradiction {
        /// The first file.
        one: String,
        /// The second file.
        other: String,
        /// What both state a value of.
        what: String,
    },
    /// Two files can't both be of one log.
    #[error("{one} and {other} contradict each other: {what}")]
    Conflict {
        /// The first file.
        one: String,
        /// The second file.
        other: String,
        /// What is impossible.
        what: String,
    },
    /// An entry is proven, but this log can't have it.
    #[error("entry {index} is proven, but {what}")]
    Entry {
        /// Its leaf index.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Only a key that does not sign trees of this size has signed the checkpoint.
    #[error(
        "checkpoint of size {size}: signed only by a key that does not sign trees of that size"
    )]
    KeyOutOfRange {
        /// Tree size of the checkpoint.
        size: u64,
    },
    /// A disclosure is wrong.
    #[error("disclosure in line {line}: {what}")]
    Disclosure {
        /// Line of the disclosure, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Two checkpoints are not consistent.
    #[error("consistency of {from} and {to}: {what}")]
    Consistency {
        /// Smaller tree size.
        from: u64,
        /// Larger tree size.
        to: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// An export is wrong at one place.
    #[error("{place}: {what}")]
    Export {
        /// Path of the file, or the entry.
        place: String,
        /// What is wrong.
        what: Cow<'static, str>,
    },
}

impl Error {
    /// The error for an export at a file or an entry.
    pub fn export(place: impl Into<String>, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Export { place: place.into(), what: what.into() }
    }
}

/// Verifies a checkpoint: a key that signs trees of its size must have signed it.
pub fn checkpoint(text: &str, trusted: &[Trusted]) -> Result<Checkpoint, Error> {
    in_range(text, trusted, |keys| checkpoint::open(text, keys))
}

/// Opens a note with the keys that sign trees of its size. A key is known for its sizes alone: what it signed of others, rightly or
/// wrongly, is ignored as an unknown key's line.
fn in_range<E: Into<Error>>(
    note: &str,
    trusted: &[Trusted],
    open: impl Fn(&[Vkey]) -> Result<checkpoint::Opened, E>,
) -> Result<Checkpoint, Error> {
    let keys = |of: &dyn Fn(&Trusted) -> bool| -> Vec<Vkey> {
        trusted.iter().filter(|key| of(key)).map(|key| key.vkey.clone()).collect()
    };
    let size = replicas::size_of(note);
    let known = keys(&|key| key.signs(size));
    let opened = open(&known).map_err(Into::into);
    let Err(
        Error::Checkpoint(note::Error::Unsigned { .. })
        | Error::Receipt(receipt::Error::Checkpoint(note::Error::Unsigned { .. })),
    ) = &opened
    else {
        return opened.map(|opened| opened.checkpoint);
    };
    match open(&keys(&|_| true)) {
        Ok(_) => Err(Error::KeyOutOfRange { size }),
        Err(error) => Err(error.into()),
    }
}

/// A consistency proof as `T/proofs/consistency` serves it. It may grow: unknown members are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyProof {
    /// Smaller tree size.
    pub from: u64,
    /// Larger tree size.
    pub to: u64,
    /// Hashes in base64, in the order of RFC 6962 §2.1.2.
    pub proof: Vec<String>,
}

impl ConsistencyProof {
    /// Reads the JSON text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|e| Error::Proof(e.to_string()))
    }

    /// Verifies that the log of `old` is a prefix of the log of `new`. Both are verified checkpoints of the proof's
    /// sizes. Returns the proof's hashes.
    pub fn verify(&self, old: &Checkpoint, new: &Checkpoint) -> Result<Vec<Hash>, Error> {
        let refused = |what| Error::Consistency { from: old.size, to: new.size, what };
        if (self.from, self.to) != (old.size, new.size) || old.origin != new.origin {
            return Err(refused("of other sizes, or the checkpoints are of two logs"));
        }
        let hashes: Option<Vec<Hash>> = self.proof.iter().map(|hash| Hash::parse(hash)).collect();
        let hashes = hashes.ok_or_else(|| refused("a hash that is not 32 bytes in base64"))?;
        if verify_consistency(old.size, new.size, &hashes, &old.root, &new.root) {
            Ok(hashes)
        } else {
            Err(refused(
                "the older log is not a prefix of the newer: one was forked, or the proof was changed",
            ))
        }
    }
}

/// A receipt that verifies.
#[derive(Debug)]
pub struct Verified {
    /// The receipt.
    pub receipt: Receipt,
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
}

/// Verifies a receipt: signature, range of the key, inclusion, and that the entry belongs to this log.
pub fn receipt(text: &str, trusted: &[Trusted]) -> Result<Verified, Error> {
    let receipt = Receipt::parse(text)?;
    let checkpoint = in_range(&receipt.checkpoint, trusted, |keys| receipt.verify(keys))?;
    let (index, origin) = (receipt.index, &checkpoint.origin);
    is_of_log(index, &receipt.entry, origin).map_err(|what| Error::Entry { index, what })?;
    Ok(Verified { receipt, checkpoint })
}

/// Checks that the log of this origin can have this entry at this index.
fn is_of_log(index: u64, entry: &[u8], origin: &str) -> Result<(), &'static str> {
    let view = View::parse(entry).ok_or("it is not an entry of version 1")?;
    let tenant = view.text(&["tenant"]).unwrap_or_default();
    let genesis_of = view.text(&["event", "origin"]).filter(|_| view.kind == Kind::Genesis);
    if !origin.contains(&format!("/tenants/{tenant}/logs/")) {
        Err("it is of another tenant than the log")
    } else if view.kind == Kind::Genesis && (index != 0 || genesis_of != Some(origin)) {
        Err("it is the genesis of another log, or not its first entry")
    } else {
        Ok(())
    }
}

/// Verifies disclosures (one for each line) against an entry. Returns name and value of each.
pub fn disclosures(text: &str, entry: &[u8]) -> Result<Vec<(String, String)>, Error> {
    disclosures_of(text, View::parse(entry).as_ref())
}

/// As [`disclosures`], against an entry that was parsed. `None` has no payload.
pub fn disclosures_of(text: &str, view: Option<&View<'_>>) -> Result<Vec<(String, String)>, Error> {
    let digests: BTreeSet<&str> = view.into_iter().flat_map(View::payload).collect();
    let mut shown: Vec<(String, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |what| Error::Disclosure { line: at + 1, what };
        let value = json::parse_kept(line.as_bytes()).map_err(|_| wrong("not strict JSON"))?;
        let Some([json::Value::String(_), json::Value::String(name), value]) = value.as_array()
        else {
            return Err(wrong("not [salt, name, value]"));
        };
        if !digests.contains(disclosure::digest(line.as_bytes()).as_str()) {
            return Err(wrong(
                "its digest is not in the entry: it was changed, or belongs to another",
            ));
        }
        if shown.iter().any(|(other, _)| other == name) {
            return Err(wrong("the same name twice"));
        }
        let value = String::from_utf8(canonical::to_vec(value)).unwrap_or_default();
        shown.push((name.clone().into_owned(), value));
    }
    Ok(shown)
}

/// Verifies a log from its first entry to its checkpoint, for exports and for `fsck`.
///
/// Give it the entries in order, then compare [`Walk::root`]. It returns full tiles, to be compared with stored ones.
#[derive(Default)]
pub struct Walk {
    edge: Edge,
    time: Nanos,
    prior: Prior,
    places: Places,
    reasons: Reasons,
    summary: Summary,
}

impl Walk {
    /// Goes on behind a tree with this edge: time, `prior` and place of its last entry. `reasons`: leaf hashes of reasons
    /// in it, by index.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn resume(
        edge: Edge,
        (time, prior, last): (Nanos, Prior, (u64, u64, bool)),
        reasons: &[(u64, Hash)],
    ) -> Self {
        let mut walk = Self { edge, time, prior, places: Places::behind(last), ..Self::default() };
        for (index, hash) in reasons {
            walk.reasons.know(*index, *hash);
        }
        walk
    }

    /// True if the last message had an entry of its own.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn had_own(&self) -> bool {
        self.places.had_own()
    }

    /// Takes the next entry. Returns the tiles that became full.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<Vec<FullTile>, Error> {
        self.read(bytes).map(|(_, full)| full)
    }

    /// As [`Walk::entry`]. Also returns the parsed entry, for further checks.
    pub(crate) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(View<'a>, Vec<FullTile>), Error> {
        let index = self.edge.size();
        let wrong = |what| Error::export(format!("entry {index}"), what);
        let value = json::parse_kept(bytes).map_err(|_| wrong("not strict JSON"))?;
        if canonical::to_vec(&value) != bytes {
            return Err(wrong("not in RFC 8785 form"));
        }
        let view = View::of(value).ok_or_else(|| wrong("not an entry of version 1"))?;
        if (index == 0) != (view.kind == Kind::Genesis) {
            return Err(wrong("genesis is leaf 0 and nothing else"));
        }
        if view.origin.time < self.time && view.kind != Kind::Clock {
            return Err(wrong("its journal time runs backwards"));
        }
        if view.prior != self.prior {
            return Err(wrong(
                "its `prior` does not name the last approval and system entries before it",
            ));
        }
        self.time = view.origin.time;
        self.prior.note(view.kind, index);
        self.places.take(&view).map_err(wrong)?;
        self.summary.count(&view);
        let hash = leaf_hash(bytes);
        self.reasons.entry(index, &view, hash).map_err(wrong)?;
        let mut full = Vec::new();
        self.edge.append(hash, &mut full);
        Ok((view, full))
    }

    /// Number of entries so far.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Root hash of the entries so far.
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// The right edge of the entries so far.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The `prior` that the next entry must have.
    pub fn prior(&self) -> Prior {
        self.prior
    }

    /// Totals of the entries so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}
