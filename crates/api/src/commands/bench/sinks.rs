//! One sink to a receiver that only counts bytes, in two formats, beside the feed's own reading in the same run.

use super::{
    Failed, INGEST_CONNECTIONS, Report, beside,
    load::{Connection, Load, request},
    site::Site,
};
use crate::commands::EXIT_FAILED;
use data_encoding::BASE64;
use ledger::atomic;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Most entries: enough for some seconds.
const ENTRIES_MAX: u64 = 500_000;
/// Entries a page and a batch.
const PAGE: usize = 1000;
/// Longest wait for the sink.
const SENT_WAIT: Duration = Duration::from_secs(600);
/// Pause between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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

/// What came with a request.
struct Came {
    begin: Instant,
    end: Instant,
    bytes: u64,
    /// Entries of published events.
    events: u64,
}

/// What an entry of an event has ([`super::load::event`]).
const EVENT: &str = "\"id\":\"pay-";

/// A receiver that counts bytes, and events if it is asked to, and answers 204.
pub(super) struct Counter {
    pub(super) address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Counter {
    pub(super) fn start(with_events: bool) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let came = Arc::<Mutex<Vec<Came>>>::default();
        let counted = Arc::clone(&came);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                // A connection ends with the server that opened it.
                std::thread::spawn(move || drop(count(stream, &counted, with_events)));
            }
        });
        Ok(Self { address, came })
    }

    /// Seconds from the first request to the last one, and bytes.
    fn done(&self) -> (f64, u64) {
        let came = self.came.lock().expect("no holder of the lock panics");
        let first = came.iter().map(|one| one.begin).min();
        let last = came.iter().map(|one| one.end).max();
        let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        (seconds.max(f64::EPSILON), came.iter().map(|one| one.bytes).sum())
    }

    /// When each of the first `count` events was there that came after `begin`.
    pub(super) async fn events(&self, begin: Instant, count: u64) -> Result<Vec<Instant>, Failed> {
        let waited = Instant::now();
        while waited.elapsed() < SENT_WAIT {
            let arrived: Vec<Instant> = {
                let came = self.came.lock().expect("no holder of the lock panics");
                let late = came.iter().filter(|one| one.end > begin);
                late.flat_map(|one| (0..one.events).map(|_| one.end)).collect()
            };
            if arrived.len() as u64 >= count {
                return Ok(arrived.into_iter().take(count as usize).collect());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Failed::new(EXIT_FAILED, "the sink does not send"))
    }
}

fn count(stream: TcpStream, came: &Mutex<Vec<Came>>, with_events: bool) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    while let Some(length) = head(&mut stream)? {
        let begin = Instant::now();
        let mut body = stream.by_ref().take(length);
        let (mut text, mut bytes) = (Vec::new(), 0);
        if with_events {
            bytes += body.read_to_end(&mut text)? as u64;
        }
        bytes += std::io::copy(&mut body, &mut std::io::sink())?;
        let events = String::from_utf8_lossy(&text).matches(EVENT).count() as u64;
        let one = Came { begin, end: Instant::now(), bytes, events };
        came.lock().expect("no holder of the lock panics").push(one);
        answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
    Ok(())
}

/// Reads the head of a request: the length of its body. `None` where the connection ends.
fn head(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<u64>> {
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line)? > 0 {
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().map_err(std::io::Error::other)?;
        }
        if line.trim_end().is_empty() {
            return Ok(Some(length));
        }
        line.clear();
    }
    Ok(None)
}
