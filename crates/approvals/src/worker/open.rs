//! Opens approvals: a decision that needs approval becomes a paused call, and people are asked.

use super::{Error, PUBLISHED_WAIT, Worker, is_conflict, now};
use crate::{
    fault,
    history::Approval,
    opening::{Frozen, Opening},
    setup::Setup,
};
use decider::{
    Decider as _,
    approval::{
        Approval as Lifecycle, Command, Message, Opening as OpeningRef, Requested, State, Summary,
    },
};
use ledger::{canonical, journal::Subject};

/// Why a decision opened no approval: a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOpened(pub &'static str);

impl NotOpened {
    /// What the data plane must do about it.
    pub fn advice(self) -> &'static str {
        match self.0 {
            "not_needed" => "Only a decision with verdict approval_needed opens an approval.",
            "shadow" => "A decision in shadow mode pauses nothing.",
            "no_call" => {
                "Send data.payload.params and data.payload.nonce: without them nobody can see what to approve."
            }
            "no_digest" => "Send data.call.digest, computed as proto/formats/event.md says.",
            "digest_mismatch" => {
                "data.call.digest is not the digest of this call; compute it as proto/formats/event.md says."
            }
            "too_old" => {
                "The decision is older than its approval deadline, by its own time or the journal's: publish a new one."
            }
            _ => "No rule is in force for this call; its operator must apply rules.",
        }
    }
}

impl Worker {
    /// Opens the approval of the decision at a leaf index. If it was opened before, returns it as it is now.
    pub async fn open(&self, index: u64) -> Result<Result<Approval, NotOpened>, Error> {
        let Some((opening, frozen)) = self.opening_at(index)? else {
            return Ok(Err(NotOpened("not_needed")));
        };
        // Read the expected sequence before the entries: see `Approval::read`.
        let expected =
            self.ledger.last_on(&self.tenant, &Subject::Approvals(opening.id.clone()))?;
        if let Some(known) = self.get(&opening.id).await? {
            return Ok(Ok(known));
        }
        self.never_opened(&opening)?;
        let setup = self.decides().await?;
        let (requested, cancel) = match self.requested(&setup, &opening, frozen.as_ref()) {
            Ok(found) => found,
            Err(reason) => {
                self.count_not_opened(&opening, reason);
                return Ok(Err(NotOpened(reason)));
            }
        };
        let opened = self.append_first(&opening, requested, cancel, expected).await;
        self.room
            .lock()
            .expect("no holder of the lock panics")
            .release(&opening.id, &opening.agent);
        opened.map(Ok)
    }

    fn count_not_opened(&self, opening: &Opening, reason: &'static str) {
        let mut counts = self.not_opened.lock().expect("no holder of the lock panics");
        *counts.entry(reason).or_default() += 1;
        drop(counts);
        let (tenant, index) = (&self.tenant.name, opening.index);
        tracing::warn!(%tenant, index, reason, "a decision that needs approval opened nothing");
    }

    /// The request, and the reason to cancel it at once, if there is one. Or why the decision opens no
    /// approval.
    fn requested(
        &self,
        setup: &Setup,
        opening: &Opening,
        frozen: Option<&Frozen>,
    ) -> Result<(Requested, Option<String>), &'static str> {
        if opening.shadow {
            return Err("shadow");
        }
        let Some(frozen) = frozen else { return Err("no_call") };
        match &opening.declared {
            None => return Err("no_digest"),
            Some(declared) if *declared != frozen.digest => return Err("digest_mismatch"),
            Some(_) => {}
        }
        let rule = opening.with_facts(frozen, |facts| setup.rule_for(facts).cloned()).flatten();
        let Some(rule) = rule else { return Err("no_rule") };
        // Old decisions that are published late count from the time they were made, so that nobody is asked
        // about calls that are long over.
        let asked = opening.said_at.map_or(opening.at, |said_at| said_at.min(opening.at));
        if now() >= rule.approval_deadline(asked) {
            return Err("too_old");
        }
        let by = OpeningRef { producer: opening.producer.clone(), index: opening.index };
        let call = Summary {
            agent: opening.agent.clone(),
            run: opening.run.clone(),
            tool: opening.tool.clone(),
            action: opening.action.clone(),
            digest: frozen.digest.clone(),
        };
        let owners = setup.owners(&opening.agent, frozen.owner.as_deref());
        // The rule's limits were checked when its file was read.
        let requested = Requested::new(by, call, rule, owners, opening.at);
        let Ok(requested) = requested else { return Err("no_rule") };
        let cancel = if requested.lacks_owner() {
            Some("owner_unknown".to_owned())
        } else {
            let kind = (opening.agent.as_str(), opening.tool.as_str(), opening.action.as_str());
            let mut room = self.room.lock().expect("no holder of the lock panics");
            room.reserve(&opening.id, kind, now()).err().map(str::to_owned)
        };
        Ok((requested, cancel))
    }

    /// Appends the first message. If another worker's message came first, returns that approval.
    async fn append_first(
        &self,
        opening: &Opening,
        requested: Requested,
        cancel: Option<String>,
        expected: u64,
    ) -> Result<Approval, Error> {
        let command = Command::Request { requested: Box::new(requested), cancel };
        let decided = Lifecycle::decide(&State::begin(&opening.leaf), &command);
        let message = Message {
            approval_id: opening.id.clone(),
            n: 1,
            prev: opening.leaf.clone(),
            events: decided.events,
        };
        let subject = Subject::Approvals(opening.id.clone());
        let mut states = self.tenant.watch();
        fault::point("opening");
        let body = canonical::of(&message);
        match self.ledger.publish_after(&self.tenant, &subject, &body, expected).await {
            Ok(_) => {}
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error.into()),
        }
        fault::point("opened");
        // A worker that lost compare-and-swap waits until the winner's message is posted here.
        let posted = async {
            loop {
                match self.read_again(&opening.id).await {
                    Err(Error::NotFound) if states.changed().await.is_ok() => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(PUBLISHED_WAIT, posted).await.unwrap_or(Err(Error::Unknown))
    }
}
