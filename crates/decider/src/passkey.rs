//! Passkeys (`WebAuthn` Level 3): what a person's device signs, and whether it did.
//!
//! In scope: the challenges, and the checks of an enrolment and of a signature. They are pure, so an auditor repeats them
//! without a server. Out of scope: which passkeys are in force, and whether a nonce is fresh.

use data_encoding::BASE64URL_NOPAD;
use ledger::{
    canonical,
    ident::Ident,
    system::{LeafAt, Passkey},
};
use p256::ecdsa::signature::Verifier as _;
use rsa::{pkcs8::DecodePublicKey as _, traits::PublicKeyParts as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Prefixes of the hashed bytes, so that a signature for one purpose never counts for another.
const ANSWER: &[u8] = b"countersign-answer-v1\0";
const SIGN_IN: &[u8] = b"countersign-sign-in-v1\0";
const ENROLMENT: &[u8] = b"countersign-enrolment-v1\0";
/// Largest parts of a signature, in bytes. A review with them fits into one message.
const CLIENT_DATA_BYTES_MAX: usize = 2048;
const PART_BYTES_MAX: usize = 1100;
/// Length of authenticator data without extensions: hash of the relying party, flags, counter.
const PLAIN_BYTES: usize = 37;
/// Bytes before the id of a credential in an enrolment: the plain part, the model, the id's length.
const CREDENTIAL_AT: usize = PLAIN_BYTES + 18;
/// Flags of authenticator data.
const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const ATTESTED: u8 = 1 << 6;
/// Sizes of RSA keys, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a signature or an enrolment does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A part can't be read.
    #[error("a part of it can't be read")]
    Unreadable,
    /// It was made for something else than this.
    #[error("it was made for another purpose")]
    Purpose,
    /// It signs another answer.
    #[error("it signs something else")]
    Challenge,
    /// It was made on another page.
    #[error("it was made on a page of another origin")]
    Origin,
    /// It was made for another relying party.
    #[error("it was made for another relying party")]
    RelyingParty,
    /// The device did not verify the person.
    #[error("the device did not verify the person")]
    NotVerified,
    /// The key's algorithm or size is not accepted.
    #[error("the public key is of a kind that is not accepted")]
    Key,
    /// The signature is not by this key.
    #[error("the signature is not by this passkey")]
    Signature,
}

/// An answer that a passkey signs. The challenge follows from all of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Answer<'a> {
    /// The approval.
    pub approval_id: &'a Ident,
    /// `approve` or `deny`.
    pub decision: &'a str,
    /// The call digest, whole.
    pub digest: &'a str,
    /// Value of the server that makes each challenge different.
    pub nonce: &'a str,
    /// The person who answers.
    pub person: &'a Ident,
    /// Tenant of the approval.
    pub tenant: &'a Ident,
    /// Version of the approval that was shown.
    pub version: u64,
}

impl Answer<'_> {
    /// The challenge: SHA-256 over a domain and the RFC 8785 form.
    pub fn challenge(&self) -> [u8; 32] {
        Sha256::new_with_prefix(ANSWER).chain_update(canonical::of(self)).finalize().into()
    }
}

/// The challenge of a sign-in.
pub fn challenge_of_sign_in(nonce: &str) -> [u8; 32] {
    Sha256::new_with_prefix(SIGN_IN).chain_update(nonce).finalize().into()
}

/// The challenge of an enrolment.
pub fn challenge_of_enrolment(nonce: &str) -> [u8; 32] {
    Sha256::new_with_prefix(ENROLMENT).chain_update(nonce).finalize().into()
}

/// What a device returned, as a browser sends it: each part base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The authenticator data.
    pub authenticator_data: String,
    /// The client data: JSON of the browser.
    pub client_data: String,
    /// The signature over both.
    pub signature: String,
}

impl Assertion {
    /// Checks it against a passkey and the challenge that it must sign. Returns the device's counter; 0 if it has none.
    pub fn verify(&self, passkey: &Passkey, challenge: &[u8; 32]) -> Result<u32, Broken> {
        let client = decoded(&self.client_data, CLIENT_DATA_BYTES_MAX)?;
        let data = decoded(&self.authenticator_data, PART_BYTES_MAX)?;
        let signature = decoded(&self.signature, PART_BYTES_MAX)?;
        check_client(&client, "webauthn.get", challenge, &passkey.origin)?;
        let counter = check_data(&data, &passkey.origin)?;
        let mut signed = data;
        signed.extend_from_slice(&Sha256::digest(&client));
        Key::read(&decoded(&passkey.public_key, PART_BYTES_MAX)?)?.check(&signed, &signature)?;
        Ok(counter)
    }
}

/// A signed answer, as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The `access` entry that enrolled the passkey.
    pub enrolled: LeafAt,
    /// Version of the approval that was shown.
    pub version: u64,
    /// Value of the server in the challenge.
    pub nonce: String,
    /// What the device returned.
    pub assertion: Assertion,
}

/// A new passkey, as a browser sends it: each part base64url.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The authenticator data.
    pub authenticator_data: String,
    /// The client data: JSON of the browser.
    pub client_data: String,
    /// The public key as DER (`SubjectPublicKeyInfo`).
    pub public_key: String,
}

impl Enrolment {
    /// Checks it, and returns the passkey. There is no attestation: that people approve it says whose it is.
    pub fn verify(&self, challenge: &[u8; 32], origin: &str) -> Result<Passkey, Broken> {
        let client = decoded(&self.client_data, CLIENT_DATA_BYTES_MAX)?;
        let data = decoded(&self.authenticator_data, 2 * PART_BYTES_MAX)?;
        check_client(&client, "webauthn.create", challenge, origin)?;
        check_data(&data, origin)?;
        if data[32] & ATTESTED == 0 {
            return Err(Broken::Unreadable);
        }
        let length = data.get(CREDENTIAL_AT - 2..CREDENTIAL_AT).ok_or(Broken::Unreadable)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let credential = data.get(CREDENTIAL_AT..CREDENTIAL_AT + length);
        let credential = credential.filter(|id| !id.is_empty()).ok_or(Broken::Unreadable)?;
        Key::read(&decoded(&self.public_key, PART_BYTES_MAX)?)?;
        Ok(Passkey {
            credential: BASE64URL_NOPAD.encode(credential),
            public_key: self.public_key.clone(),
            origin: origin.to_owned(),
        })
    }
}

/// The host of an origin: the id of the relying party.
pub fn relying_party(origin: &str) -> &str {
    let host = origin.split_once("://").map_or("", |(_, rest)| rest);
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

/// A public key of one of the two kinds that devices make: ES256 everywhere, RS256 on Windows.
enum Key {
    P256(p256::ecdsa::VerifyingKey),
    Rsa(rsa::pkcs1v15::VerifyingKey<Sha256>),
}

impl Key {
    fn read(der: &[u8]) -> Result<Self, Broken> {
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(der) {
            return Ok(Self::P256(key));
        }
        let key = rsa::RsaPublicKey::from_public_key_der(der).map_err(|_| Broken::Key)?;
        if !RSA_BYTES.contains(&key.size()) {
            return Err(Broken::Key);
        }
        Ok(Self::Rsa(rsa::pkcs1v15::VerifyingKey::new(key)))
    }

    fn check(&self, signed: &[u8], signature: &[u8]) -> Result<(), Broken> {
        let broken = |_| Broken::Signature;
        match self {
            Self::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(broken)?;
                key.verify(signed, &signature).map_err(broken)
            }
            Self::Rsa(key) => {
                let signature = rsa::pkcs1v15::Signature::try_from(signature).map_err(broken)?;
                key.verify(signed, &signature).map_err(broken)
            }
        }
    }
}

/// The members of client data that are checked. Browsers add others.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    purpose: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

fn check_client(
    bytes: &[u8],
    purpose: &str,
    challenge: &[u8; 32],
    origin: &str,
) -> Result<(), Broken> {
    let data: ClientData = serde_json::from_slice(bytes).map_err(|_| Broken::Unreadable)?;
    if data.purpose != purpose {
        Err(Broken::Purpose)
    } else if data.origin != origin || data.cross_origin {
        Err(Broken::Origin)
    } else if data.challenge != BASE64URL_NOPAD.encode(challenge) {
        Err(Broken::Challenge)
    } else {
        Ok(())
    }
}

/// Checks relying party and flags. Returns the counter.
fn check_data(data: &[u8], origin: &str) -> Result<u32, Broken> {
    let plain: &[u8; PLAIN_BYTES] = data.first_chunk().ok_or(Broken::Unreadable)?;
    if plain[..32] != Sha256::digest(relying_party(origin))[..] {
        return Err(Broken::RelyingParty);
    }
    if plain[32] & (PRESENT | VERIFIED) != PRESENT | VERIFIED {
        return Err(Broken::NotVerified);
    }
    Ok(u32::from_be_bytes([plain[33], plain[34], plain[35], plain[36]]))
}

fn decoded(text: &str, bytes_max: usize) -> Result<Vec<u8>, Broken> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Broken::Unreadable)?;
    if bytes.len() <= bytes_max { Ok(bytes) } else { Err(Broken::Unreadable) }
}

#[cfg(test)]
mod tests;
