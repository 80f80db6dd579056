//! Finds approvals in the whole log, by agent, tool, person and time.
//!
//! Each approval has a row for each group that its rule asks, and one for each person who answered. A search reads the rows
//! of one person's groups and of that person alone. So what others may read changes neither its result nor its work. Rows
//! are hints: whoever shows an approval reads it from the log, and checks again who may see it.

mod index;

pub(crate) use index::Indexer;

use crate::history::Approval;
use data_encoding::BASE64URL_NOPAD;
use ledger::{Ledger, ident::Ident, store, tenant::Tenant, time::Nanos};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Most rows that one search reads.
pub const ROWS_MAX: usize = 20_000;
/// Bytes of a term in a key.
const TERM_BYTES: usize = 16;
/// Bytes of a time in a key.
const TIME_BYTES: usize = 8;

/// What a row says of its approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facets {
    /// `data.agent.id`
    pub agent: String,
    /// `data.tool.name`
    pub tool: String,
    /// Who answered.
    pub by: Vec<Ident>,
    /// True if it is over.
    pub over: bool,
}

impl Facets {
    /// What is found of an approval. `None` before the request.
    pub fn of(approval: &Approval) -> Option<Self> {
        let requested = approval.state.requested.as_deref()?;
        let mut by: Vec<Ident> = approval.state.reviews.iter().map(|r| r.by.clone()).collect();
        by.sort();
        by.dedup();
        Some(Self {
            agent: requested.call.agent.clone(),
            tool: requested.call.tool.clone(),
            by,
            over: crate::commands::over_since(approval).is_some(),
        })
    }
}

/// By what a row is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term<'a> {
    /// A group that the rule asks.
    Group(&'a str),
    /// A person who answered.
    Person(&'a Ident),
}

impl Term<'_> {
    fn key(self) -> [u8; TERM_BYTES] {
        let (kind, name) = match self {
            Self::Group(name) => ("group", name),
            Self::Person(id) => ("person", id.as_str()),
        };
        let hash =
            Sha256::new().chain_update(kind).chain_update(b"\0").chain_update(name).finalize();
        let mut key = [0; TERM_BYTES];
        key.copy_from_slice(&hash[..TERM_BYTES]);
        key
    }
}

/// The end of a key: later times come first.
fn tail(at: Nanos, id: &str) -> Vec<u8> {
    [&(!at.0).to_be_bytes(), id.as_bytes()].concat()
}

/// Time and id at the end of a key.
fn read_tail(tail: &[u8]) -> Option<(Nanos, Ident)> {
    let (time, id) = tail.split_first_chunk::<TIME_BYTES>()?;
    let id = Ident::new(std::str::from_utf8(id).ok()?).ok()?;
    Some((Nanos(!u64::from_be_bytes(*time)), id))
}

/// The rows of an approval, as keys and values.
fn rows_of(approval: &Approval) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (requested, facets) = (approval.state.requested.as_deref(), Facets::of(approval));
    let Some((requested, facets)) = requested.zip(facets) else { return Vec::new() };
    let groups = requested.rule.quorum.groups();
    let terms = groups.into_iter().map(Term::Group).chain(facets.by.iter().map(Term::Person));
    let tail = tail(requested.requested_at, approval.id.as_str());
    let value = store::to_json(&facets);
    terms.map(|term| ([&term.key(), &tail[..]].concat(), value.clone())).collect()
}

/// A row that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Time at which people were asked.
    pub at: Nanos,
    /// Id of the approval.
    pub id: Ident,
}

/// What a search found in the rows that it read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// The latest first.
    pub all: Vec<Hit>,
    /// Where to go on: only what was asked before this time is still to be read. `None`: everything was read.
    pub before: Option<Nanos>,
}

/// What is searched.
pub struct Wanted<'a> {
    /// Rows of these are read.
    pub terms: Vec<Term<'a>>,
    /// Asked at this time or later.
    pub from: Nanos,
    /// Asked before this time.
    pub before: Nanos,
    /// Which rows fit.
    pub fits: &'a dyn Fn(&Facets) -> bool,
}

/// The rows of one term, and whether there are more.
type Stream = (Vec<(Hit, bool)>, bool);

/// Searches the approvals of a tenant.
#[derive(Clone)]
pub struct Search {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    /// Entries before this leaf index are in the rows.
    done: watch::Receiver<u64>,
}

impl Search {
    /// Waits until everything that is published now can be found, for at most `max`. False if it is not yet.
    pub async fn is_current(&self, max: Duration) -> bool {
        let size = self.tenant.published().size;
        let mut done = self.done.clone();
        let reached = done.wait_for(|done| *done >= size);
        matches!(tokio::time::timeout(max, reached).await, Ok(Ok(_)))
    }

    /// Reads at most `rows_max` rows, the latest first.
    pub fn find(&self, wanted: &Wanted<'_>, rows_max: usize) -> Result<Hits, store::Error> {
        let each = (rows_max / wanted.terms.len().max(1)).max(2);
        let read = |term: &Term<'_>| self.read(*term, wanted, each);
        let streams: Vec<Stream> = tokio::task::block_in_place(|| {
            wanted.terms.iter().map(read).collect::<Result<_, _>>()
        })?;
        Ok(merged(streams, wanted.before))
    }

    fn read(
        &self,
        term: Term<'_>,
        wanted: &Wanted<'_>,
        max: usize,
    ) -> Result<Stream, store::Error> {
        let from = tail(Nanos(wanted.before.0.saturating_sub(1)), "");
        let (mut rows, mut more, mut corrupt) = (Vec::new(), false, false);
        self.ledger.found(&self.tenant, (&term.key(), &from), |rest, value| {
            let Some((at, id)) = read_tail(rest) else {
                corrupt = true;
                return false;
            };
            if at < wanted.from {
                return false;
            }
            if rows.len() == max {
                more = true;
                return false;
            }
            let Ok(facets) = serde_json::from_slice::<Facets>(value) else {
                corrupt = true;
                return false;
            };
            rows.push((Hit { at, id }, (wanted.fits)(&facets)));
            true
        })?;
        if corrupt {
            return Err(store::Error::Corrupt { family: "search", what: "a row" });
        }
        Ok((rows, more))
    }
}

/// Joins the rows of several terms. What is older than the end of one that has more is left for the next search.
fn merged(streams: Vec<Stream>, before: Nanos) -> Hits {
    let ends = streams.iter().filter(|(_, more)| *more).filter_map(|(rows, _)| rows.last());
    let mut edge = ends.map(|(hit, _)| hit.at).max();
    // Rows of the same time may follow, so that time is read again; unless nothing else was read.
    let mut kept = edge;
    if let Some(at) = edge.filter(|at| at.0.saturating_add(1) >= before.0) {
        kept = Some(Nanos(at.0.saturating_sub(1)));
        edge = kept;
    }
    let mut all: BTreeMap<(u64, String), Hit> = BTreeMap::new();
    for (hit, fits) in streams.into_iter().flat_map(|(rows, _)| rows) {
        if fits && kept.is_none_or(|kept| hit.at > kept) {
            all.insert((!hit.at.0, hit.id.to_string()), hit);
        }
    }
    let before = edge.map(|at| Nanos(at.0.saturating_add(1)));
    Hits { all: all.into_values().collect(), before }
}

/// A short name of a place, for the address of the next page.
pub fn cursor(before: Nanos) -> String {
    BASE64URL_NOPAD.encode(&before.0.to_be_bytes())
}

/// The place that a [`cursor`] names.
pub fn place(cursor: &str) -> Option<Nanos> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    Some(Nanos(u64::from_be_bytes(bytes.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(rows: &[(u64, &str, bool)], more: bool) -> Stream {
        let row = |(at, id, fits): &(u64, &str, bool)| {
            (Hit { at: Nanos(*at), id: Ident::new(id).unwrap() }, *fits)
        };
        (rows.iter().map(row).collect(), more)
    }

    fn check(streams: Vec<Stream>, found: &[&str], before: Option<u64>) {
        let hits = merged(streams, Nanos(100));
        let ids: Vec<&str> = hits.all.iter().map(|hit| hit.id.as_str()).collect();
        assert_eq!((ids, hits.before), (found.to_vec(), before.map(Nanos)));
    }

    #[test]
    fn rows_of_several_terms_are_joined_latest_first() {
        let all = [(9, "a", true), (7, "b", false), (5, "c", true)];
        check(vec![stream(&all, false)], &["a", "c"], None);
        let other = [(9, "a", true), (6, "d", true)];
        check(vec![stream(&all, false), stream(&other, false)], &["a", "d", "c"], None);
        check(vec![], &[], None);
    }

    #[test]
    fn what_was_not_read_is_left_for_the_next_search() {
        let all = [(9, "a", true), (7, "b", true), (5, "c", true)];
        let other = [(8, "d", true), (6, "e", true), (3, "f", true)];
        // The first has more below 5, so nothing at or below 5 counts yet.
        check(vec![stream(&all, true), stream(&other, false)], &["a", "d", "b", "e"], Some(6));
        // Nothing but one time was read: it goes on below it, so that every search gets further.
        check(vec![stream(&[(99, "a", true), (99, "b", true)], true)], &["a", "b"], Some(99));
    }

    #[test]
    fn keys_sort_the_latest_first_and_come_back() {
        let id = Ident::new("apr-a").unwrap();
        assert!(tail(Nanos(9), "apr-a") < tail(Nanos(8), "apr-a"));
        assert_eq!(read_tail(&tail(Nanos(9), "apr-a")), Some((Nanos(9), id.clone())));
        assert_ne!(Term::Group("apr-a").key(), Term::Person(&id).key());
        assert_eq!(place(&cursor(Nanos(u64::MAX - 3))), Some(Nanos(u64::MAX - 3)));
        assert_eq!(place("x"), None);
    }
}
