//! What a value is by its name or its form, where no display says what kind it is.

use super::{ends::Ends, ids, kind::Kind, leaves::integer};
use ledger::json::Value;

/// Last steps of pointers to a time by which something is due or ends, in small letters alone.
const DUE: [&str; 18] = [
    "due",
    "dueat",
    "dueby",
    "duedate",
    "dueon",
    "payby",
    "expires",
    "expiresat",
    "expireson",
    "expiry",
    "expirydate",
    "expiration",
    "expirationdate",
    "until",
    "validuntil",
    "validto",
    "validthrough",
    "deadline",
];
/// Last steps of pointers to a number of things.
const HOW_MANY: [&str; 16] = [
    "count",
    "employees",
    "files",
    "items",
    "members",
    "patients",
    "people",
    "persons",
    "qty",
    "quantity",
    "receivers",
    "recipients",
    "records",
    "rows",
    "units",
    "users",
];

/// The kind of a value: the one that a display names, or else the one that follows from its name and form.
pub(super) fn kind(named: Kind, pointer: &str, value: &Value<'_>) -> Kind {
    match (named, value) {
        (Kind::Plain | Kind::Time, Value::String(text))
            if is_due(pointer) && Ends::of(text).is_some() =>
        {
            Kind::Due
        }
        (Kind::Plain, Value::String(text)) if ids::is_digest(text) => Kind::Digest,
        (Kind::Plain, Value::Number(number))
            if is_one_of(&HOW_MANY, pointer) && integer(*number).is_some() =>
        {
            Kind::Number
        }
        _ => named,
    }
}

/// True if the last step of a pointer names a time by which something is due or ends.
pub(super) fn is_due(pointer: &str) -> bool {
    is_one_of(&DUE, pointer)
}

/// `dueDate`, `due_date` and `Due-Date` are one name.
pub(super) fn is_one_of(names: &[&str], pointer: &str) -> bool {
    let step = pointer.rsplit('/').next().unwrap_or_default();
    let letters = step.chars().filter(char::is_ascii_alphabetic);
    let name: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    names.contains(&name.as_str())
}
