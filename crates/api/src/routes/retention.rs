//! For how long payload and journal messages are kept, and legal holds.

pub mod deletion;
pub mod pruning;

use crate::{
    act::{self, Since, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    reviewed::{self, Acted, Waiting},
    routes::erasures::Standing,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use decider::rule::{HOLD_RELEASE, RETENTION_SET};
use ledger::{
    Ledger, canonical,
    entry::View,
    ident::Ident,
    store,
    system::{
        Role,
        retention::{DAYS_MAX, Days, HOLDS_MAX, Hold, RetentionBody},
    },
    tenant::Tenant,
    time::Nanos,
};
use pruning::ShownPruning;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// For how long things shall be kept.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedRetention {
    /// Days that payload is kept, 1 to 36525; absent or `null`: for ever.
    #[serde(default)]
    payload_days: Option<u32>,
    /// Days below which `payload_days` can never be set again; absent: the floor in force stays. It only rises.
    #[serde(default)]
    floor_days: Option<u32>,
    /// Days that posted journal messages are kept, 1 to 36525; absent or `null`: as the server's configuration says.
    #[serde(default)]
    journal_days: Option<u32>,
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
    /// The approval of exactly this, if the rules in force ask people about it.
    #[schema(value_type = Option<String>)]
    approval: Option<Ident>,
}

/// A new hold.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// Names the hold, `[a-z0-9][a-z0-9-]{0,62}`. It stays in the log for ever, so it names no person.
    #[schema(value_type = String)]
    hold: Ident,
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
}

/// The end of a hold.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndOfHold {
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
    /// The approval of exactly this, if the rules in force ask people about it.
    #[schema(value_type = Option<String>)]
    approval: Option<Ident>,
}

/// Result of an act.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Recorded {
    /// Leaf index of the `retention` entry.
    index: u64,
    /// `applied`; or `unchanged`: it was so already, and nothing was written.
    status: &'static str,
}

/// A hold in force.
#[derive(Serialize, utoipa::ToSchema)]
struct ShownHold {
    /// Its name.
    hold: String,
    /// When it began.
    #[serde(flatten)]
    since: Since,
}

/// For how long things are kept.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownRetention {
    /// Days that payload is kept; `null`: for ever.
    payload_days: Option<u32>,
    /// Days below which that can't be set.
    floor_days: u32,
    /// Days that posted journal messages are kept.
    journal_days: u32,
    /// The entry that set them; `null`: nobody did.
    set: Option<Since>,
    /// Legal holds in force. While there is one, nothing is erased.
    holds: Vec<ShownHold>,
    /// Payload of the entries before this leaf index has expired, files of policies excepted.
    expired_below: u64,
    /// The last pruning; `null`: every entry is here.
    pruned: Option<ShownPruning>,
    /// Leaf index of the entry that deleted the tenant; `null`: it is not deleted.
    deleted: Option<u64>,
    /// How far the deletion is; absent if the tenant is not deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<Standing>,
    /// `journal.time` of the first entry whose payload has not expired; `null`: there is none.
    #[schema(value_type = Option<String>)]
    oldest: Option<Nanos>,
}

/// Show for how long payload and journal messages are kept, legal holds, and what has expired
#[utoipa::path(get, path = "/v1/tenants/{tenant}/retention", tag = "operation",
    params(("tenant" = String, Path)),
    responses((status = 200, body = ShownRetention), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<ShownRetention>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin, Role::Auditor])?;
    let deletion = if tenant.is_deleted() {
        Some(deletion::standing(&app, &tenant, Duration::ZERO).await)
    } else {
        None
    };
    let retention = tenant.position().retention;
    let configured = app.config.file.journal_retention_days;
    let shown = tokio::task::block_in_place(|| -> Result<_, store::Error> {
        let mut holds = Vec::with_capacity(retention.holds.len());
        for (hold, index) in &retention.holds {
            let since = since(&app.ledger, &tenant, *index)?;
            holds.push(ShownHold { hold: hold.to_string(), since });
        }
        let first = retention.expired.max(tenant.published().kept_from());
        let oldest = app.ledger.entry(&tenant, first)?;
        let oldest = oldest.as_deref().and_then(View::parse).map(|view| view.origin.time);
        Ok(ShownRetention {
            payload_days: retention.payload_days,
            floor_days: retention.floor_days,
            journal_days: retention.journal_days.unwrap_or(configured),
            set: retention.set.map(|index| since(&app.ledger, &tenant, index)).transpose()?,
            holds,
            expired_below: retention.expired,
            pruned: pruning::shown(&app.ledger, &tenant)?,
            deleted: retention.deleted,
            deletion,
            oldest,
        })
    })?;
    Ok(Json(shown))
}

fn since(ledger: &Ledger, tenant: &Tenant, index: u64) -> Result<Since, store::Error> {
    let corrupt = || store::Error::Corrupt { family: "entries", what: "a retention entry" };
    let entry = ledger.entry(tenant, index)?.ok_or_else(corrupt)?;
    let view = View::parse(&entry).ok_or_else(corrupt)?;
    let by = view.at(&["event", "by"]).map(canonical::to_vec).unwrap_or_default();
    let by = serde_json::from_slice(&by).map_err(|_| corrupt())?;
    Ok(Since { index, time: view.origin.time, by })
}

/// Set for how long payload and journal messages are kept, in place of what was set before
#[utoipa::path(post, path = "/v1/tenants/{tenant}/retention", tag = "operation",
    params(("tenant" = String, Path)), request_body = WantedRetention,
    responses((status = 200, body = Recorded), (status = 202, body = Waiting), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn set(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let wanted: WantedRetention = app.bodies.json(&headers, body).await?;
    let WantedRetention { payload_days, floor_days, journal_days, reason, approval } = wanted;
    let _alone = app.slow.lock().await;
    app.ledger.catch_up(&tenant).await?;
    let before = tenant.position().retention;
    let floor_days = floor_days.unwrap_or(before.floor_days);
    check(payload_days, floor_days, journal_days, before.floor_days)?;
    let now = (before.payload_days, before.floor_days, before.journal_days);
    if let Some(index) = before.set.filter(|_| now == (payload_days, floor_days, journal_days)) {
        return Ok(Json(Recorded { index, status: "unchanged" }).into_response());
    }
    let worker = app.worker(&tenant.name);
    let params = json!({"payload_days": payload_days, "floor_days": floor_days, "journal_days": journal_days});
    let act = (RETENTION_SET, &params, Some(reason.to_string()));
    let (app, tenant, reason) = (&app, &tenant, &reason);
    let acted =
        reviewed::act(worker.as_deref(), &caller, act, approval.as_ref(), |by| async move {
            record(app, tenant, reason, |reason| {
                RetentionBody::Set(Days { payload_days, floor_days, journal_days, by, reason })
            })
            .await
        });
    Ok(answer(acted.await?))
}

/// Refuses days that posting would reject.
fn check(
    payload_days: Option<u32>,
    floor_days: u32,
    journal_days: Option<u32>,
    floor_before: u32,
) -> Result<(), Problem> {
    let wrong = |detail: String| Err(Problem::new(Code::BadRequest, detail));
    for (name, days) in [("payload_days", payload_days), ("journal_days", journal_days)] {
        if days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
            return wrong(format!("{name}: 1 to {DAYS_MAX}."));
        }
    }
    if floor_days > DAYS_MAX {
        return wrong(format!("floor_days: 0 to {DAYS_MAX}."));
    }
    if floor_days < floor_before {
        let detail =
            format!("floor_days: the floor is {floor_before} days, and can only be raised.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    if let Some(days) = payload_days.filter(|days| *days < floor_days) {
        let detail = format!(
            "payload_days: {days} is below the floor of {floor_days} days. Payload may be kept longer, never shorter."
        );
        return Err(Problem::new(Code::Conflict, detail));
    }
    Ok(())
}

/// Begin a legal hold: from then on nothing is erased, neither by request nor by age
#[utoipa::path(post, path = "/v1/tenants/{tenant}/holds", tag = "operation",
    params(("tenant" = String, Path)), request_body = NewHold,
    responses((status = 200, body = Recorded), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn hold(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let NewHold { hold, reason } = app.bodies.json(&headers, body).await?;
    // Not behind `slow`: a hold must not wait for an erasure of many entries. Posting decides which came first.
    app.ledger.catch_up(&tenant).await?;
    let holds = tenant.position().retention.holds;
    if let Some(index) = holds.get(&hold) {
        return Ok(Json(Recorded { index: *index, status: "unchanged" }).into_response());
    }
    if holds.len() >= HOLDS_MAX {
        let detail = format!("{HOLDS_MAX} holds are in force, the most that are possible.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let by = caller.by();
    let done =
        record(&app, &tenant, &reason, |reason| RetentionBody::Hold(Hold { hold, by, reason }));
    Ok(Json(done.await?).into_response())
}

/// End a legal hold
#[utoipa::path(post, path = "/v1/tenants/{tenant}/holds/{hold}/release", tag = "operation",
    params(("tenant" = String, Path), ("hold" = String, Path)), request_body = EndOfHold,
    responses((status = 200, body = Recorded), (status = 202, body = Waiting), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn release(
    State(app): State<Arc<App>>,
    Path((tenant, hold)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let EndOfHold { reason, approval } = app.bodies.json(&headers, body).await?;
    let hold = Ident::new(&hold).map_err(|_| Problem::not_found())?;
    let _alone = app.slow.lock().await;
    app.ledger.catch_up(&tenant).await?;
    if !tenant.position().retention.holds.contains_key(&hold) {
        return Err(Problem::not_found());
    }
    let worker = app.worker(&tenant.name);
    let params = json!({"hold": hold});
    let act = (HOLD_RELEASE, &params, Some(reason.to_string()));
    let (app, tenant, reason) = (&app, &tenant, &reason);
    let acted =
        reviewed::act(worker.as_deref(), &caller, act, approval.as_ref(), |by| async move {
            record(app, tenant, reason, |reason| RetentionBody::Release(Hold { hold, by, reason }))
                .await
        });
    Ok(answer(acted.await?))
}

/// Writes the reason, then the entry.
async fn record(
    app: &App,
    tenant: &Arc<Tenant>,
    why: &Why,
    body: impl FnOnce(Option<ledger::system::Reason>) -> RetentionBody,
) -> Result<Recorded, Problem> {
    let reason = act::keep_reason(&app.ledger, tenant, "retention", Some(why)).await?;
    let index = act::record(&app.ledger, tenant, "retention", &body(reason)).await?;
    Ok(Recorded { index, status: "applied" })
}

fn answer(acted: Acted<Recorded>) -> Response {
    match acted {
        Acted::Done(recorded) => Json(recorded).into_response(),
        Acted::Waits(waiting) => super::waits(waiting),
    }
}
