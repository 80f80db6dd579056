//! Escapes that are written out in a text, and colours of terminals: what stands behind one is not joined to it.

/// Longest parameters of a colour, in bytes.
const COLOUR_BYTES_MAX: usize = 24;
/// How an escape of a character begins, and how many hexadecimal digits follow.
const HEXADECIMAL: [(&[u8], usize); 3] = [(b"\\u", 4), (b"\\x", 2), (b"%", 2)];
/// How the ESC of a colour is written: itself, or as languages write it.
const ESC: [&[u8]; 6] = [b"\x1b", b"\\x1b", b"\\x1B", b"\\u001b", b"\\u001B", b"\\033"];

/// False if nothing in these bytes can be an escape or a colour.
pub(super) fn may_be_in(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\\' | b'%' | b'\x1b'))
}

/// True if these bytes end with an escape of something that is no letter or digit, or with a colour.
pub(super) fn end_in(bytes: &[u8]) -> bool {
    let is_escape = HEXADECIMAL.iter().any(|(_, digits)| {
        let start = bytes.len().checked_sub(digits + 2);
        // Of `%20` two bytes are its own; of `\x20` four.
        let starts = start.into_iter().chain(bytes.len().checked_sub(digits + 1));
        starts.into_iter().any(|start| escape(&bytes[start..]) == Some(bytes.len() - start))
    });
    is_break(bytes) || is_escape || is_colour(bytes)
}

/// The place behind an escape or a colour into which `at` falls; `at` if there is none.
pub(super) fn after(bytes: &[u8], at: usize) -> usize {
    let ends =
        (at.saturating_sub(5)..at).filter_map(|start| Some(start + escape(&bytes[start..])?));
    let escape = ends.filter(|end| *end > at).max();
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let digits = bytes[at..].iter().take(COLOUR_BYTES_MAX).take_while(is_digit).count();
    let rest = |end: usize| bytes.get(..end).filter(|begin| is_break(begin) || is_colour(begin));
    escape.or_else(|| rest(at + digits + 1).map(<[u8]>::len)).unwrap_or(at)
}

/// True if bytes end with a line break or a tab as texts of programs write it.
fn is_break(bytes: &[u8]) -> bool {
    matches!(bytes, [.., b'\\', b'n' | b'r' | b't' | b'f' | b'v'])
}

/// The length of the escape with which bytes begin, if it stands for no letter or digit.
fn escape(bytes: &[u8]) -> Option<usize> {
    HEXADECIMAL.iter().find_map(|(head, digits)| {
        let digits = bytes.strip_prefix(*head)?.get(..*digits)?;
        let digits = str::from_utf8(digits)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        let joins = u8::try_from(code).is_ok_and(|byte| byte.is_ascii_alphanumeric());
        (!joins).then_some(head.len() + digits.len())
    })
}

/// True if bytes end with `ESC [`, parameters, and a letter (ECMA-48).
fn is_colour(bytes: &[u8]) -> bool {
    let Some((last, rest)) = bytes.split_last() else { return false };
    let parameters = rest.iter().rev().take(COLOUR_BYTES_MAX);
    let length =
        parameters.take_while(|byte| byte.is_ascii_digit() || b";:?".contains(byte)).count();
    let head = rest[..rest.len() - length].strip_suffix(b"[");
    last.is_ascii_alphabetic() && head.is_some_and(|head| ESC.iter().any(|esc| head.ends_with(esc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `true` or `false`: whether the text ends so; then the place that `after` gives for its last byte.
    fn check(text: &str, ends: bool, place: usize) {
        assert_eq!(end_in(text.as_bytes()), ends, "{text:?}");
        assert_eq!(after(text.as_bytes(), text.len() - 1), place, "{text:?}");
    }

    #[test]
    fn what_stands_behind_an_escape_begins_there() {
        check("x\\n", true, 3);
        check("x\\u0020", true, 7);
        check("x\\u00a0", true, 7);
        check("x\\u0041", false, 6);
        check("x\\x20", true, 5);
        check("x%20", true, 4);
        check("x%41", false, 3);
        check("20%", false, 2);
        check("\x1b[1m", true, 4);
        check("\x1b[m", true, 3);
        check("\x1b[01;31m\x1b[K", true, 11);
        check("\\x1b[1m", true, 7);
        check("[1m", false, 2);
        check("room", false, 3);
        check("1", false, 0);
    }
}
