//! What is seen of approvals: lists, cards, who is asked, what must be kept.

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
    /// An approval as it stands in the ledger, once that is published. It may be known elsewhere and not be posted here
    /// yet: see [`Worker::find`].
    pub async fn get(&self, id: &Ident) -> Result<Option<Approval>, Error> {
        let approval = self.read(id)?;
        if let Some(approval) = &approval {
            self.published_with(approval.last_index()).await?;
        }
        Ok(approval)
    }

    /// An approval that `may` be told of; `None` only once everything is posted here that the journal holds. One that may
    /// not be told of is looked for as long as one that does not exist.
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

    /// Waits until everything is posted here that the journal holds, and was looked at for the lists.
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

    /// Approvals that ended lately, the last one first.
    pub fn recent(&self) -> Vec<Arc<Brief>> {
        self.room.lock().expect("no holder of the lock panics").recent()
    }

    /// Waits until an approval has a newer version than `after`, as far as the list knows.
    pub async fn newer(&self, id: &Ident, after: u64, changes: &mut watch::Receiver<u64>) {
        loop {
            let version = {
                let room = self.room.lock().expect("no holder of the lock panics");
                room.find(id).map(|approval| approval.version)
            };
            // One that is not known ended long ago, or is not followed yet.
            if version.is_some_and(|version| version > after) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The approval whose token that lives has this id; `None` only once everything is posted here that the journal holds.
    pub async fn with_token(&self, jti: &str) -> Result<Option<Ident>, Error> {
        let known = || self.room.lock().expect("no holder of the lock panics").with_token(jti);
        if let Some(id) = known() {
            return Ok(Some(id));
        }
        self.catch_up_with_journal().await?;
        Ok(known())
    }

    /// How many approvals have cards that must be looked at now.
    pub fn cards_due(&self) -> usize {
        self.outbox.due()
    }

    /// How many approvals are pending.
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

    /// The first journal sequence that an approval which is not over still needs.
    pub fn keep_from(&self) -> Option<u64> {
        let room = self.room.lock().expect("no holder of the lock panics");
        // Before the log was read nobody knows.
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

    /// The approval as people see it now, and its frozen call while that is the call that was hashed.
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
        // What can't be shown to be the hashed call is not approved (P7).
        card.complete &= hashed.is_some();
        Ok((card, hashed))
    }

    /// What somebody wrote beside an answer, until it is erased; `index`: of the evidence that the answer names.
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

    /// Whether a person is asked about an approval: in a group of its rule, active, not an owner.
    pub fn may_review(&self, person: &Ident, approval: &impl Parties) -> bool {
        self.setup().is_ok_and(|setup| is_asked(&setup, person, approval))
    }

    /// What waits for a person: pending, they are asked and have not answered; by approval deadline, then id.
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

/// Whether a person is asked: in a group of the rule, active, not an owner (P10).
fn is_asked(setup: &Setup, person: &Ident, approval: &impl Parties) -> bool {
    let known = setup.people.get(person).filter(|known| !known.disabled);
    let Some(((agent, quorum), known)) = approval.asks().zip(known) else {
        return false;
    };
    quorum.asks(&known.groups) && !approval.is_owner(person) && !known.owns.contains(agent)
}
