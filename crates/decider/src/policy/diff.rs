//! What changes between two bundles, in words that a reviewer reads. What allows more comes first.

mod change;
mod limits;

pub use change::{Change, Consequence};

use super::{
    agents::Agents,
    bundle::Bundle,
    clause::{Clause, Then},
    condition::Condition,
    detectors::Detectors,
    list::NamedLists,
    on::On,
    sanitize::{Redact, Sanitize},
    tools::Tools,
};
use change::Reach;
use ledger::system::freeze::FreezeScope;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// All changes from `before` to `after`: what allows more first, what is in shadow last.
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
                let reach = match Reach::of(old) {
                    Reach::Nobody => Reach::Gone,
                    reach => reach,
                };
                changes.push(Change {
                    consequence,
                    reach,
                    what: name.clone(),
                    text: format!("removed: {}", told_whole(old)),
                });
            }
            (None, Some(new)) => {
                let consequence = Consequence::of_wider(new.then);
                changes.push(Change {
                    consequence,
                    reach: Reach::of(new),
                    what: name.clone(),
                    text: format!("new: {}", told_whole(new)),
                });
            }
            (None, None) => {}
        }
    }
    limits::changes(before, after, &mut changes);
    let mut note = |what: String, text| {
        let (consequence, reach) = (Consequence::Unclear, Reach::All);
        changes.push(Change { consequence, reach, what, text });
    };
    before.agents.changes(&after.agents, |id, text| note(format!("agent {id}"), text));
    before.tools.changes(&after.tools, |name, text| note(format!("tool {name}"), text));
    before.detectors.changes(&after.detectors, |name, text| note(format!("detector {name}"), text));
    before.lists.changes(&after.lists, |name, text| note(format!("list {name}"), text));
    let order = |change: &Change| {
        let is_idle = change.consequence().is_none();
        (is_idle, change.consequence, change.what.clone(), change.text.clone())
    };
    changes.sort_by_cached_key(order);
    changes
}

/// Everything of a bundle that replaces nothing, in words: clauses, then agents, tools and lists.
pub fn all_new(bundle: &Bundle) -> Vec<String> {
    let clause = |clause: &Clause| format!("{}: new: {}", clause.name, told_whole(clause));
    let mut all: Vec<String> = bundle.clauses.iter().map(clause).collect();
    all.extend(limits::told(bundle).map(|(what, text)| format!("{what}: new: {text}")));
    all.extend(limits::crowded(bundle).map(|(what, text)| format!("{what}: {text}")));
    let mut note = |kind: &str, name: &str, text: String| {
        all.push(format!("{kind} {name}: {text}").trim_start().to_owned());
    };
    Agents::default().changes(&bundle.agents, |id, text| note("agent", id, text));
    Tools::default().changes(&bundle.tools, |name, text| note("tool", name, text));
    Detectors::default().changes(&bundle.detectors, |name, text| note("detector", name, text));
    NamedLists::default().changes(&bundle.lists, |name, text| note("list", name, text));
    all
}

/// A clause with its conditions, and what goes back with its verdict.
fn told_whole(clause: &Clause) -> String {
    let mut parts = conditions_of(clause);
    parts.extend(clause.message.iter().map(|message| format!("tells the agent: {message:?}")));
    let obligations = clause.obligations.iter();
    parts.extend(obligations.map(|(name, value)| format!("obliges to {name}: {value}")));
    if clause.early.later {
        parts.push("told before it is recorded".into());
    }
    if clause.early.unavailable {
        parts.push("told while nothing can be recorded".into());
    }
    parts.extend(clause.sanitize.redact.iter().map(Redact::shown));
    if clause.sanitize.keep_received {
        parts.push("keeps the call as it came".into());
    }
    parts.extend(clause.alert.iter().map(|alert| format!("alert {alert}")));
    parts.extend(clause.freeze.map(|scope| format!("freezes the {}", scope.as_str())));
    if parts.is_empty() { told(clause) } else { format!("{}: {}", told(clause), parts.join("; ")) }
}

/// The conditions of a clause in words, one by one.
pub(super) fn conditions_of(clause: &Clause) -> Vec<String> {
    clause.shown.iter().map(|(name, condition)| format!("{name}: {condition}")).collect()
}

/// A clause in short: `allow transfer, payout of payments by bot, on conditions`.
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
        Then::Sanitize => "redact",
    };
    let results = if clause.on == On::Result { " the results of" } else { "" };
    let when = if clause.when.is_some() { ", on conditions" } else { "" };
    let shadow =
        if clause.has_shadow() { format!(" ({})", clause.enforcement) } else { String::new() };
    format!("{then}{results} {actions} of {tool} by {agents}{when}{shadow}")
}

fn joined(texts: &BTreeSet<String>) -> String {
    texts.iter().cloned().collect::<Vec<_>>().join(", ")
}

fn clause(old: &Clause, new: &Clause, changes: &mut Vec<Change>) {
    enforcement(old, new, changes);
    let reach = Reach::of(new);
    let mut note = |consequence, text: String| {
        changes.push(Change { consequence, reach, what: new.name.clone(), text });
    };
    if old.then != new.then {
        let rank = |then| match then {
            Then::Deny => 0,
            Then::ApprovalNeeded | Then::Sanitize => 1,
            Then::Allow => 2,
        };
        let consequence = match rank(new.then).cmp(&rank(old.then)) {
            _ if new.then.permits() && old.then == Then::Sanitize => Consequence::More,
            Ordering::Greater => Consequence::More,
            Ordering::Equal => Consequence::Unclear,
            Ordering::Less => Consequence::Less,
        };
        note(consequence, format!("was: {}; is: {}", told(old), told(new)));
    }
    if old.tool != new.tool || old.on != new.on {
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
        (Some(_), Some(_)) if old.when != new.when => conditions(old, new, &mut note),
        _ => {}
    }
    redactions(&old.sanitize, &new.sanitize, &mut note);
    for (was, is, what) in [
        (old.early.later, new.early.later, "told before it is recorded (record: later)"),
        (
            old.early.unavailable,
            new.early.unavailable,
            "told while nothing can be recorded (unavailable: allow)",
        ),
    ] {
        match (was, is) {
            (false, true) => note(Consequence::More, format!("is {what}")),
            (true, false) => note(Consequence::Less, format!("is no longer {what}")),
            _ => {}
        }
    }
    freezes(old.freeze, new.freeze, &mut note);
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

/// A clause that freezes more allows less.
fn freezes(
    old: Option<FreezeScope>,
    new: Option<FreezeScope>,
    note: &mut impl FnMut(Consequence, String),
) {
    if old == new {
        return;
    }
    let wider = |scope: Option<FreezeScope>| match scope {
        None => 0,
        Some(FreezeScope::Agent) => 2,
        Some(_) => 1,
    };
    let consequence = if wider(new) > wider(old) { Consequence::Less } else { Consequence::More };
    let named = |scope: Option<FreezeScope>| scope.map_or("nothing", FreezeScope::as_str);
    note(consequence, format!("a match freezes: was {}, is {}", named(old), named(new)));
}

/// What is no longer redacted lets more out.
fn redactions(old: &Sanitize, new: &Sanitize, note: &mut impl FnMut(Consequence, String)) {
    for item in old.redact.iter().filter(|item| !new.redact.contains(item)) {
        note(Consequence::More, format!("no longer {}", item.shown()));
    }
    for item in new.redact.iter().filter(|item| !old.redact.contains(item)) {
        note(Consequence::Less, format!("now {}", item.shown()));
    }
    match (old.keep_received, new.keep_received) {
        (false, true) => note(Consequence::More, "keeps the call as it came".into()),
        (true, false) => note(Consequence::Less, "no longer keeps the call as it came".into()),
        _ => {}
    }
}

/// A clause that comes into force, or goes into shadow.
fn enforcement(old: &Clause, new: &Clause, changes: &mut Vec<Change>) {
    if old.enforcement == new.enforcement {
        return;
    }
    let (was, is) = (Reach::of(old), Reach::of(new));
    let gone = Consequence::of_wider(old.then).opposite();
    let (consequence, reach) = match (was, is) {
        (Reach::Nobody, _) => (Consequence::of_wider(new.then), is),
        (_, Reach::Nobody) => (gone, was),
        (Reach::All, Reach::Steps) => (gone, Reach::All),
        (Reach::Steps, Reach::All) => (Consequence::of_wider(new.then), Reach::All),
        _ => (Consequence::Unclear, Reach::All),
    };
    let text = format!("enforcement: was {}, is {}", old.enforcement, new.enforcement);
    changes.push(Change { consequence, reach, what: new.name.clone(), text });
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

/// Changes of conditions: bounds one by one, and each other condition with its old and new text.
fn conditions(old: &Clause, new: &Clause, note: &mut impl FnMut(Consequence, String)) {
    let wider = Consequence::of_wider(new.then);
    let (old_bounds, new_bounds) = (Bare::of(old), Bare::of(new));
    let mut inverted = false;
    if let Some(when) = &new.when {
        when.walk(&mut |part| inverted |= matches!(part, Condition::Not(_)));
    }
    for (name, new) in &new_bounds.bounds {
        let Some(old) = old_bounds.bounds.get(name).filter(|old| *old != new) else { continue };
        let upper = name.split([' ', ':']).any(|word| matches!(word, "at_most" | "under" | "to"));
        let consequence = match (inverted || name.starts_with("hours"), (new > old) == upper) {
            (true, _) => Consequence::Unclear,
            (false, true) => wider,
            (false, false) => wider.opposite(),
        };
        let bare = name.contains('/') || name.starts_with("hours") || name.starts_with("history");
        let unit = if bare { "" } else { " minor units" };
        note(consequence, format!("{name} {} → {}{unit}", grouped(*old), grouped(*new)));
    }
    if old_bounds.rest == new_bounds.rest {
        return;
    }
    for name in old.shown.keys().chain(new.shown.keys()).collect::<BTreeSet<_>>() {
        match (old.shown.get(name), new.shown.get(name)) {
            (Some(old), Some(new)) if old != new => {
                note(Consequence::Unclear, format!("{name}: was {old}; is {new}"));
            }
            (Some(old), None) => note(wider, format!("{name}: the condition is gone; was {old}")),
            (None, Some(new)) => {
                note(wider.opposite(), format!("{name}: a further condition: {new}"));
            }
            _ => {}
        }
    }
}

/// Conditions without their bounds, and the bounds by name.
struct Bare {
    rest: Option<Condition>,
    bounds: BTreeMap<String, i128>,
}

impl Bare {
    fn of(clause: &Clause) -> Self {
        let (mut rest, mut bounds) = (clause.when.clone(), BTreeMap::new());
        if let Some(rest) = &mut rest {
            rest.each_bound(&mut |bound, name| {
                // The same name twice, in `any`: the texts show it.
                bounds.insert(name.to_owned(), bound.take());
            });
        }
        Self { rest, bounds }
    }
}

/// `1,234,567`
pub(super) fn grouped(number: i128) -> String {
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
