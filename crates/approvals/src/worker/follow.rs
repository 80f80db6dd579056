//! Follows the log: reads what was posted since, and does what it asks for.

use super::backlog::Backlog;
use crate::{
    commands::{
        ApprovalReader, COOL_DOWN, Error, RECENT_MAX, Readiness, Registry, Snapshot, rows_missing,
    },
    history::Approval,
    log::Extent,
    unread::{Met, NotOpenedMet, Unread, kind_of},
};
use ledger::{ident::Ident, journal::Subject, store::Error::Pruned};
use std::{
    ops::Range,
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

/// What a decision that pauses a call says in its entry. Labels may say it too: it is judged when it is opened.
const PAUSES: &str = r#""verdict":"approval_needed""#;

/// What an entry says that puts policies, or items of a list, in force. Others may say it too: then nothing changed.
const IN_FORCE: [&str; 2] = [r#""op":"activate""#, r#""op":"change""#];

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
        // No approval that is open needs an entry that was pruned.
        cursor = cursor.max(self.reader.log.kept_from());
        self.registry().followed.send_replace(cursor);
        let mut kept = Instant::now();
        self.readiness.rules.read();
        loop {
            let size = self.reader.log.extent().size;
            if cursor < size {
                if let Err(error) = self.follow_to(cursor, size).await {
                    tracing::error!(tenant = %self.tenant(), %error, "the log can't be followed");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                cursor = size;
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

    /// Does what the published entries `from..to` ask for. After an error, nothing of it counts as read.
    pub(super) async fn follow_to(&self, from: u64, to: u64) -> Result<(), Error> {
        let mut unread = Unread::new(RECENT_MAX);
        let mut cursor = from;
        while cursor < to {
            let end = to.min(cursor + ENTRIES_MAX);
            self.meet_all(cursor..end, &mut unread)?;
            cursor = end;
            tokio::task::yield_now().await;
        }
        // Read once, after the last entry: most approvals of a long log are over by then.
        for (nth, (id, last)) in (1_usize..).zip(unread.into_read()) {
            rest_after(nth).await;
            self.read_and_learn(&id, last);
        }
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
                self.readiness.rules.check_all();
            }
            Ok(Some(_)) => {}
            Err(error) => {
                tracing::debug!(tenant = %self.tenant(), %error, "nothing is decided before the journal was asked");
            }
        }
    }

    /// Takes the entries of a range, in order: decisions to open, rules, and approvals that must be read.
    fn meet_all(&self, range: Range<u64>, unread: &mut Unread) -> Result<(), Error> {
        let (mut rules, mut policies, mut freezes) = (false, false, false);
        let mut visit = |index, entry: &[u8]| {
            // Searching bytes is a hundred times faster than parsing them.
            let text = std::str::from_utf8(entry).unwrap_or_default();
            match kind_of(text) {
                Some("decision") if text.contains(PAUSES) => self.backlog.add(index),
                Some("approval") => {
                    if let Some(met) = Met::read(entry) {
                        self.meet(index, met, unread);
                    }
                }
                Some("not_opened") => {
                    if let Some(index) = NotOpenedMet::decision(entry) {
                        self.backlog.done(index);
                    }
                }
                Some("rules") => rules = true,
                Some("policy") => policies |= IN_FORCE.iter().any(|op| text.contains(op)),
                Some("freeze") => freezes = true,
                _ => {}
            }
        };
        let proven = self.reader.log.entries(range, &mut visit);
        proven.map_err(|error| self.reader.distrust(error))?;
        if rules {
            // Read them unless they are already in force.
            drop(self.readiness.rules.current());
        }
        if policies || freezes {
            // They may deny now what waits for people, or was approved; and cards say whether a call is frozen.
            self.registry().check_all(self.readiness.clocks.now());
        }
        Ok(())
    }

    /// Notes an approval that must be read, and that its decision need not be opened.
    fn meet(&self, index: u64, met: Met, unread: &mut Unread) {
        let told = &met.message;
        let (known, ours) = {
            let open = self.registry().open();
            // This process already knows what it wrote itself.
            (open.find(&told.id).is_some(), open.knows(&told.id, told.n))
        };
        if ours {
            return;
        }
        told.opening().inspect(|opening| self.backlog.done(*opening));
        let now = self.readiness.clocks.now();
        let cools = told.denies() && met.at().plus_seconds(COOL_DOWN.as_secs()) > now;
        if told.ends() && !known && !cools {
            unread.add_over(met.message.id, index);
        } else {
            unread.add(met.message.id, index);
        }
    }

    /// Reads an approval whose last entry is at leaf index `last` or later.
    fn read_and_learn(&self, id: &Ident, last: u64) {
        let complete = |approval: &Approval| approval.last_index() >= last;
        match self.reader.posted(id) {
            Ok(Some(approval)) if complete(&approval) => self.registry().learn(&approval),
            Ok(_) => drop(self.reader.distrust(rows_missing())),
            // It was over, and nobody is asked about it any more.
            Err(Error::Store(Pruned { .. })) => {}
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
