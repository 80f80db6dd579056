//! The alerts that a verdict raises.

use super::{
    super::clause::Clause,
    values::{member, object, text},
};
use ledger::{
    event::{ALERTING_MAX, Alerting},
    json::{Member, Value},
};

/// The clauses that raise an alert. `clauses`: those in force that matched. What only observes raises none.
pub(super) fn alerting(clauses: &[&Clause], only_observes: bool) -> Vec<Alerting> {
    let raise = |clause: &&Clause| {
        Some(Alerting { clause: clause.name.clone(), name: clause.alert.clone()? })
    };
    let mut found: Vec<_> = clauses.iter().filter(|_| !only_observes).filter_map(raise).collect();
    found.sort();
    found.truncate(ALERTING_MAX);
    found
}

/// The same as a member of an event. `None` if there is none.
pub(super) fn alerts(alerts: &[Alerting]) -> Option<Member<'_>> {
    let all: Vec<_> = alerts.iter().map(shown).collect();
    (!all.is_empty()).then(|| member("alerts", Value::Array(all)))
}

fn shown(alert: &Alerting) -> Value<'_> {
    object([member("clause", text(&alert.clause)), member("name", text(&alert.name))])
}
