//! Reads bundles from the log: the entry that names the parts, the parts, the versions of lists, and what they say.

use crate::log::Log;
use decider::policy::{Bundle, Mistake, OwnList, OwnLists};
use ledger::{
    entry::View,
    post::ListInForce,
    store,
    system::policy::{BundleEntry, ListForm},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

/// A bundle, read from the log.
#[derive(Debug)]
pub struct Loaded {
    /// What it says, with the lists in force.
    pub bundle: Bundle,
    /// Version of the bundle.
    pub version: u64,
    /// Leaf index of the entry that proposed it.
    pub index: u64,
    /// Its files, by path.
    pub files: Vec<(String, String)>,
    /// The lists with entries of their own, by name.
    pub lists: BTreeMap<String, ListInForce>,
}

/// The entry at a leaf index, if it proposes a bundle.
pub fn bundle_entry(entry: &[u8]) -> Option<BundleEntry> {
    BundleEntry::of(&View::parse(entry)?)
}

/// The bundle in force, read once.
pub(crate) struct Bundles {
    log: Arc<dyn Log>,
    kept: RwLock<Option<Arc<Loaded>>>,
}

impl Bundles {
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, kept: RwLock::default() }
    }

    /// The bundle with this digest and version, with the lists at these versions, by name. `None` if it is not in the log.
    /// Of one that is not in force, [`Loaded::lists`] is empty: it was judged by versions, not by entries.
    pub(crate) fn at(
        &self,
        (digest, version): (&str, u64),
        lists: &BTreeMap<String, u64>,
    ) -> Result<Option<Arc<Loaded>>, String> {
        // Nearly always it is the one in force, which is at hand.
        let has_lists = |kept: &Loaded| {
            let is_later = |name: &str, now: u64| lists.get(name).is_some_and(|then| *then < now);
            !kept.lists.iter().any(|(name, list)| is_later(name, list.version))
        };
        let is_wanted = |kept: &Loaded| {
            kept.version == version && kept.bundle.digest() == digest && has_lists(kept)
        };
        if let Ok(Some(kept)) = self.in_force()
            && is_wanted(&kept)
        {
            return Ok(Some(kept));
        }
        let mut next = self.log.policies().last;
        while let Some(index) = next {
            let entry = self.log.entry(index).map_err(told)?.unwrap_or_default();
            let Some(proposed) = bundle_entry(&entry) else { break };
            if proposed.version == version && proposed.digest == digest {
                let own = lists_at(&*self.log, lists)?;
                let mut loaded = load(&*self.log, index, &BTreeMap::new())?;
                loaded.bundle =
                    loaded.bundle.with_lists(&own).map_err(|first| first.to_string())?;
                return Ok(Some(Arc::new(loaded)));
            }
            next = proposed.previous;
        }
        Ok(None)
    }

    /// The bundle in force at the last published entry, with the lists in force there.
    pub(crate) fn in_force(&self) -> Result<Option<Arc<Loaded>>, String> {
        let policies = self.log.policies();
        let Some(wanted) = policies.in_force else { return Ok(None) };
        let kept = self.kept.read().expect("no holder of the lock panics").clone();
        let is_wanted = |kept: &Arc<Loaded>| {
            kept.bundle.digest() == wanted.digest
                && kept.index == wanted.bundle
                && kept.lists == policies.lists
        };
        if let Some(kept) = kept.filter(is_wanted) {
            return Ok(Some(kept));
        }
        let loaded = Arc::new(load(&*self.log, wanted.bundle, &policies.lists)?);
        if loaded.bundle.digest() != wanted.digest {
            return Err(format!("entry {} has another digest than its parts", wanted.bundle));
        }
        *self.kept.write().expect("no holder of the lock panics") = Some(Arc::clone(&loaded));
        Ok(Some(loaded))
    }
}

/// Reads the bundle that the entry at `index` proposes, with these versions of lists.
pub fn load(
    log: &dyn Log,
    index: u64,
    lists: &BTreeMap<String, ListInForce>,
) -> Result<Loaded, String> {
    let entry = log.entry(index).map_err(told)?.ok_or(format!("there is no entry {index}"))?;
    let proposed = bundle_entry(&entry).ok_or(format!("entry {index} proposes no bundle"))?;
    let mut files = Vec::with_capacity(proposed.parts.len());
    for part in &proposed.parts {
        files.push((part.path.clone(), content(log, &part.path, part.index)?));
    }
    let unread = |first: Mistake| format!("this release can't read them: {first}");
    let bundle = Bundle::read_again(&files).map_err(unread)?;
    let mut own = OwnLists::new();
    for (name, list) in lists.iter().filter(|(name, _)| bundle.items(name).is_some()) {
        let content = content(log, name, list.part)?;
        own.insert(name.clone(), OwnList { version: list.version, content });
    }
    let bundle = bundle.with_lists(&own).map_err(unread)?;
    let (version, lists) = (proposed.version, lists.clone());
    Ok(Loaded { bundle, version, index, files, lists })
}

/// The files of those versions of lists, for a bundle that was judged by them. `wanted`: the versions by name. Of a list
/// that has no such version, the one in force counts.
pub fn lists_at(log: &dyn Log, wanted: &BTreeMap<String, u64>) -> Result<OwnLists, String> {
    let mut own = OwnLists::new();
    for (name, list) in log.policies().lists {
        let (mut version, mut part, mut at) = (list.version, list.part, list.list);
        let wanted = wanted.get(&name).copied().unwrap_or(version).min(version);
        while version > wanted {
            if version == 1 {
                version = 0;
                break;
            }
            // The entry of a version names that of the version before.
            let form = form_at(log, at)?;
            at = form.replaces;
            let before = form_at(log, at)?;
            (version, part) = (before.version, before.part.index);
        }
        if version > 0 {
            let content = content(log, &name, part)?;
            own.insert(name, OwnList { version, content });
        }
    }
    Ok(own)
}

fn form_at(log: &dyn Log, index: u64) -> Result<ListForm, String> {
    let entry = log.entry(index).map_err(told)?.unwrap_or_default();
    let form = View::parse(&entry).as_ref().and_then(ListForm::of);
    form.ok_or(format!("entry {index} proposes no version of a list"))
}

/// The file that the part at `index` holds.
pub fn content(log: &dyn Log, name: &str, index: u64) -> Result<String, String> {
    let gone = || format!("{name}: its content (entry {index}) is not here");
    let entry = log.entry(index).map_err(told)?.ok_or_else(gone)?;
    let payload = log.payload(index, &entry).map_err(told)?;
    let content = payload.value("content").ok_or_else(gone)?;
    serde_json::from_slice(&content).map_err(|_| gone())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn told(error: store::Error) -> String {
    error.to_string()
}
