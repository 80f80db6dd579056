//! The specification's rules, each with its line; and evaluation against its plain definition.

use super::*;
use crate::log::cosignature::tests::{checkpoint, cosigner, line};
use crate::log::note::Signer;
use proptest::prelude::*;

const TIME: u64 = 1_700_000_000;

/// The example of the specification, with keys.
fn example() -> String {
    let witness = |(name, seed): (&str, u8)| {
        format!("witness {name} {}\n", cosigner(&format!("{name}.example"), seed))
    };
    let witnesses = ["X1", "X2", "X3", "Y1", "Y2", "Y3"].into_iter().zip(10..).map(witness);
    let head = format!("log {}\n\n", log_key());
    head + &witnesses.collect::<Vec<_>>().concat()
        + "group X-witnesses 2 X1 X2 X3\n# a comment\n \t# another\ngroup\tY-witnesses any Y1 Y2 Y3 \n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn log_key() -> Vkey {
    Signer::new("log.example/v1/tenants/acme/logs/1", &[1; 32]).vkey().clone()
}

/// The checkpoint with the cosignatures of these places in the example.
fn cosigned(by: impl IntoIterator<Item = usize>) -> String {
    let names = ["X1", "X2", "X3", "Y1", "Y2", "Y3"];
    let note = checkpoint();
    let text = note::split(&note).unwrap().0.to_owned();
    by.into_iter().fold(note, |note, at| {
        note + &line(&text, &format!("{}.example", names[at]), at as u8 + 10, TIME)
    })
}

#[test]
fn p21_the_example_of_the_specification() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let check = |by: &[usize], met: bool, missing: &str| {
        let judged = policy.judge(&cosigned(by.iter().copied())).unwrap();
        assert_eq!((judged.met, judged.by.len()), (met, by.len()), "{by:?}");
        assert!(judged.missing.join("; ").contains(missing), "{:?}", judged.missing);
        assert_eq!(judged.missing.is_empty(), met);
    };
    check(&[0, 1, 3], true, "");
    check(&[5, 2, 0], true, "");
    check(&[0, 1, 2, 3, 4, 5], true, "");
    check(&[0, 1], false, "missing: Y-witnesses");
    check(&[0, 3, 4, 5], false, "group X-witnesses needs 2 of X1, X2, X3: X1 of them has cosigned");
    check(&[], false, "group X-and-Y needs 2 of X-witnesses, Y-witnesses: none");
    assert!(policy.accepts(&log_key()) && !policy.accepts(Signer::new("x", &[3; 32]).vkey()));
}

#[test]
fn p21_a_wrong_cosignature_is_no_missing_one() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let other = line("log.example\n1\nAA=\n", "X1.example", 10, TIME);
    let judged = policy.judge(&(cosigned([1, 2, 3]) + &other));
    assert!(matches!(judged, Err(note::Error::BadSignature(_))), "{judged:?}");
}

#[test]
fn p21_grades() {
    let own = cosigner("log.example/replicas/a", 20);
    let other = cosigner("log.example.org", 21);
    let text = |quorum: &str| {
        format!(
            "witness own {own}\nwitness other {other}\ngroup any any own other\nquorum {quorum}\n"
        )
    };
    let note = checkpoint();
    let body = note::split(&note).unwrap().0.to_owned();
    let own_line = line(&body, "log.example/replicas/a", 20, TIME);
    let other_line = line(&body, "log.example.org", 21, TIME);
    let check = |quorum: &str, lines: &[&str], grade: Grade| {
        let policy = Policy::parse(text(quorum).as_bytes()).unwrap();
        let judged = policy.judge(&(note.clone() + &lines.concat())).unwrap();
        assert_eq!(judged.grade("log.example/v1/tenants/acme/logs/1"), grade, "{judged}");
    };
    check("none", &[], Grade::Logged);
    check("any", &[&own_line], Grade::Cosigned);
    check("any", &[&other_line], Grade::Witnessed);
    check("any", &[&own_line, &other_line], Grade::Witnessed);
    check("other", &[&own_line], Grade::Logged);
}

#[test]
fn p21_every_mistake_has_its_line() {
    let (a, b) = (cosigner("a.example", 2), cosigner("b.example", 3));
    let same = cosigner("other.example", 2);
    let log = log_key();
    let check = |text: &str, line: usize, what: &str| {
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert!(error.line == line && error.what.contains(what), "{text}\n{error}");
    };
    check("", 1, "`quorum` line");
    check("quorum none", 1, "newline");
    check("quorum none\r\n", 1, "0x0d");
    check("quorum none\nquorum none\n", 2, "earlier line has the quorum");
    check("quorum a\n", 1, "no line before");
    check("\nquorum\n", 2, "quorum <name>");
    check("Quorum none\n", 1, "begins no line");
    check(&format!("log {a}\n"), 1, "witness's key");
    check(&format!("witness a {log}\n"), 1, "log's key");
    check(&format!("log {log}\nlog {log} https://x\n"), 2, "public key");
    check(&format!("log {log} url more\n"), 1, "log <vkey>");
    check(&format!("witness a {a}\nwitness b {same}\n"), 2, "has this public key");
    check(&format!("witness a {a}\nwitness a {b}\n"), 2, "earlier line");
    check(&format!("witness none {a}\n"), 1, "none");
    check(&format!("witness a {a}\ngroup g 2 a\n"), 2, "1 to 1");
    check(&format!("witness a {a}\ngroup g 0 a\n"), 2, "1 to 1");
    check(&format!("witness a {a}\ngroup g 01 a\n"), 2, "decimal");
    check(&format!("witness a {a}\ngroup g +1 a\n"), 2, "decimal");
    check(&format!("witness a {a}\ngroup g any\n"), 2, "at least one member");
    check(&format!("witness a {a}\ngroup g any none\n"), 2, "no line before");
    check(&format!("witness a {a}\ngroup g 1 a a\n"), 2, "counts once");
    check(&format!("witness a {a}\ngroup g 1 a\ngroup h 1 a\n"), 3, "counts once");
    check("group g any g\nquorum g\n", 1, "no line before");
    check(&format!("witness a {a}\ngroup replicas-version-1 any a\n"), 2, "is none");
    let set = "group replicas-version-0 any";
    check(&format!("witness a {a}\nwitness b {b}\n{set} a\n{set} b\n"), 4, "set of replicas");
    check(&format!("quorum a\nwitness a {a}\n"), 1, "no line before");
    check("quorum none\n\u{1}\n", 2, "0x01");
    check("quorum none\n\u{7f}\n", 2, "0x7f");
    check(&("#".repeat(POLICY_BYTES_MAX) + "\n"), 1, "64 KiB");
}

#[test]
fn p21_names_are_octets_and_32_of_each_fit() {
    // An ASCII K and the Kelvin sign are two names; Latin-1 is none of UTF-8, and fits.
    let mut text: Vec<u8> = Vec::new();
    for (at, name) in [&b"K"[..], "\u{212a}".as_bytes(), b"\xe9"].into_iter().enumerate() {
        text.extend_from_slice(&[&b"witness "[..], name, b" "].concat());
        text.extend_from_slice(format!("{}\n", cosigner("k.example", at as u8 + 30)).as_bytes());
    }
    text.extend_from_slice(b"group g all K \xe9\nquorum g\n");
    assert_eq!(Policy::parse(&text).unwrap().witnesses().count(), 3);
    let lines = |at: u8| {
        let (log, witness) = (
            Signer::new(&format!("l{at}.example"), &[at + 1; 32]),
            cosigner("w.example", at + 100),
        );
        format!("log {}\nwitness w{at} {witness}\ngroup g{at} all w{at}\n", log.vkey())
    };
    let many = (0..32).map(lines).collect::<Vec<_>>().concat();
    assert!(Policy::parse((many.clone() + "quorum g31\n").as_bytes()).is_ok());
    let more = [
        format!("log {}\n", Signer::new("x", &[200; 32]).vkey()),
        format!("witness x {}\n", cosigner("x", 201)),
        "group x any g0\n".into(),
    ];
    for more in more {
        let error = Policy::parse((many.clone() + &more).as_bytes()).unwrap_err();
        assert!(error.line == 97 && error.what.contains("more than 32"), "{error}");
    }
}

#[test]
fn p21_the_first_policy_reads_back() {
    let logs = [Log { vkey: log_key(), url: None }];
    let named = |name: &str, seed| {
        (name.to_owned(), cosigner("w.example", seed), "https://w.example".to_owned())
    };
    for (witnesses, quorum, lone) in [
        (vec![], "none", true),
        (vec![named("a", 2)], "a", false),
        (vec![named("a", 2), named("b", 3), named("c", 4)], "witnesses", false),
    ] {
        let policy = Policy::parse(first(&logs, None, &witnesses).as_bytes()).unwrap();
        assert_eq!((policy.logs(), policy.quorum().as_str()), (&logs[..], quorum));
        assert_eq!(policy.judge(&checkpoint()).unwrap().met, lone);
    }
}

proptest! {
    /// Any bytes are read or refused, and never anything else.
    #[test]
    fn p21_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse(&bytes);
    }

    /// A set that meets the quorum still meets it with more cosignatures, in any order.
    #[test]
    fn p21_more_cosignatures_never_hurt(by in proptest::sample::subsequence(vec![0_usize, 1, 2, 3, 4, 5], 0..6), more in 0_usize..6) {
        let policy = Policy::parse(example().as_bytes()).unwrap();
        let expected = by.iter().filter(|at| **at < 3).count() >= 2 && by.iter().any(|at| *at >= 3);
        let judged = policy.judge(&cosigned(by.iter().rev().copied())).unwrap();
        prop_assert_eq!(judged.met, expected);
        let all = by.iter().copied().chain((!by.contains(&more)).then_some(more));
        prop_assert!(policy.judge(&cosigned(all)).unwrap().met >= expected);
    }
}
