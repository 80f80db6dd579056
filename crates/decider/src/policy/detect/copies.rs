//! A text as other readers have it: with the escapes decoded that are written out in it, and without the colours of terminals.
//!
//! Nobody knows whether a reader decodes them (`C:\new` has none), so detectors read the text as it is written and as a copy.

/// False if nothing in these bytes can be an escape or a colour.
fn may_differ(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\\' | b'%' | b'\x1b' | 0x9b))
}

/// A text in which pieces of another one were replaced.
pub(super) struct Copy {
    pub(super) text: String,
    /// Of each replacement the places in the copy and in the text that it was made of; the last one first.
    places: Vec<Places>,
}

/// Places in a copy with those that they have in what it was made of, in order: between two of them nothing was replaced.
type Places = Vec<(usize, usize)>;

impl Copy {
    /// The copies of a text that differ from it: none for most texts. With colours there are two, for what stands behind a
    /// colour may be joined to what stands before it, or not.
    pub(super) fn all(text: &str) -> Vec<Self> {
        if !may_differ(text.as_bytes()) {
            return Vec::new();
        }
        let decoded = replaced(text, |byte| matches!(byte, b'\\' | b'%'), escape);
        let (shown, below) = match &decoded {
            Some((text, places)) => (text.as_str(), Some(places)),
            None => (text, None),
        };
        let coloured = |instead: Option<char>| {
            let starts = |byte| matches!(byte, b'\x1b' | 0xc2);
            let (text, places) = replaced(shown, starts, |bytes| Some((colour(bytes)?, instead)))?;
            let places = std::iter::once(places).chain(below.cloned()).collect();
            Some(Self { text, places })
        };
        let coloured: Vec<Self> = [None, Some(' ')].into_iter().filter_map(coloured).collect();
        if coloured.is_empty() {
            let decoded = decoded.map(|(text, places)| Self { text, places: vec![places] });
            return decoded.into_iter().collect();
        }
        coloured
    }

    /// Where what begins and ends at these places of the copy stands in the text.
    pub(super) fn original(&self, (start, end): (usize, usize)) -> (usize, usize) {
        self.places.iter().fold((start, end), |(start, end), places| {
            let (copy, text) = places[places.partition_point(|(copy, _)| *copy <= start) - 1];
            let begins = text + (start - copy);
            let nth = places.partition_point(|(copy, _)| *copy < end);
            let ends = match places.get(nth) {
                Some((copy, text)) if *copy == end => *text,
                _ => {
                    let (copy, text) = places[nth - 1];
                    text + (end - copy)
                }
            };
            (begins, ends)
        })
    }
}

/// The text with each piece replaced that `read` finds where `starts` says that one may begin: its length, and what stands
/// there instead. `None` if there is none.
fn replaced(
    text: &str,
    starts: impl Fn(u8) -> bool,
    read: impl Fn(&[u8]) -> Option<(usize, Option<char>)>,
) -> Option<(String, Places)> {
    let bytes = text.as_bytes();
    let (mut out, mut places) = (String::new(), vec![(0, 0)]);
    let (mut done, mut at) = (0, 0);
    while let Some(found) = bytes[at..].iter().position(|byte| starts(*byte)) {
        let start = at + found;
        let Some((length, instead)) = read(&bytes[start..]) else {
            at = start + 1;
            continue;
        };
        out.push_str(&text[done..start]);
        places.push((out.len(), start));
        out.extend(instead);
        done = start + length;
        at = done;
        places.push((out.len(), done));
    }
    (done > 0).then(|| {
        out.push_str(&text[done..]);
        (out, places)
    })
}

/// The length of the escape with which bytes begin, and its character.
fn escape(bytes: &[u8]) -> Option<(usize, Option<char>)> {
    if bytes[0] == b'%' {
        return percent(bytes).map(|(length, read)| (length, Some(read)));
    }
    let one = |read: char| Some((2, Some(read)));
    let code = |from: usize, digits: usize, radix: u32| {
        let digits = bytes.get(from..from + digits)?;
        let code = number(digits, radix)?;
        Some((
            from + digits.len(),
            Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
        ))
    };
    match *bytes.get(1)? {
        b'u' => code(2, 4, 16),
        b'x' => code(2, 2, 16),
        b'0'..=b'3' => code(1, 3, 8),
        b'n' => one('\n'),
        b'r' => one('\r'),
        b't' => one('\t'),
        b'f' => one('\x0c'),
        b'v' => one('\x0b'),
        b'b' => one('\x08'),
        b'e' => one('\x1b'),
        b'/' => one('/'),
        _ => None,
    }
}

/// `%20`, or up to four such that are one character in UTF-8; otherwise it is one of Latin-1.
fn percent(bytes: &[u8]) -> Option<(usize, char)> {
    let byte = |nth: usize| {
        let [b'%', digits @ ..] = bytes.get(3 * nth..3 * nth + 3)? else { return None };
        u8::try_from(number(digits, 16)?).ok()
    };
    let first = byte(0)?;
    let count = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let whole: Option<Vec<u8>> = (0..count).map(byte).collect();
    let read = whole.and_then(|whole| str::from_utf8(&whole).ok()?.chars().next());
    Some(read.map_or((3, char::from(first)), |read| (3 * count, read)))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    digits.iter().try_fold(0, |all, digit| Some(all * radix + char::from(*digit).to_digit(radix)?))
}

/// The length of the control sequence with which bytes begin: `ESC [` or U+009B, parameters, and a last byte (ECMA-48).
fn colour(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"\x1b[").or_else(|| bytes.strip_prefix("\u{9b}".as_bytes()))?;
    let parameters = rest.iter().take_while(|byte| matches!(byte, b' '..=b'?')).count();
    matches!(rest.get(parameters), Some(b'@'..=b'~'))
        .then_some(bytes.len() - rest.len() + parameters + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The copies; and each character of them is what the text has at its place.
    fn check(text: &str, expected: &[&str]) {
        let copies = Copy::all(text);
        let texts: Vec<&str> = copies.iter().map(|copy| copy.text.as_str()).collect();
        assert_eq!(texts, expected, "{text:?}");
        for copy in &copies {
            for (at, found) in copy.text.char_indices().filter(|(_, found)| *found == 'D') {
                let (start, end) = copy.original((at, at + found.len_utf8()));
                let written = &text[start..end];
                assert!(matches!(written, "D" | "\\u0044" | "%44"), "{text:?} {written:?}");
            }
            let (start, end) = copy.original((0, copy.text.len()));
            assert!(text.get(start..end).is_some());
        }
    }

    #[test]
    fn escapes_are_decoded_and_colours_dropped() {
        check("D 50% \\ [1m \u{20ac}", &[]);
        check("x\\nD", &["x\nD"]);
        check("\\u0044%44D", &["DDD"]);
        check("\\\\u0044E", &["\\DE"]);
        check("D\\u0020\\x20\\040%20D", &["D    D"]);
        check("%C3%A4D%e4D%zzD", &["\u{e4}D\u{e4}D%zzD"]);
        check("\\ud800D\\u00D", &["\u{fffd}D\\u00D"]);
        check("D\x1b[01;31m\x1b[KD", &["DD", "D  D"]);
        check("x\\e[31mD\\u001b[0m", &["xD", "x D "]);
        check("\u{9b}31mD\u{a3}", &["D\u{a3}", " D\u{a3}"]);
        check("%1B%5B1mD\x1b[", &["D\x1b[", " D\x1b["]);
    }
}
