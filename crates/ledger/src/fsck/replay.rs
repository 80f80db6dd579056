//! P6: the same journal gives the same log.

use crate::{
    disclosure::Seed,
    journal::embedded,
    post::{Arrival, Log, Prepared},
    store::{self, Changes, Family, Memory, Read as _, rocks::Rocks},
};
use serde::Serialize;

/// What posting the retained embedded journal again gives.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// Messages posted again.
    pub messages: u64,
    /// Entries compared, byte for byte.
    pub entries: u64,
    /// The first difference.
    pub difference: Option<String>,
    /// Why it could not be posted to the end: messages were trimmed or erased.
    pub impossible: Option<String>,
}

/// P6: posts the embedded journal again from its beginning, in memory, and compares every leaf.
///
/// Holds the whole state in memory: some 2 KiB an event.
pub fn replay(store: &Rocks, log: &Log) -> Result<Replay, store::Error> {
    let mut again =
        Log::new(log.tenant.clone(), log.number, log.origin.clone(), log.position.journal.clone());
    let mut memory = Memory::default();
    let mut answer = Replay { messages: 0, entries: 0, difference: None, impossible: None };
    if !log.position.journal.starts_with("embedded:") {
        answer.impossible = Some("its journal lies on NATS, not in this database".into());
        return Ok(answer);
    }
    let prefix = log.number.numbered(1);
    store.scan(Family::Journal, &prefix, |key, value| {
        let Some(seq) = key.strip_prefix(&prefix[..]).and_then(|rest| rest.try_into().ok()) else {
            return false;
        };
        let seq = u64::from_be_bytes(seq);
        if seq != again.position.posted + 1 {
            answer.impossible = Some(format!(
                "journal message {} was trimmed or erased: a replica starts from a backup",
                seq - 1
            ));
            return false;
        }
        let Some(message) = embedded::decode(seq, value) else {
            answer.difference = Some(format!("journal message {seq} is unreadable"));
            return false;
        };
        let Some(seed) = message.headers.salt.as_deref().and_then(Seed::from_header) else {
            answer.difference = Some(format!("journal message {seq} has no salt"));
            return false;
        };
        let arrival = Arrival { seq, time: message.time };
        let mut prepared = Prepared::new(message.subject, message.headers, message.body, seed);
        let mut changes = Changes::new(&memory);
        let posted = again.post(&mut changes, arrival, &mut prepared);
        let writes: Vec<_> = changes.into_writes().collect();
        memory.apply(writes.into_iter());
        answer.messages += 1;
        if let Err(error) = posted {
            answer.difference = Some(error.to_string());
        }
        answer.difference.is_none()
    })?;
    for index in 0..again.position.size {
        let key = log.number.numbered(index);
        if memory.get(Family::Entries, &key)? != store.get(Family::Entries, &key)? {
            answer.difference.get_or_insert(format!("entry {index} differs"));
            break;
        }
        answer.entries += 1;
    }
    let complete = answer.difference.is_none() && answer.impossible.is_none();
    if complete && again.edge.root() != log.position.root {
        answer.difference = Some("the journal gives another root".into());
    }
    Ok(answer)
}
