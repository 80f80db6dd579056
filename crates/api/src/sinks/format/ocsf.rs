//! OCSF (`proto/formats/ocsf.md`): API Activity for calls and approvals, Entity Management for what administrators
//! change, Detection Finding for what somebody must look at, Application Lifecycle for the log itself.

use super::{Ocsf, Site, Source, at, millis, text};
use serde_json::{Map, Value, json};

/// A class of the schema, and what an entry is in it.
struct Class {
    uid: u64,
    category: u64,
    activity: u64,
    severity: u64,
}

const API_ACTIVITY: u64 = 6003;
const AUTHENTICATION: u64 = 3002;
const ENTITY_MANAGEMENT: u64 = 3004;
const DETECTION_FINDING: u64 = 2004;
const APPLICATION_LIFECYCLE: u64 = 6002;

/// Severities: informational, low, medium, high.
const INFORMATIONAL: u64 = 1;
const LOW: u64 = 2;
const MEDIUM: u64 = 3;
const HIGH: u64 = 4;

/// The class of an entry kind. A kind that is not here would be one that a later version of the log has.
fn class(kind: &str, op: &str) -> Class {
    let (uid, activity, severity) = match (kind, op) {
        ("access", "add") => (ENTITY_MANAGEMENT, 1, LOW),
        ("access", "read") => (ENTITY_MANAGEMENT, 2, LOW),
        ("access", "signed_in") => (AUTHENTICATION, 1, INFORMATIONAL),
        ("access", "remove") | ("erasure", _) => (ENTITY_MANAGEMENT, 4, LOW),
        ("freeze", "lift") => (ENTITY_MANAGEMENT, 8, MEDIUM),
        ("freeze", _) => (ENTITY_MANAGEMENT, 9, MEDIUM),
        ("key" | "rules" | "policy" | "sources" | "retention" | "members", _) => {
            (ENTITY_MANAGEMENT, 3, LOW)
        }
        ("journal_gap", _) => (DETECTION_FINDING, 1, HIGH),
        ("gap_closed", _) | ("alert" | "incident", "close") => {
            (DETECTION_FINDING, 3, INFORMATIONAL)
        }
        ("incident", "note") => (DETECTION_FINDING, 2, INFORMATIONAL),
        ("gap_opened" | "budget_exceeded" | "alert" | "incident", _) => {
            (DETECTION_FINDING, 1, MEDIUM)
        }
        ("budget_warned", _) => (DETECTION_FINDING, 1, LOW),
        ("genesis" | "journal" | "clock" | "trim" | "signer" | "delivery", _) => {
            (APPLICATION_LIFECYCLE, if kind == "signer" { 3 } else { 99 }, INFORMATIONAL)
        }
        ("rejected" | "duplicate_conflict", _) => (API_ACTIVITY, 99, LOW),
        _ => (API_ACTIVITY, 99, INFORMATIONAL),
    };
    Class { uid, category: uid / 1000, activity, severity }
}

/// How much an entry weighs, as `severity_id`.
pub fn severity(kind: &str, op: &str) -> u64 {
    class(kind, op).severity
}

/// Outcome of a verdict, as the profile `security_control` has it: action, disposition, status.
pub(super) fn outcome(verdict: &str, shadow: bool) -> Option<[(u64, &'static str); 3]> {
    const DONE: (u64, &str) = (1, "Success");
    const NOT: (u64, &str) = (2, "Failure");
    Some(match (verdict, shadow) {
        ("allow", _) => [(1, "Allowed"), (1, "Allowed"), DONE],
        (_, true) => [(3, "Observed"), (17, "Logged"), DONE],
        ("deny", _) => [(2, "Denied"), (2, "Blocked"), NOT],
        ("sanitize", _) => [(4, "Modified"), (11, "Corrected"), DONE],
        ("approval_needed", _) => [(99, "Held"), (14, "Delayed"), (99, "Held")],
        _ => return None,
    })
}

/// Puts a text where there is one.
fn put(object: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        object.insert(name.into(), text.into());
    }
}

/// One record.
pub(super) fn record(site: &Site, source: &Source<'_>, version: Ocsf) -> Value {
    let entry: Value = serde_json::from_str(source.entry).unwrap_or_default();
    let event = entry.get("event").cloned().unwrap_or_default();
    let kind = text(&entry, &["kind"]);
    let class = class(kind, text(&event, &["op"]));
    let mut metadata = metadata(site, version);
    metadata.insert("uid".into(), format!("{}/{}", site.origin, source.index).into());
    metadata.insert("sequence".into(), source.index.into());
    metadata.insert("event_code".into(), kind.into());
    put(&mut metadata, "original_time", text(&event, &["time"]));
    put(&mut metadata, "correlation_uid", correlation(&event));
    let time = millis(text(&entry, &["journal", "time"])).unwrap_or_default();
    metadata.insert("logged_time".into(), time.into());
    let mut record = base(&class, time, &format!("{kind} in the log of {}", site.tenant));
    let mut unmapped = site.place(source);
    unmapped.insert("kind".into(), kind.into());
    unmapped.insert("event".into(), event.clone());
    if !source.payload.is_empty() {
        unmapped.insert("payload".into(), source.values());
    }
    match class.uid {
        API_ACTIVITY => {
            record.insert("actor".into(), actor(&entry, &event));
            record.insert("api".into(), api(kind, &event));
            record.insert("src_endpoint".into(), endpoint(&entry));
            if judged(&mut record, &event) {
                metadata.insert("profiles".into(), json!(["security_control"]));
            }
        }
        AUTHENTICATION => {
            record.insert("actor".into(), actor(&entry, &event));
            record.insert("user".into(), json!({"uid": person(&event).unwrap_or_default()}));
            record.insert("service".into(), json!({"name": "countersign"}));
            record.insert("auth_protocol_id".into(), 99.into());
            record.insert("auth_protocol".into(), text(&event, &["how"]).into());
        }
        ENTITY_MANAGEMENT => {
            record.insert("actor".into(), actor(&entry, &event));
            record.insert("entity".into(), json!({"type": kind, "name": named(kind, &event)}));
        }
        DETECTION_FINDING => {
            let uid = format!("{}/{}", site.origin, source.index);
            record
                .insert("finding_info".into(), json!({"uid": uid, "title": kind, "types": [kind]}));
            record.insert("is_alert".into(), (class.activity == 1).into());
        }
        _ => drop(record.insert("app".into(), product())),
    }
    record.insert("metadata".into(), Value::Object(metadata));
    record.insert("unmapped".into(), json!({"countersign": unmapped}));
    Value::Object(record)
}

/// What a batch or a test says, as a base event.
pub(super) fn said(site: &Site, (name, said): (&str, &Value), time: u64, version: Ocsf) -> Value {
    let class = Class { uid: 0, category: 0, activity: 99, severity: INFORMATIONAL };
    let mut record = base(&class, time / 1_000_000, &format!("{name} of the sink {}", site.sink));
    let mut metadata = metadata(site, version);
    metadata.insert("event_code".into(), name.into());
    record.insert("metadata".into(), Value::Object(metadata));
    record.insert("unmapped".into(), json!({"countersign": {name: said}}));
    Value::Object(record)
}

fn product() -> Value {
    json!({"name": "Countersign", "vendor_name": "Countersign", "version": env!("CARGO_PKG_VERSION")})
}

fn metadata(site: &Site, version: Ocsf) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("version".into(), version.as_str().into());
    metadata.insert("product".into(), product());
    metadata.insert("log_name".into(), site.origin.clone().into());
    metadata.insert("tenant_uid".into(), site.tenant.clone().into());
    metadata
}

fn base(class: &Class, time: u64, message: &str) -> Map<String, Value> {
    let Class { uid, category, activity, severity } = class;
    let base = json!({
        "class_uid": uid, "category_uid": category, "activity_id": activity, "type_uid": uid * 100 + activity,
        "severity_id": severity, "time": time, "message": message,
    });
    match base {
        Value::Object(base) => base,
        _ => Map::new(),
    }
}

/// What belongs together: the approval, or the trace.
pub(super) fn correlation(event: &Value) -> &str {
    let approval = text(event, &["approval_id"]);
    // `00-<trace id>-<span id>-<flags>`
    let trace = text(event, &["traceparent"]).split('-').nth(1).unwrap_or_default();
    if approval.is_empty() { trace } else { approval }
}

/// The person or key of an act.
pub(super) fn person(event: &Value) -> Option<&str> {
    [&["by", "person"][..], &["by", "key"], &["by", "operator"], &["by", "person_id"]]
        .into_iter()
        .map(|path| text(event, path))
        .find(|text| !text.is_empty())
}

/// Who acted: the agent of a call, or the person or key of an act.
fn actor(entry: &Value, event: &Value) -> Value {
    let agent = text(event, &["data", "agent", "id"]);
    let mut actor = Map::new();
    if !agent.is_empty() {
        actor.insert("app_uid".into(), agent.into());
        actor.insert("app_name".into(), agent.into());
        let session = text(event, &["data", "agent", "session"]);
        if !session.is_empty() {
            actor.insert("session".into(), json!({"uid": session}));
        }
        let chain = at(event, &["data", "agent", "chain"]).and_then(Value::as_array);
        let caller = chain.and_then(|chain| chain.first()?.as_str());
        put(&mut actor, "invoked_by", caller.filter(|caller| *caller != agent).unwrap_or_default());
    }
    if let Some(person) = person(event) {
        actor.insert("user".into(), json!({"uid": person}));
    }
    if actor.is_empty() {
        let producer = text(entry, &["producer"]);
        let name = if producer.is_empty() { "countersign" } else { producer };
        actor.insert("app_name".into(), name.into());
    }
    Value::Object(actor)
}

/// The call: tool and action, or what the entry records.
fn api(kind: &str, event: &Value) -> Value {
    let (tool, action) =
        (text(event, &["data", "tool", "name"]), text(event, &["data", "tool", "action"]));
    let mut api = Map::new();
    if tool.is_empty() {
        let sort = text(event, &["type"]);
        api.insert("operation".into(), if sort.is_empty() { kind.into() } else { sort.into() });
    } else {
        let operation =
            if action.is_empty() { tool.to_owned() } else { format!("{tool}.{action}") };
        api.insert("operation".into(), operation.into());
        api.insert("service".into(), json!({"name": tool}));
    }
    let id = text(event, &["id"]);
    if !id.is_empty() {
        api.insert("request".into(), json!({"uid": id}));
    }
    Value::Object(api)
}

/// The gateway that asked or told.
fn endpoint(entry: &Value) -> Value {
    let producer = text(entry, &["producer"]);
    let name = if producer.is_empty() { "countersign" } else { producer };
    let mut endpoint = Map::new();
    endpoint.insert("name".into(), name.into());
    put(&mut endpoint, "svc_name", text(entry, &["event", "source"]));
    Value::Object(endpoint)
}

/// Verdict, reason and policy. False if the entry has no verdict.
fn judged(record: &mut Map<String, Value>, event: &Value) -> bool {
    let shadow = text(event, &["data", "mode"]) == "shadow";
    let Some([action, disposition, status]) = outcome(text(event, &["data", "verdict"]), shadow)
    else {
        return false;
    };
    for (name, (id, words)) in
        [("action", action), ("disposition", disposition), ("status", status)]
    {
        record.insert(format!("{name}_id"), id.into());
        record.insert(name.into(), words.into());
    }
    put(record, "status_detail", text(event, &["data", "reason", "code"]));
    let policy = text(event, &["data", "policy", "id"]);
    if !policy.is_empty() {
        let mut named = Map::new();
        put(&mut named, "uid", policy);
        put(&mut named, "name", policy);
        put(&mut named, "version", text(event, &["data", "policy", "version"]));
        let named = Value::Object(named);
        record.insert("authorizations".into(), json!([{"decision": action.1, "policy": named}]));
        record.insert("policy".into(), named);
    }
    true
}

/// What an act is about, in a word.
fn named(kind: &str, event: &Value) -> String {
    let names = ["key_id", "name", "id", "digest", "op", "use"];
    let found = names.into_iter().map(|name| text(event, &[name])).find(|text| !text.is_empty());
    found.unwrap_or(kind).to_owned()
}
