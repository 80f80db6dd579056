//! `POST T/decisions/{index}/result`: what of a result may the agent see? The verdict is recorded before it is told, and is
//! the report of the execution too.

use crate::{
    app::App,
    auth,
    problem::{Code, Problem},
    routes::decisions::{policy_of, redactions, without_nulls},
};
use approvals::deciding::ToldResult;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use decider::policy::{Returned, Ruling};
use ledger::{canonical, event::Verdict, json as strict_json, system::Role};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A verdict about a result, recorded.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ResultAnswer {
    /// `allow`, `deny` or `sanitize`. Show the agent nothing but `result`.
    verdict: &'static str,
    /// `true`; `null` while no clause is in force for this agent: then this verdict is only recorded.
    enforced: Option<bool>,
    /// True if an earlier request reported the same result.
    repeated: bool,
    /// Leaf index of the decision that permitted the call.
    decision: u64,
    /// `{index, leaf_hash}` of the entry of this report.
    #[schema(value_type = Object)]
    report: Value,
    /// `{code, clause, clauses, message, at, why}`
    #[schema(value_type = Object)]
    reason: Value,
    /// `{version, digest}` of the bundle that judged the call; both `null` if none counts.
    #[schema(value_type = Object)]
    policy: Value,
    /// What the agent may see, if it was redacted. Absent with `allow` (then it is what was sent) and with `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// `{set, found: [{at, inside, detector, count}]}` if something was redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    redactions: Option<Value>,
    /// `{verdict, code, clause}`: what it would be with every clause in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    shadow: Option<Value>,
}

/// Ask what of a result the agent may see; this reports the execution too
#[utoipa::path(post, path = "/v1/tenants/{tenant}/decisions/{index}/result", tag = "decisions",
    params(("tenant" = String, Path), ("index" = u64, Path, description = "Leaf index of the decision")),
    request_body(content_type = "application/json", content = Object,
        description = "A report, at most 256 KiB: proto/formats/decision.md, Results"),
    responses((status = 200, body = ResultAnswer), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn result(
    State(app): State<Arc<App>>,
    Path((tenant, index)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ResultAnswer>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Enforcer])?;
    let producer = caller.producer()?;
    if let Some(reason) = tenant.halted() {
        return Err(ledger::Error::Halted(reason).into());
    }
    let worker = app.worker(&tenant.name).ok_or_else(|| {
        Problem::new(Code::NotFound, "Decisions need [approvals] in the server's configuration.")
    })?;
    let index: u64 = index.parse().map_err(|_| Problem::not_found())?;
    let held = app.bodies.events(&headers, body, &tenant.name).await?;
    let max = ledger::journal::BODY_BYTES_MAX;
    if held.bytes.len() > max {
        let text = format!("A report has at most {max} bytes. Show the agent nothing of it.");
        return Err(Problem::new(Code::TooBig, text));
    }
    let report = strict_json::parse(&held.bytes)
        .map_err(|error| Problem::new(Code::BodySyntax, format!("The report: {error}.")))?;
    let report =
        Returned::read(report).map_err(|why| Problem::new(Code::BadRequest, format!("{why}.")))?;
    let told = worker.desk.result(producer, index, &report).await?;
    Ok(Json(answer(index, told)))
}

fn answer(decision: u64, told: ToldResult) -> ResultAnswer {
    let ToldResult { ruling, index, leaf, repeated } = told;
    let policy = policy_of(&ruling);
    let shows = ruling.verdict != Verdict::Deny && !ruling.only_observes;
    let redacted = ruling.redacted.as_ref();
    let result = redacted.filter(|_| shows).map(|redacted| {
        serde_json::from_slice(&canonical::to_vec(&redacted.params)).unwrap_or_default()
    });
    let redactions = redacted.map(|redacted| redactions(&redacted.facts));
    let Ruling { verdict, code, clause, clauses, message, error, shadow, only_observes, .. } =
        ruling;
    let (at, why) = error.unzip();
    ResultAnswer {
        verdict: verdict.as_str(),
        enforced: (!only_observes).then_some(true),
        repeated,
        decision,
        report: json!({"index": index, "leaf_hash": leaf.to_string()}),
        reason: without_nulls(json!({
            "code": code, "clause": clause, "clauses": clauses, "message": message, "at": at, "why": why,
        })),
        policy,
        result,
        redactions,
        shadow: shadow.map(|shadow| {
            without_nulls(json!({
                "verdict": shadow.verdict.as_str(), "code": shadow.code, "clause": shadow.clause,
            }))
        }),
    }
}
