//! One sink to a receiver that only counts bytes, in two formats, beside the feed's own reading in the same run.

use super::{
    Failed, INGEST_CONNECTIONS, Report, beside,
    counter::{Counter, LOOK_EVERY, SENT_WAIT},
    load::{Connection, Load, request},
    site::Site,
};
use crate::commands::EXIT_FAILED;
use data_encoding::BASE64;
use ledger::atomic;
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Most entries: enough for some seconds.
const ENTRIES_MAX: u64 = 500_000;
/// Entries a page and a batch.
const PAGE: usize = 1000;

/// Measures them.
pub async fn run(
    report: &mut Report,
    dir: &Path,
    leaves: u64,
    time: Duration,
) -> Result<(), Failed> {
    let home = dir.join("sinks");
    let site = Site::start(&home, None, None).await?;
    let entries = leaves.min(ENTRIES_MAX);
    Load::new(&site).fill(INGEST_CONNECTIONS, PAGE, entries).await?;
    let feed = feed_rate(&site).await?;
    site.stop()?;
    report.row("feed, read", &format!("{feed:.0} entries/s"), json!({"rate": feed}));
    let secret = dir.join("sinks.secret");
    let text = format!("whsec_{}", BASE64.encode(ledger::keyring::random32().as_slice()));
    atomic::replace(&secret, text.as_bytes())?;
    let asked = [("native", "0.8 of the feed and 50000/s"), ("ocsf", "20000/s")];
    for (format, asked) in asked {
        let (seconds, bytes) = send(&home, &secret, format, entries).await?;
        let rate = entries as f64 / seconds;
        let text = format!(
            "{rate:.0} entries/s, {:.0} MiB/s; ratio to the feed {:.2} (asked: {asked})",
            bytes as f64 / seconds / f64::from(1 << 20),
            rate / feed
        );
        let value = json!({"rate": rate, "bytes": bytes, "ratio": rate / feed});
        report.row(&format!("sink, {format}"), &text, value);
    }
    beside::run(report, dir, &secret, time).await
}

/// Sends everything in a format. Seconds, and bytes.
async fn send(
    home: &Path,
    secret: &Path,
    format: &str,
    entries: u64,
) -> Result<(f64, u64), Failed> {
    let counter = Counter::start(false)?;
    // A name of its own: it begins at the first entry.
    let section = format!(
        "[sink.{format}]\ntenant = \"bench\"\nkind = \"http\"\nformat = \"{format}\"\nurl = \"http://{}/\"\nsecret_file = {:?}\nbatch_entries = {PAGE}\nbatch_bytes = {}\n",
        counter.address,
        secret.to_string_lossy(),
        8 << 20,
    );
    let site = Site::start(home, None, Some(&section)).await?;
    sent(&site, entries).await?;
    site.stop()?;
    Ok(counter.done())
}

fn get(site: &Site, path: &str) -> Vec<u8> {
    let key = format!("Authorization: Bearer {}\r\n", site.admin.trim());
    request("GET", &format!("/v1/tenants/bench/{path}"), &key, "")
}

/// Entries a second that one reader of the feed gets.
async fn feed_rate(site: &Site) -> Result<f64, Failed> {
    let mut connection = Connection::open(site.address).await?;
    let (begin, mut after, mut read) = (Instant::now(), String::new(), 0_usize);
    loop {
        connection.ask(&get(site, &format!("entries?limit={PAGE}{after}"))).await?;
        let lines: Vec<&[u8]> = connection.body.split(|byte| *byte == b'\n').collect();
        let lines: Vec<&[u8]> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let Some((last, page)) = lines.split_last().filter(|(_, page)| !page.is_empty()) else {
            return Ok(read as f64 / begin.elapsed().as_secs_f64());
        };
        read += page.len();
        let last: Value = serde_json::from_slice(last).unwrap_or_default();
        after = format!("&after={}", last["next"].as_str().unwrap_or_default());
    }
}

/// Waits until the sink has sent so many entries.
async fn sent(site: &Site, entries: u64) -> Result<(), Failed> {
    let (mut connection, begin) = (Connection::open(site.address).await?, Instant::now());
    while begin.elapsed() < SENT_WAIT {
        connection.ask(&get(site, "sinks")).await?;
        let told: Value = serde_json::from_slice(&connection.body).unwrap_or_default();
        if told["sinks"][0]["from"].as_u64() >= Some(entries) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(Failed::new(EXIT_FAILED, "the sink does not send"))
}
