//! The pure evaluation of policies: 200 clauses that name the call's tool, 5 of which match.

use super::Report;
use crate::commands::Failed;
use decider::policy::{Bundle, Facts, Request, Source};
use ledger::json;
use serde_json::json;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Clauses for the call's tool, and those of them that match.
const CLAUSES: usize = 200;
const MATCHING: usize = 5;
/// Calls between two looks at the clock.
const ROUND: u32 = 1000;

const AGENTS: &str = "language: 1\nagents:\n  - {id: bot, groups: [bots], owners: [p-ana]}\n  - {id: other, owners: [p-ana]}\n";
const TOOLS: &str =
    "language: 1\ntools:\n  - {name: payments, actions: [{name: transfer, effect: write}]}\n";
const CALL: &str = r#"{"agent": {"id": "bot"}, "tool": {"name": "payments", "action": "transfer"},
 "params": {"amount": 125000, "currency": "EUR", "reference": "INV-004711", "url": "https://api.example.eu/v1/transfers"}}"#;

/// Measures judgements, and the reading of the call as the floor of every decision over HTTP.
pub fn run(report: &mut Report, time: Duration) -> Result<(), Failed> {
    let policy = policy();
    let file = |path, text: &'static str| Source { path, bytes: text.as_bytes() };
    let sources = [
        file("agents.yaml", AGENTS),
        file("tools.yaml", TOOLS),
        Source { path: "policies/bench.yaml", bytes: policy.as_bytes() },
    ];
    let wrong = |what: String| Failed::new(super::super::EXIT_FAILED, what);
    let bundle = Bundle::read(&sources).map_err(|mistakes| wrong(format!("{mistakes:?}")))?;
    let body = json::parse(CALL.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let request = Request::read(&body).map_err(wrong)?;
    let facts = Facts::default();
    let matched = bundle.judge(&request, &facts).clauses.len();
    if matched != MATCHING {
        return Err(wrong(format!("{matched} clauses match, not {MATCHING}")));
    }
    let judged = each(time, || {
        black_box(bundle.judge(black_box(&request), &facts));
    });
    let read = each(time, || {
        let body = json::parse(black_box(CALL.as_bytes()));
        black_box(body.is_ok_and(|body| Request::read(&body).is_ok()));
    });
    let text = format!(
        "{judged:.2} µs a call against {CLAUSES} clauses of its tool, {MATCHING} match (asked: 3 µs); to read the call \
         as JSON takes {read:.2} µs"
    );
    report.row("policies, pure evaluation", &text, json!({"judge_us": judged, "read_us": read}));
    Ok(())
}

/// Mean time of a call, in microseconds.
fn each(time: Duration, mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut calls = 0.0;
    while begun.elapsed() < time {
        for _ in 0..ROUND {
            call();
        }
        calls += f64::from(ROUND);
    }
    begun.elapsed().as_secs_f64() * 1e6 / calls
}

/// Each clause has a regular expression, an egress and an amount condition; all but a few are for other agents or
/// end at their amount.
fn policy() -> String {
    let clause = |number: usize| {
        let agent = if number.is_multiple_of(2) { "\"@bots\"" } else { "other" };
        let at_most = if number < 2 * MATCHING { 500_000 } else { 1000 + number };
        format!(
            "  - id: c{number:03}\n    agents: [{agent}]\n    tool: payments\n    actions: [transfer]\n    when:\n      \
             amount: {{minor: /amount, currency: /currency, at_most: {{EUR: {at_most}}}}}\n      \
             params: {{/reference: {{matches: \"INV-[0-9]{{6}}\"}}}}\n      \
             egress: {{at: [/url], hosts: [\"*.example.eu\"], paths: [\"/v1/*\"]}}\n    then: allow\n"
        )
    };
    let clauses: String = (0..CLAUSES).map(clause).collect::<Vec<_>>().concat();
    format!("language: 1\npolicy: bench\nclauses:\n{clauses}")
}
