//! The ledger: every tenant's log over one store, one guard and one writer.
//!
//! In scope: opening with all checks, making tenants, publishing and waiting for the entry. Out of scope: who may
//! (`api::auth`), how it looks on the wire (`api::routes`).

mod open;

#[cfg(feature = "jetstream")]
pub(crate) use open::check_sound;
pub use open::{list_logs, load_log, origin};

use crate::{
    disclosure::Seed,
    entry::View,
    envelope::{self, Place},
    guard,
    ident::Ident,
    journal::{self, Append, BATCH_MESSAGES_MAX, Headers, Journal, Subject, embedded::Embedded},
    keyring,
    post::{self, Log, Outcome, Position, Prepared},
    reader::{Published, Reader},
    store::{self, Family, Read as _, rocks::Opening, rocks::Rocks},
    system::Rules,
    tenant::Tenant,
    writer::{self, Done, Inbox, ReceiptWanted, Work},
};
use data_encoding::BASE64URL_NOPAD;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Longest wait for room in a tenant's queue.
pub const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for a followed message to be posted.
pub const POST_WAIT: Duration = Duration::from_secs(20);
/// Most receipts that wait to be sent to `countersign-out`.
const RECEIPTS_WAITING_MAX: usize = 16_384;
/// Pause before such a new try.
const SIGNED_PAUSE: Duration = Duration::from_millis(20);
/// How often a signed append is tried again after it lost compare-and-swap.
const SIGNED_TRIES_MAX: usize = 100;

/// Where everything lies.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub store: Opening,
    /// Folder with a folder of keys for each tenant.
    pub keys_dir: PathBuf,
    /// The fork guard, outside the database's directory.
    pub guard_path: PathBuf,
    /// `host[:port][/path]` under which tiles are served: the beginning of every origin.
    pub public_host: String,
    /// About how many messages one commit takes.
    pub commit_messages_max: usize,
}

/// Why the ledger refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The guard refuses.
    #[error(transparent)]
    Guard(#[from] guard::Error),
    /// Keys can't be used.
    #[error(transparent)]
    Keys(#[from] keyring::Error),
    /// The journal refused or failed.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Not set up as it must be; the text says what to do.
    #[error("{0}")]
    Setup(String),
    /// The log stands still.
    #[error("the log is halted: {0}")]
    Halted(String),
    /// Too much waits already; nothing was written.
    #[error("too much waits for this tenant; try again later")]
    Busy,
    /// It is not known whether it was written; repeating is safe.
    #[error(
        "no answer in time; it is unknown whether the events were posted; repeat the same request"
    )]
    Unknown,
}

/// How tenants' journals are opened.
pub enum Journals {
    /// All on our own store.
    Embedded,
    /// All on one NATS server or cluster.
    #[cfg(feature = "jetstream")]
    JetStream(journal::jetstream::Connection),
}

impl Journals {
    /// Opens the journal of a log that exists.
    async fn open(&self, store: &Arc<Rocks>, log: &Log) -> Result<Journal, journal::Error> {
        match self {
            Self::Embedded => Ok(embedded(store, log)),
            #[cfg(feature = "jetstream")]
            Self::JetStream(connection) => {
                let stream = journal::jetstream::Jetstream::open(connection, &log.tenant).await;
                stream.map(Journal::JetStream)
            }
        }
    }
}

/// The journal of a log on its own store.
fn embedded(store: &Arc<Rocks>, log: &Log) -> Journal {
    let Position { epoch, journal, .. } = &log.position;
    Journal::Embedded(Embedded::of_log(Arc::clone(store), log.number, *epoch, journal.clone()))
}

/// The open ledger. Dropping it ends the writer after what it has.
pub struct Ledger {
    options: Options,
    store: Arc<Rocks>,
    inbox: Arc<Inbox>,
    /// What the guard held when it was opened, by origin.
    marks: BTreeMap<String, guard::Mark>,
    tenants: RwLock<BTreeMap<Ident, Arc<Tenant>>>,
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

    /// The store, for reading.
    pub fn store(&self) -> &Rocks {
        &self.store
    }

    /// Where everything lies.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A reader of one published state.
    pub fn reader<'a>(&'a self, tenant: &Tenant, at: &'a Published) -> Reader<'a> {
        Reader { store: &*self.store, number: tenant.number, at }
    }

    /// The messages that asked for receipts; the first caller gets them.
    pub fn receipts_wanted(&self) -> Option<mpsc::Receiver<ReceiptWanted>> {
        self.receipts.lock().expect("no holder of the lock panics").take()
    }

    /// Where work for the writer goes.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Waits for room for `count` messages of this tenant.
    pub(crate) async fn room(
        &self,
        tenant: &Tenant,
        count: usize,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, Error> {
        let count = u32::try_from(count).map_err(|_| Error::Busy)?;
        let permits = Arc::clone(&tenant.queue).acquire_many_owned(count);
        let permits = tokio::time::timeout(QUEUE_WAIT, permits).await.map_err(|_| Error::Busy)?;
        permits.map_err(|_| Error::Busy)
    }

    /// Appends to the embedded journal and posts: returns once the entries are fsynced, guarded and published.
    ///
    /// 1 to [`BATCH_MESSAGES_MAX`] messages, all or none. Messages without a salt get a random one.
    async fn append_embedded(&self, tenant: &Tenant, batch: Vec<Append>) -> Result<Batch, Error> {
        check_batch(&batch)?;
        if let Some(reason) = tenant.halted() {
            return Err(Error::Halted(reason));
        }
        let permit = self.room(tenant, batch.len()).await?;
        let prepare = || batch.into_iter().map(prepare_new).collect();
        // An event costs some 10 µs of parsing and hashing; a batch would hold up the other tasks of this thread.
        let messages: Vec<(Option<u64>, Prepared)> = tokio::task::block_in_place(prepare);
        let ids = messages.iter().map(|(_, message)| message.id.clone()).collect();
        let (reply, answer) = oneshot::channel();
        self.inbox.push(tenant.number, Work::Append { messages, reply, permit });
        match answer.await {
            Ok(Ok(done)) => Ok(Batch { ids, done }),
            Ok(Err(writer::Error::Refused(error))) => Err(error.into()),
            Ok(Err(writer::Error::Halted(reason))) => Err(Error::Halted(reason)),
            Err(_) => Err(Error::Unknown),
        }
    }

    /// Waits until the followed journal is posted up to the last of `seqs`; returns what became of each.
    ///
    /// The random salts say that the messages posted under these numbers are ours: a broker that was restored from an
    /// older copy gives numbers again that were posted with other content.
    async fn wait_posted(
        &self,
        tenant: &Tenant,
        seqs: Vec<u64>,
        salts: Vec<String>,
    ) -> Result<Done, Error> {
        let last = seqs.iter().max().copied().unwrap_or(0);
        let mut states = tenant.watch();
        let posted = async {
            loop {
                let published = Arc::clone(&states.borrow_and_update());
                if published.posted >= last {
                    return Ok(published);
                }
                if let Some(reason) = tenant.halted() {
                    return Err(Error::Halted(reason));
                }
                if states.changed().await.is_err() {
                    return Err(Error::Unknown);
                }
            }
        };
        let published =
            tokio::time::timeout(POST_WAIT, posted).await.map_err(|_| Error::Unknown)??;
        let messages = seqs.iter().zip(&salts);
        let outcomes: Option<Vec<Outcome>> =
            messages.map(|(seq, salt)| tenant.outcome(*seq, salt)).collect();
        let outcomes = outcomes.ok_or(Error::Unknown)?;
        Ok(Done { seqs, outcomes, published })
    }

    /// The header that lets `body` be posted on a signed subject now, and the sequence it must follow there.
    fn sign_next(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
    ) -> Result<(String, u64), Error> {
        let expected = self.last_on(tenant, subject)?;
        Ok((Self::sign_at(tenant, subject, body, expected)?, expected))
    }

    /// The last journal sequence that was posted on a signed subject in this epoch; 0 for none.
    pub fn last_on(&self, tenant: &Tenant, subject: &Subject) -> Result<u64, store::Error> {
        let epoch = tenant.published().epoch;
        let key = tenant.number.in_epoch(epoch, subject.to_string().as_bytes());
        let last = self.store.get(Family::Subjects, &key)?;
        last.map_or(Ok(0), |bytes| store::read_u64(&bytes, "subjects"))
    }

    /// Whether the journal holds a message on a signed subject that is newer than `posted`: another process wrote it,
    /// and it is not posted here yet.
    pub async fn is_behind(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        posted: u64,
    ) -> Result<bool, Error> {
        match tenant.journal() {
            #[cfg(feature = "jetstream")]
            Journal::JetStream(stream) => {
                Ok(stream.last_on(subject).await?.is_some_and(|message| message.seq > posted))
            }
            // Nobody but our writer appends, and what it appends it posts.
            Journal::Embedded(_) | Journal::Absent => Ok(false),
        }
    }

    /// The header that lets `body` be posted as the message after `expected`.
    fn sign_at(
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
        expected: u64,
    ) -> Result<String, Error> {
        let published = tenant.published();
        let journal = published.keys.journal();
        let newest = journal.last().ok_or_else(|| Error::Setup("no journal key".into()))?;
        let place = Place { tenant: &tenant.name, epoch: published.epoch, subject, expected };
        let header = tenant.with_keys(|ring| {
            ring.signer(newest).map(|signer| envelope::sign(signer, place, body))
        })?;
        Ok(header)
    }

    /// The rules in force: the index of the last `rules` entry and its body. It may be ahead of what is published.
    pub fn rules(&self, tenant: &Tenant) -> Result<Option<(u64, Rules)>, store::Error> {
        let last = self.store.get(Family::Meta, &tenant.number.meta(post::RULES))?;
        let Some(index) = last.map(|bytes| store::read_u64(&bytes, "meta")).transpose()? else {
            return Ok(None);
        };
        let entry = self.store.get(Family::Entries, &tenant.number.numbered(index))?;
        let rules = entry.as_deref().and_then(View::parse).and_then(|view| view.event_as());
        let corrupt = store::Error::Corrupt { family: "entries", what: "the last rules" };
        rules.ok_or(corrupt).map(|rules| Some((index, rules)))
    }

    /// The entries of an approval that are posted, in order: leaf index, and [`crate::post::APPROVAL`] or
    /// [`crate::post::EVIDENCE`]. It may be ahead of what is published.
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

/// A batch that was posted.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Each event's `id`, where it could be read.
    pub ids: Vec<Option<String>>,
    /// What became of each.
    pub done: Done,
}

#[cfg(feature = "jetstream")]
fn event_id(body: &[u8]) -> Option<String> {
    crate::json::parse(body).ok()?.get("id")?.as_str().map(str::to_owned)
}

/// A batch the journal would refuse is refused before anything is done.
pub fn check_batch(batch: &[Append]) -> Result<(), journal::Error> {
    let (got, max) = (batch.len(), BATCH_MESSAGES_MAX);
    if got == 0 || got > max {
        return Err(journal::Error::TooBig {
            what: "messages per batch (and at least 1)",
            got,
            max,
        });
    }
    let got = batch.iter().map(|message| message.body.len()).max().unwrap_or(0);
    let max = journal::BODY_BYTES_MAX;
    if got > max {
        return Err(journal::Error::TooBig { what: "bytes per message", got, max });
    }
    Ok(())
}

/// A random `Countersign-Salt`.
pub fn random_salt() -> String {
    BASE64URL_NOPAD.encode(&keyring::random32()[..crate::disclosure::SEED_BYTES])
}

fn prepare_new(mut append: Append) -> (Option<u64>, Prepared) {
    let sent = append.headers.salt.as_deref().and_then(Seed::from_header);
    let seed = sent.unwrap_or_else(|| {
        let salt = random_salt();
        let seed = Seed::from_header(&salt).expect("made just so");
        append.headers.salt = Some(salt);
        seed
    });
    let Append { subject, headers, body, expected } = append;
    (expected, Prepared::new(Some(subject), headers, body, seed))
}

impl Ledger {
    /// Appends to the tenant's journal and waits until every message is posted, fsynced and published.
    pub async fn publish(&self, tenant: &Tenant, mut batch: Vec<Append>) -> Result<Batch, Error> {
        match tenant.journal() {
            Journal::Embedded(_) => self.append_embedded(tenant, batch).await,
            #[cfg(feature = "jetstream")]
            Journal::JetStream(stream) => {
                check_batch(&batch)?;
                if let Some(reason) = tenant.halted() {
                    return Err(Error::Halted(reason));
                }
                for append in &mut batch {
                    append.headers.salt.get_or_insert_with(random_salt);
                }
                let ids = batch.iter().map(|append| event_id(&append.body)).collect();
                let salts = batch.iter().filter_map(|append| append.headers.salt.clone()).collect();
                let seqs = stream.append(batch).await?;
                let done = self.wait_posted(tenant, seqs, salts).await?;
                Ok(Batch { ids, done })
            }
            Journal::Absent => {
                batch.clear();
                Err(Error::Halted(tenant.halted().unwrap_or_default()))
            }
        }
    }

    /// Publishes `body` on a signed subject and waits for its entry.
    pub async fn publish_signed(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
    ) -> Result<Done, Error> {
        for _ in 0..SIGNED_TRIES_MAX {
            let Some(append) = self.signed(tenant, subject, body).await? else {
                tokio::time::sleep(SIGNED_PAUSE).await;
                continue;
            };
            match self.publish(tenant, vec![append]).await {
                // Another signed message came first, or one is not posted yet: look again.
                Err(Error::Journal(journal::Error::Conflict)) => {
                    tokio::time::sleep(SIGNED_PAUSE).await;
                }
                other => return other.map(|batch| batch.done),
            }
        }
        Err(Error::Busy)
    }

    /// `body` as the message after journal sequence `expected` on a signed subject (0: as the first), ready to be
    /// published, alone or with others.
    pub fn after(
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
        expected: u64,
    ) -> Result<Append, Error> {
        let signature = Self::sign_at(tenant, subject, body, expected)?;
        let headers =
            Headers { salt: Some(random_salt()), signature: Some(signature), receipt_to: None };
        Ok(Append {
            subject: subject.clone(),
            headers,
            body: body.to_vec(),
            expected: Some(expected),
        })
    }

    /// Publishes `body` on a signed subject as the message after journal sequence `expected` there (0: as the first),
    /// and waits for its entry. [`journal::Error::Conflict`]: another message came first; read again, decide anew.
    pub async fn publish_after(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
        expected: u64,
    ) -> Result<Done, Error> {
        let mut append = Self::after(tenant, subject, body, expected)?;
        let first = self.publish(tenant, vec![append.clone()]).await;
        #[cfg(feature = "jetstream")]
        if let (Err(Error::Journal(journal::Error::Conflict)), Journal::JetStream(stream), 1..) =
            (&first, tenant.journal(), expected)
            && stream.last_on(subject).await?.is_none()
        {
            // Trimmed or erased: the broker knows of nothing on this subject; the signature still names what was posted.
            append.expected = Some(0);
            return self.publish(tenant, vec![append]).await.map(|batch| batch.done);
        }
        first.map(|batch| batch.done)
    }

    /// A signed message that follows what is posted now; `None` while the journal holds more that is not posted yet.
    ///
    /// Two numbers: the signature names the last *posted* sequence on the subject; compare-and-swap names the last one
    /// the *journal* still holds, which is none after trimming or erasing.
    async fn signed(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
    ) -> Result<Option<Append>, Error> {
        let held = match tenant.journal() {
            Journal::Embedded(_) | Journal::Absent => None,
            #[cfg(feature = "jetstream")]
            Journal::JetStream(stream) => {
                Some(stream.last_on(subject).await?.map_or(0, |message| message.seq))
            }
        };
        if held.is_some_and(|seq| seq > tenant.published().posted) {
            return Ok(None);
        }
        let (signature, posted) = self.sign_next(tenant, subject, body)?;
        let expected = held.unwrap_or(posted);
        let headers =
            Headers { salt: Some(random_salt()), signature: Some(signature), receipt_to: None };
        let (subject, body) = (subject.clone(), body.to_vec());
        Ok(Some(Append { subject, headers, body, expected: Some(expected) }))
    }
}
