//! Verdicts that are told before they are posted (P16): kept in this server's spool, told, then posted.
//!
//! In scope: when that may be, and posting what is kept. Out of scope: which clauses permit it (`decider::policy::Early`),
//! how it is kept (`ledger::spool`).

use super::{Loaded, Open, Recorded, Told};
use crate::{commands::Readiness, log::Log};
use decider::policy::{Inquiry, Why};
use futures_util::future::join_all;
use ledger::{
    disclosure::Scope,
    event::{self, Refused},
    ident::Ident,
    journal::Subject,
    post::Outcome,
    spool::{NotSpooled, Spool, SpoolPlace, Spooled},
    store,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Most records that are posted at once.
const POSTED_AT_ONCE: usize = 1_000;
/// Pause after records could not be posted.
const AGAIN: Duration = Duration::from_millis(500);
/// Age of the last comparison of the clocks up to which `unavailable: allow` is told. Facts rest on this machine's clock
/// alone then.
pub(super) const CLOCKS_GOOD_FOR: Duration = Duration::from_secs(900);

/// Source and id of a question, under its producer.
type Key = (Ident, String, String);

/// Keeps verdicts in the spool, and posts them.
pub struct Later {
    log: Arc<dyn Log>,
    readiness: Arc<Readiness>,
    spool: Arc<Spool>,
    /// Questions that were told and are not posted yet: repeated, they are recorded first.
    on_their_way: Mutex<HashSet<Key>>,
    /// True while the journal does not take what waits. `record: later` then waits for it, as every other verdict.
    is_stuck: AtomicBool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    later: AtomicU64,
    unavailable: AtomicU64,
    void: AtomicU64,
}

/// What came of verdicts that were told early, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldEarly {
    /// Told because of `record: later`.
    pub later: u64,
    /// Told because of `unavailable: allow`.
    pub unavailable: u64,
    /// Of both, those that did not stand when they were posted.
    pub void: u64,
    /// Those that wait to be posted.
    pub waiting: u64,
}

impl Later {
    /// Takes a spool. [`Later::run`] posts what is in it.
    pub(crate) fn new(log: Arc<dyn Log>, readiness: Arc<Readiness>, spool: Arc<Spool>) -> Self {
        let (on_their_way, is_stuck) = (Mutex::default(), AtomicBool::new(false));
        Self { log, readiness, spool, on_their_way, is_stuck, counts: Counts::default() }
    }

    /// What was told early.
    pub fn told_early(&self) -> ToldEarly {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { later, unavailable, void } = &self.counts;
        let waiting = self.spool.waiting() as u64;
        ToldEarly { later: read(later), unavailable: read(unavailable), void: read(void), waiting }
    }

    /// Why nothing is told early until the next start, if so.
    pub fn broken(&self) -> Option<String> {
        self.spool.broken()
    }

    /// Tells those rulings whose clauses permit it for this reason. Returns the others, and what was told.
    pub(super) async fn tell<'q, 'a>(
        &self,
        producer: &Ident,
        open: Vec<Open<'q, 'a>>,
        (loaded, why): (&Loaded, Why),
    ) -> (Vec<Open<'q, 'a>>, Vec<(usize, Told)>) {
        let (mut left, mut kept) = (Vec::new(), Vec::new());
        for open in open {
            let waits = why == Why::Later && self.is_stuck.load(Ordering::Relaxed);
            let may = open.ruling.early.permits(why) && self.log.halted().is_none() && !waits;
            let key = key(producer, open.inquiry);
            if !may || !self.is_new(&key) {
                left.push(open);
                continue;
            }
            match self.keep(producer, &open, (loaded, why)) {
                Ok(place) => kept.push((open, key, place)),
                Err(_) => left.push(open),
            }
        }
        let mut told = Vec::new();
        for (open, key, (place, fsynced)) in kept {
            if !matches!(fsynced.await, Ok(Ok(()))) {
                self.forget(&key);
                left.push(open);
                continue;
            }
            let count =
                if why == Why::Later { &self.counts.later } else { &self.counts.unavailable };
            count.fetch_add(1, Ordering::Relaxed);
            let now = open.facts.now;
            told.push((open.at, open.told(Recorded::Spool(place), now)));
        }
        (left, told)
    }

    /// Puts the event of a ruling into the spool. It may be told once the receiver says so.
    fn keep(
        &self,
        producer: &Ident,
        open: &Open<'_, '_>,
        (loaded, why): (&Loaded, Why),
    ) -> Result<Kept, NotKept> {
        let owners: Vec<&str> = loaded.bundle.owners(&open.inquiry.request.agent).collect();
        let (tenant, as_of) = (self.log.tenant(), self.log.extent().size);
        let event = |place: &SpoolPlace| {
            let told = Some((place.id.as_str(), place.number, why));
            open.ruling.event(open.inquiry, tenant, &open.facts, (as_of, &owners), told)
        };
        // Its place changes nothing of whether it can be posted.
        event::check_ours(&event(&SpoolPlace::longest()))?;
        Ok(self
            .spool
            .keep(producer, |place| String::from_utf8(event(place)).unwrap_or_default())?)
    }

    /// True if no decision of this question is posted or on its way. Then it is on its way.
    fn is_new(&self, key: &Key) -> bool {
        let (producer, source, id) = key;
        let scope = Scope { producer: producer.as_str(), source, id, ours: true };
        matches!(self.log.find(scope), Ok(None)) && self.on_their_way().insert(key.clone())
    }

    fn forget(&self, key: &Key) {
        self.on_their_way().remove(key);
    }

    fn on_their_way(&self) -> std::sync::MutexGuard<'_, HashSet<Key>> {
        self.on_their_way.lock().expect("no holder of the lock panics")
    }

    /// Posts what is in the spool, until it is dropped.
    pub(crate) async fn run(&self) {
        loop {
            let records = self.spool.next(POSTED_AT_ONCE).await;
            let settled = self.post(&records).await;
            let all = settled.len() == records.len();
            if let Err(error) = self.spool.posted(&settled) {
                tracing::warn!(%error, "a file of the spool could not be deleted");
            }
            if !all {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Posts records. Returns those that are settled: posted, or known to be.
    async fn post(&self, records: &[Arc<Spooled>]) -> HashSet<SpoolPlace> {
        let mut of_producers: BTreeMap<&Ident, Vec<&Spooled>> = BTreeMap::new();
        let mut settled = HashSet::new();
        for record in records {
            // A record of an earlier run may have been posted before the crash.
            let posted = self.is_posted(record).unwrap_or(false);
            if posted && record.place.id != self.spool.run() {
                settled.insert(record.place.clone());
            } else {
                of_producers.entry(&record.producer).or_default().push(record);
            }
        }
        // While it is held, no other journal key takes over: what is signed here is posted under the same key.
        let _same_key = self.readiness.keep_rules().await;
        let groups = of_producers.into_iter();
        let done =
            join_all(groups.map(|(producer, records)| self.post_of(producer, records))).await;
        settled.extend(done.into_iter().flatten());
        settled
    }

    async fn post_of(&self, producer: &Ident, records: Vec<&Spooled>) -> Vec<SpoolPlace> {
        let subject = Subject::verdicts(producer.clone());
        let bodies = records.iter().map(|record| record.body.clone().into_bytes()).collect();
        let proposed = self.log.propose(&subject, bodies).await;
        self.is_stuck.store(proposed.is_err(), Ordering::Relaxed);
        let outcomes = match proposed {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::warn!(tenant = %self.log.tenant(), %error, "verdicts that were told can't be recorded now; they wait in the spool");
                return Vec::new();
            }
        };
        let mut settled = Vec::new();
        for (record, outcome) in records.into_iter().zip(outcomes) {
            let stands = match outcome {
                Outcome::Posted { .. } | Outcome::Duplicate { .. } => true,
                // Signed by a key that was replaced: signed anew.
                Outcome::Rejected { refused: Refused::Signature, .. } => continue,
                _ => false,
            };
            if !stands {
                self.counts.void.fetch_add(1, Ordering::Relaxed);
                let SpoolPlace { id, number } = &record.place;
                tracing::error!(tenant = %self.log.tenant(), spool = id, number, ?outcome, "a verdict was told, and does not stand");
            }
            if let Some(key) = key_of(record) {
                self.forget(&key);
            }
            settled.push(record.place.clone());
        }
        settled
    }

    fn is_posted(&self, record: &Spooled) -> Result<bool, store::Error> {
        let Some((producer, source, id)) = key_of(record) else { return Ok(false) };
        let scope = Scope { producer: producer.as_str(), source: &source, id: &id, ours: true };
        Ok(self.log.find(scope)?.is_some())
    }
}

/// A place, and what says that it is fsynced.
type Kept = (SpoolPlace, tokio::sync::oneshot::Receiver<Result<(), NotSpooled>>);

/// Why a ruling is not told early. It is recorded first, as every other.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    NotSpooled(#[from] NotSpooled),
}

fn key(producer: &Ident, inquiry: &Inquiry<'_>) -> Key {
    (producer.clone(), inquiry.source.clone(), inquiry.id.clone())
}

fn key_of(record: &Spooled) -> Option<Key> {
    let event: serde_json::Value = serde_json::from_str(&record.body).ok()?;
    let text = |name: &str| Some(event[name].as_str()?.to_owned());
    Some((record.producer.clone(), text("source")?, text("id")?))
}
