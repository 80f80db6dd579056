mod order;
mod redaction;

use super::*;
use crate::policy::{Local, Source};

const AGENTS: &str = r#"
language: 1
tiers: [public, internal, confidential]
agents:
  - {id: bot, groups: [bots], owners: [p-ana], tier: internal, region: eu}
  - {id: boss-bot, owners: [p-ana]}
  - {id: "*", owners: [p-ops]}
"#;
const TOOLS: &str = r#"
language: 1
tools:
  - {name: t, tier: internal, region: us, actions: [{name: a, effect: write, schema: "sha256:0000000000000000000000000000000000000000000000000000000000000001"}]}
  - {name: untiered, actions: [{name: a, effect: read}]}
"#;
const LIST: &str = "language: 1\nitems: [\"x\"]\n";

const DAYS: &str = "language: 1\nitems: [\"2026-11-27\"]\n";
const HOSTS: &str = "language: 1\nitems: [api.example.eu, \"*.bank.example\"]\n";

fn bundle(policies: &[(&str, String)]) -> Bundle {
    let mut sources = vec![
        Source { path: "agents.yaml", bytes: AGENTS.as_bytes() },
        Source { path: "tools.yaml", bytes: TOOLS.as_bytes() },
        Source { path: "lists/some.yaml", bytes: LIST.as_bytes() },
        Source { path: "lists/days.yaml", bytes: DAYS.as_bytes() },
        Source { path: "lists/hosts.yaml", bytes: HOSTS.as_bytes() },
    ];
    sources.extend(policies.iter().map(|(path, text)| Source { path, bytes: text.as_bytes() }));
    Bundle::read(&sources).unwrap_or_else(|mistakes| panic!("{mistakes:?} in {policies:?}"))
}

#[test]
fn p16_agents_that_are_not_registered_are_in_no_group() {
    let agents = AGENTS.replace("{id: \"*\", ", "{id: \"*\", groups: [wild], ");
    assert_ne!(agents, AGENTS);
    let deny =
        "language: 1\npolicy: p\nclauses:\n  - {id: c, agents: [\"@wild\"], tool: t, then: deny}\n";
    let sources = [("agents.yaml", &*agents), ("tools.yaml", TOOLS), ("policies/p.yaml", deny)];
    let sources = sources.map(|(path, text)| Source { path, bytes: text.as_bytes() });
    // Otherwise the clause would be for nobody, and no call of theirs would be denied by it.
    let Err(mistakes) = Bundle::read(&sources) else { panic!("the clause is for nobody") };
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].starts_with("agents.yaml:7:"), "{told:?}");
    assert!(told[0].contains("write \"@unregistered\""), "{told:?}");
}

fn facts() -> Facts {
    // 2026-11-27T10:00:00Z, a Friday.
    let berlin = Local { date: "2026-11-27".into(), weekday: 4, minute: 660, offset: 3600 };
    let local = [("Europe/Berlin".to_owned(), berlin)].into();
    Facts { now: ledger::time::Nanos(1_795_773_600_000_000_000), local, ..Facts::default() }
}

/// The verdict and its code for a call `rest`: members beside `agent` and `tool`.
fn verdict(bundle: &Bundle, rest: &str) -> String {
    let body = format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"t","action":"a"}}{rest}}}"#);
    let body = if rest.contains("\"agent\"") { rest.to_owned() } else { body };
    let value =
        ledger::json::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"));
    let Ok(request) = Request::read(&value) else { return "unreadable".into() };
    let judged = bundle.judge(&request, &facts());
    format!("{} {}", judged.verdict.as_str(), judged.reason.code)
}

fn policy(name: &str, clauses: &[(&str, &str)]) -> (String, String) {
    let line = |(at, (when, then)): (usize, &(&str, &str))| {
        let when = if when.is_empty() { String::new() } else { format!(", when: {when}") };
        format!("  - {{id: c{at}, tool: t, actions: [a]{when}, then: {then}}}\n")
    };
    let clauses = clauses.iter().enumerate().map(line).collect::<Vec<_>>().concat();
    (format!("policies/{name}.yaml"), format!("language: 1\npolicy: {name}\nclauses:\n{clauses}"))
}

fn one(clauses: &[(&str, &str)]) -> Bundle {
    let (path, text) = policy("p", clauses);
    bundle(&[(&path, text)])
}

/// A condition that `good` fulfils, `no` does not, and that nothing of `bad` can be judged by.
fn check(when: &str, good: &[&str], no: &[&str], bad: &[&str]) {
    let allow = one(&[(when, "allow")]);
    // "Everything is within what is listed": a deny clause says the opposite.
    let turned = when.contains("egress") || when.contains("data:");
    let restricting = if turned { format!("{{not: {when}}}") } else { when.to_owned() };
    let deny = one(&[("", "allow"), (&restricting, "deny")]);
    let verdict_of_deny = |matches: bool| {
        if matches == turned { "allow allowed" } else { "deny denied" }
    };
    let ask = one(&[("", "allow"), (when, "approval_needed")]);
    let shadow = format!(
        "language: 1\npolicy: p\nclauses:\n  - {{id: a, tool: t, actions: [a], then: allow}}\n  \
                          - {{id: b, tool: t, when: {restricting}, then: deny, enforcement: {{shadow: true}}}}\n"
    );
    let shadow = bundle(&[("policies/p.yaml", shadow)]);
    for rest in good {
        assert_eq!(verdict(&allow, rest), "allow allowed", "{when} {rest}");
        assert_eq!(verdict(&deny, rest), verdict_of_deny(true), "{when} {rest}");
        assert_eq!(verdict(&ask, rest), "approval_needed approval", "{when} {rest}");
    }
    for rest in no {
        assert_eq!(verdict(&allow, rest), "deny no_clause", "{when} {rest}");
        assert_eq!(verdict(&deny, rest), verdict_of_deny(false), "{when} {rest}");
        assert_eq!(verdict(&ask, rest), "allow allowed", "{when} {rest}");
    }
    for rest in bad {
        for bundle in [&allow, &deny, &ask] {
            let got = verdict(bundle, rest);
            assert!(got == "deny condition_error" || got == "unreadable", "{when} {rest}: {got}");
        }
    }
    for rest in good.iter().chain(no).chain(bad) {
        let got = verdict(&shadow, rest);
        assert!(got == "allow allowed" || got == "unreadable", "in shadow {when} {rest}: {got}");
    }
}

/// Calls with `/v` absent, `null`, and of every type that the test is not for.
const NOT_A_NUMBER: [&str; 8] = [
    "",
    r#","params":{}"#,
    r#","params":{"v":null}"#,
    r#","params":{"v":"5000"}"#,
    r#","params":{"v":1.5}"#,
    r#","params":{"v":[1]}"#,
    r#","params":{"v":true}"#,
    r#","params":{"v":{"v":1}}"#,
];
const NOT_A_TEXT: [&str; 7] = [
    "",
    r#","params":{}"#,
    r#","params":{"v":null}"#,
    r#","params":{"v":1}"#,
    r#","params":{"v":["x"]}"#,
    r#","params":{"v":true}"#,
    // Not NFC: e and a combining accent.
    ",\"params\":{\"v\":\"e\\u0301\"}",
];

#[test]
fn p16_numbers() {
    let good = [r#","params":{"v":100}"#, r#","params":{"v":1e2}"#, r#","params":{"v":-0}"#];
    check(
        "{params: {/v: {integer: {at_most: 100}}}}",
        &good,
        &[r#","params":{"v":101}"#],
        &NOT_A_NUMBER,
    );
    let eur = |minor: &str| format!(r#","params":{{"v":{minor},"c":"EUR"}}"#);
    let over = "{amount: {minor: /v, currency: /c, over: {EUR: 10}}}";
    check(
        over,
        &[&eur("11"), &eur("9007199254740991")],
        &[&eur("10"), &eur("0")],
        &[
            &eur("-1"),
            &eur("1.5"),
            &eur("\"11\""),
            &eur("null"),
            &eur("[11]"),
            r#","params":{"v":11}"#,
            r#","params":{"v":11,"c":"USD"}"#,
            r#","params":{"v":11,"c":"eur"}"#,
            r#","params":{"v":11,"c":null}"#,
        ],
    );
    let decimal = |text: &str| format!(r#","params":{{"v":"{text}"}}"#);
    check(
        "{params: {/v: {decimal: {under: \"12.50\"}}}}",
        &[&decimal("12.49"), &decimal("-3")],
        &[&decimal("12.50"), &decimal("12.5")],
        &[&decimal(""), &decimal("1e1"), &decimal("NaN"), &decimal("1,5"), r#","params":{"v":1}"#],
    );
}

#[test]
fn p16_texts_and_sets() {
    let text = |text: &str| format!(r#","params":{{"v":"{text}"}}"#);
    check(
        "{params: {/v: {matches: \"[a-z]+\"}}}",
        &[&text("abc")],
        &[&text("ab1"), &text("abc\\n"), &text("\u{430}bc"), &text("a\u{200b}b")],
        &NOT_A_TEXT,
    );
    check(
        "{params: {/v: {one_of: [x, w]}}}",
        &[&text("x")],
        &[&text("z"), &text("X"), &text("\u{445}")],
        &NOT_A_TEXT,
    );
    check("{params: {/v: {in_list: some}}}", &[&text("x")], &[&text("y")], &NOT_A_TEXT);
    check(
        "{params: {/v: {length: {at_most: 2}}}}",
        &[&text("\u{e9}\u{e9}")],
        &[&text("abc")],
        &["", r#","params":{"v":1}"#, r#","params":{"v":["a"]}"#],
    );
    check(
        "{params: {/v: {items: {at_most: 2}}}}",
        &[r#","params":{"v":[1,2]}"#, r#","params":{"v":[]}"#],
        &[r#","params":{"v":[1,2,3]}"#],
        &["", &text("ab"), r#","params":{"v":{"a":1}}"#],
    );
    check(
        "{params: {/v/*: {matches: \"[a-z]\", some: false}}}",
        &[r#","params":{"v":["a","b"]}"#, r#","params":{"v":[]}"#],
        &[r#","params":{"v":["a","B"]}"#, r#","params":{"v":["B",null]}"#],
        &["", &text("a"), r#","params":{"v":["a",1]}"#, r#","params":{"v":["a",null]}"#],
    );
    check(
        "{params: {/v/*: {matches: \"evil@.*\", some: true}}}",
        &[r#","params":{"v":["evil@x","b"]}"#, r#","params":{"v":[null,"evil@x"]}"#],
        &[r#","params":{"v":["a"]}"#, r#","params":{"v":[]}"#],
        &["", &text("evil@x"), r#","params":{"v":["a",null]}"#],
    );
    check(
        "{params: {/v/*: {matches: \"evil@.*\", some: true, optional: true}}}",
        &[r#","params":{"v":["evil@x",null]}"#],
        &["", r#","params":{"v":["a",null]}"#],
        &[&text("evil@x"), r#","params":{"v":{"a":"evil@x"}}"#],
    );
    check(
        "{params: {/v/*/s: {absent: true, some: false}}}",
        &["", r#","params":{"v":[{},{"s":null}]}"#],
        &[r#","params":{"v":[{"s":1},{}]}"#],
        &[&text("x"), r#","params":{"v":["x"]}"#],
    );
    check(
        "{params: {/v: {equals: true}}}",
        &[r#","params":{"v":true}"#],
        &[r#","params":{"v":false}"#],
        &[&text("true"), "", r#","params":{"v":1}"#],
    );
    check(
        "{params: {/v: {present: true}}}",
        &[&text("a"), r#","params":{"v":0}"#],
        &["", r#","params":{"v":null}"#],
        &[],
    );
    check("{params: {/v: {absent: true}}}", &["", r#","params":{"v":null}"#], &[&text("a")], &[]);
    check(
        "{params: {/v: {equals: x, optional: true}}}",
        &[&text("x")],
        &["", r#","params":{"v":null}"#, &text("y")],
        &[r#","params":{"v":1}"#],
    );
}

#[test]
fn p16_what_the_call_says_of_itself() {
    check(
        "{purpose: [care]}",
        &[r#","context":{"purpose":"care"}"#],
        &[r#","context":{"purpose":"ads"}"#],
        &[
            "",
            r#","context":{}"#,
            r#","context":{"purpose":null}"#,
            r#","context":{"purpose":1}"#,
            r#","context":{"purpose":""}"#,
        ],
    );
    check(
        "{labels: {env: prod}}",
        &[r#","labels":{"env":"prod"}"#],
        &[r#","labels":{"env":"dev"}"#],
        &["", r#","labels":{"env":1}"#],
    );
    check(
        "{data: {classes: [health]}}",
        &[r#","context":{"classes":["health"]}"#, r#","context":{"classes":[]}"#],
        &[r#","context":{"classes":["health","biometric"]}"#],
        &["", r#","context":{"classes":"health"}"#],
    );
    let agent = |chain: &str| {
        format!(r#"{{"agent":{{"id":"bot"{chain}}},"tool":{{"name":"t","action":"a"}}}}"#)
    };
    let long: Vec<String> = (0..16).map(|n| format!("\"b{n}\"")).collect();
    check(
        "{chain: {through: [boss-bot]}}",
        &[&agent(r#","chain":["boss-bot","bot"]"#)],
        &[&agent(r#","chain":["bot"]"#)],
        &[
            "",
            &agent(r#","chain":null"#),
            &agent(r#","chain":[]"#),
            &agent(r#","chain":["boss-bot"]"#),
            &agent(r#","chain":["bot","boss-bot","bot"]"#),
            &agent(&format!(r#","chain":[{},"bot"]"#, long.join(","))),
        ],
    );
    check("{identity: verified}", &[], &[""], &[]);
    check("{effect: write}", &[""], &[], &[]);
    check("{effect: read}", &[], &[""], &[]);
    check("{tier: {at_most: agent}}", &[""], &[], &[]);
    check("{tier: {at_most: public}}", &[], &[""], &[]);
    let of_call = r#","context":{"region":"eu"}"#;
    check("{region: eu}", &[of_call], &[r#","context":{"region":"EU"}"#], &[""]);
    check("{region: {agent: eu}}", &["", of_call], &[], &[&agent("").replace("bot", "boss-bot")]);
    check("{region: {agent: [us, x]}}", &[], &["", of_call], &[]);
    check("{region: {tool: us}}", &["", of_call], &[], &[]);
    check("{region: {call: [eu], agent: [eu], tool: [us]}}", &[of_call], &[], &[""]);
    check("{region: {call: [eu], tool: {in_list: some}}}", &[], &["", of_call], &[]);
}

#[test]
fn p16_time_and_egress() {
    check(
        "{hours: {days: [fri], from: \"08:00\", to: \"18:00\", zone: Europe/Berlin}}",
        &[""],
        &[],
        &[],
    );
    check("{hours: {from: \"11:00\", to: \"11:01\", zone: Europe/Berlin}}", &[""], &[], &[]);
    check("{hours: {from: \"11:01\", to: \"11:00\", zone: Europe/Berlin}}", &[], &[""], &[]);
    check(
        "{hours: {days: [thu], from: \"22:00\", to: \"11:30\", zone: Europe/Berlin}}",
        &[""],
        &[],
        &[],
    );
    check(
        "{hours: {days: [fri], from: \"22:00\", to: \"11:30\", zone: Europe/Berlin}}",
        &[],
        &[""],
        &[],
    );
    check(
        "{hours: {from: \"08:00\", to: \"18:00\", zone: Europe/Berlin, holidays: days}}",
        &[],
        &[""],
        &[],
    );
    check("{hours: {from: \"08:00\", to: \"18:00\", zone: Asia/Tokyo}}", &[], &[], &[""]);
    check("{period: {from: \"2026-11-27T10:00:00Z\"}}", &[""], &[], &[]);
    check("{period: {to: \"2026-11-27T10:00:00Z\"}}", &[], &[""], &[]);
    let url = |url: &str| format!(r#","params":{{"v":"{url}"}}"#);
    check(
        "{egress: {at: [/v], hosts: [\"*.bank.example\", api.example.eu], paths: [\"/v1/*\"]}}",
        &[&url("https://api.example.eu/v1/x"), &url("https://a.b.bank.example./v1/")],
        &[
            &url("https://bank.example/v1/"),
            &url("https://api.example.eu/v2/"),
            &url("http://api.example.eu/v1/"),
            &url("https://api.example.eu:8443/v1/"),
        ],
        &[
            "",
            &url("https://api.example.eu@evil.example/v1/"),
            &url("https://api.example.eu/v1/..%2fadmin"),
            r#","params":{"v":1}"#,
        ],
    );
    check(
        "{egress: {at: [/v], hosts: {in_list: hosts}}}",
        &[&url("https://api.example.eu/")],
        &[&url("https://x.example/")],
        &[""],
    );
}

#[test]
fn p16_before_any_clause() {
    let any = one(&[("", "allow")]);
    let call = |agent: &str, tool: &str, more: &str| {
        verdict(
            &any,
            &format!(
                r#"{{"agent":{{"id":"{agent}"}},"tool":{{"name":"{tool}","action":"a"{more}}}}}"#
            ),
        )
    };
    assert_eq!(call("bot", "t", ""), "allow allowed");
    assert_eq!(call("bot", "countersign", ""), "deny reserved_tool");
    assert_eq!(call("bot", "t", r#","schema":"sha256:00""#), "deny schema_changed");
    assert_eq!(call("bot", "other", ""), "deny no_clause");
    // Admitted by the entry `*`, and meant by no clause that allows.
    assert_eq!(call("stranger", "t", ""), "deny no_clause");
    let (path, text) = (
        "policies/p.yaml",
        "language: 1\npolicy: p\nclauses:\n  - {id: a, agents: [\"@unregistered\"], tool: t, then: allow}\n",
    );
    let open = bundle(&[(path, text.to_owned())]);
    let stranger = r#"{"agent":{"id":"stranger"},"tool":{"name":"t","action":"a"}}"#;
    assert_eq!(verdict(&open, stranger), "allow allowed");
    let denied = format!("{text}  - {{id: b, tool: \"*\", then: deny}}\n");
    let closed = bundle(&[(path, denied)]);
    assert_eq!(verdict(&closed, stranger), "deny denied", "a deny without agents is for everybody");
}
