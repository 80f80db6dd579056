//! The rows of the account, as the store holds them.

use super::asked::{Asked, Unit, grown};
use crate::{canonical, time::Nanos};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Windows that count beside the one that is asked about, and in which time may be set back by a `clock` entry: of those in
/// which something was booked, the ones that end last.
const OTHERS_MAX: usize = 4;
/// Windows of a budget that are kept: these, the one that is asked about, and one in which nothing was booked.
const WINDOWS_KEPT: usize = OTHERS_MAX + 2;

/// The sums of one budget, for one key, unit and currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `<policy>/<budget>`
    pub id: String,
    /// Whose sum it is.
    pub key: Option<String>,
    /// What is summed up.
    pub unit: Unit,
    /// The currency.
    pub currency: Option<String>,
    /// Windows with a decision, at most six: that of the last decision first. In at most five something was booked.
    pub windows: Vec<Window>,
}

/// What was booked in one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its begin.
    pub from: Nanos,
    /// Its end, which is outside.
    pub to: Nanos,
    /// The cap that the last decision named.
    pub max: u64,
    /// Reserved or spent within the cap.
    pub within: u64,
    /// Reserved or spent over the cap, by people.
    pub over: u64,
    /// What reports named above what was reserved. It counts against the cap.
    pub excess: u64,
    /// Time of the last decision that booked in it. `None`: none did, calls were only refused.
    pub last: Option<Nanos>,
    /// True once a `budget_warned` entry says so.
    pub warned: bool,
    /// True once a `budget_exceeded` entry says so.
    pub exceeded: bool,
}

impl Row {
    /// What counts against the cap in the window `from..to`: what is booked there, and what is [carried](Self::carried).
    pub fn counted(&self, (from, to): (Nanos, Nanos)) -> u64 {
        let own = self.windows.iter().find(|window| window.is(from, to)).map_or(0, Window::counted);
        grown(own, self.carried((from, to)))
    }

    /// What counts in the window `from..to` of other windows that overlap it, because the policy had other ones before:
    /// all that is booked in each, unless its last decision was before `from`. So a policy that changes the windows of a
    /// budget does not free what was spent, and what is over does not count for ever.
    ///
    /// Of the others, the [`OTHERS_MAX`] that end last count, whether the window itself is known or not: so a second equal
    /// call finds what the first one found.
    pub fn carried(&self, (from, to): (Nanos, Nanos)) -> u64 {
        let others =
            self.windows.iter().filter(|window| window.last.is_some() && !window.is(from, to));
        let mut others: Vec<&Window> = others.collect();
        others.sort_by_key(|window| std::cmp::Reverse((window.to, window.from)));
        let counts = |window: &&&Window| {
            window.overlaps(from, to) && window.last.is_some_and(|last| last >= from)
        };
        let counting = others.iter().take(OTHERS_MAX).filter(counts);
        counting.fold(0, |sum, window| grown(sum, window.counted()))
    }

    /// True if what was booked in the window `from..to` may have been dropped: nobody knows how much it was.
    pub(super) fn may_have_dropped(&self, from: Nanos, to: Nanos) -> bool {
        let booked = || self.windows.iter().filter(|window| window.last.is_some());
        let known = booked().any(|window| window.is(from, to));
        let first_end = booked().map(|window| window.to).min();
        !known && booked().count() > OTHERS_MAX && first_end.is_some_and(|first| to <= first)
    }

    /// The window that is asked about, now the first.
    pub(super) fn window_of(&mut self, asked: &Asked) -> &mut Window {
        let known = self.windows.iter().position(|window| window.is(asked.from, asked.to));
        let window = known.map_or_else(|| Window::new(asked), |at| self.windows.remove(at));
        self.windows.insert(0, window);
        &mut self.windows[0]
    }

    /// Drops what is too much after a decision in the first window: of those in which something was booked the one that
    /// ends first. A decision that booked nothing drops none of these.
    pub(super) fn drop_old(&mut self) {
        let mut too_many = |booked: bool, most: usize| {
            let alike = |window: &Window| !booked || window.last.is_some();
            while self.windows.iter().filter(|window| alike(window)).count() > most {
                let of_kind = |at: &usize| self.windows[*at].last.is_some() == booked;
                let others = (1..self.windows.len()).filter(of_kind);
                let first = others.min_by_key(|at| (self.windows[*at].to, self.windows[*at].from));
                self.windows.remove(first.expect("more than one is kept"));
            }
        };
        too_many(true, OTHERS_MAX + 1);
        too_many(false, WINDOWS_KEPT);
    }
}

impl Window {
    fn new(asked: &Asked) -> Self {
        let Asked { from, to, max, .. } = *asked;
        let (warned, exceeded) = (false, false);
        Self { from, to, max, within: 0, over: 0, excess: 0, last: None, warned, exceeded }
    }

    /// True if it is the window `from..to`.
    pub(super) fn is(&self, from: Nanos, to: Nanos) -> bool {
        (self.from, self.to) == (from, to)
    }

    fn overlaps(&self, from: Nanos, to: Nanos) -> bool {
        self.from < to && from < self.to
    }

    /// What is booked in it and counts against the cap.
    pub(super) fn counted(&self) -> u64 {
        grown(self.within, self.excess)
    }
}

/// What a decision reserved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The gateway whose call it is: only its reports count.
    pub producer: String,
    /// The sums.
    pub parts: Vec<Part>,
    /// Seconds within which a report counts.
    pub report_within: u64,
    /// When that time ends. `None` while people are asked.
    pub deadline: Option<Nanos>,
}

/// One sum of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub(super) id: String,
    pub(super) key: Option<String>,
    pub(super) unit: Unit,
    pub(super) currency: Option<String>,
    pub(super) from: Nanos,
    pub(super) to: Nanos,
    pub(super) sum: u64,
    pub(super) over: bool,
}

/// The queue of reservations that wait for a report: its places from `first` to before `end` are taken.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue {
    pub(super) first: u64,
    pub(super) end: u64,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    /// The decision.
    pub(super) index: u64,
    pub(super) deadline: Nanos,
}

/// What a reservation still keeps of a budget, for readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The [key](row_key) of the budget's row, without the log.
    pub row: Vec<u8>,
    /// The window: its begin and its end.
    pub window: (Nanos, Nanos),
    /// The sum.
    pub sum: u64,
    /// True if it is over the cap.
    pub over: bool,
}

impl Reservation {
    /// What is open at `now`: its outcome is not known, and may still come.
    pub fn open(&self, now: Nanos) -> Vec<Open> {
        if self.deadline.is_some_and(|deadline| deadline < now) {
            return Vec::new();
        }
        let open = |part: &Part| {
            let window = (part.from, part.to);
            Open { row: part.row(), window, sum: part.sum, over: part.over }
        };
        self.parts.iter().map(open).collect()
    }
}

impl Asked {
    /// Key of the row that it counts in, without the log.
    pub fn row(&self) -> Vec<u8> {
        row_key(&self.id, self.key.as_deref(), self.unit, self.currency.as_deref())
    }
}

impl Part {
    pub(super) fn row(&self) -> Vec<u8> {
        row_key(&self.id, self.key.as_deref(), self.unit, self.currency.as_deref())
    }
}

/// Key of the row of a budget, without the log. Sums of different units are never added: each has a row of its own.
pub fn row_key(id: &str, key: Option<&str>, unit: Unit, currency: Option<&str>) -> Vec<u8> {
    let text = canonical::of(&json!([id, key, unit.as_str(), currency]));
    [&b"s"[..], &Sha256::digest(text)].concat()
}

/// Key of a place in the queue, without the log.
pub(super) fn place_key(place: u64) -> Vec<u8> {
    [&b"q"[..], &place.to_be_bytes()].concat()
}

/// Key of the row of a reservation, without the log. It is there until it is reported, released, or too late for either.
pub fn reservation_key(index: u64) -> Vec<u8> {
    [&b"r"[..], &index.to_be_bytes()].concat()
}
