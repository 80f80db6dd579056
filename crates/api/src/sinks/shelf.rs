//! The newest entries of a log, read, hashed and written once for all sinks that come by.
//!
//! A sink that keeps up finds on the shelf what another one has read. One that is far behind reads for itself, and leaves the
//! shelf as it is.

use super::format::{Format, Site, Source};
use ledger::{Ledger, entry::View, log::merkle::Hash, store, tenant::Tenant};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, OnceLock},
};

/// Most bytes of entries on a shelf: those of some seconds. Their lines are beside them, once for each format.
const SHELF_BYTES_MAX: usize = 2 << 20;
/// Entries that are read at once.
const READ_AT_ONCE: u64 = 64;

/// An entry, with what every sink asks of it.
#[derive(Debug)]
pub struct Leaf {
    /// Its leaf index.
    pub index: u64,
    /// Its leaf hash.
    pub hash: Hash,
    /// Its bytes.
    pub entry: String,
    time: OnceLock<u64>,
    /// Its record in each format that a sink has asked for, without payload.
    lines: Mutex<Vec<(Format, Arc<String>)>>,
}

impl Leaf {
    fn new(index: u64, bytes: &[u8], hash: Hash) -> Result<Arc<Self>, store::Error> {
        let entry = String::from_utf8(bytes.to_vec()).map_err(|_| damaged())?;
        let (time, lines) = (OnceLock::new(), Mutex::default());
        Ok(Arc::new(Self { index, hash, entry, time, lines }))
    }

    /// The bytes of one that is shared.
    pub fn text(this: &Arc<Self>) -> &str {
        &this.entry
    }

    /// Its `journal.time`, in nanoseconds since 1970.
    pub fn time(&self) -> u64 {
        let read = || View::parse(self.entry.as_bytes()).map_or(0, |view| view.origin.time.0);
        *self.time.get_or_init(read)
    }

    /// Its record without payload, on one line. The same for all sinks of a shelf.
    pub fn line(&self, format: Format, site: &Site) -> Arc<String> {
        let mut lines = self.lines.lock().expect("no holder of the lock panics");
        if let Some((_, line)) = lines.iter().find(|(of, _)| *of == format) {
            return Arc::clone(line);
        }
        let line = Arc::new(self.record(format, site, &BTreeMap::new()));
        lines.push((format, Arc::clone(&line)));
        line
    }

    /// Its record with payload fields that may leave, on one line.
    pub fn record(
        &self,
        format: Format,
        site: &Site,
        payload: &BTreeMap<String, Vec<u8>>,
    ) -> String {
        let Self { index, hash, entry, .. } = self;
        format.record(site, &Source { index: *index, leaf_hash: hash, entry, payload })
    }
}

fn damaged() -> store::Error {
    store::Error::Corrupt { family: "entries", what: "an entry" }
}

/// Entries of one log, without a hole.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    leaves: VecDeque<Arc<Leaf>>,
    bytes: usize,
}

impl Shelf {
    /// The entry at `from` and some that follow it, below `size`, which is published. Whoever comes while another one reads
    /// waits for what that one finds.
    pub fn from(
        &self,
        ledger: &Ledger,
        tenant: &Tenant,
        (from, size): (u64, u64),
    ) -> Result<VecDeque<Arc<Leaf>>, store::Error> {
        let to = size.min(from + READ_AT_ONCE);
        let mut kept = self.0.lock().expect("no holder of the lock panics");
        match kept.place(from) {
            Place::Here(at) => {
                Ok(kept.leaves.range(at..).take((to - from) as usize).cloned().collect())
            }
            Place::Before(first) => {
                drop(kept);
                read(ledger, tenant, (from, to.min(first)))
            }
            Place::After => {
                let found = read(ledger, tenant, (from, to))?;
                kept.add(from, &found);
                Ok(found)
            }
        }
    }
}

/// Where an index is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// At this place.
    Here(usize),
    /// Before the first one, which has this index.
    Before(u64),
    /// After the last one.
    After,
}

impl Kept {
    fn place(&self, index: u64) -> Place {
        match self.leaves.front().map(|leaf| leaf.index) {
            Some(first) if index < first => Place::Before(first),
            Some(first) if index - first < self.leaves.len() as u64 => {
                Place::Here((index - first) as usize)
            }
            _ => Place::After,
        }
    }

    /// Adds entries from `from` on, and lets the oldest ones go. A hole would be taken for nothing: what is before it goes.
    fn add(&mut self, from: u64, found: &VecDeque<Arc<Leaf>>) {
        if self.leaves.back().is_some_and(|last| last.index + 1 != from) {
            *self = Self::default();
        }
        for leaf in found {
            self.bytes += leaf.entry.len();
            self.leaves.push_back(Arc::clone(leaf));
        }
        while self.bytes > SHELF_BYTES_MAX
            && let Some(leaf) = self.leaves.pop_front()
        {
            self.bytes -= leaf.entry.len();
        }
    }
}

fn read(
    ledger: &Ledger,
    tenant: &Tenant,
    range: (u64, u64),
) -> Result<VecDeque<Arc<Leaf>>, store::Error> {
    let (mut found, mut failed) = (VecDeque::new(), None);
    ledger.leaves(tenant, range, |index, bytes, hash| match Leaf::new(index, bytes, hash) {
        Ok(leaf) => found.push_back(leaf),
        Err(error) => failed = Some(error),
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(from: u64, count: u64, bytes: usize) -> VecDeque<Arc<Leaf>> {
        let one = |index| Leaf::new(index, &vec![b' '; bytes], Hash([0; 32])).unwrap();
        (from..from + count).map(one).collect()
    }

    #[test]
    fn p19_a_shelf_has_no_hole_and_is_bounded() {
        let mut kept = Kept::default();
        assert_eq!(kept.place(7), Place::After);
        kept.add(7, &leaves(7, 3, 10));
        kept.add(10, &leaves(10, 2, 10));
        let places = [6, 7, 11, 12].map(|index| kept.place(index));
        assert_eq!(places, [Place::Before(7), Place::Here(0), Place::Here(4), Place::After]);
        assert_eq!(kept.bytes, 50);
        // Nothing between 12 and 19 was read.
        kept.add(20, &leaves(20, 2, 10));
        assert_eq!(
            (kept.place(11), kept.place(20), kept.bytes),
            (Place::Before(20), Place::Here(0), 20)
        );
        kept.add(22, &leaves(22, 40, SHELF_BYTES_MAX / 16));
        assert_eq!((kept.leaves.len(), kept.bytes), (16, SHELF_BYTES_MAX));
        assert_eq!(kept.place(46), Place::Here(0));
    }

    #[test]
    fn one_entry_above_the_bound_is_not_kept() {
        let mut kept = Kept::default();
        kept.add(0, &leaves(0, 1, SHELF_BYTES_MAX + 1));
        assert_eq!((kept.place(0), kept.bytes), (Place::After, 0));
    }
}
