//! A promise about lost messages binds the cosigner, whatever comes into its database: a replica that is begun anew from another one may
//! get with it what it has promised never to post (P21).
//!
//! Then no majority can have cosigned what a majority has promised not to post, nor ever will: two majorities have a member in common.

use super::Quorum;
use crate::{
    log::{checkpoint::Checkpoint, members},
    store,
};

impl Quorum {
    /// Why this replica must not cosign a tree of that size: an entry in it is of a message that it has promised never to post, and no
    /// majority has cosigned that entry. A majority that did so has no need of this replica, and leaves none to the promises.
    pub(super) fn kept_promises(&self, size: u64) -> Result<(), String> {
        let broken = self.promised_here().map_err(|error| error.to_string())?;
        let open = broken.iter().find(|index| **index < size && !self.is_cosigned(**index));
        open.map_or(Ok(()), |index| {
            Err(format!(
                "it has promised never to post the message that gave entry {index}, and no majority has cosigned that entry: it has come \
                 from another replica. It waits for the others"
            ))
        })
    }

    /// Leaf indexes of the entries here that are of promised messages: the first one of each promise. They were here when this process
    /// began, because it posts none.
    fn promised_here(&self) -> Result<&[u64], store::Error> {
        if let Some(known) = self.promised.get() {
            return Ok(known);
        }
        let (tenant, position) = (&self.tenant, self.tenant.position());
        let mut found = Vec::new();
        for promise in self.guard.promises().of(&tenant.origin) {
            match self.ledger.gave(tenant, &position, promise) {
                Ok((_, first)) => found.extend(first.map(|(index, _)| index)),
                // Only what a majority has cosigned is pruned.
                Err(store::Error::Pruned { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.promised.get_or_init(|| found))
    }

    /// True if a majority has cosigned the entry at `index` as it is here.
    pub(super) fn is_cosigned(&self, index: u64) -> bool {
        let newest = self.seen.borrow().newest.clone();
        newest.is_some_and(|newest| {
            let Checkpoint { size, root, .. } = newest.checkpoint;
            let sets = self.replica().sets();
            let in_force = members::in_force(&sets, size).map_or(0, |set| set.version);
            let judged = !newest.is_vouched && newest.version == in_force && index < size;
            judged && self.ledger.stored_root(&self.tenant, size).is_ok_and(|own| own == root)
        })
    }
}
