//! Watches each log that this server signs, and raises alerts (`proto/formats/alerts.md`).
//!
//! In scope: reading on, and writing each alert once. Out of scope: what an alert is (`decider::watch`), and who closes it
//! (`routes::alerts`). What shows the last alert is in the log, and posting takes nothing that shows no later one. So a
//! crash loses none and doubles none: the next start goes on from the saved state, which is never ahead of the alerts that
//! were written, and behind the last alert.

use crate::act;
use decider::watch::{Settings, Watch};
use ledger::{
    Error, Ledger, PlaceOf,
    entry::View,
    feed::{self, Question, Turn},
    log::merkle::{Hash, Tiles as _},
    store,
    system::alert::{AlertBody, Raise},
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause before something is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest pause before an alert is tried again.
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// How often a log without news is checked.
const IDLE: Duration = Duration::from_secs(5);
/// Entries that are read at once.
const PAGE: usize = 500;
/// After each page, it rests so many times as long as the page took: it never takes more than a quarter of a core.
const REST: u32 = 3;
/// So often posting may refuse one alert before it is left out: it would be refused for ever.
const REFUSED_MAX: u32 = 3;

/// The state is saved after so many entries at the latest, and after so many where nothing is left to read.
const SAVED_EVERY: u64 = 10_000;
/// See [`SAVED_EVERY`].
const SAVED_AFTER: u64 = 500;
/// Shortest time between two saved states. A large one has several MB.
const SAVED_APART: Duration = Duration::from_secs(10);

/// Of which entries a saved state is. It stands before the state, with a line break.
#[derive(Deserialize, Serialize)]
struct Of {
    /// Origin of the log.
    origin: String,
    /// Everything below was read.
    next: u64,
    /// Leaf hash of the last entry that was read: another history has another one.
    last: Hash,
}

/// The watch of a log, and how far it is.
struct Reading {
    watch: Watch,
    next: u64,
    /// How far the saved state is, and when it was saved.
    saved: (u64, Option<Instant>),
}

/// Watches a log until its task ends.
pub async fn run(ledger: Arc<Ledger>, tenant: Arc<Tenant>, settings: Settings) {
    let mut reading: Option<Reading> = None;
    let mut states = tenant.watch();
    loop {
        if tenant.is_deleted() {
            return;
        }
        if !tenant.signs() || !tenant.may_act() || tenant.halted().is_some() {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        // What an earlier process wrote may wait in the journal still: it tells where to go on.
        if reading.is_none() && ledger.catch_up(&tenant).await.is_err() {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        let first = || tokio::task::block_in_place(|| begin(&ledger, &tenant, &settings));
        let reading = reading.get_or_insert_with(first);
        // What was pruned meanwhile is gone.
        let from = reading.next.max(tenant.published().kept_from());
        let began = Instant::now();
        let read = tokio::task::block_in_place(|| read(&ledger, &tenant, &mut reading.watch, from));
        match read {
            Ok((found, to)) => {
                let read = began.elapsed();
                for raise in found {
                    tell(&ledger, &tenant, raise).await;
                }
                reading.next = to;
                let began = Instant::now();
                tokio::task::block_in_place(|| reading.save(&ledger, &tenant, to == from));
                let saved = began.elapsed();
                if to == from {
                    let news = states.wait_for(|published| published.size > to);
                    drop(tokio::time::timeout(IDLE, news).await);
                } else {
                    tokio::time::sleep((read + saved) * REST).await;
                }
            }
            Err(error) => {
                tracing::warn!(tenant = %tenant.name, %error, "the log can't be watched now");
                tokio::time::sleep(AGAIN_MAX).await;
            }
        }
    }
}

/// Goes on from the saved state, if it is of this log and of these settings. Else everything is read again.
fn begin(ledger: &Ledger, tenant: &Tenant, settings: &Settings) -> Reading {
    let saved = ledger.place(PlaceOf::Watch, tenant, "").unwrap_or_else(|error| {
        tracing::warn!(tenant = %tenant.name, %error, "the saved state of the watch is not ours");
        None
    });
    let restored = saved.as_deref().and_then(|saved| restore(ledger, tenant, settings, saved));
    let (watch, next) = restored.unwrap_or_else(|| (Watch::new(settings.clone()), 0));
    tracing::info!(tenant = %tenant.name, from = next, "the log is watched");
    Reading { watch, next, saved: (next, None) }
}

fn restore(
    ledger: &Ledger,
    tenant: &Tenant,
    settings: &Settings,
    saved: &[u8],
) -> Option<(Watch, u64)> {
    let end = saved.iter().position(|byte| *byte == b'\n')?;
    let of: Of = serde_json::from_slice(&saved[..end]).ok()?;
    if of.origin != tenant.origin || last(ledger, tenant, of.next)? != of.last {
        return None;
    }
    Some((Watch::restore(settings.clone(), &saved[end + 1..])?, of.next))
}

/// Leaf hash of the last entry below `next`.
fn last(ledger: &Ledger, tenant: &Tenant, next: u64) -> Option<Hash> {
    let published = tenant.published();
    let index = next.checked_sub(1).filter(|index| *index < published.size)?;
    let hashes = ledger.reader(tenant, &published).hashes(0, index, 1).ok()?;
    hashes.first().copied()
}

impl Reading {
    /// Saves the state, if enough was read since. All alerts of what was read are written by now.
    fn save(&mut self, ledger: &Ledger, tenant: &Tenant, is_idle: bool) {
        let (saved, at) = self.saved;
        let read = self.next.saturating_sub(saved);
        let soon = at.is_some_and(|at| at.elapsed() < SAVED_APART);
        if read < SAVED_AFTER || (!is_idle && read < SAVED_EVERY) || soon {
            return;
        }
        let Some(last) = last(ledger, tenant, self.next) else { return };
        let of = Of { origin: tenant.origin.clone(), next: self.next, last };
        let mut bytes = serde_json::to_vec(&of).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend(self.watch.save());
        if let Err(error) = ledger.keep_place(PlaceOf::Watch, tenant, "", &bytes) {
            tracing::warn!(tenant = %tenant.name, %error, "the state of the watch can't be saved");
        }
        self.saved = (self.next, Some(Instant::now()));
    }
}

/// Reads on. Returns the alerts that the log does not have, and where to go on.
fn read(
    ledger: &Ledger,
    tenant: &Tenant,
    watch: &mut Watch,
    from: u64,
) -> Result<(Vec<Raise>, u64), store::Error> {
    let published = tenant.published();
    let reader = ledger.reader(tenant, &published);
    let turn = Turn { from: Some(from), entries: PAGE, now: ledger.now() };
    let mut entries = Vec::new();
    let page = feed::page(&reader, &Question::default(), turn, |index, entry| {
        entries.push((index, entry.to_owned()));
    })?;
    let mut found = Vec::new();
    for (index, entry) in entries {
        let corrupt = || store::Error::Corrupt { family: "entries", what: "an entry" };
        let view = View::parse(entry.as_bytes()).ok_or_else(corrupt)?;
        found.extend(watch.take(index, &view));
    }
    found.retain(|raise| published.alerts.at.is_none_or(|at| raise.at > at));
    Ok((found, page.scanned.1))
}

/// Writes an alert. Returns once it is in the log.
async fn tell(ledger: &Ledger, tenant: &Arc<Tenant>, raise: Raise) {
    let (at, rule, name) = (raise.at, raise.rule, raise.name.clone());
    let body = AlertBody::Raise(Box::new(raise));
    let (mut pause, mut refused) = (AGAIN, 0);
    loop {
        let told = act::record(ledger, tenant, "alert", &body).await;
        let Err(error) = told else {
            tracing::info!(tenant = %tenant.name, ?rule, name, "an alert is raised");
            return;
        };
        // Whether it was written may be unknown: the log says.
        let caught_up = ledger.catch_up(tenant).await.is_ok();
        if caught_up && tenant.published().alerts.at.is_some_and(|last| last >= at) {
            return;
        }
        refused += u32::from(matches!(error, Error::NotPosted { .. }));
        tracing::warn!(tenant = %tenant.name, %error, name, "an alert can't be written yet");
        if refused == REFUSED_MAX || tenant.is_deleted() {
            tracing::error!(tenant = %tenant.name, name, "an alert does not fit the log, and is left out");
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_MAX);
    }
}
