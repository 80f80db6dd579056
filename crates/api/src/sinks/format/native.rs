//! `native`: the entry byte for byte, so that its receiver can hash it.

use super::{Site, Source};
use serde_json::Value;
use std::fmt::Write as _;

/// About how many bytes a record has beside its entry.
const PLACE_BYTES: usize = 256;

/// One record. Nothing before the entry can hold `,"entry":`, so its first place in the line is where the entry begins.
pub(super) fn record(site: &Site, source: &Source<'_>) -> String {
    // As `Site::place` has it. A record is little more than its entry, so a map would take most of the time.
    let (origin, proof) =
        (Value::from(site.origin.as_str()), Value::from(site.proof(source.index)));
    let mut line = String::with_capacity(source.entry.len() + PLACE_BYTES);
    let _ = write!(
        line,
        "{{\"index\":{},\"leaf_hash\":\"{}\",\"origin\":{origin},\"proof\":{proof},\"entry\":",
        source.index, source.leaf_hash
    );
    line.push_str(source.entry);
    if !source.payload.is_empty() {
        line.push_str(",\"payload\":");
        line.push_str(&source.values().to_string());
    }
    line.push('}');
    line
}
