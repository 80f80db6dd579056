//! What somebody wants of an approval, and why it may be refused.

use super::event::{Auth, Decision, Outcome, Requested, Via};
use crate::quorum::People;
use ledger::{ident::Ident, time::Nanos};
use std::sync::Arc;

/// The world at the moment of a command, as the worker sees it: it decides, not what was true when the call was paused.
#[derive(Clone, Debug)]
pub struct World {
    /// The worker's clock.
    pub now: Nanos,
    /// Digest of the rule that matches this call now; `None`: it can't be told (params gone, no rules applied).
    pub rule: Option<String>,
    /// Active people and their groups.
    pub people: Arc<People>,
    /// Who owns the agent now, beside those in `Requested`.
    pub owners: Vec<Ident>,
    /// Leaf index of the last `clock` entry: deadlines that were set before it count anew.
    pub clock: Option<u64>,
}

/// What is wanted. Each carries the [`World`] of its moment.
#[derive(Clone, Debug)]
pub enum Command {
    /// Pause the call. `cancel`: record it and cancel it at once, with this code (`too_many`, `cooling_down`,
    /// `owner_unknown`).
    Request {
        /// All that never changes.
        requested: Box<Requested>,
        /// Why it can't be asked for.
        cancel: Option<String>,
    },
    /// A person answers.
    Review {
        /// Now.
        world: World,
        /// Who; `None`: whoever clicked is not linked to anybody we know.
        by: Option<Ident>,
        /// What.
        decision: Decision,
        /// Where.
        via: Via,
        /// How we know.
        auth: Auth,
        /// What was shown: the digest, or at least its first 8 characters.
        displayed_dig: String,
        /// The version that was shown.
        version: u64,
        /// When that was made.
        shown_at: Nanos,
        /// Leaf index of the evidence.
        evidence: Option<u64>,
    },
    /// Time passes: expiry, lapse, reminder, escalation, a missed report, another rule.
    Tick {
        /// Now.
        world: World,
        /// Whether every channel failed so far (an expiry then reads `undeliverable`).
        undeliverable: bool,
    },
    /// The call is not wanted any more.
    Cancel {
        /// Now.
        world: World,
        /// Who: `producer:<name>`, `admin:<key id>`. At most [`super::ID_BYTES_MAX`] bytes.
        by: String,
        /// A code of [`super::is_code`]'s form.
        reason: String,
    },
    /// The grant is taken back.
    Revoke {
        /// Now.
        world: World,
        /// A principal id or `admin:<key id>`.
        by: String,
        /// A code.
        reason: String,
    },
    /// Make a token, or give the one that lives.
    Mint {
        /// Now.
        world: World,
        /// Who asks.
        enforcer: Ident,
        /// Id for a new one.
        jti: String,
        /// The key that will sign it.
        kid: String,
    },
    /// Spend the token.
    Redeem {
        /// Now.
        world: World,
        /// Who asks.
        enforcer: Ident,
        /// Which token, of a token that verified.
        jti: String,
        /// Digest of the call in hand, computed by us.
        digest: String,
        /// The enforcer's id of this redemption, 1 to [`super::ID_BYTES_MAX`] characters of printable ASCII.
        redemption_id: String,
    },
    /// Say what became of the call.
    Report {
        /// Now.
        world: World,
        /// Who says it.
        enforcer: Ident,
        /// What.
        outcome: Outcome,
    },
}

impl Command {
    /// The world of its moment; a request has none.
    pub fn world(&self) -> Option<&World> {
        match self {
            Self::Request { .. } => None,
            Self::Review { world, .. }
            | Self::Tick { world, .. }
            | Self::Cancel { world, .. }
            | Self::Revoke { world, .. }
            | Self::Mint { world, .. }
            | Self::Redeem { world, .. }
            | Self::Report { world, .. } => Some(world),
        }
    }
}

/// Why a command is refused; every word is also its code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// There is no such approval.
    #[error("not_found")]
    NotFound,
    /// What is said is not well-formed: a reason is not a code, an id is too long, `requested` does not hold together.
    #[error("malformed")]
    Malformed,
    /// Its history is not one that could have happened: it stands still.
    #[error("corrupt")]
    Corrupt,
    /// It is over, or not at the point where this can be done: the phase says where it is.
    #[error("not_now")]
    NotNow,
    /// The approval or execution deadline passed.
    #[error("too_late")]
    TooLate,
    /// Whoever clicked is not linked to a person.
    #[error("not_linked")]
    NotLinked,
    /// The person is in no group that is asked, or is disabled.
    #[error("not_eligible")]
    NotEligible,
    /// The person owns the agent.
    #[error("own_call")]
    OwnCall,
    /// The rule demands a known owner and there is none: nobody may approve.
    #[error("owner_unknown")]
    OwnerUnknown,
    /// The person answered before, and differently.
    #[error("already_reviewed")]
    AlreadyReviewed,
    /// What was shown is not this call.
    #[error("digest_mismatch")]
    DigestMismatch,
    /// Not all of the call can be shown: nobody may approve.
    #[error("not_shown")]
    NotShown,
    /// Something newer happened than what was shown.
    #[error("stale")]
    Stale,
    /// The rule demands the web page and a fresh sign-in.
    #[error("step_up")]
    StepUp,
    /// Another rule is in force.
    #[error("rule_changed")]
    RuleChanged,
    /// Only the enforcer that paused the call may.
    #[error("not_yours")]
    NotYours,
    /// No more tokens for this approval.
    #[error("too_many_mints")]
    TooManyMints,
    /// This token is not the one that lives.
    #[error("token_not_live")]
    TokenNotLive,
    /// It was spent before, by another redemption.
    #[error("already_redeemed")]
    AlreadyRedeemed,
    /// Another report was given before.
    #[error("already_reported")]
    AlreadyReported,
}

impl Refusal {
    /// What whoever asked can do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NotFound | Self::NotYours => "There is nothing here for you.",
            Self::Malformed => {
                "A reason is a code of 1 to 64 characters a-z, 0-9 and _; an id has 1 to 128 characters."
            }
            Self::Corrupt => {
                "This approval stands still: its history can't have happened. Tell the operator; publish a new decision."
            }
            Self::NotNow => "The approval is not at a point where this can be done.",
            Self::TooLate => "The deadline is over. Nothing was permitted; publish a new decision.",
            Self::NotLinked => "This account is linked to no person. Give its id to an admin.",
            Self::NotEligible => "This person is in no group that is asked, or is disabled.",
            Self::OwnCall => "This person owns the agent; somebody else must decide.",
            Self::OwnerUnknown => {
                "Nobody knows whose agent it is, and the rule asks for an owner: nobody can approve."
            }
            Self::AlreadyReviewed => "This person answered already; an answer is final.",
            Self::DigestMismatch => {
                "The call is not the one that was approved or shown. Publish a new decision for it."
            }
            Self::NotShown => {
                "Not all of this call can be shown, or it is gone: it can't be approved. Publish a smaller one."
            }
            Self::Stale => "Something happened since this was shown. Look again, then answer.",
            Self::StepUp => "This call is decided on the web page only, after a fresh sign-in.",
            Self::RuleChanged => "The rules have changed. Publish a new decision.",
            Self::TooManyMints => "All tokens of this approval were made. Publish a new decision.",
            Self::TokenNotLive => "This token lives no more. Ask for the one that does.",
            Self::AlreadyRedeemed => "It was spent by another redemption. Execute nothing.",
            Self::AlreadyReported => "Another outcome was reported before; that one stands.",
        }
    }
}

/// What a command came to.
pub type Answer = crate::Decided<super::Event, Refusal>;
