//! What a decision of ours asks of budgets: its member `budgets` (`proto/formats/decision.md`).

use crate::{json::Value, time::Nanos};

/// Most budgets that one call may concern.
pub const ASKED_MAX: usize = 4;
/// Longest time within which a report may change what was reserved, in seconds.
pub const REPORT_WITHIN_SECONDS_MAX: u64 = 86_400;
/// Longest id of a budget, in bytes: `<policy>/<budget>`.
const ID_BYTES_MAX: usize = 129;
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// Largest number: whole numbers of JSON are exact up to here.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// What a budget sums up.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Calls: each is 1.
    Calls,
    /// Costs, in millionths of a currency.
    Cost,
    /// Amounts of calls, in minor units of a currency.
    Minor,
}

impl Unit {
    /// Its name in entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Cost => "cost",
            Self::Minor => "minor",
        }
    }
}

/// How a sum is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booked {
    /// Within the cap.
    Within,
    /// Over the cap: people are asked. It does not use up what is left within.
    Over,
    /// Not at all: it does not fit, so the call is denied.
    Refused,
}

impl Booked {
    /// Its name in entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Over => "over",
            Self::Refused => "refused",
        }
    }
}

/// What a decision asks of one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `<policy>/<budget>`
    pub id: String,
    /// Whose sum it is. `None`: one sum for all.
    pub key: Option<String>,
    /// What is summed up.
    pub unit: Unit,
    /// Three capital letters; `None` for calls.
    pub currency: Option<String>,
    /// Begin of the window.
    pub from: Nanos,
    /// End of the window, which is outside.
    pub to: Nanos,
    /// The sum of this call.
    pub sum: u64,
    /// The cap.
    pub max: u64,
    /// The sum at which people are warned.
    pub warn: Option<u64>,
    /// How it is booked.
    pub booked: Booked,
}

/// Everything that a decision asks of budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Seconds within which a report may change what was reserved.
    pub report_within: u64,
    /// 1 to [`ASKED_MAX`], by id.
    pub asked: Vec<Asked>,
}

impl Asking {
    /// Reads the member `budgets`. `None` if it has not exactly this form.
    pub fn read(value: &Value<'_>) -> Option<Self> {
        has_only(value, &["report_within", "asked"])?;
        let report_within = value.get("report_within")?.as_u64()?;
        let asked: Option<Vec<Asked>> =
            value.get("asked")?.as_array()?.iter().map(Asked::read).collect();
        let asked = asked?;
        let ordered = asked.windows(2).all(|pair| pair[0].id < pair[1].id);
        let fits = ordered
            && (1..=ASKED_MAX).contains(&asked.len())
            && (1..=REPORT_WITHIN_SECONDS_MAX).contains(&report_within);
        fits.then_some(Self { report_within, asked })
    }

    /// True if it may stand beside this verdict: what is permitted is booked, what is denied is not.
    pub fn goes_with(&self, verdict: &str) -> bool {
        self.asked.iter().all(|asked| match asked.booked {
            Booked::Within => matches!(verdict, "allow" | "sanitize" | "approval_needed"),
            Booked::Over => verdict == "approval_needed",
            Booked::Refused => verdict == "deny",
        })
    }
}

impl Asked {
    fn read(value: &Value<'_>) -> Option<Self> {
        let known = ["id", "key", "unit", "currency", "from", "to", "sum", "max", "warn", "booked"];
        has_only(value, &known)?;
        let text = |name: &str| value.get(name).map(|value| value.as_str().map(str::to_owned));
        let number = |name: &str| value.get(name).map(Value::as_u64);
        let time = |name: &str| Nanos::parse(value.get(name)?.as_str()?);
        let unit = value.get("unit")?.as_str()?;
        let unit =
            [Unit::Calls, Unit::Cost, Unit::Minor].into_iter().find(|one| one.as_str() == unit)?;
        let booked = value.get("booked")?.as_str()?;
        let booked = [Booked::Within, Booked::Over, Booked::Refused]
            .into_iter()
            .find(|one| one.as_str() == booked)?;
        let asked = Self {
            id: text("id")??,
            key: optional(text("key"))?,
            unit,
            currency: optional(text("currency"))?,
            from: time("from")?,
            to: time("to")?,
            sum: number("sum")??,
            max: number("max")??,
            warn: optional(number("warn"))?,
            booked,
        };
        asked.is_sound().then_some(asked)
    }

    fn is_sound(&self) -> bool {
        let Self { id, key, unit, currency, from, to, sum, max, warn, .. } = self;
        let currency_fits = match (unit, currency) {
            (Unit::Calls, None) => true,
            (Unit::Calls, Some(_)) | (_, None) => false,
            (_, Some(currency)) => is_currency(currency),
        };
        currency_fits
            && (1..=ID_BYTES_MAX).contains(&id.len())
            && key.as_ref().is_none_or(|key| (1..=KEY_BYTES_MAX).contains(&key.len()))
            && from < to
            && *max > 0
            && [*sum, *max, warn.unwrap_or(0)].iter().all(|number| *number <= NUMBER_MAX)
    }

    /// It in JSON, as entries hold it.
    pub fn to_json(&self) -> serde_json::Value {
        let Self { id, key, unit, currency, from, to, sum, max, warn, booked } = self;
        let mut json = serde_json::json!({
            "id": id, "unit": unit.as_str(), "from": from.to_string(), "to": to.to_string(),
            "sum": sum, "max": max, "booked": booked.as_str(),
        });
        if let Some(key) = key {
            json["key"] = key.clone().into();
        }
        if let Some(currency) = currency {
            json["currency"] = currency.clone().into();
        }
        if let Some(warn) = warn {
            json["warn"] = (*warn).into();
        }
        json
    }
}

/// An absent member is `None`; one of another type is a fault.
#[expect(clippy::option_option, reason = "absent, of another type, there")]
fn optional<T>(found: Option<Option<T>>) -> Option<Option<T>> {
    match found {
        None => Some(None),
        Some(None) => None,
        Some(found) => Some(found),
    }
}

fn has_only(value: &Value<'_>, known: &[&str]) -> Option<()> {
    let Value::Object(members) = value else { return None };
    members.iter().all(|(name, _)| known.contains(&&**name)).then_some(())
}

/// Three capital letters.
pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A decimal text such as `0.0021` in millionths, rounded up. `None` if it is none, is below 0, or is too large.
pub fn millionths(text: &str) -> Option<u64> {
    const DIGITS_MAX: usize = 18;
    let (whole, part) = decimal(text)?;
    if whole.len() > DIGITS_MAX || part.len() > DIGITS_MAX {
        return None;
    }
    let (kept, rest) = part.split_at(part.len().min(6));
    let kept: u64 = format!("{kept:0<6}").parse().ok()?;
    let up = u64::from(rest.bytes().any(|byte| byte != b'0'));
    let whole: u64 = whole.parse().ok()?;
    let sum = whole.checked_mul(1_000_000)?.checked_add(kept)?.checked_add(up)?;
    (sum <= NUMBER_MAX).then_some(sum)
}

/// The same of what a report says was spent. More than can be counted counts as the most that can be.
pub fn spent(text: &str) -> Option<u64> {
    millionths(text).or_else(|| decimal(text).map(|_| NUMBER_MAX))
}

/// Digits before and after the point of a decimal text, without a leading zero.
fn decimal(text: &str) -> Option<(&str, &str)> {
    let (whole, part) = text.split_once('.').map_or((text, None), |(w, p)| (w, Some(p)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain =
        digits(whole) && (whole == "0" || !whole.starts_with('0')) && part.is_none_or(digits);
    plain.then_some((whole, part.unwrap_or("")))
}

/// A sum that grew, as it is told and compared. It stays a number of JSON: 2^53-1 at most.
pub fn grown(sum: u64, more: u64) -> u64 {
    sum.saturating_add(more).min(NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn p18_costs_are_counted_in_millionths_and_never_rounded_down() {
        for (text, expected) in [
            ("0", Some(0)),
            ("20.00", Some(20_000_000)),
            ("0.0021", Some(2_100)),
            ("0.0000001", Some(1)),
            ("0.0000010", Some(1)),
            ("0.00000101", Some(2)),
            ("9007199254.740991", Some(NUMBER_MAX)),
            ("9007199254.7409911", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("1,5", None),
            ("", None),
            ("1234567890123456789", None),
        ] {
            assert_eq!(millionths(text), expected, "{text:?}");
        }
        for (text, expected) in [
            ("20.00", Some(20_000_000)),
            ("10000000000", Some(NUMBER_MAX)),
            ("1234567890123456789.5", Some(NUMBER_MAX)),
            ("-1", None),
            ("1e30", None),
        ] {
            assert_eq!(spent(text), expected, "{text:?}");
        }
    }

    fn check(change: &str, fits: bool) {
        let right = r#"{"report_within":900,"asked":[{"id":"p/a","key":"bot","unit":"minor","currency":"EUR","from":"2026-11-19T23:00:00.000000000Z","to":"2026-11-20T23:00:00.000000000Z","sum":5,"max":10,"warn":8,"booked":"within"}]}"#;
        let (from, to) = change.split_once(" → ").unwrap_or(("", ""));
        let text = if from.is_empty() { right.to_owned() } else { right.replace(from, to) };
        assert!(from.is_empty() || text != right, "{change}");
        let read = Asking::read(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(read.is_some(), fits, "{text}");
        if let Some(asking) = read {
            let json = serde_json::json!({"report_within": asking.report_within,
                "asked": asking.asked.iter().map(Asked::to_json).collect::<Vec<_>>()});
            let again = crate::canonical::of(&json);
            assert_eq!(Asking::read(&json::parse(&again).unwrap()), Some(asking));
        }
    }

    #[test]
    fn what_is_asked_has_exactly_its_form() {
        check("", true);
        check(",\"warn\":8 → ", true);
        check("\"key\":\"bot\", → ", true);
        for wrong in [
            "\"report_within\":900, → ",
            ":900 → :0",
            ":900 → :86401",
            "\"sum\":5 → \"sum\":-5",
            "\"sum\":5 → \"sum\":\"5\"",
            "\"sum\":5 → \"sum\":5.5",
            "\"max\":10 → \"max\":0",
            "\"EUR\" → \"eur\"",
            "\"currency\":\"EUR\", → ",
            "\"minor\" → \"calls\"",
            "\"minor\" → \"tokens\"",
            "\"within\" → \"somehow\"",
            "19T23 → 22T23",
            "\"sum\" → \"total\"",
            "\"warn\" → \"warned\"",
            "\"key\":\"bot\" → \"key\":null",
            "[{ → [5,{",
        ] {
            check(wrong, false);
        }
    }

    #[test]
    fn what_is_booked_goes_with_the_verdict() {
        let asked = |booked| {
            let at = Nanos(5);
            let (id, key, currency) = ("p/a".to_owned(), None, None);
            let (from, to, sum, max, warn) = (at, at.plus_seconds(5), 1, 5, None);
            let unit = Unit::Calls;
            Asking {
                report_within: 900,
                asked: vec![Asked { id, key, unit, currency, from, to, sum, max, warn, booked }],
            }
        };
        for (booked, verdicts) in [
            (Booked::Within, &["allow", "sanitize", "approval_needed"][..]),
            (Booked::Over, &["approval_needed"][..]),
            (Booked::Refused, &["deny"][..]),
        ] {
            for verdict in ["allow", "sanitize", "approval_needed", "deny"] {
                let goes = asked(booked).goes_with(verdict);
                assert_eq!(goes, verdicts.contains(&verdict), "{booked:?} {verdict}");
            }
        }
    }
}
