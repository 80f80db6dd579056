//! Holes in a stream: later messages explain them. A hole that nothing explains is never skipped silently.

use super::append_last;
use crate::{
    canonical,
    envelope::{self, Place},
    gone::{self, Erasure, Hole, Leaf, Trim},
    ident::Ident,
    journal::{Error, Followed, Message, Subject, jetstream::Jetstream},
    log::note::Vkey,
    post::{Explained, Position, Retention, Was},
    system::{By, Duty, KeyChange, KeyUse, retention::RetentionBody},
    tenant::Tenant,
};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::mpsc;

/// Most erased messages that are remembered while looking ahead.
const REMEMBERED_MAX: usize = 10_000;

/// Topics `system.<topic>` of messages that explain holes.
const TOPICS: [&str; 3] = ["erasure", "gap", "trim"];

/// What was read ahead so far, over one connection.
pub struct Holes {
    tenant: Ident,
    epoch: u64,
    /// Sequence at which reading continues, by topic.
    next: BTreeMap<&'static str, u64>,
    keys: Vec<Vkey>,
    key_next: u64,
    /// The legal holds before `retention_next`: an erasure under one is rejected, and explains nothing.
    retention: Retention,
    retention_next: u64,
    gone: BTreeMap<u64, Explained>,
    gaps: VecDeque<(u64, u64, u64)>,
    below: u64,
}

impl Holes {
    /// Nothing is read ahead yet. Messages up to `position.posted` are posted.
    ///
    /// `keys` are the journal keys in force there; later keys are read from `system.key`. A message without a
    /// signature by one of them explains nothing.
    pub fn new(tenant: &Ident, position: &Position, keys: Vec<Vkey>) -> Self {
        let (tenant, key_next) = (tenant.clone(), position.posted + 1);
        let next = TOPICS.map(|topic| (topic, position.posted + 1)).into();
        let (gone, gaps) = (BTreeMap::new(), VecDeque::new());
        let (epoch, retention) = (position.epoch, position.retention.clone());
        let retention_next = key_next;
        Self {
            tenant,
            epoch,
            next,
            keys,
            key_next,
            retention,
            retention_next,
            gone,
            gaps,
            below: 0,
        }
    }

    /// What was at `seq`, if a later message explains it.
    async fn at(&mut self, stream: &Jetstream, seq: u64) -> Result<Option<Explained>, Error> {
        loop {
            if let Some(known) = self.known(seq) {
                return Ok(Some(known));
            }
            if !self.read_on(stream, seq).await? {
                return Ok(None);
            }
        }
    }

    fn known(&mut self, seq: u64) -> Option<Explained> {
        if let Some(explained) = self.gone.remove(&seq) {
            return Some(explained);
        }
        let (_, to, told) = *self.gaps.iter().find(|(from, to, _)| (*from..=*to).contains(&seq))?;
        Some(Explained { told, what: Was::Nobodys { to } })
    }

    /// Reads one more message that may explain `wanted`. `false` if there is none.
    async fn read_on(&mut self, stream: &Jetstream, wanted: u64) -> Result<bool, Error> {
        for topic in TOPICS {
            let subject = Subject::parse(&format!("system.{topic}")).expect("a subject");
            let next = self.next.entry(topic).or_insert(wanted);
            // The explanation of a hole comes after the hole.
            let Some(message) = stream.next_on(&subject, (*next).max(wanted + 1)).await? else {
                continue;
            };
            *next = message.seq + 1;
            let signed = self.is_signed(&subject, &message)
                || self.learn_keys(stream, &subject, &message).await?;
            if signed && !(topic == "erasure" && self.is_held(stream, message.seq).await?) {
                self.take(topic, &message)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn is_signed(&self, subject: &Subject, message: &Message) -> bool {
        let header = message.headers.signature.as_deref().unwrap_or("");
        let Some(expected) = envelope::expected(header) else { return false };
        let place = Place { tenant: &self.tenant, epoch: self.epoch, subject, expected };
        envelope::verify(&self.keys, place, &message.body, header)
    }

    /// Learns the journal keys of rotations before `message`. True if one of them signed it.
    async fn learn_keys(
        &mut self,
        stream: &Jetstream,
        subject: &Subject,
        message: &Message,
    ) -> Result<bool, Error> {
        let topic = Subject::parse("system.key").expect("a subject");
        while self.key_next < message.seq {
            let Some(rotation) = stream.next_on(&topic, self.key_next).await? else {
                self.key_next = message.seq;
                break;
            };
            self.key_next = rotation.seq.min(message.seq - 1) + 1;
            let change = serde_json::from_slice::<KeyChange>(&rotation.body).ok();
            let journal = change.filter(|change| change.usage == KeyUse::Journal);
            if let Some(change) = journal
                && rotation.seq < message.seq
                && self.is_signed(&topic, &rotation)
            {
                self.keys.push(change.vkey.0);
            }
        }
        Ok(self.is_signed(subject, message))
    }

    /// True if a legal hold is in force before the message at `seq`. Asked for messages in order.
    async fn is_held(&mut self, stream: &Jetstream, seq: u64) -> Result<bool, Error> {
        let topic = Subject::parse("system.retention").expect("a subject");
        while self.retention_next < seq {
            let Some(message) = stream.next_on(&topic, self.retention_next).await? else { break };
            if message.seq >= seq {
                break;
            }
            self.retention_next = message.seq + 1;
            let signed = self.is_signed(&topic, &message)
                || self.learn_keys(stream, &topic, &message).await?;
            let body = gone::read::<RetentionBody>(&message.body).filter(|_| signed);
            // What posting rejects changes nothing. What expired is not needed here.
            if let Some(body @ (RetentionBody::Hold(_) | RetentionBody::Release(_))) = body {
                let _ = self.retention.take((0, message.time), &body);
            }
        }
        Ok(self.retention.is_held())
    }

    fn take(&mut self, topic: &str, message: &Message) -> Result<(), Error> {
        let told = message.seq;
        match topic {
            "erasure" => {
                let erasure = gone::read::<Erasure<Leaf>>(&message.body);
                let messages = erasure.map(|erasure| erasure.messages).unwrap_or_default();
                for gone in messages.into_iter().filter(|gone| gone.epoch == self.epoch) {
                    let explained = || Explained { told, what: Was::Message(gone.clone()) };
                    self.gone.entry(gone.seq).or_insert_with(explained);
                }
                if self.gone.len() > REMEMBERED_MAX {
                    let text = "more than 10,000 erased messages lie ahead: restore a newer backup";
                    return Err(Error::Halt(text.into()));
                }
            }
            "gap" => {
                let hole = gone::read::<Hole>(&message.body);
                self.gaps.extend(hole.map(|hole| (hole.from, hole.to, told)));
            }
            _ => {
                let below = gone::read::<Trim>(&message.body).map_or(0, |trim| trim.below);
                self.below = self.below.max(below);
            }
        }
        Ok(())
    }

    /// Explains the sequences `from..=to`, which the stream no longer holds.
    ///
    /// [`Error::Halt`] if they were trimmed, or if nothing explains them and this database must not declare
    /// them lost.
    pub async fn fill(
        &mut self,
        (tenant, stream): (&Tenant, &Jetstream),
        (from, to): (u64, u64),
    ) -> Result<Vec<Explained>, Error> {
        let mut stood = Vec::new();
        let mut next = from;
        while next <= to {
            let Some(mut explained) = self.at(stream, next).await? else {
                if next < self.below {
                    return Err(trimmed(self.below));
                }
                self.declare((tenant, stream), (next, to)).await?;
                continue;
            };
            if let Was::Nobodys { to: last } = &mut explained.what {
                // Cut what reaches beyond this hole. If a message is there, it contradicts the explanation,
                // and posting finds that.
                *last = to.min(*last);
            }
            next = explained.what.last() + 1;
            stood.push(explained);
        }
        Ok(stood)
    }

    /// Declares in the journal that messages are gone and nothing explains it. A database that is older than
    /// what was signed must not do so: the missing messages were posted.
    async fn declare(
        &mut self,
        (tenant, stream): (&Tenant, &Jetstream),
        (from, mut to): (u64, u64),
    ) -> Result<(), Error> {
        // Stop before the next sequence that something explains.
        for seq in from + 1..=to.min(from + REMEMBERED_MAX as u64) {
            if self.known_ahead(seq) {
                to = seq - 1;
                break;
            }
        }
        if tenant.must_reach().is_some() {
            return Err(Error::Halt(format!(
                "journal messages {from} to {to} are gone, nothing in the journal explains it, and this database is older \
                 than what was signed: what they held may have been posted, so it must not sign. Restore a newer backup; \
                 or, if there is none, `countersign recover --accept-hole`"
            )));
        }
        if let Some(replica) = tenant.replica() {
            return Err(Error::Halt(format!(
                "journal messages {from} to {to} are gone, and nothing in the journal explains it: the replica {} may be late, \
                 and the others may have posted them, so it posts nothing over them. Begin it anew \
                 (docs/operate/several-machines.md)",
                replica.members.own()
            )));
        }
        let by = By::Server { server: Duty::Journal };
        tracing::warn!(tenant = %tenant.name, from, to, "journal messages are gone, and nothing explains it");
        append_gap(tenant, stream, &Hole { from, to, by }).await
    }

    fn known_ahead(&self, seq: u64) -> bool {
        let in_gap = self.gaps.iter().any(|(from, to, _)| (*from..=*to).contains(&seq));
        in_gap || self.gone.contains_key(&seq)
    }
}

fn trimmed(below: u64) -> Error {
    Error::Halt(format!(
        "the journal was trimmed below {below}, and this database has not posted what stood there: it must not sign. \
         Restore a newer backup"
    ))
}

/// Appends `system.gap` after the last message that the stream holds; posting judges it there. If another
/// server appends the same first, that is as good.
pub async fn append_gap(tenant: &Tenant, stream: &Jetstream, hole: &Hole) -> Result<(), Error> {
    append_last(tenant, stream, ("gap", &canonical::of(hole))).await.map(|_| ())
}

/// Holes after the posted messages that nothing explains, each `from..=to`, up to the stream's present end.
pub async fn unexplained(
    stream: &Jetstream,
    tenant: &Ident,
    (position, keys): (&Position, Vec<Vkey>),
) -> Result<Vec<(u64, u64)>, Error> {
    let end = stream.state().await?.last;
    let mut gone = Vec::new();
    let (sink, mut batches) = mpsc::channel(1);
    let mut next = position.posted + 1;
    let look = async {
        while next <= end
            && let Some(followed) = batches.recv().await
        {
            let Followed::Messages(messages) = followed else {
                // The stream holds no further message, so none will arrive.
                if stream.next_from(next).await?.is_none() {
                    break;
                }
                continue;
            };
            for message in messages {
                if message.seq > next {
                    gone.push((next, message.seq - 1));
                }
                next = message.seq + 1;
            }
        }
        Ok::<(), Error>(())
    };
    tokio::select! {
        biased;
        looked = look => looked?,
        read = stream.follow(position.posted + 1, sink) => read?,
    }
    if next <= end {
        gone.push((next, end));
    }
    let mut holes = Holes::new(tenant, position, keys);
    let mut left: Vec<(u64, u64)> = Vec::new();
    for (from, to) in gone {
        for seq in from..=to {
            if seq < holes.below || holes.at(stream, seq).await?.is_some() {
                continue;
            }
            match left.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => left.push((seq, seq)),
            }
        }
    }
    Ok(left)
}
