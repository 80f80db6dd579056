//! Finds every mistake in the TOML at once: what can't be read is left out, and the rest is read again.

use super::File;
use std::ops::Range;

/// Most mistakes that are reported.
const TOLD_MAX: usize = 50;

/// The readable parts of a configuration.
pub struct Read {
    /// The values that were read, without the wrong ones.
    pub file: File,
    /// A text for each mistake.
    pub wrong: Vec<String>,
    /// Beginnings of those lines of `check` that would only repeat these mistakes.
    pub left_out: Vec<String>,
}

/// Reads the text. A mistake removes its line, or its table.
pub fn read(text: &str) -> Read {
    let mut left = text.to_owned();
    let mut wrong: Vec<(usize, String)> = Vec::new();
    let mut left_out = Vec::new();
    let told = |mut wrong: Vec<(usize, String)>| {
        wrong.sort();
        wrong.into_iter().map(|(_, text)| text).collect()
    };
    while wrong.len() < TOLD_MAX {
        let error = match toml::from_str::<File>(&left) {
            Ok(file) => return Read { file, wrong: told(wrong), left_out },
            Err(error) => error,
        };
        let span = error.span().filter(|span| span.end <= left.len());
        let at = span.as_ref().map_or(usize::MAX, |span| span.start);
        wrong.push((at, error.to_string().trim_end().to_owned()));
        let Some(lines) = span.and_then(|span| lines_of(&left, span)) else { break };
        if is_open(&left) {
            break;
        }
        left_out.extend(names(&left, lines.start));
        // Keep all places: every character is replaced by as many blanks as it has bytes.
        let blank: String =
            left[lines.clone()].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        if blank == left[lines.clone()] {
            break;
        }
        left.replace_range(lines, &blank);
    }
    // Nothing more can be checked before this is corrected.
    Read { file: File::default(), wrong: told(wrong), left_out: vec![String::new()] }
}

/// True if something begins and its end is unknown: what follows would only seem wrong.
fn is_open(text: &str) -> bool {
    let Err(error) = toml::from_str::<toml::Table>(text) else { return false };
    let open = ["array", "inline table", "string", "unclosed"];
    open.iter().any(|word| error.message().contains(word))
}

/// The whole lines of a span. `None` if that would be everything.
fn lines_of(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let begin = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let from = span.end.max(span.start + 1).min(text.len());
    let end = text.get(from - 1..)?.find('\n').map_or(text.len(), |at| from - 1 + at);
    // A table is removed with all of its content.
    let is_table = text[begin..end].trim_start().starts_with('[');
    let table_end = || text[end..].find("\n[").map_or(text.len(), |at| end + at);
    let end = if is_table { table_end() } else { end };
    (begin < end && !(begin == 0 && end == text.len())).then_some(begin..end)
}

/// The names that `check` would use for the line at `at`.
fn names(text: &str, at: usize) -> Vec<String> {
    let line = text[at..].lines().next().unwrap_or("");
    let key = line.split('=').next().unwrap_or("").trim();
    let table = text[..at].lines().rev().find_map(|line| line.trim().strip_prefix('['));
    let table = table.map(|rest| rest.trim_matches(['[', ']', ' ']));
    let own = key.strip_prefix('[').map(|rest| rest.trim_matches(['[', ']', ' ']));
    let name = match (own, table) {
        (Some(own), _) => own.to_owned(),
        (None, Some(table)) => format!("{table}.{key}"),
        (None, None) => format!("{key}:"),
    };
    let mut names = vec![name];
    // If TLS is wrong, it is not also missing.
    if own == Some("tls") || own.is_none() && table == Some("tls") {
        names.extend(["listen:".to_owned(), "tls".to_owned()]);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../../example.toml");

    fn check(change: &[(&str, &str)], said: &[&str]) {
        let mut text = GOOD.to_owned();
        for (from, to) in change {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let read = read(&text);
        assert_eq!(read.wrong.len(), said.len(), "{:?}", read.wrong);
        for (wrong, said) in read.wrong.iter().zip(said) {
            assert!(wrong.contains(said), "{wrong}");
        }
    }

    #[test]
    fn every_mistake_is_told() {
        check(&[], &[]);
        check(&[("keys_dir", "keys_dirr")], &["unknown field `keys_dirr`"]);
        check(
            &[
                ("keys_dir", "keys_dirr"),
                ("127.0.0.1:8470", "127.0.0.1:847x"),
                ("[journal]", "[journall]"),
            ],
            &["`keys_dirr`", "127.0.0.1:847x", "`journall`"],
        );
        check(&[("= []", "= [")], &["array"]);
        check(&[("data_dir = ", "data_dir = # "), ("guard_path = ", "guard_path ")], &["", ""]);
        check(
            &[("data_dir = \"", "data_dir = 5 # \""), ("[log]", "[log]\nlevell = 1")],
            &["integer", "levell"],
        );
    }

    #[test]
    fn what_is_left_out_is_named() {
        let text = "a = 1\n[limits]\nconnections = \"x\"\n[tls]\nkey = 1\n";
        assert_eq!(names(text, 0), ["a:"]);
        assert_eq!(names(text, text.find("conn").unwrap()), ["limits.connections"]);
        assert_eq!(names(text, text.find("key").unwrap()), ["tls.key", "listen:", "tls"]);
    }
}
