//! The page on which a person who is asked puts a question, and the page on which an owner of the agent answers. An owner
//! sees the questions there, and nothing else of the call's values.

use super::{
    Stop, Top,
    answer::{Form, sent},
    approval::{found_by, render, seen, to_page},
    form, go, page,
    questions::{Shown, all, may_ask},
    session::Session,
    signin::own,
    typed::TEXT_MAX,
    view::{self, Moment},
    visitor,
};
use crate::{access, app::App};
use approvals::{cards::Card, display::Piece, history::Approval, worker};
use askama::Template;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use decider::{
    approval::{QUESTIONS_MAX, Replier, Via},
    words,
};
use ledger::foreign;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "ask.html")]
struct AskPage {
    top: Top,
    card: Card,
    whose: Option<String>,
    deadline: Moment,
    token: String,
    text: String,
    text_max: usize,
    /// Questions that this approval can still have.
    left: usize,
    notice: Option<String>,
}

/// A question.
#[derive(Deserialize)]
struct Question {
    token: String,
    digest: String,
    text: String,
}

impl Form for Question {
    fn token(&self) -> &str {
        &self.token
    }
}

/// `GET /approvals/{id}/ask`: the form for a question. It changes nothing.
pub async fn ask(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let (session, approval) = match seen(&app, &headers, &id).await {
        Err(Stop::SignIn(_)) => return Ok(to_page(&app, &id)),
        found => found?,
    };
    asking(&app, &session, &approval, (None, String::new())).await
}

async fn asking(
    app: &App,
    session: &Session,
    approval: &Approval,
    (notice, text): (Option<String>, String),
) -> Result<Response, Stop> {
    let (card, _) = session.worker.cards().card(approval)?;
    if !may_ask(session, approval, &card) {
        let why =
            "No question can be asked now: yours has no answer yet, or nobody is asked any more.";
        return render(app, session, approval, notice.unwrap_or_else(|| why.into()).into()).await;
    }
    let status = if notice.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let requested = approval.state.requested.as_deref().ok_or(Stop::NotFound)?;
    let left = (QUESTIONS_MAX as usize).saturating_sub(approval.state.questions.len());
    let ask = AskPage {
        top: Top::new(app, "Ask a question", Some(session)),
        whose: view::whose(&requested.owners, &session.setup),
        deadline: Moment::new(card.deadline, card.shown_at),
        token: session.form_token.clone(),
        text,
        text_max: TEXT_MAX,
        left,
        notice,
        card,
    };
    Ok(page(status, &ask))
}

/// `POST /approvals/{id}/ask`: records the question.
pub async fn put(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, question): (_, _, Question) = sent(&app, &headers, &id, body).await?;
    let text = typed(&question.text)?;
    let ask = worker::Ask {
        by: session.person.clone(),
        via: Via::Web,
        auth: session.auth,
        displayed_dig: question.digest,
        text: text.clone(),
        raw: None,
    };
    let done = session.worker.commands.ask(&approval.id, ask).await?;
    match done.refused {
        None => Ok(to_page(&app, &id)),
        Some(why) => {
            let notice = words::question_refused(why);
            asking(&app, &session, &done.approval, (Some(notice), text)).await
        }
    }
}

fn typed(text: &str) -> Result<String, Stop> {
    let text = text.replace("\r\n", "\n").trim().to_owned();
    let fits = !text.is_empty() && text.chars().count() <= TEXT_MAX;
    if fits { Ok(text) } else { Err(Stop::Unreadable) }
}

#[derive(Template)]
#[template(path = "questions.html")]
struct OwnersPage {
    top: Top,
    id: String,
    agent: String,
    call: String,
    run: Option<String>,
    deadline: Moment,
    /// True while an answer can be given.
    open: bool,
    questions: Vec<Shown>,
    token: String,
    text_max: usize,
    notice: Option<String>,
}

/// The approval with questions, for an owner of its agent.
async fn owned(app: &App, headers: &HeaderMap, id: &str) -> Result<(Session, Approval), Stop> {
    let session = match visitor(app, headers) {
        Err(Stop::SignIn(_)) => {
            let to = own(&format!("/approvals/{id}/questions"));
            return Err(Stop::Go(Box::new(go(app, &format!("/signin?next={to}")))));
        }
        session => session?,
    };
    let may = |found: &Approval| access::questions(&session.worker, &session.person, found);
    let approval = found_by(&session, id, may).await?;
    Ok((session, approval))
}

/// `GET /approvals/{id}/questions`
pub async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let (session, approval) = owned(&app, &headers, &id).await?;
    owners_page(&app, &session, &approval, None)
}

fn owners_page(
    app: &App,
    session: &Session,
    approval: &Approval,
    notice: Option<String>,
) -> Result<Response, Stop> {
    let status = if notice.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let requested = approval.state.requested.as_deref().ok_or(Stop::NotFound)?;
    let call = &requested.call;
    let now = app.ledger.now();
    let deadline = approval.state.approval_deadline().unwrap_or_default();
    let page_of = OwnersPage {
        top: Top::new(app, "Questions about a call", Some(session)),
        id: approval.id.to_string(),
        agent: foreign::name(&call.agent),
        call: format!("{} \u{b7} {}", foreign::name(&call.tool), foreign::name(&call.action)),
        run: call.run.as_deref().map(foreign::name),
        deadline: Moment::new(deadline, now),
        open: approval.is_pending() && now < deadline,
        questions: all(session, approval, now)?,
        token: session.form_token.clone(),
        text_max: TEXT_MAX,
        notice,
    };
    Ok(page(status, &page_of))
}

/// An owner's answer.
#[derive(Deserialize)]
struct Answer {
    token: String,
    question: u32,
    text: String,
}

/// `POST /approvals/{id}/questions`: records an owner's answer.
pub async fn answer(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval) = owned(&app, &headers, &id).await?;
    let answer: Answer = form(&app, &headers, body).await?;
    session.check_form(&answer.token)?;
    let text = typed(&answer.text)?;
    let by = Replier::Owner(session.person.clone());
    let replied = session.worker.commands.reply(&approval.id, answer.question, (&by, &text));
    let done = replied.await?;
    match done.refused {
        None => Ok(go(&app, &format!("/approvals/{}/questions", done.approval.id))),
        Some(why) => {
            let notice = format!("Your answer was not recorded. {}", words::refusal(why));
            owners_page(&app, &session, &done.approval, Some(notice))
        }
    }
}
