//! Work beside posting: completes erasures and trims old journal messages.

use crate::{
    canonical,
    entry::View,
    erased,
    gone::{self, Erasure, Leaf, Trim},
    journal::{self, Journal, Subject},
    ledger::{Error, Ledger},
    post::{Erasing, Outcome},
    store::{self, Family, LogNumber, rocks::Values},
    system::{By, Duty},
    tenant::Tenant,
    time::Nanos,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Most messages that one trim removes.
const TRIM_MESSAGES_MAX: u64 = 1_000_000;
/// Number of old messages from which a trim is worth an entry.
const TRIM_MESSAGES_MIN: u64 = 10_000;
/// Most repetitions that one erasure message names.
pub const REPEATS_MAX: usize = 200;

/// Completes every erasure of `tenant` whose entry is posted: deletes the journal messages, then rewrites all
/// old files. Repetitions that no erasure entry names are first named by one.
///
/// Returns the number of journal messages that still have to go. 0 means that the bytes are nowhere in the
/// data directory. Under a legal hold nothing goes.
pub async fn complete_erasures(ledger: &Ledger, tenant: &Tenant) -> Result<usize, Error> {
    // A second caller waits here, and then finds nothing to do.
    let _alone = tenant.erasing.lock().await;
    if tenant.position().retention.is_held() {
        return Ok(pending(ledger, tenant.number, "erasing")?.len());
    }
    let unnamed = name_repetitions(ledger, tenant).await?;
    if unnamed > 0 {
        return Ok(unnamed);
    }
    let mut marked = pending(ledger, tenant.number, "erasing")?;
    if marked.is_empty() {
        return Ok(0);
    }
    marked.sort_unstable_by_key(|erasing| (erasing.epoch, erasing.seq));
    let keys = repeats(ledger, tenant.number, &marked)?.into_iter().map(|(key, _)| key);
    let keys: Vec<Vec<u8>> = keys.collect();
    check_named(ledger, tenant, &marked)?;
    let mut gone: BTreeMap<Family, Values> = BTreeMap::new();
    match tenant.journal() {
        Journal::Embedded(journal) => {
            for erasings in marked.chunk_by(|a, b| a.epoch == b.epoch) {
                let journal = journal.in_epoch(erasings[0].epoch);
                let seqs = erasings.iter().map(|erasing| erasing.seq);
                for (family, key) in tokio::task::block_in_place(|| journal.places(seqs))? {
                    gone.entry(family).or_default().insert(key, None);
                }
            }
        }
        #[cfg(feature = "jetstream")]
        Journal::JetStream(stream) => {
            let epoch = tenant.position().epoch;
            for erasing in &marked {
                let here = erasing.epoch == epoch;
                if here || is_still_there(ledger, tenant, stream, erasing).await? {
                    stream.erase(erasing.seq).await?;
                }
            }
        }
        Journal::Absent => return Ok(marked.len()),
    }
    // After a crash in here, the next start finds the erasures still pending.
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
        let marks = marked.iter().map(|e| ((Family::Meta, e.key(tenant.number)), None));
        let repeats = keys.iter().map(|key| ((Family::Repeats, key.clone()), None));
        ledger.store().commit(marks.chain(repeats))
    })?;
    Ok(0)
}

/// Number of journal messages that an erasure names, or must name, and whose bytes may still be here. 0: every erasure that
/// is posted is complete on this machine and in the journal.
pub fn unfinished(ledger: &Ledger, tenant: &Tenant) -> Result<usize, Error> {
    let of = |what| pending(ledger, tenant.number, what).map(|rows| rows.len());
    Ok(of("erasing")? + of("unnamed")?)
}

/// Publishes erasure messages for repetitions of erased events that no erasure entry names yet. A replica that
/// comes later must know what was in their place.
///
/// Returns how many are still not named, because the log takes no messages now. Until they are named, the rows
/// that lead to them must stay.
async fn name_repetitions(ledger: &Ledger, tenant: &Tenant) -> Result<usize, Error> {
    let number = tenant.number;
    let marked = pending(ledger, number, "erasing")?;
    let named: BTreeSet<(u64, u64)> = marked.iter().map(|e| (e.epoch, e.seq)).collect();
    let mut unnamed: BTreeMap<u64, BTreeSet<(u64, u64)>> = BTreeMap::new();
    let repeats = repeats(ledger, number, &marked)?.into_iter().map(|(_, repeat)| repeat);
    for erasing in pending(ledger, number, "unnamed")?.into_iter().chain(repeats) {
        let place = (erasing.epoch, erasing.seq);
        if !named.contains(&place) {
            unnamed.entry(erasing.index).or_default().insert(place);
        }
    }
    if !tenant.may_act() {
        return Ok(unnamed.values().map(BTreeSet::len).sum());
    }
    for (index, places) in unnamed {
        let by = By::Server { server: Duty::Repetition };
        let places: Vec<_> = places.into_iter().collect();
        for places in places.chunks(REPEATS_MAX) {
            let erasure = ledger.erasure(tenant, index, places, by.clone()).await?;
            // This erases no more payload, only these messages.
            let erasure = Erasure { fields: Some(Vec::new()), ..erasure };
            erase(ledger, tenant, &erasure).await?;
        }
    }
    Ok(0)
}

/// Publishes an erasure and waits for its entry. Returns its leaf index. [`Error::Held`] under a legal hold. If
/// posting refuses it otherwise, the database's index of repetitions was changed, and the log halts.
pub async fn erase(
    ledger: &Ledger,
    tenant: &Tenant,
    erasure: &Erasure<Leaf>,
) -> Result<u64, Error> {
    let subject = Subject::parse("system.erasure").expect("a subject");
    let done = ledger.publish_signed(tenant, &subject, &canonical::of(erasure)).await?;
    if let Some(Outcome::Posted { index }) = done.outcomes.first() {
        return Ok(*index);
    }
    // A hold came first.
    if let Some(hold) = tenant.position().retention.holds.into_keys().next() {
        return Err(Error::Held(hold));
    }
    let what = "a repetition that is none";
    Err(distrust(ledger, tenant, store::Error::Corrupt { family: "repeats", what }))
}

/// Refuses to delete a message that no posted erasure names: rows of the database alone must not delete
/// anything.
///
/// Each message must be named by an `erasure` entry, found by walking `prior.system` back from the last leaf.
/// When that entry was posted, what the message gave was compared.
fn check_named(ledger: &Ledger, tenant: &Tenant, erasings: &[Erasing]) -> Result<(), Error> {
    let wanted = erasings.iter().map(|e| (e.index, (e.epoch, e.seq))).collect();
    let unnamed = tokio::task::block_in_place(|| ledger.unnamed_among(tenant, wanted));
    let error = match unnamed {
        Ok(unnamed) if unnamed.is_empty() => return Ok(()),
        Ok(_) => {
            let what = "a message to be erased that no erasure entry names";
            store::Error::Corrupt { family: "meta", what }
        }
        Err(error) => error,
    };
    Err(distrust(ledger, tenant, error))
}

/// Halts the log: the database does not hold what was posted.
fn distrust(ledger: &Ledger, tenant: &Tenant, error: store::Error) -> Error {
    if matches!(error, store::Error::Corrupt { .. }) {
        ledger.halt(tenant, format!("{error}; nothing is erased any more. Restore a backup"));
    }
    error.into()
}

/// Other messages with the events of these erasures, and the keys of the index rows that name them.
fn repeats(
    ledger: &Ledger,
    number: LogNumber,
    marked: &[Erasing],
) -> Result<Vec<(Vec<u8>, Erasing)>, Error> {
    let mut repeats = Vec::new();
    let indexes: BTreeSet<u64> = marked.iter().map(|erasing| erasing.index).collect();
    for index in indexes {
        repeats.extend(ledger.repeats_of(number, index)?);
    }
    Ok(repeats)
}

/// True if the current stream still holds the erased message under its old sequence. That happens when the
/// epoch ended because the broker was restored from an older copy.
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

/// Forgets messages that an erasure entry names by now. A replica may learn that they must go after that entry.
pub(crate) fn forget_named(ledger: &Ledger, number: LogNumber) -> Result<(), Error> {
    let named: BTreeSet<(u64, u64)> =
        pending(ledger, number, "erasing")?.iter().map(|one| (one.epoch, one.seq)).collect();
    let mut unnamed = pending(ledger, number, "unnamed")?;
    unnamed.retain(|one| named.contains(&(one.epoch, one.seq)));
    let rows = unnamed.iter().map(|one| ((Family::Meta, one.unnamed_key(number)), None));
    Ok(ledger.store().commit(rows)?)
}

fn pending(ledger: &Ledger, number: LogNumber, what: &str) -> Result<Vec<Erasing>, Error> {
    let prefix = number.meta(what);
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

/// Removes journal messages that are posted, guarded and older than `retention`, after an entry says so. The
/// last posted message always stays.
///
/// Returns the first sequence that is kept. `keep_from`: the first journal sequence that an open approval
/// needs, if there is one.
pub async fn trim(
    ledger: &Ledger,
    tenant: &Tenant,
    retention: Duration,
    keep_from: Option<u64>,
) -> Result<u64, Error> {
    let journal = tenant.journal();
    if matches!(journal, Journal::Absent) || !tenant.may_act() {
        return Ok(0);
    }
    let first = journal.state().await?.first;
    if tenant.position().retention.is_held() {
        return Ok(first);
    }
    // An entry says so already, and the journal did not follow: no further entry before it has.
    if let Some(below) = last_trim(tenant).await?.filter(|below| *below > first) {
        may_trim(tenant, below)?;
        journal.trim(below).await?;
        return Ok(below);
    }
    let keep = to_keep(tenant, retention, keep_from).await?;
    // Not one entry for every message that grows old: only for many at once, or if some are a tenth too old.
    let due = keep > first
        && (keep - first >= TRIM_MESSAGES_MIN
            || to_keep(tenant, retention + retention / 10, keep_from).await? > first);
    if !due {
        return Ok(first);
    }
    trim_below(ledger, tenant, keep).await?;
    Ok(keep)
}

/// Removes the journal messages below `keep`, after an entry says so. They must be posted.
pub(crate) async fn trim_below(ledger: &Ledger, tenant: &Tenant, keep: u64) -> Result<(), Error> {
    may_trim(tenant, keep)?;
    let body = Trim { below: keep, by: By::Server { server: Duty::Retention } };
    let subject = Subject::parse("system.trim").expect("a subject");
    let done = ledger.publish_signed(tenant, &subject, &canonical::of(&body)).await?;
    Error::unless_posted(&subject, done.outcomes.first())?;
    Ok(tenant.journal().trim(keep).await?)
}

/// Refuses to trim what a replica has not posted: it would find a hole there that nothing explains.
fn may_trim(tenant: &Tenant, below: u64) -> Result<(), Error> {
    let posted = tenant.posted_by_all();
    if below <= posted { Ok(()) } else { Err(Error::Lags { needed: below, posted }) }
}

/// Up to where the last trim entry says that messages go; `None`: there is none, or its message is gone.
async fn last_trim(tenant: &Tenant) -> Result<Option<u64>, journal::Error> {
    let message = tenant.journal().get(tenant.position().last_on("trim")).await?;
    Ok(message.and_then(|message| gone::read::<Trim>(&message.body)).map(|trim| trim.below))
}

/// The first sequence to keep.
pub async fn to_keep(
    tenant: &Tenant,
    retention: Duration,
    keep_from: Option<u64>,
) -> Result<u64, journal::Error> {
    let journal = tenant.journal();
    let age = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
    let first = journal.state().await?.first;
    let Some(now) = certain_now(tenant).await? else { return Ok(first) };
    let before = Nanos(now.0.saturating_sub(age));
    let posted = tenant.published().posted.min(keep_from.unwrap_or(u64::MAX));
    let posted = posted.min(tenant.posted_by_all());
    let end = posted.clamp(first, first.saturating_add(TRIM_MESSAGES_MAX));
    first_kept(journal, (first, end), before).await
}

/// The present time, if it is certain: a clock that is ahead must not make things look old.
pub(crate) async fn certain_now(tenant: &Tenant) -> Result<Option<Nanos>, journal::Error> {
    match tenant.journal() {
        Journal::Embedded(_) => Ok(tenant.clock().look().ok()),
        _ => Ok(Some(tenant.journal_time().await?.min(tenant.now()))),
    }
}

/// The first message in `low..high` that was stored at `before` or later. `high` if all are older.
async fn first_kept(
    journal: &Journal,
    (mut low, mut high): (u64, u64),
    before: Nanos,
) -> Result<u64, journal::Error> {
    while low < high {
        let middle = low + (high - low) / 2;
        // An erased message has no time, so the next existing one decides.
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
