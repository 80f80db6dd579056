//! Compares the rows of the search with the log, for `fsck`: exactly those are there that the entries give, as far as the
//! rows are.

use super::rows::{self, Facets};
use crate::history::Approval;
use ledger::{
    fsck::Whole,
    post::Log,
    search::{Progress, Row, Rows},
    store::{self, rocks::Rocks},
};

/// Compares the rows of one log.
pub struct Check<'a> {
    rows: Rows<'a>,
    progress: Progress,
    size: u64,
    kept_from: u64,
    /// Rows that the entries give, and how many of them are there.
    all: u64,
    right: u64,
}

impl<'a> Check<'a> {
    /// Nothing is compared yet.
    pub fn new(store: &'a Rocks, log: &Log) -> Result<Self, store::Error> {
        let rows = Rows::new(store, log.number);
        let (progress, size) = (rows.progress()?, log.position.size);
        Ok(Self { rows, progress, size, kept_from: log.kept_from(), all: 0, right: 0 })
    }

    /// Compares the rows of one approval. Each is given once.
    pub fn take(&mut self, approval: &Whole) -> Result<(), store::Error> {
        for (key, row) in derived(approval, self.progress.to, self.kept_from) {
            self.all += 1;
            self.right += u64::from(self.rows.get(&key)?.as_ref() == Some(&row));
        }
        Ok(())
    }

    /// What is wrong, after all approvals.
    pub fn finish(self) -> Result<Option<String>, store::Error> {
        let Self { all, right, size, .. } = self;
        let mut found = 0;
        self.rows.visit((&[], &[]), |_, row| {
            // What was pruned is not here to compare. Such rows are removed once the server runs.
            let pruned = serde_json::from_slice::<Facets>(row)
                .is_ok_and(|facets| facets.last < self.kept_from);
            found += u64::from(!pruned);
            true
        })?;
        if self.progress.to > size {
            let to = self.progress.to;
            return Ok(Some(format!("the search has read to {to}, and the log ends at {size}")));
        }
        let differ = (found, right) != (all, all);
        Ok(differ.then(|| {
            format!(
                "the rows of the search: {right} of {found} rows are those of the {all} that the entries give"
            )
        }))
    }
}

/// The rows that the entries of an approval before a leaf index give. None of one that was pruned.
pub(crate) fn derived(approval: &Whole, before: u64, kept_from: u64) -> Vec<Row> {
    let messages = approval.messages.iter().take_while(|(index, _)| *index < before);
    let opening = approval.opening.as_ref().map(|(_, entry)| &entry[..]);
    let read = Approval::of_entries(&approval.id, opening, messages);
    let kept = read.filter(|approval| approval.last_index() >= kept_from);
    kept.iter().flat_map(rows::of).collect()
}
