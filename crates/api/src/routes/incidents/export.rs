//! The export of an incident, by page.

use super::{READERS, number};
use crate::{
    app::App,
    auth::{self, Caller},
    incident::{self, At, Part, Parts},
    problem::{Code, Problem},
    query,
};
use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
};
use ledger::{system::Role, tenant::Tenant};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Most parts on a page of an export.
const PARTS_MAX: usize = 100;
/// A page of an export ends with the part that brings it to so many bytes.
const PARTS_BYTES: usize = 4 << 20;
/// Largest part: its entry twice, once in base64, with proof, checkpoint and disclosures.
const PART_BYTES_MAX: usize = 1 << 20;
/// Longest wait until the checkpoint of an export is kept for ever, which is so once its second is over.
const KEPT_WAIT: Duration = Duration::from_secs(10);
/// How often that is checked.
const KEPT_AGAIN: Duration = Duration::from_millis(100);

/// Which page of an export.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// The part from which to read on, `next` of the page before.
    from: Option<usize>,
    /// `size` of the first page: every receipt is then of the same checkpoint.
    size: Option<u64>,
}

/// A page of an incident with its proofs.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ExportedIncident {
    /// The log.
    origin: String,
    /// Leaf index of the entry that opened it.
    incident: u64,
    /// Tree size of the checkpoint in every receipt.
    size: u64,
    /// Number of its parts.
    count: usize,
    /// Parts in the order of their indexes.
    parts: Vec<ExportedPart>,
    /// The part from which to read on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

/// An entry of an incident.
#[derive(Serialize, utoipa::ToSchema)]
struct ExportedPart {
    /// Its leaf index.
    index: u64,
    /// `message`, `words`, `named`, `end` or `shows`.
    part: &'static str,
    /// The entry.
    #[schema(value_type = Object)]
    entry: serde_json::Value,
    /// Its receipt: a C2SP tlog-proof.
    receipt: String,
    /// Disclosures of its payload: of words; of other entries, if the key has the role discloser.
    disclosures: Vec<String>,
}

/// Export an incident: its entries with receipts of one checkpoint, and the words of its notes. An entry first records who reads them
#[utoipa::path(get, path = "/v1/tenants/{tenant}/incidents/{incident}", tag = "operation",
    params(("tenant" = String, Path), ("incident" = u64, Path), ExportQuery),
    responses((status = 200, body = ExportedIncident), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn export(
    State(app): State<Arc<App>>,
    Path((tenant, incident)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<ExportedIncident>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &READERS)?;
    let ExportQuery { from, size } = query::strict(raw.as_deref())?;
    let (incident, from) = (number(&incident)?, from.unwrap_or(0));
    app.ledger.catch_up(&tenant).await?;
    let (at, all) = found(&app, &tenant, incident, size).await?;
    let _memory = app.bodies.page(&tenant.name, PARTS_BYTES + PART_BYTES_MAX).await?;
    let (mut parts, mut bytes) = (Vec::new(), 0);
    for (index, part) in all.iter().skip(from).take(PARTS_MAX) {
        let made = made(&app, &tenant, &caller, (&at, *index, *part)).await?;
        let said = made.disclosures.iter().map(String::len).sum::<usize>();
        bytes += 2 * made.receipt.len() + said;
        parts.push(made);
        if bytes >= PARTS_BYTES {
            break;
        }
    }
    let (count, to) = (all.len(), from.saturating_add(parts.len()));
    let next = (to < count && !parts.is_empty()).then_some(to);
    let (origin, size) = (tenant.origin.clone(), at.size);
    Ok(Json(ExportedIncident { origin, incident, size, count, parts, next }))
}

/// The checkpoint of an export, and what belongs to the incident then.
///
/// Reading words makes entries, and the last checkpoint of a second takes the place of those before. So it waits until the
/// second is over: then the next page, and the next export, are of the same checkpoint.
async fn found(
    app: &App,
    tenant: &Tenant,
    incident: u64,
    size: Option<u64>,
) -> Result<(At, Parts), Problem> {
    let published = tenant.published();
    let below = size.unwrap_or(published.size);
    if below > published.size {
        let detail = format!("size: at most {}, the published size.", published.size);
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let collected = || incident::collect(&app.ledger.reader(tenant, &published), incident, below);
    let parts = tokio::task::block_in_place(collected)?.ok_or_else(Problem::not_found)?;
    let last = parts.last_key_value().map_or(0, |(last, _)| last + 1);
    let deadline = Instant::now() + KEPT_WAIT;
    loop {
        if let Some(at) = At::earliest(&app.ledger, tenant, size.unwrap_or(last).max(last))? {
            return Ok((at, parts));
        }
        if Instant::now() > deadline {
            let detail = "The checkpoint of this export is not kept yet. Try again.";
            return Err(Problem::new(Code::Busy, detail));
        }
        tokio::time::sleep(KEPT_AGAIN).await;
    }
}

/// One part. Payload leaves only after an entry says who reads it.
async fn made(
    app: &App,
    tenant: &Arc<Tenant>,
    caller: &Caller,
    (at, index, part): (&At, u64, Part),
) -> Result<ExportedPart, Problem> {
    let receipt = {
        let published = tenant.published();
        let reader = app.ledger.reader(tenant, &published);
        tokio::task::block_in_place(|| at.receipt(&reader, index))?
    };
    let mut disclosures = Vec::new();
    if part == Part::Words || caller.has(&[Role::Discloser]) {
        let left = || -> Result<Vec<Vec<u8>>, Problem> {
            let payload = app.ledger.reader(tenant, &tenant.published()).payload(index)?;
            Ok(payload.map(|payload| payload.disclosures).unwrap_or_default())
        };
        if !left()?.is_empty() {
            app.readings.note(&app.ledger, tenant, caller, index, None).await?;
            // Read again, so that payload that was erased meanwhile is not sent.
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            disclosures = left()?.into_iter().map(text).collect();
        }
    }
    let entry = serde_json::from_slice(&receipt.entry).unwrap_or_default();
    let (part, receipt) = (part.as_str(), receipt.to_string());
    Ok(ExportedPart { index, part, entry, receipt, disclosures })
}
