//! Reads a condition on earlier decisions from a policy.

use super::{COUNT_MAX, History, Query, within::seconds};
use crate::policy::{
    bounds::Bounds,
    fields::{MapReader, text_of},
    pointer::Pointer,
    yaml::Yaml,
};
use ledger::history::{ACTIONS_MAX, Outcome, Same, VERDICTS};
use std::collections::{BTreeMap, BTreeSet};

/// Most pairs of pointers.
const EQUAL_MAX: usize = 4;

impl History {
    pub(in crate::policy) fn read(mut fields: MapReader<'_>) -> Option<Self> {
        let at = fields.at;
        let call = fields.fields("call");
        if call.is_none() && !fields.has("call") {
            fields.wrong(at, "add call: {tool: …, actions: […]}: the earlier calls that count");
        }
        let call = call.and_then(of_call);
        let verdicts = verdicts(&mut fields);
        let outcomes = outcomes(&mut fields);
        let equal = equal(&mut fields);
        let within = within(&mut fields);
        let same = same(&mut fields);
        let count = count(&mut fields);
        fields.finish();
        let (tool, actions) = call?;
        let texts = equal.iter().map(|(here, there)| (here.to_string(), there.to_string()));
        let (equal_texts, within, same, verdicts) =
            (texts.collect::<BTreeMap<_, _>>(), within?, same?, verdicts?);
        let query = Query { same, tool, actions, verdicts, outcomes, equal: equal_texts, within };
        Some(Self { query, equal, count: count? })
    }
}

/// `call: {tool: payments, actions: [transfer]}`
fn of_call(mut fields: MapReader<'_>) -> Option<(String, BTreeSet<String>)> {
    let tool = fields.must("tool", "the tool of the earlier calls");
    let tool = tool.and_then(|node| text_of(node, "tool", fields.mistakes));
    let at = fields.at;
    if !fields.has("actions") {
        fields.wrong(at, "add actions: [transfer]: the actions of the earlier calls");
    }
    let actions: BTreeSet<String> =
        fields.texts("actions").unwrap_or_default().into_iter().map(|(text, _)| text).collect();
    if actions.len() > ACTIONS_MAX {
        fields.wrong(at, format!("history counts calls of at most {ACTIONS_MAX} actions"));
    }
    if let Some((tool, at)) = tool.as_ref().filter(|(tool, _)| tool == "*") {
        fields.wrong(*at, format!("{tool:?}: history counts calls of one tool: name it"));
    }
    fields.finish();
    Some((tool?.0, actions)).filter(|(_, actions)| !actions.is_empty())
}

fn verdicts(fields: &mut MapReader<'_>) -> Option<BTreeSet<String>> {
    let at = fields.at;
    if !fields.has("verdicts") {
        fields.wrong(at, "add verdicts: [allow]: the verdicts of the earlier decisions");
    }
    let mut found = BTreeSet::new();
    for (text, at) in fields.texts("verdicts")? {
        if !VERDICTS.contains(&&*text) {
            fields.wrong(
                at,
                format!("{text:?}: verdicts are allow, sanitize, approval_needed and deny"),
            );
        }
        found.insert(text);
    }
    Some(found).filter(|found| !found.is_empty())
}

fn outcomes(fields: &mut MapReader<'_>) -> BTreeSet<Outcome> {
    let mut found = BTreeSet::new();
    for (text, at) in fields.texts("outcome").unwrap_or_default() {
        match Outcome::of(&text) {
            Some(outcome) => drop(found.insert(outcome)),
            None => fields.wrong(
                at,
                format!("{text:?}: outcome lists succeeded, failed, not_started and unknown"),
            ),
        }
    }
    found
}

/// `equal: {/payee: /payee}`
fn equal(fields: &mut MapReader<'_>) -> Vec<(Pointer, Pointer)> {
    let Some(mut pairs) = fields.fields("equal") else { return Vec::new() };
    let (at, mistakes) = (pairs.at, pairs.mistakes);
    let mut found = Vec::new();
    for (here, place, node) in pairs.rest() {
        let Some((there, there_at)) = text_of(node, &here, mistakes) else { continue };
        let read = |text: &str, at| match Pointer::new(text) {
            Ok(pointer) if pointer.is_many() => {
                mistakes.note(at, "equal compares one value: no `*` here");
                None
            }
            Ok(pointer) => Some(pointer),
            Err(why) => {
                mistakes.note(at, why);
                None
            }
        };
        let pair = (read(&here, place), read(&there, there_at));
        found.extend(pair.0.zip(pair.1));
    }
    if found.is_empty() || found.len() > EQUAL_MAX {
        mistakes.note(
            at,
            format!("equal has 1 to {EQUAL_MAX} pairs of pointers: {{/payee: /payee}}: the first into this call, the second into the earlier one"),
        );
    }
    found
}

fn within(fields: &mut MapReader<'_>) -> Option<u64> {
    let node = fields.must("within", "how far it looks back, for example 24h")?;
    let (text, at) = text_of(node, "within", fields.mistakes)?;
    let found = seconds(&text);
    if found.is_none() {
        fields.wrong(at, format!("within {text:?}: write a number with s, m, h or d, at most 31d"));
    }
    found
}

fn same(fields: &mut MapReader<'_>) -> Option<Same> {
    let node = fields.must("same", "agent, session or run")?;
    let (text, at) = text_of(node, "same", fields.mistakes)?;
    let found = Same::of(&text);
    if found.is_none() {
        fields.wrong(at, format!("{text:?}: same is agent, session or run"));
    }
    found
}

/// `count: {min: 1, max: 3}`
fn count(fields: &mut MapReader<'_>) -> Option<Bounds> {
    let node = fields.must("count", "how many: {max: 0}, {min: 1}, or both")?;
    let at = node.at;
    if !matches!(node.value, Yaml::Map(_)) {
        fields.wrong(at, "count has min, max, or both: {max: 0}");
        return None;
    }
    let mut count = MapReader::of(node, "count", fields.mistakes)?;
    let mut bound = |name| {
        let number = count.integer(name)?;
        if !(0..=COUNT_MAX).contains(&number) {
            count.wrong(at, format!("{name} is 0 to {COUNT_MAX}"));
        }
        Some(i128::from(number.clamp(0, COUNT_MAX)))
    };
    let bounds = Bounds { at_least: bound("min"), at_most: bound("max"), ..Bounds::default() };
    count.finish();
    if bounds == Bounds::default() {
        fields.wrong(at, "count has min, max, or both: {max: 0}");
    }
    if bounds.are_empty() {
        fields.wrong(at, "no count is within these bounds: min is above max");
    }
    if bounds.at_least == Some(0) && bounds.at_most.is_none() {
        fields.wrong(at, "every count is 0 or more: this is always true");
    }
    Some(bounds)
}
