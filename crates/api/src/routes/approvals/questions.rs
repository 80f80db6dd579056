//! Questions of people who are asked, and the gateway's answers.

use super::{Asking, COMMENT_BYTES_MAX, View};
use crate::{
    access,
    app::App,
    problem::{Code, Problem},
};
use approvals::worker::Ask;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use decider::approval::{Auth, Method, Replier, Via};
use serde::Deserialize;
use std::sync::Arc;

/// A question about a call.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQuestion {
    /// The call digest that the person saw.
    digest: String,
    /// The question: 1 to 2000 bytes; can be erased.
    text: String,
}

/// An answer to a question.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAnswer {
    /// The answer: 1 to 2000 bytes; can be erased.
    text: String,
}

/// Ask a question instead of approving or denying (a person's reviewer key)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{id}/questions", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path)), request_body = NewQuestion,
    responses((status = 200, body = View), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn ask(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let approval = asking.find(&id, access::ask).await?;
    let NewQuestion { digest, text } = app.bodies.json(&headers, body).await?;
    let by = asking.access().person().cloned().ok_or_else(Problem::not_found)?;
    let at = asking.worker.readiness().clocks.now();
    let auth = Auth { method: Method::Key, at };
    let text = words(&text)?;
    let ask = Ask { by, via: Via::Api, auth, displayed_dig: digest, text, raw: None };
    asking.done(&asking.worker.commands.ask(&approval.id, ask).await?)
}

/// Answer a question (the enforcer that paused the call)
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{id}/questions/{question}/answer", tag = "approvals",
    params(("tenant" = String, Path), ("id" = String, Path), ("question" = u32, Path)), request_body = NewAnswer,
    responses((status = 200, body = View), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn answer(
    State(app): State<Arc<App>>,
    Path((tenant, id, question)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let approval = asking.find(&id, access::answer).await?;
    let question = question.parse().map_err(|_| Problem::not_found())?;
    let gateway = asking.caller.key.producer.clone().ok_or_else(Problem::not_found)?;
    let NewAnswer { text } = app.bodies.json(&headers, body).await?;
    let (by, text) = (Replier::Gateway(gateway), words(&text)?);
    asking.done(&asking.worker.commands.reply(&approval.id, question, (&by, &text)).await?)
}

/// The text of a question or an answer, without blanks at its ends.
fn words(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > COMMENT_BYTES_MAX {
        let detail = format!("text: 1 to {COMMENT_BYTES_MAX} bytes.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(text.to_owned())
}
