//! Recovers from a lost journal: begins a new epoch by an entry that says what is missing. It never repairs
//! silently.

use crate::{
    disclosure::Seed,
    envelope::{self, Place},
    guard::Guard,
    journal::{self, Append, Headers, Subject, jetstream::Jetstream},
    ledger::{self, Error, random_salt},
    log::{merkle, note::Vkey},
    post::{Log, Prepared, last_leaves},
    same_journal,
    store::{Changes, Family, Read as _, rocks::Rocks},
    system::{By, Command, LeafAt, NewEpoch},
    tenant::Tenant,
    writer,
};
use serde_json::json;

/// The result.
#[derive(Debug)]
pub struct Recovered {
    /// The new epoch.
    pub epoch: u64,
    /// Leaf index of the `journal` entry.
    pub index: u64,
    /// First sequence of the journal that will be posted.
    pub from: u64,
    /// Last sequence of the old journal that is in the ledger.
    pub previous_posted: u64,
    /// The error, if appending the reason failed. The epoch has begun all the same.
    pub reason_lost: Option<Error>,
}

/// Begins epoch n+1 on the stream as it is now. The server must be stopped; `log` is as loaded, `guard` is
/// held.
///
/// Messages of the new journal that are already posted are left out (a broker restored from an older copy
/// still has the beginning). The next `serve` posts everything after them, with `why`. This is the only reason
/// that comes after its act, because the old journal accepts nothing more.
pub async fn accept_journal_loss(
    store: &Rocks,
    guard: &mut Guard,
    tenant: &Tenant,
    mut log: Log,
    (stream, why): (&Jetstream, Option<&str>),
) -> Result<Recovered, Error> {
    let state = stream.state().await?;
    let position = log.position.clone();
    let leaves = last_leaves(store, log.number, &position)?;
    match same_journal::check_journal(stream, (&position, &leaves), &state).await {
        Err(journal::Error::Halt(_)) => {}
        Err(error) => return Err(error.into()),
        Ok(()) => {
            let text = "the journal is the one that was posted: there is nothing to recover";
            return Err(Error::Setup(text.into()));
        }
    }
    // A database that is older than what was signed, or of another history, must not begin an epoch: that
    // would fork the log.
    ledger::check_sound(store, guard, &log)?;
    let from = if state.identity == position.journal {
        first_unposted(store, &log, stream, state.last).await?
    } else {
        1
    };
    let epoch = position.epoch + 1;
    let new = NewEpoch {
        epoch,
        journal: state.identity,
        from,
        previous_journal: position.journal,
        previous_posted: position.posted,
        by: By::Command { command: Command::Recover },
    };
    let (seq, message) = publish(tenant, &log, stream, &new).await?;
    let mut changes = Changes::new(store);
    let index = log.post_epoch(&mut changes, seq, &message);
    let index = index.ok_or_else(|| Error::Setup("the new epoch could not be posted".into()))?;
    let entry = changes.get(Family::Entries, &log.number.numbered(index))?;
    let leaf_hash = merkle::leaf_hash(&entry.unwrap_or_default());
    let keys = log.keys.journal();
    commit(store, guard, tenant, log, changes)?;
    let act = LeafAt { index, leaf_hash };
    let reason_lost = match why {
        Some(why) => publish_reason(tenant, &keys, stream, (&new, &act), why).await.err(),
        None => None,
    };
    Ok(Recovered { epoch, index, from, previous_posted: new.previous_posted, reason_lost })
}

/// Appends the reason as a message of the new epoch.
async fn publish_reason(
    tenant: &Tenant,
    keys: &[Vkey],
    stream: &Jetstream,
    (new, act): (&NewEpoch, &LeafAt),
    why: &str,
) -> Result<(), Error> {
    let subject = Subject::parse("evidence.system").expect("a subject");
    let body = crate::canonical::of(&json!({"act": "journal", "entry": act, "reason": why}));
    let held = stream.last_on(&subject).await?.map_or(0, |message| message.seq);
    // Messages from before the new epoch are in the stream but not posted in this epoch.
    let expected = if held < new.from { 0 } else { held };
    let place = Place { tenant: &tenant.name, epoch: new.epoch, subject: &subject, expected };
    let newest = keys.last().ok_or(Error::NoKey("journal"))?;
    let signature =
        tenant.with_keys(|ring| ring.signer(newest).map(|s| envelope::sign(s, place, &body)))?;
    let headers = Headers {
        salt: Some(random_salt()),
        signature: Some(signature),
        receipt_to: None,
        refused: None,
    };
    let append = Append { subject: subject.clone(), headers, body, expected: Some(held) };
    stream.append(vec![append]).await?;
    Ok(())
}

/// Writes the changes of `recover` in the order of every commit: database, then guard.
fn commit(
    store: &Rocks,
    guard: &mut Guard,
    tenant: &Tenant,
    mut log: Log,
    mut changes: Changes<'_>,
) -> Result<(), Error> {
    log.position.root = log.edge.root();
    log.position.signed = true;
    log.save_position(&mut changes)?;
    let checkpoint = writer::checkpoint(&log, tenant).map_err(Error::Setup)?;
    writer::put_checkpoint(&mut changes, &log, &checkpoint, tenant.now());
    store.commit(changes.into_writes())?;
    Ok(guard.advance(&[writer::mark(&log)])?)
}

/// Publishes the message that opens the epoch. If an interrupted `recover` left one there, uses that.
async fn publish(
    tenant: &Tenant,
    log: &Log,
    stream: &Jetstream,
    new: &NewEpoch,
) -> Result<(u64, Prepared), Error> {
    let subject = Subject::parse("system.journal").expect("a subject");
    let body = crate::canonical::of(new);
    // In the new epoch nothing is posted on this subject yet, whatever the stream holds.
    let place = Place { tenant: &log.tenant, epoch: new.epoch, subject: &subject, expected: 0 };
    let last = stream.last_on(&subject).await?;
    if let Some(message) = last.as_ref().filter(|message| message.body == body) {
        let header = message.headers.signature.as_deref().unwrap_or("");
        let seed = message.headers.salt.as_deref().and_then(Seed::from_header);
        if let (true, Some(seed)) =
            (envelope::verify(&log.keys.journal(), place, &body, header), seed)
        {
            let headers = message.headers.clone();
            return Ok((message.seq, Prepared::new(Some(subject), headers, body, seed)));
        }
    }
    let newest = log.keys.journal();
    let newest = newest.last().ok_or(Error::NoKey("journal"))?;
    let signature =
        tenant.with_keys(|ring| ring.signer(newest).map(|s| envelope::sign(s, place, &body)))?;
    let salt = random_salt();
    let seed = Seed::from_header(&salt).expect("made just so");
    let headers = Headers { salt: Some(salt), signature: Some(signature), ..Headers::default() };
    let message = Prepared::new(Some(subject.clone()), headers.clone(), body.clone(), seed);
    let expected = Some(last.map_or(0, |message| message.seq));
    let seqs = stream.append(vec![Append { subject, headers, body, expected }]).await?;
    Ok((seqs.first().copied().unwrap_or(0), message))
}

/// The first sequence of the same stream whose message is not the one that was posted under it.
async fn first_unposted(
    store: &Rocks,
    log: &Log,
    stream: &Jetstream,
    last: u64,
) -> Result<u64, Error> {
    let mut seq = last;
    // Search backwards from the end: a stream that was restored from an older copy has its beginning
    // unchanged.
    while seq > 0 {
        let Some(message) = stream.get(seq).await? else { break };
        let epochs = (1..=log.position.epoch).rev();
        let mut posted = epochs.map(|epoch| was_posted(store, log, epoch, &message));
        if posted.try_fold(false, |any, posted| posted.map(|posted| any || posted))? {
            break;
        }
        seq -= 1;
    }
    Ok(seq + 1)
}

/// True if an entry of this epoch and sequence holds exactly this message.
fn was_posted(
    store: &Rocks,
    log: &Log,
    epoch: u64,
    message: &journal::Message,
) -> Result<bool, Error> {
    use crate::entry::View;
    let published = writer::published(log, String::new());
    let reader = crate::reader::Reader { store, number: log.number, at: &published };
    let (mut low, mut high) = (log.kept_from(), log.position.size);
    let place = |index| -> Result<Option<(u64, u64)>, Error> {
        let entry = reader.entry(index)?;
        let view = entry.as_deref().and_then(View::parse);
        Ok(view.map(|view| (view.origin.epoch, view.origin.seq)))
    };
    while low < high {
        let middle = low + (high - low) / 2;
        if place(middle)? < Some((epoch, message.seq)) { low = middle + 1 } else { high = middle }
    }
    // A message gives up to four neighbouring entries. The one that commits to the body decides.
    for index in low..(low + 4).min(log.position.size) {
        let Some(entry) = reader.entry(index)? else { break };
        let Some(view) = View::parse(&entry) else { break };
        if (view.origin.epoch, view.origin.seq) != (epoch, message.seq) {
            break;
        }
        let payload = crate::erased::left(store, log.number, index)?.unwrap_or_default();
        let Some(salt) = payload.commit_salt else {
            // Its payload is erased, so the time decides. If in doubt, the message is posted again and found
            // to be a duplicate.
            return Ok(view.origin.time == message.time);
        };
        let raw = format!("\"{}\"", data_encoding::BASE64URL_NOPAD.encode(&message.body));
        let whole = crate::json::parse(&message.body).map(|value| crate::canonical::to_vec(&value));
        let commits = |whole: &[u8]| {
            view.text(&["commit"]) == Some(&crate::disclosure::digest_of(&salt, "", whole))
        };
        if commits(raw.as_bytes()) || whole.is_ok_and(|whole| commits(&whole)) {
            return Ok(true);
        }
    }
    Ok(false)
}
