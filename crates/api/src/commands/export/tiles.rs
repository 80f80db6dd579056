//! The hash tiles of a server's log.

use crate::{
    client::Client,
    commands::{EXIT_FAILED, Failed},
};
use ledger::log::{
    merkle::{self, Hash, Tiles},
    tile::Tile,
};
use std::{cell::RefCell, collections::BTreeMap};

/// The hash tiles of a tree of one size, fetched on demand. A partial tile is served for ever.
pub struct Remote<'a> {
    client: &'a Client,
    log: &'a str,
    size: u64,
    kept: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl<'a> Remote<'a> {
    /// Those of a log, by the path of its routes.
    pub fn new(client: &'a Client, log: &'a str, size: u64) -> Self {
        Self { client, log, size, kept: RefCell::default() }
    }
}

impl Tiles for Remote<'_> {
    type Error = Failed;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, Failed> {
        let number = first / merkle::TILE_WIDTH as u64;
        let width = Tile::width_at(Some(level), number, self.size);
        let path = Tile { level: Some(level), number, width }.to_string();
        let mut kept = self.kept.borrow_mut();
        if !kept.contains_key(&path) {
            kept.insert(path.clone(), self.client.get(&format!("{}/tile/{path}", self.log))?);
        }
        let within = (first % merkle::TILE_WIDTH as u64) as usize;
        let hashes = kept[&path].get(within * 32..(within + count) * 32).ok_or_else(unreadable)?;
        Ok(hashes.chunks_exact(32).filter_map(Hash::from_slice).collect())
    }
}

/// An answer that is not of the form that it must have.
pub fn unreadable() -> Failed {
    Failed::new(EXIT_FAILED, "the server's answer can't be read")
}
