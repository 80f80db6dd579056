//! What each clause of a policy said of a call, for people and for programs.

use crate::terminal::{bad, dim, good, harmless, say};
use decider::policy::{ClauseTruth, Ruling};
use ledger::budget::Asked;
use serde_json::{Value, json};

/// What the call says where a condition looks. `None`: the condition is about something else, or nothing is there.
fn value_at<'p>(told: &ClauseTruth<'_>, params: &'p Value) -> Option<&'p Value> {
    told.at.as_deref().and_then(|at| params.pointer(at))
}

/// One object for each clause. `params`: those of the call; null if they are not disclosed.
pub fn json(clauses: &[ClauseTruth<'_>], params: &Value) -> Vec<Value> {
    let one = |told: &ClauseTruth<'_>| {
        json!({
            "clause": told.clause.name, "matches": told.matches, "at": told.at,
            "value": value_at(told, params), "error": told.why, "in_force": told.in_force,
        })
    };
    clauses.iter().map(one).collect()
}

/// One line for each clause, and the parameters by which they were judged.
pub fn tell(clauses: &[ClauseTruth<'_>], params: &Value) {
    for told in clauses {
        let value = value_at(told, params).map(|value| format!(" = {value}")).unwrap_or_default();
        let at = told.at.as_deref().map(|at| format!(" at {at}{value}")).unwrap_or_default();
        let at = harmless(&at);
        let says = match (told.matches, &told.why) {
            (Some(true), _) => good("matches"),
            (Some(false), _) => dim(&format!("does not match{at}")),
            (None, why) => bad(&format!("error{at}: {}", why.as_deref().unwrap_or("unknown"))),
        };
        let shadow = if told.in_force { "" } else { " (in shadow)" };
        say(&format!("{}: {says}{shadow}", harmless(&told.clause.name)));
    }
    if !params.is_null() {
        say(&dim(&format!("params: {}", harmless(&params.to_string()))));
    }
}

/// What a verdict asks of budgets.
pub fn budgets(ruling: &Ruling) -> Vec<Value> {
    ruling.asked.iter().map(Asked::to_json).collect()
}

/// One line for each budget of which a verdict asks something.
pub fn tell_budgets(ruling: &Ruling) {
    for asked in &ruling.asked {
        let Asked { id, key, unit, currency, sum, max, booked, .. } = asked;
        let key = key.as_ref().map(|key| format!(" of {key}")).unwrap_or_default();
        let currency = currency.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let (unit, booked) = (unit.as_str(), booked.as_str());
        let text = format!("budget {id}{key}: {sum} ({unit}{currency}), {booked} {max}");
        say(&dim(&harmless(&text)));
    }
}
