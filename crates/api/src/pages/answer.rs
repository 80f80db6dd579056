//! The forms of an approval's page: a review, with one confirmation, and the revocation of a grant.

use super::{
    Stop, Top,
    approval::{REVOKE_REASONS, Ways, render, seen, to_page},
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
use decider::{
    approval::{Auth, Choice, Method, Refusal, Via},
    words,
};
use ledger::time::Nanos;
use serde::{Deserialize, de::DeserializeOwned};
use std::sync::Arc;

/// Longest comment, in characters.
const COMMENT_MAX: usize = 2_000;

/// A review, with what was shown.
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
    fn decision(&self) -> Result<Choice, Stop> {
        match self.decision.as_str() {
            "approve" => Ok(Choice::Approve),
            "deny" => Ok(Choice::Deny),
            _ => Err(Stop::Unreadable),
        }
    }
}

/// The revocation of a grant, with its reason.
#[derive(Deserialize)]
struct Revocation {
    token: String,
    version: u64,
    reason: String,
}

/// A form of these pages.
pub(super) trait Form: DeserializeOwned {
    /// The token that shows that the form was made for this session.
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

/// The sender of a form and the approval, if the person may see it. If the session has ended, redirects to the
/// page, which asks for the sign-in.
pub(super) async fn sent<F: Form>(
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

/// `POST /approvals/{id}/confirm`: asks for a confirmation, and changes nothing.
pub async fn confirm(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, answer): (_, _, Answer) = sent(&app, &headers, &id, body).await?;
    let decision = answer.decision()?;
    let (mut card, _) = session.worker.cards().card(&approval)?;
    let now = card.shown_at;
    let ways = Ways::of(&session, &approval, &card);
    let approve = decision == Choice::Approve;
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
    if let Some(why) = refused {
        return render(&app, &session, &approval, Some(words::review_refused(why)));
    }
    // The review carries the time at which the whole call was shown.
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

/// `POST /approvals/{id}/review`: records the review.
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
    let done = session.worker.commands.review(&approval.id, review).await?;
    after(&app, &session, &done, words::review_refused)
}

/// `POST /approvals/{id}/revoke`: takes back a grant that was not redeemed yet.
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
    if !session.worker.lists.may_review(&session.person, &approval) {
        return Err(Stop::NotFound);
    }
    if wanted.version != approval.state.version {
        return render(&app, &session, &approval, Some(not_revoked(Refusal::Stale)));
    }
    let by = session.person.as_str();
    let done = session.worker.commands.revoke(&approval.id, by, &wanted.reason).await?;
    after(&app, &session, &done, not_revoked)
}

/// If done, redirects to the page, so that a reload sends nothing again. If refused, shows the present page
/// and the reason.
fn after(
    app: &App,
    session: &Session,
    done: &worker::Done,
    in_words: fn(Refusal) -> String,
) -> Result<Response, Stop> {
    match done.refused {
        None => Ok(to_page(app, done.approval.id.as_str())),
        Some(why) => render(app, session, &done.approval, Some(in_words(why))),
    }
}

fn not_revoked(why: Refusal) -> String {
    format!("The approval was not revoked. {}", words::refusal(why))
}
