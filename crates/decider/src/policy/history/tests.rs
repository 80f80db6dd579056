use super::*;
use crate::{
    decision::Fields,
    policy::{Bundle, Facts, Mistake, Ruling, Source, diff},
};
use ledger::{
    history::{Decided, Row},
    time::Nanos,
};

const AGENTS: &str = "language: 1\nagents:\n  - {id: bot, owners: [p-ana]}\n";
const TOOLS: &str = "language: 1\ntools:\n  - {name: bank, actions: [{name: pay, effect: write}, {name: see, effect: read}]}\n";
const NOW: &str = "2026-11-20T09:05:00Z";
const FIRST: &str = "{call: {tool: bank, actions: [pay]}, verdicts: [allow], within: 24h, same: session, count: {max: 0}}";
const EQUAL: &str = "{call: {tool: bank, actions: [pay]}, verdicts: [allow], equal: {/payee: /payee}, within: 24h, same: agent, count: {max: 0}}";
const FAILED: &str = "{call: {tool: bank, actions: [pay]}, verdicts: [allow], outcome: [failed], within: 24h, same: agent, count: {min: 2}}";

fn bundle(clauses: &str) -> Result<Bundle, String> {
    let text = format!("language: 1\npolicy: p\nclauses:\n{clauses}");
    let sources = [("agents.yaml", AGENTS), ("tools.yaml", TOOLS), ("policies/p.yaml", &*text)];
    let sources = sources.map(|(path, text)| Source { path, bytes: text.as_bytes() });
    let told = |mistakes: Vec<Mistake>| {
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    Bundle::read(&sources).map_err(told)
}

fn allowing(history: &str) -> Bundle {
    bundle(&format!(
        "  - {{id: a, agents: [bot], tool: bank, actions: [pay], when: {{history: {history}}}, then: allow}}\n"
    ))
    .unwrap()
}

/// Earlier decisions: seconds before now, verdict, outcome, and the payload.
struct Before(Vec<(u64, &'static str, Option<Outcome>, &'static str)>, u64);

impl Past for Before {
    type Error = ();

    fn as_of(&self) -> u64 {
        self.1
    }

    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), ()> {
        assert_eq!((&*row.tool, &*row.action), ("bank", "pay"));
        for (index, (ago, verdict, outcome, _)) in self.0.iter().enumerate().rev() {
            let at = Nanos(Nanos::parse(NOW).unwrap().0 - ago * 1_000_000_000);
            if !visit(index as u64, &Decided::alone(at, verdict, *outcome)) {
                break;
            }
        }
        Ok(())
    }

    fn fields(&mut self, index: u64) -> Result<Fields, ()> {
        let payload: serde_json::Value =
            serde_json::from_str(self.0[index as usize].3).unwrap_or_default();
        let field = |(name, value): (&String, &serde_json::Value)| {
            (name.clone(), ledger::canonical::of(value))
        };
        Ok(payload.as_object().into_iter().flatten().map(field).collect())
    }
}

fn judge(history: &str, before: &mut Before, expected: &str) {
    let bundle = allowing(history);
    let text = r#"{"agent":{"id":"bot","session":"s-1"},"params":{"payee":"DE1"},"tool":{"action":"pay","name":"bank"}}"#;
    let value = ledger::json::parse(text.as_bytes()).unwrap();
    let request = Request::read(&value).unwrap();
    let mut facts = bundle.facts(Nanos::parse(NOW).unwrap(), false);
    bundle.count_earlier(&request, &mut facts, before).unwrap();
    assert!(bundle.accepts(&facts));
    let ruling = Ruling::of(&bundle, 1, &request, &facts);
    let counted = facts.history.first().expect("it is needed");
    let why = ruling.error.map(|(at, why)| format!(" {at}: {why}")).unwrap_or_default();
    let found = format!("{} {} {:?}{why}", ruling.verdict.as_str(), ruling.code, counted.of);
    assert_eq!(found, expected, "{:?}", before.0);
    assert_eq!(ruling.history.len(), 1, "posting compares what it rests on");
    let text = serde_json::to_vec(&facts).unwrap();
    assert_eq!(serde_json::from_slice::<Facts>(&text).unwrap(), facts);
}

#[test]
fn p15_decisions_count_by_verdict_and_time_and_only_those_that_were_read() {
    let allow = |ago| (ago, "allow", None, "");
    let day = 86_400;
    let check = |before: &[u64], as_of, expected: &str| {
        let before = before.iter().map(|ago| allow(*ago)).collect();
        judge(FIRST, &mut Before(before, as_of), expected);
    };
    check(&[], 0, "allow allowed []");
    check(&[10], 1, "deny no_clause [0]");
    check(&[10], 0, "allow allowed []");
    check(&[day], 1, "allow allowed []");
    check(&[day - 1], 1, "deny no_clause [0]");
    // One is enough: counting ends there.
    check(&[30, 20, 10], 3, "deny no_clause [2]");
    let mut denied = Before(vec![(10, "deny", None, "")], 1);
    judge(FIRST, &mut denied, "allow allowed []");
}

#[test]
fn p15_outcomes_count_once_they_are_reported() {
    let failed = |ago| (ago, "allow", Some(Outcome::Failed), "");
    judge(FAILED, &mut Before(vec![failed(30), failed(20)], 2), "allow allowed [0, 1]");
    let succeeded = (20, "allow", Some(Outcome::Succeeded), "");
    judge(FAILED, &mut Before(vec![failed(30), succeeded], 2), "deny no_clause [0]");
    judge(FAILED, &mut Before(vec![failed(30), (20, "allow", None, "")], 2), "deny no_clause [0]");
}

#[test]
fn p16_values_of_earlier_calls_are_compared_and_what_is_gone_is_an_error() {
    let call = |payload| (10, "allow", None, payload);
    let same = r#"{"params":{"payee":"DE1"},"/data/facts":{}}"#;
    let other = r#"{"params":{"payee":"DE2"},"/data/facts":{}}"#;
    let absent = r#"{"params":{},"/data/facts":{}}"#;
    let redacted =
        r#"{"params":{"payee":"[X]"},"/data/facts":{"redacted":{"found":[{"at":"/payee"}]}}}"#;
    let elsewhere =
        r#"{"params":{"payee":"DE2"},"/data/facts":{"redacted":{"found":[{"at":"/payees"}]}}}"#;
    let kept = r#"{"params":{"payee":"[X]"},"received":{"payee":"DE1"},"/data/facts":{"redacted":{"found":[{"at":"/payee"}]}}}"#;
    let check = |before: &[&'static str], expected: &str| {
        let all: Vec<_> = before.iter().map(|payload| call(*payload)).collect();
        let as_of = all.len() as u64;
        judge(EQUAL, &mut Before(all, as_of), expected);
    };
    check(&[other, absent, elsewhere], "allow allowed []");
    check(&[same, other], "deny no_clause [0]");
    check(&[kept], "deny no_clause [0]");
    check(&[other, "{}"], "deny condition_error [] history: a value of an earlier call was erased");
    check(&[redacted], "deny condition_error [] history: a value of an earlier call was redacted");
    // Whatever was erased: one counts, and that is enough.
    check(&[same, "{}"], "deny no_clause [0]");
}

#[test]
fn p13_reading_is_bounded_and_beyond_it_the_condition_is_an_error() {
    let denied = |count| Before(vec![(10, "deny", None, ""); count], count as u64);
    judge(FIRST, &mut denied(READ_MAX), "allow allowed []");
    let many = "deny condition_error [] history: more earlier calls than may be read";
    judge(FIRST, &mut denied(READ_MAX + 1), many);
    let other = |count| {
        let payload = r#"{"params":{"payee":"DE2"},"/data/facts":{}}"#;
        Before(vec![(10, "allow", None, payload); count], count as u64)
    };
    judge(EQUAL, &mut other(EQUAL_READ_MAX), "allow allowed []");
    judge(EQUAL, &mut other(EQUAL_READ_MAX + 1), many);
}

#[test]
fn p16_a_call_without_what_is_compared_is_an_error() {
    let judged = |history: &str, text: &str| {
        let bundle = allowing(history);
        let value = ledger::json::parse(text.as_bytes()).unwrap();
        let request = Request::read(&value).unwrap();
        let mut facts = bundle.facts(Nanos::parse(NOW).unwrap(), false);
        bundle.count_earlier(&request, &mut facts, &mut Before(Vec::new(), 0)).unwrap();
        let ruling = Ruling::of(&bundle, 1, &request, &facts);
        ruling.error.map(|(_, why)| why).unwrap_or_default()
    };
    let bare = r#"{"agent":{"id":"bot"},"params":{},"tool":{"action":"pay","name":"bank"}}"#;
    assert_eq!(judged(FIRST, bare), "the call names no session");
    assert_eq!(judged(EQUAL, bare), "nothing there");
    let run = FIRST.replace("session", "run");
    assert_eq!(judged(&run, bare), "the call names no run");
}

#[test]
fn p15_a_verdict_is_nothing_without_its_counts() {
    let bundle = allowing(FIRST);
    let text =
        r#"{"agent":{"id":"bot","session":"s"},"params":{},"tool":{"action":"pay","name":"bank"}}"#;
    let value = ledger::json::parse(text.as_bytes()).unwrap();
    let request = Request::read(&value).unwrap();
    let facts = bundle.facts(Nanos::parse(NOW).unwrap(), false);
    let ruling = Ruling::of(&bundle, 1, &request, &facts);
    assert_eq!(ruling.verdict.as_str(), "deny");
    assert_eq!(ruling.error.unwrap().1, "what was decided before is not known");
    let mut more = facts.clone();
    bundle.count_earlier(&request, &mut more, &mut Before(Vec::new(), 0)).unwrap();
    more.history[0].up_to = 5;
    assert!(!bundle.accepts(&more), "no condition counts up to 5");
}

#[test]
fn p14_shadow_clauses_make_no_decision_void() {
    let text = format!(
        "  - {{id: a, agents: [bot], tool: bank, actions: [pay], then: allow}}\n  - {{id: b, tool: bank, when: {{history: {}}}, then: deny, enforcement: {{shadow: true}}}}\n",
        FIRST.replace("max: 0", "min: 1")
    );
    let bundle = bundle(&text).unwrap();
    let text =
        r#"{"agent":{"id":"bot","session":"s"},"params":{},"tool":{"action":"pay","name":"bank"}}"#;
    let value = ledger::json::parse(text.as_bytes()).unwrap();
    let request = Request::read(&value).unwrap();
    let mut facts = bundle.facts(Nanos::parse(NOW).unwrap(), false);
    let mut before = Before(vec![(10, "allow", None, "")], 1);
    bundle.count_earlier(&request, &mut facts, &mut before).unwrap();
    let ruling = Ruling::of(&bundle, 1, &request, &facts);
    assert_eq!(ruling.shadow.map(|shadow| shadow.verdict.as_str()), Some("deny"));
    assert_eq!((ruling.verdict.as_str(), ruling.history.len()), ("allow", 0));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let check = |history: &str, rest: &str, expected: &str| {
        let told = bundle(&format!(
            "  - {{id: a, agents: [bot], tool: bank, actions: [see], when: {{history: {history}}}, then: allow{rest}}}\n"
        ))
        .expect_err(history);
        assert!(told.contains(expected), "{history}\n{told}");
        assert!(told.starts_with("policies/p.yaml:4:"), "{told}");
    };
    for (from, to, expected) in [
        ("call: {tool: bank, actions: [pay]}, ", "", "add call"),
        ("tool: bank, ", "", "add tool"),
        (", actions: [pay]", "", "add actions"),
        ("tool: bank", "tool: \"*\"", "name it"),
        ("tool: bank", "tool: mail", "tools.yaml has no tool"),
        ("[pay]", "[payout]", "tools.yaml has no action"),
        ("verdicts: [allow], ", "", "add verdicts"),
        ("[allow]", "[allowed]", "verdicts are allow"),
        ("24h", "32d", "at most 31d"),
        ("within: 24h, ", "", "add within"),
        ("session", "tenant", "same is agent"),
        ("same: session, ", "", "add same"),
        ("{max: 0}", "{}", "count has min"),
        ("{max: 0}", "3", "count has min"),
        ("{max: 0}", "{max: 101}", "max is 0 to 100"),
        ("{max: 0}", "{max: -1}", "max is 0 to 100"),
        ("{max: 0}", "{min: 2, max: 1}", "min is above max"),
        ("{max: 0}", "{min: 0}", "always true"),
        (", count: {max: 0}", "", "add count"),
        ("count:", "outcome: [done], count:", "outcome lists"),
        ("count:", "equal: {payee: /payee}, count:", "no JSON Pointer"),
        ("count:", "equal: {/a/*: /a}, count:", "no `*` here"),
        ("count:", "equal: {}, count:", "equal has 1 to 4"),
        ("count:", "per: agent, count:", "per is unknown"),
    ] {
        let changed = FIRST.replacen(from, to, 1);
        assert_ne!(changed, FIRST, "{from}");
        check(&changed, "", expected);
    }
    check(FIRST, ", record: later", "counts earlier decisions for its calls");
}

#[test]
fn reviewers_read_each_bound_that_moves() {
    let with = |max: &str, min: &str| {
        let both = format!(
            "{{any: [{{history: {}}}, {{history: {}}}]}}",
            FIRST.replace("max: 0", max),
            FAILED.replace("min: 2", min)
        );
        bundle(&format!(
            "  - {{id: a, agents: [bot], tool: bank, actions: [pay], when: {both}, then: allow}}\n"
        ))
        .unwrap()
    };
    let (old, new) = (with("max: 0", "min: 2"), with("max: 1", "min: 3"));
    let changes: Vec<String> = diff(&old, &new)
        .into_iter()
        .map(|change| format!("{:?} {}", change.consequence().unwrap(), change.text))
        .collect();
    assert_eq!(
        changes,
        [
            "More history of pay of bank by session (allow) in 86400 s: at_most 0 → 1",
            "Less history of pay of bank by agent (allow; failed) in 86400 s: at_least 2 → 3",
        ]
    );
}

#[test]
fn warnings_are_told() {
    let told = |history: &str| {
        let bundle = allowing(history);
        bundle.warnings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let asked = FIRST.replace("[allow]", "[approval_needed]").replace("max: 0", "min: 1");
    assert!(told(&asked).contains("add outcome: [succeeded]"), "{}", told(&asked));
    let done = asked.replace("within", "outcome: [succeeded], within");
    assert_eq!(told(&done), "");
    assert_eq!(told(FIRST), "");
}
