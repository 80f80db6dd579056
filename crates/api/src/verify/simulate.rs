//! `countersign policy simulate`: which recorded calls would be judged otherwise by another bundle.

use super::replay::{ended, opened};
use crate::{
    cli::Exported,
    terminal::{bad, dim, good, harmless, say, say_json, strong},
};
use decider::policy::{self, Bundle};
use ledger::{
    entry::{Kind, View},
    event::{Verdict, is_reserved_tool},
};
use serde_json::json;
use std::{collections::BTreeMap, process::ExitCode};

/// Most entries that are named in the text for people, of each change.
const NAMED_MAX: usize = 8;

/// Calls that a bundle judges otherwise in the same way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Changed {
    /// What allows more comes first.
    rank: u8,
    from: String,
    to: &'static str,
    code: String,
    clause: Option<String>,
}

/// How much less a verdict permits.
fn rank(verdict: &str) -> u8 {
    match verdict {
        "allow" | "sanitize" => 0,
        "approval_needed" => 1,
        _ => 2,
    }
}

/// Judges every recorded call of an export by `bundle`, and groups those that it judges otherwise.
pub fn simulate(exported: &Exported, bundle: &Bundle) -> ExitCode {
    ended("policy simulate", opened(exported).and_then(|whole| {
        let (mut same, mut unknown) = (0_u64, 0_u64);
        let mut changed: BTreeMap<Changed, Vec<u64>> = BTreeMap::new();
        for index in 0..whole.size() {
            let entry = whole.entry(index).unwrap_or_default();
            let Some(view) = View::parse(&entry).filter(|view| view.kind == Kind::Decision) else {
                continue;
            };
            if view.text(&["event", "data", "tool", "name"]).is_some_and(is_reserved_tool) {
                continue;
            }
            let from = view.text(&["event", "data", "verdict"]).unwrap_or_default().to_owned();
            let payload = whole.payload(index, &entry)?;
            let Some(ruling) = policy::simulate(&view, &payload, bundle) else {
                unknown += 1;
                continue;
            };
            let to = ruling.verdict.as_str();
            if from == to || from == Verdict::Unspecified.as_str() {
                same += 1;
                continue;
            }
            let rank = 3 + rank(to) - rank(&from);
            let of = Changed { rank, from, to, code: ruling.code, clause: ruling.clause };
            changed.entry(of).or_default().push(index);
        }
        let range = format!("entries 0 to {}", whole.size().saturating_sub(1));
        if exported.json {
            let one = |(c, indexes): (&Changed, &Vec<u64>)| json!({"from": c.from, "to": c.to, "code": c.code, "clause": c.clause, "indexes": indexes});
            say_json(&json!({
                "digest": bundle.digest(), "size": whole.size(), "root": whole.root(), "same": same,
                "changed": changed.iter().map(one).collect::<Vec<_>>(), "not_simulated": unknown,
            }));
            return Ok(true);
        }
        for (Changed { rank, from, to, code, clause }, indexes) in &changed {
            let by = clause.as_ref().map(|clause| format!(" by {}", harmless(clause)));
            let what = format!("{} → {to}{} ({})", harmless(from), by.unwrap_or_default(), harmless(code));
            let what = if *rank < 3 { bad(&what) } else { strong(&what) };
            let named: Vec<String> = indexes.iter().take(NAMED_MAX).map(u64::to_string).collect();
            let more = indexes.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            say(&format!("{:>6} {what}: entries {}{more}", indexes.len(), named.join(", ")));
        }
        let count: usize = changed.values().map(Vec::len).sum();
        let summary = format!("{count} calls would be judged otherwise, {same} the same, {unknown} not simulated (not disclosed)");
        say(&if count == 0 { good(&summary) } else { summary });
        say(&dim(&format!("  over {range}, root {}", whole.root())));
        Ok(true)
    }))
}
