//! `syslog`: RFC 5424 messages over TLS, each with its length before it (RFC 5425). Nobody answers, so a batch counts as
//! written and no more. What was on the way when a connection ended is written again on the next one, and after a start.

use super::{
    net::Reach,
    port::{Answer, Batch, Receiver},
    trust,
};
use ledger::{system::delivery::Level, time::Nanos};
use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use url::Url;

/// Longest wait for a write.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// So long after it was written, on a connection that is still open, a batch was read.
const READ_AFTER: Duration = Duration::from_secs(60);
/// Most bytes that are remembered as perhaps not read: more than the buffers of both systems hold.
const ON_THE_WAY_BYTES_MAX: usize = 16 << 20;
/// Facility 13 (log audit) and severity 6 (informational).
const PRIORITY: u32 = 13 * 8 + 6;
/// Port of syslog over TLS.
const PORT: u16 = 6514;

/// An open connection.
enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The connection, and what was written to it and perhaps not read.
#[derive(Default)]
struct Written {
    line: Option<Line>,
    on_the_way: VecDeque<OnTheWay>,
}

/// A batch that was perhaps not read.
struct OnTheWay {
    at: Instant,
    /// The leaf indexes that it covers.
    range: (u64, u64),
    frames: String,
}

/// A syslog server.
pub struct Syslog {
    host: String,
    port: u16,
    reach: Reach,
    tls: Option<Arc<ClientConfig>>,
    /// What messages name as their host.
    ours: String,
    written: Mutex<Written>,
}

impl Syslog {
    /// The server at `url`: `tls://host:port`, or `tcp://` on loopback.
    pub fn new(url: &Url, ours: String, ca: Option<&Path>, private: bool) -> Result<Self, String> {
        let tls = match (url.scheme(), ca) {
            ("tls", Some(path)) => Some(trust::tls(Some(path), &[])?),
            ("tls", None) => return Err(
                "tls_ca_file is missing; a syslog server has a certificate of your own authority"
                    .into(),
            ),
            _ => None,
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err("the url has no host".into());
        }
        let reach = Reach::of(url, private);
        Ok(Self {
            host,
            port: url.port().unwrap_or(PORT),
            reach,
            tls,
            ours,
            written: Mutex::default(),
        })
    }

    fn connect(&self) -> Result<Line, String> {
        let stream = self.reach.connect(&self.host, self.port)?;
        let waits = stream
            .set_write_timeout(Some(WRITE_WAIT))
            .and_then(|()| stream.set_read_timeout(Some(WRITE_WAIT)));
        waits.map_err(|error| error.to_string())?;
        let Some(config) = &self.tls else { return Ok(Line::Plain(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let client =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())?;
        let mut line = StreamOwned::new(client, stream);
        while line.conn.is_handshaking() {
            line.conn.complete_io(&mut line.sock).map_err(|error| format!("TLS: {error}"))?;
        }
        Ok(Line::Tls(Box::new(line)))
    }

    fn frames(&self, batch: &Batch) -> String {
        let mut frames = String::with_capacity(batch.bytes() * 2);
        let time = batch.records.last().map_or(0, |record| record.leaf.time());
        let head = ("batch", time, batch.head_line.as_str());
        for (sort, time, line) in std::iter::once(head)
            .chain(batch.records.iter().map(|r| ("entry", r.leaf.time(), r.line.as_str())))
        {
            let time = Nanos(time / 1000 * 1000).to_string();
            // RFC 5424 takes six decimals.
            let time =
                time.strip_suffix("000Z").map_or_else(|| time.clone(), |time| format!("{time}Z"));
            let message =
                format!("<{PRIORITY}>1 {time} {} countersign - {sort} - \u{feff}{line}", self.ours);
            let _ = write!(frames, "{} {message}", message.len());
        }
        frames
    }

    fn send(&self, batch: &Batch) -> Result<(), String> {
        let mut written = self.written.lock().expect("no holder of the lock panics");
        let kept = written.line.take().and_then(|mut line| line.is_open().then_some(line));
        let mut line = if let Some(line) = kept {
            written.settle();
            line
        } else {
            // What the other side had not read when it ended is lost without an error, and nobody says what that is.
            let mut line = self.connect()?;
            for before in &written.on_the_way {
                line.write(before.frames.as_bytes()).map_err(|error| error.to_string())?;
            }
            line
        };
        let frames = self.frames(batch);
        line.write(frames.as_bytes()).map_err(|error| error.to_string())?;
        written.line = Some(line);
        written.remember((batch.head.from, batch.head.to), frames);
        Ok(())
    }
}

impl Written {
    /// Forgets what was read by now.
    fn settle(&mut self) {
        self.on_the_way.retain(|one| one.at.elapsed() < READ_AFTER);
    }

    /// Remembers a batch, and forgets the oldest ones for it.
    fn remember(&mut self, range: (u64, u64), frames: String) {
        self.on_the_way.push_back(OnTheWay { at: Instant::now(), range, frames });
        let mut bytes: usize = self.on_the_way.iter().map(|one| one.frames.len()).sum();
        while bytes > ON_THE_WAY_BYTES_MAX
            && let Some(oldest) = self.on_the_way.pop_front()
        {
            bytes -= oldest.frames.len();
        }
    }
}

impl Line {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(line) => &line.sock,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(line) => line.write_all(bytes).and_then(|()| line.flush()),
        }
    }

    /// False if the other side has closed it. A syslog server never says anything else.
    fn is_open(&mut self) -> bool {
        let asks = self.socket().set_nonblocking(true);
        let mut byte = [0];
        let read = match self {
            Self::Plain(stream) => stream.read(&mut byte),
            Self::Tls(line) => line.read(&mut byte),
        };
        let open = matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock);
        asks.and_then(|()| self.socket().set_nonblocking(false)).is_ok() && open
    }
}

impl Receiver for Syslog {
    fn deliver(&self, batch: &Batch) -> Answer {
        match self.send(batch) {
            Ok(()) => Answer::Taken,
            Err(why) => Answer::Retry(None, why),
        }
    }

    fn level(&self) -> Level {
        Level::Written
    }

    fn unsure(&self) -> Option<Vec<(u64, u64)>> {
        // Whoever writes now holds it.
        let mut written = self.written.try_lock().ok()?;
        if written.line.as_mut().is_some_and(Line::is_open) {
            written.settle();
        }
        Some(written.on_the_way.iter().map(|one| one.range).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p19_what_was_perhaps_not_read_is_remembered_and_bounded() {
        let mut written = Written::default();
        let width = ON_THE_WAY_BYTES_MAX / 16;
        for number in 0..40 {
            let text = format!("{}{number:02}", " ".repeat(width - 2));
            written.remember((number, number + 1), text);
        }
        let left: Vec<u64> = written.on_the_way.iter().map(|one| one.range.0).collect();
        assert_eq!((left.len(), left[0], left[15]), (16, 24, 39));
        if let Some(long_ago) = Instant::now().checked_sub(READ_AFTER) {
            written.on_the_way[0].at = long_ago;
            written.settle();
            assert_eq!(written.on_the_way.len(), 15);
        }
    }
}
