//! `POST T/events`: one event, an array, or NDJSON; answered after the fsync.

mod reports;

use crate::{
    app::App,
    auth,
    body::{self, Unsplit},
    event_result::EventResult,
    problem::{Code, Problem},
    query,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, header},
};
use ledger::{
    Batch,
    event::Refused,
    ident::Ident,
    journal::{Append, BATCH_MESSAGES_MAX, BODY_BYTES_MAX, Headers, Subject},
    media::Media,
    system::Role,
    tenant::Tenant,
};
use reports::Misfit;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Instant};

/// Query of `POST T/events`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// `full`: each result carries its receipt.
    #[param(inline)]
    receipts: Option<Receipts>,
}

/// Receipts in the results.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Receipts {
    /// Of each event.
    Full,
}

/// Results of all events.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Results {
    /// In the order of the request.
    pub results: Vec<EventResult>,
    /// The signed checkpoint that holds them all.
    pub checkpoint: String,
}

/// Publish events and wait until they are fsynced and signed
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/events", tag = "events",
    params(("tenant" = String, Path), EventsQuery),
    request_body(content_type = "application/cloudevents+json", description = "One CloudEvents 1.0 event; an array \
        (application/cloudevents-batch+json); or one per line (application/x-ndjson). At most 1000 events, 256 KiB \
        each, 8 MiB together. gzip allowed.", content = Object),
    responses((status = 200, body = Results), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn publish(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Results>, Problem> {
    let begun = Instant::now();
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Publisher])?;
    let query: EventsQuery = query::strict(raw.as_deref())?;
    let producer = caller.producer()?.clone();
    let held = app.bodies.events(&headers, body, &tenant.name).await?;
    let events = split(&headers, &held.bytes)?;
    let misfit = |body: &Vec<u8>| reports::misfit(&app.ledger, (&tenant, &producer), body);
    let misfits: Vec<Option<Misfit>> =
        tokio::task::block_in_place(|| events.iter().map(misfit).collect());
    let brought = events.into_iter().zip(&misfits).map(|(body, misfit)| {
        let refused = misfit.as_ref().and_then(|_| Refused::told("data"));
        Brought { body, refused }
    });
    let batch = append_bodies(&app, &tenant, &producer, brought.collect()).await?;
    let receipts = query.receipts == Some(Receipts::Full);
    // A thousand receipts need about 20,000 reads, so not on a thread that serves others.
    let mut results = tokio::task::block_in_place(|| results(&app, &tenant, batch, receipts))?;
    for (result, misfit) in results.results.iter_mut().zip(misfits) {
        if let Some(Misfit { id, detail }) = misfit {
            (result.id, result.detail) = (id, Some(detail));
        }
    }
    for _ in results.results.iter().filter(|result| result.status == "posted") {
        app.metrics.recorded(tenant.name.as_str(), "told", begun.elapsed(), None);
    }
    Ok(Json(results))
}

/// Appends events of one producer.
pub async fn append_events(
    app: &App,
    tenant: &Tenant,
    producer: &Ident,
    events: Vec<Vec<u8>>,
) -> Result<Batch, Problem> {
    append_bodies(app, tenant, producer, events.into_iter().map(Brought::from).collect()).await
}

/// The input for one message of a producer.
pub struct Brought {
    /// An event, or what should have been one.
    pub body: Vec<u8>,
    /// Why it can't be an event, if that is known and the body alone does not show it.
    pub refused: Option<Refused>,
}

impl From<Vec<u8>> for Brought {
    fn from(body: Vec<u8>) -> Self {
        Self { body, refused: None }
    }
}

/// Appends messages of one producer.
pub async fn append_bodies(
    app: &App,
    tenant: &Tenant,
    producer: &Ident,
    events: Vec<Brought>,
) -> Result<Batch, Problem> {
    if events.len() > BATCH_MESSAGES_MAX {
        return Err(too_many());
    }
    if let Some(at) = events.iter().position(|event| event.body.len() > BODY_BYTES_MAX) {
        let detail = format!(
            "Event {at} (counted from 0) has more than {BODY_BYTES_MAX} bytes; none was published."
        );
        return Err(Problem::new(Code::TooBig, detail));
    }
    let batch = events
        .into_iter()
        .map(|Brought { body, refused }| Append {
            subject: Subject::Decisions(producer.clone()),
            headers: Headers {
                refused: refused.map(|refused| refused.code().to_owned()),
                ..Headers::default()
            },
            body,
            expected: None,
        })
        .collect();
    Ok(app.ledger.publish(tenant, batch).await?)
}

/// Splits a body into events, by its content type.
fn split(headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
    let kind = content_type(headers)?.ok_or_else(unread)?;
    let is_array = bytes.trim_ascii_start().starts_with(b"[");
    let parts: Vec<&[u8]> = match kind.essence.as_str() {
        "application/x-ndjson" | "application/jsonl" => {
            let lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
            // One more than allowed is enough to see the excess.
            let lines = lines.filter(|line| !line.is_empty()).take(BATCH_MESSAGES_MAX + 1);
            let lines: Vec<&[u8]> = lines.collect();
            if let [line] = lines[..] {
                one(line)?;
            }
            lines
        }
        "application/cloudevents-batch+json" => array(bytes)?,
        "application/json" if is_array => array(bytes)?,
        "application/json" | "application/cloudevents+json" => vec![one(bytes)?],
        _ => return Err(unread()),
    };
    if parts.is_empty() || parts.iter().all(|part| part.is_empty()) {
        return Err(Problem::new(Code::BodySyntax, "There is no event in the body."));
    }
    Ok(parts.into_iter().map(<[u8]>::to_vec).collect())
}

/// The content type of a request, `None` without one. Refuses what can't be a whole event: binary mode,
/// another charset, two types.
pub fn content_type(headers: &HeaderMap) -> Result<Option<Media>, Problem> {
    let refuse = |detail: &str| Problem::new(Code::UnsupportedMediaType, detail);
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let is_structured = value.is_some_and(ledger::event::is_structured);
    let mut names = headers.keys().map(header::HeaderName::as_str);
    if !is_structured && names.any(ledger::event::is_attribute_header) {
        return Err(refuse(
            "CloudEvents in binary mode (`ce-` headers) are not read. Send each event whole (structured mode), with \
             Content-Type: application/cloudevents+json; nothing was published.",
        ));
    }
    if values.next().is_some() {
        return Err(refuse("Send one Content-Type; this request has several."));
    }
    let Some(value) = value else { return Ok(None) };
    let media = Media::parse(value);
    let media = media.ok_or_else(|| refuse("The Content-Type is not a media type (RFC 9110)."))?;
    if !media.is_utf8() {
        return Err(refuse("JSON is UTF-8: send no other charset in the Content-Type."));
    }
    Ok(Some(media))
}

fn unread() -> Problem {
    let detail = "Send Content-Type: application/cloudevents+json (one event), application/cloudevents-batch+json (an \
                  array) or application/x-ndjson (one per line).";
    Problem::new(Code::UnsupportedMediaType, detail)
}

/// A body or a line as one event, even if it is wrong. Refuses several events in one, because each needs a
/// result.
pub fn one(bytes: &[u8]) -> Result<&[u8], Problem> {
    if body::is_several(bytes) || bytes.trim_ascii_start().starts_with(b"[") {
        let detail = "The body holds several events where one is expected. Send them as lines \
                      (application/x-ndjson) or as an array (application/cloudevents-batch+json); nothing was published.";
        return Err(Problem::new(Code::BodySyntax, detail));
    }
    Ok(bytes)
}

fn array(bytes: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    body::split_array(bytes, BATCH_MESSAGES_MAX).map_err(|unsplit| match unsplit {
        Unsplit::Syntax => Problem::new(Code::BodySyntax, "The body is not a complete JSON array."),
        Unsplit::TooMany => too_many(),
    })
}

fn too_many() -> Problem {
    let detail = format!("At most {BATCH_MESSAGES_MAX} events a request; send more requests.");
    Problem::new(Code::TooManyEvents, detail)
}

/// The answer to a posted batch.
pub fn results(
    app: &App,
    tenant: &Tenant,
    batch: Batch,
    receipts: bool,
) -> Result<Results, Problem> {
    let published = batch.done.published;
    let reader = app.ledger.reader(tenant, &published);
    let mut results = Vec::with_capacity(batch.ids.len());
    let mut counts = [("posted", 0), ("duplicate", 0), ("conflict", 0), ("rejected", 0)];
    for (id, outcome) in batch.ids.into_iter().zip(batch.done.outcomes) {
        let mut result = EventResult::new(id, &outcome);
        if receipts {
            let begun = Instant::now();
            result.receipt = reader.receipt(result.index)?.map(|receipt| receipt.to_string());
            app.metrics.receipt(begun.elapsed());
        }
        for (status, count) in &mut counts {
            *count += u64::from(*status == result.status);
        }
        results.push(result);
    }
    for (status, count) in counts {
        app.metrics.events(status, count);
    }
    Ok(Results { results, checkpoint: published.checkpoint.clone() })
}
