//! Media types (RFC 9110 §8.3.1): `type/subtype`, then parameters. Names are compared without regard to case.

/// A parsed media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `type/subtype` in lower case.
    pub essence: String,
    /// Values of `charset`, in lower case.
    charsets: Vec<String>,
}

impl Media {
    /// Reads a `Content-Type`. `None` if it is not exactly one media type.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim_matches([' ', '\t']);
        let main = token(&mut rest)?;
        rest = rest.strip_prefix('/')?;
        let essence = format!("{main}/{}", token(&mut rest)?).to_ascii_lowercase();
        let mut charsets = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            if rest.is_empty() {
                return Some(Self { essence, charsets });
            }
            rest = rest.strip_prefix(';')?.trim_start_matches([' ', '\t']);
            if rest.is_empty() || rest.starts_with(';') {
                continue;
            }
            let name = token(&mut rest)?;
            rest = rest.strip_prefix('=')?;
            let value = match rest.strip_prefix('"') {
                None => token(&mut rest)?.to_owned(),
                Some(quoted) => {
                    rest = quoted;
                    unquote(&mut rest)?
                }
            };
            if name.eq_ignore_ascii_case("charset") {
                charsets.push(value.to_ascii_lowercase());
            }
        }
    }

    /// True if its text is UTF-8: it names no charset, or that one.
    pub fn is_utf8(&self) -> bool {
        self.charsets.iter().all(|name| matches!(name.as_str(), "utf-8" | "utf8" | "us-ascii"))
    }

    /// True for JSON (RFC 6839): `application/json` or `…/…+json`.
    pub fn is_json(&self) -> bool {
        self.essence.ends_with("/json") || self.essence.ends_with("+json")
    }
}

/// Takes a token (RFC 9110 §5.6.2) from the front.
fn token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let is_end = |c: char| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(c);
    let (token, tail) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
    *rest = tail;
    (!token.is_empty()).then_some(token)
}

/// Takes a quoted-string (RFC 9110 §5.6.4) from the front, after its first `"`.
fn unquote(rest: &mut &str) -> Option<String> {
    let text = *rest;
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &text[at + 1..];
                return Some(value);
            }
            '\\' => value.push(chars.next().map(|(_, c)| c).filter(|c| !is_control(*c))?),
            c if is_control(c) => return None,
            c => value.push(c),
        }
    }
    None
}

fn is_control(c: char) -> bool {
    c.is_ascii_control() && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, essence: Option<&str>, utf8: bool) {
        let media = Media::parse(text);
        assert_eq!(media.as_ref().map(|m| m.essence.as_str()), essence, "{text}");
        assert_eq!(media.is_some_and(|m| m.is_utf8()), utf8, "{text}");
    }

    #[test]
    fn rfc_9110() {
        let json = Some("application/json");
        check("application/json", json, true);
        check(" Application/JSON\t;\tCharset=\"UTF-8\" ", json, true);
        check("application/json; charset=\"ut\\f-8\"", json, true);
        check("application/json;", json, true);
        check("application/json; ; a=b ;;", json, true);
        check("application/json; a=\"x;charset=latin1\"", json, true);
        check("application/json; a=\"\\\"; charset=latin1\"", json, true);
        check("application/json; charset=latin1", json, false);
        check("application/json; charset=utf-8; charset=utf-16", json, false);
        check("application/cloudevents+json", Some("application/cloudevents+json"), true);
        for wrong in [
            "",
            "json",
            "/json",
            "application/",
            "application /json",
            "application/json charset=utf-8",
            "application/json; charset",
            "application/json; charset=",
            "application/json; charset =utf-8",
            "application/json; charset= utf-8",
            "application/json; charset=\"utf-8",
            "application/json; charset=\"utf-8\"x",
            "application/json, text/plain",
            "application/json\u{e9}",
            "a/b; x=\"\u{1}\"",
        ] {
            check(wrong, None, false);
        }
    }
}
