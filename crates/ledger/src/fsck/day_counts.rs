//! The counts by day, derived from the entries in bounded memory.

use crate::{
    entry::View,
    post::Counts,
    store::{self, Changes, Family, LogNumber, Memory, Read as _, Write, rocks::Rocks},
};

/// Number of entries after which their sums are added to the rows, so that memory holds a bounded number of values.
const ENTRIES_AT_ONCE: u64 = 4096;

/// The counts by day, as the entries give them.
#[derive(Default)]
pub(crate) struct DayCounts {
    batch: Counts,
    rows: Memory,
}

impl DayCounts {
    /// Begins with these rows.
    pub fn begin(&mut self, rows: Vec<Write>) {
        self.rows.apply(rows.into_iter());
    }

    /// Takes the next entry. `kept_from`: those before it were pruned by then, and decide nothing.
    pub fn take(
        &mut self,
        (store, number): (&Rocks, LogNumber),
        (index, kept_from): (u64, u64),
        view: &View<'_>,
    ) -> Result<(), store::Error> {
        let earlier = |at: u64| {
            let entry = || store.get(Family::Entries, &number.numbered(at)).ok().flatten();
            (at >= kept_from).then(entry).flatten()
        };
        self.batch.view(index, view, earlier);
        if index.is_multiple_of(ENTRIES_AT_ONCE) { self.write(number) } else { Ok(()) }
    }

    /// The rows that the entries so far give.
    pub fn rows(&mut self, number: LogNumber) -> Result<&Memory, store::Error> {
        self.write(number)?;
        Ok(&self.rows)
    }

    fn write(&mut self, number: LogNumber) -> Result<(), store::Error> {
        let mut changes = Changes::new(&self.rows);
        self.batch.write(&mut changes, number)?;
        let writes: Vec<_> = changes.into_writes().collect();
        self.rows.apply(writes.into_iter());
        Ok(())
    }
}
