//! The state of each tenant: whether its log is signed, its journal accepts messages, posting keeps up, and
//! approvals are decided. Liveness, readiness and alarms are three questions; the last two are answered from
//! here.

use crate::app::App;
use ledger::{
    ident::Ident,
    journal::Journal,
    tenant::{QUEUE_MESSAGES_MAX, Tenant},
};
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::timeout};

/// How often journals are asked for their extent, and the pause after one that did not answer.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A journal that did not answer for this long is unreachable. A restarting broker is back sooner.
const AWAY_AFTER: Duration = Duration::from_secs(3);
/// Longest wait for a journal's answer.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// If messages wait and none was posted for this long, posting is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(20);
/// If messages waited at every check for this long, posting is behind.
const BEHIND_AFTER: Duration = Duration::from_secs(120);
/// Up to this many waiting messages are normal.
const ON_THEIR_WAY: u64 = 4096;
/// A start is over after this time, even if a single tenant still reads (P12).
const START_MAX: Duration = Duration::from_secs(60);

/// Every code of a [`Trouble`].
pub const CODES: [&str; 12] = [
    "log_halted",
    "catching_up",
    "journal_unavailable",
    "journal_refuses",
    "posting_stuck",
    "posting_behind",
    "clock",
    "starting",
    "rules_not_in_force",
    "key_missing",
    "damaged",
    "unsigned_messages",
];

/// A fault of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Stable code (`proto/errors.md`).
    pub code: &'static str,
    /// For the operator: what is wrong, and what to do.
    pub detail: String,
}

/// What was observed of the journals.
pub struct Vitals {
    since: Instant,
    started: AtomicBool,
    journals: Mutex<HashMap<Ident, Seen>>,
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
        Self { since: Instant::now(), started, journals }
    }
}

impl Vitals {
    fn seen(&self, tenant: &Ident) -> Option<Seen> {
        self.journals.lock().expect("no holder of the lock panics").get(tenant).cloned()
    }

    fn note(&self, tenant: &Tenant, last: Result<u64, String>) {
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
    fn away(&self, tenant: &Tenant) -> Option<String> {
        let (why, since, posted) = self.seen(&tenant.name)?.away?;
        (since.elapsed() >= AWAY_AFTER && posted == tenant.position().posted).then_some(why)
    }

    /// Number of messages in a tenant's journal that were not posted at the last check. `None` if it did not
    /// answer.
    pub fn lag(&self, tenant: &Ident) -> Option<u64> {
        let seen = self.seen(tenant)?;
        seen.away.is_none().then_some(seen.progress.waiting)
    }
}

impl App {
    /// Checks all journals, and the files of rules that are not in force, until the task ends.
    pub async fn watch_journals(self: Arc<Self>) {
        loop {
            let mut looks = JoinSet::new();
            for tenant in self.ledger.tenants().into_iter().filter(|t| t.halted().is_none()) {
                let app = Arc::clone(&self);
                looks.spawn(async move { app.look(&tenant).await });
            }
            let mut all_answer = true;
            while let Some(answered) = looks.join_next().await {
                all_answer &= answered.unwrap_or(true);
            }
            tokio::time::sleep(if all_answer { LOOK_EVERY } else { LOOK_AGAIN }).await;
        }
    }

    /// Checks one tenant. True if its journal answered.
    async fn look(&self, tenant: &Tenant) -> bool {
        if let Some(worker) = self.worker(&tenant.name) {
            tokio::task::block_in_place(|| worker.readiness().rules.read_if_absent());
        }
        let last = match tenant.journal() {
            Journal::JetStream(stream) => match timeout(LOOK_MAX, stream.state()).await {
                Ok(state) => state.map(|state| state.last).map_err(|error| error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            },
            Journal::Embedded(_) | Journal::Absent => Ok(0),
        };
        let answered = last.is_ok();
        self.vitals.note(tenant, last);
        answered
    }

    /// Whether everything that was open was read since the start, and the logs are claimed. Once true, it stays.
    fn has_started(&self) -> bool {
        let vitals = &self.vitals;
        if vitals.started.load(Ordering::Relaxed) {
            return true;
        }
        let mut tenants = self.ledger.tenants().into_iter().filter(|t| t.halted().is_none());
        let has_looked =
            |t: &Tenant| self.worker(&t.name).is_none_or(|w| w.readiness().has_read_log());
        // A tenant without a genesis has nothing to sign yet.
        let signs = |t: &Tenant| t.signs() || t.position().size == 0;
        let started = vitals.since.elapsed() >= START_MAX
            || tenants.all(|tenant| has_looked(&tenant) && signs(&tenant));
        vitals.started.fetch_or(started, Ordering::Relaxed);
        started
    }

    /// Why requests of all tenants should go elsewhere. Empty if this server is ready.
    pub fn not_ready(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let mut add = |code, detail: &str| troubles.push(Trouble { code, detail: detail.into() });
        if !self.has_started() {
            add("starting", "The log is being read, or is not claimed yet; wait.");
        }
        let tenants = self.ledger.tenants();
        let unsigned =
            |t: &Arc<Tenant>| t.halted().is_none() && !t.signs() && t.position().size > 0;
        if !tenants.is_empty() && tenants.iter().all(|t| t.is_fenced()) {
            add("log_halted", "Another server signs every log of this one: send requests there.");
        } else if self.has_started() && !tenants.is_empty() && tenants.iter().all(unsigned) {
            add("catching_up", "No log can be claimed: look at the broker's disk and quorum.");
        }
        let absent = |t: &Arc<Tenant>| matches!(t.journal(), Journal::Absent);
        let away = |t: &Arc<Tenant>| t.waiting().is_some() || self.vitals.away(t).is_some();
        let connected = self.journal_connected();
        if !connected || (!tenants.is_empty() && tenants.iter().all(|t| absent(t) || away(t))) {
            add("journal_unavailable", "No journal answers: look at the broker and its quorum.");
        }
        troubles
    }

    /// True if the broker is connected, and always with the embedded journal.
    pub fn journal_connected(&self) -> bool {
        self.broker.as_ref().is_none_or(ledger::journal::jetstream::Connection::connected)
    }

    /// Faults of a tenant. While it has any of the first ones, its requests are not served.
    pub fn troubles(&self, tenant: &Tenant) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let mut add = |code, detail: String| troubles.push(Trouble { code, detail });
        if let Some(reason) = tenant.halted() {
            add("log_halted", reason);
        }
        if let Some(mark) = tenant.must_reach() {
            let size = mark.size;
            add(
                "catching_up",
                format!("A restored database posts the journal again up to size {size}; wait."),
            );
        }
        if let Some(seq) = tenant.rests_on() {
            add(
                "catching_up",
                format!(
                    "Journal messages are gone; message {seq}, which says what they were, is not posted yet; wait."
                ),
            );
        }
        if !tenant.signs() && tenant.waiting().is_none() && tenant.halted().is_none() {
            let wait = "The journal is read to its end; then this server claims the log and signs it; wait.";
            add("catching_up", wait.into());
        }
        let away = tenant.waiting().or_else(|| self.vitals.away(tenant));
        if let Some(why) = away.filter(|_| tenant.halted().is_none()) {
            let look = "look at the broker and its quorum";
            add("journal_unavailable", format!("The journal does not answer ({why}): {look}."));
        }
        if let Some(why) = tenant.journal_refuses() {
            add(
                "journal_refuses",
                format!(
                    "The journal did not take the last message ({why}): look at the broker's disk and quorum."
                ),
            );
        }
        let worker = self.worker(&tenant.name).filter(|_| tenant.halted().is_none());
        let wrong = tenant.time_wrong().map(|wrong| wrong.to_string());
        if let Some(why) = wrong.or_else(|| worker.as_ref()?.readiness().clocks.wrong()) {
            add("clock", why);
        }
        if let Some(worker) = worker {
            if !worker.readiness().has_read_log() {
                add("starting", "Open approvals are being read; wait.".into());
            } else if !worker.readiness().follows_rules() {
                add(
                    "rules_not_in_force",
                    worker
                        .readiness()
                        .rules
                        .known()
                        .err()
                        .map_or_else(|| "The rules are being read.".into(), |e| e.to_string()),
                );
            }
        }
        if tenant.halted().is_none() {
            let seen = self.vitals.seen(&tenant.name);
            troubles.extend(seen.and_then(|seen| seen.progress.trouble(Instant::now())));
        }
        troubles
    }

    /// Faults of a tenant that stop no requests. A person must act all the same.
    pub fn alarms(&self, tenant: &Tenant) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if let Some(missing) = tenant.missing_key() {
            let detail = format!("{missing}. Put it back, and start the server again.");
            troubles.push(Trouble { code: "key_missing", detail });
        }
        let found = !self.scrub.status(&tenant.name).findings.is_empty();
        let found = found.then(|| "the scrub found what does not agree".to_owned());
        if let Some(what) = tenant.damage().or(found) {
            let detail = format!(
                "The database is damaged: {what}. Run `countersign fsck`, then restore a backup."
            );
            troubles.push(Trouble { code: "damaged", detail });
        }
        if tenant.unsigned() > 0 {
            let count = tenant.unsigned();
            let detail = format!(
                "{count} messages without our signature: somebody else writes to the journal."
            );
            troubles.push(Trouble { code: "unsigned_messages", detail });
        }
        troubles
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
