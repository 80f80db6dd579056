//! The template of a sentence: words of the author, and places for values of the call.

use super::sentence::{Piece, Sentence, bare_or_quoted, within_quotes};
use super::{
    country,
    fields::{self, Drawing, Kind},
    money, natural,
};
use decider::rule::resolve;
use ledger::{foreign::is_hidden, json::Value};
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

/// Longest template, in characters.
pub const TITLE_CHARS_MAX: usize = 200;
/// Most characters of a value within a sentence. The table of all values has it whole.
const VALUE_CHARS_MAX: usize = 80;

/// A template, for example `{amount} to {/to/name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Words(String),
    Amount,
    /// The value at a pointer.
    Value(String),
    /// The number of members at a pointer.
    Count(String),
}

impl Serialize for Title {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Title {
    /// Reads a template. Errors say what to write.
    pub fn new(text: &str) -> Result<Self, String> {
        let length = text.chars().count();
        if text.trim().is_empty() || length > TITLE_CHARS_MAX {
            return Err(format!("title must have 1 to {TITLE_CHARS_MAX} characters"));
        }
        if text.chars().any(is_hidden) {
            return Err("title must have no line breaks and no invisible characters".into());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find(['{', '}']) {
            let place = rest[begin..].strip_prefix('{').and_then(|r| r.split_once('}'));
            let (inner, behind) = place.ok_or("title: a brace has no partner")?;
            if begin > 0 {
                parts.push(Part::Words(rest[..begin].to_owned()));
            }
            let part = place_of(inner)?;
            let joined = parts.last().is_some_and(|last| matches!(last, Part::Value(_)));
            if joined && matches!(part, Part::Value(_)) {
                return Err("title: put a word or a sign between two values".into());
            }
            parts.push(part);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Words(rest.to_owned()));
        }
        let blank = |three: &[Part]| match three {
            [Part::Value(_), Part::Words(words), Part::Value(_)] => words.trim().is_empty(),
            _ => false,
        };
        if parts.windows(3).any(blank) {
            return Err("title: put a word or a sign between two values".into());
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// True if the amount has a place in it.
    pub fn has_amount(&self) -> bool {
        self.parts.contains(&Part::Amount)
    }

    /// The pointers whose values are in the sentence.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(pointer) => Some(pointer.as_str()),
            Part::Words(_) | Part::Amount | Part::Count(_) => None,
        })
    }

    /// The sentence for one call. `None` if a value is absent, or is no text, number or truth value. A country has its
    /// name beside its code, and money is drawn as such.
    pub(super) fn fill(
        &self,
        (params, drawing): (&Value<'_>, Drawing<'_>),
        amount: Option<&str>,
    ) -> Option<Sentence> {
        let words: BTreeSet<&str> = self.parts.iter().filter_map(Part::words).collect();
        let pieces = |(at, part): (usize, &Part)| match part {
            Part::Words(words) => Some(vec![Piece::Ours(words.clone())]),
            Part::Amount => amount.map(|amount| vec![Piece::Amount(amount.to_owned())]),
            Part::Value(pointer) => {
                let value = resolve(params, pointer)?;
                let kind = natural::kind(drawing.kind(pointer, params), pointer, value);
                if let (Value::Number(_), Kind::Money | Kind::Number, Some(number)) =
                    (value, kind, fields::by_kind(kind, value, drawing.code))
                {
                    return Some(vec![Piece::Ours(number)]);
                }
                let text = fields::scalar(value)?;
                let cut = fields::cut(&text, VALUE_CHARS_MAX);
                let is_country = kind == Kind::Country;
                let name = country::name(&text).filter(|_| is_country);
                let name = name.map(|name| Piece::Ours(format!(" ({name})")));
                // The author's own quotes around it are enough.
                let value = if self.is_quoted(at) {
                    within_quotes(&cut)
                } else {
                    bare_or_quoted(&cut, &words)
                };
                let value = Piece::Foreign(value);
                Some([Some(value), name].into_iter().flatten().collect())
            }
            Part::Count(pointer) => {
                let number = fields::members(resolve(params, pointer)?)?;
                Some(vec![Piece::Ours(money::grouped(&number.to_string()))])
            }
        };
        let all = self.parts.iter().enumerate().map(pieces).collect::<Option<Vec<_>>>()?;
        Some(Sentence::new(all.concat()))
    }

    /// True if the author's words put the part into quotes “…”.
    fn is_quoted(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|at| self.parts[at].words());
        let after = self.parts.get(at + 1).and_then(Part::words);
        before.is_some_and(|words| words.ends_with('\u{201c}'))
            && after.is_some_and(|words| words.starts_with('\u{201d}'))
    }
}

impl Part {
    fn words(&self) -> Option<&str> {
        match self {
            Self::Words(words) => Some(words),
            Self::Amount | Self::Value(_) | Self::Count(_) => None,
        }
    }
}

fn place_of(inner: &str) -> Result<Part, String> {
    if inner == "amount" {
        return Ok(Part::Amount);
    }
    let (part, pointer): (fn(String) -> Part, &str) =
        inner.strip_prefix('#').map_or((Part::Value, inner), |counted| (Part::Count, counted));
    if pointer.starts_with('/') {
        return Ok(part(pointer.to_owned()));
    }
    Err(format!("title: {{{inner}}} is no place: write {{amount}}, {{/a/pointer}} or {{#/a/list}}"))
}
