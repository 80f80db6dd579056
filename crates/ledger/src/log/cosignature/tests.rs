//! Against the example of the specification, and cosignatures that others made (`proto/vectors/cosignature.json`).

use super::*;
use crate::log::note::Signer;
use data_encoding::{BASE64, HEXLOWER};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

/// A line of a cosigner with this name and seed. Written from the specification: the product only reads them.
pub(in crate::log) fn line(text: &str, name: &str, seed: u8, time: u64) -> String {
    let signer = Signer::new(name, &[seed; 32]);
    let id = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', 4])
        .chain_update(signer.vkey().public_bytes())
        .finalize();
    let signature = signer.sign_bytes(&message(time, text));
    let bytes = [&id[..4], &time.to_be_bytes(), &signature].concat();
    format!("\u{2014} {name} {}\n", BASE64.encode(&bytes))
}

/// The key of that cosigner.
pub(in crate::log) fn cosigner(name: &str, seed: u8) -> Cosigner {
    let bytes = *Signer::new(name, &[seed; 32]).vkey().public_bytes();
    let id =
        Sha256::new().chain_update(name).chain_update([b'\n', 4]).chain_update(bytes).finalize();
    let id = HEXLOWER.encode(&id[..4]);
    let key = [&[4][..], &bytes].concat();
    Cosigner::parse(&format!("{name}+{id}+{}", BASE64.encode(&key))).unwrap()
}

/// A checkpoint that a log with the seed 1 has signed.
pub(in crate::log) fn checkpoint() -> String {
    let root = crate::log::merkle::leaf_hash(b"one");
    let signer = Signer::new("log.example/v1/tenants/acme/logs/1", &[1; 32]);
    let checkpoint = Checkpoint { origin: signer.vkey().name().into(), size: 1, root };
    checkpoint.sign([&signer])
}

#[test]
fn p21_cosignatures_that_others_made() {
    let vectors = include_bytes!("../../../../../proto/vectors/cosignature.json");
    let vectors: serde_json::Value = serde_json::from_slice(vectors).unwrap();
    let mut seen = [0, 0];
    for case in vectors["cases"].as_array().unwrap() {
        let keys = case["cosigners"].as_array().unwrap().iter();
        let keys: Vec<Cosigner> =
            keys.map(|key| Cosigner::parse(key.as_str().unwrap()).unwrap()).collect();
        let times = open(case["note"].as_str().unwrap(), &keys);
        let times =
            times.ok().map(|found| found.iter().map(|one| (one.by, one.time)).collect::<Vec<_>>());
        let expected: Option<Vec<(usize, u64)>> =
            serde_json::from_value(case["cosigned"].clone()).unwrap();
        assert_eq!(times, expected, "{}", case["about"]);
        seen[usize::from(expected.is_none())] += 1;
    }
    assert!(seen[0] >= 3 && seen[1] >= 5, "{seen:?}");
}

#[test]
fn p21_keys_of_logs_and_of_cosigners_are_two_things() {
    let key = cosigner("w.example/a", 7);
    assert_eq!(Cosigner::parse(&key.to_string()).unwrap(), key);
    assert!(Vkey::parse(&key.to_string()).is_err(), "a cosigner's key is no log's");
    let log = Signer::new("w.example/a", &[7; 32]);
    assert!(Cosigner::parse(&log.vkey().to_string()).is_err(), "a log's key is no cosigner's");
    let Err(Error::Key(why)) =
        Cosigner::parse(&format!("w+00000000+{}", BASE64.encode(&[&[6][..], &[9; 1312]].concat())))
    else {
        panic!("ML-DSA is not read")
    };
    assert!(why.contains("ML-DSA-44"), "{why}");
}

#[test]
fn p21_what_is_no_cosignature_of_this_checkpoint() {
    let (note, key) = (checkpoint(), [cosigner("w.example/a", 7)]);
    let (text, _) = note::split(&note).unwrap();
    let check = |line: &str, expected: Option<usize>| {
        let found = open(&format!("{note}{line}"), &key);
        assert_eq!(found.ok().map(|found| found.len()), expected, "{line}");
    };
    check("", Some(0));
    check(&line(text, "w.example/a", 7, 1_700_000_000), Some(1));
    check(&line(text, "w.example/b", 7, 1_700_000_000), Some(0));
    check(&line(text, "w.example/a", 7, 0), None);
    check(&line(text, "w.example/a", 7, 1 << 63), None);
    check(&line(&text.replace("\n1\n", "\n2\n"), "w.example/a", 7, 1_700_000_000), None);
    check(&line(text, "w.example/a", 7, 1_700_000_000).repeat(2), None);
}

proptest! {
    /// No change of a byte in a checkpoint or its cosignature leaves another cosignature that verifies.
    #[test]
    fn p21_no_changed_byte_is_cosigned(at in 0_usize..10_000, flip in 1_u8.., time in 1_u64..1 << 62) {
        let note = checkpoint();
        let (text, _) = note::split(&note).unwrap();
        let whole = format!("{note}{}", line(text, "w.example/a", 7, time));
        let key = [cosigner("w.example/a", 7)];
        prop_assert_eq!(open(&whole, &key).unwrap()[0].time, time);
        let mut bytes = whole.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let Ok(changed) = String::from_utf8(bytes) else { return Ok(()) };
        // A change in another signature is not the cosigner's concern.
        let lines = whole.find("\n\n").unwrap() + 2..note.len();
        if !lines.contains(&at) {
            prop_assert!(open(&changed, &key).map_or(true, |found| found.is_empty()));
        }
    }
}
