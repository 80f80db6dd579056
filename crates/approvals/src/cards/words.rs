//! Quorums in words.

use chrono::DateTime;
use decider::quorum::Quorum;
use ledger::{foreign::harmless, time::Nanos};

/// What cards and pages say of a call that is frozen.
pub const FROZEN: &str = "This call is frozen. It can be denied; as long as the freeze lasts, no token of it is given or redeemed.";

/// Date and hour of a time: `28 Nov 05:36 UTC`.
pub(crate) fn hour(at: Nanos) -> String {
    let time = DateTime::from_timestamp_nanos(i64::try_from(at.0).unwrap_or(i64::MAX));
    time.format("%-d %b %H:%M UTC").to_string()
}

/// At most `max` characters. `…` stands for the rest. What was isolated stays closed.
pub(super) fn cut(text: &str, max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(max) else { return text.to_owned() };
    let begin = &text[..end];
    let open = begin.matches('\u{2068}').count() > begin.matches('\u{2069}').count();
    format!("{begin}\u{2026}{}", if open { "\u{2069}" } else { "" })
}

/// The quorum as a phrase: `2 of finance and 1 of legal`, `1 of finance, or 2 of board`.
pub fn in_words(quorum: &Quorum) -> String {
    match quorum {
        Quorum::AtLeast { at_least, of } => format!("{at_least} of {}", harmless(of)),
        Quorum::All { all } => joined(all, " and "),
        Quorum::Any { any } => joined(any, ", or "),
    }
}

/// Parts that have parts of their own are put in brackets.
fn joined(parts: &[Quorum], by: &str) -> String {
    let part = |part: &Quorum| match part {
        Quorum::AtLeast { .. } => in_words(part),
        _ if parts.len() == 1 => in_words(part),
        _ => format!("({})", in_words(part)),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(quorum: &str, words: &str) {
        assert_eq!(in_words(&serde_json::from_str(quorum).unwrap()), words);
    }

    #[test]
    fn quorums_in_words() {
        let (two, one) = (r#"{"at_least":2,"of":"finance"}"#, r#"{"at_least":1,"of":"legal"}"#);
        check(two, "2 of finance");
        check(&format!(r#"{{"all":[{two},{one}]}}"#), "2 of finance and 1 of legal");
        check(&format!(r#"{{"any":[{two},{one}]}}"#), "2 of finance, or 1 of legal");
        check(
            &format!(r#"{{"all":[{one},{{"any":[{two},{one}]}}]}}"#),
            "1 of legal and (2 of finance, or 1 of legal)",
        );
    }
}
