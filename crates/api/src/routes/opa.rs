//! `POST T/opa/logs`: what an Open Policy Agent's decision-log plugin sends (`proto/formats/opa.md`).
//!
//! OPA repeats a chunk for ever unless it gets 2xx, so a poison event is never a 4xx: it is published as it came and
//! becomes a `rejected` entry.

use super::{body, events};
use crate::{app::App, problem::Problem};
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use ledger::{
    event::{DECISION, LABELS_MAX, TEXT_BYTES_MAX},
    journal::{BATCH_MESSAGES_MAX, BODY_BYTES_MAX},
    json::{self, Value},
    system::Role,
};
use serde_json::{Map, Value as Json, json as object};
use std::sync::Arc;

/// Most elements of one upload: OPA's default chunk holds some hundred.
const ELEMENTS_MAX: usize = 20_000;

/// Take decision logs of an OPA
#[utoipa::path(post, path = "/v1/tenants/{tenant}/opa/logs", tag = "events",
    params(("tenant" = String, Path)), request_body(content = Vec<Object>, description = "gzip or plain JSON array"),
    responses((status = 204), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn logs(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    take(&app, &tenant, &headers, body).await
}

/// Take decision logs of an OPA that names a partition
#[utoipa::path(post, path = "/v1/tenants/{tenant}/opa/logs/{partition}", tag = "events",
    params(("tenant" = String, Path), ("partition" = String, Path)), request_body = Vec<Object>,
    responses((status = 204), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn logs_partition(
    State(app): State<Arc<App>>,
    Path((tenant, _partition)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    take(&app, &tenant, &headers, body).await
}

async fn take(
    app: &App,
    tenant: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (tenant, caller) = app.caller(headers, tenant, &[Role::Publisher])?;
    let producer = caller.producer()?.clone();
    let held = body::events(app, headers, body, &tenant.name).await?;
    let bytes = &held.bytes;
    // Not an array: the whole body is one poison event.
    let mut events: Vec<Vec<u8>> = match body::split_array(bytes, ELEMENTS_MAX) {
        Ok(parts) => parts.into_iter().map(to_event).collect(),
        // Not an array, or too long a one: one poison event, because OPA would repeat a refusal for ever.
        Err(_) => vec![cut(bytes)],
    };
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(BATCH_MESSAGES_MAX));
        let part = std::mem::replace(&mut events, rest);
        let batch = events::append_events(app, &tenant, &producer, part).await?;
        events::results(app, &tenant, batch, false)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Our event for one of OPA's; what can't be mapped is passed on as it came, at most what a journal takes of it.
fn to_event(bytes: &[u8]) -> Vec<u8> {
    let mapped = json::parse(bytes).ok().and_then(|value| map(&value, bytes));
    // What the mapping could not make acceptable is passed on as it came, not as we rewrote it.
    let mapped = mapped.filter(|event| ledger::event::parse(event).is_ok());
    mapped.unwrap_or_else(|| cut(bytes))
}

fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(BODY_BYTES_MAX)].to_vec()
}

fn map(value: &Value<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
    let text = |value: Option<&Value<'_>>| value.and_then(Value::as_str).map(str::to_owned);
    let fits = |text: &String| (1..=TEXT_BYTES_MAX).contains(&text.len());
    let id = text(value.get("decision_id")).filter(fits)?;
    let labels = value.get("labels");
    let source = text(labels.and_then(|labels| labels.get("id"))).filter(fits)?;
    let time = text(value.get("timestamp"))?;
    let path = text(value.get("path")).map(|path| path.trim_start_matches('/').to_owned());
    let action = path.filter(fits).unwrap_or_else(|| "query".into());
    let header = value.get("request_context").and_then(|context| {
        context.get("http")?.get("headers")?.get("x-agent-id")?.as_array()?.first()
    });
    let agent = text(header).filter(fits).unwrap_or_else(|| "unknown".into());
    let mut data = object!({
        "agent": {"id": agent},
        "tool": {"name": "opa", "action": action},
        "verdict": verdict(value.get("result")),
    });
    if let Some((name, revision)) = bundle(value) {
        data["policy"] = object!({"id": name});
        if let Some(revision) = revision.filter(fits) {
            data["policy"]["version"] = revision.into();
        }
    }
    let plain = plain_labels(labels);
    if !plain.is_empty() {
        data["labels"] = Json::Object(plain);
    }
    // Strict JSON holds no number that this reading would change, and no name twice.
    let Json::Object(mut rest) = serde_json::from_slice(bytes).ok()? else { return None };
    for taken in ["decision_id", "timestamp"] {
        rest.remove(taken);
    }
    // All of them stand in plain: `id` is the source.
    let count = |labels: &Json| labels.as_object().map_or(0, Map::len);
    if rest.get("labels").is_some_and(|labels| count(labels) == count(&data["labels"]) + 1) {
        rest.remove("labels");
    }
    data["payload"] = Json::Object(rest);
    let event = object!({
        "specversion": "1.0", "id": id, "source": source, "type": DECISION, "time": time, "data": data,
    });
    serde_json::to_vec(&event).ok()
}

/// The mapping table of `proto/formats/opa.md`. An absent result is OPA's "undefined".
fn verdict(result: Option<&Value<'_>>) -> &'static str {
    match result {
        None | Some(Value::Bool(false)) => "deny",
        Some(Value::Bool(true)) => "allow",
        Some(Value::Array(reasons)) => {
            if reasons.is_empty() {
                "allow"
            } else {
                "deny"
            }
        }
        Some(object @ Value::Object(_)) => match object.get("allow") {
            Some(Value::Bool(true)) => "allow",
            Some(Value::Bool(false)) => "deny",
            _ => "unspecified",
        },
        Some(_) => "unspecified",
    }
}

fn bundle(value: &Value<'_>) -> Option<(String, Option<String>)> {
    let Value::Object(bundles) = value.get("bundles")? else { return None };
    let (name, bundle) = bundles.first()?;
    let revision = bundle.get("revision").and_then(Value::as_str).map(str::to_owned);
    (1..=TEXT_BYTES_MAX).contains(&name.len()).then(|| (name.clone().into_owned(), revision))
}

fn plain_labels(labels: Option<&Value<'_>>) -> Map<String, Json> {
    let Some(Value::Object(labels)) = labels else { return Map::new() };
    let fits = |text: &str| text.len() <= TEXT_BYTES_MAX && !json::text_has_control(text);
    labels
        .iter()
        .filter(|(name, _)| name != "id" && !name.is_empty() && fits(name))
        .filter_map(|(name, value)| Some((name.clone().into_owned(), value.as_str()?)))
        .filter(|(_, value)| fits(value))
        .take(LABELS_MAX)
        .map(|(name, value)| (name, value.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(result: &str, expected: &str) {
        let text = format!(
            r#"{{"decision_id":"d1","labels":{{"id":"opa-1","region":"eu"}},"timestamp":"2026-11-20T05:48:00.5Z",
            "path":"/agents/allow","bundles":{{"b":{{"revision":"7"}}}},"input":{{"iban":"DE1"}}{result}}}"#
        );
        let event = ledger::event::parse(&to_event(text.as_bytes())).unwrap();
        let plain: Json = serde_json::from_slice(&event.plain).unwrap();
        assert_eq!(plain["data"]["verdict"], expected, "{result}");
        assert_eq!(plain["data"]["tool"]["action"], "agents/allow");
        assert_eq!(plain["data"]["labels"], object!({"region": "eu"}));
        assert_eq!(plain["data"]["policy"], object!({"id": "b", "version": "7"}));
        assert!(event.fields.iter().any(|field| field.name == "input"));
    }

    #[test]
    fn mapping_table() {
        check("", "deny");
        check(r#","result":true"#, "allow");
        check(r#","result":false"#, "deny");
        check(r#","result":[]"#, "allow");
        check(r#","result":["no"]"#, "deny");
        check(r#","result":{"allow":true}"#, "allow");
        check(r#","result":{"allow":false}"#, "deny");
        check(r#","result":{"score":3}"#, "unspecified");
        check(r#","result":"yes""#, "unspecified");
    }

    #[test]
    fn poison_is_passed_on() {
        assert_eq!(to_event(b"{\"a\":1,\"a\":2}"), b"{\"a\":1,\"a\":2}");
        assert_eq!(to_event(b"5"), b"5");
    }
}
