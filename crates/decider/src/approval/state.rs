//! What has become of an approval.

use super::event::{Decision, Outcome, Requested};
use ledger::{ident::Ident, time::Nanos};
use serde::Serialize;

/// Where in its life an approval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing happened yet.
    None,
    /// People are asked.
    Pending,
    /// The quorum is met.
    Granted,
    /// A token lives.
    Minted,
    /// The token was spent; the report is awaited.
    Redeemed,
    /// Reported as done.
    Completed,
    /// Reported as failed or not begun.
    Failed,
    /// Nobody knows what became of the call.
    Unknown,
    /// Refused by people.
    Denied,
    /// Time passed without a quorum.
    Expired,
    /// Not wanted any more.
    Cancelled,
    /// Another rule came into force before the grant.
    Superseded,
    /// Taken back after the grant.
    Revoked,
    /// The execution deadline passed.
    Lapsed,
}

/// One person's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Review {
    /// Who.
    pub by: Ident,
    /// What.
    pub decision: Decision,
    /// When the journal took it.
    pub at: Nanos,
}

/// A token of this approval.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Its id.
    pub jti: String,
    /// Its key.
    pub kid: String,
    /// From when.
    pub iat: Nanos,
    /// Until when.
    pub exp: Nanos,
}

/// Everything that deciding needs, folded from the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// How it began; `None` before that.
    pub requested: Option<Box<Requested>>,
    /// The last answer of each person, in order of names.
    pub reviews: Vec<Review>,
    /// Whose reviews made the quorum.
    pub granted_by: Vec<Ident>,
    /// When it was granted.
    pub granted_at: Option<Nanos>,
    /// From then on nothing is redeemed.
    pub execution_deadline: Option<Nanos>,
    /// The newest token; it lives while the phase is `Minted`.
    pub token: Option<Token>,
    /// Tokens made so far.
    pub mints: u32,
    /// The redemption: `(redemption id, jti, when)`.
    pub redeemed: Option<(String, String, Nanos)>,
    /// What the enforcer said became of the call.
    pub report: Option<Outcome>,
    /// Whether the reminder was sent.
    pub reminded: bool,
    /// Whether it was escalated.
    pub escalated: bool,
    /// Refused attempts recorded so far.
    pub refusals: u32,
    /// Number of the last message.
    pub n: u64,
    /// `n` of the last message that changed what people see: reviews and phases, not reminders and refused clicks.
    pub version: u64,
    /// When it ended.
    pub ended_at: Option<Nanos>,
    /// Why it ended: the code of a cancellation, revocation or expiry.
    pub end_reason: Option<String>,
    /// Leaf hash (base64) of the entry with the last message: what the next one names as `prev`.
    pub leaf: String,
    /// The history is not one that could have happened.
    pub corrupt: bool,
}
