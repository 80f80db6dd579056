//! An entry: the bytes of one leaf (`proto/formats/entry.md`). Hashed, stored and served exactly as written here.

mod draft;
mod own;
mod payload;

pub use draft::Draft;
pub use own::Own;
pub use payload::Payload;

use crate::{
    canonical,
    disclosure::Scope,
    event::EXECUTION,
    json::{self, Value},
    time::Nanos,
};
use serde::{Deserialize, Serialize};

/// Version of the entry format, member `v`.
pub const VERSION: u32 = 1;

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Leaf 0.
    Genesis,
    /// A decision event.
    Decision,
    /// Any other event a producer published.
    Event,
    /// Approval and token events.
    Approval,
    /// Erasable evidence about an approval or an administrative act.
    Evidence,
    /// A message that was not accepted.
    Rejected,
    /// Another body under a key that is taken.
    DuplicateConflict,
    /// Numbers of a source did not come.
    GapOpened,
    /// A missing number arrived.
    GapClosed,
    /// Messages of the journal itself are gone.
    JournalGap,
    /// Payload was erased.
    Erasure,
    /// An API key was added or removed.
    Access,
    /// A signing key took over.
    Key,
    /// Rules took effect.
    Rules,
    /// A new journal epoch began.
    Journal,
    /// Time was restarted.
    Clock,
    /// Old journal messages are removed.
    Trim,
    /// A server signs the log from here on.
    Signer,
    /// A part of a policy bundle, a bundle, a version of a list, or what puts one of them in force.
    Policy,
    /// The sources that must report were declared.
    Sources,
    /// For how long payload is kept, a legal hold, or what expired.
    Retention,
    /// Other replicas cosign the log from here on.
    Members,
    /// A sink says how far it has delivered.
    Delivery,
    /// Something is frozen, or a freeze is lifted.
    Freeze,
    /// A token of an agent is issued or revoked.
    Agent,
    /// A decision that needs approval opened none.
    NotOpened,
    /// A decision of ours that does not stand at its place, and was told to nobody.
    Void,
    /// Entries before a size, which are in an export, are removed.
    Prune,
    /// Something was found that people shall see, or somebody closed that.
    Alert,
    /// People collect what belongs together, and note what they did.
    Incident,
    /// A budget reached the sum at which people are warned.
    BudgetWarned,
    /// A call did not fit into a budget.
    BudgetExceeded,
}

impl Kind {
    /// Every kind with its name in entries.
    pub const ALL: [(Self, &'static str); 32] = [
        (Self::Genesis, "genesis"),
        (Self::Decision, "decision"),
        (Self::Event, "event"),
        (Self::Approval, "approval"),
        (Self::Evidence, "evidence"),
        (Self::Rejected, "rejected"),
        (Self::DuplicateConflict, "duplicate_conflict"),
        (Self::GapOpened, "gap_opened"),
        (Self::GapClosed, "gap_closed"),
        (Self::JournalGap, "journal_gap"),
        (Self::Erasure, "erasure"),
        (Self::Access, "access"),
        (Self::Key, "key"),
        (Self::Rules, "rules"),
        (Self::Journal, "journal"),
        (Self::Clock, "clock"),
        (Self::Trim, "trim"),
        (Self::Signer, "signer"),
        (Self::Policy, "policy"),
        (Self::Void, "void"),
        (Self::Sources, "sources"),
        (Self::Retention, "retention"),
        (Self::Members, "members"),
        (Self::Freeze, "freeze"),
        (Self::Agent, "agent"),
        (Self::Prune, "prune"),
        (Self::Delivery, "delivery"),
        (Self::Alert, "alert"),
        (Self::Incident, "incident"),
        (Self::NotOpened, "not_opened"),
        (Self::BudgetWarned, "budget_warned"),
        (Self::BudgetExceeded, "budget_exceeded"),
    ];

    /// Its name in entries.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(kind, _)| *kind)
    }

    /// True if entries of this kind have payload, which can be erased.
    pub fn is_erasable(self) -> bool {
        matches!(
            self,
            Self::Decision
                | Self::Event
                | Self::Evidence
                | Self::Rejected
                | Self::DuplicateConflict
                | Self::Void
        )
    }

    /// True if it is on the chain `prior.system`: it decides how later messages are posted or judged.
    pub fn is_system(self) -> bool {
        match self {
            Self::Genesis
            | Self::JournalGap
            | Self::Erasure
            | Self::Access
            | Self::Key
            | Self::Rules
            | Self::Journal
            | Self::Clock
            | Self::Trim
            | Self::Signer
            | Self::Policy
            | Self::Sources
            | Self::Retention
            | Self::Members
            | Self::Prune
            | Self::Delivery
            | Self::Alert
            | Self::Incident
            | Self::Freeze
            | Self::Agent => true,
            Self::Decision
            | Self::Event
            | Self::Approval
            | Self::Evidence
            | Self::Rejected
            | Self::DuplicateConflict
            | Self::GapOpened
            | Self::GapClosed
            | Self::Void
            | Self::BudgetWarned
            | Self::BudgetExceeded
            | Self::NotOpened => false,
        }
    }
}

/// The last entries of two sorts before an entry (member `prior`). Walking back from the last leaf proves, without the
/// whole log, that there is no later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    /// Leaf index of the last `approval` entry. Absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u64>,
    /// Leaf index of the last entry whose kind [is a system one](Kind::is_system). Absent in the genesis only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<u64>,
}

impl Prior {
    /// Updates it after the entry at `index`, for the next one.
    pub fn note(&mut self, kind: Kind, index: u64) {
        if kind == Kind::Approval {
            self.approval = Some(index);
        } else if kind.is_system() {
            self.system = Some(index);
        }
    }
}

/// A remark on the number of an event (`sequence` member).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceNote {
    /// The number was seen before.
    Reused,
    /// The number is before the first one seen.
    BelowBase,
}

/// Place of an entry in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Journal epoch, 1 or later.
    pub epoch: u64,
    /// Journal sequence of the message.
    pub seq: u64,
    /// Time of the message. Not before the previous entry's, except in a `clock` entry.
    pub time: Nanos,
}

/// An entry, read from its bytes.
#[derive(Clone, Debug)]
pub struct View<'a> {
    value: Value<'a>,
    /// What it records.
    pub kind: Kind,
    /// Its place in the journal.
    pub origin: Origin,
    /// The last approval and system entries before it.
    pub prior: Prior,
}

impl<'a> View<'a> {
    /// Reads an entry. `None` if [`Draft::finish`] would not write these bytes.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::of(json::parse_kept(bytes).ok()?)
    }

    /// Producer, source and id of the event that it records; empty where it has none.
    pub fn scope(&self) -> Scope<'_> {
        let text = |path: &[&str]| self.text(path).unwrap_or_default();
        let (source, id) = (text(&["event", "source"]), text(&["event", "id"]));
        let ours = self.is_ours() || self.is_result();
        Scope { producer: text(&["producer"]), source, id, ours }
    }

    /// True if it stands beside the entry of its message: about a number that is missing, what a redemption put in
    /// force, what the clause of a decision froze, or a bound of a budget.
    pub fn is_beside(&self) -> bool {
        match self.kind {
            Kind::JournalGap
            | Kind::GapOpened
            | Kind::GapClosed
            | Kind::BudgetWarned
            | Kind::BudgetExceeded => true,
            Kind::Policy => matches!(self.text(&["event", "op"]), Some("activate" | "change")),
            Kind::Freeze => self.at(&["event", "decision"]).is_some(),
            _ => false,
        }
    }

    /// True if it records a decision of ours. Only in these is `data.as_of` plain.
    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Decision && self.at(&["event", "data", "as_of"]).is_some()
    }

    /// True if it records our verdict about what a call gave. Only in these executions is `data.as_of` plain.
    pub fn is_result(&self) -> bool {
        self.kind == Kind::Event
            && self.text(&["event", "type"]) == Some(EXECUTION)
            && self.at(&["event", "data", "as_of"]).is_some()
    }

    /// The decision whose result it judges: leaf index, and the leaf hash that it names. `None` if it judges none.
    pub fn result_of(&self) -> Option<(u64, String)> {
        let decision = self.at(&["event", "data", "decision"]).filter(|_| self.is_result())?;
        Some((decision.get("index")?.as_u64()?, decision.get("leaf_hash")?.as_str()?.to_owned()))
    }

    /// Reads an entry from its parsed value.
    pub fn of(value: Value<'a>) -> Option<Self> {
        let kind = Kind::parse(value.get("kind")?.as_str()?)?;
        let journal = value.get("journal")?;
        let origin = Origin {
            epoch: journal.get("epoch")?.as_u64()?,
            seq: journal.get("seq")?.as_u64()?,
            time: Nanos::parse(journal.get("time")?.as_str()?)?,
        };
        let prior = value.get("prior")?;
        let before = |name| match prior.get(name) {
            Some(index) => index.as_u64().map(Some),
            None => Some(None),
        };
        let prior = Prior { approval: before("approval")?, system: before("system")? };
        (value.get("v")?.as_u64()? == u64::from(VERSION)).then_some(Self {
            value,
            kind,
            origin,
            prior,
        })
    }

    /// The member at a path of names, e.g. `["event", "source"]`.
    pub fn at(&self, path: &[&str]) -> Option<&Value<'a>> {
        path.iter().try_fold(&self.value, |value, name| value.get(name))
    }

    /// The text at a path of names.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// The digests of the payload.
    pub fn payload(&self) -> impl Iterator<Item = &str> {
        let digests = self.value.get("payload").and_then(Value::as_array).unwrap_or(&[]);
        digests.iter().filter_map(Value::as_str)
    }

    /// The member `event` as one of our own types.
    pub fn event_as<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&canonical::to_vec(self.value.get("event")?)).ok()
    }
}

/// True if it is evidence about an administrative act, not about an approval.
pub fn is_reason(view: &View<'_>) -> bool {
    view.kind == Kind::Evidence && matches!(view.at(&["event", "approval_id"]), Some(Value::Null))
}

#[cfg(test)]
mod tests;
