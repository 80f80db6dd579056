//! The worker of one tenant: opens approvals, records reviews, mints and redeems tokens, applies deadlines.
//!
//! It holds nothing that can't be read again. What happened is in the ledger, and compare-and-swap on the
//! approval's subject decides between workers. The open approvals that it keeps in memory serve lists and
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

/// Most hints for data planes that wait to be sent. Further ones are dropped: hints may be lost.
const HINTS_MAX: usize = 4096;
/// Pause while decisions are not possible here.
const NOT_READY_AGAIN: Duration = Duration::from_secs(10);
/// Longest wait until an entry is published.
const PUBLISHED_WAIT: Duration = Duration::from_secs(20);

/// Why the worker can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such approval.
    #[error("there is no such approval")]
    NotFound,
    /// Rules and people are not in force, or a clock is wrong. The text says what to do.
    #[error("{0}")]
    NotReady(String),
    /// Other workers won every attempt. Nothing was done.
    #[error("other changes of this approval came first; try again")]
    Contended,
    /// The outcome is unknown. It is safe to ask again.
    #[error("the outcome is unknown; repeat the request")]
    Unknown,
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] ledger::ledger::Error),
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A token can't be made or read.
    #[error(transparent)]
    Token(#[from] crate::token::Error),
}

/// Tells the data plane that paused a call that its approval has changed.
#[derive(Clone, Debug)]
pub struct Hint {
    /// The producer to tell.
    pub producer: Ident,
    /// Id of the approval.
    pub approval: Ident,
    /// Its new version.
    pub version: u64,
    /// Its new phase.
    pub phase: Phase,
}

/// What the worker needs beside the log.
#[derive(Clone)]
pub struct Options {
    /// Our address as clients see it, without a slash at the end.
    pub public_url: String,
    /// The folder that holds a folder of rules and people for each tenant.
    pub dir: PathBuf,
    /// Slack, Teams and webhook connections in the configuration.
    pub connections: Connections,
    /// The same connections, opened.
    pub chats: Arc<Chats>,
}

/// The rules, people and channels in force.
#[derive(Clone)]
struct InForce {
    /// Leaf index of the `rules` entry that the files were compared with. `None` if the log has none.
    entry: Option<u64>,
    /// The rules in force, or why nothing is decided.
    setup: Result<Arc<Setup>, String>,
}

/// One tenant's worker.
pub struct Worker {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    options: Options,
    in_force: RwLock<InForce>,
    room: Mutex<Room>,
    /// Counts the changes of the approvals in memory.
    changed: watch::Sender<u64>,
    /// Entries before this leaf index have been read.
    followed: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    /// Random name that tells this worker's claims from those of other workers.
    name: String,
    outbox: Outbox,
    /// Wakes the task that sends cards.
    cards: Notify,
    /// Wakes the task that applies deadlines.
    ticks: Notify,
    /// Decisions whose approvals are still to be opened.
    openings: Openings,
    /// Wakes tasks that wait until decisions are possible.
    ready_again: Notify,
    hints: mpsc::Sender<Hint>,
    hints_out: Mutex<Option<mpsc::Receiver<Hint>>>,
    /// The last comparison of our clock with the journal's.
    compared: clock::Compared,
    /// Number of decisions since start that opened no approval, by reason.
    not_opened: Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

impl Worker {
    /// A worker that has read nothing yet. [`Worker::run`] starts it.
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

    /// Follows the log, opens approvals and applies deadlines until [`Worker::stop`]. No task of it runs
    /// afterwards.
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
        // These tasks use the runtime's timers, so they must end before the runtime does.
        tokio::join!(opening.shutdown(), sending.shutdown());
    }

    /// Makes [`Worker::run`] end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// The worker's tenant.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The name in this worker's claims on cards.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn chats(&self) -> &Chats {
        &self.options.chats
    }

    /// Waits until cards may have to be sent.
    pub(crate) async fn cards_changed(&self) {
        self.cards.notified().await;
    }

    /// Our address as clients see it, without a slash at the end.
    pub fn public_url(&self) -> &str {
        &self.options.public_url
    }

    /// Counts changes of the listed approvals. Every change wakes the receiver.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Hints for data planes. Only the first caller gets the receiver.
    pub fn hints(&self) -> Option<mpsc::Receiver<Hint>> {
        self.hints_out.lock().expect("no holder of the lock panics").take()
    }

    /// What is in force, as [`Worker::ready`] gives it, after a comparison of the clocks within the last
    /// seconds.
    pub async fn decides(&self) -> Result<Arc<Setup>, Error> {
        if self.tenant.halted().is_none() {
            self.clock_stands().await?;
        }
        self.ready()
    }

    /// What is in force, if decisions are possible as far as is known: the clocks agree, everything posted at
    /// start has been read, and the files hold the rules of the last `rules` entry.
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

    /// Waits until [`Worker::ready`] succeeds.
    async fn until_ready(&self) {
        loop {
            let again = self.ready_again.notified();
            if self.ready().is_ok() {
                return;
            }
            let _ = tokio::time::timeout(NOT_READY_AGAIN, again).await;
        }
    }

    /// True once everything that was in the log at start has been read.
    fn is_caught_up(&self) -> bool {
        self.room.lock().expect("no holder of the lock panics").caught_up
    }

    /// Number of decisions since start that needed approval and opened none, by reason.
    pub fn not_opened(&self) -> Vec<(&'static str, u64)> {
        let counts = self.not_opened.lock().expect("no holder of the lock panics");
        counts.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    /// The world at this moment, for this approval.
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

    /// Waits until an entry is published. Nothing of it may be answered before (P8).
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

/// True if an append lost compare-and-swap.
pub(crate) fn is_conflict(error: &ledger::ledger::Error) -> bool {
    matches!(error, ledger::ledger::Error::Journal(journal::Error::Conflict))
}
