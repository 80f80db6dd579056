//! What people send from an approval's page: an answer, asked about once more, and taking a grant back.

use super::{
    Stop, Top,
    approval::{Ways, render, seen, to_page},
    form, page,
    session::Session,
    view::{self, Moment},
};
use crate::app::App;
use approvals::{cards::Card, history::Approval, worker};
use askama::Template;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use decider::approval::{Auth, Decision, Method, Refusal, Via};
use ledger::time::Nanos;
use serde::{Deserialize, de::DeserializeOwned};
use std::sync::Arc;

/// Longest comment, in characters.
const COMMENT_MAX: usize = 2_000;
/// Why somebody takes an approval back: codes, and how they read.
pub(super) const REVOKE_REASONS: [(&str, &str); 4] = [
    ("mistake", "It was a mistake"),
    ("not_needed", "It is not needed any more"),
    ("suspicious", "Something is suspicious"),
    ("other", "Another reason"),
];

/// What the approval's page sends on: an answer, and what was shown.
#[derive(Deserialize)]
struct Answer {
    token: String,
    decision: String,
    digest: String,
    version: u64,
    shown_at: String,
    #[serde(default)]
    comment: String,
}

impl Answer {
    fn decision(&self) -> Result<Decision, Stop> {
        match self.decision.as_str() {
            "approve" => Ok(Decision::Approve),
            "deny" => Ok(Decision::Deny),
            _ => Err(Stop::Unreadable),
        }
    }
}

/// A grant that is taken back, and why.
#[derive(Deserialize)]
struct Revocation {
    token: String,
    version: u64,
    reason: String,
}

/// What a form of these pages holds, beside its own fields.
trait Form: DeserializeOwned {
    /// What shows that the form was made for this session.
    fn token(&self) -> &str;
}

impl Form for Answer {
    fn token(&self) -> &str {
        &self.token
    }
}

impl Form for Revocation {
    fn token(&self) -> &str {
        &self.token
    }
}

/// Who sent a form about which approval, if they may see it. Signed out meanwhile: on to the page, which asks for the
/// sign-in.
async fn sent<F: Form>(
    app: &App,
    headers: &HeaderMap,
    id: &str,
    body: Body,
) -> Result<(Session, Approval, F), Stop> {
    let (session, approval) = match seen(app, headers, id).await {
        Err(Stop::SignIn(_)) => return Err(Stop::Go(Box::new(to_page(app, id)))),
        found => found?,
    };
    let fields: F = form(app, headers, body).await?;
    session.check_form(fields.token())?;
    Ok((session, approval, fields))
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    top: Top,
    card: Card,
    approve: bool,
    deadline: Moment,
    payees: Vec<(String, String)>,
    token: String,
    comment_max: usize,
}

/// `POST /approvals/{id}/confirm`: asks once more, and changes nothing.
pub async fn confirm(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, answer): (_, _, Answer) = sent(&app, &headers, &id, body).await?;
    let decision = answer.decision()?;
    let (mut card, _) = session.worker.card(&approval)?;
    let now = card.shown_at;
    let ways = Ways::of(&session, &approval, &card);
    let approve = decision == Decision::Approve;
    let refused = if answer.version != card.version {
        Some(Refusal::Stale)
    } else if answer.digest != card.digest {
        Some(Refusal::DigestMismatch)
    } else if ways.sign_in.is_some() {
        Some(Refusal::StepUp)
    } else if !(if approve { ways.approve } else { ways.deny }) {
        Some(Refusal::NotNow)
    } else {
        None
    };
    if let Some(refusal) = refused {
        return render(&app, &session, &approval, Some(view::refusal(refusal)));
    }
    // The moment at which all of it was shown goes on to the answer.
    card.shown_at =
        Nanos::parse(&answer.shown_at).filter(|at| *at <= now).ok_or(Stop::Unreadable)?;
    let title = if approve { "Approve?" } else { "Deny?" };
    let payees = view::payees(&card).into_iter().cloned().collect();
    let confirm = Confirm {
        top: Top::new(&app, title, Some(&session)),
        approve,
        deadline: Moment::new(card.deadline, now),
        payees,
        token: session.form_token.clone(),
        comment_max: COMMENT_MAX,
        card,
    };
    Ok(page(StatusCode::OK, &confirm))
}

/// `POST /approvals/{id}/review`: the answer.
pub async fn review(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, answer): (_, _, Answer) = sent(&app, &headers, &id, body).await?;
    let comment = answer.comment.replace("\r\n", "\n");
    if comment.chars().count() > COMMENT_MAX {
        return Err(Stop::Unreadable);
    }
    let review = worker::Review {
        by: Some(session.person.clone()),
        decision: answer.decision()?,
        via: Via::Web,
        auth: Auth { method: Method::Key, at: session.signed_in_at },
        displayed_dig: answer.digest,
        version: answer.version,
        shown_at: Nanos::parse(&answer.shown_at).ok_or(Stop::Unreadable)?,
        comment: Some(comment.trim().to_owned()).filter(|comment| !comment.is_empty()),
        raw: None,
    };
    let done = session.worker.review(&approval.id, review).await?;
    after(&app, &session, &done)
}

/// `POST /approvals/{id}/revoke`: takes a grant back that was not used yet.
pub async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, wanted): (_, _, Revocation) = sent(&app, &headers, &id, body).await?;
    if !REVOKE_REASONS.iter().any(|(code, _)| *code == wanted.reason) {
        return Err(Stop::Unreadable);
    }
    if !session.worker.may_review(&session.person, &approval) {
        return Err(Stop::NotFound);
    }
    if wanted.version != approval.state.version {
        let stale = view::refusal(Refusal::Stale);
        return render(&app, &session, &approval, Some(stale));
    }
    let by = session.person.as_str();
    let done = session.worker.revoke(&approval.id, by, &wanted.reason).await?;
    after(&app, &session, &done)
}

/// Done: to the page, so that a reload sends nothing again. Refused: the page as it is now, and why.
fn after(app: &App, session: &Session, done: &worker::Done) -> Result<Response, Stop> {
    match done.refused {
        None => Ok(to_page(app, done.approval.id.as_str())),
        Some(refusal) => render(app, session, &done.approval, Some(view::refusal(refusal))),
    }
}
