//! The tasks beside requests: unfinished erasures, trimming, old payload, the scrub, watching journals, receipts by message.

use crate::{app::App, event_result, log, replicas::copies};
use ledger::{
    Error, chores,
    expiry::{self, Buried},
    journal::{Journal, jetstream},
    pruning, replica, spool,
    tenant::Tenant,
    writer::ReceiptWanted,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};

/// How often unfinished erasures, old journal messages and old payload are searched for.
const HOUSE_EVERY: Duration = Duration::from_secs(60);

/// How often tenants are looked for whose witnesses are not asked yet.
const TENANTS_EVERY: Duration = Duration::from_secs(1);
/// How often the scrub does a step.
const SCRUB_EVERY: Duration = Duration::from_secs(1);
/// Least number of keys that one step of the scrub reads, over all tenants: about 2 % of a core.
const SCRUB_KEYS_MIN: u64 = 2_000;
/// How often journals are asked for their extent, and the pause after one that did not answer.
const JOURNALS_EVERY: Duration = Duration::from_secs(5);
const JOURNALS_AGAIN: Duration = Duration::from_secs(1);
/// How often, and when in the minute, each decider shows that it decides, in nanoseconds.
const PROBE_EVERY: u64 = 60_000_000_000;
const PROBE_AT: u64 = 20_000_000_000;
/// Longest wait for a journal's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Starts the followers and workers of all tenants, and the tasks that serve them all.
pub fn start(app: &Arc<App>) {
    for tenant in app.ledger.tenants() {
        app.start_follower(&tenant);
        app.start_worker(&tenant);
        app.start_watch(&tenant);
    }
    app.sinks.start(&app.ledger, |sink| app.spawn(sink));
    if let (Some(wanted), Some(broker)) = (app.ledger.receipts_wanted(), app.broker.clone()) {
        let shared = Arc::clone(app);
        app.spawn(async move { send_receipts(&shared, &broker, wanted).await });
    }
    app.spawn(keep_witnessed(Arc::clone(app)));
    let shared = Arc::clone(app);
    app.spawn(async move { keep_house(&shared).await });
    app.spawn(keep_erasing(Arc::clone(app)));
    if let Some(broker) = app.broker.clone().filter(|_| app.config.file.replica.is_some()) {
        app.spawn(replica::answer_about_tenants(Arc::clone(&app.ledger), broker));
        app.spawn(keep_taking_up(Arc::clone(app)));
    }
    let shared = Arc::clone(app);
    app.spawn(async move { keep_scrubbing(&shared).await });
    app.spawn(watch_journals(Arc::clone(app)));
    if app.config.file.approvals.as_ref().is_some_and(|approvals| approvals.probe) {
        app.spawn(keep_probing(Arc::clone(app)));
    }
    app.spawn(async {
        loop {
            tokio::time::sleep(log::TELL_EVERY).await;
            log::tell(false);
        }
    });
}

/// Asks the witnesses of every log, also of those that are made later.
async fn keep_witnessed(app: Arc<App>) {
    let mut started = BTreeSet::new();
    loop {
        for tenant in app.ledger.tenants() {
            let ready = tenant.signs() && tenant.may_act();
            if ready && started.insert(tenant.name.clone()) {
                app.witnesses.run(&app.ledger, &tenant).into_iter().for_each(|run| app.spawn(run));
            }
        }
        tokio::time::sleep(TENANTS_EVERY).await;
    }
}

async fn keep_house(app: &App) {
    loop {
        if let Some(folder) = &app.config.file.backup_dir
            && app.config.file.replica.is_some()
            && let Err(error) =
                tokio::task::block_in_place(|| copies::sweep(folder, app.ledger.now()))
        {
            tracing::warn!(%error, "a copy for a machine that joined could not be removed");
        }
        for tenant in app.ledger.tenants() {
            if tenant.is_deleted() {
                if let Err(error) = bury(app, &tenant, Duration::ZERO).await {
                    tracing::warn!(tenant = %tenant.name, %error, "a deletion is not complete yet");
                }
                continue;
            }
            let done = chores::complete_erasures(&app.ledger, &tenant).await;
            if let Err(error) = done {
                tracing::warn!(tenant = %tenant.name, %error, "an erasure is not complete yet");
            }
            let days = tenant.position().retention.journal_days;
            let retention = app.config.journal_retention(days);
            let keep_from = app.worker(&tenant.name).and_then(|worker| worker.lists.keep_from());
            if let Err(error) = chores::trim(&app.ledger, &tenant, retention, keep_from).await {
                tracing::warn!(tenant = %tenant.name, %error, "trimming failed");
            }
            if let Err(error) = pruning::complete(&app.ledger, &tenant).await {
                tracing::warn!(tenant = %tenant.name, %error, "a pruning is not complete yet");
            }
            if let Err(error) = expiry::step(&app.ledger, &tenant, keep_from).await {
                tracing::warn!(tenant = %tenant.name, %error, "old payload could not expire");
            }
        }
        tokio::time::sleep(HOUSE_EVERY).await;
    }
}

/// Completes erasures at once when another replica waits for them.
async fn keep_erasing(app: Arc<App>) {
    loop {
        app.ledger.erasures_hastened().await;
        for tenant in &app.ledger.tenants() {
            let done = if tenant.is_deleted() {
                bury(&app, tenant, Duration::ZERO).await.map(drop)
            } else {
                chores::complete_erasures(&app.ledger, tenant).await.map(drop)
            };
            if let Err(error) = done {
                tracing::warn!(tenant = %tenant.name, %error, "an erasure is not complete yet");
            }
        }
    }
}

/// Takes up tenants that other replicas make, also those that were made while this one was stopped.
async fn keep_taking_up(app: Arc<App>) {
    loop {
        app.take_up().await;
        // Somebody waits for it, or a minute has passed.
        let _sought = timeout(HOUSE_EVERY, app.ledger.tenants_sought()).await;
    }
}

/// Completes the deletion of a tenant: what it told and did not record goes, then payload, journal and keys. `wait`: for other
/// replicas that are at it.
pub async fn bury(app: &App, tenant: &Tenant, wait: Duration) -> Result<Buried, Error> {
    app.stop_worker(&tenant.name);
    if let Some(dir) = &app.config.file.spool_dir {
        spool::remove(dir, &tenant.name).map_err(|error| Error::Setup(error.to_string()))?;
    }
    expiry::bury(&app.ledger, tenant, (app.broker.as_ref(), wait)).await
}

/// Reads everything again within half of `scrub_days`, one log after the other, a little every second.
async fn keep_scrubbing(app: &App) {
    let period = app.config.scrub_period() / 2;
    loop {
        tokio::time::sleep(SCRUB_EVERY).await;
        let tenants = app.ledger.tenants();
        // Each leaf is read with its payload, and once more by an index.
        let keys: u64 = tenants.iter().map(|tenant| 3 * tenant.published().size).sum();
        let mut left = SCRUB_KEYS_MIN.max(keys / period.as_secs().max(1));
        for tenant in &tenants {
            while left > 0 {
                let step = || app.scrub.step(&app.ledger, tenant, period);
                let done = tokio::task::block_in_place(step);
                left = left.saturating_sub(done);
                if done == 0 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Shows, once a minute, that this server decides. In the middle of the minute, so that an answer that takes its time is
/// still in the log in that minute.
async fn keep_probing(app: Arc<App>) {
    loop {
        let within = app.ledger.now().0 % PROBE_EVERY;
        let wait = (PROBE_EVERY + PROBE_AT - within) % PROBE_EVERY;
        // At the very moment: the next one is in a minute.
        let wait = if wait == 0 { PROBE_EVERY } else { wait };
        tokio::time::sleep(Duration::from_nanos(wait)).await;
        for tenant in app.ledger.tenants().into_iter().filter(|t| t.halted().is_none()) {
            let Some(worker) = app.worker(&tenant.name) else { continue };
            // The next minute has its own, so nothing is repeated.
            app.spawn(async move {
                match timeout(ANSWER_WAIT, worker.desk.probe()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(tenant = %tenant.name, %error, "no probe in this minute");
                    }
                    Err(_) => tracing::warn!(tenant = %tenant.name, "no probe in this minute: no answer in time"),
                }
            });
        }
    }
}

/// Checks all journals, and the files of rules that are not in force, until the task ends.
async fn watch_journals(app: Arc<App>) {
    loop {
        let mut checks = JoinSet::new();
        for tenant in app.ledger.tenants().into_iter().filter(|t| watched(t)) {
            let app = Arc::clone(&app);
            checks.spawn(async move { observe(&app, &tenant).await });
        }
        let mut all_answer = true;
        while let Some(answered) = checks.join_next().await {
            all_answer &= answered.unwrap_or(true);
        }
        tokio::time::sleep(if all_answer { JOURNALS_EVERY } else { JOURNALS_AGAIN }).await;
    }
}

/// True if the tenant's journal is to be asked.
fn watched(tenant: &Tenant) -> bool {
    tenant.halted().is_none() && !tenant.is_deleted()
}

/// Notes what is to be seen of one tenant. True if its journal answered.
async fn observe(app: &App, tenant: &Tenant) -> bool {
    if let Some(worker) = app.worker(&tenant.name) {
        tokio::task::block_in_place(|| worker.readiness().rules.read_if_absent());
    }
    let last = match tenant.journal() {
        Journal::JetStream(stream) => match timeout(ANSWER_WAIT, stream.state()).await {
            Ok(state) => state.map(|state| state.last).map_err(|error| error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        },
        Journal::Embedded(_) | Journal::Absent => Ok(0),
    };
    let answered = last.is_ok();
    app.vitals.note(tenant, last);
    answered
}

/// Sends receipts to the `countersign-out` subjects that messages name.
async fn send_receipts(
    app: &App,
    broker: &jetstream::Connection,
    mut wanted: tokio::sync::mpsc::Receiver<ReceiptWanted>,
) {
    while let Some(ReceiptWanted { tenant, producer, to, id, outcome }) = wanted.recv().await {
        let prefix = format!("countersign-out.{tenant}.{producer}.");
        let Some(tenant) = app.ledger.tenant(tenant.as_str()) else { continue };
        let rest = to.strip_prefix(&prefix).unwrap_or("");
        let token = |t: &str| {
            !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
        };
        if to.len() > 255 || !rest.split('.').all(token) {
            // The subject is not below the sender's own prefix: count it and ignore it.
            app.metrics.receipt_refused();
            continue;
        }
        let body = event_result::receipt_message(&app.ledger, &tenant, id, &outcome);
        let Ok(body) = body else { continue };
        if let Err(error) = broker.publish_out(&to, body).await {
            tracing::warn!(%error, "a receipt could not be sent");
        }
    }
}
