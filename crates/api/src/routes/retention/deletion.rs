//! The end of a tenant.

use crate::{
    act::{self, Why},
    app::App,
    auth, background,
    problem::{Code, Problem},
    reviewed::{self, Acted, Waiting},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use decider::rule::TENANT_DELETE;
use ledger::{
    ident::Ident,
    system::{
        Role,
        retention::{Deletion, RetentionBody},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What shall be deleted.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedDeletion {
    /// The tenant's name, once more.
    #[schema(value_type = String)]
    tenant: Ident,
    /// Why: 1 to 2000 characters. It stays in the log for ever, so it names no person.
    #[schema(value_type = String)]
    reason: Why,
    /// The approval of exactly this, if the rules in force ask people about it.
    #[schema(value_type = Option<String>)]
    approval: Option<Ident>,
}

/// Result of a deletion.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Deleted {
    /// Leaf index of the last entry.
    index: u64,
    /// `complete`: payload, journal and keys are gone; `pending`: the server goes on with it.
    status: &'static str,
}

/// Delete the tenant: payload, journal and keys go, entries and proofs stay, and its log ends
#[utoipa::path(post, path = "/v1/tenants/{tenant}/deletion", tag = "operation",
    params(("tenant" = String, Path)), request_body = WantedDeletion,
    responses((status = 200, body = Deleted), (status = 202, body = Waiting), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let wanted: WantedDeletion = app.bodies.json(&headers, body).await?;
    let WantedDeletion { tenant: name, reason, approval } = wanted;
    if name != tenant.name {
        let detail = "tenant: another name than that of the address. Nothing was deleted.";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    crate::routes::replicas::not_yet(&app, "a tenant can't be deleted")?;
    let _alone = app.slow.lock().await;
    app.ledger.catch_up(&tenant).await?;
    if let Some(hold) = tenant.position().retention.holds.into_keys().next() {
        return Err(ledger::Error::Held(hold).into());
    }
    let worker = app.worker(&tenant.name);
    let params = json!({"tenant": name});
    let act = (TENANT_DELETE, &params, Some(reason.to_string()));
    let (app, tenant) = (&app, &tenant);
    let acted =
        reviewed::act(worker.as_deref(), &caller, act, approval.as_ref(), |by| async move {
            let body =
                RetentionBody::Delete(Deletion { tenant: name, by, why: reason.to_string() });
            Ok(act::record(&app.ledger, tenant, "retention", &body).await?)
        });
    let index = match acted.await? {
        Acted::Done(index) => index,
        Acted::Waits(waiting) => return Ok(super::super::waits(waiting)),
    };
    app.stop_worker(&tenant.name);
    let status = match background::bury(app, tenant).await {
        Ok(true) => "complete",
        Ok(false) => "pending",
        Err(error) => {
            tracing::warn!(tenant = %tenant.name, %error, "a deletion is not complete yet");
            "pending"
        }
    };
    Ok(Json(Deleted { index, status }).into_response())
}
