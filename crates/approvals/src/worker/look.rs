//! Queries: lists, cards, who may review, what must be kept.

use super::{
    Error, Worker,
    brief::{Brief, Parties},
    now,
};
use crate::{
    cards::{Card, FrozenCall, Making},
    history::Approval,
    setup::Setup,
};
use decider::{
    approval::Phase,
    decision::{Decision, Fields, Frozen},
};
use ledger::{ident::Ident, ledger::CATCH_UP_WAIT, store};
use std::sync::Arc;
use tokio::sync::watch;

impl Worker {
    /// The approval as published here. Another server may know it before it is posted here: see
    /// [`Worker::find`].
    pub async fn get(&self, id: &Ident) -> Result<Option<Approval>, Error> {
        let approval = self.read(id)?;
        if let Some(approval) = &approval {
            self.published_with(approval.last_index()).await?;
        }
        Ok(approval)
    }

    /// The approval, if `may` allows the caller to see it. Returns `None` only after everything in the journal
    /// is posted here. A forbidden approval takes as long as one that does not exist, so that the caller can't
    /// tell them apart.
    pub async fn find(
        &self,
        id: &Ident,
        may: impl Fn(&Approval) -> bool,
    ) -> Result<Option<Approval>, Error> {
        if let Some(approval) = self.get(id).await?.filter(&may) {
            return Ok(Some(approval));
        }
        self.ledger.catch_up(&self.tenant).await?;
        Ok(self.get(id).await?.filter(&may))
    }

    /// Waits until everything in the journal is posted here and is in the lists.
    pub async fn catch_up_with_journal(&self) -> Result<(), Error> {
        self.ledger.catch_up(&self.tenant).await?;
        let size = self.tenant.published().size;
        let mut followed = self.followed.subscribe();
        let reached = followed.wait_for(|followed| *followed >= size);
        match tokio::time::timeout(CATCH_UP_WAIT, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ledger::ledger::Error::Behind.into()),
        }
    }

    /// All approvals that are not over, by approval deadline, then id.
    pub fn open_approvals(&self) -> Vec<Arc<Brief>> {
        self.room.lock().expect("no holder of the lock panics").by_deadline(|_| true)
    }

    /// Approvals that ended recently, the last one first.
    pub fn recent(&self) -> Vec<Arc<Brief>> {
        self.room.lock().expect("no holder of the lock panics").recent()
    }

    /// Waits until the list knows a newer version than `after` of this approval.
    pub async fn newer(&self, id: &Ident, after: u64, changes: &mut watch::Receiver<u64>) {
        loop {
            let version = {
                let room = self.room.lock().expect("no holder of the lock panics");
                room.find(id).map(|approval| approval.version)
            };
            // An unknown approval ended long ago, or the follower has not reached it yet.
            if version.is_some_and(|version| version > after) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The approval whose valid token has this id. `None` only after everything in the journal is posted here.
    pub async fn with_token(&self, jti: &str) -> Result<Option<Ident>, Error> {
        let known = || self.room.lock().expect("no holder of the lock panics").with_token(jti);
        if let Some(id) = known() {
            return Ok(Some(id));
        }
        self.catch_up_with_journal().await?;
        Ok(known())
    }

    /// Number of approvals whose cards must be checked now.
    pub fn cards_due(&self) -> usize {
        self.outbox.due()
    }

    /// Number of pending approvals.
    pub fn pending(&self) -> usize {
        self.room.lock().expect("no holder of the lock panics").pending()
    }

    /// The approval that still needs the params of the decision at a leaf index.
    pub fn needs_params_of(&self, index: u64) -> Option<Ident> {
        let room = self.room.lock().expect("no holder of the lock panics");
        let found = room.by_opening(index)?;
        let needs = matches!(found.phase, Phase::Pending | Phase::Granted | Phase::Minted);
        needs.then(|| found.id.clone())
    }

    /// The first journal sequence that an open approval still needs.
    pub fn keep_from(&self) -> Option<u64> {
        let room = self.room.lock().expect("no holder of the lock panics");
        // Before the log was read, this is unknown: keep everything.
        if room.caught_up { room.first_seq() } else { Some(0) }
    }

    /// The decision that opened an approval, and what is left of its call.
    pub fn opening(&self, approval: &Approval) -> Result<(Decision, Option<Frozen>), Error> {
        let requested = approval.state.requested.as_ref().ok_or(Error::NotFound)?;
        let (decision, payload) =
            self.decision_at(requested.opening.index)?.ok_or(Error::NotFound)?;
        let frozen = decision.call.frozen(&payload).ok();
        Ok((decision, frozen))
    }

    /// The approval as people see it now, and its frozen call if that is the call that was hashed.
    pub fn card(&self, approval: &Approval) -> Result<(Card, Option<Frozen>), Error> {
        let (_, frozen) = self.opening(approval)?;
        let call = frozen.as_ref().map(|frozen| FrozenCall {
            params: &frozen.params,
            agent_says: frozen.agent_says.as_deref(),
        });
        let setup = self.setup().ok();
        let card = Card::of(&Making {
            tenant: &self.tenant.name,
            approval: &approval.id,
            state: &approval.state,
            call,
            setup: setup.as_deref(),
            public_url: &self.options.public_url,
            now: now(),
        });
        let mut card = card.ok_or(Error::NotFound)?;
        let hashed = frozen.filter(|frozen| frozen.digest == card.digest);
        // A call that can't be shown to be the hashed one must not be approved (P7).
        card.complete &= hashed.is_some();
        Ok((card, hashed))
    }

    /// The comment beside a review, until it is erased. `index`: leaf index of the evidence that the review
    /// names.
    pub fn comment(&self, index: u64) -> Result<Option<String>, Error> {
        let published = self.tenant.published();
        let payload = self.ledger.reader(&self.tenant, &published).payload(index)?;
        let text = payload.and_then(|payload| payload.value("comment"));
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// The decision at a leaf index, if it needs approval, and what is left of its payload.
    pub(super) fn decision_at(&self, index: u64) -> Result<Option<(Decision, Fields)>, Error> {
        let published = self.tenant.published();
        if index >= published.size {
            return Ok(None);
        }
        let proven = || -> Result<_, store::Error> {
            let Some(entry) = self.ledger.entry(&self.tenant, index)? else { return Ok(None) };
            let payload = self.ledger.payload_of(&self.tenant, index, &entry)?;
            Ok(Some((entry, payload)))
        };
        let Some((entry, payload)) = proven().map_err(|error| self.distrust(error))? else {
            return Ok(None);
        };
        Ok(Decision::of_entry(index, &entry).ok().map(|decision| (decision, payload.values())))
    }

    /// True if the person may review: in a group of the rule, active, and not an owner.
    pub fn may_review(&self, person: &Ident, approval: &impl Parties) -> bool {
        self.setup().is_ok_and(|setup| is_asked(&setup, person, approval))
    }

    /// Approvals that wait for a person: pending, the person may review and has not. Sorted by approval
    /// deadline, then id.
    pub fn waiting_for(&self, person: &Ident) -> Vec<Arc<Brief>> {
        let Ok(setup) = self.setup() else { return Vec::new() };
        let waits = |approval: &Brief| {
            approval.is_pending()
                && approval.answered(person).is_none()
                && is_asked(&setup, person, approval)
        };
        self.room.lock().expect("no holder of the lock panics").by_deadline(waits)
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
