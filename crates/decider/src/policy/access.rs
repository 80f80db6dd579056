//! Who could do what by a bundle, for a review of access: each clause in words, and for each agent the clauses that could
//! permit something. Whether a call is permitted is for [`judge`](super::judge) alone: a condition or a deny may forbid it.

use super::{
    bundle::Bundle,
    clause::{Clause, Then},
    diff,
};
use std::collections::BTreeSet;

/// A clause in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `<policy>/<id>`
    pub clause: String,
    /// What it says.
    pub then: Then,
    /// The tool. `None`: every tool.
    pub tool: Option<String>,
    /// The actions. Empty: every action.
    pub actions: Vec<String>,
    /// For whom, as the file says it. Empty: every agent.
    pub agents: Vec<String>,
    /// Its conditions, one by one. Empty: none.
    pub conditions: Vec<String>,
    /// Whether it is in force.
    pub enforcement: String,
}

/// Why an agent can have no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// agents.yaml does not admit it.
    UnknownAgent,
    /// Its entry does not name this gateway.
    OfOthers,
    /// tools.yaml does not have this tool, or the agent may not see it.
    Tool(String),
}

/// An agent, as a bundle knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// People who answer for it.
    pub owners: BTreeSet<String>,
    /// Its groups.
    pub groups: BTreeSet<String>,
    /// Its tier.
    pub tier: Option<String>,
    /// Tools that it may use. Empty: every tool.
    pub tools: BTreeSet<String>,
    /// Names of the clauses that could allow a call of it, or let people allow it, shadow left out.
    pub permitted_by: Vec<String>,
}

impl Bundle {
    /// Every clause, in order.
    pub fn permissions(&self) -> impl Iterator<Item = Permission> {
        self.clauses.iter().map(|clause| Permission {
            clause: clause.name.clone(),
            then: clause.then,
            tool: clause.tool.clone(),
            actions: clause.actions.iter().cloned().collect(),
            agents: clause.agents.clone(),
            conditions: diff::conditions_of(clause),
            enforcement: clause.enforcement.to_string(),
        })
    }

    /// Ids of the registered agents; `*` admits others.
    pub fn agent_ids(&self) -> impl Iterator<Item = &str> {
        self.agents.ids()
    }

    /// What a token of an agent may be: `Err` says why there can be none. `producer`: the gateway that asks; `None`: an admin.
    pub fn may_have_token(
        &self,
        agent: &str,
        producer: Option<&str>,
        scope: &[String],
    ) -> Result<(), NoToken> {
        let known = self.agents.find(agent).ok_or(NoToken::UnknownAgent)?;
        if producer.is_some_and(|producer| !known.gateways.contains(producer)) {
            return Err(NoToken::OfOthers);
        }
        let unknown = |tool: &&String| {
            let listed = known.tools.is_empty() || known.tools.contains(*tool);
            !self.tools.knows(tool) || !listed
        };
        match scope.iter().find(unknown) {
            Some(tool) => Err(NoToken::Tool(tool.clone())),
            None => Ok(()),
        }
    }

    /// What an agent could do. `None` if every call of it is denied, because nothing admits it.
    pub fn reach(&self, id: &str) -> Option<Reach> {
        let agent = self.agents.find(id)?;
        let standing = self.agents.standing(id);
        let permits = |clause: &&Clause| {
            let is_listed = clause.tool.as_ref().is_none_or(|tool| agent.tools.contains(tool));
            clause.then.permits()
                && !clause.is_shadow()
                && (agent.tools.is_empty() || is_listed)
                && clause.is_for(&standing)
        };
        Some(Reach {
            owners: agent.owners.clone(),
            groups: agent.groups.clone(),
            tier: agent.tier.clone(),
            tools: agent.tools.clone(),
            permitted_by: self.clauses.iter().filter(permits).map(|c| c.name.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    const AGENTS: &str = "language: 1
tiers: [low, high]
agents:
  - {id: pay-bot, groups: [pay], owners: [p-ana], tier: high, spawns: [\"pay-worker-*\"]}
  - {id: mail-bot, owners: [p-bob], tools: [mail]}
  - {id: \"*\", owners: [p-ops]}
";
    const TOOLS: &str = "language: 1
tools:
  - {name: bank, actions: [{name: transfer, effect: write}]}
  - {name: mail, actions: [{name: send, effect: write}]}
";
    const POLICY: &str = "language: 1
policy: p
clauses:
  - {id: a-small, agents: [\"@pay\"], tool: bank, actions: [transfer], then: allow, when: {params: {/amount: {integer: {at_most: 5}}}}}
  - {id: b-large, agents: [\"@pay\"], tool: bank, then: approval_needed}
  - {id: c-mail, tool: mail, then: allow}
  - {id: d-try, tool: mail, then: allow, enforcement: {shadow: true}}
  - {id: e-anybody, agents: [\"@unregistered\"], tool: mail, then: allow}
  - {id: f-never, tool: bank, agents: [mail-bot], then: deny}
";

    fn bundle() -> Bundle {
        let files = [("agents.yaml", AGENTS), ("policies/p.yaml", POLICY), ("tools.yaml", TOOLS)];
        let source =
            |(path, text): &(&'static str, &'static str)| Source { path, bytes: text.as_bytes() };
        Bundle::read(&files.iter().map(source).collect::<Vec<_>>()).unwrap_or_else(|mistakes| {
            let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            panic!("{}", all.join("\n"))
        })
    }

    fn check(agent: &str, expected: Option<&[&str]>) {
        let found = bundle().reach(agent).map(|reach| reach.permitted_by);
        let found: Option<Vec<&str>> =
            found.as_ref().map(|names| names.iter().map(String::as_str).collect());
        assert_eq!(found.as_deref(), expected, "{agent}");
    }

    #[test]
    fn an_agent_reaches_what_some_clause_could_permit() {
        check("pay-bot", Some(&["p/a-small", "p/b-large", "p/c-mail"]));
        check("pay-worker-7", Some(&["p/a-small", "p/b-large", "p/c-mail"]));
        check("mail-bot", Some(&["p/c-mail"]));
        check("*", Some(&["p/e-anybody"]));
        check("nobody-knows", Some(&["p/e-anybody"]));
    }

    #[test]
    fn clauses_are_told_in_words() {
        let all: Vec<Permission> = bundle().permissions().collect();
        assert_eq!(all.len(), 6);
        assert_eq!((all[0].tool.as_deref(), all[0].actions.len()), (Some("bank"), 1));
        assert!(all[0].conditions.iter().any(|text| text.contains("/amount")), "{:?}", all[0]);
        assert_eq!((all[3].enforcement.as_str(), &all[1].conditions[..]), ("in shadow", &[][..]));
        assert_eq!(bundle().agent_ids().collect::<Vec<_>>(), ["*", "mail-bot", "pay-bot"]);
        let reach = bundle().reach("pay-bot").unwrap();
        assert_eq!((reach.tier.as_deref(), reach.owners.len()), (Some("high"), 1));
    }
}
