//! How a call is shown to people: the tables `[[display]]` of `rules.toml`, and a default for calls without one
//! (`proto/formats/rules.md`, Display).
//!
//! In scope: the sentence, the amount, the fields that count. Out of scope: matching, deciding, and every digest of
//! a call: nothing here changes what is hashed. All of it is pure, and the table of all values stays beside it.

mod account;
mod address;
mod claims;
mod country;
mod deeds;
mod ends;
mod fields;
mod guess;
mod ids;
mod kind;
mod leaves;
mod make;
mod money;
mod natural;
mod rows;
mod sentence;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use account::grouped as iban;
pub use address::Address;
pub use deeds::Release;
pub use ends::{Ends, span};
pub use fields::{Field, Kind};
pub use ids::{Run, runs};
pub(crate) use make::quoted;
pub use money::format as amount;
pub use rows::{ROWS_MAX, Rows, flatten};
pub(crate) use sentence::isolated;
pub use sentence::{Piece, Sentence};
pub use template::{TITLE_CHARS_MAX, Title};

use decider::rule::Amount;
use ledger::json::Value;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most displays of a tenant.
pub const DISPLAYS_MAX: usize = 200;
/// Most fields in a list of a display.
pub const FIELDS_MAX: usize = 12;
/// Longest label, in characters.
pub const LABEL_CHARS_MAX: usize = 40;

/// How calls of some tools are shown. Absent members are not serialised, so that a file has one form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Display {
    /// `tool.name`: one of these. Empty: every tool.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool: Vec<String>,
    /// `tool.action`: one of these. Empty: every action.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub action: Vec<String>,
    /// The sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// Where the amount is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<MoneyAt>,
    /// JSON Pointers of the fields that are shown first, and repeated before an answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lead: Vec<String>,
    /// Labels of fields, by JSON Pointer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// JSON Pointers of lists and objects whose members are counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub count: Vec<String>,
    /// Kinds of fields, by JSON Pointer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, Kind>,
}

/// Where an amount is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MoneyAt {
    /// JSON Pointer to the amount, an integer in minor units.
    pub minor: String,
    /// JSON Pointer to the ISO 4217 code, or the code itself.
    pub currency: String,
}

impl From<&Amount> for MoneyAt {
    fn from(amount: &Amount) -> Self {
        Self { minor: amount.minor.clone(), currency: amount.currency.clone() }
    }
}

/// A call, and where rules say that its amount is.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `data.tool.name`
    pub tool: &'a str,
    /// `data.tool.action`
    pub action: &'a str,
    /// The frozen params. `None` if they were erased.
    pub params: Option<&'a Value<'a>>,
    /// Used if no display says where the amount is.
    pub amount: Option<&'a Amount>,
}

/// A call as people read it. Foreign text in it is cleaned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displayed {
    /// One sentence that says what happens.
    pub sentence: Sentence,
    /// The amount, for example `EUR 1,250.00`.
    pub amount: Option<String>,
    /// The amount in minor units, and its code.
    pub money: Option<(i64, String)>,
    /// The fields that count, in order.
    pub fields: Vec<Field>,
    /// JSON Pointer and text of the first field of kind `account`.
    pub account: Option<(String, String)>,
    /// The first text of the call in the author's sentence that is no account, country, time or amount: as a rule, who gets
    /// it. Not cleaned.
    pub whom: Option<String>,
    /// What in the call itself warns, in words: a hidden letter in its sentence, an amount below zero, a contradiction.
    pub warnings: Vec<String>,
    /// Names and ids that are compared with those of earlier calls: JSON Pointer and text. Not cleaned.
    pub names: Vec<(String, String)>,
    /// What tells it from calls alike, beside amount and account.
    pub telling: Vec<Telling>,
    /// Label and time of what is due or ends.
    pub ends: Vec<(String, Ends)>,
    /// The release that it asks for, if it is one.
    pub release: Option<Release>,
    /// What tells it from calls alike: the label and the text of a field. Cleaned.
    pub reference: Option<String>,
    /// True if the sentence is of a `[[display]]`.
    pub authored: bool,
    /// The number of fields that the display leaves out, and whose names say that they count: the last ones of `fields`.
    pub overlooked: usize,
    /// Pointers of values that are neither in the sentence nor in the fields, cleaned.
    pub untold: BTreeSet<String>,
    /// Number of those values.
    pub left: usize,
    /// Number of all values.
    pub all: usize,
}

/// A value that is shown, for comparison with that of another call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Its label. Cleaned.
    pub label: String,
    /// The whole value as text. Cleaned.
    pub text: String,
    /// True for a time.
    pub is_time: bool,
}

impl Display {
    /// True if it is for calls of this tool and action.
    pub fn is_for(&self, tool: &str, action: &str) -> bool {
        let listed = |list: &[String], name| list.is_empty() || list.iter().any(|n| n == name);
        listed(&self.tool, tool) && listed(&self.action, action)
    }
}
