//! What is kept in memory of an approval: who has to do with it, where it stands and when it is due. Everything else is
//! read from the ledger by whoever needs it.

use crate::history::Approval;
use decider::{
    Decider as _,
    approval::{Approval as Lifecycle, Phase},
    quorum::Quorum,
};
use ledger::{ident::Ident, time::Nanos};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most quorums that are kept for sharing before those that nobody uses are let go.
const QUORUMS_KEPT: usize = 256;

/// Who has to do with an approval: the same of one that was read and of what is kept of it.
pub trait Parties {
    /// The producer that opened it; `None` before it was requested.
    fn opener(&self) -> Option<&Ident>;
    /// The agent, and whose groups its rule asks.
    fn asks(&self) -> Option<(&str, &Quorum)>;
    /// Whether a person owns its agent by what was requested.
    fn is_owner(&self, person: &Ident) -> bool;
    /// When a person answered last.
    fn answered(&self, person: &Ident) -> Option<Nanos>;
}

impl Parties for Approval {
    fn opener(&self) -> Option<&Ident> {
        Some(&self.state.requested.as_ref()?.opening.producer)
    }

    fn asks(&self) -> Option<(&str, &Quorum)> {
        let requested = self.state.requested.as_ref()?;
        Some((&requested.call.agent, &requested.rule.quorum))
    }

    fn is_owner(&self, person: &Ident) -> bool {
        self.state.requested.as_ref().is_some_and(|requested| requested.owners.contains(person))
    }

    fn answered(&self, person: &Ident) -> Option<Nanos> {
        self.state.review_by(person).map(|review| review.at)
    }
}

/// Since when nobody must wait for an approval; `None`: it is open. Also when no report came, though a late one is still
/// taken.
pub fn over_since(approval: &Approval) -> Option<Nanos> {
    let state = &approval.state;
    let over = Lifecycle::is_terminal(state) || state.phase == Phase::Unknown || state.corrupt;
    let last = || approval.steps.last().map(|step| step.at);
    over.then(|| state.ended_at.or_else(last).unwrap_or_default())
}

/// One approval in memory.
#[derive(Clone, Debug)]
pub struct Brief {
    /// Which.
    pub id: Ident,
    /// Number of its last message.
    pub n: u64,
    /// `State::version`
    pub version: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Leaf index of the decision that opened it.
    pub opening: u64,
    /// Approval deadline.
    pub deadline: Nanos,
    /// See [`over_since`].
    pub over_since: Option<Nanos>,
    /// Its first journal sequence.
    pub first_seq: u64,
    /// Leaf index of its last entry.
    pub last: u64,
    /// Its newest token's id.
    pub jti: Option<Box<str>>,
    agent: Box<str>,
    producer: Ident,
    owners: Box<[Ident]>,
    answers: Box<[(Ident, Nanos)]>,
    quorum: Arc<Quorum>,
}

impl Brief {
    /// Whether people can still answer.
    pub fn is_pending(&self) -> bool {
        self.phase == Phase::Pending
    }
}

impl Parties for Brief {
    fn opener(&self) -> Option<&Ident> {
        Some(&self.producer)
    }

    fn asks(&self) -> Option<(&str, &Quorum)> {
        Some((&self.agent, &self.quorum))
    }

    fn is_owner(&self, person: &Ident) -> bool {
        self.owners.contains(person)
    }

    fn answered(&self, person: &Ident) -> Option<Nanos> {
        self.answers.iter().find(|(by, _)| by == person).map(|(_, at)| *at)
    }
}

/// Makes briefs; what many approvals have in common is kept once.
#[derive(Default)]
pub struct Briefs {
    /// By the rule's digest.
    quorums: BTreeMap<String, Arc<Quorum>>,
    producers: BTreeSet<Ident>,
}

impl Briefs {
    /// What is kept of an approval; `None` before it was requested.
    pub fn of(&mut self, approval: &Approval) -> Option<Brief> {
        let state = &approval.state;
        let requested = state.requested.as_deref()?;
        let producer = &requested.opening.producer;
        if !self.producers.contains(producer) {
            self.producers.insert(producer.clone());
        }
        let answers = state.reviews.iter().map(|review| (review.by.clone(), review.at));
        Some(Brief {
            id: approval.id.clone(),
            n: state.n,
            version: state.version,
            phase: state.phase,
            opening: requested.opening.index,
            deadline: state.approval_deadline()?,
            over_since: over_since(approval),
            first_seq: approval.first_seq(),
            last: approval.last_index(),
            jti: state.token.as_ref().map(|token| token.jti.as_str().into()),
            agent: requested.call.agent.as_str().into(),
            producer: self.producers.get(producer)?.clone(),
            owners: requested.owners.clone().into(),
            answers: answers.collect(),
            quorum: self.quorum(&requested.rule_digest, &requested.rule.quorum),
        })
    }

    fn quorum(&mut self, digest: &str, quorum: &Quorum) -> Arc<Quorum> {
        // A digest is the rule's own: the log was read, and what does not fit its rule is corrupt. The quorum is
        // compared all the same, for what is corrupt must not ask others.
        if let Some(kept) = self.quorums.get(digest).filter(|kept| ***kept == *quorum) {
            return Arc::clone(kept);
        }
        if self.quorums.len() >= QUORUMS_KEPT {
            self.quorums.retain(|_, kept| Arc::strong_count(kept) > 1);
        }
        let quorum = Arc::new(quorum.clone());
        self.quorums.insert(digest.to_owned(), Arc::clone(&quorum));
        quorum
    }
}
