//! Commands on an approval, and why they may be refused.

use super::{
    event::{Auth, Choice, Outcome, Requested, Via},
    reason::DenyReason,
};
use crate::passkey::Signed;
use crate::quorum::People;
use ledger::{ident::Ident, time::Nanos};
use std::sync::Arc;

/// The world at the moment of a command, as the worker sees it. A command is judged by this, not by what was
/// true when the call was paused.
#[derive(Clone, Debug)]
pub struct World {
    /// The worker's clock at this moment.
    pub now: Nanos,
    /// Digest of the rule that matches this call now. `None` if that is unknown: the params are erased, or no
    /// rules are applied.
    pub rule: Option<String>,
    /// Active people and their groups at this moment.
    pub people: Arc<People>,
    /// People who own the agent now, beside those in `Requested`.
    pub owners: Vec<Ident>,
    /// What the policies in force say of the call now.
    pub policy: PolicyNow,
    /// Leaf index of the last `clock` entry. Deadlines that were set before it count again from the start.
    pub clock: Option<u64>,
}

/// What the policies in force say of a call that they or earlier ones judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyNow {
    /// They do not deny it, or no policy judged it.
    #[default]
    Stands,
    /// They deny it: nothing permits it any more.
    Denies,
    /// They can't be read here: nothing is released until they can.
    Unreadable,
}

/// A command. Each one but `Request` carries the [`World`] of its moment.
#[derive(Clone, Debug)]
pub enum Command {
    /// Pauses the call. With `cancel`, records it and cancels it at once with that code (`too_many`,
    /// `cooling_down`, `owner_unknown`).
    Request {
        /// Everything about the approval that never changes.
        requested: Box<Requested>,
        /// Code of the reason to cancel at once, if there is one.
        cancel: Option<String>,
    },
    /// Records a person's answer.
    Review {
        /// The world at this moment.
        world: World,
        /// The person. `None` if the chat account that clicked is not linked to a person.
        by: Option<Ident>,
        /// The person's choice.
        decision: Choice,
        /// Where the person answered.
        via: Via,
        /// How the person was authenticated.
        auth: Auth,
        /// Call digest that the page or card showed: whole, or at least its first 8 characters.
        displayed_dig: String,
        /// Version of the approval that the page or card showed.
        version: u64,
        /// When the page or card was made.
        shown_at: Nanos,
        /// Leaf index of the evidence entry about this answer.
        evidence: Option<u64>,
        /// Why the person denies, if they say so.
        reason: Option<DenyReason>,
        /// The signature of the person's passkey over this answer. The caller has verified it.
        signed: Option<Box<Signed>>,
        /// How many calls the person answers with this press, if it is on the page of like calls.
        together: Option<u32>,
    },
    /// Records a question of a person who is asked.
    Ask {
        /// The world at this moment.
        world: World,
        /// The person.
        by: Ident,
        /// Where the person asked.
        via: Via,
        /// How the person was authenticated.
        auth: Auth,
        /// Call digest that the page showed.
        displayed_dig: String,
        /// Leaf index of the evidence entry with the words.
        evidence: u64,
    },
    /// Records an answer to a question.
    Reply {
        /// The world at this moment.
        world: World,
        /// Number of the question.
        question: u32,
        /// Who answers.
        by: Replier,
        /// Leaf index of the evidence entry with the words.
        evidence: u64,
    },
    /// Applies what time or another rule makes happen: expiry, lapse, reminder, escalation, a missed report,
    /// supersession.
    Tick {
        /// The world at this moment.
        world: World,
        /// True if every channel has failed so far. An expiry then has the reason `undeliverable`.
        undeliverable: bool,
    },
    /// Withdraws the call.
    Cancel {
        /// The world at this moment.
        world: World,
        /// Who withdraws it: `producer:<name>` or `admin:<key id>`. At most [`super::ID_BYTES_MAX`] bytes.
        by: String,
        /// Reason code, in the form that [`super::is_code`] checks.
        reason: String,
    },
    /// Takes the grant back.
    Revoke {
        /// The world at this moment.
        world: World,
        /// Who takes it back: a principal id or `admin:<key id>`.
        by: String,
        /// Reason code, in the form that [`super::is_code`] checks.
        reason: String,
    },
    /// Makes a token, or returns the valid one.
    Mint {
        /// The world at this moment.
        world: World,
        /// The enforcer that asks.
        enforcer: Ident,
        /// Id for a new token.
        jti: String,
        /// Id of the key that will sign a new token.
        kid: String,
    },
    /// Redeems the token.
    Redeem {
        /// The world at this moment.
        world: World,
        /// The enforcer that asks.
        enforcer: Ident,
        /// Id of the token. Its signature was verified.
        jti: String,
        /// Digest of the call that the enforcer sent. This server computed it.
        digest: String,
        /// The enforcer's id of this redemption: 1 to [`super::ID_BYTES_MAX`] characters of printable ASCII.
        redemption_id: String,
    },
    /// Reports the outcome of the call.
    Report {
        /// The world at this moment.
        world: World,
        /// The enforcer that reports.
        enforcer: Ident,
        /// The reported outcome.
        outcome: Outcome,
    },
}

/// Who answers a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replier {
    /// The gateway that paused the call.
    Gateway(Ident),
    /// A person who owns the agent.
    Owner(Ident),
}

impl Command {
    /// The world of the command's moment. `None` for a request, which has none.
    pub fn world(&self) -> Option<&World> {
        match self {
            Self::Request { .. } => None,
            Self::Review { world, .. }
            | Self::Ask { world, .. }
            | Self::Reply { world, .. }
            | Self::Tick { world, .. }
            | Self::Cancel { world, .. }
            | Self::Revoke { world, .. }
            | Self::Mint { world, .. }
            | Self::Redeem { world, .. }
            | Self::Report { world, .. } => Some(world),
        }
    }
}

/// Why a command is refused. Each name in snake case is also the code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// There is no such approval.
    #[error("not_found")]
    NotFound,
    /// The command is not well-formed: a reason is not a code, an id is too long, or `requested` contradicts
    /// itself.
    #[error("malformed")]
    Malformed,
    /// The approval's history could not have happened. The approval is halted.
    #[error("corrupt")]
    Corrupt,
    /// The approval is over, or is in another phase than the command needs. The phase is in the answer.
    #[error("not_now")]
    NotNow,
    /// The approval or execution deadline passed.
    #[error("too_late")]
    TooLate,
    /// The chat account that clicked is not linked to a person.
    #[error("not_linked")]
    NotLinked,
    /// The person is in no group that is asked, or is disabled.
    #[error("not_eligible")]
    NotEligible,
    /// The person owns the agent.
    #[error("own_call")]
    OwnCall,
    /// The rule demands a known owner, and no owner is known: nobody may approve.
    #[error("owner_unknown")]
    OwnerUnknown,
    /// The person already gave a different answer.
    #[error("already_reviewed")]
    AlreadyReviewed,
    /// The page or card showed another call.
    #[error("digest_mismatch")]
    DigestMismatch,
    /// The call can't be shown whole: nobody may approve.
    #[error("not_shown")]
    NotShown,
    /// The approval has changed since the page or card was made.
    #[error("stale")]
    Stale,
    /// The rule demands the web page and a recent sign-in.
    #[error("step_up")]
    StepUp,
    /// The approval has all questions that it may have, or the person's last one has no answer yet.
    #[error("too_many_questions")]
    TooManyQuestions,
    /// There is no such question.
    #[error("no_question")]
    NoQuestion,
    /// The question already has another answer.
    #[error("already_answered")]
    AlreadyAnswered,
    /// Another rule is in force for this call now.
    #[error("rule_changed")]
    RuleChanged,
    /// The policies in force deny the call now.
    #[error("policy_denies")]
    PolicyDenies,
    /// The policies in force can't be read here.
    #[error("policy_unreadable")]
    PolicyUnreadable,
    /// Only the enforcer that paused the call may do this.
    #[error("not_yours")]
    NotYours,
    /// The approval has used up its tokens.
    #[error("too_many_mints")]
    TooManyMints,
    /// This is not the approval's valid token.
    #[error("token_not_live")]
    TokenNotLive,
    /// Another redemption has already redeemed the token.
    #[error("already_redeemed")]
    AlreadyRedeemed,
    /// Another outcome was already reported.
    #[error("already_reported")]
    AlreadyReported,
}

/// Events and refusal that a command results in.
pub type Answer = crate::Decided<super::Event, Refusal>;
