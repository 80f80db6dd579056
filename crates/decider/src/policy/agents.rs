//! `agents.yaml`: who the agents are, their groups, owners and tiers.

use super::{
    AGENTS_MAX,
    bounds::Truth,
    fields::{MapReader, NAME_RULE, is_name, language, listed},
    mistakes::{Mistake, Mistakes, Place},
    yaml::Node,
};
use ledger::ident::Ident;
use std::collections::{BTreeMap, BTreeSet};

/// The id of the entry that admits agents that are not registered.
const ANYBODY: &str = "*";

/// A registered agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) groups: BTreeSet<String>,
    pub(super) owners: BTreeSet<String>,
    pub(super) tier: Option<String>,
    /// Where it runs.
    pub(super) region: Option<String>,
    /// Tools that it may see; all if empty.
    pub(super) tools: BTreeSet<String>,
    /// Producers whose enforcer keys may issue its tokens.
    pub(super) gateways: BTreeSet<String>,
    /// Prefixes of ids that inherit this entry, longest first.
    spawns: Vec<String>,
}

/// All agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Agents {
    by_id: BTreeMap<String, Agent>,
    /// Prefix → id of the agent that spawns such agents.
    spawned: BTreeMap<String, String>,
    /// Lowest first.
    tiers: Vec<String>,
    /// Where each agent is in the file.
    places: BTreeMap<String, Place>,
}

impl Agents {
    pub(super) fn read(node: Node, mistakes: &Mistakes<'_>) -> Self {
        let mut agents = Self::default();
        let Some(mut fields) = MapReader::of(node, "agents.yaml", mistakes) else { return agents };
        language(&mut fields);
        agents.tiers = fields.texts("tiers").unwrap_or_default().into_iter().map(|(tier, at)| {
            if !is_name(&tier) || tier == "agent" {
                mistakes.note(at, format!("{tier:?} is no name of a tier: {NAME_RULE}; `agent` has another meaning"));
            }
            tier
        }).collect();
        let at = fields.at;
        let nodes = fields.list("agents").unwrap_or_default();
        fields.finish();
        if nodes.len() > AGENTS_MAX {
            mistakes
                .note(at, format!("at most {AGENTS_MAX} agents: use spawns for those of one kind"));
        }
        for node in nodes.into_iter().take(AGENTS_MAX) {
            agents.read_one(node, mistakes);
        }
        agents
    }

    fn read_one(&mut self, node: Node, mistakes: &Mistakes<'_>) {
        let Some(mut fields) = MapReader::of(node, "an agent", mistakes) else { return };
        let id = fields.must("id", "the agent's id, as gateways send it");
        let id = id.and_then(|node| super::fields::text_of(node, "id", mistakes));
        let names = |fields: &mut MapReader<'_>, name: &'static str| -> Vec<(String, Place)> {
            fields.texts(name).unwrap_or_default()
        };
        let (mut agent, mut groups_at) = (Agent::default(), None);
        for (group, at) in names(&mut fields, "groups") {
            if !is_name(&group) || group == "unregistered" {
                mistakes.note(at, format!("{group:?} is no name of a group: {NAME_RULE}; `unregistered` has another meaning"));
            }
            groups_at.get_or_insert(at);
            agent.groups.insert(group);
        }
        agent.owners = names(&mut fields, "owners").into_iter().map(|(owner, _)| owner).collect();
        agent.tools = names(&mut fields, "tools").into_iter().map(|(tool, _)| tool).collect();
        for (gateway, at) in names(&mut fields, "gateways") {
            if Ident::new(&gateway).is_err() {
                mistakes.note(at, format!("{gateway:?} is no name of a producer: `gateways` lists the gateways that may issue tokens of the agent"));
            }
            agent.gateways.insert(gateway);
        }
        if let Some((tier, at)) = fields.text("tier") {
            if !self.tiers.contains(&tier) {
                mistakes.note(at, format!("{tier:?} is no tier: list it in `tiers`, lowest first"));
            }
            agent.tier = Some(tier);
        }
        agent.region = fields.text("region").map(|(region, _)| region);
        let spawns = names(&mut fields, "spawns");
        let at = fields.at;
        fields.finish();
        let Some((id, place)) = id else { return };
        if id == ANYBODY && agent.owners.is_empty() {
            mistakes.note(at, "the entry for agents that are not registered needs an owner: owners: [a person's id]");
        }
        if let Some(at) = groups_at.filter(|_| id == ANYBODY) {
            mistakes.note(at, "agents that are not registered are in no group: remove `groups`, and write \"@unregistered\" in the clauses that are for them");
        }
        if id != ANYBODY && !is_name(&id) {
            mistakes.note(place, format!("{id:?}: {NAME_RULE}"));
        }
        for (form, at) in spawns {
            let Some(prefix) = form.strip_suffix('*').filter(|prefix| is_name(prefix)) else {
                mistakes.note(
                    at,
                    format!(
                        "{form:?}: write the begin of the ids and a star, for example \"worker-*\""
                    ),
                );
                continue;
            };
            if let Some(other) = self.spawned.insert(prefix.to_owned(), id.clone()) {
                mistakes.note(
                    at,
                    format!("{other} spawns {form:?} already: one agent answers for an id"),
                );
            }
            agent.spawns.push(prefix.to_owned());
        }
        self.places.insert(id.clone(), at);
        if self.by_id.insert(id.clone(), agent).is_some() {
            mistakes.note(place, format!("two agents are called {id:?}: remove one"));
        }
    }

    /// A mistake for each tool that an agent may see and that is not known.
    pub(super) fn unknown_tools(&self, known: impl Fn(&str) -> bool) -> Vec<Mistake> {
        let mistakes = Mistakes::of("agents.yaml");
        for (id, agent) in &self.by_id {
            for tool in agent.tools.iter().filter(|tool| !known(tool)) {
                let at = self.places.get(id).copied().unwrap_or_default();
                mistakes.note(at, format!("{id}: tools.yaml has no tool {tool:?}"));
            }
        }
        mistakes.finish()
    }

    /// The entry of an agent: its own, that of the agent that spawns such ids, or that of unregistered ones.
    pub(super) fn find(&self, id: &str) -> Option<&Agent> {
        self.registered(id).or_else(|| self.by_id.get(ANYBODY))
    }

    /// True if it has an entry of its own, or that of the agent that spawns such ids.
    pub(super) fn is_registered(&self, id: &str) -> bool {
        self.registered(id).is_some()
    }

    fn registered(&self, id: &str) -> Option<&Agent> {
        if id == ANYBODY {
            return None;
        }
        let spawner = || {
            let prefixes =
                self.spawned.iter().filter(|(prefix, _)| id.starts_with(prefix.as_str()));
            prefixes
                .max_by_key(|(prefix, _)| prefix.len())
                .and_then(|(_, spawner)| self.by_id.get(spawner))
        };
        self.by_id.get(id).or_else(spawner)
    }

    /// What clauses may call this agent: computed once for a call.
    pub(super) fn standing<'s>(&'s self, id: &'s str) -> Standing<'s> {
        let registered = self.registered(id);
        Standing {
            id,
            registered,
            is_admitted: registered.is_none() && self.by_id.contains_key(ANYBODY),
        }
    }

    /// True if a clause that names `who` means this agent: its id, `*`, `@group` or `@unregistered`.
    pub(super) fn is(&self, id: &str, who: &str) -> bool {
        self.standing(id).is(who)
    }

    /// True if some agent is meant by `who`.
    pub(super) fn knows(&self, who: &str) -> bool {
        match who.strip_prefix('@') {
            Some("unregistered") => self.by_id.contains_key(ANYBODY),
            Some(group) => self.by_id.values().any(|agent| agent.groups.contains(group)),
            None => who == ANYBODY || self.by_id.contains_key(who),
        }
    }

    /// Every id of the file, in byte order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(String::as_str)
    }

    /// Every entry with its id.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Agent)> {
        self.by_id.iter()
    }

    /// Prefixes of ids, each with the agent that spawns such agents.
    pub(super) fn spawned(&self) -> &BTreeMap<String, String> {
        &self.spawned
    }

    /// The tiers, lowest first.
    pub(super) fn tiers(&self) -> &[String] {
        &self.tiers
    }

    /// True if this tier is listed.
    pub(super) fn has_tier(&self, tier: &str) -> bool {
        self.tiers.iter().any(|other| other == tier)
    }

    /// Whether `tier` is at most `at_most`.
    pub(super) fn reaches(&self, at_most: Option<&str>, tier: Option<&str>) -> Truth {
        let rank =
            |tier: Option<&str>| self.tiers.iter().position(|other| Some(other.as_str()) == tier);
        match (rank(tier), rank(at_most)) {
            (Some(tier), Some(at_most)) => (tier <= at_most).into(),
            _ => Truth::Error("the tool or the agent has no tier"),
        }
    }

    /// Calls `note` with id and change of each agent that differs from `after`.
    pub(super) fn changes(&self, after: &Self, mut note: impl FnMut(&str, String)) {
        if self.tiers != after.tiers {
            let (old, new) = (listed(&self.tiers), listed(&after.tiers));
            let was = if self.tiers.is_empty() {
                String::new()
            } else {
                format!("the order was {old}; ")
            };
            note("tiers", format!("{was}lowest first: {new}"));
        }
        for (id, agent) in &after.by_id {
            match self.by_id.get(id) {
                None => note(id, told(id, agent)),
                Some(before) if before != agent => note(id, changed(before, agent)),
                Some(_) => {}
            }
        }
        for id in self.by_id.keys().filter(|id| !after.by_id.contains_key(*id)) {
            note(id, "removed".into());
        }
    }
}

/// An agent, as clauses may call it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'s> {
    id: &'s str,
    registered: Option<&'s Agent>,
    /// Not registered, and admitted by the entry `*`.
    is_admitted: bool,
}

impl Standing<'_> {
    /// True if `who` means this agent: its id, `*`, `@group` or `@unregistered`.
    pub(super) fn is(&self, who: &str) -> bool {
        match who.strip_prefix('@') {
            Some("unregistered") => self.is_admitted,
            Some(group) => self.registered.is_some_and(|agent| agent.groups.contains(group)),
            None if who == ANYBODY => self.registered.is_some(),
            None => self.id == who,
        }
    }
}

/// A new agent: its groups, owners, tier and tools.
fn told(id: &str, agent: &Agent) -> String {
    let Agent { groups, owners, tier, region, tools, gateways, spawns } = agent;
    let joined = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
    let new =
        if id == ANYBODY { "new: agents that are not registered are admitted" } else { "new" };
    let mut parts = vec![new.to_owned()];
    let sets = [("groups", groups), ("owners", owners), ("tools", tools), ("tokens by", gateways)];
    for (name, set) in sets {
        if !set.is_empty() {
            parts.push(format!("{name} {}", joined(set)));
        }
    }
    if tools.is_empty() {
        parts.push("may use every tool".into());
    }
    parts.extend(tier.iter().map(|tier| format!("tier {tier}")));
    parts.extend(region.iter().map(|region| format!("region {region}")));
    parts.extend(spawns.iter().map(|prefix| format!("ids {prefix}* inherit from it")));
    parts.join("; ")
}

fn changed(before: &Agent, after: &Agent) -> String {
    let set = |name: &str, old: &BTreeSet<String>, new: &BTreeSet<String>| {
        let come = new.difference(old).map(|one| format!("{name} +{one}"));
        let gone = old.difference(new).map(|one| format!("{name} -{one}"));
        come.chain(gone).collect::<Vec<_>>()
    };
    let mut texts = set("group", &before.groups, &after.groups);
    texts.extend(set("owner", &before.owners, &after.owners));
    texts.extend(set("tokens by", &before.gateways, &after.gateways));
    if !before.tools.is_empty() && after.tools.is_empty() {
        texts.push("may use every tool".into());
    } else {
        texts.extend(set("tool", &before.tools, &after.tools));
    }
    let name = |of: &Option<String>| of.clone().unwrap_or_else(|| "none".into());
    if before.region != after.region {
        texts.push(format!("region {} → {}", name(&before.region), name(&after.region)));
    }
    if before.tier != after.tier {
        texts.push(format!("tier {} → {}", name(&before.tier), name(&after.tier)));
    }
    if before.spawns != after.spawns {
        texts.push("other ids inherit from it".into());
    }
    texts.join(", ")
}
