//! `/`: the approvals that wait for me, oldest deadline first; those that others answer; and what is over. Nothing is
//! approved here.

use super::{
    Stop, Top,
    listing::{Fate, Item, Row, Section, fates, flat, sections},
    lists::List,
    page,
    questions::{ForOwner, for_owner},
    search::{self, Form, encoded},
    view, visitor,
};
use crate::{app::App, query};
use approvals::{display::Piece, worker::Brief};
use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use ledger::{foreign, ident::Ident};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

/// Approvals on one page.
const PAGE_MAX: usize = 50;
/// Most tools that have a chip.
const CHIPS_MAX: usize = 8;

#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    top: Top,
    list: List,
    sections: Vec<Section>,
    chips: Vec<Chip>,
    /// True if no tool is chosen.
    every_tool: bool,
    /// Number of approvals that wait for me.
    waiting: usize,
    /// Time at which the list is made, in whole seconds.
    made: u64,
    /// Questions that wait for an answer of mine.
    asked: Vec<ForOwner>,
    /// Leaf index of the newest waiting approval. A later one is news.
    newest: u64,
    /// Cursor of the next page, and the chosen tool.
    next: Option<String>,
    /// True if this is not the first page.
    later: bool,
    /// The list and the tool as a query, which ends in `&` unless empty.
    same: String,
    /// The empty form of a search.
    form: Form,
}

/// A tool by which the list can be narrowed.
struct Chip {
    name: String,
    query: String,
    count: usize,
    chosen: bool,
}

/// Approvals that came and went since the list was made.
#[derive(Template)]
#[template(path = "inbox_new.html")]
struct News {
    base: String,
    new: usize,
    gone: usize,
    /// What became of calls that waited for me when the list was made.
    fates: Vec<Fate>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Query {
    /// `others` or `decided`
    show: String,
    /// Only calls of this tool.
    tool: String,
    /// Cursor of the last approval on the page before: `<list><sort key>.<id>`, the list `w`, `o` or `d`.
    after: String,
}

/// `GET /`
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let session = visitor(&app, &headers)?;
    let fields: Query = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let list = List::named(&fields.show)?;
    if list != List::Mine {
        let form: Form = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
        if form.is_sent() {
            return search::show(&app, &session, list, form).await;
        }
    }
    let after = place(&fields.after, list)?;
    let waiting = session.worker.lists.waiting_for(&session.person);
    let newest = waiting.iter().map(|a| a.opening).max().unwrap_or(0);
    let mut all = list.of(&session);
    let chips = chips(&all, list, &fields.tool);
    all.retain(|brief| fields.tool.is_empty() || *brief.tool == *fields.tool);
    let begin = after.map_or(0, |after| all.partition_point(|a| list.key(a) <= after));
    let shown = &all[begin..all.len().min(begin + PAGE_MAX)];
    let more = begin + shown.len() < all.len();
    let next = shown.last().filter(|_| more).map(|last| {
        let (sort, id) = list.key(last);
        format!("{}{sort}.{id}", list.mark())
    });
    let now = app.ledger.now();
    let mut items = Vec::with_capacity(shown.len());
    for brief in shown {
        if let Some(approval) = session.worker.reader().get(&brief.id).await? {
            items.push(Item::new(&session, &approval, now)?);
        }
    }
    let title = match (list, waiting.len()) {
        (List::Mine, 0) => "Inbox".to_owned(),
        (List::Mine, count) => format!("({count}) Waiting for me"),
        (List::Others, _) => "Waiting for others".to_owned(),
        (List::Done, _) => "Done".to_owned(),
    };
    let inbox = Inbox {
        top: Top::new(&app, title, Some(&session)),
        list,
        sections: if list == List::Done { flat(items) } else { sections(items, now) },
        chips,
        every_tool: fields.tool.is_empty(),
        waiting: waiting.len(),
        made: now.seconds(),
        asked: if list == List::Mine { for_owner(&session, now).await? } else { Vec::new() },
        newest,
        next,
        later: begin > 0,
        same: format!("{}{}", list.show(), of_tool(&fields.tool)),
        form: Form::default(),
    };
    Ok(page(StatusCode::OK, &inbox))
}

/// The tools of a list, most calls first. None if there is only one, and none is chosen.
fn chips(all: &[Arc<Brief>], list: List, chosen: &str) -> Vec<Chip> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for brief in all {
        *counts.entry(&brief.tool).or_default() += 1;
    }
    if counts.len() < 2 && chosen.is_empty() {
        return Vec::new();
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(tool, count)| (*tool != chosen, usize::MAX - count));
    let chip = |(tool, count): (&str, usize)| Chip {
        name: view::short(&foreign::name(tool), 32),
        query: format!("{}{}", list.show(), of_tool(tool)),
        count,
        chosen: tool == chosen,
    };
    counts.into_iter().take(CHIPS_MAX).map(chip).collect()
}

/// `tool=…&`, or nothing.
fn of_tool(tool: &str) -> String {
    if tool.is_empty() { String::new() } else { format!("tool={}&", encoded(tool)) }
}

#[derive(Deserialize)]
struct Since {
    after: u64,
    /// Number of approvals that waited then. Without it nothing is said of those that are gone.
    #[serde(default)]
    count: usize,
    /// Time at which the list was made, in whole seconds. Without it no row is marked.
    #[serde(default)]
    made: Option<u64>,
}

/// `GET /new?count=<waiting>&after=<leaf index>`: how many came and went since the list was made. 204 without news, so
/// that nothing is spoken or moved.
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
    let new = waiting.iter().filter(|a| a.opening > since.after).count();
    let gone = (since.count + new).saturating_sub(waiting.len());
    if new + gone == 0 {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let fates = match since.made {
        Some(made) if gone > 0 => fates(&session, made).await?,
        _ => Vec::new(),
    };
    Ok(page(StatusCode::OK, &News { base, new, gone, fates }))
}

/// The place that a cursor names. `None` for the first page.
fn place(after: &str, list: List) -> Result<Option<(u64, &str)>, Stop> {
    if after.is_empty() {
        return Ok(None);
    }
    let (sort, id) = after
        .strip_prefix(list.mark())
        .and_then(|place| place.split_once('.'))
        .ok_or(Stop::Unreadable)?;
    let fits = Ident::new(id).is_ok() && sort.bytes().all(|byte| byte.is_ascii_digit());
    let sort = sort.parse().ok().filter(|_| fits).ok_or(Stop::Unreadable)?;
    Ok(Some((sort, id)))
}
