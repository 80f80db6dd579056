//! What stands in the log of a tenant's files: the rules whole, everything else as a keyed digest.

use super::{Connections, Setup};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac as _};
use ledger::{canonical, system::Rules, tenant::Tenant};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// Keeps the key of people's digests apart from everything else that is derived from the salt key.
const PEOPLE_DOMAIN: &[u8] = b"countersign-people-v1";

/// Which rules, people and channels: two digests. Equal ones, equal files, but for comments, spelling and order of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// base64url SHA-256 of the RFC 8785 form of the rules.
    pub rules_digest: String,
    /// base64url HMAC-SHA-256 of people and channels: people can be guessed, so only holders of the key may try (P11).
    pub people_digest: String,
}

impl Applied {
    /// A tenant's files as they are now, and what they are when they are applied; or every mistake in them.
    pub fn load(
        dir: &Path,
        tenant: &Tenant,
        connections: &Connections,
    ) -> Result<(Setup, Self), Vec<String>> {
        let setup = Setup::load(dir, &tenant.name, connections)?;
        let applied = tenant.with_keys(|ring| Self::of(&setup, ring.salt_key()));
        Ok((setup, applied))
    }

    /// What `setup` is when it is applied; `salt_key`: the tenant's.
    pub fn of(setup: &Setup, salt_key: &[u8; 32]) -> Self {
        let keyed = |key: &[u8], text: &[u8]| {
            let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.chain_update(text).finalize().into_bytes()
        };
        let key = keyed(salt_key, PEOPLE_DOMAIN);
        let people_digest = BASE64URL_NOPAD.encode(&keyed(&key, &setup.people_form()));
        Self { rules_digest: setup.rules_digest(), people_digest }
    }
}

impl From<&Rules> for Applied {
    fn from(body: &Rules) -> Self {
        let (rules_digest, people_digest) = (body.rules_digest.clone(), body.people_digest.clone());
        Self { rules_digest, people_digest }
    }
}

impl Setup {
    /// The body that puts it in force (`system.rules`). `load` sees to it that it fits into an entry.
    pub fn body(&self, salt_key: &[u8; 32]) -> Rules {
        let Applied { rules_digest, people_digest } = Applied::of(self, salt_key);
        let rules = self.rules.iter().map(|rule| serde_json::to_value(rule).expect("plain data"));
        Rules { v: 1, rules: rules.collect(), rules_digest, people_digest }
    }

    /// base64url SHA-256 of the RFC 8785 form of the rules. No personal data: it may stand anywhere.
    pub fn rules_digest(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(canonical::of(&self.rules)))
    }

    /// base64url SHA-256 of people and channels. Guessable: it is sent to the server to compare, and never recorded.
    pub fn people_sha256(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(self.people_form()))
    }

    /// RFC 8785 form of people, in order of ids, and channels.
    fn people_form(&self) -> Vec<u8> {
        let people: Vec<_> = self.people.values().collect();
        canonical::of(&serde_json::json!({"channels": self.channels, "people": people, "v": 1}))
    }
}
