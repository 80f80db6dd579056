//! What is shown of a call that no `[[display]]` is for: tool and action, the amount if a rule says where it is, and
//! the most telling values first.

use super::{
    Call, FIELDS_MAX,
    fields::{self, Drawing, Field},
    sentence::{Piece, Sentence, bare_or_quoted},
};
use decider::rule::resolve;
use ledger::{foreign, json::Value};
use std::collections::{BTreeMap, BTreeSet};

/// From so many objects on, a list is counted.
const COUNTED_FROM: usize = 4;
/// Most lists that are counted.
const COUNTED_MAX: usize = 2;
/// Most values in the sentence.
const IN_SENTENCE: usize = 2;
/// Most characters of a value in the sentence.
const VALUE_CHARS_MAX: usize = 48;
/// A longer value tells little at a glance, in characters.
const LONG: usize = 200;

/// Names of members that say who gets something. They come first.
const WHOM: [&str; 19] = [
    "to",
    "payee",
    "recipient",
    "recipients",
    "beneficiary",
    "creditor",
    "destination",
    "iban",
    "account",
    "to_account",
    "account_id",
    "email",
    "address",
    "target",
    "customer",
    "receiver",
    "user",
    "employee",
    "name",
];
/// Names of members that say how much.
const HOW_MUCH: [&str; 8] =
    ["amount", "total", "price", "currency", "count", "quantity", "limit", "days"];
/// Names of members that say what.
const WHAT: [&str; 28] = [
    "subject",
    "title",
    "reference",
    "invoice",
    "order",
    "service",
    "version",
    "environment",
    "env",
    "month",
    "period",
    "place",
    "site",
    "location",
    "department",
    "path",
    "file",
    "url",
    "host",
    "database",
    "table",
    "query",
    "branch",
    "repo",
    "repository",
    "cluster",
    "region",
    "dataset",
];

/// The most telling values, but none of `told`. A long list of objects is its number first: nobody reads 474 lines.
pub(super) fn fields(params: &Value<'_>, told: &BTreeSet<String>) -> Vec<Field> {
    let lists: Vec<(String, &Value<'_>)> = match params {
        Value::Object(members) => {
            let long = members.iter().filter(|(_, value)| is_long_list(value));
            long.take(COUNTED_MAX).map(|(name, list)| (pointer_to(name), list)).collect()
        }
        _ => Vec::new(),
    };
    let label = |pointer: &str| (fields::steps(pointer), false);
    let count = |(pointer, list): &(String, &Value<'_>)| Field::count(label(pointer), list);
    let mut found: Vec<Field> = lists.iter().filter_map(count).collect();
    let counted = |leaf: &str| lists.iter().any(|(list, _)| leaf.starts_with(&format!("{list}/")));
    let mut leaves: Vec<String> = fields::leaves(params);
    leaves.retain(|leaf| !told.contains(leaf) && !counted(leaf));
    leaves.sort_by_cached_key(|leaf| rank(leaf, resolve(params, leaf)));
    let drawing = Drawing { kinds: &BTreeMap::new(), code: None };
    let field = |leaf: &String| Field::new(leaf, label(leaf), params, drawing);
    found.extend(leaves.iter().filter_map(field).take(FIELDS_MAX - found.len()));
    found
}

fn pointer_to(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn is_long_list(value: &Value<'_>) -> bool {
    let Value::Array(lines) = value else { return false };
    lines.len() >= COUNTED_FROM && lines.iter().all(|line| matches!(line, Value::Object(_)))
}

/// The sentence: `payments · refund: EUR 10.00, cus_8812`.
pub(super) fn sentence(call: &Call<'_>, amount: Option<&str>, fields: &[Field]) -> Sentence {
    let ours = |text: &str| Piece::Ours(text.to_owned());
    let words = BTreeSet::from([" \u{b7} ", ": ", ", "]);
    let named = |name: &str| Piece::Foreign(bare_or_quoted(&foreign::name(name), &words));
    let mut pieces = vec![named(call.tool), ours(" \u{b7} "), named(call.action)];
    let mut between = ": ";
    if let Some(amount) = amount {
        pieces.extend([ours(between), Piece::Amount(amount.to_owned())]);
        between = ", ";
    }
    // A number of lines alone says little. A third value is there if it says what: a version, and where it runs.
    let short = fields.iter().filter(|field| field.is_short() && !field.covers.is_empty());
    let says_what =
        |field: &Field| field.covers.iter().any(|pointer| place_in(&WHAT, pointer).is_some());
    let told = |(at, field): &(usize, &Field)| {
        *at < IN_SENTENCE || (*at == IN_SENTENCE && says_what(field))
    };
    for (_, field) in short.enumerate().take_while(told) {
        let text = fields::cut(&field.lines[0], VALUE_CHARS_MAX);
        pieces.extend([ours(between), Piece::Foreign(bare_or_quoted(&text, &words))]);
        between = ", ";
    }
    Sentence::new(pieces)
}

/// Smaller is more telling. Of what says what, the order of the names counts: a version is read before where it runs.
fn rank(pointer: &str, value: Option<&Value<'_>>) -> (u8, usize) {
    let long = value.and_then(Value::as_str).is_some_and(|text| text.chars().count() > LONG);
    let has = |names: &[&str]| {
        pointer.split('/').any(|step| names.contains(&step.to_lowercase().as_str()))
    };
    match (long, value) {
        (true, _) => (5, 0),
        (_, None | Some(Value::Null | Value::Object(_) | Value::Array(_))) => (4, 0),
        _ if has(&WHOM) => (0, 0),
        _ if has(&HOW_MUCH) => (1, 0),
        _ if has(&WHAT) => (2, place_in(&WHAT, pointer).unwrap_or(WHAT.len())),
        _ => (3, 0),
    }
}

/// The place of the last step of a pointer in a list of names.
fn place_in(names: &[&str], pointer: &str) -> Option<usize> {
    let last = pointer.rsplit('/').next().unwrap_or_default().to_lowercase();
    names.iter().position(|name| *name == last)
}
