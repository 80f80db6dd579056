//! Compact JWS with Ed25519 (RFC 7515, RFC 8037), strictly: one header for each type of token, byte for byte. So no
//! algorithm, no key and no member is ever taken from a token that we would not have written.

use data_encoding::BASE64URL_NOPAD;
use ledger::log::note::{Signer, Vkey, verify_bytes};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A type of token: header `typ`, and its longest text in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Header `typ`.
    pub typ: &'static str,
    /// Longest text.
    pub bytes_max: usize,
}

/// Why a text is no token of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Too long.
    TooBig,
    /// Not three parts of canonical base64url.
    Malformed,
    /// Another header than the one of this type.
    Header,
    /// None of the keys has the key id.
    UnknownKey,
    /// The signature does not verify.
    Signature,
}

impl Type {
    /// The token with this payload. Ed25519 has no randomness: the same payload and key give the same text. `None` if it
    /// is too long.
    pub fn sign(&self, payload: &[u8], key: &Signer) -> Option<String> {
        let [begin, end] = self.header();
        let header = [&begin, kid(key.vkey()).as_str(), &end].concat();
        let header = BASE64URL_NOPAD.encode(header.as_bytes());
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(payload));
        let signature = BASE64URL_NOPAD.encode(&key.sign_bytes(signed.as_bytes()));
        let text = format!("{signed}.{signature}");
        (text.len() <= self.bytes_max).then_some(text)
    }

    /// The payload of a token that one of `keys` signed.
    pub fn open(&self, text: &str, keys: &[Vkey]) -> Result<Vec<u8>, Fault> {
        if text.len() > self.bytes_max {
            return Err(Fault::TooBig);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Fault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Fault::Malformed)?;
        let (header, payload) = (decode(header)?, decode(payload)?);
        let signature = decode(signature)?;
        let key = self.key_of_header(&header, keys)?;
        if !verify_bytes(key, signed.as_bytes(), &signature) {
            return Err(Fault::Signature);
        }
        Ok(payload)
    }

    /// The parts of the header before and after the key id.
    fn header(&self) -> [String; 2] {
        let end = format!(r#"","typ":"{}"}}"#, self.typ);
        [r#"{"alg":"EdDSA","kid":""#.to_owned(), end]
    }

    fn key_of_header<'a>(&self, header: &[u8], keys: &'a [Vkey]) -> Result<&'a Vkey, Fault> {
        let [begin, end] = self.header();
        let kid = header.strip_prefix(begin.as_bytes());
        let kid = kid.and_then(|rest| rest.strip_suffix(end.as_bytes())).ok_or(Fault::Header)?;
        // A thumbprint has 32 bytes. A longer text could smuggle other members into the header.
        let is_thumbprint = BASE64URL_NOPAD.decode(kid).is_ok_and(|bytes| bytes.len() == 32);
        let kid = std::str::from_utf8(kid).ok().filter(|_| is_thumbprint).ok_or(Fault::Header)?;
        key_of(keys, kid).ok_or(Fault::UnknownKey)
    }
}

/// base64url without padding, white space or unused bits.
fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Fault::Malformed)
}

/// The key with this id.
pub fn key_of<'a>(keys: &'a [Vkey], kid: &str) -> Option<&'a Vkey> {
    keys.iter().find(|key| self::kid(key) == kid)
}

/// Key id: base64url SHA-256 of the public key's required JWK members, sorted by name (RFC 7638, RFC 8037).
pub fn kid(key: &Vkey) -> String {
    let x = BASE64URL_NOPAD.encode(key.public_bytes());
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64URL_NOPAD.encode(&Sha256::digest(members))
}

/// The keys as a JWK set (RFC 7517, RFC 8037), in the order given.
pub fn jwks(keys: &[Vkey]) -> Value {
    let jwk = |key: &Vkey| {
        let x = BASE64URL_NOPAD.encode(key.public_bytes());
        json!({"alg": "EdDSA", "crv": "Ed25519", "kid": kid(key), "kty": "OKP", "use": "sig", "x": x})
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}
