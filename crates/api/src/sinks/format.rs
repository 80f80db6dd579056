//! How a record is written for its receiver: pure functions of the entry, each with a version and golden files
//! (`proto/formats/sinks.md`).

mod ecs;
mod native;
mod ocsf;

use super::port::Head;
use ledger::log::merkle::Hash;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every format by its name in the configuration.
pub const FORMATS: [&str; 3] = ["native", "ocsf", "ecs"];

/// A form of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The entry, byte for byte.
    Native,
    /// OCSF 1.8.0.
    Ocsf,
    /// Elastic Common Schema 8.17.
    Ecs,
}

/// What is the same in every record of a sink.
#[derive(Clone, Debug)]
pub struct Site {
    /// Origin of the log.
    pub origin: String,
    /// The tenant.
    pub tenant: String,
    /// Name of the sink.
    pub sink: String,
    /// `public_url`, without a slash at its end.
    pub url: String,
}

/// What one record is made of.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Leaf index.
    pub index: u64,
    /// Leaf hash.
    pub leaf_hash: &'a Hash,
    /// The entry's bytes.
    pub entry: &'a str,
    /// The payload fields that may leave, in RFC 8785 form.
    pub payload: &'a BTreeMap<String, Vec<u8>>,
}

impl Source<'_> {
    /// The payload as JSON.
    fn values(&self) -> Value {
        let value = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
        self.payload.iter().map(|(name, bytes)| (name.clone(), value(bytes))).collect()
    }
}

impl Site {
    /// Where the receipt of an entry is, for somebody with a key.
    fn proof(&self, index: u64) -> String {
        format!("{}/v1/tenants/{}/receipts?index={index}", self.url, self.tenant)
    }

    /// What every format says of an entry.
    fn place(&self, source: &Source<'_>) -> serde_json::Map<String, Value> {
        let place = json!({
            "origin": self.origin, "index": source.index, "leaf_hash": source.leaf_hash, "proof": self.proof(source.index),
        });
        match place {
            Value::Object(place) => place,
            _ => serde_json::Map::new(),
        }
    }
}

impl Format {
    /// The format with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Native, Self::Ocsf, Self::Ecs].into_iter().find(|format| format.as_str() == name)
    }

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => FORMATS[0],
            Self::Ocsf => FORMATS[1],
            Self::Ecs => FORMATS[2],
        }
    }

    /// Its name with the version.
    fn version(self) -> &'static str {
        match self {
            Self::Native => "native/1",
            Self::Ocsf => "ocsf/1.8.0-1",
            Self::Ecs => "ecs/8.17-1",
        }
    }

    /// One record, on one line.
    pub fn record(self, site: &Site, source: &Source<'_>) -> String {
        match self {
            Self::Native => native::record(site, source),
            Self::Ocsf => ocsf::record(site, source).to_string(),
            Self::Ecs => ecs::record(site, source).to_string(),
        }
    }

    /// What a batch says of itself, on one line. `time`: nanoseconds since 1970.
    pub fn head(self, site: &Site, head: &Head, time: u64) -> String {
        let Head { origin, sink, from, to, count, digest, size, root } = head;
        let said = json!({
            "origin": origin, "from": from, "to": to, "count": count, "digest": digest, "size": size, "root": root,
            "sink": sink, "format": self.version(),
        });
        self.said(site, ("batch", &said), time)
    }

    /// A record of a test, on one line: it is about no entry.
    pub fn test(self, site: &Site, time: u64) -> String {
        let said = json!({"origin": site.origin, "sink": site.sink, "format": self.version()});
        self.said(site, ("test", &said), time)
    }

    fn said(self, site: &Site, (name, said): (&str, &Value), time: u64) -> String {
        match self {
            Self::Native => json!({name: said}).to_string(),
            Self::Ocsf => ocsf::said(site, (name, said), time).to_string(),
            Self::Ecs => ecs::said((name, said), time).to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
