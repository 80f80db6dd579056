//! API keys and signing keys of a tenant; only admins.

use super::{body, log::access_keys};
use crate::{app::App, problem::Problem};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use ledger::{
    ident::Ident,
    system::{Access, AccessKey, KeyChange, KeyText, KeyUse, OVERLAP_MAX, Role},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Longest label of a key, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most API keys of a tenant.
const KEYS_MAX: usize = 10_000;

/// What a new key shall be.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// publisher, enforcer, reviewer, exporter, auditor, discloser, admin.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    /// For publisher and enforcer.
    #[schema(value_type = Option<String>)]
    producer: Option<Ident>,
    /// For reviewer.
    #[schema(value_type = Option<String>)]
    person: Option<Ident>,
    /// A label for people.
    #[serde(default)]
    name: String,
}

impl NewKey {
    fn check(&self) -> Result<(), Problem> {
        let wrong = |detail: &str| Err(Problem::new("bad_request", detail));
        let is = |role| self.roles.contains(&role);
        if self.roles.is_empty() {
            return wrong("roles: at least one.");
        }
        if is(Role::Reviewer) && (self.roles.len() > 1 || self.person.is_none()) {
            return wrong("A reviewer key belongs to one person and carries nothing else.");
        }
        if (is(Role::Publisher) || is(Role::Enforcer)) != self.producer.is_some() {
            return wrong("producer: given exactly with the roles publisher and enforcer.");
        }
        if self.person.is_some() && !is(Role::Reviewer) {
            return wrong("person: given only with the role reviewer.");
        }
        if self.name.len() > NAME_BYTES_MAX || ledger::json::text_has_control(&self.name) {
            return wrong("name: at most 128 bytes, no control characters.");
        }
        Ok(())
    }
}

/// A key that was just made.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IssuedKey {
    /// The key: shown once, stored nowhere.
    key: String,
    /// What is still missing before it opens anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Issue an API key
#[utoipa::path(post, path = "/v1/tenants/{tenant}/keys", tag = "operation",
    params(("tenant" = String, Path)), request_body = NewKey,
    responses((status = 201, body = IssuedKey), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn add(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<IssuedKey>), Problem> {
    let (tenant, _) = app.caller(&headers, &tenant, &[Role::Admin])?;
    let new: NewKey = body::json(&app, &headers, body).await?;
    new.check()?;
    if access_keys(&app, &tenant)?.len() >= KEYS_MAX {
        return Err(Problem::new("conflict", "A tenant has at most 10000 keys; remove some."));
    }
    let NewKey { mut roles, producer, person, name } = new;
    roles.sort_unstable();
    roles.dedup();
    let worker = app.worker(&tenant.name);
    let setup = worker.and_then(|worker| worker.setup().ok());
    let stranger = person
        .as_ref()
        .filter(|person| setup.as_ref().is_none_or(|setup| !setup.people.contains_key(*person)));
    let note = stranger.map(|person| {
        format!(
            "{person} is not among the people in force: until they stand in people.toml and `countersign rules apply` \
             was run, this key opens nothing."
        )
    });
    let key = app.issue_key(&tenant, roles, producer, person, name).await?;
    Ok((StatusCode::CREATED, Json(IssuedKey { key, note })))
}

/// List API keys, without their secrets
#[utoipa::path(get, path = "/v1/tenants/{tenant}/keys", tag = "operation",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Vec<Object>), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Vec<AccessKey>>, Problem> {
    let (tenant, _) = app.caller(&headers, &tenant, &[Role::Admin])?;
    access_keys(&app, &tenant).map(Json)
}

/// Remove an API key; it is dead when this answers
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/keys/{key_id}", tag = "operation",
    params(("tenant" = String, Path), ("key_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Path((tenant, key_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (tenant, _) = app.caller(&headers, &tenant, &[Role::Admin])?;
    let known = || -> Result<bool, Problem> {
        Ok(access_keys(&app, &tenant)?.iter().any(|key| key.key_id == key_id))
    };
    if !known()? {
        // It may have been made at another server a moment ago.
        app.ledger.catch_up(&tenant).await?;
    }
    if !known()? {
        return Err(Problem::not_found());
    }
    app.record(&tenant, "access", &Access::Remove { key_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which signing key shall be replaced.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// log, journal or token.
    #[serde(rename = "use")]
    #[schema(value_type = String)]
    usage: KeyUse,
    /// For the log key: how many more entries the old key signs beside the new one.
    #[serde(default)]
    overlap: u64,
}

/// What became of a rotation.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Rotated {
    /// The new public key.
    vkey: String,
    /// Leaf index of the `key` entry.
    index: u64,
}

/// Replace a signing key
#[utoipa::path(post, path = "/v1/tenants/{tenant}/keys/rotate", tag = "operation",
    params(("tenant" = String, Path)), request_body = Rotation,
    responses((status = 200, body = Rotated), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Rotated>, Problem> {
    let (tenant, _) = app.caller(&headers, &tenant, &[Role::Admin])?;
    let Rotation { usage, overlap } = body::json(&app, &headers, body).await?;
    if overlap > OVERLAP_MAX {
        return Err(Problem::new(
            "bad_request",
            format!("overlap: at most {OVERLAP_MAX} entries."),
        ));
    }
    let _alone = app.slow.lock().await;
    let published = tenant.published();
    if usage == KeyUse::Log && published.keys.signing(published.size + 1).count() > 1 {
        let detail = "The last rotation still overlaps: two keys sign. Rotate when it is over.";
        return Err(Problem::new("conflict", detail));
    }
    let vkey = tenant.generate_key(usage).map_err(ledger::ledger::Error::from)?;
    let text = vkey.to_string();
    let change = KeyChange { usage, vkey: KeyText(vkey), overlap };
    let index = app.record(&tenant, "key", &change).await?;
    Ok(Json(Rotated { vkey: text, index }))
}
