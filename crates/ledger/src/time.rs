//! Points in time: nanoseconds since 1970-01-01T00:00:00Z, written as RFC 3339 UTC with nine decimals.

use chrono::{DateTime, SecondsFormat, Utc};

/// Nanoseconds since the Unix epoch, UTC. Reaches to the year 2262 (`i64` nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// So many seconds later; the end of time where that is too far.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }

    /// Reads any RFC 3339 time from 1970 on; finer digits than a nanosecond are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = DateTime::parse_from_rfc3339(text).ok()?;
        parsed.timestamp_nanos_opt()?.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for Nanos {
    /// `2026-11-20T05:48:00.123456789Z`: sorts as text in time order.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_nanos(i64::try_from(self.0).unwrap_or(i64::MAX));
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

impl serde::Serialize for Nanos {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Nanos {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("an RFC 3339 time from 1970 on"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, canonical: Option<&str>) {
        assert_eq!(Nanos::parse(text).map(|t| t.to_string()).as_deref(), canonical, "{text}");
    }

    #[test]
    fn reads_and_writes() {
        check("2026-11-20T05:48:00Z", Some("2026-11-20T05:48:00.000000000Z"));
        check("2026-11-20T06:48:00.5+01:00", Some("2026-11-20T05:48:00.500000000Z"));
        check("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00.000000000Z"));
        check("1969-12-31T23:59:59Z", None);
        check("9999-12-31T23:59:59Z", None);
        check("yesterday", None);
    }
}
