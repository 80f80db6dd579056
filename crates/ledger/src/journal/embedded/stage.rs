//! Appends messages: compare-and-swap, sequences, times. Everything becomes changes of a commit that the
//! caller makes.

use super::{encode, subject_of};
use crate::{
    journal::{Append, Error, Headers, Subject},
    store::{self, Changes, Family, LogNumber, Read},
    time::Nanos,
};

/// Most messages that are scanned for one on a decisions subject, which has no index.
pub const SCAN_MESSAGES_MAX: usize = 10_000;

/// One epoch of one log's journal: its keys in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Number of the log.
    pub number: LogNumber,
    /// Journal epoch, 1 or later.
    pub epoch: u64,
}

impl Volume {
    /// Key in `journal` of the message with this sequence.
    pub fn message(self, seq: u64) -> Vec<u8> {
        self.number.in_epoch(self.epoch, &seq.to_be_bytes())
    }

    /// The sequence in a key of `journal`. `None` if it belongs to another journal.
    pub fn seq(self, key: &[u8]) -> Option<u64> {
        let rest = key.strip_prefix(&self.number.numbered(self.epoch)[..])?;
        rest.try_into().ok().map(u64::from_be_bytes)
    }

    /// Key in `meta` of the last sequence that was assigned.
    pub fn last(self) -> Vec<u8> {
        [self.number.meta("journal"), self.epoch.to_be_bytes().to_vec()].concat()
    }

    /// Key in `subjects` of the last sequence on a signed subject.
    pub fn last_on(self, subject: &Subject) -> Vec<u8> {
        self.number.in_epoch(self.epoch, subject.to_string().as_bytes())
    }

    /// Prefix of the keys in `subject_index` of one subject. No subject contains a 0 byte.
    pub fn index(self, subject: &Subject) -> Vec<u8> {
        [self.last_on(subject), vec![0]].concat()
    }

    /// Key in `subject_index` of one message.
    pub fn indexed(self, subject: &Subject, seq: u64) -> Vec<u8> {
        [self.index(subject), seq.to_be_bytes().to_vec()].concat()
    }
}

/// A message to append, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Subject of the message.
    pub subject: Option<&'a Subject>,
    /// The named headers.
    pub headers: &'a Headers,
    /// Body, as sent.
    pub body: &'a [u8],
    /// For compare-and-swap: the last sequence on this subject must be this one (0: none yet).
    pub expected: Option<u64>,
}

impl<'a> From<&'a Append> for Draft<'a> {
    fn from(append: &'a Append) -> Self {
        let Append { subject, headers, body, expected } = append;
        Self { subject: Some(subject), headers, body, expected: *expected }
    }
}

/// Adds `messages` to a commit, after sequence `last`: all of them, or [`Error::Conflict`] and none.
///
/// Each `expected` is compared with the state before the first of them. For a signed subject that state is in
/// the family `subjects`, which trimming and erasing do not change. It is not written here: posting writes it,
/// after comparing the signature with the same number.
pub fn stage<'m>(
    changes: &mut Changes<'_>,
    (volume, last): (Volume, u64),
    clock: impl Fn() -> Nanos,
    messages: impl Iterator<Item = Draft<'m>> + Clone,
) -> Result<Vec<(u64, Nanos)>, Error> {
    for message in messages.clone() {
        if let (Some(expected), Some(subject)) = (message.expected, message.subject)
            && !stands_at(changes, (volume, last), subject, expected)?
        {
            return Err(Error::Conflict);
        }
    }
    let mut given = Vec::with_capacity(messages.size_hint().0);
    for (message, seq) in messages.zip(last + 1..) {
        let time = clock();
        changes.put(Family::Journal, volume.message(seq), encode(time, &message));
        if let Some(subject) = message.subject.filter(|subject| subject.is_chained()) {
            changes.put(Family::SubjectIndex, volume.indexed(subject, seq), Vec::new());
        }
        given.push((seq, time));
    }
    if let Some((last, _)) = given.last() {
        changes.put(Family::Meta, volume.last(), last.to_be_bytes().to_vec());
    }
    Ok(given)
}

/// True if the last message on `subject` is the one at `expected` (0: there is none).
fn stands_at(
    read: &dyn Read,
    (volume, last): (Volume, u64),
    subject: &Subject,
    expected: u64,
) -> Result<bool, Error> {
    if subject.is_chained() {
        let found = read.get(Family::Subjects, &volume.last_on(subject))?;
        let found = found.map_or(Ok(0), |bytes| store::read_u64(&bytes, "subjects"))?;
        return Ok(found == expected);
    }
    for (seq, looked) in (expected.max(1)..=last).rev().zip(0..) {
        if looked == SCAN_MESSAGES_MAX {
            return Err(too_far());
        }
        let message = read.get(Family::Journal, &volume.message(seq))?;
        if message.and_then(|bytes| subject_of(&bytes)).as_ref() == Some(subject) {
            return Ok(seq == expected);
        }
    }
    Ok(expected == 0)
}

/// The error for a decisions subject that would need too long a scan.
pub(super) fn too_far() -> Error {
    let (got, max) = (SCAN_MESSAGES_MAX + 1, SCAN_MESSAGES_MAX);
    Error::TooBig { what: "messages looked through for one on a decisions subject", got, max }
}
