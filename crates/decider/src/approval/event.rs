//! Events of an approval, as the log holds them (`proto/formats/approval.md`).

use super::reason::DenyReason;
use crate::{
    passkey::Signed,
    rule::{Owner, Rule, RuleError},
};
use ledger::{
    canonical,
    ident::Ident,
    json,
    system::{LeafAt, policy::Activates},
    time::Nanos,
};
use serde::{Deserialize, Serialize};

/// One message on an approval's subject: everything that one command made happen. One message gives one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The approval. Its id is also the last part of the subject.
    pub approval_id: Ident,
    /// Number of the message: 1, 2, … without a hole.
    pub n: u64,
    /// Leaf hash (RFC 6962, base64) of the entry with the previous message; of the decision's entry for `n` = 1.
    pub prev: String,
    /// At least one event.
    pub events: Vec<Event>,
    /// What the redemption in this message puts in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activates: Option<Activates>,
    /// The decision whose call is redeemed: with a redemption only. While something is frozen, posting looks there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<LeafAt>,
}

impl Message {
    /// Reads the `event` of an `approval` entry. Strict: written again in RFC 8785 form, it must give the same
    /// bytes, so that the log holds nothing that readers skip.
    pub fn read(event: &[u8]) -> Option<Self> {
        let message: Self = serde_json::from_slice(event).ok()?;
        let text = serde_json::to_vec(&message).ok()?;
        let form = canonical::to_vec(&json::parse(&text).ok()?);
        (form == event).then_some(message)
    }
}

/// One event. Names on the wire are snake case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The call is paused. Always the first event.
    Requested(Box<Requested>),
    /// A person approved or denied.
    Reviewed {
        /// The person: an opaque principal id.
        by: Ident,
        /// The person's choice.
        decision: Choice,
        /// Where the person tried to answer.
        via: Via,
        /// How the person was authenticated.
        auth: Auth,
        /// Those of the person's groups at that moment that the quorum asks for, sorted by name.
        groups: Vec<String>,
        /// The call digest on the card or page: base64url SHA-256, or at least its first 8 characters.
        displayed_dig: String,
        /// When the page or card that was shown was made.
        shown_at: Nanos,
        /// Leaf index of the evidence entry (raw click, comment), if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<u64>,
        /// Why the person denied, if they said so. Only beside a `deny`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<DenyReason>,
        /// The signature of the person's passkey over this answer, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Box<Signed>>,
        /// On the page of like calls: how many calls the person answered with this press, this one included. All of them
        /// have the same person and `shown_at`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        together: Option<u32>,
    },
    /// A person who is asked put a question instead of an answer. Deadlines do not move.
    Asked {
        /// Number of the question: 1, 2, … without a hole.
        question: u32,
        /// The person: an opaque principal id.
        by: Ident,
        /// Where the person asked.
        via: Via,
        /// How the person was authenticated.
        auth: Auth,
        /// Leaf index of the evidence entry (words, and the raw click of a chat).
        evidence: u64,
    },
    /// The gateway, or an owner of the agent, answered a question.
    Answered {
        /// Number of the question.
        question: u32,
        /// Who answered: `producer:<name>`, or a principal id.
        by: String,
        /// Leaf index of the evidence entry with the words.
        evidence: u64,
    },
    /// A person tried to review and was refused.
    ReviewRejected {
        /// The person, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Ident>,
        /// Where the person tried to answer.
        via: Via,
        /// Why it was refused: a code of [`Refusal`](super::Refusal).
        why: String,
    },
    /// Half of the time to approve is over.
    Reminded,
    /// Two thirds of the time to approve are over: the rule's `escalate` channels are asked too.
    Escalated,
    /// The quorum is met.
    Granted {
        /// The people whose reviews fill the quorum, sorted by name.
        by: Vec<Ident>,
        /// The grant can be redeemed before this time.
        execution_deadline: Nanos,
    },
    /// Enough people denied.
    Denied {
        /// The people who denied, sorted by name.
        by: Vec<Ident>,
    },
    /// The approval deadline passed. Nobody denied it.
    Expired {
        /// Tells whether anybody could be asked.
        reason: Reason,
    },
    /// The call was withdrawn by the gateway that paused it, by an admin, or by one of our limits.
    Cancelled {
        /// Who withdrew it: `producer:<name>`, `admin:<key id>`, or the limit.
        by: String,
        /// Reason code.
        reason: String,
    },
    /// Another rule came into force for this call. The gateway must request approval again.
    Superseded {
        /// Digest of the rule that is in force now. Absent if it is unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// A token was made.
    TokenMinted {
        /// Id of the token: 128 random bits, base64url.
        jti: String,
        /// Id of the key that signs the token: its RFC 7638 thumbprint.
        kid: String,
        /// The enforcer that may redeem it.
        enforcer: Ident,
        /// Start of the token's validity.
        iat: Nanos,
        /// End of the token's validity.
        exp: Nanos,
    },
    /// The token's validity ended before it was redeemed.
    TokenLapsed {
        /// Id of the token.
        jti: String,
    },
    /// The token was redeemed.
    Redeemed {
        /// Id of the token.
        jti: String,
        /// The enforcer's id of this redemption. Retries carry the same id.
        redemption_id: String,
        /// The enforcer that asked.
        enforcer: Ident,
    },
    /// A redemption was refused.
    RedeemRejected {
        /// Id of the token in the request.
        jti: String,
        /// The enforcer that asked.
        enforcer: Ident,
        /// Why it was refused: a code of [`Refusal`](super::Refusal).
        why: String,
    },
    /// The enforcer reported the outcome of the call.
    ExecutionReported {
        /// The reported outcome.
        outcome: Outcome,
    },
    /// No report came in time.
    ReportMissed,
    /// The grant was taken back before its redemption.
    Revoked {
        /// Who took it back: a principal id, `admin:<key id>`, or `rule` when another rule is in force.
        by: String,
        /// Reason code.
        reason: String,
    },
    /// The execution deadline passed before a redemption.
    Lapsed,
    /// An admin restarted time after the call was paused, because a clock had been wrong. What the approval
    /// waits for now has its whole time again, from this message on. An earlier token is void.
    ClockReset {
        /// Leaf index of the `clock` entry.
        clock: u64,
    },
}

/// The beginning of an approval: everything about it that never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requested {
    /// Version of these events: 1.
    pub v: u32,
    /// The decision event that paused the call.
    pub opening: Opening,
    /// The parts of the call that the log may show.
    pub call: Summary,
    /// The whole rule that matched.
    pub rule: Rule,
    /// Digest of the rule: base64url SHA-256 of its RFC 8785 form.
    pub rule_digest: String,
    /// Owners of the agent, sorted by name. They never review.
    pub owners: Vec<Ident>,
    /// `journal.time` of the decision.
    pub requested_at: Nanos,
    /// From this time on, nothing grants the approval.
    pub approval_deadline: Nanos,
}

/// Version of these events.
pub const VERSION: u32 = 1;

impl Requested {
    /// Makes a request. Digest and deadline are computed from the parts; owners are sorted.
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

    /// True if [`Requested::new`] would give the same value.
    pub fn is_sound(&self) -> bool {
        self.v == VERSION
            && self.rule.check().is_ok()
            && self.rule_digest == self.rule.digest()
            && self.owners.windows(2).all(|pair| pair[0] < pair[1])
            && self.approval_deadline == self.rule.approval_deadline(self.requested_at)
    }

    /// True if the rule demands a known owner and none is known. Then nobody may approve (P10).
    pub fn lacks_owner(&self) -> bool {
        self.rule.owner == Owner::Known && self.owners.is_empty()
    }

    /// True if the shown digest is of this call: whole, or at least its first 8 characters.
    pub fn shows(&self, displayed_dig: &str) -> bool {
        displayed_dig.len() >= DISPLAYED_DIGEST_MIN && self.call.digest.starts_with(displayed_dig)
    }
}

/// Fewest characters of the digest that a card may show.
pub const DISPLAYED_DIGEST_MIN: usize = 8;

/// The decision event that paused the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Producer that published the decision. The same gateway later redeems, as enforcer.
    pub producer: Ident,
    /// Leaf index of the decision.
    pub index: u64,
}

/// The parts of a call that the log may show.
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

/// A person's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Let the call through.
    Approve,
    /// Do not let it through.
    Deny,
}

/// Where a person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// On our web page.
    Web,
    /// By a button in Slack.
    Slack,
    /// By a button in Teams.
    Teams,
    /// `POST T/approvals/{id}/reviews` with a reviewer key.
    Api,
}

/// How a person was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The means of authentication.
    pub method: Method,
    /// Time of the sign-in, or of the click itself.
    pub at: Nanos,
}

/// Means by which a person is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A reviewer key, in a sign-in or in the request.
    Key,
    /// Slack's signature over a click by a linked member.
    Slack,
    /// Microsoft's token over a click by a linked member.
    Teams,
    /// A passkey. The answer itself is signed with it.
    Passkey,
    /// A provider of `OpenID` Connect, in a sign-in on the web page.
    Oidc,
}

/// Outcome of a call, as the enforcer reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The call succeeded.
    Succeeded,
    /// The call was started and failed.
    Failed,
    /// The call was never started.
    NotStarted,
    /// The enforcer does not know.
    Unknown,
}

/// Why an approval expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody answered, or too few people approved.
    Deadline,
    /// No channel could be reached before the deadline.
    Undeliverable,
}
