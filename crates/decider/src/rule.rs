//! Who must approve what: ordered rules, the first match wins (`proto/formats/rules.md`).

use crate::quorum::Quorum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One rule, as it is applied and copied whole into an approval. Times are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A name for people, unique within the file.
    pub name: String,
    /// Which calls; everything absent matches every call.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// Who must say yes.
    pub quorum: Quorum,
    /// How many refusals end it.
    pub deny: u32,
    /// From the decision event to the approval deadline.
    pub approve_within: u64,
    /// From the grant to the execution deadline.
    pub execute_within: u64,
    /// From the redemption until a missing execution report counts as unknown.
    pub report_within: u64,
    /// Life of an override token, 1 to 900.
    pub token_life: u64,
    /// Channels asked at once, by their names in the channels table; the web page is always there.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Channels asked too at 2/3 of the time.
    #[serde(default)]
    pub escalate: Vec<String>,
    /// A review only on the web page, by a sign-in younger than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<u64>,
    /// Whether the agent must have a known owner.
    #[serde(default)]
    pub owner: Owner,
}

/// Whether an agent without known owner can be approved (P10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// An owner must be known, and never reviews.
    #[default]
    Known,
    /// The rule allows agents that nobody owns. A known owner still never reviews.
    None,
}

/// Which calls a rule is for. Every given condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// `tool.name`: one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool: Vec<String>,
    /// `tool.action`: one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub action: Vec<String>,
    /// Plain labels with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// JSON Pointers into the frozen params, with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, serde_json::Value>,
    /// An amount above a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
}

/// Holds when the amount is above the limit of its currency. An absent or non-integer amount, an absent or unlisted
/// currency count as above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// JSON Pointer to the amount in integer minor units.
    pub minor: String,
    /// JSON Pointer to the ISO 4217 code.
    pub currency: String,
    /// Limit by currency, in minor units.
    pub over: BTreeMap<String, u64>,
}
