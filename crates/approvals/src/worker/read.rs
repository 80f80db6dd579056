//! Reading an approval so that nobody who can write the database decides what it is.
//!
//! Entries are proven to the root in memory (`Ledger::entry`). The index that names them is not: a row of it may be gone.
//! So what the index gives is held against what the follower has seen, which reads every entry of the log in order,
//! from a sealed place on.

use super::{Error, Worker, brief::over_since};
use crate::history::Approval;
use decider::decision::Decision;
use ledger::{
    ident::Ident,
    store::{self, Error::Corrupt},
};

/// What a missing row of the index of approvals is reported as.
pub(super) fn rows_missing() -> store::Error {
    Corrupt { family: "approvals", what: "an approval's entries are not all in the index" }
}

impl Worker {
    /// An approval as it is posted; `None` if nothing was posted for this id. What is known to be missing halts the log.
    pub(super) fn read(&self, id: &Ident) -> Result<Option<Approval>, Error> {
        // First what is known, then what is read: it can only have become more in between.
        let (known, followed) = {
            let room = self.room.lock().expect("no holder of the lock panics");
            (room.find(id).map(|approval| approval.last), room.followed)
        };
        let read = Approval::read(&self.ledger, &self.tenant, id);
        let read = read.map_err(|error| self.distrust(error))?;
        let sound = match (known, &read) {
            (Some(last), Some(approval)) => approval.last_index() >= last,
            (Some(_), None) => false,
            // The follower would know it, were it not over.
            (None, Some(approval)) => {
                over_since(approval).is_some() || approval.last_index() >= followed
            }
            (None, None) => true,
        };
        if sound { Ok(read) } else { Err(self.distrust(rows_missing())) }
    }

    /// Before a decision that was posted by an earlier process is opened: no approval of it was ever posted. Proven by
    /// walking back from the last leaf, because the index may lack all its rows.
    pub(super) fn never_opened(&self, decision: &Decision) -> Result<(), Error> {
        if decision.index >= self.tenant.opened_size() {
            return Ok(());
        }
        let walk =
            || self.ledger.approval_entries_after(&self.tenant, &decision.id, decision.index);
        let found = tokio::task::block_in_place(walk).map_err(|error| self.distrust(error))?;
        // One that another worker has opened just now is in the index by now.
        let indexed = self.ledger.indexed_approval(&self.tenant, &decision.id)?;
        if found.iter().all(|index| indexed.contains(index)) {
            return Ok(());
        }
        Err(self.distrust(rows_missing()))
    }

    /// What the database holds is not what was posted: from now on nothing is decided about this tenant's calls.
    pub(super) fn distrust(&self, error: store::Error) -> Error {
        if matches!(error, Corrupt { .. }) {
            let reason = format!("{error}; nothing is decided any more. Restore a backup");
            self.ledger.halt(&self.tenant, reason);
        }
        error.into()
    }
}
