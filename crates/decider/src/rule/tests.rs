use super::*;
use ledger::json;

const RULE: &str = r#"{"name":"r","quorum":{"at_least":1,"of":"f"},"deny":1,"approve_within":3600,
    "execute_within":900,"report_within":3600,"token_life":120}"#;

/// [`RULE`] with some members changed.
fn rule(members: &str) -> Rule {
    let mut rule: serde_json::Value = serde_json::from_str(RULE).unwrap();
    let changed: serde_json::Map<_, _> = serde_json::from_str(members).unwrap();
    rule.as_object_mut().unwrap().extend(changed);
    serde_json::from_value(rule).unwrap()
}

/// Checks whether a rule with this `match` is for the call bank.transfer, labelled `team: ops`, with these
/// params.
fn check(matches: &str, params: &str, expected: Result<(), &str>) {
    let rule = rule(&format!(r#"{{"match":{matches}}}"#));
    assert_eq!(rule.check(), Ok(()), "{matches}");
    let params = json::parse(params.as_bytes()).unwrap();
    let labels = BTreeMap::from([("team".to_owned(), "ops".to_owned())]);
    let facts = Visible {
        tool: "bank",
        action: "transfer",
        clause: None,
        labels: &labels,
        params: &params,
    };
    assert_eq!(rule.matches(&facts), expected, "{matches}");
    assert_eq!(first_match(std::slice::from_ref(&rule), &facts), expected.ok().map(|()| &rule));
}

#[test]
fn names_and_labels() {
    check("{}", "null", Ok(()));
    check(r#"{"tool":["mail","bank"]}"#, "null", Ok(()));
    check(r#"{"tool":["mail"]}"#, "null", Err("the tool is not listed"));
    check(r#"{"action":["transfer"]}"#, "null", Ok(()));
    check(r#"{"action":["refund"]}"#, "null", Err("the action is not listed"));
    check(r#"{"labels":{"team":"ops"}}"#, "null", Ok(()));
    let label = Err("a label is absent or has another value");
    check(r#"{"labels":{"team":"hr"}}"#, "null", label);
    check(r#"{"labels":{"team":"ops","region":"eu"}}"#, "null", label);
}

#[test]
fn params_by_pointer_and_canonical_form() {
    let absent = Err("a param is absent or has another value");
    let params = r#"{"a":{"b/c":[10,"x",{"~":1.0}]},"n":-0,"":null,"0":true,"list":[1]}"#;
    check(r#"{"params":{"/a/b~1c/0":10}}"#, params, Ok(()));
    check(r#"{"params":{"/a/b~1c/0":10.0}}"#, params, Ok(()));
    check(r#"{"params":{"/a/b~1c/0":11}}"#, params, absent);
    check(r#"{"params":{"/a/b~1c/0":"10"}}"#, params, absent);
    check(r#"{"params":{"/a/b~1c/2/~0":1}}"#, params, Ok(()));
    check(r#"{"params":{"/a/b~1c/2":{"~":1}}}"#, params, Ok(()));
    check(r#"{"params":{"/n":0}}"#, params, Ok(()));
    check(r#"{"params":{"/":null}}"#, params, Ok(()));
    check(r#"{"params":{"/0":true}}"#, params, Ok(()));
    check(r#"{"params":{"":3}}"#, "3", Ok(()));
    check(r#"{"params":{"/a":null}}"#, "{}", absent);
    for no_index in ["00", "+0", "-", "1", "x", "-0", ""] {
        check(&format!(r#"{{"params":{{"/list/{no_index}":1}}}}"#), params, absent);
    }
    check(r#"{"params":{"/n/0":1}}"#, params, absent);
    check(r#"{"params":{"/0":true,"/n":1}}"#, params, absent);
}

#[test]
fn p9_an_amount_that_can_t_be_told_is_over() {
    let amount = r#"{"amount":{"minor":"/amount","currency":"/cur","over":{"EUR":1000,"USD":0}}}"#;
    let within = Err("the amount is within the limit");
    check(amount, r#"{"amount":1000,"cur":"EUR"}"#, within);
    check(amount, r#"{"amount":1e3,"cur":"EUR"}"#, within);
    check(amount, r#"{"amount":0,"cur":"USD"}"#, within);
    for over in [
        r#"{"amount":1001,"cur":"EUR"}"#,
        r#"{"amount":1,"cur":"USD"}"#,
        r#"{"amount":999.5,"cur":"EUR"}"#,
        r#"{"amount":"10","cur":"EUR"}"#,
        r#"{"amount":-1,"cur":"EUR"}"#,
        r#"{"amount":1,"cur":"GBP"}"#,
        r#"{"amount":1,"cur":7}"#,
        r#"{"amount":1}"#,
        r#"{"cur":"EUR"}"#,
        "null",
    ] {
        check(amount, over, Ok(()));
    }
}

#[test]
fn the_first_match_wins() {
    let rules = [
        rule(r#"{"name":"mail","match":{"tool":["mail"]}}"#),
        rule(r#"{"name":"bank","match":{"tool":["bank"]}}"#),
        rule(r#"{"name":"all"}"#),
    ];
    let (labels, params) = (BTreeMap::new(), json::Value::Null);
    let name = |rules: &[Rule], tool| {
        let facts = Visible { tool, action: "a", clause: None, labels: &labels, params: &params };
        first_match(rules, &facts).map(|rule| rule.name.clone())
    };
    assert_eq!(name(&rules, "bank").as_deref(), Some("bank"));
    assert_eq!(name(&rules, "mail").as_deref(), Some("mail"));
    assert_eq!(name(&rules, "fax").as_deref(), Some("all"));
    assert_eq!(name(&rules[..2], "fax"), None);
    assert!(rules[2].matches.is_catch_all() && !rules[1].matches.is_catch_all());
}

fn refused(members: &str, error: RuleError) {
    assert_eq!(rule(members).check(), Err(error), "{members}");
}

fn accepted(members: &str) {
    assert_eq!(rule(members).check(), Ok(()), "{members}");
}

fn list(count: usize) -> String {
    format!("[{}]", vec![r#""x""#; count].join(","))
}

#[test]
fn p13_the_page_states_the_limits() {
    let page = include_str!("../../../../proto/formats/approval.md");
    let day = 86_400;
    assert_eq!(
        (APPROVE_WITHIN_MAX, EXECUTE_WITHIN_MAX, REPORT_WITHIN_MAX),
        (7 * day, day, 7 * day)
    );
    assert_eq!((TOKEN_LIFE_MAX, STEP_UP_MAX, DENY_MAX), (900, 28_800, 16));
    for row in [
        "| `approve_within` | 1 s to 7 days |",
        "| `execute_within` | 1 s to 1 day |",
        "| `report_within` | 1 s to 7 days |",
        "| `token_life` | 1 to 900 s |",
        "| `step_up` | 1 s to 8 hours |",
        "| `deny`, `at_least` | 1 to 16 |",
        "| the rule, as RFC 8785 | 16,384 bytes |",
    ] {
        assert!(page.contains(row), "{row}");
    }
}

#[test]
fn p13_numbers_and_texts() {
    for (member, max) in [
        ("deny", u64::from(DENY_MAX)),
        ("approve_within", APPROVE_WITHIN_MAX),
        ("execute_within", EXECUTE_WITHIN_MAX),
        ("report_within", REPORT_WITHIN_MAX),
        ("token_life", TOKEN_LIFE_MAX),
        ("step_up", STEP_UP_MAX),
    ] {
        accepted(&format!(r#"{{"{member}":{max}}}"#));
        accepted(&format!(r#"{{"{member}":1}}"#));
        for got in [0, max + 1] {
            refused(&format!(r#"{{"{member}":{got}}}"#), RuleError::Range { member, max, got });
        }
    }
    accepted(r#"{"one_by_one":true}"#);
    for name in ["", "a\\u0000", &"a".repeat(65)] {
        refused(&format!(r#"{{"name":"{name}"}}"#), RuleError::Name);
    }
    accepted(&format!(r#"{{"name":"{}"}}"#, "a".repeat(64)));
    let no_parts = RuleError::Quorum(crate::quorum::QuorumError::Parts(0));
    refused(r#"{"quorum":{"all":[]}}"#, no_parts);
    for member in ["channels", "escalate"] {
        accepted(&format!(r#"{{"{member}":{}}}"#, list(64)));
        refused(&format!(r#"{{"{member}":{}}}"#, list(65)), RuleError::List(member));
        refused(&format!(r#"{{"{member}":["a",""]}}"#), RuleError::Text(member));
    }
    refused(&format!(r#"{{"match":{{"tool":{}}}}}"#, list(65)), RuleError::List("match.tool"));
    refused(r#"{"match":{"action":["a\n"]}}"#, RuleError::Text("match.action"));
    refused(r#"{"match":{"labels":{"":"a"}}}"#, RuleError::Text("match.labels"));
    refused(r#"{"match":{"labels":{"a":""}}}"#, RuleError::Text("match.labels"));
    let text = |n: usize| format!(r#"{{"match":{{"tool":["{}"]}}}}"#, "a".repeat(n));
    accepted(&text(256));
    refused(&text(257), RuleError::Text("match.tool"));
}

#[test]
fn p13_conditions_on_params() {
    let params =
        |pointer: &str, value: &str| format!(r#"{{"match":{{"params":{{"{pointer}":{value}}}}}}}"#);
    let map = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""/{n}":"1""#)).collect();
        format!(r#"{{"match":{{"params":{{{}}}}}}}"#, members.join(","))
    };
    accepted(&map(64));
    refused(&map(65), RuleError::List("match.params"));
    for pointer in ["a", "a/b", "/~", "/~2", "/a~", "/a\n"] {
        let text = pointer.replace('\n', "\\n");
        refused(&params(&text, "1"), RuleError::Pointer(pointer.to_owned()));
    }
    let long = format!("/{}", "a".repeat(256));
    refused(&params(&long, "1"), RuleError::Pointer(long.clone()));
    accepted(&params(&long[..256], "1"));
    accepted(&params("/~0~1", "9007199254740991"));
    accepted(&params("", "null"));
    let nested = |open: &str, levels, close: &str| {
        format!("{}1{}", open.repeat(levels), close.repeat(levels))
    };
    accepted(&params("/a", &nested("[", 8, "]")));
    accepted(&params("/a", &nested(r#"{"a":"#, 8, "}")));
    for value in [
        "9007199254740992",
        "[1,18446744073709551615]",
        r#"{"a":9007199254740993}"#,
        &nested("[", 9, "]"),
        &nested(r#"{"a":"#, 9, "}"),
    ] {
        refused(&params("/a", value), RuleError::Value("/a".to_owned()));
    }
}

#[test]
fn p13_amounts() {
    let over = |limits: &str| {
        format!(r#"{{"match":{{"amount":{{"minor":"/a","currency":"/c","over":{limits}}}}}}}"#)
    };
    accepted(&over(r#"{"EUR":9007199254740991}"#));
    refused(&over("{}"), RuleError::NoCurrency);
    refused(&over(r#"{"EUR":9007199254740992}"#), RuleError::Value("amount.over.EUR".into()));
    for currency in ["eur", "EURO", "EU"] {
        let limits = format!(r#"{{"{currency}":1}}"#);
        refused(&over(&limits), RuleError::Currency(currency.to_owned()));
    }
    let letter = |n: u8| char::from(b'A' + n);
    let codes: Vec<_> =
        (0..65).map(|n| format!(r#""E{}{}":1"#, letter(n / 26), letter(n % 26))).collect();
    accepted(&over(&format!("{{{}}}", codes[..64].join(","))));
    refused(&over(&format!("{{{}}}", codes.join(","))), RuleError::List("amount.over"));
    for (minor, currency, wrong) in [("a", "/c", "a"), ("/a", "c", "c")] {
        let amount = format!(r#"{{"minor":"{minor}","currency":"{currency}","over":{{"EUR":1}}}}"#);
        let wrong = RuleError::Pointer(wrong.to_owned());
        refused(&format!(r#"{{"match":{{"amount":{amount}}}}}"#), wrong);
    }
}

#[test]
fn p13_the_whole_rule_has_a_size() {
    let mut big = rule("{}");
    big.matches.tool = (0..60).map(|n| format!("{n:0256}")).collect();
    let rest = RULE_BYTES_MAX - serde_json::to_vec(&big).unwrap().len();
    let frame = r#""action":["","",""],"#.len();
    let (third, more) = ((rest - frame) / 3, (rest - frame) % 3);
    big.matches.action = vec!["a".repeat(third), "b".repeat(third), "c".repeat(third + more)];
    assert_eq!(big.check(), Ok(()));
    big.name.push('a');
    assert_eq!(big.check(), Err(RuleError::Size(RULE_BYTES_MAX + 1)));
}

#[test]
fn the_digest_is_that_of_the_canonical_form() {
    let plain = rule("{}");
    let form = concat!(
        r#"{"approve_within":3600,"channels":[],"deny":1,"escalate":[],"execute_within":900,"match":{},"#,
        r#""name":"r","owner":"known","quorum":{"at_least":1,"of":"f"},"report_within":3600,"token_life":120}"#
    );
    assert_eq!(String::from_utf8(canonical::of(&plain)).unwrap(), form);
    assert_eq!(plain.digest(), "_mbf4_tVxLH88JNJCvFzGuX5GSeVpLjorhrHXtDvMME");
    assert_ne!(plain.digest(), rule(r#"{"deny":2}"#).digest());
}
