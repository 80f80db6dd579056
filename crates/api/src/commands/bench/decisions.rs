//! Decisions over HTTP, by the bundle of the pure measurement, beside events that are published as durably in the same
//! run.

use super::{
    Failed, Report, SINGLE_CLIENTS,
    decide::{self, TOOLS},
    load::{Done, Load, each, paced, request},
    ms,
    site::Site,
};
use data_encoding::BASE64URL_NOPAD;
use ledger::atomic;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

/// Clients of the comparison with other products, which were measured with so many.
const FEW_CLIENTS: usize = 32;
/// Questions of one batch, and clients that ask batches.
const BATCH: usize = 100;
const BATCH_CLIENTS: usize = 4;
/// Questions of each measurement, for each second that it shall take.
const QUESTIONS_A_SECOND: u64 = 2_500;
const BATCHES_A_SECOND: u64 = 100;
/// Questions a second of the open loop.
const OPEN_LOOP_RATE: u64 = 1_000;

/// The bench's bundle takes effect without review: one process asks and answers.
const RULES: &str = r#"
[[rule]]
name = "policies"
unreviewed = true
quorum = {at_least = 1, of = "policy"}
[rule.match]
tool = "countersign"

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "policy"}
owner = "none"
"#;
/// Reading calls: one kind is recorded first, one is told before. And one kind for which a budget is.
const READS: &str = "language: 1\npolicy: reads\nclauses:\n  \
    - {id: look, agents: [\"@bots\"], tool: tool-0, actions: [look], then: allow}\n  \
    - {id: read, agents: [\"@bots\"], tool: tool-0, actions: [read], then: allow, record: later}\n  \
    - {id: spend, agents: [\"@bots\"], tool: tool-0, actions: [spend], then: allow}\nbudgets:\n  \
    - {id: day, agents: [\"@bots\"], tool: tool-0, actions: [spend], sum: calls, per: agent, window: day, zone: UTC, max: 1000000000, at_cap: deny}\n";
const PEOPLE: &str = "[[person]]\nid = \"p-1\"\nname = \"Ana\"\ngroups = [\"policy\"]\n\n[[person]]\nid = \"p-2\"\nname = \"Bob\"\ngroups = [\"policy\"]\n";

/// Measures them.
pub async fn run(report: &mut Report, dir: &Path, time: Duration) -> Result<(), Failed> {
    let home = dir.join("decisions");
    let site = start(&home).await?;
    let load = Load::new(&site);
    let published = load.batches(SINGLE_CLIENTS, 1, time).await?;
    let floor = published.events as f64 / published.seconds;
    let (floor_p99, questions) = (published.latencies.at(99), QUESTIONS_A_SECOND * time.as_secs());
    let before = site.cpu();
    let done = ask(&site, SINGLE_CLIENTS, 0..questions, 1).await?;
    let cpu_us = (site.cpu() - before) * 1e6 / done.events as f64;
    let rate = done.events as f64 / done.seconds;
    let text = format!(
        "{rate:.0}/s at {SINGLE_CLIENTS} clients, p50 {} p99 {}, {cpu_us:.0} µs of the server's CPU each; single durable \
         events {floor:.0}/s, p99 {}; ratio {:.2} (asked: 0.70), p99 {:.2} times (asked: 1.5)",
        ms(done.latencies.at(50)),
        ms(done.latencies.at(99)),
        ms(floor_p99),
        rate / floor,
        done.latencies.at(99).as_secs_f64() / floor_p99.as_secs_f64(),
    );
    report.row("decisions", &text, json!({"rate": rate, "floor": floor, "ratio": rate / floor}));
    let few = ask(&site, FEW_CLIENTS, questions..questions + questions / 2, 1).await?;
    let text = format!(
        "{:.0}/s at {FEW_CLIENTS} clients, p99 {} (two products of this field, on such a machine: 551/s p99 97 ms, 759/s \
         p99 102 ms)",
        few.events as f64 / few.seconds,
        ms(few.latencies.at(99)),
    );
    report.row("decisions, few clients", &text, json!({"rate": few.events as f64 / few.seconds}));
    open_loop(report, (&site, &load), 2 * questions, time).await?;
    early_and_booked(report, &site, 3 * questions, questions).await?;
    let batches = BATCHES_A_SECOND * time.as_secs();
    let many = ask(&site, BATCH_CLIENTS, 6 * questions..6 * questions + batches, BATCH).await?;
    let ingest = load.batches(BATCH_CLIENTS, BATCH, time).await?;
    let (rate, floor) = (many.events as f64 / many.seconds, ingest.events as f64 / ingest.seconds);
    let text = format!(
        "{rate:.0}/s in batches of {BATCH} from {BATCH_CLIENTS} clients; batch ingest {floor:.0}/s; ratio {:.2} (asked: 0.50)",
        rate / floor
    );
    report.row(
        "decisions in batches",
        &text,
        json!({"rate": rate, "floor": floor, "ratio": rate / floor}),
    );
    site.stop()
}

/// The same load three times: recorded first, told before, and with a budget. The numbers of questions begin at `begin`.
async fn early_and_booked(
    report: &mut Report,
    site: &Site,
    begin: u64,
    questions: u64,
) -> Result<(), Failed> {
    let mut found = Vec::new();
    for (nth, action) in (0..).zip(["look", "read", "spend"]) {
        let begin = begin + nth * questions;
        let done = ask_about(site, (SINGLE_CLIENTS, action), begin..begin + questions, 1).await?;
        found.push((done.latencies.at(50), done.events as f64 / done.seconds));
    }
    let [(first, plain), (early, rate), (_, booked)] = found[..] else { return Ok(()) };
    let ratio = early.as_secs_f64() / first.as_secs_f64();
    let text = format!(
        "p50 {} at {SINGLE_CLIENTS} clients, {rate:.0}/s; recorded first p50 {}; ratio {ratio:.2} (asked: 0.35)",
        ms(early),
        ms(first),
    );
    report.row("decisions, record: later", &text, json!({"rate": rate, "ratio": ratio}));
    let ratio = booked / plain;
    let text = format!(
        "{booked:.0}/s at {SINGLE_CLIENTS} clients; without a budget {plain:.0}/s; ratio {ratio:.2} (asked: 0.90)"
    );
    report.row("decisions, with a budget", &text, json!({"rate": booked, "ratio": ratio}));
    Ok(())
}

/// Questions at a fixed rate, beside events at the same rate.
async fn open_loop(
    report: &mut Report,
    (site, load): (&Site, &Load),
    begin: u64,
    time: Duration,
) -> Result<(), Failed> {
    let published = load.open_loop(OPEN_LOOP_RATE, 1, time).await?;
    let total = OPEN_LOOP_RATE * time.as_secs();
    let (headers, key) = ("Content-Type: application/json\r\n", site.publisher.trim());
    let headers = format!("Authorization: Bearer {key}\r\n{headers}");
    let send = |number| {
        let body = question("transfer", number, 0).to_string();
        request("POST", "/v1/tenants/bench/decisions", &headers, &body)
    };
    let requests = (begin..begin + total).map(send).collect();
    let (done, _) = paced(site.address, SINGLE_CLIENTS, requests, Some(OPEN_LOOP_RATE)).await?;
    let (floor, p99) = (published.latencies.at(99), done.latencies.at(99));
    let text = format!(
        "{OPEN_LOOP_RATE}/s: p50 {} p99 {} (the mission asks for 20 ms); events p99 {}, so {} more (asked: 5 ms)",
        ms(done.latencies.at(50)),
        ms(p99),
        ms(floor),
        ms(p99.saturating_sub(floor)),
    );
    report.row("decisions, open loop", &text, json!({"p99_ms": p99.as_secs_f64() * 1e3}));
    Ok(())
}

/// A server on which the bench's bundle is in force.
async fn start(home: &Path) -> Result<Site, Failed> {
    let folder = home.join("approvals/bench");
    atomic::make_folder(home)?;
    atomic::make_folder(&home.join("approvals"))?;
    atomic::make_folder(&folder)?;
    atomic::replace(&folder.join("rules.toml"), RULES.as_bytes())?;
    atomic::replace(&folder.join("people.toml"), PEOPLE.as_bytes())?;
    let files = home.join("approvals").to_string_lossy().into_owned();
    let spool = home.join("spool").to_string_lossy().into_owned();
    let sections = format!("spool_dir = {spool:?}\n[approvals]\ndir = {files:?}\n");
    let site = Site::start(home, None, Some(&sections)).await?;
    // Issued first: these rules ask people about keys of power too.
    site.key("author.key", &["--role", "author", "--person", "p-1"])?;
    site.apply_rules()?;
    let policies = home.join("policies");
    let reads = ("policies/reads.yaml", READS.to_owned());
    for (path, text) in decide::files(TOOLS).into_iter().chain([reads]) {
        let path = policies.join(path);
        atomic::make_folder(&policies)?;
        path.parent().map_or(Ok(()), atomic::make_folder)?;
        atomic::replace(&path, text.as_bytes())?;
    }
    site.put_policies_in_force(&policies)?;
    Ok(site)
}

/// Asks the questions of these numbers, so many in each request.
async fn ask(
    site: &Site,
    clients: usize,
    numbers: std::ops::Range<u64>,
    each_request: usize,
) -> Result<Done, Failed> {
    ask_about(site, (clients, "transfer"), numbers, each_request).await
}

/// As [`ask`], about an action.
async fn ask_about(
    site: &Site,
    (clients, action): (usize, &str),
    numbers: std::ops::Range<u64>,
    each_request: usize,
) -> Result<Done, Failed> {
    let key = site.publisher.trim();
    let headers = format!("Authorization: Bearer {key}\r\nContent-Type: application/json\r\n");
    let body = |number: u64| match each_request {
        1 => question(action, number, 0).to_string(),
        _ => (0..each_request)
            .map(|nth| question(action, number, nth))
            .collect::<Value>()
            .to_string(),
    };
    let send = |number| request("POST", "/v1/tenants/bench/decisions", &headers, &body(number));
    let (mut done, answers) = each(site.address, clients, numbers.map(send).collect()).await?;
    let allowed = |answer: &Vec<u8>| answer.windows(7).any(|text| text == b"\"allow\"");
    if !answers.iter().all(allowed) {
        return Err(Failed::new(super::super::EXIT_FAILED, "a question was not answered by allow"));
    }
    done.events *= each_request as u64;
    Ok(done)
}

fn question(action: &str, number: u64, nth: usize) -> Value {
    let nonce = u128::from(number) << 32 | nth as u128;
    json!({
        "id": format!("q-{number}-{nth}"), "source": "/gateways/bench",
        "nonce": BASE64URL_NOPAD.encode(&nonce.to_be_bytes()),
        "agent": {"id": "bot", "run": format!("run-{number}")},
        "tool": {"name": "tool-0", "action": action},
        "params": {"amount": 125_000, "currency": "EUR", "reference": "INV-004711",
            "url": "https://api.example.eu/v1/transfers"},
    })
}
