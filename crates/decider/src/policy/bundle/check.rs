//! What the files of a bundle must agree on, and what is probably not meant.

use super::{Bundle, results::check_on};
use crate::{
    policy::{
        clause::{Clause, Then},
        condition::Condition,
        early::Early,
        form::{is_date, is_host_pattern},
        mistakes::{Mistake, Mistakes},
        tools::Effect,
    },
    rule::Rule,
};

/// Most items of a list that are named in hints.
const HINTS_MAX: usize = 5;

impl Bundle {
    /// What clauses name must be there.
    pub(super) fn check(&self) -> Vec<Mistake> {
        let mut found = self.agents.unknown_tools(|tool| self.tools.knows(tool));
        for clause in &self.clauses {
            let mistakes = Mistakes::of(&clause.file);
            self.check_clause(clause, |text| {
                mistakes.note(clause.at, format!("{}: {text}", clause.id));
            });
            found.extend(mistakes.finish());
        }
        found.extend(self.check_limits());
        found
    }

    fn check_clause(&self, clause: &Clause, note: impl Fn(String)) {
        for who in clause.agents.iter().filter(|who| !self.agents.knows(who)) {
            note(match who.strip_prefix('@') {
                Some("unregistered") => {
                    "@unregistered needs an agent with id \"*\" in agents.yaml".into()
                }
                Some(group) => format!("no agent of agents.yaml is in the group {group}"),
                None => format!("agents.yaml has no agent {who:?}; a group is written \"@{who}\""),
            });
        }
        if let Some(tool) = &clause.tool {
            if !self.tools.knows(tool) {
                note(format!("tools.yaml has no tool {tool:?}: it has {}", self.tools.names()));
            }
            for action in clause
                .actions
                .iter()
                .filter(|a| self.tools.knows(tool) && self.tools.action(tool, a).is_none())
            {
                note(format!(
                    "tools.yaml has no action {action:?} of {tool}: it has {}",
                    self.tools.actions(tool)
                ));
            }
        }
        if let Some(text) = self.not_early(clause) {
            note(text.into());
        }
        if let Some(limit) = self.limit_of_early(clause) {
            note(format!(
                "{limit} counts its calls, so each verdict is recorded before it is told: leave out `record` and `unavailable`"
            ));
        }
        self.check_sanitize(clause, &note);
        check_on(clause, &note);
        self.check_history(clause, &note);
        let Some(when) = &clause.when else { return };
        when.walk_turned(false, &mut |part, turned| {
            for list in part.lists().into_iter().filter(|list| !self.lists.knows(list)) {
                note(format!("there is no list {list:?}: add lists/{list}.yaml"));
            }
            for who in part.agents().into_iter().filter(|who| !self.agents.knows(who)) {
                note(format!("the chain names {who:?}, which is no agent or group of agents.yaml"));
            }
            if let Condition::Parent(parent) = part
                && let Some(tool) = parent.tool()
            {
                if !self.tools.knows(tool) {
                    note(format!("parent: tools.yaml has no tool {tool:?}: it has {}", self.tools.names()));
                }
                for action in parent.actions().filter(|a| self.tools.knows(tool) && self.tools.action(tool, a).is_none()) {
                    note(format!("parent: tools.yaml has no action {action:?} of {tool}: it has {}", self.tools.actions(tool)));
                }
            }
            if let Condition::Egress(egress) = part
                && let Some(list) = egress.list()
            {
                for item in self.lists.misfits(list, is_host_pattern).into_iter().take(HINTS_MAX) {
                    note(format!("the list {list} names hosts, and {item:?} is none: write api.example.eu or *.bank.example"));
                }
            }
            if let Condition::Param(param) = part
                && (clause.then != Then::Allow || turned)
                && param.is_ambiguous()
            {
                let what = "say `some: true` (one value is enough) or `some: false` (every value) beside the tests";
                note(format!("{}: in a clause that restricts, {what}; instead of `each` write a pointer that ends with /*", part.place()));
            }
            if let Condition::Hours(hours) = part
                && let Some(list) = &hours.holidays
            {
                for item in self.lists.misfits(list, is_date).into_iter().take(HINTS_MAX) {
                    note(format!("the list {list} names dates, and {item:?} is none: write \"2026-12-25\""));
                }
            }
            let says_all = matches!(part, Condition::Egress(_) | Condition::Classes(_) | Condition::ThirdParties(_));
            if says_all && turned != (clause.then == Then::Deny) {
                let what = if turned { "inside `not`, it would permit what is not listed: remove `not`" } else { "it is true if everything is within what is listed: in a deny clause write `not: {…}` around it" };
                note(format!("{}: {what}", part.place()));
            }
            if let Condition::Detects(detects) = part {
                self.check_detectors(&detects.detect, &note);
            }
            if let Condition::Tier(Some(tier)) = part
                && !self.agents.has_tier(tier)
            {
                note(format!("{tier:?} is no tier: list it in `tiers` of agents.yaml"));
            }
        });
    }

    /// What is no mistake, and probably not meant.
    pub fn warnings(&self) -> Vec<Mistake> {
        let mut warnings = Vec::new();
        for clause in &self.clauses {
            let mut warn = |text: &str| warnings.push(clause.mistake(text));
            if clause.then == Then::Allow && clause.actions.is_empty() {
                warn(
                    "allows every action of the tool, also one that is added later: list the actions",
                );
            }
            if clause.then.permits() && clause.when.is_none() && clause.agents.is_empty() {
                warn("permits every registered agent, without a condition: name the agents");
            }
            self.warn_of_history(clause, &mut warn);
        }
        warnings.extend(self.idle_denies());
        warnings.extend(self.crowded().map(|(limit, text)| limit.mistake(&text)));
        warnings.sort();
        warnings
    }

    fn check_sanitize(&self, clause: &Clause, note: &impl Fn(String)) {
        match (clause.then, clause.sanitize.redact.is_empty()) {
            (Then::Sanitize, true) => {
                note("add redact: [{at: /body, detect: [iban, card]}]".into());
            }
            (Then::Sanitize, false) => {}
            _ if !clause.sanitize.is_empty() => {
                note("redact and keep_received are for clauses with `then: sanitize`".into());
            }
            _ => {}
        }
        for item in &clause.sanitize.redact {
            self.check_detectors(&item.detect, note);
        }
    }

    fn check_detectors(&self, names: &[String], note: &impl Fn(String)) {
        for name in names.iter().filter(|name| self.detectors.chosen(name).is_none()) {
            note(format!(
                "there is no detector {name:?}: proto/formats/detectors.md lists them, detectors.yaml adds own ones"
            ));
        }
    }

    /// Why a clause must not say `record` or `unavailable`, if so.
    fn not_early(&self, clause: &Clause) -> Option<&'static str> {
        if clause.early == Early::default() {
            return None;
        }
        let tool = clause.tool.as_deref().unwrap_or_default();
        let reads = |action: &String| {
            self.tools.action(tool, action).is_some_and(|action| action.effect == Effect::Read)
        };
        if clause.then != Then::Allow {
            Some("`record` and `unavailable` are for allow clauses alone")
        } else if clause.actions.is_empty() || !clause.actions.iter().all(reads) {
            Some(
                "with `record` or `unavailable` a clause lists its actions, each with `effect: read` in tools.yaml: what is told before it is recorded can be lost",
            )
        } else {
            None
        }
    }

    /// Clauses that pause calls about which only the rule for everything else would ask people. Whoever wrote that rule
    /// did not think of them. `rules`: those that will be in force.
    pub fn caught_by_the_rest(&self, rules: &[Rule]) -> Vec<Mistake> {
        let pausing = self.clauses.iter().filter(|clause| clause.then == Then::ApprovalNeeded);
        let is_caught = |clause: &Clause, action: Option<&str>| {
            let tool = clause.tool.as_deref();
            rules.iter().any(|rule| rule.matches.may_catch(&clause.name, tool, action))
        };
        let rest = |name: &str| {
            format!(
                "only the last rule, for everything else, would ask people about it: add a [[rule]] with [rule.match] clause = [{name:?}]"
            )
        };
        let left = pausing.filter(|clause| {
            let mut actions = clause.actions.iter();
            if clause.actions.is_empty() {
                !is_caught(clause, None)
            } else {
                !actions.all(|action| is_caught(clause, Some(action)))
            }
        });
        let told = |clause: &Clause| clause.mistake(&rest(&clause.name));
        let over = self.budgets.iter().map(|budget| &budget.limit).filter(|limit| {
            let tool = limit.tool.as_deref();
            let is_caught =
                |action| rules.iter().any(|r| r.matches.may_catch(&limit.name, tool, action));
            limit.asks_people
                && if limit.actions.is_empty() {
                    !is_caught(None)
                } else {
                    !limit.actions.iter().all(|action| is_caught(Some(action)))
                }
        });
        let over = over.map(|limit| limit.mistake(&rest(&limit.name)));
        left.map(told).chain(over).collect()
    }

    /// Deny clauses of tools that nothing permits.
    fn idle_denies(&self) -> Vec<Mistake> {
        let permits = |tool: &String| {
            let mut permitting = self.clauses.iter().filter(|clause| clause.then.permits());
            permitting.any(|clause| clause.tool.as_ref().is_none_or(|other| other == tool))
        };
        let denies = self.clauses.iter().filter(|clause| !clause.then.permits());
        let idle = denies.filter(|clause| clause.tool.as_ref().is_some_and(|tool| !permits(tool)));
        let text = "nothing permits a call of this tool, so this clause changes nothing";
        idle.map(|clause| clause.mistake(text)).collect()
    }
}
