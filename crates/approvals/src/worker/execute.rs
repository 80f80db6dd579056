//! Runs one command on one approval: read, decide, append with compare-and-swap, answer from the resulting
//! ledger.

use super::{Error, Hint, PUBLISHED_WAIT, Worker, is_conflict};
use crate::{fault, history::Approval};
use decider::{
    Decider as _,
    approval::{
        Approval as Lifecycle, Auth, Command, Decision, Event, Message, Outcome, Refusal, Via,
        World, fold,
    },
};
use ledger::{
    canonical,
    ident::Ident,
    journal::{self, Subject},
    ledger::Error as LedgerError,
    post::Outcome as Posted,
    time::Nanos,
};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Number of attempts to decide a command that keeps losing compare-and-swap.
const TRIES_MAX: usize = 8;
/// Longest wait until the message that won is posted here.
const CONFLICT_WAIT: Duration = Duration::from_secs(1);

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Done {
    /// The approval after the command.
    pub approval: Approval,
    /// Why the command was not carried out.
    pub refused: Option<Refusal>,
    /// True if an entry was written for it.
    pub written: bool,
}

/// A person's answer.
#[derive(Clone, Debug)]
pub struct Review {
    /// The person. `None` if the chat account that clicked is not linked to a person.
    pub by: Option<Ident>,
    /// The person's choice.
    pub decision: Decision,
    /// Where the person answered.
    pub via: Via,
    /// How the person was authenticated.
    pub auth: Auth,
    /// The digest that was shown: whole, or at least its first 8 characters.
    pub displayed_dig: String,
    /// The version of the approval that was shown.
    pub version: u64,
    /// When the page or card was made.
    pub shown_at: Nanos,
    /// The person's comment. It is kept as evidence.
    pub comment: Option<String>,
    /// The raw request of the chat. It is kept as evidence.
    pub raw: Option<String>,
}

impl Review {
    fn command(&self, world: World, evidence: Option<u64>) -> Command {
        let Self { by, decision, via, auth, displayed_dig, version, shown_at, .. } = self.clone();
        Command::Review {
            world,
            by,
            decision,
            via,
            auth,
            displayed_dig,
            version,
            shown_at,
            evidence,
        }
    }

    /// The parts of the review that are kept as evidence.
    fn evidence(&self) -> Option<Map<String, Value>> {
        let kept = [("comment", &self.comment), ("raw", &self.raw)];
        let mut body: Map<String, Value> = kept
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?))))
            .collect();
        if body.is_empty() {
            return None;
        }
        body.insert("via".into(), json!(self.via));
        body.insert("by".into(), json!(self.by));
        Some(body)
    }
}

impl Worker {
    /// Records a person's answer. Its evidence is written first, and only if the answer would be recorded.
    pub async fn review(&self, id: &Ident, review: Review) -> Result<Done, Error> {
        let (approval, world) = self.at_hand(id).await?;
        let decided = Lifecycle::decide(&approval.state, &review.command(world, None));
        let approves =
            |event: &Event| matches!(event, Event::Reviewed { decision: Decision::Approve, .. });
        if decided.events.iter().any(approves) && !self.card(&approval)?.0.complete {
            self.published_with(approval.last_index()).await?;
            return Ok(Done { approval, refused: Some(Refusal::NotShown), written: false });
        }
        let mut evidence = None;
        if let Some(body) = review.evidence().filter(|_| !decided.events.is_empty()) {
            evidence = Some(self.keep_evidence(id, &body).await?);
            fault::point("evidence_kept");
        }
        self.execute(id, |world| review.command(world, evidence)).await
    }

    /// Withdraws the call. `by`: `producer:<name>` or `admin:<key id>`; `reason`: a code.
    pub async fn cancel(&self, id: &Ident, by: &str, reason: &str) -> Result<Done, Error> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        let command =
            move |world| Command::Cancel { world, by: by.clone(), reason: reason.clone() };
        self.execute(id, command).await
    }

    /// Takes a grant back. `by`: a principal id or `admin:<key id>`; `reason`: a code.
    pub async fn revoke(&self, id: &Ident, by: &str, reason: &str) -> Result<Done, Error> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        let command =
            move |world| Command::Revoke { world, by: by.clone(), reason: reason.clone() };
        self.execute(id, command).await
    }

    /// Reports the outcome of the call.
    pub async fn report(
        &self,
        id: &Ident,
        enforcer: &Ident,
        outcome: Outcome,
    ) -> Result<Done, Error> {
        let command = |world| Command::Report { world, enforcer: enforcer.clone(), outcome };
        self.execute(id, command).await
    }

    /// Appends evidence: every member is erasable payload of its entry. Returns the leaf index.
    pub async fn keep_evidence(&self, id: &Ident, body: &Map<String, Value>) -> Result<u64, Error> {
        let subject = Subject::Evidence(id.clone());
        let body = canonical::of(body);
        let done = self.ledger.publish_signed(&self.tenant, &subject, &body).await?;
        match done.outcomes.first() {
            Some(Posted::Posted { index }) => Ok(*index),
            _ => Err(Error::Unknown),
        }
    }

    /// Carries out a command.
    pub(super) async fn execute(
        &self,
        id: &Ident,
        command: impl Fn(World) -> Command,
    ) -> Result<Done, Error> {
        for _ in 0..TRIES_MAX {
            // Subscribe before reading: a message that is posted after the read then wakes this task.
            let mut states = self.tenant.watch();
            let (approval, world) = self.at_hand(id).await?;
            let at = world.now;
            let decided = Lifecycle::decide(&approval.state, &command(world));
            if decided.events.is_empty() {
                // Never refuse from stale state: first catch up with the journal, then decide again.
                if decided.refused.is_some() && self.catch_up_with(id, approval.expected).await? {
                    continue;
                }
                self.published_with(approval.last_index()).await?;
                return Ok(Done { approval, refused: decided.refused, written: false });
            }
            let expected = approval.expected;
            if let Some((approval, overtaken)) = self.append(approval, decided.events, at).await? {
                let refused = decided.refused.or(overtaken);
                return Ok(Done { approval, refused, written: true });
            }
            // The message that won may not be posted here yet.
            if !self.catch_up_with(id, expected).await? {
                let _ = tokio::time::timeout(CONFLICT_WAIT, states.changed()).await;
            }
        }
        Err(Error::Contended)
    }

    /// The approval as posted here, and the world at this moment: the input of every decision.
    async fn at_hand(&self, id: &Ident) -> Result<(Approval, World), Error> {
        self.decides().await?;
        let approval = self.latest(id).await?;
        if let Some(requested) = &approval.state.requested {
            // A posted entry can be read only once it is published, a moment later.
            self.published_with(requested.opening.index).await?;
        }
        // Check again, because the wait may have taken time.
        let setup = self.decides().await?;
        let (decision, frozen) = self.opening(&approval)?;
        let clock = self.tenant.position().clock;
        let world = Self::world(&setup, &decision.call, frozen.as_ref(), clock);
        Ok((approval, world))
    }

    /// The approval as posted here. If it is unknown here, waits for what another worker has just written.
    async fn latest(&self, id: &Ident) -> Result<Approval, Error> {
        let posted = self.tenant.published().posted;
        let read = || self.read(id);
        if let Some(approval) = read()? {
            return Ok(approval);
        }
        self.catch_up_with(id, posted).await?;
        read()?.ok_or(Error::NotFound)
    }

    /// Waits until every message on the approval's subject after sequence `posted` is posted here. `false` if
    /// the journal holds none. [`Error::Contended`] if they are not posted in time.
    pub(super) async fn catch_up_with(&self, id: &Ident, posted: u64) -> Result<bool, Error> {
        let subject = Subject::Approvals(id.clone());
        let Some(held) = self.ledger.newer(&self.tenant, &subject, posted).await? else {
            return Ok(false);
        };
        let mut states = self.tenant.watch();
        let halted = || self.tenant.halted();
        let reached = states.wait_for(|published| published.posted >= held || halted().is_some());
        let reached = tokio::time::timeout(PUBLISHED_WAIT, reached).await;
        match (reached, halted()) {
            (_, Some(reason)) => Err(LedgerError::Halted(reason).into()),
            (Ok(Ok(_)), None) => Ok(true),
            _ => Err(Error::Contended),
        }
    }

    /// Appends one message. `None` if another message came first. Otherwise the approval after it, and whether
    /// time overtook it: the journal took it after a deadline that our clock had not reached.
    async fn append(
        &self,
        approval: Approval,
        events: Vec<Event>,
        decided_at: Nanos,
    ) -> Result<Option<(Approval, Option<Refusal>)>, Error> {
        let message = Message {
            approval_id: approval.id.clone(),
            n: approval.state.n + 1,
            prev: approval.state.leaf.clone(),
            events,
        };
        let body = canonical::of(&message);
        let subject = Subject::Approvals(approval.id.clone());
        let hoped = fold(approval.state.clone(), &message, "", decided_at).phase;
        fault::point("decided");
        let expected = approval.expected;
        match self.ledger.publish_after(&self.tenant, &subject, &body, expected).await {
            Ok(done) => {
                fault::point("published");
                let Some(Posted::Posted { index }) = done.outcomes.first() else {
                    return Err(Error::Unknown);
                };
                let entry = self.ledger.reader(&self.tenant, &done.published).entry(*index)?;
                // Compare-and-swap guarantees that nothing lies between the last entry read and this one.
                let approval = entry.and_then(|entry| approval.after(*index, &entry));
                let approval = approval.ok_or(Error::Unknown)?;
                self.learn(&approval);
                let overtaken = approval.state.phase != hoped;
                Ok(Some((approval, overtaken.then_some(Refusal::TooLate))))
            }
            Err(error) if is_conflict(&error) => Ok(None),
            Err(LedgerError::Unknown | LedgerError::Journal(journal::Error::Unknown(_))) => {
                Err(Error::Unknown)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an approval after a change, updates memory and wakes waiting tasks.
    pub(super) async fn read_again(&self, id: &Ident) -> Result<Approval, Error> {
        let approval = self.get(id).await?.ok_or(Error::NotFound)?;
        self.learn(&approval);
        Ok(approval)
    }

    /// Updates an approval in memory and wakes waiting tasks.
    pub(super) fn learn(&self, approval: &Approval) {
        let hint = approval.state.requested.as_ref().map(|requested| Hint {
            producer: requested.opening.producer.clone(),
            approval: approval.id.clone(),
            version: approval.state.version,
            phase: approval.state.phase,
        });
        if !self.room.lock().expect("no holder of the lock panics").put(approval) {
            return;
        }
        self.outbox.look_at(&approval.id, Instant::now());
        self.cards.notify_one();
        self.changed.send_modify(|count| *count += 1);
        self.ticks.notify_one();
        if let Some(hint) = hint {
            // A hint may be lost: the data plane also asks for the state itself.
            let _ = self.hints.try_send(hint);
        }
    }
}
