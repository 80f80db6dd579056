//! Accounts at providers of `OpenID` Connect: an admin links one to a person.

use crate::{
    accounts::{self, Wanted},
    act::{Act, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    reviewed::{self, Acted, Waiting},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use decider::rule::KEY_ISSUE;
use ledger::{
    ident::Ident,
    json::text_has_control,
    system::{Role, SUBJECT_BYTES_MAX},
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Longest label, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// An account to link to a person.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// The person.
    #[schema(value_type = String)]
    person: Ident,
    /// The issuer: that of a `[oidc.…]` of this server for this tenant.
    issuer: String,
    /// The subject at the provider (`sub`), as the sign-in page shows it: 1 to 255 bytes.
    subject: String,
    /// A label for people.
    #[serde(default)]
    name: String,
    /// Why, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
    /// The approval of exactly this account, if the rules in force ask people about keys of power.
    #[schema(value_type = Option<String>)]
    approval: Option<Ident>,
}

impl NewAccount {
    fn check(&self, app: &App, tenant: &Tenant) -> Result<(), Problem> {
        let wrong = |detail: &str| Err(Problem::new(Code::BadRequest, detail));
        let fits = (1..=SUBJECT_BYTES_MAX).contains(&self.subject.len());
        if !fits || text_has_control(&self.subject) {
            return wrong("subject: 1 to 255 bytes, no control characters.");
        }
        if self.name.len() > NAME_BYTES_MAX || text_has_control(&self.name) {
            return wrong("name: at most 128 bytes, no control characters.");
        }
        if !app.oidc.has(&tenant.name, &self.issuer) {
            let known: Vec<&str> = app.oidc.issuers(&tenant.name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let detail = format!(
                "issuer: no `[oidc.…]` of this server has exactly this one for this tenant. It has: {known}."
            );
            return wrong(&detail);
        }
        Ok(())
    }
}

/// An account that is in force.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LinkedAccount {
    /// Id of its key: by it, the account is removed like any API key.
    key_id: String,
    /// The person.
    person: String,
    /// A note about the person, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Link a person to an account at a provider of `OpenID` Connect
#[utoipa::path(post, path = "/v1/tenants/{tenant}/accounts", tag = "operation",
    params(("tenant" = String, Path)), request_body = NewAccount,
    responses((status = 201, body = LinkedAccount), (status = 202, body = Waiting), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn add(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let new: NewAccount = app.bodies.json(&headers, body).await?;
    new.check(&app, &tenant)?;
    let NewAccount { person, issuer, subject, name, reason: why, approval } = new;
    let worker = app.worker(&tenant.name);
    let so = "until they stand in people.toml and `countersign rules apply` was run, this account opens nothing.";
    let note = super::keys::note(worker.as_deref(), &person, so);
    let wanted = Wanted { person, issuer, subject, name };
    let (params, comment) = (wanted.params(), why.as_ref().map(ToString::to_string));
    let act = (KEY_ISSUE, &params, comment);
    let (app, tenant, wanted) = (&app, &tenant, &wanted);
    let link = |by| async move { accounts::link(app, tenant, wanted, Act { by, why }).await };
    match reviewed::act(worker.as_deref(), &caller, act, approval.as_ref(), link).await? {
        Acted::Waits(waiting) => Ok(super::waits(waiting)),
        Acted::Done(key_id) => {
            let (key_id, person) = (key_id.to_string(), wanted.person.to_string());
            let linked = LinkedAccount { key_id, person, note };
            Ok((StatusCode::CREATED, Json(linked)).into_response())
        }
    }
}
