//! What happens beside posting: erasures are completed, old journal messages are trimmed.

use crate::{
    journal::{Journal, embedded},
    ledger::{Error, Ledger},
    post::Erasing,
    store::{self, Family, LogNumber},
    tenant::Tenant,
    time::Nanos,
    writer,
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
    let mut writes = Vec::new();
    for erasing in &pending {
        match tenant.journal() {
            Journal::Embedded => {
                let key = tenant.number.in_epoch(erasing.epoch, &erasing.seq.to_be_bytes());
                writes.push(((Family::Journal, key), None));
            }
            #[cfg(feature = "jetstream")]
            Journal::JetStream(stream) if erasing.epoch == tenant.position().epoch => {
                stream.erase(erasing.seq).await?;
            }
            // A message of an earlier epoch went with its journal.
            _ => {}
        }
    }
    // Whoever dies in here finds the erasures pending again at the next start.
    tokio::task::block_in_place(|| {
        ledger.store().commit(writes.into_iter())?;
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
pub async fn trim(ledger: &Ledger, tenant: &Tenant, retention: Duration) -> Result<u64, Error> {
    let position = tenant.position();
    let age = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
    let before = Nanos(writer::now().0.saturating_sub(age));
    let posted = tenant.published().posted;
    match tenant.journal() {
        Journal::Embedded => trim_embedded(ledger, tenant.number, position.epoch, posted, before),
        #[cfg(feature = "jetstream")]
        Journal::JetStream(stream) => {
            let first = stream.state().await?.first;
            let (mut low, mut high) = (first, posted.max(first));
            while low < high {
                let middle = low + (high - low) / 2;
                // An erased message has no time; its neighbours decide.
                let old = stream.get(middle).await?.is_none_or(|message| message.time < before);
                if old { low = middle + 1 } else { high = middle }
            }
            if low > first {
                stream.trim(low).await?;
            }
            Ok(low)
        }
        Journal::Absent => Ok(0),
    }
}

fn trim_embedded(
    ledger: &Ledger,
    number: LogNumber,
    epoch: u64,
    posted: u64,
    before: Nanos,
) -> Result<u64, Error> {
    let from = number.in_epoch(epoch, &0_u64.to_be_bytes());
    let prefix = number.numbered(epoch);
    let (mut keep, mut seen) = (0, 0);
    ledger.store().scan(Family::Journal, &from, |key, value| {
        let Some(seq) = key.strip_prefix(&prefix[..]).and_then(|rest| rest.try_into().ok()) else {
            return false;
        };
        keep = u64::from_be_bytes(seq);
        seen += 1;
        let old = embedded::decode(keep, value).is_some_and(|message| message.time < before);
        old && keep < posted && seen < TRIM_MESSAGES_MAX
    })?;
    if seen > 1 {
        let to = number.in_epoch(epoch, &keep.to_be_bytes());
        ledger.store().delete_range(Family::Journal, &from, &to)?;
    }
    Ok(keep)
}
