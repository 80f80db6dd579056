//! The signature of every journal message outside `decisions.`.
//!
//! Header `Countersign-Signature: <expected>.<base64url Ed25519 signature>`, over `countersign-journal-v1 \n
//! tenant \n epoch \n subject \n expected \n body`. `expected` is the last sequence on the subject before this
//! message, and `epoch` is the journal's. So a message can't be repeated in another place.

use crate::{
    ident::Ident,
    journal::Subject,
    log::note::{Signer, Vkey, verify_bytes},
    own_signatures::Fingerprint,
};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

const DOMAIN: &str = "countersign-journal-v1";

/// Place of a signed message.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Tenant of the journal.
    pub tenant: &'a Ident,
    /// The journal's epoch, 1 or later.
    pub epoch: u64,
    /// Subject on which it is published.
    pub subject: &'a Subject,
    /// The last sequence on that subject before it. 0 if none.
    pub expected: u64,
}

impl Place<'_> {
    fn message(&self, body: &[u8]) -> Vec<u8> {
        let Self { tenant, epoch, subject, expected } = self;
        let mut message =
            format!("{DOMAIN}\n{tenant}\n{epoch}\n{subject}\n{expected}\n").into_bytes();
        message.extend_from_slice(body);
        message
    }
}

/// The header's value for `body` at this place.
pub fn sign(signer: &Signer, place: Place<'_>, body: &[u8]) -> String {
    let signature = signer.sign_bytes(&place.message(body));
    format!("{}.{}", place.expected, BASE64URL_NOPAD.encode(&signature))
}

/// True if `header` is the signature of one of `keys` over `body` at exactly this place.
pub fn verify(keys: &[Vkey], place: Place<'_>, body: &[u8], header: &str) -> bool {
    let Some((expected, signature)) = header.split_once('.') else { return false };
    let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else { return false };
    expected == place.expected.to_string()
        && keys.iter().any(|key| verify_bytes(key, &place.message(body), &signature))
}

/// SHA-256 of `key`, of `body` at its place, and of its `header`: equal only for the same signature on the same message.
pub fn fingerprint(key: &Vkey, place: Place<'_>, body: &[u8], header: &str) -> Fingerprint {
    let mut digest = Sha256::new();
    for part in [key.to_string().as_bytes(), &place.message(body), header.as_bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// The sequence that the message must follow, by its header.
pub fn expected(header: &str) -> Option<u64> {
    header.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_in_one_place_only() {
        let (acme, other) = (Ident::new("acme").unwrap(), Ident::new("other").unwrap());
        let subject = Subject::parse("system.access").unwrap();
        let place = Place { tenant: &acme, epoch: 1, subject: &subject, expected: 4 };
        let signer = Signer::new("journal", &[3; 32]);
        let keys = [signer.vkey().clone()];
        let header = sign(&signer, place, b"body");
        let check = |place: Place<'_>, body: &[u8], header: &str, holds: bool| {
            assert_eq!(verify(&keys, place, body, header), holds, "{place:?} {header}");
        };
        check(place, b"body", &header, true);
        check(place, b"Body", &header, false);
        check(Place { tenant: &other, ..place }, b"body", &header, false);
        check(Place { epoch: 2, ..place }, b"body", &header, false);
        check(Place { expected: 5, ..place }, b"body", &header, false);
        let moved = Subject::parse("system.key").unwrap();
        check(Place { subject: &moved, ..place }, b"body", &header, false);
        check(place, b"body", &header.replacen('4', "04", 1), false);
        check(place, b"body", "", false);
        assert!(!verify(&[], place, b"body", &header));
        let made = fingerprint(&keys[0], place, b"body", &header);
        assert_eq!(made, fingerprint(&keys[0], place, b"body", &header));
        for other in [
            fingerprint(&keys[0], place, b"Body", &header),
            fingerprint(&keys[0], Place { epoch: 2, ..place }, b"body", &header),
            fingerprint(&keys[0], place, b"body", &header.replacen('4', "5", 1)),
            fingerprint(Signer::new("journal", &[4; 32]).vkey(), place, b"body", &header),
        ] {
            assert_ne!(made, other);
        }
    }
}
