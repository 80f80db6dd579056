//! What happened to an approval, as it stands in the log (`proto/formats/approval.md`).

use crate::rule::{Owner, Rule, RuleError};
use ledger::{canonical, ident::Ident, json, time::Nanos};
use serde::{Deserialize, Serialize};

/// One message on an approval's subject: everything one command made happen. One message is one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Whose: also the last part of the subject it is published on.
    pub approval_id: Ident,
    /// 1, 2, … without a hole.
    pub n: u64,
    /// Leaf hash (RFC 6962, base64) of the entry with the previous message; of the decision's entry for `n` = 1.
    pub prev: String,
    /// 1 or more.
    pub events: Vec<Event>,
}

impl Message {
    /// Reads the `event` of an `approval` entry. Strict: what is read, written again in RFC 8785 form, must be the same
    /// bytes, so that nothing stands in the log that nobody reads.
    pub fn read(event: &[u8]) -> Option<Self> {
        let message: Self = serde_json::from_slice(event).ok()?;
        let text = serde_json::to_vec(&message).ok()?;
        let form = canonical::to_vec(&json::parse(&text).ok()?);
        (form == event).then_some(message)
    }
}

/// One thing that happened. Names on the wire are snake case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The call is paused. Always the first.
    Requested(Box<Requested>),
    /// A person said yes or no.
    Reviewed {
        /// Who: an opaque principal id.
        by: Ident,
        /// What.
        decision: Decision,
        /// Where.
        via: Via,
        /// How we knew who it was.
        auth: Auth,
        /// Those of the person's groups at that moment that the quorum asks for, in order of names.
        groups: Vec<String>,
        /// The call digest on the card or page: base64url SHA-256, or at least its first 8 characters.
        displayed_dig: String,
        /// When the page or card was made that was shown.
        shown_at: Nanos,
        /// Leaf index of the evidence (raw click, comment), if there is some.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<u64>,
    },
    /// Somebody tried to review and must not.
    ReviewRejected {
        /// Who, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Ident>,
        /// Where.
        via: Via,
        /// Why: a code of [`Refusal`](super::Refusal).
        why: String,
    },
    /// Half of the time is over.
    Reminded,
    /// Two thirds of the time are over: the rule's `escalate` channels are asked too.
    Escalated,
    /// The quorum is met.
    Granted {
        /// Whose reviews count, in order of names.
        by: Vec<Ident>,
        /// Until when it can be redeemed.
        execution_deadline: Nanos,
    },
    /// Enough people said no.
    Denied {
        /// Who.
        by: Vec<Ident>,
    },
    /// The approval deadline passed. Not a refusal by anybody.
    Expired {
        /// Whether anybody could be asked.
        reason: Reason,
    },
    /// Whoever paused the call, or an admin, or a limit of ours, does not want it any more.
    Cancelled {
        /// Who.
        by: String,
        /// Why: a code.
        reason: String,
    },
    /// Another rule is in force for this call; it must be asked for anew.
    Superseded {
        /// Digest of the rule in force; absent: none can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// A token was made.
    TokenMinted {
        /// Its id: 128 random bits, base64url.
        jti: String,
        /// Key it is signed with: RFC 7638 thumbprint.
        kid: String,
        /// For whom.
        enforcer: Ident,
        /// From when.
        iat: Nanos,
        /// Until when.
        exp: Nanos,
    },
    /// The token's time passed unused.
    TokenLapsed {
        /// Which.
        jti: String,
    },
    /// The token was spent.
    Redeemed {
        /// Which.
        jti: String,
        /// The enforcer's own id of this redemption, the same in its retries.
        redemption_id: String,
        /// By whom.
        enforcer: Ident,
    },
    /// A redemption was tried that must not be.
    RedeemRejected {
        /// Which token.
        jti: String,
        /// By whom.
        enforcer: Ident,
        /// Why: a code of [`Refusal`](super::Refusal).
        why: String,
    },
    /// What became of the call.
    ExecutionReported {
        /// What the enforcer says.
        outcome: Outcome,
    },
    /// No report came in time.
    ReportMissed,
    /// Somebody took the grant back before it was redeemed.
    Revoked {
        /// A principal id, `admin:<key id>`, or `rule` when another rule is in force.
        by: String,
        /// Why: a code.
        reason: String,
    },
    /// The execution deadline passed.
    Lapsed,
    /// Time began anew after the call was paused, because a clock had been wrong: what it waits for now has its whole time
    /// again, from this message on. A token that was made before is void.
    ClockReset {
        /// Leaf index of the `clock` entry.
        clock: u64,
    },
}

/// How an approval begins: everything about it that never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requested {
    /// Version of these events: 1.
    pub v: u32,
    /// The decision event.
    pub opening: Opening,
    /// The call.
    pub call: Summary,
    /// The matched rule, whole.
    pub rule: Rule,
    /// Its digest: base64url SHA-256 of its RFC 8785 form.
    pub rule_digest: String,
    /// Who owns the agent, in order of names: they never review.
    pub owners: Vec<Ident>,
    /// The opening's `journal.time`.
    pub requested_at: Nanos,
    /// From then on nothing grants.
    pub approval_deadline: Nanos,
}

/// Version of these events.
pub const VERSION: u32 = 1;

impl Requested {
    /// What the opening gives, with the digest and the deadline that follow from it. Owners are put in order.
    pub fn new(
        opening: Opening,
        call: Summary,
        rule: Rule,
        mut owners: Vec<Ident>,
        requested_at: Nanos,
    ) -> Result<Self, RuleError> {
        rule.check()?;
        owners.sort();
        owners.dedup();
        let (rule_digest, approval_deadline) =
            (rule.digest(), rule.approval_deadline(requested_at));
        let v = VERSION;
        Ok(Self { v, opening, call, rule, rule_digest, owners, requested_at, approval_deadline })
    }

    /// Whether it is what [`Requested::new`] gives.
    pub fn is_sound(&self) -> bool {
        self.v == VERSION
            && self.rule.check().is_ok()
            && self.rule_digest == self.rule.digest()
            && self.owners.windows(2).all(|pair| pair[0] < pair[1])
            && self.approval_deadline == self.rule.approval_deadline(self.requested_at)
    }

    /// Whether an owner must be known and none is: nobody may approve (P10).
    pub fn lacks_owner(&self) -> bool {
        self.rule.owner == Owner::Known && self.owners.is_empty()
    }

    /// Whether what was shown is this call: the digest, or at least its first 8 characters.
    pub fn shows(&self, displayed_dig: &str) -> bool {
        displayed_dig.len() >= DISPLAYED_DIGEST_MIN && self.call.digest.starts_with(displayed_dig)
    }
}

/// Fewest characters of a digest that stand for it on a card.
pub const DISPLAYED_DIGEST_MIN: usize = 8;

/// The decision event that paused the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Who published it: the enforcer to be.
    pub producer: Ident,
    /// Its leaf index.
    pub index: u64,
}

/// What of a call may stand in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// `data.agent.id`
    pub agent: String,
    /// `data.agent.run`
    pub run: Option<String>,
    /// `data.tool.name`
    pub tool: String,
    /// `data.tool.action`
    pub action: String,
    /// Call digest.
    pub digest: String,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// Where a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Our page.
    Web,
    /// A button in Slack.
    Slack,
    /// A button in Teams.
    Teams,
    /// `POST T/approvals/{id}/reviews` with a reviewer key.
    Api,
}

/// How we knew who it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// By what.
    pub method: Method,
    /// When: the sign-in, or the click itself.
    pub at: Nanos,
}

/// What showed who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A reviewer key, in a sign-in or with the request.
    Key,
    /// Slack's signature over a click of a linked member.
    Slack,
    /// Microsoft's token over a click of a linked member.
    Teams,
}

/// What became of a call, by the enforcer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// Begun, and failed.
    Failed,
    /// Never begun.
    NotStarted,
    /// It can't tell.
    Unknown,
}

/// Why an approval expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody, or too few, answered.
    Deadline,
    /// No channel could be reached before the deadline.
    Undeliverable,
}
