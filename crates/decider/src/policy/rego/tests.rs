use super::*;
use crate::policy::Source;
use serde_json::json;

fn check(pattern: &str, expected: Result<&str, &str>) {
    assert_eq!(pattern::of(pattern).as_deref(), expected.as_ref().map(|text| *text), "{pattern}");
}

#[test]
fn an_expression_means_the_same_in_go() {
    check(r"\A(?:INV-[0-9]{6})\z", Ok(r"(?s)\AINV\x{2d}(?:[\x{30}-\x{39}]){6,6}\z"));
    check("a+?|b*", Ok("(?s)(?:(?:a){1,}?|(?:b){0,})"));
    check("[a&&b]", Ok(r"(?s)[^\x{0}-\x{10ffff}]"));
    check("(?:a{100}){11}", Err("more than 1,000 repetitions"));
}

#[test]
fn p15_the_same_policies_give_the_same_bytes() {
    let files = [
        ("agents.yaml", "language: 1\nagents: [{id: bot, owners: [p-a]}]\n"),
        (
            "policies/p.yaml",
            "language: 1\npolicy: p\nclauses:\n  - {id: a, agents: [bot], tool: web, actions: [get], then: allow, when: {params: {/n: {decimal: {over: \"-1.5\"}}}}}\n",
        ),
        ("tools.yaml", "language: 1\ntools: [{name: web, actions: [{name: get, effect: read}]}]\n"),
    ];
    let source =
        |(path, text): &(&'static str, &'static str)| Source { path, bytes: text.as_bytes() };
    let export = || {
        let bundle = Bundle::read(&files.iter().map(source).collect::<Vec<_>>());
        bundle
            .unwrap_or_else(|wrong| panic!("{wrong:?}"))
            .to_rego(3, &json!({"b": 1, "a": "\u{2028}<"}))
    };
    let exported = export();
    assert_eq!(exported, export());
    let text = |path: &str| {
        let (_, bytes) = exported.files.iter().find(|(name, _)| name == path).expect(path);
        String::from_utf8(bytes.clone()).unwrap()
    };
    assert!(text(".manifest").starts_with(
        "{\"metadata\":{\"a\":\"\\u2028<\",\"b\":1},\"rego_version\":1,\"revision\":\"3-"
    ));
    assert!(
        text("countersign/policies.rego")
            .contains("decimal(v) > \"0999999999999999998499999999999999999\"")
    );
    assert_eq!(exported.left, [""; 0]);
}
