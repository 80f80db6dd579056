//! Passkeys: an admin puts in force what a person requested on the pages.

use crate::{
    act::{Act, Why},
    app::App,
    auth,
    passkeys::{self, Request},
    problem::{Code, Problem},
    reviewed::{self, Acted},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use decider::rule::KEY_ISSUE;
use ledger::system::Role;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A passkey to put in force.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPasskey {
    /// The request that the person's page showed.
    request: String,
    /// Why, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// A passkey that is in force.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EnrolledPasskey {
    /// Id of its key: by it, the passkey is removed like any API key.
    key_id: String,
    /// The person.
    person: String,
    /// The label that the person gave.
    name: String,
}

/// Put a person's passkey in force
#[utoipa::path(post, path = "/v1/tenants/{tenant}/passkeys", tag = "operation",
    params(("tenant" = String, Path)), request_body = NewPasskey,
    responses((status = 201, body = EnrolledPasskey), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn add(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let NewPasskey { request, reason: why } = app.bodies.json(&headers, body).await?;
    let request = Request::open(&app, &tenant.name, &request).ok_or_else(|| {
        let detail = "request: not one of this server for this tenant, or older than seven days. Its person makes \
                      another one on the page /passkeys.";
        Problem::new(Code::BadRequest, detail)
    })?;
    if caller.key.person.as_ref() == Some(&request.person) {
        let detail = "Nobody approves their own passkey: another admin does.";
        return Err(Problem::new(Code::RoleMissing, detail));
    }
    let worker = app.worker(&tenant.name);
    let params = request.params();
    if let Some(worker) = &worker
        && worker.clerk.demands_review(KEY_ISSUE, &params)?
    {
        let detail = "The rules in force have people approve this: its person asks them on the page /passkeys.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let (act, request, shared) = ((KEY_ISSUE, &params, None), &request, &tenant);
    let issue = {
        let app = Arc::clone(&app);
        |by| async move { passkeys::enrol(&app, shared, request, Act { by, why }).await }
    };
    match reviewed::act(worker.as_deref(), &caller, act, None, issue).await? {
        Acted::Waits(waiting) => Ok(super::waits(waiting)),
        Acted::Done(key_id) => {
            let (person, name) = (request.person.to_string(), request.name.clone());
            let enrolled = EnrolledPasskey { key_id: key_id.to_string(), person, name };
            Ok((StatusCode::CREATED, Json(enrolled)).into_response())
        }
    }
}
