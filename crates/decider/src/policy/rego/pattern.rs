//! Regular expressions in the syntax of Go, from their meaning: so no difference of the two syntaxes counts.

use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, Look, Repetition},
};
use std::fmt::Write as _;

/// Most repetitions that Go compiles, also of one within another.
const REPEAT_MAX: u64 = 1_000;

/// The expression, or why Go has none that means the same.
pub(super) fn of(pattern: &str) -> Result<String, &'static str> {
    let parsed = ParserBuilder::new().dot_matches_new_line(true).build().parse(pattern);
    let parsed = parsed.map_err(|_| "an expression that can't be read")?;
    let mut out = String::from("(?s)");
    write(&parsed, 1, &mut out)?;
    Ok(out)
}

fn write(part: &Hir, repeated: u64, out: &mut String) -> Result<(), &'static str> {
    match part.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).map_err(|_| "bytes that are no text")?;
            text.chars().for_each(|c| character(c, out));
        }
        HirKind::Class(class) => write_class(class, out)?,
        HirKind::Look(Look::Start) => out.push_str(r"\A"),
        HirKind::Look(Look::End) => out.push_str(r"\z"),
        HirKind::Look(_) => return Err("a place that OPA has no word for"),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            let most = repeated * u64::from(max.unwrap_or(*min).max(*min).max(1));
            if most > REPEAT_MAX {
                return Err("more than 1,000 repetitions");
            }
            out.push_str("(?:");
            write(sub, most, out)?;
            out.push(')');
            let _ = match max {
                Some(max) => write!(out, "{{{min},{max}}}"),
                None => write!(out, "{{{min},}}"),
            };
            out.push_str(if *greedy { "" } else { "?" });
        }
        HirKind::Capture(capture) => {
            out.push_str("(?:");
            write(&capture.sub, repeated, out)?;
            out.push(')');
        }
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, repeated, out)?;
            }
        }
        HirKind::Alternation(parts) => {
            out.push_str("(?:");
            for (nth, part) in parts.iter().enumerate() {
                out.push_str(if nth > 0 { "|" } else { "" });
                write(part, repeated, out)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

fn write_class(class: &Class, out: &mut String) -> Result<(), &'static str> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => {
            let ascii =
                class.iter().map(|range| (char::from(range.start()), char::from(range.end())));
            ascii.collect()
        }
    };
    if ranges.iter().any(|(_, end)| matches!(class, Class::Bytes(_)) && !end.is_ascii()) {
        return Err("bytes that are no text");
    }
    if ranges.is_empty() {
        // Nothing fits.
        out.push_str(r"[^\x{0}-\x{10ffff}]");
        return Ok(());
    }
    out.push('[');
    for (start, end) in ranges {
        let _ = write!(out, r"\x{{{:x}}}-\x{{{:x}}}", u32::from(start), u32::from(end));
    }
    out.push(']');
    Ok(())
}

fn character(c: char, out: &mut String) {
    if c.is_ascii_alphanumeric() {
        out.push(c);
    } else {
        let _ = write!(out, r"\x{{{:x}}}", u32::from(c));
    }
}
