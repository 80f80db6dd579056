//! The JSON of a verdict.

use ledger::{
    json::{Member, Value},
    system::LeafAt,
};
use std::{borrow::Cow, collections::BTreeMap};

/// An object without members that are `null`: they count as absent.
pub(super) fn without_nulls(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(_, value)| *value != Value::Null).collect())
        }
        other => other,
    }
}

/// The obligations of several clauses.
pub(super) fn merged<'c>(
    all: impl Iterator<Item = &'c BTreeMap<String, serde_json::Value>>,
) -> BTreeMap<String, serde_json::Value> {
    let mut values: BTreeMap<&String, Vec<&serde_json::Value>> = BTreeMap::new();
    for (name, value) in all.flatten() {
        let known = values.entry(name).or_default();
        if !known.contains(&value) {
            known.push(value);
        }
    }
    let merge = |(name, values): (&String, Vec<&serde_json::Value>)| {
        let value = match values[..] {
            [value] => value.clone(),
            _ => values.into_iter().cloned().collect(),
        };
        (name.clone(), value)
    };
    values.into_iter().map(merge).collect()
}

pub(super) fn member<'a>(name: &'static str, value: Value<'a>) -> Member<'a> {
    (Cow::Borrowed(name), value)
}

pub(super) fn text(text: &str) -> Value<'_> {
    Value::String(Cow::Borrowed(text))
}

pub(super) fn object<const N: usize>(members: [Member<'_>; N]) -> Value<'_> {
    Value::Object(members.into())
}

#[expect(clippy::cast_precision_loss, reason = "numbers of entries stay below 2^53")]
pub(super) fn number(number: u64) -> Value<'static> {
    Value::Number(number as f64)
}

/// Another entry of the log.
pub(super) fn place(at: &LeafAt) -> Value<'static> {
    let leaf_hash = Value::String(at.leaf_hash.to_string().into());
    object([member("index", number(at.index)), member("leaf_hash", leaf_hash)])
}

/// A value of an obligation: texts, whole numbers, truths, and lists of them.
pub(super) fn of_serde(value: &serde_json::Value) -> Value<'static> {
    match value {
        serde_json::Value::Bool(is) => Value::Bool(*is),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Value::String(text.clone().into()),
        serde_json::Value::Array(values) => Value::Array(values.iter().map(of_serde).collect()),
        serde_json::Value::Null | serde_json::Value::Object(_) => Value::Null,
    }
}
