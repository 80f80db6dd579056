//! Follows a tenant's stream and hands its messages to the writer, with the checks of P4 on every connect.

mod agree;
mod holes;
mod unexplained;

pub use unexplained::unexplained;

use crate::{
    canonical,
    disclosure::Seed,
    gone::Hole,
    guard,
    journal::{Append, Error, Followed, Message, State, Subject, jetstream::Jetstream},
    ledger::Ledger,
    post::{Arrival, Explained, Position, Prepared, last_leaves},
    same_journal::{check_epoch, check_journal},
    system::{By, Claim, Duty},
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
                let asks = tenant.replica().is_some_and(|replica| replica.hole().is_some());
                if asks {
                    tracing::info!(tenant = %tenant.name, %error, "journal messages are missing; asking again");
                } else if reached.connected || tenant.waiting().is_none() {
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
    let promises = ledger.shared_guard().map(guard::Shared::promises);
    let mut holes = Holes::new(tenant, promises, position, keys.clone());
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
                // A message that was given up may be there again.
                holes.learn_gaps(stream).await?;
                // A hole at the end: no later message would show it.
                if end >= next && stream.next_from(next).await?.is_none() {
                    fill(ledger, (tenant, stream), &mut holes, (next, end)).await?;
                    next = end + 1;
                }
                note_no_hole(tenant, next > end);
            }
            Followed::Messages(mut messages) => {
                while let Some(first) = messages.first().map(|message| message.seq) {
                    if first > next {
                        fill(ledger, (tenant, stream), &mut holes, (next, first - 1)).await?;
                    }
                    if holes.is_given_up(first) {
                        messages.remove(0);
                        fill(ledger, (tenant, stream), &mut holes, (first, first)).await?;
                        next = first + 1;
                        continue;
                    }
                    // A key entry ends a commit, so it also ends a part. Holes are filled first.
                    let key =
                        messages.iter().position(is_key_change).map_or(usize::MAX, |at| at + 1);
                    let run = (first..).zip(&messages);
                    let run = run.take_while(|(seq, m)| m.seq == *seq && !holes.is_given_up(*seq));
                    let run = run.count();
                    let rest = messages.split_off(run.min(HANDED_MESSAGES_MAX).min(key));
                    let part = std::mem::replace(&mut messages, rest);
                    next = first + part.len() as u64;
                    hand_over(ledger, tenant, position.epoch, part).await;
                    note_no_hole(tenant, true);
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

/// Explains a hole, and has it posted.
async fn fill(
    ledger: &Ledger,
    (tenant, stream): (&Tenant, &Jetstream),
    holes: &mut Holes<'_>,
    (from, to): (u64, u64),
) -> Result<(), Error> {
    let mut next = from;
    while next <= to {
        let stood = holes.fill((ledger, stream), (next, to)).await?;
        next = stood.last().map_or(next, |explained| explained.what.last() + 1);
        hand_over_explained(ledger, tenant, stood).await;
    }
    Ok(())
}

/// Posting has come past what was missing, if anything was.
fn note_no_hole(tenant: &Tenant, is_past: bool) {
    let replica = tenant.replica().filter(|replica| is_past && replica.hole().is_some());
    if let Some(replica) = replica {
        replica.set_hole(None);
    }
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
    let claimed = append_last(tenant, stream, ("signer", &canonical::of(&claim)), u64::MAX).await;
    tenant.note_append(&claimed);
    claimed
}

/// Appends a signed message after the last one that the stream holds on `system.<topic>`. Returns its sequence;
/// `None` if another server's message came first, at `before` or later.
async fn append_last(
    tenant: &Tenant,
    stream: &Jetstream,
    (topic, body): (&str, &[u8]),
    before: u64,
) -> Result<Option<u64>, Error> {
    let subject = Subject::parse(&format!("system.{topic}")).expect("a subject");
    let held = stream.last_on(&subject).await?.map_or(0, |message| message.seq);
    if held >= before {
        return Ok(None);
    }
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

/// Appends `system.gap` after the last message that the stream holds; posting judges it there. Appends nothing if there is one at
/// `before` or later: another server was first, and what it says may be the same.
pub async fn append_gap(
    tenant: &Tenant,
    stream: &Jetstream,
    hole: &Hole,
    before: u64,
) -> Result<(), Error> {
    append_last(tenant, stream, ("gap", &canonical::of(hole)), before).await.map(|_| ())
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
