//! How far a condition looks back: `90s`, `15m`, `24h`, `31d`.

use ledger::history::WITHIN_SECONDS_MAX;

/// Seconds of such a text. `None` if it is none, is 0, or is too long.
pub(in crate::policy) fn seconds(text: &str) -> Option<u64> {
    let unit = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let plain = (1..=7).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    let seconds = digits.parse::<u64>().ok().filter(|_| plain)? * unit;
    (seconds <= WITHIN_SECONDS_MAX).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_is_a_number_and_a_unit_up_to_31_days() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("31d", Some(2_678_400)),
            ("32d", None),
            ("2678401s", None),
            ("0s", None),
            ("05m", None),
            ("1.5h", None),
            ("h", None),
            ("24", None),
            ("1w", None),
            ("-1d", None),
            ("", None),
            ("1é", None),
        ] {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
    }
}
