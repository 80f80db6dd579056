//! Tests of a whole log with approvals.

use super::{
    audit::{Leaf, chain, entry, id, told},
    desk::rule,
};
use crate::approval::*;
use ledger::{canonical, entry::View};
use serde_json::{Value, json};

/// The history of `tests::audit`, behind a `rules` entry with its rule and eight others.
fn log() -> Vec<Leaf> {
    let rules =
        json!({"v": 1, "rules": [json!(rule("{}"))], "rules_digest": "", "people_digest": ""});
    let mut leaves = vec![(3, entry("rules", 0, &rules))];
    leaves.extend(told());
    leaves
}

fn audit(leaves: &[Leaf]) -> Result<AuditAll, Fault> {
    let bytes: Vec<_> =
        leaves.iter().map(|(index, entry)| (*index, canonical::of(entry))).collect();
    let read = |index| bytes.iter().find(|(at, _)| *at == index).map(|(_, entry)| entry.clone());
    let mut all = AuditAll::default();
    for (index, entry) in &bytes {
        all.take(*index, entry, &View::parse(entry).unwrap(), read)?;
    }
    Ok(all)
}

fn message(n: u64, event: &Value) -> Value {
    entry("approval", n, &json!({"approval_id": id(), "n": n, "prev": "", "events": [event]}))
}

/// Changes the log (0: rules, 1: decision, 2: request, 3: reminder) and checks what is then wrong.
fn check(change: impl Fn(&mut Vec<Leaf>), expected: &str) {
    let mut leaves = log();
    change(&mut leaves);
    chain(&mut leaves[1..]);
    let fault = audit(&leaves).map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains(expected), "{fault}");
}

#[test]
fn p8_every_approval_of_a_log_is_judged() {
    let all = audit(&log()).unwrap();
    assert_eq!((all.messages(&id()), all.phases()["pending"]), (vec![8, 10], 1));
    check(|log| log[3].1["event"]["n"] = json!(3), "its number is another");
    check(
        |log| log[3].1["event"]["events"][0] = json!({"type": "report_missed"}),
        "can't have happened",
    );
    check(|log| log[3].1["event"]["mood"] = json!("good"), "not an approval message");
    check(|log| drop(log.remove(1)), "no earlier entry");
    check(|log| drop(log.remove(2)), "must be its request");
}

#[test]
fn p8_nothing_follows_the_end() {
    let cancelled = json!({"type": "cancelled", "by": "admin:1", "reason": "test"});
    let end = |log: &mut Vec<Leaf>| log.push((12, message(3, &cancelled)));
    let mut over = log();
    end(&mut over);
    chain(&mut over[1..]);
    assert_eq!(audit(&over).unwrap().phases()["cancelled"], 1);
    assert_eq!(audit(&over).unwrap().messages(&id()), [8, 10, 12]);
    let more = |log: &mut Vec<Leaf>| {
        end(log);
        log.push((13, message(4, &json!({"type": "report_missed"}))));
    };
    check(more, "message 4: `report_missed` can't have happened");
    let twice = |log: &mut Vec<Leaf>| {
        end(log);
        let request = log[2].1.clone();
        log.push((13, request));
    };
    check(twice, "message 4");
}

#[test]
fn the_rule_was_in_force() {
    let what = "its rule was not in force";
    let other = json!({"v": 1, "rules": [json!(rule("{\"name\": \"other\"}"))], "rules_digest": "", "people_digest": ""});
    check(|log| drop(log.remove(0)), what);
    check(|log| log[0].1["event"]["rules"] = json!([]), what);
    check(|log| log.insert(1, (5, entry("rules", 0, &other))), what);
    // If rules change between the decision and the request, either version may have been read.
    let mut changed = log();
    let own = changed[0].1.clone();
    changed[0].1 = entry("rules", 0, &other);
    changed[2].0 = 9;
    changed.insert(2, (8, own));
    audit(&changed).unwrap();
    changed.swap(0, 2);
    (changed[0].0, changed[2].0) = (3, 8);
    audit(&changed).unwrap();
}
