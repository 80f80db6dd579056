//! Makes erasure messages: the entry, and every journal message that goes, with all the entries that it gave.

use super::{Error, Ledger};
use crate::{
    entry::{Kind, View},
    gone::{Erasure, Gone, Leaf},
    ident::Ident,
    journal::Subject,
    log::merkle::leaf_hash,
    post::{Erasing, SYSTEM},
    store::{self, Family, LogNumber},
    system::By,
    tenant::Tenant,
};

fn corrupt(what: &'static str) -> store::Error {
    store::Error::Corrupt { family: "entries", what }
}

impl Ledger {
    /// The erasure of the payload of entry `index` with the messages at `repeats` (epoch and sequence, in order): its own
    /// message comes from its entries.
    ///
    /// Errors: [`Error::Unknown`] where no entry stands, [`Error::NotErasable`] for one that has no payload.
    pub async fn erasure(
        &self,
        tenant: &Tenant,
        index: u64,
        repeats: &[(u64, u64)],
        by: By,
    ) -> Result<Erasure<Leaf>, Error> {
        let entry = self.entry(tenant, index)?.ok_or(Error::Unknown)?;
        let view = View::parse(&entry).ok_or_else(|| corrupt("an entry"))?;
        if !view.kind.is_erasable() {
            return Err(Error::NotErasable { index, kind: view.kind });
        }
        let subject = self.subject_of(tenant, &view).await?;
        let own = Gone {
            epoch: view.origin.epoch,
            seq: view.origin.seq,
            subject: subject.clone(),
            leaves: self.leaves_beside(tenant, index, &view)?,
        };
        let repeated = |place: &(u64, u64)| Gone {
            epoch: place.0,
            seq: place.1,
            subject: subject.clone(),
            leaves: Vec::new(),
        };
        let mut messages: Vec<Gone<Leaf>> =
            std::iter::once(own).chain(repeats.iter().map(repeated)).collect();
        messages.sort_by_key(|gone| (gone.epoch, gone.seq));
        let leaf_hash = leaf_hash(&entry);
        Ok(Erasure { index, leaf_hash, fields: None, by, reason: None, messages })
    }

    /// All leaves of the message that gave this entry. They are its neighbours.
    fn leaves_beside(
        &self,
        tenant: &Tenant,
        index: u64,
        view: &View<'_>,
    ) -> Result<Vec<Leaf>, Error> {
        let place = (view.origin.epoch, view.origin.seq);
        let beside = |at: u64| -> Result<Option<Vec<u8>>, Error> {
            let Some(entry) = self.entry(tenant, at)? else { return Ok(None) };
            let view = View::parse(&entry).ok_or_else(|| corrupt("an entry"))?;
            let same = (view.origin.epoch, view.origin.seq) == place && view.kind != Kind::Journal;
            Ok(same.then_some(entry))
        };
        let mut first = index;
        while first > 0 && beside(first - 1)?.is_some() {
            first -= 1;
        }
        let mut leaves = Vec::new();
        while let Some(entry) = beside(first)? {
            let leaf = serde_json::from_slice(&entry).map_err(|_| corrupt("an entry"))?;
            leaves.push(leaf);
            first += 1;
        }
        Ok(leaves)
    }

    /// The subject of an entry's message. `None` if the entry does not name it and the message is gone.
    async fn subject_of(&self, tenant: &Tenant, view: &View<'_>) -> Result<Option<String>, Error> {
        if view.origin.epoch == tenant.position().epoch
            && let Some(message) = tenant.journal().get(view.origin.seq).await?
            && let Some(subject) = message.subject
        {
            return Ok(Some(subject.to_string()));
        }
        if let Some(producer) = view.text(&["producer"]).and_then(|name| Ident::new(name).ok()) {
            // Which server decided is not in the entry, and the message is gone.
            let ours = view.is_ours() || view.is_result();
            let subject =
                if ours { Subject::verdicts(producer) } else { Subject::Decisions(producer) };
            return Ok(Some(subject.to_string()));
        }
        if view.kind == Kind::Evidence {
            let id = view.text(&["event", "approval_id"]).unwrap_or(SYSTEM);
            return Ok(Some(format!("evidence.{id}")));
        }
        Ok(None)
    }

    /// Other journal messages with the event of entry `index`, and the keys of the index rows that name them.
    pub(crate) fn repeats_of(
        &self,
        number: LogNumber,
        index: u64,
    ) -> Result<Vec<(Vec<u8>, Erasing)>, store::Error> {
        let prefix = number.numbered(index);
        let mut repeats = Vec::new();
        self.store.scan(Family::Repeats, &prefix, |key, _| {
            let place =
                key.strip_prefix(&prefix[..]).and_then(|rest| rest.split_first_chunk::<8>());
            let Some((epoch, seq)) = place else { return false };
            if let Ok(seq) = <[u8; 8]>::try_from(seq) {
                let (epoch, seq) = (u64::from_be_bytes(*epoch), u64::from_be_bytes(seq));
                repeats.push((key.to_vec(), Erasing { index, epoch, seq }));
            }
            true
        })?;
        Ok(repeats)
    }

    /// As [`Ledger::repeats_of`]: epoch and sequence of the first `max` of them.
    pub fn places_of_repeats(
        &self,
        tenant: &Tenant,
        index: u64,
        max: usize,
    ) -> Result<Vec<(u64, u64)>, store::Error> {
        let repeats = self.repeats_of(tenant.number, index)?;
        Ok(repeats.into_iter().map(|(_, e)| (e.epoch, e.seq)).take(max).collect())
    }
}
