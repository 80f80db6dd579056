//! What each source reported so far: the number of its entries, and the last of them. The rows change in the commit of
//! the entries, so a restart forgets nothing.
//!
//! In scope: the sums. They don't depend on the borders of batches. Out of scope: which sources must report
//! (`system::sources`), and which are silent (`api`).

use crate::{
    disclosure::Scope,
    store::{self, Changes, Family, LogNumber, Read as _},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one source reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// Its producer.
    pub producer: String,
    /// The `source` of its events.
    pub source: String,
    /// Number of its entries of kind `decision` or `event`.
    pub entries: u64,
    /// Leaf index of the last of them.
    pub index: u64,
    /// `journal.time` of that entry.
    pub time: Nanos,
}

/// What was reported since the last commit, by [`key`].
#[derive(Clone, Debug, Default)]
pub struct Reports(BTreeMap<[u8; 32], Reported>);

/// Key of a source: a question to us and an event about it are reports of one source.
pub fn key(scope: Scope<'_>) -> [u8; 32] {
    super::source_key(Scope { ours: false, ..scope })
}

impl Reports {
    /// Notes the entry of an event. `key`: [`key`] of its source.
    pub fn note(&mut self, key: [u8; 32], scope: Scope<'_>, (index, time): (u64, Nanos)) {
        let reported = self.0.entry(key).or_insert_with(|| Reported {
            producer: scope.producer.to_owned(),
            source: scope.source.to_owned(),
            entries: 0,
            index,
            time,
        });
        reported.entries += 1;
        (reported.index, reported.time) = (index, time);
    }

    /// Sets what one source reported so far.
    pub fn set(&mut self, key: [u8; 32], reported: Reported) {
        self.0.insert(key, reported);
    }

    /// Everything that was noted.
    pub fn all(&self) -> &BTreeMap<[u8; 32], Reported> {
        &self.0
    }

    /// Adds what was noted to the rows of a log.
    pub(super) fn write(
        &mut self,
        changes: &mut Changes<'_>,
        number: LogNumber,
    ) -> Result<(), store::Error> {
        for (source, mut reported) in std::mem::take(&mut self.0) {
            let key = number.key(&source);
            if let Some(before) = changes.get(Family::Reports, &key)? {
                reported.entries += store::read_json::<Reported>(&before, "reports")?.entries;
            }
            changes.put(Family::Reports, key, store::to_json(&reported));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    /// Posts `batches` of sources and gives all rows.
    fn rows(batches: &[&[&str]]) -> Vec<Reported> {
        let (mut memory, mut index) = (Memory::default(), 0);
        let mut keys = Vec::new();
        for batch in batches {
            let mut reports = Reports::default();
            let mut changes = Changes::new(&memory);
            for source in *batch {
                index += 1;
                let scope = Scope { producer: "gw-1", source, id: "", ours: index % 2 == 0 };
                reports.note(key(scope), scope, (index, Nanos(index * 10)));
                keys.push(LogNumber(7).key(&key(scope)));
            }
            reports.write(&mut changes, LogNumber(7)).unwrap();
            let writes: Vec<_> = changes.into_writes().collect();
            memory.apply(writes.into_iter());
        }
        keys.sort();
        keys.dedup();
        let row = |key: Vec<u8>| memory.get(Family::Reports, &key).unwrap().unwrap();
        keys.into_iter().map(|key| store::read_json(&row(key), "reports").unwrap()).collect()
    }

    #[test]
    fn the_rows_do_not_depend_on_the_borders_of_batches() {
        let one = rows(&[&["/a", "/b", "/a", "/a", "/b"]]);
        assert_eq!(one, rows(&[&["/a"], &["/b", "/a"], &["/a", "/b"]]));
        let a = one.iter().find(|reported| reported.source == "/a").unwrap();
        assert_eq!((a.entries, a.index, a.time), (3, 4, Nanos(40)));
    }
}
