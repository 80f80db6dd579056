use super::*;

const AGENTS: &str = r#"
language: 1
tiers: [public, internal, confidential]
agents:
  - {id: payments-bot, groups: [finance-bots], owners: [p-ana], tier: confidential}
  - {id: helpdesk-bot, owners: [p-bob], tier: internal}
  - {id: planner-bot, owners: [p-bob], spawns: ["worker-*"]}
"#;
const TOOLS: &str = r"
language: 1
tools:
  - {name: payments, tier: confidential, actions: [{name: transfer, effect: write}, {name: payout, effect: write}]}
  - {name: search, actions: [{name: query, effect: read}]}
";
const POLICY: &str = r#"
language: 1
policy: payments
clauses:
  - id: small
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer, payout]
    when:
      amount: {minor: /amount, currency: /currency, at_most: {EUR: 500000, USD: 550000}}
      params: {/reference: {matches: "INV-[0-9]{6}"}}
      hours: {days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}
    then: allow
  - id: large
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer, payout]
    when: {amount: {minor: /amount, currency: /currency, over: {EUR: 500000, USD: 550000}, at_most: {EUR: 5000000, USD: 5500000}}}
    then: approval_needed
    message: Two people of finance.
  - id: planner-never-pays
    tool: payments
    when: {chain: {through: [planner-bot]}}
    then: deny
"#;
const TESTS: &str = r#"
language: 1
now: "2026-11-27T10:00:00Z"
calls:
  pay:
    agent: {id: payments-bot, chain: [helpdesk-bot, payments-bot]}
    tool: {name: payments, action: transfer}
    params: {amount: 125000, currency: EUR, reference: INV-004711}
tests:
  - {call: pay, verdict: allow, clause: payments/small, reason: allowed}
  - {name: at the bound, call: pay, with: {/params/amount: 500000}, verdict: allow}
  - {name: over the bound, call: pay, with: {/params/amount: 500001}, verdict: approval_needed, clauses: [payments/large]}
  - {name: at the second bound, call: pay, with: {/params/amount: 5000000}, verdict: approval_needed}
  - {name: over the second bound, call: pay, with: {/params/amount: 5000001}, verdict: deny, reason: no_clause}
  - {name: through the planner, call: pay, with: {/agent/chain: [planner-bot, payments-bot]}, verdict: deny, clause: payments/planner-never-pays}
  - {name: no chain, call: pay, without: [/agent/chain], verdict: deny, reason: condition_error}
  - {name: another currency, call: pay, with: {/params/currency: CHF}, verdict: deny, reason: condition_error, clause: payments/large}
  - {name: before eight, call: pay, now: "2026-11-27T06:59:59Z", verdict: deny, reason: no_clause}
"#;

fn bundle(policy: &str) -> Result<Bundle, Vec<Mistake>> {
    let file = |path, text: &'static str| Source { path, bytes: text.as_bytes() };
    Bundle::read(&[
        file("agents.yaml", AGENTS),
        file("tools.yaml", TOOLS),
        Source { path: "policies/payments.yaml", bytes: policy.as_bytes() },
    ])
}

#[test]
fn p15_p16_the_policy_of_the_page_judges_as_the_page_says() {
    let bundle = bundle(POLICY).unwrap();
    let cases = read(&[Source { path: "tests/payments.yaml", bytes: TESTS.as_bytes() }]).unwrap();
    assert_eq!(run(&bundle, &cases), Vec::new());
    assert_eq!(cases.len(), 9);
    let met = &coverage(&bundle, &cases)["payments/planner-never-pays"];
    assert_eq!((met.matched, met.not_matched, met.errors), (1, 7, 1));
    let survivors: Vec<String> = survivors(&bundle, &cases, |_, _| {})
        .into_iter()
        .map(|s| format!("{}: {}", s.clause, s.change))
        .collect();
    // Nobody tests dollars, the end of the day, and the minute at which it begins.
    assert!(survivors.iter().all(|s| s.contains("USD") || s.contains("hours")), "{survivors:?}");
    assert!(survivors.iter().any(|s| s.contains("at_most USD")), "{survivors:?}");
    let left = gaps(&bundle, &cases);
    assert_eq!(left.unnoticed.as_ref().map(Vec::len), Some(survivors.len()));
    assert_eq!(left.unmet, []);
    let told = left.in_words(1).unwrap();
    assert!(
        told.starts_with(&format!("changes that no test notices: {} (", survivors.len())),
        "{told}"
    );
    assert!(told.ends_with(&format!(", and {} more)", survivors.len() - 1)), "{told}");
    let nothing = gaps(&bundle, &[]);
    assert_eq!(nothing.unmet.len(), 3);
    assert!(nothing.in_words(2).unwrap().starts_with(
        "no test matches it: payments/large, payments/planner-never-pays, and 1 more; changes that no test notices: "
    ));
    let one = &cases[..1];
    assert_eq!(
        gaps(&bundle, one).unmet.last().unwrap(),
        &("payments/small".to_owned(), "no test shows what it leaves out")
    );
    assert_eq!(Gaps { unnoticed: Some(Vec::new()), ..Gaps::default() }.in_words(5), None);
    assert!(Gaps::default().in_words(5).unwrap().contains("was not tried"));
}

#[test]
fn a_test_that_fails_says_what_it_got() {
    let bundle = bundle(POLICY).unwrap();
    let wrong =
        TESTS.replace("verdict: allow, clause: payments/small, reason: allowed", "verdict: deny");
    let cases = read(&[Source { path: "tests/payments.yaml", bytes: wrong.as_bytes() }]).unwrap();
    let failures = run(&bundle, &cases);
    let told = failures[0].mistake.to_string();
    assert_eq!(
        told,
        "tests/payments.yaml:10:5: pay: expected deny, got allow by payments/small, reason allowed"
    );
}

/// The begin of each mistake, in order.
fn check(policy: &str, expected: &[&str]) {
    let found: Vec<String> =
        bundle(policy).err().unwrap_or_default().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
}

#[test]
fn all_mistakes_are_found_at_once_with_their_places() {
    check(POLICY, &[]);
    check(
        "language: 2\npolicy: pay ments\nclauses:\n  - {id: a, tool: payment, then: alow, wen: {}}\n  - {id: b, tool: \"*\", then: allow}\n",
        &[
            "policies/payments.yaml:1:1: this program reads",
            "policies/payments.yaml:2:9: policy \"pay ments\"",
        ],
    );
    check(
        "language: 1\npolicy: p\nclauses:\n  - {id: a, tool: payment, then: allow, wen: {}}\n  - {id: b, tool: \"*\", then: allow, agents: [\"@nobody\"]}\n  \
         - {id: b, tool: payments, actions: [pay], then: deny, when: {params: {amount: {integer: {at_mots: 1}}}}}\n",
        &[
            "policies/payments.yaml:4:5: a: tools.yaml has no tool \"payment\": it has payments, search",
            "policies/payments.yaml:4:41: wen is unknown here: did you mean when?",
            "policies/payments.yaml:5:5: b: no agent of agents.yaml is in the group nobody",
            "policies/payments.yaml:5:19: an allow clause names its tool",
            "policies/payments.yaml:6:5: b: tools.yaml has no action \"pay\" of payments: it has payout, transfer",
            "policies/payments.yaml:6:5: two clauses of p are called \"b\"",
            "policies/payments.yaml:6:73: \"amount\" is no JSON Pointer",
            "policies/payments.yaml:6:91: give one of over",
            "policies/payments.yaml:6:92: at_mots is unknown here: did you mean at_most?",
        ],
    );
}

/// The changes from the policy to the policy with `old` replaced by `new`.
fn check_diff(old: &str, new: &str, expected: &[&str]) {
    assert!(POLICY.contains(old), "{old}");
    let (before, after) = (bundle(POLICY).unwrap(), bundle(&POLICY.replacen(old, new, 1)).unwrap());
    let changes = crate::policy::diff(&before, &after);
    let told: Vec<String> =
        changes.iter().map(|c| format!("{}: {}: {}", c.what, c.text, c.says())).collect();
    assert_eq!(told, expected);
}

/// Each of these says something that nobody can mean.
#[test]
fn what_can_not_be_meant_is_a_mistake() {
    let clause = |rest: &str| {
        format!("language: 1\npolicy: p\nclauses:\n  - {{id: a, tool: payments, {rest}}}\n")
    };
    for (rest, says) in [
        ("then: deny, when: {params: {/to/*: {equals: x}}}", "some: true"),
        ("then: approval_needed, when: {params: {/to: {each: {equals: x}}}}", "some: true"),
        ("then: deny, when: {chain: {through: [\"@plannres\"]}}", "no agent or group"),
        ("then: deny, when: {chain: {through: [planer-bot]}}", "no agent or group"),
        ("then: deny, when: {params: {/a: {integer: {over: 5, under: 6}}}}", "no number"),
        (
            "then: deny, when: {amount: {minor: /a, currency: /c, over: {EUR: 9}, at_most: {EUR: 9}}}",
            "no amount in EUR",
        ),
        ("then: deny, when: {params: {/a: {one_of: []}}}", "one_of is empty"),
        ("then: deny, when: {region: [\"\"]}", "empty text"),
        (
            "then: deny, when: {egress: {at: [/u], hosts: [a.example], methods: {at: /m}}}",
            "add one_of",
        ),
        (
            "then: deny, when: {egress: {at: [/u], hosts: [a.example], paths: [\"/v1*\"]}}",
            "after a `/`",
        ),
        ("then: deny, when: {params: {/a: {equals: x, some: true}}}", "for pointers with `*`"),
        (
            "then: allow, actions: [payout], when: {not: {params: {/to/*: {equals: x}}}}",
            "some: true",
        ),
        (
            "then: deny, when: {egress: {at: [/u], hosts: [a.example]}}",
            "in a deny clause write `not",
        ),
        (
            "then: allow, actions: [payout], when: {not: {egress: {at: [/u], hosts: [a.example]}}}",
            "remove `not`",
        ),
        ("then: deny, when: {data: {classes: [health]}}", "in a deny clause write `not"),
        ("then: deny, when: {parent: {}}", "a parent has tool, actions or unchanged"),
        ("then: deny, when: {parent: {unchanged: [iban]}}", "no JSON Pointer"),
        ("then: deny, when: {parent: {unchanged: [/a/*]}}", "without `*`"),
        ("then: deny, when: {parent: {actions: [payout]}}", "add tool"),
        ("then: deny, when: {parent: {tool: nothing}}", "no tool \"nothing\""),
        ("then: deny, when: {parent: {tool: payments, actions: [fly]}}", "no action \"fly\""),
        ("then: deny, freeze: run", "freeze is agent or session"),
        ("then: allow, actions: [payout], freeze: agent", "only a clause that denies freezes"),
    ] {
        let found = bundle(&clause(rest)).err().unwrap_or_default();
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains(says)), "{rest}: {told:?}");
    }
}

#[test]
fn a_reviewer_reads_what_changes_and_what_it_does() {
    check_diff("large", "large", &[]);
    check_diff(
        "at_most: {EUR: 5000000,",
        "at_most: {EUR: 10000000,",
        &["payments/large: at_most EUR 5,000,000 → 10,000,000 minor units: read it"],
    );
    check_diff(
        "over: {EUR: 500000, USD: 550000}, ",
        "over: {EUR: 600000, USD: 550000}, ",
        &["payments/large: over EUR 500,000 → 600,000 minor units: read it"],
    );
    check_diff(
        "    when: {chain: {through: [planner-bot]}}\n    then: deny\n",
        "    when: {chain: {through: [planner-bot]}}\n    then: deny\n    freeze: agent\n",
        &["payments/planner-never-pays: a match freezes: was nothing, is agent: less is allowed"],
    );
    check_diff(
        "      params: {/reference: {matches: \"INV-[0-9]{6}\"}}\n",
        "",
        &[
            "payments/small: /reference: the condition is gone; was {matches: \"INV-[0-9]{6}\"}: more is allowed",
        ],
    );
    check_diff(
        "INV-[0-9]{6}",
        "INV-.*",
        &[
            "payments/small: /reference: was {matches: \"INV-[0-9]{6}\"}; is {matches: \"INV-.*\"}: read it",
        ],
    );
    check_diff(
        "then: approval_needed",
        "then: allow",
        &[
            "payments/large: was: ask people for payout, transfer of payments by @finance-bots, on conditions; is: allow payout, \
           transfer of payments by @finance-bots, on conditions: more is allowed",
        ],
    );
    check_diff(
        "actions: [transfer, payout]",
        "actions: [transfer]",
        &["payments/small: actions: payout is gone: less is allowed"],
    );
    check_diff(
        "    when: {chain: {through: [planner-bot]}}\n    then: deny",
        "    when: {chain: {through: [planner-bot]}}\n    enforcement: {shadow: true}\n    then: deny",
        &["payments/planner-never-pays: enforcement: was in force, is in shadow: more is allowed"],
    );
    check_diff(
        "at_most: {EUR: 500000, USD: 550000}}",
        "at_most: {EUR: 900000, USD: 550000, CHF: 1}}",
        &[
            "payments/small: at_most EUR 500,000 → 900,000 minor units: more is allowed",
            "payments/small: amount: was {at_most: {EUR: 500000, USD: 550000}, currency: \"/currency\", minor: \"/amount\"}; is \
             {at_most: {CHF: 1, EUR: 900000, USD: 550000}, currency: \"/currency\", minor: \"/amount\"}: read it",
        ],
    );
    check_diff(
        "id: planner-never-pays",
        "id: no-planner",
        &[
            "payments/planner-never-pays: removed: deny every action of payments by every agent, on conditions: chain: {through: [\"planner-bot\"]}: more is allowed",
            "payments/no-planner: new: deny every action of payments by every agent, on conditions: chain: {through: [\"planner-bot\"]}: less is allowed",
        ],
    );
}

/// A clause in shadow changes nothing, and the words say so; what it would do comes last.
#[test]
fn a_reviewer_reads_that_a_clause_in_shadow_changes_nothing() {
    const DENY: &str = "    when: {chain: {through: [planner-bot]}}\n    then: deny\n";
    let with = |more: &str| POLICY.replacen(DENY, &format!("{DENY}    {more}\n"), 1);
    let tell = |before: &str, after: &str| -> Vec<String> {
        let changes = crate::policy::diff(&bundle(before).unwrap(), &bundle(after).unwrap());
        assert!(changes.is_sorted_by_key(|change| change.consequence().is_none()));
        changes.iter().map(|c| format!("{}: {}", c.text, c.says())).collect()
    };
    let check = |before: &str, after: &str, expected: &[&str]| {
        let told = tell(before, after);
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.ends_with(expected), "{told} is not {expected}");
        }
    };
    let shadow = with("enforcement: {shadow: true}");
    let zero = with("enforcement: {steps: [{percent: 0}]}");
    let steps = with("enforcement: {steps: [{percent: 10}]}");
    let without = POLICY.split("  - id: planner").next().unwrap();
    check(
        without,
        &shadow,
        &["nothing changes while it is in shadow; in force, it would allow less"],
    );
    check(
        without,
        &zero,
        &["nothing changes while it is in shadow; in force, it would allow less"],
    );
    check(without, &steps, &["]}: less is allowed, for agents for whom it is in force"]);
    check(&shadow, without, &["nothing changes: it was in shadow"]);
    check(
        &shadow,
        &zero,
        &["nothing changes while it is in shadow; in force, it would allow less"],
    );
    check(&shadow, POLICY, &["is in force: less is allowed"]);
    check(&shadow, &steps, &["less is allowed, for agents for whom it is in force"]);
    check(&steps, &shadow, &["more is allowed, for agents for whom it is in force"]);
    check(POLICY, &steps, &["more is allowed"]);
    let narrower = shadow
        .replace("tool: payments\n    when", "tool: payments\n    actions: [payout]\n    when");
    check(
        &shadow,
        &narrower,
        &["nothing changes while it is in shadow; in force, it would allow more"],
    );
    // A deny that becomes an allow in shadow is gone.
    let allows = narrower.replace("then: deny", "then: allow");
    check(
        POLICY,
        &allows,
        &[
            "enforcement: was in force, is in shadow: more is allowed",
            "in force, it would allow more",
            "in force, it would allow less",
        ],
    );
    let wider = allows.replace(
        "EUR: 500000, USD: 550000}}\n      params",
        "EUR: 600000, USD: 550000}}\n      params",
    );
    assert!(tell(&allows, &wider)[0].ends_with("minor units: more is allowed"));
    let told = bundle(&narrower).unwrap();
    assert_eq!(crate::policy::diff(&told, &told), []);
}
