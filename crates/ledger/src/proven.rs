//! Proven reads: an entry that decides anything is used only after it was proven to the root in memory.
//!
//! That root came from the sealed commit record at start, and from our own posting since. So an entry or a
//! tile that was changed in the database gives an error here, never an answer.

use crate::{
    log::{
        merkle::{self, Edge, Hash, Tiles},
        tile::Tile,
    },
    store::{Error, Family, LogNumber, Read},
    system::prune::Pruned,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// Most proven tiles kept in memory, 8 KiB each.
const TILES_MAX: usize = 1024;

/// Log, level and number of a full tile.
type TileKey = (LogNumber, u8, u64);

/// Full tiles that were proven. A full tile never changes, so one proof is enough.
#[derive(Default)]
pub struct ProvenTiles(Mutex<HashMap<TileKey, Arc<Vec<Hash>>>>);

/// A tree whose right edge is trusted, and whose tiles and entries are not.
pub struct Tree<'a> {
    /// The store of tiles and entries.
    pub store: &'a dyn Read,
    /// Number of the log.
    pub number: LogNumber,
    /// The right edge, which fixes the root.
    pub edge: &'a Edge,
    /// Tiles that were proven before.
    pub known: &'a ProvenTiles,
    /// The last pruning of the log.
    pub pruned: Option<Pruned>,
}

fn corrupt(family: &'static str, what: &'static str) -> Error {
    Error::Corrupt { family, what }
}

/// Why there is no entry at `index`. `pruned`: the last pruning of the log.
pub fn missing(index: u64, pruned: Option<Pruned>) -> Error {
    match pruned.filter(|pruned| index < pruned.size) {
        Some(Pruned { size, index, .. }) => Error::Pruned { kept_from: size, by: index },
        None => corrupt("entries", "an entry is missing"),
    }
}

impl Tiles for Tree<'_> {
    type Error = Error;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, Error> {
        (first..first + count as u64).map(|at| self.hash(level, at)).collect()
    }
}

impl Tree<'_> {
    /// The entry at `index`, which must be below the tree's size. [`Error::Corrupt`] if it is missing or is
    /// not the one in the tree; [`Error::Pruned`] if it may be gone, and is.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, Error> {
        let entry = self.store.get(Family::Entries, &self.number.numbered(index))?;
        let entry = entry.ok_or_else(|| missing(index, self.pruned))?;
        self.prove(index, &entry)?;
        Ok(entry)
    }

    /// Refuses bytes that are not the entry at `index`.
    pub fn prove(&self, index: u64, entry: &[u8]) -> Result<(), Error> {
        self.prove_hash(index, merkle::leaf_hash(entry))
    }

    /// Refuses a leaf hash that is not the one at `index`.
    pub fn prove_hash(&self, index: u64, hash: Hash) -> Result<(), Error> {
        if self.hash(0, index)? == hash {
            return Ok(());
        }
        Err(corrupt("entries", "an entry is not the one in the tree"))
    }

    /// The hash at `at` of a level of tiles: from the edge, or from a tile that leads to it.
    fn hash(&self, level: u8, at: u64) -> Result<Hash, Error> {
        let (tile, within) = (at / 256, (at % 256) as usize);
        let hash = if Tile::width_at(Some(level), tile, self.edge.size()) < 256 {
            self.edge.partial(level).get(within).copied()
        } else {
            self.tile(level, tile)?.get(within).copied()
        };
        hash.ok_or_else(|| corrupt("tiles", "the right edge"))
    }

    fn tile(&self, level: u8, tile: u64) -> Result<Arc<Vec<Hash>>, Error> {
        let key = (self.number, level, tile);
        let known = || self.known.0.lock().expect("no holder of the lock panics");
        if let Some(hashes) = known().get(&key) {
            return Ok(Arc::clone(hashes));
        }
        let bytes = self.store.get(Family::Tiles, &self.number.tile(level, tile))?;
        let bytes = bytes.ok_or_else(|| corrupt("tiles", "a full tile is missing"))?;
        let hashes: Vec<Hash> = bytes.chunks_exact(32).filter_map(Hash::from_slice).collect();
        let parent = self.hash(level + 1, tile)?;
        if hashes.len() != 256 || merkle::tile_root(&hashes) != parent {
            return Err(corrupt("tiles", "a tile does not lead to the root"));
        }
        let hashes = Arc::new(hashes);
        let mut kept = known();
        if kept.len() >= TILES_MAX {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&hashes));
        Ok(hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    const NUMBER: LogNumber = LogNumber(1);

    /// A log of `size` small entries.
    fn log(size: u64) -> (Memory, Edge) {
        let (mut memory, mut edge) = (Memory::default(), Edge::default());
        for index in 0..size {
            let entry = index.to_string().into_bytes();
            let mut full = Vec::new();
            edge.append(merkle::leaf_hash(&entry), &mut full);
            let tiles = full.into_iter().map(|tile| {
                ((Family::Tiles, NUMBER.tile(tile.level, tile.number)), Some(tile.bytes))
            });
            let entry = ((Family::Entries, NUMBER.numbered(index)), Some(entry));
            memory.apply(tiles.chain([entry]));
        }
        (memory, edge)
    }

    #[test]
    fn p4_changed_entries_and_tiles_are_never_an_answer() {
        let (mut memory, edge) = log(66_000);
        let check = |memory: &Memory, known: &ProvenTiles, index: u64, holds: bool| {
            let tree = Tree { store: memory, number: NUMBER, edge: &edge, known, pruned: None };
            assert_eq!(tree.entry(index).is_ok(), holds, "entry {index}");
        };
        let known = ProvenTiles::default();
        for index in [0, 255, 256, 65_535, 65_536, 65_999] {
            check(&memory, &known, index, true);
        }
        let put = |family, key: Vec<u8>, value: &[u8]| {
            std::iter::once(((family, key), Some(value.to_vec())))
        };
        memory.apply(put(Family::Entries, NUMBER.numbered(300), b"forged"));
        memory.apply(put(Family::Entries, NUMBER.numbered(65_999), b"forged"));
        memory.apply(std::iter::once(((Family::Entries, NUMBER.numbered(7)), None)));
        for index in [300, 65_999, 7] {
            check(&memory, &known, index, false);
        }
        check(&memory, &known, 301, true);
        // A forger who also makes the tile fit must fit the tiles above it, and finally the edge, which is in
        // memory.
        let mut tile = memory.get(Family::Tiles, &NUMBER.tile(0, 1)).unwrap().unwrap();
        tile[32 * 44..32 * 45].copy_from_slice(&merkle::leaf_hash(b"forged").0);
        memory.apply(put(Family::Tiles, NUMBER.tile(0, 1), &tile));
        check(&memory, &ProvenTiles::default(), 300, false);
        check(&memory, &ProvenTiles::default(), 301, false);
        check(&memory, &ProvenTiles::default(), 1_000, true);
    }
}
