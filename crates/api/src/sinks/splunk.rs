//! `splunk`: the HTTP Event Collector, with indexer acknowledgement where the token has it.

use super::{
    net::Client,
    port::{Answer, Batch, Receiver},
};
use ledger::system::delivery::Level;
use serde_json::Value;
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// Longest wait for the indexers.
const INDEXED_WAIT: Duration = Duration::from_secs(60);
/// The first pause between two questions about them, and the longest one: each is twice the one before.
const ASK_FIRST: Duration = Duration::from_millis(20);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Codes of HEC that are about the content: no data, invalid format, no event, event blank, fields wrong.
const OF_CONTENT: [i64; 5] = [5, 6, 12, 13, 15];

/// A collector.
pub struct Splunk {
    client: Client,
    token: Zeroizing<String>,
    host: String,
    /// The channel of this sink, if the indexers acknowledge.
    channel: Option<String>,
}

impl Splunk {
    /// The collector of this client. `host`: what events name as their host.
    pub fn new(client: Client, token: &str, host: String, acknowledge: bool) -> Self {
        let token = Zeroizing::new(format!("Splunk {token}"));
        Self { client, token, host, channel: acknowledge.then(channel) }
    }

    fn body(&self, batch: &Batch) -> String {
        let host = Value::from(self.host.as_str());
        let mut body = String::with_capacity(batch.bytes() * 2);
        let time = batch.records.first().map_or(0, |record| record.leaf.time());
        let head = ("countersign:batch", time, batch.head_line.as_str());
        let records =
            batch.records.iter().map(|r| ("countersign:entry", r.leaf.time(), r.line.as_str()));
        for (sort, time, line) in std::iter::once(head).chain(records) {
            // HEC takes milliseconds; the exact time is in the event.
            let (seconds, millis) = (time / 1_000_000_000, time / 1_000_000 % 1000);
            let _ = writeln!(
                body,
                "{{\"time\":{seconds}.{millis:03},\"host\":{host},\"source\":\"countersign\",\"sourcetype\":\"{sort}\",\"event\":{line}}}"
            );
        }
        body
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers =
            vec![("authorization", self.token.as_str()), ("content-type", "application/json")];
        headers.extend(self.channel.as_deref().map(|id| ("x-splunk-request-channel", id)));
        headers
    }

    /// Waits until the indexers have it.
    fn indexed(&self, said: &Value) -> Answer {
        let Some(id) = said["ackId"].as_u64() else {
            let why = "no ackId: switch indexer acknowledgement on for this token, or set acknowledge = false";
            return Answer::Retry(None, why.into());
        };
        let question = serde_json::json!({"acks": [id]}).to_string();
        let (begun, mut pause) = (Instant::now(), ASK_FIRST);
        while begun.elapsed() < INDEXED_WAIT {
            let asked =
                self.client.post("services/collector/ack", &self.headers(), question.as_bytes());
            match asked {
                Ok(said) if said.status == 200 => {
                    let said: Value = serde_json::from_slice(&said.body).unwrap_or_default();
                    if said["acks"][id.to_string()] == Value::Bool(true) {
                        return Answer::Taken;
                    }
                }
                Ok(said) => return Answer::Retry(said.after, said.words()),
                Err(answer) => return answer,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(ASK_EVERY);
        }
        Answer::Retry(None, "the indexers did not acknowledge in time".into())
    }
}

/// A random channel: a UUID, version 4.
fn channel() -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&ledger::keyring::random(16));
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl Receiver for Splunk {
    fn deliver(&self, batch: &Batch) -> Answer {
        let body = self.body(batch);
        let said =
            match self.client.post("services/collector/event", &self.headers(), body.as_bytes()) {
                Ok(said) => said,
                Err(answer) => return answer,
            };
        let told: Value = serde_json::from_slice(&said.body).unwrap_or_default();
        match (said.status, told["code"].as_i64()) {
            (200, Some(0)) if self.channel.is_some() => self.indexed(&told),
            (200, Some(0)) => Answer::Taken,
            (400, Some(code)) if OF_CONTENT.contains(&code) => Answer::Refused(said.words()),
            (413, _) => Answer::Refused(said.words()),
            // A wrong token, index or channel is nothing of the records.
            _ => Answer::Retry(said.after, said.words()),
        }
    }

    fn level(&self) -> Level {
        if self.channel.is_some() { Level::Acknowledged } else { Level::Accepted }
    }
}
