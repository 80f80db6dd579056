//! Publishes messages: appends them to the journal, and returns once their entries are posted, fsynced and
//! published.

use super::{Error, Ledger};
use crate::{
    disclosure::{SEED_BYTES, Seed},
    envelope::{self, Place},
    journal::{self, Append, BATCH_MESSAGES_MAX, Headers, Journal, Subject},
    keyring,
    post::{Outcome, Prepared},
    tenant::Tenant,
    writer::{self, Done, Work},
};
use data_encoding::BASE64URL_NOPAD;
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Longest wait for space in a tenant's queue.
pub const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Longest wait until a followed message is posted.
pub const POST_WAIT: Duration = Duration::from_secs(20);
/// Most bytes of a batch that are prepared on the thread that received them: about 0.1 ms.
const PREPARED_HERE_BYTES_MAX: usize = 8 << 10;
/// Pause before a signed append is tried again.
const SIGNED_PAUSE: Duration = Duration::from_millis(20);
/// Number of attempts of a signed append that keeps losing compare-and-swap.
const SIGNED_TRIES_MAX: usize = 100;

/// A posted batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `id` of each event, if it could be read.
    pub ids: Vec<Option<String>>,
    /// Outcome of each event.
    pub done: Done,
}

impl Ledger {
    /// Appends to the tenant's journal and waits until every message is posted, fsynced and published.
    pub async fn publish(&self, tenant: &Tenant, mut batch: Vec<Append>) -> Result<Batch, Error> {
        if tenant.is_deleted() {
            return Err(Error::Deleted);
        }
        match tenant.journal() {
            Journal::Embedded(_) => self.append_embedded(tenant, batch).await,
            #[cfg(feature = "jetstream")]
            Journal::JetStream(stream) => {
                check_batch(&batch)?;
                if let Some(reason) = tenant.halted() {
                    return Err(Error::Halted(reason));
                }
                tenant.may_append()?;
                if let Some(why) = tenant.no_quorum() {
                    return Err(Error::NoQuorum(why));
                }
                for append in &mut batch {
                    append.headers.salt.get_or_insert_with(random_salt);
                }
                let salts = batch.iter().filter_map(|append| append.headers.salt.clone()).collect();
                let appended = stream.append(batch).await;
                // A lost connection to the broker is reported elsewhere, and may be back at once.
                if stream.connected() {
                    tenant.note_append(&appended);
                }
                let seqs = appended?;
                self.wait_posted(tenant, seqs, salts).await
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
                // Another signed message came first, or one is not posted yet: read again.
                Err(Error::Journal(journal::Error::Conflict)) => {
                    tokio::time::sleep(SIGNED_PAUSE).await;
                }
                other => return other.map(|batch| batch.done),
            }
        }
        Err(Error::Busy)
    }

    /// `body` as the message after journal sequence `expected` on a signed subject (0: as the first), ready to
    /// be published, alone or with others.
    pub fn after(
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
        expected: u64,
    ) -> Result<Append, Error> {
        let signature = Self::sign_at(tenant, subject, body, expected)?;
        let headers =
            Headers { salt: Some(random_salt()), signature: Some(signature), ..Headers::default() };
        Ok(Append {
            subject: subject.clone(),
            headers,
            body: body.to_vec(),
            expected: Some(expected),
        })
    }

    /// `body` on a signed subject whose messages do not follow each other, ready to be published.
    pub fn unchained(tenant: &Tenant, subject: &Subject, body: &[u8]) -> Result<Append, Error> {
        Ok(Append { expected: None, ..Self::after(tenant, subject, body, 0)? })
    }

    /// Publishes `body` on a signed subject as the message after journal sequence `expected` there (0: as the
    /// first), and waits for its entry. [`journal::Error::Conflict`] if another message came first: read again
    /// and decide again.
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
        if let (Err(Error::Journal(journal::Error::Conflict)), Journal::JetStream(stream)) =
            (&first, tenant.journal())
            && let held = stream.last_on(subject).await?.map_or(0, |message| message.seq)
            && held < expected
        {
            // The last message was trimmed or erased, so the broker holds an earlier one or none on this
            // subject. The signature still names the posted one.
            append.expected = Some(held);
            return self.publish(tenant, vec![append]).await.map(|batch| batch.done);
        }
        first.map(|batch| batch.done)
    }

    /// A signed message that follows what is posted now. `None` while the journal holds messages on the
    /// subject that are not posted yet.
    ///
    /// Two numbers differ here. The signature names the last *posted* sequence on the subject;
    /// compare-and-swap names the last one that the *journal* still holds, which is none after trimming or
    /// erasing.
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
        let posted = self.last_on(tenant, subject)?;
        let append = Self::after(tenant, subject, body, posted)?;
        Ok(Some(Append { expected: Some(held.unwrap_or(posted)), ..append }))
    }

    /// The signature header of `body` as the message after `expected`.
    fn sign_at(
        tenant: &Tenant,
        subject: &Subject,
        body: &[u8],
        expected: u64,
    ) -> Result<String, Error> {
        let journal = tenant.journal_keys();
        let newest = journal.last().ok_or(Error::NoKey("journal"))?;
        let epoch = tenant.position().epoch;
        let place = Place { tenant: &tenant.name, epoch, subject, expected };
        let header = tenant.with_keys(|ring| {
            ring.signer(newest).map(|signer| envelope::sign(signer, place, body))
        })?;
        tenant.own_signatures.note(envelope::fingerprint(newest, place, body, &header));
        Ok(header)
    }

    /// Waits for space for `count` messages of this tenant.
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

    /// Appends to the embedded journal and posts. Returns once the entries are fsynced, guarded and published.
    ///
    /// Takes 1 to [`BATCH_MESSAGES_MAX`] messages, all or none. Messages without a salt get a random one.
    async fn append_embedded(&self, tenant: &Tenant, batch: Vec<Append>) -> Result<Batch, Error> {
        check_batch(&batch)?;
        if let Some(reason) = tenant.halted() {
            return Err(Error::Halted(reason));
        }
        let permit = self.room(tenant, batch.len()).await?;
        let bytes: usize = batch.iter().map(|append| append.body.len()).sum();
        let prepare = || prepare_all(batch);
        // Parsing and hashing take about 10 µs a KiB, so a batch would delay the other tasks of this thread. For a small
        // one, to hand those tasks to another thread takes longer than that, and delays them too.
        let small = bytes <= PREPARED_HERE_BYTES_MAX;
        let messages = if small { prepare() } else { tokio::task::block_in_place(prepare) };
        let ids = messages.iter().map(|(_, message)| message.id.clone()).collect();
        let (reply, answer) = oneshot::channel();
        self.inbox.push(tenant.number, Work::Append { messages, reply, permit });
        match answer.await {
            Ok(Ok(done)) => Ok(Batch { ids, done }),
            Ok(Err(writer::Error::Refused(error))) => Err(error.into()),
            Ok(Err(writer::Error::Halted(reason))) => Err(Error::Halted(reason)),
            Ok(Err(writer::Error::Deleted)) => Err(Error::Deleted),
            Err(_) => Err(Error::Unknown),
        }
    }

    /// Waits until the followed journal is posted up to the last of `seqs`. Returns what became of each.
    ///
    /// The random salts prove that the messages posted under these numbers are ours. A broker that was
    /// restored from an older copy assigns numbers again that were posted with other content.
    async fn wait_posted(
        &self,
        tenant: &Tenant,
        seqs: Vec<u64>,
        salts: Vec<String>,
    ) -> Result<Batch, Error> {
        let last = seqs.iter().max().copied().unwrap_or(0);
        let mut states = tenant.watch();
        let posted = async {
            loop {
                let published = Arc::clone(&states.borrow_and_update());
                if published.posted >= last {
                    return Ok(published);
                }
                // The journal holds the message: whoever posts it next, posts it.
                if tenant.halted().is_some() {
                    return Err(Error::Unknown);
                }
                if states.changed().await.is_err() {
                    return Err(Error::Unknown);
                }
            }
        };
        let published =
            tokio::time::timeout(POST_WAIT, posted).await.map_err(|_| Error::Unknown)??;
        let messages = seqs.iter().zip(&salts);
        let posted: Option<(Vec<Option<String>>, Vec<Outcome>)> =
            messages.map(|(seq, salt)| tenant.outcome(*seq, salt)).collect();
        let (ids, outcomes) = posted.ok_or(Error::Unknown)?;
        Ok(Batch { ids, done: Done { seqs, outcomes, published } })
    }
}

/// Refuses a batch that the journal would refuse, before anything is done.
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
    Randoms::new(1).salt()
}

/// Random salts of a batch. The system is asked once for all of them.
struct Randoms(Zeroizing<Vec<u8>>);

impl Randoms {
    fn new(count: usize) -> Self {
        Self(keyring::random(count * SEED_BYTES))
    }

    fn salt(&mut self) -> String {
        let rest = self.0.len().checked_sub(SEED_BYTES).expect("as many as messages");
        let salt = BASE64URL_NOPAD.encode(&self.0[rest..]);
        self.0.truncate(rest);
        salt
    }
}

/// Prepares messages. Those without a salt get a random one.
fn prepare_all(batch: Vec<Append>) -> Vec<(Option<u64>, Prepared)> {
    let mut random = Randoms::new(batch.len());
    let prepare = |mut append: Append| {
        let sent = append.headers.salt.as_deref().and_then(Seed::from_header);
        let seed = sent.unwrap_or_else(|| {
            let salt = random.salt();
            let seed = Seed::from_header(&salt).expect("made just so");
            append.headers.salt = Some(salt);
            seed
        });
        let Append { subject, headers, body, expected } = append;
        (expected, Prepared::new(Some(subject), headers, body, seed))
    };
    batch.into_iter().map(prepare).collect()
}
