//! What the rules would do with one call (`countersign rules test`). Pure: it uses only the files and an
//! event.

use super::{Person, Setup};
use decider::{
    call::Call,
    quorum::{People, Quorum},
    rule::{Facts, Owner, Rule},
};
use ledger::{
    event::{self, Event, Type},
    ident::Ident,
    json::{self, Value},
    time::Nanos,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Why an event pauses no call. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPaused {
    /// The event would be rejected.
    #[error("the event would be rejected: {0}")]
    Refused(#[from] event::Refused),
    /// The event is of another type.
    #[error("only events of type {decision} pause a call", decision = event::DECISION)]
    NotADecision,
    /// The gateway's verdict is not `approval_needed`.
    #[error("the verdict is {0:?}: only `approval_needed` pauses a call")]
    Verdict(String),
    /// The gateway only observes.
    #[error("data.mode is `shadow`: nothing is paused and nobody is asked")]
    Shadow,
    /// A member is absent that people must see, or that the digest needs.
    #[error("data.payload.{0} is absent: the call can't be shown and its digest can't be checked")]
    Absent(&'static str),
    /// The digest belongs to another call.
    #[error(
        "data.call.digest is {said:?}, but the digest of this call of tenant {tenant} is {computed}"
    )]
    Digest {
        /// Digest in the event.
        said: String,
        /// Tenant for which the digest was computed.
        tenant: Ident,
        /// Digest that was computed.
        computed: String,
    },
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
    /// What `setup` does with an event, as a producer publishes it.
    pub fn of(setup: &Setup, tenant: &Ident, bytes: &[u8]) -> Result<Self, NotPaused> {
        let event = event::parse(bytes)?;
        let paused = Paused::read(tenant, &event)?;
        let params = kept(&paused.params);
        let facts = Facts {
            tool: &paused.tool,
            action: &paused.action,
            labels: &paused.labels,
            params: &params,
        };
        let mut passed_over = Vec::new();
        let rule = setup.rules.iter().find(|rule| match rule.matches(&facts) {
            Ok(()) => true,
            Err(why) => {
                passed_over.push(PassedOver { rule: rule.name.clone(), why });
                false
            }
        });
        let rule = rule.expect("the last rule matches everything: the files were checked").clone();
        let owners = setup.owners(&paused.agent, paused.owner.as_deref());
        let mut reviewers = People::clone(&setup.active());
        reviewers.retain(|person, _| !owners.contains(person));
        Ok(Self {
            call_digest: paused.digest,
            rule_digest: rule.digest(),
            passed_over,
            owner_unknown: rule.owner == Owner::Known && owners.is_empty(),
            owners: owners.iter().filter_map(|id| setup.people.get(id)).map(named).collect(),
            asked: asked(setup, &rule.quorum, &reviewers),
            lacking: rule.quorum.needed(&reviewers),
            places: places(setup, &rule),
            times: Times::of(&rule, paused.at),
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

/// The parts of an event that describe the paused call.
struct Paused {
    agent: String,
    tool: String,
    action: String,
    labels: BTreeMap<String, String>,
    params: Vec<u8>,
    owner: Option<String>,
    digest: String,
    at: Nanos,
}

impl Paused {
    fn read(tenant: &Ident, event: &Event) -> Result<Self, NotPaused> {
        if event.kind != Type::Decision {
            return Err(NotPaused::NotADecision);
        }
        let plain = kept(&event.plain);
        let at = |path: &[&str]| path.iter().try_fold(&plain, |value, name| value.get(name));
        let text = |path: &[&str]| at(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let verdict = text(&["data", "verdict"]);
        if verdict != "approval_needed" {
            return Err(NotPaused::Verdict(verdict));
        }
        if text(&["data", "mode"]) == "shadow" {
            return Err(NotPaused::Shadow);
        }
        let field = |name: &str| event.fields.iter().find(|field| field.name == name);
        let said = |name: &str| kept(&field(name)?.value).as_str().map(str::to_owned);
        let params = field("params").ok_or(NotPaused::Absent("params"))?.value.clone();
        let nonce = said("nonce").ok_or(NotPaused::Absent("nonce"))?;
        let (agent, run) = (text(&["data", "agent", "id"]), at(&["data", "agent", "run"]));
        let (tool, action) = (text(&["data", "tool", "name"]), text(&["data", "tool", "action"]));
        let call = Call {
            nonce: &nonce,
            tenant,
            agent: &agent,
            run: run.and_then(Value::as_str),
            tool: &tool,
            action: &action,
            params: &kept(&params),
        };
        let (computed, said_digest) = (call.digest(), text(&["data", "call", "digest"]));
        if said_digest != computed {
            return Err(NotPaused::Digest { said: said_digest, tenant: tenant.clone(), computed });
        }
        let labels = match at(&["data", "labels"]) {
            Some(Value::Object(members)) => {
                let text = |value: &Value<'_>| value.as_str().unwrap_or_default().to_owned();
                members.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
            }
            _ => BTreeMap::new(),
        };
        let at = Nanos::parse(&text(&["time"])).unwrap_or_default();
        let owner = said("owner");
        Ok(Self { agent, tool, action, labels, params, owner, digest: computed, at })
    }
}

/// Parses a value again that the strict reader accepted before.
fn kept(bytes: &[u8]) -> Value<'_> {
    json::parse_kept(bytes).expect("the event was read strictly")
}
