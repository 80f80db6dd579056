//! One claim: everything that was given to one verification, compared with each other (P4).
//!
//! Every proof about a log states hashes of ranges of its leaves. A checkpoint states that of all leaves; a
//! receipt that of one leaf and of the ranges along its path; a consistency proof some more. The hash of a
//! range depends only on its leaves. So two proofs that state different hashes for one range can't be of one
//! history, whatever sizes they are for.

use super::{Error, Verified};
use crate::log::{
    checkpoint::Checkpoint,
    merkle::{self, Hash, Tiles, node_hash, split},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Leaves `.0 .. .1`, as some split of a tree produces them.
type Range = (u64, u64);

/// The hash of a range, and the first file that stated it.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: Hash,
    place: usize,
}

/// Everything that was given so far. Each part was verified on its own before.
#[derive(Debug, Default)]
pub struct Claim {
    places: Vec<String>,
    known: HashMap<Range, Known>,
    /// Ranges that each tree size proves.
    proven: BTreeMap<u64, HashSet<Range>>,
    /// Pairs of sizes, smaller first, that a proof or an export connects.
    connected: BTreeSet<(u64, u64)>,
}

/// A tree that nothing in the claim proves to be a prefix of the largest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconnected {
    /// Its size.
    pub size: u64,
    /// The file that stated it.
    pub place: String,
    /// Size of the largest tree.
    pub largest: u64,
    /// The file that stated that.
    pub largest_place: String,
}

impl Claim {
    /// Takes a checkpoint.
    pub fn checkpoint(&mut self, place: &str, checkpoint: &Checkpoint) -> Result<(), Error> {
        let place = self.place(place);
        self.learn(place, checkpoint.size, (0, checkpoint.size), checkpoint.root)
    }

    /// Takes a receipt: its checkpoint, its leaf, and the ranges along its path.
    pub fn receipt(&mut self, place: &str, verified: &Verified) -> Result<(), Error> {
        let place = self.place(place);
        let (size, root) = (verified.checkpoint.size, verified.checkpoint.root);
        let receipt = &verified.receipt;
        self.learn(place, size, (0, size), root)?;
        let leaf = merkle::leaf_hash(&receipt.entry);
        self.learn(place, size, (receipt.index, receipt.index + 1), leaf)?;
        let (mut begin, mut end) = (0, size);
        for hash in receipt.path.iter().rev() {
            if end - begin < 2 {
                break;
            }
            let middle = begin + split(end - begin);
            if receipt.index < middle {
                self.learn(place, size, (middle, end), *hash)?;
                end = middle;
            } else {
                self.learn(place, size, (begin, middle), *hash)?;
                begin = middle;
            }
        }
        Ok(())
    }

    /// Takes a consistency proof between two sizes, `from` the smaller.
    pub fn consistency(
        &mut self,
        place: &str,
        (from, to): (u64, u64),
        proof: &[Hash],
    ) -> Result<(), Error> {
        let place = self.place(place);
        self.connected.insert((from, to));
        let mut proof = proof.iter().rev();
        let (mut begin, mut end) = (0, to);
        while from != end && end - begin > 1 {
            let middle = begin + split(end - begin);
            let Some(hash) = proof.next() else { return Ok(()) };
            if from <= middle {
                self.learn(place, to, (middle, end), *hash)?;
                end = middle;
            } else {
                self.learn(place, to, (begin, middle), *hash)?;
                begin = middle;
            }
        }
        match proof.next() {
            Some(hash) if begin != 0 => self.learn(place, to, (begin, end), *hash),
            _ => Ok(()),
        }
    }

    /// Takes a whole export, after everything else: computes each stated range from its tiles. A tile that
    /// can't be read again is skipped, because the export itself was verified before.
    pub fn export<T: Tiles>(
        &mut self,
        place: &str,
        checkpoint: &Checkpoint,
        tiles: &T,
    ) -> Result<(), Error> {
        self.checkpoint(place, checkpoint)?;
        let mut ranges: Vec<_> = self.known.iter().map(|(range, known)| (*range, *known)).collect();
        ranges.retain(|((begin, end), _)| begin < end && *end <= checkpoint.size);
        // A whole tree or one leaf tells people more than a range in between.
        ranges.sort_by_key(|((begin, end), _)| (*begin != 0 && end - begin > 1, *end, *begin));
        for ((begin, end), known) in ranges {
            let Ok(hash) = merkle::range(tiles, begin, end) else { continue };
            if hash != known.hash {
                let said = self.places[known.place].clone();
                return Err(contradiction(said, place.to_owned(), (begin, end)));
            }
        }
        let sizes: Vec<u64> = self.proven.range(..checkpoint.size).map(|(size, _)| *size).collect();
        self.connected.extend(sizes.into_iter().map(|size| (size, checkpoint.size)));
        Ok(())
    }

    /// Compares what only follows from several parts together. Returns the trees that nothing proves to be a
    /// prefix of the largest.
    pub fn finish(&self) -> Result<Vec<Unconnected>, Error> {
        let anybody = |range: &Range| self.known.contains_key(range);
        for (range, known) in &self.known {
            let derived = self.of_halves(*range, &anybody);
            if derived.as_ref().is_some_and(|(hash, _)| *hash != known.hash) {
                let others = derived.map(|(_, places)| places).unwrap_or_default();
                let others = others.into_iter().filter(|place| *place != known.place);
                let others: Vec<&str> = others.map(|place| self.places[place].as_str()).collect();
                let said = self.places[known.place].clone();
                return Err(contradiction(said, others.join(" with "), *range));
            }
        }
        Ok(self.unconnected())
    }

    fn unconnected(&self) -> Vec<Unconnected> {
        let Some((&largest, _)) = self.proven.last_key_value() else { return Vec::new() };
        let mut reached = vec![largest];
        let mut open = Vec::new();
        for (&size, _) in self.proven.iter().rev().skip(1) {
            let shown = |to: &u64| {
                let binds = |range: &Range| self.proven[to].contains(range);
                self.connected.contains(&(size, *to)) || self.derived((0, size), &binds).is_some()
            };
            if size == 0 || reached.iter().any(shown) {
                reached.push(size);
            } else {
                let known = |size| self.known.get(&(0, size)).map_or(0, |known| known.place);
                let place = |size| self.places.get(known(size)).cloned().unwrap_or_default();
                let (place, largest_place) = (place(size), place(largest));
                open.push(Unconnected { size, place, largest, largest_place });
            }
        }
        open
    }

    fn place(&mut self, place: &str) -> usize {
        if self.places.last().is_none_or(|last| last != place) {
            self.places.push(place.to_owned());
        }
        self.places.len() - 1
    }

    fn learn(&mut self, place: usize, size: u64, range: Range, hash: Hash) -> Result<(), Error> {
        let known = *self.known.entry(range).or_insert(Known { hash, place });
        if known.hash != hash {
            let (one, other) = (self.places[known.place].clone(), self.places[place].clone());
            return Err(contradiction(one, other, range));
        }
        self.proven.entry(size).or_default().insert(range);
        Ok(())
    }

    /// The hash of a range, stated directly or computed from its halves, and who stated them.
    fn derived(
        &self,
        range: Range,
        counts: &impl Fn(&Range) -> bool,
    ) -> Option<(Hash, BTreeSet<usize>)> {
        match self.known.get(&range).filter(|_| counts(&range)) {
            Some(known) => Some((known.hash, BTreeSet::from([known.place]))),
            None => self.of_halves(range, counts),
        }
    }

    fn of_halves(
        &self,
        (begin, end): Range,
        counts: &impl Fn(&Range) -> bool,
    ) -> Option<(Hash, BTreeSet<usize>)> {
        if end - begin < 2 {
            return None;
        }
        let middle = begin + split(end - begin);
        let (left, mut places) = self.derived((begin, middle), counts)?;
        let (right, more) = self.derived((middle, end), counts)?;
        places.extend(more);
        Some((node_hash(&left, &right), places))
    }
}

fn contradiction(one: String, other: String, (begin, end): Range) -> Error {
    let what = match (begin, end) {
        (0, 0) => "the root of the empty log".to_owned(),
        (begin, end) if end - begin == 1 => format!("entry {begin}"),
        (0, end) => format!("the root of the log's first {end} entries"),
        (begin, end) => format!("the entries {begin} to {}", end - 1),
    };
    Error::Contradiction { one, other, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{
        merkle::{Edge, leaf_hash},
        receipt::Receipt,
    };

    /// A log of `size` leaves. From leaf `fork` on, they belong to another history.
    struct Log(Vec<Vec<u8>>);

    impl Log {
        fn new(size: u64, fork: u64) -> Self {
            let leaf = |n| format!("{n}{}", if n < fork { "" } else { "'" }).into_bytes();
            Self((0..size).map(leaf).collect())
        }

        fn checkpoint(&self, size: u64) -> Checkpoint {
            let mut edge = Edge::default();
            self.0.iter().take(size as usize).for_each(|l| edge.append(leaf_hash(l), &mut vec![]));
            Checkpoint { origin: "log".into(), size, root: edge.root() }
        }

        fn receipt(&self, index: u64, size: u64) -> Verified {
            let path = merkle::inclusion(self, index, size).unwrap();
            let entry = self.0[index as usize].clone();
            let receipt = Receipt { entry, index, path, checkpoint: String::new() };
            Verified { receipt, checkpoint: self.checkpoint(size) }
        }
    }

    impl Tiles for Log {
        type Error = ();
        fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, ()> {
            assert_eq!(level, 0, "these logs are small");
            let leaves = self.0.iter().skip(first as usize).take(count);
            Ok(leaves.map(|leaf| leaf_hash(leaf)).collect())
        }
    }

    /// Checks whether receipts of both logs (index, size) fit into one claim.
    fn check(one: (&Log, &[(u64, u64)]), other: (&Log, &[(u64, u64)]), agree: bool) {
        let mut claim = Claim::default();
        let parts = [("one", one), ("other", other)];
        let all =
            parts.iter().flat_map(|(name, (log, all))| all.iter().map(move |r| (name, log, r)));
        let taken: Result<Vec<()>, Error> = all
            .map(|(name, log, (index, size))| claim.receipt(name, &log.receipt(*index, *size)))
            .collect();
        let done = taken.and_then(|_| claim.finish());
        assert_eq!(done.is_ok(), agree, "{done:?}");
        if let Err(error) = done {
            let text = error.to_string();
            assert!(text.contains("one") && text.contains("other"), "{text}");
        }
    }

    #[test]
    fn p4_receipts_of_two_histories() {
        let (a, b) = (Log::new(40, 40), Log::new(40, 20));
        check((&a, &[(3, 33)]), (&a, &[(3, 40), (39, 40), (0, 7)]), true);
        // One size, two roots.
        check((&a, &[(3, 33)]), (&b, &[(3, 33)]), false);
        // One index, two entries, under different sizes.
        check((&a, &[(25, 33)]), (&b, &[(25, 40)]), false);
        // Another index: the paths share the range 16..24.
        check((&a, &[(3, 32)]), (&b, &[(30, 33)]), false);
        // The root at 24 follows from the path of the receipt of entry 24 at 25.
        check((&a, &[(3, 24)]), (&b, &[(24, 25)]), false);
        // Before the fork both are one history.
        check((&a, &[(3, 20)]), (&b, &[(3, 20), (19, 20)]), true);
        // They have nothing in common that could differ, so the fork stays undetected.
        check((&a, &[(3, 21)]), (&b, &[(3, 22)]), true);
    }

    #[test]
    fn p4_many_leaves_give_a_root() {
        let (a, b) = (Log::new(4, 4), Log::new(8, 3));
        let all: Vec<_> = (0..4).map(|n| (n, 8)).collect();
        check((&a, &[(0, 4)]), (&b, &all), false);
    }

    #[test]
    fn p4_an_export_judges_every_range() {
        let (a, b) = (Log::new(40, 40), Log::new(40, 20));
        for (log, size, agree) in [(&a, 33, true), (&b, 33, false), (&b, 20, true), (&b, 40, false)]
        {
            let mut claim = Claim::default();
            claim.receipt("receipt", &log.receipt(3, size)).unwrap();
            let done = claim.export("export", &a.checkpoint(40), &a);
            assert_eq!(done.is_ok(), agree, "{done:?}");
            if agree {
                assert_eq!(claim.finish(), Ok(vec![]), "all are prefixes of the export");
            }
        }
        // An export that is older than the receipt.
        let mut claim = Claim::default();
        claim.receipt("receipt", &b.receipt(3, 40)).unwrap();
        assert!(claim.export("export", &a.checkpoint(33), &a).is_err());
    }

    #[test]
    fn p4_what_is_not_connected_is_said() {
        let log = Log::new(40, 40);
        let mut claim = Claim::default();
        for size in [7, 20, 40] {
            claim.checkpoint(&size.to_string(), &log.checkpoint(size)).unwrap();
        }
        let open: Vec<u64> = claim.finish().unwrap().iter().map(|one| one.size).collect();
        assert_eq!(open, [20, 7]);
        let proof = merkle::consistency(&log, 20, 40).unwrap();
        claim.consistency("proof", (20, 40), &proof).unwrap();
        assert_eq!(claim.finish().unwrap().len(), 1);
        // The last leaf's path is the whole left side: it connects 7 with 8, and a proof 8 with 20.
        claim.receipt("receipt", &log.receipt(7, 8)).unwrap();
        let proof = merkle::consistency(&log, 8, 20).unwrap();
        claim.consistency("proof", (8, 20), &proof).unwrap();
        assert_eq!(claim.finish(), Ok(vec![]));
    }

    #[test]
    fn p4_a_proof_of_another_history() {
        let (a, b) = (Log::new(40, 40), Log::new(40, 20));
        let mut claim = Claim::default();
        claim.receipt("one", &a.receipt(39, 40)).unwrap();
        let proof = merkle::consistency(&b, 10, 33).unwrap();
        let learned = claim.consistency("other", (10, 33), &proof);
        assert!(learned.and_then(|()| claim.finish()).is_err());
    }
}
