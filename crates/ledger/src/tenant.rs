//! One tenant's log as all but the writer see it: what is published, whether it is halted and may append.

mod ended;
mod keys;
mod outcomes;
mod peers;
mod replica;

pub use outcomes::Followed;
pub use peers::{Alarms, Peer};
pub use replica::{Ready, Replica};

use crate::{
    clock::{APART_MAX, Clock, WallClock, Wrong, later},
    guard::Mark,
    ident::Ident,
    journal::{self, Journal},
    keyring::{self, Keyring},
    log::note::Vkey,
    own_signatures::OwnSignatures,
    post::{Log, Outcome, Position},
    reader::Published,
    store::LogNumber,
    system::ClaimId,
    time::Nanos,
};
use outcomes::Outcomes;
use std::{
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// Most messages of one tenant that may wait here; further ones wait in their callers.
pub const QUEUE_MESSAGES_MAX: usize = 8192;
/// Time for which a refusal by the journal is reported.
const REFUSED_LATELY: Duration = Duration::from_secs(30);

/// A handle on a tenant. Shared; holds no lock while waiting.
pub struct Tenant {
    /// Its name.
    pub name: Ident,
    /// Its log's number in the store.
    pub number: LogNumber,
    /// Its log's origin.
    pub origin: String,
    /// Free places in its queue, in messages.
    pub queue: Arc<Semaphore>,
    /// Lets one task at a time complete erasures.
    pub(crate) erasing: tokio::sync::Mutex<()>,
    pub(crate) own_signatures: Arc<OwnSignatures>,
    keyring: RwLock<Keyring>,
    journal: Journal,
    /// The claim by which this process signs the log. `None` if no other process can reach its journal.
    claim: Option<ClaimId>,
    /// `None` if this server signs the log alone.
    replica: Option<Replica>,
    /// True once another process has claimed the log.
    pub(crate) fenced: AtomicBool,
    clock: Clock,
    position: Mutex<Position>,
    /// The journal keys in force where posting is now, oldest first.
    journal_keys: Mutex<Vec<Vkey>>,
    opened_size: u64,
    published: watch::Sender<Arc<Published>>,
    halted: RwLock<Option<String>>,
    /// Why its journal can't be followed now.
    waiting: RwLock<Option<String>>,
    /// True once its journal was compared, since start, with what is posted.
    compared: AtomicBool,
    outcomes: Outcomes,
    must_reach: Mutex<Option<Mark>>,
    unsigned: AtomicU64,
    receipts_dropped: AtomicU64,
    /// Why the journal accepted nothing at the last attempt, and when.
    refused: Mutex<Option<(Instant, String)>>,
    /// The first damage found in the database.
    damage: Mutex<Option<String>>,
}

impl Tenant {
    /// A handle on `log` that shows `published`.
    pub fn new(
        log: &Log,
        keyring: Keyring,
        journal: Journal,
        published: Published,
        clock: WallClock,
    ) -> Self {
        let position = log.position.clone();
        Self {
            name: log.tenant.clone(),
            number: log.number,
            origin: log.origin.clone(),
            queue: Arc::new(Semaphore::new(QUEUE_MESSAGES_MAX)),
            erasing: tokio::sync::Mutex::new(()),
            own_signatures: Arc::clone(&log.own_signatures),
            keyring: RwLock::new(keyring),
            journal,
            claim: None,
            replica: None,
            fenced: AtomicBool::new(false),
            clock: Clock::new(clock, position.time),
            opened_size: position.size,
            position: Mutex::new(position),
            journal_keys: Mutex::new(published.keys.journal()),
            published: watch::Sender::new(Arc::new(published)),
            halted: RwLock::new(None),
            waiting: RwLock::new(None),
            compared: AtomicBool::new(true),
            outcomes: Outcomes::default(),
            must_reach: Mutex::default(),
            unsigned: AtomicU64::new(0),
            receipts_dropped: AtomicU64::new(0),
            refused: Mutex::default(),
            damage: Mutex::default(),
        }
    }

    /// The same for a process that signs. If other processes can reach the journal, it claims the log first.
    #[must_use]
    pub(crate) fn claiming(mut self, one_signer: bool) -> Self {
        if one_signer && self.replica.is_none() && matches!(self.journal, Journal::JetStream(_)) {
            let random: [u8; 32] = *keyring::random32();
            self.claim = Some(ClaimId::new(std::array::from_fn(|at| random[at])));
        }
        self
    }

    /// The claim that this process must post before it signs anything.
    pub(crate) fn unposted_claim(&self) -> Option<ClaimId> {
        let signs = self.is_signer(&self.position.lock().expect("no holder of the lock panics"));
        self.claim.clone().filter(|_| !signs)
    }

    /// True if the last posted claim is this process's, or if it needs none because no other process reaches
    /// its journal.
    pub(crate) fn is_signer(&self, position: &Position) -> bool {
        self.claim.is_none() || self.claim == position.signer
    }

    /// True if another process has claimed the log since this one did.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Tree size when this process opened the log. It wrote all later entries itself.
    pub fn opened_size(&self) -> u64 {
        self.opened_size
    }

    /// Its journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What its log knows about time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What this machine's clock says.
    pub fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// The present time by the clock that gives messages of the journal their time. Appends nothing.
    pub async fn journal_time(&self) -> Result<Nanos, journal::Error> {
        match &self.journal {
            Journal::Embedded(_) => Ok(self.now()),
            #[cfg(feature = "jetstream")]
            Journal::JetStream(stream) => stream.time().await,
            Journal::Absent => Err(journal::port::absent()),
        }
    }

    /// What is wrong with the clock, as far as this machine can know. While this is set, no deadline can be
    /// judged.
    pub fn time_wrong(&self) -> Option<Wrong> {
        if let Journal::Embedded(_) = self.journal
            && let Err(wrong) = self.clock.look()
        {
            return Some(wrong);
        }
        let newest = self.position.lock().expect("no holder of the lock panics").time;
        let now = self.now();
        (newest > later(now, APART_MAX)).then_some(Wrong::Ahead { now, newest })
    }

    /// The commit record. It is ahead of what is published only while a restored backup catches up.
    pub fn position(&self) -> Position {
        self.position.lock().expect("no holder of the lock panics").clone()
    }

    /// Leaf index of the last `rules` entry that is posted.
    pub fn last_rules(&self) -> Option<u64> {
        self.position.lock().expect("no holder of the lock panics").rules
    }

    /// The journal keys in force where posting is now, oldest first.
    pub(crate) fn journal_keys(&self) -> Vec<Vkey> {
        self.journal_keys.lock().expect("no holder of the lock panics").clone()
    }

    /// Notes how far posting came.
    pub(crate) fn set_posted(&self, log: &Log) {
        *self.position.lock().expect("no holder of the lock panics") = log.position.clone();
        *self.journal_keys.lock().expect("no holder of the lock panics") = log.keys.journal();
    }

    /// The newest published state.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// Receives every state from now on.
    pub fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Publishes a newer state.
    pub(crate) fn publish(&self, published: Arc<Published>) {
        self.published.send_replace(published);
    }

    /// Why the log is halted, if it is.
    pub fn halted(&self) -> Option<String> {
        self.halted.read().expect("no holder of the lock panics").clone()
    }

    /// Halts the log. Only a restart after `recover` ends it. The first reason is kept.
    pub(crate) fn halt(&self, reason: String) {
        self.halted.write().expect("no holder of the lock panics").get_or_insert(reason);
        // Wake the tasks that wait for a new state, so that they see the halt.
        self.published.send_modify(|_| {});
    }

    /// Its journal could not be asked at start. Nothing is appended before it was followed and compared.
    pub(crate) fn wait_for_journal(&self, why: String) {
        tracing::warn!(tenant = %self.name, why, "the log waits for its journal");
        self.compared.store(false, Ordering::Release);
        self.set_waiting(Some(why));
    }

    /// Sets why its journal can't be followed now. `None` if it is followed.
    pub(crate) fn set_waiting(&self, why: Option<String>) {
        if why.is_none() {
            self.compared.store(true, Ordering::Release);
        }
        *self.waiting.write().expect("no holder of the lock panics") = why;
    }

    /// Sequence of the message that explained a hole and is not posted yet. Nothing is signed before it is
    /// posted.
    pub fn rests_on(&self) -> Option<u64> {
        self.position().provisional.last().copied()
    }

    /// True if the server may append messages of its own now: the log is not halted, waits for nothing, and
    /// has reached what was signed before.
    pub fn may_act(&self) -> bool {
        self.halted().is_none()
            && self.waiting().is_none()
            && self.must_reach().is_none()
            && self.rests_on().is_none()
            && self.signs()
    }

    /// Why the log waits for its journal, if it does: the journal is late, has no quorum, or is full. The log
    /// continues by itself.
    pub fn waiting(&self) -> Option<String> {
        self.waiting.read().expect("no holder of the lock panics").clone()
    }

    /// Refuses to append before the journal was compared with what is posted.
    pub(crate) fn may_append(&self) -> Result<(), journal::Error> {
        if self.compared.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(journal::Error::Unavailable(self.waiting().unwrap_or_default()))
    }

    /// Remembers outcomes of followed messages for a while.
    pub(crate) fn remember(&self, new: Vec<Followed>) {
        self.outcomes.remember(new);
    }

    /// The event's `id` and the outcome of the message at `seq` that carried `salt`. `None` if it was too long ago, or
    /// if another message was posted under that sequence because the broker assigned it twice.
    pub fn outcome(&self, seq: u64, salt: &str) -> Option<(Option<String>, Outcome)> {
        self.outcomes.find(seq, salt)
    }

    /// The mark that a restored backup must reach before it signs again.
    pub fn must_reach(&self) -> Option<Mark> {
        self.must_reach.lock().expect("no holder of the lock panics").clone()
    }

    pub(crate) fn set_must_reach(&self, mark: Option<Mark>) {
        *self.must_reach.lock().expect("no holder of the lock panics") = mark;
    }

    pub(crate) fn count_unsigned(&self, more: u64) {
        self.unsigned.fetch_add(more, Ordering::Relaxed);
    }

    /// Number of messages outside `decisions.` without our signature since start. More than 0 is an alarm.
    pub fn unsigned(&self) -> u64 {
        self.unsigned.load(Ordering::Relaxed)
    }

    /// Notes whether the journal accepted an append.
    #[cfg(feature = "jetstream")]
    pub(crate) fn note_append<T>(&self, appended: &Result<T, journal::Error>) {
        let refused = match appended {
            Ok(_) => None,
            Err(journal::Error::Unavailable(why) | journal::Error::Unknown(why)) => {
                Some((Instant::now(), why.clone()))
            }
            // It answered, so it is reachable.
            Err(_) => return,
        };
        *self.refused.lock().expect("no holder of the lock panics") = refused;
    }

    /// Why the journal accepted nothing, if it refused the last message recently: no space, no quorum,
    /// unreachable.
    pub fn journal_refuses(&self) -> Option<String> {
        let refused = self.refused.lock().expect("no holder of the lock panics").clone();
        refused.filter(|(at, _)| at.elapsed() < REFUSED_LATELY).map(|(_, why)| why)
    }

    /// Notes damage in the database. The first finding is kept.
    pub fn note_damage(&self, what: &str) {
        let mut damage = self.damage.lock().expect("no holder of the lock panics");
        if damage.is_none() {
            tracing::error!(tenant = %self.name, what, "the database is damaged");
        }
        damage.get_or_insert_with(|| what.to_owned());
    }

    /// The first damage found in the database since start.
    pub fn damage(&self) -> Option<String> {
        self.damage.lock().expect("no holder of the lock panics").clone()
    }

    pub(crate) fn count_receipt_dropped(&self) {
        self.receipts_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of receipts since start that were requested by header and not sent.
    pub fn receipts_dropped(&self) -> u64 {
        self.receipts_dropped.load(Ordering::Relaxed)
    }
}
