//! Base64 of a text, whatever the text's own encoding is: UTF-8, UTF-16, or single bytes as in Latin-1.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding};
use std::sync::LazyLock;

/// Shorter texts are not taken for base64: words are made of the same letters.
const BYTES_MIN: usize = 16;
/// So many readable ASCII characters in a row make bytes that are no UTF-8 a text: no value of the set is shorter.
const RUN_MIN: usize = 6;
/// Of single bytes at most one in so many is a control character, and one more. Pictures and archives have more.
const BYTES_FOR_A_CONTROL: usize = 16;

/// Bytes that were written in base64, and can be read as a text.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    alphabet: Alphabet,
}

/// How they were written.
#[derive(Clone, Copy)]
enum Alphabet {
    Plain,
    Url,
    PlainBare,
    UrlBare,
}

impl Encoded {
    /// As lenient readers take it: in either alphabet or both, with any padding, whatever the bits beyond the last byte are.
    pub(super) fn of(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
        if text.len() < BYTES_MIN || !text.bytes().all(plain) {
            return None;
        }
        let bare = text.trim_end_matches('=');
        // Where no padding is due, nobody can tell whether it was left out.
        let padded = bare.len() < text.len() || text.len().is_multiple_of(4);
        let alphabet = match (bare.contains(['-', '_']), padded) {
            (false, true) => Alphabet::Plain,
            (true, true) => Alphabet::Url,
            (false, false) => Alphabet::PlainBare,
            (true, false) => Alphabet::UrlBare,
        };
        // One character beyond the last whole byte says nothing: lenient readers drop it.
        let beyond = usize::from(bare.len() % 4 == 1);
        let bytes = LENIENT.decode(&bare.as_bytes()[..bare.len() - beyond]).ok()?;
        let is_text = Reading::ALL.iter().any(|reading| reading.fits(&bytes));
        is_text.then_some(Self { bytes, alphabet })
    }

    /// The bytes as they were written.
    pub(super) fn written(&self) -> String {
        let encoding = match self.alphabet {
            Alphabet::Plain => BASE64,
            Alphabet::Url => BASE64URL,
            Alphabet::PlainBare => BASE64_NOPAD,
            Alphabet::UrlBare => BASE64URL_NOPAD,
        };
        encoding.encode(&self.bytes)
    }
}

/// Both alphabets, without padding.
static LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut lenient = BASE64_NOPAD.specification();
    lenient.check_trailing_bits = false;
    lenient.translate.from.push_str("-_");
    lenient.translate.to.push_str("+/");
    lenient.encoding().expect("an alphabet")
});

/// How bytes are read as a text. Several may fit: another reader takes one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Utf8,
    Utf16Le,
    Utf16Be,
    /// One byte for each character: Latin-1, and every other such set as far as its ASCII.
    Single,
}

impl Reading {
    /// UTF-16 first: most of it is UTF-8 too, with zeros between.
    pub(super) const ALL: [Self; 4] = [Self::Utf16Le, Self::Utf16Be, Self::Utf8, Self::Single];

    /// The step of a way within a text.
    pub(super) const fn step(self) -> &'static str {
        match self {
            Self::Utf8 => "base64",
            Self::Utf16Le => "base64 utf-16le",
            Self::Utf16Be => "base64 utf-16be",
            Self::Single => "base64 latin-1",
        }
    }

    /// True if the bytes are plausibly a text of this encoding.
    fn fits(self, bytes: &[u8]) -> bool {
        let is_readable = |byte: &u8| matches!(byte, b' '..=b'~');
        match self {
            Self::Utf8 => str::from_utf8(bytes).is_ok(),
            Self::Utf16Le | Self::Utf16Be => {
                has_run(bytes.chunks_exact(2).map(|pair| match self.unit(pair).to_be_bytes() {
                    [0, low] => is_readable(&low),
                    _ => false,
                }))
            }
            Self::Single => {
                let is_control =
                    |byte: &&u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n');
                str::from_utf8(bytes).is_err()
                    && has_run(bytes.iter().map(is_readable))
                    && bytes.iter().filter(is_control).count()
                        <= bytes.len() / BYTES_FOR_A_CONTROL + 1
            }
        }
    }

    /// The text, if the bytes are plausibly one. What is no character becomes U+FFFD.
    pub(super) fn read(self, bytes: &[u8]) -> Option<String> {
        if !self.fits(bytes) {
            return None;
        }
        match self {
            Self::Utf8 => String::from_utf8(bytes.to_vec()).ok(),
            Self::Utf16Le | Self::Utf16Be => {
                let units = bytes.chunks(2).map(|pair| self.unit(pair));
                let chars = char::decode_utf16(units);
                Some(chars.map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
            }
            Self::Single => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        }
    }

    /// The unit of UTF-16 that two bytes are; one byte at the end counts as two.
    fn unit(self, pair: &[u8]) -> u16 {
        let pair = [pair[0], pair.get(1).copied().unwrap_or(0)];
        if self == Self::Utf16Be { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    }

    /// The bytes of a text. `None`: the encoding has no byte for one of its characters.
    pub(super) fn write(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Utf16Le => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            Self::Utf16Be => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
            Self::Single => text.chars().map(|one| u8::try_from(one).ok()).collect(),
        }
    }
}

/// True if enough characters in a row are readable.
fn has_run(mut readable: impl Iterator<Item = bool>) -> bool {
    let mut run = 0;
    readable.any(|is| {
        run = if is { run + 1 } else { 0 };
        run == RUN_MIN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each reading that fits these bytes, and its text. Written again, they are the same.
    fn check(bytes: &[u8], expected: &[(&str, &str)]) {
        let encoded = Encoded::of(&BASE64.encode(bytes));
        assert_eq!(encoded.is_some(), !expected.is_empty(), "{bytes:?}");
        let read = Reading::ALL.iter().filter_map(|one| Some((one, one.read(bytes)?)));
        let read: Vec<_> = read.collect();
        for (reading, text) in &read {
            assert_eq!(reading.write(text).as_deref(), Some(bytes), "{text}");
        }
        let found: Vec<_> = read.iter().map(|(one, text)| (one.step(), text.as_str())).collect();
        assert_eq!(found, expected);
    }

    /// The bytes, and how they are written again.
    #[test]
    fn base64_is_read_as_lenient_readers_do() {
        for (text, again) in [
            ("cGF5IHRvIEFuYSE0NA==", "cGF5IHRvIEFuYSE0NA=="),
            ("cGF5IHRvIEFuYSE0NA", "cGF5IHRvIEFuYSE0NA"),
            ("cGF5IHRvIEFuYSE0NB", "cGF5IHRvIEFuYSE0NA"),
            ("cGF5IHRvIEFuYSE0A", "cGF5IHRvIEFuYSE0"),
            ("cGF5IHRvIEFuYSE0A===", "cGF5IHRvIEFuYSE0"),
        ] {
            let encoded = Encoded::of(text).unwrap_or_else(|| panic!("{text}"));
            assert!(encoded.bytes.starts_with(b"pay to Ana!4"), "{text}");
            assert_eq!(encoded.written(), again, "{text}");
        }
    }

    #[test]
    fn a_text_is_read_whatever_its_encoding_is() {
        let utf16 = |text: &str, of: Reading| of.write(text).unwrap();
        check(b"page 1\x0c pay to", &[("base64", "page 1\x0c pay to")]);
        check(b"pay to Ana\0\0", &[("base64", "pay to Ana\0\0")]);
        check(b"Z\xfcrich to Ana", &[("base64 latin-1", "Z\u{fc}rich to Ana")]);
        check(b"Z\xfcrich to Ana\0", &[("base64 latin-1", "Z\u{fc}rich to Ana\0")]);
        let le = utf16("\u{feff}Z\u{fc}rich to", Reading::Utf16Le);
        check(&le, &[("base64 utf-16le", "\u{feff}Z\u{fc}rich to")]);
        check(
            &utf16("pay to", Reading::Utf16Be),
            &[("base64 utf-16be", "pay to"), ("base64", "\0p\0a\0y\0 \0t\0o")],
        );
        check(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\x01\x01,\x01,", &[]);
        check(b"12345\xff12345\xff", &[]);
        check(b"123456\xff\x01\x02\x0312345", &[]);
    }
}
