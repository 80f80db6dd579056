//! What prune entries say of a whole log. An export that has all entries can judge each of them again.

use super::{Error, Told};
use crate::{
    entry::View,
    log::{
        merkle::{self, Edge, Hash, Tiles},
        tile::Tile,
    },
    post::Pruned,
    system::prune::Prune,
};
use std::cell::RefCell;

/// Gives the bytes of a file.
type ReadFile<'r> = dyn FnMut(&str) -> Option<Vec<u8>> + 'r;

/// Prune entries so far.
#[derive(Default)]
pub(super) struct OfPruning {
    last: Option<Pruned>,
    /// Index of each entry, with each size and root that it names.
    roots: Vec<(u64, u64, Hash)>,
}

impl Told {
    /// The first entry from which nothing was pruned, by what was said so far.
    pub(super) fn kept_from(&self) -> u64 {
        self.pruned.last.map_or(0, |pruned| pruned.size)
    }

    /// Pruning only goes on, never under a legal hold, and names the tree that these entries give (P20).
    pub(super) fn prune(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        let prune: Prune = view.event_as().ok_or("not a prune entry")?;
        if self.retention.is_held() {
            return Err("entries were pruned under a legal hold");
        }
        if prune.export.size > index || !Pruned::note(&mut self.pruned.last, index, view) {
            return Err("it prunes what can't be pruned here");
        }
        let last = usize::try_from(prune.size - 1).unwrap_or(usize::MAX);
        if self.times.get(last) != Some(&prune.time) {
            return Err("the last entry that it prunes is of another time than it says");
        }
        self.retention.prune(prune.size);
        self.erased.prune(prune.size);
        self.pruned.roots.push((index, prune.size, prune.root));
        self.pruned.roots.push((index, prune.export.size, prune.export.root));
        Ok(())
    }
}

/// Compares the roots that prune entries name. The tiles were compared with the entries before.
pub(super) fn roots_are_as_named(
    of: &OfPruning,
    edge: &Edge,
    read: &mut ReadFile<'_>,
) -> Result<(), Error> {
    let tiles = Files { edge, read: RefCell::new(read) };
    for (index, size, root) in &of.roots {
        if merkle::root_at(&tiles, *size)? != *root {
            let what = "the tree of the size that it prunes or names has another root";
            return Err(Error::export(format!("entry {index}"), what));
        }
    }
    Ok(())
}

/// The tiles of an export.
struct Files<'t, 'r> {
    edge: &'t Edge,
    read: RefCell<&'t mut ReadFile<'r>>,
}

impl Tiles for Files<'_, '_> {
    type Error = Error;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, Error> {
        let (number, within) = (first / 256, (first % 256) as usize);
        let hashes = if Tile::width_at(Some(level), number, self.edge.size()) < 256 {
            self.edge.partial(level).get(within..within + count).map(<[Hash]>::to_vec)
        } else {
            let path = format!("tile/{}", Tile { level: Some(level), number, width: 256 });
            let bytes = (self.read.borrow_mut())(&path);
            let bytes = bytes.as_deref().and_then(|b| b.get(within * 32..(within + count) * 32));
            bytes.map(|b| b.chunks_exact(32).filter_map(Hash::from_slice).collect())
        };
        hashes.ok_or_else(|| Error::export("tile", "a tile is missing"))
    }
}
