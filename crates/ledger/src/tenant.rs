//! One tenant's log as everybody but the writer sees it: what is published, whether it is halted, who may come in.

use crate::{
    clock::{APART_MAX, Clock, Wrong, later},
    guard::Mark,
    ident::Ident,
    journal::{self, Journal, embedded},
    keyring::{self, Keyring},
    log::{checkpoint::Checkpoint, note::Vkey},
    post::{Log, Outcome, Position},
    reader::Published,
    store::LogNumber,
    system::{ClaimId, KeyUse},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// Most messages of one tenant that may wait; more must wait outside.
pub const QUEUE_MESSAGES_MAX: usize = 8192;

/// Outcomes of a followed journal that are remembered for whoever appended the messages.
const OUTCOMES_MAX: usize = 65_536;

/// A message that the journal did not take is told of for so long; whoever sends on is refused again.
const REFUSED_LATELY: Duration = Duration::from_secs(30);

/// What became of one followed message; the salt says which message it was.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Journal sequence.
    pub seq: u64,
    /// Its `Countersign-Salt` header.
    pub salt: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// A tenant's handle. Shared; holds no lock while waiting.
pub struct Tenant {
    /// Its name.
    pub name: Ident,
    /// Its log's number in the store.
    pub number: LogNumber,
    /// Its log's origin.
    pub origin: String,
    /// Room in its queue, in messages.
    pub queue: Arc<Semaphore>,
    /// One at a time completes erasures.
    pub(crate) erasing: tokio::sync::Mutex<()>,
    keyring: RwLock<Keyring>,
    journal: Journal,
    /// What this process claims the log by, where other processes could post to its journal as well.
    claim: Option<ClaimId>,
    clock: Clock,
    position: Mutex<Position>,
    /// The journal keys in force where posting stands, oldest first.
    journal_keys: Mutex<Vec<Vkey>>,
    opened_size: u64,
    published: watch::Sender<Arc<Published>>,
    halted: RwLock<Option<String>>,
    /// Why its journal can't be followed now.
    waiting: RwLock<Option<String>>,
    /// Whether its journal was compared with what is posted since start.
    compared: AtomicBool,
    outcomes: Mutex<VecDeque<Followed>>,
    must_reach: Mutex<Option<Mark>>,
    unsigned: AtomicU64,
    receipts_dropped: AtomicU64,
    /// Why the journal took nothing, the last time it was asked to.
    refused: Mutex<Option<(Instant, String)>>,
    /// What was found in the database that can't be.
    damage: Mutex<Option<String>>,
}

impl Tenant {
    /// A handle that shows `published`.
    pub fn new(
        name: Ident,
        number: LogNumber,
        origin: String,
        keyring: Keyring,
        (journal, position): (Journal, Position),
        published: Published,
    ) -> Self {
        Self {
            name,
            number,
            origin,
            queue: Arc::new(Semaphore::new(QUEUE_MESSAGES_MAX)),
            erasing: tokio::sync::Mutex::new(()),
            keyring: RwLock::new(keyring),
            journal,
            claim: None,
            clock: Clock::new(position.time),
            opened_size: position.size,
            position: Mutex::new(position),
            journal_keys: Mutex::new(published.keys.journal()),
            published: watch::Sender::new(Arc::new(published)),
            halted: RwLock::new(None),
            waiting: RwLock::new(None),
            compared: AtomicBool::new(true),
            outcomes: Mutex::default(),
            must_reach: Mutex::default(),
            unsigned: AtomicU64::new(0),
            receipts_dropped: AtomicU64::new(0),
            refused: Mutex::default(),
            damage: Mutex::default(),
        }
    }

    /// The same, of a process that signs: where other processes may post to the journal, it claims the log first.
    #[must_use]
    pub(crate) fn claiming(mut self) -> Self {
        if matches!(self.journal, Journal::JetStream(_)) {
            let random: [u8; 32] = *keyring::random32();
            self.claim = Some(ClaimId::new(std::array::from_fn(|at| random[at])));
        }
        self
    }

    /// The claim that this process still has to post before it signs anything.
    pub(crate) fn unposted_claim(&self) -> Option<ClaimId> {
        let signs = self.is_signer(&self.position.lock().expect("no holder of the lock panics"));
        self.claim.clone().filter(|_| !signs)
    }

    /// Whether the last claim that was posted is this process's, or it needs none: nobody else reaches its journal.
    pub(crate) fn is_signer(&self, position: &Position) -> bool {
        self.claim.is_none() || self.claim == position.signer
    }

    /// Whether this process may sign, as far as claims go.
    pub fn signs(&self) -> bool {
        self.unposted_claim().is_none()
    }

    /// Tree size when this process opened the log: entries from there on were written by it.
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

    /// What is wrong with time, as far as this machine can tell: then no deadline can be judged.
    pub fn time_wrong(&self) -> Option<Wrong> {
        if let Journal::Embedded(_) = self.journal
            && let Err(wrong) = self.clock.look()
        {
            return Some(wrong);
        }
        let newest = self.position.lock().expect("no holder of the lock panics").time;
        let now = embedded::now();
        (newest > later(now, APART_MAX)).then_some(Wrong::Ahead { now, newest })
    }

    /// Where posting stands; ahead of what is published only while a restored backup catches up.
    pub fn position(&self) -> Position {
        self.position.lock().expect("no holder of the lock panics").clone()
    }

    /// Leaf index of the last `rules` entry that is posted.
    pub fn last_rules(&self) -> Option<u64> {
        self.position.lock().expect("no holder of the lock panics").rules
    }

    /// The journal keys in force where posting stands, oldest first.
    pub(crate) fn journal_keys(&self) -> Vec<Vkey> {
        self.journal_keys.lock().expect("no holder of the lock panics").clone()
    }

    /// Posting came so far.
    pub(crate) fn set_posted(&self, log: &Log) {
        *self.position.lock().expect("no holder of the lock panics") = log.position.clone();
        *self.journal_keys.lock().expect("no holder of the lock panics") = log.keys.journal();
    }

    /// The newest published state.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// Every state from now on.
    pub fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Shows a newer state.
    pub(crate) fn publish(&self, published: Arc<Published>) {
        self.published.send_replace(published);
    }

    /// Why the log stands still, if it does.
    pub fn halted(&self) -> Option<String> {
        self.halted.read().expect("no holder of the lock panics").clone()
    }

    /// Stops the log; only a restart after `recover` starts it again. The first reason is kept.
    pub(crate) fn halt(&self, reason: String) {
        let mut halted = self.halted.write().expect("no holder of the lock panics");
        halted.get_or_insert(reason);
        drop(halted);
        // Whoever waits for a new state must look.
        self.published.send_modify(|_| {});
    }

    /// Its journal could not be asked at start: nothing is appended before it was followed and compared.
    pub(crate) fn wait_for_journal(&self, why: String) {
        tracing::warn!(tenant = %self.name, why, "the log waits for its journal");
        self.compared.store(false, Ordering::Release);
        self.set_waiting(Some(why));
    }

    /// Why its journal can't be followed now; `None`: it is followed.
    pub(crate) fn set_waiting(&self, why: Option<String>) {
        if why.is_none() {
            self.compared.store(true, Ordering::Release);
        }
        *self.waiting.write().expect("no holder of the lock panics") = why;
    }

    /// The journal message that told what stood in a hole, and is not posted yet: nothing is signed before.
    pub fn rests_on(&self) -> Option<u64> {
        self.position().provisional.last().copied()
    }

    /// Keys whose signature says that a journal message is ours: those in force, and those whose files are here.
    pub(crate) fn keys_at_hand(&self) -> Vec<Vkey> {
        let mut keys = self.journal_keys();
        keys.extend(self.with_keys(|ring| ring.vkeys(KeyUse::Journal)));
        keys.dedup();
        keys
    }

    /// Whether the server may append messages of its own now: the log is not halted, waits for nothing, and has reached
    /// what was signed before.
    pub fn may_act(&self) -> bool {
        self.halted().is_none()
            && self.waiting().is_none()
            && self.must_reach().is_none()
            && self.rests_on().is_none()
            && self.signs()
    }

    /// Why the log waits for its journal, if it does: it is late, has no quorum, or is full. It goes on by itself.
    pub fn waiting(&self) -> Option<String> {
        self.waiting.read().expect("no holder of the lock panics").clone()
    }

    /// Refuses to append to a journal that nobody compared yet with what is posted.
    pub(crate) fn may_append(&self) -> Result<(), journal::Error> {
        if self.compared.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(journal::Error::Unavailable(self.waiting().unwrap_or_default()))
    }

    /// Signs a checkpoint with each of `keys`.
    pub fn sign<'a>(
        &self,
        checkpoint: &Checkpoint,
        keys: impl Iterator<Item = &'a Vkey>,
    ) -> Result<String, keyring::Error> {
        let ring = self.keyring.read().expect("no holder of the lock panics");
        let signers: Vec<_> = keys.map(|key| ring.signer(key)).collect::<Result<_, _>>()?;
        if signers.is_empty() {
            return Err(keyring::Error::Missing(self.origin.clone()));
        }
        Ok(checkpoint.sign(signers))
    }

    /// Looks at the keys.
    pub fn with_keys<T>(&self, look: impl FnOnce(&Keyring) -> T) -> T {
        look(&self.keyring.read().expect("no holder of the lock panics"))
    }

    /// A key that is in force and signs messages or tokens, and whose file is not here.
    pub fn missing_key(&self) -> Option<keyring::Error> {
        if self.halted().is_some() {
            return None;
        }
        let published = self.published();
        let newest = [published.keys.journal().pop(), published.keys.token().pop()];
        self.with_keys(|ring| newest.iter().flatten().find_map(|key| ring.signer(key).err()))
    }

    /// Makes the next key of a use; it signs nothing before its entry is posted.
    pub fn generate_key(&self, usage: KeyUse) -> Result<Vkey, keyring::Error> {
        let mut ring = self.keyring.write().expect("no holder of the lock panics");
        ring.generate(usage, &self.origin)
    }

    /// Keeps what became of followed messages for a while.
    pub(crate) fn remember(&self, new: Vec<Followed>) {
        let mut outcomes = self.outcomes.lock().expect("no holder of the lock panics");
        outcomes.extend(new);
        let excess = outcomes.len().saturating_sub(OUTCOMES_MAX);
        outcomes.drain(..excess);
    }

    /// What became of the message at `seq` that carried `salt`; `None` if that was too long ago, or if the message
    /// that was posted under that number is another one: then the broker gave the number twice.
    pub fn outcome(&self, seq: u64, salt: &str) -> Option<Outcome> {
        let outcomes = self.outcomes.lock().expect("no holder of the lock panics");
        // Ascending: a new epoch, where numbers come again, begins with a new process.
        let at = outcomes.partition_point(|followed| followed.seq < seq);
        let found = outcomes.get(at).filter(|followed| followed.seq == seq)?;
        (found.salt.as_deref() == Some(salt)).then(|| found.outcome.clone())
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

    /// Messages outside `decisions.` without our signature since start: more than 0 is an alarm.
    pub fn unsigned(&self) -> u64 {
        self.unsigned.load(Ordering::Relaxed)
    }

    /// Notes whether the journal took what was appended.
    #[cfg(feature = "jetstream")]
    pub(crate) fn note_append<T>(&self, appended: &Result<T, journal::Error>) {
        let refused = match appended {
            Ok(_) => None,
            Err(journal::Error::Unavailable(why) | journal::Error::Unknown(why)) => {
                Some((Instant::now(), why.clone()))
            }
            // It answered: it is there.
            Err(_) => return,
        };
        *self.refused.lock().expect("no holder of the lock panics") = refused;
    }

    /// Why the journal took nothing, if it did not take the last message, lately: out of room, without quorum, away.
    pub fn journal_refuses(&self) -> Option<String> {
        let refused = self.refused.lock().expect("no holder of the lock panics").clone();
        refused.filter(|(at, _)| at.elapsed() < REFUSED_LATELY).map(|(_, why)| why)
    }

    /// Notes that the database holds something that can't be; the first finding is kept.
    pub fn note_damage(&self, what: &str) {
        let mut damage = self.damage.lock().expect("no holder of the lock panics");
        if damage.is_none() {
            tracing::error!(tenant = %self.name, what, "the database is damaged");
        }
        damage.get_or_insert_with(|| what.to_owned());
    }

    /// What was found in the database that can't be, since start.
    pub fn damage(&self) -> Option<String> {
        self.damage.lock().expect("no holder of the lock panics").clone()
    }

    pub(crate) fn count_receipt_dropped(&self) {
        self.receipts_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Receipts that were asked for by header and not sent, since start.
    pub fn receipts_dropped(&self) -> u64 {
        self.receipts_dropped.load(Ordering::Relaxed)
    }
}
