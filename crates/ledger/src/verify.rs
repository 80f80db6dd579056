//! What an auditor does: receipts, disclosures, checkpoints and whole exports, checked with the log's public key alone.
//!
//! Pure: files come in as bytes. Every answer says what was checked; the caller prints what was not.

mod acts;
mod claim;
mod entries;
mod keys;
mod payload;
mod whole;

pub use claim::{Claim, Unconnected};
pub use entries::Entries;
pub use keys::{DocumentedKey, KeysDocument, Trust, Trusted, trust};
pub use payload::{Erased, Standing};
pub use whole::{Export, export};

use crate::{
    canonical, disclosure,
    entry::{Kind, Payload, Prior, View},
    json,
    log::{
        checkpoint::{self, Checkpoint},
        merkle::{Edge, FullTile, Hash, leaf_hash, verify_consistency},
        note::{self, Vkey},
        receipt::{self, Receipt},
    },
    time::Nanos,
};
use acts::Reasons;
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The receipt.
    #[error("receipt: {0}")]
    Receipt(#[from] receipt::Error),
    /// The checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] note::Error),
    /// The keys document.
    #[error("keys: key {position} ({what})")]
    Keys {
        /// 0-based place in the document.
        position: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The keys document.
    #[error("keys: the document is of {document}, the key of {given}")]
    KeysOfAnotherLog {
        /// The document's origin.
        document: String,
        /// The key's name.
        given: String,
    },
    /// The keys document.
    #[error("keys: the given key {given} is not in the document")]
    KeyNotInDocument {
        /// The key's name and id.
        given: String,
    },
    /// A key that is believed, and the log whose content is known.
    #[error(
        "the log itself does not hand over to {given}, or for other sizes: neither its genesis nor a key entry says so"
    )]
    KeyNotInLog {
        /// The key's name and id.
        given: String,
    },
    /// Not a consistency proof.
    #[error("not a consistency proof: {0}")]
    Proof(String),
    /// Two parts of what was given.
    #[error(
        "{one} and {other} contradict each other: {what} is not the same in both. Keep both: each is signed by the log's key, so whoever holds it has shown two histories"
    )]
    Contradiction {
        /// Who said one thing.
        one: String,
        /// Who said another.
        other: String,
        /// What they said it of.
        what: String,
    },
    /// Two parts of what was given.
    #[error("{one} and {other} contradict each other: {what}")]
    Conflict {
        /// Who said one thing.
        one: String,
        /// Who said another.
        other: String,
        /// What can't be.
        what: String,
    },
    /// An entry that is proven, and that this log can't have.
    #[error("entry {index} is proven, but {what}")]
    Entry {
        /// Its leaf index.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Signed by a key that does not sign trees of this size.
    #[error(
        "checkpoint of size {size}: signed only by a key that does not sign trees of that size"
    )]
    KeyOutOfRange {
        /// The checkpoint's size.
        size: u64,
    },
    /// A disclosure.
    #[error("disclosure in line {line}: {what}")]
    Disclosure {
        /// 1-based line.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Two checkpoints.
    #[error("consistency of {from} and {to}: {what}")]
    Consistency {
        /// Smaller tree size.
        from: u64,
        /// Larger tree size.
        to: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Something in an export.
    #[error("{place}: {what}")]
    Export {
        /// The file, or the entry.
        place: String,
        /// What is wrong.
        what: Cow<'static, str>,
    },
}

impl Error {
    /// Something in an export, at a file or an entry.
    pub fn export(place: impl Into<String>, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Export { place: place.into(), what: what.into() }
    }
}

/// A checkpoint, signed by a key that signs trees of its size.
pub fn checkpoint(text: &str, trusted: &[Trusted]) -> Result<Checkpoint, Error> {
    let keys: Vec<Vkey> = trusted.iter().map(|key| key.vkey.clone()).collect();
    in_range(checkpoint::open(text, &keys)?, trusted)
}

fn in_range(opened: checkpoint::Opened, trusted: &[Trusted]) -> Result<Checkpoint, Error> {
    let size = opened.checkpoint.size;
    let fits = opened.signers.iter().any(|at| trusted[*at].signs(size));
    if fits { Ok(opened.checkpoint) } else { Err(Error::KeyOutOfRange { size }) }
}

/// A consistency proof as `T/proofs/consistency` serves it. It may grow: members that are not known are not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyProof {
    /// Smaller tree size.
    pub from: u64,
    /// Larger tree size.
    pub to: u64,
    /// Hashes in base64, RFC 6962 §2.1.2 order.
    pub proof: Vec<String>,
}

impl ConsistencyProof {
    /// Reads the JSON text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|e| Error::Proof(e.to_string()))
    }

    /// Verifies that the log of `old` is a prefix of the log of `new`; both are verified checkpoints of the proof's
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

/// A receipt that holds.
#[derive(Debug)]
pub struct Verified {
    /// The receipt.
    pub receipt: Receipt,
    /// What its checkpoint commits to.
    pub checkpoint: Checkpoint,
}

/// Verifies a receipt: signature, range of the key, inclusion, and that the entry is one of this log.
pub fn receipt(text: &str, trusted: &[Trusted]) -> Result<Verified, Error> {
    let receipt = Receipt::parse(text)?;
    let keys: Vec<Vkey> = trusted.iter().map(|key| key.vkey.clone()).collect();
    let checkpoint = in_range(receipt.verify(&keys)?, trusted)?;
    let (index, origin) = (receipt.index, &checkpoint.origin);
    is_of_log(index, &receipt.entry, origin).map_err(|what| Error::Entry { index, what })?;
    Ok(Verified { receipt, checkpoint })
}

/// Whether an entry can stand in the log of this origin, at this index.
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

/// Verifies disclosures (one per line) against an entry; returns name and value of each.
pub fn disclosures(text: &str, entry: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let view = View::parse(entry);
    let digests: BTreeSet<&str> = view.iter().flat_map(View::payload).collect();
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

/// What a whole log says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Entries by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Missing numbers of sources that never arrived, by producer and source: gaps and numbers.
    pub open_gaps: BTreeMap<String, u64>,
    /// Journal sequences that never existed or were removed before posting.
    pub journal_gaps: u64,
    /// Journal epochs.
    pub epochs: u64,
}

/// Verifies a log from its first entry to its checkpoint: the judge of exports and of `fsck`.
///
/// Feed it entries in order, then compare [`Walk::root`]; full tiles are handed back to be compared with stored ones.
#[derive(Default)]
pub struct Walk {
    edge: Edge,
    time: Nanos,
    prior: Prior,
    message: Option<(u64, u64, bool)>,
    reasons: Reasons,
    summary: Summary,
}

impl Walk {
    /// Takes the next entry; returns the tiles that became full.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<Vec<FullTile>, Error> {
        self.read(bytes).map(|(_, full)| full)
    }

    /// As [`Walk::entry`]; also hands back what the entry says, for whoever looks further.
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
        self.follow(&view).map_err(wrong)?;
        self.count(&view);
        let hash = leaf_hash(bytes);
        self.reasons.entry(index, &view, hash).map_err(wrong)?;
        let mut full = Vec::new();
        self.edge.append(hash, &mut full);
        Ok((view, full))
    }

    /// Entries follow the journal, and a message has one entry of its own beside those about gaps.
    fn follow(&mut self, view: &View<'_>) -> Result<(), &'static str> {
        let is_gap = matches!(view.kind, Kind::JournalGap | Kind::GapOpened | Kind::GapClosed);
        let (epoch, seq) = (view.origin.epoch, view.origin.seq);
        let mut own = !is_gap;
        if let Some((last_epoch, last_seq, had_own)) = self.message {
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
        // The message that opens an epoch lies in the new journal behind those that are posted after it.
        let from = view.at(&["event", "from"]).and_then(json::Value::as_u64);
        self.message = match from.filter(|_| view.kind == Kind::Journal) {
            Some(from) => Some((epoch, from.saturating_sub(1), false)),
            None => Some((epoch, seq, own)),
        };
        Ok(())
    }

    fn count(&mut self, view: &View<'_>) {
        *self.summary.kinds.entry(view.kind.as_str()).or_default() += 1;
        self.summary.epochs = self.summary.epochs.max(view.origin.epoch);
        let number = |name| view.at(&["event", name]).and_then(json::Value::as_u64).unwrap_or(0);
        let missing = number("to").saturating_add(1).saturating_sub(number("from"));
        let producer = view.text(&["producer"]).unwrap_or("");
        let source = format!("{producer} {}", view.text(&["event", "source"]).unwrap_or(""));
        match view.kind {
            Kind::GapOpened => {
                let open = self.summary.open_gaps.entry(source).or_default();
                *open = open.saturating_add(missing);
            }
            Kind::GapClosed => {
                if let Some(open) = self.summary.open_gaps.get_mut(&source) {
                    *open = open.saturating_sub(1);
                    if *open == 0 {
                        self.summary.open_gaps.remove(&source);
                    }
                }
            }
            Kind::JournalGap => {
                self.summary.journal_gaps = self.summary.journal_gaps.saturating_add(missing);
            }
            _ => {}
        }
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

    /// What the next entry must carry as `prior`.
    pub fn prior(&self) -> Prior {
        self.prior
    }

    /// What the entries say.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

/// Names of the fields that a payload still discloses.
pub fn disclosed_names(payload: &Payload) -> Vec<String> {
    payload.disclosures.iter().filter_map(|text| Payload::name(text)).collect()
}
