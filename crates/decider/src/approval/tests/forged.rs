//! Events that a log must not contain: each event is put after a series of commands, and either follows or
//! marks the state as corrupt.

use super::desk::{BEGIN, Desk, seconds};
use crate::approval::{Event, MINTS_MAX, REFUSALS_RECORDED_MAX, State};

const ONE: &str = r#"{"quorum":{"at_least":1,"of":"finance"}}"#;
const ANY: &str =
    r#"{"quorum":{"any":[{"at_least":2,"of":"legal"},{"at_least":2,"of":"finance"}]}}"#;
const TWO_DENY: &str = r#"{"deny":2}"#;

/// Series of commands that end in each phase.
const PENDING: [&str; 1] = ["request"];
const REVIEWED: [&str; 2] = ["request", "ann approve"];
const GRANTED: [&str; 3] = ["request", "ann approve", "bob approve"];
const MINTED: [&str; 4] = ["request", "ann approve", "bob approve", "mint gw j1"];
const REDEEMED: [&str; 5] =
    ["request", "ann approve", "bob approve", "mint gw j1", "redeem gw j1 r1"];

/// The state after these commands and this event (JSON, `@n` = second n of the approval).
fn after(members: &str, lines: &[&str], event: &str) -> (Desk, State) {
    let mut desk = Desk::new(members);
    desk.run(lines);
    let before = desk.state.clone();
    let mut text = event.to_owned();
    while let Some(at) = text.find('@') {
        let digits: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        let time = seconds(BEGIN + digits.parse::<u64>().unwrap());
        text.replace_range(at..=at + digits.len(), &time.to_string());
    }
    let event: Event = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    desk.post(vec![event]);
    (desk, before)
}

#[track_caller]
fn follows(members: &str, lines: &[&str], event: &str) {
    let (desk, before) = after(members, lines, event);
    assert!(!desk.state.corrupt, "{event} after {lines:?}");
    let State { n, leaf, .. } = desk.state.clone();
    assert_ne!(State { n, leaf, ..before }, desk.state, "{event} after {lines:?}");
}

#[track_caller]
fn refused(members: &str, lines: &[&str], event: &str) {
    let (desk, before) = after(members, lines, event);
    let State { id, n, leaf, version, .. } = desk.state.clone();
    let expected = State { id, n, leaf, version, corrupt: true, ..before };
    assert_eq!(desk.state, expected, "{event} after {lines:?}");
}

fn reviewed(by: &str, decision: &str, groups: &str) -> String {
    format!(
        r#"{{"type":"reviewed","by":"{by}","decision":"{decision}","via":"web","auth":{{"method":"key","at":"@0"}},
        "groups":{groups},"displayed_dig":"daHInlbk","shown_at":"@0"}}"#
    )
}

fn granted(by: &str) -> String {
    format!(r#"{{"type":"granted","by":{by},"execution_deadline":"@900"}}"#)
}

fn minted(jti: &str, enforcer: &str, iat: u64, exp: u64) -> String {
    format!(
        r#"{{"type":"token_minted","jti":"{jti}","kid":"k","enforcer":"{enforcer}","iat":"@{iat}","exp":"@{exp}"}}"#
    )
}

/// With how many others an answer was given can be said only where people answer together.
#[test]
fn l3_answers_together_that_can_t_be() {
    let one = reviewed("bob", "approve", r#"["finance"]"#);
    let with = |count: &str| {
        let shown = r#""shown_at""#;
        one.replace(shown, &format!("\"together\":{count},{shown}"))
    };
    for count in ["1", "2", "50"] {
        follows("{}", &PENDING, &with(count));
    }
    for count in ["0", "51", "4000000000"] {
        refused("{}", &PENDING, &with(count));
    }
    refused("{}", &PENDING, &with("2").replace(r#""via":"web""#, r#""via":"api""#));
    refused(r#"{"one_by_one":true}"#, &PENDING, &with("2"));
    refused(r#"{"step_up":600}"#, &PENDING, &with("2"));
    follows(r#"{"one_by_one":true}"#, &PENDING, &one);
}

#[test]
fn l3_reviews_that_can_t_be() {
    let yes = reviewed("bob", "approve", r#"["finance"]"#);
    follows("{}", &PENDING, &yes);
    follows("{}", &REVIEWED, &yes);
    follows("{}", &REVIEWED, &reviewed("ann", "deny", r#"["finance"]"#));
    follows(ANY, &PENDING, &reviewed("bob", "approve", r#"["finance","legal"]"#));
    refused("{}", &[], &yes);
    refused("{}", &GRANTED, &reviewed("cid", "approve", r#"["finance"]"#));
    refused("{}", &PENDING, &reviewed("owen", "approve", r#"["finance"]"#));
    refused("{}", &PENDING, &reviewed("owen", "deny", r#"["finance"]"#));
    refused("{}", &PENDING, &reviewed("bob", "approve", "[]"));
    refused("{}", &PENDING, &reviewed("bob", "approve", r#"["finance","legal"]"#));
    refused(ANY, &PENDING, &reviewed("bob", "approve", r#"["legal","finance"]"#));
    refused(ANY, &PENDING, &reviewed("bob", "approve", r#"["finance","finance"]"#));
    refused("{}", &REVIEWED, &reviewed("ann", "approve", r#"["finance"]"#));
    let denied = ["request", "ann deny"];
    refused(TWO_DENY, &denied, &reviewed("ann", "deny", r#"["finance"]"#));
    refused(TWO_DENY, &denied, &reviewed("ann", "approve", r#"["finance"]"#));
    for shown in ["daHInlbkX", "daHInlb", "", "daHInlbkNmfOsploZOOJj4dRqKv08fmS6ouQxznXZa4A"] {
        refused("{}", &PENDING, &yes.replace("daHInlbk", shown));
    }
    let strong = r#"{"step_up":300}"#;
    follows(strong, &PENDING, &yes);
    follows("{}", &PENDING, &yes.replace(r#""web""#, r#""slack""#));
    refused(strong, &PENDING, &yes.replace(r#""web""#, r#""api""#));
    refused(strong, &PENDING, &yes.replace(r#""key""#, r#""teams""#));
    let oidc = yes.replace(r#""key""#, r#""oidc""#);
    follows(strong, &PENDING, &oidc);
    refused("{}", &PENDING, &oidc.replace(r#""web""#, r#""api""#));
}

/// A log has enough denials but no `denied` event: neither the log nor a decider grants anything there.
#[test]
fn l3_no_grant_after_enough_said_no() {
    let check = |members: &str, corrupt: bool, next: &str| {
        let mut desk = Desk::new(members);
        desk.run(&REVIEWED);
        let post = |desk: &mut Desk, event: &str| {
            let event = event.replace("@0", "2026-11-20T00:00:00Z");
            let event = event.replace("@900", "2030-01-01T00:00:00Z");
            desk.post(vec![serde_json::from_str(&event).unwrap()]);
        };
        post(&mut desk, &reviewed("cid", "deny", r#"["finance"]"#));
        assert_eq!(desk.clone().say("bob approve"), next);
        post(&mut desk, &reviewed("bob", "approve", r#"["finance"]"#));
        post(&mut desk, &granted(r#"["ann","bob"]"#));
        assert_eq!(desk.state.corrupt, corrupt);
    };
    check("{}", true, "reviewed denied");
    check(TWO_DENY, false, "reviewed granted");
}

#[test]
fn p10_nobody_approves_without_a_known_owner() {
    let check = |members: &str, decision, corrupt| {
        let mut desk = Desk::new(members);
        desk.requested.owners.clear();
        desk.say("request");
        let event =
            reviewed("ann", decision, r#"["finance"]"#).replace("@0", "2026-11-20T00:00:00Z");
        desk.post(vec![serde_json::from_str(&event).unwrap()]);
        assert_eq!(desk.state.corrupt, corrupt);
    };
    check("{}", "approve", true);
    check("{}", "deny", false);
    check(r#"{"owner":"none"}"#, "approve", false);
}

#[test]
fn l3_grants_that_can_t_be() {
    let by = [
        reviewed("ann", "approve", r#"["finance"]"#),
        reviewed("bob", "approve", r#"["finance"]"#),
    ];
    let check = |members: &str, more: &[&str], event: &str, corrupt: bool| {
        let mut desk = Desk::new(members);
        desk.run(&["request"]);
        let events = by.iter().map(String::as_str).chain(more.iter().copied()).chain([event]);
        for text in events {
            let text =
                text.replace("@0", "2027-01-15T08:00:00Z").replace("@900", "2027-01-15T08:15:00Z");
            desk.post(vec![serde_json::from_str(&text).unwrap()]);
        }
        assert_eq!(desk.state.corrupt, corrupt, "{event}");
        if !corrupt {
            assert_eq!(desk.state.granted_by.len(), 2);
        }
    };
    check("{}", &[], &granted(r#"["ann","bob"]"#), false);
    check("{}", &[], &granted(r#"["bob","ann"]"#), true);
    check("{}", &[], &granted(r#"["ann","ann"]"#), true);
    check("{}", &[], &granted(r#"["ann"]"#), true);
    check("{}", &[], &granted("[]"), true);
    check("{}", &[], &granted(r#"["ann","cid"]"#), true);
    let cid = reviewed("cid", "approve", r#"["finance"]"#);
    check("{}", &[&cid], &granted(r#"["ann","bob","cid"]"#), true);
    check("{}", &[&cid], &granted(r#"["ann","cid"]"#), false);
    let no = reviewed("bob", "deny", r#"["finance"]"#);
    check(TWO_DENY, &[&no], &granted(r#"["ann","bob"]"#), true);
    check(ANY, &[], &granted(r#"["ann","bob"]"#), false);
    refused("{}", &GRANTED, &granted(r#"["ann","bob"]"#));
}

#[test]
fn denials_that_can_t_be() {
    let denied = |by: &str| format!(r#"{{"type":"denied","by":{by}}}"#);
    let one = ["request", "ann deny"];
    refused("{}", &PENDING, &denied("[]"));
    refused(TWO_DENY, &one, &denied(r#"["ann"]"#));
    refused(TWO_DENY, &one, &denied(r#"["ann","bob"]"#));
    let no = reviewed("bob", "deny", r#"["finance"]"#);
    let (mut desk, _) = after(TWO_DENY, &one, &no);
    desk.post(vec![serde_json::from_str(&denied(r#"["ann","bob"]"#)).unwrap()]);
    assert!(!desk.state.corrupt && desk.state.ended_at.is_some());
}

#[test]
fn ends_that_can_t_be() {
    let lives: [&[&str]; 6] = [&[], &PENDING, &REVIEWED, &GRANTED, &MINTED, &REDEEMED];
    for (event, from) in [
        (r#"{"type":"expired","reason":"deadline"}"#, 1..3),
        (r#"{"type":"superseded"}"#, 1..3),
        (r#"{"type":"cancelled","by":"a","reason":"b"}"#, 1..5),
        (r#"{"type":"revoked","by":"a","reason":"b"}"#, 3..5),
        (r#"{"type":"lapsed"}"#, 3..5),
        (r#"{"type":"report_missed"}"#, 5..6),
        (r#"{"type":"execution_reported","outcome":"failed"}"#, 5..6),
        (r#"{"type":"token_lapsed","jti":"j1"}"#, 4..5),
        (r#"{"type":"redeemed","jti":"j1","redemption_id":"r","enforcer":"gw"}"#, 4..5),
        (r#"{"type":"reminded"}"#, 1..3),
        (r#"{"type":"escalated"}"#, 1..3),
        (r#"{"type":"review_rejected","via":"slack","why":"stale"}"#, 1..3),
        (r#"{"type":"redeem_rejected","jti":"j","enforcer":"x","why":"y"}"#, 3..6),
    ] {
        for (point, lines) in lives.iter().enumerate() {
            if from.contains(&point) {
                follows("{}", lines, event);
            } else {
                refused("{}", lines, event);
            }
        }
    }
    refused("{}", &MINTED, r#"{"type":"token_lapsed","jti":"j2"}"#);
    refused("{}", &["request", "wait 1800", "tick"], r#"{"type":"reminded"}"#);
    refused("{}", &["request", "wait 2400", "tick"], r#"{"type":"escalated"}"#);
    refused(r#"{"escalate":[]}"#, &PENDING, r#"{"type":"escalated"}"#);
    let reported = [&REDEEMED[..], &["report gw unknown"]].concat();
    refused("{}", &reported, r#"{"type":"execution_reported","outcome":"failed"}"#);
    let begun = Event::Requested(Box::new(Desk::new("{}").requested));
    refused("{}", &PENDING, &serde_json::to_string(&begun).unwrap());
}

#[test]
fn tokens_that_can_t_be() {
    follows("{}", &GRANTED, &minted("j1", "gw", 0, 120));
    follows("{}", &GRANTED, &minted("j1", "gw", 780, 900));
    refused("{}", &GRANTED, &minted("j1", "gw-2", 0, 120));
    refused("{}", &GRANTED, &minted("j1", "gw", 0, 121));
    refused("{}", &GRANTED, &minted("j1", "gw", 781, 901));
    refused("{}", &GRANTED, &minted("j1", "gw", 120, 120));
    refused("{}", &GRANTED, &minted("j1", "gw", 120, 100));
    refused("{}", &MINTED, &minted("j2", "gw", 0, 120));
    refused("{}", &PENDING, &minted("j1", "gw", 0, 120));
    let lapsed = [&MINTED[..], &["wait 120", "tick"]].concat();
    follows("{}", &lapsed, &minted("j2", "gw", 120, 240));
    refused("{}", &lapsed, &minted("j1", "gw", 120, 240));
    assert_eq!(MINTS_MAX, 3);
    let all = [&lapsed[..], &["mint gw j2", "wait 120", "tick", "mint gw j3", "wait 120", "tick"]]
        .concat();
    refused("{}", &all, &minted("j4", "gw", 360, 480));
    refused("{}", &MINTED, r#"{"type":"redeemed","jti":"j2","redemption_id":"r","enforcer":"gw"}"#);
    refused(
        "{}",
        &MINTED,
        r#"{"type":"redeemed","jti":"j1","redemption_id":"r","enforcer":"gw-2"}"#,
    );
}

#[test]
fn no_more_refusals_than_the_limit() {
    let mut lines = vec!["request"];
    lines.resize(REFUSALS_RECORDED_MAX as usize, "zed approve");
    let rejected = r#"{"type":"review_rejected","via":"slack","why":"stale"}"#;
    follows(ONE, &lines, rejected);
    lines.push("zed approve");
    refused(ONE, &lines, rejected);
}

#[test]
fn p7_a_sign_in_at_a_provider_counts_on_the_page_and_by_its_age() {
    let no = "review_rejected(step_up) !step_up";
    super::edges::pending(
        r#"{"step_up":300}"#,
        &[
            ("at 1000", ""),
            ("ann approve method=oidc via=api age=0", no),
            ("ann approve method=oidc age=301", no),
            ("ann approve method=oidc age=300", "reviewed"),
        ],
    );
    super::edges::pending("{}", &[("ann approve method=oidc via=slack", no)]);
}
