//! Lists by name: hosts, payees, image digests. Their items are those of the bundle, until a list has entries of its
//! own.

use super::{
    ITEMS_MAX, LANGUAGE,
    bounds::Truth,
    fields::{MapReader, language, text_of},
    form::Form,
    mistakes::{Mistake, Mistakes},
    yaml::{self, Node},
};
use ledger::{foreign, system::policy::list_path};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::BuildHasher,
};

/// Longest item, in bytes.
pub const ITEM_BYTES_MAX: usize = 256;

/// Most items that one change adds and removes: people read each of them.
pub const CHANGED_MAX: usize = 200;

/// Most items that the difference of two bundles names, of each list.
const NAMED_MAX: usize = 10;

/// A version of a list that has entries of its own: its file counts in place of the bundle's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnList {
    /// The version, 1 or later.
    pub version: u64,
    /// The file.
    pub content: String,
}

/// Those lists, by name.
pub type OwnLists = BTreeMap<String, OwnList>;

/// A version of a list that people are asked about: the params of the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListProposal {
    /// The list.
    pub list: String,
    /// Its version.
    pub version: u64,
    /// Leaf index of the entry that proposed it.
    pub entry: u64,
    /// Digest of the version.
    pub digest: String,
    /// Items that it adds, in order.
    pub added: Vec<String>,
    /// Items that it removes, in order.
    pub removed: Vec<String>,
    /// Number of its items.
    pub items: usize,
    /// The clauses that name the list, each with what it says.
    pub named_by: Vec<String>,
}

/// The items of a list's file.
///
/// Errors: the first mistake.
pub fn items_of(name: &str, content: &str) -> Result<BTreeSet<String>, Mistake> {
    let path = list_path(name);
    let mistakes = Mistakes::of(&path);
    let mut lists = NamedLists::default();
    if let Some(node) = yaml::read(content.as_bytes(), &mistakes) {
        lists.read(name, node, &mistakes);
    }
    match mistakes.finish().into_iter().next() {
        Some(first) => Err(first),
        None => Ok(lists.0.remove(name).unwrap_or_default().items.into_iter().collect()),
    }
}

/// The file of a version of a list. `salt`: random, so that the file's digest says nothing of the items.
pub fn file_of(items: &BTreeSet<String>, salt: &str) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    // JSON is the same document. One item on a line can be read, and nothing more, so that as many as can be fit.
    let items: Vec<String> = items.iter().map(|item| format!("\n {}", quoted(item))).collect();
    let (salt, items) = (quoted(salt), items.join(","));
    format!("{{\"language\": {LANGUAGE}, \"salt\": {salt}, \"items\": [{items}\n]}}\n")
}

/// Why a text can't be an item.
pub fn fault_of(item: &str) -> Option<&'static str> {
    if item.is_empty() || item.len() > ITEM_BYTES_MAX {
        Some("an item has 1 to 256 bytes")
    } else if item.trim() != item {
        Some("an item has no blanks at its ends")
    } else if foreign::harmless(item) != item {
        Some(
            "an item has no control characters, and none that are invisible or change the direction",
        )
    } else if !item.is_ascii() && !unicode_normalization::is_nfc(item) {
        Some("an item is in Unicode's form NFC: otherwise nothing can match it")
    } else {
        None
    }
}

/// A list.
#[derive(Clone, Debug, Default)]
struct NamedList {
    items: HashSet<String>,
    /// What each item looks like, if the bundle's file says so.
    form: Option<Form>,
}

/// The lists of a bundle.
#[derive(Clone, Debug, Default)]
pub(super) struct NamedLists(BTreeMap<String, NamedList>);

impl NamedLists {
    /// Reads `lists/<name>.yaml`.
    pub(super) fn read(&mut self, name: &str, node: Node, mistakes: &Mistakes<'_>) {
        let at = node.at;
        let Some(mut fields) = MapReader::of(node, "a list", mistakes) else { return };
        language(&mut fields);
        let _ = fields.words("title");
        let _ = fields.text("salt");
        let form = Form::read(&mut fields);
        let mut items = HashSet::new();
        for node in fields.list("items").unwrap_or_default() {
            let Some((item, at)) = text_of(node, "an item", mistakes) else { continue };
            let unfit = || form.as_ref().and_then(|form| form.fault(&item));
            if let Some(fault) = fault_of(&item).or_else(unfit) {
                mistakes.note(at, format!("{}: {fault}", foreign::word(&item)));
            }
            if !items.insert(item) {
                mistakes.note(at, "this item is in the list twice: remove one");
            }
        }
        fields.finish();
        self.0.insert(name.to_owned(), NamedList { items, form });
        if self.count() > ITEMS_MAX {
            mistakes.note(at, format!("all lists together have at most {ITEMS_MAX} items"));
        }
    }

    /// Items of all lists.
    pub(super) fn count(&self) -> usize {
        self.0.values().map(|list| list.items.len()).sum()
    }

    /// Puts other items in place of those of a list.
    pub(super) fn put(&mut self, name: &str, items: BTreeSet<String>) {
        self.0.entry(name.to_owned()).or_default().items = items.into_iter().collect();
    }

    /// Why a text is not of the form that the list's file names.
    pub(super) fn unfit(&self, name: &str, item: &str) -> Option<&'static str> {
        self.0.get(name)?.form.as_ref()?.fault(item)
    }

    /// Names of the lists, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The items of a list.
    pub(super) fn items(&self, name: &str) -> Option<&HashSet<String>> {
        self.0.get(name).map(|list| &list.items)
    }

    pub(super) fn has(&self, name: &str, text: &str) -> Truth {
        self.items(name)
            .map_or(Truth::Error("a list that is not there"), |items| items.contains(text).into())
    }

    /// As [`has`](Self::has) for a host: the list may hold patterns such as `*.bank.example`.
    pub(super) fn has_host(&self, name: &str, host: &str) -> Truth {
        let Some(items) = self.items(name) else { return Truth::Error("a list that is not there") };
        let mut parents = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
        (items.contains(host) || parents.any(|pattern| items.contains(&pattern))).into()
    }

    /// The items of a list that `fits` refuses, in order.
    pub(super) fn misfits(&self, name: &str, fits: impl Fn(&str) -> bool) -> Vec<&String> {
        let items = self.items(name).into_iter().flatten();
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
        for (name, NamedList { items, form }) in &after.0 {
            let nothing = NamedList::default();
            let NamedList { items: before, form: was } = self.0.get(name).unwrap_or(&nothing);
            if items.is_empty() && !self.0.contains_key(name) {
                note(name, "new: no items".into());
            }
            if was != form {
                let told =
                    |form: &Option<Form>| form.as_ref().map_or("none".into(), Form::to_string);
                note(name, format!("form of the items: was {}, is {}", told(was), told(form)));
            }
            let (come, gone) = (
                items_alone_in(items, before, NAMED_MAX),
                items_alone_in(before, items, NAMED_MAX),
            );
            if !come.is_empty() || !gone.is_empty() {
                let parts = [("new", come), ("gone", gone)];
                let parts = parts.iter().filter(|(_, items)| !items.is_empty());
                let parts: Vec<String> =
                    parts.map(|(what, items)| format!("{what}: [{items}]")).collect();
                note(name, parts.join("; "));
            }
        }
        for name in self.0.keys().filter(|name| !after.0.contains_key(*name)) {
            note(name, "removed".into());
        }
    }
}

/// The items that are in `set` alone, in order; the first `most` of them, if there are more.
pub fn items_alone_in<S: BuildHasher>(
    set: &HashSet<String, S>,
    other: &HashSet<String, S>,
    most: usize,
) -> String {
    let mut items: Vec<&String> = set.difference(other).collect();
    items.sort_unstable();
    let shown: Vec<String> = items.iter().take(most).map(|item| format!("{item:?}")).collect();
    let more = items.len().saturating_sub(most);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(item: &str, fits: bool) {
        assert_eq!(fault_of(item).is_none(), fits, "{item:?}");
    }

    #[test]
    fn p13_items_are_what_they_look_like() {
        for fits in [
            "a",
            "*.bank.example",
            "sha256:ab",
            "M\u{fc}ller GmbH",
            "\u{65e5}\u{672c}",
            &"x".repeat(ITEM_BYTES_MAX),
        ] {
            check(fits, true);
        }
        let long = "x".repeat(ITEM_BYTES_MAX + 1);
        for unfit in [
            "",
            " ",
            " a",
            "a\u{a0}",
            "a\nb",
            "a\u{0}",
            "a\u{202e}b",
            "a\u{200b}b",
            "Mu\u{308}ller",
            &long,
        ] {
            check(unfit, false);
        }
    }

    #[test]
    fn p15_a_file_that_the_server_writes_is_read_as_it_was_meant() {
        let items: BTreeSet<String> =
            ["no", "1e2", "\"", "a: b", "# x", "\\", "2026-12-25", "\u{e9}"]
                .map(str::to_owned)
                .into();
        let text = file_of(&items, "c2FsdA");
        assert_eq!(items_of("l", &text).unwrap(), items);
        assert_ne!(file_of(&items, "other"), text, "the salt is in the file");
        assert_eq!(items_of("l", &file_of(&BTreeSet::new(), "s")).unwrap(), BTreeSet::new());
    }
}
