//! Drops payload by age, and all that goes with a deleted tenant (P20): an entry says what goes, then the bytes leave the
//! files.
//!
//! Posting judges whether it may go (`post::kept`). Here is what that needs: a clock that is right, the journal
//! trimmed as far, and no approval that still needs the payload.

use crate::{
    canonical,
    chores::{certain_now, forget_named, trim_below},
    entry::{Payload, View},
    erased::{self, Expiring},
    journal::{Journal, Subject, jetstream},
    ledger::{Error, Ledger},
    log::{merkle, replicas::EntryOf},
    post::{Erasing, Retention, STEP_PAUSE_SECONDS, STEP_SECONDS_MAX},
    replica,
    store::{self, Family, LogNumber, Read as _, Write, rocks::Values},
    system::{
        By, Duty,
        retention::{Expire, RetentionBody},
    },
    tenant::Tenant,
    time::Nanos,
};
use std::{collections::BTreeMap, time::Duration};

/// Entries whose payload is rewritten at once.
const AT_ONCE: u64 = 50_000;
/// Rows of the journal that are removed at once.
const JOURNAL_AT_ONCE: usize = 50_000;
/// Entries that are read at once, before other tasks get their turn.
const READ_AT_ONCE: u64 = 20_000;
const DAY_SECONDS: u64 = 24 * 3600;

/// Lets the next old payload of `tenant` expire, at most what one step may, and completes what an earlier step or an
/// earlier process left.
///
/// Returns the leaf index before which everything expired. `keep_from`: the first journal sequence that an open approval
/// needs, if there is one.
pub async fn step(ledger: &Ledger, tenant: &Tenant, keep_from: Option<u64>) -> Result<u64, Error> {
    let _alone = tenant.erasing.lock().await;
    let retention = tenant.position().retention;
    let expired = retention.expired;
    if retention.is_held() || matches!(tenant.journal(), Journal::Absent) {
        return Ok(expired);
    }
    if !tenant.may_act() {
        complete_as_led(ledger, tenant).await?;
        return Ok(expired);
    }
    complete(ledger, tenant).await?;
    let Some(below) = next(ledger, tenant, (&retention, keep_from)).await? else {
        return Ok(expired);
    };
    let by = By::Server { server: Duty::Retention };
    let body = RetentionBody::Expire(Expire { from: expired, below, by });
    let subject = Subject::parse("system.retention").expect("a subject");
    let done = ledger.publish_signed(tenant, &subject, &canonical::of(&body)).await?;
    Error::unless_posted(&subject, done.outcomes.first())?;
    complete(ledger, tenant).await?;
    Ok(below)
}

/// What the replica that leads let expire goes here too, once it is shown: before that, it may not be so.
async fn complete_as_led(ledger: &Ledger, tenant: &Tenant) -> Result<(), Error> {
    let is_led = tenant.replica().is_some() && tenant.shows() && tenant.halted().is_none();
    if !is_led || erased::expiring(ledger.store(), tenant.number)?.is_none() {
        return Ok(());
    }
    ledger.catch_up(tenant).await?;
    complete(ledger, tenant).await?;
    // The one that leads may have named the repetitions already.
    forget_named(ledger, tenant.number)
}

/// How far the deletion of a tenant is.
#[derive(Debug)]
pub enum Buried {
    /// All of it is gone.
    Whole,
    /// The last entry is not shown yet, or its log is halted.
    Waits,
    /// It is gone here. These replicas have not said that it is gone there, so the journal stays: they may need it.
    Lacks(Vec<replica::Lacks>),
}

/// Completes the deletion of a tenant whose log has ended: its payload, journal and keys go. With replicas, the journal goes when
/// every one of them has said that the rest is gone there; `wait` for those that are at it.
///
/// May be repeated: a crash in here is made good by the next call.
pub async fn bury(
    ledger: &Ledger,
    tenant: &Tenant,
    (broker, wait): (Option<&jetstream::Connection>, Duration),
) -> Result<Buried, Error> {
    let _alone = tenant.erasing.lock().await;
    let (number, mark) = (tenant.number, erased::expiring_key(tenant.number));
    let Some(Expiring { mut from, below }) = erased::expiring(ledger.store(), number)? else {
        return Ok(Buried::Whole);
    };
    let published = tenant.published();
    // Before the last entry is published, its signature may still be needed.
    if tenant.halted().is_some() || published.size < below {
        return Ok(Buried::Waits);
    }
    while from < below {
        let to = below.min(from + AT_ONCE);
        tokio::task::block_in_place(|| empty(ledger, number, (from, to)))?;
        from = to;
        tokio::task::yield_now().await;
    }
    tokio::task::block_in_place(|| drop_journal(ledger, number))?;
    let row = (Family::Meta, mark);
    if let (Some(broker), true) = (broker, ledger.options().replicas.is_some()) {
        // The next start shows what is shown now: it could not ask for it without the keys.
        ledger.keep_shown(tenant, &published)?;
        tenant.destroy_keys()?;
        let emptied = store::to_json(&Expiring { from: below, below });
        ledger.store().commit(std::iter::once((row.clone(), Some(emptied))))?;
        let last = ledger.entry(tenant, below - 1)?.unwrap_or_default();
        let (tenant_name, leaf_hash) = (tenant.name.clone(), merkle::leaf_hash(&last));
        let last = EntryOf { tenant: tenant_name, index: below - 1, leaf_hash };
        let lacks = replica::not_deleted((ledger, broker), tenant, &last, wait).await;
        if !lacks.is_empty() {
            return Ok(Buried::Lacks(lacks));
        }
    }
    if let Some(broker) = broker {
        jetstream::Jetstream::delete(broker, &tenant.name).await?;
    }
    tenant.destroy_keys()?;
    ledger.store().commit(std::iter::once((row, None)))?;
    Ok(Buried::Whole)
}

/// Empties every payload of the entries `from..to`, whatever their kind.
fn empty(ledger: &Ledger, number: LogNumber, (from, to): (u64, u64)) -> Result<(), store::Error> {
    let empty = Payload::default().encode();
    let values = (from..to).map(|index| (number.numbered(index), Some(empty.clone())));
    ledger.store().flush()?;
    ledger.store().rewrite(Family::Payload, &values.collect())
}

/// Removes all messages of the embedded journal, and what an erasure left to do.
fn drop_journal(ledger: &Ledger, number: LogNumber) -> Result<(), store::Error> {
    let store = ledger.store();
    for family in [Family::Journal, Family::SubjectIndex, Family::Repeats] {
        loop {
            let (prefix, mut values) = (number.key(&[]), Values::new());
            store.scan(family, &prefix, |key, _| {
                let ours = key.starts_with(&prefix) && values.len() < JOURNAL_AT_ONCE;
                if ours {
                    values.insert(key.to_vec(), None);
                }
                ours
            })?;
            if values.is_empty() {
                break;
            }
            store.rewrite(family, &values)?;
        }
    }
    let mut rows = Vec::new();
    for prefix in ["erasing", "unnamed"].map(|what| number.meta(what)) {
        store.scan(Family::Meta, &prefix, |key, _| {
            let ours = key.starts_with(&prefix);
            if ours {
                rows.push(((Family::Meta, key.to_vec()), None));
            }
            ours
        })?;
    }
    store.commit(rows.into_iter())
}

/// Up to where payload may expire now. `None` if nothing may. Trims the journal as far: its messages hold payload too.
async fn next(
    ledger: &Ledger,
    tenant: &Tenant,
    (retention, keep_from): (&Retention, Option<u64>),
) -> Result<Option<u64>, Error> {
    let (Some(days), Some(now)) = (retention.payload_days, certain_now(tenant).await?) else {
        return Ok(None);
    };
    let age = Nanos(0).plus_seconds(u64::from(days) * DAY_SECONDS).0;
    let before = Nanos(now.0.saturating_sub(age));
    let rested = retention.stepped.is_none_or(|at| at.plus_seconds(STEP_PAUSE_SECONDS) <= now);
    let position = tenant.position();
    // The newest message may go too: that which trims it is newer.
    let last = position.posted.min(keep_from.map_or(u64::MAX, |needed| needed.saturating_sub(1)));
    let mut old =
        Old { before, last: (position.epoch, last), first: None, need: 0, ended: !rested };
    let (mut below, size) = (retention.expired, tenant.published().size);
    while below < size && !old.ended {
        let to = size.min(below + READ_AT_ONCE);
        let mut count = 0;
        tokio::task::block_in_place(|| {
            let mut visit = |entry: &[u8]| count += u64::from(old.takes(entry));
            ledger.entries(tenant, (below, to), |_, entry| visit(entry))
        })?;
        below += count;
        tokio::task::yield_now().await;
    }
    if below == retention.expired {
        return Ok(None);
    }
    if tenant.journal().state().await?.first < old.need {
        trim_below(ledger, tenant, old.need).await?;
    }
    Ok(Some(below))
}

/// Finds the last entry that may expire now.
struct Old {
    /// Entries of this time or later are not old.
    before: Nanos,
    /// Epoch of the journal, and the last sequence of it that may go.
    last: (u64, u64),
    /// Time of the first entry.
    first: Option<Nanos>,
    /// The journal must be trimmed below this sequence.
    need: u64,
    ended: bool,
}

impl Old {
    /// True if the next entry may expire too.
    fn takes(&mut self, entry: &[u8]) -> bool {
        if self.ended {
            return false;
        }
        let fits = View::parse(entry).is_some_and(|view| {
            let (origin, first) = (view.origin, self.first.unwrap_or(view.origin.time));
            let old = origin.time <= self.before
                && origin.time <= first.plus_seconds(STEP_SECONDS_MAX)
                && (origin.epoch, origin.seq) <= self.last;
            if old {
                self.first = Some(first);
                if origin.epoch == self.last.0 {
                    self.need = self.need.max(origin.seq + 1);
                }
            }
            old
        });
        self.ended = !fits;
        fits
    }
}

/// Removes the bytes of payload that expired. After a crash in here, the next call begins where this one was.
async fn complete(ledger: &Ledger, tenant: &Tenant) -> Result<(), Error> {
    let number = tenant.number;
    let mark = erased::expiring_key(number);
    while let Some(Expiring { from, below }) = erased::expiring(ledger.store(), number)? {
        // A hold that came meanwhile keeps the rest.
        if tenant.position().retention.is_held() {
            return Ok(());
        }
        let first = tenant.journal().state().await?.first;
        let to = below.min(from + AT_ONCE);
        tokio::task::block_in_place(|| {
            rewrite(ledger, tenant, (from, to))?;
            let rest = (to < below).then(|| store::to_json(&Expiring { from: to, below }));
            let repeated = repeated(ledger, tenant, (from, to), first)?;
            let done = std::iter::once(((Family::Meta, mark.clone()), rest));
            ledger.store().commit(done.chain(repeated)).map_err(Error::from)
        })?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Empties the payload of the entries `from..to`, in all files, and removes what is left of their journal messages.
fn rewrite(ledger: &Ledger, tenant: &Tenant, (from, to): (u64, u64)) -> Result<(), Error> {
    let (number, empty) = (tenant.number, Payload::default().encode());
    let epoch = tenant.position().epoch;
    let (mut values, mut seqs) = (Values::new(), None::<(u64, u64)>);
    for index in from..to {
        let key = number.numbered(index);
        let entry = ledger.store().get(Family::Entries, &key)?;
        let Some(view) = entry.as_deref().and_then(View::parse) else { continue };
        if view.origin.epoch == epoch {
            let seq = view.origin.seq;
            seqs = Some(seqs.map_or((seq, seq), |(first, last)| (first.min(seq), last.max(seq))));
        }
        if view.kind.is_erasable() {
            values.insert(key, Some(empty.clone()));
        }
    }
    let mut gone = BTreeMap::from([(Family::Payload, values)]);
    if let (Journal::Embedded(journal), Some((first, last))) = (tenant.journal(), seqs) {
        // They are trimmed: their keys are deleted, and their bytes still lie in old files.
        for (family, key) in journal.places(first..=last)? {
            gone.entry(family).or_default().insert(key, None);
        }
    }
    ledger.store().flush()?;
    for (family, values) in &gone {
        ledger.store().rewrite(*family, values)?;
    }
    Ok(())
}

/// Messages that repeat these entries hold their payload too. An erasure names each of them before it is deleted
/// ([`crate::chores::complete_erasures`]); `first`: those before it are trimmed already.
fn repeated(
    ledger: &Ledger,
    tenant: &Tenant,
    (from, to): (u64, u64),
    first: u64,
) -> Result<Vec<Write>, store::Error> {
    let (number, epoch) = (tenant.number, tenant.position().epoch);
    let (mut writes, end) = (Vec::new(), number.numbered(to));
    ledger.store().scan(Family::Repeats, &number.numbered(from), |key, _| {
        if key >= end.as_slice() {
            return false;
        }
        let part = |at: usize| key.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        if let (Some(index), Some(of), Some(seq)) = (part(4), part(12), part(20)) {
            let erasing = Erasing { index, epoch: of, seq };
            if of == epoch && seq >= first {
                let row = (Family::Meta, erasing.unnamed_key(number));
                writes.push((row, Some(store::to_json(&erasing))));
            }
        }
        writes.push(((Family::Repeats, key.to_vec()), None));
        true
    })?;
    Ok(writes)
}
