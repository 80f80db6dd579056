//! Alerts: what clauses and the watch of the log found, and who closes it.

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
    Ledger, canonical,
    entry::{Kind, View},
    feed::{self, Filter, Question, Turn},
    store,
    system::{
        Role,
        alert::{AlertBody, Close},
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who sees alerts.
const READERS: [Role; 3] = [Role::Admin, Role::Auditor, Role::Responder];
/// Most entries on a page of the history.
const PAGE_MAX: usize = 200;

/// Which alerts.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// `open`, the default: the open ones. `all`: every `alert` entry, by page.
    #[param(inline)]
    state: Option<Which>,
    /// With `all`: the leaf index from which to read on, `next` of the page before.
    from: Option<u64>,
}

/// Which alerts.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Which {
    Open,
    All,
}

/// An `alert` entry.
#[derive(Serialize, utoipa::ToSchema)]
struct ShownAlert {
    /// Its leaf index. That of an alert names it.
    index: u64,
    /// `journal.time` of the entry.
    time: String,
    /// Its `event`, as it is in the log.
    #[schema(value_type = Object)]
    event: serde_json::Value,
}

/// Alerts of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownAlerts {
    /// Number of alerts that were ever raised.
    raised: u64,
    /// Number of open ones.
    open: usize,
    /// The oldest first. With `all`, entries that close alerts too.
    alerts: Vec<ShownAlert>,
    /// With `all`: the leaf index from which to read on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// With `all`: true if there are more entries now.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
}

/// Why an alert is closed.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseAlert {
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
}

/// An alert was closed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AlertClosed {
    /// Leaf index of the entry that says so.
    index: u64,
}

/// Show the open alerts, or the history of alerts by page
#[utoipa::path(get, path = "/v1/tenants/{tenant}/alerts", tag = "operation",
    params(("tenant" = String, Path), AlertsQuery),
    responses((status = 200, body = ShownAlerts), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<ShownAlerts>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &READERS)?;
    let AlertsQuery { state, from } = query::strict(raw.as_deref())?;
    let shown = tokio::task::block_in_place(|| match state.unwrap_or(Which::Open) {
        Which::Open => open(&app.ledger, &tenant),
        Which::All => all(&app.ledger, &tenant, from.unwrap_or(0)),
    });
    Ok(Json(shown?))
}

fn shown(index: u64, entry: &[u8]) -> Option<ShownAlert> {
    let view = View::parse(entry)?;
    let event = serde_json::from_slice(&canonical::to_vec(view.at(&["event"])?)).ok()?;
    Some(ShownAlert { index, time: view.origin.time.to_string(), event })
}

fn open(ledger: &Ledger, tenant: &Tenant) -> Result<ShownAlerts, store::Error> {
    let state = Arc::clone(&tenant.published().alerts);
    let corrupt = || store::Error::Corrupt { family: "entries", what: "an alert entry" };
    let mut alerts = Vec::new();
    for index in &state.open {
        let entry = ledger.entry(tenant, *index)?.ok_or_else(corrupt)?;
        alerts.push(shown(*index, &entry).ok_or_else(corrupt)?);
    }
    Ok(ShownAlerts { raised: state.raised, open: alerts.len(), alerts, next: None, more: None })
}

fn all(ledger: &Ledger, tenant: &Tenant, from: u64) -> Result<ShownAlerts, store::Error> {
    let published = tenant.published();
    let reader = ledger.reader(tenant, &published);
    let from = from.max(published.kept_from());
    let filter = Filter { kind: Some(Kind::Alert), ..Filter::default() };
    let question = Question { filter, ..Question::default() };
    let turn = Turn { from: Some(from), entries: PAGE_MAX, now: ledger.now() };
    let mut alerts = Vec::new();
    let page = feed::page(&reader, &question, turn, |index, entry| {
        alerts.extend(shown(index, entry.as_bytes()));
    })?;
    let (next, state) = (page.scanned.1, &published.alerts);
    let (raised, open) = (state.raised, state.open.len());
    let more = Some(next < published.size);
    Ok(ShownAlerts { raised, open, alerts, next: Some(next), more })
}

/// Close an alert, with a reason
#[utoipa::path(post, path = "/v1/tenants/{tenant}/alerts/{alert}/close", tag = "operation",
    params(("tenant" = String, Path), ("alert" = u64, Path)), request_body = CloseAlert,
    responses((status = 200, body = AlertClosed), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn close(
    State(app): State<Arc<App>>,
    Path((tenant, alert)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AlertClosed>, Problem> {
    let roles = [Role::Responder, Role::Admin];
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &roles)?;
    let CloseAlert { reason } = app.bodies.json(&headers, body).await?;
    let alert: u64 = alert.parse().map_err(|_| Problem::not_found())?;
    app.ledger.catch_up(&tenant).await?;
    if !tenant.published().alerts.open.contains(&alert) {
        let was = tokio::task::block_in_place(|| app.ledger.entry(&tenant, alert))?;
        let was = was.as_deref().and_then(View::parse).filter(|view| view.kind == Kind::Alert);
        let raised = was.is_some_and(|view| view.text(&["event", "op"]) == Some("raise"));
        if !raised {
            return Err(Problem::not_found());
        }
        return Err(Problem::new(Code::Conflict, "This alert is not open: it was closed."));
    }
    let reason = act::keep_reason(&app.ledger, &tenant, "alert", Some(&reason)).await?;
    let reason = reason.ok_or_else(Problem::not_found)?;
    let body = AlertBody::Close(Close { alert, by: caller.by(), reason });
    let index = act::record(&app.ledger, &tenant, "alert", &body).await?;
    Ok(Json(AlertClosed { index }))
}
