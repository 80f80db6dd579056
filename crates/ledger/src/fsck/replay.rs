//! P6: the same journal gives the same log.

use crate::{
    disclosure::Seed,
    gone::{self, Erasure, Leaf},
    journal::{Message, embedded},
    post::{self, Arrival, Explained, Log, Prepared, Was},
    store::{self, Changes, Family, Memory, Read as _, rocks::Rocks},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Result of posting the retained embedded journal again.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// Messages posted again.
    pub messages: u64,
    /// Entries compared, byte for byte.
    pub entries: u64,
    /// The first difference.
    pub difference: Option<String>,
    /// Why it could not be posted to the end: messages were trimmed.
    pub impossible: Option<String>,
}

/// What erasure messages of the embedded journal explain, by sequence.
fn erased(store: &Rocks, log: &Log) -> Result<BTreeMap<u64, Explained>, store::Error> {
    let mut erased = BTreeMap::new();
    let prefix = log.number.numbered(1);
    store.scan(Family::Journal, &prefix, |key, value| {
        let Some(told) = key.strip_prefix(&prefix[..]).and_then(|rest| rest.try_into().ok()) else {
            return false;
        };
        let told = u64::from_be_bytes(told);
        let message = embedded::decode(told, value);
        let subject = |message: &Message| message.subject.as_ref().map(ToString::to_string);
        let body = message.filter(|m| subject(m).as_deref() == Some("system.erasure"));
        let erasure = body.and_then(|message| gone::read::<Erasure<Leaf>>(&message.body));
        for gone in erasure.map(|erasure| erasure.messages).unwrap_or_default() {
            let seq = gone.seq;
            erased.entry(seq).or_insert(Explained { told, what: Was::Message(gone) });
        }
        true
    })?;
    Ok(erased)
}

/// Posts what was between the last message and `seq`, or says why that is impossible.
fn fill(
    again: &mut Log,
    memory: &mut Memory,
    erased: &mut BTreeMap<u64, Explained>,
    seq: u64,
) -> Result<(), String> {
    for gone in again.position.posted + 1..seq {
        let explained = erased.remove(&gone).ok_or_else(|| {
            format!("journal message {gone} was trimmed or lost: a replica starts from a backup")
        })?;
        let mut changes = Changes::new(memory);
        again.post_explained(&mut changes, &explained).map_err(|error| error.to_string())?;
        let writes: Vec<_> = changes.into_writes().collect();
        memory.apply(writes.into_iter());
    }
    Ok(())
}

/// P6: posts the embedded journal again from its beginning, in memory, and compares every leaf.
///
/// It holds the whole state in memory, about 2 KiB an event.
pub fn replay(store: &Rocks, log: &Log) -> Result<Replay, store::Error> {
    let mut again =
        Log::new(log.tenant.clone(), log.number, log.origin.clone(), log.position.journal.clone());
    let mut memory = Memory::default();
    let mut answer = Replay { messages: 0, entries: 0, difference: None, impossible: None };
    if !log.position.journal.starts_with("embedded:") {
        answer.impossible = Some("its journal lies on NATS, not in this database".into());
        return Ok(answer);
    }
    let mut erased = erased(store, log)?;
    let prefix = log.number.numbered(1);
    store.scan(Family::Journal, &prefix, |key, value| {
        let Some(seq) = key.strip_prefix(&prefix[..]).and_then(|rest| rest.try_into().ok()) else {
            return false;
        };
        let seq = u64::from_be_bytes(seq);
        if let Err(why) = fill(&mut again, &mut memory, &mut erased, seq) {
            answer.impossible = Some(why);
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
        again.forget_sums();
        answer.messages += 1;
        match posted {
            Ok(_) => {}
            Err(error @ post::Error::Untold { .. }) => answer.impossible = Some(error.to_string()),
            Err(error) => answer.difference = Some(error.to_string()),
        }
        answer.difference.is_none() && answer.impossible.is_none()
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
