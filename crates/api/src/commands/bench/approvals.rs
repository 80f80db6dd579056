//! Measures approvals: how fast they are listed, answered and redeemed, and how fast a start finds them again.

use super::{
    Failed, Report,
    calls::{self, Paused},
    load::{Connection, Done, Latencies, each, request},
    ms,
    seed::Inside,
    site::Site,
    us,
};
use crate::{cli::Bench, commands::EXIT_FAILED, terminal::dim, terminal::say};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Number of decisions that are published at once and then answered.
const BURST: u64 = 1_000;
/// Number of people who answer at once.
const CLICK_CLIENTS: usize = 16;
/// Number of tokens that are redeemed, and of enforcers.
const REDEMPTIONS: u64 = 2_000;
const REDEEM_CLIENTS: usize = 64;
/// Number of requests for the inbox by a signed-in person.
const LOOKS: usize = 200;
/// Number of appends of the floor.
const FLOOR_APPENDS: u64 = 5_000;
/// Longest wait for something to be listed.
const LISTED_WAIT: Duration = Duration::from_secs(900);
/// Least time after which the server stores its position in the log when entries come.
const PLACE_KEPT_AFTER: Duration = Duration::from_secs(11);
/// Target.
const CLICK_P99: Duration = Duration::from_millis(10);
const LISTED_WITHIN: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(10);
const LOOK_P99: Duration = Duration::from_millis(100);
const LOOK_BYTES: usize = 100_000;
const REDEMPTIONS_A_SECOND: f64 = 1_000.0;
/// The path of the bench's tenant.
const TENANT: &str = "/v1/tenants/bench";

/// Measures on the embedded journal, or on JetStream if a server is named and nothing else is measured there.
pub async fn run(
    report: &mut Report,
    dir: &Path,
    sync: &Latencies,
    arguments: &Bench,
) -> Result<(), Failed> {
    on(report, &dir.join("approvals"), "", "embedded", sync, arguments).await?;
    match &arguments.nats {
        Some(url) if arguments.what == "approvals" => {
            let journal = format!("[journal]\nkind = \"jetstream\"\nurl = {url:?}\n");
            on(report, &dir.join("approvals-jetstream"), &journal, "JetStream", sync, arguments)
                .await
        }
        _ => {
            let text =
                "not measured: `bench approvals --nats URL`, on a broker without a tenant `bench`";
            report.row("approvals on JetStream", text, Value::Null);
            Ok(())
        }
    }
}

async fn on(
    report: &mut Report,
    home: &Path,
    journal: &str,
    name: &str,
    sync: &Latencies,
    arguments: &Bench,
) -> Result<(), Failed> {
    if !report.as_json {
        say(&dim(&format!("approvals on the journal: {name}")));
    }
    ledger::atomic::make_folder(home)?;
    calls::write_files(&home.join("approvals"))?;
    let files = home.join("approvals").to_string_lossy().into_owned();
    let sections = format!("{journal}[approvals]\ndir = {files:?}\n");
    let desk = Desk::start(home, &sections).await?;
    desk.site.apply_rules()?;
    burst(report, &desk).await?;
    clicks(report, &desk, sync).await?;
    let rate = redemptions(&desk).await?;
    desk.site.stop()?;

    let inside = Inside::open(&desk.site.config()).await?;
    let (open, finished) = (arguments.open, arguments.finished);
    let begin = Instant::now();
    inside.write(REDEMPTIONS, REDEMPTIONS + finished, true).await?;
    inside.write(REDEMPTIONS + finished, REDEMPTIONS + finished + open, false).await?;
    if !report.as_json {
        say(&dim(&format!(
            "{finished} finished and {open} open approvals written in {:.0?}",
            begin.elapsed()
        )));
    }
    inside.close().await;
    let desk = starts(report, home, &sections, arguments).await?;
    inbox(report, &desk, open).await?;
    desk.site.stop()?;
    report.row("fsck", &desk.site.fsck()?, Value::Null);
    // Done last: on JetStream the floor's messages stay in the stream, and nobody posts them.
    let floor = floor(home, &sections, journal).await?;
    let asked =
        if journal.is_empty() { REDEMPTIONS_A_SECOND.max(floor / 2.0) } else { floor / 2.0 };
    let text = format!(
        "{rate:.0}/s at {REDEEM_CLIENTS} clients over {REDEMPTIONS} tokens; bare compare-and-swap appends {floor:.0}/s; \
         ratio {:.2} (asked: {asked:.0}/s)",
        rate / floor
    );
    let value = json!({"rate": rate, "floor": floor, "ratio": rate / floor, "asked": asked});
    report.row("redemptions", &text, value);
    Ok(())
}

/// A server, with the keys of its callers.
struct Desk {
    site: Site,
    /// Header lines.
    gateway: String,
    person: String,
    operator: String,
    person_key: String,
}

impl Desk {
    async fn start(home: &Path, sections: &str) -> Result<Self, Failed> {
        let site = Site::start(home, None, Some(sections)).await?;
        let header = |key: &str| format!("Authorization: Bearer {}\r\n", key.trim());
        let person_key = site.key("person.key", &["--role", "reviewer", "--person", "p-1"])?;
        let (gateway, person) = (header(&site.publisher), header(&person_key));
        let operator = header(&site.operator()?);
        Ok(Self { site, gateway, person, operator, person_key })
    }

    /// Number of pending approvals, by the metrics.
    async fn pending(&self, connection: &mut Connection) -> Result<u64, Failed> {
        connection.ask(&request("GET", "/metrics", &self.operator, "")).await?;
        let text = String::from_utf8_lossy(&connection.body);
        let line = text.lines().find_map(|line| {
            line.strip_prefix("countersign_approvals_pending{")
                .and_then(|line| line.split_once("} "))
        });
        Ok(line.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0))
    }

    /// Waits until this many approvals are pending.
    async fn listed(&self, wanted: u64) -> Result<(), Failed> {
        let begin = Instant::now();
        let mut connection = Connection::open(self.site.address).await?;
        while self.pending(&mut connection).await? < wanted {
            if begin.elapsed() > LISTED_WAIT {
                return Err(Failed::new(
                    EXIT_FAILED,
                    "approvals were never listed; see server.log",
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Publishes decisions in one request, and waits until all of them are listed.
    async fn open(&self, calls: &[Paused], pending: u64) -> Result<Duration, Failed> {
        let body: Vec<&str> = calls.iter().map(|call| call.event.as_str()).collect();
        let headers = format!("{}Content-Type: application/x-ndjson\r\n", self.gateway);
        let publish = request("POST", &format!("{TENANT}/events"), &headers, &body.join("\n"));
        let begin = Instant::now();
        Connection::open(self.site.address).await?.ask(&publish).await?;
        self.listed(pending + calls.len() as u64).await?;
        Ok(begin.elapsed())
    }

    /// Approves each call.
    async fn approve(&self, calls: &[Paused]) -> Result<Done, Failed> {
        let headers = format!("{}Content-Type: application/json\r\n", self.person);
        let review = |call: &Paused| {
            let path = format!("{TENANT}/approvals/{}/reviews", call.approval);
            request("POST", &path, &headers, &call.review())
        };
        Ok(each(self.site.address, CLICK_CLIENTS, calls.iter().map(review).collect()).await?.0)
    }
}

fn calls_of(range: std::ops::Range<u64>) -> Result<Vec<Paused>, Failed> {
    range.map(Paused::new).collect()
}

/// Publishes many decisions at once, and measures the time until all are listed.
async fn burst(report: &mut Report, desk: &Desk) -> Result<(), Failed> {
    let took = desk.open(&calls_of(0..BURST)?, 0).await?;
    let text = format!(
        "{BURST} decisions in one request, all listed after {} (asked: {})",
        ms(took),
        ms(LISTED_WITHIN)
    );
    report.row("opening", &text, json!({"us": us(took), "asked_us": us(LISTED_WITHIN)}));
    Ok(())
}

/// Measures the answer to a click, with journal and ledger fsynced.
async fn clicks(report: &mut Report, desk: &Desk, sync: &Latencies) -> Result<(), Failed> {
    let done = desk.approve(&calls_of(0..BURST)?).await?;
    let (p50, p99) = (done.latencies.at(50), done.latencies.at(99));
    let asked = (sync.at(99) * 4).max(CLICK_P99);
    let text = format!(
        "{BURST} approvals at {CLICK_CLIENTS} clients: p50 {} p99 {}; ratio {:.2} (asked: p99 within {}, 4 fdatasyncs' \
         p99 or 10 ms)",
        ms(p50),
        ms(p99),
        p99.as_secs_f64() / asked.as_secs_f64(),
        ms(asked)
    );
    report.row(
        "clicks",
        &text,
        json!({"p50_us": us(p50), "p99_us": us(p99), "asked_us": us(asked)}),
    );
    Ok(())
}

/// Redeems tokens that were minted before. Returns redemptions a second.
async fn redemptions(desk: &Desk) -> Result<f64, Failed> {
    let more = calls_of(BURST..REDEMPTIONS)?;
    desk.open(&more, 0).await?;
    desk.approve(&more).await?;
    let calls = calls_of(0..REDEMPTIONS)?;
    let headers = format!("{}Content-Type: application/json\r\n", desk.gateway);
    let mint = |call: &Paused| {
        request("POST", &format!("{TENANT}/approvals/{}/token", call.approval), &headers, "{}")
    };
    let mints = calls.iter().map(mint).collect();
    let (_, minted) = each(desk.site.address, REDEEM_CLIENTS, mints).await?;
    let redeem = |(call, answer): (&Paused, &Vec<u8>)| {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let body = call.redemption(answer["token"].as_str().unwrap_or_default());
        request("POST", &format!("{TENANT}/tokens/redeem"), &headers, &body)
    };
    let spend = calls.iter().zip(&minted).map(redeem).collect();
    let (done, _) = each(desk.site.address, REDEEM_CLIENTS, spend).await?;
    // Report the outcomes, so that the approvals are over when starts are measured.
    let report = |call: &Paused| {
        let path = format!("{TENANT}/approvals/{}/execution", call.approval);
        request("POST", &path, &headers, r#"{"outcome":"succeeded"}"#)
    };
    each(desk.site.address, REDEEM_CLIENTS, calls.iter().map(report).collect()).await?;
    Ok(done.events as f64 / done.seconds)
}

/// Two starts with many approvals: the first reads the whole log, the second begins at the stored position.
async fn starts(
    report: &mut Report,
    home: &Path,
    sections: &str,
    arguments: &Bench,
) -> Result<Desk, Failed> {
    let Bench { open, finished, .. } = arguments;
    let (desk, first) = start(home, sections, *open).await?;
    // The position is stored when an entry comes some time after it was stored last.
    tokio::time::sleep(PLACE_KEPT_AFTER).await;
    let headers = format!("{}Content-Type: application/x-ndjson\r\n", desk.gateway);
    let publish = request("POST", &format!("{TENANT}/events"), &headers, &super::load::event(0));
    Connection::open(desk.site.address).await?.ask(&publish).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    desk.site.stop()?;
    let (desk, again) = start(home, sections, *open).await?;
    let text = format!(
        "ready after {} with {open} open approvals behind {finished} finished ones, {} MiB resident (asked: {}); {} \
         where the whole log is read",
        ms(again),
        desk.site.resident_mib(),
        ms(READY_WITHIN),
        ms(first)
    );
    let value = json!({"us": us(again), "whole_us": us(first), "asked_us": us(READY_WITHIN)});
    report.row("start of approvals", &text, value);
    Ok(desk)
}

/// Time from the start of the process until it is ready and lists all open approvals.
async fn start(home: &Path, sections: &str, open: u64) -> Result<(Desk, Duration), Failed> {
    let begin = Instant::now();
    let desk = Desk::start(home, sections).await?;
    desk.listed(open).await?;
    let mut connection = Connection::open(desk.site.address).await?;
    while connection.ask(&request("GET", "/readyz", "", "")).await.is_err() {
        if begin.elapsed() > LISTED_WAIT {
            return Err(Failed::new(EXIT_FAILED, "the server is never ready; see server.log"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((desk, begin.elapsed()))
}

/// Requests the first page of the inbox, signed in, one after the other.
async fn inbox(report: &mut Report, desk: &Desk, open: u64) -> Result<(), Failed> {
    let mut connection = Connection::open(desk.site.address).await?;
    let form = format!("username=p-1&password={}", desk.person_key);
    let kind = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n";
    connection.ask(&request("POST", "/", kind, &form)).await?;
    let cookie = connection.cookie.take();
    let cookie = cookie.ok_or_else(|| Failed::new(EXIT_FAILED, "no sign-in"))?;
    let look = request("GET", "/", &format!("Cookie: {cookie}\r\n"), "");
    let (done, answers) = each(desk.site.address, 1, vec![look; LOOKS]).await?;
    let bytes = answers.iter().map(Vec::len).max().unwrap_or(0);
    let rows = answers.first().map_or(0, |page| count(page, b"href=\"/approvals/apr-"));
    let p99 = done.latencies.at(99);
    let text = format!(
        "first page among {open}: {rows} approvals, {bytes} bytes (asked: {LOOK_BYTES}), p50 {} p99 {} of {LOOKS} looks \
         (asked: {})",
        ms(done.latencies.at(50)),
        ms(p99),
        ms(LOOK_P99)
    );
    report.row(
        "inbox",
        &text,
        json!({"bytes": bytes, "rows": rows, "p99_us": us(p99), "asked_us": us(LOOK_P99)}),
    );
    Ok(())
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}

/// Plain appends to the same kind of journal on the same disk: embedded in a new directory, JetStream on the
/// same stream.
async fn floor(home: &Path, sections: &str, journal: &str) -> Result<f64, Failed> {
    let config = if journal.is_empty() {
        let home = home.join("floor");
        let site = Site::start(&home, None, Some(sections)).await?;
        site.stop()?;
        site.config()
    } else {
        home.join("countersign.toml")
    };
    let inside = Inside::open(&config).await?;
    let rate = inside.floor(REDEEM_CLIENTS, FLOOR_APPENDS).await?;
    inside.close().await;
    Ok(rate)
}
