//! A receiver of sinks that counts.

use super::Failed;
use crate::commands::EXIT_FAILED;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Longest wait for a sink.
pub(super) const SENT_WAIT: Duration = Duration::from_secs(600);
/// Pause between two looks at it.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

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
                std::thread::spawn(move || {
                    // Beside ingest, what is measured is the sinks. A receiver has a machine of its own, elsewhere.
                    if with_events {
                        crate::sinks::step_back();
                    }
                    drop(count(stream, &counted, with_events));
                });
            }
        });
        Ok(Self { address, came })
    }

    /// Seconds from the first request to the last one, and bytes.
    pub(super) fn done(&self) -> (f64, u64) {
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
