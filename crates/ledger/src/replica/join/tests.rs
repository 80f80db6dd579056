use super::*;
use crate::{
    ident::Ident,
    log::{
        checkpoint::Checkpoint,
        cosignature::CosignerKey,
        members::{Member, key_name},
        merkle::leaf_hash,
        note::Signer,
    },
    post::LogKey,
    store::LogNumber,
    system::KeyText,
};

const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

fn cosigner(name: &str) -> CosignerKey {
    CosignerKey::new(&key_name(ORIGIN, name), &[name.as_bytes()[0]; 32])
}

fn set(names: &[&str]) -> MemberSet {
    let member = |name: &&str| Member {
        name: Ident::new(name).unwrap(),
        key: cosigner(name).public().clone(),
    };
    MemberSet::first(names.iter().map(member).collect())
}

fn leaf(number: u64) -> Hash {
    leaf_hash(&number.to_be_bytes())
}

/// A log of that many entries, with one key.
fn log(size: u64) -> Log {
    let mut log = Log::new(Ident::new("acme").unwrap(), LogNumber(1), ORIGIN.into(), "js:1".into());
    for number in 0..size {
        log.edge.append(leaf(number), &mut Vec::new());
    }
    (log.position.size, log.position.root) = (size, log.edge.root());
    let vkey = KeyText(Signer::new(ORIGIN, &[9; 32]).vkey().clone());
    log.keys.log.push(LogKey { vkey, first_size: 1, last_size: None, index: 0 });
    log
}

/// What a member shows of the true log at a size, to compare with a copy of `copied` entries.
fn shown(size: u64, by: &[&str], copied: u64) -> Shown {
    let root = log(size).position.root;
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root };
    let mut note = checkpoint.sign([&Signer::new(ORIGIN, &[9; 32])]);
    for name in by {
        note.push_str(&cosigner(name).cosign(7, &checkpoint.text()));
    }
    Shown { note, tail: (copied..size).map(leaf).collect() }
}

fn followed(log: &Log) -> Followed {
    let none: [&str; 0] = [];
    Followed::from(&set(&["a", "b", "c"]), (&log.origin, &log.keys), &none)
}

fn check(log: &Log, shown: &Shown) -> Result<u64, Refused> {
    is_cosigned(log, &followed(log), shown).map(|certified| certified.checkpoint.size)
}

#[test]
fn p21_a_copy_is_the_beginning_of_what_a_majority_cosigned() {
    let copy = log(300);
    assert_eq!(check(&copy, &shown(300, &["a", "b"], 300)), Ok(300));
    assert_eq!(check(&copy, &shown(700, &["b", "c"], 300)), Ok(700));
    let refused = |shown: &Shown| check(&copy, shown).unwrap_err();
    assert!(matches!(refused(&shown(300, &["a"], 300)), Refused::Uncertified { .. }));
    assert!(matches!(refused(&shown(300, &["a", "x"], 300)), Refused::Uncertified { .. }));
    assert_eq!(refused(&shown(299, &["a", "b"], 299)), Refused::Ahead { shown: 299, size: 300 });
    // One hash of the tail is another one, one is left out, or it is of another place.
    let mut other = shown(700, &["a", "b"], 300);
    other.tail[5] = leaf(4711);
    assert!(matches!(refused(&other), Refused::Root { size: 700, .. }));
    let mut short = shown(700, &["a", "b"], 300);
    short.tail.pop();
    assert!(matches!(refused(&short), Refused::Root { size: 700, .. }));
    assert!(matches!(refused(&shown(700, &["a", "b"], 299)), Refused::Root { size: 700, .. }));
}

#[test]
fn p21_a_changed_copy_or_another_log_is_refused() {
    let mut copy = log(300);
    copy.edge = log(299).edge;
    copy.edge.append(leaf(4711), &mut Vec::new());
    let refused = check(&copy, &shown(300, &["a", "b"], 300)).unwrap_err();
    assert!(refused.to_string().contains("a and b cosigned"), "{refused}");
    let mut elsewhere = log(300);
    elsewhere.origin = "other.example/v1/tenants/acme/logs/1".into();
    let refused = check(&elsewhere, &shown(300, &["a", "b"], 300)).unwrap_err();
    assert!(matches!(refused, Refused::Origin { .. }), "{refused}");
}

#[test]
fn p21_members_that_nobody_agreed_to_are_refused() {
    let mut copy = log(300);
    // The entries name a change, and no step proves that the set before agreed.
    copy.keys.members = vec![set(&["a", "b", "c"])];
    copy.keys.members.push(MemberSet { version: 1, index: 7, ..set(&["a", "b", "d"]) });
    assert_eq!(check(&copy, &shown(300, &["a", "b"], 300)), Err(Refused::Members));
    // A configuration with other first members than the log.
    copy.keys.members = vec![set(&["a", "b", "d"])];
    assert_eq!(check(&copy, &shown(300, &["a", "b"], 300)), Err(Refused::Members));
}
