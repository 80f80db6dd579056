//! What of a copy belongs to the replica that it was copied from, or can't be proven and is found again from the log.

use crate::{
    post::Log,
    store::{Changes, Error, Family, rocks::Rocks},
};

/// Rows of `meta` that are found again from the log: how far the worker of approvals has read, how far sinks are and what their
/// receivers refused, the state of the watch, cosignatures of witnesses, and steps of members.
const FOUND_AGAIN: [&str; 6] = ["approvals", "sink", "letter", "watch", "witnessed", "step"];

/// Removes what was not proven and is found again, and stores the steps of members that were.
pub fn forget(store: &Rocks, log: &Log, steps: &[String]) -> Result<(), Error> {
    let mut changes = Changes::new(store);
    for name in FOUND_AGAIN {
        let prefix = log.number.meta(name);
        let mut rows = Vec::new();
        store.scan(Family::Meta, &prefix, |key, _| {
            let ours = key.starts_with(&prefix);
            if ours {
                rows.push(key.to_vec());
            }
            ours
        })?;
        for key in rows {
            changes.delete(Family::Meta, key);
        }
    }
    for (version, receipt) in (1_u64..).zip(steps) {
        let key = [&log.number.meta("step")[..], &version.to_be_bytes()].concat();
        changes.put(Family::Meta, key, receipt.clone().into_bytes());
    }
    store.commit(changes.into_writes())
}

/// The first entry whose payload the replica says it never had, and that no erasure entry names (`is_erased`).
pub fn lacks(
    store: &Rocks,
    log: &Log,
    is_erased: impl Fn(u64) -> bool,
) -> Result<Option<u64>, Error> {
    let prefix = log.number.meta("missing");
    let mut found = None;
    store.scan(Family::Meta, &prefix, |key, _| {
        let Some(rest) = key.strip_prefix(&prefix[..]) else { return false };
        let index = rest.try_into().map_or(u64::MAX, u64::from_be_bytes);
        found = (!is_erased(index)).then_some(index);
        found.is_none()
    })?;
    Ok(found)
}
