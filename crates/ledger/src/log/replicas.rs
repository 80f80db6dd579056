//! The replicas of a log: who they are, and which checkpoint a majority of them has cosigned (P21).
//!
//! It is one operator's quorum, not independent witnesses.

use super::{
    checkpoint::{self, Checkpoint},
    cosignature::{self, Cosigner, CosignerKey},
    note::{self, Vkey},
};
use crate::ident::Ident;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// Fewest replicas: with two, the loss of one would stop both.
pub const REPLICAS_MIN: usize = 3;
/// Most replicas. A note has room for their cosignatures beside those of witnesses.
pub const REPLICAS_MAX: usize = 7;

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in the configuration.
    pub name: Ident,
    /// Its public key.
    pub key: Cosigner,
}

/// All replicas, as one of them knows them.
pub struct Members {
    own: Ident,
    key: CosignerKey,
    all: Vec<Member>,
    keys: Vec<Cosigner>,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members")
            .field("own", &self.own)
            .field("all", &self.all)
            .finish_non_exhaustive()
    }
}

/// A checkpoint that the log has signed and a majority of its replicas has cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// What it states.
    pub checkpoint: Checkpoint,
    /// The note: the log's signatures, then the cosignatures.
    pub note: String,
    /// Positions of the members that cosigned.
    pub by: Vec<usize>,
}

/// A replica's statement that a process of its starts, after the one whose statement has the sequence `after`. So an old
/// statement, told again, says nothing of the process that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Names the process.
    pub process: String,
    /// Sequence of the statement before it. 0 if there is none.
    pub after: u64,
    /// By the replica's key, in base64.
    signature: String,
}

impl Start {
    fn message(origin: &str, name: &Ident, process: &str, after: u64) -> Vec<u8> {
        format!("countersign-replica-start/v1\n{origin}\n{name}\n{process}\n{after}\n").into_bytes()
    }
}

/// Why a note counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncertified {
    /// It is no note of this log, or a signature in it is wrong.
    #[error(transparent)]
    Note(#[from] note::Error),
    /// It is another log's.
    #[error("it is of the log {0}")]
    Origin(String),
    /// A key that must sign this size has not.
    #[error("a key that must sign size {0} has not signed")]
    Unsigned(u64),
    /// Too few replicas have cosigned.
    #[error("{got} replicas have cosigned, and {least} must")]
    Minority {
        /// How many have.
        got: usize,
        /// How many must.
        least: usize,
    },
}

impl Members {
    /// Checks that these can be the replicas of a log, and that `key` is the one of `own`.
    pub fn new(own: Ident, key: CosignerKey, all: Vec<Member>) -> Result<Self, String> {
        if !(REPLICAS_MIN..=REPLICAS_MAX).contains(&all.len()) {
            return Err(format!(
                "{} members: {REPLICAS_MIN} to {REPLICAS_MAX} are needed, with this one among them",
                all.len()
            ));
        }
        for (at, member) in all.iter().enumerate() {
            let is_same = |other: &&Member| {
                other.name == member.name
                    || other.key.public_bytes() == member.key.public_bytes()
                    || other.key.name() == member.key.name()
            };
            if let Some(other) = all[..at].iter().find(is_same) {
                return Err(format!(
                    "members {} and {}: each replica has a name and a key of its own",
                    other.name, member.name
                ));
            }
        }
        let listed = all.iter().find(|member| member.name == own);
        let listed = listed.ok_or_else(|| format!("{own} is not among the members"))?;
        if listed.key != *key.public() {
            return Err(format!(
                "the key file holds {}, and the member {own} is listed with {}: a key is never copied",
                key.public().label(),
                listed.key.label()
            ));
        }
        let keys = all.iter().map(|member| member.key.clone()).collect();
        Ok(Self { own, key, all, keys })
    }

    /// Name of this replica.
    pub fn own(&self) -> &Ident {
        &self.own
    }

    /// All replicas, this one among them.
    pub fn all(&self) -> &[Member] {
        &self.all
    }

    /// The place of this replica among the members.
    pub fn rank(&self) -> usize {
        self.all.iter().position(|member| member.name == self.own).unwrap_or_default()
    }

    /// How many must cosign.
    pub fn majority(&self) -> usize {
        self.all.len() / 2 + 1
    }

    /// This replica's cosignature of a checkpoint: a line.
    pub fn cosign(&self, time: u64, checkpoint: &Checkpoint) -> String {
        self.key.cosign(time, &checkpoint.text())
    }

    /// This replica's statement that a process of its starts.
    pub fn start(&self, origin: &str, process: &str, after: u64) -> Start {
        let message = Start::message(origin, &self.own, process, after);
        let signature = BASE64.encode(&self.key.sign(&message));
        Start { process: process.into(), after, signature }
    }

    /// True if a statement was made with this replica's key, for this log.
    pub fn is_own_start(&self, origin: &str, start: &Start) -> bool {
        let message = Start::message(origin, &self.own, &start.process, start.after);
        let signature = BASE64.decode(start.signature.as_bytes());
        signature.is_ok_and(|signature| self.key.public().has_signed(&message, &signature))
    }

    /// True if `line` is `member`'s cosignature of this note.
    pub fn has_cosigned(&self, member: usize, note: &str, line: &str) -> bool {
        let key = self.keys.get(member).map(std::slice::from_ref).unwrap_or_default();
        let one_line = line.ends_with('\n') && line.matches('\n').count() == 1;
        one_line
            && cosignature::open(&format!("{note}{line}"), key).is_ok_and(|found| found.len() == 1)
    }

    /// Reads a checkpoint of the log `origin`. `signing`: the keys that must sign a size.
    pub fn certified(
        &self,
        note: &str,
        origin: &str,
        signing: impl Fn(u64) -> Vec<Vkey>,
    ) -> Result<Certified, Uncertified> {
        let checkpoint = proposed(note, origin, signing)?;
        let cosigned = cosignature::open(note, &self.keys)?;
        let (got, least) = (cosigned.len(), self.majority());
        if got < least {
            return Err(Uncertified::Minority { got, least });
        }
        let by = cosigned.into_iter().map(|one| one.by).collect();
        Ok(Certified { checkpoint, note: note.to_owned(), by })
    }
}

/// Reads a checkpoint of the log `origin` that every key that must sign its size has signed, and replicas may not have
/// cosigned yet.
pub fn proposed(
    note: &str,
    origin: &str,
    signing: impl Fn(u64) -> Vec<Vkey>,
) -> Result<Checkpoint, Uncertified> {
    let size = note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default();
    let keys = signing(size);
    let opened = checkpoint::open(note, &keys)?;
    if opened.checkpoint.origin != origin {
        return Err(Uncertified::Origin(opened.checkpoint.origin));
    }
    if opened.signers.len() != keys.len() {
        return Err(Uncertified::Unsigned(size));
    }
    Ok(opened.checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{merkle::leaf_hash, note::Signer};

    fn key(name: &str) -> CosignerKey {
        CosignerKey::new(&format!("log.example/replicas/{name}"), &[name.as_bytes()[0]; 32])
    }

    fn member(name: &str) -> Member {
        Member { name: Ident::new(name).unwrap(), key: key(name).public().clone() }
    }

    fn of(own: &str, all: &[&str]) -> Result<Members, String> {
        Members::new(Ident::new(own).unwrap(), key(own), all.iter().map(|n| member(n)).collect())
    }

    const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

    fn proposal() -> (Checkpoint, String, Vkey) {
        let signer = Signer::new(ORIGIN, &[9; 32]);
        let root = leaf_hash(b"one");
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 1, root };
        (checkpoint.clone(), checkpoint.sign([&signer]), signer.vkey().clone())
    }

    #[test]
    fn p21_only_a_majority_certifies() {
        let (checkpoint, note, vkey) = proposal();
        let three: Vec<Members> =
            ["a", "b", "c"].map(|own| of(own, &["a", "b", "c"]).unwrap()).into();
        let line = |at: usize| three[at].cosign(7, &checkpoint);
        let check = |lines: &[String], is_certified: bool| {
            let note = format!("{note}{}", lines.concat());
            let found = three[0].certified(&note, ORIGIN, |_| vec![vkey.clone()]);
            assert_eq!(found.is_ok(), is_certified, "{note}");
        };
        check(&[], false);
        check(&[line(0)], false);
        check(&[line(0), line(2)], true);
        check(&[line(2), line(1), line(0)], true);
        // A stranger counts for nothing, and nobody counts twice.
        let stranger = key("x").cosign(7, &checkpoint.text());
        check(&[line(0), stranger.clone()], false);
        check(&[line(0), stranger, line(1)], true);
        check(&[line(0), three[0].cosign(8, &checkpoint)], false);
        // Cosignatures of another root.
        let other = Checkpoint { root: leaf_hash(b"two"), ..checkpoint.clone() };
        check(&[three[0].cosign(7, &other), three[1].cosign(7, &other)], false);
        let cosigned = format!("{note}{}{}", line(0), line(1));
        let of_another = three[0].certified(&cosigned, "log.example/other", |_| vec![vkey.clone()]);
        assert!(matches!(of_another, Err(Uncertified::Origin(_))));
        let another = Signer::new(ORIGIN, &[8; 32]).vkey().clone();
        let two = three[0].certified(&cosigned, ORIGIN, |_| vec![vkey.clone(), another.clone()]);
        assert_eq!(two, Err(Uncertified::Unsigned(1)));
        assert!(three[0].certified(&cosigned, ORIGIN, |_| vec![another.clone()]).is_err());
    }

    #[test]
    fn p21_vectors_that_share_no_code_with_us() {
        let vectors = include_str!("../../../../proto/vectors/replicas.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let members = |own: &str| {
            let member = |(name, vkey): (&String, &serde_json::Value)| Member {
                name: Ident::new(name).unwrap(),
                key: Cosigner::parse(vkey.as_str().unwrap()).unwrap(),
            };
            let all = vectors["members"].as_object().unwrap().iter().map(member).collect();
            Members::new(Ident::new(own).unwrap(), key(own), all).unwrap()
        };
        let (origin, a) = (text(&vectors["origin"]), members("a"));
        for case in vectors["starts"].as_array().unwrap() {
            let start: Start = serde_json::from_value(case["start"].clone()).unwrap();
            let holds = case["holds"].as_bool().unwrap();
            assert_eq!(a.is_own_start(&origin, &start), holds, "{}", case["about"]);
            // Ed25519 as in RFC 8032 gives one signature for a message.
            let made = a.start(&origin, &start.process, start.after);
            assert_eq!(made == start, holds, "{}", case["about"]);
        }
        let log = Vkey::parse(&text(&vectors["log_key"])).unwrap();
        for case in vectors["values"].as_array().unwrap() {
            let found = a.certified(&text(&case["note"]), &origin, |_| vec![log.clone()]);
            let by = found.ok().map(|found| {
                let mut names: Vec<_> =
                    found.by.iter().map(|at| a.all()[*at].name.to_string()).collect();
                names.sort();
                names
            });
            let expected: Option<Vec<String>> = serde_json::from_value(case["by"].clone()).unwrap();
            assert_eq!(by, expected, "{}", case["about"]);
        }
    }

    #[test]
    fn p21_a_line_is_one_members() {
        let (checkpoint, note, _) = proposal();
        let members = of("b", &["a", "b", "c"]).unwrap();
        let line = members.cosign(7, &checkpoint);
        assert!(members.has_cosigned(1, &note, &line) && !members.has_cosigned(0, &note, &line));
        assert!(!members.has_cosigned(1, &note, &format!("{line}{line}")));
        assert!(!members.has_cosigned(9, &note, &line));
        assert!(!members.has_cosigned(1, &note, ""));
    }

    #[test]
    fn p21_a_start_is_stated_with_the_replicas_key() {
        let (a, b) = (of("a", &["a", "b", "c"]).unwrap(), of("b", &["a", "b", "c"]).unwrap());
        let start = a.start(ORIGIN, "p1", 7);
        assert!(a.is_own_start(ORIGIN, &start) && !b.is_own_start(ORIGIN, &start));
        assert!(!a.is_own_start("log.example/other", &start));
        for changed in [
            Start { after: 8, ..start.clone() },
            Start { process: "p2".into(), ..start.clone() },
            Start { signature: "x".into(), ..start.clone() },
            b.start(ORIGIN, "p1", 7),
        ] {
            assert!(!a.is_own_start(ORIGIN, &changed), "{changed:?}");
        }
    }

    #[test]
    fn p21_who_can_be_replicas() {
        let check = |own: &str, all: &[&str], fits: bool| {
            let members = of(own, all);
            assert_eq!(members.is_ok(), fits, "{own} {all:?} {:?}", members.err());
        };
        check("a", &["a", "b", "c"], true);
        check("a", &["a", "b"], false);
        check("a", &["b", "c", "d"], false);
        check("a", &["a", "b", "b"], false);
        check("a", &["a", "b", "c", "d", "e", "f", "g", "h"], false);
        let copied = Member { name: Ident::new("d").unwrap(), key: member("b").key };
        let all = vec![member("a"), member("b"), copied];
        assert!(Members::new(Ident::new("a").unwrap(), key("a"), all).is_err(), "a copied key");
        let all = ["a", "b", "c"].map(member).into();
        assert!(Members::new(Ident::new("a").unwrap(), key("b"), all).is_err(), "another's key");
        assert_eq!(of("a", &["a", "b", "c"]).unwrap().majority(), 2);
        assert_eq!(of("a", &["a", "b", "c", "d"]).unwrap().majority(), 3);
        assert_eq!(of("b", &["a", "b", "c", "d", "e"]).unwrap().majority(), 3);
    }
}
