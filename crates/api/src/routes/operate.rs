//! Tenants and backup.

use crate::{
    act::{Act, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    routes::erasures::Missing,
    tenants::{self, Founded},
    witness,
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use ledger::{ident::Ident, log::members::MemberSet};
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
    /// The first policy for those who verify (C2SP tlog-policy), which names the replicas. Absent without replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The replicas that do not have the tenant yet: they take it up when they are back. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Missing>,
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
    let _alone = app.slow.lock().await;
    let act = Act { by, why };
    let (key, founded) = if app.config.file.replica.is_some() {
        let Founded { key, members, missing } = tenants::found(&app, &name, act).await?;
        (key, Some((members, missing)))
    } else {
        (tenants::create(&app, &name, act, None).await?, None)
    };
    let tenant = app.ledger.tenant(name.as_str()).ok_or_else(Problem::not_found)?;
    let published = tenant.published();
    let log_key = published.keys.log.last().map(|key| &key.vkey.0);
    let vkey = log_key.map(ToString::to_string).unwrap_or_default();
    let (members, missing) = founded.unwrap_or_default();
    let missing = missing.into_iter().map(Missing::from).collect();
    let policy = log_key.filter(|_| !members.is_empty());
    // The genesis of the log names them: its set 0.
    let first = MemberSet::first(members);
    let witnesses = &app.config.file.witness;
    let policy = policy.and_then(|key| witness::first_policy(key, Some(&first), witnesses).ok());
    let (tenant, origin) = (name.to_string(), tenant.origin.clone());
    let made = MadeTenant { tenant, origin, vkey, key, policy, missing };
    Ok((StatusCode::CREATED, Json(made)))
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
