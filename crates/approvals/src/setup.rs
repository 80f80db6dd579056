//! A tenant's rules, people and channels: two TOML files. They are in force once they are applied
//! (`proto/formats/rules.md`).
//!
//! In scope: reading and checking the files, queries, digests. Out of scope: which rule matches and what a
//! quorum is (`decider`), what was applied when (the `rules` entry, `ledger`).

mod applied;
mod check;
mod displays;
mod file;
mod people;
mod plan;
mod rules;
#[cfg(test)]
mod tests;

pub use applied::people_salt;
pub use people::{AGENTS_MAX, GROUPS_MAX, NAME_BYTES_MAX, PEOPLE_MAX};
pub use plan::{Named, NotPlanned, PassedOver, Place, Plan, Times};
pub use rules::{CHANNELS_MAX, RULES_MAX, TO_BYTES_MAX};

use crate::display::Display;
use decider::{
    quorum::People,
    rule::{Amount, Rule, Visible, first_match},
};
use file::File;
use ledger::{event::is_reserved_tool, ident::Ident};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The rules and channels of a tenant, in its folder.
pub const RULES_FILE: &str = "rules.toml";
/// The people of a tenant, in its folder.
pub const PEOPLE_FILE: &str = "people.toml";
/// Largest `rules.toml`, in bytes.
pub const RULES_BYTES_MAX: u64 = 1 << 20;
/// Largest `people.toml`, in bytes.
pub const PEOPLE_BYTES_MAX: u64 = 8 << 20;

/// One person who may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Opaque principal id. The log holds nothing else of a person.
    pub id: Ident,
    /// Name, for pages and cards.
    pub name: String,
    /// Groups that rules can ask.
    pub groups: BTreeSet<String>,
    /// Agents that this person owns, by `agent.id`. The person never reviews their calls.
    pub owns: BTreeSet<String>,
    /// Linked member of a Slack workspace.
    pub slack: Option<SlackMember>,
    /// Linked member of a Microsoft directory.
    pub teams: Option<TeamsMember>,
    /// True if the person is not asked and can't sign in.
    pub disabled: bool,
}

/// A member of a Slack workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SlackMember {
    /// Workspace (`T…`) or organisation (`E…`).
    pub workspace: String,
    /// Member (`U…`, `W…`).
    pub user: String,
}

/// A member of a Microsoft directory; both ids in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TeamsMember {
    /// Directory (tenant) id.
    pub directory: String,
    /// Object id in it.
    pub object: String,
}

/// A place for cards, under a name that rules use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Channel {
    /// A connection of this tenant in the server's configuration.
    pub connection: Ident,
    /// Slack: channel id. Teams: conversation id. Webhook: empty.
    pub to: String,
    /// What a notification says there. Absent: amount, payee, agent and deadline, as the sentence has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

/// What a notification of a card says, which a locked screen may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Notify {
    /// That a call waits, and for whom: nothing of the call.
    Short,
}

/// What kind of chat a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatKind {
    /// A Slack app.
    Slack,
    /// A Teams bot.
    Teams,
    /// A Workflows webhook.
    Webhook,
}

/// The connections in the server's configuration. Each belongs to one tenant.
pub type Connections = BTreeMap<Ident, (Ident, ChatKind)>;

/// Rules, people and channels that were checked, whether in force or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Rules in order. The first match wins; the last one matches everything.
    pub rules: Vec<Rule>,
    /// People by id.
    pub people: BTreeMap<Ident, Person>,
    /// Channels by name.
    pub channels: BTreeMap<String, Channel>,
    /// How calls are shown, in order. The first that is for a call counts.
    pub displays: Vec<Display>,
    active: Arc<People>,
    owners: BTreeMap<String, Vec<Ident>>,
    slack: BTreeMap<SlackMember, Ident>,
    teams: BTreeMap<TeamsMember, Ident>,
}

impl Setup {
    /// Takes rules, people and channels that were checked, and prepares queries.
    pub fn new(
        rules: Vec<Rule>,
        people: BTreeMap<Ident, Person>,
        channels: BTreeMap<String, Channel>,
    ) -> Self {
        let active = people.values().filter(|person| !person.disabled);
        let active = active.map(|person| (person.id.clone(), person.groups.clone())).collect();
        let mut owners: BTreeMap<String, Vec<Ident>> = BTreeMap::new();
        let (mut slack, mut teams) = (BTreeMap::new(), BTreeMap::new());
        for Person { id, owns, slack: in_slack, teams: in_teams, .. } in people.values() {
            for agent in owns {
                owners.entry(agent.clone()).or_default().push(id.clone());
            }
            slack.extend(in_slack.clone().map(|member| (member, id.clone())));
            teams.extend(in_teams.clone().map(|member| (member, id.clone())));
        }
        let (displays, active) = (Vec::new(), Arc::new(active));
        Self { rules, people, channels, displays, active, owners, slack, teams }
    }

    /// Reads and checks `<dir>/<tenant>/rules.toml` and `people.toml`.
    ///
    /// Errors: every mistake in both files, each a line `file:line: what to do`.
    pub fn load(
        dir: &Path,
        tenant: &Ident,
        connections: &Connections,
    ) -> Result<Self, Vec<String>> {
        let folder = folder(dir, tenant);
        // Paths begin at `dir`, so that a client that applies rules learns nothing about the server's disk.
        let (rules_path, people_path) =
            (format!("{tenant}/{RULES_FILE}"), format!("{tenant}/{PEOPLE_FILE}"));
        let rules = read_text(&folder.join(RULES_FILE), &rules_path, RULES_BYTES_MAX);
        let people = read_text(&folder.join(PEOPLE_FILE), &people_path, PEOPLE_BYTES_MAX);
        let (rules, people) = match (rules, people) {
            (Ok(rules), Ok(people)) => (rules, people),
            (rules, people) => {
                return Err([rules.err(), people.err()].into_iter().flatten().collect());
            }
        };
        Self::parse((&rules_path, &rules), (&people_path, &people), tenant, connections)
    }

    /// As [`load`](Self::load), from texts. Each comes with the name that begins its mistakes.
    pub fn parse(
        (rules_path, rules): (&str, &str),
        (people_path, people): (&str, &str),
        tenant: &Ident,
        connections: &Connections,
    ) -> Result<Self, Vec<String>> {
        let connected = |file: &File<'_>, read: &rules::Read| {
            check::connections(file, read, tenant, connections);
        };
        Self::read((rules_path, rules), (people_path, people), connected)
    }

    /// As [`parse`](Self::parse), without the server's configuration: for an auditor, for example. Connections
    /// are not checked.
    pub fn of_files(rules: (&str, &str), people: (&str, &str)) -> Result<Self, Vec<String>> {
        Self::read(rules, people, |_, _| ())
    }

    /// The rules of a file alone, without the people and connections that they name.
    ///
    /// Errors: every mistake, each a line `file:line: what to do`.
    pub fn rules_of((path, text): (&str, &str)) -> Result<Vec<Rule>, Vec<String>> {
        let file = File::new(path, text);
        let read = rules::read(&file);
        let wrong = file.finish();
        let rules = read.filter(|_| wrong.is_empty()).ok_or(wrong)?.rules;
        Ok(rules.into_iter().map(|placed| placed.rule).collect())
    }

    fn read(
        (rules_path, rules): (&str, &str),
        (people_path, people): (&str, &str),
        connected: impl Fn(&File<'_>, &rules::Read),
    ) -> Result<Self, Vec<String>> {
        let (rules_file, people_file) =
            (File::new(rules_path, rules), File::new(people_path, people));
        let read = (rules::read(&rules_file), people::read(&people_file));
        let setup = if let (Some(read), Some(people)) = read {
            connected(&rules_file, &read);
            let channels = read.channels.into_iter().map(|(name, (channel, _))| (name, channel));
            let mut setup = Self::new(Vec::new(), people, channels.collect());
            check::rules(&rules_file, &read.rules, &setup);
            setup.rules = read.rules.into_iter().map(|placed| placed.rule).collect();
            setup.displays = read.displays;
            Some(setup)
        } else {
            None
        };
        let wrong = [rules_file.finish(), people_file.finish()].concat();
        setup.filter(|_| wrong.is_empty()).ok_or(wrong)
    }

    /// The rule for a call: the first that matches. `None` only if no last rule matches everything.
    pub fn rule_for(&self, facts: &Visible<'_>) -> Option<&Rule> {
        first_match(&self.rules, facts)
    }

    /// The display for a call: the first that is for it.
    pub fn display_for(&self, tool: &str, action: &str) -> Option<&Display> {
        self.displays.iter().find(|display| display.is_for(tool, action))
    }

    /// Where calls of this tool have their amount, as the first rule says that names the tool and an amount.
    pub fn amount_of(&self, tool: &str) -> Option<&Amount> {
        let mut named =
            self.rules.iter().filter(|rule| rule.matches.tool.iter().any(|t| t == tool));
        named.find_map(|rule| rule.matches.amount.as_ref())
    }

    /// Rules that ask people about calls of tools that they name, without a display for all of them: name of the
    /// rule, and the tool.
    pub fn undisplayed(&self) -> Vec<(String, String)> {
        let shown = |tool: &str, actions: &[String]| {
            let is_for = |action: &str| self.display_for(tool, action).is_some();
            let whole = |d: &Display| d.action.is_empty() && d.is_for(tool, "");
            self.displays.iter().any(whole)
                || (!actions.is_empty() && actions.iter().all(|action| is_for(action)))
        };
        let missing = self.rules.iter().filter(|rule| !rule.unreviewed).flat_map(|rule| {
            let tools = rule.matches.tool.iter().filter(|tool| !is_reserved_tool(tool));
            let missing = tools.filter(|tool| !shown(tool, &rule.matches.action));
            missing.map(|tool| (rule.name.clone(), tool.clone()))
        });
        missing.collect()
    }

    /// People who may be asked, with their groups: everybody who is not disabled.
    pub fn active(&self) -> Arc<People> {
        Arc::clone(&self.active)
    }

    /// Owners of this agent, sorted by id. Disabled people remain owners, so that disabling them makes nobody
    /// else an owner.
    pub fn owners_of(&self, agent: &str) -> Vec<Ident> {
        self.owners.get(agent).cloned().unwrap_or_default()
    }

    /// People who never review a call of this agent, sorted by id: its owners in the people file, and those
    /// that the decision names (`payload.owner`), if they are in the file.
    pub fn owners(&self, agent: &str, named: &[String]) -> Vec<Ident> {
        let named = named.iter().filter_map(|id| Ident::new(id).ok());
        let mut owners: BTreeSet<Ident> = self.owners_of(agent).into_iter().collect();
        owners.extend(named.filter(|id| self.people.contains_key(id)));
        owners.into_iter().collect()
    }

    /// The person linked to this Slack member, even if disabled.
    pub fn by_slack(&self, member: &SlackMember) -> Option<&Person> {
        self.people.get(self.slack.get(member)?)
    }

    /// The person linked to this member of a Microsoft directory, even if disabled. Upper and lower case are
    /// equal.
    pub fn by_teams(&self, member: &TeamsMember) -> Option<&Person> {
        let directory = member.directory.to_ascii_lowercase();
        let object = member.object.to_ascii_lowercase();
        self.people.get(self.teams.get(&TeamsMember { directory, object })?)
    }
}

/// Folder of a tenant's files.
pub fn folder(dir: &Path, tenant: &Ident) -> PathBuf {
    dir.join(tenant.as_str())
}

/// Reads a file. `name` begins the text of a mistake.
fn read_text(path: &Path, name: &str, max: u64) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| {
        format!("{name}: {e}; write it as proto/formats/rules.md says, readable for the server")
    })?;
    file.take(max + 1).read_to_string(&mut text).map_err(|e| format!("{name}: {e}"))?;
    if text.len() as u64 > max {
        return Err(format!("{name}: at most {max} bytes"));
    }
    Ok(text)
}
