//! The port of sinks: what a receiver is given, and what it answers. Each foreign system is one module behind it.

use super::{
    head::Head,
    shelf::Leaf,
    span::{Sort, Span},
};
use ledger::{log::merkle::Hash, system::delivery::Level};
use sha2::{Digest as _, Sha256};
use std::{sync::Arc, time::Duration};

/// One entry, written for its receiver.
#[derive(Clone, Debug)]
pub struct Record {
    /// The entry.
    pub leaf: Arc<Leaf>,
    /// The record in the sink's format, on one line.
    pub line: Arc<String>,
    /// The span of a decision, or of an approval that ends here, where the sink sends spans.
    pub span: Option<Span>,
}

/// What is delivered at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Names it. The same for each attempt.
    pub id: String,
    /// What it says of itself.
    pub head: Head,
    /// The same in the sink's format, on one line. Every receiver gets it before the records.
    pub head_line: String,
    /// The records, in index order.
    pub records: Vec<Record>,
    /// The span of a test, where the sink sends spans.
    pub tried: Option<Span>,
}

impl Batch {
    /// Bytes of all lines.
    pub fn bytes(&self) -> usize {
        let lines: usize = self.records.iter().map(|record| record.line.len() + 1).sum();
        self.head_line.len() + 1 + lines
    }

    /// All spans.
    pub fn spans(&self) -> impl Iterator<Item = &Span> + Clone {
        self.records.iter().filter_map(|record| record.span.as_ref()).chain(&self.tried)
    }

    /// Leaf index of each decision that is here as a span.
    pub fn decision_spans(&self) -> Vec<u64> {
        let decided = |span: &Span| matches!(span.sort, Sort::Ours | Sort::Told);
        let of = |record: &Record| {
            record.span.as_ref().is_some_and(decided).then_some(record.leaf.index)
        };
        self.records.iter().filter_map(of).collect()
    }

    /// All lines, the head first.
    pub fn lines(&self) -> String {
        let mut lines = String::with_capacity(self.bytes());
        let records = self.records.iter().map(|record| record.line.as_str());
        for line in std::iter::once(self.head_line.as_str()).chain(records) {
            lines.push_str(line);
            lines.push('\n');
        }
        lines
    }
}

/// SHA-256 over leaf hashes, in order.
pub fn digest<'a>(hashes: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut sha = Sha256::new();
    for hash in hashes {
        sha.update(hash.0);
    }
    Hash(sha.finalize().into())
}

/// What a receiver answers to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took every record.
    Taken,
    /// It took every record but these, for reasons of the records: place in the batch, and the receiver's words.
    Partly(Vec<(usize, String)>),
    /// It refuses the batch as a whole, perhaps for one record alone.
    Refused(String),
    /// Nothing is known to be taken. Try again, not before that time if there is one.
    Retry(Option<Duration>, String),
}

impl Answer {
    /// Refuses what the receiver would refuse or cut: more than `max` bytes. Said before it is sent, so that one record that is
    /// too big becomes a letter and no record arrives in part.
    pub fn refuse_above(max: usize, bytes: usize, why: &str) -> Result<(), Self> {
        if bytes > max { Err(Self::Refused(format!("{bytes} bytes: {why}"))) } else { Ok(()) }
    }
}

/// A foreign system that takes batches.
pub trait Receiver: Send + Sync {
    /// Delivers a batch, and waits for the answer.
    fn deliver(&self, batch: &Batch) -> Answer;

    /// What [`Answer::Taken`] shows.
    fn level(&self) -> Level;

    /// What was taken and may be lost if this process and the other side end now: ranges of leaf indexes, each from its first one
    /// to before its last one. `None` if that can't be said at this moment.
    fn unsure(&self) -> Option<Vec<(u64, u64)>> {
        Some(Vec::new())
    }
}
