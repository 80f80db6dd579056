//! Follows a tenant's stream and hands its messages to the writer, with the checks of P4 on every connect.

mod holes;

pub use holes::{append_gap, unexplained};

use crate::{
    canonical,
    disclosure::Seed,
    envelope::{self, Place},
    gone::{self, Erasure, Leaf},
    journal::{Append, Error, Followed, Message, State, Subject, jetstream::Jetstream},
    ledger::Ledger,
    log::{merkle::Hash, note::Vkey},
    post::{Arrival, Explained, Position, Prepared, last_leaves, tail_digest},
    system::{By, Claim, Duty, NewEpoch},
    tenant::{QUEUE_MESSAGES_MAX, Tenant},
    writer::Work,
};
use holes::Holes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Most batches that wait between the broker and the writer's queue.
const BATCHES_WAITING_MAX: usize = 4;
/// First pause after a failure. It doubles after each attempt that brings nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause. The service stands still for as long after NATS has elected a leader.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a journal may end before what a replica has posted, until that counts as a loss: longer than a leader without a
/// quorum answers.
const SHORT_MAX: Duration = Duration::from_secs(40);
/// Most messages that are handed to the writer at once.
const HANDED_MESSAGES_MAX: usize = 1000;

/// Follows until the task is dropped or the log must halt.
pub async fn follow(ledger: Arc<Ledger>, tenant: Arc<Tenant>, stream: Jetstream) {
    let (mut pause, mut reached) = (PAUSE, Reached::default());
    // The log of a deleted tenant has ended, and its stream goes.
    while !tenant.is_deleted() {
        reached.connected = false;
        match follow_once(&ledger, &tenant, &stream, &mut reached).await {
            Ok(()) => return,
            Err(Error::Halt(reason)) => {
                ledger.inbox().push(tenant.number, Work::Halt { reason });
                return;
            }
            Err(error) => {
                // A connection that worked and was lost is tried again without a longer pause.
                pause = if reached.connected { PAUSE } else { PAUSE_MAX.min(pause * 2) };
                if reached.connected || tenant.waiting().is_none() {
                    tracing::warn!(tenant = %tenant.name, %error, "journal lost; connecting again");
                }
                if !reached.connected {
                    tenant.set_waiting(Some(error.to_string()));
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// How a journal was reached.
#[derive(Debug, Default)]
struct Reached {
    /// True once it is reached, and is known to be the one that was posted.
    connected: bool,
    /// Since when it ends before what is posted.
    short_since: Option<Instant>,
}

impl Reached {
    /// A journal that ends before what a replica has posted may be told by a node that lost its quorum and does not know it
    /// yet. Only if it stays so, messages are lost.
    fn check_end(
        &mut self,
        tenant: &Tenant,
        position: &Position,
        state: &State,
    ) -> Result<(), Error> {
        if tenant.replica().is_none() || state.last >= position.posted {
            self.short_since = None;
            return Ok(());
        }
        if self.short_since.get_or_insert_with(Instant::now).elapsed() >= SHORT_MAX {
            return Ok(());
        }
        Err(Error::Unavailable(format!(
            "the journal ends at {}, and {} is posted: this may be a node that lost its quorum; asking again",
            state.last, position.posted
        )))
    }
}

async fn follow_once(
    ledger: &Ledger,
    tenant: &Tenant,
    stream: &Jetstream,
    reached: &mut Reached,
) -> Result<(), Error> {
    // The position is settled only once everything that was handed over is posted, that is, when the whole
    // queue is free.
    settle(tenant).await;
    let position = tenant.position();
    let (sink, batches) = mpsc::channel(BATCHES_WAITING_MAX);
    let reading = stream.follow(position.posted + 1, sink);
    let posting = post_all(ledger, tenant, (stream, reached), &position, batches);
    tokio::pin!(posting);
    // `posting` ends first when it finds the journal wrong: the reader must not run on.
    let read = tokio::select! {
        biased;
        posted = &mut posting => return posted,
        read = reading => read,
    };
    if let Err(Error::Halt(_)) = read {
        return read;
    }
    // What was read before the reader failed is posted first: otherwise a message that the reader can't pass keeps those
    // before it from being posted, for ever.
    match posting.await {
        Err(halt @ Error::Halt(_)) => Err(halt),
        _ => read,
    }
}

/// Waits until everything that was handed over is committed.
async fn settle(tenant: &Tenant) {
    let all = u32::try_from(QUEUE_MESSAGES_MAX).unwrap_or(u32::MAX);
    drop(tenant.queue.acquire_many(all).await);
}

fn cannot_catch_up(tenant: &Tenant) -> Error {
    let size = tenant.must_reach().map_or(0, |mark| mark.size);
    Error::Halt(format!(
        "size {size} was signed before, the database is older (restored from a backup), and the journal no longer \
         holds the messages that led there. Restore a backup of at least that size; this one must not sign"
    ))
}

async fn post_all(
    ledger: &Ledger,
    tenant: &Tenant,
    (stream, reached): (&Jetstream, &mut Reached),
    position: &Position,
    mut batches: mpsc::Receiver<Followed>,
) -> Result<(), Error> {
    let (mut next, mut end, mut claim_at) = (position.posted + 1, 0, None);
    let keys = tenant.keys_at_hand();
    let mut holes = Holes::new(&tenant.name, position, keys.clone());
    while let Some(followed) = batches.recv().await {
        match followed {
            Followed::Connected(state) => {
                check_epoch(stream, tenant, (position, &keys)).await?;
                reached.check_end(tenant, position, &state)?;
                let leaves = last_leaves(ledger.store(), tenant.number, position)?;
                check_journal(stream, (position, &leaves), &state).await?;
                end = state.last;
                reached.connected = true;
                tenant.set_waiting(None);
                // A hole at the end: no later message would show it.
                if end >= next && stream.next_from(next).await?.is_none() {
                    let stood = holes.fill((tenant, stream), (next, end)).await?;
                    hand_over_explained(ledger, tenant, stood).await;
                    next = end + 1;
                }
            }
            Followed::Messages(mut messages) => {
                while let Some(first) = messages.first().map(|message| message.seq) {
                    if first > next {
                        let stood = holes.fill((tenant, stream), (next, first - 1)).await?;
                        hand_over_explained(ledger, tenant, stood).await;
                    }
                    // A key entry ends a commit, so it also ends a part. Holes are filled first.
                    let key =
                        messages.iter().position(is_key_change).map_or(usize::MAX, |at| at + 1);
                    let run = (first..).zip(&messages).take_while(|(seq, m)| m.seq == *seq).count();
                    let rest = messages.split_off(run.min(HANDED_MESSAGES_MAX).min(key));
                    let part = std::mem::replace(&mut messages, rest);
                    next = first + part.len() as u64;
                    hand_over(ledger, tenant, position.epoch, part).await;
                }
            }
        }
        if tenant.must_reach().is_some() && next > end {
            settle(tenant).await;
            if tenant.must_reach().is_some() && tenant.halted().is_none() {
                return Err(cannot_catch_up(tenant));
            }
        }
        // A claim that was rejected, because the journal key was rotated before it was posted, is made again.
        if next > end && claim_at.is_none_or(|at| next > at) {
            claim_at = Some(claim(tenant, stream).await?.unwrap_or(next));
        }
    }
    Err(Error::Unavailable("the stream ended".into()))
}

/// Claims the log once everything that the journal held is posted. Returns the claim's sequence; `None` if nothing was
/// claimed, because it is claimed already, can't be yet, or another message came first.
///
/// It does not claim at the beginning, because the present signer may go on until then.
async fn claim(tenant: &Tenant, stream: &Jetstream) -> Result<Option<u64>, Error> {
    if tenant.unposted_claim().is_none() {
        return Ok(None);
    }
    settle(tenant).await;
    let Some(id) = tenant.unposted_claim() else { return Ok(None) };
    let position = tenant.position();
    let waits = tenant.must_reach().is_some() || !position.provisional.is_empty();
    if position.size == 0 || waits || tenant.halted().is_some() {
        return Ok(None);
    }
    let claim = Claim { id, by: By::Server { server: Duty::Signing } };
    let claimed = append_last(tenant, stream, ("signer", &canonical::of(&claim))).await;
    tenant.note_append(&claimed);
    claimed
}

/// Appends a signed message after the last one that the stream holds on `system.<topic>`. Returns its sequence;
/// `None` if another server's message came first.
async fn append_last(
    tenant: &Tenant,
    stream: &Jetstream,
    (topic, body): (&str, &[u8]),
) -> Result<Option<u64>, Error> {
    let subject = Subject::parse(&format!("system.{topic}")).expect("a subject");
    let held = stream.last_on(&subject).await?.map_or(0, |message| message.seq);
    // The signature names the message before it on this subject as posting will find it: not one of an earlier epoch.
    let position = tenant.position();
    let expected = if held > position.posted { held } else { position.last_on(topic) };
    let append = Ledger::after(tenant, &subject, body, expected);
    let append = append.map_err(|error| Error::Halt(error.to_string()))?;
    match stream.append(vec![Append { expected: Some(held), ..append }]).await {
        Ok(seqs) => Ok(seqs.first().copied()),
        Err(Error::Conflict) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_key_change(message: &Message) -> bool {
    matches!(&message.subject, Some(Subject::System(topic)) if topic.as_str() == "key")
}

async fn hand_over(ledger: &Ledger, tenant: &Tenant, epoch: u64, messages: Vec<Message>) {
    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let Ok(permit) = Arc::clone(&tenant.queue).acquire_many_owned(count).await else { return };
    let prepare = || messages.into_iter().map(|message| prepare(tenant, epoch, message)).collect();
    let messages: Vec<_> = tokio::task::block_in_place(prepare);
    ledger.inbox().push(tenant.number, Work::Post { messages, permit });
}

async fn hand_over_explained(ledger: &Ledger, tenant: &Tenant, mut holes: Vec<Explained>) {
    while !holes.is_empty() {
        let rest = holes.split_off(holes.len().min(HANDED_MESSAGES_MAX));
        let part = std::mem::replace(&mut holes, rest);
        let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&tenant.queue).acquire_many_owned(count).await else { return };
        ledger.inbox().push(tenant.number, Work::Explained { holes: part, permit });
    }
}

/// Prepares a followed message for posting. If it has no salt, it gets one from the tenant's salt key.
pub fn prepare(tenant: &Tenant, epoch: u64, message: Message) -> (Arrival, Prepared) {
    let arrival = Arrival { seq: message.seq, time: message.time };
    let sent = message.headers.salt.as_deref().and_then(Seed::from_header);
    let seed = sent.unwrap_or_else(|| {
        tenant.with_keys(|ring| Seed::derive(ring.salt_key(), epoch, message.seq))
    });
    (arrival, Prepared::new(message.subject, message.headers, message.body, seed))
}

/// P4: checks that this is still the journal that was posted, up to its last posted message. `leaves`: the
/// leaf hashes that the message gave.
///
/// If that message was erased, a later erasure message must name it with exactly these leaves.
pub async fn check_journal(
    stream: &Jetstream,
    (position, leaves): (&Position, &[Hash]),
    state: &State,
) -> Result<(), Error> {
    let Position { journal, posted, tail, .. } = position;
    let exit = "Find out what happened to the broker. If what it lost is gone for good, stop the server and run \
                `countersign recover --accept-journal-loss`";
    if state.identity != *journal {
        return Err(Error::Halt(format!(
            "the journal is another one: {} instead of {journal}. The stream was deleted and made again. {exit}",
            state.identity
        )));
    }
    if state.last < *posted {
        return Err(Error::Halt(format!(
            "the journal ends at {}, but {posted} is posted: the broker lost its newest messages. {exit}",
            state.last
        )));
    }
    let Some(tail) = tail.filter(|_| *posted >= state.first) else { return Ok(()) };
    let same = match stream.get(*posted).await? {
        Some(message) => digest(&message) == tail,
        None => is_erased(stream, position, leaves).await?,
    };
    if same {
        return Ok(());
    }
    Err(Error::Halt(format!(
        "journal message {posted} is not the one that was posted: the broker was restored from an older copy and \
         gave its numbers again. {exit}"
    )))
}

/// A database of an earlier epoch must not post messages of the new epoch as its own: `recover` began the
/// epoch on another database.
async fn check_epoch(
    stream: &Jetstream,
    tenant: &Tenant,
    (position, keys): (&Position, &[Vkey]),
) -> Result<(), Error> {
    let subject = Subject::parse("system.journal").expect("a subject");
    let Some(message) = stream.last_on(&subject).await? else { return Ok(()) };
    let new = serde_json::from_slice::<NewEpoch>(&message.body).ok();
    let Some(new) = new.filter(|new| new.epoch > position.epoch) else { return Ok(()) };
    let place = Place { tenant: &tenant.name, epoch: new.epoch, subject: &subject, expected: 0 };
    let header = message.headers.signature.as_deref().unwrap_or("");
    if !envelope::verify(keys, place, &message.body, header) {
        return Ok(());
    }
    Err(Error::Halt(format!(
        "the journal is in epoch {}, this database in epoch {}: `countersign recover --accept-journal-loss` began it \
         with another database, or was interrupted with this one. Restore a newer backup; if this is the newest one, run \
         it again",
        new.epoch, position.epoch
    )))
}

/// True if an erasure message says that the last posted message is gone and gave these leaves.
async fn is_erased(
    stream: &Jetstream,
    position: &Position,
    leaves: &[Hash],
) -> Result<bool, Error> {
    let subject = Subject::parse("system.erasure").expect("a subject");
    let mut next = position.posted + 1;
    while let Some(message) = stream.next_on(&subject, next).await? {
        next = message.seq + 1;
        let erasure = gone::read::<Erasure<Leaf>>(&message.body);
        let messages = erasure.map(|erasure| erasure.messages).unwrap_or_default();
        let place = (position.epoch, position.posted);
        let mut its = messages.iter().filter(|gone| (gone.epoch, gone.seq) == place);
        if its.any(|gone| gone.hashes() == leaves) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Digest of a message. The commit record holds that of the last posted one.
pub fn digest(message: &Message) -> Hash {
    let arrival = Arrival { seq: message.seq, time: message.time };
    tail_digest(arrival, message.subject.as_ref(), &message.headers, &message.body)
}
