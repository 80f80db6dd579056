//! `[sink.<name>]`: where a tenant's entries are sent, and what is wrong with it.

use super::{format::FORMATS, net};
use ledger::{
    feed::Question,
    ident::Ident,
    system::delivery::{FIELDS_MAX, TEXT_BYTES_MAX},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use url::Url;

/// Most sinks of one installation.
const SINKS_MAX: usize = 64;
/// Least time between two entries about a sink, in seconds.
const REPORT_SECONDS_MIN: u64 = 60;

/// One sink, for one tenant.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Tenant whose entries it sends.
    pub tenant: String,
    /// Which system receives them: `http`, `file`, `splunk`, `elastic` or `syslog`.
    pub kind: String,
    /// How a record is written: `native`, `ocsf` or `ecs`.
    #[serde(default = "default_format")]
    pub format: String,
    /// Address of the receiver. Not for `file`.
    #[serde(default)]
    pub url: Option<String>,
    /// Folder of the files. For `file` alone.
    #[serde(default)]
    pub dir: Option<PathBuf>,
    /// File with the receiver's secret: a signing secret, a token or an API key. Mode 0600.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Certificate authorities of the receiver. Without it, the public ones.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// True: the receiver's name may lead to an address of a private network or of this machine.
    #[serde(default)]
    pub private_network: bool,
    /// True: the receiver says which batches it has stored (`splunk`).
    #[serde(default)]
    pub acknowledge: bool,
    /// Data stream that takes the records (`elastic`).
    #[serde(default)]
    pub stream: Option<String>,
    /// Payload fields that may leave. None unless they are named.
    #[serde(default)]
    pub payload: Vec<String>,
    /// Most records of a batch.
    #[serde(default = "default_entries")]
    pub batch_entries: usize,
    /// About how many bytes a batch has.
    #[serde(default = "default_bytes")]
    pub batch_bytes: usize,
    /// Bytes after which a new file begins (`file`).
    #[serde(default = "default_file_bytes")]
    pub file_bytes: u64,
    /// Seconds without success after which it is an alarm.
    #[serde(default = "default_alarm")]
    pub alarm_after_seconds: u64,
    /// Seconds between two entries that say how far it is.
    #[serde(default = "default_report")]
    pub report_seconds: u64,
    /// Which entries: names and values of the feed's filter.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
}

fn default_format() -> String {
    "native".into()
}

fn default_entries() -> usize {
    500
}

fn default_bytes() -> usize {
    1 << 20
}

fn default_file_bytes() -> u64 {
    64 << 20
}

fn default_alarm() -> u64 {
    300
}

fn default_report() -> u64 {
    3600
}

impl Setup {
    /// Which entries it sends.
    pub fn question(&self) -> Result<Question, String> {
        if self.filter.contains_key("until") {
            return Err("until: a sink has no end; take `countersign export` for a period".into());
        }
        let pairs = self.filter.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Question::read(pairs).map_err(|wrong| wrong.to_string())
    }
}

/// Every kind of receiver by its name in the configuration.
const KINDS: [&str; 5] = ["http", "file", "splunk", "elastic", "syslog"];

/// Every mistake in the sinks of a configuration, each a line that says what to do.
pub fn mistakes(sinks: &BTreeMap<String, Setup>) -> Vec<String> {
    let mut wrong = Vec::new();
    if sinks.len() > SINKS_MAX {
        wrong.push(format!("sink: at most {SINKS_MAX}"));
    }
    for (name, sink) in sinks {
        let mut add = |what: String| wrong.push(format!("sink.{name}{what}"));
        if Ident::new(name).is_err() {
            add(": a name of a-z, 0-9 and -".into());
        }
        if Ident::new(&sink.tenant).is_err() {
            add(format!(".tenant: {:?} is not a tenant name", sink.tenant));
        }
        if !KINDS.contains(&sink.kind.as_str()) {
            add(format!(".kind: there is no {:?}; there is {}", sink.kind, KINDS.join(", ")));
        }
        if !FORMATS.contains(&sink.format.as_str()) {
            add(format!(".format: there is no {:?}; there is {}", sink.format, FORMATS.join(", ")));
        }
        if let Err(why) = sink.question() {
            add(format!(".filter: {why}"));
        }
        limits_wrong(sink, &mut add);
        place_wrong(sink, &mut add);
        secret_wrong(sink, &mut add);
    }
    wrong
}

/// Reads the address of a receiver.
pub fn address(kind: &str, text: &str) -> Result<Url, String> {
    match kind {
        "syslog" => net::address(text, "tls", "tcp"),
        _ => net::address(text, "https", "http"),
    }
}

fn limits_wrong(sink: &Setup, add: &mut impl FnMut(String)) {
    let bounds: [(&str, u64, std::ops::RangeInclusive<u64>); 5] = [
        ("batch_entries", sink.batch_entries as u64, 1..=1000),
        ("batch_bytes", sink.batch_bytes as u64, 1024..=(8 << 20)),
        ("file_bytes", sink.file_bytes, 4096..=(1 << 40)),
        ("alarm_after_seconds", sink.alarm_after_seconds, 1..=86_400),
        ("report_seconds", sink.report_seconds, REPORT_SECONDS_MIN..=86_400),
    ];
    for (name, value, range) in bounds {
        if !range.contains(&value) {
            add(format!(".{name}: {} to {}", range.start(), range.end()));
        }
    }
    let fits = |name: &String| {
        !name.is_empty() && name.len() <= TEXT_BYTES_MAX && !name.chars().any(char::is_control)
    };
    if sink.payload.len() > FIELDS_MAX || !sink.payload.iter().all(fits) {
        add(format!(".payload: at most {FIELDS_MAX} names of payload fields"));
    }
}

/// Where it sends.
fn place_wrong(sink: &Setup, add: &mut impl FnMut(String)) {
    let kind = sink.kind.as_str();
    if kind == "file" {
        match &sink.dir {
            Some(dir) if dir.is_absolute() && dir.is_dir() => {}
            Some(dir) => add(format!(
                ".dir: an absolute path of a folder that is there, for this server's user; {} is not",
                dir.display()
            )),
            None => add(".dir: it is missing; the folder that gets the files".into()),
        }
    } else {
        if sink.dir.is_some() {
            add(format!(".dir: only kind file has a folder, {kind} has a url"));
        }
        match &sink.url {
            None => add(".url: it is missing; the address of the receiver".into()),
            Some(url) => {
                if let Err(why) = address(kind, url) {
                    add(format!(".url: {why}"));
                }
            }
        }
    }
    let only = [
        ("url", sink.url.is_some(), kind != "file"),
        ("acknowledge", sink.acknowledge, kind == "splunk"),
        ("stream", sink.stream.is_some(), kind == "elastic"),
        ("secret_file", sink.secret_file.is_some(), !matches!(kind, "file" | "syslog")),
        ("tls_ca_file", sink.tls_ca_file.is_some(), kind != "file"),
    ];
    for (name, given, has) in only {
        if given && !has && KINDS.contains(&kind) {
            add(format!(".{name}: kind {kind} has none"));
        }
    }
    if kind == "elastic" {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let fits = |name: &str| {
            (1..=100).contains(&name.len())
                && name.chars().all(word)
                && !name.starts_with(['-', '_', '.'])
        };
        if !sink.stream.as_deref().is_some_and(fits) {
            add(".stream: the data stream, of a-z, 0-9, - _ and ., e.g. logs-countersign-default"
                .into());
        }
    }
}

fn secret_wrong(sink: &Setup, add: &mut impl FnMut(String)) {
    match &sink.secret_file {
        None if matches!(sink.kind.as_str(), "http" | "splunk" | "elastic") => {
            add(".secret_file: it is missing; a file with the receiver's secret".into());
        }
        None => {}
        Some(path) => {
            if let Some(why) = open_to_others(path) {
                add(format!(".secret_file: {why}"));
            }
        }
    }
}

/// Why a secret is none.
fn open_to_others(path: &Path) -> Option<String> {
    let path_text = path.display();
    match std::fs::metadata(path) {
        Err(error) => Some(format!("{path_text}: {error}")),
        Ok(found) if !found.is_file() => Some(format!("{path_text} is no file")),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            Some(format!("{path_text} can be read by others: chmod 600 it, and make a new secret"))
        }
        Ok(_) => None,
    }
}
