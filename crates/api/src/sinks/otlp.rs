//! `otlp`: OpenTelemetry's logs and spans, in protobuf, to a collector or to whoever else speaks it.
//!
//! Each entry is a log record: its line is the body, what people search by are attributes, and it carries the trace of its
//! event. The batch itself is the first record. Decisions and approvals are spans.

mod options;
mod spans;

pub use options::{Options, Protocol, Words};

use super::{
    batch::Spec,
    format::{severity, text},
    grpc::Grpc,
    net::{Client, short},
    port::{Answer, Batch, Receiver, Record},
    protobuf::{self, Message},
    span::Context,
};
use ledger::system::delivery::Level;
use serde_json::Value;
use zeroize::Zeroizing;

/// The header that carries a secret as a bearer's.
const BEARER: &str = "authorization";
/// Severities: informational, and the second step of it; a warning; an error.
const SEVERITIES: [(u64, &str); 4] = [(9, "INFO"), (10, "INFO2"), (13, "WARN"), (17, "ERROR")];

/// Where each signal goes: path of OTLP/HTTP, service of OTLP/gRPC.
const LOGS: (&str, &str) = ("v1/logs", "logs.v1.LogsService");
const TRACES: (&str, &str) = ("v1/traces", "trace.v1.TraceService");

// Field numbers of `LogRecord`.
const TIME: u64 = 1;
const SEVERITY_NUMBER: u64 = 2;
const SEVERITY_TEXT: u64 = 3;
const BODY: u64 = 5;
const ATTRIBUTES: u64 = 6;
const FLAGS: u64 = 8;
const TRACE_ID: u64 = 9;
const SPAN_ID: u64 = 10;
const OBSERVED_TIME: u64 = 11;
const EVENT_NAME: u64 = 12;

/// How a collector is called.
pub enum Road {
    /// OTLP/HTTP, in protobuf.
    Http(Client),
    /// OTLP/gRPC.
    Grpc(Grpc),
}

/// A collector.
pub struct Otlp {
    road: Road,
    /// Name and value of the header with the secret.
    secret: Option<(String, Zeroizing<String>)>,
    resource: Message,
    scope: Message,
    options: Options,
    spec: Spec,
}

impl Otlp {
    /// The collector at the end of this road. The secret goes into the header of this name; without one, it is a bearer's.
    pub fn new(
        road: Road,
        (header, secret): (Option<&str>, Option<Zeroizing<String>>),
        host: &str,
        (spec, options): (&Spec, Options),
    ) -> Self {
        let secret = secret.map(|secret| match header {
            Some(name) => (name.to_owned(), secret),
            None => (BEARER.to_owned(), Zeroizing::new(format!("Bearer {}", secret.as_str()))),
        });
        let mut resource = Message::default();
        for (key, text) in [
            ("service.name", "countersign"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("host.name", host),
            ("countersign.tenant", spec.tenant.as_str()),
            ("countersign.sink", spec.name.as_str()),
        ] {
            resource.pair(1, key, text);
        }
        let mut scope = Message::default();
        scope.bytes(1, format!("countersign/{}", spec.format.as_str()).as_bytes());
        scope.bytes(2, spec.format.version().as_bytes());
        Self { road, secret, resource, scope, options, spec: spec.clone() }
    }

    /// `ExportLogsServiceRequest`, with one `ResourceLogs` of one `ScopeLogs`.
    fn body(&self, batch: &Batch) -> Vec<u8> {
        let (mut logs, mut of, mut request) =
            (Message::default(), Message::default(), Message::default());
        logs.message(1, &self.scope);
        logs.message(2, &head(batch));
        for record in &batch.records {
            logs.message(2, &said(&batch.head.origin, record));
        }
        of.message(1, &self.resource);
        of.message(2, &logs);
        request.message(1, &of);
        request.into_bytes()
    }
}

/// What every record says. Its time is the log's own: a producer's clock may be wrong.
fn log_record(sort: &str, time: u64, (severity, body): (u64, &str)) -> Message {
    let (number, text) = SEVERITIES[severity.clamp(1, 4) as usize - 1];
    let (mut record, mut value) = (Message::default(), Message::default());
    value.bytes(1, body.as_bytes());
    record.fixed64(TIME, time);
    record.fixed64(OBSERVED_TIME, time);
    record.number(SEVERITY_NUMBER, number);
    record.bytes(SEVERITY_TEXT, text.as_bytes());
    record.message(BODY, &value);
    record.bytes(EVENT_NAME, format!("countersign.{sort}").as_bytes());
    record
}

/// What the batch says of itself; of a test, what it says.
fn head(batch: &Batch) -> Message {
    let time = batch.records.last().map_or(0, |record| record.leaf.time());
    let sort = if batch.records.is_empty() { "test" } else { "batch" };
    let mut record = log_record(sort, time, (1, batch.head_line.as_str()));
    record.pair(ATTRIBUTES, "countersign.origin", &batch.head.origin);
    if !batch.records.is_empty() {
        let head = &batch.head;
        for (key, number) in [
            ("countersign.batch.from", head.from),
            ("countersign.batch.to", head.to),
            ("countersign.batch.count", head.count as u64),
            ("countersign.batch.size", head.size),
        ] {
            record.counted(ATTRIBUTES, key, number);
        }
        record.pair(ATTRIBUTES, "countersign.batch.digest", &head.digest.to_string());
        record.pair(ATTRIBUTES, "countersign.batch.root", &head.root.to_string());
    }
    record
}

fn said(origin: &str, record: &Record) -> Message {
    let entry: Value = serde_json::from_str(&record.leaf.entry).unwrap_or_default();
    let event = &entry["event"];
    let kind = text(&entry, &["kind"]);
    let severity = severity(kind, text(event, &["op"]));
    let mut made = log_record(kind, record.leaf.time(), (severity, &record.line));
    made.counted(ATTRIBUTES, "countersign.index", record.leaf.index);
    let leaf_hash = record.leaf.hash.to_string();
    let named: [(&str, &str); 16] = [
        ("countersign.origin", origin),
        ("countersign.leaf_hash", &leaf_hash),
        ("countersign.kind", kind),
        ("countersign.producer", text(&entry, &["producer"])),
        ("countersign.event.id", text(event, &["id"])),
        ("countersign.event.source", text(event, &["source"])),
        ("countersign.event.time", text(event, &["time"])),
        ("countersign.approval_id", text(event, &["approval_id"])),
        ("countersign.verdict", text(event, &["data", "verdict"])),
        ("countersign.mode", text(event, &["data", "mode"])),
        ("countersign.reason.code", text(event, &["data", "reason", "code"])),
        ("countersign.policy.id", text(event, &["data", "policy", "id"])),
        ("countersign.policy.version", text(event, &["data", "policy", "version"])),
        ("countersign.agent.id", text(event, &["data", "agent", "id"])),
        ("countersign.tool.name", text(event, &["data", "tool", "name"])),
        ("countersign.tool.action", text(event, &["data", "tool", "action"])),
    ];
    for (key, text) in named.into_iter().filter(|(_, text)| !text.is_empty()) {
        made.pair(ATTRIBUTES, key, text);
    }
    if let Some(context) = Context::read(text(event, &["traceparent"])) {
        made.fixed32(FLAGS, context.flags);
        made.bytes(TRACE_ID, &context.trace);
        made.bytes(SPAN_ID, &context.span);
    }
    made
}

/// What an answer of success says. How many records were refused is said, but not which: so the batch is refused, and cut
/// until single ones are known. What was taken comes again then, with the same origin and index.
fn taken(body: &[u8]) -> Answer {
    match protobuf::refused(body) {
        None => Answer::Retry(None, "its answer is not OTLP in protobuf".into()),
        Some((0, _)) => Answer::Taken,
        Some((count, why)) => Answer::Refused(short(&format!("{count} rejected: {why}"))),
    }
}

impl Otlp {
    /// Sends the request of a signal: its path over HTTP, and its service over gRPC.
    fn send(&self, (path, service): (&str, &str), body: &[u8], records: usize) -> Answer {
        let mut headers = Vec::new();
        headers.extend(self.secret.as_ref().map(|(name, value)| (name.as_str(), value.as_str())));
        match &self.road {
            Road::Http(client) => {
                headers.push(("content-type", "application/x-protobuf"));
                match client.post(path, &headers, body) {
                    Ok(said) if said.status == 200 => taken(&said.body),
                    Ok(said) => said.failed(),
                    Err(answer) => answer,
                }
            }
            Road::Grpc(client) => {
                let method = format!("/opentelemetry.proto.collector.{service}/Export");
                match client.call(&method, &headers, body) {
                    Ok(message) => taken(&message),
                    Err(status) => status.failed(records),
                }
            }
        }
    }
}

impl Receiver for Otlp {
    /// The spans first: a batch is taken when its log records are. What was taken before a failure comes again as it was.
    fn deliver(&self, batch: &Batch) -> Answer {
        let records = batch.records.len();
        if let Some(body) = spans::request(batch, &self.spec, &self.resource) {
            let answer = self.send(TRACES, &body, records);
            if answer != Answer::Taken {
                return answer;
            }
        }
        if self.options.logs { self.send(LOGS, &self.body(batch), records) } else { Answer::Taken }
    }

    fn level(&self) -> Level {
        Level::Accepted
    }
}
