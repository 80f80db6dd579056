//! Reads bundles from the log: the entry that names the parts, the parts, and what they say.

use crate::log::Log;
use decider::policy::{Bundle, Mistake};
use ledger::{entry::View, store, system::policy::BundleEntry};
use std::sync::{Arc, RwLock};

/// A bundle, read from the log.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub bundle: Bundle,
    /// Version of the bundle.
    pub version: u64,
    /// Leaf index of the entry that proposed it.
    pub index: u64,
    /// Its files, by path.
    pub files: Vec<(String, String)>,
}

/// The entry at a leaf index, if it proposes a bundle.
pub fn bundle_entry(entry: &[u8]) -> Option<BundleEntry> {
    BundleEntry::of(&View::parse(entry)?)
}

/// The bundle in force, read once.
pub(super) struct Bundles {
    log: Arc<dyn Log>,
    kept: RwLock<Option<Arc<Loaded>>>,
}

impl Bundles {
    pub(super) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, kept: RwLock::default() }
    }

    /// The bundle in force at the last published entry.
    pub(super) fn in_force(&self) -> Result<Option<Arc<Loaded>>, String> {
        let Some(wanted) = self.log.policies().in_force else { return Ok(None) };
        let kept = self.kept.read().expect("no holder of the lock panics").clone();
        if let Some(kept) =
            kept.filter(|kept| kept.bundle.digest() == wanted.digest && kept.index == wanted.bundle)
        {
            return Ok(Some(kept));
        }
        let loaded = Arc::new(load(&*self.log, wanted.bundle)?);
        if loaded.bundle.digest() != wanted.digest {
            return Err(format!("entry {} has another digest than its parts", wanted.bundle));
        }
        *self.kept.write().expect("no holder of the lock panics") = Some(Arc::clone(&loaded));
        Ok(Some(loaded))
    }
}

/// Reads the bundle that the entry at `index` proposes.
pub fn load(log: &dyn Log, index: u64) -> Result<Loaded, String> {
    let failed = |error: store::Error| error.to_string();
    let entry = log.entry(index).map_err(failed)?.ok_or(format!("there is no entry {index}"))?;
    let proposed = bundle_entry(&entry).ok_or(format!("entry {index} proposes no bundle"))?;
    let mut files = Vec::with_capacity(proposed.parts.len());
    for part in &proposed.parts {
        let gone = || format!("{}: its content (entry {}) is not here", part.path, part.index);
        let entry = log.entry(part.index).map_err(failed)?.ok_or_else(gone)?;
        let payload = log.payload(part.index, &entry).map_err(failed)?;
        let content = payload.value("content").ok_or_else(gone)?;
        let content: String = serde_json::from_slice(&content).map_err(|_| gone())?;
        files.push((part.path.clone(), content));
    }
    let told = |first: Mistake| format!("this release can't read them: {first}");
    let bundle = Bundle::read_again(&files).map_err(told)?;
    Ok(Loaded { bundle, version: proposed.version, index, files })
}
