//! Posting: journal messages become entries (P2, P3, P6).
//!
//! Everything here is a pure function of the messages in their order and of earlier entries. It uses no clock and no
//! randomness, and depends on no order of maps and no borders of batches. All reads and writes go through [`Changes`].

mod agents;
mod alerts;
mod approvals;
mod body;
mod budgets;
mod counts;
mod delivery;
mod entry_counts;
mod error;
mod events;
mod evidence;
mod form;
mod freezes;
mod freezing;
mod histories;
mod holes;
mod identities;
mod in_force;
mod incidents;
mod kept;
mod members;
mod not_opened;
mod policies;
mod prepare;
mod prune;
mod reports;
mod rests;
mod retention;
mod signed;
mod sources;
mod state;
mod verdicts;

pub use crate::system::prune::Pruned;
pub use agents::misissued;
pub use alerts::note_alert;
pub use budgets::Budgets;
pub use counts::{
    ALL_DAYS, Counts, LATENCY_MS, OfDay, OfName, VALUES_MAX, day_of, read_key as read_count_key,
};
pub use error::Error;
pub(crate) use form::redeems;
pub use form::{NOT_OPENED, NOT_OPENED_REASONS, NotOpenedBody, SYSTEM, Shown, ShownBody, ShownVia};
pub use freezes::{
    FreezeInForce, Freezes, check_freeze, freezes as frozen_by_clause, frozen_by, of_clause,
};
pub use histories::Histories;
#[cfg(feature = "rocksdb")]
pub(crate) use holes::first_from;
pub use holes::{Explained, Was, last_leaves, missing_key};
pub use identities::{Identities, RestsOnToken, issue_of};
pub use in_force::{BundleInForce, ListInForce, Policies, lists_of};
pub use incidents::note_incident;
pub use kept::{Retention, STEP_PAUSE_SECONDS, STEP_SECONDS_MAX};
pub use prepare::{Prepared, event_key, is_probe, source_key, tail_digest};
pub use prune::{pruning, pruning_key};
pub use reports::{Reported, Reports, key as reported_key};
pub use rests::{check_form, is_contended, returned};
pub use signed::{APPROVAL, EVIDENCE};
pub use state::{Erasing, Keys, LogKey, Position, digest_of_access, digest_of_keys};
pub use verdicts::{LATE_SECONDS_MAX, Voided, is_late, stands};

use crate::{
    entry::{Draft, Kind, Origin, SequenceNote},
    event::Refused,
    ident::Ident,
    journal::Subject,
    log::merkle::{self, Edge},
    own_signatures::OwnSignatures,
    proven::ProvenTiles,
    seal::{self, SealKey},
    store::{self, Changes, Family, LogNumber},
    system::{AccessKey, KeyId},
    time::Nanos,
};
use prepare::Content;
use std::{collections::BTreeMap, sync::Arc};

/// Outcome of posting one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new entry holds it.
    Posted {
        /// Leaf index of the entry.
        index: u64,
    },
    /// An earlier entry holds the same event.
    Duplicate {
        /// Leaf index of that entry.
        index: u64,
    },
    /// Another event holds its `(producer, source, id)`. A `duplicate_conflict` entry records that.
    Conflict {
        /// Leaf index of the `duplicate_conflict` entry.
        index: u64,
        /// Leaf index of the event that holds the key.
        first: u64,
    },
    /// It was refused. A `rejected` entry records that.
    Rejected {
        /// Leaf index of the `rejected` entry.
        index: u64,
        /// Why it was refused.
        refused: Refused,
    },
    /// A decision of ours that does not stand at its place. A `void` entry records that; its key stays free.
    Void {
        /// Leaf index of the `void` entry.
        index: u64,
        /// Why.
        why: Voided,
    },
    /// No entry: it was posted before, or it opens the epoch that is already open.
    Nothing,
}

impl Outcome {
    /// Leaf index of the entry that a receipt would prove.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Posted { index }
            | Self::Duplicate { index }
            | Self::Conflict { index, .. }
            | Self::Void { index, .. }
            | Self::Rejected { index, .. } => Some(*index),
            Self::Nothing => None,
        }
    }
}

/// When a message was stored in the journal, and under which sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Journal sequence of the message.
    pub seq: u64,
    /// Time by the journal's clock.
    pub time: Nanos,
}

/// A log while messages are posted to it. It is cloned before a batch and kept after the commit.
#[derive(Clone)]
pub struct Log {
    /// Tenant of the log.
    pub tenant: Ident,
    /// Its number in the store.
    pub number: LogNumber,
    /// `<host>/v1/tenants/<tenant>/logs/<n>`.
    pub origin: String,
    /// The commit record.
    pub position: Position,
    /// The tree's right edge.
    pub edge: Edge,
    /// The keys in force.
    pub keys: Keys,
    /// The API keys in force, by key id.
    pub access: Arc<BTreeMap<KeyId, AccessKey>>,
    /// Tiles of this log that were proven.
    pub proven_tiles: Arc<ProvenTiles>,
    /// Signatures on messages that this process made.
    pub own_signatures: Arc<OwnSignatures>,
    /// Key that seals the commit record. `None` for a log that is derived only to be compared.
    pub seal_key: Option<Arc<SealKey>>,
    /// Messages of this batch on signed subjects without our signature: somebody else writes to the journal.
    pub unsigned: u64,
    /// True if this batch posted a key entry: its checkpoint is kept for ever.
    pub rotated: bool,
    /// What sources reported in this batch.
    pub reports: Reports,
    /// What this batch adds to the counts of its days.
    pub counts: Counts,
}

impl Log {
    /// A log without entries.
    pub fn new(tenant: Ident, number: LogNumber, origin: String, journal: String) -> Self {
        Self {
            tenant,
            number,
            origin,
            position: Position::begin(journal),
            edge: Edge::default(),
            keys: Keys::default(),
            access: Arc::default(),
            proven_tiles: Arc::default(),
            own_signatures: Arc::default(),
            seal_key: None,
            unsigned: 0,
            rotated: false,
            reports: Reports::default(),
            counts: Counts::default(),
        }
    }

    /// Posts one message, which gives 0 to 4 entries and gives up its draft. No earlier message may be missing: holes
    /// are posted by [`Log::post_explained`] first.
    pub fn post(
        &mut self,
        changes: &mut Changes<'_>,
        arrival: Arrival,
        message: &mut Prepared,
    ) -> Result<Outcome, Error> {
        let posted = self.position.posted;
        if arrival.seq <= posted {
            return Err(Error::Backwards { got: arrival.seq, posted });
        }
        let origin = Origin {
            epoch: self.position.epoch,
            seq: arrival.seq,
            time: arrival.time.max(self.position.time),
        };
        if self.position.size == 0 {
            self.post_genesis(changes, origin, message)?;
            self.finish(changes, origin, message);
            return Ok(Outcome::Posted { index: 0 });
        }
        if self.position.retention.deleted.is_some() {
            // The log has ended. What still comes by the broker is not kept.
            return Ok(Outcome::Nothing);
        }
        if arrival.seq > posted + 1 {
            return Err(Error::Hole { from: posted + 1, to: arrival.seq - 1 });
        }
        // The draft moves into its entry. The rest of the message is needed for the commit record.
        let content = std::mem::replace(&mut message.content, Content::Posted);
        let outcome = match (content, &message.subject) {
            (Content::Event(accepted), _) => {
                self.post_event(changes, origin, message, *accepted)?
            }
            (Content::Verdict(accepted), Some(subject)) => {
                self.post_verdict(changes, origin, message, (subject, *accepted))?
            }
            (Content::Signed(form), Some(subject)) => {
                self.post_signed(changes, (origin, arrival.time), message, (subject, form))?
            }
            (Content::Refused(refused), _) => self.reject(changes, origin, message, refused),
            (Content::Verdict(_) | Content::Signed(_) | Content::Posted, _) => {
                self.reject(changes, origin, message, Refused::Subject)
            }
        };
        self.finish(changes, origin, message);
        let accepted = !matches!(outcome, Outcome::Rejected { .. });
        self.settle_explanation(arrival.seq, accepted)?;
        Ok(outcome)
    }

    /// Writes the commit record. Called once after a batch, with its last message.
    pub fn seal(
        &mut self,
        changes: &mut Changes<'_>,
        last: (Arrival, &Prepared),
    ) -> Result<(), store::Error> {
        self.position.root = self.edge.root();
        let (arrival, message) = last;
        let subject = message.subject.as_ref();
        self.position.tail = Some(tail_digest(arrival, subject, &message.headers, &message.body));
        self.save_position(changes)
    }

    /// Drops the sums of what was posted: they are not wanted.
    pub fn forget_sums(&mut self) {
        (self.reports, self.counts) = (Reports::default(), Counts::default());
    }

    /// Writes the present commit record, sealed, and what the batch adds to the sums.
    pub fn save_position(&mut self, changes: &mut Changes<'_>) -> Result<(), store::Error> {
        self.reports.write(changes, self.number)?;
        self.counts.write(changes, self.number)?;
        let record = store::to_json(&self.position);
        let record = match &self.seal_key {
            Some(key) => key.seal(seal::POSITION, self.tenant.as_str(), &record),
            None => record,
        };
        changes.put(Family::Meta, self.number.meta("position"), record);
        Ok(())
    }

    /// Called after each message: notes its sequence and its digest.
    fn finish(&mut self, changes: &mut Changes<'_>, origin: Origin, message: &Prepared) {
        self.pass(changes, origin.seq, message.subject.as_ref());
    }

    /// Notes that posting has passed `seq`, a message on `subject`.
    fn pass(&mut self, changes: &mut Changes<'_>, seq: u64, subject: Option<&Subject>) {
        self.position.posted = seq;
        let Some(subject) = subject.filter(|subject| subject.is_chained()) else { return };
        if let Subject::System(topic) = subject {
            self.position.topics.insert(topic.to_string(), seq);
        }
        let key = self.number.in_epoch(self.position.epoch, subject.to_string().as_bytes());
        changes.put(Family::Subjects, key, seq.to_be_bytes().to_vec());
    }

    /// Appends one entry with its index rows. Returns its leaf index.
    fn append(
        &mut self,
        changes: &mut Changes<'_>,
        draft: Draft,
        origin: Origin,
        note: Option<SequenceNote>,
    ) -> u64 {
        let bytes = draft.finish(&self.tenant, (origin, self.position.prior), note);
        self.append_bytes(changes, (draft.kind, origin.time), bytes, draft.payload)
    }

    /// Appends the bytes of an entry, and its encoded payload. Returns its leaf index.
    fn append_bytes(
        &mut self,
        changes: &mut Changes<'_>,
        (kind, time): (Kind, Nanos),
        bytes: Vec<u8>,
        payload: Vec<u8>,
    ) -> u64 {
        let index = self.position.size;
        let mut full = Vec::new();
        self.edge.append(merkle::leaf_hash(&bytes), &mut full);
        for tile in full {
            changes.put(Family::Tiles, self.number.tile(tile.level, tile.number), tile.bytes);
        }
        let key = self.number.numbered(index);
        changes.put(Family::Entries, key.clone(), bytes);
        changes.put(Family::Payload, key, payload);
        self.position.size += 1;
        self.position.time = time;
        self.position.prior.note(kind, index);
        self.counts.kind(kind, time);
        index
    }

    fn reject(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        refused: Refused,
    ) -> Outcome {
        if refused == Refused::Signature {
            self.unsigned += 1;
        }
        let index = self.append(changes, message.rejected(&refused), origin, None);
        Outcome::Rejected { index, refused }
    }
}

#[cfg(test)]
mod tests;
