//! One approval as the ledger holds it: its entries and their fold.

use crate::log::Log;
use decider::approval::{Event, Message, Phase, State, fold};
use ledger::{
    entry::{Origin, Own},
    ident::Ident,
    journal::Subject,
    log::merkle::leaf_hash,
    post::APPROVAL,
    store,
    time::Nanos,
};

/// An approval and its history.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Id of the approval.
    pub id: Ident,
    /// State after all entries.
    pub state: State,
    /// What happened, one step for each entry.
    pub steps: Vec<Step>,
    /// Last journal sequence posted on its subject when this was read. A new message must follow exactly that
    /// one.
    pub expected: u64,
}

/// One entry of an approval.
#[derive(Clone, Debug)]
pub struct Step {
    /// Number of the message, from 1.
    pub n: u64,
    /// Leaf index of the decision.
    pub index: u64,
    /// Journal sequence of the message.
    pub seq: u64,
    /// `journal.time` of the message.
    pub at: Nanos,
    /// Events of the message.
    pub events: Vec<Event>,
}

impl Approval {
    /// Reads and folds an approval. `None` if nothing is posted for this id. `known`: an earlier reading, whose entries
    /// are not read again.
    ///
    /// The result may be ahead of what is published: wait for [`Approval::last_index`] before answering
    /// anybody.
    pub fn read(
        log: &dyn Log,
        id: &Ident,
        known: Option<Self>,
    ) -> Result<Option<Self>, store::Error> {
        Self::read_before(log, (id, u64::MAX), known)
    }

    /// As [`Approval::read`], by its entries before a leaf index alone.
    pub(crate) fn read_before(
        log: &dyn Log,
        (id, before): (&Ident, u64),
        known: Option<Self>,
    ) -> Result<Option<Self>, store::Error> {
        // Read the expected sequence before the entries. A message that comes in between makes the sequence
        // too old, and compare-and-swap notices that; the entries can't be too old.
        let expected = log.last_on(&Subject::Approvals(id.clone()))?;
        let corrupt = |what| store::Error::Corrupt { family: "approvals", what };
        let rows = log.of_approval(id)?.into_iter().filter(|(_, kind)| *kind == APPROVAL);
        let rows: Vec<u64> = rows.map(|(index, _)| index).filter(|at| *at < before).collect();
        let mut approval = known.filter(|known| known.id == *id && known.begins(&rows));
        let read = approval.as_ref().map_or(0, |known| known.steps.len());
        for index in &rows[read..] {
            let entry = entry_at(log, *index)?;
            let (message, origin) = read_entry(&entry).ok_or_else(|| corrupt("an entry"))?;
            let known = if let Some(known) = approval {
                known
            } else {
                let state = State::begin(&opening_leaf(log, &message)?);
                Self { id: id.clone(), state, steps: Vec::new(), expected }
            };
            approval = Some(known.push(*index, &entry, (message, origin)));
        }
        Ok(approval.map(|approval| Self { expected, ..approval }))
    }

    /// The approval that posted entries of its own give, each with its leaf index, after the entry of its decision. `None`
    /// without entries, or if one is none of an approval.
    pub(crate) fn of_entries<'a>(
        id: &Ident,
        opening: Option<&[u8]>,
        entries: impl Iterator<Item = &'a (u64, Vec<u8>)>,
    ) -> Option<Self> {
        let leaf = opening.map(|entry| leaf_hash(entry).to_string()).unwrap_or_default();
        let begun = Self { id: id.clone(), state: State::begin(&leaf), steps: vec![], expected: 0 };
        let mut approval = begun;
        for (index, entry) in entries {
            approval = approval.after(*index, entry)?;
        }
        (!approval.steps.is_empty()).then_some(approval)
    }

    /// True if its entries are the first ones of `rows`.
    fn begins(&self, rows: &[u64]) -> bool {
        let first = rows.get(..self.steps.len());
        first.is_some_and(|rows| self.steps.iter().map(|step| step.index).eq(rows.iter().copied()))
    }

    /// The approval after one more message, whose posted entry is at `index`. It equals a new reading of all
    /// entries. `None` if these are not the bytes of an approval's entry.
    pub fn after(mut self, index: u64, entry: &[u8]) -> Option<Self> {
        let (message, origin) = read_entry(entry)?;
        self.expected = origin.seq;
        Some(self.push(index, entry, (message, origin)))
    }

    fn push(mut self, index: u64, entry: &[u8], (message, origin): (Message, Origin)) -> Self {
        let (n, seq, at) = (message.n, origin.seq, origin.time);
        self.state = fold(self.state, &message, &leaf_hash(entry).to_string(), at);
        self.steps.push(Step { n, index, seq, at, events: message.events });
        self
    }

    /// Leaf index of its last entry.
    pub fn last_index(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.index)
    }

    /// Journal sequence of its first message.
    pub fn first_seq(&self) -> u64 {
        self.steps.first().map_or(u64::MAX, |step| step.seq)
    }

    /// Journal sequence of the entry with the grant.
    pub fn granted_seq(&self) -> Option<u64> {
        let granted = |event: &Event| matches!(event, Event::Granted { .. });
        self.steps.iter().find(|step| step.events.iter().any(granted)).map(|step| step.seq)
    }

    /// True if people can still answer.
    pub fn is_pending(&self) -> bool {
        self.state.phase == Phase::Pending
    }
}

/// The message in an entry, and its place in the journal.
fn read_entry(entry: &[u8]) -> Option<(Message, Origin)> {
    let Own { event, origin, .. } = Own::read(entry)?;
    Some((event, origin))
}

/// The leaf hash of the decision that the first message names.
fn opening_leaf(log: &dyn Log, message: &Message) -> Result<String, store::Error> {
    let Some(Event::Requested(requested)) = message.events.first() else {
        return Ok(String::new());
    };
    let entry = entry_at(log, requested.opening.index)?;
    Ok(leaf_hash(&entry).to_string())
}

/// A posted entry, published or not, proven to be in the tree.
fn entry_at(log: &dyn Log, index: u64) -> Result<Vec<u8>, store::Error> {
    let entry = log.entry(index)?;
    entry.ok_or(store::Error::Corrupt { family: "entries", what: "an entry is missing" })
}
