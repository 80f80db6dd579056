use super::*;
use ledger::canonical;
use serde_json::json;

fn payload(steps: &[serde_json::Value]) -> Vec<Payload> {
    let disclosure = |step| canonical::of(&json!(["salt", "card", step]));
    let payload = |step| Payload { commit_salt: None, disclosures: vec![disclosure(step)] };
    steps.iter().map(payload).collect()
}

fn check(steps: &[serde_json::Value], expected: &Seen) {
    let mut cards = Cards::new();
    for payload in payload(steps) {
        fold(&mut cards, &payload);
    }
    let expected = Seen { connection: Some(Ident::new("slack").unwrap()), ..expected.clone() };
    assert_eq!(cards.get("finance"), Some(&expected), "{steps:?}");
}

fn step(mut step: serde_json::Value) -> serde_json::Value {
    step["line"] = "finance".into();
    step["connection"] = "slack".into();
    step
}

#[test]
fn p9_what_was_told_is_what_is_known() {
    let at = Nanos(5);
    let planned = step(json!({"op": "planned", "worker": "w1", "at": at}));
    let posted =
        step(json!({"op": "posted", "conversation": "C1", "message": "1.2", "version": 1}));
    let place = Some(Posted { conversation: "C1".into(), message: "1.2".into() });
    let there = Seen { posted: place, version: 1, ..Seen::default() };
    check(
        std::slice::from_ref(&planned),
        &Seen { planned: Some(("w1".into(), at)), ..Seen::default() },
    );
    check(&[planned.clone(), posted.clone()], &there);
    let updated = step(json!({"op": "updated", "version": 3}));
    check(&[planned.clone(), posted.clone(), updated], &Seen { version: 3, ..there.clone() });
    let refused = step(json!({"op": "refused", "code": "invalid_auth"}));
    let stale = Seen { refused: Some("invalid_auth".into()), ..there.clone() };
    check(&[planned.clone(), posted.clone(), refused.clone()], &stale);
    check(
        &[planned.clone(), posted.clone(), refused, step(json!({"op": "updated", "version": 2}))],
        &Seen { version: 2, ..there.clone() },
    );
    let gone = step(json!({"op": "gone"}));
    check(&[planned.clone(), posted.clone(), gone], &Seen::default());
    let refused = step(json!({"op": "refused", "code": "not_in_channel"}));
    let seen = Seen { refused: Some("not_in_channel".into()), ..Seen::default() };
    check(&[planned.clone(), refused.clone()], &seen);
    check(&[planned.clone(), refused, planned.clone(), posted], &there);
    let strange = step(json!({"op": "danced"}));
    check(
        &[planned.clone(), strange],
        &Seen { planned: Some(("w1".into(), at)), ..Seen::default() },
    );
    let left_out =
        step(json!({"op": "in_digest", "conversation": "C1", "message": "1.2", "at": Nanos(7)}));
    let place = Posted { conversation: "C1".into(), message: "1.2".into() };
    let seen = Seen { left_out: Some((place, Nanos(7))), ..Seen::default() };
    check(&[planned, left_out], &seen);
}
