//! Follows the log: reads what was posted since, and does what it asks for.

use super::{Error, Worker, read::rows_missing, room::Snapshot};
use crate::history::Approval;
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
/// `meta` key of the reached position and of what was open there; also the name under which it is sealed.
const SNAPSHOT: &str = "approvals";

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

impl Worker {
    /// Follows the log until the worker stops.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut cursor = match self.restore().await {
            Ok(cursor) => cursor,
            Err(error) => {
                tracing::warn!(tenant = %self.tenant.name, %error, "approvals are read from the log's beginning");
                0
            }
        };
        self.followed.send_replace(cursor);
        let mut states = self.tenant.watch();
        let mut kept = Instant::now();
        self.look_at_rules();
        loop {
            let size = states.borrow_and_update().size;
            while cursor < size {
                let to = size.min(cursor + ENTRIES_MAX);
                match tokio::task::block_in_place(|| self.tasks(cursor, to)) {
                    Ok(tasks) => self.carry_out(tasks).await,
                    Err(error) => {
                        tracing::error!(tenant = %self.tenant.name, %error, "the log can't be followed");
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                }
                cursor = to;
                self.room.lock().expect("no holder of the lock panics").followed = cursor;
                self.followed.send_replace(cursor);
                tokio::task::yield_now().await;
            }
            if !self.is_caught_up() {
                self.catch_up().await;
            }
            if kept.elapsed() >= KEEP_EVERY {
                self.keep_place(self.openings.first().unwrap_or(cursor));
                kept = Instant::now();
            }
            let ended = tokio::select! {
                changed = states.changed() => changed.is_err(),
                () = tokio::time::sleep(AGAIN), if !self.is_caught_up() => false,
            };
            if ended {
                return;
            }
        }
    }

    /// Called once every posted entry has been processed. Starts deciding only when the journal holds no
    /// `rules` message that is not posted here yet.
    async fn catch_up(&self) {
        let Ok(topic) = Ident::new("rules") else { return };
        let (rules, posted) = (Subject::System(topic), self.tenant.published().posted);
        match self.ledger.newer(&self.tenant, &rules, posted).await {
            Ok(None) => {
                self.room.lock().expect("no holder of the lock panics").caught_up = true;
                self.look_at_all();
            }
            Ok(Some(_)) => {}
            Err(error) => {
                tracing::debug!(tenant = %self.tenant.name, %error, "nothing is decided before the journal was asked");
            }
        }
    }

    /// The tasks of the entries `from..to`, in order. Each approval is read once.
    fn tasks(&self, from: u64, to: u64) -> Result<Vec<Task>, Error> {
        let mut tasks = Vec::new();
        let mut read = BTreeMap::new();
        let visit = |index, entry: &[u8]| match self.task(index, entry) {
            Some(Task::Read(id, last)) => drop(read.insert(id, last)),
            other => tasks.extend(other),
        };
        let proven = self.ledger.entries(&self.tenant, (from, to), visit);
        proven.map_err(|error| self.distrust(error))?;
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
                let room = self.room.lock().expect("no holder of the lock panics");
                let known = n.is_some_and(|n| room.knows(&id, n));
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
                Task::Open(index) => self.openings.add(index),
                Task::Read(id, last) => self.read_and_learn(&id, last),
                // Read them unless they are already in force: a log that is read from its beginning has many
                // `rules` entries.
                Task::Rules => drop(self.setup_now()),
            }
        }
    }

    /// Reads an approval whose last entry is at leaf index `last` or later.
    fn read_and_learn(&self, id: &Ident, last: u64) {
        let read = tokio::task::block_in_place(|| self.read(id));
        let complete = |approval: &Approval| approval.last_index() >= last;
        match read {
            Ok(Some(approval)) if complete(&approval) => self.learn(&approval),
            Ok(_) => drop(self.distrust(rows_missing())),
            Err(error) => {
                tracing::error!(tenant = %self.tenant.name, approval = %id, %error, "an approval can't be read");
            }
        }
    }

    /// Stores the reached position, so that the next start need not read the whole log. Losing it costs only
    /// time.
    fn keep_place(&self, cursor: u64) {
        let snapshot = self.room.lock().expect("no holder of the lock panics").snapshot(cursor);
        let key = self.tenant.number.meta(SNAPSHOT);
        let value = ledger::store::to_json(&snapshot);
        let tenant = self.tenant.name.as_str();
        let put = || self.ledger.put_sealed(SNAPSHOT, tenant, key, &value);
        if let Err(error) = tokio::task::block_in_place(put) {
            tracing::warn!(tenant = %self.tenant.name, %error, "the reached position was not stored");
        }
    }

    /// Reads what was open at the place kept; returns that place. A place without our seal is no place: then the log is
    /// read from its beginning.
    async fn restore(&self) -> Result<u64, Error> {
        let key = self.tenant.number.meta(SNAPSHOT);
        let kept = self.ledger.sealed(SNAPSHOT, self.tenant.name.as_str(), &key)?;
        let Some(bytes) = kept else { return Ok(0) };
        let snapshot: Snapshot = ledger::store::read_json(&bytes, "meta")?;
        // Restore this before reading the approvals, because what is read is newer.
        self.room.lock().expect("no holder of the lock panics").restore(&snapshot);
        for (nth, (id, last)) in (1_usize..).zip(snapshot.recent.iter().chain(&snapshot.open)) {
            rest_after(nth).await;
            self.read_and_learn(id, *last);
        }
        Ok(snapshot.cursor)
    }
}
