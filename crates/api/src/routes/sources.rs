//! Sources that must report: who they are, and which of them are silent.

use crate::{
    act::{self, Since, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    sources::{OfSource, Standing, State as Reporting, Undeclared as Others},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use ledger::{
    SourcesEntry,
    post::Reported,
    store,
    system::{
        Role,
        sources::{Declared, Sources, mistake},
    },
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most undeclared sources that an answer names.
const NAMED_MAX: usize = 100;

/// The sources that must report, complete.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedSources {
    /// Each with producer, source, title, owner and `silent_after` in seconds: at most 256. They replace those before.
    #[schema(value_type = Vec<Object>)]
    sources: Vec<Declared>,
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
}

/// Result of declaring.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeclaredSources {
    /// Leaf index of the `sources` entry.
    index: u64,
    /// `applied`, or `unchanged`: exactly these were declared already, and nothing was written.
    status: &'static str,
}

/// A source that must report.
#[derive(Serialize, utoipa::ToSchema)]
struct DeclaredSource {
    /// What was declared.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    declared: Declared,
    /// `reporting`; `awaited`: it never reported, and its time is not over; `silent`.
    #[schema(value_type = String)]
    state: Reporting,
    /// Its last event.
    #[schema(value_type = Option<Object>)]
    last: Option<Last>,
}

/// The last entry of a source.
#[derive(Serialize)]
struct Last {
    /// Its leaf index.
    index: u64,
    /// Its `journal.time`.
    time: Nanos,
    /// Number of all entries of the source.
    entries: u64,
}

/// Sources that reported and that nobody declared.
#[derive(Serialize, utoipa::ToSchema)]
struct Undeclared {
    /// How many were found.
    count: usize,
    /// False if there may be more: 10,000 sources were read.
    complete: bool,
    /// The first 100.
    #[schema(value_type = Vec<Object>)]
    sources: Vec<Reported>,
}

/// The sources of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StandingSources {
    /// The declaration in force; `null`: none yet.
    declaration: Option<Since>,
    /// What it declares.
    declared: Vec<DeclaredSource>,
    /// The others.
    undeclared: Undeclared,
}

/// Show the sources that must report, which of them are silent, and which others reported
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sources", tag = "operation",
    params(("tenant" = String, Path)),
    responses((status = 200, body = StandingSources), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<StandingSources>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin, Role::Auditor])?;
    let (standing, others) = tokio::task::block_in_place(|| {
        let standing = Standing::read(&app.ledger, &tenant)?;
        let others = standing.undeclared(&app.ledger, &tenant)?;
        Ok::<_, store::Error>((standing, others))
    })?;
    let (Standing { entry, declared }, Others { mut sources, complete }) = (standing, others);
    let count = sources.len();
    sources.truncate(NAMED_MAX);
    let declaration = |SourcesEntry { index, time, body }| Since { index, time, by: body.by };
    Ok(Json(StandingSources {
        declaration: entry.map(declaration),
        declared: declared.into_iter().map(shown).collect(),
        undeclared: Undeclared { count, complete, sources },
    }))
}

fn shown(OfSource { declared, state, reported }: OfSource) -> DeclaredSource {
    let last = |Reported { index, time, entries, .. }| Last { index, time, entries };
    DeclaredSource { declared, state, last: reported.map(last) }
}

/// Declare the sources that must report, in place of those before
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sources", tag = "operation",
    params(("tenant" = String, Path)), request_body = WantedSources,
    responses((status = 200, body = DeclaredSources), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn declare(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DeclaredSources>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let WantedSources { sources, reason } = app.bodies.json(&headers, body).await?;
    if let Some(wrong) = mistake(&sources) {
        return Err(Problem::new(Code::BadRequest, format!("{wrong}.")));
    }
    let _alone = app.slow.lock().await;
    app.ledger.catch_up(&tenant).await?;
    if let Some(SourcesEntry { index, body, .. }) = app.ledger.sources(&tenant)?
        && body.sources == sources
    {
        return Ok(Json(DeclaredSources { index, status: "unchanged" }));
    }
    let reason = act::keep_reason(&app.ledger, &tenant, "sources", Some(&reason)).await?;
    let body = Sources { v: 1, sources, by: caller.by(), reason };
    let index = act::record(&app.ledger, &tenant, "sources", &body).await?;
    Ok(Json(DeclaredSources { index, status: "applied" }))
}
