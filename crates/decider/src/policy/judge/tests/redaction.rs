//! `then: sanitize` and `detects`: what is redacted, what then is said of the call, and the same computed again from what is
//! recorded.

use super::*;
use crate::policy::{Redactions, Ruling, Tokens};

const IBAN: &str = "DE89 3704 0044 0532 0130 00";
const CARD: &str = "4111 1111 1111 1111";

/// A bundle of one policy with these clauses, each without its id.
fn of(clauses: &[&str]) -> Bundle {
    let line = |(at, clause): (usize, &&str)| format!("  - {{id: c{at}, tool: t, {clause}}}\n");
    let clauses: String = clauses.iter().enumerate().map(line).collect();
    bundle(&[("policies/p.yaml", format!("language: 1\npolicy: p\nclauses:\n{clauses}"))])
}

fn request(params: &str) -> Request<'static> {
    let body = format!(
        r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"t","action":"a"}},"params":{params}}}"#
    );
    let value =
        ledger::json::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"));
    let request = Request::read(&value).unwrap();
    let params = crate::policy::redact::owned(&request.params);
    Request { params, ..request_without_params(&request) }
}

fn request_without_params(request: &Request<'_>) -> Request<'static> {
    Request {
        agent: request.agent.clone(),
        run: None,
        session: None,
        chain: None,
        tool: request.tool.clone(),
        action: request.action.clone(),
        schema: None,
        params: ledger::json::Value::Null,
        purpose: None,
        environment: None,
        region: None,
        classes: None,
        third_parties: None,
        labels: std::collections::BTreeMap::new(),
        cost: None,
    }
}

/// Judges a call, and once more what is recorded of it: the same verdict, by the same clauses, with the same redactions (P15).
fn judged(bundle: &Bundle, params: &str) -> Ruling {
    let request = request(params);
    let ruling = Ruling::of(bundle, 1, &request, &facts());
    let Some(redacted) = ruling.redacted.clone() else { return ruling };
    let recorded: Redactions =
        serde_json::from_slice(&ledger::canonical::of(&redacted.facts)).unwrap();
    let again = if redacted.kept {
        let tokens = Tokens::Recorded(recorded.found);
        Ruling::of(bundle, 1, &request, &Facts { tokens, ..facts() })
    } else {
        let left = Request { params: redacted.params.clone(), ..request };
        Ruling::of(bundle, 1, &left, &Facts { redacted: Some(recorded), ..facts() })
    };
    assert_eq!(again, ruling, "{params}");
    ruling
}

fn text(ruling: &Ruling) -> String {
    let params =
        ruling.redacted.as_ref().map(|redacted| ledger::canonical::to_vec(&redacted.params));
    params.map_or("unchanged".into(), |params| String::from_utf8(params).unwrap())
}

fn check(clauses: &[&str], params: &str, expected: (&str, &str, &str)) {
    let ruling = judged(&of(clauses), params);
    let found = (ruling.verdict.as_str(), ruling.code.as_str(), text(&ruling));
    assert_eq!((found.0, found.1, found.2.as_str()), expected, "{clauses:?} {params}");
}

const ALLOW: &str = "then: allow";
const REDACT: &str = "then: sanitize, redact: [{at: /body, detect: [iban, card]}]";

#[test]
fn it_changes_what_something_else_permits() {
    let body = format!(r#"{{"body":"Pay {IBAN} or {CARD}.","to":"{IBAN}"}}"#);
    let redacted = format!(r#"{{"body":"Pay [REDACTED:iban] or [REDACTED:card].","to":"{IBAN}"}}"#);
    check(&[ALLOW, REDACT], &body, ("sanitize", "sanitized", &redacted));
    check(&["then: approval_needed", REDACT], &body, ("approval_needed", "approval", &redacted));
    check(&["then: deny", ALLOW, REDACT], &body, ("deny", "denied", &redacted));
    check(&[REDACT], &body, ("deny", "no_clause", &redacted));
    check(&[ALLOW, REDACT], r#"{"body":"Hello"}"#, ("allow", "allowed", "unchanged"));
    check(&[ALLOW, REDACT], r#"{"to":"x"}"#, ("allow", "allowed", "unchanged"));
    check(&[ALLOW, REDACT], r#"{"body":null}"#, ("allow", "allowed", "unchanged"));
    // In shadow it changes nothing, and the verdict with it is told.
    let shadow = format!("{REDACT}, enforcement: {{shadow: true}}");
    let ruling = judged(&of(&[ALLOW, &shadow]), &body);
    assert_eq!((ruling.verdict.as_str(), text(&ruling).as_str()), ("allow", "unchanged"));
    assert_eq!(ruling.shadow.unwrap().verdict.as_str(), "sanitize");
}

/// P16: what can't be read, or reached, is denied.
#[test]
fn p16_what_cannot_be_read_is_denied() {
    let all = "then: sanitize, redact: [{at: \"\", detect: [iban, email]}]";
    for (redact, params) in [
        (REDACT, r#"{"body":"{\"a\": 1"}"#),
        (REDACT, r#"{"body":"a=%zz"}"#),
        ("then: sanitize, redact: [{at: /body/text, detect: [iban]}]", r#"{"body":"x"}"#),
        ("then: sanitize, redact: [{at: /body/*, detect: [iban]}]", r#"{"body":"x"}"#),
        (all, r#"{"ana@example.eu":1}"#),
        (all, r#"{"a":"{\"ana@example.eu\":1}"}"#),
    ] {
        check(&[ALLOW, redact], params, ("deny", "condition_error", "unchanged"));
    }
    let deep = (0..5).fold("ana@example.eu, and more".to_owned(), |text, _| {
        data_encoding::BASE64.encode(text.as_bytes())
    });
    check(&[ALLOW, all], &format!(r#"{{"a":"{deep}"}}"#), ("deny", "condition_error", "unchanged"));
}

/// Conditions see the call as it came; then the redacted call is judged, and the stricter verdict counts.
#[test]
fn both_calls_are_judged() {
    let body = format!(r#"{{"body":"{IBAN}"}}"#);
    let redacted = r#"{"body":"[REDACTED:iban]"}"#;
    // Only the call as it came is permitted.
    let only = "then: allow, when: {params: {/body: {matches: \"[A-Z0-9 ]{1,40}\"}}}";
    check(&[only, REDACT], &body, ("deny", "no_clause", redacted));
    // Only the redacted call is denied.
    let denies = "then: deny, when: {params: {/body: {contains_match: \"REDACTED\"}}}";
    check(&[ALLOW, denies, REDACT], &body, ("deny", "denied", redacted));
    let asks = "then: approval_needed, when: {params: {/body: {contains_match: \"REDACTED\"}}}";
    check(&[ALLOW, asks, REDACT], &body, ("approval_needed", "approval", redacted));
    // The call as it came is an error for a clause that restricts.
    let error = "then: deny, when: {params: {/body: {integer: {at_most: 1}}}}";
    check(&[ALLOW, error, REDACT], &body, ("deny", "condition_error", redacted));
}

#[test]
fn everything_below_and_within() {
    let all = "then: sanitize, redact: [{at: \"\", detect: [email, card, us-ssn]}]";
    let form = "form=1&mail=ana%40example.eu&x=2";
    let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let inner = r#"{"card":"4111111111111111"}"#;
    let nested = base64(inner);
    let form_of_json =
        format!("data={}", nested.replace('=', "%3D").replace('+', "%2B").replace('/', "%2F"));
    for (before, after) in [
        (
            r#"{"a":[{"b":"x ana@example.eu"}]}"#.to_owned(),
            r#"{"a":[{"b":"x [REDACTED:email]"}]}"#.to_owned(),
        ),
        (
            r#"{"a":4111111111111111,"b":12}"#.to_owned(),
            r#"{"a":"[REDACTED:card]","b":12}"#.to_owned(),
        ),
        (r#"{"ssn":536904399}"#.to_owned(), r#"{"ssn":"[REDACTED:us-ssn]"}"#.to_owned()),
        (
            format!(r#"{{"a":"{form}"}}"#),
            r#"{"a":"form=1&mail=%5BREDACTED%3Aemail%5D&x=2"}"#.to_owned(),
        ),
        (
            r#"{"a":"{\"b\": [\"ana@example.eu\"]}"}"#.to_owned(),
            r#"{"a":"{\"b\":[\"[REDACTED:email]\"]}"}"#.to_owned(),
        ),
        (
            format!(r#"{{"a":"{nested}"}}"#),
            format!(r#"{{"a":"{}"}}"#, base64(r#"{"card":"[REDACTED:card]"}"#)),
        ),
        (
            format!(r#"{{"a":"{form_of_json}"}}"#),
            format!(
                r#"{{"a":"data={}"}}"#,
                base64(r#"{"card":"[REDACTED:card]"}"#).replace('=', "%3D")
            ),
        ),
        (
            r#"{"a":"https://x.example/p?mail=ana%40example.eu#t"}"#.to_owned(),
            r#"{"a":"https://x.example/p?mail=%5BREDACTED%3Aemail%5D#t"}"#.to_owned(),
        ),
    ] {
        check(&[ALLOW, all], &before, ("sanitize", "sanitized", &after));
    }
    let ruling = judged(&of(&[ALLOW, all]), &format!(r#"{{"x":[{{"a":"{form_of_json}"}}]}}"#));
    let found = &ruling.redacted.unwrap().facts.found[0];
    assert_eq!(
        (found.at.as_str(), found.detector.as_str(), found.spans.as_slice()),
        ("/x/0/a", "card", &[(0, 16)][..])
    );
    assert_eq!(found.inside, ["form data", "base64", "json /card"]);
}

/// What several readers may take for different texts holds nothing in any of them, and a key that looks like base64 is still one.
#[test]
fn p16_base64_is_every_text_that_it_may_be() {
    let all = "then: sanitize, redact: [{at: \"\", detect: [iban, secrets]}]";
    let of = |bytes: &[u8]| format!(r#"{{"a":"{}"}}"#, data_encoding::BASE64.encode(bytes));
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let iban = IBAN.replace(' ', "");
    let ok = |before: &[u8], after: &[u8]| {
        check(&[ALLOW, all], &of(before), ("sanitize", "sanitized", &of(after)));
    };
    ok(format!("to \x0c{iban}\0").as_bytes(), b"to \x0c[REDACTED:iban]\0");
    ok(&[b"\xfc ", iban.as_bytes()].concat(), b"\xfc [REDACTED:iban]");
    ok(&utf16(&format!("\u{feff}\u{417} {iban}")), &utf16("\u{feff}\u{417} [REDACTED:iban]"));
    // In both: the mark of one would move the other.
    let mut both = utf16(&format!("to {iban}."));
    both.extend(format!(" {iban} ").as_bytes());
    check(&[ALLOW, all], &of(&both), ("deny", "condition_error", "unchanged"));
    // A character that the encoding does not have.
    let json = [br#"{"x":"\u20ac "#, iban.as_bytes(), b"\",\"y\":\"\xfc\"}"].concat();
    check(&[ALLOW, all], &of(&json), ("deny", "condition_error", "unchanged"));
    let key = r#"{"aws_secret_access_key":"aGVsbG8gd29ybGQhIQhlbGxvIHdvcmxkISEHaGVs"}"#;
    let left = r#"{"aws_secret_access_key":"[REDACTED:aws-secret-key]"}"#;
    check(&[ALLOW, all], key, ("sanitize", "sanitized", left));
}

/// The same value gives the same token within a tenant, another value or tenant another one; replay needs no key.
#[test]
fn p15_tokens() {
    let clauses = [ALLOW, "then: sanitize, redact: [{at: \"\", detect: [email], as: token}]"];
    let bundle = of(&clauses);
    let params = r#"{"a":"ana@example.eu","b":["ana@example.eu","bob@example.eu"]}"#;
    let with = |salt: u8| {
        let tokens = Tokens::Keyed(ledger::disclosure::RedactionKey::derive(&[salt; 32]));
        let ruling = Ruling::of(&bundle, 1, &request(params), &Facts { tokens, ..facts() });
        ruling.redacted.unwrap()
    };
    let (first, again, other) = (with(1), with(1), with(2));
    let tokens = |redacted: &Redacted| {
        redacted.facts.found.iter().flat_map(|one| one.tokens.clone()).collect::<Vec<_>>()
    };
    let [a, b, c] = &tokens(&first)[..] else { panic!("three tokens") };
    assert_eq!((a, a == b, a == c, a.len()), (b, true, false, 24));
    assert_eq!(first, again);
    assert_ne!(tokens(&first), tokens(&other));
    // Neither the token nor the mark of a tenant is computed here: what is recorded is enough.
    for kept in [false, true] {
        let clause = format!("{}, keep_received: {kept}", clauses[1]);
        let bundle = of(&[ALLOW, &clause]);
        let tokens = Tokens::Keyed(ledger::disclosure::RedactionKey::derive(&[3; 32]));
        let ruling = Ruling::of(&bundle, 1, &request(params), &Facts { tokens, ..facts() });
        let redacted = ruling.redacted.clone().unwrap();
        assert_eq!(redacted.kept, kept);
        let (request, facts) = if kept {
            (
                request(params),
                Facts { tokens: Tokens::Recorded(redacted.facts.found.clone()), ..facts() },
            )
        } else {
            let left = Request { params: redacted.params.clone(), ..request("{}") };
            (left, Facts { redacted: Some(redacted.facts.clone()), ..facts() })
        };
        assert_eq!(Ruling::of(&bundle, 1, &request, &facts), ruling);
    }
}

/// What a record claims must be borne out by the call that it holds.
#[test]
fn p15_a_record_that_does_not_fit_is_another_verdict() {
    let bundle = of(&[ALLOW, REDACT]);
    let params = format!(r#"{{"body":"Pay {IBAN} or {CARD}."}}"#);
    let ruling = judged(&bundle, &params);
    let Redacted { params: left, facts: recorded, .. } = ruling.redacted.clone().unwrap();
    let again = |left: &ledger::json::Value<'static>, recorded: &Redactions| {
        let request = Request { params: left.clone(), ..request("{}") };
        Ruling::of(&bundle, 1, &request, &Facts { redacted: Some(recorded.clone()), ..facts() })
    };
    assert_eq!(again(&left, &recorded), ruling);
    // A redaction that no clause asks for, one that is left out, and one whose mark is not there.
    let mut other = recorded.clone();
    other.found[0].detector = "email".into();
    assert_ne!(again(&left, &other), ruling);
    let mut other = recorded.clone();
    other.found[0].at = "/to".into();
    assert_ne!(again(&left, &other), ruling);
    let mut other = recorded.clone();
    other.found[0].spans[0].0 += 1;
    assert_ne!(again(&left, &other), ruling);
    // Something that should have been redacted is still there.
    let unredacted = request(&params).params;
    assert_ne!(again(&unredacted, &recorded), ruling);
    let half = request(&format!(r#"{{"body":"Pay [REDACTED:iban] or {CARD}."}}"#)).params;
    assert_ne!(again(&half, &recorded), ruling);
}

#[test]
fn detects_is_a_condition() {
    let denies = "then: deny, when: {detects: [secrets]}";
    let key = r#"{"body":"AKIAIOSFODNN7EXAMPLE"}"#;
    check(&[ALLOW, denies], key, ("deny", "denied", "unchanged"));
    check(&[ALLOW, denies], r#"{"body":"hello"}"#, ("allow", "allowed", "unchanged"));
    check(&[ALLOW, denies], r#"{"body":"{\"a"}"#, ("deny", "condition_error", "unchanged"));
    let at = "then: deny, when: {detects: {at: /body, detect: [aws-access-key]}}";
    check(&[ALLOW, at], key, ("deny", "denied", "unchanged"));
    check(
        &[ALLOW, at],
        r#"{"other":"AKIAIOSFODNN7EXAMPLE","body":""}"#,
        ("allow", "allowed", "unchanged"),
    );
    check(&[ALLOW, at], "{}", ("deny", "condition_error", "unchanged"));
    let optional = "then: deny, when: {detects: {at: [/body, /note], detect: [aws-access-key], optional: true}}";
    check(&[ALLOW, optional], "{}", ("allow", "allowed", "unchanged"));
    check(&[ALLOW, optional], key, ("deny", "denied", "unchanged"));
    // What is denied is redacted all the same: the log does not keep it.
    let both = ["then: sanitize, redact: [{at: /body, detect: [secrets]}]", denies, ALLOW];
    check(&both, key, ("deny", "denied", r#"{"body":"[REDACTED:aws-access-key]"}"#));
}

#[test]
fn mistakes_are_named() {
    for (clause, part) in [
        ("then: sanitize", "add redact"),
        ("then: sanitize, redact: [{at: /a, detect: [ibann]}]", "no detector \"ibann\""),
        ("then: sanitize, redact: [{at: a, detect: [iban]}]", "no JSON Pointer"),
        ("then: sanitize, redact: [{at: /a, detect: [iban], as: hash}]", "as is token"),
        (
            "then: allow, redact: [{at: /a, detect: [iban]}]",
            "are for clauses with `then: sanitize`",
        ),
        ("then: deny, when: {detects: [nothing]}", "no detector"),
        (
            "then: sanitize, record: later, redact: [{at: /a, detect: [iban]}]",
            "allow clauses alone",
        ),
    ] {
        let text = format!("language: 1\npolicy: p\nclauses:\n  - {{id: c, tool: t, {clause}}}\n");
        let sources = [("agents.yaml", AGENTS), ("tools.yaml", TOOLS), ("policies/p.yaml", &text)];
        let sources = sources.map(|(path, text)| Source { path, bytes: text.as_bytes() });
        let mistakes = Bundle::read(&sources).unwrap_err();
        assert!(
            mistakes.iter().any(|mistake| mistake.text.contains(part)),
            "{clause}: {mistakes:?}"
        );
    }
}

#[test]
fn own_detectors() {
    let own = "language: 1\nset: 1\ndetectors:\n  - {name: member, pattern: \"M-[0-9]{8}\", words: [member], check: luhn}\n";
    let policy = "language: 1\npolicy: p\nclauses:\n  - {id: a, tool: t, then: allow}\n  - {id: s, tool: t, then: sanitize, redact: [{at: \"\", detect: [member]}]}\n";
    let bundle = bundle(&[("detectors.yaml", own.into()), ("policies/p.yaml", policy.into())]);
    assert!(bundle.parts().iter().any(|part| part.path == "detectors.yaml"));
    let after = |params: &str| text(&judged(&bundle, params));
    assert_eq!(after(r#"{"a":"member M-12345674"}"#), r#"{"a":"member [REDACTED:member]"}"#);
    assert_eq!(after(r#"{"member":"M-12345674"}"#), r#"{"member":"[REDACTED:member]"}"#);
    assert_eq!(after(r#"{"a":"order M-12345674"}"#), "unchanged");
    assert_eq!(after(r#"{"a":"member M-12345675"}"#), "unchanged");
    for (own, part) in [
        ("language: 1\nset: 2\n", "set is 1 to 1"),
        ("language: 1\ndetectors:\n  - {name: iban, pattern: \"x\"}\n", "already"),
        ("language: 1\ndetectors:\n  - {name: x, pattern: \"x+\"}\n", "{1,20}"),
        ("language: 1\ndetectors:\n  - {name: x, pattern: \"x{0,3}\"}\n", "1 to 256 bytes"),
        ("language: 1\ndetectors:\n  - {name: x}\n", "add pattern"),
    ] {
        let sources = [
            ("agents.yaml", AGENTS),
            ("tools.yaml", TOOLS),
            ("policies/p.yaml", policy),
            ("detectors.yaml", own),
        ];
        let sources = sources.map(|(path, text)| Source { path, bytes: text.as_bytes() });
        let mistakes = Bundle::read(&sources).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.text.contains(part)), "{own}: {mistakes:?}");
    }
}

/// A short value of an own detector as the name of a member; the numbers of elements are no names.
#[test]
fn p16_short_names_are_looked_at_too() {
    let own = "language: 1\ndetectors:\n  - {name: one, pattern: \"M-[0-9]{3}|[0-9]\"}\n";
    let policy = "language: 1\npolicy: p\nclauses:\n  - {id: a, tool: t, then: allow}\n  - {id: s, tool: t, then: sanitize, redact: [{at: \"\", detect: [one]}]}\n";
    let bundle = bundle(&[("detectors.yaml", own.into()), ("policies/p.yaml", policy.into())]);
    let code = |params: &str| judged(&bundle, params).code.clone();
    assert_eq!(code(r#"{"M-123":true}"#), "condition_error");
    assert_eq!(code(r#"{"a":"{\"M-123\":true}"}"#), "condition_error");
    assert_eq!(code(r#"{"a":["x","[\"y\"]"]}"#), "allowed");
    assert_eq!(code(r#"{"a":["M-123"]}"#), "sanitized");
}

/// What readers find in a text that is none of ours, and what is written in its place.
#[test]
fn p16_what_lenient_readers_find() {
    let all = "then: sanitize, redact: [{at: \"\", detect: [iban, us-ssn]}]";
    for (before, after) in [
        (r#""\\u0044E89370400440532013000""#, r#""[REDACTED:iban]""#),
        (r#""\"\\u0044E89370400440532013000\"""#, r#""\"[REDACTED:iban]\"""#),
        (
            r#""https://x.example/p?a&b=DE89+3704+0044+0532+0130+00#t""#,
            r#""https://x.example/p?a&b=%5BREDACTED%3Aiban%5D#t""#,
        ),
        (r#""b=%44E89370400440532013000&c=?x=1""#, r#""b=%5BREDACTED%3Aiban%5D&c=?x=1""#),
        (r#""x\\nssn 536904399""#, r#""x\\nssn [REDACTED:us-ssn]""#),
    ] {
        let call = |text: &str| format!(r#"{{"a":{text}}}"#);
        check(&[ALLOW, all], &call(before), ("sanitize", "sanitized", &call(after)));
    }
}
