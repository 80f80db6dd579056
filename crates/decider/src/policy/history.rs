//! Conditions on earlier decisions: `history`. What counted is a fact (P15); posting voids a decision whose count may be
//! another one at its place (P14).

mod count;
mod read;
mod within;

pub(super) use count::counted;
pub use count::{EQUAL_READ_MAX, Past, READ_MAX, count};
pub(super) use within::seconds;

use super::{
    bounds::{Bound, Bounds, Truth},
    fields::listed,
    pointer::Pointer,
    request::Request,
};
use ledger::history::{CallOf, Named, Outcome, Same};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Highest number that a condition may compare a count with.
pub const COUNT_MAX: i64 = 100;

/// Which earlier decisions count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Those of the same agent, session or run.
    pub same: Same,
    /// About calls of this tool.
    pub tool: String,
    /// Of these actions.
    pub actions: BTreeSet<String>,
    /// With one of these verdicts.
    pub verdicts: BTreeSet<String>,
    /// With one of these outcomes. Empty: whatever came of the call.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub outcomes: BTreeSet<Outcome>,
    /// Pointers into this call, and the pointers into the earlier one where the same value must be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub equal: BTreeMap<String, String>,
    /// How far it looks back, in seconds.
    pub within: u64,
}

impl fmt::Display for Query {
    /// `history of pay of bank by run (allow; failed; /payee = /payee) in 3600 s`. Different ones have different words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { same, tool, actions, verdicts, outcomes, equal, within } = self;
        let outcomes: Vec<&str> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
        let equal: Vec<String> =
            equal.iter().map(|(here, there)| format!("{here} = {there}")).collect();
        let counts = [listed(verdicts), outcomes.join(", "), equal.join(", ")];
        let counts: Vec<&str> =
            counts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        write!(
            f,
            "history of {} of {tool} by {} ({}) in {within} s",
            listed(actions),
            same.as_str(),
            counts.join("; ")
        )
    }
}

/// What counted: a fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// What was asked for.
    pub query: Query,
    /// At this number counting ended: more makes no difference.
    pub up_to: u64,
    /// Leaf indexes of the decisions that counted, in ascending order.
    pub of: Vec<u64>,
    /// Why more may have counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<Unknown>,
}

/// Why it is unknown what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// A value of an earlier call was erased.
    Erased,
    /// A value of an earlier call was redacted before it was recorded.
    Redacted,
    /// More decisions, or values of more, would have to be read than the limits allow.
    TooMany,
}

impl Unknown {
    const fn why(self) -> &'static str {
        match self {
            Self::Erased => "a value of an earlier call was erased",
            Self::Redacted => "a value of an earlier call was redacted",
            Self::TooMany => "more earlier calls than may be read",
        }
    }
}

/// The condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct History {
    pub(super) query: Query,
    /// The pairs of `query.equal`.
    equal: Vec<(Pointer, Pointer)>,
    pub(super) count: Bounds,
}

impl History {
    /// A condition that counts this, without bounds. `None` if its pointers are none.
    fn of(query: Query) -> Option<Self> {
        let read = |(here, there): (&String, &String)| {
            Some((Pointer::new(here).ok()?, Pointer::new(there).ok()?))
        };
        let equal = query.equal.iter().map(read).collect::<Option<_>>()?;
        Some(Self { query, equal, count: Bounds::default() })
    }

    /// Whether the count is within the bounds.
    pub(super) fn holds(&self, request: &Request<'_>, counted: &[Counted]) -> Truth {
        if let Err(why) = self.here(request) {
            return Truth::Error(why);
        }
        match counted.iter().find(|counted| self.is_counted_by(counted)) {
            None => Truth::Error("what was decided before is not known"),
            Some(Counted { unknown: Some(unknown), .. }) => Truth::Error(unknown.why()),
            Some(counted) => self.count.hold(counted.of.len() as i128).into(),
        }
    }

    /// True if it is the count that this condition needs.
    pub(super) fn is_counted_by(&self, counted: &Counted) -> bool {
        let is_whole = (counted.of.len() as u64) < counted.up_to;
        counted.query == self.query && (is_whole || counted.up_to >= self.up_to())
    }

    /// At this number more makes no difference.
    pub(super) fn up_to(&self) -> u64 {
        let most = self.count.at_most.map(|most| most + 1);
        let up_to = most.max(self.count.at_least).unwrap_or_default();
        u64::try_from(up_to).unwrap_or_default()
    }

    /// The values of this call that earlier ones must have.
    fn here<'v, 'a>(
        &self,
        request: &'v Request<'a>,
    ) -> Result<Vec<&'v ledger::json::Value<'a>>, &'static str> {
        match (self.query.same, &request.session, &request.run) {
            (Same::Session, None, _) => return Err("the call names no session"),
            (Same::Run, _, None) => return Err("the call names no run"),
            _ => {}
        }
        self.equal.iter().map(|(here, _)| here.must(&request.params, "nothing there")).collect()
    }

    /// What posting compares.
    pub(super) fn named(&self) -> Named {
        let Query { same, tool, actions, verdicts, outcomes, .. } = self.query.clone();
        Named { same, tool, actions, verdicts, outcomes }
    }

    /// Each bound with its name.
    pub(super) fn each_bound(&mut self, visit: &mut dyn FnMut(Bound<'_>, &str)) {
        let of = self.query.to_string();
        self.count.each(1, &mut |bound, name| visit(bound, &format!("{of}: {name}")));
    }
}

/// A call, as its place in rows depends on it.
pub(super) fn call_of(request: &Request<'_>) -> CallOf {
    let Request { agent, session, run, tool, action, .. } = request;
    let (session, run) = (session.clone(), run.clone());
    CallOf { agent: agent.clone(), session, run, tool: tool.clone(), action: action.clone() }
}

#[cfg(test)]
mod tests;
