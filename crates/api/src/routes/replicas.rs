//! How the replicas of each log stand.

use crate::{
    app::App,
    auth,
    problem::{Code, Problem},
    replicas,
};
use axum::{Json, extract::State, http::HeaderMap};
use serde::Serialize;
use std::sync::Arc;

/// How the replicas stand.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Replicas {
    /// One for each log. None if this server signs alone.
    logs: Vec<replicas::Replicated>,
}

/// How the replicas stand that sign together, as this one sees it (operator key)
#[utoipa::path(get, path = "/v1/replicas", tag = "operation",
    responses((status = 200, body = Replicas), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Replicas>, Problem> {
    auth::operator(&app.ledger, &headers)?;
    Ok(Json(Replicas { logs: replicas::logs(&app.ledger) }))
}

/// Refuses what replicas can't do together yet: the files that it makes would be on one of them alone.
pub fn not_yet(app: &App, what: &str) -> Result<(), Problem> {
    if app.config.file.replica.is_none() {
        return Ok(());
    }
    let detail = format!(
        "With [replica] {what} yet: docs/operate/several-machines.md says what to do instead."
    );
    Err(Problem::new(Code::Conflict, detail))
}
