//! Mutation: what changes of a policy would no test notice? Each clause is dropped once, and each bound is moved by
//! one in both directions.

use super::{Bundle, TestCase};
use crate::policy::condition::Condition;

/// A change of a policy that no test notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The clause.
    pub clause: String,
    /// The change.
    pub change: String,
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
    let bounds = |condition: &Condition| {
        let mut count = 0;
        condition.clone().each_bound(&mut |_, _| count += 1);
        count
    };
    let clauses = bundle.clauses.iter();
    let all = clauses.map(|clause| 1 + 2 * clause.when.as_ref().map_or(0, bounds)).sum();
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
    found
}
