//! Journal messages that are deleted, and what they gave. Nothing is inferred from absence
//! (`proto/formats/system.md`, *Holes*): a server that meets a hole reads here what was in it, or stops.

use crate::{
    canonical, json,
    log::{
        members::MemberSet,
        merkle::{Hash, leaf_hash},
        replicas::{Agreed, Disagreed, Missing},
    },
    system::{By, Reason},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A leaf inside a message: the entry as nested JSON. Both are RFC 8785, so the bytes are restored exactly.
pub type Leaf = serde_json::Value;

/// `system.erasure`: the payload of one entry is erased, and the journal messages that held it are deleted.
///
/// `L` is a whole [`Leaf`] in the message, which is trimmed one day, and its [`Hash`] in the entry, which
/// stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure<L> {
    /// Leaf index of the entry whose payload is erased.
    pub index: u64,
    /// Its leaf hash. The erasure is refused if another entry is at that index.
    pub leaf_hash: Hash,
    /// Names of the fields. Absent means all of them.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// Who erases it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// Every journal message that is deleted, in journal order: the entry's own, and those that repeat its
    /// event.
    pub messages: Vec<Gone<L>>,
}

/// One journal message that is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone<L> {
    /// Journal epoch.
    pub epoch: u64,
    /// Journal sequence of the message.
    pub seq: u64,
    /// The local subject, for example `decisions.gw-1`. `null` if it is not one of ours.
    pub subject: Option<String>,
    /// All leaves that it gave, in order. Empty for a repetition.
    pub leaves: Vec<L>,
}

impl Erasure<Leaf> {
    /// The form in the entry, with leaf hashes instead of leaves.
    pub fn hashed(&self) -> Erasure<Hash> {
        let hashed = |gone: &Gone<Leaf>| Gone {
            epoch: gone.epoch,
            seq: gone.seq,
            subject: gone.subject.clone(),
            leaves: gone.hashes(),
        };
        Erasure {
            index: self.index,
            leaf_hash: self.leaf_hash,
            fields: self.fields.clone(),
            by: self.by.clone(),
            reason: self.reason.clone(),
            messages: self.messages.iter().map(hashed).collect(),
        }
    }
}

impl Gone<Leaf> {
    /// The bytes of its leaves.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        self.leaves.iter().map(canonical::of).collect()
    }

    /// Their leaf hashes.
    pub fn hashes(&self) -> Vec<Hash> {
        self.entries().iter().map(|entry| leaf_hash(entry)).collect()
    }
}

/// `system.gap`: journal messages are gone, nothing explains it, and this log has no entry of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hole {
    /// The first missing sequence.
    pub from: u64,
    /// The last missing sequence.
    pub to: u64,
    /// Who declares it: the server that met the hole, or `recover --accept-hole`.
    pub by: By,
    /// Where replicas sign the log: that a majority of them has no entry of these messages. `None` where one server signs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Agreed>,
}

impl Hole {
    /// Checks that it may be declared in an epoch of the log `origin`, at the tree size that its agreement names: a majority of the
    /// replicas in force there has signed it, or nobody had to. `named`: the sets that earlier entries name.
    pub fn check_agreed(
        &self,
        origin: &str,
        epoch: u64,
        named: &[MemberSet],
    ) -> Result<(), Disagreed> {
        let Self { from, to, .. } = *self;
        match (&self.agreed, named) {
            (Some(agreed), named) => {
                agreed.check(&Missing { origin, epoch, from, to, size: agreed.size }, named)
            }
            (None, []) => Ok(()),
            // Once an entry has named the replicas, no server declares a hole alone.
            (None, [.., last]) => Err(Disagreed::Minority { got: 0, least: last.majority() }),
        }
    }
}

/// `system.trim`: posted messages are old and are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trim {
    /// Every message of this epoch with a lower sequence is removed.
    pub below: u64,
    /// Who removes them.
    pub by: By,
}

/// Reads a body: strict JSON that is exactly one of these types, deep enough for nested leaves.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    json::parse_nested(body).ok()?;
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers, texts and depths of leaves survive the round trip.
    fn check(value: &str) {
        let leaf = canonical::to_vec(&json::parse(value.as_bytes()).unwrap());
        let text = String::from_utf8(leaf.clone()).unwrap();
        let body = format!(r#"{{"epoch":1,"leaves":[{text}],"seq":9,"subject":null}}"#);
        let gone: Gone<Leaf> = read(body.as_bytes()).unwrap();
        assert_eq!(gone.entries(), [leaf], "{value}");
        assert_eq!(canonical::of(&gone), body.into_bytes());
    }

    #[test]
    fn p6_a_nested_leaf_gives_its_bytes() {
        check(r#"{"a":1.5e3,"c":0.1,"d":5e-7,"e":9007199254740991,"f":"\u0007é"}"#);
        check(&format!("{}1{}", "[".repeat(json::DEPTH_MAX), "]".repeat(json::DEPTH_MAX)));
    }

    proptest! {
        #[test]
        fn p6_any_number_comes_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            let whole = number.abs() <= json::INTEGER_MAX || number.fract() != 0.0;
            prop_assume!(number.is_finite() && whole);
            let text = serde_json::to_string(&number).unwrap();
            if json::parse(text.as_bytes()).is_ok() {
                check(&format!(r#"{{"n":{text}}}"#));
            }
        }
    }

    #[test]
    fn p3_what_is_not_strict_is_no_message() {
        let check = |body: &str, reads: bool| {
            assert_eq!(read::<Gone<Leaf>>(body.as_bytes()).is_some(), reads, "{body}");
        };
        check(r#"{"epoch":1,"seq":2,"subject":null,"leaves":[]}"#, true);
        check(r#"{"epoch":1,"seq":2,"subject":null,"leaves":[],"more":1}"#, false);
        check(r#"{"epoch":1,"seq":2,"subject":null,"leaves":[{"a":1,"a":2}]}"#, false);
        check(r#"{"epoch":1,"seq":2,"subject":null}"#, false);
    }
}
