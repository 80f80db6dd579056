//! Bodies of the messages on `system.<topic>`: strict JSON, signed by a journal key (`proto/formats/system.md`).

mod access;
pub mod agent;
pub mod alert;
pub mod delivery;
pub mod freeze;
pub mod incident;
pub mod members;
pub mod policy;
pub mod prune;
pub mod retention;
mod sign_ins;
pub mod sources;

pub use access::{Access, AccessKey, How, OidcAccount, Passkey, SUBJECT_BYTES_MAX};
pub use sign_ins::{ON_ITS_WAY_SECONDS, SignIns};

use crate::{
    ident::Ident,
    json::Value,
    log::{members::Member, merkle::Hash, note::Vkey},
    time::Nanos,
};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// Largest body of a signed message, in bytes. With its frame it must fit into one entry.
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

/// A verifier key, in JSON as its text form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyText(#[serde(with = "vkey_text")] pub Vkey);

/// Id of an API key: the 16 hex digits between `cs_` and the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(String);

impl KeyId {
    /// `None` if it is not 16 lower-case hex digits.
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("a key id is 16 lower-case hex digits")
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who did an administrative act. It is the member `by` of every such body; nothing else says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum By {
    /// The holder of an API key.
    Key {
        /// Id of the key.
        key: KeyId,
        /// The person of the key, if it names one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<Ident>,
        /// The approval that was redeemed for it, if the rules in force asked people first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Ident>,
    },
    /// The holder of the server's operator key.
    Operator {
        /// Id of the operator key.
        operator: KeyId,
    },
    /// Somebody with access to the disk, who ran a command while the server was stopped.
    Command {
        /// The command.
        command: Command,
    },
    /// The server itself.
    Server {
        /// Its reason.
        server: Duty,
    },
}

/// Commands that act without a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// `countersign init`.
    Init,
    /// `countersign recover`.
    Recover,
}

/// Reasons for which the server acts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Old journal messages are removed, as configured.
    Retention,
    /// A message that repeats an erased event is removed.
    Repetition,
    /// Journal messages are gone, and nothing explains it.
    Journal,
    /// The server signs the log from now on.
    Signing,
    /// A clause of the policies in force says so.
    Policy,
    /// A sink says how far it has delivered.
    Delivery,
    /// A clause or the watch of the log found something.
    Watching,
}

/// Why it was done: member `reason` of a body. It names the `evidence` entry with the words, which can be erased.
pub type Reason = LeafAt;

/// An earlier entry of the same log: its place and its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafAt {
    /// Leaf index of the decision.
    pub index: u64,
    /// Leaf hash.
    pub leaf_hash: Hash,
}

impl LeafAt {
    /// Reads the members `index` and `leaf_hash`.
    pub fn of(place: &Value<'_>) -> Option<Self> {
        let index = place.get("index")?.as_u64()?;
        let leaf_hash = Hash::parse(place.get("leaf_hash")?.as_str()?)?;
        Some(Self { index, leaf_hash })
    }
}

/// `system.genesis`: leaf 0 of a log. It names everything that posting trusts from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Format version of the log's entries: 1.
    pub v: u32,
    /// `<public host>/v1/tenants/<tenant>/logs/<n>`.
    pub origin: String,
    /// The tenant.
    pub tenant: Ident,
    /// Identity of the journal: `jetstream:…` or `embedded:…`.
    pub journal: String,
    /// Keys that sign checkpoints; named like the origin.
    pub log_keys: Vec<KeyText>,
    /// Keys that sign messages outside `decisions.`.
    pub journal_keys: Vec<KeyText>,
    /// Keys that sign override tokens.
    pub token_keys: Vec<KeyText>,
    /// First 8 bytes of the SHA-256 of the salt key, hex. It identifies the key from which salts are derived.
    pub salt_key_id: String,
    /// The first replicas, in the order of their names, if replicas made the log: those in force then. Without it they are those
    /// of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Member>>,
    /// The last checkpoint of the log that this one succeeds.
    pub predecessor: Option<String>,
    /// Who made the tenant. No entry can come before it, so its reason is with the first API key.
    pub by: By,
}

/// What an API key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Publishes events as its producer.
    Publisher,
    /// Redeems override tokens as its producer.
    Enforcer,
    /// Reviews approvals as its person. Not combined with other roles.
    Reviewer,
    /// Reads the feed.
    Exporter,
    /// Reads entries, proofs and keys.
    Auditor,
    /// Reads payload.
    Discloser,
    /// Proposes policies as its person. Not combined with reviewing.
    Author,
    /// Freezes agents, sessions, runs, tools and producers as its person, closes alerts, and keeps incidents.
    Responder,
    /// Issues keys, erases, rotates.
    Admin,
}

/// Use of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Signs checkpoints.
    Log,
    /// Signs journal messages.
    Journal,
    /// Signs override tokens.
    Token,
    /// Signs tokens of agents.
    Agent,
}

/// Most entries that an old log key signs beside its successor.
pub const OVERLAP_MAX: u64 = 1_000_000_000;

/// `system.key`: a new signing key takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// Use of the key.
    #[serde(rename = "use")]
    pub usage: KeyUse,
    /// The new key.
    pub vkey: KeyText,
    /// For a log key: number of further entries that the old key also signs.
    pub overlap: u64,
    /// For a journal key: the one before it still counts for messages, until the same key is named again without this. Replicas
    /// need it: messages that they have signed with the old key are on their way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// Who rotated.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// `system.rules`: the rules in force from this entry on (`proto/formats/rules.md`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Version of this form: 1.
    pub v: u32,
    /// Every rule, whole, in order. Their content is not checked here.
    pub rules: Vec<serde_json::Value>,
    /// base64url SHA-256 of the RFC 8785 form of `rules`.
    pub rules_digest: String,
    /// base64url salted digest of the people and channels that go with them.
    pub people_digest: String,
    /// Identifies the salt: 16 random bytes, base64url. Holders of the salt key derive it; others need `reason`'s evidence.
    pub people_nonce: String,
    /// Who applied them.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// Largest difference between a `system.clock` message's time and the journal's, in seconds; beyond, no effect.
pub const CLOCK_APART_SECONDS_MAX: u64 = 30;

/// `system.clock`: a clock was wrong, and `journal.time` restarts with this message (`countersign clock reset`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockReset {
    /// Time of the server's clock when an admin confirmed it.
    pub at: Nanos,
    /// Who confirmed it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// `system.journal`: a new journal begins (`recover --accept-journal-loss`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEpoch {
    /// Number of the new epoch.
    pub epoch: u64,
    /// Identity of the new journal.
    pub journal: String,
    /// First sequence of the new journal that is posted.
    pub from: u64,
    /// Identity of the old journal.
    pub previous_journal: String,
    /// Last sequence of the old epoch that is in the ledger. What the old journal held after it is lost.
    pub previous_posted: u64,
    /// Who began it. The reason follows on `evidence.system` of the new journal, because the old one is lost.
    pub by: By,
}

/// `system.signer`: from now on, this server alone signs the log. A server that signed before stops at this entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Id of the claim: 16 random bytes of each start, as 32 lower-case hex digits.
    pub id: ClaimId,
    /// Who claims it.
    pub by: By,
}

/// Names one start of a server: 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ClaimId(String);

impl ClaimId {
    /// Makes an id from 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(HEXLOWER.encode(&random))
    }
}

impl TryFrom<String> for ClaimId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then_some(Self(text)).ok_or("the id of a claim is 32 lower-case hex digits")
    }
}

impl std::fmt::Display for ClaimId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
