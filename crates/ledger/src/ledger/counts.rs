//! The counts that are kept at posting.

use super::Ledger;
use crate::{
    post::{OfDay, read_count_key},
    store::{self, Family},
    tenant::Tenant,
};
use std::collections::BTreeMap;

impl Ledger {
    /// The counts of the days `from..to` that have any, each counted from 1970-01-01 in UTC. The day
    /// [`crate::post::ALL_DAYS`] has those of all days. They may be ahead of what is published by one commit, and are not
    /// proven: `fsck` judges them.
    pub fn counts(
        &self,
        tenant: &Tenant,
        (from, to): (u32, u32),
    ) -> Result<BTreeMap<u32, OfDay>, store::Error> {
        let (prefix, begin) = (tenant.number.key(&[]), tenant.number.key(&from.to_be_bytes()));
        let (mut days, mut failed) = (BTreeMap::<u32, OfDay>::new(), None);
        self.store.scan(Family::Counts, &begin, |key, row| {
            let Some(rest) = key.strip_prefix(&prefix[..]) else { return false };
            let day = rest.first_chunk().map_or(u32::MAX, |day| u32::from_be_bytes(*day));
            // The last day of all has no day after it.
            if day >= to && (day, to) != (u32::MAX, u32::MAX) {
                return false;
            }
            let Some((day, name, value)) = read_count_key(rest) else { return true };
            match store::read_u64(row, "counts") {
                Ok(count) => {
                    let of = days.entry(day).or_default().entry(name).or_default();
                    match value {
                        Some(value) => drop(of.values.insert(value.to_owned(), count)),
                        None => of.other = count,
                    }
                }
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        failed.map_or(Ok(days), Err)
    }
}
