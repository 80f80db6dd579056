//! Tenants, erasure, backup.

use crate::{
    act::{self, Act, Why},
    app::App,
    auth::{self, Caller},
    problem::{Code, Problem},
    tenants,
};
use approvals::worker::Worker;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use ledger::{
    chores,
    gone::{Erasure, Leaf},
    ident::Ident,
    system::{By, Role},
    tenant::Tenant,
    verify,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    fs::{DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    sync::Arc,
};

/// A new tenant.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// `[a-z0-9][a-z0-9-]{0,62}`.
    #[schema(value_type = String)]
    tenant: Ident,
    /// Why, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// The new tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MadeTenant {
    tenant: String,
    /// The log's name.
    origin: String,
    /// The log's public key: give it to auditors by a way that is not this server.
    vkey: String,
    /// The first admin key: shown once.
    key: String,
}

/// Make a tenant (operator key)
#[utoipa::path(post, path = "/v1/tenants", tag = "operation", request_body = NewTenant,
    responses((status = 201, body = MadeTenant), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn create_tenant(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MadeTenant>), Problem> {
    let by = auth::operator(&app.ledger, &headers)?;
    let NewTenant { tenant: name, reason: why } = app.bodies.json(&headers, body).await?;
    super::replicas::not_yet(&app, "a tenant can't be made by a running server")?;
    let _alone = app.slow.lock().await;
    let key = tenants::create(&app, &name, Act { by, why }, None).await?;
    let tenant = app.ledger.tenant(name.as_str()).ok_or_else(Problem::not_found)?;
    let published = tenant.published();
    let vkey = published.keys.log.last().map(|key| key.vkey.0.to_string()).unwrap_or_default();
    let made = MadeTenant { tenant: name.to_string(), origin: tenant.origin.clone(), vkey, key };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Most bytes of field names in one erasure, as JSON. With the messages that it names, they must fit into an
/// entry.
const FIELDS_BYTES_MAX: usize = 16 * 1024;

/// Most entries whose payload one request erases.
const ERASED_AT_ONCE_MAX: usize = 100;

/// Payload to erase.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Leaf indexes of the entries, 1 to 100. Old files are rewritten once for all of them.
    #[schema(min_items = 1, max_items = 100)]
    indexes: Vec<u64>,
    /// Names of the fields; all if absent.
    #[serde(default)]
    fields: Option<Vec<String>>,
    /// Whether an approval that still needs them is cancelled; otherwise the erasure is refused (409).
    #[serde(default)]
    cancel: bool,
    /// Why, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// Result of an erasure.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Erased {
    /// Leaf indexes of the `erasure` entries, in the order of `indexes`.
    entries: Vec<u64>,
    /// `complete`: the bytes are nowhere in the data directory; `pending`: the journal could not be reached yet.
    status: &'static str,
}

/// Erase payload of entries: on disk, in the write-ahead log and in the journal
///
/// Nothing is erased unless all of it can be.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/erasures", tag = "operation",
    params(("tenant" = String, Path)), request_body = Erase,
    responses((status = 200, body = Erased), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn erase(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Erased>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let Erase { indexes, fields, cancel, reason: why } = app.bodies.json(&headers, body).await?;
    let last = last_of(&indexes)?;
    if last >= super::published_with(&app, &tenant, last).await?.size {
        return Err(Problem::not_found());
    }
    let mut erasures = Vec::with_capacity(indexes.len());
    for index in indexes {
        let erasure = what_goes(&app, &tenant, index, caller.by()).await?;
        let erasure = Erasure { fields: fields.clone(), ..erasure };
        check_erasure(&app, &tenant, &erasure)?;
        erasures.push(erasure);
    }
    let _alone = app.slow.lock().await;
    if let Some(hold) = tenant.position().retention.holds.into_keys().next() {
        return Err(ledger::Error::Held(hold).into());
    }
    let cancel = cancel.then_some(&caller);
    if cancel.is_none() {
        erasures.iter().try_for_each(|erasure| spare_live_call(&app, &tenant, erasure))?;
    }
    let reason = act::keep_reason(&app.ledger, &tenant, "erasure", why.as_ref()).await?;
    let mut entries = Vec::with_capacity(erasures.len());
    for mut erasure in erasures {
        match cancel {
            Some(caller) => cancel_live_call(&app, &tenant, &erasure, caller).await?,
            // It may have been opened meanwhile.
            None => spare_live_call(&app, &tenant, &erasure)?,
        }
        erasure.reason.clone_from(&reason);
        entries.push(chores::erase(&app.ledger, &tenant, &erasure).await?);
    }
    let status = match chores::complete_erasures(&app.ledger, &tenant).await {
        Ok(0) => "complete",
        Ok(_) => "pending",
        Err(error) => {
            tracing::warn!(tenant = %tenant.name, %error, "an erasure is not complete yet");
            "pending"
        }
    };
    Ok(Json(Erased { entries, status }))
}

/// The greatest of the indexes. Refuses too many, none, and one that is named twice.
fn last_of(indexes: &[u64]) -> Result<u64, Problem> {
    let mut sorted = indexes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    match sorted.last() {
        Some(last) if sorted.len() == indexes.len() && indexes.len() <= ERASED_AT_ONCE_MAX => {
            Ok(*last)
        }
        _ => {
            let detail =
                format!("indexes: 1 to {ERASED_AT_ONCE_MAX} leaf indexes, none of them twice.");
            Err(Problem::new(Code::BadRequest, detail))
        }
    }
}

/// The erasure of an entry's payload: its journal message and its repetitions. Further repetitions are named
/// right after it.
async fn what_goes(
    app: &App,
    tenant: &Tenant,
    index: u64,
    by: By,
) -> Result<Erasure<Leaf>, Problem> {
    let repeats = app.ledger.places_of_repeats(tenant, index, chores::REPEATS_MAX)?;
    Ok(app.ledger.erasure(tenant, index, &repeats, by).await?)
}

/// The approval that is not over and needs what this erases: reviewers, and an enforcer that will redeem, need
/// the call.
fn live_call(app: &App, tenant: &Tenant, erasure: &Erasure<Leaf>) -> Option<(Arc<Worker>, Ident)> {
    let call = ["params", "nonce"];
    let fields = erasure.fields.as_ref();
    if fields.is_some_and(|fields| !fields.iter().any(|field| call.contains(&field.as_str()))) {
        return None;
    }
    let worker = app.worker(&tenant.name)?;
    let id = worker.lists.needs_params_of(erasure.index)?;
    Some((worker, id))
}

/// Refuses to erase a call that an approval still needs.
fn spare_live_call(app: &App, tenant: &Tenant, erasure: &Erasure<Leaf>) -> Result<(), Problem> {
    let Some((_, id)) = live_call(app, tenant, erasure) else { return Ok(()) };
    let detail = format!(
        "Approval {id} is not over and needs this call. Wait for its end, or send \"cancel\": true (`countersign erase --cancel`) to cancel it too."
    );
    Err(Problem::new(Code::Conflict, detail))
}

/// Cancels the approval that still needs the call.
async fn cancel_live_call(
    app: &App,
    tenant: &Tenant,
    erasure: &Erasure<Leaf>,
    caller: &Caller,
) -> Result<(), Problem> {
    let Some((worker, id)) = live_call(app, tenant, erasure) else { return Ok(()) };
    let by = format!("admin:{}", caller.key.key_id);
    let done = worker.commands.cancel(&id, &by, "erased").await?;
    done.refused.map_or(Ok(()), |refusal| Err(Problem::refusal(refusal)))
}

/// Refuses a misspelt field, which must not look erased. Once some fields of the entry are gone, their names
/// are unknown; then asking for them again does no harm.
fn check_erasure(app: &App, tenant: &Tenant, erasure: &Erasure<Leaf>) -> Result<(), Problem> {
    let Some(fields) = &erasure.fields else { return Ok(()) };
    if ledger::canonical::of(fields).len() > FIELDS_BYTES_MAX {
        let detail = format!(
            "fields: at most {FIELDS_BYTES_MAX} bytes of names at once. Erase them in parts, or leave it out for all."
        );
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let published = tenant.published();
    let payload = app.ledger.reader(tenant, &published).payload(erasure.index)?.unwrap_or_default();
    let names = verify::disclosed_names(&payload);
    let intact = payload.commit_salt.is_some();
    let unknown = fields.iter().any(|field| !names.contains(field));
    if fields.is_empty() || (intact && unknown) {
        let detail = format!("fields: some of {}; leave it out for all.", names.join(", "));
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(())
}

/// Destination of a backup.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBackup {
    /// Name of a new folder inside `backup_dir`.
    #[schema(value_type = String)]
    name: Ident,
}

/// Write a consistent copy of the database (operator key)
#[utoipa::path(post, path = "/v1/backup", tag = "operation", request_body = NewBackup,
    responses((status = 200, body = Object), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn backup(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Problem> {
    auth::operator(&app.ledger, &headers)?;
    let NewBackup { name } = app.bodies.json(&headers, body).await?;
    let Some(folder) = &app.config.file.backup_dir else {
        return Err(Problem::new(Code::Conflict, "Set backup_dir in the configuration first."));
    };
    let _alone = app.slow.lock().await;
    let path = folder.join(name.as_str());
    if path.exists() {
        return Err(Problem::new(Code::Conflict, "A backup of that name exists."));
    }
    tokio::task::block_in_place(|| {
        let failed = |e: std::io::Error| Problem::new(Code::Internal, format!("backup_dir: {e}"));
        let private = Permissions::from_mode(0o700);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        app.ledger.copy_to(&path)?;
        std::fs::set_permissions(&path, private).map_err(failed)
    })?;
    Ok(Json(json!({"path": path})))
}
