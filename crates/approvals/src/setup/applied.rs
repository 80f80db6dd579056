//! What the log holds of a tenant's files: the rules in full, everything else as a salted digest.

use super::Setup;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac as _};
use ledger::{
    canonical,
    disclosure::{self, Salt},
    system::{By, Reason, Rules},
};
use sha2::{Digest as _, Sha256};

/// Separates salts of people from everything else that is derived from the salt key.
const PEOPLE_DOMAIN: &[u8] = b"countersign-people-v1";

/// The salt of one applied version of people and channels. People can be guessed: with the salt one can test
/// guesses of that version, and check its files. Without it nobody can (P11).
pub fn people_salt(salt_key: &[u8; 32], nonce: &str) -> Salt {
    let keyed = |key: &[u8], text: &[u8]| {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.chain_update(text).finalize().into_bytes()
    };
    let key = keyed(salt_key, PEOPLE_DOMAIN);
    Salt(BASE64URL_NOPAD.encode(&keyed(&key, nonce.as_bytes())))
}

impl Setup {
    /// True if these are the files that `body` put in force, apart from comments, spelling and order of keys.
    pub fn is_applied(&self, body: &Rules, salt_key: &[u8; 32]) -> bool {
        let salt = people_salt(salt_key, &body.people_nonce);
        self.rules_digest() == body.rules_digest && self.people_digest(&salt) == body.people_digest
    }

    /// The body that puts these files in force (`system.rules`). `load` makes sure that it fits into an entry.
    pub fn body(
        &self,
        salt_key: &[u8; 32],
        people_nonce: String,
        by: By,
        reason: Option<Reason>,
    ) -> Rules {
        let rules = self.rules.iter().map(|rule| serde_json::to_value(rule).expect("plain data"));
        let people_digest = self.people_digest(&people_salt(salt_key, &people_nonce));
        let (rules, rules_digest) = (rules.collect(), self.rules_digest());
        Rules { v: 1, rules, rules_digest, people_digest, people_nonce, by, reason }
    }

    /// base64url SHA-256 of the RFC 8785 form of the rules. It contains no personal data, so it may be shown
    /// anywhere.
    pub fn rules_digest(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(canonical::of(&self.rules)))
    }

    /// base64url SHA-256 of `[salt, "people", …]`, people, channels and displays. It is made like the digest of a
    /// payload field.
    pub fn people_digest(&self, salt: &Salt) -> String {
        disclosure::digest_of(salt, "people", &self.people_form())
    }

    /// base64url SHA-256 of people, channels and displays. It can be guessed, so it is only sent to the server to
    /// compare, and never recorded.
    pub fn people_sha256(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(self.people_form()))
    }

    /// RFC 8785 form of people, sorted by id, channels, and displays if there are any.
    fn people_form(&self) -> Vec<u8> {
        let people: Vec<_> = self.people.values().collect();
        let mut form = serde_json::json!({"channels": self.channels, "people": people, "v": 1});
        if !self.displays.is_empty() {
            form["displays"] = serde_json::json!(self.displays);
        }
        canonical::of(&form)
    }
}
