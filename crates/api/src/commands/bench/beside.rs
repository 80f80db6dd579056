//! What sinks cost beside the publishing of events: no sink, one whose receiver is away, and ten that send.

use super::{
    Failed, INGEST_BATCH, INGEST_CONNECTIONS, OPEN_LOOP_RATE, Report,
    counter::Counter,
    load::{Latencies, Load},
    ms,
    site::Site,
    us,
};
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Sinks that send at once.
const SINKS: usize = 10;
/// Nobody listens there.
const AWAY: &str = "127.0.0.1:1";

/// What a server did with some sinks.
struct Measured {
    /// Of events that are published one by one, [`OPEN_LOOP_RATE`] a second.
    p50: Duration,
    p99: Duration,
    /// The server's CPU for each of them, in microseconds.
    cpu_us: f64,
    /// Events a second at full ingest.
    rate: f64,
    /// When each entry of the open loop was with the first receiver, after the time at which it was meant to be published.
    lags: Latencies,
}

/// Measures all three.
pub async fn run(
    report: &mut Report,
    dir: &Path,
    secret: &Path,
    time: Duration,
) -> Result<(), Failed> {
    let none = with(&dir.join("no-sink"), (&[], None), secret, time).await?;
    let still = with(&dir.join("still-sink"), (&[AWAY.into()], None), secret, time).await?;
    let counters = (0..SINKS).map(|_| Counter::start(true)).collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<String> = counters.iter().map(|one| one.address.to_string()).collect();
    let sends = (addresses.as_slice(), counters.first());
    let mut ten = with(&dir.join("ten-sinks"), sends, secret, time).await?;
    for (name, one) in [("no sink", &none), ("a sink, receiver away", &still), ("ten sinks", &ten)]
    {
        let text = format!(
            "{OPEN_LOOP_RATE} events/s: p50 {} p99 {}, server {:.0} µs of CPU an event, {:.2} of no sink's; full ingest \
             {:.0} events/s, {:.2} of no sink's (asked: ten cost 10 % at most, one that is away nothing)",
            ms(one.p50),
            ms(one.p99),
            one.cpu_us,
            one.cpu_us / none.cpu_us,
            one.rate,
            one.rate / none.rate,
        );
        let value = json!({"p50_us": us(one.p50), "p99_us": us(one.p99), "cpu_us": one.cpu_us, "rate": one.rate});
        report.row(&format!("beside: {name}"), &text, value);
    }
    let lags = std::mem::take(&mut ten.lags).sorted();
    let text = format!(
        "of {} entries at {OPEN_LOOP_RATE} events/s and ten sinks: p50 {} p99 {} (asked: p99 under 1 s)",
        lags.count(),
        ms(lags.at(50)),
        ms(lags.at(99))
    );
    report.row("lag of a sink", &text, json!({"p99_us": us(lags.at(99))}));
    Ok(())
}

/// One server with sinks that send to these addresses. The lags are those of the first one, where a receiver is given.
async fn with(
    home: &Path,
    (addresses, first): (&[String], Option<&Counter>),
    secret: &Path,
    time: Duration,
) -> Result<Measured, Failed> {
    let sections = addresses.iter().enumerate().map(|(nth, address)| {
        format!(
            "[sink.s{nth}]\ntenant = \"bench\"\nkind = \"http\"\nurl = \"http://{address}/\"\nsecret_file = {:?}\n",
            secret.to_string_lossy()
        )
    });
    let sections = sections.collect::<String>();
    let site = Site::start(home, None, Some(&sections)).await?;
    let load = Load::new(&site);
    let (before, begin) = (site.cpu(), Instant::now());
    let done = load.open_loop(OPEN_LOOP_RATE, 1, time).await?;
    let cpu_us = (site.cpu() - before) * 1e6 / done.events as f64;
    let mut lags = Latencies::default();
    if let Some(first) = first {
        let arrived = first.events(begin, done.events).await?;
        for (nth, at) in (0..).zip(arrived) {
            let meant = begin + Duration::from_nanos(nth * 1_000_000_000 / OPEN_LOOP_RATE);
            lags.add(at.saturating_duration_since(meant));
        }
    }
    let full = load.batches(INGEST_CONNECTIONS, INGEST_BATCH, time).await?;
    site.stop()?;
    site.remove()?;
    let (p50, p99) = (done.latencies.at(50), done.latencies.at(99));
    Ok(Measured { p50, p99, cpu_us, rate: full.events as f64 / full.seconds, lags })
}
