//! The replicas of a log: who they are, and which checkpoint a majority of them has cosigned (P21).
//!
//! It is one operator's quorum, not independent witnesses.

mod statement;

pub use statement::{Claim, EntryOf, Files, Place, Statement};

use super::{
    checkpoint::{self, Checkpoint},
    cosignature::{self, CosignerKey},
    members::{self, Member, MemberSet},
    note::{self, Vkey},
};
use crate::ident::Ident;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// This replica, and the first set of replicas, as its configuration has them.
pub struct Members {
    own: Member,
    key: CosignerKey,
    first: MemberSet,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members")
            .field("own", &self.own)
            .field("first", &self.first)
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
    /// Names of the members that cosigned, in the order of their lines.
    pub by: Vec<Ident>,
    /// Version of the set that was held to be in force at its size.
    pub version: u64,
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
    /// Too few replicas of a set have cosigned.
    #[error("{got} replicas of the set {version} have cosigned, and {least} must")]
    Minority {
        /// Version of the set.
        version: u64,
        /// How many have.
        got: usize,
        /// How many must.
        least: usize,
    },
}

impl Members {
    /// Checks that `first` can be the first replicas of a log, and that `key` is the one of `own`. This replica may have come
    /// later: then it is not among them.
    pub fn new(own: Ident, key: CosignerKey, first: Vec<Member>) -> Result<Self, String> {
        if let Some(wrong) = members::mistake(&first) {
            return Err(wrong);
        }
        let listed = first.iter().find(|member| member.name == own);
        if let Some(listed) = listed.filter(|listed| listed.key != *key.public()) {
            return Err(format!(
                "the key file holds {}, and the member {own} is listed with {}: a key is never copied",
                key.public().label(),
                listed.key.label()
            ));
        }
        let copied = first.iter().find(|one| one.name != own && one.key == *key.public());
        if let Some(copied) = copied {
            return Err(format!("{own} has the key of {}: a key is never copied", copied.name));
        }
        let own = Member { name: own, key: key.public().clone() };
        Ok(Self { own, key, first: MemberSet::first(first) })
    }

    /// Name of this replica.
    pub fn own(&self) -> &Ident {
        &self.own.name
    }

    /// This replica's name and public key.
    pub fn this(&self) -> &Member {
        &self.own
    }

    /// The first set of replicas, as it is configured.
    pub fn first(&self) -> &MemberSet {
        &self.first
    }

    /// The sets of a log, oldest first: those that its entries name, or the first one alone.
    pub fn sets<'a>(&'a self, named: &'a [MemberSet]) -> &'a [MemberSet] {
        if named.is_empty() { std::slice::from_ref(&self.first) } else { named }
    }

    /// This replica's cosignature of a checkpoint: a line.
    pub fn cosign(&self, time: u64, checkpoint: &Checkpoint) -> String {
        self.key.cosign(time, &checkpoint.text())
    }

    /// This replica's statement that a process of its starts.
    pub fn start(&self, origin: &str, process: &str, after: u64) -> Start {
        let message = Start::message(origin, self.own(), process, after);
        let signature = BASE64.encode(&self.key.sign(&message));
        Start { process: process.into(), after, signature }
    }

    /// True if a statement was made with this replica's key, for this log.
    pub fn is_own_start(&self, origin: &str, start: &Start) -> bool {
        let message = Start::message(origin, self.own(), &start.process, start.after);
        let signature = BASE64.decode(start.signature.as_bytes());
        signature.is_ok_and(|signature| self.key.public().has_signed(&message, &signature))
    }
}

/// True if `line` is `member`'s cosignature of this note.
pub fn has_cosigned(member: &Member, note: &str, line: &str) -> bool {
    let one_line = line.ends_with('\n') && line.matches('\n').count() == 1;
    let key = std::slice::from_ref(&member.key);
    one_line && cosignature::open(&format!("{note}{line}"), key).is_ok_and(|found| found.len() == 1)
}

/// Reads a checkpoint of the log `origin` that a majority of each of these sets has cosigned; the first of them is in force. `signing`: the keys that must
/// sign a size.
pub fn certified<'a>(
    note: &str,
    origin: &str,
    signing: impl Fn(u64) -> Vec<Vkey>,
    sets: impl IntoIterator<Item = &'a MemberSet>,
) -> Result<Certified, Uncertified> {
    let checkpoint = proposed(note, origin, signing)?;
    let mut by: Vec<Ident> = Vec::new();
    let mut version = None;
    for set in sets {
        let cosigners = set.cosigners(note)?;
        let (got, least) = (cosigners.len(), set.majority());
        if got < least {
            return Err(Uncertified::Minority { version: set.version, got, least });
        }
        let new = cosigners.into_iter().filter(|one| !by.contains(&one.name)).collect::<Vec<_>>();
        by.extend(new.into_iter().map(|one| one.name.clone()));
        version.get_or_insert(set.version);
    }
    // No set is no majority of any.
    let version = version.ok_or(Uncertified::Minority { version: 0, got: 0, least: 1 })?;
    Ok(Certified { checkpoint, note: note.to_owned(), by, version })
}

/// The size that a note says. 0 if it says none.
pub fn size_of(note: &str) -> u64 {
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default()
}

/// Reads a checkpoint of the log `origin` that every key that must sign its size has signed, and replicas may not have
/// cosigned yet.
pub fn proposed(
    note: &str,
    origin: &str,
    signing: impl Fn(u64) -> Vec<Vkey>,
) -> Result<Checkpoint, Uncertified> {
    let size = size_of(note);
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
    use crate::log::{cosignature::Cosigner, merkle::leaf_hash, note::Signer};

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
            let found = certified(&note, ORIGIN, |_| vec![vkey.clone()], [three[0].first()]);
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
        let of_another =
            certified(&cosigned, "log.example/other", |_| vec![vkey.clone()], [three[0].first()]);
        assert!(matches!(of_another, Err(Uncertified::Origin(_))));
        let another = Signer::new(ORIGIN, &[8; 32]).vkey().clone();
        let two = certified(
            &cosigned,
            ORIGIN,
            |_| vec![vkey.clone(), another.clone()],
            [three[0].first()],
        );
        assert_eq!(two, Err(Uncertified::Unsigned(1)));
        assert!(
            certified(&cosigned, ORIGIN, |_| vec![another.clone()], [three[0].first()]).is_err()
        );
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
        for case in vectors["statements"].as_array().unwrap() {
            let asked: Statement = serde_json::from_value(case["asked"].clone()).unwrap();
            let (said, holds) = (text(&case["statement"]), case["holds"].as_bool().unwrap());
            assert_eq!(Members::has_stated(a.this(), &origin, &asked, &said), holds, "{case}");
            assert_eq!(a.state(&origin, &asked) == said, holds, "{case}");
        }
        let log = Vkey::parse(&text(&vectors["log_key"])).unwrap();
        for case in vectors["values"].as_array().unwrap() {
            let found =
                certified(&text(&case["note"]), &origin, |_| vec![log.clone()], [a.first()]);
            let by = found.ok().map(|found| {
                let mut names: Vec<_> = found.by.iter().map(ToString::to_string).collect();
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
        assert!(has_cosigned(members.this(), &note, &line));
        assert!(!has_cosigned(&member("a"), &note, &line));
        assert!(!has_cosigned(members.this(), &note, &format!("{line}{line}")));
        assert!(!has_cosigned(members.this(), &note, ""));
    }

    #[test]
    fn p21_a_change_needs_a_majority_of_both_sets() {
        let (checkpoint, note, vkey) = proposal();
        let old = of("a", &["a", "b", "c"]).unwrap();
        let new = MemberSet { version: 1, index: 0, members: ["a", "d", "e"].map(member).into() };
        let check = |names: &[&str], is_certified: bool| {
            let lines = names.iter().map(|name| key(name).cosign(7, &checkpoint.text()));
            let note = format!("{note}{}", lines.collect::<String>());
            let both = certified(&note, ORIGIN, |_| vec![vkey.clone()], [old.first(), &new]);
            assert_eq!(both.is_ok(), is_certified, "{names:?}");
        };
        check(&["a", "b"], false);
        check(&["a", "d"], false);
        check(&["b", "c", "a"], false);
        check(&["a", "b", "d"], true);
        check(&["b", "c", "d", "e"], true);
        assert!(certified(&note, ORIGIN, |_| vec![vkey.clone()], []).is_err(), "no set is none");
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
        check("x", &["b", "c", "d"], true);
        check("a", &["a", "b", "b"], false);
        check("a", &["a", "b", "c", "d", "e", "f", "g", "h"], false);
        let copied = Member { name: Ident::new("d").unwrap(), key: member("b").key };
        let all = vec![member("a"), member("b"), copied];
        assert!(Members::new(Ident::new("a").unwrap(), key("a"), all).is_err(), "a copied key");
        let all = ["a", "b", "c"].map(member).into();
        assert!(Members::new(Ident::new("a").unwrap(), key("b"), all).is_err(), "another's key");
    }
}
