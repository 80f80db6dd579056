//! Majorities, the words of replicas, and the vectors.

use super::*;
use crate::log::{
    checkpoint::Checkpoint,
    cosignature::Cosigner,
    merkle::leaf_hash,
    note::{Signer, Vkey},
};

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
    let three: Vec<Members> = ["a", "b", "c"].map(|own| of(own, &["a", "b", "c"]).unwrap()).into();
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
    // A wrong signature by a key that no longer signs: a verifier that has that key would refuse the note.
    let old = Signer::new(ORIGIN, &[8; 32]);
    let wrong = Checkpoint { root: leaf_hash(b"else"), ..checkpoint.clone() }.sign([&old]);
    let wrong = &wrong[wrong.find('\u{2014}').unwrap()..];
    let clean = format!("{note}{}{}", line(0), line(1));
    for dirty in [format!("{clean}{wrong}"), format!("{note}{}{wrong}{}", line(0), line(1))] {
        let found = certified(&dirty, ORIGIN, |_| vec![vkey.clone()], [three[0].first()]);
        assert_eq!(found.unwrap().note, clean);
    }
    // A majority vouches for what a key has signed that is not known here.
    let unknown = format!("{}{}{}", checkpoint.sign([&old]), line(0), line(2));
    assert!(certified(&unknown, ORIGIN, |_| vec![vkey.clone()], [three[0].first()]).is_err());
    let found = vouched(&unknown, ORIGIN, [three[0].first()]).unwrap();
    assert_eq!((found.checkpoint.clone(), found.is_vouched), (checkpoint.clone(), true));
    let alone = format!("{}{}", checkpoint.sign([&old]), line(0));
    assert!(vouched(&alone, ORIGIN, [three[0].first()]).is_err());
    // Cosignatures of another root.
    let other = Checkpoint { root: leaf_hash(b"two"), ..checkpoint.clone() };
    check(&[three[0].cosign(7, &other), three[1].cosign(7, &other)], false);
    let cosigned = format!("{note}{}{}", line(0), line(1));
    let of_another =
        certified(&cosigned, "log.example/other", |_| vec![vkey.clone()], [three[0].first()]);
    assert!(matches!(of_another, Err(Uncertified::Origin(_))));
    let another = Signer::new(ORIGIN, &[8; 32]).vkey().clone();
    let two =
        certified(&cosigned, ORIGIN, |_| vec![vkey.clone(), another.clone()], [three[0].first()]);
    assert_eq!(two, Err(Uncertified::Unsigned(1)));
    assert!(certified(&cosigned, ORIGIN, |_| vec![another.clone()], [three[0].first()]).is_err());
}

#[test]
fn p21_vectors_that_share_no_code_with_us() {
    let vectors = include_str!("../../../../../proto/vectors/replicas.json");
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
        let found = certified(&text(&case["note"]), &origin, |_| vec![log.clone()], [a.first()]);
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
