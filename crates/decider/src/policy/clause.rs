//! One clause: for which calls it is, when it matches, and what it then says.

use super::{
    agents::Standing,
    condition::Condition,
    early::Early,
    fields::{MapReader, is_name, text_of},
    mistakes::{Mistake, Mistakes, Place},
    on::On,
    sanitize::Sanitize,
    times::moment_of,
    yaml::{Node, Yaml},
};
use ledger::{system::freeze::FreezeScope, time::Nanos};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What a clause says when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It permits the call.
    Allow,
    /// It permits the call if people approve it.
    ApprovalNeeded,
    /// It forbids the call, whatever permits it.
    Deny,
    /// It changes what something else permits, and permits nothing.
    Sanitize,
}

impl Then {
    /// True if a call that it matches may pass by it.
    pub(super) fn permits(self) -> bool {
        matches!(self, Self::Allow | Self::ApprovalNeeded)
    }
}

/// For whom and since when a clause is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Enforcement {
    Full,
    Shadow,
    /// Until each time, the share of agents for whom it is in force, in percent. The last step has no end.
    Steps(Vec<(Option<Nanos>, u8)>),
}

/// A clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// `<policy>/<id>`
    pub name: String,
    /// What it says.
    pub then: Then,
    /// For the agent and for reviewers.
    pub message: Option<String>,
    /// Conditions on the use of what is permitted, which go back with the verdict.
    pub obligations: BTreeMap<String, serde_json::Value>,
    /// Name of the alert that a match makes.
    pub alert: Option<String>,
    /// What a match freezes: the agent or its session.
    pub freeze: Option<FreezeScope>,
    pub(super) policy: String,
    pub(super) id: String,
    /// What may be told before it is recorded.
    pub(super) early: Early,
    /// What it judges: calls, or results.
    pub(super) on: On,
    /// What a sanitize clause redacts. Empty in other clauses.
    pub(super) sanitize: Sanitize,
    /// Ids, `@group`, `@unregistered` or `*`. Empty: every agent.
    pub(super) agents: Vec<String>,
    /// `None`: every tool.
    pub(super) tool: Option<String>,
    /// Empty: every action.
    pub(super) actions: BTreeSet<String>,
    pub(super) when: Option<Condition>,
    /// The text of each condition, for reviewers.
    pub(super) shown: BTreeMap<String, String>,
    pub(super) file: String,
    pub(super) at: Place,
    pub(super) enforcement: Enforcement,
}

/// Keys that come with a later release.
const LATER: [&str; 1] = ["disclose"];

impl Clause {
    /// Reads a clause of the policy `policy` in `file`.
    pub(super) fn read(
        node: Node,
        policy: &str,
        file: &str,
        mistakes: &Mistakes<'_>,
    ) -> Option<Self> {
        let mut fields = MapReader::of(node, "a clause", mistakes)?;
        let at = fields.at;
        for later in LATER {
            if let Some(node) = fields.take(later) {
                mistakes.note(node.at, format!("{later} is not in this release"));
            }
        }
        let id = fields.must_name("id", "a short name of the clause, unique in its policy");
        let agents =
            fields.texts("agents").unwrap_or_default().into_iter().map(|(who, _)| who).collect();
        let tool = fields
            .must("tool", "the tool's name, or \"*\"")
            .and_then(|node| text_of(node, "tool", mistakes));
        let actions: BTreeSet<String> = fields
            .texts("actions")
            .unwrap_or_default()
            .into_iter()
            .map(|(action, _)| action)
            .collect();
        let when = fields.take("when");
        let shown = when.as_ref().map(shown).unwrap_or_default();
        let when = when.and_then(|node| Condition::read(node, "when", mistakes));
        let then = fields
            .must("then", "allow, approval_needed, deny or sanitize")
            .and_then(|node| then(node, mistakes));
        let message = fields.words("message");
        let alert = alert(&mut fields, mistakes);
        let obligations = fields.fields("obligations").map(obligations).unwrap_or_default();
        let enforcement = fields.fields("enforcement").map_or(Enforcement::Full, Enforcement::read);
        let early = Early::read(&mut fields);
        let freeze = fields.text("freeze");
        let sanitize = Sanitize::read(&mut fields);
        let on = On::read(&mut fields);
        fields.finish();
        let (tool, tool_at) = tool?;
        let then = then?;
        if then == Then::Allow && tool == "*" {
            mistakes.note(
                tool_at,
                "an allow clause names its tool: `*` would allow what nobody has thought of",
            );
        }
        if tool == "*" && !actions.is_empty() {
            mistakes.note(tool_at, "actions belong to a tool: name it, or leave actions out");
        }
        let freeze = freeze.and_then(|(word, at)| frozen(&word, (at, then), mistakes));
        let id = id?.0;
        Some(Self {
            name: format!("{policy}/{id}"),
            then,
            message,
            obligations,
            alert,
            freeze,
            policy: policy.to_owned(),
            id,
            early,
            on,
            sanitize,
            agents,
            tool: Some(tool).filter(|tool| tool != "*"),
            actions,
            when,
            shown,
            file: file.to_owned(),
            at,
            enforcement,
        })
    }

    /// True if the clause is for this agent. Without `agents` it is for every registered agent; one that permits nothing is
    /// then for those that are not registered too, because nobody who writes "deny" means to leave them out.
    pub(super) fn is_for(&self, agent: &Standing<'_>) -> bool {
        if self.agents.is_empty() {
            return !self.then.permits() || agent.is("*");
        }
        self.agents.iter().any(|who| agent.is(who))
    }

    /// True if it is in force for this agent at this time. Otherwise it is in shadow: judged and recorded.
    pub(super) fn in_force(&self, agent: &str, now: Nanos) -> bool {
        match &self.enforcement {
            Enforcement::Full => true,
            Enforcement::Shadow => false,
            Enforcement::Steps(steps) => {
                let step = steps.iter().find(|(until, _)| until.is_none_or(|until| now < until));
                step.is_none_or(|(_, percent)| share(&self.policy, &self.id, agent) < *percent)
            }
        }
    }

    /// A mistake, or a warning, at the place of this clause.
    pub(super) fn mistake(&self, text: &str) -> Mistake {
        let Place { line, column } = self.at;
        Mistake { file: self.file.clone(), line, column, text: format!("{}: {text}", self.id) }
    }

    /// True if it is in shadow for everybody.
    pub(super) fn is_shadow(&self) -> bool {
        match &self.enforcement {
            Enforcement::Full => false,
            Enforcement::Shadow => true,
            Enforcement::Steps(steps) => steps.iter().all(|(_, percent)| *percent == 0),
        }
    }

    /// True if it may be in shadow for somebody.
    pub(super) fn has_shadow(&self) -> bool {
        self.enforcement != Enforcement::Full
    }
}

fn alert(fields: &mut MapReader<'_>, mistakes: &Mistakes<'_>) -> Option<String> {
    let (name, at) = fields.text("alert")?;
    if !is_name(&name) {
        mistakes.note(at, format!("{name:?} is no name of an alert"));
    }
    Some(name)
}

/// The place of an agent among 100, by a hash: the same for ever.
fn share(policy: &str, clause: &str, agent: &str) -> u8 {
    let text = ledger::canonical::of(&["countersign-share-v1", policy, clause, agent]);
    let hash = Sha256::digest(text);
    let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    (number % 100) as u8
}

fn then(node: Node, mistakes: &Mistakes<'_>) -> Option<Then> {
    let (text, at) = text_of(node, "then", mistakes)?;
    match &*text {
        "allow" => Some(Then::Allow),
        "approval_needed" => Some(Then::ApprovalNeeded),
        "deny" => Some(Then::Deny),
        "sanitize" => Some(Then::Sanitize),
        _ => {
            mistakes
                .note(at, format!("{text:?}: then is allow, approval_needed, deny or sanitize"));
            None
        }
    }
}

/// What a clause that denies freezes.
fn frozen(word: &str, (at, then): (Place, Then), mistakes: &Mistakes<'_>) -> Option<FreezeScope> {
    let scope = FreezeScope::parse(word)
        .filter(|scope| matches!(scope, FreezeScope::Agent | FreezeScope::Session));
    if scope.is_none() {
        mistakes.note(at, format!("{word:?}: freeze is agent or session"));
    }
    if then != Then::Deny {
        mistakes.note(at, "only a clause that denies freezes: set then: deny, or leave freeze out");
    }
    scope
}

fn obligations(mut fields: MapReader<'_>) -> BTreeMap<String, serde_json::Value> {
    let mut found = BTreeMap::new();
    for (name, at, node) in fields.rest() {
        if !is_name(&name) {
            fields.wrong(at, format!("{name:?} is no name of an obligation"));
        }
        let value = match node.value {
            Yaml::Text(text) => text.into(),
            Yaml::Integer(number) => number.into(),
            Yaml::Bool(is) => is.into(),
            other => {
                fields.wrong(
                    node.at,
                    format!(
                        "an obligation is a text, a whole number, true or false, not {}",
                        other.kind()
                    ),
                );
                continue;
            }
        };
        found.insert(name, value);
    }
    found
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("in force"),
            Self::Shadow => f.write_str("in shadow"),
            Self::Steps(steps) => {
                let percents: Vec<String> =
                    steps.iter().map(|(_, percent)| format!("{percent} %")).collect();
                write!(f, "in steps of {}", percents.join(", "))
            }
        }
    }
}

impl Enforcement {
    fn read(mut fields: MapReader<'_>) -> Self {
        let at = fields.at;
        let mistakes = fields.mistakes;
        let shadow = fields.flag("shadow");
        let steps = fields.list("steps").map(|nodes| {
            nodes.into_iter().filter_map(|node| step(node, mistakes)).collect::<Vec<_>>()
        });
        fields.finish();
        match (shadow, steps) {
            (Some(true), None) => Self::Shadow,
            (None, Some(steps)) => {
                let ends: Vec<_> = steps.iter().map(|(until, _)| *until).collect();
                let ordered = ends
                    .windows(2)
                    .all(|pair| pair[0].is_some() && (pair[1].is_none() || pair[0] < pair[1]));
                if ends.last() != Some(&None) || !ordered {
                    mistakes.note(at, "steps: each but the last has `until`, each later than the one before; the last has none");
                }
                Self::Steps(steps)
            }
            _ => {
                mistakes.note(at, "enforcement is {shadow: true} or {steps: […]}; leave it out for a clause in force");
                Self::Full
            }
        }
    }
}

fn step(node: Node, mistakes: &Mistakes<'_>) -> Option<(Option<Nanos>, u8)> {
    let mut fields = MapReader::of(node, "a step", mistakes)?;
    let until = fields.text("until").map(|(text, at)| {
        moment_of(&text).unwrap_or_else(|| {
            mistakes
                .note(at, format!("until {text:?} is no moment: write \"2026-12-24T18:00:00Z\""));
            Nanos::default()
        })
    });
    let at = fields.at;
    let percent = fields.integer("percent");
    let found =
        percent.and_then(|percent| u8::try_from(percent).ok()).filter(|percent| *percent <= 100);
    if found.is_none() {
        mistakes.note(
            at,
            "a step has percent: 0 to 100, the share of agents for whom the clause is in force",
        );
    }
    fields.finish();
    Some((until, found?))
}

/// Each condition of a map with its text; those of `params` by their pointers.
fn shown(when: &Node) -> BTreeMap<String, String> {
    let Yaml::Map(members) = &when.value else { return BTreeMap::new() };
    let mut shown = BTreeMap::new();
    for (name, (_, node)) in members {
        match &node.value {
            Yaml::Map(params) if name == "params" => {
                shown.extend(
                    params.iter().map(|(at, (_, node))| (at.clone(), node.value.to_string())),
                );
            }
            value => drop(shown.insert(name.clone(), value.to_string())),
        }
    }
    shown
}
