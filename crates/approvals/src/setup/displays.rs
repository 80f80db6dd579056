//! Reads the `[[display]]` tables of `rules.toml`.

use super::file::{File, Table, texts};
use crate::display::{DISPLAYS_MAX, Display, FIELDS_MAX, Kind, LABEL_CHARS_MAX, MoneyAt, Title};
use iso_currency::Currency;
use ledger::foreign::is_hidden;
use std::collections::BTreeMap;

const POINTERS: &str = "a list of JSON Pointers, each beginning with `/`";
const LABELS: &str = "a table: JSON Pointers, each with a text";
const KINDS: &str =
    "a table: JSON Pointers, each with plain, money, time, account, text, list, link or country";

/// Reads the tables and notes their mistakes.
pub(super) fn read(file: &File<'_>, tables: Vec<Table<'_>>) -> Vec<Display> {
    if let Some(first) = tables.get(DISPLAYS_MAX) {
        file.mistake(first.at, format!("at most {DISPLAYS_MAX} displays: remove some"));
    }
    tables.into_iter().take(DISPLAYS_MAX).map(display).collect()
}

fn display(mut table: Table<'_>) -> Display {
    let tool = texts(&mut table, "tool");
    let action = texts(&mut table, "action");
    let title = title(&mut table);
    let amount = table.table("amount").and_then(amount);
    let lead = pointers(&mut table, "lead");
    let labels = labels(&mut table);
    let count = pointers(&mut table, "count");
    let kinds = table.take::<BTreeMap<String, Kind>>("kinds", KINDS);
    for pointer in kinds.iter().flat_map(|(kinds, _)| kinds.keys()) {
        is_pointer(&table, (pointer, kinds.as_ref().map_or(0, |(_, at)| *at)), "kinds");
    }
    let kinds = kinds.map(|(kinds, _)| kinds).unwrap_or_default();
    if title.is_none() && lead.is_empty() && amount.is_none() {
        table.mistake(table.at, "a display has a title, an amount or lead fields: add one");
    }
    let places = title.as_ref().is_some_and(Title::has_amount);
    if places && amount.is_none() {
        table.mistake(table.at, "the title has {amount}: add amount = {minor = …, currency = …}");
    }
    table.finish("tool, action, title, amount, lead, labels, count and kinds");
    Display { tool, action, title, amount, lead, labels, count, kinds }
}

fn title(table: &mut Table<'_>) -> Option<Title> {
    let expected = "a text with places, e.g. \"{amount} to {/to/name}\"";
    let (text, at) = table.take::<String>("title", expected)?;
    match Title::new(&text) {
        Ok(title) => Some(title),
        Err(wrong) => {
            table.mistake(at, wrong);
            None
        }
    }
}

fn amount(mut table: Table<'_>) -> Option<MoneyAt> {
    let minor = table.must::<String>("minor", "JSON Pointer to the amount in integer minor units");
    let currency =
        table.must::<String>("currency", "JSON Pointer to the ISO 4217 code, or the code itself");
    if let Some((minor, at)) = &minor {
        is_pointer(&table, (minor, *at), "minor");
    }
    if let Some((code, at)) = currency.as_ref().filter(|(code, _)| !code.starts_with('/'))
        && Currency::from_code(code).is_none()
    {
        table.mistake(*at, format!("{code:?} is no JSON Pointer and no code of ISO 4217"));
    }
    table.finish("minor and currency");
    Some(MoneyAt { minor: minor?.0, currency: currency?.0 })
}

fn pointers(table: &mut Table<'_>, name: &str) -> Vec<String> {
    let Some((pointers, at)) = table.take::<Vec<String>>(name, POINTERS) else { return Vec::new() };
    if pointers.len() > FIELDS_MAX {
        table.mistake(at, format!("{name} has at most {FIELDS_MAX} fields: remove some"));
    }
    for pointer in &pointers {
        is_pointer(table, (pointer, at), name);
    }
    pointers
}

fn labels(table: &mut Table<'_>) -> BTreeMap<String, String> {
    let Some((labels, at)) = table.take::<BTreeMap<String, String>>("labels", LABELS) else {
        return BTreeMap::new();
    };
    for (pointer, label) in &labels {
        is_pointer(table, (pointer, at), "labels");
        let length = label.chars().count();
        if !(1..=LABEL_CHARS_MAX).contains(&length) || label.chars().any(is_hidden) {
            let what = format!("a label has 1 to {LABEL_CHARS_MAX} visible characters");
            table.mistake(at, what);
        }
    }
    labels
}

fn is_pointer(table: &Table<'_>, (pointer, at): (&String, usize), name: &str) {
    if !pointer.starts_with('/') {
        let what = format!("{name}: {pointer:?} is no JSON Pointer: begin with `/`");
        table.mistake(at, what);
    }
}
