//! `[sink.<name>]`: where a tenant's entries are sent, and what is wrong with it.

use super::{
    format::{Format, Ocsf},
    kind::{Kind, Secret},
    net::{self, Way},
    otlp::{Options, Protocol, Words},
};
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
/// Azure's public cloud.
const LOGIN_URL: &str = "https://login.microsoftonline.com";
/// Least time between two entries about a sink, in seconds.
const REPORT_SECONDS_MIN: u64 = 60;

/// One sink, for one tenant.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Tenant whose entries it sends.
    pub tenant: String,
    /// Which system receives them: a name of [`Kind`].
    pub kind: String,
    /// How a record is written: a name of [`Format`].
    #[serde(default = "default_format")]
    pub format: String,
    /// The version of OCSF. Without it, the newest.
    #[serde(default)]
    pub ocsf_version: Option<String>,
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
    /// Proxy to the receiver. None otherwise, whatever the environment says.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Header that gets the secret. Without it, `authorization`, as a bearer's (`otlp`).
    #[serde(default)]
    pub header: Option<String>,
    /// What is sent: `logs`, `traces`. Without it, logs (`otlp`).
    #[serde(default)]
    pub signals: Option<Vec<String>>,
    /// `http/protobuf` or `grpc`. Without it, the first (`otlp`).
    #[serde(default)]
    pub protocol: Option<String>,
    /// Version of the `gen_ai.*` names in spans. Without it, none (`otlp`).
    #[serde(default)]
    pub gen_ai_version: Option<String>,
    /// Immutable id of the data collection rule (`sentinel`).
    #[serde(default)]
    pub rule: Option<String>,
    /// Directory of the application that gets tokens (`sentinel`).
    #[serde(default)]
    pub directory: Option<String>,
    /// Id of the application that gets tokens (`sentinel`).
    #[serde(default)]
    pub client_id: Option<String>,
    /// Where tokens come from. Without it, Azure's public cloud (`sentinel`).
    #[serde(default)]
    pub login_url: Option<String>,
    /// Stream that takes the records (`elastic`, `sentinel`).
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
    /// How a record is written.
    pub fn format(&self) -> Result<Format, String> {
        let version = match self.ocsf_version.as_deref() {
            None => Ocsf::default(),
            Some(name) => Ocsf::parse(name).ok_or_else(|| {
                let all = Ocsf::ALL.map(Ocsf::as_str).join(", ");
                format!("there is no OCSF {name:?}; there is {all}")
            })?,
        };
        Format::parse(&self.format, version).ok_or_else(|| {
            let all = Format::ALL.map(Format::as_str).join(", ");
            format!("there is no {:?}; there is {all}", self.format)
        })
    }

    /// What is said of OTLP alone. Error: the key, and what is wrong with it.
    pub fn otlp(&self) -> Result<Options, (&'static str, String)> {
        let (signals, gen_ai) = (self.signals.as_deref(), self.gen_ai_version.as_deref());
        let options = Options::read(Words { signals, gen_ai, protocol: self.protocol.as_deref() })?;
        let url = self.url.as_deref().and_then(|url| Url::parse(url).ok());
        if options.protocol == Protocol::Grpc {
            if self.proxy.is_some() {
                return Err(("proxy", "not with protocol grpc".into()));
            }
            if url.is_some_and(|url| !matches!(url.path(), "" | "/")) {
                return Err(("url", "with protocol grpc it has no path".into()));
            }
        }
        Ok(options)
    }

    /// The way to the receiver.
    pub fn way(&self) -> Way<'_> {
        let (ca, proxy) = (self.tls_ca_file.as_deref(), self.proxy.as_deref());
        Way { ca, private: self.private_network, proxy }
    }

    /// Where tokens come from.
    pub fn login_url(&self) -> &str {
        self.login_url.as_deref().unwrap_or(LOGIN_URL)
    }

    /// Which entries it sends.
    pub fn question(&self) -> Result<Question, String> {
        if self.filter.contains_key("until") {
            return Err("until: a sink has no end; take `countersign export` for a period".into());
        }
        let pairs = self.filter.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Question::read(pairs).map_err(|wrong| wrong.to_string())
    }
}

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
        let Some(kind) = Kind::parse(&sink.kind) else {
            let all = Kind::ALL.map(Kind::as_str).join(", ");
            add(format!(".kind: there is no {:?}; there is {all}", sink.kind));
            continue;
        };
        format_wrong(kind, sink, &mut add);
        if let Err(why) = sink.question() {
            add(format!(".filter: {why}"));
        }
        limits_wrong(sink, &mut add);
        place_wrong(kind, sink, &mut add);
        others_wrong(kind, sink, &mut add);
        names_wrong(kind, sink, &mut add);
        secret_wrong(kind, sink, &mut add);
    }
    wrong
}

/// Reads the address of a receiver.
pub fn address(kind: Kind, text: &str) -> Result<Url, String> {
    match kind {
        Kind::Syslog => net::address(text, "tls", "tcp"),
        _ => net::address(text, "https", "http"),
    }
}

fn format_wrong(kind: Kind, sink: &Setup, add: &mut impl FnMut(String)) {
    match sink.format() {
        Err(why) if sink.ocsf_version.is_some() => add(format!(".ocsf_version: {why}")),
        Err(why) => add(format!(".format: {why}")),
        Ok(format) if !kind.takes(format) => {
            let fits = Format::ALL.into_iter().filter(|format| kind.takes(*format));
            let names: Vec<&str> = fits.map(Format::as_str).collect();
            add(format!(".format: kind {} takes {}", kind.as_str(), names.join(", ")));
        }
        Ok(Format::Ocsf(_)) => {}
        Ok(format) if sink.ocsf_version.is_some() => {
            add(format!(".ocsf_version: format {} has none", format.as_str()));
        }
        Ok(_) => {}
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
fn place_wrong(kind: Kind, sink: &Setup, add: &mut impl FnMut(String)) {
    if kind == Kind::File {
        match &sink.dir {
            Some(dir) if dir.is_absolute() && dir.is_dir() => {}
            Some(dir) => add(format!(
                ".dir: an absolute path of a folder that is there, for this server's user; {} is not",
                dir.display()
            )),
            None => add(".dir: it is missing; the folder that gets the files".into()),
        }
        return;
    }
    if sink.dir.is_some() {
        add(format!(".dir: only kind file has a folder, {} has a url", kind.as_str()));
    }
    let url = match &sink.url {
        None => return add(".url: it is missing; the address of the receiver".into()),
        Some(url) => address(kind, url),
    };
    if let Err(why) = &url {
        add(format!(".url: {why}"));
    }
    if kind.is_http() {
        sink.way().mistakes(url.as_ref().ok()).into_iter().for_each(&mut *add);
    }
    if kind == Kind::Sentinel
        && let Err(why) = address(kind, sink.login_url())
    {
        add(format!(".login_url: {why}"));
    }
}

/// What belongs to another kind.
fn others_wrong(kind: Kind, sink: &Setup, add: &mut impl FnMut(String)) {
    let sentinel = kind == Kind::Sentinel;
    let only = [
        ("url", sink.url.is_some(), kind != Kind::File),
        ("acknowledge", sink.acknowledge, kind == Kind::Splunk),
        ("stream", sink.stream.is_some(), kind == Kind::Elastic || sentinel),
        ("secret_file", sink.secret_file.is_some(), kind.secret() != Secret::None),
        ("tls_ca_file", sink.tls_ca_file.is_some(), kind != Kind::File),
        ("proxy", sink.proxy.is_some(), kind.is_http()),
        ("header", sink.header.is_some(), kind == Kind::Otlp),
        ("signals", sink.signals.is_some(), kind == Kind::Otlp),
        ("protocol", sink.protocol.is_some(), kind == Kind::Otlp),
        ("gen_ai_version", sink.gen_ai_version.is_some(), kind == Kind::Otlp),
        ("rule", sink.rule.is_some(), sentinel),
        ("directory", sink.directory.is_some(), sentinel),
        ("client_id", sink.client_id.is_some(), sentinel),
        ("login_url", sink.login_url.is_some(), sentinel),
    ];
    for (name, given, has) in only {
        if given && !has {
            add(format!(".{name}: kind {} has none", kind.as_str()));
        }
    }
    if kind == Kind::Otlp
        && let Err((name, why)) = sink.otlp()
    {
        add(format!(".{name}: {why}"));
    }
}

/// Names that its receiver gave.
fn names_wrong(kind: Kind, sink: &Setup, add: &mut impl FnMut(String)) {
    let fits = |name: Option<&str>, word: fn(char) -> bool| {
        name.is_some_and(|name| (1..=100).contains(&name.len()) && name.chars().all(word))
    };
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let stream = sink.stream.as_deref();
    match kind {
        Kind::Elastic
            if !fits(stream, lower)
                || stream.is_some_and(|name| name.starts_with(['-', '_', '.'])) =>
        {
            add(".stream: the data stream, of a-z, 0-9, - _ and ., e.g. logs-countersign-default"
                .into());
        }
        Kind::Otlp if sink.header.is_some() => {
            if !fits(sink.header.as_deref(), |c| c.is_ascii_lowercase() || c == '-') {
                add(".header: the name of a header, of a-z and -, e.g. api-key".into());
            }
            if sink.secret_file.is_none() {
                add(".header: it carries the secret, and secret_file is missing".into());
            }
        }
        Kind::Sentinel => {
            for (name, given, example) in [
                ("rule", &sink.rule, "the rule's immutable id: dcr-…"),
                ("stream", &sink.stream, "the stream of the rule, e.g. Custom-Countersign_CL"),
                ("directory", &sink.directory, "the id of the directory (tenant) in Entra"),
                ("client_id", &sink.client_id, "the id of the application (client)"),
            ] {
                let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if !fits(given.as_deref(), word) {
                    add(format!(".{name}: {example}; of letters, digits, - _ and ."));
                }
            }
        }
        _ => {}
    }
}

fn secret_wrong(kind: Kind, sink: &Setup, add: &mut impl FnMut(String)) {
    match &sink.secret_file {
        None if kind.secret() == Secret::Needed => {
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

/// Why the file of a secret is none: it is not there, or others can read it.
pub fn open_to_others(path: &Path) -> Option<String> {
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
