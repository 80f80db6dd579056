//! Edge cases of an approval's life, one table each: a command and its result.

use super::desk::{DIGEST, Desk};
use crate::approval::{MINTS_MAX, REFUSALS_RECORDED_MAX};

/// Runs each command on one approval under the rule with these members changed, and compares the results.
fn check(members: &str, script: &[(&str, &str)]) {
    let mut desk = Desk::new(members);
    for (line, (command, expected)) in script.iter().enumerate() {
        assert_eq!(desk.say(command), *expected, "line {line}: {command}");
    }
}

/// [`check`] after the request.
pub(super) fn pending(members: &str, script: &[(&str, &str)]) {
    check(members, &[&[("request", "requested")], script].concat());
}

/// [`check`] after a grant by one of finance, at second 10; execution deadline 910.
pub(super) fn granted(script: &[(&str, &str)]) {
    let begin = [("at 10", ""), ("ann approve", "reviewed granted")];
    pending(ONE, &[&begin[..], script].concat());
}

/// [`check`] after a mint at second 20: the token `j1` ends at 140.
pub(super) fn minted(script: &[(&str, &str)]) {
    granted(&[&[("at 20", ""), ("mint gw j1", "token_minted")][..], script].concat());
}

const ONE: &str = r#"{"quorum":{"at_least":1,"of":"finance"}}"#;
const BOTH: &str =
    r#"{"quorum":{"all":[{"at_least":1,"of":"finance"},{"at_least":1,"of":"legal"}]},"deny":2}"#;

#[test]
fn a_whole_life() {
    check(
        "{}",
        &[
            ("ann approve", "!not_found"),
            ("tick", "!not_found"),
            ("request", "requested"),
            ("request", ""),
            ("phase", "pending v1"),
            ("ann approve", "reviewed"),
            ("phase", "pending v2"),
            ("bob approve", "reviewed granted"),
            ("phase", "granted v3"),
            ("mint gw j1", "token_minted"),
            ("mint gw j2", ""),
            ("redeem gw j1 r1", "redeemed"),
            ("redeem gw j1 r1", ""),
            ("phase", "redeemed v5"),
            ("report gw succeeded", "execution_reported"),
            ("report gw succeeded", ""),
            ("redeem gw j1 r1", ""),
            ("phase", "completed v6"),
            ("request", ""),
        ],
    );
}

#[test]
fn requests() {
    check(
        "{}",
        &[
            ("request too_many", "requested cancelled(too_many)"),
            ("phase", "cancelled v1"),
            ("why", "too_many"),
            ("request too_many", ""),
            ("ann approve", "!not_now"),
        ],
    );
    check("{}", &[("request Too-Many", "!malformed"), ("phase", "none v0")]);
    let mut desk = Desk::new("{}");
    desk.requested.rule_digest = "of another rule".to_owned();
    assert_eq!(desk.say("request"), "!malformed");
    let mut desk = Desk::new("{}");
    assert_eq!(desk.say("request"), "requested");
    desk.requested.opening.index += 1;
    assert_eq!(desk.say("request"), "!not_now");
}

#[test]
fn p10_each_person_counts_once() {
    pending(
        "{}",
        &[
            ("ann approve", "reviewed"),
            ("ann approve", ""),
            ("ann approve via=slack method=slack version=1", ""),
            ("phase", "pending v2"),
            ("cid approve", "reviewed granted"),
            ("ann approve", ""),
        ],
    );
    // Ann is in both groups and fills one place.
    pending(BOTH, &[("ann approve", "reviewed"), ("bob approve", "reviewed granted")]);
    pending(
        BOTH,
        &[
            ("bob approve", "reviewed"),
            ("cid approve", "reviewed"),
            ("dan approve", "reviewed granted"),
        ],
    );
}

#[test]
fn p10_nobody_approves_their_own_call() {
    pending(
        "{}",
        &[
            ("owen approve", "review_rejected(own_call) !own_call"),
            ("owen deny", "review_rejected(own_call) !own_call"),
            ("owners bob", ""),
            ("bob approve", "review_rejected(own_call) !own_call"),
            ("cid approve", "reviewed"),
            ("owners cid", ""), // an owner by now: does not count
            ("ann approve", "reviewed"),
            ("owners ", ""),
            ("bob approve", "reviewed granted"),
        ],
    );
}

#[test]
fn p10_an_unknown_owner() {
    let mut desk = Desk::new(ONE);
    desk.requested.owners.clear();
    assert_eq!(desk.say("request"), "requested");
    assert_eq!(desk.say("ann approve"), "review_rejected(owner_unknown) !owner_unknown");
    desk.say("owners bob");
    assert_eq!(desk.say("ann approve"), "review_rejected(owner_unknown) !owner_unknown");
    assert_eq!(desk.say("ann deny"), "reviewed denied");

    let mut desk = Desk::new(r#"{"quorum":{"at_least":1,"of":"finance"},"owner":"none"}"#);
    desk.requested.owners.clear();
    assert_eq!(desk.say("request"), "requested");
    desk.say("owners ann");
    assert_eq!(desk.say("ann approve"), "review_rejected(own_call) !own_call");
    assert_eq!(desk.say("bob approve"), "reviewed granted");
}

#[test]
fn who_may_review() {
    pending(
        "{}",
        &[
            ("nobody approve via=slack method=slack", "review_rejected(not_linked) !not_linked"),
            ("zed approve", "review_rejected(not_eligible) !not_eligible"),
            ("dan approve", "review_rejected(not_eligible) !not_eligible"), // of legal, not asked
            ("phase", "pending v1"),
            ("people ann:finance", ""),
            ("bob approve", "review_rejected(not_eligible) !not_eligible"), // disabled
        ],
    );
}

#[test]
fn a_role_lost_between_review_and_grant() {
    pending(
        "{}",
        &[
            ("ann approve", "reviewed"),
            ("people bob:finance cid:finance", ""),
            ("bob approve", "reviewed"),
            ("cid approve", "reviewed granted"),
            ("people ", ""), // after the grant: revoking is the remedy
            ("mint gw j1", "token_minted"),
        ],
    );
    pending(
        "{}",
        &[
            ("ann approve", "reviewed"),
            ("people ann:legal bob:finance", ""),
            ("bob approve", "reviewed"),
            ("phase", "pending v3"),
        ],
    );
    // A group that was added after the review does not count; additional groups at the review do no harm.
    pending(
        BOTH,
        &[
            ("people ann:finance bob:finance", ""),
            ("bob approve", "reviewed"),
            ("people ann:finance bob:legal", ""),
            ("ann approve", "reviewed"),
        ],
    );
    // Ann and Bob would have been enough while both were bosses. Now three of finance are needed, and the log says so.
    let ways = r#"{"quorum":{"any":[{"at_least":2,"of":"boss"},{"at_least":3,"of":"finance"}]}}"#;
    pending(
        ways,
        &[
            ("people ann:boss,finance bob:boss,finance cid:finance", ""),
            ("ann approve", "reviewed"),
            ("people ann:finance bob:boss,finance cid:finance", ""),
            ("bob approve", "reviewed"),
            ("cid approve", "reviewed granted"),
            ("phase", "granted v4"),
        ],
    );
}

#[test]
fn p7_what_was_shown() {
    pending(
        "{}",
        &[
            ("ann approve dig=daHInlb", "review_rejected(digest_mismatch) !digest_mismatch"),
            ("ann approve dig=daHInlbX", "review_rejected(digest_mismatch) !digest_mismatch"),
            ("ann approve version=0", "review_rejected(stale) !stale"),
            ("ann approve version=2", "review_rejected(stale) !stale"),
            ("ann approve dig=daHInlbk", "reviewed"),
            ("bob approve version=1", "review_rejected(stale) !stale"),
            (
                &format!("bob approve dig={DIGEST}A"),
                "review_rejected(digest_mismatch) !digest_mismatch",
            ),
            ("ann approve version=1", ""), // the very same answer
            ("bob approve", "reviewed granted"),
        ],
    );
}

#[test]
fn changing_one_s_mind() {
    pending(
        r#"{"deny":2}"#,
        &[
            ("ann approve", "reviewed"),
            ("ann deny", "reviewed"),
            ("phase", "pending v3"),
            ("ann deny", ""),
            ("ann approve", "review_rejected(already_reviewed) !already_reviewed"),
            ("bob approve", "reviewed"),
            ("cid approve", "reviewed granted"),
            ("bob deny", "!not_now"),
        ],
    );
}

#[test]
fn denials() {
    pending(
        "{}",
        &[
            ("ann approve", "reviewed"),
            ("bob deny", "reviewed denied"),
            ("phase", "denied v3"),
            ("bob deny", ""),
            ("cid approve", "!not_now"),
            ("tick", ""),
        ],
    );
    pending(
        r#"{"deny":2}"#,
        &[
            ("ann deny", "reviewed"),
            ("people bob:finance", ""), // who lost the right to say yes has still said no
            ("bob deny", "reviewed denied"),
        ],
    );
}

#[test]
fn step_up() {
    let no = "review_rejected(step_up) !step_up";
    pending(
        r#"{"step_up":300}"#,
        &[
            ("at 1000", ""),
            ("ann approve via=slack method=slack age=0", no),
            ("ann approve via=api age=0", no),
            ("ann approve method=slack age=0", no),
            ("ann approve age=301", no),
            ("ann deny age=301", no),
            ("ann approve age=300", "reviewed"),
        ],
    );
}

#[test]
fn l9_after_the_approval_deadline() {
    pending(
        "{}",
        &[
            ("at 3599", ""),
            ("ann approve", "reviewed"),
            ("at 3600", ""),
            ("bob approve", "expired(deadline) !too_late"),
            ("bob approve", "!too_late"),
            ("ann approve", ""),
            ("cancel gone", "!too_late"),
            ("mint gw j1", "!too_late"),
            ("why", "deadline"),
            ("phase", "expired v3"),
        ],
    );
    pending("{}", &[("at 3600", ""), ("cancel gone", "expired(deadline) !too_late")]);
    pending("{}", &[("at 3600", ""), ("mint gw j1", "expired(deadline) !too_late")]);
    pending(
        "{}",
        &[
            ("at 9999", ""),
            ("tick undeliverable", "expired(undeliverable)"),
            ("why", "undeliverable"),
        ],
    );
    pending("{}", &[("at 3599", ""), ("tick undeliverable", "reminded escalated")]);
}

#[test]
fn p9_time_begins_anew() {
    // The clock was a year ahead when the call was paused: the approval has its whole time again from now on.
    pending(
        "{}",
        &[
            ("ann approve", "reviewed"),
            ("clock 9", ""),
            ("at 3000", ""),
            ("tick", "clock_reset"),
            ("tick", ""),
            ("phase", "pending v3"),
            ("next", "4800"),
            ("at 6599", ""),
            ("tick", "reminded escalated"),
            ("at 6601", ""),
            ("bob approve", "expired(deadline) !too_late"),
        ],
    );
    // Any first command also applies the reset.
    pending(
        "{}",
        &[
            ("at 3000", ""),
            ("ann approve", "reviewed"),
            ("clock 9", ""),
            ("at 10", ""),
            ("ann approve", "clock_reset"),
            ("clock 12", ""),
            ("bob approve", "clock_reset reviewed granted"),
            ("next", "910"),
            ("phase", "granted v4"),
        ],
    );
    pending(
        "{}",
        &[("clock 9", ""), ("owen approve", "clock_reset review_rejected(own_call) !own_call")],
    );
    // An approval that is over by the right time too stays over; an entry from before the request has no effect.
    pending("{}", &[("clock 9", ""), ("at 3600", ""), ("tick", "expired(deadline)")]);
    pending("{}", &[("clock 7", ""), ("tick", "")]);
    pending("{}", &[("cancel gone", "cancelled(gone)"), ("clock 9", ""), ("tick", "")]);
}

#[test]
fn p9_time_begins_anew_after_the_grant() {
    // A token of the wrong time is void, and the next one has its full validity.
    minted(&[
        ("clock 9", ""),
        ("at 5", ""),
        ("redeem gw j1 r1", "clock_reset redeem_rejected(too_late) !too_late"),
        ("next", "905"),
        ("mint gw j2", "token_minted"),
        ("redeem gw j2 r1", "redeemed"),
        ("next", "605"),
        ("clock 12", ""),
        ("at 300", ""),
        ("redeem gw j2 r1", "clock_reset"),
        ("next", "900"),
        ("report gw succeeded", "execution_reported"),
    ]);
}

#[test]
fn l9_the_journal_s_clock_judges_again() {
    // Decided before the deadline, appended at it.
    pending(
        "{}",
        &[
            ("ann approve", "reviewed"),
            ("at 3599", ""),
            ("journal-ahead 1000", ""),
            ("bob approve", "reviewed granted"),
            ("phase", "expired v3"),
            ("why", "deadline"),
        ],
    );
    pending(
        "{}",
        &[
            ("at 3599", ""),
            ("journal-ahead 999", ""),
            ("ann approve", "reviewed"),
            ("bob approve", "reviewed granted"),
            ("phase", "granted v3"),
        ],
    );
    pending(
        "{}",
        &[
            ("at 3599", ""),
            ("journal-ahead 1000", ""),
            ("cancel gone", "cancelled(gone)"),
            ("phase", "expired v2"),
        ],
    );
    minted(&[
        ("at 100", ""),
        ("journal-ahead 810000", ""),
        ("redeem gw j1 r1", "redeemed"),
        ("phase", "lapsed v4"),
        ("redeem gw j1 r1", "!too_late"),
    ]);
    // The token's end is judged too.
    minted(&[
        ("at 139", ""),
        ("journal-ahead 1000", ""),
        ("redeem gw j1 r1", "redeemed"),
        ("phase", "granted v4"),
        ("redeem gw j1 r1", "redeem_rejected(too_late) !too_late"),
        ("mint gw j2", "token_minted"),
    ]);
    minted(&[
        ("at 139", ""),
        ("journal-ahead 999", ""),
        ("redeem gw j1 r1", "redeemed"),
        ("phase", "redeemed v4"),
    ]);
    // A worker whose clock is ahead gives no more time than the rule.
    let mut desk = Desk::new(ONE);
    desk.say("request");
    desk.say("at 100");
    let granted = desk.say("ann approve");
    assert_eq!(granted, "reviewed granted");
    assert_eq!(desk.say("next"), "1000");
    desk.say("at 1000");
    assert_eq!(desk.say("tick"), "lapsed");
}

#[test]
fn deadlines_of_a_worker_with_a_fast_clock() {
    let mut desk = Desk::new(ONE);
    desk.say("request");
    desk.say("at 500");
    let command = desk.command(&["ann", "approve"]);
    let answer = <crate::approval::Approval as crate::Decider>::decide(&desk.state, &command);
    desk.say("at 100"); // the journal took it 400 s before what the worker believed
    desk.post(answer.events);
    assert_eq!(desk.say("next"), "1000");
}

#[test]
fn reminder_and_escalation() {
    pending(
        "{}",
        &[
            ("next", "1800"),
            ("at 1799", ""),
            ("tick", ""),
            ("at 1800", ""),
            ("tick", "reminded"),
            ("tick", ""),
            ("next", "2400"),
            ("at 2399", ""),
            ("tick", ""),
            ("at 2400", ""),
            ("tick", "escalated"),
            ("tick", ""),
            ("next", "3600"),
            ("phase", "pending v1"), // nobody's page changes
            ("ann approve version=1", "reviewed"),
        ],
    );
    pending(
        r#"{"escalate":[]}"#,
        &[("at 3000", ""), ("tick", "reminded"), ("tick", ""), ("next", "3600")],
    );
    pending("{}", &[("at 3000", ""), ("tick", "reminded escalated"), ("next", "3600")]);
}

#[test]
fn another_rule_while_pending() {
    pending(
        "{}",
        &[
            ("rule gone", ""),
            ("tick", ""), // it may be back in a moment
            ("rule other", ""),
            ("tick", "superseded"),
            ("ann approve", "!rule_changed"),
            ("phase", "superseded v2"),
            ("tick", ""),
        ],
    );
    pending("{}", &[("rule other", ""), ("ann approve", "superseded !rule_changed")]);
    pending("{}", &[("rule gone", ""), ("ann deny", "superseded !rule_changed")]);
    pending("{}", &[("ann approve", "reviewed"), ("rule other", ""), ("ann approve", "")]);
    pending("{}", &[("rule other", ""), ("at 3600", ""), ("tick", "expired(deadline)")]);
}

#[test]
fn another_rule_after_the_grant() {
    for rule in ["rule other", "rule gone"] {
        granted(&[
            (rule, ""),
            ("tick", ""),
            ("mint gw j1", "revoked(rule_changed) !rule_changed"),
            ("mint gw j1", "!rule_changed"),
            ("why", "rule_changed"),
        ]);
        minted(&[
            (rule, ""),
            ("mint gw j2", "revoked(rule_changed) !rule_changed"),
            ("redeem gw j1 r1", "!rule_changed"),
        ]);
        minted(&[
            (rule, ""),
            ("redeem gw j1 r1 other", "revoked(rule_changed) !rule_changed"),
            ("phase", "revoked v4"),
        ]);
    }
}

#[test]
fn minting() {
    pending("{}", &[("mint gw j1", "!not_now")]);
    granted(&[
        ("mint gw-2 j1", "!not_yours"),
        ("mint gw ", "!malformed"),
        ("at 100", ""),
        ("mint gw j1", "token_minted"),
        ("next", "220"),
        ("at 219", ""),
        ("mint gw j2", ""),
        ("tick", ""),
        ("at 220", ""),
        ("mint gw j1", "!malformed"), // a new token has a new id
        ("mint gw j2", "token_lapsed token_minted"),
        ("at 340", ""),
        ("tick", "token_lapsed"),
        ("tick", ""),
        ("phase", "granted v5"),
        ("next", "910"),
        ("at 800", ""),
        ("mint gw j3", "token_minted"),
        ("next", "910"), // never past the execution deadline
        ("at 909", ""),
        ("redeem gw j3 r1", "redeemed"),
        ("mint gw j4", "!not_now"),
    ]);
    // A token has whole seconds, so in the last part of a second before the execution deadline none can be made.
    pending(
        ONE,
        &[
            ("wait ms 900", ""),
            ("ann approve", "reviewed granted"),
            ("at 899", ""),
            ("mint gw j1", "token_minted"),
            ("at 900", ""),
            ("tick", "token_lapsed"),
            ("wait ms 200", ""),
            ("mint gw j2", "!too_late"),
            ("phase", "granted v4"),
            ("wait ms 700", ""),
            ("tick", "lapsed"),
        ],
    );
    assert_eq!(MINTS_MAX, 3);
    granted(&[
        ("mint gw j1", "token_minted"),
        ("at 200", ""),
        ("mint gw j2", "token_lapsed token_minted"),
        ("at 400", ""),
        ("mint gw j3", "token_lapsed token_minted"),
        ("at 600", ""),
        ("mint gw j4", "token_lapsed !too_many_mints"),
        ("mint gw j4", "!too_many_mints"),
        ("phase", "granted v6"),
        ("at 910", ""),
        ("mint gw j4", "lapsed !too_late"),
        ("mint gw j4", "!too_late"),
    ]);
}

#[test]
fn p8_spent_once() {
    minted(&[
        ("redeem gw-2 j1 r1", "redeem_rejected(not_yours) !not_yours"),
        ("redeem gw j2 r1", "redeem_rejected(token_not_live) !token_not_live"),
        ("redeem gw j1 r1", "redeemed"),
        ("redeem gw j1 r1", ""),
        ("redeem gw j1 r2", "redeem_rejected(already_redeemed) !already_redeemed"),
        ("redeem gw j2 r1", "redeem_rejected(already_redeemed) !already_redeemed"),
        ("redeem gw-2 j1 r1", "redeem_rejected(not_yours) !not_yours"),
        ("redeem gw j1 r1 other", "redeem_rejected(digest_mismatch) !digest_mismatch"),
        ("phase", "redeemed v6"),
        ("at 5000", ""),
        ("redeem gw j1 r1", ""), // a late retry
        ("report gw failed", "execution_reported"),
        ("redeem gw j1 r1", ""),
        ("redeem gw j1 r2", "!already_redeemed"), // over: nothing is recorded
        ("redeem gw-2 j1 r1", "!not_yours"),
        ("redeem gw j1 r1 other", "!digest_mismatch"),
    ]);
    pending("{}", &[("redeem gw j1 r1", "!not_now"), ("redeem gw-2 j1 r1", "!not_yours")]);
    granted(&[("redeem gw j1 r1", "redeem_rejected(token_not_live) !token_not_live")]);
    minted(&[("redeem gw j1 ", "!malformed")]);
}

#[test]
fn p7_changed_params() {
    minted(&[
        ("redeem gw j1 r1 other", "redeem_rejected(digest_mismatch) !digest_mismatch"),
        ("redeem gw j1 r1 daHInlbk", "redeem_rejected(digest_mismatch) !digest_mismatch"),
        ("phase", "minted v3"),
        ("redeem gw j1 r1", "redeemed"),
    ]);
}

#[test]
fn the_token_s_time() {
    minted(&[("at 139", ""), ("redeem gw j1 r1", "redeemed")]);
    minted(&[
        ("at 140", ""),
        ("redeem gw j1 r1", "token_lapsed !too_late"),
        ("redeem gw j1 r1", "redeem_rejected(too_late) !too_late"),
        ("redeem gw j2 r1", "redeem_rejected(token_not_live) !token_not_live"),
    ]);
    minted(&[("at 910", ""), ("redeem gw j1 r1", "lapsed !too_late")]);
    minted(&[("at 910", ""), ("tick", "lapsed"), ("phase", "lapsed v4"), ("why", "")]);
    // Another worker's clock was ahead when it minted, by up to 30 s.
    let behind = |second, expected| {
        granted(&[
            ("at 100", ""),
            ("mint gw j1", "token_minted"),
            (second, ""),
            ("redeem gw j1 r1", expected),
        ]);
    };
    behind("at 70", "redeemed");
    behind("at 69", "redeem_rejected(token_not_live) !token_not_live");
}

#[test]
fn reports() {
    pending("{}", &[("report gw succeeded", "!not_now"), ("report gw-2 succeeded", "!not_yours")]);
    let phases = [
        ("succeeded", "completed v5"),
        ("failed", "failed v5"),
        ("not_started", "failed v5"),
        ("unknown", "unknown v5"),
    ];
    for (outcome, phase) in phases {
        let (said, other) = (
            format!("report gw {outcome}"),
            if outcome == "failed" { "unknown" } else { "failed" },
        );
        minted(&[
            ("redeem gw j1 r1", "redeemed"),
            ("report gw-2 succeeded", "!not_yours"),
            (&said, "execution_reported"),
            ("phase", phase),
            (&said, ""),
            (&format!("report gw {other}"), "!already_reported"),
            ("at 99999", ""),
            ("tick", ""),
            ("next", "never"),
        ]);
    }
    minted(&[
        ("redeem gw j1 r1", "redeemed"),
        ("next", "620"),
        ("at 620", ""), // the journal took the redemption a moment after 20
        ("tick", ""),
        ("at 621", ""),
        ("tick", "report_missed"),
        ("phase", "unknown v5"),
        ("next", "never"),
        ("tick", ""),
        ("report gw unknown", "execution_reported"),
        ("phase", "unknown v6"),
        ("report gw succeeded", "!already_reported"),
    ]);
    minted(&[
        ("redeem gw j1 r1", "redeemed"),
        ("at 9999", ""),
        ("tick", "report_missed"),
        ("report gw succeeded", "execution_reported"),
        ("phase", "completed v6"),
    ]);
}

#[test]
fn revoking() {
    pending("{}", &[("revoke mistake", "!not_now")]);
    granted(&[
        ("revoke mistake", "revoked(mistake)"),
        ("revoke mistake", ""),
        ("mint gw j1", "!not_now"),
    ]);
    minted(&[
        ("revoke mistake", "revoked(mistake)"),
        ("redeem gw j1 r1", "!not_now"),
        ("why", "mistake"),
    ]);
    minted(&[("redeem gw j1 r1", "redeemed"), ("revoke mistake", "!already_redeemed")]);
    minted(&[("at 910", ""), ("revoke mistake", "lapsed !too_late")]);
    granted(&[("revoke A mistake", "!malformed")]);
}

#[test]
fn cancelling() {
    pending(
        "{}",
        &[
            ("cancel not_needed", "cancelled(not_needed)"),
            ("cancel not_needed", ""),
            ("ann approve", "!not_now"),
            ("revoke mistake", "!not_now"),
            ("at 9999", ""),
            ("tick", ""),
        ],
    );
    granted(&[("cancel not_needed", "cancelled(not_needed)"), ("mint gw j1", "!not_now")]);
    minted(&[("cancel not_needed", "cancelled(not_needed)"), ("redeem gw j1 r1", "!not_now")]);
    minted(&[("redeem gw j1 r1", "redeemed"), ("cancel not_needed", "!already_redeemed")]);
    pending("{}", &[("cancel No!", "!malformed")]);
}

#[test]
fn refused_attempts_are_recorded_up_to_a_limit() {
    let mut desk = Desk::new(ONE);
    desk.say("request");
    for _ in 1..REFUSALS_RECORDED_MAX {
        assert_eq!(desk.say("zed approve"), "review_rejected(not_eligible) !not_eligible");
    }
    desk.say("ann approve");
    desk.say("mint gw j1");
    let last = desk.say("redeem gw j1 r1 other");
    assert_eq!(last, "redeem_rejected(digest_mismatch) !digest_mismatch");
    assert_eq!(desk.state.refusals, REFUSALS_RECORDED_MAX);
    assert_eq!(desk.say("redeem gw j1 r1 other"), "!digest_mismatch");
    assert_eq!(desk.say("phase"), "minted v22");

    let mut desk = Desk::new(ONE);
    desk.say("request");
    for _ in 0..REFUSALS_RECORDED_MAX {
        desk.say("zed approve");
    }
    assert_eq!(desk.say("zed approve"), "!not_eligible");
}
