//! Posting against the golden journals of `proto/vectors/entry`, which share no code with us; and P6 as a property.

use super::*;
use crate::{
    disclosure::Seed,
    journal::Headers,
    log::merkle::leaf_hash,
    store::{Memory, Read},
};
use data_encoding::{BASE64, HEXLOWER};
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;

fn journal(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors/entry").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn message(vector: &Value, salt_key: &[u8; 32]) -> (Arrival, Prepared) {
    let header = |name: &str| vector["headers"][name].as_str().map(str::to_owned);
    let headers = Headers {
        salt: header("Countersign-Salt"),
        signature: header("Countersign-Signature"),
        receipt_to: header("Countersign-Receipt-To"),
        refused: header("Countersign-Refused"),
    };
    let seq = vector["seq"].as_u64().unwrap();
    let seed = headers.salt.as_deref().and_then(Seed::from_header);
    let seed =
        seed.unwrap_or_else(|| Seed::derive(salt_key, vector["epoch"].as_u64().unwrap(), seq));
    let body = BASE64.decode(vector["body"].as_str().unwrap().as_bytes()).unwrap();
    let subject = Subject::parse(vector["subject"].as_str().unwrap());
    let time = Nanos::parse(vector["time"].as_str().unwrap()).unwrap();
    (Arrival { seq, time }, Prepared::new(subject, headers, body, seed))
}

fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Posted { .. } => "posted",
        Outcome::Duplicate { .. } => "duplicate",
        Outcome::Conflict { .. } => "conflict",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Nothing => "nothing",
    }
}

/// Posts a whole journal, in batches that end after the given message numbers.
fn post_all(journal: &Value, ends: &[usize]) -> (Log, Memory, Vec<(String, Option<u64>)>) {
    let text = |name: &str| journal[name].as_str().unwrap().to_owned();
    let salt_key = HEXLOWER.decode(text("salt_key").as_bytes()).unwrap().try_into().unwrap();
    let tenant = Ident::new(&text("tenant")).unwrap();
    let mut log = Log::new(tenant, LogNumber(1), text("origin"), text("journal"));
    let mut memory = Memory::default();
    let mut outcomes = Vec::new();
    let messages = journal["messages"].as_array().unwrap();
    let mut begin = 0;
    for end in ends.iter().copied().chain([messages.len()]) {
        let batch = &messages[begin.min(end)..end.max(begin)];
        begin = begin.max(end);
        let mut changes = Changes::new(&memory);
        let mut last = None;
        for vector in batch {
            let (arrival, mut message) = message(vector, &salt_key);
            if vector["opens_epoch"] == true {
                let index = log.post_epoch(&mut changes, arrival.seq, &message);
                outcomes.push(("posted".to_owned(), index));
                continue;
            }
            let outcome = log.post(&mut changes, arrival, &mut message).unwrap();
            outcomes.push((status(&outcome).to_owned(), outcome.index()));
            last = Some((arrival, message));
        }
        if let Some((arrival, message)) = &last {
            log.seal(&mut changes, (*arrival, message));
        }
        let writes: Vec<_> = changes.into_writes().collect();
        memory.apply(writes.into_iter());
    }
    (log, memory, outcomes)
}

fn check(name: &str) {
    let journal = journal(name);
    let (log, memory, outcomes) = post_all(&journal, &[]);
    for (vector, outcome) in journal["messages"].as_array().unwrap().iter().zip(outcomes) {
        let expected = &vector["outcome"];
        let expected =
            (expected["status"].as_str().unwrap().to_owned(), expected["index"].as_u64());
        assert_eq!(outcome, expected, "{name} message {}", vector["seq"]);
        for entry in vector["entries"].as_array().unwrap() {
            let index = entry["index"].as_u64().unwrap();
            let bytes = memory.get(Family::Entries, &log.number.numbered(index)).unwrap().unwrap();
            let expected = entry["entry"].as_str().unwrap();
            assert_eq!(String::from_utf8_lossy(&bytes), expected, "{name} entry {index}");
            assert_eq!(leaf_hash(&bytes).to_string(), entry["leaf_hash"].as_str().unwrap());
        }
    }
    assert_eq!(log.position.size, journal["size"].as_u64().unwrap(), "{name}");
    assert_eq!(log.edge.root().to_string(), journal["root"].as_str().unwrap(), "{name}");
}

#[test]
fn p6_golden_journals_give_the_golden_logs() {
    for name in
        ["decision", "derived", "event", "rejected", "sequence", "repeated", "system", "epoch"]
    {
        check(&format!("{name}.json"));
    }
}

#[test]
fn p2_a_number_that_no_json_holds_is_refused_at_the_door() {
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"dev.countersign.heartbeat.v1","time":"2026-11-20T05:48:00Z","sequence":"9007199254740992"}"#;
    let refused = event::parse(event).unwrap_err();
    assert!(matches!(refused, Refused::Attribute(fault) if fault.at == "sequence"));
}

proptest! {
    /// The same journal gives the same log, wherever the commits were cut.
    #[test]
    fn p6_batch_borders_do_not_show(ends in proptest::collection::vec(0_usize..40, 0..12)) {
        for name in ["sequence.json", "repeated.json", "system.json"] {
            let journal = journal(name);
            let count = journal["messages"].as_array().unwrap().len();
            let mut ends: Vec<usize> = ends.iter().map(|end| end % count).collect();
            ends.sort_unstable();
            let (log, _, _) = post_all(&journal, &ends);
            prop_assert_eq!(log.edge.root().to_string(), journal["root"].as_str().unwrap());
        }
    }
}
