//! API keys and signing keys of a tenant, for admins only.

mod journal;

use crate::{
    act::{self, Act, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    query,
    reviewed::{self, Acted, Waiting},
    routes::erasures::Missing,
    tenants::{self, KeyWanted},
};
use approvals::worker::Worker;
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use decider::rule::{KEY_ISSUE, POWER};
use ledger::{
    ident::Ident,
    system::{Access, AccessKey, By, KeyChange, KeyId, KeyText, KeyUse, OVERLAP_MAX, Role},
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Longest label of a key, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most API keys of a tenant.
const KEYS_MAX: usize = 10_000;

/// A new API key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// publisher, enforcer, reviewer, author, responder, exporter, auditor, discloser, admin.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    /// For publisher and enforcer.
    #[schema(value_type = Option<String>)]
    producer: Option<Ident>,
    /// Person of the key: required for reviewer, author and responder, not allowed for publisher and enforcer.
    #[schema(value_type = Option<String>)]
    person: Option<Ident>,
    /// A label for people.
    #[serde(default)]
    name: String,
    /// Why it is issued, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
    /// The approval of exactly this key, if the rules in force ask people about keys of power.
    #[schema(value_type = Option<String>)]
    approval: Option<Ident>,
}

impl NewKey {
    fn check(&self) -> Result<(), Problem> {
        let wrong = |detail: &str| Err(Problem::new(Code::BadRequest, detail));
        let is = |role| self.roles.contains(&role);
        if self.roles.is_empty() {
            return wrong("roles: at least one.");
        }
        let of_a_person = [
            (Role::Reviewer, "A reviewer key belongs to one person and carries nothing else."),
            (Role::Author, "An author key belongs to one person and carries nothing else."),
            (Role::Responder, "A responder key belongs to one person and carries nothing else."),
        ];
        for (role, what) in of_a_person {
            if is(role) && (self.roles.len() > 1 || self.person.is_none()) {
                return wrong(what);
            }
        }
        if self.producer.as_ref().is_some_and(|p| ledger::event::is_reserved_tool(p.as_str())) {
            return wrong(
                "producer: names that begin with `countersign` are ours; choose another.",
            );
        }
        if (is(Role::Publisher) || is(Role::Enforcer)) != self.producer.is_some() {
            return wrong("producer: given exactly with the roles publisher and enforcer.");
        }
        if self.person.is_some() && self.producer.is_some() {
            return wrong(
                "person: not given with the roles publisher and enforcer, which are a producer's.",
            );
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
    /// A note about the person, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// What is said of somebody who is not among the people in force. `so`: what follows from it.
pub(super) fn note(worker: Option<&Worker>, person: &Ident, so: &str) -> Option<String> {
    let setup = worker.and_then(|worker| worker.readiness().rules.known().ok());
    let known = setup.is_some_and(|setup| setup.people.contains_key(person));
    (!known).then(|| format!("{person} is not among the people in force: {so}"))
}

/// Issue an API key
#[utoipa::path(post, path = "/v1/tenants/{tenant}/keys", tag = "operation",
    params(("tenant" = String, Path)), request_body = NewKey,
    responses((status = 201, body = IssuedKey), (status = 202, body = Waiting), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn add(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let new: NewKey = app.bodies.json(&headers, body).await?;
    new.check()?;
    if app.ledger.access_keys(&tenant)?.len() >= KEYS_MAX {
        return Err(Problem::new(Code::Conflict, "A tenant has at most 10000 keys; remove some."));
    }
    let NewKey { mut roles, producer, person, name, reason: why, approval } = new;
    roles.sort_unstable();
    roles.dedup();
    let worker = app.worker(&tenant.name);
    let params = json!({"roles": roles, "producer": producer, "person": person, "name": name});
    let power = roles.iter().any(|role| POWER.contains(&json!(role).as_str().unwrap_or_default()));
    let comment = why.as_ref().map(ToString::to_string);
    let asked = worker.as_deref().filter(|_| power);
    let so = if roles.contains(&Role::Reviewer) {
        "until they stand in people.toml and `countersign rules apply` was run, this key opens nothing."
    } else {
        "the key works, and entries will name them all the same."
    };
    let note = person.as_ref().and_then(|person| note(worker.as_deref(), person, so));
    let wanted = KeyWanted { roles, producer, person, name };
    let act = (KEY_ISSUE, &params, comment);
    let issue =
        |by| async move { Ok(tenants::issue_key(&app, &tenant, wanted, Act { by, why }).await?) };
    match reviewed::act(asked, &caller, act, approval.as_ref(), issue).await? {
        Acted::Waits(waiting) => Ok(super::waits(waiting)),
        Acted::Done(key) => {
            Ok((StatusCode::CREATED, Json(IssuedKey { key, note })).into_response())
        }
    }
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
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    Ok(Json(app.ledger.access_keys(&tenant)?))
}

/// Options of a removal.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RemoveQuery {
    /// `true`: also if it is the tenant's last key of role admin.
    last_admin: Option<String>,
}

/// Body of a removal.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Why, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// Remove an API key; it is not valid once this answers. The body may give a reason
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/keys/{key_id}", tag = "operation",
    params(("tenant" = String, Path), ("key_id" = String, Path), RemoveQuery), request_body = Option<Removal>,
    responses((status = 204), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Path((tenant, key_id)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let RemoveQuery { last_admin } = query::strict(raw.as_deref())?;
    query::one_of("last_admin", last_admin.as_deref(), &["true", "false"])?;
    let Removal { reason: why } = app.bodies.json_if_any(&headers, body).await?;
    let key_id = KeyId::new(&key_id).ok_or_else(Problem::not_found)?;
    // Two admins that remove each other at once would leave none.
    let _alone = app.key_removal.lock().await;
    let mut keys = app.ledger.access_keys(&tenant)?;
    if !keys.iter().any(|key| key.key_id == key_id) {
        // Another server may have made it a moment ago.
        app.ledger.catch_up(&tenant).await?;
        keys = app.ledger.access_keys(&tenant)?;
    }
    let key = keys.iter().find(|key| key.key_id == key_id).ok_or_else(Problem::not_found)?;
    let is_admin = |key: &AccessKey| key.roles.contains(&Role::Admin);
    let others = keys.iter().filter(|other| is_admin(other) && other.key_id != key_id).count();
    if is_admin(key) && others == 0 && last_admin.as_deref() != Some("true") {
        let detail = "This is the tenant's last admin key: without one, only `countersign init --new-admin-key` on the \
                      server's machine makes another. Issue another one first; or, if you mean it, repeat with \
                      ?last_admin=true (`countersign key remove --last-admin`).";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let reason = act::keep_reason(&app.ledger, &tenant, "access", why.as_ref()).await?;
    let removal = Access::Remove { key_id, by: caller.by(), reason };
    act::record_everywhere(&app.ledger, &tenant, "access", &removal).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The signing key to replace.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// log, journal, token or agent.
    #[serde(rename = "use")]
    #[schema(value_type = String)]
    usage: KeyUse,
    /// For the log key: how many more entries the old key signs beside the new one.
    #[serde(default)]
    overlap: u64,
    /// Why, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// Result of a rotation.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Rotated {
    /// The new public key.
    vkey: String,
    /// Leaf index of the `key` entry.
    index: u64,
    /// For the journal key of replicas: those that do not show that entry yet. The key before it counts beside the new one until the
    /// same request is repeated. Absent otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Missing>,
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
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let Rotation { usage, overlap, reason: why } = app.bodies.json(&headers, body).await?;
    if overlap > OVERLAP_MAX {
        return Err(Problem::new(
            Code::BadRequest,
            format!("overlap: at most {OVERLAP_MAX} entries."),
        ));
    }
    if usage == KeyUse::Journal && app.config.file.replica.is_some() {
        return journal::rotate(&app, &tenant, (caller.by(), why)).await.map(Json);
    }
    let (text, index) = rotated(&app, &tenant, (usage, overlap), (caller.by(), why)).await?;
    Ok(Json(Rotated { vkey: text, index, missing: Vec::new() }))
}

/// Replaces a signing key. Returns the new one, and the leaf index of its entry.
pub(super) async fn rotated(
    app: &App,
    tenant: &Arc<Tenant>,
    (usage, overlap): (KeyUse, u64),
    (by, why): (By, Option<Why>),
) -> Result<(String, u64), Problem> {
    let with_replicas = app.config.file.replica.is_some();
    let _alone = app.slow.lock().await;
    // The claim on its way is signed with the key in force: rotated away before it is posted, it would be rejected.
    let acts = if with_replicas { tenant.shows() } else { tenant.signs() };
    if !acts && tenant.halted().is_none() {
        return Err(ledger::Error::Behind.into());
    }
    let published = tenant.published();
    if usage == KeyUse::Log && published.keys.signing(published.size + 1).count() > 1 {
        let detail = "The last rotation still overlaps: two keys sign. Rotate when it is over.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let worker = app.worker(&tenant.name);
    // Decisions on their way are signed with the key in force: wait until they are posted.
    let none_on_its_way = match &worker {
        Some(worker) => Some(worker.readiness().change_rules().await),
        None => None,
    };
    let vkey = if with_replicas {
        super::replicas::key_of_all(app, tenant, usage).await?
    } else {
        tenant.generate_key(usage).map_err(ledger::Error::from)?
    };
    let text = vkey.to_string();
    let reason = act::keep_reason(&app.ledger, tenant, "key", why.as_ref()).await?;
    let change = KeyChange { usage, vkey: KeyText(vkey), overlap, beside: false, by, reason };
    let index = act::record(&app.ledger, tenant, "key", &change).await?;
    drop(none_on_its_way);
    Ok((text, index))
}
