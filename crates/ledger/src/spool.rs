//! The spool: what one server told before it is in the journal (`record: later`). A record is fsynced here, then told,
//! then posted.
//!
//! In scope: keeping records until they are posted, through any crash. Out of scope: what they say, and posting them.
//! Whoever loses this folder loses what was told and not posted; nothing else does.

mod segment;

pub use segment::remove;

use crate::{atomic, ident::Ident, keyring, seal::SealKey};
use data_encoding::HEXLOWER;
use segment::Segments;
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::{Notify, oneshot};

/// Most records of one tenant that wait to be posted. From then on, verdicts are recorded before they are told.
pub const WAITING_MAX: usize = 10_000;
/// As many bytes of them.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// Bytes of the name of a run.
const RUN_BYTES: usize = 16;

/// The place of a record: the run of the spool in which it was written, and its number there, from 1. No run uses a
/// number twice, so a number that never comes to the log was told and lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpoolPlace {
    /// The run: 32 hex digits, chosen at each start.
    pub id: String,
    /// The number.
    pub number: u64,
}

impl SpoolPlace {
    /// A place that takes as much room as any.
    pub fn longest() -> Self {
        Self { id: "f".repeat(2 * RUN_BYTES), number: (1 << 53) - 1 }
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spooled {
    /// Its place.
    pub place: SpoolPlace,
    /// Whose decision it is.
    pub producer: Ident,
    /// The event, as JSON text.
    pub body: String,
}

/// Why a record is not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSpooled {
    /// Too many wait.
    #[error("{WAITING_MAX} records, or {WAITING_BYTES_MAX} bytes, wait to be posted")]
    Full,
    /// The spool could not be written before, so what it holds is unknown until the next start.
    #[error("the spool can't be written: {0}")]
    Broken(String),
}

/// The spool of one tenant on one server.
pub struct Spool {
    run: String,
    state: Mutex<State>,
    segments: Mutex<Segments>,
    /// Wakes the task that posts.
    grown: Notify,
}

#[derive(Default)]
struct State {
    last: u64,
    queue: Vec<Queued>,
    /// True while a thread writes the queue.
    writing: bool,
    broken: Option<String>,
    /// Fsynced, in order, each with the number of its segment.
    waiting: VecDeque<(u64, Arc<Spooled>)>,
    /// Bytes of all records that are queued or waiting.
    bytes: usize,
    count: usize,
}

impl State {
    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|(_, record)| record.body.len()).sum()
    }
}

struct Queued {
    record: Arc<Spooled>,
    told: oneshot::Sender<Result<(), NotSpooled>>,
}

impl Spool {
    /// Opens the spool of a tenant in `dir`, which is made if it is not there. Records of earlier runs wait to be posted
    /// again.
    ///
    /// Errors: a file can't be read, or was changed by somebody without our key. `dir` stays as it is.
    pub fn open(dir: &Path, tenant: &Ident, key: Arc<SealKey>) -> io::Result<Arc<Self>> {
        atomic::make_folder(dir)?;
        let run = HEXLOWER.encode(&keyring::random(RUN_BYTES));
        let (segments, found) = Segments::open(dir.to_owned(), tenant.clone(), key)?;
        let mut state = State::default();
        for (segment, record) in found {
            state.bytes += record.body.len();
            state.count += 1;
            state.waiting.push_back((segment, Arc::new(record)));
        }
        let (state, segments) = (Mutex::new(state), Mutex::new(segments));
        Ok(Arc::new(Self { run, state, segments, grown: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    /// Keeps a record. It may be told once the receiver says that it is fsynced. `body` makes the event for its place.
    pub fn keep(
        self: &Arc<Self>,
        producer: &Ident,
        body: impl FnOnce(&SpoolPlace) -> String,
    ) -> Result<(SpoolPlace, oneshot::Receiver<Result<(), NotSpooled>>), NotSpooled> {
        let (told, fsynced) = oneshot::channel();
        let mut state = self.state();
        if let Some(why) = &state.broken {
            return Err(NotSpooled::Broken(why.clone()));
        }
        if state.count >= WAITING_MAX || state.bytes >= WAITING_BYTES_MAX {
            return Err(NotSpooled::Full);
        }
        state.last += 1;
        let place = SpoolPlace { id: self.run.clone(), number: state.last };
        let body = body(&place);
        state.bytes += body.len();
        state.count += 1;
        let record = Spooled { place: place.clone(), producer: producer.clone(), body };
        state.queue.push(Queued { record: Arc::new(record), told });
        if !state.writing {
            state.writing = true;
            let spool = Arc::clone(self);
            tokio::task::spawn_blocking(move || spool.write());
        }
        Ok((place, fsynced))
    }

    /// Writes what is queued until nothing is. Each round is one fsync.
    fn write(&self) {
        loop {
            let queue = {
                let mut state = self.state();
                if state.queue.is_empty() {
                    state.writing = false;
                    return;
                }
                std::mem::take(&mut state.queue)
            };
            let records: Vec<&Spooled> = queue.iter().map(|queued| &*queued.record).collect();
            let written =
                self.segments.lock().expect("no holder of the lock panics").append(&records);
            let mut state = self.state();
            match written {
                Ok(segment) => {
                    let records = queue.iter().map(|queued| Arc::clone(&queued.record));
                    state.waiting.extend(records.map(|record| (segment, record)));
                    drop(state);
                    self.grown.notify_one();
                    for queued in queue {
                        drop(queued.told.send(Ok(())));
                    }
                }
                Err(error) => {
                    // What is on the disk is unknown. Nothing is told from it before the next start has read it.
                    tracing::error!(%error, "the spool can't be written; verdicts are recorded before they are told");
                    let why = error.to_string();
                    state.broken = Some(why.clone());
                    let queue = queue.into_iter().chain(std::mem::take(&mut state.queue));
                    for queued in queue {
                        drop(queued.told.send(Err(NotSpooled::Broken(why.clone()))));
                    }
                    state.writing = false;
                    return;
                }
            }
        }
    }

    /// Waits until a record is to be posted. Returns the first ones, at most `max`. [`Spool::posted`] removes them.
    pub async fn next(&self, max: usize) -> Vec<Arc<Spooled>> {
        loop {
            let woken = self.grown.notified();
            let first: Vec<_> = self
                .state()
                .waiting
                .iter()
                .take(max)
                .map(|(_, record)| Arc::clone(record))
                .collect();
            if !first.is_empty() {
                return first;
            }
            woken.await;
        }
    }

    /// Removes records that are in the log. Files that hold nothing else are deleted.
    pub fn posted(&self, places: &HashSet<SpoolPlace>) -> io::Result<()> {
        let mut segments = self.segments.lock().expect("no holder of the lock panics");
        let mut state = self.state();
        let before = (state.waiting.len(), state.waiting_bytes());
        state.waiting.retain(|(_, record)| !places.contains(&record.place));
        let after = (state.waiting.len(), state.waiting_bytes());
        state.count -= before.0 - after.0;
        state.bytes -= before.1 - after.1;
        let first = state.waiting.front().map(|(segment, _)| *segment);
        // While a thread writes, its segment is not known yet: the current one stays.
        let idle = first.is_none() && !state.writing;
        drop(state);
        segments.delete_before(first, idle)
    }

    /// The run of this start.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Number of records that wait to be posted.
    pub fn waiting(&self) -> usize {
        self.state().count
    }

    /// Why nothing more is kept here, until the next start.
    pub fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }
}

/// Folder of the segments of all tenants.
type Dir = PathBuf;

#[cfg(test)]
mod tests;
