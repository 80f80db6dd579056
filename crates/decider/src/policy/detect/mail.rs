//! Addresses of mail.

use super::scan::{Take, Text};

/// Longest part before the `@`, and longest domain, in bytes.
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 255;
/// Endings of files that are named for a screen: `icon@2x.png`.
const PICTURES: &[&str] = &["png", "jpg", "jpeg", "gif", "svg", "webp", "pdf"];

/// Addresses: `name@host.example`. Letters beyond ASCII count in both parts.
pub(super) fn find(text: Text<'_>, take: &mut Take<'_>) {
    let (mut from, mut free) = (0, 0);
    while let Some(found) = text.whole[from..].find('@') {
        let at = from + found;
        from = at + 1;
        if let Some((start, end)) = address(text, (free, at)) {
            take(start, end);
            (from, free) = (end, end);
        }
    }
}

fn address(text: Text<'_>, (free, at): (usize, usize)) -> Option<(usize, usize)> {
    let local = text.whole[free..at].char_indices().rev();
    let local = local.take_while(|(_, c)| is_local(*c)).take(LOCAL_MAX).last();
    let mut start = free + local?.0;
    while matches!(text.at(start), Some(b'.' | b'\'' | b'-' | b'+' | b'%')) {
        start += 1;
    }
    (start < at && text.before(at) != Some(b'.')).then_some(())?;
    let rest = &text.whole[at + 1..];
    let run: usize = rest
        .chars()
        .take(DOMAIN_MAX)
        .take_while(|c| is_label(*c) || *c == '.')
        .map(char::len_utf8)
        .sum();
    let domain = rest[..run].trim_end_matches(['.', '-']);
    let labels: Vec<&str> = domain.split('.').collect();
    let sound = |label: &&str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = labels.last().filter(|_| labels.len() > 1)?;
    let is_top = last.chars().count() >= 2
        && (last.starts_with("xn--") || !last.bytes().any(|b| b.is_ascii_digit() || b == b'-'));
    let end = at + 1 + domain.len();
    let is_picture =
        domain.as_bytes()[0].is_ascii_digit() && PICTURES.contains(last) && labels.len() == 2;
    // `git@host:path` names a repository.
    let is_repository =
        &text.whole[start..at] == "git" && matches!(text.at(end), Some(b':' | b'/'));
    (labels.iter().all(sound) && is_top && !is_picture && !is_repository).then_some((start, end))
}

fn is_local(c: char) -> bool {
    is_letter(c) || matches!(c, '0'..='9' | '.' | '_' | '%' | '+' | '-' | '\'')
}

fn is_label(c: char) -> bool {
    is_letter(c) || matches!(c, '0'..='9' | '-')
}

/// A fixed list of letters: what counts must not change with a version of Unicode.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{52f}' | '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}')
            && !matches!(c, '\u{d7}' | '\u{f7}')
        || matches!(c, '\u{900}'..='\u{dff}' | '\u{3041}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
}
