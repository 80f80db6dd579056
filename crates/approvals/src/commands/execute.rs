//! Runs one command on one approval: read, decide, append with compare-and-swap, answer from the resulting
//! ledger.

use super::{
    Error, PoliciesNow, Showings, cards::CardMaker, case::Case, not_opened::NotOpenedCounts,
    reader::ApprovalReader, readiness::Readiness,
};
use crate::{
    fault,
    history::Approval,
    log::{Extent, Log},
};
use decider::{
    Decider as _,
    approval::{
        Approval as Lifecycle, Auth, Choice, Command, DenyReason, Event, Message, Outcome, Refusal,
        Via, World, fold,
    },
    decision::Frozen,
    passkey::Signed,
    rule::Rule,
};
use ledger::{
    canonical,
    ident::Ident,
    journal::Subject,
    log::merkle::leaf_hash,
    system::{LeafAt, policy::Activates},
    time::Nanos,
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

/// Number of attempts to decide a command that keeps losing compare-and-swap.
pub(super) const TRIES_MAX: usize = 8;
/// Longest wait until the message that won is posted here.
const CONFLICT_WAIT: Duration = Duration::from_secs(1);

/// Member of evidence: what a person who denied tells the agent.
pub const FOR_AGENT: &str = "for_agent";
/// Member of evidence: the raw request of a chat.
pub(super) const RAW: &str = "raw";

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Done {
    /// The approval after the command.
    pub approval: Approval,
    /// Why the command was not carried out.
    pub refused: Option<Refusal>,
    /// True if an entry was written for it.
    pub written: bool,
    /// The call as it was hashed, unless it was erased.
    pub frozen: Option<Frozen>,
}

/// A person's answer.
#[derive(Clone, Debug)]
pub struct Review {
    /// The person. `None` if the chat account that clicked is not linked to a person.
    pub by: Option<Ident>,
    /// The person's choice.
    pub decision: Choice,
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
    /// Why the person denies, if they say so.
    pub reason: Option<DenyReason>,
    /// What the agent should do instead, in the person's words. It is kept as evidence, and the gateway gets it.
    pub for_agent: Option<String>,
    /// The raw request of the chat. It is kept as evidence.
    pub raw: Option<String>,
    /// The signature of the person's passkey over this answer. The caller has verified it.
    pub signed: Option<Box<Signed>>,
    /// How many calls the person answers with this press, if it is on the page of like calls.
    pub together: Option<u32>,
}

impl Review {
    fn command(&self, world: World, evidence: Option<u64>) -> Command {
        Command::Review {
            world,
            by: self.by.clone(),
            decision: self.decision,
            via: self.via,
            auth: self.auth,
            displayed_dig: self.displayed_dig.clone(),
            version: self.version,
            shown_at: self.shown_at,
            evidence,
            reason: self.reason,
            signed: self.signed.clone(),
            together: self.together,
        }
    }

    /// The parts of the review that are kept as evidence.
    fn evidence(&self) -> Option<Map<String, Value>> {
        let kept = [("comment", &self.comment), (FOR_AGENT, &self.for_agent), (RAW, &self.raw)];
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

/// Carries out commands on approvals.
#[derive(Clone)]
pub struct Commands {
    pub(crate) reader: ApprovalReader,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) cards: CardMaker,
    pub(crate) not_opened: NotOpenedCounts,
    /// To whom approvals were shown.
    pub showings: Showings,
    /// What the policies in force say of a call now.
    pub policies: PoliciesNow,
}

impl Commands {
    /// Records a person's answer. Its evidence is written first, if the answer would be recorded as things stand. It
    /// stays in the log even if another change of the approval then comes first and the answer is refused.
    pub async fn review(&self, id: &Ident, review: Review) -> Result<Done, Error> {
        let case = self.case(id).await?;
        let decided =
            Lifecycle::decide(&case.approval.state, &review.command(case.world.clone(), None));
        let approves =
            |event: &Event| matches!(event, Event::Reviewed { decision: Choice::Approve, .. });
        if decided.events.iter().any(approves) && !self.cards.of_case(&case)?.complete {
            let Case { approval, frozen, .. } = case;
            self.reader.until_published(approval.last_index()).await?;
            let refused = Some(Refusal::NotShown);
            return Ok(Done { approval, refused, written: false, frozen });
        }
        let mut evidence = None;
        if let Some(body) = review.evidence().filter(|_| !decided.events.is_empty()) {
            evidence = Some(self.keep_evidence(id, &body).await?);
            fault::point("evidence_kept");
        }
        self.execute_on(Some(case), (id, None), |world| review.command(world, evidence)).await
    }

    /// The log whose approvals these are.
    pub fn reader_log(&self) -> &dyn Log {
        &*self.reader.log
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
        self.reader.log.append(&Subject::Evidence(id.clone()), &canonical::of(body), None).await
    }

    /// Carries out a command.
    pub(crate) async fn execute(
        &self,
        id: &Ident,
        command: impl Fn(World) -> Command,
    ) -> Result<Done, Error> {
        self.execute_on(None, (id, None), command).await
    }

    /// Carries out a command whose message also puts a bundle in force. [`ledger::Error::NotPosted`] if it does not
    /// stand at its place: then nothing happened.
    pub(crate) async fn execute_activating(
        &self,
        id: &Ident,
        activates: &Activates,
        command: impl Fn(World) -> Command,
    ) -> Result<Done, Error> {
        self.execute_on(None, (id, Some(activates)), command).await
    }

    /// Carries out a command, the first time on what was read already. Compare-and-swap notices if that is stale.
    pub(super) async fn execute_on(
        &self,
        mut read: Option<Case>,
        (id, activates): (&Ident, Option<&Activates>),
        command: impl Fn(World) -> Command,
    ) -> Result<Done, Error> {
        for _ in 0..TRIES_MAX {
            let before = self.reader.log.extent();
            let _same_rules = self.readiness.keep_rules().await;
            let read = match read.take() {
                Some(case) => self.still_in_force(case).await?,
                None => None,
            };
            let case = match read {
                Some(case) => case,
                None => self.case(id).await?,
            };
            let Case { approval, frozen, world, .. } = case;
            let at = world.now;
            let decided = Lifecycle::decide(&approval.state, &command(world));
            if decided.events.is_empty() {
                // Never refuse from stale state: first catch up with the journal, then decide again.
                if decided.refused.is_some()
                    && self.reader.catch_up_with(id, approval.expected).await?
                {
                    continue;
                }
                self.reader.until_published(approval.last_index()).await?;
                let refused = decided.refused;
                return Ok(Done { approval, refused, written: false, frozen });
            }
            let expected = approval.expected;
            let appended = self.append(approval, (decided.events, activates), at).await?;
            if let Some((approval, overtaken)) = appended {
                let refused = decided.refused.or(overtaken);
                return Ok(Done { approval, refused, written: true, frozen });
            }
            // The message that won may not be posted here yet.
            if !self.reader.catch_up_with(id, expected).await? {
                let grows = |extent: Extent| extent != before;
                let _ = tokio::time::timeout(CONFLICT_WAIT, self.reader.log.until(&grows)).await;
            }
        }
        Err(Error::Contended)
    }

    /// A case whose evidence was written meanwhile, at the time of now. `None` if other rules came into force.
    async fn still_in_force(&self, mut case: Case) -> Result<Option<Case>, Error> {
        let setup = self.readiness.decides().await?;
        case.world.now = self.readiness.clocks.now();
        case.world.clock = self.reader.log.last_clock();
        let opening =
            case.approval.state.requested.as_ref().map(|requested| requested.opening.index);
        case.world.policy = opening.map(|index| self.policies.of(index)).unwrap_or_default();
        Ok(Arc::ptr_eq(&setup, &case.setup).then_some(case))
    }

    /// The approval as posted here, and the world at this moment: the input of every decision.
    pub(crate) async fn case(&self, id: &Ident) -> Result<Case, Error> {
        self.readiness.decides().await?;
        let approval = self.reader.latest(id).await?;
        if let Some(requested) = &approval.state.requested {
            // A posted entry can be read only once it is published, a moment later.
            self.reader.until_published(requested.opening.index).await?;
        }
        // Check again, because the wait may have taken time.
        let setup = self.readiness.decides().await?;
        let (decision, frozen) = self.reader.opening(&approval)?;
        let rule = frozen.as_ref().and_then(|frozen| {
            decision.call.with_facts(frozen, |facts| setup.rule_for(facts).map(Rule::digest))
        });
        let named = frozen.as_ref().map_or(&[][..], |frozen| &frozen.owners);
        let world = World {
            now: self.readiness.clocks.now(),
            rule: rule.flatten(),
            people: setup.active(),
            owners: setup.owners(&decision.call.agent, named),
            policy: self.policies.of(decision.index),
            clock: self.reader.log.last_clock(),
        };
        Ok(Case { approval, frozen, setup, world })
    }

    /// Appends one message. `None` if another message came first. Otherwise the approval after it, and whether
    /// time overtook it: the journal took it after a deadline that our clock had not reached.
    async fn append(
        &self,
        approval: Approval,
        (events, activates): (Vec<Event>, Option<&Activates>),
        decided_at: Nanos,
    ) -> Result<Option<(Approval, Option<Refusal>)>, Error> {
        let message = Message {
            approval_id: approval.id.clone(),
            n: approval.state.n + 1,
            prev: approval.state.leaf.clone(),
            activates: activates
                .filter(|_| events.iter().any(|event| matches!(event, Event::Redeemed { .. })))
                .cloned(),
            decision: self.redeemed(&approval, &events)?,
            events,
        };
        let body = canonical::of(&message);
        let subject = Subject::Approvals(approval.id.clone());
        let hoped = fold(approval.state.clone(), &message, "", decided_at).phase;
        fault::point("decided");
        match self.reader.log.append(&subject, &body, Some(approval.expected)).await {
            Ok(index) => {
                fault::point("published");
                let entry = self.reader.log.entry(index)?;
                // Compare-and-swap guarantees that nothing lies between the last entry read and this one.
                let approval = entry.and_then(|entry| approval.after(index, &entry));
                let approval = approval.ok_or(Error::Unknown)?;
                self.reader.registry.learn(&approval);
                self.reader.kept.keep(approval.clone());
                let overtaken = approval.state.phase != hoped;
                Ok(Some((approval, overtaken.then_some(Refusal::TooLate))))
            }
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The decision whose call these events redeem. Posting looks there whether the call is frozen.
    fn redeemed(&self, approval: &Approval, events: &[Event]) -> Result<Option<LeafAt>, Error> {
        let opening = approval.state.requested.as_ref().map(|requested| requested.opening.index);
        let redeems = events.iter().any(|event| matches!(event, Event::Redeemed { .. }));
        let Some(index) = opening.filter(|_| redeems) else { return Ok(None) };
        let entry = self.reader.log.entry(index)?.ok_or(Error::Unknown)?;
        Ok(Some(LeafAt { index, leaf_hash: leaf_hash(&entry) }))
    }

    /// Reads an approval after a change, updates memory and wakes waiting tasks.
    pub(crate) async fn read_again(&self, id: &Ident) -> Result<Approval, Error> {
        let approval = self.reader.get(id).await?.ok_or(Error::NotFound)?;
        self.reader.registry.learn(&approval);
        Ok(approval)
    }
}
