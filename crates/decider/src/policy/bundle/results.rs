//! What a clause may say of results.

use crate::policy::{
    clause::{Clause, Then},
    condition::Condition,
    early::Early,
    on::On,
};

/// Checks that a clause says only what it can judge: of a result nothing is known but the result itself, so that its
/// verdict rests on no clock and on no other call.
pub(super) fn check_on(clause: &Clause, note: &impl Fn(String)) {
    let mut other = None;
    if let Some(when) = &clause.when {
        when.walk(&mut |part| {
            let fits = match part {
                Condition::All(_)
                | Condition::Any(_)
                | Condition::Not(_)
                | Condition::Detects(_) => true,
                Condition::Param(param) => param.of() == clause.on,
                _ => clause.on == On::Call,
            };
            if !fits {
                other.get_or_insert(part.place());
            }
        });
    }
    if clause.on == On::Call {
        if let Some(place) = other {
            note(format!("{place}: result is for clauses with `judges: result`"));
        }
        return;
    }
    if let Some(place) = other {
        note(format!(
            "{place}: a clause with `judges: result` looks at the result alone: result, detects, all, any and not"
        ));
    }
    if !matches!(clause.then, Then::Deny | Then::Sanitize) {
        note(
            "judges: result goes with `then: sanitize` or `then: deny`: the call was permitted before"
                .into(),
        );
    }
    let rest = clause.freeze.is_some()
        || !clause.obligations.is_empty()
        || clause.early != Early::default()
        || clause.sanitize.keep_received;
    if rest {
        note(
            "freeze, obligations, keep_received, record and unavailable are for calls: leave them out with `judges: result`"
                .into(),
        );
    }
}
