//! The conditions on earlier decisions of a bundle: which a call needs, and what they count.

use super::Bundle;
use crate::policy::{
    bounds::Truth,
    clause::{Clause, Then},
    condition::Condition,
    early::Early,
    facts::Facts,
    history::{Counted, History, Past, counted},
    request::Request,
};
use ledger::history::{NAMED_MAX, Named};
use std::collections::BTreeSet;

/// Most conditions on earlier decisions of one bundle.
const HISTORIES_MAX: usize = 100;

impl Bundle {
    /// Adds to the facts what counted of earlier decisions, for each condition on which the verdict about a call depends.
    pub fn count_earlier<P: Past>(
        &self,
        request: &Request<'_>,
        facts: &mut Facts,
        past: &mut P,
    ) -> Result<(), P::Error> {
        self.count_up_to(request, facts, History::up_to, past)
    }

    /// The same, counting for each condition up to a number of its own.
    pub(in crate::policy) fn count_up_to<P: Past>(
        &self,
        request: &Request<'_>,
        facts: &mut Facts,
        up_to: impl Fn(&History) -> u64,
        past: &mut P,
    ) -> Result<(), P::Error> {
        let mut found = Vec::new();
        for history in self.undecided(request, facts) {
            let is_known = |known: &Counted| history.is_counted_by(known);
            if found.len() == NAMED_MAX || found.iter().any(is_known) {
                continue;
            }
            found.extend(counted(history, request, (facts.now, up_to(history)), past)?);
        }
        found.sort();
        facts.history = found;
        Ok(())
    }

    /// The conditions on which it depends whether a clause matches.
    fn undecided<'b>(&'b self, request: &Request<'_>, facts: &Facts) -> Vec<&'b History> {
        let any = self.candidates(&request.tool, &request.action);
        let has_history = |at: &usize| !histories(&self.clauses[*at]).is_empty();
        if !any.iter().any(has_history) {
            return Vec::new();
        }
        let open = self.weighed(request, facts).into_iter();
        let open = open.filter(|(_, truth, _)| matches!(truth, Truth::Error(_)));
        open.flat_map(|(clause, ..)| histories(clause)).collect()
    }

    /// What the verdict about a call rests on of earlier decisions: what clauses in force counted.
    pub(in crate::policy) fn counts_of(&self, request: &Request<'_>, facts: &Facts) -> Vec<Named> {
        if facts.history.is_empty() {
            return Vec::new();
        }
        let in_force = self.weighed(request, facts).into_iter().filter(|(.., in_force)| *in_force);
        let counted =
            |history: &&History| facts.history.iter().any(|counted| history.is_counted_by(counted));
        let all = in_force.flat_map(|(clause, ..)| histories(clause)).filter(counted);
        let named: BTreeSet<Named> = all.map(History::named).collect();
        named.into_iter().collect()
    }

    /// True if these may be what the conditions of this bundle counted.
    pub(in crate::policy) fn accepts_history(&self, facts: &Facts) -> bool {
        let known = |counted: &Counted| {
            let of = self.clauses.iter().flat_map(histories);
            of.into_iter().any(|h| h.query == counted.query && h.up_to() == counted.up_to)
                && counted.of.len() as u64 <= counted.up_to
                && counted.of.windows(2).all(|pair| pair[0] < pair[1])
        };
        facts.history.iter().all(known) && facts.history.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// True if a condition compares values of earlier calls of this tool and action.
    pub(in crate::policy) fn compares(&self, tool: &str, action: &str) -> bool {
        let mut all = self.clauses.iter().flat_map(histories);
        all.any(|History { query, .. }| {
            !query.equal.is_empty() && query.tool == tool && query.actions.contains(action)
        })
    }

    /// What is wrong with the conditions of a clause on earlier decisions.
    pub(super) fn check_history(&self, clause: &Clause, note: &impl Fn(String)) {
        for History { query, .. } in histories(clause) {
            let (tool, unknown) =
                (&query.tool, |action: &&String| self.tools.action(&query.tool, action).is_none());
            if !self.tools.knows(tool) {
                note(format!(
                    "history: tools.yaml has no tool {tool:?}: it has {}",
                    self.tools.names()
                ));
                continue;
            }
            for action in query.actions.iter().filter(unknown) {
                note(format!(
                    "history: tools.yaml has no action {action:?} of {tool}: it has {}",
                    self.tools.actions(tool)
                ));
            }
        }
        let all: usize = self.clauses.iter().map(|clause| histories(clause).len()).sum();
        if all > HISTORIES_MAX
            && self.clauses.iter().find(|c| !histories(c).is_empty()) == Some(clause)
        {
            note(format!("a bundle has at most {HISTORIES_MAX} conditions on earlier decisions"));
        }
        if clause.early != Early::default()
            && let Some(counting) = self.counts_calls_of(clause)
        {
            note(format!(
                "{counting} counts earlier decisions for its calls, so each verdict is recorded before it is told: leave out `record` and `unavailable`"
            ));
        }
    }

    /// A clause that counts earlier decisions for the calls of this one.
    fn counts_calls_of(&self, clause: &Clause) -> Option<&str> {
        let meets = |other: &&Clause| {
            let tool = other.tool.is_none() || other.tool == clause.tool;
            let actions = other.actions.is_empty()
                || clause.actions.is_empty()
                || !other.actions.is_disjoint(&clause.actions);
            tool && actions && !histories(other).is_empty()
        };
        self.clauses.iter().find(meets).map(|clause| clause.name.as_str())
    }

    /// What is no mistake in a clause's conditions on earlier decisions, and probably not meant.
    pub(super) fn warn_of_history(&self, clause: &Clause, warn: &mut impl FnMut(&str)) {
        for History { query, count, .. } in histories(clause) {
            let says = |verdict: &str| query.verdicts.contains(verdict);
            if clause.then == Then::Allow
                && count.at_least.is_some_and(|min| min > 0)
                && says("approval_needed")
                && query.outcomes.is_empty()
            {
                warn(
                    "history counts calls that waited for people, also if they denied them: add outcome: [succeeded]",
                );
            }
            let redacts = query.actions.iter().any(|action| self.may_redact(&query.tool, action));
            if count.at_most.is_some() && says("allow") && !says("sanitize") && redacts {
                warn(
                    "history does not count allowed calls that were redacted: add sanitize to verdicts",
                );
            }
        }
    }
}

/// The conditions of a clause on earlier decisions.
fn histories(clause: &Clause) -> Vec<&History> {
    let mut found = Vec::new();
    if let Some(when) = &clause.when {
        when.walk(&mut |part| {
            if let Condition::History(history) = part {
                found.push(&**history);
            }
        });
    }
    found
}
