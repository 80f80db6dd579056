//! What happens beside posting: erasures are completed, old journal messages are trimmed.

use crate::{
    entry::View,
    erased,
    journal::{self, Journal, embedded},
    ledger::{Error, Ledger},
    post::Erasing,
    store::{self, Family, LogNumber, rocks::Values},
    tenant::Tenant,
    time::Nanos,
};
use std::{collections::BTreeMap, time::Duration};

/// Most messages trimmed in one go.
const TRIM_MESSAGES_MAX: u64 = 1_000_000;

/// Completes every erasure of `tenant` whose entry is posted: the journal messages go, then all old files.
///
/// Returns how many journal messages still have to go: 0 means that the bytes are nowhere in the data directory. A
/// message that is the last one posted waits for its successor, because it is what a reconnect compares (P4).
pub async fn complete_erasures(ledger: &Ledger, tenant: &Tenant) -> Result<usize, Error> {
    // Whoever comes second finds nothing to do.
    let _alone = tenant.erasing.lock().await;
    let marked = pending(ledger, tenant.number)?;
    if marked.is_empty() {
        return Ok(0);
    }
    let (repeats, keys) = repeats(ledger, tenant.number, &marked)?;
    let mut erasings: Vec<Erasing> = marked.iter().chain(&repeats).copied().collect();
    check_named(ledger, tenant, &erasings).await?;
    erasings.sort_unstable_by_key(|erasing| (erasing.epoch, erasing.seq));
    let mut waiting = Vec::new();
    let mut gone: BTreeMap<Family, Values> = BTreeMap::new();
    match tenant.journal() {
        Journal::Embedded(journal) => {
            for erasings in erasings.chunk_by(|a, b| a.epoch == b.epoch) {
                let journal = journal.in_epoch(erasings[0].epoch);
                let seqs = erasings.iter().map(|erasing| erasing.seq);
                for (family, key) in tokio::task::block_in_place(|| journal.places(seqs))? {
                    gone.entry(family).or_default().insert(key, None);
                }
            }
        }
        #[cfg(feature = "jetstream")]
        Journal::JetStream(stream) => {
            let position = tenant.position();
            for erasing in &erasings {
                let here = erasing.epoch == position.epoch;
                if here && erasing.seq == position.posted {
                    waiting.push(*erasing);
                } else if here || is_still_there(ledger, tenant, stream, erasing).await? {
                    stream.erase(erasing.seq).await?;
                }
            }
        }
        Journal::Absent => waiting.clone_from(&erasings),
    }
    // Whoever dies in here finds the erasures pending again at the next start.
    let is_done = |erasing: &&Erasing| !waiting.iter().any(|w| w.index == erasing.index);
    let waits =
        |key: &&Vec<u8>| waiting.iter().all(|w| !key.starts_with(&tenant.number.numbered(w.index)));
    tokio::task::block_in_place(|| {
        let payloads = gone.entry(Family::Payload).or_default();
        for erasing in &marked {
            let left = erased::left(ledger.store(), tenant.number, erasing.index)?;
            let key = tenant.number.numbered(erasing.index);
            payloads.extend(left.map(|payload| (key, Some(payload.encode()))));
        }
        ledger.store().flush()?;
        for (family, values) in &gone {
            ledger.store().rewrite(*family, values)?;
        }
        let marks =
            marked.iter().filter(is_done).map(|e| ((Family::Meta, e.key(tenant.number)), None));
        let repeats = keys.iter().filter(waits).map(|key| ((Family::Repeats, key.clone()), None));
        ledger.store().commit(marks.chain(repeats))
    })?;
    Ok(waiting.len())
}

/// Refuses to delete what no posted erasure names: rows of the database alone delete nothing.
///
/// Each message must lie at or below `posted`, belong to an entry that an `erasure` entry names (found by walking
/// `prior.system` back from the last leaf), and be the message of that entry or a repetition of its event.
async fn check_named(ledger: &Ledger, tenant: &Tenant, erasings: &[Erasing]) -> Result<(), Error> {
    let wanted = erasings.iter().map(|erasing| erasing.index).collect();
    let named = tokio::task::block_in_place(|| ledger.erased_among(tenant, wanted));
    let named = named.map_err(|error| distrust(ledger, tenant, error))?;
    let position = tenant.position();
    for erasing in erasings {
        let posted = (erasing.epoch, erasing.seq) <= (position.epoch, position.posted);
        if !posted
            || !named.contains(&erasing.index)
            || !is_its_message(ledger, tenant, erasing).await?
        {
            let what = "a message to be erased that no erasure entry names";
            let error = store::Error::Corrupt { family: "meta", what };
            return Err(distrust(ledger, tenant, error));
        }
    }
    Ok(())
}

/// What the database holds is not what was posted.
fn distrust(ledger: &Ledger, tenant: &Tenant, error: store::Error) -> Error {
    if matches!(error, store::Error::Corrupt { .. }) {
        ledger.halt(tenant, format!("{error}; nothing is erased any more. Restore a backup"));
    }
    error.into()
}

/// Whether the journal message that is to be erased is the one of the erased entry, or one that repeats its event.
async fn is_its_message(
    ledger: &Ledger,
    tenant: &Tenant,
    erasing: &Erasing,
) -> Result<bool, Error> {
    let entry = ledger.entry(tenant, erasing.index);
    let Some(entry) = entry.map_err(|error| distrust(ledger, tenant, error))? else {
        return Ok(false);
    };
    let Some(view) = View::parse(&entry) else { return Ok(false) };
    if (view.origin.epoch, view.origin.seq) == (erasing.epoch, erasing.seq) {
        return Ok(true);
    }
    let message = match tenant.journal() {
        Journal::Embedded(journal) => {
            let journal = journal.in_epoch(erasing.epoch);
            tokio::task::block_in_place(|| journal.get(erasing.seq))?
        }
        // In an earlier epoch the number may be another message's by now: `is_still_there` looks before it deletes.
        _ if erasing.epoch != tenant.position().epoch => return Ok(true),
        journal => journal.get(erasing.seq).await?,
    };
    let Some(message) = message else { return Ok(true) };
    let event = crate::json::parse(&message.body).ok();
    let same = |name| {
        let sent = event.as_ref().and_then(|event| event.get(name)?.as_str());
        sent.is_some() && sent == view.text(&["event", name])
    };
    let producer = match &message.subject {
        Some(journal::Subject::Decisions(producer)) => Some(producer.as_str()),
        _ => None,
    };
    Ok(same("id") && same("source") && producer == view.text(&["producer"]))
}

/// Where else the journal holds the events of these erasures, and the keys that say so.
fn repeats(
    ledger: &Ledger,
    number: LogNumber,
    marked: &[Erasing],
) -> Result<(Vec<Erasing>, Vec<Vec<u8>>), Error> {
    let (mut repeats, mut keys) = (Vec::new(), Vec::new());
    for erasing in marked {
        let prefix = number.numbered(erasing.index);
        ledger.store().scan(Family::Repeats, &prefix, |key, _| {
            let place =
                key.strip_prefix(&prefix[..]).and_then(|rest| rest.split_first_chunk::<8>());
            let Some((epoch, seq)) = place else { return false };
            if let Ok(seq) = <[u8; 8]>::try_from(seq) {
                let (epoch, seq) = (u64::from_be_bytes(*epoch), u64::from_be_bytes(seq));
                repeats.push(Erasing { index: erasing.index, epoch, seq });
                keys.push(key.to_vec());
            }
            true
        })?;
    }
    Ok((repeats, keys))
}

/// Whether the stream holds, under the number it had in an earlier epoch, the message of an erased entry: so it is when
/// that epoch ended by a broker that was restored from an older copy.
#[cfg(feature = "jetstream")]
async fn is_still_there(
    ledger: &Ledger,
    tenant: &Tenant,
    stream: &journal::jetstream::Jetstream,
    erasing: &Erasing,
) -> Result<bool, Error> {
    let Some(message) = stream.get(erasing.seq).await? else { return Ok(false) };
    let entry = ledger.entry(tenant, erasing.index)?;
    let Some(view) = entry.as_deref().and_then(View::parse) else { return Ok(false) };
    let event = crate::json::parse(&message.body).ok();
    let same = |name| {
        let sent = event.as_ref().and_then(|event| event.get(name)?.as_str());
        sent.is_some() && sent == view.text(&["event", name])
    };
    Ok(view.origin.time == message.time || (same("id") && same("source")))
}

fn pending(ledger: &Ledger, number: LogNumber) -> Result<Vec<Erasing>, Error> {
    let prefix = number.meta("erasing");
    let mut pending = Vec::new();
    let mut unreadable = None;
    ledger.store().scan(Family::Meta, &prefix, |key, value| {
        if !key.starts_with(&prefix) {
            return false;
        }
        match store::read_json(value, "meta") {
            Ok(erasing) => pending.push(erasing),
            Err(error) => unreadable = Some(error),
        }
        true
    })?;
    unreadable.map_or(Ok(pending), |error| Err(error.into()))
}

/// Removes journal messages that are posted, guarded and older than `retention`. The last posted one always stays.
///
/// Returns the first sequence that is kept.
/// `keep_from`: the first journal sequence of an approval that is not over, if there is one.
pub async fn trim(
    tenant: &Tenant,
    retention: Duration,
    keep_from: Option<u64>,
) -> Result<u64, Error> {
    let journal = tenant.journal();
    if let Journal::Absent = journal {
        return Ok(0);
    }
    let age = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
    // A clock that is ahead must not make messages look old.
    let now = match journal {
        Journal::Embedded(_) => match tenant.clock().look() {
            Ok(now) => now,
            Err(_) => return Ok(0),
        },
        _ => journal.time().await?.min(embedded::now()),
    };
    let before = Nanos(now.0.saturating_sub(age));
    let posted = tenant.published().posted.min(keep_from.unwrap_or(u64::MAX));
    let first = journal.state().await?.first;
    let end = posted.clamp(first, first.saturating_add(TRIM_MESSAGES_MAX));
    let keep = first_kept(journal, (first, end), before).await?;
    if keep > first {
        journal.trim(keep).await?;
    }
    Ok(keep)
}

/// The first message of `low..high` that was stored at `before` or later; `high` if all are older.
async fn first_kept(
    journal: &Journal,
    (mut low, mut high): (u64, u64),
    before: Nanos,
) -> Result<u64, journal::Error> {
    while low < high {
        let middle = low + (high - low) / 2;
        // An erased message has no time: the next one that is there decides.
        let mut at = middle;
        let mut found = None;
        while at < high && found.is_none() {
            found = journal.get(at).await?;
            at += 1;
        }
        if found.is_some_and(|message| message.time < before) { low = at } else { high = middle }
    }
    Ok(low)
}
