//! Shows amounts, from integer minor units (ISO 4217).

use iso_currency::Currency;

/// `EUR 1,250.00` for 125000 minor units. `None` for an unknown code, or one without minor units (gold, test
/// codes).
pub fn format(minor: i64, code: &str) -> Option<String> {
    let exponent = usize::from(Currency::from_code(code)?.exponent()?);
    let sign = if minor < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", minor.unsigned_abs(), width = exponent + 1);
    let (whole, fraction) = digits.split_at(digits.len() - exponent);
    let grouped = grouped(whole);
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{code} {sign}{grouped}{point}{fraction}"))
}

/// Digits in groups of three: `1,889`.
pub(super) fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(minor: i64, code: &str, shown: Option<&str>) {
        assert_eq!(format(minor, code).as_deref(), shown, "{minor} {code}");
    }

    #[test]
    fn amounts_follow_iso_4217() {
        check(125_000, "EUR", Some("EUR 1,250.00"));
        check(5, "EUR", Some("EUR 0.05"));
        check(0, "USD", Some("USD 0.00"));
        check(-123_456_789, "EUR", Some("EUR -1,234,567.89"));
        check(1_250, "JPY", Some("JPY 1,250"));
        check(999, "JPY", Some("JPY 999"));
        check(1_250_000, "KWD", Some("KWD 1,250.000"));
        check(7, "BHD", Some("BHD 0.007"));
        check(12_345, "CLF", Some("CLF 1.2345"));
        check(i64::MAX, "EUR", Some("EUR 92,233,720,368,547,758.07"));
        check(1, "XAU", None);
        check(1, "eur", None);
        check(1, "BTC", None);
        check(1, "", None);
    }
}
