//! A part of a log under one checkpoint. Each bundle of entries that is read leads to the signed root
//! (c2sp.org/tlog-tiles), so a part is as sound as the whole log, and nothing in it can be left out.

use super::{Error, Trusted, checkpoint};
use crate::{
    entry::View,
    log::{
        checkpoint::Checkpoint,
        merkle::{self, Edge, Hash, TILE_WIDTH, Tiles, leaf_hash, tile_root},
        tile::{Tile, read_bundle},
    },
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

/// Most proven hash tiles kept in memory, 8 KiB each.
const TILES_MAX: usize = 4096;
/// Most proven bundles kept in memory, at most 16 MB each.
const BUNDLES_MAX: usize = 16;

/// Proven entries of one bundle, at most 256.
pub struct Bundle {
    bytes: Vec<u8>,
    /// Where each entry lies in the bytes.
    places: Vec<(usize, usize)>,
    leaves: Vec<Hash>,
}

impl Bundle {
    fn read(bytes: Vec<u8>, width: usize) -> Option<Self> {
        let base = bytes.as_ptr().addr();
        let entries = read_bundle(&bytes).filter(|entries| entries.len() == width)?;
        let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let place = |entry: &&[u8]| (entry.as_ptr().addr() - base, entry.len());
        let places = entries.iter().map(place).collect();
        Some(Self { bytes, places, leaves })
    }

    /// The entry at a place, from 0.
    pub fn entry(&self, at: usize) -> Option<&[u8]> {
        self.places.get(at).map(|(begin, length)| &self.bytes[*begin..begin + length])
    }

    /// Its entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|(begin, length)| &self.bytes[*begin..begin + length])
    }
}

/// Full tiles that were proven, by level and number.
type Proven = HashMap<(u8, u64), Rc<Vec<Hash>>>;

/// Entries and hashes of a log, each proven when it is read.
pub struct Part<R> {
    signed: Checkpoint,
    edge: Edge,
    read: R,
    tiles: RefCell<Proven>,
    bundles: RefCell<BTreeMap<u64, Rc<Bundle>>>,
}

impl<R: Fn(&str) -> Option<Vec<u8>>> Part<R> {
    /// Opens a checkpoint that one of the trusted keys signed. `read` gives the bytes of a file by its path, which begins
    /// with `tile/`.
    pub fn open(trusted: &[Trusted], note: &str, read: R) -> Result<Self, Error> {
        let signed = checkpoint(note, trusted)?;
        let edge = Edge::load(signed.size, |level, width| {
            let number = (signed.size >> (8 * u32::from(level))) / TILE_WIDTH as u64;
            hashes(&read, Tile { level: Some(level), number, width })
        })?;
        if edge.root() != signed.root {
            let what = "the tiles at the right edge do not give the root that the checkpoint signs";
            return Err(Error::export("tile", what));
        }
        let (tiles, bundles) = (RefCell::default(), RefCell::default());
        Ok(Self { signed, edge, read, tiles, bundles })
    }

    /// The checkpoint.
    pub fn signed(&self) -> &Checkpoint {
        &self.signed
    }

    /// The entry at a leaf index.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, Error> {
        let bundle = self.bundle(index / TILE_WIDTH as u64)?;
        let entry = bundle.entry(within(index)).map(<[u8]>::to_vec);
        entry.ok_or_else(|| Error::export(format!("entry {index}"), "the log does not reach it"))
    }

    /// Gives the entry at a leaf index to `take`.
    pub fn with<T>(
        &self,
        index: u64,
        take: impl FnOnce(&View<'_>) -> Result<T, &'static str>,
    ) -> Result<T, Error> {
        let wrong = |what| Error::export(format!("entry {index}"), what);
        let entry = self.entry(index)?;
        let view = View::parse(&entry).ok_or_else(|| wrong("not an entry of version 1"))?;
        take(&view).map_err(wrong)
    }

    /// The entries with the leaf indexes `number * 256` and following.
    pub fn bundle(&self, number: u64) -> Result<Rc<Bundle>, Error> {
        if let Some(known) = self.bundles.borrow().get(&number) {
            return Ok(Rc::clone(known));
        }
        let width = Tile::width_at(None, number, self.signed.size);
        let path = format!("tile/{}", Tile { level: None, number, width });
        let wrong = |what| Error::export(path.clone(), what);
        if width == 0 {
            return Err(wrong("the log does not reach it"));
        }
        let bytes = (self.read)(&path).ok_or_else(|| wrong("missing"))?;
        let bundle =
            Bundle::read(bytes, width).ok_or_else(|| wrong("not a bundle of that width"))?;
        let proven = if width < TILE_WIDTH {
            bundle.leaves == self.edge.partial(0)
        } else {
            tile_root(&bundle.leaves) == self.hash(1, number)?
        };
        if !proven {
            return Err(wrong(
                "its entries do not lead to the signed root: one was changed, removed or added",
            ));
        }
        let bundle = Rc::new(bundle);
        let mut kept = self.bundles.borrow_mut();
        if kept.len() >= BUNDLES_MAX {
            kept.clear();
        }
        kept.insert(number, Rc::clone(&bundle));
        Ok(bundle)
    }

    /// The hash at `at` of a level: from the right edge, or from a tile that leads to it.
    fn hash(&self, level: u8, at: u64) -> Result<Hash, Error> {
        let number = at / TILE_WIDTH as u64;
        let hash = if Tile::width_at(Some(level), number, self.signed.size) < TILE_WIDTH {
            self.edge.partial(level).get(within(at)).copied()
        } else {
            self.tile(level, number)?.get(within(at)).copied()
        };
        hash.ok_or_else(|| Error::export(format!("tile/{level}"), "the log does not reach it"))
    }

    /// The hashes of a full tile.
    fn tile(&self, level: u8, number: u64) -> Result<Rc<Vec<Hash>>, Error> {
        if let Some(known) = self.tiles.borrow().get(&(level, number)) {
            return Ok(Rc::clone(known));
        }
        let hashes = if level == 0 {
            self.bundle(number)?.leaves.clone()
        } else {
            let tile = Tile { level: Some(level), number, width: TILE_WIDTH };
            let hashes = hashes(&self.read, tile)?;
            if tile_root(&hashes) != self.hash(level + 1, number)? {
                let what = "its hashes do not lead to the signed root";
                return Err(Error::export(format!("tile/{tile}"), what));
            }
            hashes
        };
        let hashes = Rc::new(hashes);
        let mut kept = self.tiles.borrow_mut();
        if kept.len() >= TILES_MAX {
            kept.clear();
        }
        kept.insert((level, number), Rc::clone(&hashes));
        Ok(hashes)
    }
}

impl<R: Fn(&str) -> Option<Vec<u8>>> Tiles for Part<R> {
    type Error = Error;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, Error> {
        (first..first + count as u64).map(|at| self.hash(level, at)).collect()
    }
}

impl<R: Fn(&str) -> Option<Vec<u8>>> Part<R> {
    /// The path of a leaf to the root (RFC 6962 §2.1.1).
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, Error> {
        merkle::inclusion(self, index, self.signed.size)
    }
}

/// The place of a leaf, or of a hash, in its tile.
fn within(at: u64) -> usize {
    usize::try_from(at % TILE_WIDTH as u64).unwrap_or_default()
}

fn hashes(read: &impl Fn(&str) -> Option<Vec<u8>>, tile: Tile) -> Result<Vec<Hash>, Error> {
    let path = format!("tile/{tile}");
    let bytes = read(&path).ok_or_else(|| Error::export(path.clone(), "missing"))?;
    if bytes.len() != 32 * tile.width {
        return Err(Error::export(path, "not a tile of that width"));
    }
    Ok(bytes.chunks_exact(32).filter_map(Hash::from_slice).collect())
}
