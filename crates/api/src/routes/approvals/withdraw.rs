//! Withdraws: cancels an approval, revokes a grant or a token.

use super::{Asking, View};
use crate::{access, app::App, problem::Problem};
use approvals::history::Approval;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use serde::Deserialize;
use std::sync::Arc;

/// Reason of a withdrawal.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithReason {
    /// A code of 1 to 64 characters a-z, 0-9 and _.
    reason: String,
}

/// Cancel an approval before it is redeemed (the producer that paused the call, or an admin)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{id}/cancel", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path)), request_body = WithReason,
    responses((status = 200, body = View), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let approval = asking.find(&id, access::cancel).await?;
    let by = match &asking.caller.key.producer {
        Some(producer) if access::cancel_own(&asking.access(), &approval) => {
            format!("producer:{producer}")
        }
        _ => format!("admin:{}", asking.caller.key.key_id),
    };
    let WithReason { reason } = app.bodies.json(&headers, body).await?;
    asking.done(&asking.worker.commands.cancel(&approval.id, &by, &reason).await?)
}

/// Revoke a grant before it is redeemed (a person who may review it, or an admin)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{id}/revoke", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path)), request_body = WithReason,
    responses((status = 200, body = View), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let approval = asking.find(&id, access::revoke).await?;
    revoke_found(&app, &asking, &approval, &headers, body).await
}

/// Revoke a token before it is redeemed (a person who may review its approval, or an admin)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tokens/{jti}/revoke", tag = "approvals",
    params(("tenant" = String, Path), ("jti" = String, Path)), request_body = WithReason,
    responses((status = 200, body = View), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    Path((tenant, jti)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let id = asking.worker.lists.with_token(&jti).await?.ok_or_else(Problem::not_found)?;
    let approval = asking.find(id.as_str(), access::revoke).await?;
    revoke_found(&app, &asking, &approval, &headers, body).await
}

async fn revoke_found(
    app: &App,
    asking: &Asking,
    approval: &Approval,
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let by = match asking.access().person() {
        Some(person) => person.to_string(),
        None => format!("admin:{}", asking.caller.key.key_id),
    };
    let WithReason { reason } = app.bodies.json(headers, body).await?;
    asking.done(&asking.worker.commands.revoke(&approval.id, &by, &reason).await?)
}
