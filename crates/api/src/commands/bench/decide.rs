//! The pure evaluation of policies: 200 clauses, 5 of which match, spread over ten tools and all of one tool; and the
//! redaction of a body of 4 KiB by every detector.

use super::Report;
use crate::commands::Failed;
use decider::policy::{Bundle, Facts, Request, Source};
use ledger::json;
use serde_json::json;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Bytes of the body that is redacted.
const BODY_BYTES: usize = 4096;
const PLAIN: &str = "language: 1\npolicy: p\nclauses:\n  - {id: a, agents: [bot], tool: tool-0, actions: [transfer], then: allow}\n";
const REDACTING: &str = "language: 1\npolicy: p\nclauses:\n  - {id: a, agents: [bot], tool: tool-0, actions: [transfer], then: allow}\n  \
    - {id: b, tool: tool-0, then: sanitize, redact: [{at: \"\", detect: [iban, card, email, phone, us-ssn, date-of-birth, medical-record, secrets]}]}\n";
/// Clauses, and those of them that match.
const CLAUSES: usize = 200;
const MATCHING: usize = 5;
/// Calls between two looks at the clock.
const ROUND: u32 = 1000;

const AGENTS: &str = "language: 1\nagents:\n  - {id: bot, groups: [bots], owners: [p-ana]}\n  - {id: other, owners: [p-ana]}\n";
/// Tools over which clauses are spread.
pub const TOOLS: usize = 10;
const CALL: &str = r#"{"agent": {"id": "bot"}, "tool": {"name": "tool-0", "action": "transfer"},
 "params": {"amount": 125000, "currency": "EUR", "reference": "INV-004711", "url": "https://api.example.eu/v1/transfers"}}"#;

/// Measures judgements, and the reading of the call, which every decision over HTTP needs.
pub fn run(report: &mut Report, time: Duration) -> Result<(), Failed> {
    let wrong = |what: String| Failed::new(super::super::EXIT_FAILED, what);
    let body = json::parse(CALL.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let request = Request::read(&body).map_err(wrong)?;
    let facts = Facts::default();
    let mut judged = Vec::new();
    for tools in [TOOLS, 1] {
        let bundle = bundle(tools).map_err(wrong)?;
        let matched = bundle.judge(&request, &facts).clauses.len();
        if matched != MATCHING {
            return Err(wrong(format!("{matched} clauses match, not {MATCHING}")));
        }
        judged.push(each(time, || {
            black_box(bundle.judge(black_box(&request), &facts));
        }));
    }
    let read = each(time, || {
        let body = json::parse(black_box(CALL.as_bytes()));
        black_box(body.is_ok_and(|body| Request::read(&body).is_ok()));
    });
    let text = format!(
        "{:.2} µs a call against {CLAUSES} clauses over {TOOLS} tools, {MATCHING} match (asked: 3 µs); {:.2} µs if all \
         are of its tool; to read the call as JSON takes {read:.2} µs",
        judged[0], judged[1]
    );
    let value = json!({"judge_us": judged[0], "one_tool_us": judged[1], "read_us": read});
    report.row("policies, pure evaluation", &text, value);
    redaction(report, time).map_err(wrong)
}

/// Measures a call with a body of 4 KiB, judged with every detector of the set and without any.
fn redaction(report: &mut Report, time: Duration) -> Result<(), String> {
    let line = "Dear team, invoice 4711 of 12 March was paid on Friday, ref. AB-2026/17; see the attached list. ";
    let mut text = line.repeat(BODY_BYTES / line.len());
    text.push_str("Pay DE89 3704 0044 0532 0130 00 or card 4111 1111 1111 1111.");
    let call = json!({
        "agent": {"id": "bot"}, "tool": {"name": "tool-0", "action": "transfer"}, "params": {"body": text},
    });
    let call = call.to_string();
    let body = json::parse(call.as_bytes()).map_err(|error| error.to_string())?;
    let request = Request::read(&body)?;
    let facts = Facts::default();
    let mut took = Vec::new();
    for (policy, verdict) in [(PLAIN, "allow"), (REDACTING, "sanitize")] {
        let policy = ("policies/bench.yaml", policy.to_owned());
        let bundle = read(&[("agents.yaml", AGENTS.to_owned()), tools(1), policy])?;
        let judged = bundle.judge(&request, &facts).verdict.as_str();
        if judged != verdict {
            return Err(format!("the verdict is {judged}, not {verdict}"));
        }
        took.push(each(time, || {
            black_box(bundle.judge(black_box(&request), &facts));
        }));
    }
    let (plain, whole) = (took[0], took[1]);
    let text = format!(
        "{:.0} µs for a body of {} KiB by the whole set, two values replaced (asked: 200 µs)",
        whole - plain,
        BODY_BYTES / 1024
    );
    report.row("redaction", &text, json!({"us": whole - plain}));
    Ok(())
}

/// The files of the bundle, by path.
pub fn files(tools: usize) -> [(&'static str, String); 3] {
    [("agents.yaml", AGENTS.to_owned()), self::tools(tools), ("policies/bench.yaml", policy(tools))]
}

/// `tools.yaml` with so many tools.
fn tools(tools: usize) -> (&'static str, String) {
    let tool = |n: usize| {
        format!(
            "  - {{name: tool-{n}, actions: [{{name: transfer, effect: write}}, {{name: look, effect: read}}, \
             {{name: read, effect: read}}, {{name: spend, effect: write}}]}}\n"
        )
    };
    let listed =
        format!("language: 1\ntools:\n{}", (0..tools).map(tool).collect::<Vec<_>>().concat());
    ("tools.yaml", listed)
}

fn bundle(tools: usize) -> Result<Bundle, String> {
    read(&files(tools))
}

fn read(files: &[(&'static str, String); 3]) -> Result<Bundle, String> {
    let sources = files.each_ref().map(|(path, text)| Source { path, bytes: text.as_bytes() });
    Bundle::read(&sources).map_err(|mistakes| format!("{mistakes:?}"))
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

/// Each clause has a regular expression, an egress and an amount condition. Of the call's tool, every other clause
/// is for another agent, and all but the first ones end at their amount.
fn policy(tools: usize) -> String {
    let clause = |number: usize| {
        let (tool, nth) = (number % tools, number / tools);
        let agent = if nth.is_multiple_of(2) { "\"@bots\"" } else { "other" };
        let at_most = if nth < 2 * MATCHING { 500_000 } else { 1000 + number };
        format!(
            "  - id: c{number:03}\n    agents: [{agent}]\n    tool: tool-{tool}\n    actions: [transfer]\n    when:\n      \
             amount: {{minor: /amount, currency: /currency, at_most: {{EUR: {at_most}}}}}\n      \
             params: {{/reference: {{matches: \"INV-[0-9]{{6}}\"}}}}\n      \
             egress: {{at: [/url], hosts: [\"*.example.eu\"], paths: [\"/v1/*\"]}}\n    then: allow\n"
        )
    };
    let clauses: String = (0..CLAUSES).map(clause).collect::<Vec<_>>().concat();
    format!("language: 1\npolicy: bench\nclauses:\n{clauses}")
}
