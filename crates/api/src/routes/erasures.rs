//! Erasures: payload goes, the entry stays. With replicas an erasure is complete when every one of them has said so.

use crate::{
    act::{self, Why},
    app::App,
    auth::{self, Caller},
    problem::{Code, Problem},
};
use approvals::worker::Worker;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use ledger::{
    chores,
    entry::{Kind, View},
    gone::{Erasure, Leaf},
    ident::Ident,
    log::{
        merkle::{Hash, leaf_hash},
        replicas::Place,
    },
    replica,
    system::{By, Role},
    tenant::Tenant,
    verify,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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
    /// How far it is.
    #[serde(flatten)]
    standing: Standing,
}

/// How far an erasure or a deletion is.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Standing {
    /// `complete`: what shall go is nowhere in the data directory, and the journal does not have it; with replicas, every one of
    /// them has said, signed, that it is not in its own. `pending`: not yet; the servers go on with it.
    status: &'static str,
    /// The replicas that have not said so, and why. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Missing>,
}

impl Standing {
    /// Complete, if nobody is missing and `here` is.
    pub fn new(here: bool, missing: Vec<replica::Lacks>) -> Self {
        let missing: Vec<Missing> = missing.into_iter().map(Missing::from).collect();
        let status = if here && missing.is_empty() { "complete" } else { "pending" };
        Self { status, missing }
    }
}

/// A replica that has not said yet that it has done its part.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Missing {
    /// Its name.
    replica: String,
    /// Why it has not.
    why: String,
}

impl From<replica::Lacks> for Missing {
    fn from(lacks: replica::Lacks) -> Self {
        Self { replica: lacks.name.to_string(), why: lacks.why }
    }
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
    let alone = app.slow.lock().await;
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
    drop(alone);
    let standing = stands(&app, &tenant, entries.last().copied().unwrap_or_default()).await?;
    Ok(Json(Erased { entries, standing }))
}

/// An erasure, and how far it is.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OneErasure {
    /// Leaf index of the entry that says so.
    entry: u64,
    /// Leaf index of the entry whose payload it erased.
    erased: u64,
    /// How far it is. It speaks for the erasures before this one too.
    #[serde(flatten)]
    standing: Standing,
}

/// How far an erasure is: with replicas, whether every one of them has said that it has none of the bytes
#[utoipa::path(get, path = "/v1/tenants/{tenant}/erasures/{entry}", tag = "operation",
    params(("tenant" = String, Path), ("entry" = u64, Path, description = "Leaf index of the erasure's own entry")),
    responses((status = 200, body = OneErasure), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn one(
    State(app): State<Arc<App>>,
    Path((tenant, entry)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<OneErasure>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin, Role::Auditor])?;
    // Nobody without a key learns what is an address.
    let entry: u64 = entry.parse().map_err(|_| Problem::not_found())?;
    if entry >= super::published_with(&app, &tenant, entry).await?.size {
        return Err(Problem::not_found());
    }
    let bytes = app.ledger.entry(&tenant, entry)?.unwrap_or_default();
    let view = View::parse(&bytes).filter(|view| view.kind == Kind::Erasure);
    let erasure = view.and_then(|view| view.event_as::<Erasure<Hash>>());
    let erased = erasure.ok_or_else(Problem::not_found)?.index;
    let standing = stands(&app, &tenant, entry).await?;
    Ok(Json(OneErasure { entry, erased, standing }))
}

/// Completes the erasures up to that entry here, then asks every other replica.
async fn stands(app: &App, tenant: &Tenant, entry: u64) -> Result<Standing, Problem> {
    if let Err(error) = chores::complete_erasures(&app.ledger, tenant).await {
        tracing::warn!(tenant = %tenant.name, %error, "an erasure is not complete yet");
    }
    let bytes = app.ledger.entry(tenant, entry)?.unwrap_or_default();
    let place = Place { index: entry, leaf_hash: leaf_hash(&bytes) };
    let missing = replica::not_erased(app.broker.as_ref(), (&app.ledger, tenant), place).await;
    let here = chores::unfinished(&app.ledger, tenant)? == 0;
    Ok(Standing::new(here, missing))
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
