//! What was proven of a call beside its params: the token of its agent, and the decision from which it follows. These are
//! facts.

use ledger::system::{LeafAt, agent::Issue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenFault {
    /// It is no token of ours: another form, header, algorithm or other claims.
    #[serde(rename = "token_malformed")]
    Malformed,
    /// No key in force has its key id.
    #[serde(rename = "token_unknown_key")]
    UnknownKey,
    /// The signature does not verify.
    #[serde(rename = "token_signature")]
    Signature,
    /// Another issuer.
    #[serde(rename = "token_issuer")]
    Issuer,
    /// Another tenant.
    #[serde(rename = "token_tenant")]
    Tenant,
    /// It is of another agent than the one that asks.
    #[serde(rename = "token_agent")]
    Agent,
    /// The call names another chain.
    #[serde(rename = "token_chain")]
    Chain,
    /// It is not valid yet.
    #[serde(rename = "token_not_yet_valid")]
    NotYetValid,
    /// It has expired.
    #[serde(rename = "token_expired")]
    Expired,
    /// No entry of the log says that it was issued.
    #[serde(rename = "token_not_issued")]
    NotIssued,
    /// It, or a token on which it rests, was revoked.
    #[serde(rename = "token_revoked")]
    Revoked,
}

impl TokenFault {
    /// Every one with its code.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::Malformed, "token_malformed"),
        (Self::UnknownKey, "token_unknown_key"),
        (Self::Signature, "token_signature"),
        (Self::Issuer, "token_issuer"),
        (Self::Tenant, "token_tenant"),
        (Self::Agent, "token_agent"),
        (Self::Chain, "token_chain"),
        (Self::NotYetValid, "token_not_yet_valid"),
        (Self::Expired, "token_expired"),
        (Self::NotIssued, "token_not_issued"),
        (Self::Revoked, "token_revoked"),
    ];

    /// Its code.
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(fault, _)| *fault == self).map_or("", |(_, code)| code)
    }
}

/// What the token of a call said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum TokenFact {
    /// It counts.
    Counts {
        /// Its id.
        jti: String,
        /// The tools that it is for.
        scope: Vec<String>,
        /// The region that its calls must name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
    /// It does not count.
    Refused {
        /// Why.
        refused: TokenFault,
    },
}

/// A token that counts, with the entry that issued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The entry that issued it: plain in the decision.
    pub token: LeafAt,
    /// What it says.
    pub issue: Issue,
    /// Its id.
    pub jti: String,
}

impl TokenFact {
    /// What a token says.
    pub fn of(jti: &str, issue: &Issue) -> Self {
        let (scope, region) = (issue.scope.clone(), issue.region.clone());
        Self::Counts { jti: jti.to_owned(), scope, region }
    }
}

/// Whether a value is the one that the parent's call had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Likeness {
    /// The same JSON value.
    Same,
    /// Another one.
    Other,
    /// One of the two is absent or `null`, or the params of the parent are not there any more.
    Unknown,
}

/// What is known of the decision from which a call follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ParentFact {
    /// It is there.
    Found {
        /// `tool.name` of its call.
        tool: String,
        /// `tool.action` of its call.
        action: String,
        /// Its verdict.
        verdict: String,
        /// Of each pointer that a clause compares, whether the value is the same.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        unchanged: BTreeMap<String, Likeness>,
    },
    /// No decision of this log has that place and that leaf hash.
    Missing {
        /// `parent_unknown`
        refused: NoParent,
    },
}

/// The only reason for which a parent does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoParent {
    /// It is no decision of this log.
    #[serde(rename = "parent_unknown")]
    Unknown,
}

impl ParentFact {
    /// The fact that there is none.
    pub fn missing() -> Self {
        Self::Missing { refused: NoParent::Unknown }
    }

    /// True if both say the same of tool, action and verdict.
    pub fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Found { tool, action, verdict, .. },
                Self::Found { tool: of, action: to, verdict: was, .. },
            ) => (tool, action, verdict) == (of, to, was),
            (a, b) => a == b,
        }
    }

    /// True if it says the same but for values that are not there any more.
    pub fn is_less_than(&self, before: &Self) -> bool {
        let (Self::Found { unchanged: now, .. }, Self::Found { unchanged: then, .. }) =
            (self, before)
        else {
            return false;
        };
        self.is_alike(before)
            && now.keys().eq(then.keys())
            && now.iter().all(|(at, likeness)| {
                *likeness == Likeness::Unknown || then.get(at) == Some(likeness)
            })
    }

    /// True if it is there.
    pub fn is_found(&self) -> bool {
        matches!(self, Self::Found { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_it_is_told() {
        for (fault, code) in TokenFault::ALL {
            let fact = serde_json::json!({"refused": code});
            assert_eq!(serde_json::to_value(TokenFact::Refused { refused: fault }).unwrap(), fact);
            assert_eq!(fault.code(), code);
        }
        let both = r#"{"jti":"1-3","scope":["a"],"refused":"token_expired"}"#;
        assert!(serde_json::from_str::<TokenFact>(both).is_err());
        let found = r#"{"tool":"a","action":"b","verdict":"allow","refused":"parent_unknown"}"#;
        assert!(serde_json::from_str::<ParentFact>(found).is_err());
    }
}
