//! Part 4, agents: for each what it did in the period, who answers for it, with which credentials it came, and what some
//! clause in force at the end could permit; and each clause in words.

use super::{Error, Out, approvals::Approvals, changes::Changes, table::Table, values::text};
use decider::policy::{Bundle, Permission, Reach, Then};
use ledger::{
    entry::{Kind, View},
    time::Nanos,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most names in a cell.
const NAMES_MAX: usize = 50;
/// Roles with which an owner could change what the own agent may do.
const POWERS: [&str; 2] = ["author", "admin"];

/// What one agent did in the period.
#[derive(Clone, Debug, Default)]
struct Seen {
    decisions: u64,
    denied: u64,
    last: Option<(u64, Nanos)>,
    /// Producers that reported its calls, or asked about them.
    producers: BTreeSet<String>,
}

/// What is known of an agent.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// Whether the policies know it.
    pub registered: &'static str,
    /// Who answers for it.
    pub owners: String,
    /// Owners who hold keys of author or admin, with their roles.
    pub conflict: String,
    /// Its tier.
    pub tier: String,
    /// Decisions about its calls, and denials among them.
    pub decisions: (u64, u64),
    /// When it last called. Empty: not in the period.
    pub last_call: String,
    /// API keys in force at the end of the producers that it came through.
    pub credentials: String,
    /// Override tokens minted for its calls, by signing key.
    pub tokens: String,
    /// Clauses that could permit something.
    pub permitted_by: String,
}

/// The agents of a period.
#[derive(Default)]
pub struct Agents {
    seen: BTreeMap<String, Seen>,
}

impl Agents {
    /// Takes the next entry of the period.
    pub fn take(&mut self, index: u64, view: &View<'_>) {
        if view.kind != Kind::Decision {
            return;
        }
        let id = text(view, &["event", "data", "agent", "id"]);
        let seen = match self.seen.get_mut(id) {
            Some(seen) => seen,
            None => self.seen.entry(id.to_owned()).or_default(),
        };
        seen.decisions += 1;
        seen.denied += u64::from(text(view, &["event", "data", "verdict"]) == "deny");
        seen.last = Some((index, view.origin.time));
        let producer = text(view, &["producer"]);
        if !seen.producers.contains(producer) {
            seen.producers.insert(producer.to_owned());
        }
    }

    /// Writes the tables. Returns the agents, those with most decisions first, as many as `shown`.
    pub fn finish(
        self,
        out: &mut dyn Out,
        bundle: Option<&Bundle>,
        (approvals, changes): (&Approvals, &Changes),
        shown: usize,
    ) -> Result<Vec<Agent>, Error> {
        let mut table = Table::new("policies/agents.csv", COLUMNS);
        let powers = powers(changes);
        let named: BTreeSet<&str> = bundle.into_iter().flat_map(Bundle::agent_ids).collect();
        let ids = named.iter().copied().chain(self.seen.keys().map(String::as_str));
        let ids: BTreeSet<&str> = ids.collect();
        let mut first: BTreeMap<(u64, String), Agent> = BTreeMap::new();
        let none = Seen::default();
        for id in ids {
            let seen = self.seen.get(id).unwrap_or(&none);
            let reach = bundle.and_then(|bundle| bundle.reach(id));
            let registered = match (&reach, named.contains(id)) {
                (_, true) => "yes",
                (Some(_), false) => "by an entry for others",
                (None, false) => "no",
            };
            let reach = reach.unwrap_or_default();
            let is_known = registered != "no";
            let agent = Agent {
                id: id.to_owned(),
                registered,
                owners: joined(&reach.owners),
                conflict: conflict(&reach.owners, &powers),
                tier: reach.tier.clone().unwrap_or_default(),
                decisions: (seen.decisions, seen.denied),
                last_call: seen.last.map(|(_, at)| at.to_string()).unwrap_or_default(),
                credentials: credentials(&seen.producers, changes),
                tokens: tokens(id, approvals),
                permitted_by: joined(&reach.permitted_by),
            };
            write(out, &mut table, &agent, (seen, &reach, is_known))?;
            first.insert((u64::MAX - seen.decisions, id.to_owned()), agent);
            if first.len() > shown {
                first.pop_last();
            }
        }
        table.finish(out)?;
        permissions(out, bundle)?;
        Ok(first.into_values().collect())
    }
}

const COLUMNS: &[&str] = &[
    "agent",
    "registered",
    "owners",
    "conflict_of_duties",
    "tier",
    "groups",
    "tools",
    "decisions",
    "denied",
    "last_call",
    "last_call_entry",
    "producers",
    "credentials",
    "tokens_issued",
    "permitted_by",
];

fn write(
    out: &mut dyn Out,
    table: &mut Table,
    agent: &Agent,
    (seen, reach, is_known): (&Seen, &Reach, bool),
) -> Result<(), Error> {
    let tools = match (is_known, reach.tools.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "all".into(),
        (true, false) => joined(&reach.tools),
    };
    let cells: [&str; 15] = [
        &agent.id,
        agent.registered,
        &agent.owners,
        &agent.conflict,
        &agent.tier,
        &joined(&reach.groups),
        &tools,
        &seen.decisions.to_string(),
        &seen.denied.to_string(),
        &agent.last_call,
        &seen.last.map(|(index, _)| index.to_string()).unwrap_or_default(),
        &joined(&seen.producers),
        &agent.credentials,
        &agent.tokens,
        &agent.permitted_by,
    ];
    table.row(out, &cells)
}

/// Writes each clause in force at the end in words.
fn permissions(out: &mut dyn Out, bundle: Option<&Bundle>) -> Result<(), Error> {
    const COLUMNS: &[&str] = &[
        "clause",
        "verdict",
        "tool",
        "actions",
        "agents",
        "conditions",
        "enforcement",
        "in_words",
    ];
    let mut table = Table::new("policies/permissions.csv", COLUMNS);
    for permission in bundle.into_iter().flat_map(Bundle::permissions) {
        let words = in_words(&permission);
        let Permission { clause, then, tool, actions, agents, conditions, enforcement } =
            permission;
        let verdict = match then {
            Then::Allow => "allow",
            Then::ApprovalNeeded => "approval_needed",
            Then::Deny => "deny",
            Then::Sanitize => "sanitize",
        };
        let tool = tool.unwrap_or_else(|| "*".into());
        let (actions, agents) = (actions.join(" "), agents.join(" "));
        let conditions = conditions.join("; ");
        table.row(
            out,
            &[&clause, verdict, &tool, &actions, &agents, &conditions, &enforcement, &words],
        )?;
    }
    table.finish(out)
}

/// A clause as a sentence.
fn in_words(permission: &Permission) -> String {
    let Permission { then, tool, actions, agents, conditions, enforcement, .. } = permission;
    let who = match (agents.is_empty(), then) {
        (true, Then::Deny | Then::Sanitize) => "Any agent".to_owned(),
        (true, _) => "Any registered agent".to_owned(),
        (false, _) => agents.join(", "),
    };
    let what = if actions.is_empty() { "any action".to_owned() } else { actions.join(", ") };
    let tool = tool.as_deref().unwrap_or("any tool");
    let may = match then {
        Then::Allow => "may call",
        Then::ApprovalNeeded => "may call, once people approve,",
        Then::Deny => "may never call",
        Then::Sanitize => "has calls redacted of",
    };
    let when = if conditions.is_empty() {
        String::new()
    } else {
        format!(", if {}", conditions.join(" and "))
    };
    let force = if enforcement == "in force" { String::new() } else { format!(" ({enforcement})") };
    format!("{who} {may} {what} of {tool}{when}{force}.")
}

/// People who hold keys with which they could change what agents may do, with their roles.
fn powers(changes: &Changes) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut powers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for key in changes.keys.values().filter(|key| !key.person.is_empty()) {
        let held = key.roles.iter().map(String::as_str).filter(|role| POWERS.contains(role));
        for role in held {
            powers.entry(&key.person).or_default().insert(role);
        }
    }
    powers
}

fn conflict(owners: &BTreeSet<String>, powers: &BTreeMap<&str, BTreeSet<&str>>) -> String {
    let held = owners.iter().filter_map(|owner| Some((owner, powers.get(owner.as_str())?)));
    let told = held.map(|(owner, roles)| {
        let roles: Vec<&str> = roles.iter().copied().collect();
        format!("{owner} owns it and holds a key of {}", roles.join(" and "))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// API keys in force at the end with which the producers of its calls come.
fn credentials(producers: &BTreeSet<String>, changes: &Changes) -> String {
    let of = changes.keys.iter().filter(|(_, key)| producers.contains(&key.producer));
    joined(of.map(|(id, key)| format!("{id} ({})", key.roles.join(" "))))
}

fn tokens(agent: &str, approvals: &Approvals) -> String {
    let minted = approvals.minted.get(agent).into_iter().flatten();
    joined(minted.map(|(kid, count)| format!("{count} by {kid}")))
}

/// The first names.
fn joined(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let rest = names.len().saturating_sub(NAMES_MAX);
    let first: Vec<&str> = names.iter().take(NAMES_MAX).map(AsRef::as_ref).collect();
    let first = first.join("; ");
    if rest == 0 { first } else { format!("{first}; and {rest} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(then: Then, tool: Option<&str>, parts: [&[&str]; 3], expected: &str) {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let [actions, agents, conditions] = parts.map(list);
        let (tool, enforcement) = (tool.map(str::to_owned), "in force".to_owned());
        let clause = "p/c".to_owned();
        let permission =
            Permission { clause, then, tool, actions, agents, conditions, enforcement };
        assert_eq!(in_words(&permission), expected);
    }

    #[test]
    fn clauses_are_sentences() {
        check(
            Then::Allow,
            Some("mail"),
            [&[], &[], &[]],
            "Any registered agent may call any action of mail.",
        );
        check(
            Then::ApprovalNeeded,
            Some("bank"),
            [&["transfer"], &["@pay", "bot"], &["params /amount: over 5"]],
            "@pay, bot may call, once people approve, transfer of bank, if params /amount: over 5.",
        );
        check(
            Then::Deny,
            None,
            [&[], &[], &[]],
            "Any agent may never call any action of any tool.",
        );
    }

    #[test]
    fn an_owner_with_power_over_the_policies_is_named() {
        let owners = ["p-ana", "p-bob"].map(str::to_owned).into();
        let powers = BTreeMap::from([("p-ana", BTreeSet::from(["admin", "author"]))]);
        assert_eq!(conflict(&owners, &powers), "p-ana owns it and holds a key of admin and author");
        assert_eq!(conflict(&owners, &BTreeMap::new()), "");
    }
}
