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
    /// What is counted: one, or many, of the number before it.
    Noun(Box<Noun>),
}

/// The word behind a number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Noun {
    /// Pointer of the number, or of the list.
    pointer: String,
    /// Between blanks, as words of the sentence that stand apart.
    one: String,
    many: String,
}

impl Noun {
    /// The word for the number at the pointer. A text is no number, and has the word for many.
    fn of(&self, params: &Value<'_>) -> Option<&str> {
        let value = resolve(params, &self.pointer)?;
        let is_one = match value {
            Value::Number(number) => (*number - 1.0).abs() < f64::EPSILON,
            value => fields::members(value) == Some(1),
        };
        Some(if is_one { self.one.trim() } else { self.many.trim() })
    }
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
            let (place, noun) = with_noun(inner)?;
            let part = place_of(place, inner)?;
            let joined =
                parts.last().is_some_and(|last| matches!(last, Part::Value(_) | Part::Noun(_)));
            if joined && matches!(part, Part::Value(_)) {
                return Err("title: put a word or a sign between two values".into());
            }
            let counted = match &part {
                Part::Value(pointer) | Part::Count(pointer) => Some(pointer.clone()),
                Part::Words(_) | Part::Amount | Part::Noun(_) => None,
            };
            parts.push(part);
            if let Some([one, many]) = noun {
                let pointer = counted.ok_or("title: an amount has no word for one and for many")?;
                parts.push(Part::Noun(Box::new(Noun { pointer, one, many })));
            }
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
            Part::Words(_) | Part::Amount | Part::Count(_) | Part::Noun(_) => None,
        })
    }

    /// The sentence for one call. `None` if a value is absent, or is no text, number or truth value. A country has its
    /// name beside its code, and money is drawn as such.
    pub(super) fn fill(
        &self,
        (params, drawing): (&Value<'_>, Drawing<'_>),
        amount: Option<&str>,
    ) -> Option<Sentence> {
        let words: BTreeSet<&str> = self.parts.iter().flat_map(Part::ours).collect();
        let pieces = |(at, part): (usize, &Part)| match part {
            Part::Words(words) => Some(vec![Piece::Ours(words.clone())]),
            Part::Noun(noun) => Some(vec![Piece::Ours(format!(" {}", noun.of(params)?))]),
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
            Self::Amount | Self::Value(_) | Self::Count(_) | Self::Noun(_) => None,
        }
    }

    /// All words of the author in it.
    fn ours(&self) -> Vec<&str> {
        match self {
            Self::Words(words) => vec![words],
            Self::Noun(noun) => vec![&noun.one, &noun.many],
            Self::Amount | Self::Value(_) | Self::Count(_) => Vec::new(),
        }
    }
}

/// A place without its words for one and for many, and these: `{#/to|person|people}`.
fn with_noun(inner: &str) -> Result<(&str, Option<[String; 2]>), String> {
    let Some((place, words)) = inner.split_once('|') else { return Ok((inner, None)) };
    match words.split_once('|') {
        Some((one, many))
            if !one.trim().is_empty() && !many.trim().is_empty() && !many.contains('|') =>
        {
            Ok((place, Some([one, many].map(|word| format!(" {} ", word.trim())))))
        }
        _ => Err(format!("title: {{{inner}}}: write both words, {{#/to|person|people}}")),
    }
}

fn place_of(place: &str, inner: &str) -> Result<Part, String> {
    if place == "amount" {
        return Ok(Part::Amount);
    }
    let (part, pointer): (fn(String) -> Part, &str) =
        place.strip_prefix('#').map_or((Part::Value, place), |counted| (Part::Count, counted));
    if pointer.starts_with('/') {
        return Ok(part(pointer.to_owned()));
    }
    Err(format!("title: {{{inner}}} is no place: write {{amount}}, {{/a/pointer}} or {{#/a/list}}"))
}
