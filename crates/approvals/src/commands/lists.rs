//! Lists of approvals, and who may review: what pages and chats ask without changing anything.

use super::{
    Error,
    brief::{Brief, Parties},
    readiness::Readiness,
    registry::Registry,
};
use crate::{log::Log, setup::Setup};
use decider::approval::Phase;
use ledger::{CATCH_UP_WAIT, ident::Ident};
use std::sync::Arc;
use tokio::sync::watch;

/// The approvals of one tenant as lists.
pub struct Lists {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) readiness: Arc<Readiness>,
}

impl Lists {
    /// Waits until everything in the journal is posted here and is in the lists.
    pub async fn catch_up_with_journal(&self) -> Result<(), Error> {
        self.log.catch_up().await?;
        let size = self.log.extent().size;
        let mut followed = self.registry.followed.subscribe();
        let reached = followed.wait_for(|followed| *followed >= size);
        match tokio::time::timeout(CATCH_UP_WAIT, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ledger::Error::Behind.into()),
        }
    }

    /// All approvals that are not over, by approval deadline, then id.
    pub fn open(&self) -> Vec<Arc<Brief>> {
        self.registry.open().by_deadline(|_| true)
    }

    /// Approvals that ended recently, the last one first, as far as their entries were not pruned.
    pub fn recent(&self) -> Vec<Arc<Brief>> {
        let (mut recent, kept_from) = (self.registry.open().recent(), self.log.kept_from());
        recent.retain(|approval| approval.last >= kept_from);
        recent
    }

    /// Counts changes of the listed approvals. Every change wakes the receiver.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.registry.changed.subscribe()
    }

    /// Waits until the list knows a newer version than `after` of this approval.
    pub async fn newer(&self, id: &Ident, after: u64, changes: &mut watch::Receiver<u64>) {
        loop {
            let version = self.registry.open().find(id).map(|approval| approval.version);
            // An unknown approval ended long ago, or the follower has not reached it yet.
            if version.is_some_and(|version| version > after) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The approval whose valid token has this id. `None` only after everything in the journal is posted here.
    pub async fn with_token(&self, jti: &str) -> Result<Option<Ident>, Error> {
        let known = || self.registry.open().with_token(jti);
        if let Some(id) = known() {
            return Ok(Some(id));
        }
        self.catch_up_with_journal().await?;
        Ok(known())
    }

    /// Number of approvals whose cards must be checked now.
    pub fn cards_due(&self) -> usize {
        self.registry.cards.due()
    }

    /// Number of pending approvals.
    pub fn pending(&self) -> usize {
        self.registry.open().pending()
    }

    /// How long approvals waited for people since the start, by how that ended.
    pub fn waits(&self) -> Vec<(&'static str, ledger::timing::Reading)> {
        self.registry.waits.read()
    }

    /// The approval that still needs the params of the decision at a leaf index.
    pub fn needs_params_of(&self, index: u64) -> Option<Ident> {
        let open = self.registry.open();
        let found = open.by_opening(index)?;
        let needs = matches!(found.phase, Phase::Pending | Phase::Granted | Phase::Minted);
        needs.then(|| found.id.clone())
    }

    /// The first journal sequence that an open approval still needs.
    pub fn keep_from(&self) -> Option<u64> {
        let open = self.registry.open();
        // Before the log was read, this is unknown: keep everything.
        if open.caught_up { open.first_seq() } else { Some(0) }
    }

    /// True if the person may review: in a group of the rule, active, and not an owner.
    pub fn may_review(&self, person: &Ident, approval: &impl Parties) -> bool {
        self.readiness.rules.known().is_ok_and(|setup| is_asked(&setup, person, approval))
    }

    /// True if the person owns the agent, by the request or by the people file in force, and is not disabled.
    pub fn owns(&self, person: &Ident, approval: &impl Parties) -> bool {
        let Ok(setup) = self.readiness.rules.known() else { return false };
        let known = setup.people.get(person).filter(|known| !known.disabled);
        let agent = approval.asks().map(|(agent, _)| agent);
        known
            .zip(agent)
            .is_some_and(|(known, agent)| approval.is_owner(person) || known.owns.contains(agent))
    }

    /// Approvals with a question that waits for an answer of this person, who owns the agent. Sorted by approval
    /// deadline, then id.
    pub fn asking_owner(&self, person: &Ident) -> Vec<Arc<Brief>> {
        self.registry.open().by_deadline(|brief| brief.asks_owner && self.owns(person, brief))
    }

    /// Approvals that wait for a person: pending, the person may review and has not. Sorted by approval
    /// deadline, then id.
    pub fn waiting_for(&self, person: &Ident) -> Vec<Arc<Brief>> {
        let Ok(setup) = self.readiness.rules.known() else { return Vec::new() };
        let waits = |approval: &Brief| {
            approval.is_pending()
                && approval.answered(person).is_none()
                && is_asked(&setup, person, approval)
        };
        self.registry.open().by_deadline(waits)
    }
}

/// True if the person may review: in a group of the rule, active, and not an owner (P10).
fn is_asked(setup: &Setup, person: &Ident, approval: &impl Parties) -> bool {
    let known = setup.people.get(person).filter(|known| !known.disabled);
    let Some(((agent, quorum), known)) = approval.asks().zip(known) else {
        return false;
    };
    quorum.asks(&known.groups) && !approval.is_owner(person) && !known.owns.contains(agent)
}
