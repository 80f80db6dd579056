//! Recorded calls under another bundle: which of them it judges otherwise, what allows more first.

mod earlier;

use super::{
    bundle::Bundle,
    history::Past,
    replay::{Running, simulate},
};
use crate::decision::Fields;
use earlier::Earlier;
use ledger::{
    entry::{Kind, View},
    event::{Verdict, is_reserved_tool},
};
use std::{collections::BTreeMap, fmt};

/// Most versions of one list that are named each.
const VERSIONS_NAMED_MAX: usize = 3;

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
#[derive(Default)]
pub struct Simulated {
    /// Calls with the recorded verdict, and those whose recorded verdict says nothing.
    pub same: u64,
    /// Calls whose params are not disclosed.
    pub unknown: u64,
    /// Leaf indexes of the others.
    pub changed: BTreeMap<Changed, Vec<u64>>,
    /// By how many calls each version of each list was used. Version 0: the bundle's own file.
    pub lists: BTreeMap<String, BTreeMap<u64, u64>>,
    running: Running,
    earlier: Earlier,
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
    /// Takes an entry that is no call: it may report an outcome.
    pub fn note(&mut self, index: u64, view: &View<'_>) {
        self.earlier.note(index, view);
    }

    /// Judges a recorded call by `bundle`, after those before it, as it would have judged them. False if the entry is no call,
    /// or one of the server itself.
    pub fn take(&mut self, index: u64, view: &View<'_>, payload: &Fields, bundle: &Bundle) -> bool {
        let mut earlier = std::mem::take(&mut self.earlier);
        earlier.turn_to(index);
        let taken = self.take_after(index, view, payload, (bundle, &mut earlier));
        // Rows in memory can always be read.
        let taken = taken.unwrap_or(None);
        if let Some(verdict) = &taken {
            earlier.decided((index, view), payload, (bundle, verdict));
        }
        self.earlier = earlier;
        taken.is_some()
    }

    /// Judges a recorded call by `bundle`, with what `past` says of earlier decisions. Returns the verdict, or the recorded one
    /// if the call is not disclosed. `None` if the entry is no call, or one of the server itself.
    pub fn take_after<P: Past>(
        &mut self,
        index: u64,
        view: &View<'_>,
        payload: &Fields,
        (bundle, past): (&Bundle, &mut P),
    ) -> Result<Option<String>, P::Error> {
        if !Self::is_call(view) {
            return Ok(None);
        }
        let from = view.text(&["event", "data", "verdict"]).unwrap_or_default();
        let ruling = simulate(view, payload, bundle, (&mut self.running, past))?;
        let Some(ruling) = ruling else {
            self.unknown += 1;
            return Ok(Some(from.to_owned()));
        };
        for (name, version) in &ruling.lists {
            *self.lists.entry(name.clone()).or_default().entry(*version).or_default() += 1;
        }
        let to = ruling.verdict.as_str();
        if from == to || from == Verdict::Unspecified.as_str() {
            self.same += 1;
            return Ok(Some(to.to_owned()));
        }
        let rank = rank("deny") + 1 + rank(to) - rank(from);
        let from = from.to_owned();
        let of = Changed { rank, from, to, code: ruling.code, clause: ruling.clause };
        self.changed.entry(of).or_default().push(index);
        Ok(Some(to.to_owned()))
    }

    /// True if the entry records how a call of an agent was judged.
    pub fn is_call(view: &View<'_>) -> bool {
        let tool = view.text(&["event", "data", "tool", "name"]);
        // What was frozen, no policy judged.
        let frozen = view.is_ours() && view.at(&["event", "data", "frozen_by"]).is_some();
        view.kind == Kind::Decision && !tool.is_some_and(is_reserved_tool) && !frozen
    }

    /// Which versions of the lists of `bundle` were used, a line each. `own` names the bundle's own file.
    pub fn lists_used(&self, bundle: &Bundle, own: &str) -> Vec<String> {
        let calls =
            |count: u64| if count == 1 { "1 call".into() } else { format!("{count} calls") };
        let one = |name: &str| {
            let mut versions = self.lists.get(name).cloned().unwrap_or_default();
            let of_its_own = versions.remove(&0).map(|count| format!("{own} for {}", calls(count)));
            let mut used: Vec<String> = of_its_own.into_iter().collect();
            if versions.len() > VERSIONS_NAMED_MAX
                && let (Some(first), Some(last)) = (versions.keys().next(), versions.keys().last())
            {
                let count = calls(versions.values().sum());
                used.push(format!("versions {first} to {last} for {count}"));
            } else {
                let each = versions.iter();
                used.extend(each.map(|(v, count)| format!("version {v} for {}", calls(*count))));
            }
            let used = if used.is_empty() { "no call needs it".into() } else { used.join(", ") };
            format!("list {name}: {used}")
        };
        bundle.lists().map(one).collect()
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
