//! Search in *Others* and *Done*: over the whole log, by agent, tool, person and time, the latest first. A search reads a
//! bounded number of rows and of approvals, and says how far it came.

use super::{
    Stop, Top,
    listing::{Item, Row, Section, flat},
    lists::List,
    page,
    session::Session,
    view::Moment,
};
use crate::{access, app::App};
use approvals::{
    commands::Error,
    display::Piece,
    history::Approval,
    search::{Facets, Hit, Hits, ROWS_MAX, Term, Wanted, cursor, place},
    setup::Setup,
};
use askama::Template;
use axum::{http::StatusCode, response::Response};
use chrono::{Days, NaiveDate, NaiveTime};
use ledger::{foreign::harmless, ident::Ident, store, time::Nanos};
use serde::Deserialize;
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

/// Calls on one page.
const PAGE_MAX: usize = 50;
/// Most approvals that are read for one page.
const READS_MAX: usize = 300;
/// Longest text to search for, in characters.
const TEXT_MAX: usize = 128;
/// Longest wait until the newest calls can be found.
const NEWS_WAIT: Duration = Duration::from_secs(2);

/// What is searched, as the form has it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// `1` if it is a search.
    pub search: String,
    /// A part of the agent's id.
    pub agent: String,
    /// A part of the tool's name.
    pub tool: String,
    /// A part of the name, or the id, of somebody who answered.
    pub person: String,
    /// First day, in UTC.
    pub from: String,
    /// Last day, in UTC.
    pub to: String,
    /// Where to go on.
    pub before: String,
}

/// The same, checked.
struct Query {
    agent: String,
    tool: String,
    /// People with such a name. `None`: whoever answered.
    people: Option<BTreeSet<Ident>>,
    from: Nanos,
    before: Nanos,
    over: bool,
}

impl Asked {
    fn query(&self, list: List, setup: &Setup) -> Result<Query, Stop> {
        let texts = [&self.agent, &self.tool, &self.person];
        if texts.iter().any(|text| text.chars().count() > TEXT_MAX) {
            return Err(Stop::Unreadable);
        }
        let person = self.person.trim().to_lowercase();
        let named = |id: &Ident, name: &str| {
            *id.as_str() == *person || name.to_lowercase().contains(&person)
        };
        let people = setup.people.iter().filter(|(id, known)| named(id, &known.name));
        let people = people.map(|(id, _)| id.clone()).collect();
        let from = day(&self.from)?.map_or(Nanos(0), begin);
        let after = day(&self.to)?.and_then(|day| day.checked_add_days(Days::new(1)));
        let mut before = after.map_or(Nanos(u64::MAX), begin);
        if !self.before.is_empty() {
            before = place(&self.before).ok_or(Stop::Unreadable)?.min(before);
        }
        Ok(Query {
            agent: self.agent.trim().to_lowercase(),
            tool: self.tool.trim().to_lowercase(),
            people: (!person.is_empty()).then_some(people),
            from,
            before,
            over: list == List::Done,
        })
    }

    /// The search as a query of an address, without its place; it ends in `&`.
    fn same(&self, list: List) -> String {
        let mut query = format!("{}search=1&", list.show());
        let fields = [
            ("agent", &self.agent),
            ("tool", &self.tool),
            ("person", &self.person),
            ("from", &self.from),
            ("to", &self.to),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(query, "{name}={}&", encoded(value));
        }
        query
    }
}

/// A value of a query.
pub fn encoded(text: &str) -> String {
    let mut query = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            query.push(char::from(byte));
        } else {
            let _ = write!(query, "%{byte:02X}");
        }
    }
    query
}

/// A day of the form. `None` if it is left out.
fn day(text: &str) -> Result<Option<NaiveDate>, Stop> {
    let read = |text| NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| Stop::Unreadable);
    Some(text.trim()).filter(|text| !text.is_empty()).map(read).transpose()
}

/// The first moment of a day. Before 1970 the first of all moments, and beyond what a log can hold the last.
fn begin(day: NaiveDate) -> Nanos {
    let seconds = u64::try_from(day.and_time(NaiveTime::MIN).and_utc().timestamp()).unwrap_or(0);
    Nanos(seconds.saturating_mul(1_000_000_000))
}

impl Query {
    fn fits(&self, facets: &Facets) -> bool {
        let people = self.people.as_ref();
        facets.over == self.over
            && facets.agent.to_lowercase().contains(&self.agent)
            && facets.tool.to_lowercase().contains(&self.tool)
            && people.is_none_or(|people| facets.by.iter().any(|by| people.contains(by)))
    }

    /// True if this person may see the approval, and it is what is searched. The row was only a hint.
    fn shows(&self, session: &Session, approval: &Approval) -> bool {
        let asked = approval.state.requested.as_deref().map(|requested| requested.requested_at);
        let waits = approval.is_pending()
            && approval.state.review_by(&session.person).is_none()
            && session.worker.lists.may_review(&session.person, approval);
        access::page(&session.worker, &session.person, approval)
            && !waits
            && asked.is_some_and(|at| at >= self.from && at < self.before)
            && Facets::of(approval).is_some_and(|facets| self.fits(&facets))
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct Found {
    top: Top,
    list: List,
    waiting: usize,
    asked: Asked,
    sections: Vec<Section>,
    count: usize,
    /// Address of the next page.
    next: Option<String>,
    /// If set, the search stopped here, before the page was full.
    stopped: Option<Moment>,
    /// True if the newest calls may be missing.
    behind: bool,
    later: bool,
    /// The search as a query.
    same: String,
}

/// The rows that fit: of the person's groups, and of what the person answered.
fn hits(session: &Session, query: &Query) -> Result<Hits, Stop> {
    let groups = session.setup.people.get(&session.person).map(|known| &known.groups);
    let terms = groups.into_iter().flatten().map(|group| Term::Group(group));
    let wanted = Wanted {
        terms: terms.chain([Term::Person(&session.person)]).collect(),
        from: query.from,
        before: query.before,
        fits: &|facets| query.fits(facets),
    };
    Ok(session.worker.search.find(&wanted, ROWS_MAX)?)
}

/// A page of what was found.
pub async fn show(
    app: &App,
    session: &Session,
    list: List,
    asked: Asked,
) -> Result<Response, Stop> {
    let query = asked.query(list, &session.setup)?;
    let behind = !session.worker.search.is_current(NEWS_WAIT).await;
    let hits = hits(session, &query)?;
    let now = app.ledger.now();
    let (mut items, mut last, mut reads) = (Vec::new(), None, 0);
    let (mut next, mut stopped) = (hits.before, hits.before);
    for Hit { at, id } in hits.all {
        // A page ends between two times, so that its last time is a place.
        if last.is_some_and(|last| at < last) && (items.len() >= PAGE_MAX || reads >= READS_MAX) {
            next = last;
            stopped = last.filter(|_| items.len() < PAGE_MAX);
            break;
        }
        (last, reads) = (Some(at), reads + 1);
        match session.worker.reader().get(&id).await {
            Ok(Some(approval)) if query.shows(session, &approval) => {
                items.push(Item::new(session, &approval, now)?);
            }
            // It was pruned: an export has it.
            Ok(_) | Err(Error::Store(store::Error::Pruned { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let same = asked.same(list);
    let found = Found {
        top: Top::new(app, "Search", Some(session)),
        list,
        waiting: session.worker.lists.waiting_for(&session.person).len(),
        count: items.len(),
        sections: flat(items),
        next: next.map(|before| format!("{same}before={}", cursor(before))),
        stopped: stopped.map(|at| Moment::new(at, now)),
        behind,
        later: !asked.before.is_empty(),
        same,
        asked,
    };
    Ok(page(StatusCode::OK, &found))
}

impl Found {
    /// What was searched for, in words.
    fn words(&self) -> String {
        let fields = [
            ("agent", &self.asked.agent),
            ("tool", &self.asked.tool),
            ("answered by", &self.asked.person),
            ("from", &self.asked.from),
            ("to", &self.asked.to),
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.trim().is_empty());
        let words: Vec<String> = given
            .map(|(name, value)| format!("{name} \u{201c}{}\u{201d}", harmless(value.trim())))
            .collect();
        if words.is_empty() { "all calls".into() } else { words.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_in_utc() {
        let nanos = |text| day(text).ok().flatten().map(|day| begin(day).0);
        assert_eq!(nanos("1970-01-02"), Some(86_400_000_000_000));
        assert_eq!(nanos(""), None);
        for wrong in ["2026-13-01", "yesterday", "2026-1-1x"] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
        assert_eq!(nanos("1969-12-31"), Some(0));
        assert_eq!(nanos("9999-01-01"), Some(u64::MAX));
        assert_eq!(encoded("a b&\u{fc}"), "a%20b%26%C3%BC");
    }
}
