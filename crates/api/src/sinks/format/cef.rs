//! `ArcSight`'s Common Event Format, version 0 (`proto/formats/cef.md`): one flat line, with the names that its dictionary has.

use super::{Site, Source, correlation, outcome, person, severity, text};
use serde_json::Value;
use std::fmt::Write as _;

/// Most characters of a custom field, and of the entry. Its readers cut what is longer.
const LONG: usize = 4000;
/// Most characters of most other fields.
const SHORT: usize = 1023;

/// One line while it is made, and whether it has a field already.
struct Line(String, bool);

impl Line {
    /// The header. `severity`: 0 to 10.
    fn new(signature: &str, name: &str, severity: u64) -> Self {
        let mut line = "CEF:0|Countersign|Countersign|".to_owned();
        for part in [env!("CARGO_PKG_VERSION"), &cut(signature, SHORT), &cut(name, 512)] {
            for c in part.chars() {
                match c {
                    '\\' | '|' => line.extend(['\\', c]),
                    // A header has one line.
                    c if breaks(c) => line.push(' '),
                    c => line.push(c),
                }
            }
            line.push('|');
        }
        let _ = write!(line, "{severity}|");
        Self(line, false)
    }

    /// A field, where it has a text.
    fn put(&mut self, name: &str, text: &str, chars: usize) {
        if text.is_empty() {
            return;
        }
        if std::mem::replace(&mut self.1, true) {
            self.0.push(' ');
        }
        self.0.push_str(name);
        self.0.push('=');
        for c in cut(text, chars).chars() {
            match c {
                '\\' | '=' => self.0.extend(['\\', c]),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                c if breaks(c) => {
                    let _ = write!(self.0, "\\\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
    }

    /// A custom field, and what it is.
    fn custom(&mut self, name: &str, label: &str, text: &str) {
        if !text.is_empty() {
            self.put(name, text, if name.starts_with("flex") { SHORT } else { LONG });
            self.put(&format!("{name}Label"), label, SHORT);
        }
    }
}

/// True for a character that ends a line somewhere, or that no reader shows.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A text of at most so many characters. One that is cut ends with `…`.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars - 1).chain(['…']).collect(),
    }
}

/// Milliseconds since 1970 of an RFC 3339 time, or nothing.
fn millis(text: &str) -> String {
    super::millis(text).map(|time| time.to_string()).unwrap_or_default()
}

/// OCSF's severities, from 0 to 10.
fn grade(severity: u64) -> u64 {
    match severity {
        0 | 1 => 1,
        2 => 3,
        3 => 6,
        4 => 8,
        _ => 10,
    }
}

/// One record.
pub(super) fn record(site: &Site, source: &Source<'_>) -> String {
    let entry: Value = serde_json::from_str(source.entry).unwrap_or_default();
    let event = entry.get("event").cloned().unwrap_or_default();
    let (kind, op) = (text(&entry, &["kind"]), text(&event, &["op"]));
    let data = |name: &[&str]| text(&event, &[&["data"], name].concat());
    let verdict = data(&["verdict"]);
    let more = if verdict.is_empty() { op } else { verdict };
    let signature = if more.is_empty() { kind.to_owned() } else { format!("{kind}.{more}") };
    let name = signature.replace(['.', '_'], " ");
    let mut line = Line::new(&signature, &name, grade(severity(kind, op)));
    line.put("rt", &millis(text(&entry, &["journal", "time"])), SHORT);
    line.put("start", &millis(text(&event, &["time"])), SHORT);
    line.put("externalId", &source.index.to_string(), SHORT);
    line.put("cat", kind, SHORT);
    line.put("act", verdict, 63);
    let said = outcome(verdict, data(&["mode"]) == "shadow").map(|[_, _, (_, status)]| status);
    line.put("outcome", &said.unwrap_or_default().to_lowercase(), 63);
    line.put("reason", data(&["reason", "code"]), SHORT);
    line.put("suser", data(&["agent", "id"]), SHORT);
    line.put("suid", person(&event).unwrap_or_default(), SHORT);
    line.put("sourceServiceName", text(&event, &["source"]), SHORT);
    line.put("destinationServiceName", data(&["tool", "name"]), SHORT);
    line.put("dvchost", text(&entry, &["producer"]), 100);
    line.custom("flexString1", "action", data(&["tool", "action"]));
    line.custom("flexString2", "run", data(&["agent", "run"]));
    line.custom("cn1", "index", &source.index.to_string());
    line.custom("cn2", "entryBytes", &source.entry.len().to_string());
    line.custom("cs1", "origin", &site.origin);
    line.custom("cs2", "leafHash", &source.leaf_hash.to_string());
    line.custom("cs3", "proof", &site.proof(source.index));
    let policy = [data(&["policy", "id"]), data(&["policy", "version"])];
    line.custom("cs4", "policy", policy.join(" ").trim());
    line.custom("cs5", "correlation", correlation(&event));
    if !source.payload.is_empty() {
        line.custom("cs6", "payload", &source.values().to_string());
    }
    // A part of an entry could not be read: it is there whole, or not at all.
    if source.entry.chars().nth(LONG).is_none() {
        line.put("rawEvent", source.entry, LONG);
    }
    line.0
}

/// What a batch or a test says.
pub(super) fn said(site: &Site, (name, said): (&str, &Value), time: u64) -> String {
    let mut line = Line::new(name, &format!("{name} of the sink {}", site.sink), 0);
    line.put("rt", &(time / 1_000_000).to_string(), SHORT);
    line.put("cat", name, SHORT);
    let number = |name: &str| said[name].as_u64().map(|n| n.to_string()).unwrap_or_default();
    for (field, name) in [("cn1", "from"), ("cn2", "to"), ("cn3", "count"), ("flexNumber1", "size")]
    {
        line.custom(field, name, &number(name));
    }
    for (field, name) in
        [("cs1", "origin"), ("cs2", "digest"), ("cs4", "root"), ("cs5", "sink"), ("cs6", "format")]
    {
        line.custom(field, name, text(said, &[name]));
    }
    line.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_values_are_escaped() {
        let mut line = Line::new("a|b", "c\\d\ne", 3);
        line.put("msg", "1=2|\\3\n4\r5\u{1b}\u{2028}é\u{202e}\u{1f600}", SHORT);
        line.put("none", "", SHORT);
        line.put("act", "=|", SHORT);
        line.custom("cs1", "x", "y");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            line.0,
            format!(
                "CEF:0|Countersign|Countersign|{version}|a\\|b|c\\\\d e|3|msg=1\\=2|\\\\3\\n4\\r5\\\\u001b\\\\u2028é\u{202e}\u{1f600} act=\\=| cs1=y cs1Label=x"
            )
        );
    }

    #[test]
    fn an_entry_of_65_kb_is_left_out_and_told() {
        let entry = format!(
            "{{\"event\":{{\"data\":{{\"agent\":{{\"id\":\"{}\"}}}}}},\"kind\":\"decision\"}}",
            "\u{1f600}=".repeat(13_000)
        );
        assert!(entry.len() > 65_000);
        let site = Site {
            origin: "o".into(),
            tenant: "acme".into(),
            sink: "siem".into(),
            url: "https://log.example".into(),
        };
        let (leaf_hash, payload) = (ledger::log::merkle::leaf_hash(b""), [].into());
        let source = Source { index: 7, leaf_hash: &leaf_hash, entry: &entry, payload: &payload };
        let line = record(&site, &source);
        assert!(line.len() < 8000 && !line.contains("rawEvent") && !line.contains('\n'));
        assert!(line.contains(&format!("cn2={} cn2Label=entryBytes", entry.len())));
        assert!(line.contains("… externalId") || line.contains("… cn1="), "a cut text says so");
    }

    #[test]
    fn long_texts_are_cut_by_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
