//! What a decider reads of budgets and of earlier decisions, and its share of rates (P18).
//!
//! Of budgets it only reads what is booked: posting gives a reservation, or voids the decision. Rates are token buckets
//! of this process alone, each with its part of the rate. They begin empty, so a restart never lets more through.

use super::{Desk, Loaded, NotDecided, Open, VALID_FOR_SECONDS};
use crate::{commands::Error, past::InLog};
use decider::{
    decision::Fields,
    policy::{Facts, Inquiry, Past, REPORT_WITHIN_SECONDS, RateOf, Ruling, Stock},
};
use ledger::{
    budget::{Asked, Booked, grown},
    entry::View,
    history::{Decided, Row},
    store,
    time::Nanos,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    time::Duration,
};

/// Most buckets. Beyond that all begin anew, empty.
const BUCKETS_MAX: usize = 100_000;
/// What one call takes of a bucket.
const CALL: u128 = 1_000_000;

/// The buckets of one decider.
pub(super) struct Buckets {
    /// How many deciders share the rates.
    deciders: u64,
    held: Mutex<Held>,
}

struct Held {
    /// When every bucket was empty. A bucket that nobody used since has filled since then.
    empty_at: Duration,
    by_key: HashMap<(String, Option<String>), Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// In millionths of a call.
    left: u128,
    at: Duration,
}

impl Buckets {
    /// Empty ones, at `now` since the boot of the machine.
    pub(super) fn new(deciders: u64, now: Duration) -> Self {
        let held = Held { empty_at: now, by_key: HashMap::new() };
        Self { deciders: deciders.max(1), held: Mutex::new(held) }
    }

    fn take(&self, rate: &RateOf<'_>, now: Duration) -> bool {
        let deciders = u128::from(self.deciders);
        let most = u128::from(rate.burst) * CALL / deciders;
        let mut held = self.held.lock().expect("no holder of the lock panics");
        if held.by_key.len() >= BUCKETS_MAX {
            held.by_key.clear();
            held.empty_at = now;
        }
        let empty = Bucket { left: 0, at: held.empty_at };
        let key = (rate.name.to_owned(), rate.key.map(str::to_owned));
        let bucket = held.by_key.entry(key).or_insert(empty);
        let passed = now.saturating_sub(bucket.at).as_micros();
        let filled = passed * u128::from(rate.per_second) / deciders;
        // What is too little to count stays for the next time.
        if filled > 0 {
            *bucket = Bucket { left: (bucket.left + filled).min(most), at: now };
        }
        let takes = bucket.left >= CALL;
        if takes {
            bucket.left -= CALL;
        }
        takes
    }
}

/// Whether each rate had a call left for each question, by its place: a question that is judged anew takes no second one.
pub(super) type Taken = BTreeMap<usize, BTreeMap<String, bool>>;

/// What is there for the questions of one attempt, in their order.
pub(super) struct Shelf<'s> {
    past: InLog<'s>,
    buckets: &'s Buckets,
    now: Duration,
    /// What the questions before this one ask for.
    asked: BTreeMap<(Vec<u8>, Nanos), u64>,
    taken: &'s mut Taken,
    at: usize,
}

impl<'s> Shelf<'s> {
    pub(super) fn new(
        (past, now): (InLog<'s>, Duration),
        buckets: &'s Buckets,
        taken: &'s mut Taken,
    ) -> Self {
        Self { past, buckets, now, asked: BTreeMap::new(), taken, at: 0 }
    }

    /// The question at this place is next.
    pub(super) fn turn_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What a question asks for counts for those after it.
    pub(super) fn note(&mut self, asked: &[Asked]) {
        for asked in asked.iter().filter(|asked| asked.booked == Booked::Within) {
            *self.asked.entry(place_of(asked)).or_default() += asked.sum;
        }
    }
}

fn place_of(asked: &Asked) -> (Vec<u8>, Nanos) {
    (asked.row(), asked.from)
}

impl Past for Shelf<'_> {
    type Error = store::Error;

    fn as_of(&self) -> u64 {
        self.past.as_of()
    }

    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        self.past.earlier(row, visit)
    }

    fn fields(&mut self, index: u64) -> Result<Fields, store::Error> {
        self.past.fields(index)
    }
}

impl Stock for Shelf<'_> {
    fn counted(&mut self, asked: &Asked) -> Result<u64, store::Error> {
        let before = self.asked.get(&place_of(asked)).copied().unwrap_or(0);
        Ok(grown(self.past.log.booked(asked)?, before))
    }

    fn take(&mut self, rate: &RateOf<'_>) -> bool {
        let taken = self.taken.entry(self.at).or_default();
        if let Some(left) = taken.get(rate.name) {
            return *left;
        }
        let left = self.buckets.take(rate, self.now);
        taken.insert(rate.name.to_owned(), left);
        left
    }
}

/// What a verdict is good for, as it is configured.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Seconds for which a verdict counts.
    pub valid_for: u64,
    /// Seconds within which a report may change what a call reserved of a budget.
    pub report_within: u64,
    /// How many deciders share the rates.
    pub deciders: u64,
    /// Claim `iss` of the tokens of this tenant's agents.
    pub issuer: String,
}

impl Default for Terms {
    fn default() -> Self {
        let (valid_for, report_within) = (VALID_FOR_SECONDS, REPORT_WITHIN_SECONDS);
        Self { valid_for, report_within, deciders: 1, issuer: String::new() }
    }
}

impl Desk {
    /// Judges one question. `by`: the bundle, or a denial that no bundle gives.
    pub(super) fn judge<'q, 'a>(
        &self,
        (at, inquiry): (usize, &'q Inquiry<'a>),
        (by, facts): (Result<&Loaded, Ruling>, &Facts),
        supply: &mut Shelf<'_>,
    ) -> Result<Open<'q, 'a>, NotDecided> {
        let mut facts = facts.clone();
        let mut ruling = match by {
            Err(ruling) => ruling,
            Ok(Loaded { bundle, version, .. }) => {
                supply.turn_to(at);
                bundle.stock_up(&inquiry.request, &mut facts, supply).map_err(Error::from)?;
                Ruling::of(bundle, *version, &inquiry.request, &facts)
            }
        };
        supply.note(&ruling.asked);
        ruling.report_within = self.terms.report_within;
        let digest = ruling.digest(inquiry, self.log.tenant());
        Ok(Open { at, inquiry, ruling, digest, facts })
    }

    /// `journal.time` of an entry.
    pub(super) fn time_of(&self, index: u64) -> Result<Option<Nanos>, NotDecided> {
        let entry = self.log.entry(index).map_err(Error::from)?.unwrap_or_default();
        Ok(View::parse(&entry).map(|view| view.origin.time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many calls get through if one comes each `every` milliseconds for `seconds`.
    fn check(deciders: u64, (burst, per_second): (u32, u32), (every, seconds): (u64, u64)) -> u64 {
        let buckets = Buckets::new(deciders, Duration::from_secs(100));
        let rate = RateOf { name: "p/r", key: Some("bot"), burst, per_second };
        let times =
            (0..=seconds * 1_000 / every).map(|n| Duration::from_millis(100_000 + n * every));
        times.map(|now| u64::from(buckets.take(&rate, now))).sum()
    }

    #[test]
    fn p18_a_rate_lets_through_what_it_says_and_not_more() {
        // Empty at the start: only what flowed in.
        assert_eq!(check(1, (5, 5), (1, 10)), 50);
        assert_eq!(check(1, (5, 5), (1_000, 10)), 10);
        assert_eq!(check(3, (6, 6), (1, 10)), 20);
        // Less than one call fits into the share of each: nothing gets through.
        assert_eq!(check(3, (2, 6), (1, 10)), 0);
    }

    #[test]
    fn p18_a_bucket_holds_its_burst_after_a_pause_and_is_empty_after_a_restart() {
        let at = Duration::from_secs;
        let rate = RateOf { name: "p/r", key: None, burst: 5, per_second: 1 };
        let through = |buckets: &Buckets, now| (0..20).filter(|_| buckets.take(&rate, now)).count();
        let buckets = Buckets::new(1, at(50));
        assert_eq!(through(&buckets, at(50)), 0);
        assert_eq!(through(&buckets, at(1_000)), 5);
        assert_eq!(through(&buckets, at(1_000)), 0);
        assert_eq!(through(&buckets, at(1_002)), 2);
        let other = RateOf { key: Some("b"), ..rate };
        assert!(buckets.take(&other, at(1_002)), "each key has a bucket");
        assert_eq!(through(&Buckets::new(1, at(1_002)), at(1_002)), 0);
    }

    #[test]
    fn p13_the_number_of_buckets_is_limited() {
        let at = Duration::from_secs;
        let buckets = Buckets::new(1, at(0));
        let take = |n: usize, now| {
            let key = n.to_string();
            buckets.take(&RateOf { name: "r", key: Some(&key), burst: 1, per_second: 1 }, now)
        };
        assert!((0..BUCKETS_MAX).all(|n| take(n, at(10))));
        assert!(!take(BUCKETS_MAX, at(10)), "all are empty anew");
        assert_eq!(buckets.held.lock().unwrap().by_key.len(), 1);
        assert!(take(BUCKETS_MAX, at(11)));
    }
}
