//! Compares journal messages with entries. Each message that still exists is posted again after the entries
//! before it, signatures included, and must give exactly the entries in the log (P3, P6).
//!
//! Memory is needed for the numbers of sources and for 24 bytes a signed subject, not for the log. If messages
//! are gone, their entries are taken as they are, and something must explain why the messages are gone.

mod skipping;

use super::{
    before::{Before, short},
    gone::Gone,
    payloads::Payloads,
    pruned::{self, Begun},
};
use crate::{
    disclosure::Seed,
    entry::{Kind, View},
    envelope,
    journal::{Headers, Message, Subject},
    json::Value,
    post::{Arrival, Log, Outcome, Prepared, tail_digest},
    sequence::Sequence,
    store::{self, Changes, Family, LogNumber, Read as _, rocks::Rocks, rocks::Rows},
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Most holes that are remembered until the end of the log shows which of them an erasure explains.
const HOLES_MAX: usize = 1_000_000;

/// Totals of the comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// Messages that were posted again.
    pub messages: u64,
    /// Entries that they gave.
    pub entries: u64,
    /// Sequence of the first message that still exists.
    pub first: Option<u64>,
}

/// Result of the comparison.
pub struct Outcomes<'a> {
    /// What was compared.
    pub compared: Compared,
    /// Differences.
    pub findings: Vec<String>,
    /// Messages that are gone without an entry that says why.
    pub missing: Vec<String>,
    /// The comparison of payloads, as far as it came.
    pub(super) payloads: Option<Payloads<'a>>,
}

/// The comparison. Give it every message that the journal holds, in order.
pub struct Messages<'a> {
    store: &'a Rocks,
    log: &'a Log,
    again: Log,
    before: Before<'a>,
    entries: Entries<'a>,
    payloads: Option<Payloads<'a>>,
    /// Sequences of rejected messages that are gone, so that their subject is unknown.
    unknown: BTreeSet<u64>,
    /// Sequences that the journal no longer holds, each from and to.
    holes: Vec<(u64, u64)>,
    compared: Compared,
    findings: Vec<String>,
    ended: bool,
}

impl<'a> Messages<'a> {
    /// The state before the first message.
    pub fn new(store: &'a Rocks, log: &'a Log) -> Result<Self, store::Error> {
        let Log { tenant, number, origin, position, .. } = log;
        let number = *number;
        let mut again = Log::new(tenant.clone(), number, origin.clone(), position.journal.clone());
        let mut before = Before::new(store, number);
        let mut unknown = BTreeSet::new();
        if let Some(Begun { base, edge, .. }) = pruned::begin(store, log)? {
            before.begin(&base)?;
            let epoch = base.state.journal.1;
            let rejected = base.state.rejected.iter().filter(|(of, _)| *of == epoch);
            unknown.extend(rejected.map(|(_, seq)| *seq));
            again.behind(&base, edge);
        }
        Ok(Self {
            store,
            log,
            again,
            before,
            entries: Entries { rows: store.rows(Family::Entries, &number.key(&[])), number },
            payloads: None,
            unknown,
            holes: Vec::new(),
            compared: Compared::default(),
            findings: Vec::new(),
            ended: false,
        })
    }

    /// The same, which also compares payloads.
    #[must_use]
    pub(super) fn with(mut self, payloads: Payloads<'a>) -> Self {
        self.payloads = Some(payloads);
        self
    }

    /// Takes the next message. `seed`: seed of its salts, `None` if unknown here. Returns `false` once no more
    /// messages are needed.
    pub fn take(&mut self, message: Message, seed: Option<Seed>) -> Result<bool, store::Error> {
        let Message { seq, time, subject, headers, body } = message;
        if seq > self.log.position.posted || self.ended {
            return Ok(false);
        }
        if self.compared.first.is_none() {
            self.begin_message()?;
            self.begin_epoch()?;
            if seq <= self.again.position.posted {
                // It was posted in an earlier epoch.
                return Ok(!self.ended);
            }
            self.compared.first = Some(seq);
        }
        self.skip_to(seq)?;
        let Some(seed) = seed.filter(|_| !self.ended) else {
            // The message exists, but without its seed it is unknown what it must have given.
            return self.take_as_it_is(seq);
        };
        if seq == self.log.position.posted {
            self.compare_tail(Arrival { seq, time }, subject.as_ref(), (&headers, &body));
        }
        if let Some(subject) = subject.as_ref().filter(|subject| subject.is_chained()) {
            let said = headers.signature.as_deref().and_then(envelope::expected);
            if let Some(said) = said.filter(|said| self.unknown.contains(said)) {
                self.stands_at(self.again.position.epoch, subject, said);
            }
        }
        let mut prepared = Prepared::new(subject, headers, body, seed);
        let base = self.again.position.size;
        self.before.is_new = self.entries.at(base).is_some_and(|entry| prepared.gave(entry));
        // Until the prune entry, messages may have been judged by entries that are gone.
        let may_miss = self.again.position.pruned != self.log.position.pruned;
        let saved = may_miss.then(|| self.again.clone());
        let mut changes = Changes::new(&self.before);
        let posted = self.again.post(&mut changes, Arrival { seq, time }, &mut prepared);
        let writes: Vec<store::Write> = changes.into_writes().collect();
        self.again.forget_sums();
        if let Some(saved) = saved.filter(|_| self.before.missed.take()) {
            self.again = saved;
            return self.take_as_it_is(seq);
        }
        match posted {
            Ok(outcome) => self.compare(seq, base, &outcome, &writes),
            Err(post) => {
                self.end(&format!("journal message {seq} could not have been posted: {post}"));
                Ok(false)
            }
        }
    }

    /// Takes what a message gave as it is.
    fn take_as_it_is(&mut self, seq: u64) -> Result<bool, store::Error> {
        let holes = self.holes.len();
        self.skip_to(seq + 1)?;
        self.holes.truncate(holes);
        Ok(!self.ended)
    }

    fn compare_tail(
        &mut self,
        arrival: Arrival,
        subject: Option<&Subject>,
        (headers, body): (&Headers, &[u8]),
    ) {
        let tail = tail_digest(arrival, subject, headers, body);
        if self.log.position.tail.is_some_and(|said| said != tail) {
            let seq = arrival.seq;
            self.findings.push(format!(
                "journal message {seq} is not the one that the commit record says was posted last"
            ));
        }
    }

    /// The entries that were made again must be those in the log.
    fn compare(
        &mut self,
        seq: u64,
        base: u64,
        outcome: &Outcome,
        writes: &[store::Write],
    ) -> Result<bool, store::Error> {
        for ((family, key), value) in writes {
            let Some(value) = value else { continue };
            match family {
                Family::Entries => {
                    let index = key.get(4..).and_then(|rest| rest.try_into().ok());
                    let index = index.map_or(base, u64::from_be_bytes);
                    if self.entries.at(index) != Some(value) {
                        self.end(&format!(
                            "journal message {seq} does not give entry {index}: one of the two was changed, added or \
                             removed"
                        ));
                        return Ok(false);
                    }
                    if let Some(payloads) = &mut self.payloads {
                        payloads.judge(index, value, payload_of(writes, key));
                    }
                    self.compared.entries += 1;
                }
                Family::Sources => {
                    let source = key.get(4..).and_then(|rest| rest.try_into().ok());
                    let sequence = serde_json::from_slice::<Sequence>(value).ok();
                    self.before.sources.extend(source.zip(sequence));
                }
                Family::Subjects => {
                    let last = store::read_u64(value, "subjects")?;
                    self.before.subjects.insert(short(key), last);
                }
                _ => {}
            }
        }
        self.compared.messages += 1;
        self.before.size = self.again.position.size;
        self.before.keep(writes);
        if let Outcome::Duplicate { index } = outcome {
            self.repeated(seq, *index)?;
        }
        Ok(!self.ended)
    }

    /// A message gave no entry because its event is in the log: an erasure must be able to find it. One that
    /// was in conflict with an event that was erased later gave an entry.
    fn repeated(&mut self, seq: u64, first: u64) -> Result<(), store::Error> {
        let payload =
            crate::erased::left(self.store, self.again.number, first)?.unwrap_or_default();
        if payload.commit_salt.is_none() {
            let index = self.again.position.size;
            let Some(bytes) = self.entry(index)? else { return Ok(()) };
            let conflict = View::parse(&bytes).is_some_and(|view| {
                view.kind == Kind::DuplicateConflict
                    && view.origin.seq == seq
                    && view.at(&["event", "first"]).and_then(Value::as_u64) == Some(first)
            });
            if conflict {
                self.skip(index, &bytes);
            }
            return Ok(());
        }
        let key = self.again.number.in_epoch(first, &[]);
        let epoch = self.again.position.epoch;
        let key = [key, epoch.to_be_bytes().to_vec(), seq.to_be_bytes().to_vec()].concat();
        if self.store.get(Family::Repeats, &key)?.is_none() {
            self.findings.push(format!(
                "journal message {seq} repeats entry {first}, and the index of repetitions does not say so: an erasure \
                 would not reach it"
            ));
        }
        Ok(())
    }

    /// Notes a message that can't be read.
    pub fn unreadable(&mut self, seq: u64) {
        self.end(&format!("journal message {seq} is unreadable"));
    }

    fn end(&mut self, finding: &str) {
        self.findings.push(format!("{finding}. What follows it in the journal was not compared"));
        self.ended = true;
    }

    fn entry(&mut self, index: u64) -> Result<Option<Vec<u8>>, store::Error> {
        if index >= self.log.position.size {
            return Ok(None);
        }
        let entry = self.entries.at(index).map(<[u8]>::to_vec);
        self.entries.rows.status()?;
        Ok(entry)
    }

    /// Ends the comparison after the last message. `gone`: what the log says about its holes.
    pub fn finish(mut self, gone: &Gone) -> Result<Outcomes<'a>, store::Error> {
        let posted = self.log.position.posted;
        self.begin_message()?;
        self.begin_epoch()?;
        if !self.ended && self.log.position.size > 0 {
            // The last message is never trimmed, so a journal without messages is one hole.
            self.skip_to(posted + 1)?;
        }
        if !self.ended && self.again.position.size < self.log.position.size {
            let index = self.again.position.size;
            self.findings.push(format!("entry {index} comes from no message of the journal"));
        }
        let epoch = self.log.position.epoch;
        let unexplained = self.holes.iter().filter_map(|hole| gone.unexplained(epoch, *hole));
        let missing = unexplained
            .map(|seq| format!("journal message {seq} is missing, and no entry says why"))
            .collect();
        let Self { compared, findings, payloads, .. } = self;
        Ok(Outcomes { compared, findings, missing, payloads })
    }
}

/// The payload that was made with the entry at `key`.
fn payload_of<'w>(writes: &'w [store::Write], key: &[u8]) -> Option<&'w [u8]> {
    let its = writes.iter().find(|((family, at), _)| *family == Family::Payload && at == key);
    its?.1.as_deref()
}

/// The entries, read once and in order.
struct Entries<'a> {
    rows: Rows<'a>,
    number: LogNumber,
}

impl Entries<'_> {
    /// The entry at an index, not before the one that was asked for last.
    fn at(&mut self, index: u64) -> Option<&[u8]> {
        let key = self.number.numbered(index);
        while self.rows.item().is_some_and(|(at, _)| at < key.as_slice()) {
            self.rows.step();
        }
        self.rows.item().filter(|(at, _)| *at == key.as_slice()).map(|(_, entry)| entry)
    }
}
