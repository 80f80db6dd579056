//! What a machine that joins the replicas is given: a copy of the database, and what its entries are compared with.

use super::{log, text};
use crate::{
    app::App,
    auth,
    problem::{Code, Problem},
    query,
    replicas::copies::{self, CopiedFile, Error},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use ledger::{tenant::Tenant, verify::KeysDocument};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// Which copy.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedCopy {
    /// Name of a copy that was made and is not fetched to its end. Without it, or if that one is gone, a new one is made.
    #[serde(default)]
    copy: Option<String>,
}

/// A copy of the database at one moment.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Copied {
    /// Its name: 16 hex digits.
    copy: String,
    /// Its files.
    files: Vec<CopiedFile>,
}

/// Where in the file.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Place {
    /// The first byte that is wanted.
    from: u64,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Many => Self::new(Code::Conflict, format!("{error}.")),
            Error::Gone => Self::new(Code::NotFound, format!("{error}.")),
            Error::Io(error) => Self::new(Code::Internal, format!("backup_dir: {error}")),
            Error::Store(error) => error.into(),
        }
    }
}

/// The folder of copies. Refuses who may not have them.
fn folder(app: &App, headers: &HeaderMap) -> Result<PathBuf, Problem> {
    auth::operator(&app.ledger, headers)?;
    if app.config.file.replica.is_none() {
        let detail = "This server signs alone: it has no [replica] in its configuration, and nobody joins it.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    app.config.file.backup_dir.clone().ok_or_else(|| {
        let detail =
            "Set backup_dir in the configuration of this replica first: the copy is made in it.";
        Problem::new(Code::Conflict, detail)
    })
}

fn named(copy: &str) -> Result<&str, Problem> {
    let wrong = || Problem::new(Code::BadRequest, "The name of a copy is 16 hex digits.");
    copies::is_name(copy).then_some(copy).ok_or_else(wrong)
}

/// Make a copy of the database for a machine that joins the replicas (operator key)
///
/// It is a folder of links in `backup_dir`, and is removed a day later.
#[utoipa::path(post, path = "/v1/replicas/copies", tag = "operation", request_body = WantedCopy,
    responses((status = 200, body = Copied), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn make(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Copied>, Problem> {
    auth::operator(&app.ledger, &headers)?;
    let WantedCopy { copy } = app.bodies.json(&headers, body).await?;
    copy.as_deref().map(named).transpose()?;
    let folder = folder(&app, &headers)?;
    let _alone = app.slow.lock().await;
    tokio::task::block_in_place(|| {
        let there = copy.and_then(|copy| Some((copies::files(&folder, &copy).ok()?, copy)));
        let (files, copy) = if let Some(there) = there {
            there
        } else {
            let copy = copies::make(&app.ledger, &folder)?;
            (copies::files(&folder, &copy)?, copy)
        };
        Ok(Json(Copied { copy, files }))
    })
}

/// A piece of a file of a copy, at most 8 MiB (operator key)
///
/// Empty at the end of the file.
#[utoipa::path(get, path = "/v1/replicas/copies/{copy}/{file}", tag = "operation",
    params(("copy" = String, Path), ("file" = String, Path), Place),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn piece(
    State(app): State<Arc<App>>,
    Path((copy, file)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    auth::operator(&app.ledger, &headers)?;
    let Place { from } = query::strict(raw.as_deref())?;
    let copy = named(&copy)?;
    let folder = folder(&app, &headers)?;
    let read = || copies::piece(&folder, (copy, &file), from);
    let piece = tokio::task::block_in_place(read)?;
    Ok(text("application/octet-stream", piece))
}

/// Remove a copy that was fetched, or is not wanted any more (operator key)
#[utoipa::path(delete, path = "/v1/replicas/copies/{copy}", tag = "operation", params(("copy" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Path(copy): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    auth::operator(&app.ledger, &headers)?;
    let copy = named(&copy)?;
    let folder = folder(&app, &headers)?;
    let removed = tokio::task::block_in_place(|| copies::remove(&folder, copy));
    removed.map_err(Error::Io)?;
    Ok(StatusCode::NO_CONTENT)
}

fn tenant_of(app: &App, headers: &HeaderMap, tenant: &str) -> Result<Arc<Tenant>, Problem> {
    auth::operator(&app.ledger, headers)?;
    app.ledger.tenant(tenant).ok_or_else(Problem::not_found)
}

/// The newest checkpoint that this replica shows of a tenant's log (operator key)
#[utoipa::path(get, path = "/v1/replicas/logs/{tenant}/checkpoint", tag = "operation", params(("tenant" = String, Path)),
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn checkpoint(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = tenant_of(&app, &headers, &tenant)?;
    let note = log::newest(&tenant)?;
    Ok(text("text/plain; charset=utf-8", note))
}

/// The keys document of a tenant's log (operator key)
#[utoipa::path(get, path = "/v1/replicas/logs/{tenant}/keys", tag = "operation", params(("tenant" = String, Path)),
    responses((status = 200, body = Object), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn keys(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<KeysDocument>, Problem> {
    let tenant = tenant_of(&app, &headers, &tenant)?;
    log::document(&app, &tenant).map(Json)
}

/// A hash tile of a tenant's log, `{level}/{number}[.p/{width}]` (operator key)
#[utoipa::path(get, path = "/v1/replicas/logs/{tenant}/tile/{path}", tag = "operation",
    params(("tenant" = String, Path), ("path" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn tile(
    State(app): State<Arc<App>>,
    Path((tenant, path)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = tenant_of(&app, &headers, &tenant)?;
    if path.starts_with("entries/") {
        return Err(Problem::not_found());
    }
    let bytes = log::bytes_of(&app, &tenant, (&path, &uri)).await?;
    Ok(text("application/octet-stream", bytes))
}
