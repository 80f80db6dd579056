//! `otlp`: OpenTelemetry's logs over HTTP, in protobuf, to a collector or to whoever else speaks it.
//!
//! Each entry is a log record: its line is the body, what people search by are attributes, and it carries the trace of its
//! event. The batch itself is the first record.

mod wire;

use super::{
    batch::Spec,
    format::{severity, text},
    net::{Client, short},
    port::{Answer, Batch, Receiver, Record},
};
use ledger::system::delivery::Level;
use serde_json::Value;
use wire::Message;
use zeroize::Zeroizing;

/// The header that carries a secret as a bearer's.
const BEARER: &str = "authorization";
/// Severities: informational, and the second step of it; a warning; an error.
const SEVERITIES: [(u64, &str); 4] = [(9, "INFO"), (10, "INFO2"), (13, "WARN"), (17, "ERROR")];

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

/// A collector.
pub struct Otlp {
    client: Client,
    /// Name and value of the header with the secret.
    secret: Option<(String, Zeroizing<String>)>,
    resource: Message,
    scope: Message,
}

impl Otlp {
    /// The collector of this client. The secret goes into the header of this name; without one, it is a bearer's.
    pub fn new(
        client: Client,
        (header, secret): (Option<&str>, Option<Zeroizing<String>>),
        host: &str,
        spec: &Spec,
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
        Self { client, secret, resource, scope }
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
    let time = batch.records.last().map_or(0, |record| record.time);
    let sort = if batch.records.is_empty() { "test" } else { "batch" };
    let mut record = log_record(sort, time, (1, &batch.head_line));
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
    let entry: Value = serde_json::from_str(&record.entry).unwrap_or_default();
    let event = &entry["event"];
    let kind = text(&entry, &["kind"]);
    let severity = severity(kind, text(event, &["op"]));
    let mut made = log_record(kind, record.time, (severity, &record.line));
    made.counted(ATTRIBUTES, "countersign.index", record.index);
    let leaf_hash = record.leaf_hash.to_string();
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
    if let Some((trace, span, flags)) = trace(text(event, &["traceparent"])) {
        made.fixed32(FLAGS, flags);
        made.bytes(TRACE_ID, &trace);
        made.bytes(SPAN_ID, &span);
    }
    made
}

/// Trace, span and flags of `00-<32 hexadecimal digits>-<16>-<2>`.
fn trace(parent: &str) -> Option<(Vec<u8>, Vec<u8>, u32)> {
    let mut parts = parent.split('-').skip(1);
    let mut hex = |bytes: usize| {
        let found = data_encoding::HEXLOWER.decode(parts.next()?.as_bytes()).ok()?;
        (found.len() == bytes).then_some(found)
    };
    let (trace, span, flags) = (hex(16)?, hex(8)?, hex(1)?);
    let named = |id: &[u8]| id.iter().any(|byte| *byte != 0);
    (named(&trace) && named(&span)).then(|| (trace, span, u32::from(flags[0])))
}

/// What an answer of success says. How many records were refused is said, but not which: so the batch is refused, and cut
/// until single ones are known. What was taken comes again then, with the same origin and index.
fn taken(body: &[u8]) -> Answer {
    match wire::refused(body) {
        None => Answer::Retry(None, "its answer is not OTLP in protobuf".into()),
        Some((0, _)) => Answer::Taken,
        Some((count, why)) => Answer::Refused(short(&format!("{count} rejected: {why}"))),
    }
}

impl Receiver for Otlp {
    fn deliver(&self, batch: &Batch) -> Answer {
        let mut headers = vec![("content-type", "application/x-protobuf")];
        headers.extend(self.secret.as_ref().map(|(name, value)| (name.as_str(), value.as_str())));
        match self.client.post("v1/logs", &headers, &self.body(batch)) {
            Ok(said) if said.status == 200 => taken(&said.body),
            Ok(said) => said.failed(),
            Err(answer) => answer,
        }
    }

    fn level(&self) -> Level {
        Level::Accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_whole_or_none() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let found = trace(&format!("00-{id}-b7ad6b7169203331-01")).unwrap();
        assert_eq!((found.0.len(), found.1.len(), found.2), (16, 8, 1));
        for text in [
            "",
            "00",
            "00-x-b7ad6b7169203331-01",
            &format!("00-{id}-b7ad6b71692033-01"),
            &format!("00-{id}-0000000000000000-01"),
            &format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            &format!("00-{id}-b7ad6b7169203331"),
        ] {
            assert_eq!(trace(text), None, "{text}");
        }
    }
}
