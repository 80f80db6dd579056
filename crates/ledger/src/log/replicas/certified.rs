//! Which checkpoint a majority of the replicas has cosigned, and which one is only vouched for (P21).

use super::super::{
    checkpoint::{self, Checkpoint},
    members::MemberSet,
    note::{self, Vkey},
};
use crate::ident::Ident;

/// A checkpoint that the log has signed and a majority of its replicas has cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// What it states.
    pub checkpoint: Checkpoint,
    /// The note: the log's signatures, then the cosignatures. All of them are verified, unless it is only vouched for.
    pub note: String,
    /// True if the log's own signature could not be judged here: see [`vouched`].
    pub is_vouched: bool,
    /// Names of the members that cosigned, in the order of their lines.
    pub by: Vec<Ident>,
    /// Version of the set that was held to be in force at its size.
    pub version: u64,
}

/// Why a note counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncertified {
    /// It is no note of this log, or a signature in it is wrong.
    #[error(transparent)]
    Note(#[from] note::Error),
    /// It is another log's.
    #[error("it is of the log {0}")]
    Origin(String),
    /// A key that must sign this size has not.
    #[error("a key that must sign size {0} has not signed")]
    Unsigned(u64),
    /// Too few replicas of a set have cosigned.
    #[error("{got} replicas of the set {version} have cosigned, and {least} must")]
    Minority {
        /// Version of the set.
        version: u64,
        /// How many have.
        got: usize,
        /// How many must.
        least: usize,
    },
}

/// Reads a checkpoint of the log `origin` that a majority of each of these sets has cosigned; the first of them is in force. `signing`: the
/// keys that must sign a size. Lines of other keys are left out, because nobody here can say whether they are right, and a verifier
/// that knows their key refuses the note for a wrong one.
pub fn certified<'a>(
    note: &str,
    origin: &str,
    signing: impl Fn(u64) -> Vec<Vkey>,
    sets: impl IntoIterator<Item = &'a MemberSet>,
) -> Result<Certified, Uncertified> {
    let keys = signing(size_of(note));
    let checkpoint = proposed(note, origin, |_| keys.clone())?;
    let Majorities { by, version, lines } = agreed(note, sets)?;
    let note = only_verified(note, &keys, &lines)?;
    Ok(Certified { checkpoint, note, by, version, is_vouched: false })
}

/// The same, though the log's own signature can't be judged: a key that is unknown here may have taken over. The replicas judged it before
/// they cosigned. So what a majority of them remembers binds a replica that was set back behind a rotation. It is not shown before it
/// is [`certified`].
pub fn vouched<'a>(
    note: &str,
    origin: &str,
    sets: impl IntoIterator<Item = &'a MemberSet>,
) -> Result<Certified, Uncertified> {
    let (text, _) = note::split(note)?;
    let checkpoint = Checkpoint::parse(text).ok_or(note::Error::Malformed("not a checkpoint"))?;
    if checkpoint.origin != origin {
        return Err(Uncertified::Origin(checkpoint.origin));
    }
    let Majorities { by, version, .. } = agreed(note, sets)?;
    Ok(Certified { checkpoint, note: note.to_owned(), by, version, is_vouched: true })
}

/// Who has cosigned a note: majorities of all sets.
struct Majorities {
    by: Vec<Ident>,
    /// Of the first set.
    version: u64,
    lines: Vec<String>,
}

fn agreed<'a>(
    note: &str,
    sets: impl IntoIterator<Item = &'a MemberSet>,
) -> Result<Majorities, Uncertified> {
    let (mut by, mut lines): (Vec<Ident>, Vec<String>) = (Vec::new(), Vec::new());
    let mut version = None;
    for set in sets {
        let cosigners = set.cosigners(note)?;
        let (got, least) = (cosigners.len(), set.majority());
        if got < least {
            return Err(Uncertified::Minority { version: set.version, got, least });
        }
        for (one, line) in cosigners {
            if !lines.contains(&line) {
                lines.push(line);
            }
            if !by.contains(&one.name) {
                by.push(one.name.clone());
            }
        }
        version.get_or_insert(set.version);
    }
    // No set is no majority of any.
    let version = version.ok_or(Uncertified::Minority { version: 0, got: 0, least: 1 })?;
    Ok(Majorities { by, version, lines })
}

/// The note with the signatures of `keys` and these cosignatures alone.
fn only_verified(note: &str, keys: &[Vkey], cosigned: &[String]) -> Result<String, note::Error> {
    let (text, lines) = note::split(note)?;
    if lines.split('\n').count() == keys.len() + cosigned.len() {
        return Ok(note.to_owned());
    }
    let is_by_log = |line: &str| note::open(&format!("{text}\n{line}"), keys).is_ok();
    let lines = lines.split('\n').map(|line| format!("{line}\n"));
    let kept = lines.filter(|line| cosigned.contains(line) || is_by_log(line));
    Ok(format!("{text}\n{}", kept.collect::<String>()))
}

/// The size that a note says. 0 if it says none.
pub fn size_of(note: &str) -> u64 {
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default()
}

/// Reads a checkpoint of the log `origin` that every key that must sign its size has signed, and replicas may not have
/// cosigned yet.
pub fn proposed(
    note: &str,
    origin: &str,
    signing: impl Fn(u64) -> Vec<Vkey>,
) -> Result<Checkpoint, Uncertified> {
    let size = size_of(note);
    let keys = signing(size);
    let opened = checkpoint::open(note, &keys)?;
    if opened.checkpoint.origin != origin {
        return Err(Uncertified::Origin(opened.checkpoint.origin));
    }
    if opened.signers.len() != keys.len() {
        return Err(Uncertified::Unsigned(size));
    }
    Ok(opened.checkpoint)
}
