//! What is accepted and refused, and that no double is changed.

use super::*;
use proptest::prelude::*;

fn check(text: &str, refused: Option<ErrorKind>) {
    assert_eq!(parse(text.as_bytes()).err().map(|e| e.kind), refused, "{text:.80}");
}

#[test]
fn accepts() {
    for text in
        ["null", " [1, 2 ] ", "{}", r#"{"a":{"a":1},"b":[]}"#, r#""\ud83d\ude00\u0000""#, "-0"]
    {
        check(text, None);
    }
    for number in [
        "9007199254740991",
        "-9007199254740991",
        "0.1",
        "0.10",
        "1e2",
        "1.5E-7",
        "5e-324",
        "100e-2",
    ] {
        check(number, None);
    }
    check(&("[".repeat(32) + &"]".repeat(32)), None);
}

#[test]
fn p3_refuses_what_rfc_8785_would_change() {
    for number in [
        "9007199254740992",
        "9007199254740993",
        "-9007199254740992",
        "1e16",
        "1e400",
        "1e-400",
        "0.1000000000000000055",
        "3.14159265358979323846",
        "1e99999999999999999999",
    ] {
        check(number, Some(ErrorKind::Number));
    }
}

#[test]
fn p3_refuses() {
    check(r#"{"a":1,"a":2}"#, Some(ErrorKind::DuplicateKey));
    check(r#"{"a":1,"\u0061":2}"#, Some(ErrorKind::DuplicateKey));
    check(r#"[{"x":{"a":1,"b":2,"a":3}}]"#, Some(ErrorKind::DuplicateKey));
    check(r#""\ud800""#, Some(ErrorKind::Surrogate));
    check(r#""\udc00""#, Some(ErrorKind::Surrogate));
    check(r#""\ud800\u0041""#, Some(ErrorKind::Surrogate));
    check(&("[".repeat(33) + &"]".repeat(33)), Some(ErrorKind::Depth));
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        ".5",
        "+1",
        "NaN",
        "'a'",
        "\"\u{0}\"",
        "\"\n\"",
        r#""\x41""#,
        r#""\u12"#,
    ] {
        check(text, Some(ErrorKind::Syntax));
    }
    check("1 2", Some(ErrorKind::Trailing));
    check("{}\n{}", Some(ErrorKind::Trailing));
    check("\u{feff}1", Some(ErrorKind::ByteOrderMark));
    assert_eq!(parse(b"\"\xff\"").unwrap_err().kind, ErrorKind::Utf8);
}

#[test]
fn names_are_in_utf16_order() {
    let value = parse("{\"\u{fb33}\":1,\"\u{1f600}\":2,\"a\":3}".as_bytes()).unwrap();
    assert_eq!(value.get("\u{1f600}").and_then(Value::as_u64), Some(2));
    let Value::Object(members) = value else { unreachable!() };
    let names: Vec<_> = members.iter().map(|(n, _)| n.as_ref()).collect();
    assert_eq!(names, ["a", "\u{1f600}", "\u{fb33}"]);
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn every_double_survives_in_its_shortest_form(number in proptest::num::f64::NORMAL) {
        let mut buffer = ryu_js::Buffer::new();
        let text = buffer.format_finite(number).to_owned();
        let accepted = parse(text.as_bytes()) == Ok(Value::Number(number));
        prop_assert_eq!(accepted, number.fract() != 0.0 || number.abs() <= INTEGER_MAX);
    }
}

proptest! {
    /// RFC 8785 §3.2.3: by UTF-16 code units, wherever the texts differ first.
    #[test]
    fn names_are_ordered_by_utf_16(
        start in "[a\u{e9}\u{20ac}\u{1f600}]{0,3}",
        a in "[a-c\u{7f}\u{e9}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,3}",
        b in "[a-c\u{7f}\u{e9}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,3}",
    ) {
        let (a, b) = (format!("{start}{a}"), format!("{start}{b}"));
        prop_assert_eq!(name_order(&a, &b), a.encode_utf16().cmp(b.encode_utf16()));
    }
}
