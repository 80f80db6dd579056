//! Compares what an export discloses with what its entries commit to and what its erasure entries erased
//! (P11).

use crate::{
    entry::{Kind, Payload, View},
    erased::Expired,
    json::Value,
    system::{
        prune::Prune,
        retention::{Expire, RetentionBody},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// What was erased or has expired, by the entries of a log.
#[derive(Clone, Debug, Default)]
pub struct Erased {
    whole: BTreeSet<u64>,
    fields: BTreeMap<u64, BTreeSet<String>>,
    /// Entries whose payload is gone as a whole.
    expired: Expired,
    /// Entries before this leaf index were pruned. Exports may still have their payload.
    pruned: u64,
}

/// State of one entry's disclosures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Number of fields that the entry commits to, that are not disclosed, and that no erasure explains.
    pub missing: usize,
    /// Names of fields that were erased and are still disclosed.
    pub still_here: Vec<String>,
}

impl Erased {
    /// Takes the erasure entry at index `at`. Returns the index of the erased entry.
    pub fn take(&mut self, at: u64, view: &View<'_>) -> Result<u64, &'static str> {
        let index =
            view.at(&["event", "index"]).and_then(Value::as_u64).filter(|index| *index < at);
        let index = index.ok_or("an erasure of no earlier entry")?;
        match view.at(&["event", "fields"]).and_then(Value::as_array) {
            None => drop(self.whole.insert(index)),
            Some(names) => {
                let names = names.iter().filter_map(Value::as_str).map(str::to_owned);
                self.fields.entry(index).or_default().extend(names);
            }
        }
        Ok(index)
    }

    /// What was erased of one entry.
    #[must_use]
    pub fn of(&self, index: u64) -> Self {
        let fields = self.fields.get(&index).map(|names| (index, names.clone()));
        Self {
            whole: self.whole.get(&index).copied().into_iter().collect(),
            fields: fields.into_iter().collect(),
            expired: self.expired,
            pruned: self.pruned,
        }
    }

    /// Takes a retention or prune entry: what it lets expire or prunes is gone.
    pub fn expire(&mut self, view: &View<'_>) {
        if view.kind == Kind::Prune {
            let prune = view.event_as::<Prune>();
            return self.prune(prune.map_or(0, |prune| prune.size));
        }
        match view.event_as() {
            Some(RetentionBody::Expire(Expire { below, .. })) => {
                self.expired.below = self.expired.below.max(below);
            }
            Some(RetentionBody::Delete(_)) => self.expired.all = true,
            _ => {}
        }
    }

    /// The payload of the entries before `size` was pruned with them.
    pub fn prune(&mut self, size: u64) {
        self.pruned = self.pruned.max(size);
    }

    /// Adds erasures from other entries.
    pub fn add(&mut self, other: &Self) {
        self.expired.below = self.expired.below.max(other.expired.below);
        self.expired.all |= other.expired.all;
        self.prune(other.pruned);
        self.whole.extend(&other.whole);
        for (index, names) in &other.fields {
            self.fields.entry(*index).or_default().extend(names.iter().cloned());
        }
    }

    /// Judges the verified names and values `shown` of entry `index`, of that kind, which commits to `committed` fields.
    ///
    /// A digest does not reveal its name, so for an erasure of named fields only their number is compared.
    pub fn judge(
        &self,
        (index, kind): (u64, Kind),
        committed: usize,
        shown: &[(String, String)],
    ) -> Standing {
        let names = || shown.iter().map(|(name, _)| name);
        if self.whole.contains(&index) || self.expired.has(index, kind) {
            return Standing { missing: 0, still_here: names().cloned().collect() };
        }
        let none = BTreeSet::new();
        let erased = self.fields.get(&index).unwrap_or(&none);
        let still_here: Vec<String> =
            names().filter(|name| erased.contains(*name)).cloned().collect();
        let explained = erased.len() - still_here.len();
        let missing = committed.saturating_sub(shown.len()).saturating_sub(explained);
        let missing = if index < self.pruned { 0 } else { missing };
        Standing { missing, still_here }
    }
}

/// Names of the fields that a payload still discloses.
pub fn disclosed_names(payload: &Payload) -> Vec<String> {
    payload.disclosures.iter().filter_map(|text| Payload::name(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        fields: Option<&[&str]>,
        committed: usize,
        shown: &[&str],
        missing: usize,
        here: &[&str],
    ) {
        let mut erased = Erased::default();
        match fields {
            None => drop(erased.whole.insert(7)),
            Some([]) => {}
            Some(names) => {
                erased.fields.insert(7, names.iter().map(|name| (*name).to_owned()).collect());
            }
        }
        let shown: Vec<_> = shown.iter().map(|name| ((*name).to_owned(), "1".into())).collect();
        let standing = erased.judge((7, Kind::Decision), committed, &shown);
        assert_eq!(
            (standing.missing, standing.still_here),
            (missing, here.iter().map(|name| (*name).to_owned()).collect())
        );
    }

    #[test]
    fn p11_what_is_missing_was_erased() {
        check(Some(&[]), 2, &["a", "b"], 0, &[]);
        check(Some(&[]), 2, &["a"], 1, &[]);
        check(Some(&[]), 2, &[], 2, &[]);
        check(None, 2, &[], 0, &[]);
        check(None, 2, &["a"], 0, &["a"]);
        check(Some(&["a"]), 2, &["b"], 0, &[]);
        check(Some(&["a"]), 2, &[], 1, &[]);
        check(Some(&["a"]), 2, &["a"], 1, &["a"]);
        check(Some(&["a"]), 2, &["a", "b"], 0, &["a"]);
        check(Some(&["a", "no such"]), 2, &["b"], 0, &[]);
    }

    #[test]
    fn p20_what_expired_is_gone_and_policies_stay() {
        let erased = Erased { expired: Expired { below: 8, all: false }, ..Erased::default() };
        let shown = [("a".to_owned(), "1".to_owned())];
        let gone = |missing, still_here: &[&str]| Standing {
            missing,
            still_here: still_here.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(erased.judge((7, Kind::Decision), 2, &[]), gone(0, &[]));
        assert_eq!(erased.judge((7, Kind::Decision), 2, &shown), gone(0, &["a"]));
        assert_eq!(erased.judge((8, Kind::Decision), 2, &[]), gone(2, &[]));
        assert_eq!(erased.judge((7, Kind::Policy), 1, &[]), gone(1, &[]));
        assert_eq!(erased.judge((7, Kind::Policy), 1, &shown), gone(0, &[]));
        let deleted = Erased { expired: Expired { below: 8, all: true }, ..erased };
        assert_eq!(deleted.judge((9, Kind::Policy), 1, &[]), gone(0, &[]));
    }
}
