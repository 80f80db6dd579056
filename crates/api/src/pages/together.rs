//! `/together`: one page that lists like calls, and answers those that are ticked. Each is answered and logged by itself,
//! with its own digest and version.
//!
//! In scope: the confirming page and the form. Out of scope: what was recorded (`recorded`).

use super::{
    Stop, Top,
    alike::{self, Alike, Found, Read, TOGETHER_MAX, Together, found},
    answer::decision,
    facts, form, go,
    outlook::{self, Outlook},
    page,
    passkey::word,
    recorded::{self, Outcome},
    session::Session,
    typed::{TEXT_MAX, Typed},
    view, visitor,
};
use crate::{app::App, query};
use approvals::{display::Piece, facts::Part, worker};
use askama::Template;
use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use decider::approval::{Choice, Via};
use ledger::{ident::Ident, time::Nanos};
use std::sync::Arc;

/// A call of a form: its id, and the digest and version that were shown.
struct Sent {
    id: Ident,
    digest: String,
    version: u64,
}

/// Fields of the form, or of the address of the confirming page.
#[derive(Default)]
struct Fields {
    token: String,
    decision: String,
    typed: Typed,
    shown_at: String,
    /// Without repetition, in the order in which they were sent.
    calls: Vec<Sent>,
    ids: Vec<Ident>,
}

impl Fields {
    /// Reads pairs of names and values: `call` comes once for each call.
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Stop> {
        let mut fields = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "token" => fields.token = value,
                "decision" => fields.decision = value,
                "comment" => fields.typed.comment = value,
                "reason" => fields.typed.reason = value,
                "for_agent" => fields.typed.for_agent = value,
                "shown_at" => fields.shown_at = value,
                "ids" => fields.ids = ids(&value)?,
                "call" => {
                    let sent = sent(&value).ok_or(Stop::Unreadable)?;
                    if fields.calls.iter().all(|known| known.id != sent.id) {
                        fields.calls.push(sent);
                    }
                }
                _ => {}
            }
        }
        if fields.calls.len() > TOGETHER_MAX || fields.ids.len() > TOGETHER_MAX {
            return Err(refused(&format!("At most {TOGETHER_MAX} calls are answered together.")));
        }
        fields.typed = fields.typed.checked()?;
        Ok(fields)
    }
}

fn sent(text: &str) -> Option<Sent> {
    let mut parts = text.split('~');
    let (id, digest, version) = (parts.next()?, parts.next()?, parts.next()?);
    let sent =
        Sent { id: Ident::new(id).ok()?, digest: digest.into(), version: version.parse().ok()? };
    parts.next().is_none().then_some(sent)
}

/// Ids with dots between them, without repetition.
fn ids(text: &str) -> Result<Vec<Ident>, Stop> {
    let mut all: Vec<Ident> = Vec::new();
    for id in text.split('.').filter(|id| !id.is_empty()) {
        let id = Ident::new(id).map_err(|_| Stop::Unreadable)?;
        if !all.contains(&id) {
            all.push(id);
        }
    }
    Ok(all)
}

/// Nothing was done at all.
fn refused(why: &str) -> Stop {
    Stop::Failed(StatusCode::CONFLICT, format!("{why} Nothing was recorded."))
}

/// The session. Without one, redirects to the inbox, which asks for the sign-in.
fn session(app: &App, headers: &HeaderMap) -> Result<Session, Stop> {
    match visitor(app, headers) {
        Err(Stop::SignIn(_)) => Err(Stop::Go(Box::new(go(app, "/")))),
        session => session,
    }
}

/// The sender of a form, and its fields.
async fn posted(app: &App, headers: &HeaderMap, body: Body) -> Result<(Session, Fields), Stop> {
    let session = session(app, headers)?;
    let fields = Fields::read(form(app, headers, body).await?)?;
    session.check_form(&fields.token)?;
    Ok((session, fields))
}

#[derive(Template)]
#[template(path = "together.html")]
struct TogetherPage {
    top: Top,
    approve: bool,
    list: Together,
    /// Calls that are not in the list: id, sentence, and why.
    left_out: Vec<(String, String, String)>,
    /// Number of calls that this person may not see, or that do not exist.
    missing: usize,
    /// What an answer leads to, if that is the same for all.
    then: Option<String>,
    token: String,
    shown_at: Nanos,
    typed: Typed,
    comment_max: usize,
}

/// `GET /together?decision=…&ids=a.b.c`: lists the calls, and changes nothing.
pub async fn ask(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let session = session(&app, &headers)?;
    let pairs = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let fields = Fields::read(pairs)?;
    asked(&app, &session, &fields.ids, &fields.decision, fields.typed).await
}

/// `POST /together/confirm`: the same for the calls that are still ticked, with what was typed.
pub async fn again(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, fields) = posted(&app, &headers, body).await?;
    let ids: Vec<Ident> = fields.calls.into_iter().map(|call| call.id).collect();
    asked(&app, &session, &ids, &fields.decision, fields.typed).await
}

/// The confirming page.
async fn asked(
    app: &App,
    session: &Session,
    ids: &[Ident],
    wanted: &str,
    typed: Typed,
) -> Result<Response, Stop> {
    let decision = decision(wanted)?;
    if let Some(why) = alike::signs(session) {
        return Err(refused(why));
    }
    let (found, missing) = found(session, ids).await?;
    check_alike(&found)?;
    let (mut list, mut left_out, mut thens) = (Vec::new(), Vec::new(), Vec::new());
    let (listed, alone): (Vec<_>, Vec<_>) = found
        .into_iter()
        .map(|one| (alike::alone(session, &one.approval, &one.card, decision), one))
        .partition(|(why, _)| why.is_none());
    for (why, Found { approval, card }) in alone {
        let why = why.unwrap_or_default();
        left_out.push((approval.id.to_string(), view::sentence(&card, 90), why));
    }
    let calls: Vec<_> = listed.iter().map(|(_, one)| (&one.approval, &one.card)).collect();
    let facts = facts::together(session, &calls).await?;
    for ((_, Found { approval, card }), facts) in listed.into_iter().zip(facts) {
        let outlook = Outlook::of(session, &approval);
        thens.push(if decision == Choice::Approve { outlook.after_yes } else { outlook.after_no });
        let owners = approval.state.requested.as_deref().map(|requested| &requested.owners[..]);
        let whose = view::whose(owners.unwrap_or_default(), &session.setup);
        list.push(Read { card, whose, waits_for: outlook::waits_for(session, &approval), facts });
    }
    let now = app.ledger.now();
    // The earliest of the times at which the calls were read: a review never says that it was shown later.
    let shown_at = list.iter().map(|one| one.card.shown_at).min().unwrap_or(now);
    let Some(list) = Together::of(&list, now) else {
        let why = left_out.pop().map(|(_, _, why)| why);
        let why = why.unwrap_or_else(|| "None of these calls waits for you.".into());
        return Err(refused(&why));
    };
    let approve = decision == Choice::Approve;
    let title = if approve { "Approve like calls?" } else { "Deny like calls?" };
    let same = thens.iter().all(|then| Some(then) == thens.first());
    let listed = TogetherPage {
        top: Top::new(app, title, Some(session)),
        approve,
        list,
        left_out,
        missing,
        then: thens.into_iter().next().filter(|_| same),
        token: session.form_token.clone(),
        shown_at,
        typed,
        comment_max: TEXT_MAX,
    };
    Ok(page(StatusCode::OK, &listed))
}

/// Refuses calls that are not alike: a sum and one list would say nothing about them.
fn check_alike(found: &[Found]) -> Result<(), Stop> {
    let kinds = found.iter().filter_map(|Found { approval, card }| {
        Some(Alike::of(approval.state.requested.as_deref()?, card))
    });
    let kinds: Vec<Alike> = kinds.collect();
    if kinds.iter().all(|kind| Some(kind) == kinds.first()) {
        return Ok(());
    }
    Err(refused("These calls are not alike: tool, action, rule and currency must be the same."))
}

/// `POST /together`: answers each of the ticked calls, and shows what was recorded of each.
pub async fn answer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, fields) = posted(&app, &headers, body).await?;
    let decision = decision(&fields.decision)?;
    let now = app.ledger.now();
    let shown_at =
        Nanos::parse(&fields.shown_at).filter(|at| *at <= now).ok_or(Stop::Unreadable)?;
    if let Some(why) = alike::signs(&session) {
        return Err(refused(why));
    }
    if fields.calls.is_empty() {
        return Err(refused("No call is ticked."));
    }
    let ids: Vec<Ident> = fields.calls.iter().map(|call| call.id.clone()).collect();
    let (found, _) = found(&session, &ids).await?;
    check_alike(&found)?;
    let (comment, reason, for_agent) = fields.typed.of(decision);
    let count = u32::try_from(fields.calls.len()).unwrap_or(u32::MAX);
    let mut outcomes = Vec::with_capacity(fields.calls.len());
    for sent in fields.calls {
        let known = found.iter().find(|known| known.approval.id == sent.id);
        let review = worker::Review {
            by: Some(session.person.clone()),
            decision,
            via: Via::Web,
            auth: session.auth,
            displayed_dig: sent.digest,
            version: sent.version,
            shown_at,
            comment: comment.clone(),
            reason,
            for_agent: for_agent.clone(),
            raw: None,
            signed: None,
            together: Some(count),
        };
        let outcome = match known {
            Some(known) => one(&session, known, review).await,
            None => Outcome::Gone,
        };
        outcomes.push((sent.id, outcome));
    }
    Ok(go(&app, &recorded::address(word(decision), &outcomes)))
}

/// Answers one call. Other calls are answered whatever happens to this one.
async fn one(session: &Session, known: &Found, review: worker::Review) -> Outcome {
    let Found { approval, card } = known;
    let stale = review.version != card.version;
    let alone = alike::alone(session, approval, card, review.decision);
    // What changed is named by the command, which also knows who was faster.
    if alone.is_some() && !stale {
        return Outcome::Alone;
    }
    match session.worker.commands.review(&approval.id, review).await {
        Ok(done) => done.refused.map_or(Outcome::Recorded, Outcome::Refused),
        Err(error) => {
            tracing::warn!(approval = %approval.id, %error, "one of like calls was not answered");
            Outcome::Failed
        }
    }
}
