//! Load over HTTP/1.1: one request at a time on each connection, with as little overhead as possible.

use super::{super::Failed, site::Site};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};

/// Connections of an open loop. They are more than ever wait at once.
const OPEN_LOOP_CONNECTIONS: usize = 64;

/// What the first result of an answer says, within its first bytes.
const POSTED: &[u8] = b"\"posted\"";
const FIRST_RESULT_BYTES: usize = 200;

/// Times, for percentiles.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Sorts the times, for [`Latencies::at`].
    pub fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self
    }

    /// The percentile; zero if there are none.
    pub fn at(&self, percent: usize) -> Duration {
        self.0
            .get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    /// Number of times.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Result of a load.
pub struct Done {
    /// Number of events or requests.
    pub events: u64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Latency of each request.
    pub latencies: Latencies,
}

/// A load against one server.
#[derive(Clone)]
pub struct Load {
    address: SocketAddr,
    publisher: String,
    admin: String,
    next: Arc<AtomicU64>,
}

impl Load {
    /// A load for a site.
    pub fn new(site: &Site) -> Self {
        let begin = first_number();
        Self {
            address: site.address,
            publisher: site.publisher.trim().into(),
            admin: site.admin.trim().into(),
            next: Arc::new(AtomicU64::new(begin)),
        }
    }

    /// Size of one event in bytes.
    pub fn event_bytes(&self) -> usize {
        event(self.next.load(Ordering::Relaxed)).len()
    }

    fn publish_request(&self, count: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(count * 900);
        for _ in 0..count {
            body.extend_from_slice(event(self.next.fetch_add(1, Ordering::Relaxed)).as_bytes());
            body.push(b'\n');
        }
        let mut request = format!(
            "POST /v1/tenants/bench/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nContent-Type: \
             application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            self.publisher,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        request
    }

    /// Publishes batches on each connection, one after the other, until the time is over.
    pub async fn batches(
        &self,
        connections: usize,
        size: usize,
        time: Duration,
    ) -> Result<Done, Failed> {
        let end = Instant::now() + time;
        self.publish_while(connections, size, move |_| Instant::now() < end).await
    }

    /// Publishes until `total` events are posted.
    pub async fn fill(&self, connections: usize, size: usize, total: u64) -> Result<Done, Failed> {
        let target = self.next.load(Ordering::Relaxed) + total;
        self.publish_while(connections, size, move |next| next < target).await
    }

    async fn publish_while(
        &self,
        connections: usize,
        size: usize,
        go_on: impl Fn(u64) -> bool + Clone + Send + 'static,
    ) -> Result<Done, Failed> {
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (load, go_on) = (self.clone(), go_on.clone());
            tasks.spawn(async move {
                let mut connection = Connection::open(load.address).await?;
                let mut latencies = Latencies::default();
                while go_on(load.next.load(Ordering::Relaxed)) {
                    let request = load.publish_request(size);
                    let begin = Instant::now();
                    connection.ask(&request).await?;
                    latencies.add(begin.elapsed());
                    connection.posted()?;
                }
                Ok::<_, io::Error>(latencies)
            });
        }
        collect(tasks, begin, size as u64).await
    }

    /// Sends `size` events `rate` times a second, whatever the answers. Latency counts from the intended time.
    pub async fn open_loop(&self, rate: u64, size: usize, time: Duration) -> Result<Done, Failed> {
        let begin = Instant::now();
        let total = rate * time.as_secs();
        let turn = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..OPEN_LOOP_CONNECTIONS {
            let (load, turn) = (self.clone(), Arc::clone(&turn));
            tasks.spawn(async move {
                let mut connection = Connection::open(load.address).await?;
                let mut latencies = Latencies::default();
                loop {
                    let n = turn.fetch_add(1, Ordering::Relaxed);
                    if n >= total {
                        return Ok::<_, io::Error>(latencies);
                    }
                    let meant = begin + Duration::from_nanos(n * 1_000_000_000 / rate);
                    tokio::time::sleep_until(meant.into()).await;
                    connection.ask(&load.publish_request(size)).await?;
                    latencies.add(meant.elapsed());
                }
            });
        }
        collect(tasks, begin, size as u64).await
    }

    /// Asks for receipts of entries spread over the first `leaves`.
    pub async fn receipts(
        &self,
        clients: usize,
        leaves: u64,
        time: Duration,
    ) -> Result<Done, Failed> {
        let begin = Instant::now();
        let end = begin + time;
        let room = Arc::new(Semaphore::new(clients));
        let mut tasks = JoinSet::new();
        for client in 0..clients as u64 {
            let (load, room) = (self.clone(), Arc::clone(&room));
            tasks.spawn(async move {
                let _permit = room.acquire_owned().await.map_err(io::Error::other)?;
                let mut connection = Connection::open(load.address).await?;
                let mut latencies = Latencies::default();
                // A full-period generator (Knuth's MMIX constants): spread, and the same in every run.
                let mut random = client;
                while Instant::now() < end {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let index = (random >> 11) % leaves.max(1);
                    let request = format!(
                        "GET /v1/tenants/bench/receipts?index={index} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer \
                         {}\r\n\r\n",
                        load.admin
                    );
                    let begin = Instant::now();
                    connection.ask(request.as_bytes()).await?;
                    latencies.add(begin.elapsed());
                }
                Ok::<_, io::Error>(latencies)
            });
        }
        collect(tasks, begin, 1).await
    }
}

async fn collect(
    mut tasks: JoinSet<io::Result<Latencies>>,
    begin: Instant,
    events_each: u64,
) -> Result<Done, Failed> {
    let mut latencies = Latencies::default();
    while let Some(done) = tasks.join_next().await {
        let done = done.map_err(io::Error::other)??;
        latencies.0.extend(done.0);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let events = latencies.count() as u64 * events_each;
    Ok(Done { events, seconds, latencies: latencies.sorted() })
}

/// Where event numbers begin: with the clock, so that a second load repeats none. An event's number is below 2^53, and
/// no load comes near four million events a second.
pub fn first_number() -> u64 {
    ledger::clock::wall_clock().seconds() << 22
}

/// A decision of about 800 bytes: plain part, labels, and a payload of four fields.
pub fn event(number: u64) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"pay-{number}","source":"/gateways/bench","type":"dev.countersign.decision.v1","time":"2026-11-20T05:48:00.123Z","sequence":"{number}","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e{:04x}-00f067aa0ba902b7-01","data":{{"agent":{{"id":"agt-payments-{}","run":"run-{}","chain":["agt-planner","agt-payments"]}},"tool":{{"name":"bank","action":"transfer"}},"verdict":"allow","mode":"enforce","reason":{{"code":"within_limit"}},"policy":{{"id":"payments","version":"42"}},"latency_us":812,"labels":{{"region":"eu","team":"finance"}},"payload":{{"params":{{"amount":{},"currency":"EUR","iban":"DE8937040044053201{:04}","memo":"invoice {number}"}},"nonce":"AAECAwQFBgcICQoLDA0ODw","owner":"kim","reason_text":"below the limit of the team"}}}}}}"#,
        number % 65_536,
        number % 97,
        number % 1009,
        number % 100_000,
        number % 10_000,
    )
}

/// Sends each request once, over `clients` connections. Returns the answers in the order of the requests.
pub async fn each(
    address: SocketAddr,
    clients: usize,
    requests: Vec<Vec<u8>>,
) -> Result<(Done, Vec<Vec<u8>>), Failed> {
    paced(address, clients, requests, None).await
}

/// As [`each`]; with `rate`, so many requests begin each second, whatever the answers. Latency then counts from the
/// intended time.
pub async fn paced(
    address: SocketAddr,
    clients: usize,
    requests: Vec<Vec<u8>>,
    rate: Option<u64>,
) -> Result<(Done, Vec<Vec<u8>>), Failed> {
    let (begin, requests) = (Instant::now(), Arc::new(requests));
    let turn = Arc::new(AtomicUsize::new(0));
    let answers = Arc::new(Mutex::new(vec![Vec::new(); requests.len()]));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (requests, turn) = (Arc::clone(&requests), Arc::clone(&turn));
        let answers = Arc::clone(&answers);
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut latencies = Latencies::default();
            while let Some((at, request)) = {
                let at = turn.fetch_add(1, Ordering::Relaxed);
                requests.get(at).map(|request| (at, request))
            } {
                let meant = match rate {
                    None => Instant::now(),
                    Some(rate) => begin + Duration::from_nanos(at as u64 * 1_000_000_000 / rate),
                };
                tokio::time::sleep_until(meant.into()).await;
                connection.ask(request).await?;
                latencies.add(meant.elapsed());
                let mut answers = answers.lock().expect("no holder of the lock panics");
                answers[at].clone_from(&connection.body);
            }
            Ok::<_, io::Error>(latencies)
        });
    }
    let done = collect(tasks, begin, 1).await?;
    let answers = std::mem::take(&mut *answers.lock().expect("no holder of the lock panics"));
    Ok((done, answers))
}

/// An HTTP/1.1 request. `headers` are whole lines, each with its line end.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n");
    format!("{head}{headers}\r\n{body}").into_bytes()
}

/// One keep-alive connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    /// Body of the last answer.
    pub body: Vec<u8>,
    /// Name and value of the cookie that the last answer set.
    pub cookie: Option<String>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(64 << 10, stream);
        Ok(Self { stream, line: String::new(), body: Vec::new(), cookie: None })
    }

    /// Refuses an answer whose first event was not posted: another load than the one meant would be measured.
    fn posted(&self) -> io::Result<()> {
        let first = &self.body[..self.body.len().min(FIRST_RESULT_BYTES)];
        if first.windows(POSTED.len()).any(|text| text == POSTED) {
            return Ok(());
        }
        Err(io::Error::other(format!("not posted: {}", String::from_utf8_lossy(first))))
    }

    /// Sends a request and reads the whole answer. Any status but 200 or 303 is an error.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        let mut length = 0;
        let mut status = String::new();
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = self.line.trim_end();
            if line.is_empty() {
                break;
            }
            if status.is_empty() {
                line.clone_into(&mut status);
            }
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("set-cookie") {
                self.cookie = value.split(';').next().map(str::to_owned);
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).await?;
        if status.contains(" 200 ") || status.contains(" 303 ") {
            Ok(())
        } else {
            Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&self.body))))
        }
    }
}
