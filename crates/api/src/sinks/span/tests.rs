//! Spans of every sort of decision and of every end of an approval in the golden logs, compared with the golden file.

use super::*;
use ledger::log::merkle::leaf_hash;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors")
}

fn site() -> Site {
    Site {
        origin: "log.example/v1/tenants/acme/logs/1".into(),
        tenant: "acme".into(),
        sink: "otel".into(),
        url: "https://log.example".into(),
    }
}

/// The golden logs: the entries of each, by leaf index.
fn logs() -> Vec<BTreeMap<u64, Vec<u8>>> {
    let files = std::fs::read_dir(folder().join("entry")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let log: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let messages = log["messages"].as_array().unwrap();
        let entries =
            messages.iter().flat_map(|message| message["entries"].as_array().into_iter().flatten());
        entries
            .map(|entry| {
                (
                    entry["index"].as_u64().unwrap(),
                    entry["entry"].as_str().unwrap().as_bytes().to_vec(),
                )
            })
            .collect()
    };
    files.iter().map(read).collect()
}

/// The span of each entry that has one.
fn spans(log: &BTreeMap<u64, Vec<u8>>, names: Names) -> Vec<Span> {
    let mut found = Vec::new();
    let mut approvals: BTreeMap<String, Vec<(u64, Vec<u8>)>> = BTreeMap::new();
    for (index, bytes) in log {
        let entry: Value = serde_json::from_slice(bytes).unwrap();
        match entry["kind"].as_str().unwrap() {
            "decision" => {
                found.extend(decision(&site(), (*index, &leaf_hash(bytes)), bytes, names));
            }
            "approval" => {
                let id = entry["event"]["approval_id"].as_str().unwrap().to_owned();
                let entries = approvals.entry(id).or_default();
                entries.push((*index, bytes.clone()));
                let first: Value = serde_json::from_slice(&entries[0].1).unwrap();
                let opening = first["event"]["events"][0]["opening"]["index"].as_u64().unwrap();
                let opening = log.get(&opening).map(Vec::as_slice);
                found.extend(approval(&site(), opening, entries, names));
            }
            _ => {}
        }
    }
    found
}

/// A span as OTLP has it in JSON.
fn written(span: &Span) -> Value {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let said = |said: &Said| match said {
        Said::Text(text) => json!({"stringValue": text}),
        Said::Number(number) => json!({"intValue": number.to_string()}),
        Said::Texts(texts) => {
            let texts: Vec<Value> = texts.iter().map(|text| json!({"stringValue": text})).collect();
            json!({"arrayValue": {"values": texts}})
        }
    };
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(key, value)| json!({"key": key, "value": said(value)}))
        .collect();
    let events: Vec<Value> = span.events.iter().map(|(time, name, index)| json!({
        "timeUnixNano": time.to_string(), "name": name,
        "attributes": [{"key": "countersign.index", "value": {"intValue": index.to_string()}}],
    })).collect();
    json!({
        "traceId": hex(&span.trace), "spanId": hex(&span.id), "parentSpanId": span.parent.map(|id| hex(&id)).unwrap_or_default(),
        "flags": span.flags, "name": span.name, "kind": if span.sort == Sort::Ours { 2 } else { 1 },
        "startTimeUnixNano": span.time.0.to_string(), "endTimeUnixNano": span.time.1.to_string(),
        "attributes": attributes, "events": events,
    })
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    span.attributes.iter().find(|(name, _)| *name == key).map(|(_, said)| format!("{said:?}"))
}

#[test]
fn p19_spans_are_the_golden_file() {
    let (mut seen, mut made) = (BTreeSet::new(), String::new());
    let keys = ["verdict", "mode", "approval.end", "decided_by", "shadow.verdict"]
        .map(|key| format!("countersign.{key}"));
    for log in logs() {
        for span in spans(&log, Names::GenAi141) {
            let sort = keys.each_ref().map(|key| attribute(&span, key));
            if seen.insert((sort, span.parent.is_some())) {
                made += &(written(&span).to_string() + "\n");
            }
        }
    }
    let ends: BTreeSet<_> = seen.iter().filter_map(|(sort, _)| sort[2].clone()).collect();
    assert!(ends.len() >= 3, "{ends:?}: golden logs for ends of approvals");
    let path = folder().join("sinks/spans.ndjson");
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden != made {
        let beside = std::env::temp_dir().join("spans.ndjson");
        std::fs::write(&beside, &made).unwrap();
        panic!("{} is not {}", path.display(), beside.display());
    }
}

#[test]
fn p19_each_decision_has_one_span_and_each_approval_at_most_one() {
    let mut ids = BTreeSet::new();
    for log in logs() {
        let of = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap();
        let decisions = log.values().map(of).filter(|entry| entry["kind"] == "decision");
        let probes = |entry: &Value| entry["event"]["data"]["tool"]["action"] == "probe";
        let wanted = decisions.filter(|entry| !probes(entry)).count();
        let found = spans(&log, Names::Ours);
        assert_eq!(found.iter().filter(|span| span.sort != Sort::Approval).count(), wanted);
        let unique: BTreeSet<_> = found.iter().map(|span| (span.trace, span.id)).collect();
        assert_eq!(unique.len(), found.len());
        assert_eq!(spans(&log, Names::Ours), found, "what is sent again is the same span");
        for span in &found {
            assert!(span.time.0 <= span.time.1);
            assert!(span.attributes.iter().all(|(key, _)| key.starts_with("countersign.")));
            let keys: BTreeSet<_> = span.attributes.iter().map(|(key, _)| key).collect();
            assert_eq!(keys.len(), span.attributes.len(), "an attribute is there twice");
            ids.insert(span.id);
            if span.sort == Sort::Approval {
                let above = found.iter().find(|above| Some(above.id) == span.parent).unwrap();
                assert_eq!(
                    (above.trace, above.name.split_once(' ').unwrap().1),
                    (span.trace, span.name.split_once(' ').unwrap().1)
                );
            }
        }
    }
    assert!(ids.len() > 20);
}

#[test]
fn times_follow_from_who_decided() {
    let (event, journal) = (Some(Nanos(5_000_000)), Nanos(7_000_000));
    assert_eq!(times(true, event, Some(1), journal), (5_000_000, 7_000_000));
    assert_eq!(times(true, Some(Nanos(9_000_000)), None, journal), (7_000_000, 7_000_000));
    assert_eq!(times(false, event, Some(2000), journal), (3_000_000, 5_000_000));
    assert_eq!(times(false, event, Some(9_007_199_254_740_991), journal), (0, 5_000_000));
    assert_eq!(times(false, None, None, journal), (7_000_000, 7_000_000));
}

#[test]
fn traces_are_whole_or_none() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    let found = Context::read(&format!("00-{id}-b7ad6b7169203331-01")).unwrap();
    assert_eq!((found.trace[0], found.span[0], found.flags), (0x0a, 0xb7, 1));
    for text in [
        "",
        "00",
        "00-x-b7ad6b7169203331-01",
        &format!("00-{id}-b7ad6b71692033-01"),
        &format!("00-{id}-0000000000000000-01"),
        &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
        &format!("00-{id}-b7ad6b7169203331"),
    ] {
        assert_eq!(Context::read(text), None, "{text}");
    }
}
