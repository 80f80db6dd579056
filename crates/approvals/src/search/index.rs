//! Writes the rows of the search, behind the log.

use super::{Search, rows_of};
use crate::{
    history::Approval,
    log::{Extent, Log},
    unread::{Met, kind_of},
};
use ledger::{Ledger, ident::Ident, store, tenant::Tenant};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Most entries that one step reads.
const ENTRIES_MAX: u64 = 2_048;
/// Pause between two steps, so that rows of many entries share one write to the disk.
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
            let began = Instant::now();
            let done = *self.done.borrow();
            match tokio::task::block_in_place(|| self.step()) {
                Ok(to) => {
                    self.done.send_replace(to);
                    let has_more = |extent: Extent| extent.size > to;
                    // A long log is read in the pauses of others.
                    tokio::time::sleep(if to == done { APART } else { APART.min(began.elapsed()) })
                        .await;
                    if !self.log.until(&has_more).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(tenant = %self.tenant.name, %error, "approvals of new entries can't be found yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Reads some entries, and writes the rows of their approvals. Returns how far it came.
    fn step(&self) -> Result<u64, store::Error> {
        // What was pruned is gone, and can't be shown.
        let from = self.ledger.found_to(&self.tenant)?.max(self.log.kept_from());
        let to = self.log.extent().size.min(from + ENTRIES_MAX);
        if from >= to {
            return Ok(from);
        }
        let mut ids: BTreeSet<Ident> = BTreeSet::new();
        self.log.entries(from..to, &mut |_, entry| {
            let text = std::str::from_utf8(entry).unwrap_or_default();
            if kind_of(text) == Some("approval") {
                ids.extend(Met::read(entry).map(|met| met.message.id));
            }
        })?;
        let mut rows = Vec::new();
        for id in ids {
            match Approval::read(&*self.log, &id, None) {
                Ok(approval) => rows.extend(approval.iter().flat_map(rows_of)),
                Err(store::Error::Pruned { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.ledger.keep_found(&self.tenant, rows.into_iter(), to)?;
        Ok(to)
    }
}
