//! The keys that sign a log: the document that hands over from one to the next, and what the log itself says
//! about them.

use super::{Error, Verified};
use crate::{
    entry::{Kind, View},
    json,
    log::{note::Vkey, receipt::Receipt},
    system::{Genesis, KeyText},
};
use serde::{Deserialize, Serialize};

/// The keys that sign a log's checkpoints, oldest first (`T/logs/1/keys`, `keys.json` of an export). The
/// document may grow: unknown members are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysDocument {
    /// Origin of the log.
    pub origin: String,
    /// Its keys.
    pub keys: Vec<DocumentedKey>,
    /// The changes of its replicas, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<DocumentedMembers>,
}

/// One key, and the proof that its predecessor handed over to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentedKey {
    /// The public key.
    pub vkey: KeyText,
    /// First tree size that it signs.
    pub first_size: u64,
    /// Last tree size that it signs. Null while it is in force.
    pub last_size: Option<u64>,
    /// Leaf index of its `key` entry. 0 for a key of the genesis.
    pub index: u64,
    /// Receipt of that entry, under a checkpoint of the previous key. Null for a key of the genesis.
    pub receipt: Option<String>,
}

/// One change of the replicas, in the keys document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentedMembers {
    /// Version of the set.
    pub version: u64,
    /// Leaf index of its `members` entry.
    pub index: u64,
    /// Receipt of that entry, under a checkpoint that majorities of the set before and of the new one have cosigned.
    pub receipt: String,
}

/// A trusted key, and the tree sizes for which it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The key.
    pub vkey: Vkey,
    /// First tree size that it signs.
    pub first_size: u64,
    /// Last tree size that it signs.
    pub last_size: Option<u64>,
}

impl Trusted {
    /// True if it signs trees of this size.
    pub fn signs(&self, size: u64) -> bool {
        self.first_size <= size && self.last_size.is_none_or(|last| size <= last)
    }
}

/// Trusted keys, and the receipts that made them so.
#[derive(Debug)]
pub struct Trust {
    /// The keys, oldest first. The first is the one that was given.
    pub keys: Vec<Trusted>,
    /// The receipts of each handover, one for each key but the first.
    pub handovers: Vec<Verified>,
}

/// The trusted keys: `first` alone, or with those to which the document's chain of receipts hands over.
pub fn trust(first: &Vkey, document: Option<&KeysDocument>) -> Result<Trust, Error> {
    let alone = Trusted { vkey: first.clone(), first_size: 0, last_size: None };
    let Some(document) = document else {
        return Ok(Trust { keys: vec![alone], handovers: Vec::new() });
    };
    let wrong = |position, what| Error::Keys { position, what };
    if document.origin != first.name() {
        let (document, given) = (document.origin.clone(), first.name().to_owned());
        return Err(Error::KeysOfAnotherLog { document, given });
    }
    let begin = document.keys.iter().position(|key| key.vkey.0 == *first);
    let begin = begin.ok_or_else(|| Error::KeyNotInDocument { given: first.label() })?;
    let first_size = document.keys[begin].first_size;
    let mut trust = Trust { keys: vec![Trusted { first_size, ..alone }], handovers: Vec::new() };
    for (position, key) in document.keys.iter().enumerate().skip(begin + 1) {
        let last = trust.keys.len() - 1;
        let text =
            key.receipt.as_deref().ok_or_else(|| wrong(position, "its receipt is missing"))?;
        let receipt = Receipt::parse(text)?;
        let checkpoint = receipt.verify(&[trust.keys[last].vkey.clone()])?.checkpoint;
        let old_last =
            handed_over(&receipt, key, document).map_err(|what| wrong(position, what))?;
        if document.keys[position - 1].last_size != Some(old_last) {
            return Err(wrong(position, "its entry ends the key before at another size"));
        }
        if checkpoint.size > old_last || old_last < key.first_size {
            return Err(wrong(position, "its receipt is from after the hand-over"));
        }
        trust.keys[last].last_size = Some(old_last);
        let vkey = key.vkey.0.clone();
        trust.keys.push(Trusted { vkey, first_size: key.first_size, last_size: None });
        trust.handovers.push(Verified { receipt, checkpoint });
    }
    Ok(trust)
}

/// The last size that the previous key signs, by the `key` entry in a verified receipt.
fn handed_over(
    receipt: &Receipt,
    key: &DocumentedKey,
    document: &KeysDocument,
) -> Result<u64, &'static str> {
    let view = View::parse(&receipt.entry).filter(|view| view.kind == Kind::Key);
    let view = view.ok_or("its receipt is not of a key entry")?;
    let number = |name| view.at(&["event", name]).and_then(json::Value::as_u64);
    let says = view.text(&["event", "use"]) == Some("log")
        && view.text(&["event", "vkey"]) == Some(&key.vkey.0.to_string())
        && number("first_size") == Some(key.first_size)
        && receipt.index == key.index
        && key.first_size == key.index + 1
        && key.vkey.0.name() == document.origin;
    number("old_last_size").filter(|_| says).ok_or("its entry says something else")
}

/// The signing keys that the log itself names: in its genesis, and in every `key` entry since.
#[derive(Clone, Debug, Default)]
pub struct Named(Vec<Trusted>);

impl Named {
    /// Takes the genesis.
    pub fn genesis(&mut self, genesis: &Genesis) {
        let first = |key: &KeyText| Trusted { vkey: key.0.clone(), first_size: 1, last_size: None };
        self.0 = genesis.log_keys.iter().map(first).collect();
    }

    /// Takes a `key` entry. Keys with another use are skipped.
    pub fn key(&mut self, view: &View<'_>) -> Result<(), &'static str> {
        if view.text(&["event", "use"]) != Some("log") {
            return Ok(());
        }
        let number = |name| view.at(&["event", name]).and_then(json::Value::as_u64);
        let vkey = view.text(&["event", "vkey"]).and_then(|text| Vkey::parse(text).ok());
        let (Some(vkey), Some(first_size), Some(old_last), Some(old)) =
            (vkey, number("first_size"), number("old_last_size"), self.0.last_mut())
        else {
            return Err("not an entry that hands over to a log key");
        };
        old.last_size = Some(old_last);
        self.0.push(Trusted { vkey, first_size, last_size: None });
        Ok(())
    }

    /// True if this is the public key of one of them.
    pub(super) fn has(&self, public: &[u8; 32]) -> bool {
        self.0.iter().any(|key| key.vkey.public_bytes() == public)
    }

    /// The trusted keys for a log of `size` entries whose whole content is known: those that it names, from
    /// the given one on, and those to which a newer document hands over. If the document knows less, the log
    /// counts.
    pub fn reconcile(&self, trusted: &[Trusted], size: u64) -> Result<Vec<Trusted>, Error> {
        let first = trusted.first().map(|key| &key.vkey);
        let begin = self.0.iter().position(|key| Some(&key.vkey) == first);
        let Some(begin) = begin else {
            let given = first.map(Vkey::label).unwrap_or_default();
            return Err(Error::KeyNotInLog { given });
        };
        let mut keys = self.0[begin..].to_vec();
        for (at, key) in trusted.iter().enumerate() {
            match keys.get_mut(at) {
                Some(named) if named.vkey != key.vkey => {
                    return Err(Error::KeyNotInLog { given: key.vkey.label() });
                }
                Some(named) if named.last_size.is_none() => named.last_size = key.last_size,
                Some(named) if key.last_size.is_some_and(|last| named.last_size != Some(last)) => {
                    return Err(Error::KeyNotInLog { given: key.vkey.label() });
                }
                Some(_) => {}
                None if key.first_size > size => keys.push(key.clone()),
                None => return Err(Error::KeyNotInLog { given: key.vkey.label() }),
            }
        }
        Ok(keys)
    }
}
