//! What the rules would do with one call (`countersign rules test`). Pure: it uses only the files and an
//! event.

use super::{Person, Setup};
use crate::display::{self, Displayed};
use decider::{
    decision::{NotPaused, PausedCall},
    quorum::{People, Quorum},
    rule::{Owner, Rule, Visible},
};
use ledger::{event, ident::Ident, json, time::Nanos};
use serde::Serialize;
use std::collections::BTreeMap;

/// Why nothing can be planned for an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlanned {
    /// The event would be rejected.
    #[error("the event would be rejected: {0}")]
    Refused(#[from] event::Refused),
    /// It would be posted and pause no call.
    #[error(transparent)]
    NotPaused(#[from] NotPaused),
}

/// A person, by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Principal id.
    pub id: Ident,
    /// The person's name.
    pub name: String,
}

/// A rule that does not match the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Name of the rule.
    pub rule: String,
    /// The first condition that does not hold.
    pub why: &'static str,
}

/// A place where a card would be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Name in `[channels]`.
    pub channel: String,
    /// Connection that it uses.
    pub connection: Ident,
    /// Destination in that chat.
    pub to: String,
    /// True if it is used only after an escalation.
    pub on_escalation: bool,
}

/// The times of the approval, if the journal took the event at the event's own `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    /// The event's `time`.
    pub asked: Nanos,
    /// Half of the time to approve is over.
    pub reminder: Nanos,
    /// Two thirds of the time to approve are over. `None` if the rule has no `escalate` channels.
    pub escalation: Option<Nanos>,
    /// From this time on, nothing grants it.
    pub approval_deadline: Nanos,
}

/// What would happen to one paused call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Digest of the call.
    pub call_digest: String,
    /// The sentence that people read.
    pub sentence: String,
    /// True if the sentence is of a `[[display]]`.
    pub displayed: bool,
    /// The fields that people read first: label and value.
    pub fields: Vec<(String, String)>,
    /// The whole rule that matches.
    pub rule: Rule,
    /// Digest of the rule.
    pub rule_digest: String,
    /// The rules before it, in order, and why they do not match.
    pub passed_over: Vec<PassedOver>,
    /// Owners of the agent. They are not asked.
    pub owners: Vec<Named>,
    /// True if the rule demands a known owner and none is known: the approval would be cancelled at once.
    pub owner_unknown: bool,
    /// People who are asked, by group of the quorum.
    pub asked: BTreeMap<String, Vec<Named>>,
    /// What the quorum lacks even if everybody who is asked approves. Empty if it can be met.
    pub lacking: Vec<(u32, String)>,
    /// Places of cards, beside the web page.
    pub places: Vec<Place>,
    /// Times of the approval.
    pub times: Times,
}

impl Plan {
    /// What `setup` does with an event as a producer publishes it.
    pub fn of(setup: &Setup, tenant: &Ident, bytes: &[u8]) -> Result<Self, NotPlanned> {
        let event = event::parse(bytes)?;
        let call = PausedCall::of_event(tenant, &event)?;
        let fields = event.fields.into_iter().map(|field| (field.name, field.value)).collect();
        let frozen = call.asked(&fields)?;
        let mut passed_over = Vec::new();
        let mut first = |facts: &Visible<'_>| {
            setup.rules.iter().find(|rule| match rule.matches(facts) {
                Ok(()) => true,
                Err(why) => {
                    passed_over.push(PassedOver { rule: rule.name.clone(), why });
                    false
                }
            })
        };
        let rule = call.with_facts(&frozen, &mut first).flatten();
        let rule = rule.expect("the last rule matches everything: the files were checked").clone();
        let owners = setup.owners(&call.agent, &frozen.owners);
        let mut reviewers = People::clone(&setup.active());
        reviewers.retain(|person, _| !owners.contains(person));
        let params = json::parse_kept(frozen.params.as_bytes()).ok();
        let amount = rule.matches.amount.as_ref().or_else(|| setup.amount_of(&call.tool));
        let (tool, action) = (call.tool.as_str(), call.action.as_str());
        let shown = display::Call { tool, action, params: params.as_ref(), amount };
        let told = Displayed::of(setup.display_for(tool, action), &shown);
        Ok(Self {
            call_digest: frozen.digest,
            sentence: told.sentence.plain(),
            displayed: told.authored,
            fields: told.fields.iter().map(|f| (f.label.clone(), f.text())).collect(),
            rule_digest: rule.digest(),
            passed_over,
            owner_unknown: rule.owner == Owner::Known && owners.is_empty(),
            owners: owners.iter().filter_map(|id| setup.people.get(id)).map(named).collect(),
            asked: asked(setup, &rule.quorum, &reviewers),
            lacking: rule.quorum.needed(&reviewers),
            places: places(setup, &rule),
            times: Times::of(&rule, call.said_at.unwrap_or_default()),
            rule,
        })
    }
}

impl Times {
    fn of(rule: &Rule, asked: Nanos) -> Self {
        Self {
            asked,
            reminder: rule.reminder_at(asked),
            escalation: rule.escalation_at(asked),
            approval_deadline: rule.approval_deadline(asked),
        }
    }
}

fn named(person: &Person) -> Named {
    Named { id: person.id.clone(), name: person.name.clone() }
}

fn asked(setup: &Setup, quorum: &Quorum, reviewers: &People) -> BTreeMap<String, Vec<Named>> {
    let of = |group: &str| {
        let members = reviewers.iter().filter(|(_, groups)| groups.contains(group));
        members.filter_map(|(id, _)| setup.people.get(id)).map(named).collect()
    };
    quorum.groups().into_iter().map(|group| (group.to_owned(), of(group))).collect()
}

fn places(setup: &Setup, rule: &Rule) -> Vec<Place> {
    let at_once = rule.channels.iter().map(|name| (name, false));
    let later = rule.escalate.iter().map(|name| (name, true));
    let place = |(name, on_escalation): (&String, bool)| {
        let channel = setup.channels.get(name)?;
        let (connection, to) = (channel.connection.clone(), channel.to.clone());
        Some(Place { channel: name.clone(), connection, to, on_escalation })
    };
    at_once.chain(later).filter_map(place).collect()
}
