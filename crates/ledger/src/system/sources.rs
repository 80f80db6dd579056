//! `system.sources`: the sources that must report (`proto/formats/system.md`).

use super::{By, Reason};
use crate::ident::Ident;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most sources of a tenant that may be declared.
pub const SOURCES_MAX: usize = 256;
/// Longest `source` of an event, in bytes.
pub const SOURCE_BYTES_MAX: usize = 512;
/// Longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 120;
/// Longest time without a report, in seconds: 366 days.
pub const SILENT_AFTER_MAX: u32 = 366 * 24 * 3600;

/// The body of a message on `system.sources`. It replaces the one before it as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Version of this form: 1.
    pub v: u32,
    /// Every source that must report; none is possible.
    pub sources: Vec<Declared>,
    /// Who declared them.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// A source that must report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// The producer that publishes its events.
    pub producer: Ident,
    /// The `source` of its events.
    pub source: String,
    /// What it is, for people: 1 to [`TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// Who answers for it: the opaque id of a person or a team.
    pub owner: Ident,
    /// Seconds without an event after which it is silent: 1 to [`SILENT_AFTER_MAX`].
    pub silent_after: u32,
}

/// The first thing that is wrong with a list of sources, in words.
pub fn mistake(sources: &[Declared]) -> Option<String> {
    if sources.len() > SOURCES_MAX {
        return Some(format!("{} sources, at most {SOURCES_MAX} are possible", sources.len()));
    }
    let mut pairs = BTreeSet::new();
    for (at, declared) in (1..).zip(sources) {
        let Declared { producer, source, title, silent_after, .. } = declared;
        let characters = title.chars().count();
        let wrong = if source.is_empty() || source.len() > SOURCE_BYTES_MAX {
            format!("its source must have 1 to {SOURCE_BYTES_MAX} bytes")
        } else if !(1..=TITLE_CHARS_MAX).contains(&characters)
            || title.chars().any(char::is_control)
        {
            format!(
                "its title must have 1 to {TITLE_CHARS_MAX} characters and no control characters"
            )
        } else if !(1..=SILENT_AFTER_MAX).contains(silent_after) {
            format!("its silent_after must be 1 to {SILENT_AFTER_MAX} seconds")
        } else if !pairs.insert((producer, source)) {
            "its producer and source were declared before".to_owned()
        } else {
            continue;
        };
        return Some(format!("source {at}: {wrong}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut Vec<Declared>), wrong: Option<&str>) {
        let producer = |name: &str| Ident::new(name).unwrap();
        let one = Declared {
            producer: producer("gw-1"),
            source: "/gateways/eu-1".into(),
            title: "Gateway Frankfurt".into(),
            owner: producer("team-payments"),
            silent_after: 900,
        };
        let mut all = vec![one.clone(), Declared { producer: producer("gw-2"), ..one }];
        change(&mut all);
        let found = mistake(&all);
        assert_eq!(found.is_some(), wrong.is_some(), "{found:?}");
        assert!(found.unwrap_or_default().contains(wrong.unwrap_or_default()));
    }

    #[test]
    fn what_is_declared_is_bounded_and_unique() {
        check(|_| {}, None);
        check(Vec::clear, None);
        check(|all| all[0].title = "\u{20ac}".repeat(TITLE_CHARS_MAX), None);
        check(
            |all| all[0].title = "\u{20ac}".repeat(TITLE_CHARS_MAX + 1),
            Some("source 1: its title"),
        );
        check(|all| all[0].title = "a\nb".into(), Some("source 1: its title"));
        check(|all| all[1].title.clear(), Some("source 2: its title"));
        check(|all| all[0].source.clear(), Some("source 1: its source"));
        check(|all| all[0].source = "x".repeat(SOURCE_BYTES_MAX + 1), Some("its source"));
        check(|all| all[1].silent_after = 0, Some("source 2: its silent_after"));
        check(|all| all[1].silent_after = SILENT_AFTER_MAX + 1, Some("its silent_after"));
        check(|all| all[1].producer = all[0].producer.clone(), Some("declared before"));
        let many = |count: usize| {
            move |all: &mut Vec<Declared>| {
                let one = all[0].clone();
                let nth = |n| Declared { source: format!("/{n}"), ..one.clone() };
                *all = (0..count).map(nth).collect();
            }
        };
        check(many(SOURCES_MAX), None);
        check(many(SOURCES_MAX + 1), Some("257 sources"));
    }
}
