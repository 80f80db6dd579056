//! The values of a call that have no members, by JSON Pointer; and their number.

use ledger::json::Value;

/// Number of members of a list or object.
pub(super) fn members(value: &Value<'_>) -> Option<usize> {
    match value {
        Value::Array(members) => Some(members.len()),
        Value::Object(members) => Some(members.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// At most `max` characters. `…` stands for the rest.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
    }
}

/// Pointers of all values without members.
pub(super) fn leaves(value: &Value<'_>) -> Vec<String> {
    leaves_below("", value)
}

pub(super) fn leaves_below(pointer: &str, value: &Value<'_>) -> Vec<String> {
    let mut found = Vec::new();
    collect(pointer, value, &mut found);
    found
}

fn collect(pointer: &str, value: &Value<'_>, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(&format!("{pointer}/{name}"), value, found);
            }
        }
        Value::Array(members) if !members.is_empty() => {
            for (at, value) in members.iter().enumerate() {
                collect(&format!("{pointer}/{at}"), value, found);
            }
        }
        _ => found.push(pointer.to_owned()),
    }
}

/// A whole number, exactly.
pub(super) fn integer(number: f64) -> Option<i64> {
    let text = format!("{number:.0}");
    (number.fract() == 0.0).then(|| text.parse().ok()).flatten()
}
