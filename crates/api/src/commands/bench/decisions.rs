//! Decisions over HTTP, by the bundle of the pure measurement, beside events that are published as durably in the same
//! run.

use super::{
    Failed, Report, SINGLE_CLIENTS,
    decide::{self, TOOLS},
    load::{Done, Load, each, request},
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
    let batches = BATCHES_A_SECOND * time.as_secs();
    let many = ask(&site, BATCH_CLIENTS, 2 * questions..2 * questions + batches, BATCH).await?;
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

/// A server on which the bench's bundle is in force.
async fn start(home: &Path) -> Result<Site, Failed> {
    let folder = home.join("approvals/bench");
    atomic::make_folder(home)?;
    atomic::make_folder(&home.join("approvals"))?;
    atomic::make_folder(&folder)?;
    atomic::replace(&folder.join("rules.toml"), RULES.as_bytes())?;
    atomic::replace(&folder.join("people.toml"), PEOPLE.as_bytes())?;
    let files = home.join("approvals").to_string_lossy().into_owned();
    let site = Site::start(home, None, Some(&format!("[approvals]\ndir = {files:?}\n"))).await?;
    // Issued first: these rules ask people about keys of power too.
    site.key("author.key", &["--role", "author", "--person", "p-1"])?;
    site.apply_rules()?;
    let policies = home.join("policies");
    for (path, text) in decide::files(TOOLS) {
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
    let key = site.publisher.trim();
    let headers = format!("Authorization: Bearer {key}\r\nContent-Type: application/json\r\n");
    let body = |number: u64| match each_request {
        1 => question(number, 0).to_string(),
        _ => (0..each_request).map(|nth| question(number, nth)).collect::<Value>().to_string(),
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

fn question(number: u64, nth: usize) -> Value {
    let nonce = u128::from(number) << 32 | nth as u128;
    json!({
        "id": format!("q-{number}-{nth}"), "source": "/gateways/bench",
        "nonce": BASE64URL_NOPAD.encode(&nonce.to_be_bytes()),
        "agent": {"id": "bot", "run": format!("run-{number}")},
        "tool": {"name": "tool-0", "action": "transfer"},
        "params": {"amount": 125_000, "currency": "EUR", "reference": "INV-004711",
            "url": "https://api.example.eu/v1/transfers"},
    })
}
