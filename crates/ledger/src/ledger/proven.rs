//! Proven reads: entries proven to the published root, and their payload. Decisions rest on these only.

use super::Ledger;
use crate::{
    disclosure,
    entry::{Kind, Payload, View},
    gone::Erasure,
    ident::Ident,
    log::merkle::{Hash, leaf_hash},
    post::APPROVAL,
    proven::{Tree, missing},
    reader::Published,
    store::{self, Family, LogNumber, Read as _},
    tenant::Tenant,
};
use std::collections::BTreeSet;

fn corrupt(family: &'static str, what: &'static str) -> store::Error {
    store::Error::Corrupt { family, what }
}

/// An entry, and the epoch and sequence of a journal message that goes with its payload.
pub type ToErase = (u64, (u64, u64));

impl Ledger {
    fn tree<'a>(&'a self, number: LogNumber, at: &'a Published) -> Tree<'a> {
        let (edge, pruned) = (&at.edge, at.pruned);
        Tree { store: &*self.store, number, edge, known: &self.proven_tiles, pruned }
    }

    /// A posted entry, proven to the published root. `None` if nothing is posted at `index`. Entries beyond
    /// the published size were written by this process.
    pub fn entry(&self, tenant: &Tenant, index: u64) -> Result<Option<Vec<u8>>, store::Error> {
        let published = tenant.published();
        if index < published.size {
            return self.tree(tenant.number, &published).entry(index).map(Some);
        }
        self.store.get(Family::Entries, &tenant.number.numbered(index))
    }

    /// Visits the published entries `from..to` in order. Those of earlier processes are proven; those of this
    /// process are known. `to` is at most the published size.
    pub fn entries(
        &self,
        tenant: &Tenant,
        (from, to): (u64, u64),
        mut visit: impl FnMut(u64, &[u8]),
    ) -> Result<(), store::Error> {
        self.leaves(tenant, (from, to), |index, entry, _| visit(index, entry))
    }

    /// The same, with the hash of each leaf.
    pub fn leaves(
        &self,
        tenant: &Tenant,
        (from, to): (u64, u64),
        mut visit: impl FnMut(u64, &[u8], Hash),
    ) -> Result<(), store::Error> {
        let (number, published) = (tenant.number, tenant.published());
        let tree = self.tree(number, &published);
        let (mut index, mut failed) = (from, None);
        self.store.scan(Family::Entries, &number.numbered(from), |key, entry| {
            if index >= to || key != number.numbered(index) {
                return false;
            }
            let (ours, hash) = (index >= tenant.opened_size(), leaf_hash(entry));
            match if ours { Ok(()) } else { tree.prove_hash(index, hash) } {
                Ok(()) => visit(index, entry, hash),
                Err(error) => failed = Some(error),
            }
            index += 1;
            failed.is_none()
        })?;
        match failed {
            Some(error) => Err(error),
            None if index < to => Err(missing(index, tree.pruned)),
            None => Ok(()),
        }
    }

    /// The remaining payload of `entry`, the proven bytes at `index`. Every disclosure must fit the leaf, and
    /// none may be there twice.
    pub fn payload_of(
        &self,
        tenant: &Tenant,
        index: u64,
        entry: &[u8],
    ) -> Result<Payload, store::Error> {
        let payload = crate::erased::left(&*self.store, tenant.number, index)?;
        let payload = payload.ok_or_else(|| corrupt("payload", "a payload"))?;
        let view = View::parse(entry).ok_or_else(|| corrupt("entries", "an entry"))?;
        let mut digests: BTreeSet<&str> = view.payload().collect();
        let mut disclosures = payload.disclosures.iter();
        let fits = disclosures.all(|text| digests.remove(disclosure::digest(text).as_str()));
        if fits { Ok(payload) } else { Err(corrupt("payload", "a disclosure of another leaf")) }
    }

    /// The `approval` entries of `id` after leaf index `from`, the newest first. Found by walking
    /// `prior.approval` back from the last leaf, which proves that none is missing.
    pub fn approval_entries_after(
        &self,
        tenant: &Tenant,
        id: &Ident,
        from: u64,
    ) -> Result<Vec<u64>, store::Error> {
        let mut found = Vec::new();
        let mut next = tenant.position().prior.approval;
        while let Some(index) = next.filter(|index| *index > from) {
            let entry = self.entry(tenant, index)?;
            let view = entry.as_deref().and_then(View::parse);
            let view = view.ok_or_else(|| corrupt("entries", "an approval's entry"))?;
            if view.text(&["event", "approval_id"]) == Some(id.as_str()) {
                found.push(index);
            }
            next = view.prior.approval.filter(|prior| *prior < index);
        }
        Ok(found)
    }

    /// Those of the given pairs (entry, and epoch and sequence of a message) that no `erasure` entry names.
    /// Found by walking `prior.system` back from the last leaf.
    pub fn unnamed_among(
        &self,
        tenant: &Tenant,
        mut wanted: BTreeSet<ToErase>,
    ) -> Result<BTreeSet<ToErase>, store::Error> {
        let mut next = tenant.position().prior.system;
        // An erasure comes after the entry that it erases.
        while let (Some(index), Some((first, _))) = (next, wanted.first().copied())
            && index > first
        {
            let entry = self.entry(tenant, index)?;
            let view = entry.as_deref().and_then(View::parse);
            let view = view.ok_or_else(|| corrupt("entries", "a system entry"))?;
            if view.kind == Kind::Erasure
                && let Some(erasure) = view.event_as::<Erasure<Hash>>()
            {
                for gone in erasure.messages {
                    wanted.remove(&(erasure.index, (gone.epoch, gone.seq)));
                }
            }
            next = view.prior.system.filter(|prior| *prior < index);
        }
        Ok(wanted)
    }

    /// The `approval` entries of `id` that the index names, oldest first. The index is not proven: rows may be
    /// missing.
    pub fn indexed_approval(&self, tenant: &Tenant, id: &Ident) -> Result<Vec<u64>, store::Error> {
        let all = self.of_approval(tenant, id)?;
        Ok(all.into_iter().filter(|(_, kind)| *kind == APPROVAL).map(|(index, _)| index).collect())
    }
}
