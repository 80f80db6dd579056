//! Rows by which approvals are found, in the family `search`. They are written behind the log, by a reader of it, and never
//! proven: each is a hint, compared with the entries to which it leads. Without them nothing is lost; they are written again.

use super::Ledger;
use crate::{
    store::{self, Family, Read as _},
    tenant::Tenant,
};

/// First byte of the row that says how far the log was read.
const PLACE: u8 = 0;
/// First byte of the other rows.
const ROW: u8 = 1;

impl Ledger {
    /// The leaf index up to which the rows were written.
    pub fn found_to(&self, tenant: &Tenant) -> Result<u64, store::Error> {
        let place = self.store.get(Family::Search, &tenant.number.key(&[PLACE]))?;
        place.map_or(Ok(0), |place| store::read_u64(&place, "search"))
    }

    /// Writes rows, and that everything below the leaf index `to` is in them: all or nothing.
    pub fn keep_found(
        &self,
        tenant: &Tenant,
        rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
        to: u64,
    ) -> Result<(), store::Error> {
        let row = |(key, value): (Vec<u8>, Vec<u8>)| {
            let key = [&[ROW], &key[..]].concat();
            ((Family::Search, tenant.number.key(&key)), Some(value))
        };
        let place = (Family::Search, tenant.number.key(&[PLACE]));
        let place = (place, Some(to.to_be_bytes().to_vec()));
        self.store.commit(rows.map(row).chain(std::iter::once(place)))
    }

    /// Visits rows whose key begins with `prefix`, from `prefix ‖ from` on, ascending, while `visit` returns true. It gets
    /// what follows the prefix.
    pub fn found(
        &self,
        tenant: &Tenant,
        (prefix, from): (&[u8], &[u8]),
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), store::Error> {
        let prefix = tenant.number.key(&[&[ROW], prefix].concat());
        self.store.scan(Family::Search, &[&prefix[..], from].concat(), |key, row| {
            key.strip_prefix(&prefix[..]).is_some_and(|rest| visit(rest, row))
        })
    }
}
