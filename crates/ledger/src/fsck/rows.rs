//! Counts rows.

use crate::store::{self, Family, LogNumber, rocks::Rocks};

/// Visits and counts the rows of one log.
pub(crate) fn count(
    store: &Rocks,
    number: LogNumber,
    family: Family,
    mut visit: impl FnMut(&[u8], &[u8]),
) -> Result<u64, store::Error> {
    let prefix = number.key(&[]);
    let mut count = 0;
    store.scan(family, &prefix, |key, value| {
        let rest = key.strip_prefix(&prefix[..]);
        rest.inspect(|rest| visit(rest, value));
        count += u64::from(rest.is_some());
        rest.is_some()
    })?;
    Ok(count)
}

/// The leaf index to which a row of the index of events or approvals leads.
pub(crate) fn leads_to(family: Family, key: &[u8], value: &[u8]) -> u64 {
    let bytes = if family == Family::Keys { value } else { &key[key.len().saturating_sub(8)..] };
    bytes.try_into().map_or(u64::MAX, u64::from_be_bytes)
}
