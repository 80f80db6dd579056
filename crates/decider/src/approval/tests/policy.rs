//! Policies that changed since a call was judged.

use super::edges::{granted, minted, pending};

/// What a newer policy denies ends at once, and stays ended: before an answer, before a token, and with a token in hand.
#[test]
fn p16_p17_a_policy_that_denies_the_call_now() {
    pending(
        "{}",
        &[
            ("policy unreadable", ""),
            ("tick", ""), // what it says is unknown
            ("policy denies", ""),
            ("tick", "cancelled(policy_denies)"),
            ("ann approve", "!policy_denies"),
            ("policy stands", ""),
            ("ann approve", "!policy_denies"),
            ("phase", "cancelled v2"),
        ],
    );
    for answer in ["ann approve", "ann deny"] {
        pending(
            "{}",
            &[("policy denies", ""), (answer, "cancelled(policy_denies) !policy_denies")],
        );
    }
    pending("{}", &[("policy unreadable", ""), ("ann approve", "reviewed")]);
    pending("{}", &[("rule other", ""), ("policy denies", ""), ("tick", "superseded")]);
    pending("{}", &[("policy denies", ""), ("at 3600", ""), ("tick", "expired(deadline)")]);
    granted(&[
        ("policy denies", ""),
        ("tick", "revoked(policy_denies)"),
        ("mint gw j1", "!policy_denies"),
        ("why", "policy_denies"),
    ]);
    granted(&[("policy denies", ""), ("mint gw j1", "revoked(policy_denies) !policy_denies")]);
    granted(&[
        ("policy unreadable", ""),
        ("mint gw j1", "!policy_unreadable"),
        ("policy stands", ""),
        ("mint gw j1", "token_minted"),
    ]);
    minted(&[
        ("policy denies", ""),
        ("redeem gw j1 r1", "revoked(policy_denies) !policy_denies"),
        ("redeem gw j1 r1", "!policy_denies"),
        ("phase", "revoked v4"),
    ]);
    minted(&[
        ("policy unreadable", ""),
        ("redeem gw j1 r1", "!policy_unreadable"),
        ("policy stands", ""),
        ("redeem gw j1 r1", "redeemed"),
        ("policy denies", ""),
        ("redeem gw j1 r1", ""), // a repetition learns that it won
        ("tick", ""),
    ]);
}
