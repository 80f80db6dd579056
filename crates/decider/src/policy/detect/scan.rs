//! What all detectors use: a text with the name of the member that holds it, and the words around a place.

pub(super) use aho_corasick::AhoCorasick as Automaton;

use super::{
    escapes,
    marks::{self, Known},
    tables::Tables,
};
use aho_corasick::{AhoCorasickKind, Match};
use std::{borrow::Cow, cell::OnceCell, sync::OnceLock};

/// Bytes before a place in which words count, and after it.
const BEFORE: usize = 56;
const AFTER: usize = 28;

/// What several detectors ask of one text: read once.
#[derive(Default)]
pub(super) struct Shared<'o> {
    tables: OnceCell<Tables>,
    /// The runs of digits: start and end of each.
    digits: OnceCell<Vec<(usize, usize)>>,
    /// Which of [`Shared::lists`] the text mentions, by their places.
    mentioned: OnceCell<u32>,
    /// Whether something in the text may be an escape.
    may_escape: OnceCell<bool>,
    /// The lists of words of all detectors.
    lists: &'static [&'static Words],
    /// Detectors whose names may be in marks.
    known: Known<'o>,
}

impl<'o> Shared<'o> {
    pub(super) fn new(lists: &'static [&'static Words], known: Known<'o>) -> Self {
        Self { lists, known, ..Self::default() }
    }

    /// The lists of which the text has a word: one pass for all detectors.
    fn mentioned(&self, bytes: &[u8]) -> u32 {
        /// The words of all lists, and the list of each.
        static WORDS: OnceLock<(Automaton, Vec<u32>)> = OnceLock::new();
        *self.mentioned.get_or_init(|| {
            let (words, lists) = WORDS.get_or_init(|| {
                let words = self.lists.iter().flat_map(|list| list.list);
                let places = self
                    .lists
                    .iter()
                    .zip(0..)
                    .flat_map(|(list, place)| std::iter::repeat_n(1 << place, list.list.len()));
                (automaton(words), places.collect())
            });
            let plain = plain(bytes);
            let found = words.find_overlapping_iter(&plain).filter(|found| is_whole(&plain, found));
            found.fold(0, |all, found| all | lists[found.pattern()])
        })
    }
}

/// Finds each of these texts in one pass (Aho-Corasick).
pub(super) fn automaton<'w>(words: impl IntoIterator<Item = &'w &'w str>) -> Automaton {
    let built = Automaton::builder().kind(Some(AhoCorasickKind::DFA)).prefilter(false).build(words);
    built.expect("the tables of a set are far below the limits of an automaton")
}

/// Words that are found together.
pub(super) struct Words {
    list: &'static [&'static str],
    automaton: OnceLock<Automaton>,
}

impl Words {
    pub(super) const fn new(list: &'static [&'static str]) -> Self {
        Self { list, automaton: OnceLock::new() }
    }

    /// All of them.
    pub(super) const fn all(&self) -> &'static [&'static str] {
        self.list
    }

    /// The place after the last of them, among bytes as [`plain`] gives them; with no letter before or after it.
    fn last_in(&self, plain: &[u8]) -> Option<usize> {
        let automaton = self.automaton.get_or_init(|| automaton(self.list));
        let found = automaton.find_overlapping_iter(plain).filter(|found| is_whole(plain, found));
        found.last().map(|found| found.end())
    }

    /// True if one of them is in these bytes.
    pub(super) fn are_in(&self, bytes: &[u8]) -> bool {
        self.last(bytes).is_some()
    }

    /// The place after the last of them in these bytes, without their letters' case.
    pub(super) fn last(&self, bytes: &[u8]) -> Option<usize> {
        self.last_in(&plain(bytes))
    }
}

fn is_word(plain: &[u8], at: usize, word: &[u8]) -> bool {
    plain[at..].starts_with(word) && stands_alone(plain, at, at + word.len())
}

fn is_whole(plain: &[u8], found: &Match) -> bool {
    stands_alone(plain, found.start(), found.end())
}

/// True if no letter stands before or after.
fn stands_alone(plain: &[u8], start: usize, end: usize) -> bool {
    let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    !letter(plain[..start].last()) && !letter(plain.get(end))
}

/// A text that is scanned.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    shared: &'t Shared<'t>,
    pub(super) whole: &'t str,
    pub(super) bytes: &'t [u8],
    /// Name of the member that holds it: it counts as a word before every place.
    pub(super) label: &'t str,
}

/// Takes a span: its first byte, and the byte after the last.
pub(super) type Take<'f> = dyn FnMut(usize, usize) + 'f;

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str, label: &'t str, shared: &'t Shared<'t>) -> Self {
        Self { whole: text, bytes: text.as_bytes(), label, shared }
    }

    pub(super) fn at(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The byte before a place.
    pub(super) fn before(&self, at: usize) -> Option<u8> {
        self.bytes[..at].last().copied()
    }

    /// True if no word or number goes on into this place from the left. An escape that is written out (`\n`, `\u0020`, `%20`)
    /// counts as its character, and a colour of a terminal as nothing.
    pub(super) fn begins(&self, at: usize) -> bool {
        let goes_on = self.before(at).is_some_and(|byte| byte.is_ascii_alphanumeric());
        !goes_on || self.may_escape() && escapes::end_in(&self.bytes[..at])
    }

    /// The place behind an escape or a colour into which `at` falls; `at` if there is none.
    pub(super) fn after_escape(&self, at: usize) -> usize {
        if self.may_escape() { escapes::after(self.bytes, at) } else { at }
    }

    /// Most texts have no escape at all: then nobody looks for one at each place.
    fn may_escape(&self) -> bool {
        *self.shared.may_escape.get_or_init(|| escapes::may_be_in(self.bytes))
    }

    /// True if no word or number goes on from this place.
    pub(super) fn ends(&self, at: usize) -> bool {
        !self.at(at).is_some_and(|byte| byte.is_ascii_alphanumeric())
    }

    /// Length of the run of bytes that `is` accepts, at most `most`.
    pub(super) fn run(&self, at: usize, most: usize, is: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter().take(most).take_while(|byte| is(**byte)).count()
    }

    /// The runs of digits: start and end of each, in order; one that may begin with an escape also without it.
    pub(super) fn digits(&self) -> &'t [(usize, usize)] {
        self.shared.digits.get_or_init(|| {
            let (mut runs, mut at) = (Vec::new(), 0);
            while let Some(found) = self.bytes[at..].iter().position(u8::is_ascii_digit) {
                let start = at + found;
                at = start + self.run(start, usize::MAX, |byte| byte.is_ascii_digit());
                runs.push((start, at));
                // What may be an escape may be a part of the number: then both are runs.
                let after = self.after_escape(start);
                if (start + 1..at).contains(&after) {
                    runs.push((after, at));
                }
            }
            runs
        })
    }

    /// True if one of the words is in the text, or in the name of the member.
    pub(super) fn mentions(&self, words: &Words) -> bool {
        let place = self.shared.lists.iter().position(|list| std::ptr::eq(*list, words));
        let mentioned =
            place.is_none_or(|place| self.shared.mentioned(self.bytes) >> place & 1 == 1);
        mentioned || words.are_in(self.label.as_bytes())
    }

    /// True if one of the words is in the name of the member, shortly before `start`, or at the head of its column.
    pub(super) fn follows(&self, start: usize, words: &Words) -> bool {
        words.are_in(&self.said(start)) || self.is_named(start, words)
    }

    /// True if one of the words is in the name of the member, or at the head of the column.
    pub(super) fn is_named(&self, start: usize, words: &Words) -> bool {
        let tables = || self.shared.tables.get_or_init(|| Tables::of(self.bytes));
        words.are_in(self.label.as_bytes())
            || tables().heads(self.bytes, start).any(|head| {
                words.are_in(&marks::unmarked(head, (0, head.len()), &self.shared.known))
            })
    }

    /// What stands between the last of the words and `start`, not before `from`; nothing if one of the others comes
    /// after it. A mark of the detector `of` ends the search as its value did, or any mark if there is no `of`.
    pub(super) fn since(
        &self,
        (from, start): (usize, usize),
        words: &Words,
        others: &Words,
        of: Option<&str>,
    ) -> Option<Vec<u8>> {
        let least = from.max(start.saturating_sub(BEFORE));
        let marked = marks::last_end(self.bytes, (least, start), &self.shared.known, of);
        let window = (marked.unwrap_or(least), start);
        let window = plain(&marks::unmarked(self.bytes, window, &self.shared.known));
        let after = words.last_in(&window)?;
        (others.last_in(&window).unwrap_or(0) < after).then(|| window[after..].to_vec())
    }

    /// True if `start` is the next of a list of which the one that ended at `end` was found.
    pub(super) fn continues(&self, end: usize, start: usize) -> bool {
        let between = &self.bytes[end..start];
        (1..=8).contains(&between.len())
            && between.contains(&b',')
            && between.iter().all(|byte| b"\", '\\\n\r".contains(byte))
    }

    /// As [`follows`](Self::follows), or shortly after `end`.
    pub(super) fn is_near(&self, (start, end): (usize, usize), words: &Words) -> bool {
        self.follows(start, words) || words.are_in(&self.after(end))
    }

    /// True if one of the words is in the name of the member, or shortly before or after a place.
    pub(super) fn is_beside(&self, (start, end): (usize, usize), words: &[String]) -> bool {
        let has = |bytes: &[u8]| {
            [folded(bytes, true), folded(bytes, false)].iter().any(|plain| {
                let is_at =
                    |word: &String| (0..plain.len()).any(|at| is_word(plain, at, word.as_bytes()));
                words.iter().any(is_at)
            })
        };
        has(self.label.as_bytes()) || has(&self.said(start)) || has(&self.after(end))
    }

    /// The bytes shortly before a place.
    fn said(&self, start: usize) -> Cow<'t, [u8]> {
        let window = (start.saturating_sub(BEFORE), start);
        marks::unmarked(self.bytes, window, &self.shared.known)
    }

    /// The bytes shortly after a place.
    pub(super) fn after(&self, end: usize) -> Cow<'t, [u8]> {
        let window = (end, end.saturating_add(AFTER).min(self.bytes.len()));
        marks::unmarked(self.bytes, window, &self.shared.known)
    }
}

/// A tenant's own word as words are compared: with a space at its changes of case, and without.
pub(in crate::policy) fn forms_of(word: &str) -> Vec<String> {
    let form = |split| String::from_utf8_lossy(&folded(word.as_bytes(), split)).into_owned();
    let mut forms = vec![form(true), form(false)];
    forms.dedup();
    forms
}

/// These bytes as words are compared: case does not count; `_`, `-` and the change of case in `birthDate` are a space.
fn plain(bytes: &[u8]) -> Vec<u8> {
    folded(bytes, true)
}

/// `split`: whether a change of case is a space.
fn folded(bytes: &[u8], split: bool) -> Vec<u8> {
    let mut folded = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 8);
    let mut before = 0_u8;
    for byte in bytes {
        if split && before.is_ascii_lowercase() && byte.is_ascii_uppercase() {
            folded.push(b' ');
        }
        if byte.is_ascii() {
            folded.push(if matches!(byte, b'_' | b'-') { b' ' } else { byte.to_ascii_lowercase() });
        } else {
            let (first, second) = small(before, *byte);
            if let Some(last) = folded.last_mut().filter(|_| first != before) {
                *last = first;
            }
            folded.push(second);
        }
        before = *byte;
    }
    folded
}

/// The small letter of a capital of Latin-1, Greek or Cyrillic in UTF-8: a fixed list, whatever the version of Unicode is.
const fn small(first: u8, second: u8) -> (u8, u8) {
    match (first, second) {
        (0xc3, 0x80..=0x96 | 0x98..=0x9e) | (0xce, 0x91..=0x9f) | (0xd0, 0x90..=0x9f) => {
            (first, second + 0x20)
        }
        (0xce, 0xa0..=0xa9) | (0xd0, 0xa0..=0xaf) => (first + 1, second - 0x20),
        (0xd0, 0x80..=0x8f) => (first + 1, second + 0x10),
        _ => (first, second),
    }
}

/// The Luhn check of digits.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(*digit);
            if at % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}
