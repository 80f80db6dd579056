//! `POST T/opa/logs`: uploads of an Open Policy Agent's decision-log plugin (`proto/formats/opa.md`).
//!
//! OPA repeats a chunk for ever until it gets 2xx, so a bad event never gives a 4xx. It is published as it
//! came, and becomes a `rejected` entry.

use super::events::{self, Brought};
use crate::{app::App, auth, body, problem::Problem};
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use ledger::{
    canonical,
    event::{DECISION, Fault, LABELS_MAX, Refused, TEXT_BYTES_MAX, TIME_BYTES_MAX},
    journal::{BATCH_MESSAGES_MAX, BODY_BYTES_MAX},
    json::{self, Member, Value},
    system::Role,
    time,
};
use std::{borrow::Cow, sync::Arc};

/// Most elements of one upload. OPA's default chunk has a few hundred.
const ELEMENTS_MAX: usize = 20_000;

/// Take decision logs of an OPA
#[utoipa::path(post, path = "/v1/tenants/{tenant}/opa/logs", tag = "events",
    params(("tenant" = String, Path)), request_body(content = Option<Vec<Object>>, description = "gzip or plain JSON array; \
        whatever else it is becomes a rejected entry, an empty body too"),
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
    let (tenant, caller) = auth::caller(&app.ledger, headers, tenant, &[Role::Publisher])?;
    let producer = caller.producer()?.clone();
    let held = app.bodies.events(headers, body, &tenant.name).await?;
    let mut events = elements(&held.bytes);
    let refused = events.iter().filter_map(|event| event.refused.as_ref());
    if let Some(first) = refused.clone().next() {
        // OPA gets 204, so nobody else is shown what is wrong.
        let (count, tenant) = (refused.count(), &tenant.name);
        tracing::warn!(%tenant, %producer, count, %first, "elements of an OPA decision log are rejected");
    }
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(BATCH_MESSAGES_MAX));
        let part = std::mem::replace(&mut events, rest);
        let batch = events::append_bodies(app, &tenant, &producer, part).await?;
        events::results(app, &tenant, batch, false)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The elements of a body. A body that is not an array, or has too many elements, becomes one bad element,
/// because OPA would repeat a refused upload for ever.
fn elements(bytes: &[u8]) -> Vec<Brought> {
    match body::split_array(bytes, ELEMENTS_MAX) {
        Ok(parts) => parts.into_iter().map(to_event).collect(),
        Err(_) if bytes.len() > BODY_BYTES_MAX => vec![poison(bytes, Refused::TooBig)],
        Err(_) => {
            let whole = json::parse(bytes).map(drop);
            vec![poison(bytes, whole.map_or_else(Refused::Json, |()| Refused::Opa(BODY)))]
        }
    }
}

/// Our event for one of OPA's. An element that can't be mapped is passed on as it came, with the reason.
fn to_event(bytes: &[u8]) -> Brought {
    let mapped = json::parse(bytes).map_err(Refused::Json).and_then(|value| {
        let event = canonical::to_vec(&map(value)?);
        ledger::event::parse(&event).map(|_| event)
    });
    match mapped {
        Ok(body) => Brought { body, refused: None },
        Err(_) if bytes.len() > BODY_BYTES_MAX => poison(bytes, Refused::TooBig),
        Err(refused) => poison(bytes, refused),
    }
}

/// The part of a bad element that a journal accepts.
fn poison(bytes: &[u8], refused: Refused) -> Brought {
    Brought { body: bytes[..bytes.len().min(BODY_BYTES_MAX)].to_vec(), refused: Some(refused) }
}

const fn must(at: &'static str, must: &'static str) -> Fault {
    Fault { at, must, is_missing: false }
}
const BODY: Fault = must("", "must be one JSON array of at most 20000 elements");
const DECISION_ID: Fault = must("/decision_id", "must be a text of 1 to 256 bytes");
const LABELS_ID: Fault = must("/labels/id", "must be a text of 1 to 256 bytes");
const TIMESTAMP: Fault = must("/timestamp", "must be a time of RFC 3339");

/// Maps one element to an event (`proto/formats/opa.md`). Everything is kept: members without a place of their
/// own become payload.
fn map(element: Value<'_>) -> Result<Value<'_>, Refused> {
    let fits = |text: &&str| (1..=TEXT_BYTES_MAX).contains(&text.len());
    let text =
        |value: Option<&Value<'_>>| value.and_then(Value::as_str).filter(fits).map(str::to_owned);
    let Value::Object(_) = element else { return Err(Refused::NotAnObject) };
    let labels = element.get("labels");
    let id = text(element.get("decision_id")).ok_or(Refused::Opa(DECISION_ID))?;
    let source = text(labels.and_then(|labels| labels.get("id"))).ok_or(Refused::Opa(LABELS_ID))?;
    let time = text(element.get("timestamp")).filter(|time| time.len() <= TIME_BYTES_MAX);
    let time = time.filter(|time| time::rfc3339(time).is_some()).ok_or(Refused::Opa(TIMESTAMP))?;
    let path = element.get("path").and_then(Value::as_str).map(|path| path.trim_start_matches('/'));
    let action = path.filter(fits).unwrap_or("query").to_owned();
    let header = element.get("request_context").and_then(|context| {
        context.get("http")?.get("headers")?.get("x-agent-id")?.as_array()?.first()
    });
    let agent = text(header).unwrap_or_else(|| "unknown".into());
    let mut data = vec![
        member("agent", object([("id", agent)])),
        member("tool", object([("name", "opa".into()), ("action", action)])),
        member("verdict", said(verdict(element.get("result")))),
    ];
    if let Some((name, revision)) = bundle(&element) {
        let version = revision.filter(|text| fits(&text.as_str())).map(|text| ("version", text));
        data.push(member("policy", object([("id", name)].into_iter().chain(version))));
    }
    let plain = plain_labels(labels);
    // All labels are plain already: `id` is the source.
    let count = if let Some(Value::Object(labels)) = labels { labels.len() } else { 0 };
    let all_plain = count == plain.len() + 1;
    if !plain.is_empty() {
        data.push(member("labels", Value::object(plain)));
    }
    let Value::Object(mut rest) = element else { unreachable!("seen above") };
    rest.retain(|(name, _)| match name.as_ref() {
        "decision_id" | "timestamp" => false,
        "labels" => !all_plain,
        _ => true,
    });
    data.push(member("payload", Value::Object(rest)));
    Ok(Value::object(vec![
        member("specversion", said("1.0")),
        member("id", said(id)),
        member("source", said(source)),
        member("type", said(DECISION)),
        member("time", said(time)),
        member("data", Value::object(data)),
    ]))
}

fn member<'a>(name: &'static str, value: Value<'a>) -> Member<'a> {
    (name.into(), value)
}

fn said<'a>(text: impl Into<Cow<'a, str>>) -> Value<'a> {
    Value::String(text.into())
}

fn object<'a>(texts: impl IntoIterator<Item = (&'static str, String)>) -> Value<'a> {
    Value::object(texts.into_iter().map(|(name, text)| member(name, said(text))).collect())
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

fn plain_labels<'a>(labels: Option<&Value<'_>>) -> Vec<Member<'a>> {
    let Some(Value::Object(labels)) = labels else { return Vec::new() };
    let fits = |text: &str| text.len() <= TEXT_BYTES_MAX && !json::text_has_control(text);
    labels
        .iter()
        .filter(|(name, _)| name != "id" && !name.is_empty() && fits(name))
        .filter_map(|(name, value)| Some((name, value.as_str().filter(|text| fits(text))?)))
        .take(LABELS_MAX)
        .map(|(name, value)| (name.clone().into_owned().into(), said(value.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json as object};

    fn check(result: &str, expected: &str) {
        let text = format!(
            r#"{{"decision_id":"d1","labels":{{"id":"opa-1","region":"eu"}},"timestamp":"2026-11-20T05:48:00.5Z",
            "path":"/agents/allow","bundles":{{"b":{{"revision":"7"}}}},"input":{{"iban":"DE1"}}{result}}}"#
        );
        let event = ledger::event::parse(&to_event(text.as_bytes()).body).unwrap();
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

    /// Passed on as it came, with what is wrong with it.
    fn check_poison(body: &[u8], reason: &str) {
        let brought = elements(body);
        let [one] = &brought[..] else { panic!("one element") };
        let element = body.trim_ascii().strip_prefix(b"[").and_then(|b| b.strip_suffix(b"]"));
        let sent = element.unwrap_or(body);
        assert_eq!(one.body, sent[..sent.len().min(BODY_BYTES_MAX)], "{}", body.escape_ascii());
        assert_eq!(
            one.refused.map(|refused| refused.code()),
            Some(reason),
            "{}",
            body.escape_ascii()
        );
        assert!(Refused::told(reason).is_some(), "posting believes it");
    }

    #[test]
    fn p3_poison_is_passed_on_with_its_own_reason() {
        let element = |more: &str| {
            format!(
                r#"[{{"decision_id":"d","labels":{{"id":"o"}},"timestamp":"2026-11-20T05:48:00Z"{more}}}]"#
            )
        };
        let deep = format!(r#","input":{}{}"#, "[".repeat(31), "]".repeat(31));
        let many: Vec<String> = (0..70).map(|n| format!(",\"m{n}\":{n}")).collect();
        let many = many.concat();
        let long = format!(r#","input":"{}""#, "x".repeat(300_000));
        check_poison(b"[{\"a\":1,\"a\":2}]", "json_duplicate_key");
        check_poison(b"[5]", "not_an_object");
        check_poison(element(&deep).as_bytes(), "json_depth");
        check_poison(element(&many).as_bytes(), "payload_fields");
        check_poison(element(&long).as_bytes(), "too_big");
        check_poison(element(r#","/x":1"#).as_bytes(), "payload_name");
        check_poison(element(r#","input":9007199254740993"#).as_bytes(), "json_number");
        check_poison(element("").replace("\"d\"", "\"a\\u0000\"").as_bytes(), "control_character");
        check_poison(element("").replace("decision_id", "id").as_bytes(), "opa");
        check_poison(element("").replace("\"o\"", "5").as_bytes(), "opa");
        check_poison(element("").replace("05:48:00Z", "05:48:00").as_bytes(), "opa");
        check_poison(b"{}", "opa");
        check_poison(b"", "json_syntax");
        check_poison(&vec![b' '; 300_000], "too_big");
    }

    #[test]
    fn p6_numbers_are_those_that_were_sent() {
        let numbers =
            "117.63331139400017,51.248178375505404,9007199254740991.0,0.09144338512092887";
        let text = format!(
            r#"{{"decision_id":"d","labels":{{"id":"o"}},"timestamp":"2026-11-20T05:48:00Z","input":[{numbers}]}}"#
        );
        let event = ledger::event::parse(&to_event(text.as_bytes()).body).unwrap();
        let shown = numbers.replace("991.0", "991");
        assert_eq!(event.fields[0].value, format!("[{shown}]").into_bytes());
    }
}
