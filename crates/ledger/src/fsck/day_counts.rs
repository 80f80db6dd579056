//! The counts by day, derived from the entries in bounded memory.

use crate::{
    entry::View,
    post::Counts,
    store::{self, Changes, Family, LogNumber, Memory, Read as _, rocks::Rocks},
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
    /// Takes the next entry.
    pub fn take(
        &mut self,
        (store, number): (&Rocks, LogNumber),
        index: u64,
        view: &View<'_>,
    ) -> Result<(), store::Error> {
        let earlier = |at: u64| store.get(Family::Entries, &number.numbered(at)).ok().flatten();
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
