//! The stream's settings: `init` sets them, and every start compares them.

use serde_json::{Map, Value, json};

use super::{HEADERS_BYTES_MAX, wire::Address};
use crate::journal::{BODY_BYTES_MAX, Error};

/// Smallest duplicate window that the server accepts, in nanoseconds. We send no `Nats-Msg-Id`. The smaller
/// the window, the less harm a producer can do with that header.
const DUPLICATE_WINDOW_NS: u64 = 100_000_000;

/// Settings that the operator may choose. They change how much, where and how compactly the stream stores,
/// never what it stores. `allow_atomic` is absent on a stream that a 2.11 server made.
const FREE: [&str; 9] = [
    "allow_atomic",
    "compression",
    "description",
    "max_bytes",
    "max_msg_size",
    "max_msgs",
    "metadata",
    "num_replicas",
    "placement",
];

/// Settings that have one right value. Every setting that is neither here nor in [`FREE`] must have its zero
/// value: sources, mirror, republish, transforms, rollup, TTL, counters, schedules and all future ones would
/// change what a stored message is.
fn fixed(address: &Address) -> [(&'static str, Value); 12] {
    [
        ("name", json!(address.stream)),
        ("subjects", json!(address.patterns())),
        ("retention", json!("limits")),
        ("storage", json!("file")),
        ("discard", json!("new")),
        ("max_age", json!(0)),
        ("max_msgs_per_subject", json!(-1)),
        ("max_consumers", json!(-1)),
        ("duplicate_window", json!(DUPLICATE_WINDOW_NS)),
        ("deny_delete", json!(false)),
        ("deny_purge", json!(false)),
        ("allow_direct", json!(false)),
    ]
}

/// The settings of a new stream.
pub(super) fn wanted(address: &Address, replicas: usize, atomic: bool) -> Value {
    let mut config: Map<String, Value> =
        fixed(address).map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    config.insert("num_replicas".into(), json!(replicas));
    config.insert("max_msgs".into(), json!(-1));
    config.insert("max_bytes".into(), json!(-1));
    // The broker refuses an oversized message, so it gets an error and never enters the journal.
    config.insert("max_msg_size".into(), json!(BODY_BYTES_MAX + HEADERS_BYTES_MAX));
    if atomic {
        config.insert("allow_atomic".into(), json!(true));
    }
    Value::Object(config)
}

/// Compares the settings found with the required ones. [`Error::Halt`] lists every difference.
pub(super) fn check(address: &Address, found: &Map<String, Value>) -> Result<(), Error> {
    let fixed = fixed(address);
    let mut differences: Vec<String> = Vec::new();
    for (name, wanted) in &fixed {
        let value = found.get(*name).unwrap_or(&Value::Null);
        if !same(value, wanted) {
            differences.push(format!("{name} is {value}, must be {wanted}"));
        }
    }
    for (name, value) in found {
        let listed = FREE.contains(&name.as_str()) || fixed.iter().any(|(fixed, _)| fixed == name);
        if !listed && !is_zero(value) {
            differences.push(format!("{name} is {value}, must not be set"));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Halt(format!(
        "the stream {stream} is not set up as a journal: {list}. Change these back with \
         `nats stream edit {stream}` and find out who changed them; messages may be missing",
        stream = address.stream,
        list = differences.join("; ")
    )))
}

/// True if the values are equal. Lists are compared without order; a missing value is the zero of its kind.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && wanted.iter().all(|value| found.contains(value))
        }
        (Value::Null, wanted) => is_zero(wanted),
        (found, wanted) => found == wanted,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.values().all(is_zero),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::Ident;

    fn check_with(name: &str, value: Value) -> Result<(), Error> {
        let address = Address::new(&Ident::new("acme").unwrap());
        let Value::Object(mut config) = wanted(&address, 1, true) else { unreachable!() };
        config.insert(name.into(), value);
        check(&address, &config)
    }

    #[test]
    fn free_settings_are_free() {
        for (name, value) in [
            ("max_bytes", json!(1)),
            ("num_replicas", json!(3)),
            ("description", json!("ours")),
            ("metadata", json!({"_nats.ver": "2.15.1"})),
            ("allow_atomic", json!(false)),
            ("consumer_limits", json!({})),
            ("first_seq", json!(0)),
        ] {
            assert_eq!(check_with(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn settings_of_later_servers_are_refused_unless_off() {
        assert_eq!(check_with("allow_new_thing", json!(false)), Ok(()));
        let Err(Error::Halt(text)) = check_with("allow_new_thing", json!(true)) else {
            panic!("accepted")
        };
        assert!(text.contains("allow_new_thing is true, must not be set"), "{text}");
        assert!(check_with("persist_mode", json!("async")).is_err());
    }
}
