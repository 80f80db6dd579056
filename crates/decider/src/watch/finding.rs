//! What a watch found, and the alert that says it.

use ledger::{
    system::{
        By, Duty,
        alert::{About, AlertRule, At, NTH_MAX, Raise, SHOWN_MAX, TEXT_BYTES_MAX},
    },
    time::Nanos,
};

/// What was found.
pub struct Finding {
    /// By which rule.
    pub rule: AlertRule,
    /// The name of a clause's alert.
    pub name: Option<String>,
    /// The clause.
    pub clause: Option<String>,
    /// What it is about.
    pub about: About,
    /// Since when.
    pub since: Nanos,
    /// What was measured. Empty texts are left out.
    pub values: Vec<(&'static str, String)>,
    /// Entries that show it.
    pub entries: Vec<u64>,
}

impl Finding {
    /// One of the watch itself, and not of a clause.
    pub fn new(
        (rule, about): (AlertRule, About),
        since: Nanos,
        values: Vec<(&'static str, String)>,
        entries: Vec<u64>,
    ) -> Self {
        Self { rule, name: None, clause: None, about, since, values, entries }
    }
}

/// The alert of a finding that entry `index` shows.
pub fn raise(finding: Finding, index: u64, nth: u32) -> Raise {
    let Finding { rule, name, clause, about, since, values, mut entries } = finding;
    entries.sort_unstable();
    entries.dedup();
    entries.drain(..entries.len().saturating_sub(SHOWN_MAX));
    if entries.is_empty() {
        entries.push(index);
    }
    let values = values.into_iter().filter(|(_, value)| !value.is_empty());
    Raise {
        v: 1,
        rule,
        name: name.unwrap_or_else(|| word(rule)),
        clause,
        about: About { id: cut(about.id), ..about },
        since,
        values: values.map(|(name, value)| (name.to_owned(), cut(value))).collect(),
        entries,
        at: At { index, nth: nth.min(NTH_MAX) },
        by: By::Server { server: Duty::Watching },
    }
}

/// The name of a rule on the wire.
fn word(rule: AlertRule) -> String {
    let text = serde_json::to_value(rule).ok();
    text.and_then(|text| Some(text.as_str()?.to_owned())).unwrap_or_default()
}

/// A text within its limit.
fn cut(mut text: String) -> String {
    if text.is_empty() {
        return "-".into();
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}

/// A number as a text with one decimal.
pub fn number(value: f64) -> String {
    format!("{value:.1}")
}
