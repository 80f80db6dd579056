//! A replica that posts the journal of all: the log is the one that ships (`post::Log`), over a store in memory.

mod clocks;

use super::world::{Message, World};
use crate::{
    error::Error,
    log::{Extent, Log as Port},
};
use futures_util::future::BoxFuture;
use ledger::{
    Error as LedgerError,
    budget::{Asked, Row},
    disclosure::{RedactionKey, Scope, Seed},
    entry::{Kind, Payload, View},
    envelope::{self, Place},
    history::{self, Decided, walk},
    ident::Ident,
    journal::{self, Headers, Subject},
    keyring::Keyring,
    log::note::Vkey,
    post::{
        APPROVAL, Arrival, EVIDENCE, Freezes, Identities, Log, NOT_OPENED, Outcome, Policies,
        Prepared, event_key,
    },
    store::{self, Changes, Family, LogNumber, Memory, Read as _},
    system::{KeyUse, Rules},
    time::Nanos,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

/// The log of one server, and its clock.
pub struct Replica {
    pub world: Arc<Mutex<World>>,
    tenant: Ident,
    keyring: Arc<Keyring>,
    held: Mutex<Held>,
    /// Nanoseconds by which this server's clock is ahead.
    pub ahead: Mutex<i64>,
}

struct Held {
    log: Log,
    memory: Memory,
    /// Outcomes by sequence.
    outcomes: Vec<Outcome>,
    approvals: BTreeMap<Ident, Vec<(u64, u8)>>,
    rules: Option<(u64, Rules)>,
}

impl Replica {
    pub fn new(world: &Arc<Mutex<World>>, tenant: &Ident, keyring: &Arc<Keyring>) -> Self {
        let held = Mutex::new(Held::new(tenant));
        let (world, tenant) = (Arc::clone(world), tenant.clone());
        Self { world, tenant, keyring: Arc::clone(keyring), held, ahead: Mutex::new(0) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The server lost what it had posted, and posts the journal again from its beginning.
    pub fn forget(&self) {
        *self.held() = Held::new(&self.tenant);
    }

    /// Posts at most `max` messages that the journal holds.
    pub fn post(&self, max: u64) {
        let mut held = self.held();
        let from = held.log.position.posted;
        let to = (from + max).min(self.world().len());
        for seq in from + 1..=to {
            let message = self.world().messages[seq as usize - 1].clone();
            held.post(seq, message, self.keyring.salt_key());
        }
    }

    /// The root, and all entries.
    pub fn whole(&self) -> (String, Vec<Vec<u8>>) {
        let held = self.held();
        let size = held.log.position.size;
        let entries = (0..size).map(|index| held.entry(index).expect("posted")).collect();
        (held.log.edge.root().to_string(), entries)
    }

    fn message(&self, subject: &Subject, body: &[u8], expected: Option<u64>) -> Message {
        let after = expected.unwrap_or_else(|| self.held().last_on(subject));
        let place = Place { tenant: &self.tenant, epoch: 1, subject, expected: after };
        let key = &self.keyring.vkeys(KeyUse::Journal)[0];
        let signature = envelope::sign(self.keyring.signer(key).unwrap(), place, body);
        let headers = Headers { signature: Some(signature), ..Headers::default() };
        let expected = subject.is_chained().then_some(after);
        let (subject, body) = (subject.clone(), body.to_vec());
        Message { subject, headers, body, time: Nanos(0), expected }
    }

    /// Appends without faults, and posts here at once: how the log begins.
    pub fn begin(&self, topic: &str, body: &[u8]) {
        assert!(self.append_now(topic, body), "nothing else is appended meanwhile");
        self.post(u64::MAX >> 1);
    }

    /// Appends without faults. `false`: this replica has not posted the last message on the subject, so the journal refuses
    /// another one after it.
    pub fn append_now(&self, topic: &str, body: &[u8]) -> bool {
        let subject = Subject::parse(topic).unwrap();
        let message = self.message(&subject, body, None);
        self.world().store(message).is_some()
    }

    /// Appends once, with what may happen to it.
    fn append_once(&self, message: Message) -> Result<u64, Error> {
        let mut world = self.world();
        if world.happens("lost", 12) {
            return Err(Error::Unknown);
        }
        if world.happens("late", 12) {
            world.late.push(message);
            return Err(Error::Unknown);
        }
        let doubled = world.happens("doubled", 8).then(|| message.clone());
        let stored = world.store(message);
        if let Some(again) = doubled {
            world.store(again);
        }
        let conflict = LedgerError::Journal(journal::Error::Conflict);
        let seq = stored.ok_or(Error::Ledger(conflict))?;
        if world.happens("answer lost", 12) { Err(Error::Unknown) } else { Ok(seq) }
    }
}

impl Held {
    fn new(tenant: &Ident) -> Self {
        let log = Log::new(tenant.clone(), LogNumber(1), "log.example/acme".into(), "sim".into());
        let (memory, outcomes, approvals) = (Memory::default(), Vec::new(), BTreeMap::new());
        Self { log, memory, outcomes, approvals, rules: None }
    }

    fn post(&mut self, seq: u64, message: Message, salt_key: &[u8; 32]) {
        let Message { subject, headers, body, time, .. } = message;
        let (arrival, seed) = (Arrival { seq, time }, Seed::derive(salt_key, 1, seq));
        let mut prepared = Prepared::new(Some(subject), headers, body, seed);
        let before = self.log.position.size;
        let mut changes = Changes::new(&self.memory);
        let outcome = self.log.post(&mut changes, arrival, &mut prepared).unwrap();
        self.log.seal(&mut changes, (arrival, &prepared)).unwrap();
        let writes: Vec<_> = changes.into_writes().collect();
        self.memory.apply(writes.into_iter());
        self.outcomes.push(outcome);
        for index in before..self.log.position.size {
            self.index(index);
        }
    }

    fn index(&mut self, index: u64) {
        let entry = self.entry(index).expect("posted");
        let view = View::parse(&entry).unwrap();
        let kind = match view.kind {
            Kind::Approval => APPROVAL,
            Kind::Evidence => EVIDENCE,
            Kind::NotOpened => NOT_OPENED,
            Kind::Rules => {
                self.rules = Some((index, view.event_as().expect("posted")));
                return;
            }
            _ => return,
        };
        let named = view.text(&["event", "approval_id"]).and_then(|id| Ident::new(id).ok());
        if let Some(id) = named {
            self.approvals.entry(id).or_default().push((index, kind));
        }
    }

    fn entry(&self, index: u64) -> Option<Vec<u8>> {
        self.memory.get(Family::Entries, &LogNumber(1).numbered(index)).unwrap()
    }

    fn last_on(&self, subject: &Subject) -> u64 {
        self.log.last_on(&Changes::new(&self.memory), subject).unwrap()
    }

    fn extent(&self) -> Extent {
        Extent { size: self.log.position.size, posted: self.log.position.posted }
    }
}

impl Port for Replica {
    fn tenant(&self) -> &Ident {
        &self.tenant
    }

    fn redaction_key(&self) -> RedactionKey {
        RedactionKey::derive(&[7; 32])
    }

    fn extent(&self) -> Extent {
        self.held().extent()
    }

    fn until<'a>(
        &'a self,
        reached: &'a (dyn Fn(Extent) -> bool + Send + Sync),
    ) -> BoxFuture<'a, bool> {
        // The schedule asks every waiting task again and again, so nobody must be woken.
        Box::pin(std::future::poll_fn(move |_| {
            if reached(self.extent()) { Poll::Ready(true) } else { Poll::Pending }
        }))
    }

    fn halted(&self) -> Option<String> {
        None
    }

    fn halt(&self, reason: String) {
        panic!("the log was halted: {reason}");
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, store::Error> {
        Ok(self.held().entry(index))
    }

    fn entries(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), store::Error> {
        for index in range {
            let entry = self.held().entry(index).expect("posted");
            visit(index, &entry);
        }
        Ok(())
    }

    fn payload(&self, index: u64, _entry: &[u8]) -> Result<Payload, store::Error> {
        Ok(self.stored_payload(index)?.expect("posted"))
    }

    fn stored_payload(&self, index: u64) -> Result<Option<Payload>, store::Error> {
        let payload = self.held().memory.get(Family::Payload, &LogNumber(1).numbered(index))?;
        Ok(payload.map(|bytes| Payload::decode(&bytes).expect("a payload")))
    }

    fn of_approval(&self, id: &Ident) -> Result<Vec<(u64, u8)>, store::Error> {
        Ok(self.held().approvals.get(id).cloned().unwrap_or_default())
    }

    fn lacks_rows(&self, _id: &Ident, _opening: u64) -> Result<bool, store::Error> {
        Ok(false)
    }

    fn find(&self, scope: Scope<'_>) -> Result<Option<u64>, store::Error> {
        let found = self.held().memory.get(Family::Keys, &LogNumber(1).key(&event_key(scope)))?;
        Ok(found.and_then(|index| Some(u64::from_be_bytes(index.try_into().ok()?))))
    }

    fn kept_from(&self) -> u64 {
        0
    }

    fn last_on(&self, subject: &Subject) -> Result<u64, store::Error> {
        Ok(self.held().last_on(subject))
    }

    fn last_clock(&self) -> Option<u64> {
        self.held().log.position.clock
    }

    fn rules_index(&self) -> Option<u64> {
        self.held().rules.as_ref().map(|(index, _)| *index)
    }

    fn rules(&self) -> Result<Option<(u64, Rules)>, store::Error> {
        Ok(self.held().rules.clone())
    }

    fn policies(&self) -> Policies {
        self.held().log.position.policies.clone()
    }

    fn freezes(&self) -> Arc<Freezes> {
        Arc::new(self.held().log.position.freezes.clone())
    }

    fn identities(&self) -> Arc<Identities> {
        Arc::new(self.held().log.position.identities.clone())
    }

    fn agent_keys(&self) -> Vec<Vkey> {
        self.held().log.keys.agent()
    }

    fn origin(&self) -> &'static str {
        "log.example/v1/tenants/acme/logs/1"
    }

    fn booked(&self, asked: &Asked) -> Result<u64, store::Error> {
        let row = self.held().memory.get(Family::Budgets, &LogNumber(1).key(&asked.row()))?;
        let row: Option<Row> = row.map(|row| store::read_json(&row, "budgets")).transpose()?;
        Ok(row.map_or(0, |row| row.counted((asked.from, asked.to))))
    }

    fn earlier(
        &self,
        row: &history::Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        walk(&self.held().memory, LogNumber(1), row, visit)
    }

    fn propose<'a>(
        &'a self,
        subject: &'a Subject,
        bodies: Vec<Vec<u8>>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Error>> {
        Box::pin(async move {
            let mut outcomes = Vec::new();
            for body in bodies {
                let seq = self.append_once(self.message(subject, &body, None))?;
                self.until(&|extent| extent.posted >= seq).await;
                outcomes.push(self.held().outcomes[seq as usize - 1].clone());
            }
            Ok(outcomes)
        })
    }

    fn place(&self) -> Result<Option<Vec<u8>>, store::Error> {
        Ok(None)
    }

    fn keep_place(&self, _place: &[u8]) -> Result<(), store::Error> {
        Ok(())
    }

    fn newer<'a>(
        &'a self,
        subject: &'a Subject,
        posted: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        Box::pin(async move {
            let last = self.world().last.get(&subject.to_string()).copied();
            Ok(last.filter(|seq| *seq > posted))
        })
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let held = self.world().len();
            self.until(&|extent| extent.posted >= held).await;
            Ok(())
        })
    }

    fn until_told(&self) -> BoxFuture<'_, Result<(), Error>> {
        // The journal of this world is one machine: what it says is never old.
        Box::pin(async { Ok(()) })
    }

    fn append<'a>(
        &'a self,
        subject: &'a Subject,
        body: &'a [u8],
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async move {
            let seq = loop {
                match self.append_once(self.message(subject, body, expected)) {
                    Err(error) if error.is_conflict() && expected.is_none() => {
                        self.catch_up().await?;
                    }
                    done => break done?,
                }
            };
            self.until(&|extent| extent.posted >= seq).await;
            match &self.held().outcomes[seq as usize - 1] {
                Outcome::Posted { index } => Ok(*index),
                _ => Err(Error::Unknown),
            }
        })
    }
}
