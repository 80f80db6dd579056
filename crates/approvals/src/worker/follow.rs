//! Follows the log: reads what was posted since, and does what it asks for.

use super::{
    Error, Worker, now,
    read::rows_missing,
    room::{COOL_DOWN, RECENT_MAX, Snapshot},
};
use crate::{
    history::Approval,
    unread::{Met, Unread, kind_of},
};
use ledger::{ident::Ident, journal::Subject};
use std::{
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

/// What a decision that pauses a call says in its entry. Labels may say it too: it is judged when it is opened.
const PAUSES: &str = r#""verdict":"approval_needed""#;

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
            let mut unread = Unread::new(RECENT_MAX);
            while cursor < size {
                let to = size.min(cursor + ENTRIES_MAX);
                let met = tokio::task::block_in_place(|| self.meet_all((cursor, to), &mut unread));
                if let Err(error) = met {
                    tracing::error!(tenant = %self.tenant.name, %error, "the log can't be followed");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                cursor = to;
                tokio::task::yield_now().await;
            }
            // Read once, after the last entry: most approvals of a long log are over by then.
            for (nth, (id, last)) in (1_usize..).zip(unread.into_read()) {
                rest_after(nth).await;
                self.read_and_learn(&id, last);
            }
            self.room.lock().expect("no holder of the lock panics").followed = cursor;
            self.followed.send_replace(cursor);
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

    /// Takes the entries `from..to`, in order: decisions to open, rules, and approvals that must be read.
    fn meet_all(&self, range: (u64, u64), unread: &mut Unread) -> Result<(), Error> {
        let mut rules = false;
        let visit = |index, entry: &[u8]| {
            // Searching bytes is a hundred times faster than parsing them.
            let text = std::str::from_utf8(entry).unwrap_or_default();
            match kind_of(text) {
                Some("decision") if text.contains(PAUSES) => self.openings.add(index),
                Some("approval") => {
                    if let Some(met) = Met::read(entry) {
                        self.meet(index, met, unread);
                    }
                }
                Some("rules") => rules = true,
                _ => {}
            }
        };
        let proven = self.ledger.entries(&self.tenant, range, visit);
        proven.map_err(|error| self.distrust(error))?;
        if rules {
            // Read them unless they are already in force.
            drop(self.setup_now());
        }
        Ok(())
    }

    /// Notes an approval that must be read, and that its decision need not be opened.
    fn meet(&self, index: u64, met: Met, unread: &mut Unread) {
        let room = self.room.lock().expect("no holder of the lock panics");
        // This process already knows what it wrote itself.
        let (known, told) = (room.find(&met.message.id).is_some(), &met.message);
        if room.knows(&told.id, told.n) {
            return;
        }
        drop(room);
        told.opening().inspect(|opening| self.openings.done(*opening));
        let cools = told.denies() && met.at().plus_seconds(COOL_DOWN.as_secs()) > now();
        if told.ends() && !known && !cools {
            unread.add_over(met.message.id, index);
        } else {
            unread.add(met.message.id, index);
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
            tracing::warn!(tenant = %self.tenant.name, %error, "the place reached was not kept");
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
