//! Restarts time after a clock was wrong.

use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use ledger::{
    clock::{APART_MAX, apart},
    system::{ClockReset, Role},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Confirmation that the server's clock is right again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RightClock {
    /// What happened: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
}

/// Result of the reset.
#[derive(Serialize, utoipa::ToSchema)]
pub struct BegunAnew {
    /// Leaf index of the `clock` entry.
    index: u64,
    /// The time that the server's clock says: deadlines of approvals that are open count from here.
    #[schema(value_type = String)]
    at: Nanos,
}

/// Restart time, when the clock was wrong and is right again
#[utoipa::path(post, path = "/v1/tenants/{tenant}/clock", tag = "operation",
    params(("tenant" = String, Path)), request_body = RightClock,
    responses((status = 200, body = BegunAnew), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn reset(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<BegunAnew>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let RightClock { reason } = app.bodies.json(&headers, body).await?;
    let _alone = app.slow.lock().await;
    // Otherwise anybody could give every open approval its whole time again.
    if tenant.time_wrong().is_none() {
        let detail = "Nothing is wrong with the time of this log: its newest entry is not ahead of the server's clock, \
                      and nobody set that clock while the server ran.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let theirs = tenant.journal_time().await?;
    let apart = apart(theirs, app.ledger.now());
    if apart > APART_MAX {
        let detail = format!(
            "The broker's clock and the server's are {} s apart: set the one that is wrong first.",
            apart.as_secs()
        );
        return Err(Problem::new(Code::Conflict, detail));
    }
    tenant.clock().accept();
    let at = app.ledger.now();
    let reason = act::keep_reason(&app.ledger, &tenant, "clock", Some(&reason)).await?;
    let body = ClockReset { at, by: caller.by(), reason };
    let index = act::record(&app.ledger, &tenant, "clock", &body).await?;
    Ok(Json(BegunAnew { index, at }))
}
