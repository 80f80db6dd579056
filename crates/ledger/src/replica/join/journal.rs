//! Whether the journal position of a copy is where its entries end.
//!
//! Between the message of the last entry and the posted position there may be messages that gave no entry: repetitions. Which ones
//! they are is in no entry, so they are posted once more. A position that was moved ahead would skip a message for ever.

use crate::{
    disclosure::Seed,
    entry::{Kind, View},
    journal::{Error, Followed, Message, jetstream::Jetstream},
    keyring::Keyring,
    post::{Arrival, Log, Prepared, last_leaves},
    same_journal::check_journal,
    store::{Changes, Family, Read as _, rocks::Rocks},
    system::NewEpoch,
};
use tokio::sync::mpsc;

/// Most batches that wait between the broker and the comparison.
const BATCHES_WAITING_MAX: usize = 4;

/// Checks that this stream is the journal of the copy, and posts again what lies between its last entry and its position.
///
/// [`Error::Halt`] says what is wrong, and what to do.
pub async fn ends_there(
    stream: &Jetstream,
    (store, log): (&Rocks, &Log),
    keyring: &Keyring,
) -> Result<(), Error> {
    let position = &log.position;
    let state = stream.state().await?;
    let leaves = last_leaves(store, log.number, position)?;
    check_journal(stream, (position, &leaves), &state).await?;
    if let Some(first) = stream.next_from(position.posted + 1).await?
        && first.seq > position.posted + 1
        && state.first > position.posted + 1
    {
        return Err(Error::Halt(format!(
            "the copy is posted up to journal message {}, and the journal was trimmed below {} since: repeat the command",
            position.posted, state.first
        )));
    }
    let from = last_of_entries(store, log)?;
    if from >= position.posted {
        return Ok(());
    }
    let mut again = Again { store, log: log.clone(), keyring, end: position.posted };
    again.log.position.posted = from;
    let (sink, mut batches) = mpsc::channel(BATCHES_WAITING_MAX);
    let compare = async {
        while let Some(followed) = batches.recv().await {
            let Followed::Messages(messages) = followed else { continue };
            for message in messages {
                if again.take(message)? {
                    return Ok(());
                }
            }
        }
        Err(Error::Unavailable("the stream ended".into()))
    };
    tokio::select! {
        biased;
        compared = compare => compared,
        read = stream.follow(from + 1, sink) => {
            read?;
            Err(Error::Unavailable("the stream ended".into()))
        }
    }
}

/// Journal sequence up to which the entries say that everything is posted.
fn last_of_entries(store: &Rocks, log: &Log) -> Result<u64, Error> {
    let Some(last) = log.position.size.checked_sub(1) else { return Ok(0) };
    let entry = store.get(Family::Entries, &log.number.numbered(last))?;
    let unreadable = || Error::Halt("the last entry of the copy can't be read".into());
    let view = entry.as_deref().and_then(View::parse).ok_or_else(unreadable)?;
    if view.kind == Kind::Journal {
        let new: NewEpoch = view.event_as().ok_or_else(unreadable)?;
        return Ok(new.from.saturating_sub(1));
    }
    Ok(view.origin.seq)
}

struct Again<'a> {
    store: &'a Rocks,
    log: Log,
    keyring: &'a Keyring,
    /// The copy's position.
    end: u64,
}

impl Again<'_> {
    /// Posts one message again; nothing is written. True once the position is reached.
    fn take(&mut self, message: Message) -> Result<bool, Error> {
        let (seq, size) = (message.seq, self.log.position.size);
        if seq != self.log.position.posted + 1 {
            return Err(Error::Halt(format!(
                "journal message {} is gone, and no entry of the copy says what it gave: repeat the command, so that the copy \
                 holds the entry that says it",
                self.log.position.posted + 1
            )));
        }
        let sent = message.headers.salt.as_deref().and_then(Seed::from_header);
        let epoch = self.log.position.epoch;
        let seed = sent.unwrap_or_else(|| Seed::derive(self.keyring.salt_key(), epoch, seq));
        let arrival = Arrival { seq, time: message.time };
        let mut prepared = Prepared::new(message.subject, message.headers, message.body, seed);
        let mut changes = Changes::new(self.store);
        let posted = self.log.post(&mut changes, arrival, &mut prepared);
        self.log.forget_sums();
        if posted.is_err() || self.log.position.size != size {
            return Err(Error::Halt(format!(
                "the copy says that journal message {seq} is posted, and none of its entries is of it: its journal position was \
                 moved, and the event would be lost here. Join from another replica; stop this one, keep its disk, and find out why"
            )));
        }
        Ok(seq >= self.end)
    }
}
