//! `POST T/decisions`: may these calls be made? Each verdict is recorded before it is told (P14).

use crate::{
    app::App,
    auth,
    body::{Unsplit, split_array},
    problem::{Code, Problem},
    reviewed,
};
use approvals::{
    deciding::{NotDecided, Recorded, Told},
    worker::Worker,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use decider::policy::{Inquiry, RATE_LIMITED, Redaction, Redactions, Ruling};
use ledger::{budget::Asked, canonical, event::Verdict, ident::Ident, json, system::Role};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Instant};

/// Most questions of one request.
const QUESTIONS_MAX: usize = 100;

/// A verdict, recorded.
#[derive(Serialize, utoipa::ToSchema)]
pub struct VerdictAnswer {
    /// `allow`, `deny`, `sanitize` or `approval_needed`. Execute nothing but on `allow`, and on `sanitize` the call with the
    /// params of this answer.
    verdict: &'static str,
    /// `true`; `null` while no clause is in force for this agent: then this verdict is only recorded, and decides nothing.
    enforced: Option<bool>,
    /// `shadow` while `enforced` is `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    /// True if an earlier request with the same source and id got it.
    repeated: bool,
    /// `false`: it is on this server's disk, and not in the log yet (`record: later`). Otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<bool>,
    /// Seconds for which an `allow` or `sanitize` counts from now on. Absent for other verdicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_for: Option<u64>,
    /// `{index, leaf_hash, id}` of its entry. While `recorded` is `false`: `{id, spool, number}`.
    #[schema(value_type = Object)]
    decision: Value,
    /// `{code, clause, clauses, message, at, why, retry_after}`
    #[schema(value_type = Object)]
    reason: Value,
    /// `{version, digest}` of the bundle; both `null` without one. `lists`: the versions of lists, if the verdict rests on any.
    #[schema(value_type = Object)]
    policy: Value,
    /// `{digest}`; of a call that was redacted `params` too, unless it is denied: what is executed.
    #[schema(value_type = Object)]
    call: Value,
    /// `{set, found: [{at, inside, detector, count}]}` if something was redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    redactions: Option<Value>,
    /// Conditions on the use of what is permitted. Whoever does not know one of them must not execute.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    obligations: Map<String, Value>,
    /// What the call reserves of budgets, or what was refused: each as in the entry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    budgets: Vec<Value>,
    /// `{id, url, state}` of the approval that people are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    approval: Option<Value>,
    /// With code `frozen`: `{index, scope, id}` of the freeze. With a denial whose clause freezes: `{scope}`. End what is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    freeze: Option<Value>,
    /// `{verdict, code, clause}`: what it would be with every clause in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    shadow: Option<Value>,
}

/// The answer to one question, or to several.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Answers {
    /// To one.
    One(Box<VerdictAnswer>),
    /// To an array: a verdict or a problem for each, in its order.
    Many {
        /// In the order of the request.
        #[schema(value_type = Vec<Object>)]
        results: Vec<Value>,
    },
}

/// Ask whether calls may be made; each verdict is recorded before it is told
#[utoipa::path(post, path = "/v1/tenants/{tenant}/decisions", tag = "decisions",
    params(("tenant" = String, Path)),
    request_body(content_type = "application/json", content = Object,
        description = "A question, at most 256 KiB, or an array of 1 to 100: proto/formats/decision.md"),
    responses((status = 200, body = Answers), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn decide(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answers>, Problem> {
    let begun = Instant::now();
    let (worker, producer) = asked(&app, &headers, &tenant)?;
    let answered = |inquiry: &Inquiry<'_>, answer: &VerdictAnswer| {
        // What is in the spool alone is not recorded yet, and a repetition was before.
        if answer.recorded.is_none() && !answer.repeated {
            let (tenant, took) = (worker.tenant.name.as_str(), begun.elapsed());
            app.metrics.recorded(tenant, "ours", took, inquiry.trace());
        }
    };
    let held = app.bodies.events(&headers, body, &worker.tenant.name).await?;
    if !held.bytes.trim_ascii_start().starts_with(b"[") {
        let inquiry = read(&held.bytes)?;
        let told = worker.desk.decide(&producer, std::slice::from_ref(&inquiry)).await?;
        let told = told.into_iter().next().ok_or_else(|| Problem::internal("no verdict"))?;
        let answer = answer(&worker, told?).await;
        answered(&inquiry, &answer);
        return Ok(Json(Answers::One(Box::new(answer))));
    }
    let questions = split_array(&held.bytes, QUESTIONS_MAX).map_err(|unsplit| match unsplit {
        Unsplit::Syntax => Problem::new(Code::BodySyntax, "The body is not a complete JSON array."),
        Unsplit::TooMany => {
            let detail =
                format!("At most {QUESTIONS_MAX} questions a request; send more requests.");
            Problem::new(Code::TooManyEvents, detail)
        }
    })?;
    if questions.iter().any(|question| question.is_empty()) {
        return Err(Problem::new(Code::BodySyntax, "The body is not a complete JSON array."));
    }
    if questions.is_empty() {
        return Err(Problem::new(Code::BadRequest, "The array is empty: ask 1 to 100 questions."));
    }
    let read: Vec<_> = questions.into_iter().map(read).collect();
    let inquiries: Vec<Inquiry<'_>> =
        read.iter().filter_map(|read| read.as_ref().ok()).cloned().collect();
    let mut told = worker.desk.decide(&producer, &inquiries).await?.into_iter();
    let mut results = Vec::with_capacity(read.len());
    for question in read {
        let told = question.and_then(|inquiry| {
            let told = told.next().ok_or_else(|| Problem::internal("a question without a verdict"));
            Ok((inquiry, told?.map_err(Problem::from)?))
        });
        results.push(match told {
            Ok((inquiry, told)) => {
                let answer = answer(&worker, told).await;
                answered(&inquiry, &answer);
                json!(answer)
            }
            Err(problem) => json!({"problem": problem}),
        });
    }
    Ok(Json(Answers::Many { results }))
}

/// Who decides for this tenant, and the producer of the key that asks.
pub(super) fn asked(
    app: &App,
    headers: &HeaderMap,
    tenant: &str,
) -> Result<(Arc<Worker>, Ident), Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, headers, tenant, &[Role::Enforcer])?;
    let producer = caller.producer()?.clone();
    if let Some(reason) = tenant.halted() {
        return Err(ledger::Error::Halted(reason).into());
    }
    let worker = app.worker(&tenant.name).ok_or_else(|| {
        Problem::new(Code::NotFound, "Decisions need [approvals] in the server's configuration.")
    })?;
    Ok((worker, producer))
}

fn read(bytes: &[u8]) -> Result<Inquiry<'_>, Problem> {
    let max = ledger::journal::BODY_BYTES_MAX;
    if bytes.len() > max {
        return Err(Problem::new(Code::TooBig, format!("A question has at most {max} bytes.")));
    }
    let body = json::parse(bytes)
        .map_err(|error| Problem::new(Code::BodySyntax, format!("The question: {error}.")))?;
    Inquiry::read(body).map_err(|why| Problem::new(Code::BadRequest, format!("{why}.")))
}

async fn answer(worker: &Worker, told: Told) -> VerdictAnswer {
    let Told { ruling, recorded, id, digest, repeated, at } = told;
    let asks = ruling.verdict == Verdict::ApprovalNeeded && !ruling.only_observes;
    let approval = match &recorded {
        Recorded::Entry { index, approval, .. } if asks => {
            Some(opened(worker, *index, approval).await)
        }
        _ => None,
    };
    let (recorded, decision) = match recorded {
        Recorded::Entry { index, leaf, .. } => {
            (None, json!({"index": index, "leaf_hash": leaf.to_string(), "id": id}))
        }
        Recorded::Spool(place) => {
            (Some(false), json!({"id": id, "spool": place.id, "number": place.number}))
        }
    };
    let policy = policy_of(&ruling);
    let freeze = freeze_of(worker, &ruling);
    // At least a second: who asks again at once gets the same.
    let retry_after = if ruling.code == RATE_LIMITED {
        Some(1)
    } else {
        ruling.opens().map(|opens| worker.desk.seconds_until(opens).max(1))
    };
    let budgets: Vec<Value> = ruling.asked.iter().map(Asked::to_json).collect();
    let redactions = ruling.redacted.as_ref().map(|redacted| redactions(&redacted.facts));
    let call = call_of(&ruling, &digest);
    let mut reason = reason_of(&ruling);
    if let Some(seconds) = retry_after {
        reason["retry_after"] = json!(seconds);
    }
    VerdictAnswer {
        verdict: ruling.verdict.as_str(),
        enforced: (!ruling.only_observes).then_some(true),
        mode: ruling.only_observes.then_some("shadow"),
        repeated,
        valid_for: ruling.verdict.permits().then(|| worker.desk.valid_for(at)),
        recorded,
        decision,
        reason,
        policy,
        call,
        redactions,
        shadow: shadow_of(&ruling),
        obligations: ruling.obligations.into_iter().collect(),
        budgets,
        approval,
        freeze,
    }
}

/// Why the verdict is what it is.
pub(super) fn reason_of(ruling: &Ruling) -> Value {
    let Ruling { code, clause, clauses, message, error, .. } = ruling;
    let (at, why) = error.as_ref().map(|(at, why)| (at, why)).unzip();
    without_nulls(json!({
        "code": code, "clause": clause, "clauses": clauses, "message": message, "at": at, "why": why,
    }))
}

/// What the verdict would be with every clause in force, if that is another one.
pub(super) fn shadow_of(ruling: &Ruling) -> Option<Value> {
    let shadow = ruling.shadow.as_ref()?;
    Some(without_nulls(json!({
        "verdict": shadow.verdict.as_str(), "code": shadow.code, "clause": shadow.clause,
    })))
}

/// What was redacted of it, as JSON: the params of a call, or a result.
pub(super) fn redacted_of(ruling: &Ruling) -> Option<Value> {
    let redacted = ruling.redacted.as_ref().filter(|_| ruling.verdict != Verdict::Deny)?;
    serde_json::from_slice(&canonical::to_vec(&redacted.params)).ok()
}

/// The approval of a decision. It is opened here; if that is not possible now, it is opened in the background.
async fn opened(worker: &Worker, index: u64, id: &Ident) -> Value {
    let url = worker.cards().page_of(id);
    match worker.commands.open(index).await {
        Ok(Ok(approval)) => reviewed::told(worker, &approval),
        Ok(Err(why)) => {
            json!({"id": id, "state": "not_opened", "reason": why.code(), "detail": why.advice()})
        }
        Err(_) => json!({"id": id, "url": url, "state": "opening"}),
    }
}

pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect()
        }
        other => other,
    }
}

/// The freeze that a verdict names, or what it freezes.
pub(super) fn freeze_of(worker: &Worker, ruling: &Ruling) -> Option<Value> {
    let Some(index) = ruling.frozen_by else {
        return ruling.freeze.map(|scope| json!({"scope": scope}));
    };
    let freezes = &worker.tenant.published().freezes;
    let target = freezes.in_force.get(&index).map(|freeze| &freeze.target);
    Some(without_nulls(json!({
        "index": index, "scope": target.map(|target| target.scope), "id": target.map(|target| &target.id),
    })))
}

/// What the verdict was computed by.
pub(super) fn policy_of(ruling: &Ruling) -> Value {
    let mut policy = json!({"version": ruling.version, "digest": ruling.bundle});
    if !ruling.lists.is_empty() {
        policy["lists"] = json!(ruling.lists);
    }
    policy
}

impl From<NotDecided> for Problem {
    fn from(error: NotDecided) -> Self {
        let text = format!("{error}.");
        match error {
            NotDecided::Refused(refused) if refused.code() == "too_big" => {
                Self::new(Code::TooBig, text)
            }
            NotDecided::Refused(_) => Self::new(Code::BadRequest, text),
            NotDecided::Conflict { .. } => Self::new(Code::Conflict, text),
            NotDecided::OtherResult { .. } => Self::new(
                Code::Conflict,
                format!(
                    "{text} Show the agent nothing of this one. The first one, sent again, gets its answer again; if the \
                     call was made a second time, ask for a decision of its own first."
                ),
            ),
            NotDecided::Unknown { .. } => Self::new(Code::NotFound, text),
            NotDecided::Frozen { .. } => {
                Self::new(Code::Frozen, format!("{text} Execute nothing; end the session."))
            }
            NotDecided::Stale { .. } => Self::new(Code::DecisionStale, text),
            NotDecided::NoBundle(_) => {
                Self::new(Code::PolicyUnreadable, format!("{text} Nothing is decided; deny."))
            }
            NotDecided::Failed(error) => error.into(),
        }
    }
}

/// The call that the verdict is about, as far as the gateway does not know it.
fn call_of(ruling: &Ruling, digest: &str) -> Value {
    match redacted_of(ruling) {
        None => json!({"digest": digest}),
        Some(params) => json!({"digest": digest, "params": params}),
    }
}

/// What was redacted: where, by which detector, and how often.
pub(super) fn redactions(redactions: &Redactions) -> Value {
    let one = |found: &Redaction| {
        let mut told =
            json!({"at": found.at, "detector": found.detector, "count": found.spans.len()});
        if !found.inside.is_empty() {
            told["inside"] = json!(found.inside);
        }
        told
    };
    json!({"set": redactions.set, "found": redactions.found.iter().map(one).collect::<Vec<_>>()})
}
