//! The ledger: every tenant's log over one store, one guard and one writer.
//!
//! In scope: opening with all checks, making tenants, publishing and waiting for the entry. Out of scope: who
//! may do it (`api::auth`), and its form on the wire (`api::routes`).

mod budgets;
mod catch_up;
mod checked;
mod cosigned;
mod counts;
mod ended;
mod erasing;
mod error;
mod founding;
mod histories;
mod kept;
mod layout;
#[cfg(feature = "jetstream")]
mod nudges;
mod open;
mod places;
mod proven;
mod publish;
mod sinks;
mod sources;
mod witnessed;

pub use budgets::AllBooked;
pub use catch_up::CATCH_UP_WAIT;
pub use checked::check_seal;
#[cfg(feature = "jetstream")]
pub(crate) use checked::check_sound;
pub use error::Error;
pub use founding::origin;
pub use kept::Kept;
pub(crate) use open::load_access;
pub use open::{list_logs, load_log};
pub use places::PlaceOf;
pub use publish::{Batch, POST_WAIT, QUEUE_WAIT, check_batch, random_salt};
pub use sources::SourcesEntry;

use crate::{
    clock::WallClock,
    entry::View,
    guard,
    ident::Ident,
    journal::{self, Journal, Subject, embedded::Embedded},
    log::replicas::Members,
    post::{Log, Position},
    proven::ProvenTiles,
    reader::{Published, Reader},
    seal::SealKey,
    spool::Spool,
    store::{self, Family, LogNumber, Read as _, rocks::Opening, rocks::Rocks},
    system::{AccessKey, Rules},
    tenant::Tenant,
    time::Nanos,
    timing::Timings,
    writer::{Inbox, ReceiptWanted},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    thread::JoinHandle,
};
use tokio::sync::{Notify, mpsc};

/// Most receipts that wait to be sent to `countersign-out`.
const RECEIPTS_WAITING_MAX: usize = 16_384;
/// Paths and limits of the ledger.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub store: Opening,
    /// Folder that has a folder of keys for each tenant.
    pub keys_dir: PathBuf,
    /// The fork guard, outside the database's directory.
    pub guard_path: PathBuf,
    /// `host[:port][/path]` at which tiles are served. It begins every origin.
    pub public_host: String,
    /// About how many messages one commit takes.
    pub commit_messages_max: usize,
    /// True if this process must be the only signer: if other servers can reach the journal, it claims each
    /// log first.
    pub one_signer: bool,
    /// The replicas that cosign every log. `None` if this server signs alone.
    pub replicas: Option<Arc<Members>>,
    /// This machine's clock.
    pub clock: WallClock,
}

/// A journal, and why it can't be asked yet, if so.
type Opened = Result<(Journal, Option<String>), journal::Error>;

/// How journals of tenants are opened.
pub enum Journals {
    /// Each journal is embedded in our own store.
    Embedded,
    /// Each journal is a stream of one NATS server or cluster.
    #[cfg(feature = "jetstream")]
    JetStream(journal::jetstream::Connection),
}

impl Journals {
    /// Opens the journal of an existing log. If it can't be asked now, it is opened all the same, and the
    /// reason is returned: the follower checks the journal before it posts. `waiting`: another journal could
    /// not be asked just now, so do not try.
    async fn open(
        &self,
        store: &Arc<Rocks>,
        (log, is_over): (&Log, bool),
        waiting: Option<String>,
    ) -> Opened {
        if is_over {
            return Ok((Journal::Absent, None));
        }
        match self {
            Self::Embedded => Ok((embedded(store, log), None)),
            #[cfg(feature = "jetstream")]
            Self::JetStream(connection) => {
                use journal::{Error as JournalError, jetstream::Jetstream};
                let later = |why| {
                    let identity = log.position.journal.clone();
                    let stream = Jetstream::expected(connection, &log.tenant, identity);
                    Ok((Journal::JetStream(stream), Some(why)))
                };
                if let Some(why) = waiting {
                    return later(why);
                }
                match Jetstream::open(connection, &log.tenant).await {
                    Ok(stream) => Ok((Journal::JetStream(stream), None)),
                    Err(JournalError::Unavailable(why) | JournalError::Unknown(why)) => later(why),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// The embedded journal of a log.
fn embedded(store: &Arc<Rocks>, log: &Log) -> Journal {
    let Position { epoch, journal, .. } = &log.position;
    Journal::Embedded(Embedded::of_log(Arc::clone(store), log.number, *epoch, journal.clone()))
}

/// The open ledger. When it is dropped, the writer finishes its work and ends.
pub struct Ledger {
    options: Options,
    store: Arc<Rocks>,
    seal_key: Arc<SealKey>,
    /// Logs whose API keys are not those that the sealed record covers.
    doubted: BTreeSet<LogNumber>,
    proven_tiles: ProvenTiles,
    inbox: Arc<Inbox>,
    guard_place: guard::PlaceOfFile,
    /// The guard, if this server is a replica.
    shared_guard: Option<guard::Shared>,
    /// The guard's marks when it was opened, by origin.
    marks: BTreeMap<String, guard::Mark>,
    tenants: RwLock<BTreeMap<Ident, Arc<Tenant>>>,
    /// Told when another replica waits for what is erased here.
    hastened: Notify,
    /// Told when another replica waits until a new tenant is taken up here.
    sought: Notify,
    receipts: Mutex<Option<mpsc::Receiver<ReceiptWanted>>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Ledger {
    /// A tenant by name.
    pub fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        let name = Ident::new(name).ok()?;
        self.tenants.read().expect("no holder of the lock panics").get(&name).cloned()
    }

    /// All tenants, by name.
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.read().expect("no holder of the lock panics").values().cloned().collect()
    }

    /// True if the API keys in the database are those that the log's entries gave.
    pub fn keys_are_believed(&self, number: LogNumber) -> bool {
        !self.doubted.contains(&number)
    }

    /// The store, for reading.
    pub(crate) fn store(&self) -> &Rocks {
        &self.store
    }

    /// Bytes of the database on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }

    /// Copies the database into `folder`, which must not exist: a backup, consistent at this moment.
    pub fn copy_to(&self, folder: &Path) -> Result<(), store::Error> {
        self.store.copy_to(folder)
    }

    /// The API key in force with this id, and its log; never one of a log whose keys are in doubt.
    pub fn access_key(&self, id: &str) -> Result<Option<(LogNumber, AccessKey)>, store::Error> {
        let number = self.store.get(Family::Access, &LogNumber::ALL.key(id.as_bytes()))?;
        let number = number.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let number = number.map(LogNumber).filter(|number| self.keys_are_believed(*number));
        let Some(number) = number else { return Ok(None) };
        let key = self.store.get(Family::Access, &number.key(id.as_bytes()))?;
        key.map(|key| Ok((number, store::read_json(&key, "access")?))).transpose()
    }

    /// The API keys in force of a tenant, in the order of their ids.
    pub fn access_keys(&self, tenant: &Tenant) -> Result<Vec<AccessKey>, store::Error> {
        Ok(load_access(&self.store, tenant.number)?.into_values().collect())
    }

    /// The first checkpoint that is kept of a tree of `size` or larger because a log key took over there: its size, and
    /// its text, signed by the old key and the new one.
    pub fn handover(
        &self,
        tenant: &Tenant,
        size: u64,
    ) -> Result<Option<(u64, String)>, store::Error> {
        let mut found = None;
        self.store.scan(Family::Rotations, &tenant.number.numbered(size), |key, value| {
            let size = key.strip_prefix(&tenant.number.0.to_be_bytes()[..]);
            let size = size.and_then(|size| size.try_into().ok()).map(u64::from_be_bytes);
            found = size.map(|size| (size, String::from_utf8_lossy(value).into_owned()));
            false
        })?;
        Ok(found)
    }

    /// The earliest kept checkpoint of a tree of `size` or larger (`proto/formats/log.md`, *Checkpoint* 6). `None` if the
    /// newest of those kept by second is smaller.
    pub fn earliest_checkpoint(
        &self,
        tenant: &Tenant,
        size: u64,
    ) -> Result<Option<Kept>, store::Error> {
        kept::earliest(&self.store, tenant.number, size)
    }

    /// Time that the writer's steps take.
    pub fn timings(&self) -> &Timings {
        &self.inbox.timings
    }

    /// Checks that the guard's path still names the file that is being advanced.
    pub fn check_guard(&self) -> Result<(), guard::Error> {
        self.guard_place.check()
    }

    /// What this machine's clock says.
    pub fn now(&self) -> Nanos {
        (self.options.clock)()
    }

    /// Paths and limits of the ledger.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A reader of one published state.
    pub fn reader<'a>(&'a self, tenant: &Tenant, at: &'a Published) -> Reader<'a> {
        Reader { store: &*self.store, number: tenant.number, at }
    }

    /// A record of `meta` that the log does not prove, checked against its seal. `None` if there is none.
    pub fn sealed(
        &self,
        what: &str,
        place: &str,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, store::Error> {
        let Some(record) = self.store.get(Family::Meta, key)? else { return Ok(None) };
        let value = self.seal_key.open(what, place, &record).map(<[u8]>::to_vec);
        let corrupt = store::Error::Corrupt { family: "meta", what: "a record without our seal" };
        value.ok_or(corrupt).map(Some)
    }

    /// A digest by the seal's key, over the parts one after another. For what could be guessed without a key.
    pub fn keyed_digest(&self, what: &str, place: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.seal_key.tag(what, place, parts)
    }

    /// Writes a record of `meta` with a seal.
    pub fn put_sealed(
        &self,
        what: &str,
        place: &str,
        key: Vec<u8>,
        value: &[u8],
    ) -> Result<(), store::Error> {
        let record = self.seal_key.seal(what, place, value);
        self.store.commit(std::iter::once(((Family::Meta, key), Some(record))))
    }

    /// The spool of a tenant in `dir`: what this server tells before it is in the journal.
    pub fn spool(&self, tenant: &Tenant, dir: &Path) -> std::io::Result<Arc<Spool>> {
        Spool::open(dir, &tenant.name, Arc::clone(&self.seal_key))
    }

    /// Messages whose producers asked for receipts. Only the first caller gets the receiver.
    pub fn receipts_wanted(&self) -> Option<mpsc::Receiver<ReceiptWanted>> {
        self.receipts.lock().expect("no holder of the lock panics").take()
    }

    /// Halts a log whose database can't be trusted. What was published before is still served.
    pub fn halt(&self, tenant: &Tenant, reason: String) {
        self.inbox.push(tenant.number, crate::writer::Work::Halt { reason });
    }

    /// The queues of the writer.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// The last posted journal sequence on a signed subject in this epoch. 0 if none.
    pub fn last_on(&self, tenant: &Tenant, subject: &Subject) -> Result<u64, store::Error> {
        match subject {
            Subject::System(topic) => return Ok(tenant.position().last_on(topic.as_str())),
            Subject::Verdicts { .. } => return Ok(0),
            Subject::Decisions(_) | Subject::Approvals(_) | Subject::Evidence(_) => {}
        }
        let epoch = tenant.published().epoch;
        let key = tenant.number.in_epoch(epoch, subject.to_string().as_bytes());
        let last = self.store.get(Family::Subjects, &key)?;
        last.map_or(Ok(0), |bytes| store::read_u64(&bytes, "subjects"))
    }

    /// The last message on a signed subject, if the journal holds one after `posted`. Another process wrote
    /// it, and it may not be posted here yet.
    pub async fn newer(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        posted: u64,
    ) -> Result<Option<u64>, Error> {
        match tenant.journal() {
            #[cfg(feature = "jetstream")]
            Journal::JetStream(stream) => {
                let last = stream.last_on(subject).await?.map(|message| message.seq);
                Ok(last.filter(|seq| *seq > posted))
            }
            // Only our writer appends to this journal, and it posts what it appends.
            Journal::Embedded(_) | Journal::Absent => Ok(None),
        }
    }

    /// Leaf index of the last posted `rules` entry. It may be ahead of what is published.
    pub fn rules_index(&self, tenant: &Tenant) -> Option<u64> {
        tenant.last_rules()
    }

    /// The rules in force: [`Ledger::rules_index`] and the body of that entry.
    pub fn rules(&self, tenant: &Tenant) -> Result<Option<(u64, Rules)>, store::Error> {
        let Some(index) = self.rules_index(tenant) else { return Ok(None) };
        let entry = self.entry(tenant, index)?;
        let rules = entry.as_deref().and_then(View::parse).and_then(|view| view.event_as());
        let corrupt = store::Error::Corrupt { family: "entries", what: "the last rules" };
        rules.ok_or(corrupt).map(|rules| Some((index, rules)))
    }

    /// Posted entries of an approval, in order: leaf index, and [`crate::post::APPROVAL`] or
    /// [`crate::post::EVIDENCE`]. They may be ahead of what is published.
    pub fn of_approval(&self, tenant: &Tenant, id: &Ident) -> Result<Vec<(u64, u8)>, store::Error> {
        let prefix = tenant.number.approval(id, None);
        let mut entries = Vec::new();
        self.store.scan(Family::Approvals, &prefix, |key, value| {
            let index = key.strip_prefix(prefix.as_slice());
            let index = index.and_then(|index| index.try_into().ok()).map(u64::from_be_bytes);
            let kind = value.first().copied().unwrap_or_default();
            entries.extend(index.map(|index| (index, kind)));
            index.is_some()
        })?;
        Ok(entries)
    }
}
