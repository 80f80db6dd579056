//! The override token (`proto/formats/override-token.md`): one compact JWS that says which call was approved, by whom,
//! for which enforcer, until when. Pure: key, claims and time come in; text or claims go out.
//!
//! In scope: claims from an approval's state, mint, verify. Out of scope: the form of a JWS and key ids (`jws`), whether a token may be minted
//! or is still to be spent (`decider`, the journal), where keys lie (`ledger::keyring`).
//!
//! ```text
//! issuer(public_url, &tenant) -> String
//! Claims::new(iss, &tenant, Granted { id, seq }, &state) -> Option<Claims>     None unless a token lives
//! mint(&claims, &signer) -> Result<String, Error>       same claims, same key: same text
//! verify(text, &keys, &Expected { iss, tid, aud, now }) -> Result<Claims, Error>
//! read(text, &keys) -> Result<Claims, Error>, then claims.check(&Expected) apart: a retried redemption may come after exp
//! kid(&vkey) -> String                                  RFC 7638
//! key_of(&keys, kid) -> Option<&Vkey>                   the key that signs a recorded token again
//! jwks(&keys) -> serde_json::Value                      RFC 7517
//! Error::code() -> &'static str                         `token_…`
//! ```
//!
//! `keys` is `published.keys.token()`: newest last; that one signs what is minted now, all of them verify.
//! The algorithm is not read from a token: its header must be, byte for byte, the one header we would write.

use crate::jws::{Fault, Type};
pub use crate::jws::{jwks, key_of, kid};
use data_encoding::BASE64URL_NOPAD;
use decider::approval::{Phase, State};
use ledger::{
    canonical,
    ident::Ident,
    json,
    log::note::{Signer, Vkey},
    time::Nanos,
};
use serde::{Deserialize, Serialize};

/// Longest token, in bytes: room for 128 people, and names of 256 bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The type of override tokens.
const OVERRIDE: Type = Type { typ: "ovr+jwt", bytes_max: TOKEN_BYTES_MAX };
/// Longest validity of a token, in seconds.
pub const LIFE_SECONDS_MAX: u64 = 900;
/// How far our clock may be behind the one that wrote `iat` and `nbf`, in seconds. `exp` has no tolerance.
pub const SKEW_SECONDS: u64 = 30;
/// Name of the form of the call digest, as `call.alg` gives it.
pub const DIGEST_ALG: &str = "countersign-call-v1";
/// Bytes of a token id.
const JTI_BYTES: usize = 16;

/// Claims of a token. Times are whole seconds since 1970 (RFC 7519 `NumericDate`). No parameters, no personal
/// data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// [`issuer`].
    pub iss: String,
    /// The one enforcer that may redeem it: the producer that paused the call.
    pub aud: Ident,
    /// `data.agent.id`.
    pub sub: String,
    /// The tenant.
    pub tid: Ident,
    /// Token id: 16 random bytes, base64url.
    pub jti: String,
    /// Time of minting.
    pub iat: u64,
    /// Start of validity: equal to `iat`.
    pub nbf: u64,
    /// End of validity: not valid at this time or later. At most [`LIFE_SECONDS_MAX`] after `iat`.
    pub exp: u64,
    /// The approval.
    pub apr: Apr,
    /// The call.
    pub call: CallClaim,
    /// Number of possible redemptions: 1.
    pub max: u32,
}

/// Claim `apr`: where the grant is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apr {
    /// Approval id.
    pub id: Ident,
    /// `journal.seq` of the entry that holds `granted`.
    pub seq: u64,
    /// Digest of the rule under which it was granted: base64url SHA-256.
    pub rule: String,
    /// Principal ids of the people whose reviews fill the quorum, ascending; at least one.
    pub by: Vec<Ident>,
}

/// Claim `call`: the approved call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallClaim {
    /// `<tool.name>/<tool.action>`, for people and logs. Names may contain a `/`: only `dig` is binding.
    pub tool: String,
    /// Call digest: base64url SHA-256.
    pub dig: String,
    /// [`DIGEST_ALG`].
    pub alg: String,
}

/// The grant of an approval.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    /// Approval id.
    pub id: &'a Ident,
    /// `journal.seq` of the entry that holds `granted`.
    pub seq: u64,
}

/// What the verifier knows without the token.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// [`issuer`] of this server and tenant.
    pub iss: &'a str,
    /// The tenant of the request.
    pub tid: &'a Ident,
    /// The authenticated enforcer.
    pub aud: &'a Ident,
    /// Current time.
    pub now: Nanos,
}

/// Why a token is refused. Only [`Error::NotYetValid`] may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// The token is longer than [`TOKEN_BYTES_MAX`].
    #[error("a token has at most 16384 bytes")]
    TooBig,
    /// The token is not three parts of canonical base64url.
    #[error("not a compact JWS: send the token exactly as it was minted")]
    Malformed,
    /// The header is not the one header of override tokens.
    #[error("not the header of an override token; no other algorithm, type or order is read")]
    Header,
    /// The key that the token names is not in the JWKS.
    #[error("its key is not, or no longer, one of the tenant's: ask for a new token")]
    UnknownKey,
    /// The signature is wrong: the token was changed, or another key signed it.
    #[error("the signature is wrong")]
    Signature,
    /// We signed it, but this version mints no such claims.
    #[error("its claims are not those of an override token of this version")]
    Claims,
    /// Another server minted the token.
    #[error("it was issued elsewhere")]
    Issuer,
    /// The token belongs to another tenant.
    #[error("it is another tenant's")]
    Tenant,
    /// The token belongs to another enforcer.
    #[error("it was minted for another enforcer, and only that one can redeem it")]
    Audience,
    /// The token is not valid yet, by more than [`SKEW_SECONDS`].
    #[error("it is not valid yet: set the clock right")]
    NotYetValid,
    /// The token's validity has ended.
    #[error("it has expired: ask for a new one")]
    Expired,
}

impl Error {
    /// Stable code of the error.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooBig => "token_too_big",
            Self::Malformed => "token_malformed",
            Self::Header => "token_header",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Claims => "token_claims",
            Self::Issuer => "token_issuer",
            Self::Tenant => "token_tenant",
            Self::Audience => "token_audience",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Expired => "token_expired",
        }
    }
}

/// Claim `iss`: `{public_url}/v1/tenants/{tenant}`.
pub fn issuer(public_url: &str, tenant: &Ident) -> String {
    format!("{}/v1/tenants/{tenant}", public_url.trim_end_matches('/'))
}

impl Claims {
    /// Claims of the valid token in `state`. `None` if no token is valid. The same state gives the same
    /// claims.
    ///
    /// Both times are rounded down to seconds, so that a token is never valid longer than its entry says.
    pub fn new(iss: &str, tenant: &Ident, granted: Granted<'_>, state: &State) -> Option<Self> {
        let requested = state.requested.as_ref()?;
        let token = state.token.as_ref().filter(|_| state.phase == Phase::Minted)?;
        let mut by = state.granted_by.clone();
        by.sort_unstable();
        let (call, iat) = (&requested.call, token.iat.seconds());
        Some(Self {
            iss: iss.to_owned(),
            aud: requested.opening.producer.clone(),
            sub: call.agent.clone(),
            tid: tenant.clone(),
            jti: token.jti.clone(),
            iat,
            nbf: iat,
            exp: token.exp.seconds(),
            apr: Apr {
                id: granted.id.clone(),
                seq: granted.seq,
                rule: requested.rule_digest.clone(),
                by,
            },
            call: CallClaim {
                tool: format!("{}/{}", call.tool, call.action),
                dig: call.digest.clone(),
                alg: DIGEST_ALG.to_owned(),
            },
            max: 1,
        })
    }

    /// Reads what [`mint`] wrote and nothing else: exactly these members, in RFC 8785 form.
    fn read(bytes: &[u8]) -> Option<Self> {
        json::parse(bytes).ok()?;
        let claims: Self = serde_json::from_slice(bytes).ok()?;
        let canonical = canonical::of(&claims) == bytes;
        (canonical && claims.is_sound()).then_some(claims)
    }

    fn is_sound(&self) -> bool {
        let bytes = |text: &str, count| {
            BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes.len() == count)
        };
        let life = self.exp.checked_sub(self.iat);
        self.max == 1
            && self.nbf == self.iat
            && life.is_some_and(|seconds| seconds <= LIFE_SECONDS_MAX)
            && bytes(&self.jti, JTI_BYTES)
            && bytes(&self.apr.rule, 32)
            && bytes(&self.call.dig, 32)
            && self.call.alg == DIGEST_ALG
            && !self.apr.by.is_empty()
            && self.apr.by.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// Checks that the token was minted here, for this enforcer and tenant, and is valid now.
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), Error> {
        if self.iss != expected.iss {
            return Err(Error::Issuer);
        }
        if self.tid != *expected.tid {
            return Err(Error::Tenant);
        }
        if self.aud != *expected.aud {
            return Err(Error::Audience);
        }
        // Whole seconds are enough: the claims have no finer ones.
        let now = expected.now.seconds();
        if self.nbf.max(self.iat) > now.saturating_add(SKEW_SECONDS) {
            return Err(Error::NotYetValid);
        }
        if now >= self.exp { Err(Error::Expired) } else { Ok(()) }
    }
}

/// The token of `claims`. Ed25519 has no randomness: the same claims and key give the same text.
pub fn mint(claims: &Claims, key: &Signer) -> Result<String, Error> {
    OVERRIDE.sign(&canonical::of(claims), key).ok_or(Error::TooBig)
}

/// The claims of a token that one of `keys` signed for exactly this issuer, tenant and enforcer, and that is valid now.
///
/// It says nothing about whether the token was spent or revoked, or whether it fits the call in hand.
pub fn verify(text: &str, keys: &[Vkey], expected: &Expected<'_>) -> Result<Claims, Error> {
    let claims = read(text, keys)?;
    claims.check(expected)?;
    Ok(claims)
}

/// Reads a token that one of `keys` signed. Does not check issuer, audience or times: see [`Claims::check`].
pub fn read(text: &str, keys: &[Vkey]) -> Result<Claims, Error> {
    let payload = OVERRIDE.open(text, keys)?;
    Claims::read(&payload).ok_or(Error::Claims)
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooBig => Self::TooBig,
            Fault::Malformed => Self::Malformed,
            Fault::Header => Self::Header,
            Fault::UnknownKey => Self::UnknownKey,
            Fault::Signature => Self::Signature,
        }
    }
}

#[cfg(test)]
mod tests;
