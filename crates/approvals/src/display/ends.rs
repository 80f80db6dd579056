//! Times and dates in words, and whether they have passed.

use chrono::{DateTime, Days, NaiveDate, Utc};
use ledger::time::Nanos;

/// A point in time that a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A moment.
    At(DateTime<Utc>),
    /// A day has no zone.
    On(NaiveDate),
}

impl Ends {
    /// Reads a time of RFC 3339, or a date.
    pub(super) fn of(text: &str) -> Option<Self> {
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Some(Self::On(date));
        }
        DateTime::parse_from_rfc3339(text).ok().map(|time| Self::At(time.to_utc()))
    }

    /// `28 Nov 2026, 05:36 UTC`, `28 Nov 2026`
    pub fn words(self) -> String {
        match self {
            Self::At(time) => time.format("%-d %b %Y, %H:%M UTC").to_string(),
            Self::On(date) => date.format("%-d %b %Y").to_string(),
        }
    }

    /// A time in RFC 3339, which a page draws in the reader's zone.
    pub(super) fn iso(self) -> Option<String> {
        match self {
            Self::At(time) => Some(time.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
            Self::On(_) => None,
        }
    }

    /// In how many whole days after a time it is. `None` if it is before it.
    pub fn days_after(self, at: Nanos) -> Option<u64> {
        let at = DateTime::from_timestamp_nanos(i64::try_from(at.0).ok()?);
        let days = match self {
            Self::At(time) => time.signed_duration_since(at).num_days(),
            Self::On(date) => date.signed_duration_since(at.date_naive()).num_days(),
        };
        u64::try_from(days).ok()
    }

    /// For how many seconds it has passed. A date counts in days from its own: on the day after, it passed a day ago.
    pub(super) fn passed(self, now: Nanos) -> Option<u64> {
        let now = DateTime::from_timestamp_nanos(i64::try_from(now.0).ok()?);
        let over = match self {
            Self::At(time) => now.signed_duration_since(time),
            Self::On(date) if now.date_naive() >= date.checked_add_days(Days::new(1))? => {
                now.date_naive().signed_duration_since(date)
            }
            Self::On(_) => return None,
        };
        u64::try_from(over.num_seconds()).ok().filter(|seconds| *seconds > 0)
    }
}

/// A span of time in words.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 if (seconds / 60).is_multiple_of(60) => format!("{} h", seconds / 3_600),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        86_400..172_800 => "1 day".into(),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, now: &str, passed: Option<&str>) {
        let ends = Ends::of(text).unwrap();
        let found = ends.passed(Nanos::parse(now).unwrap()).map(span);
        assert_eq!(found.as_deref(), passed, "{text} at {now}");
    }

    #[test]
    fn p7_days_ahead_are_counted() {
        let now = Nanos::parse("2026-12-01T12:00:00Z").unwrap();
        for (text, days) in [
            ("2027-12-01", Some(365)),
            ("2027-12-01T11:00:00Z", Some(364)),
            ("2026-12-01", Some(0)),
            ("2026-11-30", None),
        ] {
            assert_eq!(Ends::of(text).unwrap().days_after(now), days, "{text}");
        }
    }

    #[test]
    fn p7_what_has_passed_says_how_long_ago() {
        check("2026-11-12", "2026-11-30T00:00:00Z", Some("18 days"));
        check("2026-11-12", "2026-11-13T00:00:00Z", Some("1 day"));
        check("2026-11-12", "2026-11-12T23:59:59Z", None);
        check("2026-11-12", "2026-11-01T00:00:00Z", None);
        check("2026-11-12T16:00:00Z", "2026-11-30T20:00:00Z", Some("18 days"));
        check("2026-11-12T16:00:00+02:00", "2026-11-12T17:00:00Z", Some("3 h"));
        check("2026-11-12T16:00:00Z", "2026-11-12T15:59:59Z", None);
        check("2026-11-12T16:00:00Z", "2026-11-12T16:00:00Z", None);
        for none in ["12 Nov 2026", "2026-11", "", "20261112"] {
            assert_eq!(Ends::of(none), None, "{none:?}");
        }
    }
}
