//! What each item of a list must look like, if its file says so (`form`, `matches`): a wrong item is found when it is
//! written, and not when a call that it should have stopped is allowed.

use super::{fields::MapReader, pattern::Pattern};
use std::fmt;

/// Shortest and longest IBAN, in characters.
const IBAN_CHARS: std::ops::RangeInclusive<usize> = 15..=34;

/// The form of the items of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// Two capital letters, as ISO 3166-1 gives countries. Which of them are given changes, so that is not checked.
    Country,
    /// A host, or `*.` and a host.
    Host,
    /// A day: `2026-12-25`.
    Date,
    /// An IBAN with right check digits, without blanks.
    Iban,
    /// `sha256:` and 64 hex digits.
    Digest,
    /// A regular expression that each item matches as a whole: its text, and the expression.
    Matches(String, Pattern),
}

impl Form {
    /// Reads `form` and `matches` of a list's file.
    pub(super) fn read(fields: &mut MapReader<'_>) -> Option<Self> {
        let form = fields.text("form").and_then(|(name, at)| {
            let form = Self::named(&name);
            if form.is_none() {
                let text = format!(
                    "{name:?} is no form: write country, host, date, iban or digest, or `matches` with an expression"
                );
                fields.wrong(at, text);
            }
            Some((form?, at))
        });
        let matches = fields.text("matches").and_then(|(text, at)| match Pattern::whole(&text) {
            Ok(pattern) => Some(Self::Matches(text, pattern)),
            Err(why) => {
                fields.wrong(at, why);
                None
            }
        });
        match (form, matches) {
            (Some((_, at)), Some(_)) => {
                fields.wrong(at, "write form or matches, not both");
                None
            }
            (form, matches) => form.map(|(form, _)| form).or(matches),
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "country" => Some(Self::Country),
            "host" => Some(Self::Host),
            "date" => Some(Self::Date),
            "iban" => Some(Self::Iban),
            "digest" => Some(Self::Digest),
            _ => None,
        }
    }

    /// Why a text is not of this form.
    pub(super) fn fault(&self, item: &str) -> Option<&'static str> {
        let (fits, why) = match self {
            Self::Country => (
                item.len() == 2 && item.bytes().all(|byte| byte.is_ascii_uppercase()),
                "the list names countries: write two capital letters, such as SY",
            ),
            Self::Host => (
                is_host_pattern(item),
                "the list names hosts: write api.example.eu or *.bank.example",
            ),
            Self::Date => (is_date(item), "the list names dates: write 2026-12-25"),
            Self::Iban => (
                is_iban(item),
                "the list names IBANs: write capital letters and digits without blanks; the check digits must be right",
            ),
            Self::Digest => {
                (is_digest(item), "the list names digests: write sha256: and 64 hex digits")
            }
            Self::Matches(_, pattern) => (
                pattern.fits(item),
                "the item is not of the form that `matches` of the list's file demands",
            ),
        };
        (!fits).then_some(why)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Country => f.write_str("country"),
            Self::Host => f.write_str("host"),
            Self::Date => f.write_str("date"),
            Self::Iban => f.write_str("iban"),
            Self::Digest => f.write_str("digest"),
            Self::Matches(text, _) => write!(f, "matches {text:?}"),
        }
    }
}

/// A host, or `*.` and a host.
pub(super) fn is_host_pattern(text: &str) -> bool {
    is_host(text.strip_prefix("*.").unwrap_or(text))
}

/// A name in lower case, with at least two labels, whose last one begins with a letter: no IP address has one.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
            })
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(label)
        && last.starts_with(|c: char| c.is_ascii_lowercase())
}

/// `2026-12-24`, a day that the calendar has.
pub(super) fn is_date(text: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else { return false };
    let number = |digits: &[u8]| -> Option<u32> {
        let plain = digits.iter().all(u8::is_ascii_digit);
        let value = digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit & 0x0f));
        plain.then_some(value)
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2]));
    let (Some(year), Some(month), Some(day)) = (year, month, day) else { return false };
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_digest(item: &str) -> bool {
    let hex = item.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64
        && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Two letters, two check digits, then letters and digits; modulo 97 (ISO 7064) it is 1.
fn is_iban(item: &str) -> bool {
    let bytes = item.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if !IBAN_CHARS.contains(&bytes.len())
        || !bytes.iter().all(plain)
        || !bytes[..2].iter().all(u8::is_ascii_uppercase)
        || !bytes[2..4].iter().all(u8::is_ascii_digit)
    {
        return false;
    }
    let turned = bytes[4..].iter().chain(&bytes[..4]);
    let rest = turned.fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &str, fits: &[&str], unfit: &[&str]) {
        let form = Form::named(form).unwrap();
        for item in fits {
            assert_eq!(form.fault(item), None, "{form} {item}");
        }
        for item in unfit {
            assert!(form.fault(item).is_some(), "{form} {item}");
        }
    }

    #[test]
    fn items_are_of_the_form_that_the_file_names() {
        check("country", &["SY", "DE"], &["Syria", "sy", "S", "SYR", "S1", "\u{c4}"]);
        check(
            "host",
            &["api.example.eu", "*.bank.example"],
            &["https://bank.example", "bank", "10.0.0.1"],
        );
        check(
            "date",
            &["2026-12-25", "2024-02-29", "2000-02-29", "2026-01-31"],
            &[
                "2026-13-01",
                "2026-02-29",
                "1900-02-29",
                "2026-04-31",
                "2026-00-10",
                "2026-01-00",
                "25.12.2026",
                "2026-12-25T00:00:00Z",
            ],
        );
        let digest = format!("sha256:{}", "0a".repeat(32));
        check("digest", &[&digest], &["sha256:0a", &digest.to_uppercase(), &digest[7..]]);
        check(
            "iban",
            &["DE89370400440532013000", "GB82WEST12345698765432", "NO9386011117947"],
            &[
                "DE89370400440532013001",
                "DE89 3704 0044 0532 0130 00",
                "de89370400440532013000",
                "DE",
                "8937040044053201300DE",
            ],
        );
        assert!(Form::named("text").is_none());
        let pattern = Form::Matches("INV-[0-9]{6}".into(), Pattern::whole("INV-[0-9]{6}").unwrap());
        assert_eq!(
            (pattern.fault("INV-000001"), pattern.to_string().as_str()),
            (None, "matches \"INV-[0-9]{6}\"")
        );
        assert!(pattern.fault("xINV-0000012").is_some());
    }
}
