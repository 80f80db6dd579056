//! Compares messages with entries for a journal on JetStream, if the broker answers.

use super::{Messages, Report};
use crate::{
    disclosure::Seed,
    journal::{Error, Followed, jetstream::Jetstream},
    keyring::Keyring,
    post::{Log, last_leaves},
    same_journal::check_journal,
    store::rocks::Rocks,
};
use tokio::sync::mpsc;

/// Most batches that wait between the broker and the comparison.
const BATCHES_WAITING_MAX: usize = 4;

/// Posts every message that the stream still holds again, up to the last posted one, and notes differences in
/// `report`. `keyring` gives the salts of messages that brought none; without it those messages are left out.
///
/// [`Error::Unavailable`] if the broker can't be asked. Then nothing was compared.
pub async fn stream(
    stream: &Jetstream,
    (store, log): (&Rocks, &Log),
    keyring: Option<&Keyring>,
    report: &mut Report,
) -> Result<(), Error> {
    let position = &log.position;
    if position.posted == 0 {
        return Ok(());
    }
    let state = stream.state().await?;
    let leaves = last_leaves(store, log.number, position)?;
    match check_journal(stream, (position, &leaves), &state).await {
        Err(Error::Halt(why)) => {
            report.find(why);
            return Ok(());
        }
        other => other?,
    }
    let mut messages = Messages::new(store, log)?;
    let (sink, mut batches) = mpsc::channel(BATCHES_WAITING_MAX);
    let compare = async {
        while let Some(followed) = batches.recv().await {
            let Followed::Messages(batch) = followed else { continue };
            for message in batch {
                let seq = message.seq;
                let sent = message.headers.salt.as_deref().and_then(Seed::from_header);
                let derived = || keyring.map(|r| Seed::derive(r.salt_key(), position.epoch, seq));
                let more = messages.take(message, sent.or_else(derived))?;
                if !more || seq >= position.posted {
                    return Ok(());
                }
            }
        }
        Err(Error::Unavailable("the stream ended".into()))
    };
    tokio::select! {
        biased;
        compared = compare => compared?,
        read = stream.follow(state.first, sink) => read?,
    }
    let outcomes = messages.finish(&report.gone)?;
    report.find_all(outcomes.findings);
    // Somebody with rights on the broker deleted them. The log, which is the authority, holds what they gave.
    for what in outcomes.missing {
        report.unchecked(what);
    }
    report.journal = Some(outcomes.compared);
    Ok(())
}
