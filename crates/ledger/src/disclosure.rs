//! Salted digests of payload fields, so that a person can be forgotten while every proof stays valid (P11).
//!
//! A disclosure is the RFC 8785 text of `[salt, name, value]`; its digest is the base64url SHA-256 of that text (the
//! construction of SD-JWT, RFC 9901). The leaf holds digests only. Salts come from a seed that is never stored.

use crate::{canonical, ident::Ident};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of the random seed in the `Countersign-Salt` header.
pub const SEED_BYTES: usize = 16;

/// Number of hash characters in an approval id: 130 bits.
const APPROVAL_ID_CHARACTERS: usize = 26;

/// One payload field: committed by a salted digest, stored apart, erasable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// For a member of `data.payload`, its bare name. For anything else, its JSON Pointer in the event,
    /// beginning with `/`.
    pub name: String,
    /// RFC 8785 form of the value.
    pub value: Vec<u8>,
}

/// Seed of the salts of one event. Wiped when dropped.
#[derive(Clone)]
pub struct Seed {
    bytes: Zeroizing<[u8; 32]>,
    length: usize,
    derived: bool,
}

impl Seed {
    /// The seed in a `Countersign-Salt` header: 16 bytes in base64url without padding.
    pub fn from_header(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?);
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.get_mut(..SEED_BYTES)?.copy_from_slice(decoded.get(..SEED_BYTES)?);
        (decoded.len() == SEED_BYTES).then_some(Self { bytes, length: SEED_BYTES, derived: false })
    }

    /// The seed of a message without the header: `HMAC(tenant salt key, epoch ‖ seq)`, both u64 big-endian.
    ///
    /// A holder of the salt key can recompute it and test guesses, even after erasure. The entry says
    /// `derived`.
    pub fn derive(salt_key: &[u8; 32], epoch: u64, seq: u64) -> Self {
        let mut mac = keyed(salt_key);
        mac.update(&epoch.to_be_bytes());
        mac.update(&seq.to_be_bytes());
        Self {
            bytes: Zeroizing::new(mac.finalize().into_bytes().into()),
            length: 32,
            derived: true,
        }
    }

    /// True if it was derived from the salt key; false if the producer sent it.
    pub fn is_derived(&self) -> bool {
        self.derived
    }

    /// The salt of one name: `HMAC-SHA256(seed, JCS[producer, source, id, name])`.
    pub fn salt(&self, scope: &Scope<'_>, name: &str) -> Salt {
        self.salts(scope).of(name)
    }

    /// The salts of one event. What they have in common is hashed once.
    pub fn salts(&self, scope: &Scope<'_>) -> Salts {
        let mut common = Vec::with_capacity(128);
        common.push(b'[');
        for part in [scope.producer, scope.source, scope.id] {
            canonical::write_string(part, &mut common);
            common.push(b',');
        }
        let mut mac = keyed(&self.bytes[..self.length]);
        mac.update(&common);
        Salts(mac)
    }
}

/// The key of a tenant's redactions: the same value gets the same token, and the same received call the same mark,
/// without the value being found from them. Derived from the salt key, so every server of the tenant has it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedactionKey(Zeroizing<[u8; 32]>);

impl RedactionKey {
    /// The key of a tenant with this salt key.
    pub fn derive(salt_key: &[u8; 32]) -> Self {
        let mac = keyed(salt_key).chain_update(b"countersign-redaction-v1");
        Self(Zeroizing::new(mac.finalize().into_bytes().into()))
    }

    /// `HMAC-SHA256(key, what ‖ 0 ‖ value)`. `what` says what the value is, and has no zero byte.
    pub fn mark(&self, what: &str, value: &str) -> [u8; 32] {
        let mac = keyed(&*self.0).chain_update(what).chain_update([0]).chain_update(value);
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for RedactionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedactionKey")
    }
}

/// Makes the salts of one event.
pub struct Salts(Hmac<Sha256>);

impl Salts {
    /// The salt of one name.
    pub fn of(&self, name: &str) -> Salt {
        let mut rest = Vec::with_capacity(name.len() + 3);
        canonical::write_string(name, &mut rest);
        rest.push(b']');
        let mac = self.0.clone().chain_update(&rest);
        Salt(BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// The event whose fields are salted. Parts are empty if a message has none.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The producer, or "" for a message that has none.
    pub producer: &'a str,
    /// The event's source.
    pub source: &'a str,
    /// The event's id.
    pub id: &'a str,
    /// True for a decision of ours. Such decisions have keys and numbers of their own, so that no producer can take one
    /// in advance.
    pub ours: bool,
}

impl Scope<'_> {
    /// The texts that name the event within its tenant.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.source_texts().chain([self.id])
    }

    /// The approval that the event opens: `apr-` and the first 26 characters of base32 of
    /// `SHA-256(JCS[tenant, …texts])`. Both sides compute it, so a redelivered decision opens no second approval.
    pub fn approval_id(&self, tenant: &Ident) -> Ident {
        let texts: Vec<&str> = std::iter::once(tenant.as_str()).chain(self.texts()).collect();
        let hash = BASE32_NOPAD.encode(&Sha256::digest(canonical::of(&texts)));
        let hash = hash[..APPROVAL_ID_CHARACTERS].to_ascii_lowercase();
        Ident::new(&format!("apr-{hash}")).expect("letters, digits, 30 characters")
    }

    /// The texts that name its source within its tenant.
    pub fn source_texts(&self) -> impl Iterator<Item = &str> {
        self.ours.then_some("ours").into_iter().chain([self.producer, self.source])
    }
}

/// A salt: 32 bytes in base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salt(pub String);

/// The text `[salt, name, value]`; `value` is already in RFC 8785 form.
pub fn text(salt: &Salt, name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(salt.0.len() + name.len() + value.len() + 8);
    write(salt, name, value, &mut out);
    out
}

/// Appends the text `[salt, name, value]`.
pub fn write(salt: &Salt, name: &str, value: &[u8], out: &mut Vec<u8>) {
    write_head(salt, name, out);
    out.extend_from_slice(value);
    out.push(b']');
}

fn write_head(salt: &Salt, name: &str, out: &mut Vec<u8>) {
    out.push(b'[');
    canonical::write_string(&salt.0, out);
    out.push(b',');
    canonical::write_string(name, out);
    out.push(b',');
}

/// The digest in the leaf: base64url SHA-256, 43 characters.
pub fn digest(text: &[u8]) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(text))
}

/// The digest of `[salt, name, value]`, without making that text.
pub fn digest_of(salt: &Salt, name: &str, value: &[u8]) -> String {
    let mut head = Vec::with_capacity(salt.0.len() + name.len() + 8);
    write_head(salt, name, &mut head);
    let digest = Sha256::new().chain_update(&head).chain_update(value).chain_update(b"]");
    BASE64URL_NOPAD.encode(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, reads: bool) {
        assert_eq!(Seed::from_header(header).is_some(), reads, "{header}");
    }

    #[test]
    fn seeds() {
        check("AAAAAAAAAAAAAAAAAAAAAA", true);
        check("AAAAAAAAAAAAAAAAAAAAAB", false);
        check("AAAAAAAAAAAAAAAAAAAAAA==", false);
        check("AAAA", false);
        check("", false);
        check(&"A".repeat(43), false);
    }

    /// Computed with Python's `hmac` and `hashlib`; also in `proto/vectors/disclosure.json`.
    #[test]
    fn p11_golden() {
        let seed = Seed::from_header("AAECAwQFBgcICQoLDA0ODw").unwrap();
        let scope = Scope { producer: "gw-1", source: "/gw", id: "1", ours: false };
        let salt = seed.salt(&scope, "params");
        let text = text(&salt, "params", br#"{"a":1}"#);
        let vector: serde_json::Value =
            serde_json::from_slice(include_bytes!("../../../proto/vectors/disclosure.json"))
                .unwrap();
        assert_eq!(salt.0, vector["salt"].as_str().unwrap());
        assert_eq!(std::str::from_utf8(&text).unwrap(), vector["disclosure"].as_str().unwrap());
        assert_eq!(digest(&text), vector["digest"].as_str().unwrap());
        let derived = Seed::derive(&[9; 32], 1, 7).salt(&scope, "params");
        assert_eq!(derived.0, vector["derived_salt"].as_str().unwrap());
    }
}
