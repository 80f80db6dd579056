//! `datadog`: Datadog's intake of logs, version 2.

use super::{
    batch::Spec,
    net::Client,
    port::{Answer, Batch, Receiver},
};
use ledger::{clock, system::delivery::Level};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Most bytes of a request, and of one log: it would cut a longer one, and say nothing.
const REQUEST_BYTES_MAX: usize = 5_000_000;
const LOG_BYTES_MAX: usize = 1_000_000;
/// It drops a log whose own time is older than 18 hours. One hour is left for the way there.
const OWN_TIME_MAX: u64 = 17 * 3_600_000_000_000;

/// An intake.
pub struct Datadog {
    client: Client,
    key: Zeroizing<String>,
    host: String,
    tags: String,
}

impl Datadog {
    /// The intake of this client. `host`: what logs name as their host.
    pub fn new(client: Client, key: Zeroizing<String>, host: String, spec: &Spec) -> Self {
        let tags = format!("tenant:{},sink:{}", spec.tenant, spec.name);
        Self { client, key, host, tags }
    }

    /// One log. What is too old comes without a time of its own: it then has the time at which it arrived, and its own one
    /// is in the entry.
    fn log(&self, (sort, time, line): (&str, u64, &str), now: u64) -> String {
        let mut log = json!({
            "ddsource": "countersign", "ddtags": format!("{},sort:{sort}", self.tags), "hostname": self.host,
            "service": "countersign", "message": line,
        });
        if time != 0 && now.saturating_sub(time) < OWN_TIME_MAX {
            log["timestamp"] = Value::from(time / 1_000_000);
        }
        log.to_string()
    }

    fn body(&self, batch: &Batch) -> Result<String, Answer> {
        let now = clock::wall_clock().0;
        let time = batch.records.last().map_or(0, |record| record.leaf.time());
        let head = ("batch", time, batch.head_line.as_str());
        let records = batch.records.iter().map(|r| ("entry", r.leaf.time(), r.line.as_str()));
        let mut body = String::with_capacity(batch.bytes() * 3 / 2);
        for said in std::iter::once(head).chain(records) {
            let log = self.log(said, now);
            Answer::refuse_above(LOG_BYTES_MAX, log.len(), "Datadog cuts a log after 1 MB")?;
            body.push(if body.is_empty() { '[' } else { ',' });
            body.push_str(&log);
        }
        body.push(']');
        Answer::refuse_above(REQUEST_BYTES_MAX, body.len(), "Datadog takes 5 MB at once")?;
        Ok(body)
    }
}

impl Receiver for Datadog {
    fn deliver(&self, batch: &Batch) -> Answer {
        let body = match self.body(batch) {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let headers = [("dd-api-key", self.key.as_str()), ("content-type", "application/json")];
        match self.client.post("api/v2/logs", &headers, body.as_bytes()) {
            Ok(said) if said.status == 202 => Answer::Taken,
            Ok(said) => said.failed(),
            Err(answer) => answer,
        }
    }

    fn level(&self) -> Level {
        Level::Accepted
    }
}
