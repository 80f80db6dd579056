//! Finds approvals in the whole log, by agent, tool, person and time.
//!
//! Each approval has a row for each group that its rule asks, and one for each person who answered. A search reads the rows
//! of one person's groups and of that person alone. So approvals that ask others change neither its result nor its work.
//! Rows are hints: whoever shows an approval reads it from the log, and checks again who may see it.

mod check;
mod index;
mod rows;

pub use check::Check;
pub(crate) use index::Indexer;
pub use rows::{Facets, Place, Term};
#[cfg(test)]
pub(crate) use {check::derived, index::rows_between};

use ledger::{Ledger, ident::Ident, store, tenant::Tenant, time::Nanos};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// How much one search may read and find.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Approvals.
    pub hits: usize,
}

/// What is searched.
pub struct Wanted<'a> {
    /// Rows of these are read.
    pub terms: Vec<Term<'a>>,
    /// Asked at this time or later.
    pub from: Nanos,
    /// Asked before this time.
    pub before: Nanos,
    /// Where the search before this one ended.
    pub after: Option<Place>,
    /// Which rows fit.
    pub fits: &'a dyn Fn(&Facets) -> bool,
}

/// A row that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its place among all.
    pub place: Place,
    /// Id of the approval.
    pub id: Ident,
}

/// What a search found in the rows that it read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// The latest first.
    pub all: Vec<Hit>,
    /// After which place to go on. `None`: everything was read.
    pub next: Option<Place>,
    /// If set, the rows that may be read were used up here, before enough was found.
    pub stopped: Option<Nanos>,
}

/// The rows of one term, each with whether it fits.
struct Stream {
    rows: Vec<(Hit, bool)>,
    /// True if there are more.
    more: bool,
}

/// Searches the approvals of a tenant.
#[derive(Clone)]
pub struct Search {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    /// Entries before this leaf index gave their rows.
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

    /// Searches, the latest first.
    pub fn find(&self, wanted: &Wanted<'_>, limits: Limits) -> Result<Hits, store::Error> {
        let each = (limits.rows / wanted.terms.len().max(1)).max(1);
        let read = |term: &Term<'_>| self.read(*term, wanted, each);
        let streams = tokio::task::block_in_place(|| {
            wanted.terms.iter().map(read).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(merged(streams, limits.hits, wanted.after))
    }

    fn read(
        &self,
        term: Term<'_>,
        wanted: &Wanted<'_>,
        max: usize,
    ) -> Result<Stream, store::Error> {
        let begin = wanted.after.max(Some(Place::before(wanted.before))).unwrap_or_default();
        let (mut rows, mut more, mut corrupt) = (Vec::new(), false, false);
        let prefix = term.key();
        self.ledger.search(&self.tenant).visit((&prefix, begin.as_bytes()), |rest, value| {
            let row = Place::read(rest).zip(serde_json::from_slice::<Facets>(value).ok());
            let Some((place, facets)) = row else {
                corrupt = true;
                return false;
            };
            if wanted.after == Some(place) {
                return true;
            }
            if place.at() < wanted.from {
                return false;
            }
            more = rows.len() == max;
            if !more {
                let fits = (wanted.fits)(&facets);
                rows.push((Hit { place, id: facets.id }, fits));
            }
            !more
        })?;
        if corrupt {
            return Err(store::Error::Corrupt { family: "search", what: "a row" });
        }
        Ok(Stream { rows, more })
    }
}

/// Joins the rows of several terms. What comes after the end of one that has more is left for the next search.
fn merged(streams: Vec<Stream>, max: usize, after: Option<Place>) -> Hits {
    let ends = streams.iter().filter(|stream| stream.more).filter_map(|stream| stream.rows.last());
    let edge = ends.map(|(hit, _)| edge_of(hit.place, after)).min();
    let rows = streams.into_iter().flat_map(|stream| stream.rows);
    let fitting = rows.filter(|(hit, fits)| *fits && edge.is_none_or(|edge| hit.place <= edge));
    let found: BTreeMap<Place, Ident> = fitting.map(|(hit, _)| (hit.place, hit.id)).collect();
    let full = found.len() > max;
    let all: Vec<Hit> = found.into_iter().take(max).map(|(place, id)| Hit { place, id }).collect();
    let next = if full { all.last().map(|hit| hit.place) } else { edge };
    Hits { all, next, stopped: edge.filter(|_| !full).map(Place::at) }
}

/// Where the next search begins, if the rows ended at `last`: before everything of that time. So the place says no more
/// than the time at which the search stopped; `last` can be the place of a call that the person may not see. It is `last`
/// itself if all rows since `after` are of one time.
fn edge_of(last: Place, after: Option<Place>) -> Place {
    let whole = Place::first_at(last.at());
    if Some(whole) > after { whole } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u64) -> Place {
        Place::new(Nanos(at), at)
    }

    fn stream(rows: &[(u64, bool)], more: bool) -> Stream {
        let id = |at| Ident::new(&format!("apr-{at}")).unwrap();
        let row = |(at, fits): &(u64, bool)| (Hit { place: place(*at), id: id(*at) }, *fits);
        Stream { rows: rows.iter().map(row).collect(), more }
    }

    /// `stopped`: if the rows were used up, so that the next place is before all of that time.
    fn check(streams: Vec<Stream>, max: usize, found: &[u64], next: Option<u64>, stopped: bool) {
        let hits = merged(streams, max, None);
        let places: Vec<Place> = hits.all.iter().map(|hit| hit.place).collect();
        assert_eq!(places, found.iter().map(|at| place(*at)).collect::<Vec<_>>());
        let begin = |at| if stopped { Place::first_at(Nanos(at)) } else { place(at) };
        assert_eq!(hits.next, next.map(begin));
        assert_eq!(hits.stopped, next.filter(|_| stopped).map(Nanos));
    }

    #[test]
    fn rows_of_several_terms_are_joined_latest_first() {
        let all = || stream(&[(9, true), (7, false), (5, true)], false);
        check(vec![all()], 9, &[9, 5], None, false);
        check(vec![all(), stream(&[(9, true), (6, true)], false)], 9, &[9, 6, 5], None, false);
        check(vec![], 9, &[], None, false);
    }

    #[test]
    fn what_was_not_read_is_left_for_the_next_search() {
        let first = || stream(&[(9, true), (7, true), (5, false)], true);
        let other = || stream(&[(8, true), (6, true), (3, true)], false);
        check(vec![first(), other()], 9, &[9, 8, 7, 6], Some(5), true);
        check(vec![first(), stream(&[(8, true)], true)], 9, &[9], Some(8), true);
        check(vec![first(), other()], 2, &[9, 8], Some(8), false);
        // Enough is found, and nothing was left out: the next search begins where the rows ended.
        check(vec![first(), other()], 4, &[9, 8, 7, 6], Some(5), true);
        check(vec![stream(&[(9, false), (8, false)], true)], 9, &[], Some(8), true);
    }

    #[test]
    fn p12_where_a_search_stopped_does_not_say_at_which_entry() {
        let next = |index| {
            let hit = Hit { place: Place::new(Nanos(7), index), id: Ident::new("apr-1").unwrap() };
            merged(vec![Stream { rows: vec![(hit, false)], more: true }], 9, None).next
        };
        assert_eq!(next(3), next(4));
        // The next search still comes further, where one time has more rows than a search may read.
        let (first, last) = (Place::first_at(Nanos(7)), Place::new(Nanos(7), 3));
        for after in [first, Place::new(Nanos(7), 9)] {
            assert_eq!(edge_of(last, Some(after)), last);
        }
        assert_eq!(edge_of(last, Some(Place::new(Nanos(8), 2))), first);
    }
}
