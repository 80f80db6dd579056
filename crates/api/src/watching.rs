//! Watches each log that this server signs, and raises alerts (`proto/formats/alerts.md`).
//!
//! In scope: reading on, and writing each alert once. Out of scope: what an alert is (`decider::watch`), and who closes it
//! (`routes::alerts`). What shows the last alert is in the log, and posting takes nothing that shows no later one. So a
//! crash loses none and doubles none: the next start reads the log again, and goes on behind the last alert.

use crate::act;
use decider::watch::{Settings, Watch};
use ledger::{
    Error, Ledger,
    entry::View,
    feed::{self, Question, Turn},
    store,
    system::alert::{AlertBody, Raise},
    tenant::Tenant,
};
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

/// Watches a log until its task ends.
pub async fn run(ledger: Arc<Ledger>, tenant: Arc<Tenant>, settings: Settings) {
    let mut watch = Watch::new(settings);
    let mut next = None;
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
        if next.is_none() && ledger.catch_up(&tenant).await.is_err() {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        // What was pruned meanwhile is gone.
        let from = next.unwrap_or(0).max(tenant.published().kept_from());
        let began = Instant::now();
        let read = tokio::task::block_in_place(|| read(&ledger, &tenant, &mut watch, from));
        match read {
            Ok((found, to)) => {
                let rest = began.elapsed() * REST;
                for raise in found {
                    tell(&ledger, &tenant, raise).await;
                }
                next = Some(to);
                if to == from {
                    let news = states.wait_for(|published| published.size > to);
                    drop(tokio::time::timeout(IDLE, news).await);
                } else {
                    tokio::time::sleep(rest).await;
                }
            }
            Err(error) => {
                tracing::warn!(tenant = %tenant.name, %error, "the log can't be watched now");
                tokio::time::sleep(AGAIN_MAX).await;
            }
        }
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
