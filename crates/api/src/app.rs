//! The state that all request handlers share, and the tasks that run beside them.

use crate::{
    act::{self, Act},
    auth::MetricsKey,
    body::Bodies,
    chats::Chats,
    config::Config,
    log,
    metrics::Metrics,
    pages::Pages,
    places::Places,
    reading::Readings,
    routes,
    tls::Greeting,
    vitals::Vitals,
};
use approvals::worker::{self, Worker};
use ledger::{
    Error, Journals, Ledger, chores, follow,
    ident::Ident,
    journal::{Journal, jetstream},
    keyring,
    scrub::Scrub,
    system::{Access, AccessKey, Role},
    tenant::Tenant,
    writer::ReceiptWanted,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};
use tokio::{sync::Mutex as AsyncMutex, task::JoinSet};
use zeroize::Zeroizing;

/// How often unfinished erasures and old journal messages are searched for.
const HOUSE_EVERY: Duration = Duration::from_secs(60);

/// How often the scrub does a step.
const SCRUB_EVERY: Duration = Duration::from_secs(1);
/// Least number of keys that one step of the scrub reads, over all tenants: about 2 % of a core.
const SCRUB_KEYS_MIN: u64 = 2_000;
/// Longest wait for the approvals workers when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A new API key, as requested.
pub struct KeyWanted {
    /// Roles of the key.
    pub roles: Vec<Role>,
    /// Producer as which it publishes or redeems.
    pub producer: Option<Ident>,
    /// Person of the key.
    pub person: Option<Ident>,
    /// Label for people.
    pub name: String,
}

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
    /// The scrub of stored data.
    pub scrub: Scrub,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// The key that reads metrics.
    pub metrics_key: MetricsKey,
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
    /// The web pages. `None` without approvals.
    pub pages: Option<Pages>,
    /// Allows one removal of an API key at a time.
    pub key_removal: AsyncMutex<()>,
    /// Makes the key sets of tenants that do not exist.
    pub decoy_key: Zeroizing<[u8; 32]>,
    /// Allows one erasure, rotation or creation of a tenant at a time.
    pub slow: AsyncMutex<()>,
    workers: RwLock<BTreeMap<Ident, Arc<Worker>>>,
    tasks: Mutex<JoinSet<()>>,
    /// The tasks of [`App::workers`].
    working: Mutex<JoinSet<()>>,
}

impl App {
    /// Opens the ledger (with `create`, makes it) and connects to the broker.
    pub async fn open(config: Config, create: bool) -> Result<Arc<Self>, Error> {
        let chats = if create { Chats::default() } else { Chats::open(&config)? };
        let broker = match config.jetstream() {
            None => None,
            Some((options, _)) if create => Some(jetstream::Connection::open(&options).await?),
            Some((options, _)) => Some(jetstream::Connection::open_later(&options).await?),
        };
        let journals = broker.clone().map_or(Journals::Embedded, Journals::JetStream);
        let ledger = Arc::new(Ledger::open(config.ledger_options(create), &journals).await?);
        let metrics = Metrics::new(Arc::clone(&ledger));
        let metrics_key = MetricsKey::default();
        if let Some(path) = &config.file.metrics_key_file {
            metrics_key.read(path).map_err(Error::Setup)?;
        }
        let (slow, tasks, working) = (AsyncMutex::new(()), Mutex::default(), Mutex::default());
        let bodies = Bodies::new(Duration::from_secs(config.file.limits.request_seconds));
        let places = Places::new(config.shares.connections);
        let workers = RwLock::default();
        let pages = config.file.approvals.as_ref().map(|_| Pages::open(&config.file.keys_dir));
        let pages = pages.transpose()?;
        let decoy_key = if create { keyring::random32() } else { decoy_key(&config.file.keys_dir) };
        Ok(Arc::new(Self {
            ledger,
            config,
            broker,
            chats,
            scrub: Scrub::default(),
            metrics,
            metrics_key,
            vitals: Vitals::default(),
            places,
            greeting: Greeting::default(),
            bodies,
            readings: Readings::default(),
            pages,
            key_removal: AsyncMutex::default(),
            decoy_key,
            slow,
            workers,
            tasks,
            working,
        }))
    }

    /// Starts the tasks beside requests: followers, receipts by message, unfinished erasures, trimming.
    pub fn start_tasks(self: &Arc<Self>) {
        for tenant in self.ledger.tenants() {
            self.start_follower(&tenant);
            self.start_worker(&tenant);
        }
        if let (Some(wanted), Some(broker)) = (self.ledger.receipts_wanted(), self.broker.clone()) {
            let app = Arc::clone(self);
            self.spawn(async move { send_receipts(&app, &broker, wanted).await });
        }
        let app = Arc::clone(self);
        self.spawn(async move { app.keep_house().await });
        let app = Arc::clone(self);
        self.spawn(async move { app.keep_scrubbing().await });
        self.spawn(Arc::clone(self).watch_journals());
        self.spawn(async {
            loop {
                tokio::time::sleep(log::TELL_EVERY).await;
                log::tell(false);
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
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
    }

    /// Starts the approvals worker of a tenant, if approvals are set up.
    fn start_worker(&self, tenant: &Arc<Tenant>) {
        let Some(approvals) = &self.config.file.approvals else { return };
        if tenant.halted().is_some() {
            return;
        }
        let options = worker::Options {
            public_url: self.config.file.public_url.trim_end_matches('/').to_owned(),
            dir: approvals.dir.clone(),
            connections: self.config.connections(),
            chats: Arc::clone(&self.chats.cards),
        };
        let worker = Worker::new(Arc::clone(&self.ledger), Arc::clone(tenant), options);
        if let (Some(hints), Some(broker)) = (worker.hints(), self.broker.clone()) {
            self.spawn(send_hints(tenant.name.clone(), broker, hints));
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

    async fn keep_house(&self) {
        loop {
            for tenant in self.ledger.tenants() {
                let done = chores::complete_erasures(&self.ledger, &tenant).await;
                if let Err(error) = done {
                    tracing::warn!(tenant = %tenant.name, %error, "an erasure is not complete yet");
                }
                let retention = self.config.journal_retention();
                let keep_from =
                    self.worker(&tenant.name).and_then(|worker| worker.lists.keep_from());
                if let Err(error) = chores::trim(&self.ledger, &tenant, retention, keep_from).await
                {
                    tracing::warn!(tenant = %tenant.name, %error, "trimming failed");
                }
            }
            tokio::time::sleep(HOUSE_EVERY).await;
        }
    }

    /// Reads everything again within half of `scrub_days`, one log after the other, a little every second.
    async fn keep_scrubbing(&self) {
        let period = self.config.scrub_period() / 2;
        loop {
            tokio::time::sleep(SCRUB_EVERY).await;
            let tenants = self.ledger.tenants();
            // Each leaf is read with its payload, and once more by an index.
            let keys: u64 = tenants.iter().map(|tenant| 3 * tenant.published().size).sum();
            let mut room = SCRUB_KEYS_MIN.max(keys / period.as_secs().max(1));
            for tenant in &tenants {
                while room > 0 {
                    let step = || self.scrub.step(&self.ledger, tenant, period);
                    let done = tokio::task::block_in_place(step);
                    room = room.saturating_sub(done);
                    if done == 0 {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Makes a tenant: keys, journal, genesis, and its first admin key. The key is returned once.
    pub async fn create_tenant(&self, name: &Ident, act: Act) -> Result<String, Error> {
        self.ledger.may_create(name)?;
        let (journal, identity) = self.make_journal(name).await?;
        let by = act.by.clone();
        let (tenant, genesis) = self.ledger.create_tenant(name, journal, &identity, by)?;
        self.start_follower(&tenant);
        let message = self.ledger.genesis_message(&tenant, &genesis)?;
        self.ledger.publish(&tenant, vec![message]).await?;
        self.start_worker(&tenant);
        self.first_admin(&tenant, act).await
    }

    /// Completes an interrupted creation of a tenant, or issues another admin key, for somebody with access to
    /// the disk.
    pub async fn admin_again(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        act: Act,
    ) -> Result<String, Error> {
        self.start_follower(tenant);
        if tenant.published().size == 0 {
            let genesis = self.ledger.genesis_again(tenant, act.by.clone());
            let message = self.ledger.genesis_message(tenant, &genesis)?;
            self.ledger.publish(tenant, vec![message]).await?;
        }
        self.first_admin(tenant, act).await
    }

    /// Issues an admin key of a tenant without another admin.
    async fn first_admin(&self, tenant: &Arc<Tenant>, act: Act) -> Result<String, Error> {
        let roles = vec![Role::Admin, Role::Auditor];
        let wanted = KeyWanted { roles, producer: None, person: None, name: "first admin".into() };
        self.issue_key(tenant, wanted, act).await
    }

    async fn make_journal(&self, name: &Ident) -> Result<(Option<Journal>, String), Error> {
        let Some(broker) = &self.broker else {
            let random = data_encoding::HEXLOWER.encode(&keyring::random32()[..16]);
            return Ok((None, format!("embedded:{random}")));
        };
        let replicas = self.config.jetstream().map_or(1, |(_, replicas)| replicas);
        let stream = match jetstream::Jetstream::create(broker, name, replicas).await {
            Ok(made) => made,
            // An interrupted creation left this stream, still empty.
            Err(error) => match jetstream::Jetstream::open(broker, name).await {
                Ok(stream) if stream.state().await?.last == 0 => stream,
                _ => return Err(error.into()),
            },
        };
        let identity = stream.state().await?.identity;
        Ok((Some(Journal::JetStream(stream)), identity))
    }

    /// Makes an API key, records it, and returns its text. The text is never shown again.
    pub async fn issue_key(
        &self,
        tenant: &Arc<Tenant>,
        wanted: KeyWanted,
        act: Act,
    ) -> Result<String, Error> {
        let KeyWanted { roles, producer, person, name } = wanted;
        let (key_id, text) = crate::auth::new_key();
        let sha256 = crate::auth::stored_form(&text);
        let reason = act::keep_reason(&self.ledger, tenant, "access", act.why.as_ref()).await?;
        let key = AccessKey { key_id, sha256, roles, producer, person, name, by: act.by, reason };
        act::record(&self.ledger, tenant, "access", &Access::Add(key)).await?;
        Ok(text.to_string())
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

/// Tells data planes that an approval has changed, on `countersign-out.<tenant>.<producer>.approvals`. Hints
/// may be lost.
async fn send_hints(
    tenant: Ident,
    broker: jetstream::Connection,
    mut hints: tokio::sync::mpsc::Receiver<worker::Hint>,
) {
    while let Some(worker::Hint { producer, approval, version, phase }) = hints.recv().await {
        let subject = format!("countersign-out.{tenant}.{producer}.approvals");
        let body = serde_json::json!({"id": approval, "version": version, "state": phase});
        if let Err(error) = broker.publish_out(&subject, body.to_string().into_bytes()).await {
            tracing::debug!(%error, "a hint could not be sent");
        }
    }
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
        let body = routes::events::receipt_message(app, &tenant, id, &outcome);
        let Ok(body) = body else { continue };
        if let Err(error) = broker.publish_out(&to, body).await {
            tracing::warn!(%error, "a receipt could not be sent");
        }
    }
}
