//! Posting from JetStream. The floors are a plain consumer of the same stream, and the replayed writes.

use super::{Report, floors, load, site::Site};
use crate::commands::Failed;
use ledger::{
    Error,
    ident::Ident,
    journal::{Append, Followed, Headers, Subject, jetstream},
};
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Messages of one atomic batch.
const BATCH: u64 = 1000;
/// Number of batches that are in flight at once.
const BATCHES_AT_ONCE: usize = 4;

/// Fills a stream for `time`, then measures a bare consumer and our posting over it.
pub async fn run(report: &mut Report, dir: &Path, url: &str, time: Duration) -> Result<(), Failed> {
    let home = dir.join("jetstream");
    let journal = format!("[journal]\nkind = \"jetstream\"\nurl = {url:?}\n");
    // Started and stopped, so that the stream fills while nobody posts.
    Site::start(&home, None, Some(&journal)).await?.stop()?;
    let options = jetstream::Options { url: url.into(), ..jetstream::Options::default() };
    let broker = jetstream::Connection::open(&options).await.map_err(Error::from)?;
    let tenant = Ident::new("bench").map_err(|e| Failed::new(2, e.to_string()))?;
    let stream = jetstream::Jetstream::open(&broker, &tenant).await.map_err(Error::from)?;
    let first = stream.state().await.map_err(Error::from)?.last + 1;
    let (messages, seconds) = fill(&stream, time).await?;
    let publish = messages as f64 / seconds;
    report.row(
        "JetStream publish",
        &format!("{publish:.0} messages/s in atomic batches of {BATCH}, one of them at a time or {BATCHES_AT_ONCE}"),
        json!(publish),
    );
    let consumer = consume(&stream, first, messages).await?;
    let last = first + messages - 1;
    // The writes are recorded in a run of their own, on a copy of the server from before: it posts the same messages.
    let copy = Site::copy(&home, &dir.join("jetstream-recorded"))?;
    let record = dir.join("jetstream.writes");
    let site = Site::start(&home, None, Some(&journal)).await?;
    let begin = Instant::now();
    let before = site.cpu();
    until_posted(&site, last).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = site.cpu() - before;
    site.stop()?;
    let recorded = Site::start(&copy, Some(&record), Some(&journal)).await?;
    until_posted(&recorded, last).await?;
    recorded.stop()?;
    recorded.remove()?;
    let rate = messages as f64 / seconds;
    let replay = floors::replay(&record, &dir.join("jetstream-replay"), messages)?;
    std::fs::remove_file(&record)?;
    let floor = replay.min(consumer);
    let cpu_us = cpu * 1e6 / messages as f64;
    let text = format!(
        "{rate:.0} events/s posted ({messages} events, server {:.0} % of a core, {cpu_us:.1} µs an event); bare consumer \
         {consumer:.0}/s, replayed floor {replay:.0}/s; ratio {:.2} (asked: 0.45)",
        cpu / seconds * 100.0,
        rate / floor
    );
    report.row(
        "posting from JetStream",
        &text,
        json!({"rate": rate, "floor": floor, "ratio": rate / floor, "cpu_us": cpu_us}),
    );
    report.row("fsck", &site.fsck()?, json!(null));
    Ok(())
}

/// Waits until the message with this journal sequence is posted.
async fn until_posted(site: &Site, last: u64) -> Result<(), Failed> {
    while posted(site)? < last {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn fill(stream: &jetstream::Jetstream, time: Duration) -> Result<(u64, f64), Failed> {
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut number = load::first_number();
    let mut messages = 0;
    while begin.elapsed() < time || !tasks.is_empty() {
        if begin.elapsed() < time && tasks.len() < BATCHES_AT_ONCE {
            let batch = (number..number + BATCH).map(append).collect();
            number += BATCH;
            let stream = stream.clone();
            tasks.spawn(async move { stream.append(batch).await });
        } else if let Some(done) = tasks.join_next().await {
            let done = done.map_err(std::io::Error::other)?;
            messages += done.map_err(Error::from)?.len() as u64;
        }
    }
    Ok((messages, begin.elapsed().as_secs_f64()))
}

fn append(number: u64) -> Append {
    let salt = Some(ledger::random_salt());
    Append {
        subject: Subject::parse("decisions.gw-1").expect("a subject"),
        headers: Headers { salt, ..Headers::default() },
        body: load::event(number).into_bytes(),
        expected: None,
    }
}

/// Messages a second that a consumer receives without using them.
async fn consume(stream: &jetstream::Jetstream, from: u64, count: u64) -> Result<f64, Failed> {
    let (sink, mut batches) = tokio::sync::mpsc::channel(4);
    let begin = Instant::now();
    let counting = async {
        let mut seen = 0;
        while seen < count {
            match batches.recv().await {
                Some(Followed::Messages(messages)) => seen += messages.len() as u64,
                Some(Followed::Connected(_)) => {}
                None => break,
            }
        }
        drop(batches);
    };
    let reading = stream.follow(from, sink);
    tokio::select! {
        () = counting => {}
        read = reading => read.map_err(Error::from)?,
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// The last journal sequence in the newest entry.
fn posted(site: &Site) -> Result<u64, Failed> {
    let client = ureq::Agent::new_with_defaults();
    let bearer = format!("Bearer {}", site.admin.trim());
    let get = |path: &str| {
        let url = format!("http://{}/v1/tenants/bench/{path}", site.address);
        let mut answer = client
            .get(&url)
            .header("Authorization", &bearer)
            .call()
            .map_err(std::io::Error::other)?;
        answer.body_mut().read_to_string().map_err(std::io::Error::other)
    };
    let checkpoint = get("logs/1/checkpoint")?;
    let tree_size: u64 = checkpoint.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(1);
    let entry = get(&format!("entries/{}", tree_size - 1))?;
    let entry: serde_json::Value = serde_json::from_str(&entry).unwrap_or_default();
    Ok(entry["journal"]["seq"].as_u64().unwrap_or(0))
}
