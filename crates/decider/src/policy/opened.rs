//! Looks into texts that are something else inside: JSON, base64 of a text, a form body or the query of a URL.
//!
//! What claims to be one of them and can't be read is an error: somebody else may read what we have not seen (P16).

use super::encoded::Encoded;
use ledger::json::{self, Value};
use std::fmt::Write as _;

/// Most levels of texts within texts: base64 in JSON in a form body is three.
pub(super) const LEVELS_MAX: usize = 4;

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
                Err(_) if claim == Claim::Quoted => {}
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
    /// It is, if it can be read: prose may begin with a quotation.
    Quoted,
    Yes,
}

/// `{"`, `{}`, `["` and `[{` claim it, with white space between and any number of `[` before. A list that begins with a number
/// or a word may be one, and so may what is JSON for lenient readers (`{a: 1}`, `['a']`, `[NaN]`, comments). A note that begins
/// with `[URGENT]` is none, and neither is a mark of ours in brackets. What stands in quotes is JSON, or prose.
fn claim_of_json(text: &str) -> Claim {
    let space = [' ', '\t', '\r', '\n'];
    if text.starts_with('"') {
        return Claim::Quoted;
    }
    if let Some(rest) = text.strip_prefix('{') {
        let rest = rest.trim_start_matches(space);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let name = rest.trim_start_matches(is_name);
        let is_named = name.len() < rest.len() && name.trim_start_matches(space).starts_with(':');
        return match rest.bytes().next() {
            Some(b'"' | b'}') => Claim::Yes,
            Some(b'\'' | b'/') => Claim::Maybe,
            _ if is_named => Claim::Maybe,
            _ => Claim::No,
        };
    }
    let inner = text.trim_start_matches(|c| c == '[' || space.contains(&c));
    if !text.starts_with('[') {
        return Claim::No;
    }
    match inner.bytes().next() {
        Some(b'"' | b'{') => Claim::Yes,
        Some(b']' | b'-' | b'+' | b'.' | b'0'..=b'9' | b't' | b'f' | b'n' | b'\'' | b'/') => {
            Claim::Maybe
        }
        _ if ["NaN", "Infinity", "undefined"].iter().any(|word| inner.starts_with(word)) => {
            Claim::Maybe
        }
        _ => Claim::No,
    }
}

/// `a=b&c=d`, also in a URL. One word, with white space only around it.
///
/// Nobody knows whether the next reader takes a word for a URL or for a body, so both `?` and `#` separate as `&` does.
fn form(text: &str) -> Result<Option<Vec<FormPart<'_>>>, &'static str> {
    let space = [' ', '\t', '\r', '\n'];
    let end = text.trim_end_matches(space).len();
    let lead = end - text[..end].trim_start_matches(space).len();
    let word = &text[lead..end];
    if !word.contains('=') || word.bytes().any(|byte| byte <= b' ') {
        return Ok(None);
    }
    let query = word.find('?').map_or(0, |at| at + 1);
    let query = query..word[query..].find('#').map_or(word.len(), |at| query + at);
    let is_claimed = claims_form(word, &word[query.clone()]);
    if !is_claimed && !word.contains('&') {
        return Ok(None);
    }
    let (mut parts, mut from, mut at) = (Vec::new(), 0, lead);
    while at <= end {
        let length = text[at..end].find(['&', '?', '#']).unwrap_or(end - at);
        let piece = &text[at..at + length];
        let (name, written) = piece.split_once('=').unwrap_or((piece, ""));
        // Elsewhere readers take an escape that is none as it is written.
        let is_strict = is_claimed && query.contains(&(at - lead));
        parts.push(FormPart {
            before: &text[from..at + length - written.len()],
            name: decoded(name, is_strict)?,
            written,
            value: decoded(written, is_strict)?,
        });
        from = at + length;
        at = from + 1;
    }
    if from < text.len() {
        let (name, value) = (String::new(), String::new());
        parts.push(FormPart { before: &text[from..], name, written: "", value });
    }
    Ok(Some(parts))
}

/// True if a word claims to be a form: it begins with a name and `=`, or with an escape. Others are forms if they can be read,
/// and have a `&`.
fn claims_form(word: &str, query: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`');
    let is_name = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~[]%+*$:".contains(&byte);
        !name.is_empty() && name.bytes().all(plain)
    };
    // Escapes are a claim of their own: a first piece with some may lack its name or its value.
    let first = query.split('&').next().unwrap_or_default();
    let is_named = first.split_once('=').is_some_and(|(name, _)| is_name(name));
    word.bytes().all(is_plain) && (is_named || is_escaped(first))
}

/// True if a text has an escape.
fn is_escaped(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).any(is_hex)
}

/// What a name or value of a form means. If it is not `strict`, an escape that is none stays as it is written, and what is no
/// UTF-8 becomes U+FFFD.
fn decoded(text: &str, is_strict: bool) -> Result<String, &'static str> {
    const WRONG: &str = "a form or URL with an escape that can't be read";
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let escape = match after {
            [high, low, ..] if *byte == b'%' => {
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        if is_strict && *byte == b'%' && escape.is_none() {
            return Err(WRONG);
        }
        bytes.push(escape.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).or_else(|wrong| {
        if is_strict {
            return Err(WRONG);
        }
        Ok(String::from_utf8_lossy(wrong.as_bytes()).into_owned())
    })
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
        check("https://x.example/p?a=b&c=%7B%7D#top", "form https://x.example/p= a=b c={} top=");
        check("https://x.example/p", "text");
        check("a=50%", "error");
        check("a=%ff", "error");
        check("x = 1", "text");
        check("", "text");
    }

    /// What lenient readers of JSON take for JSON: a list with a name for a number, a text alone, names without quotes.
    #[test]
    fn p16_lenient_json_is_json_or_an_error() {
        for text in [
            r#"[NaN,"\u0044E89"]"#,
            r#"[Infinity,"\u0044E89"]"#,
            r#"[-Infinity,"\u0044E89"]"#,
            r#"[[+1,"\u0044E89"]]"#,
            r#"[.5,"\u0044E89"]"#,
            r#"[/**/"\u0044E89"]"#,
            r#"{a: "\u0044E89"}"#,
            r#"{ a$1 : "\u0044E89"}"#,
            r"{'a': '\u0044E89'}",
            r#"{/**/"a":"\u0044E89"}"#,
            r"['\u0044E89']",
        ] {
            check(text, "error");
            check(&text.replace("\\u0044", "D"), "text");
        }
        check(r#""\u0044E89""#, "json");
        check(r#""{\"a\":\"\\u0044E89\"}""#, "json");
        for prose in [
            r#""quoted" and \u2014 more"#,
            r#""quoted"#,
            r"{\rtf1 \u8211?}",
            r"{return '\u00e9'}",
            r"[URGENT] \u2014",
            r"[Note] \u2014",
        ] {
            check(prose, "text");
        }
    }

    /// What readers of bodies and of URLs read, whichever of both they take it for.
    #[test]
    fn p16_forms_are_read_wherever_their_values_stand() {
        check("a&b=%44E", "form a= b=DE");
        check("&b=%44E", "form = b=DE");
        check("https://x.example/p?flag&b=%44E", "form https://x.example/p= flag= b=DE");
        check("https://x.example/p?&b=%44E", "form https://x.example/p= = b=DE");
        check("a/b=1&b=%44E", "form a/b=1 b=DE");
        check("n=\u{fc}&b=%44E", "form n=\u{fc} b=DE");
        check("a=1#&b=%44E", "form a=1 = b=DE");
        check("b=%44E&c=?x=1", "form b=DE c= x=1");
        check(" a=\"&b=D+E\n", "form a=\" b=D E =");
        check("a&b=%zz+%ff%4", "form a= b=%zz \u{fffd}%4");
        let long = "n".repeat(200);
        check(&format!("{long}=%44E"), &format!("form {long}=DE"));
        check("a=b=c", "form a=b=c");
        check("CN=a,OU=b,DC=c", "form CN=a,OU=b,DC=c");
        check("x/CN=a,OU=b", "text");
        check("f(a=1)", "text");
        check("a &b=c", "text");
    }
}
