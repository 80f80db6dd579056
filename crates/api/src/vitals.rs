//! What was observed of the journals since the start: whether they answer, and whether posting keeps up.
//!
//! In scope: what follows from the observations. Out of scope: making them (`background`), what they mean for a tenant
//! (`health`).

use crate::trouble::Trouble;
use ledger::{
    ident::Ident,
    tenant::{QUEUE_MESSAGES_MAX, Tenant},
};
use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A journal that did not answer for this long is unreachable. A restarting broker is back sooner.
const AWAY_AFTER: Duration = Duration::from_secs(3);
/// If messages wait and none was posted for this long, posting is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(20);
/// If messages waited at every check for this long, posting is behind.
const BEHIND_AFTER: Duration = Duration::from_secs(120);
/// Up to this many waiting messages are normal.
const ON_THEIR_WAY: u64 = 4096;
/// A start is over after this time, even if a single tenant still reads (P12).
const START_MAX: Duration = Duration::from_secs(60);

/// What was observed of the journals.
pub struct Vitals {
    since: Instant,
    started: AtomicBool,
    journals: Mutex<HashMap<Ident, Seen>>,
    /// Why the spool of a tenant can't be read.
    spools: Mutex<HashMap<Ident, String>>,
}

/// What was observed of one journal.
#[derive(Clone, Debug)]
struct Seen {
    /// Why it did not answer, since when, and what was posted then. Later posting shows that it is back.
    away: Option<(String, Instant, u64)>,
    progress: Progress,
}

/// The progress of posting.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Number of messages that wait.
    waiting: u64,
    posted: u64,
    /// Last time at which something was posted or nothing waited.
    moved: Instant,
    /// Last time at which few messages waited.
    level: Instant,
}

impl Progress {
    fn new(now: Instant) -> Self {
        Self { waiting: 0, posted: 0, moved: now, level: now }
    }

    fn look(&mut self, now: Instant, waiting: u64, posted: u64) {
        if waiting <= ON_THEIR_WAY {
            self.level = now;
        }
        if waiting == 0 || posted != self.posted {
            self.moved = now;
        }
        (self.waiting, self.posted) = (waiting, posted);
    }

    fn trouble(&self, now: Instant) -> Option<Trouble> {
        let waiting = self.waiting;
        if waiting > 0 && now.saturating_duration_since(self.moved) >= STUCK_AFTER {
            let detail = format!(
                "{waiting} messages wait, and none is posted: look at this server's disk and log."
            );
            return Some(Trouble { code: "posting_stuck", detail });
        }
        if waiting > 0 && now.saturating_duration_since(self.level) >= BEHIND_AFTER {
            let detail = format!(
                "{waiting} messages wait to be posted: more comes in than this server posts."
            );
            return Some(Trouble { code: "posting_behind", detail });
        }
        None
    }
}

impl Default for Vitals {
    fn default() -> Self {
        let (started, journals) = (AtomicBool::new(false), Mutex::default());
        Self { since: Instant::now(), started, journals, spools: Mutex::default() }
    }
}

impl Vitals {
    fn seen(&self, tenant: &Ident) -> Option<Seen> {
        self.journals.lock().expect("no holder of the lock panics").get(tenant).cloned()
    }

    /// Notes that the spool of a tenant can't be read.
    pub fn lost_spool(&self, tenant: &Ident, why: String) {
        self.spools.lock().expect("no holder of the lock panics").insert(tenant.clone(), why);
    }

    /// Why the spool of a tenant can't be read, if so.
    pub fn spool_of(&self, tenant: &Ident) -> Option<String> {
        self.spools.lock().expect("no holder of the lock panics").get(tenant).cloned()
    }

    /// Whether the start is over: `is_done`, or it takes too long. Once true, it stays.
    pub fn has_started(&self, is_done: impl FnOnce() -> bool) -> bool {
        if self.started.load(Ordering::Relaxed) {
            return true;
        }
        let started = self.since.elapsed() >= START_MAX || is_done();
        self.started.fetch_or(started, Ordering::Relaxed);
        started
    }

    /// Notes the last sequence of a tenant's journal, or why it did not answer.
    pub fn note(&self, tenant: &Tenant, last: Result<u64, String>) {
        let now = Instant::now();
        let posted = tenant.position().posted;
        let queued = QUEUE_MESSAGES_MAX.saturating_sub(tenant.queue.available_permits()) as u64;
        let mut journals = self.journals.lock().expect("no holder of the lock panics");
        let seen = journals.entry(tenant.name.clone());
        let seen = seen.or_insert_with(|| Seen { away: None, progress: Progress::new(now) });
        match last {
            Ok(last) => {
                seen.away = None;
                seen.progress.look(now, queued.max(last.saturating_sub(posted)), posted);
            }
            Err(why) => {
                let since = seen.away.as_ref().map_or(now, |(_, since, _)| *since);
                seen.away = Some((why, since, posted));
            }
        }
    }

    /// Why a tenant's journal did not answer at the last check, if nothing was posted since.
    pub fn away(&self, tenant: &Tenant) -> Option<String> {
        let (why, since, posted) = self.seen(&tenant.name)?.away?;
        (since.elapsed() >= AWAY_AFTER && posted == tenant.position().posted).then_some(why)
    }

    /// What is wrong with the posting of a tenant's journal.
    pub fn posting(&self, tenant: &Ident) -> Option<Trouble> {
        self.seen(tenant)?.progress.trouble(Instant::now())
    }

    /// Number of messages in a tenant's journal that were not posted at the last check. `None` if it did not
    /// answer.
    pub fn lag(&self, tenant: &Ident) -> Option<u64> {
        let seen = self.seen(tenant)?;
        seen.away.is_none().then_some(seen.progress.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posting_that_is_stuck_or_behind_is_seen() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let code = |progress: &Progress, seconds| progress.trouble(at(seconds)).map(|t| t.code);
        let mut progress = Progress::new(begin);
        progress.look(at(5), 9, 1);
        assert_eq!(code(&progress, 24), None);
        assert_eq!(code(&progress, 25), Some("posting_stuck"));
        progress.look(at(25), 9, 2);
        assert_eq!(code(&progress, 40), None, "it moves");
        for seconds in (30..=140).step_by(5) {
            progress.look(at(seconds), 9000, seconds);
        }
        assert_eq!(code(&progress, 144), None);
        assert_eq!(code(&progress, 145), Some("posting_behind"), "many wait since 25");
        progress.look(at(125), 0, 130);
        assert_eq!(code(&progress, 1000), None);
    }
}
