//! Disclosed fields of entries: one name of one entry has one value, wherever it was disclosed.

use super::{Failure, export::Whole};
use std::collections::BTreeMap;

/// Where a field was disclosed, and its value.
type Said = (String, String);

/// What was disclosed outside of an export.
#[derive(Default)]
pub(super) struct Fields(BTreeMap<u64, BTreeMap<String, Said>>);

impl Fields {
    /// Takes verified disclosures of an entry.
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

    /// Holds disclosures against those that were taken. The leaf commits to each; two of one name are a log's lie.
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

    /// Where fields were disclosed that a log erased: `name of entry 7 (file)`.
    pub(super) fn erased(&self, whole: &Whole) -> Vec<String> {
        let mut told = Vec::new();
        for (index, fields) in &self.0 {
            let shown: Vec<_> =
                fields.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect();
            for name in whole.erased().judge(*index, shown.len(), &shown).still_here {
                let place = fields.get(&name).map_or("", |(place, _)| place.as_str());
                told.push(format!("{name} of entry {index} ({place})"));
            }
        }
        told
    }
}
