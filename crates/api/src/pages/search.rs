//! Search in *Others* and *Done*: over the whole log, by agent, tool, person and time, the latest first. A search reads a
//! bounded number of rows, and says how far it came.

use super::{
    Stop, Top,
    listing::{Item, Row, Section, flat},
    lists::List,
    page,
    session::Session,
    view::{self, Moment},
};
use crate::{access, app::App};
use approvals::{
    commands::Error,
    display::Piece,
    search::{Facets, Hits, Limits, Place, Term, Wanted},
};
use askama::Template;
use axum::{http::StatusCode, response::Response};
use chrono::{Days, NaiveDate, NaiveTime};
use ledger::{foreign::harmless, ident::Ident, store, time::Nanos};
use serde::Deserialize;
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

/// What one page reads: some 50 ms of rows, and as many calls as are shown.
const LIMITS: Limits = Limits { rows: 20_000, hits: 50 };
/// Longest text to search for, in characters.
const TEXT_MAX: usize = 128;
/// Longest wait until the newest calls can be found.
const NEWS_WAIT: Duration = Duration::from_secs(2);

/// What is searched, as the form has it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Form {
    /// `1` if it is sent.
    search: String,
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
    /// Where the page before this one ended.
    after: String,
}

/// The same, checked.
struct Query {
    agent: String,
    tool: String,
    /// Who may have answered. `None`: no matter who.
    people: Option<BTreeSet<Ident>>,
    from: Nanos,
    before: Nanos,
    after: Option<Place>,
    list: List,
}

impl Form {
    /// True if it is a search.
    pub fn is_sent(&self) -> bool {
        !self.search.is_empty()
    }

    /// Its fields, with their names in an address and in words.
    fn fields(&self) -> [(&'static str, &'static str, &str); 5] {
        [
            ("agent", "agent", self.agent.trim()),
            ("tool", "tool", self.tool.trim()),
            ("person", "answered by", self.person.trim()),
            ("from", "from", self.from.trim()),
            ("to", "to", self.to.trim()),
        ]
    }

    fn query(&self, list: List, session: &Session) -> Result<Query, Stop> {
        if self.fields().iter().any(|(_, _, text)| text.chars().count() > TEXT_MAX) {
            return Err(Stop::Unreadable);
        }
        let after = Some(&self.after).filter(|after| !after.is_empty());
        let after = after.map(|after| Place::named(after).ok_or(Stop::Unreadable)).transpose()?;
        let end = day(&self.to)?.and_then(|day| day.checked_add_days(Days::new(1)));
        Ok(Query {
            agent: self.agent.trim().to_lowercase(),
            tool: self.tool.trim().to_lowercase(),
            people: people(self.person.trim(), session),
            from: day(&self.from)?.map_or(Nanos(0), begin),
            before: end.map_or(Nanos(u64::MAX), begin),
            after,
            list,
        })
    }

    /// The search as a query of an address, without its place; it ends in `&`.
    fn same(&self, list: List) -> String {
        let mut query = format!("{}search=1&", list.show());
        for (name, _, value) in self.fields().into_iter().filter(|(_, _, text)| !text.is_empty()) {
            let _ = write!(query, "{name}={}&", encoded(value));
        }
        query
    }

    /// What is searched, in words.
    fn words(&self) -> String {
        let given = self.fields().into_iter().filter(|(_, _, text)| !text.is_empty());
        let quoted = |(_, name, text)| format!("{name} \u{201c}{}\u{201d}", harmless(text));
        let words: Vec<String> = given.map(quoted).collect();
        if words.is_empty() { "all calls".into() } else { words.join(", ") }
    }
}

/// The people of whom this is a part of the name, or the id. Also somebody who is no longer in the file, by the id.
fn people(text: &str, session: &Session) -> Option<BTreeSet<Ident>> {
    if text.is_empty() {
        return None;
    }
    let part = text.to_lowercase();
    let known = session.setup.people.iter();
    let named = known.filter(|(_, known)| known.name.to_lowercase().contains(&part));
    Some(named.map(|(id, _)| id.clone()).chain(Ident::new(text).ok()).collect())
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
    /// True if the call is in the list, this person may see it, and it is what is searched.
    fn fits(&self, session: &Session, facets: &Facets) -> bool {
        let me = &session.person;
        let known = session.setup.people.get(me);
        let owns = facets.owners.contains(me)
            || known.is_some_and(|known| known.owns.contains(&facets.agent));
        let answered = facets.by.contains(me);
        let listed = match self.list {
            List::Done => facets.over,
            // What waits for me is in my own list.
            _ => !facets.over && (answered || !facets.pending),
        };
        let people = self.people.as_ref();
        (answered || !owns)
            && listed
            && facets.agent.to_lowercase().contains(&self.agent)
            && facets.tool.to_lowercase().contains(&self.tool)
            && people.is_none_or(|people| facets.by.iter().any(|by| people.contains(by)))
    }

    /// The rows that fit: of the person's groups, and of what the person answered.
    fn hits(&self, session: &Session) -> Result<Hits, Stop> {
        let groups = session.setup.people.get(&session.person).map(|known| &known.groups);
        let terms = groups.into_iter().flatten().map(|group| Term::Group(group));
        let wanted = Wanted {
            terms: terms.chain([Term::Person(&session.person)]).collect(),
            from: self.from,
            before: self.before,
            after: self.after,
            fits: &|facets| self.fits(session, facets),
        };
        Ok(session.worker.search.find(&wanted, LIMITS).map_err(Error::Store)?)
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct Found {
    top: Top,
    list: List,
    /// Number of approvals that wait for me.
    waiting: usize,
    form: Form,
    /// What is searched, in words.
    words: String,
    sections: Vec<Section>,
    count: usize,
    /// Address of the next page.
    next: Option<String>,
    /// If set, the search stopped here, before the page was full.
    stopped: Option<Moment>,
    /// True if the newest calls may be missing.
    behind: bool,
    /// True if this is not the first page.
    later: bool,
    /// The search as a query, which ends in `&`.
    same: String,
}

/// A page of what was found.
pub async fn show(app: &App, session: &Session, list: List, form: Form) -> Result<Response, Stop> {
    let query = form.query(list, session)?;
    let behind = !session.worker.search.is_current(NEWS_WAIT).await;
    let hits = query.hits(session)?;
    let (now, mut items) = (app.ledger.now(), Vec::new());
    for hit in hits.all {
        // The row was a hint: the log says what the approval is, and who may see it.
        match session.worker.reader().get(&hit.id).await {
            Ok(Some(approval)) => {
                let fits = Facets::of(&approval).is_some_and(|facets| query.fits(session, &facets));
                if fits && access::page(&session.worker, &session.person, &approval) {
                    items.push(Item::new(session, &approval, now)?);
                }
            }
            // It was pruned a moment ago.
            Ok(None) | Err(Error::Store(store::Error::Pruned { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let same = form.same(list);
    let found = Found {
        top: Top::new(app, "Search", Some(session)),
        list,
        waiting: session.worker.lists.waiting_for(&session.person).len(),
        words: form.words(),
        count: items.len(),
        sections: flat(items),
        next: hits.next.map(|place| format!("{same}after={}", place.cursor())),
        stopped: hits.stopped.map(|at| Moment::new(at, now)),
        behind,
        later: query.after.is_some(),
        same,
        form,
    };
    Ok(page(StatusCode::OK, &found))
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
    }

    #[test]
    fn a_search_keeps_its_fields_in_the_address_of_its_next_page() {
        let text = |text: &str| text.to_owned();
        let form = Form { agent: text(" a&b\u{fc} "), to: text("2026-01-02"), ..Form::default() };
        assert_eq!(
            form.same(List::Done),
            "show=decided&search=1&agent=a%26b%C3%BC&to=2026%2D01%2D02&"
        );
        assert_eq!(form.words(), "agent \u{201c}a&b\u{fc}\u{201d}, to \u{201c}2026-01-02\u{201d}");
        assert_eq!(Form::default().words(), "all calls");
    }
}
