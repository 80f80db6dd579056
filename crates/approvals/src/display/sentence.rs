//! A sentence about a call: words of ours beside values of the call, which can't look like each other.

use iso_currency::Currency;
use std::collections::BTreeSet;

/// First and last sign around foreign text that is written from right to left (UAX 9: FSI, PDI).
const ISOLATE: (char, char) = ('\u{2068}', '\u{2069}');

/// A part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Words of the rules' author, or of ours.
    Ours(String),
    /// The amount.
    Amount(String),
    /// A value of the call, cleaned; in quotes where it could be read as more than one value.
    Foreign(String),
}

impl Piece {
    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::Ours(text) | Self::Amount(text) | Self::Foreign(text) => text,
        }
    }
}

/// A sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// Its parts, in order.
    pub pieces: Vec<Piece>,
}

impl Sentence {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        Self { pieces }
    }

    /// The sentence as text alone. Foreign text from right to left is isolated, so that it moves nothing.
    pub fn plain(&self) -> String {
        self.with(str::to_owned)
    }

    /// As [`Self::plain`], with each part cleaned once more.
    pub fn with(&self, clean: impl Fn(&str) -> String) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            let text = clean(piece.text());
            out.push_str(&match piece {
                Piece::Foreign(_) => isolated(text),
                Piece::Ours(_) | Piece::Amount(_) => text,
            });
        }
        out
    }

    /// The sentence without its amount, for a place that shows the amount by itself. The whole sentence, if its amount is
    /// in the middle of the author's words.
    pub(super) fn without_amount(&self, authored: bool) -> Vec<Piece> {
        let mut rest = self.pieces.clone();
        match rest.iter().position(|piece| matches!(piece, Piece::Amount(_))) {
            Some(0) => {
                rest.remove(0);
                if let Some(Piece::Ours(words)) = rest.first_mut() {
                    *words = words.trim_start_matches([' ', ':', ',']).to_owned();
                }
            }
            // In a default, what separates the amount from the next value goes too.
            Some(at) if !authored => drop(rest.drain(at..rest.len().min(at + 2))),
            _ => {}
        }
        if let (Some(Piece::Ours(_)), false) = (rest.last(), authored) {
            rest.pop();
        }
        rest
    }

    /// True if the amount is in it.
    pub fn has_amount(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Amount(_)))
    }
}

/// A value as it is put into a sentence with these words. It is quoted where it could be read as more than one
/// value, as words of the sentence, or as an amount: so two different calls never give the same sentence, as far as
/// their values are shown whole.
pub(super) fn bare_or_quoted(text: &str, words: &BTreeSet<&str>) -> String {
    let sign = |c: char| ",;:?!()[]{}\"\u{201c}\u{201d}\u{b7}|<>=\\\u{2026}".contains(c);
    let is_word = |word: &str| {
        let code = word.len() == 3 && Currency::from_code(word).is_some();
        let same = |ours: &&str| {
            ours.split_whitespace().any(|own| own.to_lowercase() == word.to_lowercase())
        };
        code || words.iter().any(same)
    };
    let glued = |ours: &&str| {
        let inner = ours.trim();
        let apart = ours.starts_with(' ') && ours.ends_with(' ');
        !apart && !inner.is_empty() && text.to_lowercase().contains(&inner.to_lowercase())
    };
    let bare = !text.trim().is_empty()
        && text.trim() == text
        && !text.contains(sign)
        && !text.split_whitespace().any(is_word)
        && !words.iter().any(glued);
    if bare {
        return text.to_owned();
    }
    format!("\u{201c}{}\u{201d}", within_quotes(text))
}

/// A value that is between quotes “…”: none of its own ends them.
pub(super) fn within_quotes(text: &str) -> String {
    text.replace('\u{201c}', "\\u{201c}").replace('\u{201d}', "\\u{201d}")
}

/// Foreign text, isolated if some of it is written from right to left.
pub(crate) fn isolated(text: String) -> String {
    if text.chars().any(is_right_to_left) {
        return format!("{}{text}{}", ISOLATE.0, ISOLATE.1);
    }
    text
}

/// True for letters of scripts that are written from right to left.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}
