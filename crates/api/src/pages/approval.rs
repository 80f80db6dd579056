//! `/approvals/{id}`: the frozen call, the people who must answer, and the forms: page, one confirmation,
//! done.

use super::{
    Stop, Top, facts, freezable, go, kept,
    outlook::Outlook,
    page, questions,
    session::Session,
    signin,
    typed::Typed,
    view::{self, Moment, Told},
    visitor,
};
use crate::{app::App, auth::NOTHING_AFTER, grades::Grades, query};
use approvals::{
    cards::{Card, in_words},
    display::Piece,
    facts::{Facts, Part},
    history::{Approval, Step},
    worker::{self, Brief},
};
use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use decider::approval::{Choice, Event, Phase};
use ledger::{
    foreign::harmless,
    ident::Ident,
    post::{Shown, ShownVia},
    time::Nanos,
};
use serde::Deserialize;
use std::{sync::Arc, time::Instant};

/// Reasons for a revocation: codes, and their words.
pub(super) const REVOKE_REASONS: [(&str, &str); 4] = [
    ("mistake", "It was a mistake"),
    ("not_needed", "It is no longer needed"),
    ("suspicious", "Something is suspicious"),
    ("other", "Another reason"),
];

/// What this person can do now.
pub(super) struct Ways {
    pub approve: bool,
    pub deny: bool,
    pub revoke: bool,
    /// If set, a sign-in younger than this many minutes is needed first.
    pub sign_in: Option<u64>,
    /// Why nothing can be done.
    pub why: &'static str,
}

impl Ways {
    pub fn of(session: &Session, approval: &Approval, card: &Card) -> Self {
        let nothing = |why| Self { approve: false, deny: false, revoke: false, sign_in: None, why };
        let state = &approval.state;
        if !session.worker.lists.may_review(&session.person, approval) || state.corrupt {
            return nothing("You can read this, but not review it.");
        }
        if matches!(card.phase, Phase::Granted | Phase::Minted) {
            return Self { revoke: true, ..nothing("") };
        }
        if card.phase != Phase::Pending {
            return nothing("The approval is over.");
        }
        if card.shown_at >= card.deadline {
            return nothing("The deadline has passed.");
        }
        if card.params.is_empty() {
            return nothing("The call was erased or can't be read, so it can't be reviewed.");
        }
        let mine = state.review_by(&session.person).map(|review| review.decision);
        if mine == Some(Choice::Deny) {
            return nothing("You have already answered.");
        }
        // An answer that a passkey signs is a sign-in of its own.
        let fresh = state.requested.as_ref().filter(|_| !session.passkey);
        let fresh = fresh.and_then(|requested| requested.rule.step_up);
        let age = card.shown_at.seconds().saturating_sub(session.auth.at.seconds());
        let sign_in = fresh.filter(|seconds| age >= *seconds).map(|seconds| seconds.div_ceil(60));
        let may = sign_in.is_none();
        // What can't be shown whole can be denied.
        let approve = may && mine.is_none() && card.complete;
        Self { approve, deny: may, revoke: false, sign_in, why: "" }
    }
}

/// One message of the history.
struct StepShown {
    n: u64,
    at: Moment,
    lines: Vec<Told>,
    /// The comment beside a review.
    comment: Option<String>,
    /// What a person who denied told the agent.
    for_agent: Option<String>,
}

impl StepShown {
    fn new(step: &Step, session: &Session, now: Nanos) -> Result<Self, Stop> {
        let evidence = step.events.iter().find_map(|event| match event {
            Event::Reviewed { evidence, .. } => *evidence,
            _ => None,
        });
        let reader = session.worker.reader();
        let said = |member| evidence.map(|at| reader.words(at, member)).transpose();
        let (comment, for_agent) = (said("comment")?.flatten(), said(worker::FOR_AGENT)?.flatten());
        let clean = |text: String| text.lines().map(harmless).collect::<Vec<_>>().join("\n");
        Ok(Self {
            n: step.n,
            at: Moment::new(step.at, now),
            lines: step.events.iter().map(|event| view::told(event, &session.setup)).collect(),
            comment: comment.map(clean),
            for_agent: for_agent.map(clean),
        })
    }
}

#[derive(Template)]
#[template(path = "approval.html")]
struct ApprovalPage {
    top: Top,
    card: Card,
    /// The frozen call, exactly as it was hashed, made safe to show. `None` if it was erased.
    hashed: Option<String>,
    phase: (&'static str, &'static str),
    notice: Option<String>,
    requested: Moment,
    deadline: Moment,
    execution_deadline: Option<Moment>,
    rule_words: String,
    answers: Vec<AnswerShown>,
    mine: Option<(&'static str, &'static str)>,
    steps: Vec<StepShown>,
    ways: Ways,
    reasons: &'static [(&'static str, &'static str)],
    token: String,
    /// What this person may freeze of the call.
    freezable: freezable::Choices,
    /// What is still needed, and what comes after an answer.
    outlook: Outlook,
    /// What the log says of earlier calls.
    facts: Facts,
    /// Owners of the agent.
    whose: Option<String>,
    /// Who stands behind what the page shows.
    grade: String,
    /// What was typed and not recorded.
    typed: Typed,
    /// True if this person may put a question now.
    may_ask: bool,
    /// What people asked.
    questions: Vec<questions::Shown>,
    /// Number of calls that wait for this person, this one included.
    waiting: usize,
    /// The next call that waits for this person: id and sentence.
    next: Option<(String, String)>,
}

impl ApprovalPage {
    /// How many questions there are, in words.
    fn asked(&self) -> String {
        let open = self.questions.iter().filter(|question| question.reply.is_none()).count();
        match (self.questions.len(), open) {
            (1, 0) => "1 question, answered".into(),
            (1, _) => "1 question, not answered yet".into(),
            (all, 0) => format!("{all} questions, all answered"),
            (all, open) => format!("{all} questions, {open} not answered yet"),
        }
    }

    /// True if the page has a bar with buttons.
    fn has_bar(&self) -> bool {
        self.ways.approve || self.ways.deny || self.may_ask || self.ways.sign_in.is_some()
    }
}

/// What one person answered.
struct AnswerShown {
    name: String,
    /// In words, and the class of its colour.
    words: &'static str,
    class: &'static str,
    at: Moment,
}

impl AnswerShown {
    fn new(name: &str, decision: Choice, at: Moment) -> Self {
        let (words, class) = view::answer(decision);
        Self { name: name.to_owned(), words, class, at }
    }
}

/// Why the requested act was not done, and what was typed with it.
#[derive(Default)]
pub(super) struct Undone {
    pub notice: Option<String>,
    pub typed: Typed,
}

impl From<String> for Undone {
    fn from(notice: String) -> Self {
        Self { notice: Some(notice), typed: Typed::default() }
    }
}

/// Renders the page.
pub(super) async fn render(
    app: &App,
    session: &Session,
    approval: &Approval,
    undone: Undone,
) -> Result<Response, Stop> {
    let Undone { notice, typed } = undone;
    let status = if notice.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let (card, frozen) = session.worker.cards().card(approval)?;
    let now = card.shown_at;
    let requested = approval.state.requested.as_deref().ok_or(Stop::NotFound)?;
    let steps = approval.steps.iter().rev().map(|step| StepShown::new(step, session, now));
    let answers = card
        .reviews
        .iter()
        .map(|(name, decision, at)| AnswerShown::new(name, *decision, Moment::new(*at, now)));
    let mine = approval.state.review_by(&session.person);
    let waiting = session.worker.lists.waiting_for(&session.person);
    let next = next_of(session, approval, &waiting).await?;
    let asks = card.phase == Phase::Pending;
    let facts = if asks { facts::of(session, approval, &card).await? } else { Facts::default() };
    let title = view::sentence(&card, 90);
    let published = session.tenant.published();
    let page_of = ApprovalPage {
        top: Top::new(app, title, Some(session)),
        phase: view::phase(&card),
        notice,
        requested: Moment::new(requested.requested_at, now),
        deadline: Moment::new(card.deadline, now),
        execution_deadline: card.execution_deadline.map(|at| Moment::new(at, now)),
        rule_words: in_words(&requested.rule.quorum),
        answers: answers.collect(),
        mine: mine.map(|review| view::answer(review.decision)),
        steps: steps.collect::<Result<_, _>>()?,
        ways: Ways::of(session, approval, &card),
        reasons: &REVOKE_REASONS,
        token: session.form_token.clone(),
        hashed: frozen.map(|frozen| harmless(&frozen.canonical)),
        freezable: freezable::choices(app, session, (approval, &card))?,
        outlook: Outlook::of(session, approval),
        facts,
        whose: view::whose(&requested.owners, &session.setup),
        grade: Grades::of(app, &session.tenant, &published).words(published.size),
        typed,
        may_ask: questions::may_ask(session, approval, &card),
        questions: questions::all(session, approval, now)?,
        waiting: waiting.len(),
        next,
        card,
    };
    let shown =
        Shown { to: session.person.clone(), version: approval.state.version, via: ShownVia::Web };
    session.worker.commands.showings.note(&approval.id, shown);
    Ok(page(status, &page_of))
}

/// The next call that waits for this person, after this one in the order of the inbox.
async fn next_of(
    session: &Session,
    approval: &Approval,
    waiting: &[Arc<Brief>],
) -> Result<Option<(String, String)>, Stop> {
    let place = approval.state.approval_deadline().map(|at| (at, &approval.id));
    let after = |brief: &&Arc<Brief>| place.is_none_or(|place| (brief.deadline, &brief.id) > place);
    let others = || waiting.iter().filter(|brief| brief.id != approval.id);
    let Some(brief) = others().find(after).or_else(|| others().next()) else { return Ok(None) };
    let Some(found) = session.worker.reader().get(&brief.id).await? else { return Ok(None) };
    let (card, _) = session.worker.cards().card(&found)?;
    Ok(Some((brief.id.to_string(), view::sentence(&card, 80))))
}

/// The session and the approval, if this person may see it. If nobody is signed in, the form, before anything
/// is looked up.
pub(super) async fn seen(
    app: &App,
    headers: &HeaderMap,
    id: &str,
) -> Result<(Session, Approval), Stop> {
    let session = visitor(app, headers)?;
    let approval = found(&session, id).await?;
    Ok((session, approval))
}

/// The approval, if this person may see it. What does not exist and what is not for them take as long.
pub(super) async fn found(session: &Session, id: &str) -> Result<Approval, Stop> {
    found_by(session, id, |found| session.may_see(found)).await
}

/// The approval, if `may` allows it.
pub(super) async fn found_by(
    session: &Session,
    id: &str,
    may: impl Fn(&Approval) -> bool,
) -> Result<Approval, Stop> {
    let asked = Instant::now();
    let id = Ident::new(id).map_err(|_| Stop::NotFound)?;
    if let Some(approval) = session.worker.reader().find(&id, may).await? {
        return Ok(approval);
    }
    tokio::time::sleep_until((asked + NOTHING_AFTER).into()).await;
    Err(Stop::NotFound)
}

pub(super) fn to_page(app: &App, id: &str) -> Response {
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
    let Some((typed, over)) = kept::take(&app, &headers, &id) else {
        return render(&app, &session, &approval, Undone::default()).await;
    };
    let notice =
        Some("You were signed out. Nothing was recorded, and your comment is kept.".into());
    let mut response = render(&app, &session, &approval, Undone { notice, typed }).await?;
    *response.status_mut() = StatusCode::OK;
    Ok(signin::with_cookie(response, over))
}

/// `GET` of an address that only takes forms (after a reload or a sign-in): redirects to the page.
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

/// `GET /approvals/{id}/changed?version=…`: whether the page is still current.
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
    let since: Since = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let href = format!("{}/approvals/{}", app.config.base(), approval.id);
    let changed = approval.state.version != since.version;
    Ok(page(StatusCode::OK, &Changed { href, changed }))
}

/// `GET /approvals/{id}/receipts/{n}`: the receipt of message n. For 0, that of the decision.
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
