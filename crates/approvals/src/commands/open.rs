//! Opens approvals: a decision that needs approval becomes a paused call, and people are asked.

use super::{Error, NotOpened, PUBLISHED_WAIT, execute::Commands, open_approvals::COOLING_DOWN};
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
    /// Opens the approval of the decision at a leaf index. If it was opened before, returns it as it is now.
    pub async fn open(&self, index: u64) -> Result<Result<Approval, NotOpened>, Error> {
        let Some((decision, payload)) = self.reader.decision_at(index)? else {
            return Ok(Err(NotOpened::NotNeeded));
        };
        // Read the expected sequence before the entries: see `Approval::read`.
        let expected = self.reader.log.last_on(&Subject::Approvals(decision.id.clone()))?;
        if let Some(known) = self.reader.get(&decision.id).await? {
            return Ok(Ok(known));
        }
        self.reader.never_opened(&decision)?;
        let _same_rules = self.readiness.keep_rules().await;
        let setup = self.readiness.decides().await?;
        let asked = match self.asked(&setup, &decision, &payload) {
            Ok(asked) => asked,
            Err(why) => {
                self.count_not_opened(index, why.code());
                return Ok(Err(why));
            }
        };
        let requested = asked.requested.clone();
        let opened = self.append_first(&decision, asked, expected).await;
        self.reader.registry.open().release(&decision.id, &requested);
        opened.map(Ok)
    }

    fn count_not_opened(&self, index: u64, reason: &'static str) {
        self.not_opened.add(reason);
        let tenant = self.reader.log.tenant();
        tracing::warn!(%tenant, index, reason, "a decision with the verdict approval_needed opened no approval");
    }

    /// Number of decisions since start that needed approval and opened none, by reason.
    pub fn not_opened(&self) -> Vec<(&'static str, u64)> {
        self.not_opened.all()
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

    /// Appends the first message. If another worker's message came first, returns that approval.
    async fn append_first(
        &self,
        decision: &Decision,
        asked: Asked,
        expected: u64,
    ) -> Result<Approval, Error> {
        let Asked { requested, cancel } = asked;
        let command = Command::Request { requested: Box::new(requested), cancel };
        let decided = Lifecycle::decide(&State::begin(&decision.leaf), &command);
        let message = Message {
            approval_id: decision.id.clone(),
            n: 1,
            prev: decision.leaf.clone(),
            events: decided.events,
            activates: None,
        };
        let subject = Subject::Approvals(decision.id.clone());
        fault::point("opening");
        match self.reader.log.append(&subject, &canonical::of(&message), Some(expected)).await {
            Ok(_) => {}
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
        fault::point("opened");
        // A worker that lost compare-and-swap waits until the winner's message is posted here.
        let posted = async {
            loop {
                let before = self.reader.log.extent();
                match self.read_again(&decision.id).await {
                    Err(Error::NotFound) => {
                        if !self.reader.log.until(&|extent| extent != before).await {
                            return Err(Error::Unknown);
                        }
                    }
                    other => return other,
                }
            }
        };
        tokio::time::timeout(PUBLISHED_WAIT, posted).await.unwrap_or(Err(Error::Unknown))
    }
}
