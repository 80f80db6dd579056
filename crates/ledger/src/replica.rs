//! One replica of a log that several servers sign: a checkpoint is shown only after a majority of them has cosigned it, each
//! from its own tiles and its own memory of what it cosigned (P21).
//!
//! In scope: cosigning, proposing, the register, how the others stand. Out of scope: showing what is cosigned (`writer`),
//! what a majority is (`log::replicas`).

mod cosigner;
pub mod join;
pub mod lost;
mod promised;
mod propose;
mod put_back;
mod seen;
mod statements;
mod steps;
mod taking;
mod tenants;

pub use put_back::{Put, put_back};
pub use statements::{Lacks, lacking, not_erased, not_ready, not_shown, silent, until_shown};
pub use tenants::{
    announce, answer_about_tenants, members_in_force, not_deleted, not_made, take_up, uneven,
    without_files,
};

use crate::{
    guard::Shared,
    ident::Ident,
    journal::{
        Error, Journal,
        jetstream::{
            Connection,
            peers::Peers,
            register::{COPIES_MIN, Register},
        },
    },
    keyring,
    ledger::Ledger,
    tenant::{Replica, Tenant},
    writer::FIRST_DIFFERS,
};
use seen::Seen;
use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use steps::Steps;
use taking::kept;
use tokio::sync::{Semaphore, mpsc, watch};

/// Pause before the register is followed again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the other replicas are asked how they stand, and how long they have for it.
const HAIL_EVERY: Duration = Duration::from_secs(2);
const HAIL_WAIT: Duration = Duration::from_secs(1);
/// The same while no majority answers.
const HAIL_ALONE: Duration = Duration::from_millis(250);
/// Most requests of other replicas that are answered at once.
const ANSWERS_MAX: usize = 32;
/// How many of them may wait for this replica's posting. The others are answered by what is posted.
const WAITS_MAX: usize = 8;
/// How often in a row nobody may be there under this replica's own name, until it subscribes again.
const UNHEARD_MAX: u32 = 3;
/// Least time between two writes of what is shown.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Most messages of the register that wait here.
const TOLD_MAX: usize = 64;

/// This replica, for one log.
struct Quorum {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    guard: Shared,
    peers: Peers,
    /// Names this process, for those who hear of it.
    process: String,
    seen: watch::Sender<Seen>,
    steps: Mutex<Steps>,
    /// Proposals that may wait for this replica's posting at once.
    waits: Semaphore,
    /// See [`Quorum::kept_promises`].
    promised: OnceLock<Vec<u64>>,
}

/// Cosigns and proposes for one log, until the task ends or the log must halt. Does nothing if this server signs alone.
pub async fn run(ledger: Arc<Ledger>, tenant: Arc<Tenant>, connection: Connection, copies: usize) {
    let Some(guard) = ledger.shared_guard().cloned().filter(|_| tenant.replica().is_some()) else {
        return;
    };
    let quorum = Quorum {
        peers: Peers::new(&connection, &tenant.name),
        process: keyring::random_name(),
        seen: watch::Sender::new(Seen::knowing(kept(&tenant))),
        ledger,
        tenant,
        guard,
        steps: Mutex::default(),
        waits: Semaphore::new(WAITS_MAX),
        promised: OnceLock::new(),
    };
    if quorum.replica().first_differs() {
        return quorum.ledger.halt(&quorum.tenant, FIRST_DIFFERS.into());
    }
    quorum.load_steps();
    let mut register = None;
    loop {
        match Box::pin(quorum.once(&connection, copies, &mut register)).await {
            Ok(()) => return,
            Err(Error::Halt(reason)) => return quorum.ledger.halt(&quorum.tenant, reason),
            Err(error) => {
                tracing::warn!(tenant = %quorum.tenant.name, %error, "the register is lost; connecting again");
                quorum.replica().set_alone(Some(format!("the register does not answer: {error}")));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Quorum {
    fn replica(&self) -> &Replica {
        self.tenant.replica().expect("checked when it began")
    }

    /// Works while the register is there.
    async fn once(
        &self,
        connection: &Connection,
        copies: usize,
        register: &mut Option<Register>,
    ) -> Result<(), Error> {
        let register = match register {
            Some(register) => register,
            none => none.insert(Register::open(connection, &self.tenant.name, copies).await?),
        };
        if self.seen.borrow().own_start.is_none() {
            self.check_copies().await?;
            self.check_name_is_free().await?;
        }
        let (sink, told) = mpsc::channel(TOLD_MAX);
        tokio::select! {
            ended = register.follow(&sink) => ended,
            ended = self.take_all(register, told) => ended,
            ended = self.propose_all(register) => ended,
            ended = self.answer_all() => ended,
            ended = self.start(register) => ended,
            deaf = self.hail() => Err(deaf),
            () = self.keep() => Ok(()),
        }
    }

    /// Answers the other replicas. One that makes this replica wait keeps nobody else from an answer.
    async fn answer_all(&self) -> Result<(), Error> {
        let requests = self.peers.requests(self.replica().members.own()).await?;
        requests.answer_all(ANSWERS_MAX, |body| self.answer(body)).await
    }

    /// The journal must survive one NATS server, as the register must.
    async fn check_copies(&self) -> Result<(), Error> {
        let Journal::JetStream(stream) = self.tenant.journal() else { return Ok(()) };
        let copies = stream.copies().await?;
        if copies >= COPIES_MIN {
            return Ok(());
        }
        Err(Error::Halt(format!(
            "the stream of the journal keeps {copies} copies, and replicas need {COPIES_MIN} or more: otherwise one NATS server \
             that is lost stops all of them, or loses what was stored. Run `nats stream edit --replicas {COPIES_MIN}` on the \
             streams of every tenant, then start again"
        )))
    }

    /// A key that another process uses cosigns for neither.
    async fn check_name_is_free(&self) -> Result<(), Error> {
        let own = self.replica().members.own();
        match self.peers.ask(own, Vec::new(), HAIL_WAIT).await {
            Err(Error::Unavailable(_) | Error::Unknown(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(taken(own.as_str())),
        }
    }

    /// Appends that this process starts, until that is followed.
    async fn start(&self, register: &Register) -> Result<(), Error> {
        while self.seen.borrow().own_start.is_none() {
            match self.start_once(register).await {
                // A conflict: the last statement was another one than was read.
                Ok(()) | Err(Error::Conflict) => {
                    let mut seen = self.seen.subscribe();
                    let followed = seen.wait_for(|seen| seen.own_start.is_some());
                    let _late = tokio::time::timeout(HAIL_WAIT, followed).await;
                }
                Err(Error::Halt(reason)) => return Err(Error::Halt(reason)),
                Err(error) => {
                    tracing::debug!(%error, "the start could not be told to the register");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        std::future::pending().await
    }

    async fn start_once(&self, register: &Register) -> Result<(), Error> {
        let members = &self.replica().members;
        let after = register.last_start(members.own()).await?;
        let start = members.start(&self.tenant.origin, &self.process, after);
        let body = serde_json::to_vec(&start).unwrap_or_default();
        register.start(members.own(), after, body).await.map(drop)
    }

    /// Asks the others how they stand, and this replica whether it can be asked. Ends once it can't: a subscription that NATS took
    /// away, because a right was missing for a while, never comes back by itself.
    async fn hail(&self) -> Error {
        let members = &self.replica().members;
        let mut unheard = 0;
        loop {
            let set = self.replica().set();
            let mut answers = usize::from(set.has(members.this()));
            let mut away = Vec::new();
            let others = set.members.iter().filter(|member| member.name != *members.own());
            let names: Vec<Ident> = others.map(|member| member.name.clone()).collect();
            let asked = names.iter().map(|name| (name.clone(), Vec::new())).collect();
            let said = self.peers.ask_each(asked, HAIL_WAIT).await;
            for (name, said) in names.iter().zip(said) {
                match self.heard(name, said) {
                    Ok(_) => answers += 1,
                    Err(why) => away.push(format!("{name}: {why}")),
                }
            }
            let own = self.peers.ask(members.own(), Vec::new(), HAIL_WAIT).await;
            unheard = if matches!(own, Err(Error::Unavailable(_))) { unheard + 1 } else { 0 };
            if unheard >= UNHEARD_MAX {
                return Error::Unavailable(
                    "NATS no longer brings this replica the questions of the others".into(),
                );
            }
            let replica = self.replica();
            if answers < set.majority() {
                let why = format!("no majority of the replicas answers ({})", away.join("; "));
                replica.set_alone(Some(why));
            } else if replica.has_shown()
                && self.tenant.published().size >= replica.ready().borrow().size
            {
                replica.set_alone(None);
            }
            let is_alone = replica.alone().is_some();
            tokio::time::sleep(if is_alone { HAIL_ALONE } else { HAIL_EVERY }).await;
        }
    }

    /// Stores what is shown, off everybody's path: the next start shows it until it knows more.
    async fn keep(&self) {
        let mut states = self.tenant.watch();
        loop {
            let published = Arc::clone(&states.borrow_and_update());
            if self.replica().has_shown() {
                let kept = || self.ledger.keep_shown(&self.tenant, &published);
                let kept = || kept().and_then(|()| self.keep_steps(published.size));
                if let Err(error) = tokio::task::block_in_place(kept) {
                    tracing::warn!(tenant = %self.tenant.name, %error, "a checkpoint could not be stored");
                }
                tokio::time::sleep(KEEP_EVERY).await;
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }
}

fn taken(own: &str) -> Error {
    Error::Halt(format!(
        "another process cosigns as the replica {own}: a cosigner key belongs to one process, and is never copied. Stop one \
         of them"
    ))
}
