//! Points in time: nanoseconds since 1970-01-01T00:00:00Z, written as RFC 3339 UTC with nine decimals.

use chrono::{DateTime, Datelike as _, FixedOffset, Timelike as _, Utc};

/// Nanoseconds since the Unix epoch, UTC. Reaches to the year 2262 (`i64` nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The time `seconds` later, at most the end of time.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }

    /// Reads any RFC 3339 time from 1970 on. Digits finer than a nanosecond are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        rfc3339(text)?.timestamp_nanos_opt()?.try_into().ok().map(Self)
    }
}

/// Reads RFC 3339 and nothing else: no space for `T`, no time without a zone, no hour 24, a leap second only
/// at the end of a month. As the grammar says, `T` and `Z` may be in lower case.
pub fn rfc3339(text: &str) -> Option<DateTime<FixedOffset>> {
    // chrono also accepts a space, other minus signs, and a second 60 at any minute.
    let (date_time, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let fits = |pattern: &[u8], text: &[u8]| {
        pattern.iter().zip(text).all(|(wanted, byte)| match wanted {
            b'0' => byte.is_ascii_digit(),
            _ => wanted.eq_ignore_ascii_case(byte),
        })
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zone = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let count = digits(fraction);
            (count > 0).then_some(&fraction[count..])?
        }
    };
    let is_zone = match zone {
        b"Z" | b"z" => true,
        [b'+' | b'-', offset @ ..] => offset.len() == 5 && fits(b"00:00", offset),
        _ => false,
    };
    if !fits(b"0000-00-00T00:00:00", date_time) || !is_zone {
        return None;
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let utc = time.naive_utc();
    let is_leap = utc.nanosecond() >= 1_000_000_000;
    let ends_month = || {
        let next = utc.date().succ_opt().map(|day| day.day());
        (utc.hour(), utc.minute(), next) == (23, 59, Some(1))
    };
    (!is_leap || ends_month()).then_some(time)
}

impl std::fmt::Display for Nanos {
    /// `2026-11-20T05:48:00.123456789Z`: sorts as text in time order.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_nanos(i64::try_from(self.0).unwrap_or(i64::MAX));
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        for (at, digits, number) in [
            (0, 4, time.year().unsigned_abs()),
            (5, 2, time.month()),
            (8, 2, time.day()),
            (11, 2, time.hour()),
            (14, 2, time.minute()),
            (17, 2, time.second()),
            (20, 9, time.nanosecond()),
        ] {
            let mut rest = number;
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).expect("digits"))
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

    #[test]
    fn rfc_3339_and_nothing_else() {
        let good = |text: &str| assert!(rfc3339(text).is_some(), "{text}");
        let bad = |text: &str| assert!(rfc3339(text).is_none(), "{text}");
        for text in [
            "2026-11-20t05:48:00z",
            "2026-11-20T05:48:00-00:00",
            "2026-11-20T05:48:00+23:59",
            "2026-11-20T05:48:00.123456789012345678901234567890Z",
            "2024-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "2017-01-01T08:59:60.5+09:00",
        ] {
            good(text);
        }
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T05:48:00",
            "2026-11-20T05:48Z",
            "2026-11-20 05:48:00Z",
            "2026-11-20_05:48:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T05:60:00Z",
            "2026-11-20T05:48:61Z",
            "2026-11-20T05:48:60Z",
            "2026-11-20T23:59:60Z",
            "1990-12-31T23:59:60+01:00",
            "2023-02-29T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-11-20T05:48:00.Z",
            "2026-11-20T05:48:00,5Z",
            "2026-11-20T05:48:00+0100",
            "2026-11-20T05:48:00+01",
            "2026-11-20T05:48:00+24:00",
            "2026-11-20T05:48:00+01:60",
            "2026-11-20T05:48:00\u{2212}01:00",
            "2026-11-20T05:48:00 Z",
            " 2026-11-20T05:48:00Z",
            "2026-11-20T05:48:00Z ",
            "2026-11-20T05:48:00Z\n",
            "2026-11-20T05:48:00UTC",
            "+2026-11-20T05:48:00Z",
            "12026-11-20T05:48:00Z",
            "2026-11-20T5:48:00Z",
            "20261120T054800Z",
            "2026-W47-5T05:48:00Z",
            "2026-11-20T05:48:00+\u{661}\u{661}:00",
        ] {
            bad(text);
        }
    }
}
