//! Tests of questions: who may ask and answer, how often, and that they permit nothing.

use super::desk::{BEGIN, Desk, ident, seconds};
use crate::approval::*;
use proptest::{prelude::*, sample::select};

/// Questions and answers that a log could contain.
pub(super) fn event() -> impl Strategy<Value = Event> {
    let auth = Auth { method: Method::Key, at: seconds(BEGIN) };
    let asked = (1..7_u32, select(vec!["ann", "bob", "owen"])).prop_map(move |(question, by)| {
        Event::Asked { question, by: ident(by), via: Via::Web, auth, evidence: 7 }
    });
    let names = select(vec!["producer:gw", "producer:gw-2", "owen", "ann"]);
    let answered = (1..7_u32, names).prop_map(|(question, by)| Event::Answered {
        question,
        by: by.to_owned(),
        evidence: 8,
    });
    prop_oneof![asked, answered]
}

/// The one check: a line, and what came of it.
fn check(desk: &mut Desk, lines: &[(&str, &str)]) {
    for (line, said) in lines {
        assert_eq!(desk.say(line), *said, "{line}");
    }
}

#[test]
fn p9_a_question_permits_nothing_and_moves_no_deadline() {
    let mut desk = Desk::new("{}");
    desk.say("request");
    let before = desk.state.clone();
    check(
        &mut desk,
        &[("wait 10", ""), ("ann asks", "asked"), ("phase", "pending v2"), ("next", "1800")],
    );
    assert_eq!(desk.state.approval_deadline(), before.approval_deadline());
    assert_eq!((desk.state.unanswered(), desk.state.reviews.len()), (Some(1), 0));
    // Whoever saw the call before the question reads it first.
    check(
        &mut desk,
        &[
            ("bob approve version=1", "review_rejected(stale) !stale"),
            ("mint gw j1", "!not_now"),
            ("answer gw 1", "answered"),
            ("phase", "pending v4"),
            ("at 3600", ""),
            ("bob asks", "expired(deadline) !too_late"),
            ("answer gw 1", "!too_late"),
        ],
    );
    assert_eq!(desk.state.unanswered(), None);
    assert!(desk.state.ended_at.unwrap() >= seconds(BEGIN + 3600));
}

#[test]
fn p10_who_may_ask_and_who_may_answer() {
    let mut desk = Desk::new("{}");
    check(
        &mut desk,
        &[
            ("ann asks", "!not_found"),
            ("request", "requested"),
            ("owen asks", "!own_call"),
            ("zed asks", "!not_eligible"),
            ("ann asks short", "!digest_mismatch"),
            ("answer gw 1", "!no_question"),
            ("ann asks", "asked"),
            ("answer gw-2 1", "!not_yours"),
            ("answer bob 1", "!not_yours"),
            ("answer gw 0", "!no_question"),
            ("answer gw 2", "!no_question"),
            ("answer owen 1", "answered"),
            ("answer gw 1", "!already_answered"),
            ("bob asks", "asked"),
            // Who asked and owns the agent by now answers nothing to themselves.
            ("owners bob", ""),
            ("answer bob 2", "!not_yours"),
            ("answer gw 2", "answered"),
        ],
    );
    assert!(!desk.state.corrupt);
}

#[test]
fn p13_questions_are_bounded() {
    let mut desk = Desk::new("{}");
    desk.say("request");
    check(&mut desk, &[("ann asks", "asked"), ("ann asks", "!too_many_questions")]);
    for number in 2..=QUESTIONS_MAX {
        desk.say(&format!("answer gw {}", number - 1));
        check(&mut desk, &[("ann asks", "asked")]);
    }
    desk.say("answer gw 5");
    check(&mut desk, &[("ann asks", "!too_many_questions"), ("bob asks", "!too_many_questions")]);
    check(&mut desk, &[("rule other", ""), ("bob asks", "superseded !rule_changed")]);
}

/// What a log may not hold: a verifier refuses it.
#[test]
fn questions_that_can_t_be() {
    let auth = r#""auth":{"method":"key","at":"2026-01-01T00:00:00.000000000Z"}"#;
    let asked = |number: u32, by: &str| {
        format!(
            r#"{{"type":"asked","question":{number},"by":"{by}","via":"web",{auth},"evidence":7}}"#
        )
    };
    let answered = |number: u32, by: &str| {
        format!(r#"{{"type":"answered","question":{number},"by":"{by}","evidence":8}}"#)
    };
    let cases: [(&[&str], String, bool); 13] = [
        (&["request"], asked(1, "ann"), false),
        (&[], asked(1, "ann"), true),
        (&["request"], asked(2, "ann"), true),
        (&["request"], asked(1, "owen"), true),
        (&["request", "ann asks"], asked(2, "ann"), true),
        (&["request", "ann asks"], asked(2, "bob"), false),
        (&["request", "ann deny"], asked(1, "bob"), true),
        (&["request"], answered(1, "producer:gw"), true),
        (&["request", "ann asks"], answered(1, "producer:gw"), false),
        (&["request", "ann asks"], answered(1, "producer:gw-2"), true),
        (&["request", "ann asks"], answered(1, "owen"), false),
        (&["request", "ann asks"], answered(1, "ann"), true),
        (&["request", "ann asks", "answer gw 1"], answered(1, "producer:gw"), true),
    ];
    for (lines, event, corrupt) in cases {
        let mut desk = Desk::new("{}");
        desk.run(lines);
        desk.post(vec![serde_json::from_str(&event).unwrap()]);
        assert_eq!(desk.state.corrupt, corrupt, "{lines:?} {event}");
    }
}
