use super::*;
use crate::{
    decision::Fields,
    policy::{Source, diff},
};
use ledger::{
    history::{Decided, Row},
    time::Nanos,
};

const AGENTS: &str = "language: 1\nagents:\n  - {id: bot, groups: [bots], owners: [p-ana]}\n  - {id: free, owners: [p-ana]}\n";
const TOOLS: &str = "language: 1\ntools:\n  - {name: llm, actions: [{name: ask, effect: read}]}\n  - {name: bank, actions: [{name: pay, effect: write}, {name: see, effect: read}]}\n";
const COST: &str = "{id: day, agents: [\"@bots\"], tool: llm, sum: cost, per: agent, window: day, zone: UTC, max: {USD: \"20.00\"}, warn_at: 80, at_cap: deny}";
const PAY: &str = "{id: pay, tool: bank, actions: [pay], sum: {minor: /amount, currency: /currency}, per: all, window: month, zone: Europe/Berlin, max: {EUR: 5000000}, at_cap: approval_needed, message: Ask finance.}";
const RATE: &str = "{id: fast, tool: llm, per: agent, burst: 5, per_second: 5, at_cap: deny}";

fn text(budgets: &[&str], rates: &[&str]) -> String {
    let list = |name: &str, of: &[&str]| {
        if of.is_empty() { String::new() } else { format!("{name}: [{}]\n", of.join(", ")) }
    };
    let clauses = "clauses:\n  - {id: a, agents: [bot, free], tool: llm, actions: [ask], then: allow}\n  - {id: b, agents: [bot], tool: bank, actions: [pay, see], then: allow}\n";
    format!("language: 1\npolicy: p\n{clauses}{}{}", list("budgets", budgets), list("rates", rates))
}

fn read(text: &str) -> Result<Bundle, String> {
    let sources = [("agents.yaml", AGENTS), ("tools.yaml", TOOLS), ("policies/p.yaml", text)];
    let sources = sources.map(|(path, text)| Source { path, bytes: text.as_bytes() });
    let told = |mistakes: Vec<crate::policy::Mistake>| {
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    Bundle::read(&sources).map_err(told)
}

/// What is there: booked on each budget, and calls left of each rate.
struct Shelf(u64, u32);

impl Past for Shelf {
    type Error = ();

    fn as_of(&self) -> u64 {
        0
    }

    fn earlier(&mut self, _: &Row, _: &mut dyn FnMut(u64, &Decided) -> bool) -> Result<(), ()> {
        Ok(())
    }

    fn fields(&mut self, _: u64) -> Result<Fields, ()> {
        Ok(Fields::new())
    }
}

impl Stock for Shelf {
    fn counted(&mut self, _: &Asked) -> Result<u64, ()> {
        Ok(self.0)
    }

    fn take(&mut self, _: &RateOf<'_>) -> bool {
        let left = self.1 > 0;
        self.1 = self.1.saturating_sub(1);
        left
    }
}

/// Verdict, code, clause, and what is asked, for a call with what is booked before and calls left.
fn judged(bundle: &Bundle, call: &str, (booked, left): (u64, u32)) -> String {
    let body = if call.contains("\"tool\"") {
        format!("{{{call}}}")
    } else {
        format!(r#"{{"agent":{{"id":"bot"}},{call}"tool":{{"name":"llm","action":"ask"}}}}"#)
    };
    let value = ledger::json::parse(body.as_bytes()).unwrap();
    let request = Request::read(&value).unwrap();
    let now = Nanos::parse("2026-11-20T09:05:00Z").unwrap();
    let (mut facts, mut shelf) = (bundle.facts(now, false), Shelf(booked, left));
    bundle.stock_up(&request, &mut facts, &mut shelf).unwrap();
    assert!(bundle.accepts(&facts));
    let ruling = crate::policy::Ruling::of(bundle, 1, &request, &facts);
    let asked = |asked: &Asked| {
        let Asked { id, key, sum, booked, currency, .. } = asked;
        let (key, currency) = (key.as_deref().unwrap_or("-"), currency.as_deref().unwrap_or("-"));
        format!(" {id}:{key}:{currency}:{sum}:{}", booked.as_str())
    };
    let asked: String = ruling.asked.iter().map(asked).collect();
    let why = ruling.error.map(|(at, why)| format!(" {at}: {why}")).unwrap_or_default();
    let clause = ruling.clause.unwrap_or_default();
    format!("{} {} {clause}{why}{asked}", ruling.verdict.as_str(), ruling.code)
}

#[test]
fn p18_a_call_is_booked_within_the_cap_and_refused_above_it() {
    let bundle = read(&text(&[COST], &[])).unwrap();
    let cost = r#""cost":{"amount":"0.02","currency":"USD"},"#;
    let check = |booked, expected: &str| assert_eq!(judged(&bundle, cost, (booked, 0)), expected);
    check(0, "allow allowed p/a p/day:bot:USD:20000:within");
    check(19_980_000, "allow allowed p/a p/day:bot:USD:20000:within");
    check(19_980_001, "deny budget_exceeded p/day p/day:bot:USD:20000:refused");
    check(u64::MAX, "deny budget_exceeded p/day p/day:bot:USD:20000:refused");
    // The budget is not for this agent, and an unregistered one is denied before it.
    let other = |id: &str| {
        format!(r#""agent":{{"id":"{id}"}},{cost}"tool":{{"name":"llm","action":"ask"}}"#)
    };
    assert_eq!(judged(&bundle, &other("free"), (99_000_000, 0)), "allow allowed p/a");
    assert_eq!(judged(&bundle, &other("who"), (0, 0)), "deny unknown_agent ");
}

/// The agent, tool and action of the fullest call are told; what is denied is exactly such a call.
#[test]
fn p18_a_call_with_too_many_budgets_is_denied_and_told() {
    let named = |range: std::ops::Range<usize>| -> Vec<String> {
        range.map(|nth| COST.replace("id: day", &format!("id: b{nth}"))).collect()
    };
    let check = |budgets: &[String], told: Option<&str>| {
        let budgets: Vec<&str> = budgets.iter().map(String::as_str).collect();
        let bundle = read(&text(&budgets, &[])).unwrap();
        let found = bundle.crowded().map(|(limit, text)| format!("{} {text}", limit.name));
        assert_eq!(found.is_some(), told.is_some(), "{found:?}");
        assert!(found.iter().all(|text| text.contains(told.unwrap())), "{found:?}");
        let warnings: Vec<_> = bundle.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(warnings.iter().any(|text| text.contains("budgets are for")), told.is_some());
        let cost = r#""cost":{"amount":"0.02","currency":"USD"},"#;
        let is_denied = judged(&bundle, cost, (0, 0)).contains("more than 4 budgets");
        assert_eq!(is_denied, told.is_some());
    };
    check(&named(0..4), None);
    check(&named(0..5), Some("p/b4 5 budgets are for a call of bot to llm (ask)"));
    check(&named(0..9), Some("p/b4 9 budgets"));
    // Those for another agent or tool do not count.
    let mut apart = named(0..4);
    apart.extend(named(4..7).iter().map(|one| one.replace("@bots", "free")));
    apart.push(PAY.to_owned());
    check(&apart, None);
    apart.push(
        COST.replace("id: day", "id: all").replace("agents: [\"@bots\"], tool: llm", "tool: \"*\""),
    );
    check(&apart, Some("5 budgets are for a call of bot to llm (ask)"));
}

#[test]
fn p16_p18_a_call_without_its_figure_is_denied() {
    let bundle = read(&text(&[COST, PAY], &[])).unwrap();
    let check = |call: &str, expected: &str| {
        let (budget, why) = expected.split_once(": ").unwrap();
        let found = judged(&bundle, call, (0, 0));
        assert_eq!(found, format!("deny condition_error {budget} {why}"), "{call}");
    };
    check("", "p/day: /cost: the call names no cost");
    check(r#""cost":{},"#, "p/day: /cost: the call names no cost");
    check(r#""cost":{"amount":"1"},"#, "p/day: /cost: the call names no cost");
    check(
        r#""cost":{"amount":"1","currency":"EUR"},"#,
        "p/day: /cost: a currency that is not listed",
    );
    for amount in ["-1", "1e3", "0x1", "1,0", ".5", "99999999999"] {
        let call = format!(r#""cost":{{"amount":"{amount}","currency":"USD"}},"#);
        check(&call, "p/day: /cost: no decimal number of 0 or more in a text");
    }
    let pay = |params: &str| {
        format!(
            r#""agent":{{"id":"bot"}},"params":{params},"tool":{{"name":"bank","action":"pay"}}"#
        )
    };
    for (params, why) in [
        ("{}", "no currency there"),
        (r#"{"amount":5}"#, "no currency there"),
        (r#"{"currency":"EUR"}"#, "no amount there"),
        (r#"{"amount":5,"currency":"USD"}"#, "a currency that is not listed"),
        (r#"{"amount":-5,"currency":"EUR"}"#, "an amount below 0"),
        (r#"{"amount":"5","currency":"EUR"}"#, "no whole number below 2^53"),
        (r#"{"amount":5.5,"currency":"EUR"}"#, "no whole number below 2^53"),
    ] {
        check(&pay(params), &format!("p/pay: /amount in /currency: {why}"));
    }
    let paid = pay(r#"{"amount":5,"currency":"EUR"}"#);
    assert_eq!(judged(&bundle, &paid, (0, 0)), "allow allowed p/b p/pay:-:EUR:5:within");
    let over = "approval_needed budget_exceeded p/pay p/pay:-:EUR:5:over";
    assert_eq!(judged(&bundle, &paid, (4_999_996, 0)), over);
    assert_eq!(judged(&bundle, &paid, (4_999_995, 0)), "allow allowed p/b p/pay:-:EUR:5:within");
    // An action that the budget does not name.
    let see = paid.replace("\"pay\"", "\"see\"");
    assert_eq!(judged(&bundle, &see, (9_000_000, 0)), "allow allowed p/b");
}

#[test]
fn p18_a_rate_counts_only_calls_that_would_be_let_through() {
    let bundle = read(&text(&[COST], &[RATE])).unwrap();
    let cost = r#""cost":{"amount":"0.02","currency":"USD"},"#;
    let within = "allow allowed p/a p/day:bot:USD:20000:within";
    assert_eq!(judged(&bundle, cost, (0, 1)), within);
    assert_eq!(judged(&bundle, cost, (0, 0)), "deny rate_limited p/fast");
    let refused = "deny budget_exceeded p/day p/day:bot:USD:20000:refused";
    assert_eq!(judged(&bundle, cost, (20_000_000, 0)), refused);
    assert_eq!(
        judged(&bundle, "", (0, 0)),
        "deny condition_error p/day /cost: the call names no cost"
    );
}

#[test]
fn p15_without_its_facts_nothing_is_allowed() {
    let bundle = read(&text(&[COST], &[RATE])).unwrap();
    let body = r#"{"agent":{"id":"bot"},"cost":{"amount":"0.02","currency":"USD"},"tool":{"name":"llm","action":"ask"}}"#;
    let value = ledger::json::parse(body.as_bytes()).unwrap();
    let request = Request::read(&value).unwrap();
    let whole = {
        let mut facts = bundle.facts(Nanos::parse("2026-11-20T09:05:00Z").unwrap(), false);
        bundle.stock_up(&request, &mut facts, &mut Shelf(0, 1)).unwrap();
        facts
    };
    let verdict = |facts: &Facts| crate::policy::Ruling::of(&bundle, 1, &request, facts).verdict;
    assert_eq!(verdict(&whole), Verdict::Allow);
    for facts in [
        Facts { booked: [].into(), ..whole.clone() },
        Facts { rates: [].into(), ..whole.clone() },
        Facts { windows: [].into(), ..whole.clone() },
    ] {
        assert_eq!(verdict(&facts), Verdict::Deny);
        assert_eq!(bundle.accepts(&facts), !facts.windows.is_empty());
    }
    let mut elsewhere = whole;
    let span = elsewhere.windows.get_mut("day UTC").unwrap();
    *span = Span { from: span.to, to: span.to.plus_seconds(86_400) };
    assert!(!bundle.accepts(&elsewhere), "a window of another day");
}

#[test]
fn mistakes_of_budgets_and_rates_are_told_with_their_place() {
    let check = |text: String, expected: &str| {
        let told = read(&text).expect_err(&text);
        assert!(told.contains(expected), "{text}\n{told}");
        assert!(told.starts_with("policies/p.yaml:"), "{told}");
    };
    let budget = |from: &str, to: &str| {
        let changed = COST.replace(from, to);
        assert_ne!(changed, COST, "{from}");
        text(&[&changed], &[])
    };
    check(budget("sum: cost", "sum: tokens"), "sum is calls, cost, or");
    check(budget("window: day", "window: year"), "window is hour, day, week or month");
    check(budget("window: day", "window: hour"), "an hour has no zone");
    check(budget("zone: UTC, ", ""), "add zone");
    check(budget("zone: UTC", "zone: Mars/Olympus"), "is no time zone");
    check(budget("per: agent", "per: tool"), "per is agent, session, run or all");
    check(budget("\"20.00\"", "20.00"), "");
    check(budget("\"20.00\"", "20"), "USD is a text, not a number: put it in quotes");
    check(budget("\"20.00\"", "\"-1\""), "write a decimal such as");
    check(budget("\"20.00\"", "\"0\""), "a cap is more than 0");
    check(budget("USD:", "usd:"), "is no currency");
    check(budget("warn_at: 80", "warn_at: 101"), "warn_at is a percentage");
    check(budget("at_cap: deny", "at_cap: warn"), "at_cap is deny or approval_needed");
    check(budget("tool: llm", "tool: mail"), "tools.yaml has no tool \"mail\"");
    check(budget("\"@bots\"", "\"@cats\""), "agents.yaml has no agent or group");
    check(budget("id: day", "id: a"), "are called \"a\": rename one");
    check(budget("id: day", "id: day, limit: 5"), "limit is unknown here");
    check(budget("sum: cost", "sum: calls"), "max of calls is a whole number");
    check(text(&[&PAY.replace("/amount", "/*/amount")], &[]), "leads to one value");
    check(text(&[], &[&RATE.replace("burst: 5", "burst: 0")]), "burst is 1 to");
    check(text(&[], &[&RATE.replace("at_cap: deny", "at_cap: approval_needed")]), "at_cap is deny");
    let early = text(&[COST], &[]).replace("then: allow}", "then: allow, record: later}");
    check(early, "p/day counts its calls");
}

#[test]
fn a_change_of_a_cap_says_what_it_does() {
    let read = |budgets: &[&str], rates: &[&str]| read(&text(budgets, rates)).unwrap();
    let check = |before: &Bundle, after: &Bundle, expected: &str| {
        let told: Vec<String> = diff(before, after)
            .iter()
            .map(|change| format!("{} {}: {}", change.what, change.text, change.says()))
            .collect();
        assert_eq!(told.join("\n"), expected);
    };
    let more = PAY.replace("5000000", "6000000");
    check(
        &read(&[PAY], &[]),
        &read(&[&more], &[]),
        "budget p/pay max EUR 5,000,000 minor units → EUR 6,000,000 minor units: more is allowed",
    );
    let less = COST.replace("20.00", "19.5");
    check(
        &read(&[COST], &[]),
        &read(&[&less], &[]),
        "budget p/day max USD 20.00 → USD 19.50: less is allowed",
    );
    check(
        &read(&[], &[RATE]),
        &read(&[], &[]),
        "rate p/fast removed: rate of every action of llm by every agent, per agent: 5 at once, 5 a second; then deny: more is allowed",
    );
    let asks = COST.replace("at_cap: deny", "at_cap: approval_needed");
    let found = diff(&read(&[COST], &[]), &read(&[&asks], &[]));
    assert!(
        found.len() == 1 && found[0].consequence() == Some(crate::policy::Consequence::Unclear)
    );
}

#[test]
fn p18_reviewers_are_told_that_another_sum_begins() {
    let one = |budget: &str| read(&text(&[budget], &[])).unwrap();
    let anew = |before: &str, after: &str| -> Vec<String> {
        let found = diff(&one(before), &one(after));
        let told = found.iter().filter(|change| change.text.contains("a new sum begins"));
        told.map(|change| format!("{}: {}", change.text, change.says())).collect()
    };
    let calls = COST.replace("sum: cost", "sum: calls").replace("{USD: \"20.00\"}", "100");
    let by_run = COST.replace("per: agent", "per: run").replace("window: day", "window: hour");
    let by_run = by_run.replace(", zone: UTC", "");
    for (before, after, words) in [
        (COST, &*calls, "(costs, per agent) does not count in it (calls, per agent)"),
        (&*calls, COST, "(calls, per agent) does not count in it (costs, per agent)"),
        (COST, &*by_run, "(costs, per agent) does not count in it (costs, per run)"),
    ] {
        let told = anew(before, after);
        assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
        assert!(told[0].ends_with(": more is allowed"), "{told:?}");
        let carried = diff(&one(before), &one(after)).iter().any(|c| c.text.contains(" too"));
        assert!(!carried, "nothing of before counts in another sum");
    }
    // These keep what is booked.
    let other = PAY.replace("/amount", "/total").replace("month", "day").replace("500", "400");
    assert_eq!(anew(PAY, &other), [""; 0]);
}
