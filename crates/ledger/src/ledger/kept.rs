//! Finds one of the checkpoints that are kept, the last of each second. Sizes only grow with the seconds.

use crate::{
    log::checkpoint::Checkpoint,
    store::{Error, Family, LogNumber, rocks::Rocks},
};

/// A checkpoint that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The second, since 1970, of which it is the last. While that second is not over, another one may take its place.
    pub second: u64,
    /// Tree size.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// The earliest one of a tree of `size` or larger.
pub(super) fn earliest(store: &Rocks, number: LogNumber, size: u64) -> Result<Option<Kept>, Error> {
    let (mut from, mut to) = (0, u64::MAX);
    // In a year there are up to 31,536,000: halve the seconds, from a place that holds one.
    let Some((newest, _)) = at_or_before(store, number, to)? else { return Ok(None) };
    to = to.min(newest);
    let mut found = None;
    while from <= to {
        let middle = from + (to - from) / 2;
        let Some((second, note)) = at_or_after(store, number, middle)? else { break };
        let of = size_of(&note);
        if of >= size {
            found = Some(Kept { second, size: of, note });
            let Some(before) = middle.checked_sub(1) else { break };
            to = before;
        } else {
            from = second + 1;
        }
    }
    Ok(found)
}

fn size_of(note: &str) -> u64 {
    let text = note.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    Checkpoint::parse(&text).map_or(0, |checkpoint| checkpoint.size)
}

/// The key's second, if it is one of this log.
fn second(number: LogNumber, key: &[u8]) -> Option<u64> {
    let second = key.strip_prefix(&number.0.to_be_bytes()[..])?;
    second.try_into().ok().map(u64::from_be_bytes)
}

fn at_or_after(
    store: &Rocks,
    number: LogNumber,
    from: u64,
) -> Result<Option<(u64, String)>, Error> {
    let mut found = None;
    store.scan(Family::Checkpoints, &number.numbered(from), |key, value| {
        let text = || String::from_utf8_lossy(value).into_owned();
        found = second(number, key).map(|second| (second, text()));
        false
    })?;
    Ok(found)
}

fn at_or_before(store: &Rocks, number: LogNumber, to: u64) -> Result<Option<(u64, String)>, Error> {
    let mut found = None;
    store.scan_down(Family::Checkpoints, &number.numbered(to), |key, value| {
        let text = || String::from_utf8_lossy(value).into_owned();
        found = second(number, key).map(|second| (second, text()));
        false
    })?;
    Ok(found)
}
