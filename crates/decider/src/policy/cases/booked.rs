//! What a test says is booked on budgets before its call.

use crate::policy::{fields::MapReader, yaml::Yaml};
use std::collections::BTreeMap;

/// What there is of budgets and rates before the call.
#[derive(Clone, Debug)]
pub(super) struct Before {
    /// What is booked on budgets, by their names: millionths of a currency for costs, minor units for amounts.
    pub(super) booked: BTreeMap<String, u64>,
    /// Rates that have no call left.
    pub(super) used_up: Vec<String>,
}

pub(super) fn read(fields: &mut MapReader<'_>) -> Before {
    Before { booked: booked(fields), used_up: used_up(fields) }
}

fn booked(fields: &mut MapReader<'_>) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let Some(mut named) = fields.fields("booked") else { return found };
    for (name, at, node) in named.rest() {
        let sum = match &node.value {
            Yaml::Integer(sum) => u64::try_from(*sum).ok(),
            Yaml::Text(cost) => ledger::budget::millionths(cost),
            _ => None,
        };
        match sum {
            Some(sum) => drop(found.insert(name, sum)),
            None => named.wrong(at, "what is booked on a budget: a whole number for calls and minor units, a text such as \"19.98\" for costs"),
        }
    }
    found
}

fn used_up(fields: &mut MapReader<'_>) -> Vec<String> {
    fields.texts("used_up").unwrap_or_default().into_iter().map(|(name, _)| name).collect()
}
