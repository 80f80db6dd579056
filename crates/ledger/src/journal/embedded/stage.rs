//! Appending: compare-and-swap, sequences, times; all as changes of a commit that the caller makes.

use super::{encode, subject_of};
use crate::{
    journal::{Append, Error, Headers, Subject},
    post::Prepared,
    store::{self, Changes, Family, LogNumber, Read},
    time::Nanos,
};

/// Most messages that are looked through for one on a decisions subject: those have no index.
pub const SCAN_MESSAGES_MAX: usize = 10_000;

/// One epoch of one log's journal: its keys in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Whose.
    pub number: LogNumber,
    /// Journal epoch, 1 or later.
    pub epoch: u64,
}

impl Volume {
    /// Where the message with this sequence lies, in `journal`.
    pub fn message(self, seq: u64) -> Vec<u8> {
        self.number.in_epoch(self.epoch, &seq.to_be_bytes())
    }

    /// The sequence in a key of `journal`; `None` for another journal's.
    pub fn seq(self, key: &[u8]) -> Option<u64> {
        let rest = key.strip_prefix(&self.number.numbered(self.epoch)[..])?;
        rest.try_into().ok().map(u64::from_be_bytes)
    }

    /// Where the last sequence ever given is kept, in `meta`.
    pub fn last(self) -> Vec<u8> {
        [self.number.meta("journal"), self.epoch.to_be_bytes().to_vec()].concat()
    }

    /// Where the last sequence on a signed subject is kept, in `subjects`.
    pub fn last_on(self, subject: &Subject) -> Vec<u8> {
        self.number.in_epoch(self.epoch, subject.to_string().as_bytes())
    }

    /// What the keys of `subject_index` of one subject begin with. No subject holds a 0 byte.
    pub fn index(self, subject: &Subject) -> Vec<u8> {
        [self.last_on(subject), vec![0]].concat()
    }

    /// The key in `subject_index` of one message.
    pub fn indexed(self, subject: &Subject, seq: u64) -> Vec<u8> {
        [self.index(subject), seq.to_be_bytes().to_vec()].concat()
    }
}

/// A message to append, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Where to.
    pub subject: Option<&'a Subject>,
    /// The named headers.
    pub headers: &'a Headers,
    /// As sent.
    pub body: &'a [u8],
    /// Compare-and-swap: the last sequence on this subject must be this one (0 = none yet).
    pub expected: Option<u64>,
}

impl<'a> From<&'a Append> for Draft<'a> {
    fn from(append: &'a Append) -> Self {
        let Append { subject, headers, body, expected } = append;
        Self { subject: Some(subject), headers, body, expected: *expected }
    }
}

impl<'a> From<&'a (Option<u64>, Prepared)> for Draft<'a> {
    fn from((expected, message): &'a (Option<u64>, Prepared)) -> Self {
        let Prepared { subject, headers, body, .. } = message;
        Self { subject: subject.as_ref(), headers, body, expected: *expected }
    }
}

/// Adds `messages` to a commit, after sequence `last`: all of them, or [`Error::Conflict`] and none.
///
/// Each `expected` is compared with what was there before the first of them. On a signed subject that is the family
/// `subjects`, which trimming and erasing leave alone. It is not written here: posting does that, after it compared
/// the signature with the same number.
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
        if let Some(subject) = message.subject.filter(|subject| subject.is_signed()) {
            changes.put(Family::SubjectIndex, volume.indexed(subject, seq), Vec::new());
        }
        given.push((seq, time));
    }
    if let Some((last, _)) = given.last() {
        changes.put(Family::Meta, volume.last(), last.to_be_bytes().to_vec());
    }
    Ok(given)
}

/// Whether the last message on `subject` is the one at `expected` (0 = there is none).
fn stands_at(
    read: &dyn Read,
    (volume, last): (Volume, u64),
    subject: &Subject,
    expected: u64,
) -> Result<bool, Error> {
    if subject.is_signed() {
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

/// A decisions subject would need too long a look.
pub(super) fn too_far() -> Error {
    let (got, max) = (SCAN_MESSAGES_MAX + 1, SCAN_MESSAGES_MAX);
    Error::TooBig { what: "messages looked through for one on a decisions subject", got, max }
}
