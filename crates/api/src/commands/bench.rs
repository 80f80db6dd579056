//! `countersign bench`: shows each figure beside a floor that the same run measured on the same disk.
//!
//! The server is a child process of the same binary. This process drives it over HTTP; both share the machine.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod approvals;
mod beside;
mod calls;
mod counter;
mod decide;
mod decisions;
mod evidence;
mod floors;
mod jetstream;
mod load;
mod seed;
mod sinks;
mod site;

use super::Failed;
use crate::{
    cli::Bench,
    terminal::{dim, say, strong},
};
use ledger::atomic;
use load::{Latencies, Load};
use serde_json::{Value, json};
use site::Site;
use std::{path::Path, time::Duration};

/// Connections and events a request of the batch measurement.
const INGEST_CONNECTIONS: usize = 4;
const INGEST_BATCH: usize = 500;
/// Longest measurement of pure evaluation: it varies little.
const DECIDE_TIME: Duration = Duration::from_secs(5);
/// Clients of the single-event measurement.
const SINGLE_CLIENTS: usize = 128;
/// Events a second of the open-loop measurement.
const OPEN_LOOP_RATE: u64 = 1000;
/// Events a second that are published while proofs are measured.
const PROOF_INGEST_RATE: u64 = 2000;
/// Clients that ask for proofs.
const PROOF_CLIENTS: usize = 4;

/// One measurement: name, value, floor and target.
struct Report {
    as_json: bool,
    rows: Vec<Value>,
}

impl Report {
    fn row(&mut self, name: &str, text: &str, value: impl Into<Value>) {
        if !self.as_json {
            say(&format!("{:<34} {text}", strong(name)));
        }
        self.rows.push(json!({"name": name, "text": text, "value": value.into()}));
    }
}

/// Runs the measurements that the arguments name.
pub fn run(arguments: &Bench) -> Result<(), Failed> {
    let known = [
        "all",
        "ingest",
        "single",
        "open-loop",
        "proofs",
        "approvals",
        "jetstream",
        "decide",
        "evidence",
        "sinks",
    ];
    if !known.contains(&arguments.what.as_str()) {
        return Err(Failed::new(2, format!("measure one of: {}", known.join(", "))));
    }
    let dir = match &arguments.dir {
        Some(dir) => {
            atomic::make_folder(dir)?;
            dir.clone()
        }
        // It is removed afterwards, so it must be a folder that this run made.
        None => super::fresh_folder(Path::new("."), "countersign-bench-")?,
    };
    let dir = dir.canonicalize()?;
    let mut report = Report { as_json: arguments.json, rows: Vec::new() };
    if !arguments.json {
        say(&dim(&format!("working in {}; server and clients share this machine", dir.display())));
    }
    let result = super::runtime()?.block_on(measure(&mut report, &dir, arguments));
    if arguments.json {
        say(&Value::Array(report.rows).to_string());
    }
    if result.is_ok() && arguments.dir.is_none() {
        std::fs::remove_dir_all(&dir)?;
    }
    result
}

async fn measure(report: &mut Report, dir: &Path, arguments: &Bench) -> Result<(), Failed> {
    let wanted = |what: &str| arguments.what == "all" || arguments.what == what;
    let time = Duration::from_secs(arguments.seconds);
    let sync = floors::fdatasync(dir)?;
    let (p50, p99) = (sync.at(50), sync.at(99));
    let text = format!("p50 {} p99 {} over {} writes of 4 KiB", ms(p50), ms(p99), sync.count());
    report.row("fdatasync", &text, json!({"p50_us": us(p50), "p99_us": us(p99)}));
    if wanted("ingest") {
        ingest(report, dir, time).await?;
    }
    if wanted("single") {
        single(report, dir, time, &sync).await?;
    }
    if wanted("open-loop") {
        open_loop(report, dir, time, &sync).await?;
    }
    if wanted("proofs") {
        proofs(report, dir, time, arguments.leaves).await?;
    }
    if wanted("approvals") {
        approvals::run(report, dir, &sync, arguments).await?;
    }
    if wanted("decide") {
        decide::run(report, time.min(DECIDE_TIME))?;
        decisions::run(report, dir, time).await?;
    }
    if wanted("evidence") {
        evidence::run(report, dir, arguments.leaves).await?;
    }
    if wanted("sinks") {
        sinks::run(report, dir, arguments.leaves, time).await?;
    }
    match &arguments.nats {
        Some(url) if wanted("jetstream") => jetstream::run(report, dir, url, time).await?,
        _ if wanted("jetstream") => {
            report.row("JetStream", "not measured: no --nats URL", Value::Null);
        }
        _ => {}
    }
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Batches over HTTP. The floor is the same writes, replayed with sync. They are recorded in a run of their own, because
/// writing them a second time takes CPU that would be counted as the server's.
async fn ingest(report: &mut Report, dir: &Path, time: Duration) -> Result<(), Failed> {
    let site = Site::start(&dir.join("ingest"), None, None).await?;
    let load = Load::new(&site);
    let before = site.cpu();
    let done = load.batches(INGEST_CONNECTIONS, INGEST_BATCH, time).await?;
    let cpu = site.cpu() - before;
    let disk = site.disk_bytes()?;
    let json_bytes = load.event_bytes();
    site.stop()?;
    let rate = done.events as f64 / done.seconds;
    let floor = ingest_floor(dir, time).await?;
    let cpu_us = cpu * 1e6 / done.events as f64;
    let text = format!(
        "{rate:.0} events/s durable ({INGEST_BATCH} a request, {INGEST_CONNECTIONS} connections, {:.0} s, server {:.0} % \
         of a core, {cpu_us:.1} µs an event); replayed floor {floor:.0}/s; ratio {:.2} (asked: 0.60, 14 µs)",
        done.seconds,
        cpu / done.seconds * 100.0,
        rate / floor
    );
    report.row(
        "batch ingest",
        &text,
        json!({"rate": rate, "floor": floor, "ratio": rate / floor, "cpu": cpu / done.seconds, "cpu_us": cpu_us}),
    );
    let each = disk as f64 / done.events as f64;
    let text = format!(
        "{each:.0} bytes on disk an event of {json_bytes} bytes of JSON: {:.2}",
        each / json_bytes as f64
    );
    report.row("bytes on disk", &text, json!({"bytes": each, "json_bytes": json_bytes}));
    let text = site.fsck()?;
    report.row("fsck", &text, Value::Null);
    Ok(())
}

/// Events a second of the same load's writes alone.
async fn ingest_floor(dir: &Path, time: Duration) -> Result<f64, Failed> {
    let record = dir.join("ingest.writes");
    let site = Site::start(&dir.join("ingest-recorded"), Some(&record), None).await?;
    let done = Load::new(&site).batches(INGEST_CONNECTIONS, INGEST_BATCH, time).await?;
    site.stop()?;
    let floor = floors::replay(&record, &dir.join("ingest-replay"), done.events)?;
    site.remove()?;
    std::fs::remove_file(&record)?;
    Ok(floor)
}

/// One event a request, many clients.
async fn single(
    report: &mut Report,
    dir: &Path,
    time: Duration,
    sync: &Latencies,
) -> Result<(), Failed> {
    let site = Site::start(&dir.join("single"), None, None).await?;
    let load = Load::new(&site);
    let before = site.cpu();
    let done = load.batches(SINGLE_CLIENTS, 1, time).await?;
    let cpu = (site.cpu() - before) / done.seconds;
    site.stop()?;
    let rate = done.events as f64 / done.seconds;
    let by_disk = SINGLE_CLIENTS as f64 / (4.0 * sync.at(50).as_secs_f64());
    let asked = by_disk.min(10_000.0);
    let text = format!(
        "{rate:.0} requests/s at {SINGLE_CLIENTS} clients, p50 {} p99 {}, server {:.0} % of a core; ratio {:.2} (asked: \
         {asked:.0}/s, the smaller of 10000 and 128 / (4 fdatasync))",
        ms(done.latencies.at(50)),
        ms(done.latencies.at(99)),
        cpu * 100.0,
        rate / asked
    );
    report.row(
        "single durable requests",
        &text,
        json!({"rate": rate, "asked": asked, "ratio": rate / asked}),
    );
    Ok(())
}

/// One event in a request, at a fixed rate. Latency counts from the intended time of sending.
async fn open_loop(
    report: &mut Report,
    dir: &Path,
    time: Duration,
    sync: &Latencies,
) -> Result<(), Failed> {
    let site = Site::start(&dir.join("open-loop"), None, None).await?;
    let load = Load::new(&site);
    let done = load.open_loop(OPEN_LOOP_RATE, 1, time).await?;
    site.stop()?;
    let asked = (sync.at(50) * 4).max(Duration::from_millis(3));
    let p50 = done.latencies.at(50);
    let text = format!(
        "{OPEN_LOOP_RATE}/s meant, {:.0}/s done: p50 {} p99 {}; ratio {:.2} (asked: p50 within {}, 4 fdatasyncs or 3 ms)",
        done.events as f64 / done.seconds,
        ms(p50),
        ms(done.latencies.at(99)),
        p50.as_secs_f64() / asked.as_secs_f64(),
        ms(asked)
    );
    report.row(
        "open loop",
        &text,
        json!({"p50_us": us(p50), "p99_us": us(done.latencies.at(99)), "asked_us": us(asked)}),
    );
    Ok(())
}

/// Receipts of random entries of a large log while events come in. Then a start on that log.
async fn proofs(
    report: &mut Report,
    dir: &Path,
    time: Duration,
    leaves: u64,
) -> Result<(), Failed> {
    let home = dir.join("proofs");
    let site = Site::start(&home, None, None).await?;
    let load = Load::new(&site);
    load.fill(INGEST_CONNECTIONS, 1000, leaves).await?;
    let (proofs, _) = tokio::try_join!(
        load.receipts(PROOF_CLIENTS, leaves, time),
        load.open_loop(PROOF_INGEST_RATE / 100, 100, time),
    )?;
    let text = format!(
        "at {leaves} leaves, {PROOF_INGEST_RATE} events/s coming in: {:.0} proofs/s, p50 {} p99 {} (asked: p99 under 2 ms)",
        proofs.events as f64 / proofs.seconds,
        ms(proofs.latencies.at(50)),
        ms(proofs.latencies.at(99)),
    );
    report.row("inclusion proofs", &text, json!({"p99_us": us(proofs.latencies.at(99))}));
    report.row("memory while serving", &format!("{} MiB", site.resident_mib()), Value::Null);
    site.stop()?;
    let site = Site::start(&home, None, None).await?;
    let (start, memory) = (site.started_in, site.resident_mib());
    let text =
        format!("{} with {leaves} leaves, {memory} MiB resident (asked: 2 s, 1 GiB)", ms(start));
    report.row("start", &text, json!({"start_us": us(start), "resident_mib": memory}));
    site.stop()?;
    report.row("fsck", &site.fsck()?, Value::Null);
    Ok(())
}
