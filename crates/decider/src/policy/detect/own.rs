//! A tenant's own detectors: an expression of bounded length, words beside it, and a check.

use super::scan::{Take, Text, luhn};
use crate::policy::pattern::Pattern;

/// What must be true of what an expression found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Check {
    None,
    /// Its digits have a right check digit.
    Luhn,
}

/// A detector of `detectors.yaml`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::policy) struct Own {
    pub(in crate::policy) name: String,
    pub(in crate::policy) pattern: Pattern,
    /// One of them must be near, as [`forms_of`](super::forms_of) gives them. Empty: nothing must.
    pub(in crate::policy) words: Vec<String>,
    pub(in crate::policy) check: Check,
}

impl Own {
    pub(super) fn find(&self, text: Text<'_>, take: &mut Take<'_>) {
        let mut from = 0;
        while let Some((start, end)) = self.pattern.span_from(text.whole, from) {
            if !self.is_sound(&text.bytes[start..end]) {
                // A good one may begin within a wrong one.
                from = start + text.whole[start..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            from = end;
            if self.words.is_empty() || text.is_beside((start, end), &self.words) {
                take(start, end);
            }
        }
    }

    fn is_sound(&self, found: &[u8]) -> bool {
        let digits = found.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
        match self.check {
            Check::None => true,
            Check::Luhn => luhn(&digits.collect::<Vec<u8>>()),
        }
    }
}
