//! Disclosed fields of entries: each name of an entry has one value, wherever it was disclosed.

use super::{Failure, export::Whole};
use ledger::entry::{Kind, View};
use std::collections::BTreeMap;

/// The file that disclosed a field, and the value.
type Said = (String, String);

/// Disclosures outside of an export.
#[derive(Default)]
pub(super) struct Fields(BTreeMap<u64, BTreeMap<String, Said>>);

impl Fields {
    /// Adds verified disclosures of an entry.
    pub(super) fn take(
        &mut self,
        place: &str,
        index: u64,
        shown: &[(String, String)],
    ) -> Result<(), Failure> {
        self.compare(place, index, shown)?;
        let fields = self.0.entry(index).or_default();
        for (name, value) in shown {
            fields.entry(name.clone()).or_insert_with(|| (place.to_owned(), value.clone()));
        }
        Ok(())
    }

    /// Compares disclosures with those that were added. The leaf commits to each, so two values of one name
    /// mean that the log lies.
    pub(super) fn compare(
        &self,
        place: &str,
        index: u64,
        shown: &[(String, String)],
    ) -> Result<(), Failure> {
        let Some(fields) = self.0.get(&index) else { return Ok(()) };
        for (name, value) in shown {
            if let Some((other, _)) = fields.get(name).filter(|(_, known)| known != value) {
                let text = format!(
                    "{other} and {place} contradict each other: entry {index} commits to two values of `{name}`"
                );
                return Err(Failure::Contradiction(text));
            }
        }
        Ok(())
    }

    /// Disclosed fields that a log erased, in the form `name of entry 7 (file)`.
    pub(super) fn erased(&self, whole: &Whole) -> Vec<String> {
        let mut told = Vec::new();
        for (index, fields) in &self.0 {
            let shown: Vec<_> =
                fields.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect();
            let entry = whole.entry(*index);
            let kind = entry.as_deref().and_then(View::parse).map_or(Kind::Event, |view| view.kind);
            for name in whole.erased().judge((*index, kind), shown.len(), &shown).still_here {
                let place = fields.get(&name).map_or("", |(place, _)| place.as_str());
                told.push(format!("{name} of entry {index} ({place})"));
            }
        }
        told
    }
}
