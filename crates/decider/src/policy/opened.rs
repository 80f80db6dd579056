//! Looks into texts that are something else inside: JSON, base64 of a text, a form body or the query of a URL.
//!
//! What claims to be one of them and can't be read is an error: somebody else may read what we have not seen (P16).

use super::encoded::Encoded;
use ledger::json::{self, Value};
use std::fmt::Write as _;

/// Most levels of texts within texts: base64 in JSON in a form body is three.
pub(super) const LEVELS_MAX: usize = 4;
/// Longest name of a member of a form, in bytes.
const FORM_NAME_BYTES_MAX: usize = 128;

/// What a text is inside.
pub(super) enum Opened<'t> {
    /// Nothing else.
    Text,
    Json(Value<'t>),
    Base64(Encoded),
    Form(Vec<FormPart<'t>>),
}

/// A part of a form: what stands before its value, and the value, as written and as meant.
pub(super) struct FormPart<'t> {
    /// `name=`, with the separator before it.
    pub(super) before: &'t str,
    pub(super) name: String,
    pub(super) written: &'t str,
    pub(super) value: String,
}

impl<'t> Opened<'t> {
    /// Errors: it claims to be something that can't be read.
    pub(super) fn of(text: &'t str) -> Result<Self, &'static str> {
        let marked = text.strip_prefix('\u{feff}').unwrap_or(text);
        let trimmed = marked.trim_matches([' ', '\t', '\r', '\n']);
        let claim = claim_of_json(trimmed);
        if claim != Claim::No {
            match json::parse(trimmed.as_bytes()) {
                Ok(read) => return Ok(Self::Json(read)),
                // With an escape in a text, lenient readers of lists find what is not seen here.
                Err(_) if claim == Claim::Maybe && !trimmed.contains("\\u") => {}
                Err(_) => return Err("a text that begins as JSON and can't be read as JSON"),
            }
        }
        if let Some(encoded) = Encoded::of(trimmed) {
            return Ok(Self::Base64(encoded));
        }
        Ok(form(text)?.map_or(Self::Text, Self::Form))
    }
}

/// Whether a text claims to be JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    No,
    /// It is, if it can be read: `[1]` is also how texts refer to notes.
    Maybe,
    Yes,
}

/// `{"`, `{}`, `["` and `[{` claim it, with white space between and any number of `[` before; a list that begins with a number
/// or a word may be one. A note that begins with `[URGENT]` is none, and neither is a mark of ours in brackets.
fn claim_of_json(text: &str) -> Claim {
    let space = [' ', '\t', '\r', '\n'];
    if let Some(rest) = text.strip_prefix('{') {
        let second = rest.trim_start_matches(space).bytes().next();
        return if matches!(second, Some(b'"' | b'}')) { Claim::Yes } else { Claim::No };
    }
    let inner = text.trim_start_matches(|c| c == '[' || space.contains(&c));
    if !text.starts_with('[') {
        return Claim::No;
    }
    match inner.bytes().next() {
        Some(b'"' | b'{') => Claim::Yes,
        Some(b']' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Claim::Maybe,
        _ => Claim::No,
    }
}

/// `a=b&c=d`, also after the `?` of a URL. One word, with white space only around it.
fn form(text: &str) -> Result<Option<Vec<FormPart<'_>>>, &'static str> {
    let is_word =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`');
    let space = [' ', '\t', '\r', '\n'];
    let end = text.trim_end_matches(space).len();
    let lead = end - text[..end].trim_start_matches(space).len();
    let word = &text[lead..end];
    if !word.contains('=') || !word.bytes().all(is_word) {
        return Ok(None);
    }
    let begin = word.find('?').map_or(lead, |at| lead + at + 1);
    let body = &text[begin..end];
    let body = &body[..body.find('#').unwrap_or(body.len())];
    let is_name = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~[]%+*$:".contains(&byte);
        (1..=FORM_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
    };
    let mut parts = Vec::new();
    let mut at = begin;
    for (nth, piece) in body.split('&').enumerate() {
        let separator = usize::from(nth > 0);
        let (name, written) = piece.split_once('=').unwrap_or((piece, ""));
        // Escapes are a claim of their own: a first piece with some may lack its name or its value.
        let is_first = is_name(name) && piece.contains('=') || is_escaped(piece);
        if nth == 0 && !is_first {
            return Ok(None);
        }
        let before = piece.len() - written.len();
        let from = if nth == 0 { 0 } else { at };
        parts.push(FormPart {
            before: &text[from..at + separator + before],
            name: decoded(name)?,
            written,
            value: decoded(written)?,
        });
        at += separator + piece.len();
    }
    let rest = &text[at..];
    if !rest.is_empty() {
        parts.push(FormPart {
            before: rest,
            name: String::new(),
            written: "",
            value: String::new(),
        });
    }
    Ok(Some(parts))
}

/// True if a text has an escape.
fn is_escaped(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).any(is_hex)
}

fn decoded(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "a form or URL with an escape that can't be read";
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit =
            |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(WRONG);
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => (digit(rest.next())? * 16 + digit(rest.next())?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}

/// A value as a form writes it.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match Opened::of(text) {
            Err(_) => "error".into(),
            Ok(Opened::Text) => "text".into(),
            Ok(Opened::Json(_)) => "json".into(),
            Ok(Opened::Base64(encoded)) => {
                let text = String::from_utf8_lossy(&encoded.bytes);
                format!("base64 {text} {}", encoded.written())
            }
            Ok(Opened::Form(parts)) => {
                let whole: String =
                    parts.iter().flat_map(|part| [part.before, part.written]).collect();
                assert_eq!(whole, text, "nothing is lost");
                let parts = parts.iter().map(|part| format!("{}={}", part.name, part.value));
                format!("form {}", parts.collect::<Vec<_>>().join(" "))
            }
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_is_inside_is_found() {
        check("Dear Ana, [URGENT] a=b", "text");
        check("[URGENT]", "text");
        check("[1] a note", "text");
        check(r#"[12345678901234567890,"\u0044E89"]"#, "error");
        check("[12345678901234567890]", "text");
        check("{name}", "text");
        check(" {\"a\": 1} ", "json");
        check("\u{feff}{\"a\": 1}", "json");
        check("[\"a\"]", "json");
        check("{}", "json");
        check("{\"a\": 1", "error");
        check("{\"a\":1,\"a\":2}", "error");
        check("[{\"a\":01}]", "error");
        check("eyJhIjoiYiIsImMiOjF9", "base64 {\"a\":\"b\",\"c\":1} eyJhIjoiYiIsImMiOjF9");
        check("aGVsbG8gd29ybGQhIQ==", "base64 hello world!! aGVsbG8gd29ybGQhIQ==");
        check("aGVsbG8gd29ybGQhIQ", "base64 hello world!! aGVsbG8gd29ybGQhIQ");
        check("aGVsbG8=", "form aGVsbG8=");
        check("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "text");
        check("a=b&c=d%40e+f", "form a=b c=d@e f");
        check("https://x.example/p?a=b&c=%7B%7D#top", "form a=b c={} =");
        check("https://x.example/p", "text");
        check("a=50%", "error");
        check("a=%ff", "error");
        check("x = 1", "text");
        check("", "text");
    }
}
