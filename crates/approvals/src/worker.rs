//! The worker of one tenant: opens approvals, records reviews, mints and redeems tokens, applies deadlines.
//!
//! It holds nothing that can't be read again. What happened is in the ledger, and compare-and-swap on the
//! approval's subject decides between workers. The open approvals that it keeps in memory serve lists and
//! timers only; every decision reads the ledger.

mod backlog;
mod follow;
mod granted;
#[cfg(test)]
mod simulation;
mod timers;

pub use crate::commands::{
    Ask, Brief, CallInHand, Done, Error, FOR_AGENT, Hint, JudgedNow, Minted, NotOpened, Parties,
    RedeemRequest, Redeemed, Review, Words, over_since,
};

use crate::{
    chats::Chats,
    commands::{ApprovalReader, CardMaker, Commands, Files, Lists, Readiness, Tokens},
    deciding::{Clerk, Desk, Later, Terms},
    log::OfTenant,
    outbox::Sender,
    search::{Indexer, Search},
    setup::{Connections, Setup},
};
use backlog::{Backlog, Opener};
use follow::Follower;
use ledger::{Ledger, spool::Spool, tenant::Tenant};
use std::{path::PathBuf, sync::Arc};
use timers::Timers;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

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
    /// Keeps what is told before it is posted. `None`: nothing is.
    pub spool: Option<Arc<Spool>>,
    /// What a verdict is good for.
    pub terms: Terms,
}

/// The worker of one tenant: what handlers ask it, and the tasks that it runs.
pub struct Worker {
    /// Commands: reviews, cancellations, reports.
    pub commands: Commands,
    /// Tokens.
    pub tokens: Tokens,
    /// Decides calls by the policies in force.
    pub desk: Desk,
    /// Asks people about changes of policies, and carries them out.
    pub clerk: Clerk,
    /// Lists, and who may review.
    pub lists: Lists,
    /// Finds approvals in the whole log.
    pub search: Search,
    /// The tenant.
    pub tenant: Arc<Tenant>,
    tasks: Arc<Tasks>,
    stopping: watch::Sender<bool>,
}

/// What runs in the background.
struct Tasks {
    follower: Follower,
    opener: Arc<Opener>,
    timers: Timers,
    sender: Arc<Sender>,
    clerk: Clerk,
    later: Option<Arc<Later>>,
    indexer: Indexer,
}

impl Worker {
    /// A worker that has read nothing yet. [`Worker::run`] starts it.
    pub fn new(ledger: Arc<Ledger>, tenant: Arc<Tenant>, options: Options) -> Arc<Self> {
        let Options { public_url, dir, connections, chats, spool, terms } = options;
        let log = Arc::new(OfTenant { ledger: Arc::clone(&ledger), tenant: Arc::clone(&tenant) });
        let indexer = Indexer::new(ledger, Arc::clone(&tenant), Arc::<OfTenant>::clone(&log));
        let search = indexer.search();
        let files = files_of(Arc::clone(&tenant), dir, connections);
        let commands = Commands::new(Arc::<OfTenant>::clone(&log), log, files, public_url.into());
        let backlog = Arc::<Backlog>::default();
        let follower = Follower {
            reader: commands.reader.clone(),
            readiness: Arc::clone(&commands.readiness),
            backlog: Arc::clone(&backlog),
        };
        let tokens = Tokens { commands: commands.clone(), tenant: Arc::clone(&tenant) };
        let log = Arc::clone(&commands.reader.log);
        let readiness = || Arc::clone(&commands.readiness);
        let later = spool.map(|spool| Arc::new(Later::new(Arc::clone(&log), readiness(), spool)));
        let issuer = tokens.issuer();
        let desk =
            Desk::new(&commands.policies, readiness(), (later.clone(), Terms { issuer, ..terms }));
        let clerk = Clerk { log, commands: commands.clone() };
        let tasks = Arc::new(Tasks {
            follower,
            opener: Arc::new(Opener { backlog, commands: commands.clone() }),
            timers: Timers { commands: commands.clone() },
            sender: Arc::new(Sender::new(commands.clone(), chats)),
            clerk: clerk.clone(),
            later,
            indexer,
        });
        let lists = Lists {
            log: Arc::clone(&commands.reader.log),
            registry: Arc::clone(&commands.reader.registry),
            readiness: Arc::clone(&commands.readiness),
        };
        let stopping = watch::Sender::new(false);
        Arc::new(Self { commands, tokens, desk, clerk, lists, search, tenant, tasks, stopping })
    }

    /// Follows the log, opens approvals and applies deadlines until [`Worker::stop`]. No task of it runs
    /// afterwards.
    pub async fn run(self: Arc<Self>) {
        let (mut opening, mut sending) = (JoinSet::new(), JoinSet::new());
        let mut stopping = self.stopping.subscribe();
        let (showings, log) = (&self.commands.showings, self.commands.reader_log());
        let Tasks { follower, opener, timers, sender, clerk, later, indexer } = &*self.tasks;
        let posting = async {
            if let Some(later) = later {
                later.run().await;
            }
        };
        let work = async {
            tokio::join!(
                follower.run(),
                Arc::clone(opener).run(&mut opening),
                Arc::clone(sender).run(&mut sending),
                timers.run(),
                granted::run(clerk),
                showings.run(log),
                posting,
                indexer.run(),
            )
        };
        tokio::select! {
            _ = work => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        // These tasks use the runtime's timers, so they must end before the runtime does.
        tokio::join!(opening.shutdown(), sending.shutdown(), showings.finish(log));
    }

    /// Makes [`Worker::run`] end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// The first leaf index that an approval needs which is not over, or which is still to be opened. 0 before the log was
    /// read: then everything may be needed.
    pub fn needs_entries_from(&self) -> Option<u64> {
        let open = self.commands.reader.registry.open();
        let read = open.caught_up && open.followed >= self.tenant.published().size;
        let waiting = self.tasks.follower.backlog.first();
        if read { open.first_opening().into_iter().chain(waiting).min() } else { Some(0) }
    }

    /// Reads approvals.
    pub fn reader(&self) -> &ApprovalReader {
        &self.commands.reader
    }

    /// Whether decisions are possible, and the rules in force.
    pub fn readiness(&self) -> &Readiness {
        &self.commands.readiness
    }

    /// Makes cards.
    pub fn cards(&self) -> &CardMaker {
        &self.commands.cards
    }

    /// Hints for data planes. Only the first caller gets the receiver.
    pub fn hints(&self) -> Option<mpsc::Receiver<Hint>> {
        self.commands.reader.registry.hints()
    }
}

/// The rules and people in the folder of a tenant.
fn files_of(tenant: Arc<Tenant>, dir: PathBuf, connections: Connections) -> Files {
    Box::new(move |applied| {
        let setup = Setup::load(&dir, &tenant.name, &connections)?;
        let is_applied = applied
            .is_some_and(|body| tenant.with_keys(|ring| setup.is_applied(body, ring.salt_key())));
        Ok((setup, is_applied))
    })
}
