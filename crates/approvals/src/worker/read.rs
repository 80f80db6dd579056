//! Reads approvals so that a writer of the database can't change what they are.
//!
//! Entries are proven to the root in memory (`Ledger::entry`). The index that names them is not proven: rows
//! may be missing. So its answer is compared with what the follower knows, which reads every entry of the log
//! in order from a sealed position on.

use super::{Error, Worker, brief::over_since};
use crate::history::Approval;
use decider::decision::Decision;
use ledger::{
    ident::Ident,
    store::{self, Error::Corrupt},
};

/// The error for a missing row in the index of approvals.
pub(super) fn rows_missing() -> store::Error {
    Corrupt { family: "approvals", what: "an approval's entries are not all in the index" }
}

impl Worker {
    /// The approval as posted here. `None` if nothing is posted for this id. A row that is known to be missing
    /// halts the log.
    pub(super) fn read(&self, id: &Ident) -> Result<Option<Approval>, Error> {
        // First copy what is known, then read the index: in between it can only have gained rows.
        let (known, followed) = {
            let room = self.room.lock().expect("no holder of the lock panics");
            (room.find(id).map(|approval| approval.last), room.followed)
        };
        let read = Approval::read(&self.ledger, &self.tenant, id);
        let read = read.map_err(|error| self.distrust(error))?;
        let sound = match (known, &read) {
            (Some(last), Some(approval)) => approval.last_index() >= last,
            (Some(_), None) => false,
            // The follower would know this approval if it were open.
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

    /// Halts the log: the database does not hold what was posted, so nothing more is decided about this
    /// tenant's calls.
    pub(super) fn distrust(&self, error: store::Error) -> Error {
        if matches!(error, Corrupt { .. }) {
            let reason = format!("{error}; nothing is decided any more. Restore a backup");
            self.ledger.halt(&self.tenant, reason);
        }
        error.into()
    }
}
