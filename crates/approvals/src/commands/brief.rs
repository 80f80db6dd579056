//! The part of an approval that is kept in memory: its people, its phase and its deadline. Everything else is
//! read from the ledger when it is needed.

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

/// Most quorums kept for sharing. Beyond that, unused ones are dropped.
const QUORUMS_KEPT: usize = 256;
/// Most names of tools kept for sharing.
const TOOLS_KEPT: usize = 256;

/// The people of an approval. Both the full approval and the part kept in memory answer these questions.
pub trait Parties {
    /// The producer that published the decision. `None` before the request.
    fn opener(&self) -> Option<&Ident>;
    /// The agent, and the quorum of the rule.
    fn asks(&self) -> Option<(&str, &Quorum)>;
    /// True if the person owns the agent, as recorded in the request.
    fn is_owner(&self, person: &Ident) -> bool;
    /// Time of the person's last review.
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

/// The time from which nobody needs to wait for the approval. `None` while it is open. An approval whose
/// report is missing counts as over, though a late report is still accepted.
pub fn over_since(approval: &Approval) -> Option<Nanos> {
    let state = &approval.state;
    let over = Lifecycle::is_terminal(state) || state.phase == Phase::Unknown || state.corrupt;
    let last = || approval.steps.last().map(|step| step.at);
    over.then(|| state.ended_at.or_else(last).unwrap_or_default())
}

/// The part of an approval that is kept in memory.
#[derive(Clone, Debug)]
pub struct Brief {
    /// Id of the approval.
    pub id: Ident,
    /// Number of its last message.
    pub n: u64,
    /// `State::version`
    pub version: u64,
    /// Phase of the approval.
    pub phase: Phase,
    /// Leaf index of its decision.
    pub opening: u64,
    /// Approval deadline.
    pub deadline: Nanos,
    /// See [`over_since`].
    pub over_since: Option<Nanos>,
    /// Journal sequence of its first message.
    pub first_seq: u64,
    /// Leaf index of its last entry.
    pub last: u64,
    /// `data.tool.name`
    pub tool: Arc<str>,
    /// Id of its newest token.
    pub jti: Option<Box<str>>,
    /// True if a question waits for an answer.
    pub asks_owner: bool,
    agent: Box<str>,
    producer: Ident,
    owners: Box<[Ident]>,
    answers: Box<[(Ident, Nanos)]>,
    quorum: Arc<Quorum>,
}

impl Brief {
    /// True if people can still answer.
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

/// Makes briefs. Values that many approvals share are stored once.
#[derive(Default)]
pub struct Briefs {
    /// Quorums by digest of their rule.
    quorums: BTreeMap<String, Arc<Quorum>>,
    producers: BTreeSet<Ident>,
    tools: BTreeSet<Arc<str>>,
}

impl Briefs {
    /// The brief of an approval. `None` before the request.
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
            tool: self.tool(&requested.call.tool),
            jti: state.token.as_ref().map(|token| token.jti.as_str().into()),
            asks_owner: state.unanswered().is_some(),
            agent: requested.call.agent.as_str().into(),
            producer: self.producers.get(producer)?.clone(),
            owners: requested.owners.clone().into(),
            answers: answers.collect(),
            quorum: self.quorum(&requested.rule_digest, &requested.rule.quorum),
        })
    }

    fn tool(&mut self, name: &str) -> Arc<str> {
        if let Some(kept) = self.tools.get(name) {
            return Arc::clone(kept);
        }
        // Names are of agents, so there may be any number of them.
        if self.tools.len() >= TOOLS_KEPT {
            self.tools.retain(|kept| Arc::strong_count(kept) > 1);
        }
        let kept: Arc<str> = name.into();
        self.tools.insert(Arc::clone(&kept));
        kept
    }

    fn quorum(&mut self, digest: &str, quorum: &Quorum) -> Arc<Quorum> {
        // The digest identifies the rule, so the quorum should be the same. Compare it all the same: a corrupt
        // approval must not change which people others ask.
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
