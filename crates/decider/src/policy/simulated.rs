//! Recorded calls under another bundle: which of them it judges otherwise, what allows more first.

use super::{bundle::Bundle, replay::simulate};
use crate::decision::Fields;
use ledger::{
    entry::{Kind, View},
    event::{Verdict, is_reserved_tool},
};
use std::{collections::BTreeMap, fmt};

/// Calls that a bundle judges otherwise in the same way. Those that allow more are first in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    rank: u8,
    /// The recorded verdict.
    pub from: String,
    /// The bundle's.
    pub to: &'static str,
    /// Why.
    pub code: String,
    /// By which clause.
    pub clause: Option<String>,
}

/// What came of all calls.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    /// Calls with the recorded verdict, and those whose recorded verdict says nothing.
    pub same: u64,
    /// Calls whose params are not disclosed.
    pub unknown: u64,
    /// Leaf indexes of the others.
    pub changed: BTreeMap<Changed, Vec<u64>>,
}

/// How much less a verdict permits.
fn rank(verdict: &str) -> u8 {
    match verdict {
        "allow" | "sanitize" => 0,
        "approval_needed" => 1,
        _ => 2,
    }
}

impl Changed {
    /// True if more is allowed than was.
    pub fn allows_more(&self) -> bool {
        self.rank < rank("deny") + 1
    }
}

impl fmt::Display for Changed {
    /// `deny → allow by payments/small (allowed)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, code, clause, .. } = self;
        let by = clause.as_ref().map(|clause| format!(" by {clause}")).unwrap_or_default();
        write!(f, "{from} → {to}{by} ({code})")
    }
}

impl Simulated {
    /// Judges a recorded call by `bundle`. False if the entry is no call, or one of the server itself.
    pub fn take(&mut self, index: u64, view: &View<'_>, payload: &Fields, bundle: &Bundle) -> bool {
        if !Self::is_call(view) {
            return false;
        }
        let from = view.text(&["event", "data", "verdict"]).unwrap_or_default();
        let Some(ruling) = simulate(view, payload, bundle) else {
            self.unknown += 1;
            return true;
        };
        let to = ruling.verdict.as_str();
        if from == to || from == Verdict::Unspecified.as_str() {
            self.same += 1;
            return true;
        }
        let rank = rank("deny") + 1 + rank(to) - rank(from);
        let from = from.to_owned();
        let of = Changed { rank, from, to, code: ruling.code, clause: ruling.clause };
        self.changed.entry(of).or_default().push(index);
        true
    }

    /// True if the entry records how a call of an agent was judged.
    pub fn is_call(view: &View<'_>) -> bool {
        let tool = view.text(&["event", "data", "tool", "name"]);
        view.kind == Kind::Decision && !tool.is_some_and(is_reserved_tool)
    }

    /// Number of calls that would be judged otherwise.
    pub fn otherwise(&self) -> usize {
        self.changed.values().map(Vec::len).sum()
    }
}

/// The first `max` indexes of a group in words: `entries 3, 9 and 12 more`.
pub fn named(indexes: &[u64], max: usize) -> String {
    let shown: Vec<String> = indexes.iter().take(max).map(u64::to_string).collect();
    let more = indexes.len().saturating_sub(max);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("entries {}{more}", shown.join(", "))
}
