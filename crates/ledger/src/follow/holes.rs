//! Holes in a stream: later messages explain them. A hole that nothing explains is never skipped silently.

use super::{agree::agree, append_gap, settle};
use crate::{
    envelope::{self, Place},
    gone::{self, Erasure, Hole, Leaf, Trim},
    guard::Promises,
    journal::{Error, Message, Subject, jetstream::Jetstream},
    ledger::Ledger,
    log::{members::MemberSet, note::Vkey},
    post::{Explained, Position, Retention, Was},
    system::{By, Duty, KeyChange, KeyUse, retention::RetentionBody},
    tenant::{Replica, Tenant},
};
use std::collections::{BTreeMap, VecDeque};

/// Most erased messages that are remembered while looking ahead.
const REMEMBERED_MAX: usize = 10_000;

/// Topics `system.<topic>` of messages that explain holes.
const TOPICS: [&str; 3] = ["erasure", "gap", "trim"];

/// A message on `system.gap`.
struct Declared {
    from: u64,
    to: u64,
    told: u64,
    /// True if a majority of the replicas has promised not to post these messages.
    is_agreed: bool,
}

/// What was read ahead so far, over one connection.
pub struct Holes<'a> {
    tenant: &'a Tenant,
    /// What this replica has promised never to post.
    promises: Option<&'a Promises>,
    epoch: u64,
    /// Sequence at which reading continues, by topic.
    next: BTreeMap<&'static str, u64>,
    keys: Vec<Vkey>,
    key_next: u64,
    /// The legal holds before `retention_next`: an erasure under one is rejected, and explains nothing.
    retention: Retention,
    retention_next: u64,
    gone: BTreeMap<u64, Explained>,
    gaps: VecDeque<Declared>,
    pub(super) below: u64,
}

impl<'a> Holes<'a> {
    /// Nothing is read ahead yet. Messages up to `position.posted` are posted.
    ///
    /// `keys` are the journal keys in force there; later keys are read from `system.key`. A message without a
    /// signature by one of them explains nothing.
    pub fn new(
        tenant: &'a Tenant,
        promises: Option<&'a Promises>,
        position: &Position,
        keys: Vec<Vkey>,
    ) -> Self {
        let key_next = position.posted + 1;
        let next = TOPICS.map(|topic| (topic, position.posted + 1)).into();
        let (gone, gaps) = (BTreeMap::new(), VecDeque::new());
        let (epoch, retention) = (position.epoch, position.retention.clone());
        let retention_next = key_next;
        Self {
            tenant,
            promises,
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
    pub(super) async fn at(
        &mut self,
        stream: &Jetstream,
        seq: u64,
    ) -> Result<Option<Explained>, Error> {
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
        let gap = self.gaps.iter().find(|gap| gap.has(seq) && self.is_believed(gap))?;
        Some(Explained { told: gap.told, what: Was::Nobodys { to: gap.to } })
    }

    /// Where replicas sign the log, one server alone declares nothing. It may have done so before there were replicas: then a
    /// majority has posted past that place, and its root is compared with this one's.
    fn is_believed(&self, gap: &Declared) -> bool {
        let is_behind = |replica: &Replica| replica.certified() > self.tenant.position().size;
        gap.is_agreed || self.tenant.replica().is_none_or(is_behind)
    }

    /// True if this message is never posted, although it may be there again: this replica has promised that, or a majority has.
    pub fn is_given_up(&self, seq: u64) -> bool {
        let is_promised = |promises: &Promises| promises.has(&self.tenant.origin, self.epoch, seq);
        self.promises.is_some_and(is_promised)
            || self.gaps.iter().any(|gap| gap.is_agreed && gap.has(seq))
    }

    /// Learns every gap that the journal declares up to its present end.
    pub async fn learn_gaps(&mut self, stream: &Jetstream) -> Result<(), Error> {
        while self.read_topic(stream, "gap", 0).await? {}
        Ok(())
    }

    /// Reads one more message that may explain `wanted`. `false` if there is none.
    async fn read_on(&mut self, stream: &Jetstream, wanted: u64) -> Result<bool, Error> {
        for topic in TOPICS {
            if self.read_topic(stream, topic, wanted).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the next message on `system.<topic>` that may explain `wanted`. `false` if there is none.
    async fn read_topic(
        &mut self,
        stream: &Jetstream,
        topic: &'static str,
        wanted: u64,
    ) -> Result<bool, Error> {
        let subject = Subject::parse(&format!("system.{topic}")).expect("a subject");
        let next = self.next.entry(topic).or_insert(wanted);
        // The explanation of a hole comes after the hole.
        let Some(message) = stream.next_on(&subject, (*next).max(wanted + 1)).await? else {
            return Ok(false);
        };
        *next = message.seq + 1;
        let signed = self.is_signed(&subject, &message)
            || self.learn_keys(stream, &subject, &message).await?;
        if signed && !(topic == "erasure" && self.is_held(stream, message.seq).await?) {
            self.take(topic, &message)?;
        }
        Ok(true)
    }

    fn is_signed(&self, subject: &Subject, message: &Message) -> bool {
        let header = message.headers.signature.as_deref().unwrap_or("");
        let Some(expected) = envelope::expected(header) else { return false };
        let tenant = &self.tenant.name;
        let place = Place { tenant, epoch: self.epoch, subject, expected };
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
                let Some(hole) = gone::read::<Hole>(&message.body) else { return Ok(()) };
                let is_agreed = self.is_agreed(&hole);
                // What is false in it can't explain anything.
                if is_agreed || hole.agreed.is_none() {
                    let Hole { from, to, .. } = hole;
                    self.gaps.push_back(Declared { from, to, told, is_agreed });
                }
            }
            _ => {
                let below = gone::read::<Trim>(&message.body).map_or(0, |trim| trim.below);
                self.below = self.below.max(below);
            }
        }
        Ok(())
    }

    /// True if a majority of the replicas in force before the hole has promised not to post it. A server that is no replica has no
    /// sets at hand: it goes by the one that is named, and posting judges that.
    fn is_agreed(&self, hole: &Hole) -> bool {
        let Some(agreed) = &hole.agreed else { return false };
        let (version, members) = (agreed.version, agreed.members.clone());
        let named = || vec![MemberSet { version, index: 0, members }];
        let sets = self.tenant.replica().map_or_else(named, Replica::sets);
        hole.check_agreed(&self.tenant.origin, self.epoch, &sets).is_ok()
    }

    /// Explains the sequences `from..=to`, which the stream no longer holds.
    ///
    /// [`Error::Halt`] if they were trimmed, or if nothing explains them and this database must not declare
    /// them lost. [`Error::Unavailable`] while the replicas have not agreed about them.
    pub async fn fill(
        &mut self,
        (ledger, stream): (&Ledger, &Jetstream),
        (from, to): (u64, u64),
    ) -> Result<Vec<Explained>, Error> {
        settle(self.tenant).await;
        let (mut stood, mut declared) = (Vec::new(), None);
        let mut next = from;
        while next <= to {
            let Some(mut explained) = self.at(stream, next).await? else {
                if next < self.below {
                    return Err(trimmed(self.below));
                }
                if !stood.is_empty() {
                    // What is explained is posted first: then it is known where posting stands.
                    return Ok(stood);
                }
                if declared.replace(next) == Some(next) {
                    let what =
                        format!("what was declared of journal message {next} is not there yet");
                    return Err(Error::Unavailable(what));
                }
                self.declare((ledger, stream), (next, to)).await?;
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
    /// what was signed must not do so: the missing messages were posted. Replicas declare it together.
    async fn declare(
        &mut self,
        (ledger, stream): (&Ledger, &Jetstream),
        (from, mut to): (u64, u64),
    ) -> Result<(), Error> {
        // Stop before the next sequence that something explains.
        for seq in from + 1..=to.min(from + REMEMBERED_MAX as u64) {
            if self.known_ahead(seq) {
                to = seq - 1;
                break;
            }
        }
        let tenant = self.tenant;
        if tenant.must_reach().is_some() {
            return Err(older(tenant, (from, to)));
        }
        if let Some(replica) = tenant.replica() {
            return agree(ledger, (tenant, replica, stream), (from, to), self.next_gap()).await;
        }
        let by = By::Server { server: Duty::Journal };
        tracing::warn!(tenant = %tenant.name, from, to, "journal messages are gone, and nothing explains it");
        append_gap(tenant, stream, &Hole { from, to, by, agreed: None }, self.next_gap()).await
    }

    /// Sequence from which on no message on `system.gap` was read yet.
    fn next_gap(&self) -> u64 {
        self.next.get("gap").copied().unwrap_or(u64::MAX)
    }

    fn known_ahead(&self, seq: u64) -> bool {
        let in_gap = self.gaps.iter().any(|gap| gap.has(seq) && self.is_believed(gap));
        in_gap || self.gone.contains_key(&seq)
    }
}

impl Declared {
    fn has(&self, seq: u64) -> bool {
        (self.from..=self.to).contains(&seq)
    }
}

fn older(tenant: &Tenant, (from, to): (u64, u64)) -> Error {
    let exit = if tenant.replica().is_some() {
        "Begin this replica anew from another one (docs/operate/several-machines.md)"
    } else {
        "Restore a newer backup; or, if there is none, `countersign recover --accept-hole`"
    };
    Error::Halt(format!(
        "journal messages {from} to {to} are gone, nothing in the journal explains it, and this database is older \
         than what was signed: what they held may have been posted, so it must not sign. {exit}"
    ))
}

fn trimmed(below: u64) -> Error {
    Error::Halt(format!(
        "the journal was trimmed below {below}, and this database has not posted what stood there: it must not sign. \
         Restore a newer backup"
    ))
}
