//! Lists by name: hosts, payees, image digests.

use super::{
    ITEMS_MAX,
    bounds::Truth,
    fields::{MapReader, language, text_of},
    mistakes::Mistakes,
    yaml::Node,
};
use std::collections::{BTreeMap, HashSet};

/// Longest item, in bytes.
const ITEM_BYTES_MAX: usize = 256;

/// Most items that a change of a list names.
const NAMED_MAX: usize = 10;

/// The lists of a bundle.
#[derive(Clone, Debug, Default)]
pub(super) struct NamedLists(BTreeMap<String, HashSet<String>>);

impl NamedLists {
    /// Reads `lists/<name>.yaml`.
    pub(super) fn read(&mut self, name: &str, node: Node, mistakes: &Mistakes<'_>) {
        let at = node.at;
        let Some(mut fields) = MapReader::of(node, "a list", mistakes) else { return };
        language(&mut fields);
        let _ = fields.words("title");
        let mut items = HashSet::new();
        for node in fields.list("items").unwrap_or_default() {
            let Some((item, at)) = text_of(node, "an item", mistakes) else { continue };
            if item.is_empty() || item.len() > ITEM_BYTES_MAX || item.chars().any(char::is_control)
            {
                mistakes.note(
                    at,
                    format!("an item has 1 to {ITEM_BYTES_MAX} bytes, without control characters"),
                );
            }
            if !items.insert(item) {
                mistakes.note(at, "this item is in the list twice: remove one");
            }
        }
        fields.finish();
        self.0.insert(name.to_owned(), items);
        if self.0.values().map(HashSet::len).sum::<usize>() > ITEMS_MAX {
            mistakes.note(at, format!("all lists together have at most {ITEMS_MAX} items"));
        }
    }

    pub(super) fn has(&self, name: &str, text: &str) -> Truth {
        self.0
            .get(name)
            .map_or(Truth::Error("a list that is not there"), |items| items.contains(text).into())
    }

    /// As [`has`](Self::has) for a host: the list may hold patterns such as `*.bank.example`.
    pub(super) fn has_host(&self, name: &str, host: &str) -> Truth {
        let Some(items) = self.0.get(name) else { return Truth::Error("a list that is not there") };
        let mut parents = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
        (items.contains(host) || parents.any(|pattern| items.contains(&pattern))).into()
    }

    /// The items of a list that `fits` refuses, in order.
    pub(super) fn misfits(&self, name: &str, fits: impl Fn(&str) -> bool) -> Vec<&String> {
        let items = self.0.get(name).into_iter().flatten();
        let mut found: Vec<_> = items.filter(|item| !fits(item)).collect();
        found.sort_unstable();
        found
    }

    /// True if there is a list of this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Calls `note` with name and change of each list that differs from `after`.
    pub(super) fn changes(&self, after: &Self, mut note: impl FnMut(&str, String)) {
        for (name, items) in &after.0 {
            let nothing = HashSet::new();
            let before = self.0.get(name).unwrap_or(&nothing);
            let (come, gone) = (named(items, before), named(before, items));
            if !come.is_empty() || !gone.is_empty() {
                note(name, format!("new: [{come}]; gone: [{gone}]"));
            }
        }
        for name in self.0.keys().filter(|name| !after.0.contains_key(*name)) {
            note(name, "removed".into());
        }
    }
}

/// The items that are in `set` alone, in order; the first of them, if there are many.
fn named(set: &HashSet<String>, other: &HashSet<String>) -> String {
    let mut items: Vec<&String> = set.difference(other).collect();
    items.sort_unstable();
    let shown: Vec<String> = items.iter().take(NAMED_MAX).map(|item| format!("{item:?}")).collect();
    let more = items.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
