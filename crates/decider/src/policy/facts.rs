//! What a verdict depends on besides the call and the bundle. Facts hold values, so that they mean the same for
//! ever: a local date and minute, not a zone whose rules may change.

use super::{
    history::Counted,
    proven::{ParentFact, Proven, TokenFact, TokenFault},
    redacted::{Redactions, Tokens},
    windows::Span,
};
use chrono::{DateTime, Datelike as _, FixedOffset, Offset as _, TimeZone, Timelike as _};
use ledger::{system::LeafAt, time::Nanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The facts of one verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The decider's clock.
    pub now: Nanos,
    /// The local time of each zone that the bundle's clauses name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub local: BTreeMap<String, Local>,
    /// Whether the agent has proven its identity.
    #[serde(default)]
    pub verified: bool,
    /// What the token of the agent said. Absent: the call came without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenFact>,
    /// What is known of the decision from which the call follows. Absent: the call names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentFact>,
    /// The window of each kind that the bundle's budgets name, at the journal's time as far as it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: BTreeMap<String, Span>,
    /// What counted against the cap of each budget before this call, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub booked: BTreeMap<String, u64>,
    /// Whether each rate had a call left, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, bool>,
    /// What counted of earlier decisions, for each condition that needed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Counted>,
    /// The entry that issued the agent's token, if it counts. It is no fact: it is plain in the decision.
    #[serde(skip)]
    pub verified_by: Option<LeafAt>,
    /// The decision from which the call follows, if it is there. It is no fact: it is plain in the decision.
    #[serde(skip)]
    pub follows: Option<LeafAt>,
    /// What was redacted, once it is: the params are then those of the redacted call. Absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted: Option<Redactions>,
    /// Where tokens come from. No fact: it is not recorded.
    #[serde(skip)]
    pub tokens: Tokens,
}

impl Facts {
    /// The same with what the token of the agent proved.
    #[must_use]
    pub fn with_token(self, token: Result<Proven, TokenFault>) -> Self {
        match token {
            Ok(Proven { token, issue, jti }) => Self {
                verified: true,
                token: Some(TokenFact::of(&jti, &issue)),
                verified_by: Some(token),
                ..self
            },
            Err(refused) => Self { token: Some(TokenFact::Refused { refused }), ..self },
        }
    }

    /// The same with what is known of the call's parent, which is at this place.
    #[must_use]
    pub fn with_parent(self, at: &LeafAt, parent: ParentFact) -> Self {
        let follows = parent.is_found().then(|| at.clone());
        Self { follows, parent: Some(parent), ..self }
    }

    /// True if a token proved the agent's identity, and so does the flag.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self.token, Some(TokenFact::Counts { .. }))
    }
}

/// A moment as people at some place read it from calendar and clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// `2026-11-28`
    pub date: String,
    /// 0 is Monday.
    pub weekday: u8,
    /// Minutes since midnight.
    pub minute: u16,
    /// Seconds ahead of UTC.
    pub offset: i32,
}

impl Local {
    /// True if this is the local time of `now` at its own offset. So it depends on no list of time zones.
    pub fn is_of(&self, now: Nanos) -> bool {
        let offset = FixedOffset::east_opt(self.offset);
        offset.and_then(|offset| at(now, &offset)).as_ref() == Some(self)
    }
}

/// The local time of `now` in a zone of the IANA database (`Europe/Berlin`). `None` for an unknown zone, or a time
/// beyond the calendar.
pub fn local(now: Nanos, zone: &str) -> Option<Local> {
    at(now, &zone.parse::<chrono_tz::Tz>().ok()?)
}

/// The local time of `now` in a zone. `None` for a time beyond the calendar.
fn at(now: Nanos, zone: &impl TimeZone) -> Option<Local> {
    let at = DateTime::from_timestamp(i64::try_from(now.seconds()).ok()?, 0)?.with_timezone(zone);
    Some(Local {
        date: at.date_naive().to_string(),
        weekday: u8::try_from(at.weekday().num_days_from_monday()).ok()?,
        minute: u16::try_from(at.hour() * 60 + at.minute()).ok()?,
        offset: at.offset().fix().local_minus_utc(),
    })
}

/// True if the zone is known.
pub(super) fn is_zone(zone: &str) -> bool {
    zone.parse::<chrono_tz::Tz>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(utc: &str, zone: &str, expected: Option<(&str, u8, u16, i32)>) {
        let at = DateTime::parse_from_rfc3339(utc).unwrap();
        let now = Nanos(u64::try_from(at.timestamp()).unwrap() * 1_000_000_000);
        let found = local(now, zone);
        let found = found.as_ref().map(|l| (l.date.as_str(), l.weekday, l.minute, l.offset));
        assert_eq!(found, expected, "{utc} in {zone}");
    }

    #[test]
    fn local_time_at_both_edges_of_daylight_saving() {
        check("2026-03-29T00:59:59Z", "Europe/Berlin", Some(("2026-03-29", 6, 119, 3600)));
        check("2026-03-29T01:00:00Z", "Europe/Berlin", Some(("2026-03-29", 6, 180, 7200)));
        check("2026-10-25T00:59:59Z", "Europe/Berlin", Some(("2026-10-25", 6, 179, 7200)));
        check("2026-10-25T01:00:00Z", "Europe/Berlin", Some(("2026-10-25", 6, 120, 3600)));
        check("2026-03-08T06:59:59Z", "America/New_York", Some(("2026-03-08", 6, 119, -18_000)));
        check("2026-03-08T07:00:00Z", "America/New_York", Some(("2026-03-08", 6, 180, -14_400)));
        check("2026-11-01T05:59:59Z", "America/New_York", Some(("2026-11-01", 6, 119, -14_400)));
        check("2026-11-01T06:00:00Z", "America/New_York", Some(("2026-11-01", 6, 60, -18_000)));
        check("2026-12-31T23:30:00Z", "Europe/Berlin", Some(("2027-01-01", 4, 30, 3600)));
        check("2026-12-31T23:30:00Z", "Mars/Olympus", None);
    }
}
