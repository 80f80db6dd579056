//! `POST T/decisions/{index}/result`: what of a result may the agent see? The verdict is recorded before it is told, and is
//! the report of the execution too.

use crate::{
    app::App,
    problem::{Code, Problem},
    routes::decisions::{
        asked, freeze_of, policy_of, reason_of, redacted_of, redactions, shadow_of,
    },
};
use approvals::deciding::ToldResult;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use decider::policy::Returned;
use ledger::json as strict_json;
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
    /// With code `frozen`: `{index, scope, id}` of the freeze. End what is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    freeze: Option<Value>,
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
    let (worker, producer) = asked(&app, &headers, &tenant)?;
    let index: u64 = index.parse().map_err(|_| Problem::not_found())?;
    let held = app.bodies.events(&headers, body, &worker.tenant.name).await?;
    let max = ledger::journal::BODY_BYTES_MAX;
    if held.bytes.len() > max {
        let text = format!("A report has at most {max} bytes. Show the agent nothing of it.");
        return Err(Problem::new(Code::TooBig, text));
    }
    let report = strict_json::parse(&held.bytes)
        .map_err(|error| Problem::new(Code::BodySyntax, format!("The report: {error}.")))?;
    let report =
        Returned::read(report).map_err(|why| Problem::new(Code::BadRequest, format!("{why}.")))?;
    let told = worker.desk.result(&producer, index, &report).await?;
    let freeze = freeze_of(&worker, &told.ruling);
    Ok(Json(answer(index, told, freeze)))
}

fn answer(decision: u64, told: ToldResult, freeze: Option<Value>) -> ResultAnswer {
    let ToldResult { ruling, index, leaf, repeated } = told;
    ResultAnswer {
        verdict: ruling.verdict.as_str(),
        enforced: (!ruling.only_observes).then_some(true),
        repeated,
        decision,
        report: json!({"index": index, "leaf_hash": leaf.to_string()}),
        reason: reason_of(&ruling),
        policy: policy_of(&ruling),
        result: redacted_of(&ruling).filter(|_| !ruling.only_observes),
        redactions: ruling.redacted.as_ref().map(|redacted| redactions(&redacted.facts)),
        freeze,
        shadow: shadow_of(&ruling),
    }
}
