//! Opens a stopped server's ledger in this process: writes whole histories in batches, and plain appends as a
//! floor.

use super::{Failed, calls::Paused};
use crate::commands::{EXIT_FAILED, load};
use approvals::setup::Setup;
use decider::{
    Decider as _,
    approval::{
        self, Auth, Choice, Command, Message, Method, Opening as OpeningRef, Outcome, PolicyNow,
        Requested, State, Summary, Via, World,
    },
    decision,
};
use ledger::{
    Batch, Journals, Ledger, canonical,
    entry::View,
    follow,
    ident::Ident,
    journal::{Append, BATCH_MESSAGES_MAX, Headers, Journal, Subject, jetstream},
    log::merkle::leaf_hash,
    post,
    tenant::Tenant,
    time::Nanos,
};
use std::{path::Path, sync::Arc, time::Instant};
use tokio::task::JoinSet;

/// A ledger in this process.
pub struct Inside {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    setup: Setup,
    followers: JoinSet<()>,
}

/// One approval whose history is being written.
struct Life {
    id: Ident,
    digest: String,
    state: State,
    /// Journal sequence of its last message.
    last: u64,
}

fn broken(what: impl std::fmt::Display) -> Failed {
    Failed::new(EXIT_FAILED, what.to_string())
}

impl Inside {
    /// Opens the ledger of a stopped server, by its configuration.
    pub async fn open(config: &Path) -> Result<Self, Failed> {
        let config = load(config)?;
        let broker = match config.jetstream() {
            None => None,
            Some((options, _)) => {
                Some(jetstream::Connection::open(&options).await.map_err(broken)?)
            }
        };
        let journals = broker.map_or(Journals::Embedded, Journals::JetStream);
        let ledger = Arc::new(Ledger::open(config.ledger_options(false), &journals).await?);
        let tenant = ledger.tenant("bench").ok_or_else(|| broken("no tenant bench"))?;
        let mut followers = JoinSet::new();
        if let Journal::JetStream(stream) = tenant.journal().clone() {
            followers.spawn(follow::follow(Arc::clone(&ledger), Arc::clone(&tenant), stream));
        }
        let dir = config.file.approvals.as_ref().map(|approvals| approvals.dir.clone());
        let setup = Setup::load(&dir.unwrap_or_default(), &tenant.name, &config.connections());
        let setup = setup.map_err(|wrong| broken(wrong.join("\n")))?;
        Ok(Self { ledger, tenant, setup, followers })
    }

    /// Closes the ledger. A server may open it afterwards.
    pub async fn close(mut self) {
        self.followers.shutdown().await;
    }

    /// Writes the approvals with the numbers `from..to`: with whole histories, or only opened.
    pub async fn write(&self, from: u64, to: u64, whole: bool) -> Result<(), Failed> {
        let mut number = from;
        while number < to {
            let end = to.min(number + BATCH_MESSAGES_MAX as u64);
            let calls = (number..end).map(Paused::new).collect::<Result<Vec<_>, _>>()?;
            self.write_batch(&calls, whole).await?;
            number = end;
        }
        Ok(())
    }

    async fn write_batch(&self, calls: &[Paused], whole: bool) -> Result<(), Failed> {
        let subject = Subject::parse("decisions.gw-1").ok_or_else(|| broken("a subject"))?;
        let decisions = calls.iter().map(|call| Append {
            subject: subject.clone(),
            headers: Headers::default(),
            body: call.event.clone().into_bytes(),
            expected: None,
        });
        let done = self.ledger.publish(&self.tenant, decisions.collect()).await?;
        let openings = self.entries(&done)?;
        let mut lives = Vec::with_capacity(calls.len());
        let mut begins = Vec::with_capacity(calls.len());
        for (call, (index, entry)) in calls.iter().zip(&openings) {
            let decision = decision::Decision::of_entry(*index, entry).map_err(broken)?;
            let state = State::begin(&decision.leaf);
            begins.push(Command::Request {
                requested: Box::new(self.requested(&decision, &call.digest)?),
                cancel: None,
            });
            lives.push(Life {
                id: call.approval.clone(),
                digest: call.digest.clone(),
                state,
                last: 0,
            });
        }
        self.step(&mut lives, begins).await?;
        if whole {
            for step in [Self::review, Self::mint, Self::redeem, Self::report] {
                let commands = lives.iter().map(|life| step(self, life)).collect();
                self.step(&mut lives, commands).await?;
            }
        }
        Ok(())
    }

    fn requested(&self, decision: &decision::Decision, digest: &str) -> Result<Requested, Failed> {
        let rule = self.setup.rules.first().cloned().ok_or_else(|| broken("no rule"))?;
        let call = Summary {
            agent: decision.call.agent.clone(),
            run: decision.call.run.clone(),
            tool: decision.call.tool.clone(),
            action: decision.call.action.clone(),
            digest: digest.to_owned(),
        };
        let reference = OpeningRef { producer: decision.producer.clone(), index: decision.index };
        Requested::new(reference, call, rule, vec![], decision.at()).map_err(broken)
    }

    /// One message of each approval, in one batch.
    async fn step(&self, lives: &mut [Life], commands: Vec<Command>) -> Result<(), Failed> {
        let mut batch = Vec::with_capacity(lives.len());
        let mut messages = Vec::with_capacity(lives.len());
        for (life, command) in lives.iter().zip(commands) {
            let events = approval::Approval::decide(&life.state, &command).events;
            let (n, prev) = (life.state.n + 1, life.state.leaf.clone());
            let message = Message {
                approval_id: life.id.clone(),
                n,
                prev,
                events,
                activates: None,
                decision: None,
            };
            let subject = Subject::Approvals(life.id.clone());
            let body = canonical::of(&message);
            batch.push(Ledger::after(&self.tenant, &subject, &body, life.last)?);
            messages.push(message);
        }
        let done = self.ledger.publish(&self.tenant, batch).await?;
        let entries = self.entries(&done)?;
        for ((life, message), (at, (_, entry))) in
            lives.iter_mut().zip(&messages).zip(done.done.seqs.iter().zip(&entries))
        {
            let time = View::parse(entry).ok_or_else(|| broken("not an entry"))?.origin.time;
            let state = std::mem::take(&mut life.state);
            life.state = approval::fold(state, message, &leaf_hash(entry).to_string(), time);
            life.last = *at;
            if life.state.corrupt {
                return Err(broken("a seeded approval is corrupt: this is a defect"));
            }
        }
        Ok(())
    }

    /// Index and bytes of every entry of a batch.
    fn entries(&self, batch: &Batch) -> Result<Vec<(u64, Vec<u8>)>, Failed> {
        let reader = self.ledger.reader(&self.tenant, &batch.done.published);
        let entry = |outcome: &post::Outcome| {
            let post::Outcome::Posted { index } = outcome else {
                return Err(broken(format!("not posted: {outcome:?}")));
            };
            let entry = reader.entry(*index)?;
            Ok((*index, entry.ok_or_else(|| broken("an entry is missing"))?))
        };
        batch.done.outcomes.iter().map(entry).collect()
    }

    fn world(&self, life: &Life) -> World {
        let requested = life.state.requested.as_ref();
        let rule = requested.map(|requested| requested.rule_digest.clone());
        World {
            now: ledger::clock::wall_clock(),
            rule,
            people: self.setup.active(),
            owners: vec![],
            policy: PolicyNow::Stands,
            clock: None,
        }
    }

    fn review(&self, life: &Life) -> Command {
        let world = self.world(life);
        let now: Nanos = world.now;
        Command::Review {
            world,
            by: self.setup.people.keys().next().cloned(),
            decision: Choice::Approve,
            via: Via::Api,
            auth: Auth { method: Method::Key, at: now },
            displayed_dig: life.digest.clone(),
            version: life.state.version,
            shown_at: now,
            evidence: None,
            reason: None,
            signed: None,
            together: None,
        }
    }

    fn mint(&self, life: &Life) -> Command {
        let (jti, kid) = (life.id.to_string(), "bench".to_owned());
        Command::Mint { world: self.world(life), enforcer: enforcer(life), jti, kid }
    }

    fn redeem(&self, life: &Life) -> Command {
        Command::Redeem {
            world: self.world(life),
            enforcer: enforcer(life),
            jti: life.id.to_string(),
            digest: life.digest.clone(),
            redemption_id: life.id.to_string(),
        }
    }

    fn report(&self, life: &Life) -> Command {
        let outcome = Outcome::Succeeded;
        Command::Report { world: self.world(life), enforcer: enforcer(life), outcome }
    }

    /// Plain compare-and-swap appends, each the first on its own subject and as big as a redemption's. With
    /// the embedded journal a message and its entry are one write, so an append is also posted; on JetStream
    /// only the broker's acknowledgement is measured. Messages are signed before the clock starts; there is no
    /// HTTP, reading or deciding. Returns appends a second.
    pub async fn floor(&self, tasks: usize, count: u64) -> Result<f64, Failed> {
        let appends = (0..count).map(|n| self.bare(n)).collect::<Result<Vec<_>, _>>()?;
        let mut shares: Vec<Vec<Append>> = (0..tasks).map(|_| Vec::new()).collect();
        for (at, append) in appends.into_iter().enumerate() {
            shares[at % tasks].push(append);
        }
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for share in shares {
            let (ledger, tenant) = (Arc::clone(&self.ledger), Arc::clone(&self.tenant));
            running.spawn(async move {
                for append in share {
                    match tenant.journal() {
                        Journal::JetStream(stream) => {
                            stream.append(vec![append]).await.map_err(broken)?;
                        }
                        Journal::Embedded(_) | Journal::Absent => {
                            ledger.publish(&tenant, vec![append]).await?;
                        }
                    }
                }
                Ok::<_, Failed>(())
            });
        }
        while let Some(done) = running.join_next().await {
            done.map_err(broken)??;
        }
        Ok(count as f64 / begin.elapsed().as_secs_f64())
    }

    fn bare(&self, n: u64) -> Result<Append, Failed> {
        let id = Ident::new(&format!("apr-floor-{n}")).map_err(broken)?;
        let redeemed = approval::Event::Redeemed {
            jti: "A".repeat(22),
            redemption_id: id.to_string(),
            enforcer: Ident::new("gw-1").map_err(broken)?,
        };
        let message = Message {
            approval_id: id.clone(),
            n: 5,
            prev: "A".repeat(44),
            events: vec![redeemed],
            activates: None,
            decision: None,
        };
        let body = canonical::of(&message);
        Ok(Ledger::after(&self.tenant, &Subject::Approvals(id), &body, 0)?)
    }
}

/// The enforcer that paused the call.
fn enforcer(life: &Life) -> Ident {
    let requested = life.state.requested.as_ref().expect("its first message was folded");
    requested.opening.producer.clone()
}
