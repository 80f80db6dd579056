//! The one thread that writes. Comments at each step say what survives a crash there (`ARCHITECTURE.md`).
//!
//! take → post → sign → **commit (fsync)** → **guard (fsync)** → publish → answer. One commit serves every tenant that
//! has work. Nothing is answered before both fsyncs. A failed write ends the process, because what is on disk is
//! unknown.

mod borders;
mod cosigned;
mod inbox;
mod promised;
mod shown;
mod stop;

pub use borders::{Border, Borders};
pub use cosigned::{Cosigning, FIRST_DIFFERS};
pub use inbox::{Done, Error, Inbox, ReceiptWanted, Taken, Work};
pub use shown::{checkpoint, mark, missing_handovers, published, put_checkpoint};

use crate::{
    guard::{self, Mark},
    journal::{
        self, Journal,
        embedded::{self, Volume},
    },
    post::{self, Arrival, Log, Outcome, Position, Prepared},
    reader::Published,
    store::{Changes, LogNumber, Write, rocks::Rocks},
    tenant::{Followed, Tenant},
};
use std::{collections::HashMap, sync::Arc, time::Instant};
use stop::{Stop, end_process};
use tokio::sync::{mpsc, oneshot};

/// About how many messages one commit takes.
pub const COMMIT_MESSAGES_MAX: usize = 1000;
/// Exit status after a failed write: `EX_IOERR` of sysexits.
pub const EXIT_WRITE_FAILED: i32 = 74;

/// A log to which the writer posts.
pub struct Active {
    /// State of the log.
    pub log: Log,
    /// The handle that all other threads use.
    pub tenant: Arc<Tenant>,
    /// After a restored backup: sign nothing until this mark is reached with the same root.
    pub must_reach: Option<Mark>,
    /// What is posted and waits to be cosigned, if replicas cosign the log.
    pub cosigning: Cosigning,
}

/// Everything that the thread owns.
pub struct Writer {
    /// The database.
    pub store: Arc<Rocks>,
    /// The fork guard.
    pub guard: guard::Port,
    /// Queues of work.
    pub inbox: Arc<Inbox>,
    /// Receives messages whose producer asked for a receipt.
    pub receipts: mpsc::Sender<ReceiptWanted>,
    /// Active logs by number.
    pub logs: HashMap<LogNumber, Active>,
    /// About how many messages one commit takes.
    pub commit_messages_max: usize,
}

/// The part of one log in a commit.
struct Part<'a> {
    number: LogNumber,
    log: Log,
    changes: Changes<'a>,
    must_reach: Option<Mark>,
    checkpoint: Option<String>,
    answers: Vec<Answer>,
    /// Outcomes of followed messages, by journal sequence.
    outcomes: Vec<Followed>,
    receipts: Vec<ReceiptWanted>,
    /// Work that is left for the next commit.
    later: Vec<Work>,
    /// What replicas may cosign.
    borders: Borders,
}

enum Answer {
    Done(Vec<u64>, Vec<Outcome>, oneshot::Sender<Result<Done, Error>>),
    Refused(Error, oneshot::Sender<Result<Done, Error>>),
}

impl Writer {
    /// Works until the inbox is closed and empty.
    pub fn run(mut self) {
        while let Some(taken) = self.inbox.take(self.commit_messages_max) {
            self.commit(taken);
        }
    }

    fn commit(&mut self, Taken { works: taken, since }: Taken) {
        let (begun, inbox) = (Instant::now(), Arc::clone(&self.inbox));
        self.check_guard_is_in_place();
        let store = Arc::clone(&self.store);
        let mut parts = Vec::with_capacity(taken.len());
        let mut permits = Vec::new();
        for (number, works) in taken {
            if let Some(part) = self.prepare(&store, number, works, &mut permits) {
                parts.push(part);
            }
        }
        // At this point nothing is on disk. A crash loses only messages that nobody was told about.
        let mut writes: Vec<Write> = Vec::new();
        for part in &mut parts {
            let changes = std::mem::replace(&mut part.changes, Changes::new(&*store));
            writes.extend(changes.into_writes());
        }
        if !writes.is_empty() {
            let before = Instant::now();
            self.store.commit(writes.into_iter()).unwrap_or_else(|e| end_process(&e));
            inbox.timings.fsync.observe(before.elapsed());
        }
        // At this point the entries are in the database. After a crash from here on, `Ledger::open` advances the guard
        // to the database and publishes.
        let marks: Vec<Mark> = parts.iter().filter_map(Part::mark).collect();
        if !marks.is_empty() {
            let before = Instant::now();
            self.guard.signed(&marks).unwrap_or_else(|e| end_process(&e));
            inbox.timings.guard.observe(before.elapsed());
        }
        // At this point no other history can be signed for these sizes, so they may be shown.
        for part in parts {
            self.publish(part);
        }
        drop(permits);
        inbox.committed(begun, &since, !marks.is_empty());
    }

    /// Halts every log if the guard's file is gone: after a restart, these sizes could be signed with other roots.
    fn check_guard_is_in_place(&self) {
        // If the check itself fails, do nothing: the guard's next write will show the fault.
        if let Err(error @ guard::Error::Replaced { .. }) = self.guard.place().check() {
            let reason = error.to_string();
            let going = self.logs.iter().filter(|(_, active)| active.tenant.halted().is_none());
            going.for_each(|(number, _)| self.halt(*number, reason.clone()));
        }
    }

    /// Posts one log's work into changes. If the log can't go on, it is halted and all of its changes are dropped.
    fn prepare<'a>(
        &mut self,
        store: &'a Rocks,
        number: LogNumber,
        works: Vec<Work>,
        permits: &mut Vec<tokio::sync::OwnedSemaphorePermit>,
    ) -> Option<Part<'a>> {
        let mut messages = Vec::new();
        for work in works {
            match work {
                Work::Open(active) => {
                    self.guard.begin(&mark(&active.log)).unwrap_or_else(|e| end_process(&e));
                    self.logs.insert(number, *active);
                }
                Work::Halt { reason } => self.halt(number, reason),
                Work::Certified(newer) => {
                    self.logs.get_mut(&number).into_iter().for_each(|a| a.cosigning.take(&newer));
                }
                work => messages.push(work),
            }
        }
        let active = self.logs.get(&number)?;
        if let Some(reason) = active.tenant.halted() {
            let error = Error::Halted(reason);
            for work in messages {
                work.refuse(&error);
            }
            return None;
        }
        let mut part = Part {
            number,
            log: active.log.clone(),
            changes: Changes::new(store),
            must_reach: active.must_reach.clone(),
            checkpoint: None,
            answers: Vec::new(),
            outcomes: Vec::new(),
            receipts: Vec::new(),
            later: Vec::new(),
            borders: active.cosigning.borders.going_on(),
        };
        part.log.unsigned = 0;
        part.log.rotated = false;
        match promised::check(&self.guard, &active.log, &messages)
            .and_then(|()| part.post_all(&active.tenant, messages, permits))
            .and_then(|()| part.sign(&active.tenant))
        {
            Ok(()) => {
                if !part.later.is_empty() {
                    self.inbox.put_back(number, std::mem::take(&mut part.later));
                }
                Some(part)
            }
            Err(stop) => {
                let reason = stop.to_string();
                part.refuse(&Error::Halted(reason.clone()));
                self.halt(number, reason);
                None
            }
        }
    }

    fn halt(&self, number: LogNumber, reason: String) {
        if let Some(active) = self.logs.get(&number) {
            tracing::error!(tenant = %active.tenant.name, reason, "log halted");
            active.tenant.halt(reason);
        }
    }

    fn publish(&mut self, part: Part<'_>) {
        let Some(active) = self.logs.get_mut(&part.number) else { return };
        let waited = !active.log.position.signed;
        active.tenant.set_must_reach(part.must_reach.clone());
        active.must_reach = part.must_reach;
        active.log = part.log;
        active.tenant.set_posted(&active.log);
        if let Journal::Embedded(journal) = active.tenant.journal() {
            journal.appended();
        }
        if active.log.unsigned > 0 {
            active.tenant.count_unsigned(active.log.unsigned);
        }
        let Some(checkpoint) = part.checkpoint else {
            // Nothing new is shown: nothing was posted, or the log waits before it may sign, or until replicas cosign it.
            let published = active.tenant.published();
            active.tenant.remember(part.outcomes);
            answer(part.answers, &published);
            return self.cosigned(part.number, part.borders);
        };
        if waited {
            // The log has just caught up. If this write fails, the next start repeats it.
            match missing_handovers(&self.store, &active.log, &active.tenant) {
                Ok(writes) if writes.is_empty() => {}
                Ok(writes) => {
                    self.store.commit(writes.into_iter()).unwrap_or_else(|e| end_process(&e));
                }
                Err(error) => tracing::error!(tenant = %active.tenant.name, error, "handovers"),
            }
        }
        // Outcomes first, then the state with them, then the answers: a task that wakes by one finds the others.
        let published = Arc::new(published(&active.log, checkpoint));
        active.tenant.remember(part.outcomes);
        active.tenant.publish(Arc::clone(&published));
        answer(part.answers, &published);
        for wanted in part.receipts {
            // A receipt may be lost: the producer publishes again, and gets it as a duplicate.
            if self.receipts.try_send(wanted).is_err() {
                active.tenant.count_receipt_dropped();
            }
        }
    }
}

fn answer(answers: Vec<Answer>, published: &Arc<Published>) {
    for answer in answers {
        match answer {
            Answer::Done(seqs, outcomes, reply) => {
                let _ = reply.send(Ok(Done { seqs, outcomes, published: Arc::clone(published) }));
            }
            Answer::Refused(error, reply) => {
                let _ = reply.send(Err(error));
            }
        }
    }
}

impl Part<'_> {
    fn post_all(
        &mut self,
        tenant: &Tenant,
        works: Vec<Work>,
        permits: &mut Vec<tokio::sync::OwnedSemaphorePermit>,
    ) -> Result<(), Stop> {
        let mut last = None;
        let mut works = works.into_iter();
        // The old key must sign the checkpoint of a commit with a key entry, so that entry must be the last.
        while !self.log.rotated
            && let Some(work) = works.next()
        {
            match work {
                Work::Append { reply, .. } if self.log.position.retention.deleted.is_some() => {
                    self.answers.push(Answer::Refused(Error::Deleted, reply));
                }
                Work::Post { .. } if self.log.position.retention.deleted.is_some() => {}
                Work::Append { messages, reply, permit } => {
                    permits.push(permit);
                    last = self.append(tenant, messages, reply)?.map(Some).or(last);
                }
                Work::Post { messages, permit } => {
                    permits.push(permit);
                    for (arrival, mut message) in messages {
                        let outcome = self.post_one(tenant, arrival, &mut message)?;
                        let (seq, salt) = (arrival.seq, message.headers.salt.clone());
                        self.outcomes.push(Followed { seq, salt, id: message.id.take(), outcome });
                        last = Some(Some((arrival, message)));
                    }
                }
                Work::Explained { holes, permit } => {
                    permits.push(permit);
                    for hole in holes {
                        self.log.post_explained(&mut self.changes, &hole)?;
                        self.check_mark()?;
                        // A message that is gone has no digest to compare with.
                        last = Some(None);
                    }
                }
                Work::Halt { .. } | Work::Open(_) | Work::Certified(_) => {}
            }
        }
        self.later.extend(works);
        self.log.position.signed = !self.waits(tenant);
        let sealed = match &last {
            Some(Some((arrival, message))) => self.log.seal(&mut self.changes, (*arrival, message)),
            Some(None) => {
                self.log.position.root = self.log.edge.root();
                self.log.save_position(&mut self.changes)
            }
            None => Ok(()),
        };
        sealed.map_err(post::Error::from)?;
        Ok(())
    }

    /// Appends to the embedded journal and posts, or refuses. Returns the last message.
    fn append(
        &mut self,
        tenant: &Tenant,
        messages: Vec<(Option<u64>, Prepared)>,
        reply: oneshot::Sender<Result<Done, Error>>,
    ) -> Result<Option<(Arrival, Prepared)>, Stop> {
        let Position { epoch, posted, .. } = self.log.position;
        let end = (Volume { number: self.number, epoch }, posted);
        let drafts = messages.iter().map(|(expected, message)| message.to_append(*expected));
        let time = match tenant.clock().stamp() {
            Ok(time) => time,
            Err(wrong) => {
                let error = journal::Error::Unavailable(wrong.to_string());
                self.answers.push(Answer::Refused(Error::Refused(error), reply));
                return Ok(None);
            }
        };
        let given = match embedded::stage(&mut self.changes, end, || time, drafts) {
            Ok(given) => given,
            Err(error) => {
                self.answers.push(Answer::Refused(Error::Refused(error.clone()), reply));
                let halts = matches!(error, journal::Error::Halt(_));
                return if halts { Err(Stop::Journal(error)) } else { Ok(None) };
            }
        };
        // Stored before anything can fail, so that a halt also answers it.
        self.answers.push(Answer::Done(Vec::new(), Vec::new(), reply));
        let mut last = None;
        let (mut seqs, mut outcomes) = (Vec::with_capacity(given.len()), Vec::new());
        for ((_, mut message), (seq, time)) in messages.into_iter().zip(given) {
            let arrival = Arrival { seq, time };
            seqs.push(seq);
            outcomes.push(self.post_one(tenant, arrival, &mut message)?);
            last = Some((arrival, message));
        }
        if let Some(Answer::Done(s, o, _)) = self.answers.last_mut() {
            (*s, *o) = (seqs, outcomes);
        }
        Ok(last)
    }

    fn post_one(
        &mut self,
        tenant: &Tenant,
        arrival: Arrival,
        message: &mut Prepared,
    ) -> Result<Outcome, Stop> {
        let signed = tenant.is_signer(&self.log.position);
        let outcome = self.log.post(&mut self.changes, arrival, message)?;
        self.check_mark()?;
        if signed && !tenant.is_signer(&self.log.position) {
            tenant.fenced.store(true, std::sync::atomic::Ordering::Relaxed);
            return Err(Stop::Fenced(arrival.seq));
        }
        if let (Some(to), Some(journal::Subject::Decisions(producer))) =
            (&message.headers.receipt_to, &message.subject)
        {
            self.receipts.push(ReceiptWanted {
                tenant: self.log.tenant.clone(),
                producer: producer.clone(),
                to: to.clone(),
                id: message.id.clone(),
                outcome: outcome.clone(),
            });
        }
        if tenant.replica().is_some() && self.must_reach.is_none() {
            self.note_border();
        }
        Ok(outcome)
    }

    /// At the size that was signed before, the root must be the same.
    fn check_mark(&mut self) -> Result<(), Stop> {
        if let Some(mark) = self.must_reach.take_if(|mark| mark.size <= self.log.position.size) {
            let position = &self.log.position;
            if position.size != mark.size || self.log.edge.root() != mark.root {
                return Err(Stop::Fork(mark));
            }
        }
        Ok(())
    }

    /// True if this commit signs nothing: a mark must be reached first, the log rests on an explanation that is not posted
    /// yet, this server's claim is not posted yet, or replicas cosign the log.
    fn waits(&self, tenant: &Tenant) -> bool {
        let position = &self.log.position;
        let waits = self.must_reach.is_some() || !position.provisional.is_empty();
        waits || tenant.replica().is_some() || !tenant.is_signer(position)
    }

    /// Signs the new size, unless nothing was posted or signing must wait.
    fn sign(&mut self, tenant: &Tenant) -> Result<(), Stop> {
        if self.changes.is_empty() || self.waits(tenant) {
            return Ok(());
        }
        let checkpoint = checkpoint(&self.log, tenant).map_err(Stop::Keys)?;
        put_checkpoint(&mut self.changes, &self.log, &checkpoint, tenant.now());
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn mark(&self) -> Option<Mark> {
        self.checkpoint.as_ref().map(|_| mark(&self.log))
    }

    fn refuse(self, error: &Error) {
        for answer in self.answers {
            let (Answer::Done(_, _, reply) | Answer::Refused(_, reply)) = answer;
            let _ = reply.send(Err(error.clone()));
        }
    }
}
