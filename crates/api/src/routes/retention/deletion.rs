//! The end of a tenant.

use crate::{
    act::{self, Why},
    app::App,
    auth, background,
    problem::{Code, Problem},
    reviewed::{self, Acted, Waiting},
    routes::erasures::Standing,
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
    expiry::Buried,
    ident::Ident,
    system::{
        Role,
        retention::{Deletion, RetentionBody},
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Longest wait for other replicas that are at it.
const OTHERS_WAIT: Duration = Duration::from_secs(20);

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
    /// How far it is.
    #[serde(flatten)]
    standing: Standing,
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
    let standing = standing(app, tenant, OTHERS_WAIT).await;
    Ok(Json(Deleted { index, standing }).into_response())
}

/// Completes the deletion of a tenant here, and says how far it is. `wait`: for other replicas that are at it.
pub async fn standing(app: &App, tenant: &Tenant, wait: Duration) -> Standing {
    match background::bury(app, tenant, wait).await {
        Ok(Buried::Whole) => Standing::new(true, Vec::new()),
        Ok(Buried::Waits) => Standing::new(false, Vec::new()),
        Ok(Buried::Lacks(lacks)) => Standing::new(false, lacks),
        Err(error) => {
            tracing::warn!(tenant = %tenant.name, %error, "a deletion is not complete yet");
            Standing::new(false, Vec::new())
        }
    }
}
