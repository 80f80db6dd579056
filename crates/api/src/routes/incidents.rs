//! Incidents: people collect alerts, freezes, other entries and notes under one name, and export them with proofs.

pub mod export;

use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    query,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
};
use ledger::{
    canonical,
    entry::{Kind, View},
    feed::{self, Filter, Question, Turn},
    store,
    system::{
        Role,
        incident::{
            CloseIncident, IncidentBody, MESSAGES_MAX, NAMED_ALL_MAX, NAMED_MAX, Note, OPEN_MAX,
            Open,
        },
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Who sees incidents, with the words of their notes.
const READERS: [Role; 3] = [Role::Admin, Role::Auditor, Role::Responder];
/// Who writes them.
const WRITERS: [Role; 2] = [Role::Responder, Role::Admin];
/// Most entries on a page of the history.
const PAGE_MAX: usize = 200;

/// Which incidents.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IncidentsQuery {
    /// `open`, the default: the open ones. `all`: every `incident` entry, by page.
    #[param(inline)]
    state: Option<Which>,
    /// With `all`: the leaf index from which to read on, `next` of the page before.
    from: Option<u64>,
}

/// Which incidents.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Which {
    Open,
    All,
}

/// An `incident` entry.
#[derive(Serialize, utoipa::ToSchema)]
struct ShownIncident {
    /// Its leaf index. That of the first entry names the incident.
    index: u64,
    /// `journal.time` of the entry.
    time: String,
    /// Of an open incident: number of its messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u32>,
    /// Of an open incident: how many entries its messages name.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u32>,
    /// Its `event`, as it is in the log.
    #[schema(value_type = Object)]
    event: serde_json::Value,
}

/// Incidents of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownIncidents {
    /// Number of incidents that were ever opened.
    opened: u64,
    /// Number of open ones.
    open: usize,
    /// The oldest first. With `all`, every `incident` entry.
    incidents: Vec<ShownIncident>,
    /// With `all`: the leaf index from which to read on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// With `all`: true if there are more entries now.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
}

/// Words, and entries that belong to an incident.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// What happened, or what was done: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
    /// Leaf indexes of at most 64 entries that belong to it: alerts, freezes, decisions, any.
    #[serde(default)]
    entries: BTreeSet<u64>,
}

/// Why an incident is over.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndOfIncident {
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
}

/// It is in the log.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IncidentRecorded {
    /// Leaf index of the entry that says so. That of the first one names the incident.
    index: u64,
}

/// Show the open incidents, or the history of incidents by page
#[utoipa::path(get, path = "/v1/tenants/{tenant}/incidents", tag = "operation",
    params(("tenant" = String, Path), IncidentsQuery),
    responses((status = 200, body = ShownIncidents), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<ShownIncidents>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &READERS)?;
    let IncidentsQuery { state, from } = query::strict(raw.as_deref())?;
    let shown = tokio::task::block_in_place(|| match state.unwrap_or(Which::Open) {
        Which::Open => still_open(&app, &tenant),
        Which::All => all(&app, &tenant, from.unwrap_or(0)),
    });
    Ok(Json(shown?))
}

fn shown(index: u64, entry: &[u8]) -> Option<ShownIncident> {
    let view = View::parse(entry)?;
    let event = serde_json::from_slice(&canonical::to_vec(view.at(&["event"])?)).ok()?;
    let time = view.origin.time.to_string();
    Some(ShownIncident { index, time, messages: None, entries: None, event })
}

fn still_open(app: &App, tenant: &Tenant) -> Result<ShownIncidents, store::Error> {
    let state = Arc::clone(&tenant.published().incidents);
    let corrupt = || store::Error::Corrupt { family: "entries", what: "an incident entry" };
    let mut incidents = Vec::new();
    for (index, standing) in &state.open {
        let entry = app.ledger.entry(tenant, *index)?.ok_or_else(corrupt)?;
        let one = shown(*index, &entry).ok_or_else(corrupt)?;
        let (messages, entries) = (Some(standing.messages), Some(standing.named));
        incidents.push(ShownIncident { messages, entries, ..one });
    }
    let (opened, open) = (state.opened, incidents.len());
    Ok(ShownIncidents { opened, open, incidents, next: None, more: None })
}

fn all(app: &App, tenant: &Tenant, from: u64) -> Result<ShownIncidents, store::Error> {
    let published = tenant.published();
    let reader = app.ledger.reader(tenant, &published);
    let filter = Filter { kind: Some(Kind::Incident), ..Filter::default() };
    let question = Question { filter, ..Question::default() };
    let from = Some(from.max(published.kept_from()));
    let turn = Turn { from, entries: PAGE_MAX, now: app.ledger.now() };
    let mut incidents = Vec::new();
    let page = feed::page(&reader, &question, turn, |index, entry| {
        incidents.extend(shown(index, entry.as_bytes()));
    })?;
    let (next, state) = (page.scanned.1, &published.incidents);
    let (opened, open, more) = (state.opened, state.open.len(), Some(next < published.size));
    Ok(ShownIncidents { opened, open, incidents, next: Some(next), more })
}

/// Open an incident
#[utoipa::path(post, path = "/v1/tenants/{tenant}/incidents", tag = "operation",
    params(("tenant" = String, Path)), request_body = NewNote,
    responses((status = 200, body = IncidentRecorded), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn open(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<IncidentRecorded>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &WRITERS)?;
    let NewNote { reason, entries } = app.bodies.json(&headers, body).await?;
    let _turn = app.incidents.of(&tenant.name).await;
    app.ledger.catch_up(&tenant).await?;
    check_entries(&tenant, &entries)?;
    if tenant.published().incidents.open.len() >= OPEN_MAX {
        return Err(conflict(&format!("{OPEN_MAX} incidents are open. Close one first.")));
    }
    let entries = entries.into_iter().collect();
    let reason = keep(&app, &tenant, &reason).await?;
    let body = IncidentBody::Open(Open { v: 1, entries, by: caller.by(), reason });
    record(&app, &tenant, &body).await
}

/// Add a note, and entries, to an open incident
#[utoipa::path(post, path = "/v1/tenants/{tenant}/incidents/{incident}/notes", tag = "operation",
    params(("tenant" = String, Path), ("incident" = u64, Path)), request_body = NewNote,
    responses((status = 200, body = IncidentRecorded), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn note(
    State(app): State<Arc<App>>,
    Path((tenant, incident)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<IncidentRecorded>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &WRITERS)?;
    let NewNote { reason, entries } = app.bodies.json(&headers, body).await?;
    let incident = number(&incident)?;
    let _turn = app.incidents.of(&tenant.name).await;
    let n = next(&app, &tenant, incident).await?;
    check_entries(&tenant, &entries)?;
    let published = tenant.published();
    let named = published.incidents.open.get(&incident).map_or(0, |standing| standing.named);
    if n >= MESSAGES_MAX || named as usize + entries.len() > NAMED_ALL_MAX as usize {
        let text = format!(
            "An incident has at most {} messages before the one that closes it, which name at most {NAMED_ALL_MAX} \
             entries. Close it, and open another one.",
            MESSAGES_MAX - 1
        );
        return Err(conflict(&text));
    }
    let entries = entries.into_iter().collect();
    let reason = keep(&app, &tenant, &reason).await?;
    let body = IncidentBody::Note(Note { incident, n, entries, by: caller.by(), reason });
    record(&app, &tenant, &body).await
}

/// Close an incident, with a reason
#[utoipa::path(post, path = "/v1/tenants/{tenant}/incidents/{incident}/close", tag = "operation",
    params(("tenant" = String, Path), ("incident" = u64, Path)), request_body = EndOfIncident,
    responses((status = 200, body = IncidentRecorded), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn close(
    State(app): State<Arc<App>>,
    Path((tenant, incident)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<IncidentRecorded>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &WRITERS)?;
    let EndOfIncident { reason } = app.bodies.json(&headers, body).await?;
    let incident = number(&incident)?;
    let _turn = app.incidents.of(&tenant.name).await;
    let n = next(&app, &tenant, incident).await?;
    let reason = keep(&app, &tenant, &reason).await?;
    let body = IncidentBody::Close(CloseIncident { incident, n, by: caller.by(), reason });
    record(&app, &tenant, &body).await
}

fn number(incident: &str) -> Result<u64, Problem> {
    incident.parse().map_err(|_| Problem::not_found())
}

fn conflict(text: &str) -> Problem {
    Problem::new(Code::Conflict, text.to_owned())
}

/// Number of the next message of an open incident.
async fn next(app: &App, tenant: &Arc<Tenant>, incident: u64) -> Result<u32, Problem> {
    app.ledger.catch_up(tenant).await?;
    if let Some(standing) = tenant.published().incidents.open.get(&incident) {
        return Ok(standing.messages + 1);
    }
    let was = tokio::task::block_in_place(|| app.ledger.entry(tenant, incident))?;
    let was = was.as_deref().and_then(View::parse).filter(|view| view.kind == Kind::Incident);
    if was.is_some_and(|view| view.text(&["event", "op"]) == Some("open")) {
        return Err(conflict("This incident is not open: it was closed."));
    }
    Err(Problem::not_found())
}

/// What is named is in the log already.
fn check_entries(tenant: &Tenant, entries: &BTreeSet<u64>) -> Result<(), Problem> {
    let published = tenant.published();
    let known = entries.last().is_none_or(|last| *last < published.size);
    let kept = entries.first().is_none_or(|first| *first >= published.kept_from());
    if known && kept && entries.len() <= NAMED_MAX {
        return Ok(());
    }
    let (from, to) = (published.kept_from(), published.size);
    let text = format!(
        "entries: at most {NAMED_MAX} leaf indexes of entries that are here: {from} ≤ index < {to}."
    );
    Err(Problem::new(Code::BadRequest, text))
}

async fn keep(
    app: &App,
    tenant: &Arc<Tenant>,
    reason: &Why,
) -> Result<ledger::system::Reason, Problem> {
    let reason = act::keep_reason(&app.ledger, tenant, "incident", Some(reason)).await?;
    reason.ok_or_else(Problem::not_found)
}

async fn record(
    app: &App,
    tenant: &Arc<Tenant>,
    body: &IncidentBody,
) -> Result<Json<IncidentRecorded>, Problem> {
    let index = act::record(&app.ledger, tenant, "incident", body).await?;
    Ok(Json(IncidentRecorded { index }))
}
