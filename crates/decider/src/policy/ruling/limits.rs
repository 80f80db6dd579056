//! What budgets and rates make of a verdict, and how its entry says what it asks of them.

use super::{
    Ruling,
    values::{member, number, object, of_serde},
};
use crate::policy::{
    bundle::Bundle, early::Early, facts::Facts, limited::Limited, request::Request,
};
use ledger::{
    event::Verdict,
    json::{Member, Value},
    time::Nanos,
};

impl Ruling {
    /// The same with what budgets and rates make of it.
    pub(super) fn limited(mut self, bundle: &Bundle, request: &Request<'_>, facts: &Facts) -> Self {
        let limited =
            if self.only_observes { None } else { bundle.limited(self.verdict, request, facts) };
        let Some(Limited { verdict, reason, asked }) = limited else { return self };
        self.early = Early::default();
        self.asked = asked;
        if let Some(reason) = reason {
            self.verdict = verdict;
            reason.code.clone_into(&mut self.code);
            self.clause = Some(reason.name.to_owned());
            self.message = reason.message.map(str::to_owned);
            self.error = reason.error.map(|(at, why)| (at, why.to_owned()));
        }
        if verdict == Verdict::Deny {
            self.obligations.clear();
        }
        self
    }

    /// When a call that a budget refused may be asked about again.
    pub fn opens(&self) -> Option<Nanos> {
        let refused = self.asked.iter().filter(|_| self.verdict == Verdict::Deny);
        refused.map(|asked| asked.to).max()
    }

    /// The member `budgets` of its event, if it asks for any.
    pub(super) fn budgets(&self) -> Option<Member<'static>> {
        if self.asked.is_empty() {
            return None;
        }
        let asked = self.asked.iter().map(|asked| of_json(asked.to_json())).collect();
        let within = member("report_within", number(self.report_within));
        Some(member("budgets", object([within, member("asked", Value::Array(asked))])))
    }
}

impl Ruling {
    /// The member `history` of its event, if it counted earlier decisions.
    pub(super) fn counted(&self) -> Option<Member<'static>> {
        if self.history.is_empty() {
            return None;
        }
        let named = self.history.iter().map(|named| of_json(named.to_json())).collect();
        Some(member("history", Value::Array(named)))
    }
}

/// JSON of our own: objects of texts and whole numbers.
fn of_json(value: serde_json::Value) -> Value<'static> {
    match value {
        serde_json::Value::Object(members) => Value::Object(
            members.into_iter().map(|(name, value)| (name.into(), of_json(value))).collect(),
        ),
        serde_json::Value::Array(items) => Value::Array(items.into_iter().map(of_json).collect()),
        other => of_serde(&other),
    }
}
