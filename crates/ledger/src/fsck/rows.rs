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
