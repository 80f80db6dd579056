//! Values of entries as the tables show them.

use ledger::{entry::View, time::Nanos};
use std::collections::BTreeMap;

/// Text at a path of names; empty if there is none.
pub fn text<'v>(view: &'v View<'_>, path: &[&str]) -> &'v str {
    view.text(path).unwrap_or_default()
}

/// The UTC day of a moment.
pub fn day(at: Nanos) -> String {
    at.to_string().chars().take(10).collect()
}

/// Who did it: key id, operator or command; and the person, if the key has one.
pub fn who(view: &View<'_>) -> (String, String) {
    let by = |name| view.text(&["event", "by", name]);
    let actor = ["key", "operator", "command", "server"]
        .into_iter()
        .find_map(|name| by(name).map(|value| format!("{name} {value}")));
    (actor.unwrap_or_default(), by("person").unwrap_or_default().to_owned())
}

/// Adds one to the count of a name.
pub fn add(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
