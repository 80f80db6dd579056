//! The edge cases of an approval's life, one table each: a command, and what comes of it.

use super::desk::Desk;

/// Runs each command on one approval under the rule with these members changed, and compares what comes of it.
fn check(members: &str, script: &[(&str, &str)]) {
    let mut desk = Desk::new(members);
    for (line, (command, expected)) in script.iter().enumerate() {
        assert_eq!(desk.say(command), *expected, "line {line}: {command}");
    }
}

const ONE: &str = r#"{"quorum":{"at_least":1,"of":"finance"}}"#;

#[test]
fn a_whole_life() {
    check(
        "{}",
        &[
            ("ann approve", "!not_found"),
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
            ("next", "never"),
        ],
    );
    check(ONE, &[("request", "requested"), ("ann approve", "reviewed granted")]);
}
