//! The seal: a MAC over the records from which the server starts. Its key is not in the database.
//!
//! Somebody who can write the database but holds no key can change everything in it. So the record from which
//! posting starts, and the few others that the log does not prove, are trusted only under this seal. The seal
//! does not show that a record is the newest one. The guard does, which is outside the database.
//!
//! Form: `value ‖ "\n" ‖ base64url HMAC-SHA256(key, "countersign-seal-v1\n" ‖ what ‖ "\n" ‖ place ‖ "\n" ‖
//! value)`.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const DOMAIN: &str = "countersign-seal-v1";
/// `what` of a log's commit record.
pub const POSITION: &str = "position";
/// `what` of the operator key's digest.
pub const OPERATOR: &str = "operator";

/// `what` of a record of a spool.
pub const SPOOL: &str = "spool";

/// The key of the seal, `<keys_dir>/seal.key`.
pub struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    /// The key with these 32 bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    fn mac(&self, what: &str, place: &str, value: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.as_ref())
            .expect("HMAC takes keys of every length");
        mac.update(format!("{DOMAIN}\n{what}\n{place}\n").as_bytes());
        mac.update(value);
        mac
    }

    /// Seals `value`. `what` names the record, `place` its tenant, or nothing. Neither may contain a line end.
    pub fn seal(&self, what: &str, place: &str, value: &[u8]) -> Vec<u8> {
        let tag = self.mac(what, place, value).finalize().into_bytes();
        let mut out = value.to_vec();
        out.push(b'\n');
        out.extend_from_slice(BASE64URL_NOPAD.encode(&tag).as_bytes());
        out
    }

    /// The MAC alone, over the parts one after another. For records that are kept beside it.
    pub fn tag(&self, what: &str, place: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.mac(what, place, &[]);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The value of a record that this key sealed as `what` of `place`. `None` for anything else.
    pub fn open<'a>(&self, what: &str, place: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (value, tag) = split(sealed)?;
        let tag = BASE64URL_NOPAD.decode(tag).ok()?;
        self.mac(what, place, value).verify_slice(&tag).ok().map(|()| value)
    }
}

/// The value of a sealed record, unchecked. For a judge without the key, who derives the value again.
pub fn value(sealed: &[u8]) -> &[u8] {
    split(sealed).map_or(sealed, |(value, _)| value)
}

fn split(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = sealed.iter().rposition(|byte| *byte == b'\n')?;
    Some((&sealed[..at], &sealed[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_only_the_sealed_value_opens_and_only_in_its_place() {
        let key = SealKey::new(Zeroizing::new([1; 32]));
        let sealed = key.seal("position", "acme", b"{\"size\":3}\nmore");
        let check = |what, place, sealed: &[u8], opens: bool| {
            assert_eq!(key.open(what, place, sealed).is_some(), opens, "{what} {place}");
        };
        assert_eq!(key.open("position", "acme", &sealed), Some(&b"{\"size\":3}\nmore"[..]));
        assert_eq!(value(&sealed), b"{\"size\":3}\nmore");
        check("position", "other", &sealed, false);
        check("operator", "acme", &sealed, false);
        check("position", "acme", b"{\"size\":3}", false);
        check("position", "acme", b"", false);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            check("position", "acme", &changed, false);
        }
        let other = SealKey::new(Zeroizing::new([2; 32]));
        assert_eq!(other.open("position", "acme", &sealed), None);
    }
}
