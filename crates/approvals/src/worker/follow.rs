//! Follows the log: reads what was posted since, and does what it asks for.

use super::backlog::Backlog;
use crate::{
    commands::{ApprovalReader, Error, Readiness, Registry, Snapshot, rows_missing},
    history::Approval,
    log::Extent,
};
use decider::decision::{APPROVAL_NEEDED, Decision};
use ledger::{
    entry::{Kind, View},
    ident::Ident,
    journal::Subject,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Most entries read in one go.
const ENTRIES_MAX: u64 = 4096;
/// So many approvals are read before others may run: some 10 ms.
const APPROVALS_AT_ONCE: usize = 16;
/// How often the reached position is stored while entries come in.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Pause before the log or the journal is read again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Lets others run now and then while many approvals are read: a stop above all, which must not wait for the last one.
async fn rest_after(nth: usize) {
    if nth.is_multiple_of(APPROVALS_AT_ONCE) {
        tokio::task::yield_now().await;
    }
}

/// What an entry asks the worker to do.
enum Task {
    /// Open an approval for the decision at this leaf index.
    Open(u64),
    /// Read this approval: it has a new entry at this leaf index.
    Read(Ident, u64),
    /// Read the rules: they were applied, here or by another process.
    Rules,
}

/// Follows the log of one tenant.
pub(super) struct Follower {
    pub reader: ApprovalReader,
    pub readiness: Arc<Readiness>,
    pub backlog: Arc<Backlog>,
}

impl Follower {
    fn registry(&self) -> &Registry {
        &self.reader.registry
    }

    fn tenant(&self) -> &Ident {
        self.reader.log.tenant()
    }

    /// Follows the log until the worker stops.
    pub(super) async fn run(&self) {
        let mut cursor = match self.restore().await {
            Ok(cursor) => cursor,
            Err(error) => {
                tracing::warn!(tenant = %self.tenant(), %error, "approvals are read from the log's beginning");
                0
            }
        };
        self.registry().followed.send_replace(cursor);
        let mut kept = Instant::now();
        self.readiness.rules.read();
        loop {
            let size = self.reader.log.extent().size;
            while cursor < size {
                let to = size.min(cursor + ENTRIES_MAX);
                if let Err(error) = self.follow_to(cursor, to).await {
                    tracing::error!(tenant = %self.tenant(), %error, "the log can't be followed");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                cursor = to;
                tokio::task::yield_now().await;
            }
            if !self.registry().is_caught_up() {
                self.catch_up().await;
            }
            if kept.elapsed() >= KEEP_EVERY {
                self.keep_place(self.backlog.first().unwrap_or(cursor));
                kept = Instant::now();
            }
            let has_more = |extent: Extent| extent.size > cursor;
            let closed = tokio::select! {
                found = self.reader.log.until(&has_more) => !found,
                () = tokio::time::sleep(AGAIN), if !self.registry().is_caught_up() => false,
            };
            if closed {
                return;
            }
        }
    }

    /// Does what the published entries `from..to` ask for.
    pub(super) async fn follow_to(&self, from: u64, to: u64) -> Result<(), Error> {
        let found = self.tasks(from, to)?;
        self.carry_out(found).await;
        self.registry().open().followed = to;
        self.registry().followed.send_replace(to);
        Ok(())
    }

    /// Called once every published entry has been processed. Starts deciding only when the journal holds no
    /// `rules` message that is not posted here yet.
    pub(super) async fn catch_up(&self) {
        let Ok(topic) = Ident::new("rules") else { return };
        let (rules, posted) = (Subject::System(topic), self.reader.log.extent().posted);
        match self.reader.log.newer(&rules, posted).await {
            Ok(None) => {
                self.registry().open().caught_up = true;
                self.readiness.check_all();
            }
            Ok(Some(_)) => {}
            Err(error) => {
                tracing::debug!(tenant = %self.tenant(), %error, "nothing is decided before the journal was asked");
            }
        }
    }

    /// The tasks of the entries `from..to`, in order. Each approval is read once.
    fn tasks(&self, from: u64, to: u64) -> Result<Vec<Task>, Error> {
        let mut tasks = Vec::new();
        let mut read = BTreeMap::new();
        let mut visit = |index, entry: &[u8]| match self.task(index, entry) {
            Some(Task::Read(id, last)) => drop(read.insert(id, last)),
            other => tasks.extend(other),
        };
        let proven = self.reader.log.entries(from..to, &mut visit);
        proven.map_err(|error| self.reader.distrust(error))?;
        tasks.extend(read.into_iter().map(|(id, last)| Task::Read(id, last)));
        Ok(tasks)
    }

    fn task(&self, index: u64, entry: &[u8]) -> Option<Task> {
        // Most entries are none of these. Searching their bytes is a hundred times faster than parsing them.
        let text = std::str::from_utf8(entry).ok()?;
        if text.contains(APPROVAL_NEEDED) && Decision::of_entry(index, entry).is_ok() {
            return Some(Task::Open(index));
        }
        if !text.contains(r#""kind":"approval""#) && !text.contains(r#""kind":"rules""#) {
            return None;
        }
        let view = View::parse(entry)?;
        match view.kind {
            Kind::Approval => {
                let id = Ident::new(view.text(&["event", "approval_id"])?).ok()?;
                let n = view.at(&["event", "n"]).and_then(ledger::json::Value::as_u64);
                // This process already knows what it wrote itself.
                let known = n.is_some_and(|n| self.registry().open().knows(&id, n));
                (!known).then_some(Task::Read(id, index))
            }
            Kind::Rules => Some(Task::Rules),
            _ => None,
        }
    }

    async fn carry_out(&self, tasks: Vec<Task>) {
        for (nth, task) in (1_usize..).zip(tasks) {
            rest_after(nth).await;
            match task {
                Task::Open(index) => self.backlog.add(index),
                Task::Read(id, last) => self.read_and_learn(&id, last),
                // Read them unless they are already in force: a log that is read from its beginning has many
                // `rules` entries.
                Task::Rules => drop(self.readiness.rules.current()),
            }
        }
    }

    /// Reads an approval whose last entry is at leaf index `last` or later.
    fn read_and_learn(&self, id: &Ident, last: u64) {
        let complete = |approval: &Approval| approval.last_index() >= last;
        match self.reader.posted(id) {
            Ok(Some(approval)) if complete(&approval) => self.registry().learn(&approval),
            Ok(_) => drop(self.reader.distrust(rows_missing())),
            Err(error) => {
                tracing::error!(tenant = %self.tenant(), approval = %id, %error, "an approval can't be read");
            }
        }
    }

    /// Stores the reached position, so that the next start need not read the whole log. Losing it costs only
    /// time.
    fn keep_place(&self, cursor: u64) {
        let snapshot = self.registry().open().snapshot(cursor);
        if let Err(error) = self.reader.log.keep_place(&ledger::store::to_json(&snapshot)) {
            tracing::warn!(tenant = %self.tenant(), %error, "the reached position was not stored");
        }
    }

    /// Reads what was open at the place kept; returns that place. A place without our seal is no place: then the log is
    /// read from its beginning.
    async fn restore(&self) -> Result<u64, Error> {
        let Some(bytes) = self.reader.log.place()? else { return Ok(0) };
        let snapshot: Snapshot = ledger::store::read_json(&bytes, "meta")?;
        // Restore this before reading the approvals, because what is read is newer.
        self.registry().open().restore(&snapshot);
        for (nth, (id, last)) in (1_usize..).zip(snapshot.recent.iter().chain(&snapshot.open)) {
            rest_after(nth).await;
            self.read_and_learn(id, *last);
        }
        Ok(snapshot.cursor)
    }
}
