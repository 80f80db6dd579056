//! Where the texts of a JSON body begin and end. Only brackets and quotes are read.

/// Why an array was not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsplit {
    /// Brackets or quotes do not match.
    Syntax,
    /// There are too many elements.
    TooMany,
}

/// The elements of a JSON array, at most `max`, as byte ranges. Only brackets and quotes are read.
///
/// Each element is read strictly later, so that a bad one is rejected by itself.
pub fn split_array(bytes: &[u8], max: usize) -> Result<Vec<&[u8]>, Unsplit> {
    let parts = split_to(bytes, max).ok_or(Unsplit::Syntax)?;
    match parts.len() {
        count if count > max => Err(Unsplit::TooMany),
        _ => Ok(parts),
    }
}

/// As [`split_array`], with one element more if there are too many. `None` if brackets or quotes do not match.
fn split_to(bytes: &[u8], max: usize) -> Option<Vec<&[u8]>> {
    let inner = bytes.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    if inner.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                parts.push(inner[begin..at].trim_ascii());
                begin = at + 1;
                if parts.len() > max {
                    return Some(parts);
                }
            }
            _ => {}
        }
    }
    parts.push(inner[begin..].trim_ascii());
    (depth == 0 && !in_string).then_some(parts)
}

/// True if `bytes` are several JSON texts: after the first object or array, another one begins, with or without a comma
/// or record separator (RFC 7464) between. Only brackets and quotes are read.
pub fn is_several(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | 0x1e);
    let Some(begin) = bytes.iter().position(|byte| !is_between(byte)) else { return false };
    if bytes[..begin].contains(&0x1e) {
        return true;
    }
    if !matches!(bytes[begin], b'{' | b'[') {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate().skip(begin) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let rest = bytes[at + 1..].iter().copied().find(|byte| !is_between(byte));
            return matches!(rest, Some(b'{' | b'['));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, parts: Option<&[&str]>) {
        let found = split_array(text.as_bytes(), 3);
        let found = found.ok().map(|parts| {
            parts.into_iter().map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(found.as_deref(), parts, "{text}");
    }

    #[test]
    fn several_are_seen() {
        let several = |text: &str| assert!(is_several(text.as_bytes()), "{text}");
        let one = |text: &str| assert!(!is_several(text.as_bytes()), "{text}");
        several("{}\n{}");
        several("{\"a\":\"}{\"}{\"b\":[1]}");
        several(" {} , {} ");
        several("{}\r{}\r");
        several("\u{feff}{}\n{}");
        several("\u{1e}{}\n\u{1e}{}\n");
        several("[{}]\n[{}]");
        for text in [
            "",
            "{}",
            "{}\n",
            "{",
            "{} x",
            "5 {}",
            "\"a\" \"b\"",
            "{\"a\":\"}\\\"{\"}",
            "}{",
            ",{}",
        ] {
            one(text);
        }
    }

    #[test]
    fn arrays_are_split() {
        check("[]", Some(&[]));
        check(r#" [ {"a":[1,2]} , "x,]" ,3] "#, Some(&[r#"{"a":[1,2]}"#, r#""x,]""#, "3"]));
        check(r#"["\"",{}]"#, Some(&[r#""\"""#, "{}"]));
        check("[1,,2]", Some(&["1", "", "2"]));
        check("[1,2,3,4]", None);
        assert_eq!(split_array(b"[1,2,3,4]", 3), Err(Unsplit::TooMany));
        check("[1", None);
        check("[}]", None);
        check("[\"]", None);
    }
}
