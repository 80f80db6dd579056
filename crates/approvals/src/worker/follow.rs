//! Following the log: what was posted since, and what must be done about it.

use super::{Error, Worker, room::Snapshot};
use crate::{history::Approval, opening::Opening, setup::Applied};
use ledger::{
    entry::{Kind, View},
    ident::Ident,
    store::{Family, Read as _},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Most entries that are looked at in one go.
const ENTRIES_MAX: u64 = 4096;
/// Most approvals that are being opened at once.
const OPENING_MAX: usize = 64;
/// How often the place reached is kept, while entries come.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Pause before a decision is looked at again that could not be opened.
const AGAIN: Duration = Duration::from_secs(1);
/// `meta` key of the place reached, and of what was open there.
const SNAPSHOT: &str = "approvals";

/// What an entry asks of the worker.
enum Task {
    /// The decision at this index may open an approval.
    Open(u64),
    /// This approval has a new entry.
    Read(Ident),
    /// These rules were applied.
    Rules(Applied),
}

/// Openings under way: the place kept never passes them.
#[derive(Default)]
struct UnderWay(std::sync::Mutex<BTreeSet<u64>>);

impl UnderWay {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

impl Worker {
    /// Follows the log for ever.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut cursor = match self.restore() {
            Ok(cursor) => cursor,
            Err(error) => {
                tracing::warn!(tenant = %self.tenant.name, %error, "approvals are read from the log's beginning");
                0
            }
        };
        let mut states = self.tenant.watch();
        let (room, under_way) =
            (Arc::new(Semaphore::new(OPENING_MAX)), Arc::new(UnderWay::default()));
        let mut kept = Instant::now();
        self.look_at_rules();
        loop {
            let size = states.borrow_and_update().size;
            while cursor < size {
                let to = size.min(cursor + ENTRIES_MAX);
                match tokio::task::block_in_place(|| self.tasks(cursor, to)) {
                    Ok(tasks) => self.carry_out(tasks, &room, &under_way),
                    Err(error) => {
                        tracing::error!(tenant = %self.tenant.name, %error, "the log can't be followed");
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                }
                cursor = to;
                tokio::task::yield_now().await;
            }
            self.caught_up();
            if kept.elapsed() >= KEEP_EVERY {
                self.keep_place(under_way.lock().first().copied().unwrap_or(cursor));
                kept = Instant::now();
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    fn caught_up(&self) {
        self.room.lock().expect("no holder of the lock panics").caught_up = true;
    }

    /// What the entries `from..to` ask for, in their order; an approval once.
    fn tasks(&self, from: u64, to: u64) -> Result<Vec<Task>, Error> {
        let mut tasks = Vec::new();
        let mut read = BTreeSet::new();
        let number = self.tenant.number;
        let (mut index, end) = (from, number.numbered(to));
        self.ledger.store().scan(Family::Entries, &number.numbered(from), |key, entry| {
            if key >= end.as_slice() {
                return false;
            }
            match self.task(index, entry) {
                Some(Task::Read(id)) => drop(read.insert(id)),
                other => tasks.extend(other),
            }
            index += 1;
            true
        })?;
        tasks.extend(read.into_iter().map(Task::Read));
        Ok(tasks)
    }

    fn task(&self, index: u64, entry: &[u8]) -> Option<Task> {
        // Most entries are none of these: a look at their bytes is a hundred times faster than parsing them.
        let text = std::str::from_utf8(entry).ok()?;
        if text.contains(r#""approval_needed""#) {
            let opening = Opening::of_entry(&self.tenant.name, index, entry);
            if opening.is_some() {
                return Some(Task::Open(index));
            }
        }
        if !text.contains(r#""kind":"approval""#) && !text.contains(r#""kind":"rules""#) {
            return None;
        }
        let view = View::parse(entry)?;
        match view.kind {
            Kind::Approval => {
                let id = Ident::new(view.text(&["event", "approval_id"])?).ok()?;
                let n = view.at(&["event", "n"]).and_then(ledger::json::Value::as_u64);
                // What this process wrote it knows already.
                let room = self.room.lock().expect("no holder of the lock panics");
                let known = n.is_some_and(|n| room.knows(&id, n));
                (!known).then_some(Task::Read(id))
            }
            Kind::Rules => view.event_as().map(Task::Rules),
            _ => None,
        }
    }

    fn carry_out(
        self: &Arc<Self>,
        tasks: Vec<Task>,
        room: &Arc<Semaphore>,
        under_way: &Arc<UnderWay>,
    ) {
        for task in tasks {
            match task {
                Task::Open(index) => {
                    under_way.lock().insert(index);
                    let (room, under_way) = (Arc::clone(room), Arc::clone(under_way));
                    let opened = open_at_last(Arc::downgrade(self), index, room);
                    tokio::spawn(async move {
                        opened.await;
                        under_way.lock().remove(&index);
                    });
                }
                Task::Read(id) => self.read_and_learn(&id),
                Task::Rules(applied) => self.rules_applied(applied),
            }
        }
    }

    fn read_and_learn(&self, id: &Ident) {
        match tokio::task::block_in_place(|| Approval::read(&self.ledger, &self.tenant, id)) {
            Ok(Some(approval)) => self.learn(approval),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(tenant = %self.tenant.name, approval = %id, %error, "an approval can't be read");
            }
        }
    }

    /// Keeps the place reached, so that the next start need not read the whole log. Nothing but time is lost without it.
    fn keep_place(&self, cursor: u64) {
        let snapshot = self.room.lock().expect("no holder of the lock panics").snapshot(cursor);
        let key = self.tenant.number.meta(SNAPSHOT);
        let value = ledger::store::to_json(&snapshot);
        let write = std::iter::once(((Family::Meta, key), Some(value)));
        if let Err(error) = tokio::task::block_in_place(|| self.ledger.store().commit(write)) {
            tracing::warn!(tenant = %self.tenant.name, %error, "the place reached was not kept");
        }
    }

    /// Reads what was open at the place kept; returns that place.
    fn restore(&self) -> Result<u64, Error> {
        let key = self.tenant.number.meta(SNAPSHOT);
        let Some(bytes) = self.ledger.store().get(Family::Meta, &key)? else { return Ok(0) };
        let snapshot: Snapshot = ledger::store::read_json(&bytes, "meta")?;
        let cursor = snapshot.cursor;
        for id in snapshot.recent.iter().chain(&snapshot.open) {
            self.read_and_learn(id);
        }
        self.room.lock().expect("no holder of the lock panics").restore(snapshot);
        Ok(cursor)
    }
}

/// Opens the approval of the decision at `index`, however long that takes: the follower does not wait for it, because
/// what it waits for (rules that are applied) comes along the same log.
async fn open_at_last(worker: Weak<Worker>, index: u64, room: Arc<Semaphore>) {
    while let Some(worker) = worker.upgrade() {
        let Ok(permit) = room.acquire().await else { return };
        match worker.open(index).await {
            Ok(_) => return,
            // It is told once, where rules are looked at.
            Err(Error::NotReady(_)) => {}
            Err(error) => {
                let tenant = &worker.tenant.name;
                tracing::warn!(%tenant, index, %error, "an approval could not be opened yet");
            }
        }
        drop((permit, worker));
        tokio::time::sleep(AGAIN).await;
    }
}
