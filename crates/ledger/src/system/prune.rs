//! `system.prune`: entries before a size are in an export, and are removed here (`proto/formats/system.md`).

use super::{By, Reason};
use crate::{entry::View, log::merkle::Hash, time::Nanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Entries are removed by bundles. So the hash tiles of what is kept never need one that is gone.
pub const BUNDLE: u64 = 256;

/// What follows from the entries before the size, each with one digest, in their order.
pub const FAMILIES: [&str; 10] = [
    "access",
    "approvals",
    "budgets",
    "counts",
    "events",
    "history",
    "reports",
    "sources",
    "state",
    "subjects",
];

/// The body of a message on `system.prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// The bundles of the entries before this leaf index may go. A multiple of [`BUNDLE`].
    pub size: u64,
    /// Root hash of the tree of that size.
    pub root: Hash,
    /// `journal.time` of the last entry before that index.
    pub time: Nanos,
    /// The export that has these entries.
    pub export: Exported,
    /// SHA-256 of each of [`FAMILIES`], as the entries before `size` give it.
    pub families: BTreeMap<String, Hash>,
    /// Who prunes.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// An export that was verified before its entries were removed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// Number of its entries.
    pub size: u64,
    /// Root hash of its tree.
    pub root: Hash,
    /// SHA-256 of its manifest, 64 lower-case hex digits.
    pub sha256: String,
}

impl Prune {
    /// True if it has the form that posting demands, whatever the log holds.
    pub fn is_sound(&self) -> bool {
        let digest = &self.export.sha256;
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        self.size > 0
            && self.size.is_multiple_of(BUNDLE)
            && self.export.size >= self.size
            && digest.len() == 64
            && digest.bytes().all(hex)
            && self.families.keys().map(String::as_str).eq(FAMILIES)
    }
}

/// The last pruning of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruned {
    /// Leaf index of its entry.
    pub index: u64,
    /// Entries before this leaf index are removed, except the bundles that are still needed.
    pub size: u64,
    /// `journal.time` of the last entry before that.
    pub time: Nanos,
}

impl Pruned {
    /// What a `prune` entry says.
    pub fn of(index: u64, view: &View<'_>) -> Option<Self> {
        let prune = view.event_as::<Prune>().filter(Prune::is_sound)?;
        (prune.size < index).then_some(Self { index, size: prune.size, time: prune.time })
    }

    /// Notes a `prune` entry. `false` if it can't be at its place.
    pub fn note(pruned: &mut Option<Self>, index: u64, view: &View<'_>) -> bool {
        let before = pruned.map_or(0, |pruned| pruned.size);
        let Some(new) = Self::of(index, view).filter(|new| new.size > before) else { return false };
        *pruned = Some(new);
        true
    }
}
