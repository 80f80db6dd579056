//! Where posting stands, and which keys are in force: written in the same commit as the entries.

use crate::{
    entry::Prior,
    log::{
        merkle::{Hash, empty_root},
        note::Vkey,
    },
    store::LogNumber,
    system::{AccessKey, ClaimId, Genesis, KeyId, KeyText},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The commit record of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Number of entries.
    pub size: u64,
    /// Root hash at `size`.
    #[serde(with = "hash_text")]
    pub root: Hash,
    /// The journal's identity.
    pub journal: String,
    /// Journal epoch, 1 or later.
    pub epoch: u64,
    /// Last journal sequence that was posted; 0 for none.
    pub posted: u64,
    /// `journal.time` of the last message.
    #[serde(with = "nanos_number")]
    pub time: Nanos,
    /// Leaf index of the last `clock` entry.
    pub clock: Option<u64>,
    /// Digest of the last message; `None` once that message was erased.
    #[serde(with = "optional_hash_text")]
    pub tail: Option<Hash>,
    /// Sequences of messages further on that told what stood in holes: nothing is signed before they are posted.
    pub provisional: BTreeSet<u64>,
    /// Whether the commit that wrote this also signed `size`: not while anything had to be waited for.
    pub signed: bool,
    /// The last claim to sign this log that is posted.
    pub signer: Option<ClaimId>,
    /// What the next entry carries as its `prior`.
    pub prior: Prior,
    /// Leaf index of the last `rules` entry.
    pub rules: Option<u64>,
    /// The last sequence on each `system.<topic>` in this epoch.
    pub topics: BTreeMap<String, u64>,
    /// [`digest_of_keys`] of the signing keys in force.
    #[serde(with = "hash_text")]
    pub keys: Hash,
    /// [`digest_of_access`] of the API keys in force.
    #[serde(with = "hash_text")]
    pub access: Hash,
}

/// SHA-256 of the row `keys`: the commit record vouches for it.
pub fn digest_of_keys(keys: &Keys) -> Hash {
    Hash(Sha256::digest(crate::store::to_json(keys)).into())
}

/// SHA-256 over the rows of the family `access` of one log, in the order of key ids: the commit record vouches for them.
pub fn digest_of_access(access: &BTreeMap<KeyId, AccessKey>) -> Hash {
    let mut digest = Sha256::new();
    for (id, key) in access {
        for part in [id.as_str().as_bytes(), &crate::store::to_json(key)] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    Hash(digest.finalize().into())
}

impl Position {
    /// Before the first message.
    pub fn begin(journal: String) -> Self {
        Self {
            size: 0,
            root: empty_root(),
            journal,
            epoch: 1,
            posted: 0,
            time: Nanos::default(),
            clock: None,
            tail: None,
            provisional: BTreeSet::new(),
            signed: false,
            signer: None,
            prior: Prior::default(),
            rules: None,
            topics: BTreeMap::new(),
            keys: digest_of_keys(&Keys::default()),
            access: digest_of_access(&BTreeMap::new()),
        }
    }
}

/// A key that signs checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKey {
    /// The key.
    pub vkey: KeyText,
    /// First tree size it signs.
    pub first_size: u64,
    /// Last tree size it signs; open while it is in force.
    pub last_size: Option<u64>,
    /// Leaf index of the `key` entry that brought it; 0 for the genesis.
    pub index: u64,
}

/// The keys in force, from genesis and key entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// All that ever signed checkpoints, oldest first.
    pub log: Vec<LogKey>,
    /// Those that sign journal messages now.
    pub journal: Vec<KeyText>,
    /// Those whose override tokens are accepted, newest last: that one signs, and the one before it verifies what it
    /// signed until the next rotation.
    pub token: Vec<KeyText>,
}

impl Keys {
    /// What the genesis names.
    pub fn of_genesis(genesis: &Genesis) -> Self {
        let first = |vkey: &KeyText| LogKey {
            vkey: vkey.clone(),
            first_size: 1,
            last_size: None,
            index: 0,
        };
        Self {
            log: genesis.log_keys.iter().map(first).collect(),
            journal: genesis.journal_keys.clone(),
            token: genesis.token_keys.clone(),
        }
    }

    /// The keys that sign a checkpoint of `size`: one, or two while they overlap.
    pub fn signing(&self, size: u64) -> impl Iterator<Item = &Vkey> {
        let in_force =
            move |key: &&LogKey| key.first_size <= size && key.last_size.is_none_or(|l| size <= l);
        self.log.iter().filter(in_force).map(|key| &key.vkey.0)
    }

    /// The keys whose signature an override token may carry, newest last.
    pub fn token(&self) -> Vec<Vkey> {
        self.token.iter().map(|key| key.0.clone()).collect()
    }

    /// A new key signs override tokens; its predecessor, and no older one, still verifies.
    pub(crate) fn rotate_token(&mut self, new: KeyText) {
        self.token.retain(|key| *key != new);
        let older = self.token.len().saturating_sub(1);
        self.token.drain(..older);
        self.token.push(new);
    }

    /// The keys whose signature a journal message may carry.
    pub fn journal(&self) -> Vec<Vkey> {
        self.journal.iter().map(|key| key.0.clone()).collect()
    }
}

/// An erasure whose entry is posted, but whose bytes may still be in the journal or in old files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasing {
    /// The entry whose payload went.
    pub index: u64,
    /// The journal epoch it came from.
    pub epoch: u64,
    /// The journal message that must go too.
    pub seq: u64,
}

impl Erasing {
    /// `"erasing" ‖ log ‖ epoch ‖ seq`, in `meta`: an erasure entry names this message, so it may go.
    pub fn key(&self, number: LogNumber) -> Vec<u8> {
        self.place(&number.meta("erasing"))
    }

    /// `"unnamed" ‖ log ‖ epoch ‖ seq`, in `meta`: this message must go, and no erasure entry names it yet.
    pub fn unnamed_key(&self, number: LogNumber) -> Vec<u8> {
        self.place(&number.meta("unnamed"))
    }

    fn place(&self, prefix: &[u8]) -> Vec<u8> {
        let (epoch, seq) = (self.epoch.to_be_bytes(), self.seq.to_be_bytes());
        [prefix, &epoch, &seq].concat()
    }
}

mod hash_text {
    use super::Hash;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hash, D::Error> {
        Hash::parse(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("a hash"))
    }
}

mod optional_hash_text {
    use super::Hash;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "the shape serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        hash: &Option<Hash>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match hash {
            Some(hash) => serializer.collect_str(hash),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Hash>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| Hash::parse(&text).ok_or_else(|| D::Error::custom("a hash"))).transpose()
    }
}

mod nanos_number {
    use super::Nanos;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
    pub(super) fn serialize<S: Serializer>(time: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Nanos, D::Error> {
        u64::deserialize(deserializer).map(Nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::note::Signer;

    #[test]
    fn the_previous_token_key_verifies_until_the_next_rotation() {
        let key = |seed| KeyText(Signer::new("log.example/token", &[seed; 32]).vkey().clone());
        let mut keys = Keys { token: vec![key(1), key(2)], ..Keys::default() };
        let mut check = |new, left: &[u8]| {
            keys.rotate_token(key(new));
            assert_eq!(keys.token, left.iter().map(|seed| key(*seed)).collect::<Vec<_>>());
        };
        check(3, &[2, 3]);
        check(4, &[3, 4]);
        check(4, &[3, 4]);
    }
}
