//! The worker of one tenant: opens approvals, takes answers, mints and redeems, lets time pass.
//!
//! It holds nothing that can't be read again: what happened is in the ledger, and compare-and-swap on the approval's
//! subject decides between workers. What it keeps in memory (the approvals that are not over) is for listing and for
//! timers only; every decision reads the ledger.

mod brief;
mod clock;
mod execute;
mod follow;
mod look;
mod open;
mod openings;
mod read;
mod room;
mod rules;
mod tick;
mod token;

pub use brief::{Brief, Parties, over_since};
pub use execute::{Done, Review};
pub use open::NotOpened;
pub use token::{CallInHand, Minted, RedeemRequest, Redeemed};

use crate::{
    outbox::{Chats, Outbox},
    setup::{Connections, Setup},
};
use data_encoding::HEXLOWER;
use decider::{
    approval::{Phase, World},
    decision::{Frozen, PausedCall},
    rule::Rule,
};
use ledger::{
    ident::Ident,
    journal::{self, embedded},
    keyring,
    ledger::Ledger,
    reader::Published,
    store,
    tenant::Tenant,
    time::Nanos,
};
use openings::Openings;
use room::Room;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

/// Hints for data planes that wait to be sent; more are dropped, for they may be lost.
const HINTS_MAX: usize = 4096;
/// Pause while nothing is decided here.
const NOT_READY_AGAIN: Duration = Duration::from_secs(10);
/// Longest wait for the entry of a state to be published.
const PUBLISHED_WAIT: Duration = Duration::from_secs(20);

/// Why the worker can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such approval.
    #[error("there is no such approval")]
    NotFound,
    /// Rules and people are not in force, or the clock is wrong; the text says what to do.
    #[error("{0}")]
    NotReady(String),
    /// Other workers were faster, again and again; nothing was done.
    #[error("other changes of this approval came first; try again")]
    Contended,
    /// It is not known whether it was done; asking again is safe.
    #[error("it is not known whether it was done; ask again")]
    Unknown,
    /// The ledger refuses or failed.
    #[error(transparent)]
    Ledger(#[from] ledger::ledger::Error),
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A token can't be made or read.
    #[error(transparent)]
    Token(#[from] crate::token::Error),
}

/// That an approval has changed, for the data plane that opened it.
#[derive(Clone, Debug)]
pub struct Hint {
    /// Whose.
    pub producer: Ident,
    /// Which.
    pub approval: Ident,
    /// Its version.
    pub version: u64,
    /// Where it stands.
    pub phase: Phase,
}

/// Where a worker finds what is not in the log.
#[derive(Clone)]
pub struct Options {
    /// What clients see as our address, without a slash at the end.
    pub public_url: String,
    /// The folder with a folder of rules and people for each tenant.
    pub dir: PathBuf,
    /// Slack, Teams and webhook connections of the configuration.
    pub connections: Connections,
    /// The same, opened.
    pub chats: Arc<Chats>,
}

/// Rules, people and channels that decide.
#[derive(Clone)]
struct InForce {
    /// Leaf index of the `rules` entry that the files were compared with; none: there was none.
    entry: Option<u64>,
    /// Them; or why nothing is decided.
    setup: Result<Arc<Setup>, String>,
}

/// One tenant's worker.
pub struct Worker {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    options: Options,
    in_force: RwLock<InForce>,
    room: Mutex<Room>,
    /// Counts every change of the room.
    changed: watch::Sender<u64>,
    /// Entries before this index were looked at.
    followed: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    /// Random: tells this worker's claims from those of others.
    name: String,
    outbox: Outbox,
    /// Wakes the outbox.
    cards: Notify,
    /// Wakes the timer.
    ticks: Notify,
    /// Decisions that are still to be opened.
    openings: Openings,
    /// Wakes whoever waits until something can be decided.
    ready_again: Notify,
    hints: mpsc::Sender<Hint>,
    hints_out: Mutex<Option<mpsc::Receiver<Hint>>>,
    /// Our clock and the journal's.
    compared: clock::Compared,
    /// Decisions that opened nothing since start, by reason.
    not_opened: Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

impl Worker {
    /// A worker that knows nothing yet; [`Worker::run`] makes it work.
    pub fn new(ledger: Arc<Ledger>, tenant: Arc<Tenant>, options: Options) -> Arc<Self> {
        let (hints, hints_out) = mpsc::channel(HINTS_MAX);
        let setup = Err("The rules were not read yet; try again in a moment.".to_owned());
        let in_force = RwLock::new(InForce { entry: None, setup });
        Arc::new(Self {
            ledger,
            tenant,
            options,
            in_force,
            room: Mutex::default(),
            changed: watch::Sender::new(0),
            followed: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            name: HEXLOWER.encode(&keyring::random32()[..8]),
            outbox: Outbox::default(),
            cards: Notify::new(),
            ticks: Notify::new(),
            openings: Openings::default(),
            ready_again: Notify::new(),
            hints,
            hints_out: Mutex::new(Some(hints_out)),
            compared: clock::Compared::default(),
            not_opened: Mutex::default(),
        })
    }

    /// Follows the log, opens approvals and lets time pass, until it is told to stop. Afterwards nothing of it runs.
    pub async fn run(self: Arc<Self>) {
        let (mut opening, mut sending) = (JoinSet::new(), JoinSet::new());
        let mut stopping = self.stopping.subscribe();
        let work = async {
            tokio::join!(
                Arc::clone(&self).follow(),
                Arc::clone(&self).open_found(&mut opening),
                Arc::clone(&self).send_cards(&mut sending),
                self.pass_time(),
            )
        };
        tokio::select! {
            _ = work => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        // They use the runtime's timers, and must not outlive them.
        tokio::join!(opening.shutdown(), sending.shutdown());
    }

    /// Makes [`Worker::run`] end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Whose.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The name under which this worker claims cards.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn chats(&self) -> &Chats {
        &self.options.chats
    }

    /// Completes when cards may have to be sent.
    pub(crate) async fn cards_changed(&self) {
        self.cards.notified().await;
    }

    /// What clients see as our address, without a slash at the end.
    pub fn public_url(&self) -> &str {
        &self.options.public_url
    }

    /// Changes of the approvals that are listed; every change wakes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Hints for data planes; the first caller gets them.
    pub fn hints(&self) -> Option<mpsc::Receiver<Hint>> {
        self.hints_out.lock().expect("no holder of the lock panics").take()
    }

    /// What decides now: as [`Worker::ready`], with clocks that were compared a moment ago.
    pub async fn decides(&self) -> Result<Arc<Setup>, Error> {
        if self.tenant.halted().is_none() {
            self.clock_stands().await?;
        }
        self.ready()
    }

    /// Whether it can decide, by what is known: the clocks were together, everything posted at start was looked at, and
    /// the files are the rules of the last entry.
    pub fn ready(&self) -> Result<Arc<Setup>, Error> {
        if let Some(reason) = self.tenant.halted() {
            return Err(ledger::ledger::Error::Halted(reason).into());
        }
        self.judge_clock()?;
        if !self.is_caught_up() {
            return Err(Error::NotReady("The log is being read; try again in a moment.".into()));
        }
        self.setup_now()
    }

    /// Completes when [`Worker::ready`] may have changed its mind for the better.
    async fn until_ready(&self) {
        loop {
            let again = self.ready_again.notified();
            if self.ready().is_ok() {
                return;
            }
            let _ = tokio::time::timeout(NOT_READY_AGAIN, again).await;
        }
    }

    /// Whether everything that was in the log at start was looked at.
    fn is_caught_up(&self) -> bool {
        self.room.lock().expect("no holder of the lock panics").caught_up
    }

    /// Decisions that needed approval and opened nothing since start, by reason.
    pub fn not_opened(&self) -> Vec<(&'static str, u64)> {
        let counts = self.not_opened.lock().expect("no holder of the lock panics");
        counts.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    /// The world at this moment, as far as this approval is concerned.
    fn world(
        setup: &Setup,
        call: &PausedCall,
        frozen: Option<&Frozen>,
        clock: Option<u64>,
    ) -> World {
        let rule = frozen.and_then(|frozen| {
            call.with_facts(frozen, |facts| setup.rule_for(facts).map(Rule::digest))
        });
        let named = frozen.and_then(|frozen| frozen.owner.as_deref());
        let owners = setup.owners(&call.agent, named);
        World { now: now(), rule: rule.flatten(), people: setup.active(), owners, clock }
    }

    /// Waits until an entry is published: before that nothing of it is told to anybody (P8).
    async fn published_with(&self, index: u64) -> Result<Arc<Published>, Error> {
        let mut states = self.tenant.watch();
        let reached = states.wait_for(|published| published.size > index);
        match tokio::time::timeout(PUBLISHED_WAIT, reached).await {
            Ok(Ok(published)) => Ok(Arc::clone(&published)),
            _ => Err(Error::Unknown),
        }
    }
}

/// Our clock.
fn now() -> Nanos {
    embedded::now()
}

/// Whether an append lost compare-and-swap.
pub(crate) fn is_conflict(error: &ledger::ledger::Error) -> bool {
    matches!(error, ledger::ledger::Error::Journal(journal::Error::Conflict))
}
