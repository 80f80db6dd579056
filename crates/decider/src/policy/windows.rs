//! Windows of budgets: hours, days, weeks and months. They are facts, so that they mean the same for ever: begin and end
//! in UTC, not a zone whose rules may change.

use super::fields::MapReader;
use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use ledger::time::Nanos;
use serde::{Deserialize, Serialize};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// Largest difference between the clock of a decider and the journal's, as posting accepts it.
const APART: u64 = ledger::post::LATE_SECONDS_MAX * SECOND;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Length {
    Hour,
    Day,
    Week,
    Month,
}

/// The windows of a budget: one after the other, in a time zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Windows {
    length: Length,
    /// Empty for hours: they begin with those of UTC.
    zone: String,
}

/// From a moment up to another, which is outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Begin.
    pub from: Nanos,
    /// End.
    pub to: Nanos,
}

impl Windows {
    /// Reads `window` and `zone`.
    pub(super) fn read(fields: &mut MapReader<'_>) -> Option<Self> {
        let (text, at) = {
            let node = fields.must("window", "hour, day, week or month")?;
            super::fields::text_of(node, "window", fields.mistakes)?
        };
        let length = match &*text {
            "hour" => Length::Hour,
            "day" => Length::Day,
            "week" => Length::Week,
            "month" => Length::Month,
            _ => {
                fields.wrong(at, format!("{text:?}: window is hour, day, week or month"));
                return None;
            }
        };
        if length == Length::Hour {
            if let Some((_, at)) = fields.text("zone") {
                fields.wrong(at, "an hour has no zone: leave it out");
            }
            return Some(Self { length, zone: String::new() });
        }
        let zone = fields.must("zone", "a time zone such as Europe/Berlin");
        let (zone, at) = super::fields::text_of(zone?, "zone", fields.mistakes)?;
        if zone.parse::<Tz>().is_err() {
            fields.wrong(
                at,
                format!("{zone:?} is no time zone: write a name such as Europe/Berlin or UTC"),
            );
        }
        Some(Self { length, zone })
    }

    /// Its name among the facts, and for people: `day Europe/Berlin`.
    pub(super) fn name(&self) -> String {
        let length = match self.length {
            Length::Hour => "hour",
            Length::Day => "day",
            Length::Week => "week",
            Length::Month => "month",
        };
        if self.zone.is_empty() { length.to_owned() } else { format!("{length} {}", self.zone) }
    }

    /// The window of a moment. `None` for a time beyond the calendar.
    pub(super) fn at(&self, time: Nanos) -> Option<Span> {
        if self.length == Length::Hour {
            let from = Nanos(time.0 - time.0 % HOUR);
            return Some(Span { from, to: from.plus_seconds(3_600) });
        }
        let zone: Tz = self.zone.parse().ok()?;
        let at = DateTime::<Utc>::from_timestamp(i64::try_from(time.seconds()).ok()?, 0)?;
        let day = at.with_timezone(&zone).date_naive();
        let first = match self.length {
            Length::Week => {
                day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))?
            }
            Length::Month => day.with_day(1)?,
            Length::Hour | Length::Day => day,
        };
        let next = match self.length {
            Length::Week => first.checked_add_days(Days::new(7))?,
            Length::Month => first.checked_add_months(Months::new(1))?,
            Length::Hour | Length::Day => first.succ_opt()?,
        };
        Some(Span { from: begin(zone, first)?, to: begin(zone, next)? })
    }

    /// True if a span may be the window in which a decision of `now` was posted, as far as no list of time zones is needed
    /// to say so.
    pub(super) fn may_be(&self, span: Span, now: Nanos) -> bool {
        let long = span.to.0.saturating_sub(span.from.0);
        let fits = match self.length {
            Length::Hour => long == HOUR && span.from.0.is_multiple_of(HOUR),
            Length::Day => (20 * HOUR..=28 * HOUR).contains(&long),
            Length::Week => (7 * DAY - 4 * HOUR..=7 * DAY + 4 * HOUR).contains(&long),
            Length::Month => (28 * DAY - 4 * HOUR..=31 * DAY + 4 * HOUR).contains(&long),
        };
        fits && span.from.0.saturating_sub(APART) <= now.0
            && now.0 < span.to.0.saturating_add(APART)
    }
}

/// The first moment of a day. Where clocks are set forward at midnight, the day begins later.
fn begin(zone: Tz, day: NaiveDate) -> Option<Nanos> {
    let midnight = day.and_hms_opt(0, 0, 0)?;
    let first = (0..=8).find_map(|half| {
        zone.from_local_datetime(&(midnight + TimeDelta::minutes(30 * half))).earliest()
    })?;
    u64::try_from(first.timestamp()).ok().map(|seconds| Nanos(seconds * SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(length: Length, zone: &str, now: &str, from: &str, to: &str) {
        let windows = Windows { length, zone: zone.to_owned() };
        let at = |text: &str| Nanos::parse(text).unwrap();
        let span = windows.at(at(now)).unwrap();
        assert_eq!((span.from, span.to), (at(from), at(to)), "{now} {zone}");
        assert!(windows.may_be(span, at(now)));
        assert_eq!(windows.at(span.from), Some(span));
        assert_eq!(windows.at(Nanos(span.to.0 - 1)), Some(span));
        assert_eq!(windows.at(span.to).unwrap().from, span.to);
        assert!(!windows.may_be(span, Nanos(span.to.0 + APART)));
        assert!(windows.may_be(span, Nanos(span.to.0 + APART - 1)));
    }

    #[test]
    fn p18_windows_follow_the_calendar_of_their_zone() {
        let berlin = "Europe/Berlin";
        check(
            Length::Day,
            "UTC",
            "2026-11-20T09:05:00Z",
            "2026-11-20T00:00:00Z",
            "2026-11-21T00:00:00Z",
        );
        check(
            Length::Day,
            berlin,
            "2026-11-20T23:30:00Z",
            "2026-11-20T23:00:00Z",
            "2026-11-21T23:00:00Z",
        );
        // 23 and 25 hours.
        check(
            Length::Day,
            berlin,
            "2026-03-29T10:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        );
        check(
            Length::Day,
            berlin,
            "2026-10-25T10:00:00Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        );
        check(
            Length::Week,
            berlin,
            "2026-11-29T10:00:00Z",
            "2026-11-22T23:00:00Z",
            "2026-11-29T23:00:00Z",
        );
        check(
            Length::Month,
            berlin,
            "2026-10-31T23:30:00Z",
            "2026-10-31T23:00:00Z",
            "2026-11-30T23:00:00Z",
        );
        check(
            Length::Month,
            "UTC",
            "2026-12-31T23:59:59Z",
            "2026-12-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        );
        check(
            Length::Hour,
            "",
            "2026-11-20T09:59:59.9Z",
            "2026-11-20T09:00:00Z",
            "2026-11-20T10:00:00Z",
        );
        // The clocks of Cairo are set forward at midnight: the day begins at one.
        check(
            Length::Day,
            "Africa/Cairo",
            "2026-04-24T10:00:00Z",
            "2026-04-23T22:00:00Z",
            "2026-04-24T21:00:00Z",
        );
    }
}
