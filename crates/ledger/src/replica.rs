//! One replica of a log that several servers sign: a checkpoint is shown only after a majority of them has cosigned it, each
//! from its own tiles and its own memory of what it cosigned (P21).
//!
//! In scope: cosigning, proposing, the register, how the others stand. Out of scope: showing what is cosigned (`writer`),
//! what a majority is (`log::replicas`).

mod cosigner;
mod propose;
mod put_back;
mod seen;
mod statements;
mod steps;
mod tenants;

pub use put_back::{Put, put_back};
pub use statements::{Lacks, lacking, not_erased, not_shown, silent};
pub use tenants::{
    announce, answer_about_tenants, members_in_force, not_deleted, not_made, take_up, uneven,
    without_files,
};

use crate::{
    guard::Shared,
    journal::{
        Error, Journal,
        jetstream::{
            Connection,
            peers::Peers,
            register::{COPIES_MIN, Register, Told, What},
        },
    },
    keyring,
    ledger::Ledger,
    log::{
        members,
        replicas::{self, Certified, Start, Uncertified},
    },
    tenant::{Replica, Tenant},
};
use seen::{Seen, Took};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use steps::Steps;
use tokio::sync::{mpsc, watch};

/// Pause before the register is followed again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the other replicas are asked how they stand, and how long they have for it.
const HAIL_EVERY: Duration = Duration::from_secs(2);
const HAIL_WAIT: Duration = Duration::from_secs(1);
/// The same while no majority answers.
const HAIL_ALONE: Duration = Duration::from_millis(250);
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
}

/// Cosigns and proposes for one log, until the task ends or the log must halt. Does nothing if this server signs alone.
pub async fn run(ledger: Arc<Ledger>, tenant: Arc<Tenant>, connection: Connection, copies: usize) {
    let Some(guard) = ledger.shared_guard().cloned().filter(|_| tenant.replica().is_some()) else {
        return;
    };
    let quorum = Quorum {
        peers: Peers::new(&connection, &tenant.name),
        process: data_encoding::HEXLOWER.encode(&keyring::random32()[..16]),
        seen: watch::Sender::new(Seen::knowing(kept(&tenant))),
        ledger,
        tenant,
        guard,
        steps: Mutex::default(),
    };
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

    /// Answers the other replicas, one request after the other.
    async fn answer_all(&self) -> Result<(), Error> {
        let mut requests = self.peers.requests(self.replica().members.own()).await?;
        loop {
            let mut asked = requests.next().await?;
            let said = self.answer(std::mem::take(&mut asked.body)).await;
            requests.answer(asked, said).await;
        }
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

    /// An empty register, though a majority has cosigned: it was lost, and nobody knows what was in it.
    fn check_register(&self) -> Result<(), Error> {
        let seen = self.seen.borrow();
        if seen.seq > 0 || seen.size() == 0 {
            return Ok(());
        }
        Err(Error::Halt(format!(
            "the register is empty, and this replica has shown size {}, which a majority had cosigned: the register was lost. \
             Find out what happened to NATS. Then stop all replicas, run `countersign replica put-back` on the one that has \
             shown most, and start them again (docs/operate/several-machines.md)",
            seen.size()
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

    /// Takes what the register holds and gets.
    async fn take_all(
        &self,
        register: &Register,
        mut told: mpsc::Receiver<Told>,
    ) -> Result<(), Error> {
        let own = self.replica().members.own().as_str();
        while let Some(Told { seq, what, body, is_last }) = told.recv().await {
            match what {
                What::Start(replica) if replica == own => self.take_start(seq, &body)?,
                What::Start(_) => {}
                What::Change(version) => self.take_step(version, seq, body),
                What::Value { by } => {
                    if self.took(seq, by, self.read(&body)) == Took::Wrong {
                        self.mend(register).await;
                    }
                }
            }
            if is_last {
                let was_whole = self.seen.borrow().is_whole;
                self.seen.send_modify(Seen::reached_end);
                if !was_whole && self.seen.borrow().is_whole {
                    self.check_register()?;
                }
            }
        }
        std::future::pending().await
    }

    /// A start message under the name of this replica. One that is not made with its key, or is told again, counts for nothing:
    /// nobody else can stop this process.
    fn take_start(&self, seq: u64, body: &[u8]) -> Result<(), Error> {
        let members = &self.replica().members;
        let start = serde_json::from_slice::<Start>(body).ok();
        let Some(start) = start.filter(|start| members.is_own_start(&self.tenant.origin, start))
        else {
            return Ok(());
        };
        let own = self.seen.borrow().own_start;
        if start.process == self.process {
            self.seen.send_modify(|seen| seen.started(seq));
        } else if own.is_some_and(|own| start.after >= own) {
            return Err(taken(members.own().as_str()));
        }
        Ok(())
    }

    /// Reads a value. Keys that are not posted yet are those whose files are here.
    fn read(&self, body: &[u8]) -> Result<Certified, Uncertified> {
        let note = String::from_utf8_lossy(body);
        self.verify_steps();
        let needed = self.needed(replicas::size_of(&note));
        self.certified(&note, &needed)
    }

    /// Takes a value of the register, and has it shown.
    fn took(&self, seq: u64, by: Option<String>, read: Result<Certified, Uncertified>) -> Took {
        let mut took = Took::Known;
        self.seen.send_if_modified(|seen| {
            took = seen.take(seq, by, read);
            took != Took::Known
        });
        let seen = self.seen.borrow().clone();
        match took {
            Took::Known => {}
            Took::Newer => {
                let own = self.replica().members.own().as_str();
                self.replica().set_leads(seen.by.as_deref() == Some(own));
                self.replica().set_certified(seen.size());
                // Before it is shown: whoever is shown a checkpoint of the new set can have the proof of the change.
                let kept = tokio::task::block_in_place(|| self.keep_steps(seen.size()));
                if let Err(error) = kept {
                    tracing::warn!(tenant = %self.tenant.name, %error, "a change of the replicas could not be stored");
                }
                seen.newest
                    .into_iter()
                    .for_each(|newest| self.ledger.certified(&self.tenant, newest));
            }
            Took::Wrong => {
                let why = seen.wrong.unwrap_or_default();
                tracing::error!(tenant = %self.tenant.name, why, "a value of the register is ignored");
                self.replica().alarm(|alarms| {
                    alarms.ignored = (alarms.ignored.0 + 1, why);
                });
            }
        }
        took
    }

    /// A checkpoint was taken before its entries were posted here, and these name other replicas than those that cosigned it: it
    /// counts for nothing.
    fn revoke(&self, newest: &Certified, in_force: u64) {
        let why = format!(
            "size {} was cosigned by the replicas of version {}, and version {in_force} is in force there",
            newest.checkpoint.size, newest.version
        );
        tracing::error!(tenant = %self.tenant.name, why, "a value of the register is ignored");
        self.seen.send_modify(|seen| seen.revoke(kept(&self.tenant), why.clone()));
        self.replica().alarm(|alarms| alarms.ignored = (alarms.ignored.0 + 1, why));
    }

    /// Puts the newest cosigned checkpoint back into the place of a value that counts for nothing.
    async fn mend(&self, register: &Register) {
        let seen = self.seen.borrow().clone();
        let Some(newest) = seen.newest else { return };
        let by = self.replica().members.own();
        // If another replica was first, its value comes.
        if let Ok(seq) = register.swap(seen.seq, by, newest.note.clone().into_bytes()).await {
            self.took(seq, Some(by.to_string()), Ok((*newest).clone()));
        }
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
            for member in set.members.iter().filter(|member| member.name != *members.own()) {
                let said = self.peers.ask(&member.name, Vec::new(), HAIL_WAIT).await;
                match self.heard(&member.name, said) {
                    Ok(_) => answers += 1,
                    Err(why) => away.push(format!("{}: {why}", member.name)),
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

/// What this replica had shown, cosigned by a majority, when this process began.
fn kept(tenant: &Tenant) -> Option<Certified> {
    let published = tenant.published();
    let signing = |size| published.keys.signing(size).cloned().collect();
    let sets = tenant.replica()?.sets();
    let set = members::in_force(&sets, replicas::size_of(&published.checkpoint));
    replicas::certified(&published.checkpoint, &tenant.origin, signing, set).ok()
}

fn taken(own: &str) -> Error {
    Error::Halt(format!(
        "another process cosigns as the replica {own}: a cosigner key belongs to one process, and is never copied. Stop one \
         of them"
    ))
}
