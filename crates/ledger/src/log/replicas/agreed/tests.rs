use super::*;
use crate::log::{cosignature::CosignerKey, merkle::leaf_hash};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";
const MISSING: Missing<'_> = Missing { origin: ORIGIN, epoch: 1, from: 14, to: 15, size: 9 };

fn key(name: &str) -> CosignerKey {
    CosignerKey::new(&format!("log.example/replicas/{name}"), &[name.as_bytes()[0]; 32])
}

fn member(name: &str) -> Member {
    Member { name: Ident::new(name).unwrap(), key: key(name).public().clone() }
}

fn set(version: u64, index: u64, names: &[&str]) -> MemberSet {
    MemberSet { version, index, members: names.iter().map(|name| member(name)).collect() }
}

fn of(own: &str) -> Members {
    Members::new(Ident::new(own).unwrap(), key(own), ["a", "b", "c"].map(member).into()).unwrap()
}

fn promise(name: &str, missing: &Missing<'_>) -> Promise {
    let own = if ["a", "b", "c"].contains(&name) { name } else { "d" };
    Promise { name: Ident::new(own).unwrap(), signature: of(own).promise(missing) }
}

fn agreed(names: &[&str]) -> Agreed {
    let set = set(0, 0, &["a", "b", "c"]);
    let promises = names.iter().map(|name| promise(name, &MISSING)).collect();
    Agreed { size: MISSING.size, version: 0, members: set.members, promises }
}

#[test]
fn p21_a_majority_of_promises_makes_a_gap() {
    for names in [&["a", "b"][..], &["a", "c"], &["b", "c"], &["a", "b", "c"]] {
        assert_eq!(agreed(names).check(&MISSING, &[]), Ok(()), "{names:?}");
        let posted = [set(0, 0, &["a", "b", "c"])];
        assert_eq!(agreed(names).check(&MISSING, &posted), Ok(()), "{names:?}");
    }
}

#[test]
fn p21_too_few_or_forged_promises_make_none() {
    let check = |what: &str, agreed: &Agreed, is_refused: fn(&Disagreed) -> bool| {
        let refused = agreed.check(&MISSING, &[]).unwrap_err();
        assert!(is_refused(&refused), "{what}: {refused:?}");
    };
    let minority = |refused: &Disagreed| matches!(refused, Disagreed::Minority { .. });
    let order = |refused: &Disagreed| matches!(refused, Disagreed::Order(_));
    let signature = |refused: &Disagreed| matches!(refused, Disagreed::Signature(_));
    check("none", &agreed(&[]), minority);
    check("one of three", &agreed(&["b"]), minority);
    check("one of them twice", &agreed(&["b", "b"]), order);
    check("in another order", &agreed(&["b", "a"]), order);
    check("a stranger", &agreed(&["a", "d"]), order);
    let mut forged = agreed(&["a", "b"]);
    forged.promises[1].signature = forged.promises[0].signature.clone();
    check("a's signature as b's", &forged, signature);
    forged.promises[1].signature = "x".into();
    check("no signature", &forged, signature);
    let wrong = Agreed { version: 1, ..agreed(&["a", "b"]) };
    check("a version that no entry names", &wrong, |refused| *refused == Disagreed::Members);
    let wrong = Agreed { size: 8, ..agreed(&["a", "b"]) };
    check("of another place", &wrong, |refused| *refused == Disagreed::Place(8));
    let mut wrong = agreed(&["a", "b"]);
    wrong.members.pop();
    check("a set of two", &wrong, |refused| *refused == Disagreed::Members);
}

#[test]
fn p21_the_set_in_force_before_the_hole_must_agree() {
    let sets = [set(0, 0, &["a", "b", "c"]), set(1, 4, &["b", "c", "d"])];
    let of_sets = |set: &MemberSet, names: &[&str]| Agreed {
        version: set.version,
        members: set.members.clone(),
        ..agreed(names)
    };
    let check = |agreed: &Agreed, fits: bool| {
        assert_eq!(agreed.check(&MISSING, &sets).is_ok(), fits, "{agreed:?}");
    };
    check(&of_sets(&sets[1], &["b", "c"]), true);
    check(&of_sets(&sets[0], &["a", "b"]), false);
    check(&of_sets(&sets[1], &["a", "b"]), false);
    // The change comes after the hole.
    let later = [sets[0].clone(), set(1, 9, &["b", "c", "d"])];
    assert!(of_sets(&later[0], &["a", "b"]).check(&MISSING, &later).is_ok());
    assert!(of_sets(&later[1], &["b", "c"]).check(&MISSING, &later).is_err());
}

#[test]
fn p21_who_posted_it_says_so_itself() {
    let (a, b) = (of("a"), of("b"));
    let leaf_hash = leaf_hash(b"one");
    let (epoch, from, to) = (1, 14, 15);
    let posted = Posted { origin: ORIGIN, epoch, from, to, nonce: "1", index: 9, leaf_hash };
    let said = a.posted(&posted);
    assert!(posted.is_said_by(a.this(), &said) && !posted.is_said_by(b.this(), &said));
    for other in [
        Posted { nonce: "2", ..posted },
        Posted { index: 10, ..posted },
        Posted { to: 14, ..posted },
        Posted { epoch: 2, ..posted },
        Posted { origin: "log.example/other", ..posted },
    ] {
        assert!(!other.is_said_by(a.this(), &said), "{other:?}");
    }
    assert!(!posted.is_said_by(a.this(), &a.promise(&MISSING)), "a promise says the opposite");
}

#[test]
fn p21_vectors_that_share_no_code_with_us() {
    let vectors = include_str!("../../../../../../proto/vectors/replicas.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let number = |of: &serde_json::Value, name: &str| of[name].as_u64().unwrap();
    let lost = &vectors["lost"]["missing"];
    let missing = Missing {
        origin: lost["origin"].as_str().unwrap(),
        epoch: number(lost, "epoch"),
        from: number(lost, "from"),
        to: number(lost, "to"),
        size: number(lost, "size"),
    };
    assert_eq!(missing, MISSING);
    for case in vectors["lost"]["cases"].as_array().unwrap() {
        let promises = serde_json::from_value(case["promises"].clone()).unwrap();
        let agreed = Agreed { promises, ..agreed(&[]) };
        let is_majority = case["agrees"].as_bool().unwrap();
        assert_eq!(agreed.check(&missing, &[]).is_ok(), is_majority, "{}", case["about"]);
    }
    let said = &vectors["posted"];
    let posted = Posted {
        origin: said["origin"].as_str().unwrap(),
        epoch: number(said, "epoch"),
        from: number(said, "from"),
        to: number(said, "to"),
        nonce: said["nonce"].as_str().unwrap(),
        index: number(said, "index"),
        leaf_hash: serde_json::from_value(said["leaf_hash"].clone()).unwrap(),
    };
    // Ed25519 as in RFC 8032 gives one signature for a message.
    assert_eq!(of("a").posted(&posted), said["signature"].as_str().unwrap());
}

proptest! {
    /// Whatever is changed in what was promised, no promise holds for it.
    #[test]
    fn p21_a_promise_is_of_these_messages_alone(epoch in 0_u64..3, from in 13_u64..16, to in 13_u64..17, size in 8_u64..11) {
        let other = Missing { origin: ORIGIN, epoch, from, to, size };
        let agreed = Agreed { size, ..agreed(&["a", "b"]) };
        prop_assert_eq!(agreed.check(&other, &[]).is_ok(), other == MISSING);
    }

    /// A majority of these members, and nothing less, agrees.
    #[test]
    fn p21_only_a_majority_agrees(who in proptest::sample::subsequence(vec!["a", "b", "c"], 0..=3)) {
        let promises = who.iter().rev().map(|name| promise(name, &MISSING)).collect();
        let set = set(0, 0, &["a", "b", "c"]);
        let agreed = Agreed::of(&MISSING, &set, promises);
        prop_assert_eq!(agreed.is_some(), who.len() >= 2);
    }
}
