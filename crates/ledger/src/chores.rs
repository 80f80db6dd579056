//! What happens beside posting: erasures are completed, old journal messages are trimmed.

use crate::{
    journal::{self, Journal, embedded},
    ledger::{Error, Ledger},
    post::Erasing,
    store::{self, Family, LogNumber},
    tenant::Tenant,
    time::Nanos,
};
use std::time::Duration;

/// Most messages trimmed in one go.
const TRIM_MESSAGES_MAX: u64 = 1_000_000;

/// Completes every erasure of `tenant` whose entry is posted: the journal messages go, then all old files.
///
/// Returns how many were completed. After this the bytes are nowhere in the data directory.
pub async fn complete_erasures(ledger: &Ledger, tenant: &Tenant) -> Result<usize, Error> {
    let pending = pending(ledger, tenant.number)?;
    if pending.is_empty() {
        return Ok(0);
    }
    match tenant.journal() {
        // In order of epochs, as their keys are.
        Journal::Embedded(journal) => {
            for erasings in pending.chunk_by(|a, b| a.epoch == b.epoch) {
                let journal = journal.in_epoch(erasings[0].epoch);
                let seqs = erasings.iter().map(|erasing| erasing.seq);
                tokio::task::block_in_place(|| journal.erase_all(seqs))?;
            }
        }
        // A message of an earlier epoch went with its journal.
        #[cfg(feature = "jetstream")]
        Journal::JetStream(stream) => {
            let epoch = tenant.position().epoch;
            for erasing in pending.iter().filter(|erasing| erasing.epoch == epoch) {
                stream.erase(erasing.seq).await?;
            }
        }
        Journal::Absent => {}
    }
    // Whoever dies in here finds the erasures pending again at the next start.
    tokio::task::block_in_place(|| {
        ledger.store().purge()?;
        let done = pending.iter().map(|e| ((Family::Meta, e.key(tenant.number)), None));
        ledger.store().commit(done)
    })?;
    Ok(pending.len())
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
pub async fn trim(tenant: &Tenant, retention: Duration) -> Result<u64, Error> {
    let journal = tenant.journal();
    if let Journal::Absent = journal {
        return Ok(0);
    }
    let age = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
    let before = Nanos(embedded::now().0.saturating_sub(age));
    let posted = tenant.published().posted;
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
