//! Rows by which approvals are found, in the family `search`. A reader of the log writes them behind it, and `fsck` derives
//! them again. They are not proven when they are used: each is a hint, compared with the entries to which it leads.
//!
//! In scope: where the rows of a log are. Out of scope: what is in them (`approvals::search`).

use crate::{
    ledger::Ledger,
    store::{self, Family, LogNumber, Read as _, rocks::Rocks},
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};

/// First byte of the row that says how far the log was read.
const PROGRESS: u8 = 0;
/// First byte of the other rows.
const ROW: u8 = 1;

/// Key and value of a row.
pub type Row = (Vec<u8>, Vec<u8>);

/// How far the rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The entries before this leaf index gave their rows.
    pub to: u64,
    /// Rows of approvals that ended before this leaf index were removed, because their entries were pruned.
    pub swept: u64,
}

/// The rows of one log.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    store: &'a Rocks,
    number: LogNumber,
}

impl Ledger {
    /// The rows by which approvals of a tenant are found.
    pub fn search(&self, tenant: &Tenant) -> Rows<'_> {
        Rows::new(self.store(), tenant.number)
    }
}

impl<'a> Rows<'a> {
    /// Those of a log.
    pub fn new(store: &'a Rocks, number: LogNumber) -> Self {
        Self { store, number }
    }

    /// How far they are.
    pub fn progress(&self) -> Result<Progress, store::Error> {
        let row = self.store.get(Family::Search, &self.number.key(&[PROGRESS]))?;
        row.map_or(Ok(Progress::default()), |row| store::read_json(&row, "search"))
    }

    /// The value of a row.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, store::Error> {
        self.store.get(Family::Search, &self.key(key))
    }

    /// Writes rows, and how far they are then: all or nothing.
    pub fn keep(
        &self,
        rows: impl Iterator<Item = Row>,
        progress: Progress,
    ) -> Result<(), store::Error> {
        let row = |(key, value): Row| ((Family::Search, self.key(&key)), Some(value));
        let progress =
            ((Family::Search, self.number.key(&[PROGRESS])), Some(store::to_json(&progress)));
        self.store.commit(rows.map(row).chain(std::iter::once(progress)))
    }

    /// Removes rows. Their bytes stay in the files until [`Rows::shrink`].
    pub fn remove(&self, keys: &[Vec<u8>]) -> Result<(), store::Error> {
        self.store.commit(keys.iter().map(|key| ((Family::Search, self.key(key)), None)))
    }

    /// Removes the bytes of removed rows from the files, the write-ahead log included.
    pub fn shrink(&self) -> Result<(), store::Error> {
        let end = self.number.key(&[ROW + 1]);
        self.store.shrink(Family::Search, (&self.number.key(&[PROGRESS]), &end))?;
        self.store.flush()
    }

    /// Visits rows whose key begins with `prefix`, from `prefix ‖ from` on, ascending, while `visit` returns true. It gets
    /// what follows the prefix.
    pub fn visit(
        &self,
        (prefix, from): (&[u8], &[u8]),
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), store::Error> {
        let prefix = self.key(prefix);
        self.store.scan(Family::Search, &[&prefix[..], from].concat(), |key, row| {
            key.strip_prefix(&prefix[..]).is_some_and(|rest| visit(rest, row))
        })
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        self.number.key(&[&[ROW], key].concat())
    }
}
