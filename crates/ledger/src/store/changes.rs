//! Changes on top of what is stored.

use super::{Error, Family, Read};
use std::collections::BTreeMap;

/// One write: a key and its new value; `None` deletes it.
pub type Write = ((Family, Vec<u8>), Option<Vec<u8>>);

/// Changes on top of what is stored. Reads see them first; they are written all at once or not at all.
pub struct Changes<'a> {
    base: &'a dyn Read,
    families: [Rows; Family::ALL.len()],
}

/// Changed rows of one family. Most families grow at their end, and there a new row costs one comparison.
#[derive(Default)]
struct Rows {
    /// Rows that came in ascending order.
    ascending: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// All other rows.
    others: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Rows {
    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        if self.ascending.last().is_none_or(|(last, _)| *last < key) {
            // It is after every other row, so `others` does not have it.
            self.ascending.push((key, value));
            return;
        }
        match self.ascending.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => self.ascending[at].1 = value,
            Err(_) => drop(self.others.insert(key, value)),
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        match self.ascending.binary_search_by(|(known, _)| known.as_slice().cmp(key)) {
            Ok(at) => Some(&self.ascending[at].1),
            Err(_) => self.others.get(key),
        }
    }
}

impl<'a> Changes<'a> {
    /// No changes yet.
    pub fn new(base: &'a dyn Read) -> Self {
        Self { base, families: std::array::from_fn(|_| Rows::default()) }
    }

    /// Sets a value.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.families[family as usize].set(key, Some(value));
    }

    /// Deletes a value.
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.families[family as usize].set(key, None);
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.families.iter().all(|rows| rows.ascending.is_empty())
    }

    /// The writes, each key once, family by family.
    pub fn into_writes(self) -> impl Iterator<Item = Write> {
        Family::ALL.into_iter().zip(self.families).flat_map(|((family, _), rows)| {
            let all = rows.ascending.into_iter().chain(rows.others);
            all.map(move |(key, value)| ((family, key), value))
        })
    }
}

impl Read for Changes<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.families[family as usize].get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(family, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    fn keys(changes: Changes<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut all: Vec<_> = changes.into_writes().map(|((_, key), value)| (key, value)).collect();
        all.sort();
        all
    }

    #[test]
    fn the_last_value_of_each_key_is_read_and_written_once() {
        let memory = Memory::default();
        let mut changes = Changes::new(&memory);
        assert!(changes.is_empty());
        for (key, value) in [(5, 1), (3, 2), (7, 3), (5, 4), (3, 5), (4, 6), (9, 7), (4, 8)] {
            changes.put(Family::Keys, vec![key], vec![value]);
            assert_eq!(changes.get(Family::Keys, &[key]), Ok(Some(vec![value])));
            assert_eq!(changes.get(Family::Entries, &[key]), Ok(None));
        }
        changes.delete(Family::Keys, vec![7]);
        assert_eq!(changes.get(Family::Keys, &[7]), Ok(None));
        assert!(!changes.is_empty());
        let expected = [(3, Some(5)), (4, Some(8)), (5, Some(4)), (7, None), (9, Some(7))];
        let expected =
            expected.map(|(key, value): (u8, Option<u8>)| (vec![key], value.map(|v| vec![v])));
        assert_eq!(keys(changes), expected);
    }

    #[test]
    fn families_stand_in_the_order_of_their_list() {
        for (at, (family, name)) in Family::ALL.into_iter().enumerate() {
            assert_eq!(family as usize, at, "{name}");
        }
    }
}
