//! Whether the journal is still the one that was posted (P4).

use crate::{
    envelope::{self, Place},
    gone::{self, Erasure, Leaf},
    journal::{Error, Message, State, Subject, jetstream::Jetstream},
    log::{merkle::Hash, note::Vkey},
    post::{Arrival, Position, tail_digest},
    system::NewEpoch,
    tenant::Tenant,
};

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
pub(crate) async fn check_epoch(
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
fn digest(message: &Message) -> Hash {
    let arrival = Arrival { seq: message.seq, time: message.time };
    tail_digest(arrival, message.subject.as_ref(), &message.headers, &message.body)
}
