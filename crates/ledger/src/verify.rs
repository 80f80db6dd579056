//! What an auditor does: receipts, disclosures, checkpoints and whole exports, checked with the log's public key alone.
//!
//! Pure: files come in as bytes. Every answer says what was checked; the caller prints what was not.

use crate::{
    canonical, disclosure,
    entry::{Kind, Payload, Prior, View},
    json,
    log::{
        checkpoint::{self, Checkpoint},
        merkle::{Edge, FullTile, Hash, leaf_hash, verify_consistency},
        note::{self, Vkey},
        receipt::{self, Receipt},
        tile::{Tile, read_bundle},
    },
    system::KeyText,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The keys that sign a log's checkpoints, oldest first (`T/logs/1/keys`, `keys.json` of an export).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysDocument {
    /// The log.
    pub origin: String,
    /// Its keys.
    pub keys: Vec<DocumentedKey>,
}

/// One key, and the proof that its predecessor handed over to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentedKey {
    /// The key.
    pub vkey: KeyText,
    /// First tree size it signs.
    pub first_size: u64,
    /// Last tree size it signs; null while in force.
    pub last_size: Option<u64>,
    /// Leaf index of its `key` entry; 0 for a key of the genesis.
    pub index: u64,
    /// Receipt of that entry, under a checkpoint of the previous key; null for a key of the genesis.
    pub receipt: Option<String>,
}

/// A key that may be believed, and for which tree sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The key.
    pub vkey: Vkey,
    /// First tree size it signs.
    pub first_size: u64,
    /// Last tree size it signs.
    pub last_size: Option<u64>,
}

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
        what: &'static str,
    },
}

/// The keys to believe: `first` alone, or what the document's chain of receipts hands over from it.
pub fn trust(first: &Vkey, document: Option<&KeysDocument>) -> Result<Vec<Trusted>, Error> {
    let alone = Trusted { vkey: first.clone(), first_size: 0, last_size: None };
    let Some(document) = document else { return Ok(vec![alone]) };
    let wrong = |position, what| Error::Keys { position, what };
    let begin = document.keys.iter().position(|key| key.vkey.0 == *first);
    let begin = begin.ok_or_else(|| wrong(0, "the given key is not in the document"))?;
    let mut trusted = vec![Trusted { first_size: document.keys[begin].first_size, ..alone }];
    for (position, key) in document.keys.iter().enumerate().skip(begin + 1) {
        let last = trusted.len() - 1;
        let text =
            key.receipt.as_deref().ok_or_else(|| wrong(position, "its receipt is missing"))?;
        let receipt = Receipt::parse(text)?;
        let opened = receipt.verify(&[trusted[last].vkey.clone()])?;
        let view = View::parse(&receipt.entry).filter(|view| view.kind == Kind::Key);
        let view = view.ok_or_else(|| wrong(position, "its receipt is not of a key entry"))?;
        let number = |name| view.at(&["event", name]).and_then(json::Value::as_u64);
        let says = view.text(&["event", "use"]) == Some("log")
            && view.text(&["event", "vkey"]) == Some(&key.vkey.0.to_string())
            && number("first_size") == Some(key.first_size)
            && receipt.index == key.index
            && key.vkey.0.name() == document.origin;
        let old_last = number("old_last_size").filter(|_| says);
        let old_last = old_last.ok_or_else(|| wrong(position, "its entry says something else"))?;
        if opened.checkpoint.size > old_last || old_last < key.first_size {
            return Err(wrong(position, "its receipt is from after the hand-over"));
        }
        trusted[last].last_size = Some(old_last);
        let vkey = key.vkey.0.clone();
        trusted.push(Trusted { vkey, first_size: key.first_size, last_size: None });
    }
    Ok(trusted)
}

/// A checkpoint, signed by a key that signs trees of its size.
pub fn checkpoint(text: &str, trusted: &[Trusted]) -> Result<Checkpoint, Error> {
    let keys: Vec<Vkey> = trusted.iter().map(|key| key.vkey.clone()).collect();
    in_range(checkpoint::open(text, &keys)?, trusted)
}

fn in_range(opened: checkpoint::Opened, trusted: &[Trusted]) -> Result<Checkpoint, Error> {
    let size = opened.checkpoint.size;
    let fits = opened.signers.iter().any(|at| {
        let key = &trusted[*at];
        key.first_size <= size && key.last_size.is_none_or(|last| size <= last)
    });
    if fits { Ok(opened.checkpoint) } else { Err(Error::KeyOutOfRange { size }) }
}

/// A consistency proof as `T/proofs/consistency` serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Smaller tree size.
    pub from: u64,
    /// Larger tree size.
    pub to: u64,
    /// Hashes in base64, RFC 6962 §2.1.2 order.
    pub proof: Vec<String>,
}

/// Verifies that the log of `old` is a prefix of the log of `new`; both are verified checkpoints.
pub fn consistency(text: &str, old: &Checkpoint, new: &Checkpoint) -> Result<(), Error> {
    let refused = |what| Error::Consistency { from: old.size, to: new.size, what };
    let proof: ConsistencyProof =
        serde_json::from_str(text).map_err(|_| refused("not a consistency proof"))?;
    if (proof.from, proof.to) != (old.size, new.size) || old.origin != new.origin {
        return Err(refused("of other sizes, or the checkpoints are of two logs"));
    }
    let hashes: Option<Vec<Hash>> = proof.proof.iter().map(|hash| Hash::parse(hash)).collect();
    let hashes = hashes.ok_or_else(|| refused("a hash that is not 32 bytes in base64"))?;
    if verify_consistency(old.size, new.size, &hashes, &old.root, &new.root) {
        Ok(())
    } else {
        Err(refused(
            "the older log is not a prefix of the newer: one was forked, or the proof was changed",
        ))
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
    Ok(Verified { receipt, checkpoint })
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
        let wrong = |what| Error::Export { place: format!("entry {index}"), what };
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
        self.count(&view);
        let mut full = Vec::new();
        self.edge.append(leaf_hash(bytes), &mut full);
        Ok((view, full))
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

/// Verifies a whole export: `read` gives the bytes of a file by its path in the export.
///
/// Every bundle and tile is read and re-derived; `progress` is told the number of entries done.
pub fn export(
    trusted: &[Trusted],
    checkpoint_text: &str,
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
    mut progress: impl FnMut(u64),
) -> Result<(Checkpoint, Summary), Error> {
    let checkpoint = checkpoint(checkpoint_text, trusted)?;
    let mut walk = Walk::default();
    let wrong = |place: String, what| Error::Export { place, what };
    while walk.size() < checkpoint.size {
        let number = walk.size() / 256;
        let width = Tile::width_at(None, number, checkpoint.size);
        let path = format!("tile/{}", Tile { level: None, number, width });
        let bundle = read(&path).ok_or_else(|| wrong(path.clone(), "missing"))?;
        let entries = read_bundle(&bundle).filter(|entries| entries.len() == width);
        let entries = entries.ok_or_else(|| wrong(path.clone(), "not a bundle of that width"))?;
        for entry in entries {
            for tile in walk.entry(entry)? {
                let place = Tile { level: Some(tile.level), number: tile.number, width: 256 };
                compare(&mut read, &place, &tile.bytes)?;
            }
        }
        progress(walk.size());
    }
    for level in 0..8 {
        let hashes = walk.edge().partial(level);
        let number = (checkpoint.size >> (8 * u32::from(level))) / 256;
        if !hashes.is_empty() {
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            compare(&mut read, &Tile { level: Some(level), number, width: hashes.len() }, &bytes)?;
        }
    }
    if walk.root() != checkpoint.root {
        let place = format!("entries 0 to {}", checkpoint.size.saturating_sub(1));
        return Err(wrong(place, "they do not give the root the checkpoint signs"));
    }
    Ok((checkpoint, walk.summary().clone()))
}

fn compare(
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
    tile: &Tile,
    expected: &[u8],
) -> Result<(), Error> {
    let path = format!("tile/{tile}");
    let found = read(&path);
    let what = match found {
        Some(bytes) if bytes == expected => return Ok(()),
        Some(_) => "not the hashes of the entries",
        None => "missing",
    };
    Err(Error::Export { place: path, what })
}

/// Names of the fields that a payload still discloses.
pub fn disclosed_names(payload: &Payload) -> Vec<String> {
    payload.disclosures.iter().filter_map(|text| Payload::name(text)).collect()
}
