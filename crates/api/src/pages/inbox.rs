//! `/`: what I may decide, oldest deadline first, and what I did decide. It never approves anything.

use super::{
    Stop, Top, page,
    session::Session,
    view::{self, Moment},
    visitor,
};
use crate::app::App;
use approvals::history::Approval;
use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use ledger::time::Nanos;
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
    /// What I did decide, instead of what I may.
    decided: bool,
    items: Vec<Item>,
    /// All that wait for me.
    waiting: usize,
    /// The newest that wait; what comes later is new.
    newest: u64,
    /// Where the next page begins.
    next: Option<String>,
    /// Whether this is not the first page.
    later: bool,
    news: News,
}

/// One line.
struct Item {
    id: String,
    headline: String,
    call: String,
    agent: String,
    when: Moment,
    phase: (&'static str, &'static str),
    /// My answer.
    mine: Option<(&'static str, &'static str)>,
    needed: String,
}

/// What became known since the list was made.
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
    /// `<sort key>.<id>` of the last one on the page before.
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
    let query: Query = crate::routes::query(raw.as_deref()).unwrap_or_default();
    let decided = query.show == "decided";
    let waiting = session.worker.waiting_for(&session.person);
    let newest = waiting.iter().filter_map(|a| opened(a)).max().unwrap_or(0);
    let count = waiting.len();
    let all = if decided { decided_by(&session) } else { waiting };
    let begin =
        place(&query.after).map_or(0, |after| all.partition_point(|a| key(a, decided) <= after));
    let shown = &all[begin..all.len().min(begin + PAGE_MAX)];
    let more = begin + shown.len() < all.len();
    let next = shown.last().filter(|_| more).map(|last| {
        let (sort, id) = key(last, decided);
        format!("{sort}.{id}")
    });
    let now = super::now();
    let mut items = Vec::with_capacity(shown.len());
    for approval in shown {
        items.push(item(&session, approval, now)?);
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

/// `GET /new?after=<leaf index>`: how many more wait than the list shows, for the button above it.
pub async fn news(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let since: Since = crate::routes::query(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let base = super::base(&app).to_owned();
    let session = match visitor(&app, &headers) {
        Err(Stop::SignIn(_)) => return Ok(super::signed_out()),
        session => session?,
    };
    let newer = |a: &&Arc<Approval>| opened(a).is_some_and(|index| index > since.after);
    let waiting = session.worker.waiting_for(&session.person);
    let count = waiting.iter().filter(newer).count();
    Ok(page(StatusCode::OK, &News { base, count }))
}

/// Leaf index of the event that opened it.
fn opened(approval: &Approval) -> Option<u64> {
    Some(approval.state.requested.as_ref()?.opening.index)
}

/// What this person decided, in order: all that is not over, and what ended lately.
fn decided_by(session: &Session) -> Vec<Arc<Approval>> {
    let mut all = session.worker.open_approvals();
    all.extend(session.worker.recent());
    all.retain(|approval| approval.state.review_by(&session.person).is_some());
    all.sort_unstable_by(|a, b| key(a, true).cmp(&key(b, true)));
    all
}

/// The order: oldest deadline first; of what was decided, the last answer first.
fn key(approval: &Approval, decided: bool) -> (u64, &str) {
    let sort = if decided {
        let last = approval.state.reviews.iter().map(|review| review.at.0).max();
        u64::MAX - last.unwrap_or_default()
    } else {
        approval.state.approval_deadline().map_or(u64::MAX, |deadline| deadline.0)
    };
    (sort, approval.id.as_str())
}

fn place(after: &str) -> Option<(u64, &str)> {
    let (sort, id) = after.split_once('.')?;
    Some((sort.parse().ok()?, id))
}

fn item(session: &Session, approval: &Approval, now: Nanos) -> Result<Item, Stop> {
    let (card, _) = session.worker.card(approval)?;
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
        phase: view::phase(card.phase),
        mine: mine.map(|review| view::answer(review.decision)),
        needed: card.needed.join(" and "),
    })
}
