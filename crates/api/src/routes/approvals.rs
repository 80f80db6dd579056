//! Approvals: request, read, review, mint, cancel, revoke, report. Who may do what: `proto/formats/access.md`.
//!
//! A caller who may not see an approval gets the answer for one that does not exist, whatever the request is.

mod list;
pub mod questions;
mod view;
pub mod withdraw;

pub use list::{__path_list, list};
pub use view::View;

use super::events;
use crate::{
    access::{self, Access},
    app::App,
    auth::{self, ANY, Caller, NOTHING_AFTER},
    problem::{Code, Problem},
    query,
};
use approvals::{
    history::Approval,
    worker::{self, Done, Worker},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
};
use decider::approval::{Auth, Choice, DenyReason, Method, Outcome, Via};
use ledger::{
    ident::Ident,
    post::{Outcome as Posted, Shown, ShownVia},
    system::Role,
    tenant::Tenant,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest `wait`, in seconds.
const WAIT_SECONDS_MAX: u64 = 60;
/// Longest comment, in bytes.
pub const COMMENT_BYTES_MAX: usize = 2000;

/// The caller of an approvals route, with the tenant.
pub struct Asking {
    /// The tenant in the path.
    pub tenant: Arc<Tenant>,
    /// The tenant's worker.
    pub worker: Arc<Worker>,
    /// The caller's key.
    pub caller: Caller,
}

impl Asking {
    /// The caller of any approvals route. Without a key the answer is 401. All other checks come later.
    pub fn new(app: &App, headers: &HeaderMap, tenant: &str) -> Result<Self, Problem> {
        let (tenant, caller) = auth::caller(&app.ledger, headers, tenant, ANY)?;
        if let Some(reason) = tenant.halted() {
            return Err(ledger::Error::Halted(reason).into());
        }
        let worker = app.worker(&tenant.name).ok_or_else(Problem::not_found)?;
        Ok(Self { tenant, worker, caller })
    }

    /// What this caller may do.
    pub fn access(&self) -> Access<'_> {
        Access { worker: &self.worker, caller: &self.caller }
    }

    /// The approval, if `may` allows it. Otherwise "not found".
    async fn find(
        &self,
        id: &str,
        may: impl Fn(&Access<'_>, &Approval) -> bool,
    ) -> Result<Approval, Problem> {
        let (asked, access) = (Instant::now(), self.access());
        let id = Ident::new(id).map_err(|_| Problem::not_found())?;
        if let Some(approval) = self.worker.reader().find(&id, |found| may(&access, found)).await? {
            return Ok(approval);
        }
        if self.caller.has(&[Role::Reviewer]) && !self.worker.readiness().has_read_log() {
            // It is not known yet who is asked, and "not found" would be final.
            let detail = "The log is being read; try again in a moment.";
            return Err(Problem::new(Code::NotReady, detail));
        }
        tokio::time::sleep_until((asked + NOTHING_AFTER).into()).await;
        Err(Problem::not_found())
    }

    /// The approval whose call an enforcer paused, and that enforcer.
    async fn find_own(&self, id: &str) -> Result<(Approval, &Ident), Problem> {
        let enforcer = self.access().producer(Role::Enforcer).ok_or_else(Problem::not_found)?;
        let approval = self.find(id, access::token).await?;
        Ok((approval, enforcer))
    }

    /// The approval as the caller may see it.
    pub fn view(&self, approval: &Approval) -> Result<View, Problem> {
        if !access::params(&self.access(), approval) {
            return View::new(&self.worker, approval, None);
        }
        let frozen = self.worker.reader().opening(approval)?.1;
        View::new(&self.worker, approval, frozen.as_ref())?.with_words(&self.worker, approval)
    }

    /// The answer to a command.
    fn done(&self, done: &Done) -> Result<Json<View>, Problem> {
        let view = self.view(&done.approval)?;
        match done.refused {
            None => Ok(Json(view)),
            Some(refusal) => Err(view.refusal(refusal)),
        }
    }
}

/// Pause a call: publish its decision and wait until people are asked
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals", tag = "approvals",
    params(("tenant" = String, Path)),
    request_body(content_type = "application/cloudevents+json", content = Object,
        description = "A decision event with verdict approval_needed, at most 256 KiB; the same one again is harmless"),
    responses((status = 201, body = View), (status = 200, body = View, description = "it was open before"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn open(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<View>), Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let producer =
        asking.access().producer(Role::Publisher).ok_or_else(Problem::not_found)?.clone();
    asking.worker.readiness().decides().await?;
    let max = ledger::journal::BODY_BYTES_MAX;
    events::content_type(&headers)?;
    let event = app.bodies.read(&headers, body, max).await?;
    events::one(&event)?;
    let batch = events::append_events(&app, &asking.tenant, &producer, vec![event]).await?;
    let (index, status) = match batch.done.outcomes.first() {
        Some(Posted::Posted { index }) => (*index, StatusCode::CREATED),
        Some(Posted::Duplicate { index }) => (*index, StatusCode::OK),
        Some(Posted::Conflict { first, .. }) => {
            let detail = format!(
                "Entry {first} holds this source and id with another content. Use a new id for a new call."
            );
            return Err(Problem::new(Code::Conflict, detail));
        }
        Some(Posted::Rejected { refused, .. }) => {
            return Err(Problem::new(Code::NotOpened, refused.to_string()));
        }
        Some(Posted::Void { .. } | Posted::Nothing) | None => {
            return Err(Problem::internal("an event has no outcome"));
        }
    };
    match asking.worker.commands.open(index).await? {
        Ok(approval) => {
            let (_, frozen) = asking.worker.reader().opening(&approval)?;
            Ok((status, Json(View::new(&asking.worker, &approval, frozen.as_ref())?)))
        }
        Err(why) => Err(Problem::new(Code::NotOpened, why.advice())),
    }
}

/// Query of one approval.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OneQuery {
    /// Seconds to wait for something newer than `after`, 0 to 60.
    #[param(maximum = 60)]
    wait: Option<u64>,
    /// The version that is known.
    after: Option<u64>,
}

/// Get an approval; may wait for a newer version
#[utoipa::path(get, path = "/v1/tenants/{tenant}/approvals/{id}", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path), OneQuery),
    responses((status = 200, body = View), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn one(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let mut changes = asking.worker.lists.watch();
    let mut approval = asking.find(&id, access::state).await?;
    let query: OneQuery = query::strict(raw.as_deref())?;
    let wait = query.wait.unwrap_or(0);
    if wait > WAIT_SECONDS_MAX {
        let detail = format!("wait: 0 to {WAIT_SECONDS_MAX} seconds.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let (until, after) = (Instant::now() + Duration::from_secs(wait), query.after.unwrap_or(0));
    if approval.state.version < after {
        // Another server has shown the caller a version that is not posted here yet.
        asking.worker.lists.catch_up_with_journal().await?;
        approval = asking.find(&id, access::state).await?;
    }
    while approval.state.version <= after && Instant::now() < until {
        let news = asking.worker.lists.newer(&approval.id, after, &mut changes);
        if tokio::time::timeout_at(until.into(), news).await.is_err() {
            break;
        }
        approval = asking.find(&id, access::state).await?;
    }
    let mut view = asking.view(&approval)?;
    if access::params(&asking.access(), &approval) {
        view = view.with_card(&asking.worker.cards().card(&approval)?.0, &approval);
    }
    if let Some(person) = asking.access().person() {
        let version = approval.state.version;
        let shown = Shown { to: person.clone(), version, via: ShownVia::Api };
        asking.worker.commands.showings.note(&approval.id, shown);
    }
    Ok(Json(view))
}

/// A person's answer.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReview {
    /// `approve` or `deny`.
    #[schema(value_type = String)]
    decision: Choice,
    /// The call digest that the person saw.
    digest: String,
    /// The version that the person saw.
    version: u64,
    /// When the person saw it; now if absent.
    #[schema(value_type = Option<String>)]
    shown_at: Option<Nanos>,
    /// Comment, at most 2000 bytes; can be erased.
    comment: Option<String>,
    /// Why it is denied, with `deny` only: `wrong_amount`, `wrong_recipient`, `duplicate`, `not_needed`, `not_allowed`,
    /// `unclear`, `suspicious` or `other`.
    #[schema(value_type = Option<String>)]
    reason: Option<DenyReason>,
    /// Text for the agent, with `deny` only: at most 2000 bytes; can be erased.
    for_agent: Option<String>,
}

/// Answer an approval (a person's reviewer key)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{id}/reviews", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path)), request_body = NewReview,
    responses((status = 200, body = View), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn review(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let approval = asking.find(&id, access::review).await?;
    let new: NewReview = app.bodies.json(&headers, body).await?;
    if new.comment.as_ref().is_some_and(|comment| comment.len() > COMMENT_BYTES_MAX) {
        let detail = format!("comment: at most {COMMENT_BYTES_MAX} bytes.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    if new.for_agent.as_ref().is_some_and(|text| text.len() > COMMENT_BYTES_MAX) {
        let detail = format!("for_agent: at most {COMMENT_BYTES_MAX} bytes.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    if new.decision == Choice::Approve && (new.reason.is_some() || new.for_agent.is_some()) {
        let detail = "reason and for_agent are for a denial: leave them out.";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let now = asking.worker.readiness().clocks.now();
    let review = worker::Review {
        by: asking.access().person().cloned(),
        decision: new.decision,
        via: Via::Api,
        auth: Auth { method: Method::Key, at: now },
        displayed_dig: new.digest,
        version: new.version,
        shown_at: new.shown_at.unwrap_or(now),
        comment: new.comment,
        reason: new.reason,
        for_agent: new.for_agent,
        raw: None,
        signed: None,
        together: None,
    };
    asking.done(&asking.worker.commands.review(&approval.id, review).await?)
}

/// A valid token.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenAnswer {
    /// The compact JWS.
    token: String,
    /// Its id.
    jti: String,
    /// Seconds since 1970 at which it ends.
    exp: u64,
    /// The approval as it is now.
    approval: View,
}

/// Mint an override token, or get the valid one (the enforcer that paused the call)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{id}/token", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = TokenAnswer), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn token(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<TokenAnswer>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let (approval, enforcer) = asking.find_own(&id).await?;
    let (done, minted) = asking.worker.tokens.mint(&approval.id, enforcer).await?;
    let Json(view) = asking.done(&done)?;
    let minted = minted.ok_or_else(|| Problem::new(Code::OutcomeUnknown, "Ask again."))?;
    let (jti, exp) = (minted.claims.jti.clone(), minted.claims.exp);
    Ok(Json(TokenAnswer { token: minted.token, jti, exp, approval: view }))
}

/// Outcome of the call.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// `succeeded`, `failed`, `not_started` or `unknown`.
    #[schema(value_type = String)]
    outcome: Outcome,
}

/// Report the outcome of the call (the enforcer that paused it)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{id}/execution", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path)), request_body = Execution,
    responses((status = 200, body = View), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn execution(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let (approval, enforcer) = asking.find_own(&id).await?;
    let Execution { outcome } = app.bodies.json(&headers, body).await?;
    asking.done(&asking.worker.commands.report(&approval.id, enforcer, outcome).await?)
}
