//! `syslog`: RFC 5424 messages over TLS, each with its length before it (RFC 5425). Nobody answers, so a batch counts as
//! written and no more.

use super::{
    net::Reach,
    port::{Answer, Batch, Receiver},
    trust,
};
use ledger::{system::delivery::Level, time::Nanos};
use std::{
    fmt::Write as _,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use url::Url;

/// Longest wait for a write.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// How long it waits for the sign that the receiver has closed the connection.
const CLOSED_WAIT: Duration = Duration::from_millis(50);
/// Facility 13 (log audit) and severity 6 (informational).
const PRIORITY: u32 = 13 * 8 + 6;
/// Port of syslog over TLS.
const PORT: u16 = 6514;

/// An open connection.
enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A syslog server.
pub struct Syslog {
    host: String,
    port: u16,
    reach: Reach,
    tls: Option<Arc<ClientConfig>>,
    /// What messages name as their host.
    ours: String,
    open: Mutex<Option<Line>>,
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
            open: Mutex::default(),
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
        let time = batch.records.last().map_or(0, |record| record.time);
        let head = ("batch", time, &batch.head_line);
        for (sort, time, line) in
            std::iter::once(head).chain(batch.records.iter().map(|r| ("entry", r.time, &r.line)))
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
        let mut open = self.open.lock().expect("no holder of the lock panics");
        // What is written to a connection that the other side has closed is lost without an error.
        let kept = open.take().and_then(|mut line| line.is_open().then_some(line));
        let mut line = kept.map_or_else(|| self.connect(), Ok)?;
        let frames = self.frames(batch);
        line.write(frames.as_bytes()).map_err(|error| error.to_string())?;
        if line.is_open() {
            *open = Some(line);
            return Ok(());
        }
        Err("the receiver closed the connection".into())
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
        let waits = self.socket().set_read_timeout(Some(CLOSED_WAIT));
        let mut byte = [0];
        let read = match self {
            Self::Plain(stream) => stream.read(&mut byte),
            Self::Tls(line) => line.read(&mut byte),
        };
        let open = matches!(&read, Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        waits.is_ok() && open
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
}
