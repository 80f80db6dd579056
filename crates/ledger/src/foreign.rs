//! Makes foreign strings safe to show: nothing in them moves, hides or reorders the text beside them, and two
//! different ones never look the same where people compare them.
//!
//! Page, Slack, Teams and terminal all show foreign strings by this module. A dangerous character is replaced
//! by its number, `\u{…}`; everything else is shown as it is.

use unicode_normalization::{char::is_combining_mark, is_nfc};
use unicode_security::{
    GeneralSecurityProfile as _, RestrictionLevel, RestrictionLevelDetection as _, skeleton,
};

/// Most combining marks on one letter that are shown. More would cover the lines around it.
const MARKS_MAX: usize = 3;

/// Most characters of a [`word`].
const WORD_CHARS_MAX: usize = 64;

/// A word as it may be repeated to whoever sent it: quoted, escaped, at most 64 characters of it.
pub fn word(text: &str) -> String {
    let more = if text.chars().nth(WORD_CHARS_MAX).is_some() { "…" } else { "" };
    format!("{:?}", text.chars().take(WORD_CHARS_MAX).collect::<String>() + more)
}

/// The text with every character that is invisible or changes its surroundings shown as `\u{…}`: control,
/// bidi, zero-width, filler, variation and private characters, and line separators.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// A name that rules, people and machines compare: a tool, action, agent, run or member of params.
///
/// Beyond [`harmless`], it shows by numbers: blanks at either end, a second blank, and every other kind of
/// blank; characters that no identifier has (UTS 39); and, if the name mixes scripts, is not composed or looks
/// like ASCII without being ASCII, all characters that are not ASCII. Different names give different texts.
pub fn name(text: &str) -> String {
    let disguised = is_disguised(text);
    let mut out = String::with_capacity(text.len());
    let mut seen = Seen::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let by_number = match c {
            ' ' => seen.before.is_none_or(|before| before == ' ') || next.is_none(),
            // Otherwise a name could contain what looks like a replaced character.
            '\\' => next == Some('u'),
            // This character separates a tool from its action.
            '\u{b7}' => true,
            c if c.is_ascii() => is_hidden(c),
            c => disguised || !c.identifier_allowed() || seen.hides(c),
        };
        seen.write(&mut out, c, by_number);
    }
    out
}

/// A JSON Pointer: each of its members is a [`name`].
pub fn pointer(text: &str) -> String {
    text.split('/').map(name).collect::<Vec<_>>().join("/")
}

/// The RFC 8785 text of one value of a call. Free text of any language stays readable. Only these are shown by
/// numbers: a second blank, every other kind of blank, a word that mixes scripts or is not composed, and a
/// value that as a whole looks like ASCII without being ASCII.
pub fn value(json: &str) -> String {
    let whole = looks_like_ascii(json);
    let mut out = String::with_capacity(json.len());
    let mut seen = Seen::default();
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let word = is_of_word(first);
        let (part, behind) =
            rest.split_at(rest.find(|c| is_of_word(c) != word).unwrap_or(rest.len()));
        let disguised = !part.is_ascii() && (whole || !is_nfc(part) || mixes_scripts(part));
        for c in part.chars() {
            let by_number = match c {
                ' ' => seen.before.is_none_or(|before| before == ' '),
                c if c.is_ascii() => is_hidden(c),
                c => disguised || seen.hides(c),
            };
            seen.write(&mut out, c, by_number);
        }
        rest = behind;
    }
    out
}

/// State while a text is read.
#[derive(Default)]
struct Seen {
    before: Option<char>,
    /// Combining marks since the last letter.
    marks: usize,
}

impl Seen {
    /// True if a character that is not ASCII can't be recognised at this place.
    fn hides(&self, c: char) -> bool {
        let mark = is_combining_mark(c);
        let carried = self.before.is_some_and(is_of_word) && self.marks < MARKS_MAX;
        c.is_whitespace() || is_hidden(c) || (mark && !carried)
    }

    fn write(&mut self, out: &mut String, c: char, by_number: bool) {
        self.marks = if is_combining_mark(c) { self.marks + 1 } else { 0 };
        self.before = Some(c);
        if by_number { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
}

/// True for a letter, digit or mark.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// True if a name looks like another one.
fn is_disguised(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let latin = text.chars().any(|c| c.is_ascii_alphabetic());
    let poses = |c: char| !c.is_ascii() && is_one_ascii(c);
    !is_nfc(text)
        || mixes_scripts(text)
        || looks_like_ascii(text)
        || (latin && text.chars().any(poses))
}

/// True if letters, digits and marks are of several scripts that are not written together.
fn mixes_scripts(text: &str) -> bool {
    let letters: String =
        text.chars().filter(|c| c.is_alphabetic() || is_combining_mark(*c)).collect();
    letters.as_str().detect_restriction_level() > RestrictionLevel::HighlyRestrictive
}

/// True if a text without any ASCII letter could be read as ASCII letters and digits.
fn looks_like_ascii(text: &str) -> bool {
    let mut letters = text.chars().filter(|c| is_of_word(*c)).peekable();
    letters.peek().is_some()
        && !text.is_ascii()
        && !text.chars().any(|c| c.is_ascii_alphabetic())
        && text.chars().any(|c| !c.is_ascii() && is_of_word(c))
        && letters.all(|c| c.is_ascii() || is_one_ascii(c))
}

/// True if a character has the shape of an ASCII one.
fn is_one_ascii(c: char) -> bool {
    let text = c.to_string();
    let mut shape = skeleton(&text);
    shape.next().is_some_and(|c| c.is_ascii()) && shape.next().is_none()
}

/// What a text looks like: texts of one shape are easily taken for each other. Letters, digits and pairs of letters that look
/// alike are one (UTS 39, skeleton: `l`, `1` and `I`; `0` and `O`; `rn` and `m`; Cyrillic and Latin), and so is whatever
/// stands between words.
pub fn shape(text: &str) -> String {
    let one = |c: char| if c.is_whitespace() || "-_/.,:;#".contains(c) { '-' } else { c };
    let text: String = text.chars().map(one).collect();
    // The table takes a Cyrillic k for the letter kra alone, which few have ever seen; readers take both for k.
    skeleton(&text).map(|c| if c == '\u{138}' { 'k' } else { c }).collect()
}

/// True if a character is invisible, looks different in each font, or has an effect beyond its own place
/// (Unicode `Cc`, `Co`, `Default_Ignorable`, `Zl`, `Zp`, blank letters).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{070f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffc}' | '\u{13430}'..='\u{1345f}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, shown: &str) {
        assert_eq!(harmless(text), shown);
    }

    #[test]
    fn foreign_strings_are_made_harmless() {
        check("a\u{1b}[31m\u{202e}b\u{9b}", "a\\u{1b}[31m\\u{202e}b\\u{9b}");
        check("pay\u{200b}ee\u{fe0f}", "pay\\u{200b}ee\\u{fe0f}");
        check("one\ntwo\u{2028}", "one\\u{a}two\\u{2028}");
        check("Zürich € 東京 مرحبا", "Zürich € 東京 مرحبا");
    }

    fn check_name(text: &str, shown: &str) {
        assert_eq!(name(text), shown, "{text:?}");
    }

    #[test]
    fn p7_names_are_shown_as_they_are_compared() {
        for plain in [
            "payments",
            "Pay out/v2.1:x",
            "überweisung",
            "支払い",
            "оплата",
            "платёж_2",
            "支払いAPI",
            "דוח",
            "næste",
        ] {
            check_name(plain, plain);
        }
        check_name(" pay", "\\u{20}pay");
        check_name("pay ", "pay\\u{20}");
        check_name(" ", "\\u{20}");
        check_name("pay  out", "pay \\u{20}out");
        check_name("pay\u{a0}out", "pay\\u{a0}out");
        check_name("pay\u{2003}out\u{3000}", "pay\\u{2003}out\\u{3000}");
        check_name("pay\\u{20}", "pay\\u{5c}u{20}");
        check_name("a · b", "a \\u{b7} b");
        // Cyrillic among Latin, all Cyrillic, Greek.
        check_name("p\u{430}yments", "p\\u{430}yments");
        check_name("\u{440}\u{430}\u{443}", "\\u{440}\\u{430}\\u{443}");
        check_name("\u{440}\u{430}\u{443}-1", "\\u{440}\\u{430}\\u{443}-1");
        check_name("\u{391}CME", "\\u{391}CME");
        // Dotless, wide, mathematical, another hyphen, a mark of its own, a ligature, a digit that looks like a letter.
        check_name("t\u{131}tle", "t\\u{131}tle");
        check_name("\u{ff50}ay", "\\u{ff50}ay");
        check_name("\u{1d429}ay", "\\u{1d429}ay");
        check_name("pay\u{2010}out", "pay\\u{2010}out");
        check_name("cafe\u{301}", "cafe\\u{301}");
        check_name("\u{301}x", "\\u{301}x");
        check_name("o\u{fb03}ce", "o\\u{fb03}ce");
        check_name("l\u{665}g", "l\\u{665}g");
        check_name("\u{e000}", "\\u{e000}");
        assert_eq!(pointer("/to /\u{430}mount/платёж"), "/to\\u{20}/\\u{430}mount/платёж");
    }

    #[test]
    fn p7_texts_that_look_alike_have_one_shape() {
        for (one, other) in [
            ("lmprenta Núñez S.L.", "Imprenta Núñez S.L."),
            ("cus_k5rnedpyg", "cus_k5medpyg"),
            ("1.l9.3", "1.19.3"),
            ("INV-1O0", "INV-10O"),
            ("N\u{43e}rd\u{43a}app", "Nordkapp"),
            ("FP-2026-51", "FP-2026/51"),
        ] {
            assert_eq!(shape(one), shape(other), "{one} {other}");
        }
        for (one, other) in
            [("cus_a1", "cus_a2"), ("1.11.1", "11.1.1"), ("Nord", "nord"), ("", "x")]
        {
            assert_ne!(shape(one), shape(other), "{one} {other}");
        }
    }

    fn check_value(text: &str, shown: &str) {
        assert_eq!(value(text), shown, "{text:?}");
    }

    #[test]
    fn p7_values_stay_readable_and_hide_nothing() {
        let plain = [
            "\"Miete für Zürich, 2. Stock\"",
            "\"Оплата по счёту ACME 12 от 5 мая\"",
            "\"東京へ送金 EUR\"",
            "1250.5",
            "null",
            "\"a \\\\u{20} b\"",
            "\"مرحبا ACME\"",
            "\"10 € · 5 m²\"",
            "\"हिन्दी\"",
            "\"naïve\"",
            "\"kapı\"",
        ];
        for plain in plain {
            check_value(plain, plain);
        }
        check_value("\"DE02  12\"", "\"DE02 \\u{20}12\"");
        check_value("\"DE02\u{a0}12\"", "\"DE02\\u{a0}12\"");
        check_value("\"\u{202e}ACME\"", "\"\\u{202e}ACME\"");
        check_value("\"\u{410}CME Ltd, Москва\"", "\"\\u{410}CME Ltd, Москва\"");
        check_value("\"\u{410}\u{421}\u{41c}\u{415}\"", "\"\\u{410}\\u{421}\\u{41c}\\u{415}\"");
        check_value("\"cafe\u{301}\"", "\"cafe\\u{301}\"");
        check_value("\"x\u{300}\u{300}\u{300}\u{300}\"", "\"x\u{300}\u{300}\u{300}\\u{300}\"");
    }

    proptest! {
        /// Two names are never shown alike: what is shown can be read back.
        #[test]
        fn p7_a_shown_name_can_be_read_back(text in "\\PC{0,12}|[a\u{430} ·\\\\u{}0-9\u{a0}\u{301}]{0,12}") {
            let mut rest = name(&text);
            let mut read = String::new();
            while let Some(c) = rest.chars().next() {
                let number = rest.strip_prefix("\\u{").and_then(|r| r.split_once('}'));
                if let Some((number, behind)) = number {
                    read.push(char::from_u32(u32::from_str_radix(number, 16).unwrap()).unwrap());
                    rest = behind.to_owned();
                } else {
                    read.push(c);
                    rest = rest[c.len_utf8()..].to_owned();
                }
            }
            prop_assert_eq!(read, text);
        }
    }
}
