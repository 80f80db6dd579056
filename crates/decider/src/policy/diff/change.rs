//! A change, and what it does.

use crate::policy::clause::{Clause, Then};

/// What a change does to what agents may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consequence {
    /// Something is allowed, or asked for, that was not.
    More,
    /// It can't be said from the change alone: read it.
    Unclear,
    /// Something is no longer allowed.
    Less,
}

impl Consequence {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::More => "more is allowed",
            Self::Unclear => "read it",
            Self::Less => "less is allowed",
        }
    }

    /// Of a clause that is for more calls than before. A clause that asks people may ask about what was denied, or
    /// about what was allowed.
    pub(super) fn of_wider(then: Then) -> Self {
        match then {
            Then::Allow => Self::More,
            Then::ApprovalNeeded => Self::Unclear,
            Then::Deny | Then::Sanitize => Self::Less,
        }
    }

    pub(super) fn opposite(self) -> Self {
        match self {
            Self::More => Self::Less,
            Self::Less => Self::More,
            Self::Unclear => Self::Unclear,
        }
    }
}

/// For whom a change has its consequence. In this order reviewers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// The clause is in force for everybody, or it is no clause.
    All,
    /// The clause is in force in steps: for a share of the agents, or later.
    Steps,
    /// The clause was in shadow, and is gone.
    Gone,
    /// The clause is in shadow.
    Nobody,
}

impl Reach {
    pub(super) fn of(clause: &Clause) -> Self {
        match (clause.is_shadow(), clause.has_shadow()) {
            (true, _) => Self::Nobody,
            (false, true) => Self::Steps,
            (false, false) => Self::All,
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it does, or would do if the clause were in force.
    pub(super) consequence: Consequence,
    pub(super) reach: Reach,
    /// The clause, agent, tool or list.
    pub what: String,
    /// The change.
    pub text: String,
}

impl Change {
    /// What it does. `None`: nothing, because the clause is in shadow.
    pub fn consequence(&self) -> Option<Consequence> {
        matches!(self.reach, Reach::All | Reach::Steps).then_some(self.consequence)
    }

    /// What it does, in words.
    pub const fn says(&self) -> &'static str {
        match (self.reach, self.consequence) {
            (Reach::All, consequence) => consequence.as_str(),
            (Reach::Steps, Consequence::More) => {
                "more is allowed, for agents for whom it is in force"
            }
            (Reach::Steps, Consequence::Less) => {
                "less is allowed, for agents for whom it is in force"
            }
            (Reach::Steps, Consequence::Unclear) => {
                "read it; it counts for agents for whom it is in force"
            }
            (Reach::Gone, _) => "nothing changes: it was in shadow",
            (Reach::Nobody, Consequence::More) => {
                "nothing changes while it is in shadow; in force, it would allow more"
            }
            (Reach::Nobody, Consequence::Less) => {
                "nothing changes while it is in shadow; in force, it would allow less"
            }
            (Reach::Nobody, Consequence::Unclear) => {
                "nothing changes while it is in shadow; read what it would do in force"
            }
        }
    }
}
