//! Every kind of entry of the golden logs, in every format, compared with the golden files.

use super::*;
use ledger::{entry::Kind, log::merkle::leaf_hash};
use std::{collections::BTreeSet, path::Path};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors")
}

fn site() -> Site {
    Site {
        origin: "log.example/v1/tenants/acme/logs/1".into(),
        tenant: "acme".into(),
        sink: "siem".into(),
        url: "https://log.example".into(),
    }
}

/// The first entry of each kind, and of each verdict.
fn entries() -> Vec<(u64, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder().join("entry"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for file in files {
        let log: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for message in log["messages"].as_array().unwrap() {
            for entry in message["entries"].as_array().into_iter().flatten() {
                let text = entry["entry"].as_str().unwrap().to_owned();
                let read: Value = serde_json::from_str(&text).unwrap();
                let of = |path: &str| read.pointer(path).map(ToString::to_string);
                let sort = (
                    of("/kind"),
                    of("/event/data/verdict"),
                    of("/event/op"),
                    of("/event/data/mode"),
                );
                if seen.insert(sort) {
                    found.push((entry["index"].as_u64().unwrap(), text));
                }
            }
        }
    }
    let kinds: BTreeSet<String> = found
        .iter()
        .map(|(_, text)| {
            serde_json::from_str::<Value>(text).unwrap()["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds.len(), Kind::ALL.len(), "{kinds:?}: a golden log for each kind");
    found
}

fn check(format: Format) {
    let payload = BTreeMap::from([("owner".to_owned(), b"[\"p-ana\"]".to_vec())]);
    let mut made = String::new();
    let time = 1_763_617_680_123_456_789;
    for (at, (index, entry)) in entries().iter().enumerate() {
        let leaf_hash = leaf_hash(entry.as_bytes());
        let none = BTreeMap::new();
        let payload = if at == 0 { &payload } else { &none };
        let line = format
            .record(&site(), &Source { index: *index, leaf_hash: &leaf_hash, entry, payload });
        assert!(!line.contains('\n'));
        made += &(line + "\n");
    }
    let hash = leaf_hash(b"x");
    let (origin, sink) = (site().origin, site().sink);
    let head = Head { origin, sink, from: 3, to: 7, count: 2, digest: hash, size: 9, root: hash };
    made += &(format.head(&site(), &head, time) + "\n" + &format.test(&site(), time) + "\n");
    let ending = if format.is_json() { "ndjson" } else { "log" };
    let name = format!("{}.{ending}", format.as_str());
    let path = folder().join("sinks").join(&name);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden != made {
        let beside = std::env::temp_dir().join(name);
        std::fs::write(&beside, &made).unwrap();
        panic!("{} is not {}", path.display(), beside.display());
    }
}

#[test]
fn p19_native_is_the_golden_file() {
    check(Format::Native);
}

#[test]
fn p19_ocsf_is_the_golden_file() {
    check(Format::Ocsf(Ocsf::V18));
}

#[test]
fn p19_ecs_is_the_golden_file() {
    check(Format::Ecs);
}

#[test]
fn p19_cef_is_the_golden_file() {
    check(Format::Cef);
}

/// Only `metadata.version` differs: which versions validate it is the schemas' word (`tests/test_sink_formats.py`).
#[test]
fn p19_versions_of_ocsf_differ_in_their_name_alone() {
    for version in Ocsf::ALL {
        for (index, entry) in entries() {
            let (leaf_hash, none) = (leaf_hash(entry.as_bytes()), BTreeMap::new());
            let source = Source { index, leaf_hash: &leaf_hash, entry: &entry, payload: &none };
            let made = Format::Ocsf(version).record(&site(), &source);
            let newest = Format::Ocsf(Ocsf::V18).record(&site(), &source);
            let [own, new] =
                [version, Ocsf::V18].map(|v| format!("\"version\":\"{}\"", v.as_str()));
            assert!(made.contains(&own));
            assert_eq!(made, newest.replacen(&new, &own, 1));
        }
    }
}
