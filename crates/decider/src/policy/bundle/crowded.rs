//! Calls for which more budgets are than one decision can be booked in: each of them is denied.

use super::Bundle;
use crate::policy::limit::Limit;
use ledger::budget::ASKED_MAX;
use std::collections::BTreeMap;

/// Most budgets that the text names.
const NAMED_MAX: usize = 8;

/// The places of budgets, and who or what they are for.
type Sets = BTreeMap<Vec<usize>, String>;

impl Bundle {
    /// The call for which most budgets are, if these are too many: the first budget beyond what is possible, and what a
    /// reader must know.
    pub(in crate::policy) fn crowded(&self) -> Option<(&Limit, String)> {
        if self.budgets.len() <= ASKED_MAX {
            return None;
        }
        let (agents, calls) = (self.sets_of_agents(), self.sets_of_calls());
        let pairs = agents.iter().flat_map(|agent| calls.iter().map(move |call| (agent, call)));
        let met = pairs.map(|((of_agent, agent), (of_call, call))| {
            let both = of_agent.iter().filter(|at| of_call.contains(at));
            (both.copied().collect::<Vec<_>>(), agent, call)
        });
        // The first one of the largest.
        let (budgets, agent, call) =
            met.reduce(|a, b| if b.0.len() > a.0.len() { b } else { a })?;
        let beyond = &self.budgets[*budgets.get(ASKED_MAX)?].limit;
        let names = budgets.iter().map(|at| self.budgets[*at].limit.name.as_str());
        let mut names = names.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
        if budgets.len() > NAMED_MAX {
            names.push_str(", …");
        }
        let text = format!(
            "{} budgets are for a call of {agent} to {call} ({names}), and at most {ASKED_MAX} can be: every such call is denied; name agents, a tool or actions in them",
            budgets.len()
        );
        Some((beyond, text))
    }

    fn budgets_for(&self, is_for: impl Fn(&Limit) -> bool) -> Vec<usize> {
        let budgets = self.budgets.iter().enumerate();
        budgets.filter(|(_, budget)| is_for(&budget.limit)).map(|(at, _)| at).collect()
    }

    /// By agents: one of them for each set of budgets.
    fn sets_of_agents(&self) -> Sets {
        let spawned = self.agents.spawned().keys().map(|prefix| format!("{prefix}*"));
        let ids = self.agents.ids().map(str::to_owned).chain(spawned);
        let of = |id: String| {
            let standing = self.agents.standing(&id);
            (self.budgets_for(|limit| limit.is_for_agent(&standing)), id)
        };
        first_of_each(ids.map(of))
    }

    /// By tools and actions: one of them for each set of budgets.
    fn sets_of_calls(&self) -> Sets {
        let calls = self.tools.all().flat_map(|(tool, of)| {
            // An action that the tool does not list meets the budgets of every action.
            of.actions.keys().map(String::as_str).chain([""]).map(move |action| (tool, action))
        });
        let of = |(tool, action): (&String, &str)| {
            let shown = if action.is_empty() { "another action" } else { action };
            (self.budgets_for(|limit| limit.is_for_call(tool, action)), format!("{tool} ({shown})"))
        };
        first_of_each(calls.map(of))
    }
}

fn first_of_each(all: impl Iterator<Item = (Vec<usize>, String)>) -> Sets {
    let mut sets = Sets::new();
    for (set, name) in all {
        sets.entry(set).or_insert(name);
    }
    sets
}
