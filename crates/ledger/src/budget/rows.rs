//! The rows of the account, as the store holds them.

use super::asked::{Asked, Unit, grown};
use crate::{canonical, time::Nanos};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Windows of a budget that are kept: time may be set back to one of them by a `clock` entry.
pub(super) const WINDOWS_KEPT: usize = 4;

/// The sums of one budget, for one key and currency.
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
    /// The last windows with a decision, latest first.
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
    /// True once a `budget_warned` entry says so.
    pub warned: bool,
    /// True once a `budget_exceeded` entry says so.
    pub exceeded: bool,
}

impl Row {
    /// What counts against the cap in the window that begins then.
    pub fn counted(&self, from: Nanos) -> u64 {
        let window = self.windows.iter().find(|window| window.from == from);
        window.map_or(0, Window::counted)
    }
}

impl Window {
    pub(super) fn new(asked: &Asked) -> Self {
        let Asked { from, to, max, .. } = *asked;
        Self { from, to, max, within: 0, over: 0, excess: 0, warned: false, exceeded: false }
    }

    /// What counts against the cap.
    pub fn counted(&self) -> u64 {
        grown(self.within, self.excess)
    }

    pub(super) fn fits(&self, asked: &Asked) -> bool {
        self.counted().checked_add(asked.sum).is_some_and(|sum| sum <= asked.max)
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
    /// The window.
    pub from: Nanos,
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
        let open =
            |part: &Part| Open { row: part.row(), from: part.from, sum: part.sum, over: part.over };
        self.parts.iter().map(open).collect()
    }
}

impl Part {
    pub(super) fn row(&self) -> Vec<u8> {
        row_key(&self.id, self.key.as_deref(), self.currency.as_deref())
    }
}

/// Key of the row of a budget, without the log.
pub fn row_key(id: &str, key: Option<&str>, currency: Option<&str>) -> Vec<u8> {
    let text = canonical::of(&json!([id, key, currency]));
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
