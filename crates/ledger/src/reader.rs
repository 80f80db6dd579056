//! Reads what is published: tiles, bundles, proofs, receipts, entries. Never beyond the published checkpoint.

use crate::{
    disclosure::Scope,
    entry::{Payload, View},
    erased,
    log::{
        merkle::{self, Edge, Hash, Tiles},
        receipt::Receipt,
        tile::{self, Tile},
    },
    post::{Freezes, Identities, Keys, Policies, Pruned, event_key},
    proven::missing,
    store::{self, Family, LogNumber, Read},
    system::{alert::Alerts, incident::Incidents},
    time::Nanos,
};
use std::sync::Arc;

/// One published state of a log. Immutable: a newer state replaces it as a whole.
#[derive(Clone, Debug)]
pub struct Published {
    /// Tree size.
    pub size: u64,
    /// Root hash.
    pub root: Hash,
    /// The signed checkpoint. Empty before the first one.
    pub checkpoint: String,
    /// The right edge at `size`.
    pub edge: Edge,
    /// Journal epoch.
    pub epoch: u64,
    /// Last journal sequence that it includes.
    pub posted: u64,
    /// Leaf index of the last `clock` entry.
    pub clock: Option<u64>,
    /// The last pruning.
    pub pruned: Option<Pruned>,
    /// The policies in force.
    pub policies: Policies,
    /// What is frozen.
    pub freezes: Arc<Freezes>,
    /// Which tokens of agents are revoked.
    pub identities: Arc<Identities>,
    /// What was found, and what of it is open.
    pub alerts: Arc<Alerts>,
    /// Which incidents are open.
    pub incidents: Arc<Incidents>,
    /// The keys in force.
    pub keys: Keys,
}

/// A consistent view of one log at one published state.
pub struct Reader<'a> {
    /// The store of tiles and entries.
    pub store: &'a dyn Read,
    /// Number of the log.
    pub number: LogNumber,
    /// The state at which to read.
    pub at: &'a Published,
}

fn corrupt(family: &'static str, what: &'static str) -> store::Error {
    store::Error::Corrupt { family, what }
}

impl Published {
    /// The first leaf index from which every entry is here.
    pub fn kept_from(&self) -> u64 {
        self.pruned.map_or(0, |pruned| pruned.size)
    }
}

impl Tiles for Reader<'_> {
    type Error = store::Error;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, store::Error> {
        let (number, within) = (first / 256, (first % 256) as usize);
        if Tile::width_at(Some(level), number, self.at.size) < 256 {
            let hashes = self.at.edge.partial(level).get(within..within + count);
            return hashes.map(<[Hash]>::to_vec).ok_or_else(|| corrupt("tiles", "the right edge"));
        }
        let bytes = self.store.get(Family::Tiles, &self.number.tile(level, number))?;
        let bytes = bytes.ok_or_else(|| corrupt("tiles", "a full tile is missing"))?;
        let bytes = bytes.get(within * 32..(within + count) * 32);
        let bytes = bytes.ok_or_else(|| corrupt("tiles", "a full tile is short"))?;
        Ok(bytes.chunks_exact(32).filter_map(Hash::from_slice).collect())
    }
}

impl Reader<'_> {
    /// The bytes of a leaf. `None` beyond the published size. A missing entry below it is damage, not absence.
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, store::Error> {
        if index >= self.at.size {
            return Ok(None);
        }
        let entry = self.store.get(Family::Entries, &self.number.numbered(index))?;
        entry.map(Some).ok_or_else(|| missing(index, self.at.pruned))
    }

    /// The bytes of a tile or bundle. `None` if this tree does not reach so far.
    pub fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, store::Error> {
        if tile.width > Tile::width_at(tile.level, tile.number, self.at.size) {
            return Ok(None);
        }
        let first = tile.number * 256;
        let Some(level) = tile.level else {
            let mut bundle = Vec::new();
            for index in first..first + tile.width as u64 {
                let entry = self.entry(index)?.ok_or_else(|| corrupt("entries", "an entry"))?;
                tile::push_entry(&mut bundle, &entry);
            }
            return Ok(Some(bundle));
        };
        let hashes = self.hashes(level, first, tile.width)?;
        Ok(Some(hashes.iter().flat_map(|hash| hash.0).collect()))
    }

    /// The receipt of a leaf under the published checkpoint. `None` beyond its size. A receipt that would not
    /// verify is never given.
    pub fn receipt(&self, index: u64) -> Result<Option<Receipt>, store::Error> {
        let Some(entry) = self.entry(index)? else { return Ok(None) };
        let Published { size, root, checkpoint, .. } = self.at;
        let path = merkle::inclusion(self, index, *size)?;
        if !merkle::verify_inclusion(merkle::leaf_hash(&entry), index, *size, &path, root) {
            return Err(corrupt("entries", "an entry is not the one in the tree"));
        }
        if checkpoint.lines().nth(1) != Some(&size.to_string()) {
            return Err(corrupt("checkpoints", "the checkpoint is not of this tree"));
        }
        Ok(Some(Receipt { entry, index, path, checkpoint: self.at.checkpoint.clone() }))
    }

    /// The index of the event with this `(producer, source, id)`.
    pub fn find(&self, scope: Scope<'_>) -> Result<Option<u64>, store::Error> {
        let key = self.number.key(&event_key(scope));
        let index = self.store.get(Family::Keys, &key)?;
        let index = index.map(|bytes| store::read_u64(&bytes, "keys")).transpose()?;
        Ok(index.filter(|index| *index < self.at.size))
    }

    /// The consistency proof between two sizes, `1 ≤ from ≤ to ≤` the published size.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Option<Vec<Hash>>, store::Error> {
        if from == 0 || from > to || to > self.at.size {
            return Ok(None);
        }
        merkle::consistency(self, from, to).map(Some)
    }

    /// The remaining payload of a leaf.
    pub fn payload(&self, index: u64) -> Result<Option<Payload>, store::Error> {
        if index >= self.at.size {
            return Ok(None);
        }
        let payload = erased::left(self.store, self.number, index)?;
        if payload.is_none() && index < self.at.kept_from() {
            return Err(missing(index, self.at.pruned));
        }
        payload.map(Some).ok_or_else(|| corrupt("payload", "a payload"))
    }

    /// The first index whose `journal.time` is `time` or later. The published size if there is none.
    /// [`store::Error::Pruned`] if an entry that is gone may be the first.
    pub fn first_at(&self, time: Nanos) -> Result<u64, store::Error> {
        let time_at = |index| -> Result<Nanos, store::Error> {
            let entry = self.entry(index)?;
            let view = entry.as_deref().and_then(View::parse);
            Ok(view.ok_or_else(|| corrupt("entries", "an entry"))?.origin.time)
        };
        // Journal times go backwards only at a `clock` entry: search the newest stretch that begins early
        // enough.
        if let Some(pruned) = self.at.pruned.filter(|pruned| time <= pruned.time) {
            return Err(missing(0, Some(pruned)));
        }
        let (mut low, mut high) = (self.at.kept_from(), self.at.size);
        if let Some(clock) = self.at.clock.filter(|clock| *clock >= low) {
            if time_at(clock)? <= time { low = clock } else { high = clock }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if time_at(middle)? < time { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

/// Reads the right edge of a log from its full tiles and last entries.
pub fn load_edge(store: &dyn Read, number: LogNumber, size: u64) -> Result<Edge, store::Error> {
    Edge::load(size, |level, width| {
        let first = (size >> (8 * u32::from(level))) / 256 * 256;
        (first..first + width as u64)
            .map(|at| {
                if level == 0 {
                    let entry = store.get(Family::Entries, &number.numbered(at))?;
                    let entry = entry.ok_or_else(|| corrupt("entries", "an entry is missing"))?;
                    return Ok(merkle::leaf_hash(&entry));
                }
                let tile = store.get(Family::Tiles, &number.tile(level - 1, at))?;
                let tile = tile.ok_or_else(|| corrupt("tiles", "a full tile is missing"))?;
                let hashes: Vec<Hash> =
                    tile.chunks_exact(32).filter_map(Hash::from_slice).collect();
                Ok(merkle::tile_root(&hashes))
            })
            .collect()
    })
}
