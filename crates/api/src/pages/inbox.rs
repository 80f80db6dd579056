//! `/`: the approvals that I may decide, oldest deadline first, and those that I decided. Nothing is approved
//! here.

use super::{
    Stop, Top, page,
    session::Session,
    view::{self, Moment},
    visitor,
};
use crate::{app::App, query};
use approvals::{
    history::Approval,
    worker::{Brief, Parties as _},
};
use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use ledger::{ident::Ident, time::Nanos};
use serde::Deserialize;
use std::sync::Arc;

/// Approvals on one page.
const PAGE_MAX: usize = 50;
/// Longest text of an approval in the list, in characters.
const TEXT_MAX: usize = 64;
#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    top: Top,
    /// True to list what I decided instead of what waits for me.
    decided: bool,
    items: Vec<Item>,
    /// Number of approvals that wait for me.
    waiting: usize,
    /// Leaf index of the newest waiting approval. A later one is news.
    newest: u64,
    /// Cursor of the next page.
    next: Option<String>,
    /// True if this is not the first page.
    later: bool,
    news: News,
}

/// One approval in the list.
struct Item {
    id: String,
    headline: String,
    call: String,
    agent: String,
    when: Moment,
    phase: (&'static str, &'static str),
    /// My review.
    mine: Option<(&'static str, &'static str)>,
    needed: String,
}

/// Approvals that came since the list was made.
#[derive(Template)]
#[template(path = "inbox_new.html")]
struct News {
    base: String,
    count: usize,
}

#[derive(Default, Deserialize)]
struct Query {
    /// `decided`
    #[serde(default)]
    show: String,
    /// Cursor of the last approval on the page before: `<list><sort key>.<id>`, the list `w` or `d`.
    #[serde(default)]
    after: String,
}

/// `GET /`
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let session = visitor(&app, &headers)?;
    let query: Query = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let decided = match query.show.as_str() {
        "" => false,
        "decided" => true,
        _ => return Err(Stop::Unreadable),
    };
    let after = place(&query.after, decided)?;
    let waiting = session.worker.lists.waiting_for(&session.person);
    let newest = waiting.iter().map(|a| a.opening).max().unwrap_or(0);
    let count = waiting.len();
    let all = if decided { decided_by(&session) } else { waiting };
    let by = decided.then_some(&session.person);
    let begin = after.map_or(0, |after| all.partition_point(|a| key(a, by) <= after));
    let shown = &all[begin..all.len().min(begin + PAGE_MAX)];
    let more = begin + shown.len() < all.len();
    let next = shown.last().filter(|_| more).map(|last| {
        let (sort, id) = key(last, by);
        format!("{}{sort}.{id}", mark(decided))
    });
    let now = app.ledger.now();
    let mut items = Vec::with_capacity(shown.len());
    for brief in shown {
        if let Some(approval) = session.worker.reader().get(&brief.id).await? {
            items.push(item(&session, &approval, now)?);
        }
    }
    let title = if decided { "Decided by me" } else { "Waiting for me" };
    let top = Top::new(&app, title, Some(&session));
    let news = News { base: top.base.clone(), count: 0 };
    let later = begin > 0;
    let inbox = Inbox { top, decided, items, waiting: count, newest, next, later, news };
    Ok(page(StatusCode::OK, &inbox))
}

#[derive(Deserialize)]
struct Since {
    after: u64,
}

/// `GET /new?after=<leaf index>`: number of waiting approvals beyond the list, for the button above it.
pub async fn news(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let since: Since = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let base = app.config.base().to_owned();
    let session = match visitor(&app, &headers) {
        Err(Stop::SignIn(_)) => return Ok(super::signed_out()),
        session => session?,
    };
    let waiting = session.worker.lists.waiting_for(&session.person);
    let count = waiting.iter().filter(|a| a.opening > since.after).count();
    Ok(page(StatusCode::OK, &News { base, count }))
}

/// Approvals that this person decided, in order: those that are open, and those that ended recently.
fn decided_by(session: &Session) -> Vec<Arc<Brief>> {
    let person = &session.person;
    let mut all = session.worker.lists.open();
    all.extend(session.worker.lists.recent());
    all.retain(|approval| approval.answered(person).is_some());
    all.sort_unstable_by(|a, b| key(a, Some(person)).cmp(&key(b, Some(person))));
    all
}

/// Sort key: oldest deadline first. For decided approvals, the person's last review first.
fn key<'a>(approval: &'a Brief, decided_by: Option<&Ident>) -> (u64, &'a str) {
    let answered = |person| approval.answered(person).unwrap_or_default();
    let sort = match decided_by {
        Some(person) => u64::MAX - answered(person).0,
        None => approval.deadline.0,
    };
    (sort, approval.id.as_str())
}

/// First letter of a list's cursors, so that a cursor of one list is refused for the other.
fn mark(decided: bool) -> char {
    if decided { 'd' } else { 'w' }
}

/// The place that a cursor names. `None` for the first page.
fn place(after: &str, decided: bool) -> Result<Option<(u64, &str)>, Stop> {
    if after.is_empty() {
        return Ok(None);
    }
    let (sort, id) = after
        .strip_prefix(mark(decided))
        .and_then(|place| place.split_once('.'))
        .ok_or(Stop::Unreadable)?;
    let fits = Ident::new(id).is_ok() && sort.bytes().all(|byte| byte.is_ascii_digit());
    let sort = sort.parse().ok().filter(|_| fits).ok_or(Stop::Unreadable)?;
    Ok(Some((sort, id)))
}

fn item(session: &Session, approval: &Approval, now: Nanos) -> Result<Item, Stop> {
    let (card, _) = session.worker.cards().card(approval)?;
    let call =
        format!("{} · {}", view::short(&card.tool, TEXT_MAX), view::short(&card.action, TEXT_MAX));
    let mine = approval.state.review_by(&session.person);
    let at = mine.map_or(card.deadline, |review| review.at);
    Ok(Item {
        id: approval.id.to_string(),
        headline: card.amount.clone().unwrap_or_else(|| call.clone()),
        call: if card.amount.is_some() { call } else { String::new() },
        agent: view::short(&card.agent, TEXT_MAX),
        when: Moment::new(at, now),
        phase: view::phase(&card),
        mine: mine.map(|review| view::answer(review.decision)),
        needed: card.needed.join(" and "),
    })
}
