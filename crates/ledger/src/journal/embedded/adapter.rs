//! The adapter: implements the port of [`crate::journal`] on our own store. Its calls block, except
//! [`Embedded::follow`].

use super::{Draft, SCAN_MESSAGES_MAX, Volume, decode, stage, stage::too_far, subject_of};
use crate::{
    clock::wall_clock,
    journal::{
        Append, Error, FOLLOW_BYTES_MAX, FOLLOW_MESSAGES_MAX, Followed, HEADER_RECEIPT_TO,
        HEADER_REFUSED, HEADER_SALT, HEADER_SIGNATURE, Headers, Message, SUBJECT_MESSAGES_MAX,
        State, Subject,
        limits::{check_header, check_limits},
    },
    store::{self, Changes, Family, LogNumber, Read as _, rocks::Rocks},
};
use std::sync::{Arc, Mutex};
use tokio::{
    sync::{mpsc, watch},
    task::block_in_place,
};

/// Most messages that one write trims.
const TRIM_MESSAGES_AT_ONCE: usize = 100_000;

/// One tenant's journal on our own store. Cheap to clone; clones see each other's appends.
#[derive(Clone)]
pub struct Embedded {
    pub(super) store: Arc<Rocks>,
    volume: Volume,
    identity: String,
    /// Marked as changed after every commit with new messages.
    news: watch::Sender<()>,
    /// Allows one append at a time. `None` if the ledger's writer appends.
    appending: Option<Arc<Mutex<()>>>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { volume, identity, .. } = self;
        f.debug_struct("Embedded")
            .field("volume", volume)
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}

fn unreadable() -> store::Error {
    store::Error::Corrupt { family: "journal", what: "a message" }
}

impl Embedded {
    /// A journal without a log: [`Embedded::append`] commits by itself.
    pub fn alone(store: Arc<Rocks>, number: LogNumber, epoch: u64, identity: String) -> Self {
        let (news, appending) = (watch::Sender::new(()), Some(Arc::default()));
        Self { store, volume: Volume { number, epoch }, identity, news, appending }
    }

    /// The journal of a log. The log's writer appends by [`stage`]; this type does everything else.
    pub fn of_log(store: Arc<Rocks>, number: LogNumber, epoch: u64, identity: String) -> Self {
        Self { appending: None, ..Self::alone(store, number, epoch, identity) }
    }

    /// The same journal in another epoch.
    pub(crate) fn in_epoch(&self, epoch: u64) -> Self {
        Self { volume: Volume { epoch, ..self.volume }, ..self.clone() }
    }

    /// Wakes followers: a commit brought new messages.
    pub(crate) fn appended(&self) {
        self.news.send_replace(());
    }

    fn last(&self) -> Result<u64, store::Error> {
        let last = self.store.get(Family::Meta, &self.volume.last())?;
        last.map_or(Ok(0), |bytes| store::read_u64(&bytes, "meta"))
    }

    /// Visits stored messages from `from` on, ascending, while `visit` returns true.
    fn scan(&self, from: u64, mut visit: impl FnMut(u64, &[u8]) -> bool) -> Result<(), Error> {
        let from = self.volume.message(from);
        Ok(self.store.scan(Family::Journal, &from, |key, value| {
            self.volume.seq(key).is_some_and(|seq| visit(seq, value))
        })?)
    }

    /// Identity and extent of the journal.
    pub fn state(&self) -> Result<State, Error> {
        // Read in this order: what is trimmed or appended meanwhile can only make the journal look longer.
        let mut first = None;
        self.scan(0, |seq, _| {
            first = Some(seq);
            false
        })?;
        let last = self.last()?;
        Ok(State { identity: self.identity.clone(), first: first.unwrap_or(last + 1), last })
    }

    /// Appends a batch, all or nothing. Returns the sequence of each message once they are durable.
    ///
    /// [`Error::Halt`] for the journal of a log, where the commit that posts messages also appends them.
    pub fn append(&self, batch: &[Append]) -> Result<Vec<u64>, Error> {
        check_limits(batch)?;
        for append in batch {
            let Headers { salt, signature, receipt_to, refused } = &append.headers;
            for (name, value) in [
                (HEADER_SALT, salt),
                (HEADER_SIGNATURE, signature),
                (HEADER_RECEIPT_TO, receipt_to),
                (HEADER_REFUSED, refused),
            ] {
                value.as_deref().map(|value| check_header(name, value)).transpose()?;
            }
        }
        let Some(appending) = &self.appending else {
            return Err(Error::Halt(
                "this journal is a log's: publish through the ledger, which posts in the same commit".into(),
            ));
        };
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = appending.lock().expect("no holder of the lock panics");
        let mut changes = Changes::new(&*self.store);
        let end = (self.volume, self.last()?);
        let given = stage(&mut changes, end, wall_clock, batch.iter().map(Draft::from))?;
        // What posting does where a log is.
        for (append, (seq, _)) in batch.iter().zip(&given).filter(|(a, _)| a.subject.is_chained()) {
            let key = self.volume.last_on(&append.subject);
            changes.put(Family::Subjects, key, seq.to_be_bytes().to_vec());
        }
        self.store.commit(changes.into_writes())?;
        self.appended();
        Ok(given.into_iter().map(|(seq, _)| seq).collect())
    }

    /// The message at `seq`. `None` if it was erased, trimmed or never stored.
    pub fn get(&self, seq: u64) -> Result<Option<Message>, Error> {
        let bytes = self.store.get(Family::Journal, &self.volume.message(seq))?;
        let message = bytes.map(|bytes| decode(seq, &bytes).ok_or_else(unreadable));
        Ok(message.transpose()?)
    }

    /// The newest message on `subject` that the journal still holds. On a decisions subject, [`Error::TooBig`]
    /// if it is not among the last [`SCAN_MESSAGES_MAX`].
    pub fn last_on(&self, subject: &Subject) -> Result<Option<Message>, Error> {
        let mut found = Ok(None);
        if subject.is_chained() {
            let prefix = self.volume.index(subject);
            let end = self.volume.indexed(subject, u64::MAX);
            self.store.scan_down(Family::SubjectIndex, &end, |key, _| {
                let seq = key.strip_prefix(&prefix[..]).and_then(|seq| seq.try_into().ok());
                let Some(seq) = seq.map(u64::from_be_bytes) else { return false };
                found = self.get(seq);
                // It was erased just now, so take the one before.
                matches!(found, Ok(None))
            })?;
            return found;
        }
        let (end, mut looked) = (self.volume.message(u64::MAX), 0);
        self.store.scan_down(Family::Journal, &end, |key, value| {
            let Some(seq) = self.volume.seq(key) else { return false };
            looked += 1;
            if looked > SCAN_MESSAGES_MAX {
                found = Err(too_far());
            } else if subject_of(value).as_ref() == Some(subject) {
                found = decode(seq, value).map(Some).ok_or_else(|| unreadable().into());
            }
            matches!(found, Ok(None))
        })?;
        found
    }

    /// All messages on `subject`, in order. [`Error::TooBig`] for more than [`SUBJECT_MESSAGES_MAX`], and for
    /// a decisions subject in a journal of more than [`SCAN_MESSAGES_MAX`].
    pub fn read_subject(&self, subject: &Subject) -> Result<Vec<Message>, Error> {
        let mut seqs = Vec::new();
        if subject.is_chained() {
            let prefix = self.volume.index(subject);
            self.store.scan(Family::SubjectIndex, &prefix, |key, _| {
                let seq = key.strip_prefix(&prefix[..]).and_then(|seq| seq.try_into().ok());
                seqs.extend(seq.map(u64::from_be_bytes));
                seq.is_some() && seqs.len() <= SUBJECT_MESSAGES_MAX
            })?;
        } else {
            let mut looked = 0;
            self.scan(0, |seq, value| {
                looked += 1;
                seqs.extend((subject_of(value).as_ref() == Some(subject)).then_some(seq));
                looked <= SCAN_MESSAGES_MAX
            })?;
            if looked > SCAN_MESSAGES_MAX {
                return Err(too_far());
            }
        }
        if seqs.len() > SUBJECT_MESSAGES_MAX {
            let (got, max) = (seqs.len(), SUBJECT_MESSAGES_MAX);
            return Err(Error::TooBig { what: "messages per subject read at once", got, max });
        }
        seqs.into_iter().filter_map(|seq| self.get(seq).transpose()).collect()
    }

    /// Sends every message from sequence `from` on into `sink`, in order, as messages are stored.
    ///
    /// First it sends one [`Followed::Connected`], then [`Followed::Messages`]. A full sink stops the reading.
    /// Returns `Ok` when the sink's receiver is dropped.
    pub async fn follow(&self, from: u64, sink: mpsc::Sender<Followed>) -> Result<(), Error> {
        let mut news = self.news.subscribe();
        let mut next = from;
        let mut item = Followed::Connected(block_in_place(|| self.state())?);
        loop {
            if sink.send(item).await.is_err() {
                return Ok(());
            }
            let messages = loop {
                // Mark as seen before reading, so that a later commit counts as news again.
                news.mark_unchanged();
                let messages = block_in_place(|| self.read_on(next))?;
                if !messages.is_empty() {
                    break messages;
                }
                tokio::select! {
                    _ = news.changed() => {}
                    () = sink.closed() => return Ok(()),
                }
            };
            next = messages.last().map_or(next, |message| message.seq + 1);
            item = Followed::Messages(messages);
        }
    }

    /// The next messages, as many as one delivery takes.
    fn read_on(&self, from: u64) -> Result<Vec<Message>, Error> {
        let (mut messages, mut bytes, mut damaged) = (Vec::new(), 0, false);
        self.scan(from, |seq, value| {
            let message = decode(seq, value);
            damaged = message.is_none();
            bytes += value.len();
            messages.extend(message);
            !damaged && messages.len() < FOLLOW_MESSAGES_MAX && bytes < FOLLOW_BYTES_MAX
        })?;
        if damaged { Err(unreadable().into()) } else { Ok(messages) }
    }

    /// Erases one message; its sequence remains a hole. `false` if it was already gone.
    ///
    /// Its bytes leave the disk with [`Rocks::purge`].
    pub fn erase(&self, seq: u64) -> Result<bool, Error> {
        Ok(self.erase_all([seq])? == 1)
    }

    /// Erases messages in one write. Returns how many existed.
    pub fn erase_all(&self, seqs: impl IntoIterator<Item = u64>) -> Result<usize, Error> {
        let (mut changes, mut erased) = (Changes::new(&*self.store), 0);
        for seq in seqs {
            let key = self.volume.message(seq);
            let Some(bytes) = changes.get(Family::Journal, &key)? else { continue };
            if let Some(subject) = subject_of(&bytes).filter(Subject::is_signed) {
                changes.delete(Family::SubjectIndex, self.volume.indexed(&subject, seq));
            }
            changes.delete(Family::Journal, key);
            erased += 1;
        }
        if erased > 0 {
            self.store.commit(changes.into_writes())?;
        }
        Ok(erased)
    }

    /// Keys of messages and of their rows in the index of subjects: what must go when the messages are erased.
    /// It includes messages that are already deleted, by trimming or by an erasure that a crash ended, because
    /// their bytes may still be in old files.
    pub fn places(
        &self,
        seqs: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<(Family, Vec<u8>)>, Error> {
        let mut places = Vec::new();
        for seq in seqs {
            let key = self.volume.message(seq);
            let bytes = self.store.get(Family::Journal, &key)?;
            if let Some(subject) = bytes.as_deref().and_then(subject_of).filter(Subject::is_signed)
            {
                places.push((Family::SubjectIndex, self.volume.indexed(&subject, seq)));
            }
            places.push((Family::Journal, key));
        }
        Ok(places)
    }

    /// Removes every message with a sequence below `below`. It may be repeated.
    pub fn trim(&self, below: u64) -> Result<(), Error> {
        let mut more = true;
        while more {
            let (mut to, mut seen, mut indexed) = (0, 0, Vec::new());
            more = false;
            self.scan(0, |seq, value| {
                more = seen == TRIM_MESSAGES_AT_ONCE;
                if seq >= below || more {
                    more &= seq < below;
                    return false;
                }
                (to, seen) = (seq + 1, seen + 1);
                let subject = subject_of(value).filter(Subject::is_signed);
                indexed.extend(subject.map(|subject| self.volume.indexed(&subject, seq)));
                true
            })?;
            if seen > 0 {
                let indexed = indexed.into_iter().map(|key| (Family::SubjectIndex, key));
                let range = (&self.volume.message(0)[..], &self.volume.message(to)[..]);
                self.store.delete_range(Family::Journal, range, indexed)?;
            }
        }
        Ok(())
    }
}
