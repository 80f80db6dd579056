//! Compares two sets of rows without sorting or looking up any: the sums over both must be the same.

use std::hash::{BuildHasher as _, RandomState};

/// A sum over rows in any order. Its keys are drawn anew by every run, so nobody can prepare a database in which other
/// rows give the same sum.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    keys: [RandomState; 2],
    sums: [u64; 2],
}

impl Default for Tally {
    fn default() -> Self {
        Self { keys: [RandomState::new(), RandomState::new()], sums: [0; 2] }
    }
}

impl Tally {
    /// A sum over other rows, to be compared with this one.
    pub fn other(&self) -> Self {
        Self { keys: self.keys.clone(), sums: [0; 2] }
    }

    /// Adds a row.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        for (sum, keyed) in self.sums.iter_mut().zip(&self.keys) {
            *sum = sum.wrapping_add(keyed.hash_one((key, value)));
        }
    }

    /// True if both have the same rows.
    pub fn is_same(&self, other: &Self) -> bool {
        self.sums == other.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_rows_give_the_same_sum() {
        let one = Tally::default();
        let check = |rows: &[(&[u8], &[u8])], same: bool| {
            let (mut first, mut second) = (one.other(), one.other());
            for (key, value) in [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")] {
                first.add(key, value);
            }
            for (key, value) in rows {
                second.add(key, value);
            }
            assert_eq!(first.is_same(&second), same, "{rows:?}");
        };
        check(&[(b"c", b"3"), (b"a", b"1"), (b"b", b"2")], true);
        check(&[(b"a", b"1"), (b"b", b"2")], false);
        check(&[(b"a", b"2"), (b"b", b"1"), (b"c", b"3")], false);
        check(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"c", b"3")], false);
        check(&[(b"a1", b""), (b"b", b"2"), (b"c", b"3")], false);
    }
}
