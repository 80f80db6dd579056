//! Verifies the token that comes with every activity: that Microsoft's Bot Framework issued it, and for us.
//!
//! In scope: the checks, pure but for the clock of `jsonwebtoken`. Out of scope: fetching the keys
//! ([`super::keys`]). No option leaves a check out. Source: Bot Connector authentication, "connector to bot".

use super::{http, inbound::Activity};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// Issuer of these tokens, in every cloud that this release knows.
pub const ISSUER: &str = "https://api.botframework.com";
/// Largest clock difference in seconds. `jsonwebtoken` also accepts the last second, so it is given one less.
pub const SKEW_SECONDS: u64 = 300;
/// The channel to which cards are sent.
pub const CHANNEL: &str = "msteams";
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Shortest modulus of an accepted key, in bits.
const MODULUS_BITS_MIN: usize = 2048;
/// Most keys that are read from one set.
const KEYS_MAX: usize = 64;

/// Why an activity is not accepted. For our log; the sender sees only the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The request has no `Authorization: Bearer …`.
    #[error("no bearer token")]
    NoToken,
    /// The token is not three parts, not RS256, has no key id, or has a critical extension.
    #[error("the token is not RS256 with a key id")]
    Form,
    /// No key of the set has the token's key id.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// Issuer, audience, times or service URL of the token are missing or wrong.
    #[error("the token's issuer, audience, time or claims are wrong")]
    Claims,
    /// The key is not endorsed for the activity's channel.
    #[error("the key is not endorsed for this channel")]
    Endorsement,
    /// The activity's service URL differs from the token's, or is not in the list.
    #[error("the service URL is not the token's, or is not in service_hosts")]
    ServiceUrl,
    /// The activity belongs to another directory than the connection.
    #[error("the directory is not the connection's")]
    Directory,
}

impl Untrusted {
    /// True if the token itself is bad (401); false if it may not be used for this (403).
    pub fn is_token(self) -> bool {
        match self {
            Self::NoToken | Self::Form | Self::UnknownKey | Self::Signature | Self::Claims => true,
            Self::Endorsement | Self::ServiceUrl | Self::Directory => false,
        }
    }
}

/// A public key of the Bot Framework.
#[derive(Clone, Debug)]
pub struct Key {
    kid: String,
    public: DecodingKey,
    endorsements: Vec<String>,
}

impl Key {
    /// Id of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

/// Reads a key set (RFC 7517 with Microsoft's `endorsements`). Keys that are too short, or are not RSA keys
/// for signatures, are left out: nothing that they sign is accepted.
pub fn key_set(json: &[u8]) -> Option<Vec<Key>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        kid: String,
        n: String,
        e: String,
        #[serde(rename = "use")]
        for_use: Option<String>,
        #[serde(default)]
        endorsements: Vec<String>,
    }
    let set: Set = serde_json::from_slice(json).ok()?;
    let read = |value| {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let modulus = data_encoding::BASE64URL_NOPAD.decode(jwk.n.as_bytes()).ok()?;
        let leading = modulus.iter().take_while(|byte| **byte == 0).count();
        let bits = (modulus.len() - leading) * 8;
        let signs = jwk.for_use.as_deref().is_none_or(|for_use| for_use == "sig");
        if jwk.kty != "RSA" || !signs || bits < MODULUS_BITS_MIN {
            return None;
        }
        let public = DecodingKey::from_rsa_components(&jwk.n, &jwk.e).ok()?;
        Some(Key { kid: jwk.kid, public, endorsements: jwk.endorsements })
    };
    Some(set.keys.into_iter().take(KEYS_MAX).filter_map(read).collect())
}

/// The token in an `Authorization` header.
pub fn bearer(header: Option<&str>) -> Result<&str, Untrusted> {
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    let fits = |token: &&str| (1..=TOKEN_BYTES_MAX).contains(&token.len()) && !token.contains(' ');
    token.filter(fits).ok_or(Untrusted::NoToken)
}

/// The key id in a token's header.
pub fn key_id(token: &str) -> Result<String, Untrusted> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Untrusted::Form)?;
    if header.alg != Algorithm::RS256 || header.crit.is_some() {
        return Err(Untrusted::Form);
    }
    header.kid.filter(|kid| !kid.is_empty()).ok_or(Untrusted::Form)
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    service_url: String,
    endorsements: Vec<String>,
}

/// Required claims. A list of issuers or audiences can't be read as text, and so is refused.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    serviceurl: String,
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    appid: Option<String>,
    #[serde(default)]
    azp: Option<String>,
}

/// Checks signature, issuer, audience and times, by this machine's clock.
pub fn verify(token: &str, key: &Key, app_id: &str) -> Result<Speaker, Untrusted> {
    use jsonwebtoken::errors::ErrorKind;
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[app_id]);
    rules.validate_nbf = true;
    rules.leeway = SKEW_SECONDS - 1;
    let decoded = jsonwebtoken::decode::<Claims>(token, &key.public, &rules);
    let claims = decoded.map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature | ErrorKind::RsaFailedSigning => Untrusted::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Untrusted::Form,
        _ => Untrusted::Claims,
    })?;
    let claims = claims.claims;
    let latest = jsonwebtoken::get_current_timestamp() + SKEW_SECONDS;
    let in_future = claims.iat.is_some_and(|iat| iat >= latest);
    // A token that another bot obtained (a "skill") names that bot here.
    let other = |id: &Option<String>| id.as_ref().is_some_and(|id| id != app_id);
    let exact = claims.iss == ISSUER && claims.aud == app_id;
    if in_future || !exact || other(&claims.appid) || other(&claims.azp) {
        return Err(Untrusted::Claims);
    }
    Ok(Speaker { service_url: claims.serviceurl, endorsements: key.endorsements.clone() })
}

impl Speaker {
    /// Checks that the token is valid for this activity: channel, service URL and directory.
    pub fn may_bring(
        &self,
        activity: &Activity,
        directory: &str,
        service_hosts: &[String],
    ) -> Result<(), Untrusted> {
        let endorsed = self.endorsements.iter().any(|channel| channel == CHANNEL);
        if activity.channel_id.as_deref() != Some(CHANNEL) || !endorsed {
            return Err(Untrusted::Endorsement);
        }
        let listed = http::safe_url(&self.service_url)
            .is_some_and(|url| service_hosts.contains(&http::host_of(&url)));
        if activity.service_url.as_deref() != Some(&self.service_url) || !listed {
            return Err(Untrusted::ServiceUrl);
        }
        if activity.is_from(directory) { Ok(()) } else { Err(Untrusted::Directory) }
    }
}

#[cfg(test)]
mod tests;
