//! Entries that are in a verified export are removed here.

use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use ledger::{
    Ledger,
    log::merkle::Hash,
    pruning::{self, Proposed, Refused},
    store,
    system::{
        Role,
        prune::{Exported, Prune},
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What shall be pruned.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedPruning {
    /// Entries before this leaf index shall go, as far as whole bundles of 256 entries fit.
    until: u64,
    /// The export that has them. Whoever asks has verified it.
    export: WantedExport,
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
}

/// An export of this log.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedExport {
    /// Number of its entries.
    size: u64,
    /// Root hash of its tree, in base64.
    #[schema(value_type = String)]
    root: Hash,
    /// SHA-256 of its manifest (`proto/formats/export.md`), 64 lower-case hex digits.
    sha256: String,
}

/// Result of a pruning.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PruningDone {
    /// Leaf index of the `prune` entry.
    index: u64,
    /// The bundles of entries before this leaf index go.
    size: u64,
    /// `pruned`: they are gone; `pending`: the server goes on with it.
    status: &'static str,
}

/// The last pruning.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownPruning {
    /// Leaf index of its entry.
    index: u64,
    /// Every entry from this leaf index on is here.
    size: u64,
    /// `pruned`: the entries before it are gone; `pending`: not all of them.
    status: &'static str,
}

/// The last pruning of a log.
pub(super) fn shown(
    ledger: &Ledger,
    tenant: &Tenant,
) -> Result<Option<ShownPruning>, store::Error> {
    Ok(pruning::last(ledger, tenant)?.map(|(pruned, done)| ShownPruning {
        index: pruned.index,
        size: pruned.size,
        status: if done { "pruned" } else { "pending" },
    }))
}

/// Remove the bundles of old entries that are in a verified export: tiles and roots stay, so every proof stays valid
#[utoipa::path(post, path = "/v1/tenants/{tenant}/prunings", tag = "operation",
    params(("tenant" = String, Path)), request_body = WantedPruning,
    responses((status = 200, body = PruningDone), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn prune(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PruningDone>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let wanted: WantedPruning = app.bodies.json(&headers, body).await?;
    let WantedPruning { until, export, reason } = wanted;
    let WantedExport { size, root, sha256 } = export;
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if sha256.len() != 64 || !sha256.bytes().all(hex) {
        let detail = "export.sha256: 64 lower-case hex digits.";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let _alone = app.slow.lock().await;
    app.ledger.catch_up(&tenant).await?;
    if let Some(hold) = tenant.position().retention.holds.into_keys().next() {
        return Err(ledger::Error::Held(hold).into());
    }
    let needed = app.worker(&tenant.name).and_then(|worker| worker.needs_entries_from());
    let export = Exported { size, root, sha256 };
    let proposed = pruning::propose(&app.ledger, &tenant, (until, &export), needed).await?;
    let Proposed { size, root, time, families } = proposed.map_err(|why| refused(&why))?;
    let why = act::keep_reason(&app.ledger, &tenant, "prune", Some(&reason)).await?;
    let by = caller.by();
    let prune = Prune { size, root, time, export, families, by, reason: why };
    let index = act::record(&app.ledger, &tenant, "prune", &prune).await?;
    let done = pruning::complete(&app.ledger, &tenant).await?;
    let status = if done { "pruned" } else { "pending" };
    Ok(Json(PruningDone { index, size, status }))
}

fn refused(refused: &Refused) -> Problem {
    let text = refused.to_string();
    let (first, rest) = text.split_at(1);
    Problem::new(Code::Conflict, format!("{}{rest}. Nothing was pruned.", first.to_uppercase()))
}
