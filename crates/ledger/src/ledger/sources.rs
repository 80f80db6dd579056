//! The sources that must report, and what sources reported.

use super::Ledger;
use crate::{
    disclosure::Scope,
    entry::View,
    post::{Reported, reported_key, source_key},
    sequence::Sequence,
    store::{self, Family, Read as _},
    system::sources::{Declared, Sources},
    tenant::Tenant,
    time::Nanos,
};

/// A `sources` entry.
#[derive(Clone, Debug)]
pub struct SourcesEntry {
    /// Its leaf index.
    pub index: u64,
    /// Its `journal.time`.
    pub time: Nanos,
    /// Its body.
    pub body: Sources,
}

impl Ledger {
    /// The sources that must report: the last `sources` entry. It may be ahead of what is published.
    pub fn sources(&self, tenant: &Tenant) -> Result<Option<SourcesEntry>, store::Error> {
        let Some(index) = tenant.position().sources else { return Ok(None) };
        let corrupt = || store::Error::Corrupt { family: "entries", what: "the last sources" };
        let entry = self.entry(tenant, index)?.ok_or_else(corrupt)?;
        let view = View::parse(&entry).ok_or_else(corrupt)?;
        let body = view.event_as().ok_or_else(corrupt)?;
        Ok(Some(SourcesEntry { index, time: view.origin.time, body }))
    }

    /// What a declared source reported. `None` if it never did. The row is not proven: `fsck` judges it.
    pub fn reported(
        &self,
        tenant: &Tenant,
        declared: &Declared,
    ) -> Result<Option<Reported>, store::Error> {
        let Declared { producer, source, .. } = declared;
        let scope = Scope { producer: producer.as_str(), source, id: "", ours: false };
        let key = tenant.number.key(&reported_key(scope));
        let row = self.store.get(Family::Reports, &key)?;
        row.map(|row| store::read_json(&row, "reports")).transpose()
    }

    /// How many numbers of a declared source are known to be missing now, whether it published or asked us.
    pub fn missing(&self, tenant: &Tenant, declared: &Declared) -> Result<u64, store::Error> {
        let Declared { producer, source, .. } = declared;
        let mut missing = 0_u64;
        for ours in [false, true] {
            let scope = Scope { producer: producer.as_str(), source, id: "", ours };
            let row = self.store.get(Family::Sources, &tenant.number.key(&source_key(scope)))?;
            let Some(row) = row else { continue };
            let sequence: Sequence = store::read_json(&row, "sources")?;
            let gaps = sequence.gaps().iter().map(|gap| (gap.to - gap.from).saturating_add(1));
            missing = gaps.fold(missing, u64::saturating_add);
        }
        Ok(missing)
    }

    /// What all sources reported, in no order. At most `max` of them, and whether these are all.
    pub fn all_reported(
        &self,
        tenant: &Tenant,
        max: usize,
    ) -> Result<(Vec<Reported>, bool), store::Error> {
        let prefix = tenant.number.key(&[]);
        let (mut found, mut all) = (Vec::new(), true);
        self.store.scan(Family::Reports, &prefix, |key, row| {
            if !key.starts_with(&prefix) {
                return false;
            }
            all = found.len() < max;
            if all {
                found.push(store::read_json(row, "reports"));
            }
            all
        })?;
        Ok((found.into_iter().collect::<Result<_, _>>()?, all))
    }
}
