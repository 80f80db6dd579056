//! Why people deny: a closed list of codes.

use serde::{Deserialize, Serialize};

/// Why a person denied. The list is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenyReason {
    /// The amount is wrong.
    WrongAmount,
    /// It goes to the wrong recipient or account.
    WrongRecipient,
    /// It was done already.
    Duplicate,
    /// Nobody needs it.
    NotNeeded,
    /// Rules of the house forbid it.
    NotAllowed,
    /// What the call says is not enough to decide.
    Unclear,
    /// It looks like fraud or an attack.
    Suspicious,
    /// None of these.
    Other,
}

impl DenyReason {
    /// All of them, in the order in which people choose.
    pub const ALL: [Self; 8] = [
        Self::WrongAmount,
        Self::WrongRecipient,
        Self::Duplicate,
        Self::NotNeeded,
        Self::NotAllowed,
        Self::Unclear,
        Self::Suspicious,
        Self::Other,
    ];

    /// Its code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::WrongAmount => "wrong_amount",
            Self::WrongRecipient => "wrong_recipient",
            Self::Duplicate => "duplicate",
            Self::NotNeeded => "not_needed",
            Self::NotAllowed => "not_allowed",
            Self::Unclear => "unclear",
            Self::Suspicious => "suspicious",
            Self::Other => "other",
        }
    }
}
