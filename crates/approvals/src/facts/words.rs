//! The sentences of facts, for one and for many.

use super::{Earlier, Fact, Part, READ_MAX, USUAL_FROM, Weight};
use crate::display::{self, Ends};
use chrono::DateTime;
use decider::{approval::Phase, words::counted};
use ledger::{foreign, time::Nanos};
use std::collections::BTreeMap;

/// Most characters of a value of a call in a fact.
const VALUE_CHARS_MAX: usize = 60;
/// Most currencies or tools that are named.
const NAMED_MAX: usize = 3;

impl Part {
    pub(super) fn ours(text: impl Into<String>) -> Self {
        Self::Ours(text.into())
    }

    /// A value of a call that is cleaned already, in quotes.
    pub(super) fn quoted(clean: &str) -> Self {
        Self::Foreign(quoted(clean))
    }

    pub(super) fn with(&self, clean: impl Fn(&str) -> String) -> String {
        match self {
            Self::Ours(text) => clean(text),
            Self::Foreign(text) | Self::Call(_, text) => display::isolated(clean(text)),
            Self::Time(at) => near(*at),
        }
    }
}

fn quoted(clean: &str) -> String {
    display::quoted(clean, VALUE_CHARS_MAX)
}

/// `20 Nov, 10:14 UTC`
fn near(at: Nanos) -> String {
    let time = DateTime::from_timestamp_nanos(i64::try_from(at.0).unwrap_or(i64::MAX));
    time.format("%-d %b, %H:%M UTC").to_string()
}

/// A warning that ends with another call: what it is known by, and when it was asked for.
pub(super) fn of_call(before: &str, call: &Earlier) -> Fact {
    let known = call.reference.clone().unwrap_or_else(|| call.id.to_string());
    let parts = vec![
        Part::ours(before),
        Part::Call(call.id.clone(), quoted(&known)),
        Part::ours(", asked "),
        Part::Time(call.at),
        Part::ours("."),
    ];
    Fact::new(Weight::Warns, parts)
}

/// What two payments have in common beside amount and account: labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub same: Vec<String>,
    /// What differs only in signs that look alike.
    pub alike: Vec<String>,
    pub differing: Vec<String>,
    /// True if nothing tells them apart: it may be the same call again.
    pub again: bool,
}

/// A release to production, which is not the agent's usual call.
pub(super) const IN_PRODUCTION: &str = "It releases to production.";

/// Labels in quotes, after words of ours. Nothing without labels.
fn labels(before: &str, all: &[String]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (at, label) in all.iter().take(NAMED_MAX).enumerate() {
        parts.push(Part::ours(if at == 0 { before } else { ", " }));
        parts.push(Part::quoted(label));
    }
    if all.len() > NAMED_MAX {
        parts.push(Part::ours(" and more"));
    }
    parts
}

/// What is the same beside amount and account, what only looks so, and what is not: sentences behind that of a call.
/// `known`: what the other call is known by, which the sentence before shows.
pub(super) fn compared(found: &Compared, known: Option<&str>) -> Vec<Part> {
    // What differs is what to check; what is the same beside it only makes the sentence long.
    let is_telling = !found.alike.is_empty() || !found.differing.is_empty();
    let same: &[String] = if is_telling { &[] } else { &found.same };
    let is_shown = |label: &&String| known.is_some_and(|known| known.starts_with(label.as_str()));
    let alike: Vec<String> = found.alike.iter().filter(|label| !is_shown(label)).cloned().collect();
    let sentences = [
        labels(" The same too: ", same),
        labels(" Nearly the same: ", &alike),
        labels(" Not the same: ", &found.differing),
    ];
    let ended = |mut parts: Vec<Part>| {
        if !parts.is_empty() {
            parts.push(Part::ours("."));
        }
        parts
    };
    sentences.into_iter().flat_map(ended).collect()
}

/// Later calls that wait too and may be the same call again, the next one first.
pub(super) fn later(again: &[&Earlier]) -> Fact {
    match again {
        [next] => of_call("A later call that waits too has the same amount and account: ", next),
        many => of_call(
            &format!(
                "{} later calls that wait too have the same amount and account, the next one ",
                many.len()
            ),
            many[0],
        ),
    }
}

/// Earlier calls with the same amount and account that differ in what people read, the latest first.
pub(super) fn another(all: &[&Earlier], others: bool, found: &Compared) -> Option<Fact> {
    let last = all.first()?;
    let (calls, which) = earlier_calls(all, others);
    Some(differing(&format!("Same amount and account as {calls}"), which, last, found))
}

/// Later calls that wait too, with the same amount and account, that differ in what people read.
pub(super) fn another_later(all: &[&Earlier], found: &Compared) -> Fact {
    let (calls, which) = match all {
        [_] => ("a later call that waits too".to_owned(), ": "),
        all => (format!("{} later calls that wait too", all.len()), ", the next one "),
    };
    differing(&format!("Same amount and account as {calls}"), which, all[0], found)
}

fn differing(before: &str, which: &str, call: &Earlier, found: &Compared) -> Fact {
    let mut parts = labels(&format!("{before}, but another "), &found.differing);
    parts.push(Part::ours(which));
    parts.extend(of_call("", call).parts.into_iter().skip(1));
    Fact::new(Weight::Tells, parts)
}

/// An end that is about a year away, or more.
pub(super) fn far(label: &str, end: Ends, days: u64) -> Fact {
    let parts =
        vec![Part::quoted(label), Part::Ours(format!(" is {days} days away: {}.", end.words()))];
    Fact::new(Weight::Warns, parts)
}

/// A lower version than the one that was released last.
pub(super) fn behind(version: &str, last: &Earlier) -> Fact {
    let mut parts = vec![
        Part::ours("The version is behind "),
        Part::quoted(&foreign::value(version)),
        Part::ours(", which was released last: "),
    ];
    parts.extend(of_call("", last).parts.into_iter().skip(1));
    Fact::new(Weight::Warns, parts)
}

/// Nothing went to this account before: a fact, and no warning.
pub(super) fn first(count: usize, pays: bool) -> String {
    let what = if pays { "First payment" } else { "First call" };
    if count >= READ_MAX {
        return format!("{what} to this account in the last {count} calls of this agent.");
    }
    let others = counted(count, "other call", "other calls");
    format!("{what} to this account by this agent, after {others}.")
}

/// Neither the name nor the account was paid before.
pub(super) fn new_payee(count: usize) -> String {
    match count {
        1 => "New payee: its other call went elsewhere.".into(),
        _ => format!("New payee: none of its last {count} calls went there."),
    }
}

/// The same name, another account: what a forged invoice looks like. `last`: the last of those calls.
pub(super) fn other_account(count: usize, last: &Earlier) -> Fact {
    let before = match count {
        1 => "An earlier call to this name had another account: ".into(),
        many => format!("{many} earlier calls to this name had another account, the last one "),
    };
    let account = last.account.as_deref().unwrap_or_default();
    let account = match display::iban(account) {
        Some(grouped) => Part::Foreign(grouped),
        None => Part::quoted(&foreign::value(account)),
    };
    Fact::new(Weight::Warns, vec![Part::Ours(before), account, Part::ours(".")])
}

/// Earlier calls with the same amount to the same account, the latest first. `others`: they are of other agents.
pub(super) fn repeated(again: &[&Earlier], others: bool) -> Option<Fact> {
    let last = again.first()?;
    let (calls, which) = earlier_calls(again, others);
    Some(of_call(&format!("The same amount to the same account as {calls}{which}"), last))
}

/// Earlier calls and how they ended, and the words before the last one of them.
fn earlier_calls(all: &[&Earlier], others: bool) -> (String, &'static str) {
    if let [one] = all {
        let whose = if others { " of another agent" } else { "" };
        return (format!("an earlier call{whose} ({})", ended(one.phase).1), ": ");
    }
    let whose = if others { " of other agents" } else { "" };
    (format!("{} earlier calls{whose} ({})", all.len(), ends(all)), ", the last one ")
}

/// How often and in which currencies a payee was paid.
pub(super) fn paid_in(paid: &[&Earlier], codes: &[&str]) -> String {
    let one = codes.len() == 1;
    let codes = listed(codes);
    match (times(paid), paid.len()) {
        (Some(times), 1) => format!("{} before, in {codes}", capital(&times)),
        (Some(times), _) if one => format!("{} before, always in {codes}", capital(&times)),
        (Some(times), _) => format!("{} before, in {codes}", capital(&times)),
        (None, 1) => format!("An earlier call to this payee was in {codes}"),
        (None, many) if one => format!("{many} earlier calls to this payee, all in {codes}"),
        (None, many) => format!("{many} earlier calls to this payee, in {codes}"),
    }
}

/// `paid 12 times`, of those calls that were approved. `None` if none was: what was only asked for pays nothing.
pub(super) fn times(all: &[&Earlier]) -> Option<String> {
    let approved: Vec<_> = all.iter().filter(|one| one.is_approved()).collect();
    let is_paid = |one: &&&Earlier| {
        one.money.is_some() && matches!(one.phase, Phase::Redeemed | Phase::Completed)
    };
    let word = if approved.iter().all(is_paid) { "paid" } else { "approved" };
    match approved.len() {
        0 => None,
        1 => Some(format!("{word} once")),
        many => Some(format!("{word} {many} times")),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// No call with this tool before. `elsewhere`: calls with other tools.
pub(super) fn first_with_tool(elsewhere: Option<&BTreeMap<String, usize>>) -> Fact {
    let count: usize = elsewhere.into_iter().flat_map(BTreeMap::values).sum();
    if count == 0 {
        return Fact::ours(Weight::Agent, "Its first call with this tool.");
    }
    let tools: Vec<&String> = elsewhere.into_iter().flat_map(BTreeMap::keys).collect();
    let calls = match count {
        1 => "its other call was".to_owned(),
        _ => format!("its {count} other calls were"),
    };
    let mut parts = vec![Part::Ours(format!("Its first call with this tool: {calls} with "))];
    for (at, tool) in tools.iter().take(NAMED_MAX).enumerate() {
        if at > 0 {
            parts.push(Part::ours(", "));
        }
        parts.push(Part::quoted(tool));
    }
    let more = if tools.len() > NAMED_MAX { " and others." } else { "." };
    parts.push(Part::ours(more));
    // One or two calls are no habit.
    let weight = if count >= USUAL_FROM { Weight::Tells } else { Weight::Agent };
    Fact::new(weight, parts)
}

/// Calls with this tool before, and none with this action.
pub(super) fn first_action(action: &str, own: &[&Earlier]) -> Fact {
    let count = own.len();
    let mut parts = vec![Part::ours("Its first "), Part::quoted(&foreign::name(action))];
    let same = own.iter().all(|one| one.action == own[0].action);
    if same {
        parts.push(Part::Ours(format!(" with this tool: its last {count} calls were ")));
        parts.extend([Part::quoted(&foreign::name(&own[0].action)), Part::ours(".")]);
    } else {
        parts.push(Part::Ours(format!(" in its last {count} calls with this tool.")));
    }
    Fact::new(Weight::Tells, parts)
}

/// How many of the last calls went to the account, as a sentence.
pub(super) fn went(before: usize, count: usize) -> String {
    match (before, count) {
        (_, 1) => "Its last call went to this account.".into(),
        (all, count) if all == count => {
            format!("All of its last {count} calls went to this account.")
        }
        (1, _) => format!("One of its last {count} calls went to this account."),
        (some, _) => format!("{some} of its last {count} calls went to this account."),
    }
}

/// The last calls with this tool: the largest amount of each currency, that of this call first, and how they ended.
pub(super) fn last_calls(own: &[&Earlier], code: Option<&str>) -> String {
    let mut most: BTreeMap<(bool, &str), i64> = BTreeMap::new();
    for (minor, other) in own.iter().filter_map(|one| one.money.as_ref()) {
        let known = most.entry((Some(other.as_str()) != code, other)).or_insert(*minor);
        *known = (*known).max(*minor);
    }
    let amount = |((_, code), minor): (&(bool, &str), &i64)| display::amount(*minor, code);
    let mut amounts: Vec<String> = most.iter().filter_map(amount).collect();
    let more = amounts.len().saturating_sub(NAMED_MAX);
    amounts.truncate(NAMED_MAX);
    let more = if more > 0 {
        format!(" and {}", counted(more, "more currency", "more currencies"))
    } else {
        String::new()
    };
    let most = if amounts.is_empty() {
        String::new()
    } else {
        let amounts: Vec<&str> = amounts.iter().map(String::as_str).collect();
        let listed = if more.is_empty() { listed(&amounts) } else { amounts.join(", ") };
        format!(", at most {listed}{more}")
    };
    let (calls, ends) = match own {
        [one] => ("call".to_owned(), ended(one.phase).1.to_owned()),
        _ => (format!("{} calls", own.len()), ends(own)),
    };
    format!("Its last {calls} with this tool{most}: {ends}.")
}

/// `EUR`, `EUR and USD`, `EUR, JPY and USD`
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// How a call ended: its place in the order, and the word.
pub(super) fn ended(phase: Phase) -> (u8, &'static str) {
    match phase {
        Phase::Granted | Phase::Minted | Phase::Redeemed | Phase::Completed => (0, "approved"),
        Phase::Failed | Phase::Unknown => (1, "approved, but failed or unknown"),
        Phase::Denied => (2, "denied"),
        Phase::Revoked => (3, "taken back"),
        Phase::Expired | Phase::Lapsed => (4, "expired"),
        Phase::Cancelled | Phase::Superseded => (5, "cancelled"),
        Phase::None | Phase::Pending => (6, "waiting"),
    }
}

/// How they ended: `3 approved, 1 denied`.
fn ends(earlier: &[&Earlier]) -> String {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    for one in earlier {
        *counts.entry(ended(one.phase)).or_default() += 1;
    }
    let words = counts.into_iter().map(|((_, word), count)| format!("{count} {word}"));
    words.collect::<Vec<_>>().join(", ")
}
