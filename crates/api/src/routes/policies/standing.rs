//! Lists that have entries of their own, when a bundle is proposed: they stay as they are, and nobody finds out later.

use crate::problem::{Code, Problem};
use approvals::{
    deciding::{Loaded, lists_at},
    worker::Worker,
};
use decider::policy::{Bundle, Mistake, items_alone_in};
use ledger::system::policy::list_path;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Most items that a mistake names.
const NAMED_MAX: usize = 5;

/// A bundle with the lists in force, and in words which of its files do not count because their lists stay.
pub(super) fn standing(worker: &Worker, bundle: &Bundle) -> Result<(Bundle, Vec<String>), Problem> {
    let log = worker.commands.reader_log();
    let unread = |why: String| Problem::new(Code::PolicyUnreadable, format!("Lists: {why}."));
    let own = tokio::task::block_in_place(|| lists_at(log, &BTreeMap::new())).map_err(unread)?;
    let with = bundle.clone().with_lists(&own).map_err(|first| unread(first.to_string()))?;
    let differing = own.iter().filter(|(name, _)| bundle.items(name) != with.items(name));
    let told = differing.map(|(name, list)| {
        let count = with.items(name).map_or(0, HashSet::len);
        format!("list {name}: version {} stays in force, with {count} items; its file in this bundle does not count", list.version)
    });
    let told = told.collect();
    Ok((with, told))
}

/// The items that are only in the file, and those that are only in force.
fn apart(file: &HashSet<String>, in_force: &HashSet<String>) -> String {
    let only = |what: &str, set, other| {
        let items = items_alone_in(set, other, NAMED_MAX);
        (!items.is_empty()).then(|| format!("nly {what}: [{items}]"))
    };
    let parts = [only("here", file, in_force), only("in force", in_force, file)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("O{}", parts.join("; o"))
}

/// Every list of the policies in force, in short.
pub fn lists_told(loaded: &Loaded) -> Vec<Value> {
    let Loaded { bundle, lists, .. } = loaded;
    let one = |name: &str| {
        json!({
            "name": name, "version": bundle.list_version(name),
            "items": bundle.items(name).map_or(0, HashSet::len),
            "index": lists.get(name).map(|list| list.index),
            "named_by": bundle.naming(name),
        })
    };
    bundle.lists().map(one).collect()
}

/// Mistakes in a bundle that somebody writes: a changed file of a list that stays as it is, and items that the bundle's
/// clauses can't use.
pub(super) fn mistakes(worker: &Worker, bundle: &Bundle) -> Result<Vec<Mistake>, Problem> {
    let (with, _) = standing(worker, bundle)?;
    let before = worker.desk.in_force().ok().flatten();
    let mut found = Vec::new();
    for name in with.lists().filter(|name| with.list_version(name) > 0) {
        let path = list_path(name);
        let note = |text: String| Mistake { file: path.clone(), line: 1, column: 1, text };
        let (Some(file), Some(in_force)) = (bundle.items(name), with.items(name)) else { continue };
        let part = |bundle: &Bundle| bundle.parts().iter().find(|part| part.path == path).cloned();
        let untouched = before.as_ref().is_some_and(|b| part(&b.bundle) == part(bundle));
        if file != in_force && !file.is_empty() && !untouched {
            found.push(note(format!(
                "version {} of this list is in force and stays, whatever this file says. {}. \
                 Change items with `countersign list add` and `remove`; here write the items in force, or none",
                with.list_version(name),
                apart(file, in_force)
            )));
        }
        let mut unfit: Vec<_> =
            in_force.iter().filter_map(|item| Some((item, bundle.unfit(name, item)?))).collect();
        unfit.sort_unstable();
        let unfit = unfit.into_iter().take(NAMED_MAX);
        found.extend(unfit.map(|(item, why)| note(format!("the item in force {item:?}: {why}"))));
    }
    Ok(found)
}
