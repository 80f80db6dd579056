//! Checks the part of a log that was pruned: its tiles lead to the root of its size, the bundles that stay are those of the
//! tree, every system entry is there, and the stored base is what the prune entry says.

use super::{
    Due, Report,
    base::{Base, is_as_said, standing},
    derived::Derived,
};
use crate::{
    entry::{Kind, View, is_reason},
    log::merkle::{Edge, Hash, leaf_hash},
    post::{Log, Pruned, pruning},
    store::{self, Family, Read as _, rocks::Rocks},
    system::prune::BUNDLE,
    verify::Walk,
};

/// What a check of a pruned log begins from.
pub(crate) struct Begun {
    pub of: Pruned,
    pub base: Base,
    /// The right edge at the base.
    pub edge: Edge,
    /// Reasons in the bundles that stay, which later entries may name.
    pub reasons: Vec<(u64, Hash)>,
}

/// The base of a pruned log, with what its tiles and the bundles that stay give. Nothing of it is judged.
pub(crate) fn begin(store: &Rocks, log: &Log) -> Result<Option<Begun>, store::Error> {
    let Some((of, base)) = Base::load(store, log.number)? else { return Ok(None) };
    let edge = crate::reader::load_edge(store, log.number, base.state.size)?;
    let mut reasons = Vec::new();
    each_kept(store, log, base.state.size, |index, entry| {
        if View::parse(entry).is_some_and(|view| is_reason(&view)) {
            reasons.push((index, leaf_hash(entry)));
        }
    })?;
    Ok(Some(Begun { of, base, edge, reasons }))
}

impl Begun {
    /// A walk and what was derived, to go on from the base.
    pub fn resume(&self, log: &Log) -> Result<(Walk, Derived), store::Error> {
        let walk = self.base.walk(self.edge.clone(), &self.reasons);
        Ok((walk, self.base.derived(log.number)?))
    }

    /// Judges the base and what stays before it.
    pub(super) fn check(
        &self,
        store: &Rocks,
        log: &Log,
        due: &mut Due,
        derived: &mut Derived,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        let unfinished = pruning(store, log.number)?;
        if log.position.pruned != Some(self.of) && unfinished != log.position.pruned {
            report.find("what the pruned entries gave is stored for another pruning than the last");
        }
        tiles(store, log, &self.base, due, report)?;
        self.kept(store, log, unfinished.is_some(), report)?;
        let entry = store.get(Family::Entries, &log.number.numbered(self.of.index))?;
        let view = entry.as_deref().and_then(View::parse);
        let digests = self.base.digests(store, log.number)?;
        if let Err(what) = is_as_said(view.as_ref(), &self.base.state, &digests) {
            report.find(what);
        }
        let (events, approvals) = self.base.state.counts;
        for (family, expected, name) in
            [(Family::Keys, events, "events"), (Family::Approvals, approvals, "approvals")]
        {
            let (_, found) = standing(store, log.number, family, self.base.state.size)?;
            if found != expected {
                report.find(format!(
                    "the index of {name}: {found} rows lead to pruned entries, which gave {expected}"
                ));
            }
        }
        for (subject, seq) in self.base.subjects() {
            let kept = store.get(Family::Subjects, &log.number.key(subject))?;
            match kept.and_then(|bytes| store::read_u64(&bytes, "subjects").ok()) {
                Some(kept) if kept == seq => derived.subjects += 1,
                Some(kept) if kept > seq => {}
                _ => report.find("the index of signed subjects is older than what was pruned"),
            }
        }
        Ok(())
    }

    /// The entries that stay are those of the tree, in whole bundles, and have every system entry.
    fn kept(
        &self,
        store: &Rocks,
        log: &Log,
        unfinished: bool,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        let size = self.base.state.size;
        let (mut last_system, mut in_bundle) = (None, 0_u64);
        let (mut number, mut hashes) = (u64::MAX, Vec::new());
        let mut findings = Vec::new();
        let mut failed = None;
        each_kept(store, log, size, |index, entry| {
            if index / BUNDLE != number {
                if number != u64::MAX && in_bundle != BUNDLE && !unfinished {
                    findings.push(format!(
                        "entries are missing of bundle {number}, which was not pruned"
                    ));
                }
                (number, in_bundle) = (index / BUNDLE, 0);
                match store.get(Family::Tiles, &log.number.tile(0, number)) {
                    Ok(tile) => hashes = tile.unwrap_or_default(),
                    Err(error) => failed = Some(error),
                }
            }
            in_bundle += 1;
            let within = usize::try_from(index % BUNDLE).unwrap_or_default() * 32;
            if hashes.get(within..within + 32) != Some(&leaf_hash(entry).0[..]) {
                findings.push(format!(
                    "entry {index}, which was not pruned, is not the one in the tree"
                ));
                return;
            }
            let Some(view) = View::parse(entry) else { return };
            if view.kind.is_system() {
                if view.prior.system != last_system || (index == 0) != (view.kind == Kind::Genesis)
                {
                    findings.push(format!("a system entry before entry {index} is missing"));
                }
                last_system = Some(index);
            }
        })?;
        if in_bundle != BUNDLE && !unfinished {
            findings.push(format!("entries are missing of bundle {number}, which was not pruned"));
        }
        if last_system != self.base.state.prior.system {
            findings.push("the last system entry before what was pruned is missing".into());
        }
        report.find_all(findings);
        failed.map_or(Ok(()), Err)
    }
}

/// Visits the entries before `size` that are here.
pub(crate) fn each_kept(
    store: &Rocks,
    log: &Log,
    size: u64,
    mut visit: impl FnMut(u64, &[u8]),
) -> Result<(), store::Error> {
    let prefix = log.number.key(&[]);
    store.scan(Family::Entries, &prefix, |key, entry| {
        let index = key.strip_prefix(&prefix[..]).and_then(|rest| rest.try_into().ok());
        let index = index.map(u64::from_be_bytes).filter(|index| *index < size);
        index.inspect(|index| visit(*index, entry));
        index.is_some()
    })
}

/// The leaf hashes before the base give its tiles, its root, and the root of every checkpoint up to there.
fn tiles(
    store: &Rocks,
    log: &Log,
    base: &Base,
    due: &mut Due,
    report: &mut Report,
) -> Result<(), store::Error> {
    let mut edge = Edge::default();
    for number in 0..base.state.size / BUNDLE {
        let tile = store.get(Family::Tiles, &log.number.tile(0, number))?.unwrap_or_default();
        if tile.len() != 32 * 256 {
            report.find(format!("tile 0/{number} is missing or not whole"));
            return Ok(());
        }
        for leaf in tile.chunks_exact(32).filter_map(Hash::from_slice) {
            let mut full = Vec::new();
            edge.append(leaf, &mut full);
            for tile in full {
                let kept = store.get(Family::Tiles, &log.number.tile(tile.level, tile.number))?;
                if kept.as_ref() != Some(&tile.bytes) {
                    let place = format!("tile {}/{}", tile.level, tile.number);
                    report.find(format!("{place} is not what the tiles below it give"));
                }
            }
            for (root, what) in due.remove(&edge.size()).unwrap_or_default() {
                if root != edge.root() {
                    let size = edge.size();
                    report.find(format!("{what} of size {size} has another root than the tiles"));
                }
            }
        }
    }
    if edge.root() != base.state.root {
        report.find("the tiles of what was pruned give another root than the prune entry says");
    }
    Ok(())
}
