//! `GET T/receipts` and `GET T/proofs/consistency`.

use super::text;
use crate::{
    app::App,
    auth::{self, ANY, READERS},
    problem::{Code, Problem},
    query,
};
use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use ledger::{
    disclosure::Scope, entry::View, log::receipt::Receipt, reader::Published, tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Instant};

/// Which receipt: by index, or by what makes an event unique.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReceiptQuery {
    /// Leaf index.
    index: Option<u64>,
    /// Producer.
    producer: Option<String>,
    /// CloudEvents source.
    source: Option<String>,
    /// CloudEvents id.
    id: Option<String>,
    /// `true`: of our decision about the question with this source and id.
    ours: Option<String>,
    /// `true`: under a checkpoint that outside witnesses have cosigned.
    witnessed: Option<String>,
}

/// The receipt of an entry: one file that proves it, verifiable with the log's public key alone
#[utoipa::path(get, path = "/v1/tenants/{tenant}/receipts", tag = "log",
    params(("tenant" = String, Path), ReceiptQuery),
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn receipt(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, ANY)?;
    let query: ReceiptQuery = query::strict(raw.as_deref())?;
    query::one_of("ours", query.ours.as_deref(), &["true", "false"])?;
    query::one_of("witnessed", query.witnessed.as_deref(), &["true", "false"])?;
    if tenant.published().checkpoint.is_empty()
        && let Some(reason) = tenant.halted()
    {
        return Err(ledger::Error::Halted(reason).into());
    }
    let (published, index) = match (&query.index, &query.producer, &query.source, &query.id) {
        (Some(index), None, None, None) => {
            (super::published_with(&app, &tenant, *index).await?, Some(*index))
        }
        (None, Some(producer), Some(source), Some(id)) => {
            let ours = query.ours.as_deref() == Some("true");
            find(&app, &tenant, Scope { producer, source, id, ours }).await?
        }
        _ => {
            let detail = "Give either index, or producer, source and id.";
            return Err(Problem::new(Code::BadRequest, detail));
        }
    };
    let begun = Instant::now();
    let reader = app.ledger.reader(&tenant, &published);
    let receipt = index.map(|index| reader.receipt(index)).transpose()?.flatten();
    app.metrics.receipt(begun.elapsed());
    let receipt = receipt.ok_or_else(Problem::not_found)?;
    // A publisher's key reads what its own producer published, and nothing else.
    if !caller.has(READERS) {
        let own = caller.key.producer.as_ref().map(ledger::ident::Ident::as_str);
        let view = View::parse(&receipt.entry);
        let theirs = view.as_ref().and_then(|view| view.text(&["producer"]));
        if own.is_none() || own != theirs {
            return Err(Problem::not_found());
        }
    }
    let receipt = if query.witnessed.as_deref() == Some("true") {
        let witnessed = app.witnesses.receipt((&app.ledger, &tenant), &published, receipt)?;
        witnessed.ok_or_else(|| super::not_witnessed(&app, &tenant))?
    } else {
        let checkpoint = app.witnesses.with_cosignatures(&tenant, receipt.checkpoint);
        Receipt { checkpoint, ..receipt }
    };
    Ok(text("text/plain; charset=utf-8", receipt.to_string()))
}

/// The leaf index of an event, and the state in which it was found. `None` only after everything in the
/// journal is posted here.
async fn find(
    app: &App,
    tenant: &Tenant,
    scope: Scope<'_>,
) -> Result<(Arc<Published>, Option<u64>), Problem> {
    let published = tenant.published();
    if let Some(index) = app.ledger.reader(tenant, &published).find(scope)? {
        return Ok((published, Some(index)));
    }
    app.ledger.catch_up(tenant).await?;
    let published = tenant.published();
    let index = app.ledger.reader(tenant, &published).find(scope)?;
    Ok((published, index))
}

/// Between which sizes.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyQuery {
    /// Smaller tree size, at least 1.
    #[param(minimum = 1)]
    from: u64,
    /// Larger tree size, at most the published one.
    to: u64,
}

/// A consistency proof.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Consistency {
    from: u64,
    to: u64,
    /// Hashes in base64, RFC 6962 §2.1.2 order.
    proof: Vec<String>,
}

/// The proof that the log of one size is a prefix of the log of another
#[utoipa::path(get, path = "/v1/tenants/{tenant}/proofs/consistency", tag = "log",
    params(("tenant" = String, Path), ConsistencyQuery),
    responses((status = 200, body = Consistency), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn consistency(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Consistency>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, ANY)?;
    let ConsistencyQuery { from, to } = query::strict(raw.as_deref())?;
    let published = super::published_with(&app, &tenant, to.saturating_sub(1)).await?;
    let proof = app.ledger.reader(&tenant, &published).consistency(from, to)?;
    let proof = proof.ok_or_else(|| {
        let size = published.size;
        Problem::new(Code::BadRequest, format!("1 ≤ from ≤ to ≤ {size}, the published size."))
    })?;
    Ok(Json(Consistency { from, to, proof: proof.iter().map(ToString::to_string).collect() }))
}
