//! A tenant's rules, people and channels: two TOML files, in force once they are applied (`proto/formats/rules.md`).

use decider::rule::Rule;
use ledger::ident::Ident;
use std::collections::{BTreeMap, BTreeSet};

/// One person who may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Opaque principal id: the only thing of a person that stands in the log.
    pub id: Ident,
    /// For pages and cards.
    pub name: String,
    /// Groups that rules ask.
    pub groups: BTreeSet<String>,
    /// Agents this person owns, by `agent.id`: never reviews their calls.
    pub owns: BTreeSet<String>,
    /// Linked member of a Slack workspace.
    pub slack: Option<SlackMember>,
    /// Linked member of a Microsoft directory.
    pub teams: Option<TeamsMember>,
    /// Asked nothing, and signed in nowhere.
    pub disabled: bool,
}

/// A member of a Slack workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlackMember {
    /// Workspace (`T…`) or organisation (`E…`).
    pub workspace: String,
    /// Member (`U…`, `W…`).
    pub user: String,
}

/// A member of a Microsoft directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TeamsMember {
    /// Directory (tenant) id.
    pub directory: String,
    /// Object id in it.
    pub object: String,
}

/// Where a card can be shown, under a name that rules use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// A connection of the server's configuration, of this tenant.
    pub connection: Ident,
    /// Slack: channel id. Teams: conversation id. Webhook: nothing.
    pub to: String,
}

/// What is in force, or would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// In order; the first match wins; the last matches everything.
    pub rules: Vec<Rule>,
    /// By id.
    pub people: BTreeMap<Ident, Person>,
    /// By name.
    pub channels: BTreeMap<String, Channel>,
}
