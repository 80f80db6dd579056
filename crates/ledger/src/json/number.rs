//! Numbers: which texts a double stands for exactly.

use super::INTEGER_MAX;

/// The double that `text` (a JSON number) stands for exactly. `None` if RFC 8785 would write another number.
pub(super) fn exact(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() || (number.fract() == 0.0 && number.abs() > INTEGER_MAX) {
        return None;
    }
    // Up to 15 digits without exponent always survive the round trip through a double.
    let short = text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if short {
        return Some(number);
    }
    let mut buffer = ryu_js::Buffer::new();
    (decimal(text) == decimal(buffer.format_finite(number))).then_some(number)
}

/// A decimal number as (negative, significant digits, power of ten of the last one). Equal numbers, equal triples.
fn decimal(text: &str) -> (bool, Vec<u8>, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let negative = mantissa.starts_with('-');
    // An exponent too long for i64 is as wrong as i64's largest: no double has either one.
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 2);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> =
        whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit).collect();
    let mut power = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    while digits.last() == Some(&b'0') {
        digits.pop();
        power = power.saturating_add(1);
    }
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    digits.drain(..zeros);
    if digits.is_empty() { (false, digits, 0) } else { (negative, digits, power) }
}
