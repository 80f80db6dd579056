//! Opens approvals: a decision that needs approval becomes a paused call, and people are asked.

use super::{
    Error, NotOpened, PUBLISHED_WAIT,
    execute::{Commands, TRIES_MAX},
    open_approvals::COOLING_DOWN,
};
use crate::{fault, history::Approval, setup::Setup};
use decider::{
    Decider as _,
    approval::{
        Approval as Lifecycle, Command, Message, Opening as OpeningRef, Requested, State, Summary,
    },
    decision::{Decision, Fields},
};
use ledger::{canonical, event::is_reserved_tool, journal::Subject};

/// What the first message of an approval says.
struct Asked {
    requested: Requested,
    /// Why it can't be asked for after all: it is cancelled in the same message.
    cancel: Option<String>,
}

impl Commands {
    /// Opens the approval of the decision at a leaf index. If it was opened before, returns it as it is now. If it can't
    /// be opened, an entry says why, once and for all.
    pub async fn open(&self, index: u64) -> Result<Result<Approval, NotOpened>, Error> {
        let Some((decision, payload)) = self.reader.decision_at(index)? else {
            return Ok(Err(NotOpened::NotNeeded));
        };
        for _ in 0..TRIES_MAX {
            if let Some(opened) = self.open_once(&decision, &payload).await? {
                return Ok(opened);
            }
        }
        Err(Error::Contended)
    }

    /// `None` if another worker's message came first and it did not open the approval: then the reason is in the log.
    async fn open_once(
        &self,
        decision: &Decision,
        payload: &Fields,
    ) -> Result<Option<Result<Approval, NotOpened>>, Error> {
        // Read the expected sequence before the entries: see `Approval::read`.
        let expected = self.reader.log.last_on(&Subject::Approvals(decision.id.clone()))?;
        if let Some(known) = self.reader.get(&decision.id).await? {
            return Ok(Some(Ok(known)));
        }
        if let Some(why) = self.said_why(decision, payload)? {
            return Ok(Some(Err(why)));
        }
        self.reader.never_opened(decision)?;
        let _same_rules = self.readiness.keep_rules().await;
        let setup = self.readiness.decides().await?;
        let asked = match self.asked(&setup, decision, payload) {
            Ok(asked) => asked,
            Err(why) => {
                let said = self.say_why(decision, &why, expected).await?;
                return Ok(said.then_some(Err(why)));
            }
        };
        let requested = asked.requested.clone();
        let opened = self.append_first(decision, asked, expected).await;
        self.reader.registry.open().release(&decision.id, &requested);
        Ok(opened?.map(Ok))
    }

    /// What is asked, or why the decision opens nothing.
    fn asked(
        &self,
        setup: &Setup,
        decision: &Decision,
        payload: &Fields,
    ) -> Result<Asked, NotOpened> {
        let paused = &decision.call;
        let frozen = paused.asked(payload)?;
        let rule = paused.with_facts(&frozen, |facts| setup.rule_for(facts).cloned()).flatten();
        let rule = rule.ok_or(NotOpened::NoRule)?;
        // A backfill of old decisions comes to the journal now: nobody is paged for what is long over.
        let at = decision.at();
        let asked = paused.said_at.map_or(at, |said_at| said_at.min(at));
        if self.readiness.clocks.now() >= rule.approval_deadline(asked) {
            return Err(NotOpened::TooOld);
        }
        let by = OpeningRef { producer: decision.producer.clone(), index: decision.index };
        let call = Summary {
            agent: paused.agent.clone(),
            run: paused.run.clone(),
            tool: paused.tool.clone(),
            action: paused.action.clone(),
            digest: frozen.digest,
        };
        let owners = setup.owners(&paused.agent, &frozen.owners);
        // Rules were checked when they were read.
        let requested = Requested::new(by, call, rule, owners, at);
        let requested = requested.map_err(|_| NotOpened::NoRule)?;
        let cancel = if requested.lacks_owner() {
            Some("owner_unknown".to_owned())
        } else {
            let now = self.readiness.clocks.now();
            let reserved = self.reader.registry.open().reserve(&decision.id, &requested, now);
            // Who changes a proposal after a denial need not wait.
            let ours = is_reserved_tool(&paused.tool);
            reserved.err().filter(|why| !(ours && *why == COOLING_DOWN)).map(str::to_owned)
        };
        Ok(Asked { requested, cancel })
    }

    /// Appends the first message. If another worker's message came first, returns that approval. `None` if that message
    /// says why it is not opened.
    async fn append_first(
        &self,
        decision: &Decision,
        asked: Asked,
        expected: u64,
    ) -> Result<Option<Approval>, Error> {
        let Asked { requested, cancel } = asked;
        let command = Command::Request { requested: Box::new(requested), cancel };
        let decided = Lifecycle::decide(&State::begin(&decision.leaf), &command);
        let message = Message {
            approval_id: decision.id.clone(),
            n: 1,
            prev: decision.leaf.clone(),
            events: decided.events,
            activates: None,
            decision: None,
        };
        let subject = Subject::Approvals(decision.id.clone());
        fault::point("opening");
        let body = canonical::of(&message);
        let lost = match self.reader.log.append(&subject, &body, Some(expected)).await {
            Ok(_) => false,
            Err(error) if error.is_conflict() => true,
            Err(error) => return Err(error),
        };
        fault::point("opened");
        // A worker that lost compare-and-swap waits until the winner's message is posted here.
        let posted = async {
            loop {
                let before = self.reader.log.extent();
                let held = self.reader.log.last_on(&subject)?;
                match self.read_again(&decision.id).await {
                    Err(Error::NotFound) if lost && held != expected => return Ok(None),
                    Err(Error::NotFound) => {
                        if !self.reader.log.until(&|extent| extent != before).await {
                            return Err(Error::Unknown);
                        }
                    }
                    other => return other.map(Some),
                }
            }
        };
        tokio::time::timeout(PUBLISHED_WAIT, posted).await.unwrap_or(Err(Error::Unknown))
    }
}
