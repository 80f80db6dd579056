//! The chain of messages, and how they are read.

use super::desk::{Desk, ident, requested, rule, seconds};
use crate::{approval::*, words};
use ledger::canonical;

/// A new approval, and its next message.
fn begun() -> (State, Message) {
    let mut desk = Desk::new("{}");
    desk.say("request");
    let (approval_id, events) = (ident("apr-1"), vec![Event::Reminded]);
    let next = Message {
        approval_id,
        n: 2,
        prev: desk.state.leaf.clone(),
        events,
        activates: None,
        decision: None,
    };
    (desk.state, next)
}

#[test]
fn a_message_follows_from_the_one_before() {
    let check = |change: fn(&mut Message), corrupt| {
        let (state, mut message) = begun();
        change(&mut message);
        let after = fold(state.clone(), &message, "leaf-2", seconds(1));
        assert_eq!(after.corrupt, corrupt, "{message:?}");
        if corrupt {
            let State { n, version, leaf, .. } = after.clone(); // of whichever message did it
            assert_eq!(after, State { corrupt: true, n, version, leaf, ..state });
        } else {
            assert_eq!((after.n, &*after.leaf, after.reminded), (2, "leaf-2", true));
        }
    };
    check(|_| {}, false);
    check(|message| message.n = 3, true);
    check(|message| message.n = 1, true);
    check(|message| message.prev = "opening".to_owned(), true);
    check(|message| message.events.clear(), true);
    check(|message| message.approval_id = ident("apr-2"), true);
    check(|message| message.events = vec![Event::Lapsed], true);
}

#[test]
fn the_first_message_names_the_opening() {
    let events = vec![Event::Requested(Box::new(requested(rule("{}"))))];
    let message = Message {
        approval_id: ident("apr-1"),
        n: 1,
        prev: "opening".to_owned(),
        events,
        activates: None,
        decision: None,
    };
    let at = seconds(1);
    assert!(!fold(State::begin("opening"), &message, "leaf-1", at).corrupt);
    assert!(fold(State::begin("another"), &message, "leaf-1", at).corrupt);
    assert!(fold(Approval::initial(), &message, "leaf-1", at).corrupt);
}

#[test]
fn a_corrupt_approval_stands_still() {
    let mut desk = Desk::new("{}");
    desk.say("request");
    desk.post(vec![Event::Lapsed]);
    let version = desk.state.version;
    assert!(desk.state.corrupt && version == 2);
    for command in ["request", "ann approve", "tick", "cancel x", "mint gw j1"] {
        assert_eq!(desk.say(command), "!corrupt");
    }
    assert_eq!(desk.say("next"), "never");
    desk.post(vec![Event::Reminded]);
    assert!(desk.state.corrupt && desk.state.n == 2 && !desk.state.reminded);
}

#[test]
fn requests_that_do_not_hold_together() {
    let check = |change: fn(&mut Requested)| {
        let mut requested = requested(rule("{}"));
        assert!(requested.is_sound());
        change(&mut requested);
        assert!(!requested.is_sound());
        let state =
            Approval::evolve(State::default(), &Event::Requested(requested.into()), seconds(1));
        assert!(state.corrupt && state.requested.is_none());
    };
    check(|requested| requested.v = 2);
    check(|requested| requested.rule.deny = 2);
    check(|requested| requested.rule_digest.push('A'));
    check(|requested| requested.approval_deadline.0 += 1);
    check(|requested| requested.requested_at.0 += 1);
    check(|requested| requested.owners = vec![ident("b"), ident("a")]);
    check(|requested| requested.owners = vec![ident("a"), ident("a")]);
    check(|requested| {
        requested.rule.deny = 0;
        requested.rule_digest = requested.rule.digest();
    });
    let owners = vec![ident("b"), ident("a"), ident("b")];
    let Requested { opening, call, rule, requested_at, .. } = requested(rule("{}"));
    let sorted = Requested::new(opening, call, rule, owners, requested_at).unwrap();
    assert_eq!(sorted.owners, [ident("a"), ident("b")]);
    assert!(sorted.is_sound());
}

#[test]
fn messages_are_read_strictly() {
    let mut desk = Desk::new(r#"{"step_up":300,"match":{"params":{"/a":1.5}}}"#);
    for line in ["request", "nobody deny", "ann approve", "bob approve", "mint gw j1"] {
        desk.say(line);
    }
    for (message, ..) in &desk.log {
        let form = canonical::of(message);
        assert_eq!(Message::read(&form).as_ref(), Some(message));
        let text = String::from_utf8(form).unwrap();
        let read = |text: String| Message::read(text.as_bytes());
        assert_eq!(read(format!(" {text}")), None);
        assert_eq!(read(text.replacen('{', r#"{"a":1,"#, 1)), None);
        assert_eq!(read(text.replace(r#""n":"#, r#""n":1,"n":"#)), None);
    }
    for event in [r#"{"type":"reminded"}"#, r#"{"type":"lapsed"}"#] {
        let text = format!(r#"{{"approval_id":"apr-1","events":[{event}],"n":2,"prev":"x"}}"#);
        assert!(Message::read(text.as_bytes()).is_some());
        let more = text.replace(r#"{"type""#, r#"{"extra":1,"type""#);
        assert_eq!(Message::read(more.as_bytes()), None, "{more}");
    }
    assert_eq!(Message::read(b"null"), None);
}

#[test]
fn codes_and_ids() {
    for (text, code, id) in [
        ("", false, false),
        ("not_needed_2", true, true),
        ("Not", false, true),
        ("a b", false, false),
        ("producer:gw-1", false, true),
        ("ä", false, false),
        ("a\n", false, false),
    ] {
        assert_eq!((is_code(text), is_id(text)), (code, id), "{text}");
    }
    assert!(is_code(&"a".repeat(64)) && !is_code(&"a".repeat(65)));
    assert!(is_id(&"a".repeat(128)) && !is_id(&"a".repeat(129)));
}

#[test]
fn what_is_over() {
    let check = |script: &[&str], open, terminal| {
        let mut desk = Desk::new(r#"{"quorum":{"at_least":1,"of":"finance"}}"#);
        desk.run(script);
        assert_eq!(desk.state.phase.is_open(), open, "{script:?}");
        assert_eq!(Approval::is_terminal(&desk.state), terminal, "{script:?}");
    };
    let life = ["request", "ann approve", "mint gw j1", "redeem gw j1 r1", "report gw failed"];
    check(&[], false, false);
    for end in 1..life.len() {
        check(&life[..end], true, false);
    }
    check(&life, false, true);
    let missed = [&life[..4], &["wait 9999", "tick"]].concat();
    check(&missed, false, false);
    check(&[&missed[..], &["report gw unknown"]].concat(), false, true);
    check(&["request", "ann deny"], false, true);
    check(&["request", "cancel x"], false, true);
    check(&["request", "wait 9999", "tick"], false, true);
    check(&["request", "rule other", "tick"], false, true);
    check(&["request", "ann approve", "revoke x"], false, true);
    check(&["request", "ann approve", "wait 900", "tick"], false, true);
}

#[test]
fn what_pages_ask() {
    let mut desk = Desk::new("{}");
    assert_eq!(desk.state.needed(), []);
    desk.say("request");
    assert_eq!(desk.state.needed(), [(2, "finance".to_owned())]);
    desk.say("ann approve");
    assert_eq!(desk.state.needed(), [(1, "finance".to_owned())]);
    assert_eq!(desk.state.review_by(&ident("ann")).unwrap().decision, Choice::Approve);
    assert_eq!(desk.state.review_by(&ident("bob")), None);
    assert_eq!(desk.state.report_deadline(), None);
    desk.say("bob approve");
    assert_eq!((desk.state.needed(), desk.state.granted_at.is_some()), (vec![], true));
    assert_eq!(desk.state.granted_by, [ident("ann"), ident("bob")]);
    desk.say("mint gw j1");
    desk.say("redeem gw j1 r1");
    assert!(desk.state.is_redeemed_by("r1", "j1"));
    assert!(!desk.state.is_redeemed_by("r1", "j2") && !desk.state.is_redeemed_by("r2", "j1"));
}

#[test]
fn every_refusal_says_what_to_do() {
    assert_eq!(words::refusal(Refusal::NotFound), words::refusal(Refusal::NotYours)); // nobody learns what is not theirs
    let said = [Refusal::Stale, Refusal::StepUp, Refusal::TooLate].map(words::refusal);
    assert!(said.iter().all(|advice| advice.ends_with('.')));
    assert!(said[0] != said[1] && said[1] != said[2]);
}
