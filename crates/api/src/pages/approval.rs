//! `/approvals/{id}`: the frozen call, who must answer, and the way to an answer: page, one confirming page, done.

use super::{
    Stop, Top, form, go, page,
    session::Session,
    view::{self, Moment, Told},
    visitor,
};
use crate::app::App;
use approvals::{
    cards::{Card, FrozenCall, Making, in_words},
    history::Approval,
    worker,
};
use askama::Template;
use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use decider::approval::{Auth, Decision, Method, Phase, Refusal, Via};
use ledger::{foreign::harmless, ident::Ident, time::Nanos};
use serde::Deserialize;
use std::sync::Arc;

/// Longest comment, in characters.
const COMMENT_MAX: usize = 2_000;
/// Why somebody takes an approval back: codes, and how they read.
const REVOKE_REASONS: [(&str, &str); 4] = [
    ("mistake", "It was a mistake"),
    ("not_needed", "It is not needed any more"),
    ("suspicious", "Something is suspicious"),
    ("other", "Another reason"),
];

/// An approval as one person sees it now.
pub struct Shown {
    /// What every channel shows.
    pub card: Card,
    /// The frozen call, exactly as it was hashed, made harmless to look at; `None` when it is gone.
    pub hashed: Option<String>,
}

impl Shown {
    /// `None`: it was never asked for.
    pub fn of(
        app: &App,
        session: &Session,
        approval: &Approval,
        now: Nanos,
    ) -> Result<Option<Self>, Stop> {
        let (_, frozen) = session.worker.opening(approval)?;
        let call = frozen.as_ref().map(|frozen| FrozenCall {
            params: &frozen.params,
            agent_says: frozen.agent_says.as_deref(),
        });
        let card = Card::of(&Making {
            tenant: &session.tenant.name,
            approval: &approval.id,
            state: &approval.state,
            call,
            setup: Some(&session.setup),
            public_url: &app.config.file.public_url,
            now,
        });
        let Some(mut card) = card else { return Ok(None) };
        let same = frozen.filter(|frozen| frozen.digest == card.digest);
        let hashed = same.map(|frozen| harmless(&frozen.canonical));
        // What can't be shown to be the hashed call is not approved (P7).
        card.complete &= hashed.is_some();
        Ok(Some(Self { card, hashed }))
    }
}

/// What this person can do now.
struct Ways {
    approve: bool,
    deny: bool,
    revoke: bool,
    /// A sign-in younger than so many minutes is wanted first.
    sign_in: Option<u64>,
    /// Why nothing can be done.
    why: &'static str,
}

impl Ways {
    fn of(session: &Session, approval: &Approval, card: &Card) -> Self {
        let nothing = |why| Self { approve: false, deny: false, revoke: false, sign_in: None, why };
        let state = &approval.state;
        if !session.worker.may_review(&session.person, approval) || state.corrupt {
            return nothing("You can look at this, and not decide about it.");
        }
        if matches!(card.phase, Phase::Granted | Phase::Minted) {
            return Self { revoke: true, ..nothing("") };
        }
        if card.phase != Phase::Pending {
            return nothing("It is over. Nothing is left to decide.");
        }
        if card.shown_at >= card.deadline {
            return nothing("The deadline has passed. Nothing is left to decide.");
        }
        if !card.complete {
            return nothing(
                "The frozen call is gone or can't be shown in full, so it can't be decided.",
            );
        }
        let mine = state.review_by(&session.person).map(|review| review.decision);
        if mine == Some(Decision::Deny) {
            return nothing("You have answered.");
        }
        let fresh = state.requested.as_ref().and_then(|requested| requested.rule.step_up);
        let age = card.shown_at.seconds().saturating_sub(session.signed_in_at.seconds());
        let sign_in = fresh.filter(|seconds| age >= *seconds).map(|seconds| seconds.div_ceil(60));
        let may = sign_in.is_none();
        Self { approve: may && mine.is_none(), deny: may, revoke: false, sign_in, why: "" }
    }
}

/// One message of the history.
struct StepShown {
    n: u64,
    at: Moment,
    lines: Vec<Told>,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct ApprovalPage {
    top: Top,
    card: Card,
    hashed: Option<String>,
    phase: (&'static str, &'static str),
    notice: Option<&'static str>,
    requested: Moment,
    deadline: Moment,
    execution_deadline: Option<Moment>,
    rule_words: String,
    answers: Vec<(String, (&'static str, &'static str), Moment)>,
    mine: Option<(&'static str, &'static str)>,
    steps: Vec<StepShown>,
    ways: Ways,
    reasons: &'static [(&'static str, &'static str)],
    token: String,
}

/// Renders it; `notice`: why what was wanted was not done.
fn render(
    app: &App,
    session: &Session,
    approval: &Approval,
    notice: Option<&'static str>,
) -> Result<Response, Stop> {
    let now = super::now();
    let shown = Shown::of(app, session, approval, now)?.ok_or(Stop::NotFound)?;
    let Shown { card, hashed } = shown;
    let requested = approval.state.requested.as_deref().ok_or(Stop::NotFound)?;
    let steps = approval.steps.iter().rev().map(|step| StepShown {
        n: step.n,
        at: Moment::new(step.at, now),
        lines: step.events.iter().map(|event| view::told(event, &session.setup)).collect(),
    });
    let answers = card
        .reviews
        .iter()
        .map(|(name, decision, at)| (name.clone(), view::answer(*decision), Moment::new(*at, now)));
    let mine = approval.state.review_by(&session.person);
    let title = format!("{} · {}", view::short(&card.tool, 40), view::short(&card.action, 40));
    let page_of = ApprovalPage {
        top: Top::new(app, title, Some(session)),
        phase: view::phase(card.phase),
        notice,
        requested: Moment::new(requested.requested_at, now),
        deadline: Moment::new(card.deadline, now),
        execution_deadline: card.execution_deadline.map(|at| Moment::new(at, now)),
        rule_words: in_words(&requested.rule.quorum),
        answers: answers.collect(),
        mine: mine.map(|review| view::answer(review.decision)),
        steps: steps.collect(),
        ways: Ways::of(session, approval, &card),
        reasons: &REVOKE_REASONS,
        token: session.form_token.clone(),
        hashed,
        card,
    };
    let status = if notice.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    Ok(page(status, &page_of))
}

/// The session and the approval, if this person may see it. Signed out: the form, before anything is looked for.
async fn seen(app: &App, headers: &HeaderMap, id: &str) -> Result<(Session, Approval), Stop> {
    let session = visitor(app, headers)?;
    let id = Ident::new(id).map_err(|_| Stop::NotFound)?;
    let approval = session.worker.get(&id).await?.ok_or(Stop::NotFound)?;
    if session.may_see(&approval) { Ok((session, approval)) } else { Err(Stop::NotFound) }
}

/// As [`seen`], for a form; signed out meanwhile: back to the page, which asks for the sign-in.
async fn sent(
    app: &App,
    headers: &HeaderMap,
    id: &str,
) -> Result<(Session, Approval), Result<Response, Stop>> {
    match seen(app, headers, id).await {
        Err(Stop::SignIn(_)) => Err(Ok(to_page(app, id))),
        other => other.map_err(Err),
    }
}

fn to_page(app: &App, id: &str) -> Response {
    match Ident::new(id) {
        Ok(id) => go(app, &format!("/approvals/{id}")),
        Err(_) => Stop::NotFound.into_response(),
    }
}

/// `GET /approvals/{id}`
pub async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let (session, approval) = seen(&app, &headers, &id).await?;
    render(&app, &session, &approval, None)
}

/// `GET` of what only takes forms (a reload, a sign-in in between): the page.
pub async fn back(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    to_page(&app, &id)
}

#[derive(Template)]
#[template(path = "changed.html")]
struct Changed {
    href: String,
    changed: bool,
}

#[derive(Deserialize)]
struct Since {
    version: u64,
}

/// `GET /approvals/{id}/changed?version=…`: whether the page is still as it was.
pub async fn changed(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let approval = match seen(&app, &headers, &id).await {
        Err(Stop::SignIn(_)) => return Ok(super::signed_out()),
        found => found?.1,
    };
    let since: Since = crate::routes::query(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let href = format!("{}/approvals/{}", super::base(&app), approval.id);
    let changed = approval.state.version != since.version;
    Ok(page(StatusCode::OK, &Changed { href, changed }))
}

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
    let (session, approval) = match sent(&app, &headers, &id).await {
        Ok(found) => found,
        Err(other) => return other,
    };
    let answer: Answer = form(&app, &headers, body).await?;
    session.check_form(&answer.token)?;
    let decision = answer.decision()?;
    let now = super::now();
    let shown = Shown::of(&app, &session, &approval, now)?.ok_or(Stop::NotFound)?;
    let mut card = shown.card;
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
    let (session, approval) = match sent(&app, &headers, &id).await {
        Ok(found) => found,
        Err(other) => return other,
    };
    let answer: Answer = form(&app, &headers, body).await?;
    session.check_form(&answer.token)?;
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

#[derive(Deserialize)]
struct Revocation {
    token: String,
    version: u64,
    reason: String,
}

/// `POST /approvals/{id}/revoke`: takes a grant back that was not used yet.
pub async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval) = match sent(&app, &headers, &id).await {
        Ok(found) => found,
        Err(other) => return other,
    };
    let wanted: Revocation = form(&app, &headers, body).await?;
    session.check_form(&wanted.token)?;
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

/// `GET /approvals/{id}/receipts/{n}`: the receipt of its n-th message; 0: of the event that opened it.
pub async fn receipt(
    State(app): State<Arc<App>>,
    Path((id, n)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let (session, approval) = seen(&app, &headers, &id).await?;
    let opening = approval.state.requested.as_ref().map(|requested| requested.opening.index);
    let n: u64 = n.parse().map_err(|_| Stop::NotFound)?;
    let step = approval.steps.iter().find(|step| step.n == n).map(|step| step.index);
    let index = if n == 0 { opening } else { step };
    let published = session.tenant.published();
    let reader = app.ledger.reader(&session.tenant, &published);
    let receipt = index.map(|index| reader.receipt(index)).transpose()?.flatten();
    let receipt = receipt.ok_or(Stop::NotFound)?;
    let name = format!("attachment; filename=\"{}-{n}.tlog-proof\"", approval.id);
    let name = HeaderValue::from_str(&name).map_err(|_| Stop::NotFound)?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, receipt.to_string()).into_response())
}
