//! The newest checkpoints with the cosignatures that came, a bounded number of them.

use ledger::{
    Ledger,
    log::{cosignature, merkle, merkle::Hash},
    reader::Published,
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most checkpoints of a log that are kept.
const KEPT_MAX: usize = 8;

/// A checkpoint and its cosignatures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Noted {
    /// The note as the log has signed it.
    pub(super) note: String,
    /// Its root.
    pub(super) root: Hash,
    /// A line of each witness, by name.
    pub(super) lines: BTreeMap<String, String>,
}

impl Noted {
    /// The note with its cosignatures.
    pub(super) fn with_lines(&self) -> String {
        let lines = self.lines.values().map(String::as_str);
        std::iter::once(self.note.as_str()).chain(lines).collect()
    }
}

/// What is kept of one log, by size.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept(BTreeMap<u64, Noted>);

impl Kept {
    /// What was stored, as far as it is still of this log and its witnesses: everything is verified again.
    pub(super) fn load(
        (ledger, tenant): (&Ledger, &Tenant),
        published: &Published,
        witnesses: &[&super::Witness],
    ) -> Self {
        let stored = ledger.witnessed(tenant).ok().flatten();
        let stored = stored.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        let Some(Self(mut noted)) = stored else { return Self::default() };
        let reader = ledger.reader(tenant, published);
        noted.retain(|size, one| {
            let is_ours = *size <= published.size
                && merkle::root_at(&reader, *size).is_ok_and(|root| root == one.root)
                && states(&one.note, (&tenant.origin, *size, &one.root));
            one.lines.retain(|name, line| {
                let witness = witnesses.iter().find(|witness| witness.name.as_str() == *name);
                witness.is_some_and(|witness| {
                    let keys = std::slice::from_ref(&witness.key);
                    cosignature::open(&format!("{}{line}", one.note), keys)
                        .is_ok_and(|found| found.len() == 1)
                })
            });
            is_ours && !one.lines.is_empty()
        });
        Self(noted)
    }

    /// A published checkpoint that witnesses are asked for.
    pub(super) fn begin(&mut self, published: &Published) {
        let (note, root) = (published.checkpoint.clone(), published.root);
        self.0.entry(published.size).or_insert_with(|| Noted {
            note,
            root,
            lines: BTreeMap::new(),
        });
        while self.0.len() > KEPT_MAX {
            // The newest one that is witnessed stays, however far the log goes on without its witnesses.
            let newest = self.0.iter().rev().find(|(_, noted)| !noted.lines.is_empty());
            let newest = newest.map(|(size, _)| *size);
            let Some(oldest) = self.0.keys().copied().find(|size| Some(*size) != newest) else {
                break;
            };
            self.0.remove(&oldest);
        }
    }

    /// Adds a verified cosignature. False if its checkpoint is no longer kept.
    pub(super) fn add(&mut self, size: u64, witness: &str, line: String) -> bool {
        let Some(noted) = self.0.get_mut(&size) else { return false };
        noted.lines.insert(witness.to_owned(), line);
        true
    }

    /// The cosignatures of exactly this note.
    pub(super) fn lines(&self, note: &str) -> Vec<String> {
        let noted = self.0.values().find(|noted| noted.note == note);
        noted.map(|noted| noted.lines.values().cloned().collect()).unwrap_or_default()
    }

    /// Of the checkpoints of `size` or larger: the newest of those with most cosignatures.
    pub(super) fn best(&self, size: u64) -> Option<(u64, &Noted)> {
        let fitting = self.0.range(size..).filter(|(_, noted)| !noted.lines.is_empty());
        fitting
            .max_by_key(|(size, noted)| (noted.lines.len(), **size))
            .map(|(s, noted)| (*s, noted))
    }

    /// The newest size that a witness has cosigned.
    pub(super) fn newest_of(&self, witness: &str) -> u64 {
        let of = self.0.iter().rev().find(|(_, noted)| noted.lines.contains_key(witness));
        of.map_or(0, |(size, _)| *size)
    }

    /// The newest size that any witness has cosigned; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        let newest = self.0.iter().rev().find(|(_, noted)| !noted.lines.is_empty());
        newest.map_or(0, |(size, _)| *size)
    }

    /// What is stored: only what somebody has cosigned.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let cosigned = self.0.iter().filter(|(_, noted)| !noted.lines.is_empty());
        let cosigned: BTreeMap<&u64, &Noted> = cosigned.collect();
        serde_json::to_vec(&cosigned).unwrap_or_default()
    }
}

/// True if a note states this tree.
fn states(note: &str, (origin, size, root): (&str, u64, &Hash)) -> bool {
    note.starts_with(&format!("{origin}\n{size}\n{root}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(sizes: &[(u64, &[&str])]) -> Kept {
        let noted = |names: &[&str]| Noted {
            note: String::new(),
            root: merkle::empty_root(),
            lines: names.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
        };
        Kept(sizes.iter().map(|(size, names)| (*size, noted(names))).collect())
    }

    #[test]
    fn p21_the_best_has_most_cosignatures_and_is_the_newest_of_them() {
        let check = |kept: &Kept, size: u64, best: Option<u64>| {
            assert_eq!(kept.best(size).map(|(size, _)| size), best, "from {size}");
        };
        let both = kept(&[(1, &["a", "b"]), (5, &["a", "b"]), (7, &["a"]), (9, &[])]);
        check(&both, 0, Some(5));
        check(&both, 5, Some(5));
        check(&both, 6, Some(7));
        check(&both, 8, None);
    }
}
