//! Earlier decisions, as a tenant's log has them: what conditions of policies count.

use crate::log::Log;
use decider::{decision::Fields, policy::Past};
use ledger::{
    history::{Decided, Row},
    store,
};

/// The log, as far as it had this many entries.
#[derive(Clone, Copy)]
pub struct InLog<'l> {
    /// The log.
    pub log: &'l dyn Log,
    /// Number of entries that count.
    pub as_of: u64,
}

impl Past for InLog<'_> {
    type Error = store::Error;

    fn as_of(&self) -> u64 {
        self.as_of
    }

    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        self.log.earlier(row, visit)
    }

    fn fields(&mut self, index: u64) -> Result<Fields, store::Error> {
        match self.log.entry(index)? {
            Some(entry) => Ok(self.log.payload(index, &entry)?.values()),
            None => Ok(Fields::new()),
        }
    }
}
