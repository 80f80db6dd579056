//! The log as C2SP tlog-tiles serves it: checkpoint, tiles, entry bundles. Also the keys document.

use super::text;
use crate::{
    app::App,
    auth::{self, ANY, READERS},
    problem::Problem,
    query,
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::Response,
};
use ledger::{
    Error,
    log::{checkpoint::Checkpoint, members::MemberSet, merkle, receipt::Receipt, tile::Tile},
    reader::{Published, Reader},
    store,
    system::Role,
    tenant::Tenant,
    verify::{DocumentedKey, DocumentedMembers, KeysDocument},
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// The tenant of a log route. Number 1 is the only log of this release. Public tiles need no key.
fn tenant_of(
    app: &App,
    headers: &HeaderMap,
    tenant: &str,
    n: &str,
    roles: &[Role],
    public: bool,
) -> Result<Arc<Tenant>, Problem> {
    let open = public && app.config.file.public_tiles.iter().any(|name| name == tenant);
    let tenant = match app.ledger.tenant(tenant) {
        Some(tenant) if open => tenant,
        _ => auth::caller(&app.ledger, headers, tenant, roles)?.0,
    };
    if n == "1" { Ok(tenant) } else { Err(Problem::not_found()) }
}

fn cached(mut response: Response, rule: &'static str) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(rule));
    response
}

/// Which checkpoint is asked for.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// The earliest kept checkpoint of a tree of this size or larger, instead of the newest one.
    covers: Option<u64>,
    /// `true`: one that outside witnesses have cosigned, with their cosignatures; with `covers`, of that size or larger.
    witnessed: Option<String>,
}

/// The newest signed checkpoint, or the earliest kept one that covers a size
#[utoipa::path(get, path = "/v1/tenants/{tenant}/logs/{n}/checkpoint", tag = "log",
    params(("tenant" = String, Path), ("n" = u32, Path), Wanted),
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)),
    security((), ("key" = [])))]
pub async fn checkpoint(
    State(app): State<Arc<App>>,
    Path((tenant, n)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = tenant_of(&app, &headers, &tenant, &n, ANY, true)?;
    let Wanted { covers, witnessed } = query::strict(uri.query())?;
    query::one_of("witnessed", witnessed.as_deref(), &["true", "false"])?;
    if witnessed.as_deref() == Some("true") {
        let note = app.witnesses.witnessed(&tenant, covers.unwrap_or(0));
        let note = note.ok_or_else(|| super::not_witnessed(&app, &tenant))?;
        return Ok(text("text/plain; charset=utf-8", note));
    }
    let published = match covers.and_then(|size| size.checked_sub(1)) {
        Some(last) => super::published_with(&app, &tenant, last).await?,
        None => tenant.published(),
    };
    if covers.is_some_and(|size| size > published.size) {
        return Err(Problem::not_found());
    }
    if let Some(size) = covers
        && let Some(note) = kept(&app, &tenant, size).await?
    {
        let note = app.witnesses.with_cosignatures(&tenant, note);
        return Ok(text("text/plain; charset=utf-8", note));
    }
    let note = app.witnesses.with_cosignatures(&tenant, newest(&tenant)?);
    Ok(text("text/plain; charset=utf-8", note))
}

/// The newest checkpoint, as the log and its replicas have signed it.
pub(super) fn newest(tenant: &Tenant) -> Result<String, Problem> {
    let published = tenant.published();
    if published.checkpoint.is_empty() {
        return Err(tenant
            .halted()
            .map_or_else(Problem::not_found, |reason| Error::Halted(reason).into()));
    }
    Ok(published.checkpoint.clone())
}

/// The earliest kept checkpoint of a tree of `size` or larger, once it can't change any more: it is the last one of a
/// second that is over. So everybody who asks gets the same one.
async fn kept(app: &App, tenant: &Tenant, size: u64) -> Result<Option<String>, Problem> {
    let mut found = None;
    // A clock that was set back must not hold the answer up for ever.
    for _ in 0..2 {
        found = app.ledger.earliest_checkpoint(tenant, size)?;
        let now = app.ledger.now();
        let is_over = found.as_ref().is_none_or(|kept| kept.second < now.seconds());
        if is_over {
            break;
        }
        let rest = 1_000_000_000 - now.0 % 1_000_000_000;
        tokio::time::sleep(Duration::from_nanos(rest)).await;
    }
    // One that is kept and not published yet is shown to nobody.
    let published = tenant.published().size;
    Ok(found.filter(|kept| kept.size <= published).map(|kept| kept.note))
}

/// A hash tile (`{level}/{number}[.p/{width}]`) or an entry bundle (`entries/{number}[.p/{width}]`)
#[utoipa::path(get, path = "/v1/tenants/{tenant}/logs/{n}/tile/{path}", tag = "log",
    params(("tenant" = String, Path), ("n" = u32, Path), ("path" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "4XX", body = Problem)),
    security((), ("key" = [])))]
pub async fn tile(
    State(app): State<Arc<App>>,
    Path((tenant, n, path)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_bundle = path.starts_with("entries/");
    let roles = if is_bundle { READERS } else { ANY };
    let public = app.config.file.public_tiles.contains(&tenant) && !is_bundle;
    let tenant = tenant_of(&app, &headers, &tenant, &n, roles, !is_bundle)?;
    let bytes = bytes_of(&app, &tenant, (&path, &uri)).await?;
    let response = text("application/octet-stream", bytes);
    // A tile that was served once never changes.
    Ok(cached(
        response,
        if public {
            "public, max-age=31536000, immutable"
        } else {
            "private, max-age=31536000, immutable"
        },
    ))
}

/// The bytes of a tile or entry bundle. `path`: what follows `/tile/`.
pub(super) async fn bytes_of(
    app: &App,
    tenant: &Tenant,
    (path, uri): (&str, &Uri),
) -> Result<Vec<u8>, Problem> {
    // A tile has one spelling. A path that had to be decoded is another spelling.
    let plain = uri.path().ends_with(&format!("/tile/{path}"));
    let tile = Tile::parse(path).filter(|_| plain).ok_or_else(Problem::not_found)?;
    // Index of the last leaf below the tile. An overflow means that no tree can have the tile.
    let leaves = 256_u64.checked_pow(u32::from(tile.level.unwrap_or(0)));
    let end = tile.number.checked_mul(256).and_then(|first| first.checked_add(tile.width as u64));
    let last = end.zip(leaves).and_then(|(end, leaves)| end.checked_mul(leaves)?.checked_sub(1));
    let last = last.ok_or_else(Problem::not_found)?;
    let published = super::published_with(app, tenant, last).await?;
    let bytes = app.ledger.reader(tenant, &published).tile(&tile)?;
    bytes.ok_or_else(Problem::not_found)
}

/// The keys that sign this log, with the proofs that hand over from one to the next
#[utoipa::path(get, path = "/v1/tenants/{tenant}/logs/{n}/keys", tag = "log",
    params(("tenant" = String, Path), ("n" = u32, Path)),
    responses((status = 200, body = Object), (status = "4XX", body = Problem)), security((), ("key" = [])))]
pub async fn keys(
    State(app): State<Arc<App>>,
    Path((tenant, n)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<KeysDocument>, Problem> {
    let tenant = tenant_of(&app, &headers, &tenant, &n, ANY, true)?;
    document(&app, &tenant).map(Json)
}

/// The keys document of a log.
pub(super) fn document(app: &App, tenant: &Tenant) -> Result<KeysDocument, Problem> {
    let published = tenant.published();
    let reader = app.ledger.reader(tenant, &published);
    let mut keys = Vec::new();
    for key in &published.keys.log {
        let receipt =
            if key.index == 0 { None } else { hand_over(app, tenant, &reader, key.index)? };
        keys.push(DocumentedKey {
            vkey: key.vkey.clone(),
            first_size: key.first_size,
            last_size: key.last_size,
            index: key.index,
            receipt,
        });
    }
    let members = steps(app, tenant, &published)?;
    Ok(KeysDocument { origin: tenant.origin.clone(), keys, members })
}

/// The changes of the replicas that are shown, each with its receipt under a checkpoint of both sets. It ends before one whose
/// receipt is not here yet.
fn steps(
    app: &App,
    tenant: &Tenant,
    published: &Published,
) -> Result<Vec<DocumentedMembers>, Problem> {
    let mut steps = Vec::new();
    let shown = published.keys.members.iter().filter(|set| set.version > 0);
    for MemberSet { version, index, .. } in shown {
        let Some(receipt) = app.ledger.step(tenant, *version)? else { break };
        steps.push(DocumentedMembers { version: *version, index: *index, receipt });
    }
    Ok(steps)
}

/// The receipt of a key entry, under the checkpoint of its own commit, which both keys signed.
fn hand_over(
    app: &App,
    tenant: &Tenant,
    reader: &Reader<'_>,
    index: u64,
) -> Result<Option<String>, Problem> {
    let Some(entry) = reader.entry(index)? else { return Ok(None) };
    // Not kept: a backup from before the rotation was restored and has caught up. Signed again while the old key is there.
    let (size, checkpoint) = match app.ledger.handover(tenant, index + 1)? {
        Some(found) => found,
        None => match sign_again(tenant, reader, index + 1)? {
            Some(checkpoint) => (index + 1, checkpoint),
            None => return Ok(None),
        },
    };
    let path = merkle::inclusion(reader, index, size)?;
    let receipt = Receipt { entry, index, path, checkpoint };
    if !receipt.leads_to(&merkle::root_at(reader, size)?) {
        return Err(
            store::Error::Corrupt { family: "rotations", what: "a receipt of a key" }.into()
        );
    }
    Ok(Some(receipt.to_string()))
}

/// The checkpoint of an earlier size, signed by the keys of that size; `None` if their files are gone.
fn sign_again(tenant: &Tenant, reader: &Reader<'_>, size: u64) -> Result<Option<String>, Problem> {
    let root = merkle::root_at(reader, size)?;
    let checkpoint = Checkpoint { origin: tenant.origin.clone(), size, root };
    Ok(tenant.sign(&checkpoint, reader.at.keys.signing(size)).ok())
}
