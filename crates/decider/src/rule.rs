//! Rules: who must approve which calls. They are ordered; the first match wins (`proto/formats/rules.md`).

mod check;
mod matching;

pub use check::RuleError;
pub(crate) use matching::index;
pub use matching::{Visible, first_match, resolve};

use crate::quorum::Quorum;
use data_encoding::BASE64URL_NOPAD;
use ledger::{canonical, time::Nanos};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Longest name of a rule, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Most denials that a rule may need to end an approval.
pub const DENY_MAX: u32 = 16;
/// Longest time to approve, in seconds: 7 days.
pub const APPROVE_WITHIN_MAX: u64 = 7 * 86_400;
/// Longest time from the grant to the redemption, in seconds: 1 day.
pub const EXECUTE_WITHIN_MAX: u64 = 86_400;
/// Longest time to wait for an execution report, in seconds: 7 days.
pub const REPORT_WITHIN_MAX: u64 = 7 * 86_400;
/// Longest life of an override token, in seconds.
pub const TOKEN_LIFE_MAX: u64 = 900;
/// Oldest sign-in that a step-up may accept, in seconds: the life of a sign-in.
pub const STEP_UP_MAX: u64 = 8 * 3_600;
/// Most values, conditions, currencies or channels in one list of a rule.
pub const LIST_MAX: usize = 64;
/// Longest text in a condition, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Deepest nesting of a value in a `params` condition.
pub const VALUE_DEPTH_MAX: usize = 8;
/// Longest RFC 8785 form of a rule, in bytes. Every approval holds the whole rule.
pub const RULE_BYTES_MAX: usize = 16_384;

/// The act of putting rules and people in force.
pub const RULES_APPLY: &str = "rules.apply";
/// The act of issuing a key of [`POWER`].
pub const KEY_ISSUE: &str = "key.issue";
/// The act of setting for how long payload and journal messages are kept.
pub const RETENTION_SET: &str = "retention.set";
/// The act of ending a legal hold.
pub const HOLD_RELEASE: &str = "hold.release";
/// The act of deleting the tenant.
pub const TENANT_DELETE: &str = "tenant.delete";
/// The act of lifting a freeze.
pub const FREEZE_LIFT: &str = "freeze.lift";
/// Roles whose keys decide who decides, or what stops.
pub const POWER: [&str; 4] = ["admin", "author", "responder", "reviewer"];

/// One rule, as it was applied. Every approval holds a copy. Times are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name for people, unique within the file.
    pub name: String,
    /// Calls that the rule is for. An absent condition matches every call.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// People who must approve.
    pub quorum: Quorum,
    /// Number of denials that end the approval.
    pub deny: u32,
    /// Seconds from the decision event to the approval deadline.
    pub approve_within: u64,
    /// Seconds from the grant to the execution deadline.
    pub execute_within: u64,
    /// Seconds from the redemption until a missing report counts as unknown.
    pub report_within: u64,
    /// Validity of an override token in seconds, 1 to 900.
    pub token_life: u64,
    /// Channels that are asked at once, by their names in the channels table. The web page always shows the
    /// call too.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Channels that are also asked at 2/3 of the time.
    #[serde(default)]
    pub escalate: Vec<String>,
    /// If given, people answer on the web page only, with a sign-in of at most this many seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<u64>,
    /// True if like calls are never answered together: people open and answer each by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_by_one: bool,
    /// What the rule demands about the agent's owner.
    #[serde(default)]
    pub owner: Owner,
    /// True if what it is for takes effect without anybody's review. Only for changes of policies, of an installation
    /// with one person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreviewed: bool,
}

/// Whether an agent without a known owner can be approved (P10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// An owner must be known. Owners never review.
    #[default]
    Known,
    /// Agents without a known owner are allowed. A known owner still never reviews.
    None,
}

/// Calls that a rule is for. Every given condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// `tool.name`: one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool: Vec<String>,
    /// The clause of our policies that asked for approval, `<policy>/<id>`: one of these. Never matches what a gateway
    /// decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clause: Vec<String>,
    /// `tool.action`: one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub action: Vec<String>,
    /// Plain labels that must have exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// JSON Pointers into the frozen params, which must have exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, serde_json::Value>,
    /// An amount that must be above a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
}

/// True if the amount is above the limit of its currency. An amount that is absent or not an integer, and a
/// currency that is absent or not listed, count as above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// JSON Pointer to the amount, an integer in minor units.
    pub minor: String,
    /// JSON Pointer to the ISO 4217 currency code.
    pub currency: String,
    /// Limit for each currency, in minor units.
    pub over: BTreeMap<String, u64>,
}

impl Rule {
    /// The approval deadline of a request made at `asked`: from this time on, nothing grants it.
    pub fn approval_deadline(&self, asked: Nanos) -> Nanos {
        asked.plus_seconds(self.approve_within)
    }

    /// Time at which half of the time to approve is over.
    pub fn reminder_at(&self, asked: Nanos) -> Nanos {
        self.part_of_time(asked, 1, 2)
    }

    /// Time at which two thirds of the time to approve are over. `None` if the rule has no `escalate`
    /// channels.
    pub fn escalation_at(&self, asked: Nanos) -> Option<Nanos> {
        (!self.escalate.is_empty()).then(|| self.part_of_time(asked, 2, 3))
    }

    fn part_of_time(&self, asked: Nanos, part: u64, of: u64) -> Nanos {
        let whole = self.approval_deadline(asked).0.saturating_sub(asked.0);
        Nanos(asked.0.saturating_add(whole / of * part))
    }

    /// The digest that identifies this rule everywhere: base64url SHA-256 of its RFC 8785 form, 43 characters.
    /// The rule must keep the limits ([`Rule::check`]): numbers that RFC 8785 would change make this panic.
    pub fn digest(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(canonical::of(self)))
    }
}

#[cfg(test)]
mod tests;
