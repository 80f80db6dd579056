//! Checks that need the whole log: every family is derived again, and no row may be without an entry.

use super::{Report, derived::Derived, events, payloads, position, rows::count, sums};
use crate::{
    entry::View,
    journal::{
        Subject,
        embedded::{self, Volume},
    },
    log::checkpoint,
    post::{Erasing, Keys, Log, missing_key},
    store::{self, Family, LogNumber, Read as _, rocks::Rocks},
    system::{AccessKey, KeyId},
    verify::Walk,
};

/// Compares everything that is not an entry or a tile with what the entries say.
pub(super) fn compare(
    store: &Rocks,
    log: &Log,
    (walk, base): (&Walk, u64),
    derived: &mut Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    position::compare(log, walk, derived, report);
    if let Some(events) = &derived.events {
        events::compare(store, log, (events, derived.keys, base), report)?;
    }
    let tiles: u64 = (1..8).map(|level| walk.size() >> (8 * level)).sum();
    for (family, expected, name) in [
        (Family::Approvals, derived.approvals, "the index of approvals"),
        (Family::Tiles, tiles, "the tiles"),
        (Family::Sources, derived.sources.len() as u64, "the sources"),
        (Family::Access, derived.access.len() as u64, "the API keys"),
    ] {
        let found = count(store, log.number, family, |_, _| {})?;
        if found != expected {
            report.find(format!("{name}: {found} where the entries give {expected}"));
        }
    }
    subjects(store, log, derived, report)?;
    sums::sources(store, log.number, derived, report)?;
    sums::reports(store, log.number, derived, report)?;
    sums::counts(store, log.number, derived, report)?;
    sums::budgets(store, log.number, derived, report)?;
    sums::histories(store, log.number, derived, report)?;
    values(store, (log.number, &log.keys), derived, report)?;
    payloads::expired(store, log.number, &derived.retention, report)?;
    repeats(store, log, report)?;
    erasing(store, log, (derived, true), report)?;
    erasing(store, log, (derived, false), report)?;
    journal(store, log, report)
}

/// Exactly what erasure entries name may be missing of a payload.
pub(crate) fn payloads(
    store: &Rocks,
    log: &Log,
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    for index in derived.less.keys().filter(|index| !derived.erased.contains_key(index)) {
        if never_was_here(store, log, *index)? {
            report.unchecked(format!(
                "the payload of entry {index} never was in this database: its journal message was erased before it was \
                 posted here"
            ));
        } else {
            report.find(format!("entry {index}: payload is missing, and no erasure says why"));
        }
    }
    for (index, erased) in &derived.erased {
        let payload = crate::erased::left(store, log.number, *index)?;
        let mut missing = derived.less.get(index).copied().unwrap_or_default();
        if never_was_here(store, log, *index)? {
            missing = 0;
        }
        if let Some(what) = payload.and_then(|payload| erased.judge(&payload, missing)) {
            report.find(format!("entry {index}: {what}"));
        }
    }
    Ok(())
}

/// True if an entry's message was erased before this database posted it.
fn never_was_here(store: &Rocks, log: &Log, index: u64) -> Result<bool, store::Error> {
    Ok(store.get(Family::Meta, &missing_key(log.number, index))?.is_some())
}

/// The last sequence of each signed subject is that of its last message with an entry, or of a rejected one.
pub(crate) fn subjects(
    store: &Rocks,
    log: &Log,
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    let mut others = 0;
    let found = count(store, log.number, Family::Subjects, |key, value| {
        let epoch = key.first_chunk().map_or(0, |epoch| u64::from_be_bytes(*epoch));
        let seq = value.try_into().map_or(0, u64::from_be_bytes);
        // The message that opened an epoch comes again at its own place, and gives no entry there.
        let opens = epoch > 1 && key.get(8..) == Some(&b"system.journal"[..]);
        others += u64::from(opens || derived.rejected.contains(&(epoch, seq)));
    })?;
    for (topic, seq) in &log.position.topics {
        let said = derived.topics.get(topic).copied().unwrap_or_default();
        let rejected = derived.rejected.contains(&(log.position.epoch, *seq));
        if *seq != said && !rejected && topic != "journal" {
            report.find(format!("the commit record says another last message on system.{topic}"));
        }
    }
    if let Some(topic) = derived.topics.keys().find(|t| !log.position.topics.contains_key(*t)) {
        report.find(format!("the commit record does not know system.{topic}"));
    }
    if found != derived.subjects + others {
        report.find(format!(
            "the index of signed subjects: {found} subjects, {} of which stand where the entries say",
            derived.subjects + others
        ));
    }
    Ok(())
}

/// Checks the small families that decide: signing keys and API keys.
pub(crate) fn values(
    store: &Rocks,
    (number, keys): (LogNumber, &Keys),
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    if derived.signing != *keys {
        report.find("the signing keys are not those of genesis and the key entries");
    }
    for (id, expected) in &derived.access {
        let key = id.as_str().as_bytes();
        let kept = store.get(Family::Access, &number.key(key))?;
        let kept = kept.and_then(|bytes| serde_json::from_slice::<AccessKey>(&bytes).ok());
        let owner = store.get(Family::Access, &LogNumber::ALL.key(key))?;
        if kept.as_ref() != Some(expected) || owner != Some(number.0.to_be_bytes().to_vec()) {
            report.find(format!("API key {id} is not what its entry says"));
        }
    }
    let ours = number.0.to_be_bytes();
    let mut strangers = 0;
    count(store, LogNumber::ALL, Family::Access, |id, owner| {
        let known = std::str::from_utf8(id)
            .ok()
            .and_then(KeyId::new)
            .is_some_and(|id| derived.access.contains_key(&id));
        strangers += u64::from(owner == ours && !known);
    })?;
    if strangers > 0 {
        report.find(format!("{strangers} API keys lead to this log that no entry gave"));
    }
    Ok(())
}

/// A row of `repeats` or `erasing` must name an event, and a message that gave no other entry.
fn names(store: &Rocks, log: &Log, erasing: &Erasing) -> Result<bool, store::Error> {
    let Erasing { index, epoch, seq } = *erasing;
    let entry = store.get(Family::Entries, &log.number.numbered(index))?;
    let Some(view) = entry.as_deref().and_then(View::parse) else { return Ok(false) };
    if (view.origin.epoch, view.origin.seq) == (epoch, seq) {
        return Ok(true);
    }
    // A repetition is later than the event, has the same key if it still exists, and gave no entry.
    let volume = Volume { number: log.number, epoch };
    let message = store.get(Family::Journal, &volume.message(seq))?;
    let message = message.and_then(|bytes| embedded::decode(seq, &bytes));
    let same = message.is_none_or(|message| {
        let sent = crate::json::parse(&message.body).ok();
        let sent = |name| Some(sent.as_ref()?.get(name)?.as_str()?.to_owned());
        let held = |name| view.text(&["event", name]).map(str::to_owned);
        let producer = match &message.subject {
            Some(Subject::Decisions(producer) | Subject::Verdicts { producer, .. }) => {
                Some(producer.to_string())
            }
            _ => None,
        };
        producer.as_deref() == view.text(&["producer"])
            && sent("id") == held("id")
            && sent("source") == held("source")
    });
    let later = (epoch, seq) > (view.origin.epoch, view.origin.seq);
    Ok(later && same && !gave_entry(store, log, (epoch, seq))?)
}

/// True if a message gave an entry. A binary search, because entries are in journal order.
fn gave_entry(store: &Rocks, log: &Log, wanted: (u64, u64)) -> Result<bool, store::Error> {
    let place = |index| -> Result<Option<(u64, u64)>, store::Error> {
        let entry = store.get(Family::Entries, &log.number.numbered(index))?;
        let view = entry.as_deref().and_then(View::parse);
        Ok(view.map(|view| (view.origin.epoch, view.origin.seq)))
    };
    let (mut low, mut high) = (log.kept_from(), log.position.size);
    while low < high {
        let middle = low + (high - low) / 2;
        if place(middle)? < Some(wanted) { low = middle + 1 } else { high = middle }
    }
    Ok(low < log.position.size && place(low)? == Some(wanted))
}

fn repeats(store: &Rocks, log: &Log, report: &mut Report) -> Result<(), store::Error> {
    let mut rows = Vec::new();
    count(store, log.number, Family::Repeats, |key, _| {
        let numbers: Vec<u64> = key
            .chunks(8)
            .map(|part| part.try_into().map_or(u64::MAX, u64::from_be_bytes))
            .collect();
        let row = <[u64; 3]>::try_from(numbers).unwrap_or([u64::MAX; 3]);
        rows.push(Erasing { index: row[0], epoch: row[1], seq: row[2] });
    })?;
    // Of a message that repeats a pruned entry, nothing more is known.
    for row in rows.into_iter().filter(|row| row.index >= log.kept_from()) {
        if !names(store, log, &row)? {
            report.find(format!(
                "the index of repetitions says that journal message {} repeats entry {}: it does not",
                row.seq, row.index
            ));
        }
    }
    Ok(())
}

/// Checks messages to delete: erasure entries name the `named` ones; the others repeat what was erased.
fn erasing(
    store: &Rocks,
    log: &Log,
    (derived, named): (&Derived, bool),
    report: &mut Report,
) -> Result<(), store::Error> {
    let prefix = log.number.meta(if named { "erasing" } else { "unnamed" });
    let mut rows = Vec::new();
    store.scan(Family::Meta, &prefix, |key, value| {
        let ours = key.starts_with(&prefix);
        if ours {
            let row = serde_json::from_slice::<Erasing>(value).ok();
            let its = |row: &Erasing| {
                if named { row.key(log.number) } else { row.unnamed_key(log.number) }
            };
            rows.push(row.filter(|row| its(row) == key));
        }
        ours
    })?;
    for row in rows {
        let explained = match &row {
            Some(row) if named => derived.gone.erased.contains(&(row.epoch, row.seq)),
            Some(row) => {
                let gone = row.index < derived.retention.expired
                    || derived.erased.contains_key(&row.index);
                gone && names(store, log, row)?
            }
            None => false,
        };
        if !explained {
            let seq = row.map_or(0, |row| row.seq);
            report.find(format!(
                "journal message {seq} waits to be deleted, and no erasure entry says why"
            ));
        }
    }
    Ok(())
}

/// Checks the journal's own records. None may belong to another journal.
fn journal(store: &Rocks, log: &Log, report: &mut Report) -> Result<(), store::Error> {
    let position = &log.position;
    let volume = Volume { number: log.number, epoch: position.epoch };
    let embedded = position.journal.starts_with("embedded:");
    if embedded {
        embedded::check(store, volume, position.posted)?.for_each(|finding| report.find(finding));
    }
    // The first message of this log, and the first after this epoch.
    for (from, stays) in
        [(log.number.key(&[]), embedded), (log.number.numbered(position.epoch + 1), false)]
    {
        let mut stranger = false;
        store.scan(Family::Journal, &from, |key, _| {
            let ours = key.starts_with(&log.number.key(&[]));
            stranger = ours && !(stays && volume.seq(key).is_some());
            false
        })?;
        if stranger {
            report.find("messages lie in the database that are not of this log's journal");
        }
    }
    Ok(())
}

/// The newest checkpoint must be of exactly this log at its present size, filed under its second, and each rotation
/// must have its own checkpoint.
///
/// `behind`: a restored backup that follows its journal signs nothing until it has caught up.
pub(super) fn checkpoints(
    store: &Rocks,
    log: &Log,
    behind: bool,
    report: &mut Report,
) -> Result<(), store::Error> {
    let size = log.position.size;
    if size == 0 {
        return Ok(());
    }
    let vkeys: Vec<_> = log.keys.log.iter().map(|key| key.vkey.0.clone()).collect();
    let newest = store.get(Family::Meta, &log.number.meta("checkpoint"))?;
    let text = newest.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let opened = text.and_then(|text| checkpoint::open(text, &vkeys).ok());
    match opened {
        Some(opened) if opened.checkpoint.size == size => {}
        Some(_) | None if behind => {}
        Some(opened) => report.find(format!(
            "the newest checkpoint is of size {}, and the commit record says {size}: what follows it was not written \
             by this server, or the checkpoint was put back",
            opened.checkpoint.size
        )),
        None => report.find("the newest checkpoint is missing or unreadable"),
    }
    let mut filed = false;
    count(store, log.number, Family::Checkpoints, |_, value| {
        filed |= text.is_some_and(|text| text.as_bytes() == value);
    })?;
    if !filed && newest.is_some() {
        report.find(
            "the newest checkpoint is not filed under its second: stored checkpoints were deleted",
        );
    }
    for key in log.keys.log.iter().filter(|key| key.index > 0) {
        let size = key.index + 1;
        if store.get(Family::Rotations, &log.number.numbered(size))?.is_none() {
            report
                .find(format!("the checkpoint of size {size} is missing: it proves a new log key"));
        }
    }
    Ok(())
}
