//! Reading payload: an entry records it before the payload leaves (`proto/formats/access.md`).
//!
//! One entry for every request would double the log of a reader who reads all of it. So an entry covers a
//! range of indexes for some minutes: a lease. Reads within it need no further entry. A crash hides nothing,
//! because the entry comes first. The range is what the reader announced, or the one index. For a reader who
//! goes on from entry to entry it grows.

use crate::{act, auth::Caller};
use ledger::{
    Error, Ledger,
    ident::Ident,
    system::{Access, KeyId},
    tenant::Tenant,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::Mutex as AsyncMutex;

/// Time that one entry covers, in seconds.
const LEASE_SECONDS: u32 = 600;
/// Most indexes that a reader may announce at once.
pub const ANNOUNCED_MAX: u64 = 1_000_000;
/// Most leases of one tenant that are remembered. Beyond that the oldest is forgotten, which costs an entry.
const LEASES_MAX: usize = 1024;
/// Number of entries in a row, each continuing the one before, after which ranges grow.
const STEPS_BEFORE_GROWTH: u32 = 16;
/// Largest range without an announcement, in indexes.
const GROWN_MAX: u64 = 4096;
/// Most entries between two reads that still count as continuing: most entries between have no payload.
const STEP_MAX: u64 = 16;

/// The range and time that one entry covers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    key: KeyId,
    from: u64,
    to: u64,
    /// Number of leases in a row, each continuing the one before.
    steps: u32,
    until: Instant,
}

/// The leases of one tenant, oldest first.
#[derive(Default)]
struct Leases(VecDeque<Lease>);

impl Leases {
    fn covers(&self, key: &KeyId, index: u64, now: Instant) -> bool {
        let covers = |lease: &Lease| {
            lease.key == *key && (lease.from..lease.to).contains(&index) && now < lease.until
        };
        self.0.iter().rev().any(covers)
    }

    /// The lease that a read of `index` needs, as the first of the range up to `through`.
    fn next(&self, key: &KeyId, index: u64, through: Option<u64>, now: Instant) -> Lease {
        let goes_on =
            |lease: &&Lease| lease.key == *key && (lease.to..=lease.to + STEP_MAX).contains(&index);
        let before = self.0.iter().rev().find(goes_on);
        let steps = before.map_or(0, |lease| lease.steps.saturating_add(1));
        let grown = steps.checked_sub(STEPS_BEFORE_GROWTH).map(|over| 2_u64 << over.min(11));
        let width = match through {
            Some(through) => through.saturating_sub(index).saturating_add(1).min(ANNOUNCED_MAX),
            None => grown.unwrap_or(1).min(GROWN_MAX),
        };
        let until = now + Duration::from_secs(LEASE_SECONDS.into());
        Lease { key: key.clone(), from: index, to: index + width, steps, until }
    }

    fn keep(&mut self, lease: Lease) {
        self.0.push_back(lease);
        let excess = self.0.len().saturating_sub(LEASES_MAX);
        self.0.drain(..excess);
    }
}

/// The leases of every tenant.
#[derive(Default)]
pub struct Readings(Mutex<BTreeMap<Ident, Arc<AsyncMutex<Leases>>>>);

impl Readings {
    fn of(&self, tenant: &Ident) -> Arc<AsyncMutex<Leases>> {
        let mut tenants = self.0.lock().expect("no holder of the lock panics");
        Arc::clone(tenants.entry(tenant.clone()).or_default())
    }
    /// Makes sure that an entry says that `caller` reads the payload of `index`. Only then may the payload
    /// leave.
    ///
    /// `through`: the last index that the caller announces to read, at most [`ANNOUNCED_MAX`] of them at once.
    pub async fn note(
        &self,
        ledger: &Ledger,
        tenant: &Arc<Tenant>,
        caller: &Caller,
        index: u64,
        through: Option<u64>,
    ) -> Result<(), Error> {
        let leases = self.of(&tenant.name);
        // Held while the entry is made: another reader of the same range waits for that one entry.
        let mut leases = leases.lock().await;
        let key = &caller.key.key_id;
        if leases.covers(key, index, Instant::now()) {
            return Ok(());
        }
        let lease = leases.next(key, index, through, Instant::now());
        let (from, to, by) = (lease.from, lease.to, caller.by());
        let read = Access::Read { from, to, seconds: LEASE_SECONDS, by };
        act::record(ledger, tenant, "access", &read).await?;
        leases.keep(lease);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: char) -> KeyId {
        KeyId::new(&digit.to_string().repeat(16)).unwrap()
    }

    /// Reads one index after the other; the ranges of the entries that were needed.
    fn check(reads: impl IntoIterator<Item = (u64, Option<u64>)>, ranges: &[(u64, u64)]) {
        let (mut leases, now, mut found) = (Leases::default(), Instant::now(), Vec::new());
        for (index, through) in reads {
            if leases.covers(&key('a'), index, now) {
                continue;
            }
            let lease = leases.next(&key('a'), index, through, now);
            assert!((lease.from..lease.to).contains(&index));
            found.push((lease.from, lease.to));
            leases.keep(lease);
        }
        assert_eq!(found, ranges);
    }

    #[test]
    fn p11_every_read_is_covered_by_a_range() {
        check([(5, None), (5, None), (7, None), (5, None)], &[(5, 6), (7, 8)]);
        check((0..100).map(|n| (n, Some(99))), &[(0, 100)]);
        check([(3, Some(2))], &[(3, 4)]);
        check([(0, Some(u64::MAX))], &[(0, ANNOUNCED_MAX)]);
    }

    #[test]
    fn p13_a_reader_who_goes_on_costs_few_entries() {
        let ranges = |reads: u64| {
            let (mut leases, now, mut count) = (Leases::default(), Instant::now(), 0);
            for index in 0..reads {
                if !leases.covers(&key('a'), index, now) {
                    let lease = leases.next(&key('a'), index, None, now);
                    assert!(lease.to - lease.from <= GROWN_MAX);
                    leases.keep(lease);
                    count += 1;
                }
            }
            count
        };
        assert_eq!(ranges(16), 16, "a person's reads are told exactly");
        assert!(ranges(1_000) < 30, "{}", ranges(1_000));
        assert!(ranges(100_000) < 60, "{}", ranges(100_000));
    }

    #[test]
    fn a_lease_is_of_one_key_and_ends() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        leases.keep(leases.next(&key('a'), 3, Some(9), now));
        assert!(leases.covers(&key('a'), 9, now));
        assert!(!leases.covers(&key('a'), 10, now));
        assert!(!leases.covers(&key('b'), 3, now));
        let later = now + Duration::from_secs(u64::from(LEASE_SECONDS));
        assert!(!leases.covers(&key('a'), 9, later));
        for index in 0..2 * LEASES_MAX as u64 {
            leases.keep(leases.next(&key('b'), 100 * index, None, now));
        }
        assert_eq!(leases.0.len(), LEASES_MAX);
        assert!(!leases.covers(&key('a'), 9, now), "forgotten: the next read has an entry again");
    }
}
