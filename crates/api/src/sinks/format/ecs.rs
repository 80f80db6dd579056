//! Elastic Common Schema 8.17 (`proto/formats/sinks.md`), for data streams.

use super::{Site, Source, text};
use serde_json::{Map, Value, json};

/// The version of the schema.
const VERSION: &str = "8.17.0";
/// What a sign-in is, among entries of kind `access`.
const SIGNED_IN: &str = "signed_in";

/// `event.type` and `event.outcome` of an entry.
fn sort((kind, op): (&str, &str), verdict: &str) -> (&'static [&'static str], &'static str) {
    match (kind, verdict) {
        ("access", _) if op == SIGNED_IN => (&["start"], "success"),
        (_, "allow") => (&["allowed", "access"], "success"),
        (_, "deny") => (&["denied", "access"], "failure"),
        (_, "sanitize" | "approval_needed") => (&["info", "access"], "unknown"),
        (
            "access" | "key" | "rules" | "policy" | "sources" | "retention" | "members" | "freeze",
            _,
        ) => (&["admin", "change"], "success"),
        ("erasure", _) => (&["admin", "deletion"], "success"),
        ("rejected" | "duplicate_conflict", _) => (&["error"], "failure"),
        _ => (&["info"], "unknown"),
    }
}

/// True if somebody shall look.
fn is_alert(kind: &str, op: &str) -> bool {
    matches!(kind, "gap_opened" | "journal_gap")
        || matches!((kind, op), ("alert", "raise") | ("incident", "open"))
}

/// One record.
pub(super) fn record(site: &Site, source: &Source<'_>) -> Value {
    let entry: Value = serde_json::from_str(source.entry).unwrap_or_default();
    let event = entry.get("event").cloned().unwrap_or_default();
    let kind = text(&entry, &["kind"]);
    let data = |name: &[&str]| text(&event, &[&["data"], name].concat()).to_owned();
    let (tool, action) = (data(&["tool", "name"]), data(&["tool", "action"]));
    let op = text(&event, &["op"]);
    let (types, outcome) = sort((kind, op), text(&event, &["data", "verdict"]));
    let category = if (kind, op) == ("access", SIGNED_IN) { "authentication" } else { "api" };
    let call = if tool.is_empty() { kind.to_owned() } else { format!("{tool}/{action}") };
    let time = text(&entry, &["journal", "time"]);
    let mut said = json!({
        "kind": if is_alert(kind, op) { "alert" } else { "event" },
        "category": [category], "type": types, "outcome": outcome, "action": call, "dataset": "countersign.entry",
        "module": "countersign", "sequence": source.index, "ingested": time, "code": kind,
        "hash": source.leaf_hash, "provider": text(&event, &["source"]),
    });
    for (name, value) in [
        ("id", text(&event, &["id"])),
        ("created", text(&event, &["time"])),
        ("reason", &data(&["reason", "code"])),
    ] {
        if !value.is_empty() {
            said[name] = value.into();
        }
    }
    let mut place = site.place(source);
    place.insert("kind".into(), kind.into());
    // As text: members of foreign events would otherwise become fields of the index, of changing types.
    place.insert("entry".into(), source.entry.into());
    if !source.payload.is_empty() {
        place.insert("payload".into(), source.values().to_string().into());
    }
    let mut record = Map::new();
    record.insert("@timestamp".into(), time.into());
    record.insert("ecs".into(), json!({"version": VERSION}));
    record.insert("event".into(), said);
    record.insert("countersign".into(), Value::Object(place));
    record.insert("organization".into(), json!({"id": site.tenant}));
    let mut name = |names: &str, value: Value| drop(record.insert(names.into(), value));
    let trace = text(&event, &["traceparent"]).split('-').nth(1).unwrap_or_default();
    if !trace.is_empty() {
        name("trace", json!({"id": trace}));
    }
    let agent = data(&["agent", "id"]);
    if !agent.is_empty() {
        name("user", json!({"name": agent}));
        name("labels", json!({"run": data(&["agent", "run"])}));
    }
    let policy = data(&["policy", "id"]);
    if !policy.is_empty() {
        let version = data(&["policy", "version"]);
        name("rule", json!({"id": policy, "version": version, "ruleset": data(&["bundle"])}));
    }
    if !tool.is_empty() {
        name("service", json!({"name": tool}));
    }
    Value::Object(record)
}

/// What a batch or a test says.
pub(super) fn said((name, said): (&str, &Value), time: u64) -> Value {
    json!({
        "@timestamp": time / 1_000_000,
        "ecs": {"version": VERSION},
        "event": {"kind": "event", "module": "countersign", "dataset": format!("countersign.{name}")},
        "countersign": {name: said},
    })
}
