//! Evidence of a million decisions: made from a running server, verified, and the counts of its days; beside the hashing and
//! the strict reading of the same entries on one core.

use super::{
    Failed, INGEST_CONNECTIONS, Report, floors,
    load::{Load, each, request},
    ms,
    site::{Site, Timed},
};
use crate::commands::EXIT_FAILED;
use ledger::time::Nanos;
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path};

/// Most decisions: those of the promise.
const DECISIONS_MAX: u64 = 1_000_000;
/// Decisions a request, while they are published.
const BATCH: usize = 1000;
/// Questions for counts.
const COUNTS: usize = 200;
const DAY_SECONDS: u64 = 24 * 3600;

/// Measures them.
pub async fn run(report: &mut Report, dir: &Path, leaves: u64) -> Result<(), Failed> {
    let site = Site::start(&dir.join("evidence"), None, None).await?;
    Load::new(&site).fill(INGEST_CONNECTIONS, BATCH, leaves.min(DECISIONS_MAX)).await?;
    counts(report, &site).await?;
    let folder = dir.join("evidence-folder");
    let out = folder.to_string_lossy();
    let (server, key) = site.remote();
    let from = ["--tenant", "bench", "--server", &server, "--api-key-file", &key];
    let before = site.cpu();
    let made = site.timed(&[&["evidence", "--json", "-o", &out], &from[..]].concat())?;
    let cpu = site.cpu() - before;
    let vkey = vkey(&site).await?;
    let verified = site.timed(&["verify", "--json", "--key", &vkey, "--evidence", &out])?;
    site.stop()?;
    let decisions = made.told["decisions"].as_u64().unwrap_or(0);
    if verified.told["items"][0]["decisions"] != made.told["decisions"] || decisions == 0 {
        return Err(Failed::new(EXIT_FAILED, "verify counts other decisions than evidence"));
    }
    let (entries, floor) = floors::read_entries(&folder.join("proof/tile/entries"))?;
    let text = format!(
        "floor: SHA-256 and strict JSON of its {entries} entries on one core {:.1} s",
        floor.as_secs_f64()
    );
    report.row("evidence, floor", &text, json!({"seconds": floor.as_secs_f64()}));
    for (name, done, asked) in [("evidence", &made, 60), ("evidence, verified", &verified, 30)] {
        let Timed { seconds, peak_mib, .. } = done;
        let ratio = seconds / floor.as_secs_f64();
        let text = format!(
            "{decisions} decisions in {seconds:.1} s, {peak_mib} MiB at most; ratio {ratio:.1} (asked: {asked} s, 512 MiB)"
        );
        let value = json!({"decisions": decisions, "seconds": seconds, "peak_mib": peak_mib, "ratio": ratio});
        report.row(name, &text, value);
    }
    let text = format!("{cpu:.1} s of its CPU while the evidence was made");
    report.row("evidence, server", &text, json!({"cpu": cpu}));
    Ok(std::fs::remove_dir_all(&folder)?)
}

/// An answer of the server, as JSON.
async fn asked(site: &Site, path: &str) -> Result<Value, Failed> {
    let (_, answers) = each(site.address, 1, vec![get(site, path)]).await?;
    Ok(answers.first().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default())
}

fn get(site: &Site, path: &str) -> Vec<u8> {
    let key = format!("Authorization: Bearer {}\r\n", site.admin.trim());
    request("GET", &format!("/v1/tenants/bench/{path}"), &key, "")
}

async fn vkey(site: &Site) -> Result<String, Failed> {
    let keys = asked(site, "logs/1/keys").await?;
    let vkey = keys["keys"][0]["vkey"].as_str();
    vkey.map(str::to_owned).ok_or_else(|| Failed::new(EXIT_FAILED, "the log has no key"))
}

/// Counts of the days that the log has.
async fn counts(report: &mut Report, site: &Site) -> Result<(), Failed> {
    let first = asked(site, "entries/0").await?;
    let time = first["journal"]["time"].as_str().and_then(Nanos::parse);
    let time = time.ok_or_else(|| Failed::new(EXIT_FAILED, "the log has no genesis"))?;
    // The day after the next: midnight may have passed meanwhile.
    let [from, to] = [time, time.plus_seconds(2 * DAY_SECONDS)].map(|at| at.to_string());
    let path = format!("counts?from={}&to={}", &from[..10], &to[..10]);
    let address: SocketAddr = site.address;
    let (done, answers) = each(address, 1, vec![get(site, &path); COUNTS]).await?;
    let told: Value = serde_json::from_slice(&answers[0]).unwrap_or_default();
    let days = told["days"].as_object().into_iter().flat_map(|days| days.values());
    let counted: u64 = days.filter_map(|of| of["kind"]["values"]["decision"].as_u64()).sum();
    let (p50, p99) = (done.latencies.at(50), done.latencies.at(99));
    let text = format!(
        "{counted} decisions counted: p50 {}, p99 {} over {COUNTS} questions (asked: 50 ms)",
        ms(p50),
        ms(p99)
    );
    let value = json!({"decisions": counted, "p50_us": super::us(p50), "p99_us": super::us(p99)});
    report.row("counts of a day", &text, value);
    Ok(())
}
