//! How a record is written for its receiver: pure functions of the entry, each with a version and golden files
//! (`proto/formats/sinks.md`).

mod cef;
mod ecs;
mod native;
mod ocsf;

use super::head::Head;
use ledger::log::merkle::Hash;
pub use ocsf::severity;
use ocsf::{correlation, outcome, person};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A form of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The entry, byte for byte.
    Native,
    /// OCSF, in one of its versions.
    Ocsf(Ocsf),
    /// Elastic Common Schema 8.17.
    Ecs,
    /// `ArcSight`'s Common Event Format.
    Cef,
}

/// A version of OCSF. What is written has the same meaning in all of them, and each validates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ocsf {
    /// 1.5.0.
    V15,
    /// 1.6.0.
    V16,
    /// 1.7.0.
    V17,
    /// 1.8.0.
    #[default]
    V18,
    /// 1.9.0, which is younger than what most consumers know.
    V19,
}

impl Ocsf {
    /// Every version, the newest first.
    pub const ALL: [Self; 5] = [Self::V19, Self::V18, Self::V17, Self::V16, Self::V15];

    /// The version with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == name)
    }

    /// Its name in the configuration, and in `metadata.version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V15 => "1.5.0",
            Self::V16 => "1.6.0",
            Self::V17 => "1.7.0",
            Self::V18 => "1.8.0",
            Self::V19 => "1.9.0",
        }
    }
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
    pub fn proof(&self, index: u64) -> String {
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
    /// Every format, OCSF in its newest version.
    pub const ALL: [Self; 4] = [Self::Native, Self::Ocsf(Ocsf::V18), Self::Ecs, Self::Cef];

    /// The format with this name.
    pub fn parse(name: &str, ocsf: Ocsf) -> Option<Self> {
        let format = Self::ALL.into_iter().find(|format| format.as_str() == name)?;
        Some(if let Self::Ocsf(_) = format { Self::Ocsf(ocsf) } else { format })
    }

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ocsf(_) => "ocsf",
            Self::Ecs => "ecs",
            Self::Cef => "cef",
        }
    }

    /// True if each of its lines is JSON.
    pub fn is_json(self) -> bool {
        self != Self::Cef
    }

    /// Its name with the version.
    pub fn version(self) -> String {
        match self {
            Self::Native => "native/1".into(),
            Self::Ocsf(version) => format!("ocsf/{}-1", version.as_str()),
            Self::Ecs => "ecs/8.17-1".into(),
            Self::Cef => "cef/0-1".into(),
        }
    }

    /// One record, on one line.
    pub fn record(self, site: &Site, source: &Source<'_>) -> String {
        match self {
            Self::Native => native::record(site, source),
            Self::Ocsf(version) => ocsf::record(site, source, version).to_string(),
            Self::Ecs => ecs::record(site, source).to_string(),
            Self::Cef => cef::record(site, source),
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
            Self::Ocsf(version) => ocsf::said(site, (name, said), time, version).to_string(),
            Self::Ecs => ecs::said((name, said), time).to_string(),
            Self::Cef => cef::said(site, (name, said), time),
        }
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// A text of a value, empty where there is none.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// Milliseconds since 1970 of an RFC 3339 time.
fn millis(text: &str) -> Option<u64> {
    ledger::time::Nanos::parse(text).map(|time| time.0 / 1_000_000)
}

#[cfg(test)]
mod tests;
