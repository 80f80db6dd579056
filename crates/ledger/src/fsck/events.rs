//! The index of events, by producer, source and id.

use super::{
    Report,
    rows::{count, leads_to},
    tally::Tally,
};
use crate::{
    entry::{Kind, View},
    post::{Log, event_key},
    store::{self, Family, Read as _, rocks::Rocks},
};

/// The index of events must have these rows, one for each event's entry, and no other. Those that lead to entries before
/// `base` were compared by their digest.
pub(super) fn compare(
    store: &Rocks,
    log: &Log,
    (expected, events, base): (&Tally, u64, u64),
    report: &mut Report,
) -> Result<(), store::Error> {
    let mut kept = expected.other();
    let found = count(store, log.number, Family::Keys, |key, index| {
        if leads_to(Family::Keys, key, index) >= base {
            kept.add(key, index);
        }
    })?;
    if !kept.is_same(expected) {
        name_all(store, log, base, report)?;
    }
    if found != events {
        report.find(format!("the index of events: {found} where the entries give {events}"));
    }
    Ok(())
}

/// The index of events must lead to an event's entry.
pub(super) fn ask(
    store: &Rocks,
    log: &Log,
    (index, key): (u64, [u8; 32]),
    report: &mut Report,
) -> Result<(), store::Error> {
    let kept = store.get(Family::Keys, &log.number.key(&key))?;
    if kept != Some(index.to_be_bytes().to_vec()) {
        report.find(format!("entry {index}: the index of events does not lead to it"));
    }
    Ok(())
}

/// Names the events to which the index does not lead, once it is known that there are some.
fn name_all(store: &Rocks, log: &Log, base: u64, report: &mut Report) -> Result<(), store::Error> {
    let (number, mut next, mut failed) = (log.number, base, None);
    store.scan(Family::Entries, &number.numbered(base), |key, entry| {
        if key != number.numbered(next) {
            return false;
        }
        let view = View::parse(entry);
        if let Some(view) = view.filter(|v| matches!(v.kind, Kind::Decision | Kind::Event)) {
            failed = ask(store, log, (next, event_key(view.scope())), report).err();
        }
        next += 1;
        failed.is_none()
    })?;
    failed.map_or(Ok(()), Err)
}
