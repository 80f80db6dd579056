//! What a channel is told of alerts, in words. Pure.

use approvals::cards::Notice;
use ledger::{
    foreign::harmless,
    ident::Ident,
    system::{
        By,
        alert::{About, Close, Raise, Sort},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Most alerts that one message lists. It gives the number of the others.
const LISTED_MAX: usize = 10;

/// The message about new alerts. Its id is that of the first.
pub(super) fn raised(alerts: &[(u64, Raise)]) -> Notice {
    let first = alerts.first().map_or(0, |(index, _)| *index);
    let mut lines: Vec<String> = alerts
        .iter()
        .take(LISTED_MAX)
        .map(|(index, raise)| {
            let values = raise.values.iter().map(|(name, value)| format!("{name} {value}"));
            let values: Vec<String> = values.collect();
            let About { what, id, producer } = &raise.about;
            let of =
                producer.as_ref().map(|producer| format!(" of {producer}")).unwrap_or_default();
            let name = &raise.name;
            harmless(&format!(
                "{index}: {name}, {} {id}{of}, since {}: {}",
                word(*what),
                raise.since,
                values.join(", ")
            ))
        })
        .collect();
    if let Some(more) = alerts.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    let title =
        if alerts.len() == 1 { "An alert".into() } else { format!("{} alerts", alerts.len()) };
    Notice {
        id: id(first),
        title,
        lines,
        hint: "countersign alert list shows what is open.".into(),
        link: None,
        mentions: Vec::new(),
    }
}

/// The message that alerts were closed.
pub(super) fn closed(closes: &[&(u64, Close)]) -> Notice {
    let mut by: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (_, close) in closes {
        by.entry(who(&close.by)).or_default().insert(close.alert);
    }
    let lines = by.iter().map(|(who, alerts)| {
        let named: Vec<String> = alerts.iter().take(LISTED_MAX).map(u64::to_string).collect();
        let more = alerts.len().saturating_sub(LISTED_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        harmless(&format!("{}{more}, by {who}", named.join(", ")))
    });
    let title = if closes.len() == 1 {
        "Alert closed".into()
    } else {
        format!("{} alerts closed", closes.len())
    };
    let first = closes.first().map_or(0, |(index, _)| *index);
    Notice {
        id: id(first),
        title,
        lines: lines.collect(),
        hint: "Why is kept in the log.".into(),
        link: None,
        mentions: Vec::new(),
    }
}

fn id(index: u64) -> Ident {
    Ident::new(&format!("alert-{index}")).expect("letters, digits and a dash")
}

fn word(what: Sort) -> &'static str {
    match what {
        Sort::Agent => "agent",
        Sort::Tool => "tool",
        Sort::Producer => "producer",
        Sort::Source => "source",
        Sort::Approval => "approval",
        Sort::Sink => "sink",
    }
}

fn who(by: &By) -> String {
    match by {
        By::Key { person: Some(person), .. } => person.to_string(),
        By::Key { key, .. } => format!("key {}", key.as_str()),
        By::Operator { .. } => "an operator".into(),
        By::Command { .. } | By::Server { .. } => "the server".into(),
    }
}
