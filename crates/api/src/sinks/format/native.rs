//! `native`: the entry byte for byte, so that its receiver can hash it.

use super::{Site, Source};

/// One record. Nothing before the entry can hold `,"entry":`, so its first place in the line is where the entry begins.
pub(super) fn record(site: &Site, source: &Source<'_>) -> String {
    let mut line = serde_json::Value::Object(site.place(source)).to_string();
    line.pop();
    line.push_str(",\"entry\":");
    line.push_str(source.entry);
    if !source.payload.is_empty() {
        line.push_str(",\"payload\":");
        line.push_str(&source.values().to_string());
    }
    line.push('}');
    line
}
