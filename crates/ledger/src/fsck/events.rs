//! The index of events, by producer, source and id.

use super::{Report, rows::count, tally::Tally};
use crate::{
    entry::{Kind, View},
    post::{Log, event_key},
    store::{self, Family, Read as _, rocks::Rocks},
};

/// The index of events must have these rows, one for each event's entry, and no other.
pub(super) fn compare(
    store: &Rocks,
    log: &Log,
    (expected, events): (&Tally, u64),
    report: &mut Report,
) -> Result<(), store::Error> {
    let mut kept = expected.other();
    let found = count(store, log.number, Family::Keys, |key, index| kept.add(key, index))?;
    if !kept.is_same(expected) {
        name_all(store, log, report)?;
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
fn name_all(store: &Rocks, log: &Log, report: &mut Report) -> Result<(), store::Error> {
    let (number, mut next, mut failed) = (log.number, 0, None);
    store.scan(Family::Entries, &number.key(&[]), |key, entry| {
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
