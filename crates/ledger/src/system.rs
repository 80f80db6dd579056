//! Bodies of the messages on `system.<topic>`: strict JSON, signed by a journal key (`proto/formats/system.md`).

use crate::{ident::Ident, log::note::Vkey, time::Nanos};
use serde::{Deserialize, Serialize};

/// Largest body of a signed message, in bytes: with its frame it must fit into one entry.
pub const BODY_BYTES_MAX: usize = 60 * 1024;

/// A verifier key as text in JSON.
mod vkey_text {
    use super::Vkey;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &Vkey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vkey, D::Error> {
        Vkey::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A verifier key inside JSON: its text form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyText(#[serde(with = "vkey_text")] pub Vkey);

/// `system.genesis`: leaf 0 of a log. Names everything that posting trusts from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Format version of the log's entries: 1.
    pub v: u32,
    /// `<public host>/v1/tenants/<tenant>/logs/<n>`.
    pub origin: String,
    /// The tenant.
    pub tenant: Ident,
    /// Which journal: `jetstream:…` or `embedded:…`.
    pub journal: String,
    /// Keys that sign checkpoints; named like the origin.
    pub log_keys: Vec<KeyText>,
    /// Keys that sign messages outside `decisions.`.
    pub journal_keys: Vec<KeyText>,
    /// Keys that sign override tokens.
    pub token_keys: Vec<KeyText>,
    /// First 8 bytes of the SHA-256 of the salt key, hex: which key derived salts come from.
    pub salt_key_id: String,
    /// The last checkpoint of the log this one succeeds.
    pub predecessor: Option<String>,
}

/// What a caller's key allows (design §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Publishes events as its producer.
    Publisher,
    /// Redeems override tokens as its producer.
    Enforcer,
    /// Reviews approvals as its person; carries nothing else.
    Reviewer,
    /// Reads the feed.
    Exporter,
    /// Reads entries, proofs and keys.
    Auditor,
    /// Reads payload.
    Discloser,
    /// Issues keys, erases, rotates.
    Admin,
}

/// `system.access`: an API key appears or disappears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Access {
    /// A new key.
    Add(AccessKey),
    /// The key is dead from this entry on.
    Remove {
        /// Which.
        key_id: String,
    },
}

/// One API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// 16 hex digits.
    pub key_id: String,
    /// SHA-256 of the whole key text, base64url; the secret in it has 256 random bits, so this can't be guessed.
    pub sha256: String,
    /// What it allows.
    pub roles: Vec<Role>,
    /// Who publishes or redeems with it.
    #[serde(default)]
    pub producer: Option<Ident>,
    /// Whose it is, for a reviewer.
    #[serde(default)]
    pub person: Option<Ident>,
    /// A label for people.
    pub name: String,
}

/// What a signing key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Signs checkpoints.
    Log,
    /// Signs journal messages.
    Journal,
    /// Signs override tokens.
    Token,
}

/// Most entries that an old log key signs beside its successor.
pub const OVERLAP_MAX: u64 = 1_000_000_000;

/// `system.key`: a new signing key takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// For what.
    #[serde(rename = "use")]
    pub usage: KeyUse,
    /// The new key.
    pub vkey: KeyText,
    /// For a log key: how many more entries the old key signs beside it.
    pub overlap: u64,
}

/// `system.erasure`: payload of one entry is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The entry whose payload goes.
    pub index: u64,
    /// Which fields; all of them when absent.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
}

/// `system.rules`: the rules in force from this entry on (`proto/formats/rules.md`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Version of this form: 1.
    pub v: u32,
    /// Every rule, whole, in order; what is in one is not looked at here.
    pub rules: Vec<serde_json::Value>,
    /// base64url SHA-256 of the RFC 8785 form of `rules`.
    pub rules_digest: String,
    /// base64url keyed digest of the people and channels that go with them.
    pub people_digest: String,
}

/// Furthest a `system.clock` message's own time may be from the journal's, in seconds: otherwise nothing is begun by it.
pub const CLOCK_APART_SECONDS_MAX: u64 = 30;

/// `system.clock`: a clock was wrong; `journal.time` begins anew with this message (`countersign clock reset`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockReset {
    /// What the server's clock said when an admin said that it is right.
    pub at: Nanos,
}

/// `system.journal`: the journal begins anew (`recover --accept-journal-loss`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEpoch {
    /// The epoch that begins.
    pub epoch: u64,
    /// The journal from now on.
    pub journal: String,
    /// First sequence of it that is posted.
    pub from: u64,
    /// The journal until now.
    pub previous_journal: String,
    /// Last sequence of the previous epoch that is in the ledger; what it held after that is lost.
    pub previous_posted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(text: &str) {
        let value: T = serde_json::from_str(text).unwrap();
        let again: T = serde_json::from_slice(&crate::canonical::of(&value)).unwrap();
        assert_eq!(value, again);
    }

    #[test]
    fn bodies_read_back() {
        check::<Access>(
            r#"{"op":"add","key_id":"00","sha256":"x","roles":["publisher"],"producer":"gw-1","name":"n"}"#,
        );
        check::<Access>(r#"{"op":"remove","key_id":"00"}"#);
        check::<Erasure>(r#"{"index":5}"#);
        check::<NewEpoch>(
            r#"{"epoch":2,"journal":"a","from":1,"previous_journal":"b","previous_posted":9}"#,
        );
        let more = r#"{"op":"add","key_id":"00","sha256":"x","roles":[],"name":"n","more":1}"#;
        assert!(serde_json::from_str::<Access>(more).is_err());
        assert!(serde_json::from_str::<Erasure>(r#"{"index":5,"all":true}"#).is_err());
    }
}
