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
