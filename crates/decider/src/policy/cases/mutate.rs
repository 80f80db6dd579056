//! Mutation: what changes of a policy would no test notice? Each clause is dropped once, each bound is moved by one in
//! both directions, and each detector is left out of what redacts or detects.

use super::{Bundle, TestCase};
use crate::policy::{clause::Clause, condition::Condition};

/// A change of a policy that no test notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The clause.
    pub clause: String,
    /// The change.
    pub change: String,
}

/// Number of bounds of a condition.
fn bounds(condition: &Condition) -> usize {
    let mut count = 0;
    condition.clone().each_bound(&mut |_, _| count += 1);
    count
}

/// Number of changes that are tried.
pub(super) fn changes_of(bundle: &Bundle) -> usize {
    let clauses = bundle.clauses.iter();
    let of =
        |clause: &Clause| 1 + detecting(clause).len() + 2 * clause.when.as_ref().map_or(0, bounds);
    let clauses: usize = clauses.map(of).sum();
    let caps: usize = bundle.budgets.iter().map(|budget| 1 + 2 * budget.max.len()).sum();
    clauses + caps + bundle.rates.len()
}

/// Changes the bundle in each way and runs the tests. `progress` is called after each change, with the number done
/// and the number of all.
///
/// All tests must pass on the bundle itself; otherwise nothing can be said.
pub fn survivors(
    bundle: &Bundle,
    cases: &[TestCase],
    mut progress: impl FnMut(usize, usize),
) -> Vec<Survivor> {
    let all = changes_of(bundle);
    // No change names another zone, so the facts stay.
    let facts: Vec<_> = cases.iter().map(|case| case.facts(bundle)).collect();
    let (mut done, mut found) = (0, Vec::new());
    let mut changed = bundle.clone();
    for at in 0..bundle.clauses.len() {
        let original = &bundle.clauses[at];
        let mut attempt = |changed: &Bundle, change: String| {
            if cases.iter().zip(&facts).all(|(case, facts)| case.run(changed, facts).is_none()) {
                found.push(Survivor { clause: original.name.clone(), change });
            }
            done += 1;
            progress(done, all);
        };
        // A clause that is for nobody's tool is never weighed.
        changed.clauses[at].agents = vec![String::new()];
        attempt(&changed, "it is left out".into());
        changed.clauses[at].agents.clone_from(&original.agents);
        for (change, clause) in detecting(original) {
            changed.clauses[at] = clause;
            attempt(&changed, change);
        }
        changed.clauses[at] = original.clone();
        let Some(when) = &original.when else { continue };
        for nth in 0..bounds(when) {
            for step in [-1, 1] {
                let mut other = when.clone();
                let (mut count, mut change, mut moves) = (0, String::new(), false);
                other.each_bound(&mut |bound, name| {
                    if count == nth {
                        moves = bound.move_by(step);
                        change =
                            format!("{name} is one {}", if step < 0 { "less" } else { "more" });
                    }
                    count += 1;
                });
                changed.clauses[at].when = Some(other);
                // A bound at the begin or end of the day has nothing beyond it.
                if moves {
                    attempt(&changed, change);
                }
            }
        }
        changed.clauses[at].when.clone_from(&original.when);
    }
    limits(bundle, &mut |changed, name, change| {
        if cases.iter().zip(&facts).all(|(case, facts)| case.run(changed, facts).is_none()) {
            found.push(Survivor { clause: name.to_owned(), change });
        }
        done += 1;
        progress(done, all);
    });
    found
}

/// Each budget and rate left out, and each cap one less and one more.
fn limits(bundle: &Bundle, attempt: &mut dyn FnMut(&Bundle, &str, String)) {
    let mut changed = bundle.clone();
    for (at, original) in bundle.budgets.iter().enumerate() {
        let name = &original.limit.name;
        changed.budgets.remove(at);
        attempt(&changed, name, "it is left out".into());
        changed.budgets.insert(at, original.clone());
        for currency in original.max.keys() {
            for step in [-1, 1] {
                let mut other = original.clone();
                if let Some(max) = other.max.get_mut(currency) {
                    *max = max.saturating_add_signed(step);
                }
                changed.budgets[at] = other;
                let of = currency.as_ref().map(|text| format!(" {text}")).unwrap_or_default();
                let which = if step < 0 { "less" } else { "more" };
                attempt(&changed, name, format!("max{of} is one {which}"));
            }
        }
        changed.budgets[at] = original.clone();
    }
    for (at, original) in bundle.rates.iter().enumerate() {
        changed.rates.remove(at);
        attempt(&changed, &original.limit.name, "it is left out".into());
        changed.rates.insert(at, original.clone());
    }
}

/// The clause without each of its detectors, one by one.
fn detecting(clause: &Clause) -> Vec<(String, Clause)> {
    let mut found = Vec::new();
    for (nth, item) in clause.sanitize.redact.iter().enumerate() {
        for name in &item.detect {
            let mut without = clause.clone();
            without.sanitize.redact[nth].detect.retain(|other| other != name);
            found.push((format!("{:?} no longer redacts {name}", item.at.to_string()), without));
        }
    }
    let mut named = Vec::new();
    if let Some(when) = &clause.when {
        when.walk(&mut |part| {
            if let Condition::Detects(detects) = part {
                named.push(detects.clone());
            }
        });
    }
    for detects in named {
        for name in &detects.detect {
            let mut without = clause.clone();
            if let Some(when) = &mut without.when {
                when.without_detector(&detects, name);
            }
            found.push((format!("it no longer detects {name}"), without));
        }
    }
    found
}
