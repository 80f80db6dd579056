//! `elastic`: `_bulk` of Elasticsearch and `OpenSearch`, into a data stream. The id of a document is origin and index, so what
//! comes twice is there once.

use super::{
    net::{Client, short},
    port::{Answer, Batch, Receiver},
};
use ledger::system::delivery::Level;
use serde_json::{Value, json};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// A cluster.
pub struct Elastic {
    client: Client,
    key: Zeroizing<String>,
    stream: String,
}

impl Elastic {
    /// The cluster of this client. `key`: an API key, encoded as Elasticsearch gives it.
    pub fn new(client: Client, key: &str, stream: String) -> Self {
        Self { client, key: Zeroizing::new(format!("ApiKey {key}")), stream }
    }

    fn body(batch: &Batch) -> String {
        let head = &batch.head;
        let mut body = String::with_capacity(batch.bytes() * 2);
        let first = (format!("{}/{}", head.origin, batch.id), batch.head_line.as_str());
        let records = batch
            .records
            .iter()
            .map(|r| (format!("{}/{}", head.origin, r.leaf.index), r.line.as_str()));
        for (id, line) in std::iter::once(first).chain(records) {
            let _ = writeln!(body, "{}\n{line}", json!({"create": {"_id": id}}));
        }
        body
    }

    /// What the items say: one for the head, and one for each record.
    fn items(batch: &Batch, body: &[u8]) -> Answer {
        let told: Value = serde_json::from_slice(body).unwrap_or_default();
        // Nothing failed. Receivers that only speak this protocol do not always repeat every item.
        if told["errors"] == Value::Bool(false) {
            return Answer::Taken;
        }
        let items = told["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if items.len() != batch.records.len() + 1 {
            return Answer::Retry(
                None,
                format!("{} answers to {} records", items.len(), batch.records.len() + 1),
            );
        }
        let mut refused = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let item = &item["create"];
            let status = item["status"].as_u64().unwrap_or(0);
            let error = &item["error"];
            let sort = error["type"].as_str().unwrap_or_default();
            // The reason can repeat what is in the record: its first words alone.
            let reason = error["reason"].as_str().unwrap_or_default();
            let words = || short(&format!("{status} {sort}: {reason}"));
            match status {
                // 409: it is there already.
                200..300 | 409 => {}
                // Of the document: mapping, size, form. The head is ours: if it can't be taken, the stream is wrong.
                400 | 413 | 422 if place > 0 => refused.push((place - 1, words())),
                _ => return Answer::Retry(None, words()),
            }
        }
        if refused.is_empty() { Answer::Taken } else { Answer::Partly(refused) }
    }
}

impl Receiver for Elastic {
    fn deliver(&self, batch: &Batch) -> Answer {
        let headers =
            [("authorization", self.key.as_str()), ("content-type", "application/x-ndjson")];
        let path = format!("{}/_bulk", self.stream);
        match self.client.post(&path, &headers, Self::body(batch).as_bytes()) {
            Ok(said) if said.status == 200 => Self::items(batch, &said.body),
            Ok(said) if said.status == 413 => said.failed(),
            Ok(said) => Answer::Retry(said.after, said.words()),
            Err(answer) => answer,
        }
    }

    fn level(&self) -> Level {
        Level::Acknowledged
    }
}
