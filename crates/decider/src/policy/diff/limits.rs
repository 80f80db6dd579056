//! What changes of budgets and rates.

use super::{Change, Consequence, Reach};
use crate::policy::{bundle::Bundle, limit::Budget};
use ledger::budget::Unit;
use std::collections::{BTreeMap, BTreeSet};

/// What reviewers must know of other windows (`proto/formats/decision.md`, *Budgets*).
const CARRIED: &str =
    ". What is booked in a window that lasts now counts in the first new window too";

/// What reviewers must know where another sum begins (`proto/formats/policy.md`, *Budgets*).
const ANEW: &str = "a new sum begins with nothing booked, also in a window that lasts now";

/// Each budget and rate with what it says.
pub(super) fn told(bundle: &Bundle) -> impl Iterator<Item = (String, String)> {
    let budgets = bundle.budgets.iter();
    let budgets = budgets.map(|one| (format!("budget {}", one.limit.name), one.to_string()));
    let rates = bundle.rates.iter();
    budgets.chain(rates.map(|one| (format!("rate {}", one.limit.name), one.to_string())))
}

/// What every reviewer must know: calls that too many budgets deny.
pub(super) fn crowded(bundle: &Bundle) -> Option<(String, String)> {
    bundle.crowded().map(|(limit, text)| (format!("budget {}", limit.name), text))
}

pub(super) fn changes(before: &Bundle, after: &Bundle, changes: &mut Vec<Change>) {
    let mut note = |consequence, what: &str, text| {
        changes.push(Change { consequence, reach: Reach::All, what: what.to_owned(), text });
    };
    match (crowded(before), crowded(after)) {
        (old, Some((what, text))) if old.as_ref().map(|(_, text)| text) != Some(&text) => {
            note(Consequence::Less, &what, text);
        }
        _ => {}
    }
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (told(before).collect(), told(after).collect());
    for what in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        match (old.get(what), new.get(what)) {
            (Some(old), None) => note(Consequence::More, what, format!("removed: {old}")),
            (None, Some(new)) => note(Consequence::Less, what, format!("new: {new}")),
            (Some(old), Some(new)) if old != new => {
                let find = |bundle: &Bundle| -> Option<Budget> {
                    let named = |one: &&Budget| format!("budget {}", one.limit.name) == *what;
                    bundle.budgets.iter().find(named).cloned()
                };
                let both = find(before).zip(find(after));
                let anew = both.as_ref().and_then(|(old, new)| anew(old, new));
                let moved = both
                    .as_ref()
                    .is_some_and(|(old, new)| old.windows.name() != new.windows.name());
                let moved = moved && anew.is_none();
                if let Some(text) = anew {
                    note(Consequence::More, what, text);
                }
                let caps = both.and_then(|(old, new)| caps(&old, &new));
                if let Some(caps) = caps {
                    for (consequence, text) in caps {
                        note(consequence, what, text);
                    }
                } else {
                    let carried = if moved { CARRIED } else { "" };
                    note(Consequence::Unclear, what, format!("was: {old}; is: {new}{carried}"));
                }
            }
            _ => {}
        }
        let message = |bundle: &Bundle| {
            let limits = bundle.budgets.iter().map(|one| ("budget", &one.limit));
            let mut limits = limits.chain(bundle.rates.iter().map(|one| ("rate", &one.limit)));
            let found = limits.find(|(kind, limit)| format!("{kind} {}", limit.name) == *what);
            found.and_then(|(_, limit)| limit.message.clone())
        };
        let kept = old.contains_key(what) && new.contains_key(what);
        if kept && message(before) != message(after) {
            note(Consequence::Unclear, what, "another message".into());
        }
    }
}

/// What to tell of a budget that sums up something else, or by another key: nothing that was booked counts in the new sum.
fn anew(old: &Budget, new: &Budget) -> Option<String> {
    let what = |budget: &Budget| {
        let unit = match budget.unit() {
            Unit::Calls => "calls",
            Unit::Cost => "costs",
            Unit::Minor => "amounts",
        };
        format!("{unit}, per {}", budget.limit.per.as_str())
    };
    let (old, new) = (what(old), what(new));
    (old != new)
        .then(|| format!("{ANEW}: what was booked until then ({old}) does not count in it ({new})"))
}

/// Changes of caps, if nothing else changed.
fn caps(old: &Budget, new: &Budget) -> Option<Vec<(Consequence, String)>> {
    if (Budget { max: old.max.clone(), ..new.clone() }).to_string() != old.to_string() {
        return None;
    }
    let mut found = Vec::new();
    for currency in old.max.keys().chain(new.max.keys()).collect::<BTreeSet<_>>() {
        let shown = |budget: &Budget, max: u64| budget.shown(currency.as_deref(), max);
        match (old.max.get(currency), new.max.get(currency)) {
            (Some(was), Some(is)) if was != is => {
                let consequence = if is > was { Consequence::More } else { Consequence::Less };
                found
                    .push((consequence, format!("max {} → {}", shown(old, *was), shown(new, *is))));
            }
            (None, Some(is)) => {
                found.push((Consequence::More, format!("max {} is new", shown(new, *is))));
            }
            (Some(was), None) => {
                found.push((Consequence::Less, format!("max {} is gone", shown(old, *was))));
            }
            _ => {}
        }
    }
    Some(found)
}
