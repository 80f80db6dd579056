//! Judges every approval of one log while its entries pass by in order. This finds what no single history can
//! show.
//!
//! It checks each history ([`Audit`]), that no approval has a second history, and that the rule of each
//! request was in force at some moment between the decision and the request.

use super::{Approval, Audit, Event, Fault, Message, Phase, signed::Passkeys};
use crate::{
    Decider as _,
    decision::Decision,
    rule::{
        FREEZE_LIFT, HOLD_RELEASE, KEY_ISSUE, POWER, RETENTION_SET, RULES_APPLY, Rule,
        TENANT_DELETE,
    },
};
use ledger::{
    canonical, disclosure,
    entry::{Kind, View},
    event::is_reserved_tool,
    ident::Ident,
    json::Value,
    log::merkle::leaf_hash,
    system::policy::Activates,
};
use std::collections::{BTreeMap, BTreeSet};

/// State of one approval's audit.
#[derive(Clone, Debug)]
enum Course {
    /// The approval is not over.
    Open(Box<Audit>),
    /// The approval is over. This is enough to begin the audit again if another message follows.
    Over { opening: u64, messages: Vec<u64>, phase: Phase },
}

/// The rules of one `rules` entry.
#[derive(Clone, Debug)]
struct InForce {
    from: u64,
    digests: BTreeSet<String>,
    /// Acts that people must approve, whatever their params are.
    reviewed: Vec<&'static str>,
}

/// Acts of administrators that rules may have people approve (P17).
const REVIEWED_ACTS: [&str; 5] =
    [RULES_APPLY, KEY_ISSUE, RETENTION_SET, HOLD_RELEASE, TENANT_DELETE];

/// Audits all approvals of a log. Memory grows with the open approvals, and by a few hundred bytes for each
/// finished one.
#[derive(Clone, Debug, Default)]
pub struct AuditAll {
    courses: BTreeMap<Ident, Course>,
    rules: Vec<InForce>,
    /// Approvals that were redeemed for an act.
    spent: BTreeSet<Ident>,
    passkeys: Passkeys,
}

impl AuditAll {
    /// Takes the next entry. `read` gives the bytes of an earlier entry. After an error, do not use this audit
    /// any more.
    pub fn take(
        &mut self,
        index: u64,
        entry: &[u8],
        view: &View<'_>,
        mut read: impl FnMut(u64) -> Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        match view.kind {
            Kind::Rules => {
                self.act(RULES_APPLY, view, &mut read)?;
                let rules = view.at(&["event", "rules"]).and_then(Value::as_array).unwrap_or(&[]);
                let digest = |rule| disclosure::digest(&canonical::to_vec(rule));
                let digests = rules.iter().map(digest).collect();
                let read = |rule| serde_json::from_slice::<Rule>(&canonical::to_vec(rule)).ok();
                let rules: Vec<Rule> = rules.iter().filter_map(read).collect();
                let asks = |act: &&str| rules.iter().any(|rule| rule.matches.asks_whenever(act));
                let reviewed = REVIEWED_ACTS.into_iter().filter(asks).collect();
                self.rules.push(InForce { from: index, digests, reviewed });
                Ok(())
            }
            Kind::Freeze if view.text(&["event", "op"]) == Some("lift") => {
                // Whatever the rules say, nobody lifts a freeze alone.
                if view.at(&["event", "by", "approval"]).is_none() {
                    return Err(Fault::Log("it lifts a freeze, and names no approval"));
                }
                self.act(FREEZE_LIFT, view, &mut read)
            }
            Kind::Access => {
                self.passkeys.take(index, view);
                if gives_power(view) { self.act(KEY_ISSUE, view, &mut read) } else { Ok(()) }
            }
            Kind::Retention => match view.text(&["event", "op"]) {
                Some("set") => self.act(RETENTION_SET, view, &mut read),
                Some("release") => self.act(HOLD_RELEASE, view, &mut read),
                Some("delete") => self.act(TENANT_DELETE, view, &mut read),
                _ => Ok(()),
            },
            Kind::Approval => self.approval(index, entry, view, &mut read),
            _ => Ok(()),
        }
    }

    /// Number of approvals in each phase.
    pub fn phases(&self) -> BTreeMap<String, u64> {
        let mut phases = BTreeMap::new();
        for course in self.courses.values() {
            let phase = match course {
                Course::Open(audit) => audit.state().phase,
                Course::Over { phase, .. } => *phase,
            };
            *phases.entry(super::audit::word(&phase)).or_default() += 1;
        }
        phases
    }

    /// Leaf indexes of an approval's messages, in order. Empty if the log does not hold the approval.
    pub fn messages(&self, id: &Ident) -> Vec<u64> {
        match self.courses.get(id) {
            None => Vec::new(),
            Some(Course::Open(audit)) => audit.indexes(),
            Some(Course::Over { messages, .. }) => messages.clone(),
        }
    }

    /// If the rules in force ask people about it, an act must name an approval of such an act that was redeemed, and no
    /// other act may name it.
    fn act(
        &mut self,
        act: &str,
        view: &View<'_>,
        read: &mut impl FnMut(u64) -> Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let named = view.text(&["event", "by", "approval"]).and_then(|id| Ident::new(id).ok());
        // Whoever has the machine has its keys: `init --new-admin-key` is the way out, and its entry says so.
        let with_key = view.at(&["event", "by", "key"]).is_some();
        let demanded =
            with_key && self.rules.last().is_some_and(|rules| rules.reviewed.contains(&act));
        let Some(id) = named else {
            let missing =
                Fault::Log("the rules in force ask people about it, and it names no approval");
            return if demanded { Err(missing) } else { Ok(()) };
        };
        let (opening, phase) = match self.courses.get(&id) {
            Some(Course::Open(audit)) => (audit.opening(), audit.state().phase),
            Some(Course::Over { opening, phase, .. }) => (*opening, *phase),
            None => return Err(Fault::Log("the approval that it names is not there")),
        };
        let redeemed = [Phase::Redeemed, Phase::Completed, Phase::Failed, Phase::Unknown];
        let decision = read(opening).and_then(|entry| Decision::of_entry(opening, &entry).ok());
        let of_act = decision.is_some_and(|decision| {
            is_reserved_tool(&decision.call.tool) && decision.call.action == act
        });
        if !of_act || !redeemed.contains(&phase) || !self.spent.insert(id) {
            return Err(Fault::Log("the approval that it names was not redeemed for it"));
        }
        Ok(())
    }

    fn approval(
        &mut self,
        index: u64,
        entry: &[u8],
        view: &View<'_>,
        read: &mut impl FnMut(u64) -> Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let unreadable = || Fault::Log("not an approval message as formats/approval.md has it");
        let message: Message = view.event_as().ok_or_else(unreadable)?;
        let mut audit = match self.courses.remove(&message.approval_id) {
            None => Box::new(self.begin(index, &message, read)?),
            Some(Course::Open(audit)) => audit,
            Some(Course::Over { opening, messages, .. }) => {
                Box::new(again(opening, &messages, read)?)
            }
        };
        audit.follow(index, entry)?;
        self.passkeys.check(&audit, read)?;
        if message.decision.as_ref().is_some_and(|decision| decision.index != audit.opening()) {
            return Err(Fault::Log("it names another decision than the one that opened it"));
        }
        if let Some(activates) = &message.activates {
            activation(&audit, activates, read)?;
        }
        let id = audit.id().clone();
        let course = if Approval::is_terminal(audit.state()) {
            let (opening, messages) = (audit.opening(), audit.indexes());
            Course::Over { opening, messages, phase: audit.state().phase }
        } else {
            Course::Open(audit)
        };
        self.courses.insert(id, course);
        Ok(())
    }

    /// Begins an approval. Its first message must name its decision and a rule that was in force.
    fn begin(
        &self,
        index: u64,
        message: &Message,
        read: &mut impl FnMut(u64) -> Option<Vec<u8>>,
    ) -> Result<Audit, Fault> {
        let Some(Event::Requested(requested)) = message.events.first() else {
            return Err(Fault::Log("the first message of an approval must be its request"));
        };
        let opening = requested.opening.index;
        let decision = if opening < index { read(opening) } else { None };
        let decision =
            decision.ok_or(Fault::Log("the decision that it names is no earlier entry"))?;
        let ended = |at: usize| self.rules.get(at + 1).is_some_and(|next| next.from <= opening);
        let mut known = self.rules.iter().enumerate().filter(|(at, _)| !ended(*at));
        if !known.any(|(_, rules)| rules.digests.contains(&requested.rule_digest)) {
            return Err(Fault::Log(
                "its rule was not in force between the decision and the request",
            ));
        }
        Audit::begin(opening, &decision)
    }
}

/// A redemption puts in force what the decision of its approval asked for, and only if it counts (P17).
fn activation(
    audit: &Audit,
    activates: &Activates,
    read: &mut impl FnMut(u64) -> Option<Vec<u8>>,
) -> Result<(), Fault> {
    let redeemed = audit.steps().last().is_some_and(|step| {
        let redeems = |event: &Event| matches!(event, Event::Redeemed { .. });
        step.phase == Phase::Redeemed && step.events.iter().any(redeems)
    });
    if !redeemed {
        return Err(Fault::Log("it puts something in force, and redeems nothing that counts"));
    }
    let action = activates.action();
    let decision = read(audit.opening()).unwrap_or_default();
    let asked = View::parse(&decision).is_some_and(|view| {
        view.is_ours()
            && view.text(&["event", "data", "tool", "name"]).is_some_and(is_reserved_tool)
            && action.is_some()
            && view.text(&["event", "data", "tool", "action"]) == action
            && view.text(&["event", "data", "activates"]) == Some(&activates.digest)
    });
    let named = (activates.decision.index, activates.decision.leaf_hash);
    if !asked || named != (audit.opening(), leaf_hash(&decision)) {
        return Err(Fault::Log("it puts something else in force than people were asked about"));
    }
    Ok(())
}

/// True if the entry issues a key of power: it decides who decides.
fn gives_power(view: &View<'_>) -> bool {
    let roles = view.at(&["event", "roles"]).and_then(Value::as_array).unwrap_or(&[]);
    roles.iter().filter_map(Value::as_str).any(|role| POWER.contains(&role))
}

/// Repeats the audit of messages that passed before.
fn again(
    opening: u64,
    messages: &[u64],
    read: &mut impl FnMut(u64) -> Option<Vec<u8>>,
) -> Result<Audit, Fault> {
    let gone = || Fault::Log("an entry before it can't be read again");
    let mut audit = Audit::begin(opening, &read(opening).ok_or_else(gone)?)?;
    for index in messages {
        audit.follow(*index, &read(*index).ok_or_else(gone)?)?;
    }
    Ok(audit)
}
