//! What is plain, what is payload, what is refused.

use super::*;

fn event(data: &str, more: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"1","source":"/gw","type":"{DECISION}","time":"2026-11-20T05:48:00Z"{more},"data":{data}}}"#
    )
}

const DATA: &str = r#"{"agent":{"id":"a","owner":"kim"},"tool":{"name":"pay","action":"send"},"verdict":"deny","x":1,"payload":{"params":{"iban":"DE\n1"},"nonce":"n"}}"#;

fn check(text: &str, refused: Option<&str>) {
    let found = parse(text.as_bytes()).err();
    assert_eq!(found.map(|r| r.code()), refused, "{text:.200} {found:?}");
}

#[test]
fn p11_only_listed_members_are_plain() {
    let event = parse(event(DATA, r#","tenant":"evil","kind":"genesis""#).as_bytes()).unwrap();
    let plain = String::from_utf8(event.plain).unwrap();
    assert_eq!(
        plain,
        r#"{"data":{"agent":{"id":"a"},"tool":{"action":"send","name":"pay"},"verdict":"deny"},"id":"1","source":"/gw","specversion":"1.0","time":"2026-11-20T05:48:00Z","type":"dev.countersign.decision.v1"}"#
    );
    let names: Vec<&str> = event.fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["/data/agent/owner", "/data/x", "/kind", "/tenant", "nonce", "params"]);
    assert_eq!(event.fields[5].value, br#"{"iban":"DE\n1"}"#);
}

#[test]
fn other_types_keep_all_data_as_payload() {
    let text =
        event(r#"{"verdict":"deny","payload":{"p":1}}"#, "").replace(DECISION, "com.example.x");
    let event = parse(text.as_bytes()).unwrap();
    assert!(!String::from_utf8(event.plain).unwrap().contains("data"));
    assert_eq!(event.fields.len(), 2);
    check(&text.replace(r#""data":{"#, r#""data_base64":"AA==","more":{"#), None);
}

#[test]
fn p3_refuses_with_a_code() {
    check(&event(DATA, ""), None);
    check("[]", Some("not_an_object"));
    check("{", Some("json_syntax"));
    check(&event(DATA, "").replace("\"1.0\"", "\"0.3\""), Some("attribute"));
    check(&event(DATA, "").replace("2026-11-20T", "2026-13-20T"), Some("attribute"));
    check(&event(DATA, r#","sequence":5"#), Some("attribute"));
    check(&event(DATA, r#","sequence":"-5""#), Some("attribute"));
    check(&event(DATA, r#","sequence":"0005""#), None);
    check(&event(DATA, r#","traceparent":"00-x""#), Some("attribute"));
    check(&event(DATA, "").replace("decision.v1", "decision.v9"), Some("type_unknown"));
    check(&event(DATA, "").replace("decision.v1", "heartbeat.v1"), Some("attribute"));
    check(&event(&DATA.replace("deny", "maybe"), ""), Some("data"));
    check(&event(&DATA.replace("\"verdict\"", "\"Verdict\""), ""), Some("data"));
    check(&event(&DATA.replace("\"send\"", "\"se\\u0000nd\""), ""), Some("control_character"));
    check(&event(&DATA.replace("\"nonce\"", "\"\""), ""), Some("payload_name"));
    check(&event(&DATA.replace("\"nonce\"", "\"/params\""), ""), Some("payload_name"));
    check(&event("[]", ""), Some("data"));
    check(&event(DATA, "").replace("\"data\":", "\"date\":"), Some("data"));
    let many: Vec<String> = (0..65).map(|n| format!("\"f{n}\":1")).collect();
    check(&event(&DATA.replace("\"nonce\":\"n\"", &many.join(",")), ""), Some("payload_fields"));
    let label = format!("{{\"l\":\"{}\"}}", "x".repeat(257));
    check(&event(&DATA.replace("\"x\":1", &format!("\"labels\":{label}")), ""), Some("data"));
    check(&event(&DATA.replace("DE", &"x".repeat(262_144)), ""), Some("too_big"));
}

#[test]
fn p3_says_which_member_and_what_it_must_be() {
    let says = |text: String, words: &str| {
        let refused = parse(text.as_bytes()).unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    };
    says(event(&DATA.replace("deny", "allowed"), ""), "`/data/verdict` must be one of \"allow\"");
    says(
        event(&DATA.replace("\"verdict\"", "\"v\""), ""),
        "`/data/verdict` is missing: it must be",
    );
    says(event(&DATA.replace("\"id\":\"a\"", "\"id\":5"), ""), "`/data/agent/id` must be a text");
    says(event(&DATA.replace("\"x\":1", "\"cost\":{\"amount\":0.1}"), ""), "`/data/cost/amount`");
    says(event(DATA, "").replace(":00Z", ":00"), "`time` must be");
    says(event(DATA, "").replace("\"id\":\"1\",", ""), "attribute `id` is missing");
    says(event(DATA, r#","sequence":1"#), "`sequence` must be a text of 1 to 20 decimal digits");
    says(event(DATA, "").replace("\"/gw\"", "\"\\u0007\""), "`/source` holds a control");
    says(event(&DATA.replace("\"send\"", "\"\\u0085\""), ""), "`/data/tool/action` holds");
    let label = DATA.replace("\"x\":1", "\"labels\":{\"a\\u0000\":\"\"}");
    says(event(&label, ""), "`/data/labels` holds");
    says(format!("\u{feff}{}", event(DATA, "")), "byte order mark");
    says(event(DATA, "") + "{}", "something follows");
    for verdict in VERDICTS {
        check(&event(&DATA.replace("deny", verdict), ""), None);
        says(event(&DATA.replace("deny", "?"), ""), &format!("\"{verdict}\""));
    }
}

#[test]
fn p2_an_attribute_that_is_null_is_not_there() {
    let plain = parse(event(DATA, "").as_bytes()).unwrap();
    let nulls =
        r#","sequence":null,"traceparent":null,"datacontenttype":null,"subject":null,"ext":null"#;
    assert_eq!(parse(event(DATA, nulls).as_bytes()).unwrap(), plain);
    for name in ["specversion", "id", "source", "type", "time"] {
        let text =
            event(DATA, "").replace(&format!("\"{name}\":"), &format!("\"{name}\":null,\"_\":"));
        check(&text, Some("attribute"));
    }
    check(&event("null", ""), Some("data"));
    let other = event("null", "").replace(DECISION, "com.example.x");
    assert_eq!(parse(other.as_bytes()).unwrap().fields[0].value, b"null");
}

#[test]
fn p3_the_id_of_what_was_refused() {
    let check = |text: &str, id: Option<&str>| {
        assert_eq!(legible_id(text.as_bytes()).as_deref(), id, "{text:.80}");
    };
    check(r#"{"id":"a","specversion":"0.3"}"#, Some("a"));
    check("\u{feff} {\"n\":9007199254740993,\"id\":\"a\"}", Some("a"));
    check(r#"{"id":"a","b":1,"b":2,"c":"\ud800"}"#, Some("a"));
    check(r#"{"id":5}"#, None);
    check(r#"{"id":""}"#, None);
    check(r#"{"id":"a","id":"b"}"#, None);
    check(r#"{"data":{"id":"a"}}"#, None);
    check(r#"["a"]"#, None);
    check(r#"{"id":"a""#, None);
    check(&format!(r#"{{"id":"{}"}}"#, "i".repeat(257)), None);
}

#[test]
fn datacontenttype_is_a_media_type() {
    let kind = |of: &str, value: &str| {
        let more = format!(r#","datacontenttype":"{value}""#);
        event(DATA, &more).replace(DECISION, of)
    };
    for good in ["application/json", "Application/JSON; charset=UTF-8", "application/x+json"] {
        check(&kind(DECISION, good), None);
    }
    for bad in ["text/plain", "application/json; charset=latin1", "json", ""] {
        check(&kind(DECISION, bad), Some("attribute"));
    }
    check(&kind("com.example.x", "text/plain"), None);
    check(&kind("com.example.x", "json"), Some("attribute"));
}

#[test]
fn p13_plain_part_has_a_limit() {
    let labels: Vec<String> = (0..16).map(|n| format!("\"{n}\":\"{}\"", "x".repeat(256))).collect();
    let chain: Vec<String> = (0..16).map(|_| format!("\"{}\"", "\\\\".repeat(128))).collect();
    let data = DATA
        .replace("\"x\":1", &format!("\"labels\":{{{}}}", labels.join(",")))
        .replace("\"owner\":\"kim\"", &format!("\"chain\":[{}]", chain.join(",")));
    check(&event(&data, ""), None);
}
