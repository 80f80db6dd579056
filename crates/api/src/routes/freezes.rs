//! Freezes: what agents may not do from now on, whatever the policies say, until people let it go on.

mod unseen;

use crate::{
    act::{self, Why},
    app::App,
    auth::{self, Caller},
    problem::{Code, Problem},
    query,
    reviewed::{self, Acted, Waiting},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use decider::rule::FREEZE_LIFT;
use ledger::{
    Ledger, canonical,
    entry::View,
    ident::Ident,
    post::Freezes,
    store,
    system::{
        By, LeafAt, Role,
        freeze::{FREEZES_MAX, Freeze, FreezeBody, FreezeScope, Lift, Target},
    },
    tenant::Tenant,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Longest `wait`, in seconds.
const WAIT_SECONDS_MAX: u64 = 60;
/// Who sees every freeze, and who did it.
const READERS: [Role; 3] = [Role::Admin, Role::Auditor, Role::Responder];

/// What shall be stopped.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFreeze {
    /// `agent`, `session`, `run`, `tool`, `producer` or `tenant`.
    #[schema(value_type = String)]
    scope: FreezeScope,
    /// Its id, byte for byte as calls have it; of `tenant`, the tenant's name once more. It stays in the log for ever.
    id: String,
    /// Stops an agent, session, run or tool in the calls of this producer alone.
    #[schema(value_type = Option<String>)]
    producer: Option<Ident>,
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
}

/// The end of a freeze.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndOfFreeze {
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = String)]
    reason: Why,
    /// The approval of exactly this.
    #[schema(value_type = Option<String>)]
    approval: Option<Ident>,
}

/// Result of an act.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FreezeRecorded {
    /// Leaf index of the `freeze` entry. That of a freeze names it.
    index: u64,
    /// `applied`; or `unchanged`: exactly this is frozen already, and nothing was written.
    status: &'static str,
    /// What is probably not meant: no such agent, tool or producer is known. It is frozen all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl FreezeRecorded {
    fn new(index: u64, status: &'static str) -> Self {
        Self { index, status, warnings: Vec::new() }
    }
}

/// A freeze in force.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownFreeze {
    /// Leaf index of the entry with which it began: its name.
    freeze: u64,
    /// `agent`, `session`, `run`, `tool`, `producer` or `tenant`.
    #[schema(value_type = String)]
    scope: FreezeScope,
    /// Its id.
    id: String,
    /// The producer whose calls alone are stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    producer: Option<Ident>,
    /// `journal.time` of its entry.
    #[schema(value_type = String)]
    time: Nanos,
    /// Who did it; only for admins, auditors and responders.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    by: Option<By>,
    /// The decision whose clause did it: `{index, leaf_hash}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    decision: Option<LeafAt>,
}

/// What is frozen.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownFreezes {
    /// Leaf index of the last `freeze` entry, use it as `after`; `null`: nothing was ever frozen.
    version: Option<u64>,
    /// The freezes in force, the oldest first.
    freezes: Vec<ShownFreeze>,
}

/// For what to wait.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FreezesQuery {
    /// Seconds to wait for a version other than `after`, 0 to 60.
    wait: Option<u64>,
    /// The version that is known.
    after: Option<u64>,
}

/// Show what is frozen; may wait until that changes. An enforcer or publisher sees what concerns its calls
#[utoipa::path(get, path = "/v1/tenants/{tenant}/freezes", tag = "decisions",
    params(("tenant" = String, Path), FreezesQuery),
    responses((status = 200, body = ShownFreezes), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<ShownFreezes>, Problem> {
    let roles = [&READERS[..], &[Role::Enforcer, Role::Publisher]].concat();
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &roles)?;
    let FreezesQuery { wait, after } = query::strict(raw.as_deref())?;
    let wait = wait.unwrap_or(0);
    if wait > WAIT_SECONDS_MAX {
        let detail = format!("wait: 0 to {WAIT_SECONDS_MAX} seconds.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let mut states = tenant.watch();
    if wait > 0 {
        let news = states.wait_for(|published| published.freezes.last != after);
        drop(tokio::time::timeout(Duration::from_secs(wait), news).await);
    }
    let freezes = tenant.published().freezes.clone();
    let shown = tokio::task::block_in_place(|| shown(&app.ledger, &tenant, &caller, &freezes))?;
    Ok(Json(ShownFreezes { version: freezes.last, freezes: shown }))
}

/// The freezes that the caller may see.
fn shown(
    ledger: &Ledger,
    tenant: &Tenant,
    caller: &Caller,
    freezes: &Freezes,
) -> Result<Vec<ShownFreeze>, store::Error> {
    let all = caller.has(&READERS);
    let producer = caller.key.producer.as_ref();
    let mut shown = Vec::new();
    for (index, freeze) in &freezes.in_force {
        let Target { scope, id, producer: only } = freeze.target.clone();
        let is_mine = |named: &str| producer.is_some_and(|mine| mine.as_str() == named);
        let concerns = only.as_ref().is_none_or(|only| is_mine(only.as_str()))
            && (scope != FreezeScope::Producer || is_mine(&id));
        if !all && !concerns {
            continue;
        }
        let corrupt = || store::Error::Corrupt { family: "entries", what: "a freeze entry" };
        let entry = ledger.entry(tenant, *index)?.ok_or_else(corrupt)?;
        let view = View::parse(&entry).ok_or_else(corrupt)?;
        let by = view.at(&["event", "by"]).map(canonical::to_vec).unwrap_or_default();
        let decision = view.at(&["event", "decision"]).map(canonical::to_vec);
        shown.push(ShownFreeze {
            freeze: *index,
            scope,
            id,
            producer: only,
            time: view.origin.time,
            by: serde_json::from_slice(&by).ok().filter(|_| all),
            decision: decision.and_then(|text| serde_json::from_slice(&text).ok()),
        });
    }
    Ok(shown)
}

/// Freeze an agent, a session, a run, a tool, a producer or the tenant: in force once this answers
#[utoipa::path(post, path = "/v1/tenants/{tenant}/freezes", tag = "decisions",
    params(("tenant" = String, Path)), request_body = NewFreeze,
    responses((status = 200, body = FreezeRecorded), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn freeze(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let roles = [Role::Responder, Role::Admin];
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &roles)?;
    let NewFreeze { scope, id, producer, reason } = app.bodies.json(&headers, body).await?;
    let target = Target { scope, id, producer };
    let recorded = record(&app, &tenant, target.clone(), (caller.by(), &reason)).await?;
    // Only once it is in force.
    let warnings = tokio::task::block_in_place(|| unseen::warnings(&app, &tenant, &target));
    Ok(Json(FreezeRecorded { warnings, ..recorded }).into_response())
}

/// Freezes something. Nothing is waited for but its entry: whoever stops an agent is in a hurry.
pub async fn record(
    app: &App,
    tenant: &Arc<Tenant>,
    target: Target,
    (by, why): (By, &Why),
) -> Result<FreezeRecorded, Problem> {
    if let Some(fault) = target.fault(&tenant.name) {
        return Err(Problem::new(Code::BadRequest, format!("{fault}.")));
    }
    let before = tenant.published();
    if let Some(index) = before.freezes.of(&target) {
        return Ok(FreezeRecorded::new(index, "unchanged"));
    }
    if before.freezes.of_people() >= FREEZES_MAX {
        let detail = format!(
            "{FREEZES_MAX} freezes are in force, the most that are possible: freeze a producer, or the tenant."
        );
        return Err(Problem::new(Code::Conflict, detail));
    }
    let reason = act::keep_reason(&app.ledger, tenant, "freeze", Some(why)).await?;
    let Target { scope, id, producer } = target;
    let freeze = Freeze { scope, id, producer, decision: None, by, reason };
    let index = act::record(&app.ledger, tenant, "freeze", &FreezeBody::Freeze(freeze)).await?;
    Ok(FreezeRecorded::new(index, "applied"))
}

/// Lift a freeze: people are asked first, whatever the rules say of other acts
#[utoipa::path(post, path = "/v1/tenants/{tenant}/freezes/{freeze}/lift", tag = "decisions",
    params(("tenant" = String, Path), ("freeze" = u64, Path)), request_body = EndOfFreeze,
    responses((status = 200, body = FreezeRecorded), (status = 202, body = Waiting), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn lift(
    State(app): State<Arc<App>>,
    Path((tenant, freeze)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let roles = [Role::Responder, Role::Admin];
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &roles)?;
    let EndOfFreeze { reason, approval } = app.bodies.json(&headers, body).await?;
    let freeze: u64 = freeze.parse().map_err(|_| Problem::not_found())?;
    app.ledger.catch_up(&tenant).await?;
    let known = tenant.published().freezes.in_force.get(&freeze).cloned();
    let Target { scope, id, producer } = known.ok_or_else(Problem::not_found)?.target;
    let worker = app.worker(&tenant.name).ok_or_else(unasked)?;
    let params = json!({"freeze": freeze, "scope": scope, "id": id, "producer": producer});
    if approval.is_none() && !worker.clerk.demands_review(FREEZE_LIFT, &params)? {
        return Err(unasked());
    }
    let act = (FREEZE_LIFT, &params, Some(reason.to_string()));
    let (app, tenant, reason) = (&app, &tenant, &reason);
    let acted = reviewed::act(Some(&*worker), &caller, act, approval.as_ref(), |by| async move {
        // Rules that do not name the act may have come into force in between.
        if !matches!(by, By::Key { approval: Some(_), .. }) {
            return Err(unasked());
        }
        let reason = act::keep_reason(&app.ledger, tenant, "freeze", Some(reason)).await?;
        let lift = FreezeBody::Lift(Lift { freeze, by, reason });
        let index = act::record(&app.ledger, tenant, "freeze", &lift).await?;
        Ok(FreezeRecorded::new(index, "applied"))
    });
    Ok(match acted.await? {
        Acted::Done(recorded) => Json(recorded).into_response(),
        Acted::Waits(waiting) => super::waits(waiting),
    })
}

/// Nobody lifts a freeze alone.
fn unasked() -> Problem {
    let detail = "Nobody lifts a freeze alone, and the rules in force name nobody who is asked: they need a [[rule]] with \
                  [rule.match] tool = \"countersign\", action = \"freeze.lift\". An admin applies one (`countersign rules apply`).";
    Problem::new(Code::NotOpened, detail)
}
