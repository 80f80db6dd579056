//! Sets of replicas: who cosigns a log, and from which tree size on (P21).
//!
//! The first set is in the configuration of each replica; every later one is in an entry of the log. Pure.

use super::{
    cosignature::{self, Cosigner},
    note,
};
use crate::ident::Ident;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Fewest replicas: with two, the loss of one would stop both.
pub const REPLICAS_MIN: usize = 3;
/// Most replicas. A note has room for the cosignatures of two sets beside those of witnesses.
pub const REPLICAS_MAX: usize = 7;

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub name: Ident,
    /// Its public key, in JSON in the C2SP text form.
    #[serde(rename = "vkey", with = "cosigner_text")]
    pub key: Cosigner,
}

/// The replicas of a log from one of its entries on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSet {
    /// 0 for the first set, then one more with each change.
    pub version: u64,
    /// Leaf index of the entry that names it: it is in force for larger tree sizes. 0 for the first set, which no entry names.
    pub index: u64,
    /// The members, in the order of their names.
    pub members: Vec<Member>,
}

impl MemberSet {
    /// The set that is in the configuration.
    pub fn first(members: Vec<Member>) -> Self {
        Self { version: 0, index: 0, members }
    }

    /// How many of it must cosign.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// True if it is in force for trees of `size`, unless a later one is.
    pub fn holds_at(&self, size: u64) -> bool {
        self.version == 0 || self.index < size
    }

    /// True if this replica is one of them.
    pub fn has(&self, member: &Member) -> bool {
        self.members.contains(member)
    }

    /// The members that have cosigned a note, each with its line. A wrong cosignature by one of them is an error.
    pub fn cosigners(&self, note: &str) -> Result<Vec<(&Member, String)>, note::Error> {
        let keys: Vec<Cosigner> = self.members.iter().map(|one| one.key.clone()).collect();
        let found = cosignature::open(note, &keys)?;
        Ok(found.into_iter().map(|one| (&self.members[one.by], one.line)).collect())
    }

    /// SHA-256 over names and keys, 64 hex digits: whether two replicas have the same set.
    pub fn digest(&self) -> String {
        let lines: Vec<String> =
            self.members.iter().map(|one| format!("{} {}\n", one.name, one.key)).collect();
        HEXLOWER.encode(&Sha256::digest(lines.concat()))
    }

    /// The names of its members, for people.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.members.iter().map(|one| one.name.as_str()).collect();
        names.join(", ")
    }
}

/// The set that is in force at a tree size: the last one whose entry is before it. `sets` is in the order of versions.
pub fn in_force(sets: &[MemberSet], size: u64) -> Option<&MemberSet> {
    sets.iter().rfind(|set| set.holds_at(size))
}

/// The first thing that keeps these from being the replicas of a log, in words.
pub fn mistake(members: &[Member]) -> Option<String> {
    if !(REPLICAS_MIN..=REPLICAS_MAX).contains(&members.len()) {
        return Some(format!(
            "{} members: {REPLICAS_MIN} to {REPLICAS_MAX} are needed",
            members.len()
        ));
    }
    for (at, member) in members.iter().enumerate() {
        let is_same = |other: &&Member| {
            other.name == member.name
                || other.key.public_bytes() == member.key.public_bytes()
                || other.key.name() == member.key.name()
        };
        if let Some(other) = members[..at].iter().find(is_same) {
            return Some(format!(
                "members {} and {}: each replica has a name and a key of its own",
                other.name, member.name
            ));
        }
    }
    None
}

/// True if these can be the replicas that a genesis names: in the order of their names, each with a key of this installation.
pub fn can_be_first(all: &[Member], origin: &str) -> bool {
    let is_named = |member: &Member| member.key.name() == key_name(origin, member.name.as_str());
    mistake(all).is_none()
        && all.windows(2).all(|two| two[0].name < two[1].name)
        && all.iter().all(is_named)
}

/// Name of the key of a replica: it begins as the origin of the log does, so a verifier sees whose it is.
pub fn key_name(origin: &str, replica: &str) -> String {
    let host = origin.split_once("/v1/tenants/").map_or(origin, |(host, _)| host);
    format!("{host}/replicas/{replica}")
}

/// True if the name of a key is that of a replica of this log's operator. A step to other replicas touches no other key.
pub fn is_replica(key_name: &str, origin: &str) -> bool {
    let replica = key_name.strip_prefix(&self::key_name(origin, ""));
    replica.is_some_and(|name| !name.is_empty())
}

/// A cosigner's key as text in JSON.
mod cosigner_text {
    use super::Cosigner;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        key: &Cosigner,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cosigner, D::Error> {
        Cosigner::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::cosignature::CosignerKey;

    fn member(name: &str) -> Member {
        let key =
            CosignerKey::new(&format!("log.example/replicas/{name}"), &[name.as_bytes()[0]; 32]);
        Member { name: Ident::new(name).unwrap(), key: key.public().clone() }
    }

    #[test]
    fn p21_the_last_change_before_a_size_counts() {
        let of = |version, index, names: &[&str]| MemberSet {
            version,
            index,
            members: names.iter().map(|name| member(name)).collect(),
        };
        let sets =
            [of(0, 0, &["a", "b", "c"]), of(1, 7, &["a", "b", "d"]), of(2, 9, &["a", "d", "e"])];
        let check = |size, version| {
            assert_eq!(in_force(&sets, size).map(|set| set.version), Some(version), "{size}");
        };
        check(0, 0);
        check(7, 0);
        check(8, 1);
        check(9, 1);
        check(10, 2);
        assert!(in_force(&[], 3).is_none());
    }

    #[test]
    fn p21_who_can_be_replicas() {
        let check = |names: &[&str], fits: bool| {
            let members: Vec<Member> = names.iter().map(|name| member(name)).collect();
            assert_eq!(mistake(&members).is_none(), fits, "{names:?}");
        };
        check(&["a", "b", "c"], true);
        check(&["a", "b", "c", "d", "e", "f", "g"], true);
        check(&["a", "b"], false);
        check(&["a", "b", "b"], false);
        check(&["a", "b", "c", "d", "e", "f", "g", "h"], false);
        let copied = Member { name: Ident::new("d").unwrap(), key: member("b").key };
        assert!(mistake(&[member("a"), member("b"), copied]).is_some(), "a copied key");
        assert_eq!(MemberSet::first(["a", "b", "c", "d"].map(member).into()).majority(), 3);
    }

    #[test]
    fn p21_who_a_genesis_can_name() {
        let origin = "log.example/v1/tenants/acme/logs/1";
        let of = |names: &[&str]| names.iter().map(|name| member(name)).collect::<Vec<_>>();
        assert!(can_be_first(&of(&["a", "b", "c"]), origin));
        assert!(!can_be_first(&of(&["a", "b"]), origin), "too few");
        assert!(!can_be_first(&of(&["b", "a", "c"]), origin), "out of order");
        assert!(!can_be_first(&of(&["a", "b", "c"]), "other.example/v1/tenants/acme/logs/1"));
    }

    #[test]
    fn a_key_is_named_after_the_log() {
        let origin = "log.example.com/v1/tenants/acme/logs/1";
        assert_eq!(key_name(origin, "d"), "log.example.com/replicas/d");
        let check = |name: &str, fits: bool| assert_eq!(is_replica(name, origin), fits, "{name}");
        check("log.example.com/replicas/d", true);
        check("log.example.com/replicas/", false);
        check("log.example.com/witness", false);
        check("log.example.com.evil.example/replicas/d", false);
        check("witness.example.org/replicas/d", false);
    }
}
