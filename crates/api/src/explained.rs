//! What each clause of a policy said of a call, for people and for programs.

use crate::terminal::{bad, dim, good, harmless, say};
#[cfg(feature = "server")]
use decider::policy::{Bundle, Facts, RateOf, Redacted, Request, Stock};
use decider::policy::{ClauseTruth, Ruling};
use ledger::budget::Asked;
#[cfg(feature = "server")]
use ledger::canonical;
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

/// Budgets on which nothing is booked, and rates that have a call left.
#[cfg(feature = "server")]
struct Unspent;

#[cfg(feature = "server")]
impl Stock for Unspent {
    type Error = std::convert::Infallible;

    fn counted(&mut self, _: &Asked) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn take(&mut self, _: &RateOf<'_>) -> bool {
        true
    }
}

/// The verdict with budgets and rates, if nothing was booked before. `None` if none has a part in it.
#[cfg(feature = "server")]
pub fn unspent(bundle: &Bundle, request: &Request<'_>, facts: &Facts) -> Option<Ruling> {
    let mut facts = facts.clone();
    let Ok(()) = bundle.stock_up(request, &mut facts, &mut Unspent);
    let has_part = !facts.booked.is_empty() || !facts.rates.is_empty();
    let ruling = Ruling::of(bundle, 0, request, &facts);
    let decides = bundle.judge(request, &facts).verdict != ruling.verdict;
    (has_part || decides).then_some(ruling)
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

/// The verdict with budgets and rates.
#[cfg(feature = "server")]
pub fn tell_unspent(ruling: &Ruling) {
    tell_budgets(ruling);
    let Ruling { verdict, code, clause, error, .. } = ruling;
    let by = clause.as_ref().map(|clause| format!(" by {clause}")).unwrap_or_default();
    let error = error.as_ref().map(|(at, why)| format!(", {at}: {why}")).unwrap_or_default();
    let text = format!("with nothing booked before: {}{by} ({code}{error})", verdict.as_str());
    say(&harmless(&text));
}

/// What was redacted, and the params afterwards.
#[cfg(feature = "server")]
pub fn redacted_json(redacted: &Redacted) -> Value {
    let params = canonical::to_vec(&redacted.params);
    let params: Value = serde_json::from_slice(&params).unwrap_or_default();
    json!({"params": params, "found": redacted.facts.found, "set": redacted.facts.set})
}

/// One line for each text and detector, and the params afterwards.
#[cfg(feature = "server")]
pub fn tell_redacted(redacted: &Redacted) {
    for found in &redacted.facts.found {
        let way: Vec<String> =
            std::iter::once(&found.at).chain(&found.inside).map(ToString::to_string).collect();
        let times = found.spans.len();
        let at = harmless(&way.join(", "));
        say(&format!("redacted: {} at {at:?}, {times} times", harmless(&found.detector)));
    }
    let params = String::from_utf8_lossy(&canonical::to_vec(&redacted.params)).into_owned();
    say(&dim(&format!("params after that: {}", harmless(&params))));
}
