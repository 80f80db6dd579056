//! The budgets and rates of a bundle: read, and checked against the other files.

use super::Bundle;
use crate::policy::{
    clause::Clause,
    early::Early,
    facts::Facts,
    fields::MapReader,
    limit::{Budget, LIMITS_MAX, Limit, Rate},
    mistakes::{Mistake, Mistakes},
    param::nodes,
    windows::Span,
    yaml::Node,
};
use ledger::time::Nanos;
use std::collections::{BTreeMap, BTreeSet};

impl Bundle {
    /// Takes the lists `budgets` and `rates` of a policy.
    pub(super) fn limit_nodes(fields: &mut MapReader<'_>) -> [Vec<Node>; 2] {
        ["budgets", "rates"].map(|name| match fields.take(name) {
            Some(node) => nodes(node, name, fields.mistakes),
            None => Vec::new(),
        })
    }

    /// Reads them. `ids`: those of the policy's clauses.
    pub(super) fn read_limits(
        &mut self,
        [budgets, rates]: [Vec<Node>; 2],
        (policy, path): (&str, &str),
        ids: &mut BTreeSet<String>,
        mistakes: &Mistakes<'_>,
    ) {
        let mut is_new = |limit: &Limit| {
            let id = limit.name.split_once('/').map_or("", |(_, id)| id);
            if !ids.insert(id.to_owned()) {
                let text = format!(
                    "two of the clauses, budgets and rates of {policy} are called {id:?}: rename one"
                );
                mistakes.note(limit.at, text);
            }
        };
        for node in budgets {
            if self.budgets.len() >= LIMITS_MAX {
                mistakes.note(node.at, format!("a bundle has at most {LIMITS_MAX} budgets"));
                return;
            }
            let Some(budget) = Budget::read(node, policy, path, mistakes) else { continue };
            is_new(&budget.limit);
            self.budgets.push(budget);
        }
        for node in rates {
            if self.rates.len() >= LIMITS_MAX {
                mistakes.note(node.at, format!("a bundle has at most {LIMITS_MAX} rates"));
                return;
            }
            let Some(rate) = Rate::read(node, policy, path, mistakes) else { continue };
            is_new(&rate.limit);
            self.rates.push(rate);
        }
    }

    pub(super) fn limits(&self) -> impl Iterator<Item = &Limit> {
        let budgets = self.budgets.iter().map(|budget| &budget.limit);
        budgets.chain(self.rates.iter().map(|rate| &rate.limit))
    }

    /// What budgets and rates name must be there.
    pub(super) fn check_limits(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        for limit in self.limits() {
            let mut note = |text: String| found.push(limit.mistake(&text));
            for who in limit.agents.iter().filter(|who| !self.agents.knows(who)) {
                note(format!(
                    "agents.yaml has no agent or group {who:?}; a group is written \"@name\""
                ));
            }
            let Some(tool) = &limit.tool else { continue };
            if !self.tools.knows(tool) {
                note(format!("tools.yaml has no tool {tool:?}: it has {}", self.tools.names()));
                continue;
            }
            for action in limit.actions.iter().filter(|a| self.tools.action(tool, a).is_none()) {
                note(format!(
                    "tools.yaml has no action {action:?} of {tool}: it has {}",
                    self.tools.actions(tool)
                ));
            }
        }
        found
    }

    /// The budget or rate that may be for calls that a clause tells early.
    pub(super) fn limit_of_early(&self, clause: &Clause) -> Option<&str> {
        if clause.early == Early::default() {
            return None;
        }
        let meets = |limit: &&Limit| {
            let tool = limit.tool.is_none() || limit.tool == clause.tool;
            let actions = limit.actions.is_empty()
                || clause.actions.is_empty()
                || !limit.actions.is_disjoint(&clause.actions);
            tool && actions
        };
        self.limits().find(meets).map(|limit| limit.name.as_str())
    }

    /// What a verdict may depend on at `now`, if the journal's time is about `journal`: the local times of zones, and the
    /// windows of budgets.
    pub fn facts_in(&self, now: Nanos, journal: Nanos, verified: bool) -> Facts {
        let windows = self
            .budgets
            .iter()
            .filter_map(|budget| Some((budget.windows.name(), budget.windows.at(journal)?)));
        let windows: BTreeMap<String, Span> = windows.collect();
        Facts { windows, ..self.local_facts(now, verified) }
    }

    /// True if these may be the windows of budgets at that time.
    pub(super) fn accepts_windows(&self, facts: &Facts) -> bool {
        let named: BTreeMap<String, &Budget> =
            self.budgets.iter().map(|budget| (budget.windows.name(), budget)).collect();
        let fits = |(name, span): (&String, &Span)| {
            named.get(name).is_some_and(|budget| budget.windows.may_be(*span, facts.now))
        };
        named.keys().eq(facts.windows.keys()) && facts.windows.iter().all(fits)
    }
}
