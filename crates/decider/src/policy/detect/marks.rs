//! Marks that stand in the place of a value that was found: the name of a detector in one is no word.

use std::borrow::Cow;

/// Longest mark, in bytes.
const MARK_BYTES_MAX: usize = 100;
/// Letters of a token.
const TOKEN_LETTERS: usize = 24;

/// The names of detectors that there are.
#[derive(Default)]
pub(super) struct Known<'k> {
    pub(super) set: &'k [&'k str],
    pub(super) own: Vec<&'k str>,
}

impl Known<'_> {
    fn has(&self, name: &[u8]) -> bool {
        self.set.iter().chain(&self.own).any(|known| known.as_bytes() == name)
    }
}

/// A mark in a text: its length, and the name of its detector.
struct Mark<'t> {
    length: usize,
    name: &'t [u8],
}

/// The mark with which bytes begin: closed, of a detector that there is, and with a whole token if it has one. Nothing else
/// is one, so that nobody hides a word by what only looks like a mark.
fn mark<'t>(bytes: &'t [u8], known: &Known<'_>) -> Option<Mark<'t>> {
    let redacted = bytes.strip_prefix(b"[REDACTED:");
    let rest = redacted.or_else(|| bytes.strip_prefix(b"[TOKEN:"))?;
    let inside = &rest[..rest.iter().take(MARK_BYTES_MAX).position(|byte| *byte == b']')?];
    let name = if redacted.is_some() {
        inside
    } else {
        let (name, token) = inside.split_at(inside.len().checked_sub(TOKEN_LETTERS + 1)?);
        let is_token = token[0] == b':' && token[1..].iter().all(|b| (b'a'..=b'p').contains(b));
        is_token.then_some(name)?
    };
    let length = bytes.len() - rest.len() + inside.len() + 1;
    (known.has(name) && length <= MARK_BYTES_MAX).then_some(Mark { length, name })
}

/// The marks that are partly or wholly in `bytes[start..end]`: the place of each, and the mark.
fn marks<'t>(
    bytes: &'t [u8],
    (start, end): (usize, usize),
    known: &'t Known<'_>,
) -> impl Iterator<Item = (usize, Mark<'t>)> {
    let first = start.saturating_sub(MARK_BYTES_MAX);
    let may_be = (first..end).filter(|at| bytes[*at] == b'[');
    may_be
        .filter_map(move |at| Some((at, mark(&bytes[at..], known)?)))
        .filter(move |(at, mark)| at + mark.length > start)
}

/// `bytes[start..end]` with spaces within its marks.
pub(super) fn unmarked<'t>(
    bytes: &'t [u8],
    (start, end): (usize, usize),
    known: &'t Known<'_>,
) -> Cow<'t, [u8]> {
    let mut clear = Cow::Borrowed(&bytes[start..end]);
    for (at, Mark { length, .. }) in marks(bytes, (start, end), known) {
        let (from, to) = ((at + 1).max(start), (at + length - 1).min(end));
        if from < to {
            clear.to_mut()[from - start..to - start].fill(b' ');
        }
    }
    clear
}

/// The place behind the last mark that ends in `bytes[start..end]`: of this detector, or of any.
pub(super) fn last_end(
    bytes: &[u8],
    (start, end): (usize, usize),
    known: &Known<'_>,
    name: Option<&str>,
) -> Option<usize> {
    let is_it = |mark: &Mark<'_>| name.is_none_or(|name| name.as_bytes() == mark.name);
    let ends = marks(bytes, (start, end), known).filter(|(_, mark)| is_it(mark));
    ends.map(|(at, mark)| at + mark.length).filter(|behind| *behind <= end).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: Known<'_> = Known { set: &["iban"], own: Vec::new() };

    fn check(text: &str, expected: &str) {
        let known = Known { set: KNOWN.set, own: vec!["card"] };
        let clear = unmarked(text.as_bytes(), (0, text.len()), &known);
        assert_eq!(String::from_utf8_lossy(&clear), expected);
    }

    #[test]
    fn only_whole_marks_of_known_detectors_are_marks() {
        check("a [REDACTED:iban] b", "a [             ] b");
        let token = format!("[TOKEN:card:{}]", "a".repeat(24));
        check(&token, &format!("[{}]", " ".repeat(token.len() - 2)));
        for text in [
            "[REDACTED:x] b",
            "[REDACTED:iban",
            "[REDACTED: iban]",
            "[REDACTED:]",
            "[TOKEN:card]",
            "[TOKEN:card:536904399]",
            "[TOKEN: 536904399",
        ] {
            check(text, text);
        }
        let text = b"a [REDACTED:iban] b";
        assert_eq!(last_end(text, (0, text.len()), &KNOWN, None), Some(17));
        assert_eq!(last_end(text, (0, text.len()), &KNOWN, Some("card")), None);
        assert_eq!(unmarked(text, (5, 19), &KNOWN), &b"           ] b"[..]);
    }
}
