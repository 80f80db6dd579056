//! Dates of birth: a real date beside words that say so.

use super::{
    calendar::{BIRTH, MONTHS, OTHER},
    scan::{Take, Text},
};
use std::sync::LazyLock;

/// Bytes after that word in which no other date begins.
const CLEAR: usize = 12;

/// Dates of birth.
pub(super) fn of_birth(text: Text<'_>, take: &mut Take<'_>) {
    if !text.mentions(&BIRTH) {
        return;
    }
    let (mut at, mut last, mut taken) = (0, 0, None);
    while at < text.bytes.len() {
        let byte = text.bytes[at];
        let may_begin = byte.is_ascii_alphanumeric();
        let start = if may_begin { text.after_escape(at) } else { at };
        if start > at {
            at = start;
            continue;
        }
        if !may_begin || !text.begins(at) {
            at += if may_begin {
                text.run(at, usize::MAX, |byte| byte.is_ascii_alphanumeric())
            } else {
                1
            };
            continue;
        }
        let Some(end) =
            date_at(text, at).filter(|end| text.ends(*end) || text.at(*end) == Some(b'T'))
        else {
            at += text.run(at, usize::MAX, |byte| byte.is_ascii_alphanumeric()).max(1);
            continue;
        };
        let in_list = taken.is_some_and(|taken| text.continues(taken, at));
        let is_said = || text.since((last, at), &BIRTH, &OTHER, Some("date-of-birth")).is_some();
        if in_list || is_said() || text.is_named(at, &BIRTH) || is_said_after(text, end) {
            take(at, end);
            taken = Some(end);
        }
        (at, last) = (end, end);
    }
}

fn is_said_after(text: Text<'_>, end: usize) -> bool {
    let window = text.after(end);
    let Some(word) = BIRTH.last(&window) else { return false };
    // What follows the word may be the date that it is about.
    let from = (end + word).min(text.bytes.len());
    let rest = &text.bytes[from..(from + CLEAR).min(text.bytes.len())];
    let clear = !rest.iter().any(u8::is_ascii_digit) && !rest.starts_with(b":");
    clear && !window.iter().take(word).any(|byte| matches!(byte, b'\n' | b';'))
}

/// True for `1985-03-12`.
pub(super) fn is_date(bytes: &[u8]) -> bool {
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    bytes.len() == 10
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
}

/// The end of a date that begins here.
fn date_at(text: Text<'_>, at: usize) -> Option<usize> {
    if text.bytes[at].is_ascii_digit() {
        by_numbers(text, at).or_else(|| day_first(text, at)).or_else(|| with_signs(text, at))
    } else {
        month_first(text, at)
    }
}

/// Digits at a place: their number and value, at most 8.
fn digits(text: Text<'_>, at: usize) -> Option<(usize, u32)> {
    let run = text.run(at, 9, |byte| byte.is_ascii_digit());
    let value =
        text.bytes.get(at..at + run)?.iter().fold(0, |all, b| all * 10 + u32::from(b - b'0'));
    (1..=8).contains(&run).then_some((run, value))
}

/// `1985-03-12`, `12.03.1985`, `3/12/85`, `19850312`.
fn by_numbers(text: Text<'_>, at: usize) -> Option<usize> {
    let (run, first) = digits(text, at)?;
    if run == 8 {
        let (year, month, day) = (first / 10_000, first / 100 % 100, first % 100);
        return is_real(year, month, day).then_some(at + 8);
    }
    let separator = text.at(at + run).filter(|byte| matches!(byte, b'-' | b'/' | b'.' | b' '))?;
    let space = |at: usize| usize::from(separator == b'.' && text.at(at) == Some(b' '));
    let second_at = at + run + 1 + space(at + run + 1);
    let (second_run, second) = digits(text, second_at)?;
    let after = second_at + second_run;
    (text.at(after) == Some(separator) && second_run <= 2).then_some(())?;
    let third_at = after + 1 + space(after + 1);
    let (third_run, third) = digits(text, third_at)?;
    let end = third_at + third_run;
    let sound = match (run, third_run) {
        (4, 1..=2) => is_real(first, second, third),
        (1..=2, 4) => is_real(third, second, first) || is_real(third, first, second),
        (1..=2, 2) => is_real(2000 + third, second, first) || is_real(2000 + third, first, second),
        _ => false,
    };
    sound.then_some(end)
}

/// `12 March 1985`, `3rd of May, 1979`, `12-Mar-85`, `12. März 1985`.
fn day_first(text: Text<'_>, at: usize) -> Option<usize> {
    let (run, day) = digits(text, at).filter(|(run, _)| *run <= 2)?;
    let mut end = ordinal(text, at + run);
    end += gap(text, end)?;
    end += [&b"of "[..], b"de ", b"del "]
        .into_iter()
        .find(|word| text.bytes[end..].starts_with(word))
        .map_or(0, <[u8]>::len);
    let (month, length) = month_at(text, end)?;
    end += length;
    end += gap(text, end)?;
    end += [&b"de "[..], b"del "]
        .into_iter()
        .find(|word| text.bytes[end..].starts_with(word))
        .map_or(0, <[u8]>::len);
    year_at(text, end, (month, day))
}

/// `2011年12月15日`, and the same in Korean.
fn with_signs(text: Text<'_>, at: usize) -> Option<usize> {
    let (run, year) = digits(text, at).filter(|(run, _)| *run == 4)?;
    let sign = |at: usize, signs: [&str; 2]| {
        signs
            .iter()
            .find(|sign| text.bytes[at..].starts_with(sign.as_bytes()))
            .map(|sign| sign.len())
    };
    let space = |at: usize| usize::from(text.at(at) == Some(b' '));
    let mut end = at + run;
    end += sign(end, ["\u{5e74}", "\u{b144}"])?;
    end += space(end);
    let (run, month) = digits(text, end)?;
    end += run;
    end += sign(end, ["\u{6708}", "\u{c6d4}"])?;
    end += space(end);
    let (run, day) = digits(text, end)?;
    end += run;
    end += sign(end, ["\u{65e5}", "\u{c77c}"])?;
    is_real(year, month, day).then_some(end)
}

/// `March 12, 1985`, `May 3rd 1979`.
fn month_first(text: Text<'_>, at: usize) -> Option<usize> {
    let (month, length) = month_at(text, at)?;
    let mut end = at + length;
    end += gap(text, end)?;
    if text.bytes[end..].starts_with(b"the ") {
        end += 4;
    }
    let (run, day) = digits(text, end).filter(|(run, _)| *run <= 2)?;
    end = ordinal(text, end + run);
    end += gap(text, end)?;
    year_at(text, end, (month, day))
}

fn year_at(text: Text<'_>, at: usize, (month, day): (u32, u32)) -> Option<usize> {
    let (run, year) = digits(text, at)?;
    let year = if run == 2 { 2000 + year } else { year };
    (matches!(run, 2 | 4) && is_real(year, month, day)).then_some(at + run)
}

fn ordinal(text: Text<'_>, at: usize) -> usize {
    let ends = ["st", "nd", "rd", "th", "er"];
    at + if ends.iter().any(|end| text.bytes[at..].starts_with(end.as_bytes())) { 2 } else { 0 }
}

/// 1 to 3 of space, comma, point, hyphen and slash.
fn gap(text: Text<'_>, at: usize) -> Option<usize> {
    let run = text.run(at, 4, |byte| matches!(byte, b' ' | b',' | b'.' | b'-' | b'/'));
    (1..=3).contains(&run).then_some(run)
}

fn month_at(text: Text<'_>, at: usize) -> Option<(u32, usize)> {
    /// Names with the number of the month.
    type Names = Vec<(&'static [u8], u32)>;
    /// Names by their first bytes.
    static BY_FIRST: LazyLock<Vec<Names>> = LazyLock::new(|| {
        let mut by_first = vec![Vec::new(); 256];
        for (names, month) in MONTHS.iter().zip(1..) {
            for name in *names {
                by_first[usize::from(name.as_bytes()[0])].push((name.as_bytes(), month));
            }
        }
        by_first
    });
    let rest = text.bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let names = &BY_FIRST[usize::from(rest[0].to_ascii_lowercase())];
    let is = |name: &[u8]| {
        rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
            && !rest.get(name.len()).is_some_and(u8::is_ascii_alphabetic)
    };
    names.iter().find(|(name, _)| is(name)).map(|(name, month)| (*month, name.len()))
}

fn is_real(year: u32, month: u32, day: u32) -> bool {
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    (1880..=2099).contains(&year) && (1..=days).contains(&day)
}
