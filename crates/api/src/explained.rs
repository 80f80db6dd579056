//! What each clause of a policy said of a call, for people and for programs.

use crate::terminal::{bad, dim, good, harmless, say};
use decider::policy::ClauseTruth;
use serde_json::{Value, json};

/// One object for each clause.
pub fn json(clauses: &[ClauseTruth<'_>]) -> Vec<Value> {
    let one = |told: &ClauseTruth<'_>| {
        json!({
            "clause": told.clause.name, "matches": told.matches, "at": told.at,
            "error": told.why, "in_force": told.in_force,
        })
    };
    clauses.iter().map(one).collect()
}

/// One line for each clause.
pub fn tell(clauses: &[ClauseTruth<'_>]) {
    for told in clauses {
        let at = told.at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        let says = match (told.matches, told.why) {
            (Some(true), _) => good("matches"),
            (Some(false), _) => dim(&format!("does not match{at}")),
            (None, why) => bad(&format!("error{at}: {}", why.unwrap_or("unknown"))),
        };
        let shadow = if told.in_force { "" } else { " (in shadow)" };
        say(&format!("{}: {says}{shadow}", harmless(&told.clause.name)));
    }
}
