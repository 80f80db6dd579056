//! A value that outlives the text from which it was read.

use ledger::json::{Member, Value};

/// The same value, without its text.
pub(super) fn owned(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Null => Value::Null,
        Value::Bool(is) => Value::Bool(*is),
        Value::Number(number) => Value::Number(*number),
        Value::String(text) => Value::String(text.to_string().into()),
        Value::Array(elements) => Value::Array(elements.iter().map(owned).collect()),
        Value::Object(members) => Value::Object(members.iter().map(owned_member).collect()),
    }
}

/// The same member, without its text.
pub(super) fn owned_member((name, value): &Member<'_>) -> Member<'static> {
    (name.to_string().into(), owned(value))
}
