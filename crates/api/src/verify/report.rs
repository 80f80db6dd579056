//! The output of `verify`: what was checked of each part and what was not, and at the end how the parts fit
//! together.

use super::policy::{self, Judge};
use crate::terminal::{bad, dim, good, harmless, say, strong};
use ledger::{
    entry::{Kind, View},
    log::{checkpoint::Checkpoint, policy::Grade},
    time::Nanos,
    verify::{Unconnected, Verified},
};
use serde_json::{Map, Value, json};
use std::rc::Rc;

/// Most trees that are named as not compared, in the text for people.
const NAMED_MAX: usize = 5;

/// Lines for people and items for programs. They are printed at the end, because a contradiction withdraws
/// earlier ones.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<String>,
    items: Vec<Value>,
    together: Option<Value>,
    error: Option<String>,
    /// The verifier's own policy.
    pub(super) judge: Option<Rc<Judge>>,
}

impl Report {
    pub(super) fn line(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }

    /// Adds an item that verifies.
    pub(super) fn item(&mut self, mut item: Value) {
        self.graded(&mut item);
        self.items.push(item);
    }

    /// Prints it.
    pub(super) fn print(self, as_json: bool, verified: bool) {
        if as_json {
            let mut answer = json!({"verified": verified, "items": self.items});
            if let Some(judge) = self.judge.as_ref().filter(|judge| !judge.steps().is_empty()) {
                answer["replicas"] = json!(judge.steps());
            }
            if let Some(together) = self.together {
                answer["together"] = together;
            }
            if let Some(error) = self.error {
                answer["error"] = error.into();
            }
            return say(&answer.to_string());
        }
        for line in self.lines {
            say(&line);
        }
        for step in self.judge.iter().flat_map(|judge| judge.steps()) {
            say(&dim(&format!("policy followed: {}", harmless(step))));
        }
    }

    /// Reports a part that was refused.
    pub(super) fn refused(&mut self, place: &str, error: &str) {
        let (place, text) = (harmless(place), harmless(error));
        self.line(&format!("{} {place}\n  {text}", bad("REFUSED")));
        self.items.push(json!({"place": place, "verified": false, "error": text}));
    }

    /// Reports parts that are valid alone but contradict each other. Then none of them counts.
    pub(super) fn contradiction(&mut self, error: &str) {
        self.lines.clear();
        self.items.clear();
        let text = harmless(error);
        self.line(&format!("{} what was given, taken together\n  {text}", bad("REFUSED")));
        self.items.push(json!({"place": "together", "verified": false, "error": text}));
    }

    /// Reports that nothing could be judged.
    pub(super) fn unusable(&mut self, error: &str) {
        self.error = Some(harmless(error));
    }

    pub(super) fn checkpoint(&mut self, place: &str, checkpoint: &Checkpoint) {
        let Checkpoint { origin, size, root } = checkpoint;
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        self.line(&format!("  checkpoint of {}: {size} entries, root {root}", harmless(origin)));
        self.line(&dim(
            "  checked: the log's signature. Not checked: that it is consistent with other checkpoints than those \
             given here, or that others were shown the same (compare it with theirs)",
        ));
        self.item(json!({
            "place": place, "verified": true, "origin": origin, "size": size, "root": root.to_string(),
            "checked": ["log_signature"],
            "not_checked": ["consistency_with_other_checkpoints", "same_view_for_everybody"],
        }));
    }

    pub(super) fn consistency(&mut self, place: &str, from: u64, to: u64) {
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        self.line(&format!("  the log of {from} entries is a prefix of the log of {to}"));
        self.items.push(json!({
            "place": place, "verified": true, "from": from, "to": to, "checked": ["consistency"],
        }));
    }

    pub(super) fn receipt(
        &mut self,
        place: &str,
        verified: &Verified,
        shown: Option<&[(String, String)]>,
    ) {
        let (receipt, checkpoint) = (&verified.receipt, &verified.checkpoint);
        let view = View::parse(&receipt.entry);
        let kind = view.as_ref().map_or("unreadable", |view| view.kind.as_str());
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        self.line(&format!(
            "  entry {} of {} ({} entries): {}",
            receipt.index,
            harmless(&checkpoint.origin),
            checkpoint.size,
            strong(kind)
        ));
        if let Some(view) = &view {
            self.line(&format!("  {}", describe(view)));
        }
        for (name, value) in shown.unwrap_or_default() {
            self.line(&format!("  {} = {}", harmless(name), harmless(value)));
        }
        let committed = view.as_ref().map_or(0, |view| view.payload().count());
        let hidden = committed.saturating_sub(shown.unwrap_or_default().len());
        let payload = match shown {
            None => ", the payload (no disclosures given)".to_owned(),
            Some(_) if hidden > 0 => {
                format!(", {hidden} of {committed} fields of the payload (not disclosed)")
            }
            Some(_) => String::new(),
        };
        self.line(&dim(&format!(
            "  checked: the log's signature, the entry's bytes and place{}. Not checked: whether others were shown \
             the same log, whether what the producer wrote is true{payload}",
            if shown.is_some() { ", the disclosures" } else { "" },
        )));
        self.item(receipt_item(place, verified, shown));
    }

    /// Reports how the parts fit together: what was compared, and which trees nothing proves to be of one log.
    pub(super) fn together(&mut self, parts: usize, open: &[Unconnected]) {
        if parts < 2 {
            return;
        }
        let what =
            "every root, entry and range of entries that two of these state is the same in both";
        self.line(&dim(&format!("together\n  checked: {what}")));
        for one in open.iter().take(NAMED_MAX) {
            let (place, largest) = (harmless(&one.place), harmless(&one.largest_place));
            let (from, to) = (one.size, one.largest);
            self.line(&dim(&format!(
                "  not checked: whether the log of {from} entries ({place}) is a prefix of that of {to} ({largest}): \
                 give --proof (GET T/proofs/consistency?from={from}&to={to}) or --export"
            )));
        }
        if open.len() > NAMED_MAX {
            let rest = open.len() - NAMED_MAX;
            self.line(&dim(&format!(
                "  not checked: the same of {rest} more (--export shows all)"
            )));
        }
        let sizes: Vec<u64> = open.iter().map(|one| one.size).collect();
        let not_checked: &[&str] = if open.is_empty() { &[] } else { &["consistency_of_sizes"] };
        self.together = Some(json!({
            "checked": ["no_contradiction"], "not_checked": not_checked, "sizes_not_connected": sizes,
            "largest": open.first().map(|one| one.largest),
        }));
    }
}

impl Report {
    /// Adds the grade of an item's checkpoint: to its lines, and to the item.
    pub(super) fn graded(&mut self, item: &mut Value) {
        let (Some(size), Some(root)) = (item["size"].as_u64(), item["root"].as_str()) else {
            return;
        };
        let judged = self.judge.as_ref().and_then(|judge| judge.said(size, root));
        let judged = judged.as_ref();
        let origin = item["origin"].as_str().unwrap_or_default();
        let grade = judged.map_or(Grade::Logged, |judged| judged.grade(origin)).as_str();
        let line = match judged {
            None => format!("  grade: {grade}. Nobody but the log's key was asked for (--policy)"),
            Some(judged) => {
                let by = judged.by.iter().map(|by| {
                    let at = Nanos(by.time.saturating_mul(1_000_000_000));
                    format!("{} ({}, at {at})", harmless(&by.name), harmless(&by.key_name))
                });
                let by: Vec<String> = by.collect();
                let by = if by.is_empty() { "nobody".into() } else { by.join(", ") };
                let quorum = harmless(&judged.quorum);
                format!("  grade: {grade}. Quorum {quorum} of the policy met; cosigned by {by}")
            }
        };
        item["grade"] = json!(grade);
        item["policy"] = judged.map_or(Value::Null, |judged| {
            let by = judged.by.iter();
            let by: Vec<Value> = by
                .map(|by| json!({"witness": by.name, "key": by.key_name, "time": by.time}))
                .collect();
            json!({"quorum": judged.quorum, "met": judged.met, "by": by})
        });
        self.line(&dim(&line));
    }

    /// Shows the policy that an export carries.
    pub(super) fn carried(&mut self, folder: &str) {
        let Some(what) = policy::carried(folder) else { return };
        self.line(&dim(&format!(
            "  its own {}: {}. Shown, and not used: whoever made the export could write it. Compare it with yours",
            policy::CARRIED,
            harmless(&what)
        )));
    }
}

fn receipt_item(place: &str, verified: &Verified, shown: Option<&[(String, String)]>) -> Value {
    let (receipt, checkpoint) = (&verified.receipt, &verified.checkpoint);
    let view = View::parse(&receipt.entry);
    let kind = view.as_ref().map_or("unreadable", |view| view.kind.as_str());
    let committed = view.as_ref().map_or(0, |view| view.payload().count());
    let mut checked = vec!["log_signature", "inclusion", "entry_bytes"];
    let mut not_checked =
        vec!["consistency_with_other_checkpoints", "same_view_for_everybody", "truth_of_the_event"];
    match shown {
        None => not_checked.push("payload"),
        Some(shown) => {
            checked.push("disclosures");
            if shown.len() < committed {
                not_checked.push("fields_not_disclosed");
            }
        }
    }
    let value = |value: &String| serde_json::from_str(value).unwrap_or(Value::Null);
    let shown = shown.unwrap_or_default().iter();
    let shown: Map<String, Value> = shown.map(|(name, text)| (name.clone(), value(text))).collect();
    json!({
        "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
        "root": checkpoint.root.to_string(), "index": receipt.index, "kind": kind,
        "entry": serde_json::from_slice::<Value>(&receipt.entry).unwrap_or(Value::Null),
        "disclosed": shown, "checked": checked, "not_checked": not_checked,
    })
}

/// Describes an entry in one line.
fn describe(view: &View<'_>) -> String {
    let text = |path: &[&str]| harmless(view.text(path).unwrap_or("-"));
    let when = view.origin.time;
    match view.kind {
        Kind::Decision => format!(
            "{} {} {}/{} by agent {}, from {} at {when}",
            text(&["event", "data", "verdict"]),
            text(&["event", "id"]),
            text(&["event", "data", "tool", "name"]),
            text(&["event", "data", "tool", "action"]),
            text(&["event", "data", "agent", "id"]),
            text(&["producer"]),
        ),
        _ => format!("posted at {when}, producer {}", text(&["producer"])),
    }
}
