//! Compares single proven entries with each other: they must fit into one log.

use super::{Erased, Error, Trusted};
use crate::{
    entry::{Kind, Origin, Prior, View},
    json::Value,
    post::event_key,
};
use std::collections::BTreeMap;

/// Entries that receipts have proven, by index.
#[derive(Debug, Default)]
pub struct Entries {
    seen: BTreeMap<u64, Seen>,
    erased: Erased,
}

/// The parts of an entry that others can contradict.
#[derive(Debug)]
struct Seen {
    place: String,
    kind: Kind,
    origin: Origin,
    /// The first sequence of the journal epoch that it opens.
    from: Option<u64>,
    prior: Prior,
    /// The key of a decision or event.
    event: Option<[u8; 32]>,
    /// Id and number of an approval's message.
    message: Option<(String, u64)>,
    handover: Option<Handover>,
    is_beside: bool,
}

/// A log key that takes over.
#[derive(Debug)]
struct Handover {
    first_size: u64,
    old_last: u64,
}

impl Seen {
    fn read(place: &str, view: &View<'_>) -> Self {
        let text = |path: &[&str]| view.text(path).unwrap_or_default();
        let number = |name| view.at(&["event", name]).and_then(Value::as_u64);
        let is_event = matches!(view.kind, Kind::Decision | Kind::Event);
        let approval = view.text(&["event", "approval_id"]).filter(|_| view.kind == Kind::Approval);
        let is_handover = view.kind == Kind::Key && text(&["event", "use"]) == "log";
        let handover = number("first_size").zip(number("old_last_size")).filter(|_| is_handover);
        Self {
            place: place.to_owned(),
            kind: view.kind,
            origin: view.origin,
            from: number("from").filter(|_| view.kind == Kind::Journal),
            prior: view.prior,
            event: is_event.then(|| event_key(view.scope())),
            message: approval.map(str::to_owned).zip(number("n")),
            handover: handover.map(|(first_size, old_last)| Handover { first_size, old_last }),
            is_beside: view.is_beside(),
        }
    }

    fn place_in_journal(&self) -> (u64, u64) {
        // The message that opens an epoch comes, in the new journal, after earlier messages of it.
        (self.origin.epoch, self.from.map_or(self.origin.seq, |from| from.saturating_sub(1)))
    }

    /// True if time may have restarted after the entry at `last`: here, or at a system entry in between that
    /// was not given.
    fn may_be_anew(&self, last: u64) -> bool {
        self.kind == Kind::Clock || self.prior.system > Some(last)
    }
}

impl Entries {
    /// Takes an entry that a receipt proves. The same index again adds nothing: [`super::claim`] checks that
    /// both are the same.
    pub fn take(&mut self, place: &str, index: u64, entry: &[u8]) -> Result<(), Error> {
        let Some(view) = View::parse(entry) else { return Ok(()) };
        if view.kind == Kind::Erasure {
            self.erased.take(index, &view).map_err(|what| Error::export(place, what))?;
        }
        if matches!(view.kind, Kind::Retention | Kind::Prune) {
            self.erased.expire(&view);
        }
        self.seen.entry(index).or_insert_with(|| Seen::read(place, &view));
        Ok(())
    }

    /// What was erased, as far as these entries say.
    pub fn erased(&self) -> &Erased {
        &self.erased
    }

    /// The messages of an approval: leaf index, number, and the file in which they were found.
    pub fn messages(&self, id: &str) -> impl Iterator<Item = (u64, u64, &str)> {
        self.seen.iter().filter_map(move |(index, seen)| {
            let (of, n) = seen.message.as_ref()?;
            (of == id).then_some((*index, *n, seen.place.as_str()))
        })
    }

    /// If these entries retire the last of `keys`, whose first size is known: the file that says so, and the
    /// keys with that end.
    pub fn retired(&self, keys: &[Trusted]) -> Option<(&str, Vec<Trusted>)> {
        let last = keys.last().filter(|last| last.first_size > 0)?;
        let (seen, handover) = self
            .seen
            .values()
            .filter_map(|seen| Some((seen, seen.handover.as_ref()?)))
            .find(|(_, handover)| handover.first_size > last.first_size)?;
        let mut keys = keys.to_vec();
        keys.last_mut()?.last_size = Some(handover.old_last);
        Some((&seen.place, keys))
    }

    /// Compares every two neighbours, and whatever a log can hold only once.
    pub fn finish(&self) -> Result<(), Error> {
        let conflict = |one: &Seen, other: &Seen, what: String| {
            Err(Error::Conflict { one: one.place.clone(), other: other.place.clone(), what })
        };
        let mut before: Option<(u64, &Seen)> = None;
        // The last approval and the last system entry given: no later entry may have an earlier `prior`.
        let mut last_seen = Prior::default();
        let mut events = BTreeMap::new();
        let mut messages = BTreeMap::new();
        for (index, seen) in &self.seen {
            if let Some((last_index, last)) = before {
                let (at, last_at) = (seen.place_in_journal(), last.place_in_journal());
                if at < last_at
                    || seen.origin.time < last.origin.time && !seen.may_be_anew(last_index)
                {
                    let what = format!(
                        "entry {index} comes after entry {last_index} in the log, and before it in the journal"
                    );
                    return conflict(last, seen, what);
                }
                if at == last_at && !seen.is_beside && !last.is_beside {
                    let what =
                        format!("entries {last_index} and {index} are one message of the journal");
                    return conflict(last, seen, what);
                }
            }
            for (said, known, sort) in [
                (seen.prior.approval, last_seen.approval, "approval"),
                (seen.prior.system, last_seen.system, "system"),
            ] {
                if let Some(known) = known.filter(|known| said < Some(*known)) {
                    let what = format!(
                        "entry {index} says by `prior` that entry {known} is no {sort} entry, or not there"
                    );
                    return conflict(&self.seen[&known], seen, what);
                }
            }
            last_seen.note(seen.kind, *index);
            before = Some((*index, seen));
            if let Some((first, other)) =
                seen.event.and_then(|key| events.insert(key, (index, seen)))
            {
                let what = format!(
                    "entries {first} and {index} are of one producer, source and id: the event was posted twice"
                );
                return conflict(other, seen, what);
            }
            let message = seen.message.as_ref().and_then(|key| messages.insert(key, (index, seen)));
            if let (Some((first, other)), Some((id, n))) = (message, &seen.message) {
                let what =
                    format!("entries {first} and {index} are both message {n} of approval {id}");
                return conflict(other, seen, what);
            }
        }
        Ok(())
    }
}
