//! Which entries of a log belong to a period, so that nobody can trim it: a contiguous range of leaf indexes whose ends
//! are proven by the entries beside them.
//!
//! Times are those of the journal. They run backwards only at `clock` entries, all of which are on the chain
//! `prior.system`. So the log falls into *stretches* in which time only grows, and a few entries show where the period
//! begins and ends.

use super::{Error, part::Part, places::Places};
use crate::{
    entry::{Kind, View},
    ident::Ident,
    json::Value,
    time::Nanos,
};
use std::collections::{BTreeMap, BTreeSet};

/// From a moment, included, to another one, not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub from: Nanos,
    /// The first moment after it.
    pub to: Nanos,
}

impl Period {
    /// True if a moment is in it.
    pub fn holds(&self, at: Nanos) -> bool {
        self.from <= at && at < self.to
    }
}

/// The leaf indexes of a period. Where clocks were reset, it may hold entries of other times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first entry at or after the period's first moment.
    pub begin: u64,
    /// One more than the last entry before the period's end.
    pub end: u64,
}

/// Every system entry of a log, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Their leaf indexes.
    pub entries: Vec<u64>,
    /// Where time was reset.
    clocks: Vec<u64>,
    /// Entries before this leaf index were pruned.
    pruned: u64,
}

impl Chain {
    /// Walks from the last leaf back to the genesis along `prior.system`.
    pub fn walk<R: Fn(&str) -> Option<Vec<u8>>>(part: &Part<R>) -> Result<Self, Error> {
        let mut chain = Self::default();
        let Some(last) = part.signed().size.checked_sub(1) else { return Ok(chain) };
        let mut at = last;
        loop {
            let before = part.with(at, |view| chain.take(at, view, last))?;
            match before {
                Some(before) => at = before,
                None => break,
            }
        }
        chain.entries.reverse();
        chain.clocks.reverse();
        Ok(chain)
    }

    fn take(&mut self, at: u64, view: &View<'_>, last: u64) -> Result<Option<u64>, &'static str> {
        if view.kind.is_system() {
            self.entries.push(at);
        } else if at != last {
            return Err("an entry names it as the last system entry before, and it is none");
        }
        if view.kind == Kind::Clock {
            self.clocks.push(at);
        }
        if view.kind == Kind::Prune {
            self.pruned = self.pruned.max(number(view, &["event", "size"]).unwrap_or(0));
        }
        match view.prior.system {
            Some(before) if before < at => Ok(Some(before)),
            None if at == 0 && view.kind == Kind::Genesis => Ok(None),
            _ => Err("its chain of system entries does not lead to the genesis"),
        }
    }

    /// Where to search in a stretch for the first entry at `moment` or later: behind what was pruned, if that is earlier. The
    /// last pruned entry stays, so its time is known.
    fn skips<R: Fn(&str) -> Option<Vec<u8>>>(
        &self,
        part: &Part<R>,
        (begin, end): (u64, u64),
        moment: Nanos,
    ) -> Result<u64, Error> {
        let inside = begin < self.pruned && self.pruned < end;
        let skips = inside && time(part, self.pruned - 1)? < moment;
        Ok(if skips { self.pruned } else { begin })
    }

    /// The first leaf index of each stretch in which time only grows, and one more than its last.
    fn stretches(&self, size: u64) -> Vec<(u64, u64)> {
        let begins = std::iter::once(0).chain(self.clocks.iter().copied().filter(|at| *at > 0));
        let ends = self.clocks.iter().copied().filter(|at| *at > 0).chain([size]);
        begins.zip(ends).collect()
    }
}

/// Finds the entries of a period. This reads entries that are not part of the result.
pub fn find<R: Fn(&str) -> Option<Vec<u8>>>(
    part: &Part<R>,
    chain: &Chain,
    period: Period,
) -> Result<Range, Error> {
    let stretches = chain.stretches(part.signed().size);
    let mut range = Range { begin: part.signed().size, end: 0 };
    for (begin, end) in stretches.iter().copied().filter(|(begin, end)| begin < end) {
        if time(part, end - 1)? >= period.from {
            let begin = chain.skips(part, (begin, end), period.from)?;
            range.begin = first(begin, end, |at| Ok(time(part, at)? >= period.from))?;
            break;
        }
    }
    for (begin, end) in stretches.into_iter().rev().filter(|(begin, end)| begin < end) {
        if time(part, begin)? < period.to {
            let begin = chain.skips(part, (begin, end), period.to)?;
            range.end = first(begin, end, |at| Ok(time(part, at)? >= period.to))?;
            break;
        }
    }
    Ok(range)
}

/// Checks that these are all entries of a period: no entry before the range is in it, and none after.
///
/// Returns true if an entry after the range shows that the period is over. Otherwise more may come.
pub fn check<R: Fn(&str) -> Option<Vec<u8>>>(
    part: &Part<R>,
    chain: &Chain,
    period: Period,
    range: Range,
) -> Result<bool, Error> {
    let size = part.signed().size;
    let wrong = |at: u64, what| Error::export(format!("entry {at}"), what);
    if range.begin > range.end || range.end > size {
        return Err(wrong(range.begin, "the range of the period is not one of this log"));
    }
    for (begin, end) in chain.stretches(size) {
        // The latest entry of this stretch before the range.
        if let Some(before) = end.min(range.begin).checked_sub(1).filter(|at| *at >= begin)
            && time(part, before)? >= period.from
        {
            return Err(wrong(before, "it is in the period, and the evidence begins after it"));
        }
        // The earliest entry of this stretch after the range.
        let after = begin.max(range.end);
        if after < end && time(part, after)? < period.to {
            return Err(wrong(after, "it is in the period, and the evidence ends before it"));
        }
    }
    Ok(range.end < size)
}

/// The messages, before the range, of the approvals that have a message in it: leaf indexes, oldest first.
pub fn earlier_messages<R: Fn(&str) -> Option<Vec<u8>>>(
    part: &Part<R>,
    range: Range,
) -> Result<Vec<u64>, Error> {
    let Some(last) = range.end.checked_sub(1) else { return Ok(Vec::new()) };
    let mut unfinished: BTreeMap<Ident, bool> = BTreeMap::new();
    let (mut earlier, mut at) = (Vec::new(), Some(last));
    while let Some(index) = at {
        if index < range.begin && !unfinished.values().any(|open| *open) {
            break;
        }
        at = part.with(index, |view| {
            let before = view.prior.approval;
            if view.kind == Kind::Approval {
                let (id, n) = message(view).ok_or("not a message of an approval")?;
                let known = unfinished.get(&id).copied();
                if index >= range.begin || known == Some(true) {
                    if index < range.begin {
                        earlier.push(index);
                    }
                    unfinished.insert(id, n > 1);
                }
            } else if index != last {
                return Err("an entry names it as the last approval entry before, and it is none");
            }
            match before {
                Some(before) if before >= index => Err("its chain of approvals runs forwards"),
                before => Ok(before),
            }
        })?;
    }
    earlier.reverse();
    Ok(earlier)
}

/// The messages of one approval before the range, oldest first. `opening`: leaf index of its decision, before which it has
/// none.
pub fn messages_before<R: Fn(&str) -> Option<Vec<u8>>>(
    part: &Part<R>,
    range: Range,
    (approval, opening): (&Ident, u64),
) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    let mut at = part.with(range.begin, |view| Ok(view.prior.approval))?;
    while let Some(index) = at.filter(|index| *index > opening) {
        let (told, before) = part.with(index, |view| {
            let told = message(view).filter(|_| view.kind == Kind::Approval);
            let told = told.ok_or("an entry names it as an approval entry, and it is none")?;
            let before = view.prior.approval.filter(|before| *before < index);
            Ok((told, before))
        })?;
        at = before;
        if told.0 == *approval {
            found.push(index);
            if told.1 == 1 {
                break;
            }
        }
    }
    found.reverse();
    Ok(found)
}

fn message(view: &View<'_>) -> Option<(Ident, u64)> {
    let id = Ident::new(view.text(&["event", "approval_id"])?).ok()?;
    Some((id, view.at(&["event", "n"])?.as_u64()?))
}

fn time<R: Fn(&str) -> Option<Vec<u8>>>(part: &Part<R>, at: u64) -> Result<Nanos, Error> {
    part.with(at, |view| Ok(view.origin.time))
}

/// The first place between `begin` and `end` at which something is true, if it is true from there on.
fn first(
    mut begin: u64,
    mut end: u64,
    mut is: impl FnMut(u64) -> Result<bool, Error>,
) -> Result<u64, Error> {
    while begin < end {
        let middle = begin + (end - begin) / 2;
        if is(middle)? { end = middle } else { begin = middle + 1 }
    }
    Ok(begin)
}

/// Follows the chains of `prior` through a range, and refuses an entry that names others, whose time runs
/// backwards, or whose place in the journal is taken.
#[derive(Clone, Debug)]
pub struct Follow {
    /// `journal.time` so far.
    time: Nanos,
    /// Last approval and system entries so far. `None` before the first entry, which is believed.
    prior: Option<crate::entry::Prior>,
    places: Places,
    /// System entries of the range, which the chain must name.
    expected: BTreeSet<u64>,
}

impl Follow {
    /// To follow a range of a log with this chain.
    pub fn new(chain: &Chain, range: Range) -> Self {
        let within = |at: &u64| (range.begin..range.end).contains(at);
        let expected = chain.entries.iter().copied().filter(within).collect();
        Self { time: Nanos(0), prior: None, places: Places::default(), expected }
    }

    /// Takes the entry before the range, if there is one: the first one of the range must follow it.
    pub fn before(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        self.time = view.origin.time;
        self.places.take(view)?;
        self.note(index, view);
        Ok(())
    }

    fn note(&mut self, index: u64, view: &View<'_>) {
        let mut prior = view.prior;
        prior.note(view.kind, index);
        self.prior = Some(prior);
    }

    /// Takes the next entry of the range.
    pub fn take(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        if view.origin.time < self.time && view.kind != Kind::Clock {
            return Err("its journal time runs backwards");
        }
        self.time = view.origin.time;
        if self.prior.is_some_and(|prior| prior != view.prior) {
            return Err("its `prior` does not name the last approval and system entries before it");
        }
        if view.kind.is_system() != self.expected.contains(&index) {
            return Err("the chain of system entries does not hold what it must");
        }
        self.places.take(view)?;
        self.note(index, view);
        Ok(())
    }
}

/// A whole number at a path of names.
pub fn number(view: &View<'_>, path: &[&str]) -> Option<u64> {
    view.at(path).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests;
