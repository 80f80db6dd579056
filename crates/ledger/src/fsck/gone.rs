//! Which journal messages may be gone, by what the log says about its own holes.

use std::collections::{BTreeMap, BTreeSet};

/// What erasure, trim and `journal_gap` entries name.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// Epoch and sequence of each erased message.
    pub erased: BTreeSet<(u64, u64)>,
    /// Epoch, first and last sequence of each hole that only a `journal_gap` entry explains.
    pub holes: Vec<(u64, u64, u64)>,
    /// For each epoch, the sequence below which everything was trimmed.
    below: BTreeMap<u64, u64>,
}

impl Gone {
    /// Takes a trim entry.
    pub fn trimmed(&mut self, epoch: u64, below: u64) {
        let at = self.below.entry(epoch).or_default();
        *at = below.max(*at);
    }

    /// For each epoch, the sequence below which everything was trimmed.
    pub fn below(&self) -> &BTreeMap<u64, u64> {
        &self.below
    }

    /// Sets all of it.
    pub fn restore(
        &mut self,
        erased: BTreeSet<(u64, u64)>,
        holes: Vec<(u64, u64, u64)>,
        below: BTreeMap<u64, u64>,
    ) {
        *self = Self { erased, holes, below };
    }

    /// The first of these sequences that nothing explains.
    pub fn unexplained(&self, epoch: u64, (from, to): (u64, u64)) -> Option<u64> {
        let mut next = from.max(self.below.get(&epoch).copied().unwrap_or(0));
        while next <= to {
            let hole = self.holes.iter().find(|(e, a, b)| *e == epoch && (*a..=*b).contains(&next));
            match hole {
                Some((_, _, last)) => next = last + 1,
                None if self.erased.contains(&(epoch, next)) => next += 1,
                None => return Some(next),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_hole_is_explained_message_by_message() {
        let mut gone = Gone { holes: vec![(1, 20, 29)], ..Gone::default() };
        gone.erased.extend([(1, 30), (1, 31), (2, 50)]);
        gone.trimmed(1, 10);
        let check = |epoch, from, to, first: Option<u64>| {
            assert_eq!(gone.unexplained(epoch, (from, to)), first, "{epoch} {from} {to}");
        };
        check(1, 1, 9, None);
        check(1, 1, 10, Some(10));
        check(1, 20, 31, None);
        check(1, 20, 32, Some(32));
        check(1, 50, 50, Some(50));
        check(2, 50, 50, None);
        check(2, 1, 1, Some(1));
    }
}
