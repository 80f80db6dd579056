//! The state that all request handlers share: opening it, the followers and approvals workers of its tenants.

use crate::{
    act::Turns,
    alerting::{Channels, Teller},
    auth::MetricsKey,
    body::Bodies,
    chats::Chats,
    config::{Config, Opa},
    metrics::Metrics,
    oidc::Providers,
    opa_bundle::BundleKey,
    places::Places,
    reading::Readings,
    replicas,
    sessions::Sessions,
    sinks::Sinks,
    tls::Greeting,
    vitals::Vitals,
    watching,
    witness::Witnesses,
};
use approvals::worker::{self, Worker};
use decider::watch::Settings;
use ledger::{
    Error, Journals, Ledger, follow,
    ident::Ident,
    journal::{Journal, jetstream},
    keyring, replica,
    scrub::Scrub,
    tenant::Tenant,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};
use tokio::{sync::Mutex as AsyncMutex, task::JoinSet};
use zeroize::Zeroizing;

/// Longest wait for the approvals workers when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The shared state of the running server.
pub struct App {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The configuration.
    pub config: Config,
    /// The broker, if there is one.
    pub broker: Option<jetstream::Connection>,
    /// Slack, Teams and webhook connections.
    pub chats: Chats,
    /// Providers at which people sign in for the web pages.
    pub oidc: Providers,
    /// Systems that entries are sent to.
    pub sinks: Sinks,
    /// How channels stand that are told of alerts.
    pub channels: Arc<Channels>,
    /// Outside witnesses.
    pub witnesses: Witnesses,
    /// The scrub of stored data.
    pub scrub: Scrub,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// The key that reads metrics.
    pub metrics_key: MetricsKey,
    /// The key that signs bundles for OPA.
    pub opa_key: Option<BundleKey>,
    /// What was observed of the journals.
    pub vitals: Vitals,
    /// Places for requests that are served at once.
    pub places: Places,
    /// TLS for new connections.
    pub greeting: Greeting,
    /// Receives bodies, and has the memory for them.
    pub bodies: Bodies,
    /// Payload reading that entries already cover.
    pub readings: Readings,
    /// Lets one message about incidents at a time be written for each tenant.
    pub incidents: Turns,
    /// State of the sessions on the web pages. `None` without approvals, because there are no pages then.
    pub sessions: Option<Sessions>,
    /// Allows one removal of an API key at a time.
    pub key_removal: AsyncMutex<()>,
    /// Makes the key sets of tenants that do not exist.
    pub decoy_key: Zeroizing<[u8; 32]>,
    /// Allows one erasure, rotation or creation of a tenant at a time.
    pub slow: AsyncMutex<()>,
    /// Allows one search for new tenants at a time.
    taking_up: AsyncMutex<()>,
    workers: RwLock<BTreeMap<Ident, Arc<Worker>>>,
    tasks: Mutex<JoinSet<()>>,
    /// The tasks of [`App::workers`].
    working: Mutex<JoinSet<()>>,
}

/// Reads the key that signs bundles for OPA.
fn opa_key(opa: &Opa) -> Result<BundleKey, String> {
    let path = opa.signing_key_file.display();
    let key = BundleKey::of_file(&opa.signing_key_file, opa.key_id.as_deref());
    key.map_err(|why| format!("opa.signing_key_file: {path}: {why}"))
}

impl App {
    /// Opens the ledger (with `create`, makes it) and connects to the broker.
    pub async fn open(config: Config, create: bool) -> Result<Arc<Self>, Error> {
        let chats = if create { Chats::default() } else { Chats::open(&config)? };
        let (setups, url) = (&config.file.sink, config.file.public_url.as_str());
        let sinks = if create { Sinks::default() } else { Sinks::open(setups, url)? };
        let oidc = Providers::open(&config.file.oidc, url)?;
        let witnesses = &config.file.witness;
        let witnesses = if create { Witnesses::default() } else { Witnesses::open(witnesses)? };
        let broker = match config.jetstream() {
            None => None,
            Some((options, _)) if create => Some(jetstream::Connection::open(&options).await?),
            Some((options, _)) => Some(jetstream::Connection::open_later(&options).await?),
        };
        let journals = broker.clone().map_or(Journals::Embedded, Journals::JetStream);
        let mut options = config.ledger_options(create);
        // `init` makes what is not there yet, before anybody could cosign it.
        if let Some(replica) = config.file.replica.as_ref().filter(|_| !create) {
            options.replicas = Some(replica.open().map_err(Error::Setup)?);
            let check = || replicas::check_brokers(&replica.monitors);
            tokio::task::block_in_place(check).map_err(Error::Setup)?;
        }
        let ledger = Arc::new(Ledger::open(options, &journals).await?);
        let tenants = ledger.tenants();
        let wrong = tenants.iter().filter_map(|tenant| config.watch(&tenant.name).err());
        let wrong: Vec<String> = wrong.collect();
        if !wrong.is_empty() {
            return Err(Error::Setup(wrong.join("\n")));
        }
        let metrics = Metrics::new(Arc::clone(&ledger));
        let metrics_key = MetricsKey::default();
        if let Some(path) = &config.file.metrics_key_file {
            metrics_key.read(path).map_err(Error::Setup)?;
        }
        let opa_key = config.file.opa.as_ref().map(opa_key).transpose().map_err(Error::Setup)?;
        let (slow, tasks, working) = (AsyncMutex::new(()), Mutex::default(), Mutex::default());
        let bodies = Bodies::new(Duration::from_secs(config.file.limits.request_seconds));
        let places = Places::new(config.shares.connections);
        let workers = RwLock::default();
        let has_pages = config.file.approvals.is_some();
        let sessions =
            has_pages.then(|| Sessions::open(&config.file.keys_dir, ledger.now())).transpose()?;
        let decoy_key = if create { keyring::random32() } else { decoy_key(&config.file.keys_dir) };
        Ok(Arc::new(Self {
            ledger,
            config,
            broker,
            chats,
            oidc,
            sinks,
            channels: Arc::default(),
            witnesses,
            scrub: Scrub::default(),
            metrics,
            metrics_key,
            opa_key,
            vitals: Vitals::default(),
            places,
            greeting: Greeting::default(),
            bodies,
            readings: Readings::default(),
            incidents: Turns::default(),
            sessions,
            key_removal: AsyncMutex::default(),
            decoy_key,
            slow,
            taking_up: AsyncMutex::default(),
            workers,
            tasks,
            working,
        }))
    }

    /// Runs a task until [`App::stop_tasks`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().expect("no holder of the lock panics").spawn(task);
    }

    /// Stops the tasks and waits for their end: they hold the ledger and use the runtime's timers.
    pub async fn stop_tasks(&self) {
        for worker in self.workers.read().expect("no holder of the lock panics").values() {
            worker.stop();
        }
        let take = |tasks: &Mutex<JoinSet<()>>| {
            std::mem::take(&mut *tasks.lock().expect("no holder of the lock panics"))
        };
        let (mut tasks, mut working) = (take(&self.tasks), take(&self.working));
        tasks.shutdown().await;
        let ended = async { while working.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
            tracing::warn!(
                "approvals workers were still busy after {STOP_WAIT:?}; they are cut off"
            );
        }
        working.shutdown().await;
    }

    /// Follows a tenant's journal, if it is a stream.
    pub fn start_follower(&self, tenant: &Arc<Tenant>) {
        if tenant.halted().is_some() {
            return;
        }
        if let Journal::JetStream(stream) = tenant.journal().clone() {
            self.spawn(follow::follow(Arc::clone(&self.ledger), Arc::clone(tenant), stream));
        }
        if let (Some(broker), Some((_, copies))) = (self.broker.clone(), self.config.jetstream()) {
            let (ledger, tenant) = (Arc::clone(&self.ledger), Arc::clone(tenant));
            self.spawn(replica::run(ledger, tenant, broker, copies));
        }
    }

    /// Takes up the tenants that other replicas have made, and whose keys are here. Their workers begin once the genesis is shown.
    pub async fn take_up(self: &Arc<Self>) {
        let Some(broker) = self.broker.as_ref().filter(|_| self.config.file.replica.is_some())
        else {
            return;
        };
        let _one = self.taking_up.lock().await;
        for tenant in replica::take_up(&self.ledger, broker).await {
            tracing::info!(tenant = %tenant.name, "a new tenant is taken up");
            self.start_follower(&tenant);
            let app = Arc::clone(self);
            self.spawn(async move {
                let begun = tenant.watch().wait_for(|published| published.size > 0).await.is_ok();
                if begun {
                    app.start_worker(&tenant);
                    app.start_watch(&tenant);
                }
            });
        }
    }

    /// Watches a tenant's log, and tells its channels of alerts. Settings that can't be read were found when the server started, or the tenant is new: then
    /// the defaults count.
    pub fn start_watch(&self, tenant: &Arc<Tenant>) {
        if tenant.halted().is_some() || tenant.is_deleted() {
            return;
        }
        let settings = self.config.watch(&tenant.name).unwrap_or_else(|error| {
            tracing::error!(tenant = %tenant.name, error, "the log is watched with the defaults");
            Settings::default()
        });
        let channels = settings.channels.clone();
        self.spawn(watching::run(Arc::clone(&self.ledger), Arc::clone(tenant), settings));
        let Some(worker) = self.worker(&tenant.name) else { return };
        for channel in channels {
            let teller = Teller {
                ledger: Arc::clone(&self.ledger),
                tenant: Arc::clone(tenant),
                worker: Arc::clone(&worker),
                chats: Arc::clone(&self.chats.cards),
                channel,
                channels: Arc::clone(&self.channels),
            };
            self.spawn(teller.run());
        }
    }

    /// Stops the approvals worker of a tenant that was deleted.
    pub fn stop_worker(&self, tenant: &Ident) {
        let mut workers = self.workers.write().expect("no holder of the lock panics");
        if let Some(worker) = workers.remove(tenant) {
            worker.stop();
        }
    }

    /// Starts the approvals worker of a tenant, if approvals are set up.
    pub fn start_worker(&self, tenant: &Arc<Tenant>) {
        let Some(approvals) = &self.config.file.approvals else { return };
        if tenant.halted().is_some() || tenant.is_deleted() {
            return;
        }
        let dir = self.config.file.spool_dir.as_ref();
        let spool = match dir.map(|dir| self.ledger.spool(tenant, dir)).transpose() {
            Ok(spool) => spool,
            Err(error) => {
                tracing::error!(tenant = %tenant.name, %error, "the spool can't be read: every verdict is recorded before it is told");
                self.vitals.lost_spool(&tenant.name, error.to_string());
                None
            }
        };
        let options = worker::Options {
            spool,
            terms: approvals::deciding::Terms {
                valid_for: approvals.valid_for_seconds,
                report_within: approvals.report_within_seconds,
                deciders: approvals.deciders,
                ..approvals::deciding::Terms::default()
            },
            public_url: self.config.file.public_url.trim_end_matches('/').to_owned(),
            dir: approvals.dir.clone(),
            connections: self.config.connections(),
            chats: Arc::clone(&self.chats.cards),
        };
        let worker = Worker::new(Arc::clone(&self.ledger), Arc::clone(tenant), options);
        if let (Some(hints), Some(broker)) = (worker.hints(), self.broker.clone()) {
            self.spawn(send_hints(Arc::clone(tenant), broker, hints));
        }
        if let Some(broker) = self.broker.clone() {
            let (ledger, tenant) = (Arc::clone(&self.ledger), Arc::clone(tenant));
            self.spawn(send_freezes(ledger, tenant, broker));
        }
        let mut workers = self.workers.write().expect("no holder of the lock panics");
        workers.insert(tenant.name.clone(), Arc::clone(&worker));
        drop(workers);
        let mut working = self.working.lock().expect("no holder of the lock panics");
        working.spawn(worker.run());
    }

    /// The approvals worker of a tenant, if approvals are set up.
    pub fn worker(&self, tenant: &Ident) -> Option<Arc<Worker>> {
        self.workers.read().expect("no holder of the lock panics").get(tenant).cloned()
    }
}

/// The session key, which all servers of an installation share. If it can't be read or made, decoys change
/// with each start.
fn decoy_key(keys_dir: &Path) -> Zeroizing<[u8; 32]> {
    keyring::session_key(keys_dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "key sets of tenants that do not exist are made with a key of this start");
        keyring::random32()
    })
}

/// Tells data planes that something was frozen or lifted, on `countersign-out.<tenant>.<producer>.freezes`, so that they
/// read what is frozen and end running sessions. Of replicas, the one that leads sends it. Hints may be lost.
async fn send_freezes(ledger: Arc<Ledger>, tenant: Arc<Tenant>, broker: jetstream::Connection) {
    let mut states = tenant.watch();
    let mut told = states.borrow().freezes.last;
    loop {
        let news = states.wait_for(|published| published.freezes.last != told).await;
        let Ok(version) = news.map(|published| published.freezes.last) else { return };
        told = version;
        if !tenant.signs() {
            continue;
        }
        let keys = ledger.access_keys(&tenant).unwrap_or_default();
        let producers: BTreeSet<Ident> = keys.into_iter().filter_map(|key| key.producer).collect();
        for producer in producers {
            let subject = format!("countersign-out.{}.{producer}.freezes", tenant.name);
            let body = serde_json::json!({"version": told});
            if let Err(error) = broker.publish_out(&subject, body.to_string().into_bytes()).await {
                tracing::debug!(%error, "a hint could not be sent");
            }
        }
    }
}

/// Tells data planes that an approval has changed, on `countersign-out.<tenant>.<producer>.approvals`. Of replicas, the one
/// that leads sends it. Hints may be lost.
async fn send_hints(
    tenant: Arc<Tenant>,
    broker: jetstream::Connection,
    mut hints: tokio::sync::mpsc::Receiver<worker::Hint>,
) {
    while let Some(worker::Hint { producer, approval, version, phase }) = hints.recv().await {
        if !tenant.signs() {
            continue;
        }
        let subject = format!("countersign-out.{}.{producer}.approvals", tenant.name);
        let body = serde_json::json!({"id": approval, "version": version, "state": phase});
        if let Err(error) = broker.publish_out(&subject, body.to_string().into_bytes()).await {
            tracing::debug!(%error, "a hint could not be sent");
        }
    }
}
