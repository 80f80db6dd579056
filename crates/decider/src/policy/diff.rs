//! What changes between two bundles, in words that a reviewer reads. What allows more comes first.

use super::{
    bundle::Bundle,
    clause::{Clause, Then},
    condition::Condition,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a change does to what agents may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consequence {
    /// Something is allowed, or asked for, that was not.
    More,
    /// It can't be said from the change alone: read it.
    Unclear,
    /// Something is no longer allowed.
    Less,
}

impl Consequence {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::More => "more is allowed",
            Self::Unclear => "read it",
            Self::Less => "less is allowed",
        }
    }

    /// Of a clause that is for more calls than before.
    fn of_wider(then: Then) -> Self {
        if then == Then::Deny { Self::Less } else { Self::More }
    }

    fn opposite(self) -> Self {
        match self {
            Self::More => Self::Less,
            Self::Less => Self::More,
            Self::Unclear => Self::Unclear,
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What it does.
    pub consequence: Consequence,
    /// The clause, agent, tool or list.
    pub what: String,
    /// The change.
    pub text: String,
}

/// All changes from `before` to `after`.
pub fn diff(before: &Bundle, after: &Bundle) -> Vec<Change> {
    let mut changes = Vec::new();
    let named = |bundle: &Bundle| -> BTreeMap<String, Clause> {
        bundle.clauses.iter().map(|clause| (clause.name.clone(), clause.clone())).collect()
    };
    let (old, new) = (named(before), named(after));
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => clause(old, new, &mut changes),
            (Some(old), None) => {
                let consequence = Consequence::of_wider(old.then).opposite();
                changes.push(Change {
                    consequence,
                    what: name.clone(),
                    text: format!("removed: {}", told(old)),
                });
            }
            (None, Some(new)) => {
                let consequence = Consequence::of_wider(new.then);
                changes.push(Change {
                    consequence,
                    what: name.clone(),
                    text: format!("new: {}", told(new)),
                });
            }
            (None, None) => {}
        }
    }
    let mut note =
        |consequence, what: String, text| changes.push(Change { consequence, what, text });
    before
        .agents
        .changes(&after.agents, |id, text| note(Consequence::Unclear, format!("agent {id}"), text));
    before.tools.changes(&after.tools, |name, text| {
        note(Consequence::Unclear, format!("tool {name}"), text);
    });
    before.lists.changes(&after.lists, |name, text| {
        note(Consequence::Unclear, format!("list {name}"), text);
    });
    changes.sort();
    changes
}

/// A clause in short: `allow transfer, payout of payments`.
fn told(clause: &Clause) -> String {
    let tool = clause.tool.as_deref().unwrap_or("every tool");
    let actions =
        if clause.actions.is_empty() { "every action".into() } else { joined(&clause.actions) };
    let agents =
        if clause.agents.is_empty() { "every agent".into() } else { clause.agents.join(", ") };
    let then = match clause.then {
        Then::Allow => "allow",
        Then::ApprovalNeeded => "ask people for",
        Then::Deny => "deny",
    };
    let when = if clause.when.is_some() { ", on conditions" } else { "" };
    format!("{then} {actions} of {tool} by {agents}{when}")
}

fn joined(texts: &BTreeSet<String>) -> String {
    texts.iter().cloned().collect::<Vec<_>>().join(", ")
}

fn clause(old: &Clause, new: &Clause, changes: &mut Vec<Change>) {
    let mut note = |consequence, text: String| {
        changes.push(Change { consequence, what: new.name.clone(), text });
    };
    if old.then != new.then {
        let rank = |then| match then {
            Then::Deny => 0,
            Then::ApprovalNeeded => 1,
            Then::Allow => 2,
        };
        let consequence =
            if rank(new.then) > rank(old.then) { Consequence::More } else { Consequence::Less };
        note(consequence, format!("was: {}; is: {}", told(old), told(new)));
    }
    if old.tool != new.tool {
        note(Consequence::Unclear, format!("was: {}; is: {}", told(old), told(new)));
    }
    let set = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<_>>();
    members("agents", &set(&old.agents), &set(&new.agents), new.then, &mut note);
    members("actions", &old.actions, &new.actions, new.then, &mut note);
    match (&old.when, &new.when) {
        (None, Some(_)) => {
            note(Consequence::of_wider(new.then).opposite(), "has conditions now".into());
        }
        (Some(_), None) => {
            note(Consequence::of_wider(new.then), "has no conditions any more".into());
        }
        (Some(old), Some(new_when)) if old != new_when => {
            conditions(old, new_when, new.then, &mut note);
        }
        _ => {}
    }
    if old.enforcement != new.enforcement {
        note(
            Consequence::Unclear,
            format!("enforcement: was {}, is {}", old.enforcement, new.enforcement),
        );
    }
    for (changed, what) in [
        (old.message != new.message, "message"),
        (old.obligations != new.obligations, "obligations"),
        (old.alert != new.alert, "alert"),
    ] {
        if changed {
            note(Consequence::Unclear, format!("another {what}"));
        }
    }
}

/// Changes of a set that means everything when it is empty.
fn members(
    name: &str,
    old: &BTreeSet<String>,
    new: &BTreeSet<String>,
    then: Then,
    note: &mut impl FnMut(Consequence, String),
) {
    let wider = Consequence::of_wider(then);
    match (old.is_empty(), new.is_empty()) {
        (false, true) => note(wider, format!("{name}: all, not only {}", joined(old))),
        (true, false) => note(wider.opposite(), format!("{name}: only {}, not all", joined(new))),
        _ => {
            for one in new.difference(old) {
                note(wider, format!("{name}: {one} is new"));
            }
            for one in old.difference(new) {
                note(wider.opposite(), format!("{name}: {one} is gone"));
            }
        }
    }
}

/// Changes of conditions: bounds one by one, if all else is the same.
fn conditions(
    old: &Condition,
    new: &Condition,
    then: Then,
    note: &mut impl FnMut(Consequence, String),
) {
    let bounds = |condition: &Condition| {
        let (mut bare, mut found) = (condition.clone(), Vec::new());
        bare.each_bound(&mut |bound, name| found.push((name.to_owned(), bound.take())));
        (bare, found)
    };
    let ((bare_old, old_bounds), (bare_new, new_bounds)) = (bounds(old), bounds(new));
    if bare_old != bare_new {
        let (old_parts, new_parts) = (parts(old), parts(new));
        let gone: Vec<String> = old_parts
            .iter()
            .filter(|part| !new_parts.contains(part))
            .map(Condition::place)
            .collect();
        let come: Vec<String> = new_parts
            .iter()
            .filter(|part| !old_parts.contains(part))
            .map(Condition::place)
            .collect();
        let wider = Consequence::of_wider(then);
        return match (gone.is_empty(), come.is_empty()) {
            (true, false) => {
                note(wider.opposite(), format!("further conditions: {}", come.join(", ")));
            }
            (false, true) => note(wider, format!("conditions are gone: {}", gone.join(", "))),
            _ => note(
                Consequence::Unclear,
                format!("other conditions: was {}; is {}", gone.join(", "), come.join(", ")),
            ),
        };
    }
    let mut inverted = false;
    new.walk(&mut |part| inverted |= matches!(part, Condition::Not(_)));
    for ((name, old), (_, new)) in
        old_bounds.into_iter().zip(new_bounds).filter(|((_, old), (_, new))| old != new)
    {
        let upper = name.split([' ', ':']).any(|word| matches!(word, "at_most" | "under" | "to"));
        let consequence = match (inverted || name.starts_with("hours"), (new > old) == upper) {
            (true, _) => Consequence::Unclear,
            (false, true) => Consequence::of_wider(then),
            (false, false) => Consequence::of_wider(then).opposite(),
        };
        note(consequence, format!("{name} {} → {}", grouped(old), grouped(new)));
    }
}

fn parts(condition: &Condition) -> &[Condition] {
    if let Condition::All(parts) = condition { parts } else { std::slice::from_ref(condition) }
}

/// `1,234,567`
fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
