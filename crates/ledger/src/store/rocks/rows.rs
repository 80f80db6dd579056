//! Reading rows in order.

use super::{Error, io};
use rocksdb::DBRawIterator;

/// Rows of one family, one after the other, without copies.
pub struct Rows<'a>(DBRawIterator<'a>);

impl<'a> Rows<'a> {
    /// The rows from where `rows` stands.
    pub(super) fn new(rows: DBRawIterator<'a>) -> Self {
        Self(rows)
    }

    /// Key and value of the present row. `None` at the end.
    pub fn item(&self) -> Option<(&[u8], &[u8])> {
        self.0.item()
    }

    /// Goes to the next row.
    pub fn step(&mut self) {
        if self.0.valid() {
            self.0.next();
        }
    }

    /// Says whether everything could be read, at the end.
    pub fn status(&self) -> Result<(), Error> {
        self.0.status().map_err(io)
    }
}
