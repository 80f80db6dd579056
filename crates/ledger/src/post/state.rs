//! The commit record and the keys in force. They are written in the same commit as the entries.

use super::{freezes::Freezes, identities::Identities, in_force::Policies, kept::Retention};
use crate::{
    entry::Prior,
    log::{
        members::{self, MemberSet},
        merkle::{Hash, empty_root},
        note::Vkey,
        replicas::{self, Certified, Members, Uncertified},
    },
    proven,
    store::{self, Changes, LogNumber},
    system::{
        AccessKey, ClaimId, Genesis, KeyId, KeyText, alert::Alerts, incident::Incidents,
        prune::Pruned,
    },
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

impl super::Log {
    /// An earlier entry, proven to be in the tree.
    pub(super) fn proven(
        &self,
        changes: &Changes<'_>,
        index: u64,
    ) -> Result<Vec<u8>, store::Error> {
        let (number, edge, known) = (self.number, &self.edge, &*self.proven_tiles);
        let pruned = self.position.pruned;
        proven::Tree { store: changes, number, edge, known, pruned }.entry(index)
    }
}

/// The commit record of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Number of entries.
    pub size: u64,
    /// Root hash at `size`.
    #[serde(with = "hash_text")]
    pub root: Hash,
    /// Identity of the journal.
    pub journal: String,
    /// Journal epoch, 1 or later.
    pub epoch: u64,
    /// Last posted journal sequence. 0 if none.
    pub posted: u64,
    /// `journal.time` of the last message.
    #[serde(with = "nanos_number")]
    pub time: Nanos,
    /// Leaf index of the last `clock` entry.
    pub clock: Option<u64>,
    /// Digest of the last message. `None` if that message was erased.
    #[serde(with = "optional_hash_text")]
    pub tail: Option<Hash>,
    /// Sequences of the later messages that explained holes. Nothing is signed before they are posted.
    pub provisional: BTreeSet<u64>,
    /// True if this commit also signed `size`. False while signing had to wait.
    pub signed: bool,
    /// The last posted claim to sign this log.
    pub signer: Option<ClaimId>,
    /// The `prior` of the next entry.
    pub prior: Prior,
    /// Leaf index of the last `rules` entry.
    pub rules: Option<u64>,
    /// Leaf index of the last `sources` entry.
    #[serde(default)]
    pub sources: Option<u64>,
    /// For how long payload is kept, and legal holds.
    #[serde(default)]
    pub retention: Retention,
    /// The policies in force and the bundles that were proposed.
    #[serde(default)]
    pub policies: Policies,
    /// What is frozen.
    #[serde(default)]
    pub freezes: Freezes,
    /// Which tokens of agents are revoked.
    #[serde(default)]
    pub identities: Identities,
    /// What was found, and what of it is open.
    #[serde(default)]
    pub alerts: Alerts,
    /// Which incidents are open.
    #[serde(default)]
    pub incidents: Incidents,
    /// The last pruning.
    #[serde(default)]
    pub pruned: Option<Pruned>,
    /// The last sequence on each `system.<topic>` in this epoch.
    pub topics: BTreeMap<String, u64>,
    /// [`digest_of_keys`] of the signing keys in force.
    #[serde(with = "hash_text")]
    pub keys: Hash,
    /// [`digest_of_access`] of the API keys in force.
    #[serde(with = "hash_text")]
    pub access: Hash,
}

/// SHA-256 of the row `keys`. The commit record holds it.
pub fn digest_of_keys(keys: &Keys) -> Hash {
    Hash(Sha256::digest(store::to_json(keys)).into())
}

/// SHA-256 over the rows of the family `access` of one log, sorted by key id. The commit record holds it.
pub fn digest_of_access(access: &BTreeMap<KeyId, AccessKey>) -> Hash {
    let mut digest = Sha256::new();
    for (id, key) in access {
        for part in [id.as_str().as_bytes(), &store::to_json(key)] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    Hash(digest.finalize().into())
}

impl Position {
    /// The last journal sequence on `system.<topic>` in this epoch; 0 if there is none.
    pub fn last_on(&self, topic: &str) -> u64 {
        self.topics.get(topic).copied().unwrap_or(0)
    }

    /// The record before the first message.
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
            sources: None,
            retention: Retention::default(),
            policies: Policies::default(),
            freezes: Freezes::default(),
            identities: Identities::default(),
            alerts: Alerts::default(),
            incidents: Incidents::default(),
            pruned: None,
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
    /// The public key.
    pub vkey: KeyText,
    /// First tree size that it signs.
    pub first_size: u64,
    /// Last tree size that it signs. `None` while it is in force.
    pub last_size: Option<u64>,
    /// Leaf index of its `key` entry. 0 for the key of the genesis.
    pub index: u64,
}

/// The keys in force, from genesis and key entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// All keys that ever signed checkpoints, oldest first.
    pub log: Vec<LogKey>,
    /// Keys that sign journal messages now.
    pub journal: Vec<KeyText>,
    /// Keys whose override tokens are accepted, newest last. The newest signs; the one before it verifies its
    /// own tokens until the next rotation.
    pub token: Vec<KeyText>,
    /// Keys whose tokens of agents are accepted, newest last, like those for override tokens. Empty until the first
    /// token is issued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent: Vec<KeyText>,
    /// Every set of replicas that cosigned, oldest first: the first one, then one for each change. Empty until the first change:
    /// then the set is in the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberSet>,
    /// True if the genesis names the first of them: then the configuration says nothing of this log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_members: bool,
}

impl Keys {
    /// The keys that the genesis names.
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
            agent: Vec::new(),
            members: genesis.members.clone().map(MemberSet::first).into_iter().collect(),
            first_members: genesis.members.is_some(),
        }
    }

    /// The keys that sign a checkpoint of `size`: one, or two during an overlap.
    pub fn signing(&self, size: u64) -> impl Iterator<Item = &Vkey> {
        let in_force =
            move |key: &&LogKey| key.first_size <= size && key.last_size.is_none_or(|l| size <= l);
        self.log.iter().filter(in_force).map(|key| &key.vkey.0)
    }

    /// The same, for a reader that keeps them.
    pub fn signers(&self, size: u64) -> Vec<Vkey> {
        self.signing(size).cloned().collect()
    }

    /// Reads a checkpoint of the log `origin` that these keys have signed, and a majority of the replicas in force at its size has
    /// cosigned: those that an entry names, or the first ones in the configuration of `own`.
    pub fn certified(
        &self,
        origin: &str,
        own: &Members,
        note: &str,
    ) -> Result<Certified, Uncertified> {
        let set = members::in_force(own.sets(&self.members), replicas::size_of(note));
        replicas::certified(note, origin, |size| self.signers(size), set)
    }

    /// The keys that may have signed an override token, newest last.
    pub fn token(&self) -> Vec<Vkey> {
        self.token.iter().map(|key| key.0.clone()).collect()
    }

    /// Puts a new token key in force. Only its direct predecessor still verifies.
    pub(crate) fn rotate_token(&mut self, new: KeyText) {
        rotate(&mut self.token, new);
    }

    /// The keys that may have signed a token of an agent, newest last.
    pub fn agent(&self) -> Vec<Vkey> {
        self.agent.iter().map(|key| key.0.clone()).collect()
    }

    /// Puts a new key for tokens of agents in force. Only its direct predecessor still verifies.
    pub(crate) fn rotate_agent(&mut self, new: KeyText) {
        rotate(&mut self.agent, new);
    }

    /// Puts a new journal key in force: alone, or beside the newest one before it, which then does not sign any more.
    pub(crate) fn rotate_journal(&mut self, new: KeyText, beside: bool) {
        rotate(&mut self.journal, new);
        if !beside {
            self.journal.drain(..self.journal.len() - 1);
        }
    }

    /// The keys that may have signed a journal message, the one that signs last.
    pub fn journal(&self) -> Vec<Vkey> {
        self.journal.iter().map(|key| key.0.clone()).collect()
    }
}

fn rotate(keys: &mut Vec<KeyText>, new: KeyText) {
    keys.retain(|key| *key != new);
    let older = keys.len().saturating_sub(1);
    keys.drain(..older);
    keys.push(new);
}

/// An erasure whose entry is posted, but whose bytes may still be in the journal or in old files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasing {
    /// Leaf index of the entry whose payload was erased.
    pub index: u64,
    /// Journal epoch of the message.
    pub epoch: u64,
    /// Sequence of the journal message that must also go.
    pub seq: u64,
}

impl Erasing {
    /// `meta` key `"erasing" ‖ log ‖ epoch ‖ seq`: an erasure entry names this message, so it may be deleted.
    pub fn key(&self, number: LogNumber) -> Vec<u8> {
        self.place(&number.meta("erasing"))
    }

    /// `meta` key `"unnamed" ‖ log ‖ epoch ‖ seq`: this message must go, but no erasure entry names it yet.
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

    #[test]
    fn p21_a_journal_key_counts_beside_the_one_before_it_or_alone() {
        let key = |seed| KeyText(Signer::new("log.example/journal", &[seed; 32]).vkey().clone());
        let mut keys = Keys { journal: vec![key(1)], ..Keys::default() };
        let mut check = |new, beside, left: &[u8]| {
            keys.rotate_journal(key(new), beside);
            assert_eq!(keys.journal, left.iter().map(|seed| key(*seed)).collect::<Vec<_>>());
        };
        check(2, true, &[1, 2]);
        check(2, false, &[2]);
        check(3, true, &[2, 3]);
        check(4, true, &[3, 4]);
        check(5, false, &[5]);
    }
}
