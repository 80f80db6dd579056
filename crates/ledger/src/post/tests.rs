//! Posting against the golden journals of `proto/vectors/entry`, which share no code with us; and P6 as a property.

use super::*;
use crate::{
    disclosure::Seed,
    gone::{self, Erasure, Gone, Leaf},
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
        Outcome::Void { .. } => "void",
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
            if let Some(hole) = vector.get("hole") {
                let to = hole["to"].as_u64().unwrap();
                let told = hole["told"].as_u64().unwrap();
                let what = Was::Nobodys { to };
                log.post_explained(&mut changes, &Explained { told, what }).unwrap();
            }
            let outcome = log.post(&mut changes, arrival, &mut message).unwrap();
            outcomes.push((status(&outcome).to_owned(), outcome.index()));
            last = Some((arrival, message));
        }
        if let Some((arrival, message)) = &last {
            log.seal(&mut changes, (*arrival, message)).unwrap();
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
    for name in [
        "decision",
        "derived",
        "event",
        "rejected",
        "sequence",
        "repeated",
        "system",
        "epoch",
        "clock",
        "holes",
        "signer",
        "policy",
        "budgets",
        "sources",
        "members",
        "agreed",
        "replicated",
        "retention",
        "prune",
        "probe",
        "freeze",
        "agent",
        "redaction",
        "not_opened",
        "shown",
        "history",
        "watching",
    ] {
        check(&format!("{name}.json"));
    }
}

/// The message of a journal under this number, and what it says was erased.
fn erased_by(journal: &Value, seq: u64) -> Erasure<Leaf> {
    let messages = journal["messages"].as_array().unwrap();
    let message = messages.iter().find(|message| message["seq"] == seq).unwrap();
    let body = BASE64.decode(message["body"].as_str().unwrap().as_bytes()).unwrap();
    gone::read(&body).unwrap()
}

/// Posts `holes.json` as a replica that comes late: `late` messages are gone, and later messages explain them.
/// `forge` changes the explanations.
fn post_late(forge: impl Fn(&mut Gone<Leaf>)) -> Result<(Log, Memory), Error> {
    let journal = journal("holes.json");
    let text = |name: &str| journal[name].as_str().unwrap().to_owned();
    let salt_key = HEXLOWER.decode(text("salt_key").as_bytes()).unwrap().try_into().unwrap();
    let tenant = Ident::new(&text("tenant")).unwrap();
    let mut log = Log::new(tenant, LogNumber(1), text("origin"), text("journal"));
    let mut memory = Memory::default();
    for vector in journal["messages"].as_array().unwrap() {
        let (arrival, mut message) = message(vector, &salt_key);
        let late = journal["late"].as_array().unwrap();
        let late = late.iter().find(|late| late["seq"] == arrival.seq);
        let mut changes = Changes::new(&memory);
        match late {
            Some(late) => {
                let told = late["told"].as_u64().unwrap();
                let erasure = erased_by(&journal, told);
                let mut gone = erasure.messages.into_iter().find(|g| g.seq == arrival.seq).unwrap();
                forge(&mut gone);
                let what = Was::Message(gone);
                log.post_explained(&mut changes, &Explained { told, what })?;
                assert!(!log.position.provisional.is_empty(), "nothing may be signed");
            }
            None => {
                log.post(&mut changes, arrival, &mut message)?;
            }
        }
        let writes: Vec<_> = changes.into_writes().collect();
        memory.apply(writes.into_iter());
    }
    Ok((log, memory))
}

#[test]
fn p6_a_late_replica_posts_what_was_erased_before_it_came() {
    let whole = journal("holes.json");
    let (log, late) = post_late(|_| {}).unwrap();
    assert_eq!(log.edge.root().to_string(), whole["root"].as_str().unwrap());
    assert!(log.position.provisional.is_empty(), "all of it was posted");
    let (soon, memory, _) = post_all(&whole, &[]);
    assert_eq!(log.position.topics, soon.position.topics);
    for index in 0..log.position.size {
        let missing = late.get(Family::Meta, &missing_key(log.number, index)).unwrap().is_some();
        let kept =
            |memory: &Memory| crate::erased::left(memory, log.number, index).unwrap().unwrap();
        assert!(missing || kept(&late) == kept(&memory), "entry {index}");
        assert_eq!(missing, [2, 3, 4, 5].contains(&index), "entry {index}");
    }
}

#[test]
fn p6_what_is_told_of_a_hole_must_be_what_stood_there() {
    let check = |what: &str, forge: fn(&mut Gone<Leaf>)| {
        let refused = post_late(forge).err();
        assert!(matches!(refused, Some(Error::Explanation { .. })), "{what}: {refused:?}");
    };
    check("another text", |gone| {
        if let Some(leaf) = gone.leaves.first_mut() {
            leaf["event"]["more"] = Value::from(1);
        }
    });
    check("a leaf less", |gone| drop(gone.leaves.pop()));
    check("a leaf twice", |gone| gone.leaves.extend(gone.leaves.last().cloned()));
    check("of another place", |gone| gone.seq += 1);
    check("of another epoch", |gone| gone.epoch += 1);
    check("of no subject of ours", |gone| gone.subject = Some("other.gw-1".into()));
    check("a system entry", |gone| {
        if let Some(leaf) = gone.leaves.first_mut() {
            leaf["kind"] = Value::from("access");
        }
    });
}

/// Without its payload it is unknown whether a message repeats an erased event or contradicts it, so nothing
/// is guessed.
#[test]
fn p6_a_repetition_that_no_erasure_names_stops_a_late_replica() {
    let journal = journal("holes.json");
    let (mut log, mut memory, _) = post_all(&journal, &[]);
    let erased = 3;
    let first = (Family::Meta, missing_key(log.number, erased));
    let told = (log.position.posted + 9).to_be_bytes().to_vec();
    memory.apply(std::iter::once((first, Some(told))));
    let messages = journal["messages"].as_array().unwrap();
    let again = messages.iter().find(|message| message["seq"] == 11).unwrap();
    let salt_key = HEXLOWER.decode(journal["salt_key"].as_str().unwrap().as_bytes()).unwrap();
    let (arrival, mut message) = message(again, &salt_key.try_into().unwrap());
    let arrival = Arrival { seq: log.position.posted + 1, ..arrival };
    let mut changes = Changes::new(&memory);
    let posted = log.post(&mut changes, arrival, &mut message);
    assert!(matches!(posted, Err(Error::Untold { .. })), "{posted:?}");
}

#[test]
fn p3_nothing_is_posted_over_a_hole() {
    let journal = journal("holes.json");
    let (mut log, memory, _) = post_all(&journal, &[]);
    let salt_key = HEXLOWER.decode(journal["salt_key"].as_str().unwrap().as_bytes()).unwrap();
    let (arrival, mut message) = message(&journal["messages"][1], &salt_key.try_into().unwrap());
    let posted = log.position.posted;
    let arrival = Arrival { seq: posted + 3, ..arrival };
    let mut changes = Changes::new(&memory);
    let refused = log.post(&mut changes, arrival, &mut message);
    assert_eq!(refused, Err(Error::Hole { from: posted + 1, to: posted + 2 }));
}

/// The majority of `agreed.json` would sign that a message was lost which this log has posted: it can never be signed, and halts.
#[test]
fn p21_who_posted_what_a_majority_calls_lost_halts() {
    let journal = journal("agreed.json");
    let messages = journal["messages"].as_array().unwrap();
    let is_posted_gap = |message: &&Value| {
        message["subject"] == "system.gap" && message["outcome"]["status"] == "posted"
    };
    let gap = messages.iter().find(is_posted_gap).unwrap();
    let salt_key = HEXLOWER.decode(journal["salt_key"].as_str().unwrap().as_bytes()).unwrap();
    let salt_key: [u8; 32] = salt_key.try_into().unwrap();
    let text = |name: &str| journal[name].as_str().unwrap().to_owned();
    let tenant = Ident::new(&text("tenant")).unwrap();
    let mut log = Log::new(tenant, LogNumber(1), text("origin"), text("journal"));
    let mut memory = Memory::default();
    for vector in messages {
        let (arrival, mut message) = message(vector, &salt_key);
        let mut changes = Changes::new(&memory);
        // What is lost in the vectors, this log has: other events in its place.
        while log.position.posted + 1 < arrival.seq {
            let seq = log.position.posted + 1;
            let body = format!(
                r#"{{"specversion":"1.0","id":"had-{seq}","source":"/s","type":"com.example.tick","time":"2026-11-20T05:48:01Z"}}"#
            );
            let subject = Subject::parse("decisions.gw-1");
            let seed = Seed::derive(&salt_key, 1, seq);
            let mut had = Prepared::new(subject, Headers::default(), body.into_bytes(), seed);
            log.post(&mut changes, Arrival { seq, ..arrival }, &mut had).unwrap();
        }
        let posted = log.post(&mut changes, arrival, &mut message);
        let is_gap = vector["seq"] == gap["seq"];
        if is_gap {
            assert_eq!(posted, Err(Error::Outvoted { from: 3, to: 4, index: 2 }));
            return;
        }
        posted.unwrap();
        let writes: Vec<_> = changes.into_writes().collect();
        memory.apply(writes.into_iter());
    }
    panic!("no gap was posted");
}

#[test]
fn p2_a_number_that_no_json_holds_is_refused_at_the_door() {
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"dev.countersign.heartbeat.v1","time":"2026-11-20T05:48:00Z","sequence":"9007199254740992"}"#;
    let refused = crate::event::parse(event).unwrap_err();
    assert!(matches!(refused, Refused::Attribute(fault) if fault.at == "sequence"));
}

proptest! {
    /// The same journal gives the same log, wherever the commits were cut.
    #[test]
    fn p6_batch_borders_do_not_show(ends in proptest::collection::vec(0_usize..40, 0..12)) {
        for name in ["sequence.json", "repeated.json", "system.json", "holes.json", "agreed.json"] {
            let journal = journal(name);
            let count = journal["messages"].as_array().unwrap().len();
            let mut ends: Vec<usize> = ends.iter().map(|end| end % count).collect();
            ends.sort_unstable();
            let (log, _, _) = post_all(&journal, &ends);
            prop_assert_eq!(log.edge.root().to_string(), journal["root"].as_str().unwrap());
        }
    }
}
