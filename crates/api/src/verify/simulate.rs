//! `countersign policy simulate`: which recorded calls would be judged otherwise by another bundle.

use super::{
    export::Whole,
    refused,
    replay::{ended, opened},
};
use crate::{
    cli::{Exported, ListsFrom},
    replayed::Replayed,
    terminal::{bad, dim, good, harmless, say, say_json, strong},
};
use decider::policy::{Bundle, Changed, Simulated, named};
use ledger::entry::{Kind, View};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Most entries that are named in the text for people, of each change.
const NAMED_MAX: usize = 8;

/// Judges every recorded call of an export by `bundle`, and groups those that it judges otherwise.
pub fn simulate(exported: &Exported, bundle: &Bundle, lists: ListsFrom) -> ExitCode {
    let run = opened(exported).and_then(|whole| {
        let mut found = Simulated::default();
        let (mut log, mut judging) = (Replayed::default(), bundle.clone());
        for index in 0..whole.size() {
            let entry = whole.entry(index).unwrap_or_default();
            let Some(view) = View::parse(&entry) else { continue };
            if view.kind == Kind::Policy && view.text(&["event", "op"]) == Some("change") {
                log.note(index, &view);
                if lists == ListsFrom::Folder {
                    continue;
                }
                let with_lists = log.with_lists(&whole, bundle.clone())?;
                judging = with_lists.map_err(|why| refused(&format!("entry {index}"), &why))?;
            } else if Simulated::is_call(&view) {
                found.take(index, &view, &whole.payload(index, &view)?, &judging);
            } else {
                found.note(index, &view);
            }
        }
        tell(&whole, &found, (exported, bundle, lists));
        Ok(true)
    });
    ended("policy simulate", run)
}

fn tell(
    whole: &Whole,
    found: &Simulated,
    (exported, bundle, lists): (&Exported, &Bundle, ListsFrom),
) {
    let Simulated { same, unknown, changed, .. } = found;
    if exported.json {
        let one = |(c, indexes): (&Changed, &Vec<u64>)| json!({"from": c.from, "to": c.to, "code": c.code, "clause": c.clause, "indexes": indexes});
        say_json(&json!({
            "digest": bundle.digest(), "size": whole.size(), "root": whole.root(), "same": same,
            "changed": changed.iter().map(one).collect::<Vec<_>>(), "not_simulated": unknown,
            "lists_from": lists.as_str(), "lists": lists_json(found, bundle),
        }));
        return;
    }
    for (changed, indexes) in changed {
        let what = harmless(&changed.to_string());
        let what = if changed.allows_more() { bad(&what) } else { strong(&what) };
        say(&format!("{:>6} {what}: {}", indexes.len(), named(indexes, NAMED_MAX)));
    }
    let count = found.otherwise();
    let summary = format!(
        "{count} calls would be judged otherwise, {same} the same, {unknown} not simulated (not disclosed)"
    );
    say(&if count == 0 { good(&summary) } else { summary });
    let last = whole.size().saturating_sub(1);
    say(&dim(&format!("  over entries 0 to {last}, root {}", whole.root())));
    for used in found.lists_used(bundle, "the folder's file") {
        say(&dim(&format!("  {}", harmless(&used))));
    }
}

/// Of each list of the folder: by how many calls the folder's file was used, and each recorded version.
fn lists_json(found: &Simulated, bundle: &Bundle) -> Value {
    let one = |name: &str| {
        let mut recorded = found.lists.get(name).cloned().unwrap_or_default();
        let folder = recorded.remove(&0).unwrap_or_default();
        (name.to_owned(), json!({"folder": folder, "recorded": recorded}))
    };
    bundle.lists().map(one).collect::<Map<_, _>>().into()
}
