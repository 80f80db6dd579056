//! Tests of histories read from entries. What the events may say is tested with `evolve`; these tests are
//! about everything around them.

use super::desk::{DIGEST, ident, requested, rule, seconds};
use crate::{
    approval::*,
    call::{Call, approval_id},
    decision::NotPaused,
};
use ledger::{canonical, disclosure::Scope, json, log::merkle::leaf_hash};
use serde_json::{Value, json};

/// Leaf index and entry.
pub(super) type Leaf = (u64, Value);

pub(super) fn entry(kind: &str, seq: u64, event: &Value) -> Value {
    let journal = json!({"epoch": 1, "seq": seq, "time": seconds(1_800_000_000 + seq)});
    json!({"v": 1, "tenant": "acme", "kind": kind, "producer": "gw", "journal": journal, "commit": "", "payload": [], "prior": {},
        "event": event})
}

pub(super) fn id() -> Ident {
    approval_id(&ident("acme"), Scope { producer: "gw", source: "/gw", id: "1", ours: false })
}

/// The decision, a request and a reminder, at indexes 7, 8 and 10.
pub(super) fn told() -> Vec<Leaf> {
    let data = json!({"agent": {"id": "agt-1"}, "tool": {"name": "bank", "action": "transfer"},
        "verdict": "approval_needed", "call": {"digest": DIGEST}});
    let event = json!({"type": ledger::event::DECISION, "source": "/gw", "id": "1", "data": data});
    let decision = entry("decision", 0, &event);
    let mut leaves = vec![(7, decision)];
    let requested = Event::Requested(requested(rule("{}")).into());
    for (n, index, event) in [(1, 8, requested), (2, 10, Event::Reminded)] {
        let message = Message {
            approval_id: id(),
            n,
            prev: String::new(),
            events: vec![event],
            activates: None,
            decision: None,
        };
        leaves.push((index, entry("approval", n, &json!(message))));
    }
    chain(&mut leaves);
    leaves
}

/// Links each message to the entry before it.
pub(super) fn chain(leaves: &mut [Leaf]) {
    for at in 1..leaves.len() {
        let before = leaf_hash(&canonical::of(&leaves[at - 1].1));
        leaves[at].1["event"]["prev"] = json!(before.to_string());
    }
}

fn audit(leaves: &[Leaf]) -> Result<Audit, Fault> {
    let mut leaves = leaves.iter().map(|(index, entry)| (*index, canonical::of(entry)));
    let (index, decision) = leaves.next().unwrap();
    let mut audit = Audit::begin(index, &decision)?;
    leaves.try_for_each(|(index, entry)| audit.follow(index, &entry))?;
    Ok(audit)
}

#[test]
fn a_history_that_holds() {
    let audit = audit(&told()).unwrap();
    assert_eq!((audit.id(), audit.tenant()), (&id(), &ident("acme")));
    assert_eq!((audit.state().phase, audit.state().n), (Phase::Pending, 2));
    let steps: Vec<_> = audit.steps().iter().map(|step| (step.n, step.index, step.phase)).collect();
    assert_eq!(steps, [(1, 8, Phase::Pending), (2, 10, Phase::Pending)]);
    assert_eq!(audit.steps()[1].at, seconds(1_800_000_002));
    assert_eq!(audit.steps()[1].events, [Event::Reminded]);
}

/// Changes an entry (0: the decision) and checks what is then wrong. Later entries follow the changed one.
fn check(change: impl Fn(&mut Vec<Leaf>), expected: &str) {
    let mut leaves = told();
    change(&mut leaves);
    chain(&mut leaves);
    let fault = audit(&leaves).map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains(expected), "{fault}");
}

#[test]
fn decisions_that_open_nothing() {
    let decision = |path: &'static str, value: Value| {
        check(|leaves| *leaves[0].1.pointer_mut(path).unwrap() = value.clone(), "the decision");
    };
    decision("/kind", json!("event"));
    decision("/v", json!(2));
    decision("/event/type", json!(ledger::event::EXECUTION));
    decision("/event/data/verdict", json!("allow"));
    decision("/event/data/call/digest", json!(null));
    decision("/event/data/agent/id", json!(null));
    decision("/event/id", json!(null));
    decision("/tenant", json!("A"));
    check(|leaves| leaves[0].1["event"]["data"]["mode"] = json!("shadow"), "`shadow`");
    let mut leaves = told();
    leaves[0].1["event"]["data"]["mode"] = json!("enforce");
    chain(&mut leaves);
    assert!(audit(&leaves).is_ok());
}

#[test]
fn messages_out_of_place() {
    let (index, journal) = ("does not come after", "journal time is before");
    check(|leaves| leaves[2].0 = 8, index);
    check(|leaves| leaves[1].0 = 7, "message 1");
    check(|leaves| leaves[2].1["journal"]["seq"] = json!(1), index);
    check(|leaves| leaves[2].1["journal"]["epoch"] = json!(0), index);
    check(|leaves| leaves[2].1["journal"]["time"] = json!(seconds(1_800_000_000)), journal);
    check(|leaves| leaves[2].1["kind"] = json!("evidence"), "not of kind approval");
    check(|leaves| leaves[2].1["tenant"] = json!("globex"), "another tenant");
    check(|leaves| leaves[2].1["event"]["n"] = json!(3), "its number is another");
    check(|leaves| leaves[2].1["event"]["approval_id"] = json!("apr-1"), "of another approval");
    check(|leaves| leaves[2].1["event"]["more"] = json!(1), "not an approval message");
    check(|leaves| leaves[2].1["event"]["events"] = json!([]), "message 2: it has no events");
    check(|leaves| drop(leaves.remove(1)), "message 1: its number");
    let mut leaves = told();
    leaves[2].1["event"]["prev"] = json!("");
    assert!(audit(&leaves).unwrap_err().to_string().contains("`prev`"));
    // A later epoch has its own numbers; journal times may be equal.
    let mut leaves = told();
    leaves[2].1["journal"] = json!({"epoch": 2, "seq": 1, "time": seconds(1_800_000_001)});
    assert!(audit(&leaves).is_ok());
}

#[test]
fn bytes_that_are_not_the_form() {
    let leaves = told();
    let decision = canonical::of(&leaves[0].1);
    let spaced = [b" ".as_slice(), &decision].concat();
    assert!(Audit::begin(7, &spaced).is_err());
    let mut audit = Audit::begin(7, &decision).unwrap();
    let message = [b" ".as_slice(), &canonical::of(&leaves[1].1)].concat();
    assert!(matches!(audit.follow(8, &message), Err(Fault::Message { n: 1, .. })));
}

#[test]
fn requests_about_something_else() {
    let request = |path: &str, value: Value, expected: &str| {
        let path = format!("/event/events/0/{path}");
        check(|leaves| *leaves[1].1.pointer_mut(&path).unwrap() = value.clone(), expected);
    };
    request("opening/index", json!(6), "`opening`");
    request("opening/producer", json!("gw-2"), "`opening`");
    request("requested_at", json!(seconds(1)), "`requested_at`");
    request("call/agent", json!("x"), "`call` has another");
    request("call/run", json!("x"), "`call` has another");
    request("call/tool", json!("x"), "`call` has another");
    request("call/action", json!("x"), "`call` has another");
    request("call/digest", json!("x"), "`call.digest`");
    request("rule_digest", json!("x"), "`rule_digest`");
    request("approval_deadline", json!(seconds(1)), "`requested` can't have happened while");
}

#[test]
fn p9_time_goes_back_only_where_it_begins_anew() {
    let back = |events: Value, expected: &str| {
        check(
            |leaves| {
                leaves[2].1["journal"]["time"] = json!(seconds(1_700_000_000));
                leaves[2].1["event"]["events"] = events.clone();
            },
            expected,
        );
    };
    back(json!([{"type": "reminded"}]), "its journal time is before");
    back(json!([{"type": "clock_reset", "clock": 10}]), "an entry that comes after it");
    back(json!([{"type": "clock_reset", "clock": 7}]), "`clock_reset` can't have happened");
    let mut leaves = told();
    leaves[2].1["journal"]["time"] = json!(seconds(1_700_000_000));
    leaves[2].1["event"]["events"] = json!([{"type": "clock_reset", "clock": 9}]);
    chain(&mut leaves);
    let deadline = seconds(1_700_003_600);
    assert_eq!(audit(&leaves).unwrap().state().approval_deadline(), Some(deadline));
}

#[test]
fn the_event_that_could_not_follow_is_named() {
    let events = json!([{"type": "reminded"}, {"type": "lapsed"}]);
    check(
        |leaves| leaves[2].1["event"]["events"] = events.clone(),
        "message 2: `lapsed` can't have happened while the approval was pending",
    );
}

#[test]
fn p7_the_disclosed_call() {
    let params = json::parse(br#"{"amount":1}"#).unwrap();
    let (nonce, tenant) = ("AAAAAAAAAAAAAAAAAAAAAA", ident("acme"));
    let (tool, action) = ("bank", "transfer");
    let call =
        Call { nonce, tenant: &tenant, agent: "agt-1", run: None, tool, action, params: &params };
    let mut leaves = told();
    leaves[0].1["event"]["data"]["call"]["digest"] = json!(call.digest());
    leaves.truncate(1);
    let audit = audit(&leaves).unwrap();
    let nonce = format!("{nonce:?}");
    assert_eq!(audit.check_call(&nonce, r#"{"amount":1}"#), Ok(()));
    for (nonce, params) in
        [(&*nonce, r#"{"amount":2}"#), (r#""B""#, r#"{"amount":1}"#), ("1", "{}"), (&nonce, "")]
    {
        let fault = audit.check_call(nonce, params).unwrap_err();
        assert!(matches!(fault, Fault::Call(_) | Fault::NotFrozen(_)), "{fault}");
    }
}

/// The auditor takes no nonce that the server would not have taken, though the digest fits.
#[test]
fn p7_disclosed_nonces() {
    let check = |length: usize| {
        let params = json::parse(br#"{"amount":1}"#).unwrap();
        let (nonce, tenant) = ("n".repeat(length), ident("acme"));
        let (agent, tool, action) = ("agt-1", "bank", "transfer");
        let call = Call {
            nonce: &nonce,
            tenant: &tenant,
            agent,
            run: None,
            tool,
            action,
            params: &params,
        };
        let mut leaves = told();
        leaves[0].1["event"]["data"]["call"]["digest"] = json!(call.digest());
        leaves.truncate(1);
        audit(&leaves).unwrap().check_call(&format!("{nonce:?}"), r#"{"amount":1}"#)
    };
    assert_eq!((check(1), check(64)), (Ok(()), Ok(())));
    let refused = Err(Fault::NotFrozen(NotPaused::Nonce));
    assert_eq!((check(0), check(65)), (refused.clone(), refused));
}

/// The owner whom the decision names must not have reviewed. A name of nobody is no reason to refuse.
#[test]
fn p10_the_disclosed_owner() {
    let mut leaves = told();
    let at = seconds(1_800_000_001);
    let reviewed = Event::Reviewed {
        by: ident("ann"),
        decision: Choice::Approve,
        via: Via::Web,
        auth: Auth { method: Method::Key, at },
        groups: vec!["finance".into()],
        displayed_dig: DIGEST.into(),
        shown_at: at,
        evidence: None,
        reason: None,
        signed: None,
        together: None,
    };
    let message = Message {
        approval_id: id(),
        n: 3,
        prev: String::new(),
        events: vec![reviewed],
        activates: None,
        decision: None,
    };
    leaves.push((11, entry("approval", 3, &json!(message))));
    chain(&mut leaves);
    let audit = audit(&leaves).unwrap();
    for owner in [r#""ann""#, r#"["ann"]"#, r#"["zed","ann",7]"#] {
        assert!(matches!(audit.check_owner(owner), Err(Fault::Call(_))), "{owner}");
    }
    for other in [r#""zed""#, "7", "", r#"["zed"]"#, r#"[["ann"]]"#] {
        assert_eq!(audit.check_owner(other), Ok(()), "{other}");
    }
}
