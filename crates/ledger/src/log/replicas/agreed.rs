//! What replicas say, each with its own key, of journal messages that are gone: that it has no entry of them and will never have
//! one, or which entry they gave. A majority of the first makes a gap (`proto/formats/system.md`, *Holes*). Pure.

use super::Members;
use crate::{
    ident::Ident,
    log::{
        members::{self, Member, MemberSet},
        merkle::Hash,
    },
};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// Journal messages that are gone, as a log stands before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing<'a> {
    /// The log.
    pub origin: &'a str,
    /// Journal epoch.
    pub epoch: u64,
    /// The first missing sequence.
    pub from: u64,
    /// The last missing sequence.
    pub to: u64,
    /// Number of entries that the messages before `from` gave.
    pub size: u64,
}

impl Missing<'_> {
    fn message(&self, name: &Ident) -> Vec<u8> {
        let Self { origin, epoch, from, to, size } = self;
        format!(
            "countersign-replica-not-posted/v1\n{origin}\n{name}\n{epoch}\n{from}\n{to}\n{size}\n"
        )
        .into_bytes()
    }
}

/// An entry that one of the missing messages gave. `nonce` is of who asks: an old statement is none.
#[derive(Clone, Copy, Debug)]
pub struct Posted<'a> {
    /// The log.
    pub origin: &'a str,
    /// Journal epoch.
    pub epoch: u64,
    /// The first sequence that was asked for.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// 32 hex digits.
    pub nonce: &'a str,
    /// Leaf index of the first entry that these messages gave.
    pub index: u64,
    /// Its leaf hash.
    pub leaf_hash: Hash,
}

impl Posted<'_> {
    fn message(&self, name: &Ident) -> Vec<u8> {
        let Self { origin, epoch, from, to, nonce, index, leaf_hash } = self;
        format!(
            "countersign-replica-posted/v1\n{origin}\n{name}\n{epoch}\n{from}\n{to}\n{nonce}\n{index}\n{leaf_hash}\n"
        )
        .into_bytes()
    }
}

/// A replica's promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// Name of the replica.
    pub name: Ident,
    /// By its key, in base64.
    pub signature: String,
}

/// That a majority of the replicas has no entry of missing messages, and will never have one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// Number of entries before the hole. The set in force there must agree.
    pub size: u64,
    /// Version of that set.
    pub version: u64,
    /// Its members, in the order of their names.
    pub members: Vec<Member>,
    /// Promises of a majority of them, in the order of their names.
    pub promises: Vec<Promise>,
}

/// Why an agreement counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreed {
    /// It is of another place in the log.
    #[error("it is for size {0}, and the hole is elsewhere")]
    Place(u64),
    /// It names another set than the one in force.
    #[error("it names other members than those in force at its place")]
    Members,
    /// Promises must be in the order of names, each by one member.
    #[error(
        "the promise of {0} is not by a member of the set, or stands twice or in the wrong order"
    )]
    Order(Ident),
    /// A signature is wrong.
    #[error("the promise of {0} has a wrong signature")]
    Signature(Ident),
    /// Too few.
    #[error("{got} members have promised, and {least} must")]
    Minority {
        /// How many have.
        got: usize,
        /// How many must.
        least: usize,
    },
}

impl Agreed {
    /// Checks that a majority has agreed about exactly these messages. `named`: the sets that the entries before the hole name,
    /// oldest first; without one, the set that the agreement itself names counts, because no entry names the first set.
    pub fn check(&self, missing: &Missing<'_>, named: &[MemberSet]) -> Result<(), Disagreed> {
        if self.size != missing.size {
            return Err(Disagreed::Place(self.size));
        }
        let fits = if let Some(set) = members::in_force(named, self.size) {
            (set.version, &set.members) == (self.version, &self.members)
        } else {
            let in_order = self.members.windows(2).all(|two| two[0].name < two[1].name);
            self.version == 0 && in_order && members::mistake(&self.members).is_none()
        };
        if !fits {
            return Err(Disagreed::Members);
        }
        let mut before: Option<&Ident> = None;
        for Promise { name, signature } in &self.promises {
            let member = self.members.iter().find(|member| member.name == *name);
            let is_next = before.is_none_or(|before| before < name);
            let member = member.filter(|_| is_next);
            let member = member.ok_or_else(|| Disagreed::Order(name.clone()))?;
            if !missing.is_promised_by(member, signature) {
                return Err(Disagreed::Signature(name.clone()));
            }
            before = Some(name);
        }
        let (got, least) = (self.promises.len(), self.members.len() / 2 + 1);
        if got < least { Err(Disagreed::Minority { got, least }) } else { Ok(()) }
    }

    /// The agreement of these members, if they are a majority of the set.
    pub fn of(missing: &Missing<'_>, set: &MemberSet, mut promises: Vec<Promise>) -> Option<Self> {
        promises.sort_by(|a, b| a.name.cmp(&b.name));
        let (version, members) = (set.version, set.members.clone());
        let agreed = Self { size: missing.size, version, members, promises };
        agreed.check(missing, std::slice::from_ref(set)).is_ok().then_some(agreed)
    }
}

impl Missing<'_> {
    /// True if `signature` is a member's promise about exactly these messages.
    pub fn is_promised_by(&self, member: &Member, signature: &str) -> bool {
        has_signed(member, &self.message(&member.name), signature)
    }
}

impl Posted<'_> {
    /// True if `signature` is a member's statement that these messages gave that entry.
    pub fn is_said_by(&self, member: &Member, signature: &str) -> bool {
        has_signed(member, &self.message(&member.name), signature)
    }
}

fn has_signed(member: &Member, message: &[u8], signature: &str) -> bool {
    let signature = BASE64.decode(signature.as_bytes());
    signature.is_ok_and(|signature| member.key.has_signed(message, &signature))
}

impl Members {
    /// This replica's promise that it has no entry of these messages and will never have one, in base64. Whoever calls this has
    /// stored the promise before.
    pub fn promise(&self, missing: &Missing<'_>) -> String {
        BASE64.encode(&self.key.sign(&missing.message(self.own())))
    }

    /// This replica's statement that these messages gave an entry, in base64.
    pub fn posted(&self, posted: &Posted<'_>) -> String {
        BASE64.encode(&self.key.sign(&posted.message(self.own())))
    }
}

#[cfg(test)]
mod tests;
