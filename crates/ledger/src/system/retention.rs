//! `system.retention`: for how long payload is kept, and what must not be erased (`proto/formats/system.md`).

use super::{By, Reason};
use crate::ident::Ident;
use serde::{Deserialize, Serialize};

/// Longest retention, in days: 100 years.
pub const DAYS_MAX: u32 = 36_525;
/// Most legal holds in force at once.
pub const HOLDS_MAX: usize = 64;

/// The body of a message on `system.retention`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum RetentionBody {
    /// For how long payload and journal messages are kept, in place of what was set before.
    Set(Days),
    /// Nothing is erased from this entry on.
    Hold(Hold),
    /// A hold ends.
    Release(Hold),
    /// Old payload is gone from this entry on.
    Expire(Expire),
    /// The tenant is deleted: it is the last entry of its log.
    Delete(Deletion),
}

/// For how long things are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Days {
    /// Days that payload is kept, 1 to [`DAYS_MAX`]; absent: for ever.
    #[serde(default)]
    pub payload_days: Option<u32>,
    /// Days below which `payload_days` can never be set again. It only rises.
    pub floor_days: u32,
    /// Days that posted journal messages are kept; absent: as the server's configuration says.
    #[serde(default)]
    pub journal_days: Option<u32>,
    /// Who set them.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// A legal hold begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Names the hold: an opaque id, because it stays in the log for ever.
    pub hold: Ident,
    /// Who did it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// The payload of entries is old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expire {
    /// The first leaf index: the `below` of the last such message, or 0.
    pub from: u64,
    /// The leaf index after the last one.
    pub below: u64,
    /// Who: the server.
    pub by: By,
}

/// The end of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// The tenant, once more: nobody deletes one by mistake.
    pub tenant: Ident,
    /// Who deleted it.
    pub by: By,
    /// Why, in the words of who did it: 1 to 2,000 characters. All payload goes, so it can't be evidence.
    pub why: String,
}

impl RetentionBody {
    /// Evidence that says why.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Set(Days { reason, .. })
            | Self::Hold(Hold { reason, .. })
            | Self::Release(Hold { reason, .. }) => reason.as_ref(),
            Self::Expire(_) | Self::Delete(_) => None,
        }
    }
}
