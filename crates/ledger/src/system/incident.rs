//! `system.incident`: people collect alerts, freezes, other entries and notes under one name (`proto/formats/incidents.md`).
//!
//! In scope: the form of the messages, and which incidents are open. Out of scope: who may write them, and the export.

use super::{By, Reason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most incidents that are open at once.
pub const OPEN_MAX: usize = 64;
/// Most messages of one incident.
pub const MESSAGES_MAX: u32 = 256;
/// Most entries that one message names.
pub const NAMED_MAX: usize = 64;
/// Most entries that the messages of one incident name together.
pub const NAMED_ALL_MAX: u32 = 256;

/// The body of a message on `system.incident`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum IncidentBody {
    /// An incident begins. The leaf index of its entry names it.
    Open(Open),
    /// Entries and words are added to it.
    Note(Note),
    /// It is over.
    Close(CloseIncident),
}

/// An incident begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Version of this form: 1.
    pub v: u32,
    /// Leaf indexes of what belongs to it, in order.
    pub entries: Vec<u64>,
    /// Who did it.
    pub by: By,
    /// Evidence that says what it is about.
    pub reason: Reason,
}

/// Entries and words are added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Leaf index of the entry that opened it.
    pub incident: u64,
    /// Its number among the messages of the incident. The one that opens it is 1.
    pub n: u32,
    /// Leaf indexes of what else belongs to it, in order.
    pub entries: Vec<u64>,
    /// Who did it.
    pub by: By,
    /// Evidence that has the words.
    pub reason: Reason,
}

/// An incident is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseIncident {
    /// Leaf index of the entry that opened it.
    pub incident: u64,
    /// Its number among the messages of the incident.
    pub n: u32,
    /// Who did it.
    pub by: By,
    /// Evidence that says why.
    pub reason: Reason,
}

impl IncidentBody {
    /// The incident whose entry is at `index`, and the number of this message in it.
    pub fn place(&self, index: u64) -> (u64, u32) {
        match self {
            Self::Open(_) => (index, 1),
            Self::Note(note) => (note.incident, note.n),
            Self::Close(close) => (close.incident, close.n),
        }
    }

    /// What it adds.
    pub fn entries(&self) -> &[u64] {
        match self {
            Self::Open(open) => &open.entries,
            Self::Note(note) => &note.entries,
            Self::Close(_) => &[],
        }
    }

    /// Who did it.
    pub fn by(&self) -> &By {
        match self {
            Self::Open(Open { by, .. })
            | Self::Note(Note { by, .. })
            | Self::Close(CloseIncident { by, .. }) => by,
        }
    }

    /// The evidence that has the words.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Open(Open { reason, .. })
            | Self::Note(Note { reason, .. })
            | Self::Close(CloseIncident { reason, .. }) => reason,
        }
    }
}

/// An incident that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Number of its messages.
    pub messages: u32,
    /// How many entries they name.
    pub named: u32,
}

/// What of incidents follows from the entries so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incidents {
    /// Number of incidents that were opened.
    pub opened: u64,
    /// The open ones, by the leaf index of their first entry: at most [`OPEN_MAX`].
    pub open: BTreeMap<u64, Standing>,
}

impl Incidents {
    /// Takes the `event` of the entry at `index`. Says what is wrong with one that does not fit; then nothing changes.
    pub fn take(&mut self, index: u64, body: &IncidentBody) -> Result<(), &'static str> {
        let entries = body.entries();
        if matches!(body.by(), By::Server { .. }) || body.reason().index >= index {
            return Err("somebody does it, and says why before");
        }
        if entries.len() > NAMED_MAX
            || !entries.is_sorted_by(|a, b| a < b)
            || entries.last().is_some_and(|last| *last >= index)
        {
            return Err(
                "the entries that belong to it are not in order, or too many, or come later",
            );
        }
        let ((incident, n), named) =
            (body.place(index), u32::try_from(entries.len()).unwrap_or(u32::MAX));
        if let IncidentBody::Open(open) = body {
            if open.v != 1 || self.open.len() >= OPEN_MAX {
                return Err("v is 1, and too many incidents are open");
            }
            self.open.insert(index, Standing { messages: 1, named });
            self.opened += 1;
            return Ok(());
        }
        let standing = self.open.get_mut(&incident).ok_or("no such incident is open")?;
        if n != standing.messages + 1 {
            return Err("not the next message of this incident");
        }
        if matches!(body, IncidentBody::Close(_)) {
            self.open.remove(&incident);
        } else if n >= MESSAGES_MAX || standing.named + named > NAMED_ALL_MAX {
            return Err("too many messages or entries in one incident");
        } else {
            *standing = Standing { messages: n, named: standing.named + named };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::merkle::Hash,
        system::{Duty, KeyId},
    };

    fn by() -> By {
        By::Operator { operator: KeyId::new("0123456789abcdef").unwrap() }
    }

    fn reason(index: u64) -> Reason {
        Reason { index, leaf_hash: Hash([0; 32]) }
    }

    fn open(entries: &[u64]) -> IncidentBody {
        let entries = entries.to_vec();
        IncidentBody::Open(Open { v: 1, entries, by: by(), reason: reason(8) })
    }

    fn note(incident: u64, n: u32, entries: &[u64]) -> IncidentBody {
        let entries = entries.to_vec();
        IncidentBody::Note(Note { incident, n, entries, by: by(), reason: reason(8) })
    }

    fn close(incident: u64, n: u32) -> IncidentBody {
        IncidentBody::Close(CloseIncident { incident, n, by: by(), reason: reason(8) })
    }

    fn check(bodies: impl IntoIterator<Item = IncidentBody>, fits: bool) -> Incidents {
        let (mut incidents, mut bodies) = (Incidents::default(), bodies.into_iter().peekable());
        let mut index = 9;
        while let Some(body) = bodies.next() {
            let before = incidents.clone();
            let took = incidents.take(index, &body);
            let wanted = fits || bodies.peek().is_some();
            assert_eq!(took.is_ok(), wanted, "{body:?} {took:?}");
            assert_eq!(before == incidents, !wanted);
            index += 1;
        }
        incidents
    }

    #[test]
    fn p19_an_incident_is_opened_noted_and_closed_once() {
        let done = check([open(&[1, 2]), note(9, 2, &[3]), close(9, 3)], true);
        assert_eq!((done.opened, done.open.len()), (1, 0));
        check([note(9, 2, &[])], false);
        check([open(&[]), close(9, 2), close(9, 3)], false);
        check([open(&[]), close(9, 2), note(9, 3, &[])], false);
        check([open(&[]), note(9, 3, &[])], false);
        check([open(&[]), note(9, 2, &[]), note(9, 2, &[])], false);
        check([open(&[]), close(8, 2)], false);
    }

    #[test]
    fn p19_what_belongs_to_an_incident_is_bounded_and_in_order() {
        check([open(&[2, 1])], false);
        check([open(&[1, 1])], false);
        check([open(&[9])], false);
        check([open(&(0..65).collect::<Vec<u64>>())], false);
        let quarter: Vec<u64> = (0..4).collect();
        let many = |n: u32| (0..n).map(|n| note(9, n + 2, &quarter));
        check([open(&[])].into_iter().chain(many(64)), true);
        check([open(&[])].into_iter().chain(many(65)), false);
        let notes = |n: u32| (2..=n).map(|n| note(9, n, &[]));
        check([open(&[])].into_iter().chain(notes(MESSAGES_MAX - 1)), true);
        check([open(&[])].into_iter().chain(notes(MESSAGES_MAX)), false);
        let closed = notes(MESSAGES_MAX - 1).chain([close(9, MESSAGES_MAX)]);
        check([open(&[])].into_iter().chain(closed), true);
        check((0..OPEN_MAX).map(|_| open(&[])), true);
        check((0..=OPEN_MAX).map(|_| open(&[])), false);
    }

    #[test]
    fn p19_somebody_does_it_and_said_why_before() {
        let by_server = By::Server { server: Duty::Watching };
        check(
            [IncidentBody::Open(Open { v: 1, entries: vec![], by: by_server, reason: reason(8) })],
            false,
        );
        check(
            [IncidentBody::Open(Open { v: 1, entries: vec![], by: by(), reason: reason(9) })],
            false,
        );
        check(
            [IncidentBody::Open(Open { v: 2, entries: vec![], by: by(), reason: reason(8) })],
            false,
        );
    }
}
