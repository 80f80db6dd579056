//! The token by which an agent proves who it is (`proto/formats/agent-token.md`): a compact JWS whose claims follow from
//! the `agent` entry that issued it, and from nothing else. Pure: entry, key and time come in; text or a verdict on it
//! go out.
//!
//! In scope: claims of an entry, mint, reading, all checks of one token by its entry. Out of scope: whether the token
//! was revoked (`ledger::post::Identities`), whether it may be issued (`decider::policy`, posting).

use crate::jws::{Fault, Type};
use decider::policy::{AGENT_TOKEN_BYTES_MAX, TokenFault};
use ledger::{
    canonical,
    ident::Ident,
    json,
    log::note::{Signer, Vkey},
    system::agent::{CHAIN_MAX, Confirmation, Issue},
    time::Nanos,
};
use serde::{Deserialize, Serialize};

/// The type of agents' tokens.
const AGENT: Type = Type { typ: "agent+jwt", bytes_max: AGENT_TOKEN_BYTES_MAX };
/// How far our clock may be behind the one that wrote `iat` and `nbf`, in seconds. `exp` has no tolerance.
pub const SKEW_SECONDS: u64 = 30;

/// Claims of a token. Times are whole seconds since 1970 (RFC 7519 `NumericDate`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// `{public_url}/v1/tenants/{tenant}`
    pub iss: String,
    /// The agent for whom all others of the chain act: its root. Without `act`, the agent that asks.
    pub sub: String,
    /// The agent that asks, and in it those before it (RFC 8693): the last one is outermost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// The tenant.
    pub tenant: Ident,
    /// The organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The tools that it is for, with a blank between them (RFC 8693).
    pub scope: String,
    /// The region that its calls must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The key that the agent must hold (RFC 7800). Gateways check it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// When it was issued.
    pub iat: u64,
    /// Start of validity: equal to `iat`.
    pub nbf: u64,
    /// End of validity: not valid at this time or later.
    pub exp: u64,
    /// Number of the log, `-`, and the leaf index of the entry that issued it.
    pub jti: String,
}

/// Claim `act`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The agent.
    pub sub: String,
    /// The one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

/// What a token is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Claim `iss` of this server and tenant.
    pub iss: &'a str,
    /// The tenant.
    pub tenant: &'a Ident,
    /// The origin of its log.
    pub origin: &'a str,
}

/// Claim `jti`: names a token in everything that an issuer issues. `origin`: that of the log.
pub fn jti(origin: &str, index: u64) -> String {
    format!("{}-{index}", log_number(origin))
}

/// The leaf index in a token's id. `None` if it is no id of a token of this log.
pub fn index_of(jti: &str, origin: &str) -> Option<u64> {
    let (number, index) = jti.split_once('-')?;
    let index: u64 = index.parse().ok()?;
    (number == log_number(origin) && self::jti(origin, index) == jti).then_some(index)
}

fn log_number(origin: &str) -> &str {
    origin.rsplit('/').next().unwrap_or_default()
}

impl Claims {
    /// The claims of the token that the entry at `index` issued.
    pub fn of(issue: &Issue, index: u64, expected: &Expected<'_>) -> Self {
        let mut act = None;
        for agent in issue.chain.iter().skip(1) {
            act = Some(Act { sub: agent.clone(), act: act.map(Box::new) });
        }
        Self {
            iss: expected.iss.to_owned(),
            sub: issue.chain.first().cloned().unwrap_or_default(),
            act,
            tenant: expected.tenant.clone(),
            org: issue.org.clone(),
            scope: issue.scope.join(" "),
            region: issue.region.clone(),
            cnf: issue.cnf.clone(),
            iat: issue.iat,
            nbf: issue.iat,
            exp: issue.exp,
            jti: jti(expected.origin, index),
        }
    }

    /// The agent that asks.
    pub fn agent(&self) -> &str {
        self.act.as_ref().map_or(&self.sub, |act| &act.sub)
    }

    /// The token's text.
    pub fn mint(&self, key: &Signer) -> Option<String> {
        AGENT.sign(&canonical::of(self), key)
    }

    /// The leaf index of the entry that issued it.
    ///
    /// Errors: it is of another issuer or tenant, or has no id of this log.
    pub fn index(&self, expected: &Expected<'_>) -> Result<u64, TokenFault> {
        if self.iss != expected.iss {
            return Err(TokenFault::Issuer);
        }
        if self.tenant != *expected.tenant {
            return Err(TokenFault::Tenant);
        }
        index_of(&self.jti, expected.origin).ok_or(TokenFault::NotIssued)
    }

    /// Checks that it is valid at `now`.
    pub fn check_time(&self, now: Nanos) -> Result<(), TokenFault> {
        let now = now.seconds();
        if self.nbf.max(self.iat) > now.saturating_add(SKEW_SECONDS) {
            return Err(TokenFault::NotYetValid);
        }
        if now >= self.exp { Err(TokenFault::Expired) } else { Ok(()) }
    }

    fn depth(&self) -> usize {
        let acts = std::iter::successors(self.act.as_ref(), |act| act.act.as_deref());
        1 + acts.take(CHAIN_MAX).count()
    }
}

/// Reads a token that one of `keys` signed: exactly what [`Claims::mint`] writes.
pub fn read(text: &str, keys: &[Vkey]) -> Result<Claims, TokenFault> {
    let payload = AGENT.open(text, keys).map_err(|fault| match fault {
        Fault::TooBig | Fault::Malformed | Fault::Header => TokenFault::Malformed,
        Fault::UnknownKey => TokenFault::UnknownKey,
        Fault::Signature => TokenFault::Signature,
    })?;
    json::parse(&payload).map_err(|_| TokenFault::Malformed)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenFault::Malformed)?;
    let sound = canonical::of(&claims) == payload && claims.depth() <= CHAIN_MAX;
    sound.then_some(claims).ok_or(TokenFault::Malformed)
}

#[cfg(test)]
mod tests;
