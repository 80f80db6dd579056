//! Writes the rows of the search, behind the log.

use super::{
    Search,
    rows::{self, Facets},
};
use crate::{
    history::Approval,
    log::{Extent, Log},
    unread::{Met, kind_of},
};
use ledger::{
    Ledger,
    ident::Ident,
    search::{Progress, Row, Rows},
    store,
    tenant::Tenant,
};
use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Most entries that one step reads.
const ENTRIES_MAX: u64 = 2_048;
/// Most rows that are removed at once.
const REMOVED_MAX: usize = 20_000;
/// Pause before what came in is read, so that rows of many entries share one write to the disk.
const APART: Duration = Duration::from_millis(250);
/// Pause after a failure.
const AGAIN: Duration = Duration::from_secs(10);

/// Follows the log of one tenant, and writes rows.
pub(crate) struct Indexer {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    log: Arc<dyn Log>,
    done: watch::Sender<u64>,
}

impl Indexer {
    /// Has written nothing yet.
    pub fn new(ledger: Arc<Ledger>, tenant: Arc<Tenant>, log: Arc<dyn Log>) -> Self {
        Self { ledger, tenant, log, done: watch::Sender::new(0) }
    }

    /// Searches what is written.
    pub fn search(&self) -> Search {
        let (ledger, tenant) = (Arc::clone(&self.ledger), Arc::clone(&self.tenant));
        Search { ledger, tenant, done: self.done.subscribe() }
    }

    /// Writes rows until the worker stops.
    pub async fn run(&self) {
        loop {
            match tokio::task::block_in_place(|| self.step()) {
                Ok(to) => {
                    self.done.send_replace(to);
                    if to < self.log.extent().size {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    let has_more = |extent: Extent| extent.size > to;
                    if !self.log.until(&has_more).await {
                        return;
                    }
                    tokio::time::sleep(APART).await;
                }
                Err(error) => {
                    let tenant = &self.tenant.name;
                    tracing::warn!(%tenant, %error, "new approvals can't be found by a search yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Reads some entries, and writes the rows of their approvals. Returns how far it came.
    fn step(&self) -> Result<u64, store::Error> {
        let (rows, kept_from) = (self.ledger.search(&self.tenant), self.log.kept_from());
        let mut progress = rows.progress()?;
        if progress.swept < kept_from {
            sweep(rows, kept_from)?;
            progress = Progress { to: progress.to.max(kept_from), swept: kept_from };
            rows.keep(std::iter::empty(), progress)?;
        }
        let to = self.log.extent().size.min(progress.to + ENTRIES_MAX);
        if progress.to < to {
            let new = rows_between(&*self.log, progress.to..to)?;
            rows.keep(new.into_iter(), Progress { to, ..progress })?;
        }
        Ok(to.max(progress.to))
    }
}

/// The rows of all approvals that have entries in a range, as they are after the range. So they do not depend on how the
/// log is divided into ranges.
pub(crate) fn rows_between(log: &dyn Log, range: Range<u64>) -> Result<Vec<Row>, store::Error> {
    let (to, mut ids) = (range.end, BTreeSet::<Ident>::new());
    log.entries(range, &mut |_, entry| {
        let text = std::str::from_utf8(entry).unwrap_or_default();
        if kind_of(text) == Some("approval") {
            ids.extend(Met::read(entry).map(|met| met.message.id));
        }
    })?;
    let mut rows = Vec::new();
    for id in ids {
        match Approval::read_before(log, (&id, to), None) {
            Ok(approval) => rows.extend(approval.iter().flat_map(rows::of)),
            // A late report about one that is in an export by now.
            Err(store::Error::Pruned { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

/// Removes the rows of approvals whose last entry is before a leaf index: they were pruned. Nothing of them stays in the
/// files.
fn sweep(rows: Rows<'_>, kept_from: u64) -> Result<(), store::Error> {
    let mut from = Vec::new();
    loop {
        let (mut gone, mut next) = (Vec::new(), None);
        rows.visit((&[], &from), |key, value| {
            if gone.len() == REMOVED_MAX {
                next = Some(key.to_vec());
                return false;
            }
            let facets = serde_json::from_slice::<Facets>(value);
            if facets.is_ok_and(|facets| facets.last < kept_from) {
                gone.push(key.to_vec());
            }
            true
        })?;
        rows.remove(&gone)?;
        let Some(key) = next else { return rows.shrink() };
        from = key;
    }
}
