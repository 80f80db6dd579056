//! Reads approvals so that a writer of the database can't change what they are.
//!
//! Entries are proven to the root in memory (`Ledger::entry`). The index that names them is not proven: rows
//! may be missing. So its answer is compared with what the follower knows, which reads every entry of the log
//! in order from a sealed position on.

use super::{Error, PUBLISHED_WAIT, brief::over_since, kept::Kept, registry::Registry};
use crate::{
    history::Approval,
    log::{Extent, Log},
};
use decider::decision::{Decision, Fields, Frozen};
use ledger::{
    Error as LedgerError,
    entry::View,
    ident::Ident,
    journal::Subject,
    store::{self, Error::Corrupt},
    system::freeze::Acting,
};
use std::sync::Arc;

/// The error for a missing row in the index of approvals.
pub(crate) fn rows_missing() -> store::Error {
    Corrupt { family: "approvals", what: "an approval's entries are not all in the index" }
}

/// Reads approvals and the decisions that opened them.
#[derive(Clone)]
pub struct ApprovalReader {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) kept: Arc<Kept>,
}

impl ApprovalReader {
    /// The approval as posted here. `None` if nothing is posted for this id. A row that is known to be missing
    /// halts the log.
    pub(crate) fn posted(&self, id: &Ident) -> Result<Option<Approval>, Error> {
        // First copy what is known, then read the index: in between it can only have gained rows.
        let (known, followed) = {
            let open = self.registry.open();
            (open.find(id).map(|approval| approval.last), open.followed)
        };
        // What was pruned is gone for every reader, not only after a restart.
        let kept = self.kept.take(id);
        let kept = kept.filter(|known| known.last_index() >= self.log.kept_from());
        let read = Approval::read(&*self.log, id, kept).map_err(|error| self.distrust(error))?;
        let sound = match (known, &read) {
            (Some(last), Some(approval)) => approval.last_index() >= last,
            (Some(_), None) => false,
            // The follower would know this approval if it were open.
            (None, Some(approval)) => {
                over_since(approval).is_some() || approval.last_index() >= followed
            }
            (None, None) => true,
        };
        if !sound {
            return Err(self.distrust(rows_missing()));
        }
        if let Some(approval) = &read {
            self.kept.keep(approval.clone());
        }
        Ok(read)
    }

    /// The approval as published here. Another server may know it before it is posted here: see
    /// [`ApprovalReader::find`].
    pub async fn get(&self, id: &Ident) -> Result<Option<Approval>, Error> {
        let approval = self.posted(id)?;
        if let Some(approval) = &approval {
            self.until_published(approval.last_index()).await?;
        }
        Ok(approval)
    }

    /// The approval, if `may` allows the caller to see it. Returns `None` only after everything in the journal
    /// is posted here. A forbidden approval takes as long as one that does not exist, so that the caller can't
    /// tell them apart.
    pub async fn find(
        &self,
        id: &Ident,
        may: impl Fn(&Approval) -> bool,
    ) -> Result<Option<Approval>, Error> {
        if let Some(approval) = self.get(id).await?.filter(&may) {
            return Ok(Some(approval));
        }
        self.log.catch_up().await?;
        Ok(self.get(id).await?.filter(&may))
    }

    /// The freeze that stops the call of an approval: the leaf index at which it began.
    pub fn stopped(&self, approval: &Approval) -> Result<Option<u64>, Error> {
        let freezes = self.log.freezes();
        let opening = approval.state.requested.as_ref().map(|requested| requested.opening.index);
        let Some(opening) = opening.filter(|_| !freezes.is_empty()) else { return Ok(None) };
        let entry = self.log.entry(opening)?.unwrap_or_default();
        let view = View::parse(&entry).ok_or(Error::Unknown)?;
        let data = view.at(&["event", "data"]).ok_or(Error::Unknown)?;
        let call = Acting::of(view.text(&["producer"]).unwrap_or_default(), data);
        Ok(freezes.stopping(&call).map(|(index, _)| index))
    }

    /// [`Error::Frozen`] if the call of an approval is frozen.
    pub(crate) fn check_goes(&self, approval: &Approval) -> Result<(), Error> {
        self.stopped(approval)?.map_or(Ok(()), |index| Err(Error::Frozen(index)))
    }

    /// The approval as posted here. If it is unknown here, waits for what another worker has just written.
    pub(crate) async fn latest(&self, id: &Ident) -> Result<Approval, Error> {
        let posted = self.log.extent().posted;
        if let Some(approval) = self.posted(id)? {
            return Ok(approval);
        }
        self.catch_up_with(id, posted).await?;
        self.posted(id)?.ok_or(Error::NotFound)
    }

    /// Waits until every message on the approval's subject after sequence `posted` is posted here. `false` if
    /// the journal holds none. [`Error::Contended`] if they are not posted in time.
    pub(crate) async fn catch_up_with(&self, id: &Ident, posted: u64) -> Result<bool, Error> {
        let subject = Subject::Approvals(id.clone());
        let Some(held) = self.log.newer(&subject, posted).await? else {
            self.log.until_told().await?;
            return Ok(self.posted(id)?.is_some_and(|approval| approval.expected > posted));
        };
        let is_posted = |extent: Extent| extent.posted >= held;
        let reached = tokio::time::timeout(PUBLISHED_WAIT, self.log.until(&is_posted)).await;
        match (reached, self.log.halted()) {
            (_, Some(reason)) => Err(LedgerError::Halted(reason).into()),
            (Ok(true), None) => Ok(true),
            _ => Err(Error::Contended),
        }
    }

    /// Waits until an entry is published. Nothing of it may be answered before (P8).
    pub(crate) async fn until_published(&self, index: u64) -> Result<(), Error> {
        if self.log.extent().size > index {
            return Ok(());
        }
        let is_published = |extent: Extent| extent.size > index;
        match tokio::time::timeout(PUBLISHED_WAIT, self.log.until(&is_published)).await {
            Ok(true) => Ok(()),
            _ => Err(Error::Unknown),
        }
    }

    /// The decision that opened an approval, and what is left of its call.
    pub fn opening(&self, approval: &Approval) -> Result<(Decision, Option<Frozen>), Error> {
        let requested = approval.state.requested.as_ref().ok_or(Error::NotFound)?;
        let (decision, payload) =
            self.decision_at(requested.opening.index)?.ok_or(Error::NotFound)?;
        let frozen = decision.call.frozen(&payload).ok();
        Ok((decision, frozen))
    }

    /// The decision at a leaf index, if it needs approval, and what is left of its payload.
    pub(crate) fn decision_at(&self, index: u64) -> Result<Option<(Decision, Fields)>, Error> {
        if index >= self.log.extent().size {
            return Ok(None);
        }
        let proven = || -> Result<_, store::Error> {
            let Some(entry) = self.log.entry(index)? else { return Ok(None) };
            let payload = self.log.payload(index, &entry)?;
            Ok(Some((entry, payload)))
        };
        let Some((entry, payload)) = proven().map_err(|error| self.distrust(error))? else {
            return Ok(None);
        };
        Ok(Decision::of_entry(index, &entry).ok().map(|decision| (decision, payload.values())))
    }

    /// Before a decision that was posted by an earlier process is opened: no approval of it was ever posted.
    pub(crate) fn never_opened(&self, decision: &Decision) -> Result<(), Error> {
        let lacks = self.log.lacks_rows(&decision.id, decision.index);
        if lacks.map_err(|error| self.distrust(error))? {
            return Err(self.distrust(rows_missing()));
        }
        Ok(())
    }

    /// The comment beside a review, until it is erased. `index`: leaf index of the evidence that the review
    /// names.
    pub fn comment(&self, index: u64) -> Result<Option<String>, Error> {
        self.words(index, "comment")
    }

    /// A text in the payload of an entry, until it is erased.
    pub fn words(&self, index: u64, member: &str) -> Result<Option<String>, Error> {
        let text = self.log.stored_payload(index)?.and_then(|payload| payload.value(member));
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Halts the log: the database does not hold what was posted, so nothing more is decided about this
    /// tenant's calls.
    pub(crate) fn distrust(&self, error: store::Error) -> Error {
        if matches!(error, Corrupt { .. }) {
            self.log.halt(format!("{error}; nothing is decided any more. Restore a backup"));
        }
        error.into()
    }
}
