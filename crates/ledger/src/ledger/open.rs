//! Opens the ledger: checks every log before it may sign again. Makes the first log of a tenant.

use super::{
    Error, Journals, Ledger, Opened, Options, RECEIPTS_WAITING_MAX,
    checked::{Check, check_ended, check_seal, check_sealed_log},
    cosigned, ended,
    founding::{self, origin},
    layout,
};
use crate::{
    guard::{Guard, Mark, Port},
    ident::Ident,
    journal::Journal,
    keyring::{self, Keyring},
    log::{checkpoint, merkle},
    post::{Keys, Log, Position},
    proven::ProvenTiles,
    reader::{self, Published},
    seal,
    store::{self, Changes, Family, LogNumber, Read as _, rocks::Rocks},
    system::{AccessKey, By, Genesis, KeyId},
    tenant::Tenant,
    writer::{self, Active, Cosigning, Inbox, Work, Writer},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, RwLock},
};
use tokio::sync::{Notify, mpsc};

const LOG_PREFIX: &[u8] = b"log";

impl Ledger {
    /// Opens the store and the guard, checks every log against both, and starts the writer.
    ///
    /// A log that fails its check is halted, with the reason in its health. The others work.
    pub async fn open(options: Options, journals: &Journals) -> Result<Self, Error> {
        let store = Arc::new(Rocks::open(&options.store)?);
        let writer = u64::from_be_bytes(keyring::random32()[..8].try_into().expect("8 bytes"));
        let mut guard = Guard::open(&options.guard_path, writer)?;
        let marks: BTreeMap<String, Mark> =
            guard.marks().map(|m| (m.origin.clone(), m.clone())).collect();
        layout::check(&store, options.store.create, marks.values().any(|mark| mark.size > 0))?;
        let seal_key =
            Arc::new(keyring::seal_key(&options.keys_dir, list_logs(&store)?.is_empty())?);
        let mut logs = HashMap::new();
        let mut tenants = BTreeMap::new();
        let mut without_keys = Vec::new();
        let mut doubted = BTreeSet::new();
        let mut waiting = None;
        for (name, number) in list_logs(&store)? {
            let mut log = load_log(&store, &name, number, origin(&options.public_host, &name))?;
            log.seal_key = Some(Arc::clone(&seal_key));
            // Even if more is wrong, only API keys that the sealed record covers are accepted; the rest comes later.
            if check_seal(&store, &log, &seal_key, true)?.is_some() {
                doubted.insert(number);
            }
            let is_over = ended::is_over(&store, &options, &log)?;
            let journal = journals.open(&store, (&log, is_over), waiting.clone()).await;
            waiting = journal.as_ref().map_or(waiting, |(_, why)| why.clone());
            let (active, no_keys) = open_log(&store, &mut guard, &options, log, journal)?;
            without_keys.extend(no_keys);
            tenants.insert(name, Arc::clone(&active.tenant));
            logs.insert(number, active);
        }
        // One tenant's faulty files must not stop the others (P12). If all are faulty, the start is refused.
        if without_keys.len() == tenants.len()
            && let Some(error) = without_keys.into_iter().next()
        {
            return Err(error);
        }
        let inbox = Arc::new(Inbox::default());
        let guard_place = guard.place().clone();
        let guard = Port::new(guard, options.replicas.is_some())?;
        let shared_guard = guard.shared().cloned();
        let (receipts, wanted) = mpsc::channel(RECEIPTS_WAITING_MAX);
        let writer = Writer {
            store: Arc::clone(&store),
            guard,
            inbox: Arc::clone(&inbox),
            receipts,
            logs,
            commit_messages_max: options.commit_messages_max,
        };
        let thread = std::thread::Builder::new().name("writer".into());
        let thread = thread.spawn(|| run(writer)).map_err(|e| Error::Setup(e.to_string()))?;
        Ok(Self {
            options,
            store,
            seal_key,
            doubted,
            proven_tiles: ProvenTiles::default(),
            inbox,
            guard_place,
            shared_guard,
            marks,
            tenants: RwLock::new(tenants),
            hastened: Notify::new(),
            sought: Notify::new(),
            receipts: Mutex::new(Some(wanted)),
            writer: Some(thread),
        })
    }

    /// Makes keys and an empty log for a tenant in `journal`. Returns its handle and the genesis to publish.
    ///
    /// Without a journal it uses the embedded one, which comes with the log. `identity` is the journal's, for example
    /// `embedded:<random>`. `by`: who makes the tenant.
    pub fn create_tenant(
        &self,
        name: &Ident,
        journal: Option<Journal>,
        identity: &str,
        by: By,
    ) -> Result<(Arc<Tenant>, Genesis), Error> {
        let origin = origin(&self.options.public_host, name);
        self.may_create(name)?;
        // Keys of an interrupted creation have signed nothing: no log names them, and the guard has no mark.
        let keyring = Keyring::create(&self.options.keys_dir, name, &origin)?;
        let genesis = founding::genesis(name, &origin, identity, &keyring, by);
        self.register(name, (journal, identity), keyring).map(|tenant| (tenant, genesis))
    }

    /// Refuses a tenant that exists, and one whose log was signed before. In the second case its database is lost, and
    /// a new genesis under the same name and key would be another history (P4).
    pub fn may_create(&self, name: &Ident) -> Result<(), Error> {
        if self.tenant(name.as_str()).is_some() {
            return Err(Error::Taken(format!("tenant {name} exists already")));
        }
        match self.marks.get(&origin(&self.options.public_host, name)) {
            Some(mark) if mark.size > 0 => Err(Error::Taken(format!(
                "the log {} was signed up to size {}, but this database does not hold it: restore a backup. If that \
                 log is lost for ever, choose another tenant name; this one must never begin again",
                mark.origin, mark.size
            ))),
            _ => Ok(()),
        }
    }

    /// Makes an empty log for a tenant whose keys are in the keys directory and whose journal exists: a replica that
    /// posts that journal again (P6).
    pub fn adopt_tenant(
        &self,
        name: &Ident,
        journal: Journal,
        identity: &str,
    ) -> Result<Arc<Tenant>, Error> {
        let keyring = Keyring::open(&self.options.keys_dir, name)?;
        self.register(name, (Some(journal), identity), keyring)
    }

    fn register(
        &self,
        name: &Ident,
        (journal, identity): (Option<Journal>, &str),
        keyring: Keyring,
    ) -> Result<Arc<Tenant>, Error> {
        let mut tenants = self.tenants.write().expect("no holder of the lock panics");
        if tenants.contains_key(name) {
            return Err(Error::Taken(format!("tenant {name} exists already")));
        }
        let next = tenants.values().map(|tenant| tenant.number.0).max().unwrap_or(0) + 1;
        let (number, origin) = (LogNumber(next), origin(&self.options.public_host, name));
        let mut log = Log::new(name.clone(), number, origin, identity.into());
        log.seal_key = Some(Arc::clone(&self.seal_key));
        let mut changes = Changes::new(&*self.store);
        let key = [LOG_PREFIX, name.as_str().as_bytes()].concat();
        changes.put(Family::Meta, key, next.to_be_bytes().to_vec());
        log.save_position(&mut changes)?;
        changes.put(Family::Meta, number.meta("keys"), store::to_json(&log.keys));
        self.store.commit(changes.into_writes())?;
        let published = writer::published(&log, String::new());
        let journal = journal.unwrap_or_else(|| super::embedded(&self.store, &log));
        let tenant = Tenant::new(&log, keyring, journal, published, self.options.clock);
        let tenant = tenant.cosigned_by(self.options.replicas.as_ref(), &log);
        let tenant = Arc::new(tenant.claiming(self.options.one_signer));
        // A replica with its old guard signs nothing until it has posted as far as was signed.
        let must_reach = self.marks.get(&log.origin).filter(|mark| mark.size > 0).cloned();
        tenant.set_must_reach(must_reach.clone());
        let cosigning = Cosigning::default();
        let active = Active { log, tenant: Arc::clone(&tenant), must_reach, cosigning };
        self.inbox.push(number, Work::Open(Box::new(active)));
        tenants.insert(name.clone(), Arc::clone(&tenant));
        Ok(tenant)
    }
}

fn run(writer: Writer) {
    // After a panic in the writer the outcome is unknown, as after a failed write.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run()));
    if result.is_err() {
        tracing::error!("the writer panicked; ending the process, nothing was acknowledged");
        std::process::exit(writer::EXIT_WRITE_FAILED);
    }
}

/// Tenants and their log numbers.
pub fn list_logs(store: &Rocks) -> Result<Vec<(Ident, LogNumber)>, Error> {
    let mut logs = Vec::new();
    store.scan(Family::Meta, LOG_PREFIX, |key, value| {
        let Some(name) = key.strip_prefix(LOG_PREFIX) else { return false };
        let name = std::str::from_utf8(name).ok().and_then(|name| Ident::new(name).ok());
        let number = value.try_into().map(|bytes| LogNumber(u32::from_be_bytes(bytes)));
        logs.extend(name.zip(number.ok()));
        true
    })?;
    Ok(logs)
}

/// Reads a log's commit record, keys and right edge.
pub fn load_log(
    store: &Rocks,
    name: &Ident,
    number: LogNumber,
    origin: String,
) -> Result<Log, Error> {
    let missing = |what| store::Error::Corrupt { family: "meta", what };
    let position = store.get(Family::Meta, &number.meta("position"))?;
    let position = position.ok_or_else(|| missing("a commit record is missing"))?;
    let position: Position = store::read_json(seal::value(&position), "meta")?;
    let keys = store.get(Family::Meta, &number.meta("keys"))?;
    let keys = keys.ok_or_else(|| missing("the keys of a log are missing"))?;
    let keys: Keys = store::read_json(&keys, "meta")?;
    let edge = reader::load_edge(store, number, position.size)?;
    let mut log = Log::new(name.clone(), number, origin, position.journal.clone());
    (log.position, log.keys, log.edge) = (position, keys, edge);
    log.access = Arc::new(load_access(store, number)?);
    Ok(log)
}

/// The API keys that the family `access` holds for a log.
pub(crate) fn load_access(
    store: &Rocks,
    number: LogNumber,
) -> Result<BTreeMap<KeyId, AccessKey>, store::Error> {
    let prefix = number.key(&[]);
    let mut rows = Vec::new();
    store.scan(Family::Access, &prefix, |key, value| {
        let id = key.strip_prefix(&prefix[..]);
        rows.extend(id.map(|id| (id.to_vec(), value.to_vec())));
        id.is_some()
    })?;
    let read = |(id, value): (Vec<u8>, Vec<u8>)| {
        let id = std::str::from_utf8(&id).ok().and_then(KeyId::new);
        let id = id.ok_or(store::Error::Corrupt { family: "access", what: "a key id" })?;
        Ok((id, store::read_json(&value, "access")?))
    };
    rows.into_iter().map(read).collect()
}

/// Reads and checks one log. A fault of the log halts it; a fault of the disk is an error.
fn open_log(
    store: &Arc<Rocks>,
    guard: &mut Guard,
    options: &Options,
    log: Log,
    journal: Opened,
) -> Result<(Active, Option<Error>), Error> {
    if ended::is_over(store, options, &log)? {
        return Ok((ended::open(store, guard, options, log, check_ended)?, None));
    }
    let (name, number) = (&log.tenant, log.number);
    let (keyring, no_keys) = match Keyring::open(&options.keys_dir, name) {
        Ok(keyring) => (keyring, None),
        Err(error) => (Keyring::none(&options.keys_dir, name), Some(error)),
    };
    let checkpoint = store.get(Family::Meta, &number.meta("checkpoint"))?;
    let checkpoint = checkpoint.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mut published = writer::published(&log, checkpoint);
    let shown = shown(store, &log, &published)?;
    let verdict = match (&journal, &no_keys) {
        (_, Some(error)) => Check::Broken(error.to_string()),
        (Ok(_), None)
            if options.replicas.is_none() && cosigned::needs_replicas(&log, &published) =>
        {
            Check::Broken(cosigned::REPLICAS_MISSING.into())
        }
        (Ok(_), None) => check_sealed_log(store, guard, &log, &published)?,
        (Err(error), None) => Check::Broken(error.to_string()),
    };
    let (journal, waiting) = journal.unwrap_or((Journal::Absent, None));
    let must_reach = match &verdict {
        Check::Behind(mark) => Some(mark.clone()),
        Check::Sound | Check::Broken(_) => None,
    };
    let shown = match &options.replicas {
        Some(members) => cosigned::shown(members, &log, shown),
        None => shown,
    };
    let tenant = Tenant::new(&log, keyring, journal, shown, options.clock);
    let tenant = tenant.cosigned_by(options.replicas.as_ref(), &log);
    let tenant = Arc::new(tenant.claiming(options.one_signer));
    tenant.set_must_reach(must_reach.clone());
    let mut no_keys = no_keys.map(Error::from);
    if let Some(why) = waiting {
        tenant.wait_for_journal(why);
    }
    match verdict {
        Check::Broken(reason) => {
            tracing::error!(tenant = %name, reason, "log halted");
            tenant.halt(reason);
        }
        Check::Behind(_) => {}
        // This log was not signed after its last posting: it waits for a message that comes by the journal.
        Check::Sound if log.position.size == 0 || !log.position.signed => {}
        // It shows nothing that a majority has not cosigned, and its guard is what it has cosigned.
        Check::Sound if options.replicas.is_some() => {}
        Check::Sound => {
            // A crash between commit and guard leaves the guard behind. A key may have come after the checkpoint.
            guard.advance(&[writer::mark(&log)])?;
            let handovers =
                writer::missing_handovers(store, &log, &tenant).map_err(Error::Setup)?;
            if !handovers.is_empty() {
                store.commit(handovers.into_iter())?;
            }
            match writer::checkpoint(&log, &tenant) {
                Ok(checkpoint) => {
                    published.checkpoint = checkpoint;
                    tenant.publish(Arc::new(published));
                }
                Err(reason) => {
                    tracing::error!(tenant = %name, reason, "log halted");
                    tenant.halt(reason.clone());
                    no_keys = Some(Error::Setup(reason));
                }
            }
        }
    }
    let cosigning = cosigned::begin(&tenant, &log, must_reach.is_some());
    Ok((Active { log, tenant, must_reach, cosigning }, no_keys))
}

/// The part of a log that is shown at start: what its newest checkpoint covers. Later entries were never signed, and
/// nobody was shown them.
fn shown(store: &Rocks, log: &Log, posted: &Published) -> Result<Published, Error> {
    if log.position.signed || log.position.size == 0 {
        return Ok(posted.clone());
    }
    let keys: Vec<_> = log.keys.log.iter().map(|key| key.vkey.0.clone()).collect();
    let opened = checkpoint::open(&posted.checkpoint, &keys).ok().map(|opened| opened.checkpoint);
    // Whether it is ours is judged by `check_log` and the seal; one that can't be read shows nothing.
    let (size, root) =
        opened.map_or((0, merkle::empty_root()), |signed| (signed.size, signed.root));
    let size = size.min(log.position.size);
    let edge = reader::load_edge(store, log.number, size)?;
    // The posted message that it covers is unknown, so tasks that wait for a message wait for the next checkpoint.
    Ok(Published { size, root, edge, posted: 0, ..posted.clone() })
}
