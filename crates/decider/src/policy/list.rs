//! `NamedLists` by name: hosts, payees, image digests.

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

    /// True if there is a list of this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
