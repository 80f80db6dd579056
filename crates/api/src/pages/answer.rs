//! The forms of an approval's page: a review, with one confirmation, and the revocation of a grant.

use super::{
    Stop, Top,
    approval::{REVOKE_REASONS, Undone, Ways, found, render, seen, to_page},
    facts, form, kept,
    outlook::Outlook,
    page,
    passkey::{self, Sign},
    session::Session,
    signin::{self, Carried},
    typed::{TEXT_MAX, Typed},
    view::{self, Moment},
    visitor,
};
use crate::{app::App, query, request::Peer};
use approvals::{
    cards::Card,
    display::Piece,
    facts::{Fact, Facts, Part},
    history::Approval,
    worker,
};
use askama::Template;
use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use decider::{
    approval::{Choice, Refusal, Via},
    words,
};
use ledger::time::Nanos;
use serde::{Deserialize, de::DeserializeOwned};
use std::{mem, sync::Arc};

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
    #[serde(default)]
    reason: String,
    #[serde(default)]
    for_agent: String,
    /// The signature of a passkey, as the page's script wrote it.
    #[serde(default)]
    signed: String,
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

impl Answer {
    /// What was typed beside it.
    fn typed(&mut self) -> Result<Typed, Stop> {
        let (comment, reason) = (mem::take(&mut self.comment), mem::take(&mut self.reason));
        Typed { comment, reason, for_agent: mem::take(&mut self.for_agent) }.checked()
    }
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
    outlook: Outlook,
    whose: Option<String>,
    /// What warns of earlier calls, once more.
    warnings: Vec<Fact>,
    /// What the person's passkey signs, if the session began with one.
    sign: Option<Sign>,
    token: String,
    typed: Typed,
    comment_max: usize,
}

/// What the page showed, and what is wanted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    decision: String,
    digest: String,
    version: u64,
    shown_at: String,
}

/// `GET /approvals/{id}/confirm?decision=…&version=…`: asks for a confirmation, and changes nothing. So going back to
/// it, or a reload, sends nothing again.
pub async fn ask(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let (session, approval) = match seen(&app, &headers, &id).await {
        Err(Stop::SignIn(_)) => return Ok(to_page(&app, &id)),
        found => found?,
    };
    let wanted: Wanted = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    if wanted.decision.is_empty() {
        return Ok(to_page(&app, &id));
    }
    asked(&app, &session, &approval, (wanted, Typed::default())).await
}

/// `POST /approvals/{id}/confirm`: the same, with a comment that was typed before.
pub async fn confirm(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, mut answer): (_, _, Answer) = sent(&app, &headers, &id, body).await?;
    let typed = answer.typed()?;
    let Answer { decision, digest, version, shown_at, .. } = answer;
    let wanted = Wanted { decision, digest, version, shown_at };
    asked(&app, &session, &approval, (wanted, typed)).await
}

/// `POST /approvals/{id}/keep`: back from the confirming page, with what was typed there. Nothing is recorded.
pub async fn keep(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, mut answer): (_, _, Answer) = sent(&app, &headers, &id, body).await?;
    let typed = answer.typed()?;
    if typed.is_empty() {
        return Ok(to_page(&app, &id));
    }
    render(&app, &session, &approval, Undone { notice: None, typed }).await
}

/// The confirming page, or the approval with the reason why there is none.
async fn asked(
    app: &App,
    session: &Session,
    approval: &Approval,
    (wanted, typed): (Wanted, Typed),
) -> Result<Response, Stop> {
    let decision = decision(&wanted.decision)?;
    let (mut card, _) = session.worker.cards().card(approval)?;
    let now = card.shown_at;
    let ways = Ways::of(session, approval, &card);
    let approve = decision == Choice::Approve;
    let refused = if wanted.version != card.version {
        Some(Refusal::Stale)
    } else if wanted.digest != card.digest {
        Some(Refusal::DigestMismatch)
    } else if ways.sign_in.is_some() {
        Some(Refusal::StepUp)
    } else if !(if approve { ways.approve } else { ways.deny }) {
        Some(Refusal::NotNow)
    } else {
        None
    };
    if let Some(why) = refused {
        let undone = Undone { notice: Some(words::review_refused(why)), typed };
        return render(app, session, approval, undone).await;
    }
    // The review carries the time at which the whole call was shown.
    card.shown_at =
        Nanos::parse(&wanted.shown_at).filter(|at| *at <= now).ok_or(Stop::Unreadable)?;
    let title = if approve { "Approve?" } else { "Deny?" };
    let requested = approval.state.requested.as_deref().ok_or(Stop::NotFound)?;
    let sign = Sign::of(app, session, &card, (decision, &approval.id))?;
    let mut facts =
        if approve { facts::of(session, approval, &card).await? } else { Facts::default() };
    facts.lines.truncate(facts.warnings());
    let confirm = Confirm {
        sign,
        warnings: facts.lines,
        top: Top::new(app, title, Some(session)),
        approve,
        deadline: Moment::new(card.deadline, now),
        outlook: Outlook::of(session, approval),
        whose: view::whose(&requested.owners, &session.setup),
        token: session.form_token.clone(),
        typed,
        comment_max: TEXT_MAX,
        card,
    };
    Ok(page(StatusCode::OK, &confirm))
}

pub(super) fn decision(text: &str) -> Result<Choice, Stop> {
    match text {
        "approve" => Ok(Choice::Approve),
        "deny" => Ok(Choice::Deny),
        _ => Err(Stop::Unreadable),
    }
}

/// `POST /approvals/{id}/review`: records the review.
///
/// If the session has ended, or the rule wants a newer one, it asks for the sign-in and keeps what was typed.
pub async fn review(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let session = match visitor(&app, &headers) {
        Err(Stop::SignIn(_)) => {
            let carried: Carried = form(&app, &headers, body).await?;
            return signed_out(&app, peer, &headers, (&id, carried)).await;
        }
        session => session?,
    };
    let (_, approval) = seen(&app, &headers, &id).await?;
    let mut answer: Answer = form(&app, &headers, body).await?;
    session.check_form(&answer.token)?;
    let typed = answer.typed()?;
    let said = passkey::Said {
        decision: decision(&answer.decision)?,
        digest: &answer.digest,
        version: answer.version,
        signed: &answer.signed,
    };
    let (auth, signed) = match passkey::authenticate(&app, &session, &approval, &said)? {
        Ok(found) => found,
        Err(why) => {
            let undone = Undone { notice: Some(why), typed };
            return render(&app, &session, &approval, undone).await;
        }
    };
    let (comment, reason, for_agent) = typed.of(said.decision);
    let review = worker::Review {
        by: Some(session.person.clone()),
        decision: said.decision,
        via: Via::Web,
        auth,
        displayed_dig: answer.digest,
        version: answer.version,
        shown_at: Nanos::parse(&answer.shown_at).ok_or(Stop::Unreadable)?,
        comment,
        reason,
        for_agent,
        raw: None,
        signed,
        together: None,
    };
    let done = session.worker.commands.review(&approval.id, review).await?;
    match done.refused {
        None => Ok(to_page(&app, done.approval.id.as_str())),
        Some(why) => {
            let undone =
                Undone { notice: Some(not_recorded(why, &done.approval, &session)), typed };
            render(&app, &session, &done.approval, undone).await
        }
    }
}

/// An answer came without a session: signs in if it has name and key, and then shows the call again.
async fn signed_out(
    app: &App,
    peer: Option<Extension<Peer>>,
    headers: &HeaderMap,
    (id, carried): (&str, Carried),
) -> Result<Response, Stop> {
    if carried.username.is_empty() {
        return Ok(signin::carrying(app, id, carried, false));
    }
    let Some((session, cookie)) = signin::check(app, peer, headers, &carried).await? else {
        return Ok(signin::carrying(app, id, carried, true));
    };
    let mut response = match found(&session, id).await {
        Ok(approval) => {
            let notice = "You were signed out. Nothing was recorded, and your comment is kept.";
            // Whoever signed in now may not have seen the call: it is shown whole.
            let undone = Undone { notice: Some(notice.into()), typed: carried.typed };
            render(app, &session, &approval, undone).await?
        }
        Err(stop) => stop.into_response(),
    };
    for cookie in [cookie, kept::forget(app)].into_iter().flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Why an answer was not recorded. If somebody else was faster, who it was.
pub(super) fn not_recorded(why: Refusal, approval: &Approval, session: &Session) -> String {
    let last = approval.state.reviews.iter().max_by_key(|review| review.at);
    let faster = last.filter(|review| review.by != session.person);
    match (why, faster, approval.is_pending()) {
        (Refusal::Stale | Refusal::NotNow | Refusal::TooLate, Some(review), false) => {
            let name = session.setup.name_of(&review.by);
            let word = view::answer(review.decision).0.to_lowercase();
            format!("{name} {word} this before you. Nothing of yours was recorded.")
        }
        _ => words::review_refused(why),
    }
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
        return render(&app, &session, &approval, not_revoked(Refusal::Stale).into()).await;
    }
    let by = session.person.as_str();
    let done = session.worker.commands.revoke(&approval.id, by, &wanted.reason).await?;
    match done.refused {
        None => Ok(to_page(&app, done.approval.id.as_str())),
        Some(why) => render(&app, &session, &done.approval, not_revoked(why).into()).await,
    }
}

fn not_revoked(why: Refusal) -> String {
    format!("The approval was not revoked. {}", words::refusal(why))
}
